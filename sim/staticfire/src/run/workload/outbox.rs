//! The outbox of a producer: a table in a database beside the cluster. A message stands there from before it is sent until
//! it is acknowledged, so that a producer that starts anew sends again what it does not know the outcome of.

use std::collections::BTreeMap;
use std::sync::Mutex;

use staticfire_judge::history::{Outcome, SendOp};
use staticfire_world::trace::Name;

use super::Workload;
use super::draft::Drawn;
use super::outcome::SEND_OK;
use crate::lock;

/// By producer and number.
pub(super) type Outboxes = Mutex<BTreeMap<Name, BTreeMap<u32, Drawn>>>;

impl Workload {
    /// Notes that a producer is about to send messages, where it keeps an outbox.
    pub(super) fn enter_outbox(&self, producer: &Name, drawn: &[Drawn]) {
        if self.plan.outbox {
            let mut outboxes = lock(&self.outboxes);
            let outbox = outboxes.entry(Name::clone(producer)).or_default();
            outbox.extend(drawn.iter().map(|it| (it.number, *it)));
        }
    }

    /// Whoever knows the outcome of a message forgets it. Of one that waits for nothing nobody learns more than that
    /// it was stored.
    pub(super) fn leave_outbox(&self, producer: &Name, op: &SendOp) {
        let is_known = op.is_acked() || &*op.status == SEND_OK;
        if is_known && let Some(outbox) = lock(&self.outboxes).get_mut(producer) {
            outbox.remove(&op.number);
        }
    }

    /// What a producer finds in its outbox when it starts.
    pub(super) fn left_in_outbox(&self, producer: &Name) -> Vec<Drawn> {
        let outboxes = lock(&self.outboxes);
        outboxes.get(producer).into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// Takes what is known of an earlier send of a message out of the history: there is one outcome of each.
    pub(super) fn take_earlier(&self, number: u32) -> Option<SendOp> {
        let sends = &mut self.traffic.history().sends;
        let place = sends.iter().rposition(|it| it.number == number)?;
        Some(sends.remove(place))
    }
}

/// The outcome of a send with that of an earlier one of the same message: a refusal says nothing of what was stored
/// before.
pub(super) fn merged(mut op: SendOp, earlier: Option<&SendOp>) -> SendOp {
    let Some(earlier) = earlier else { return op };
    op.started_us = earlier.started_us;
    if let (Outcome::Rejected(text), Outcome::Unknown(_)) = (&op.outcome, &earlier.outcome) {
        op.outcome = Outcome::Unknown(Name::clone(text));
    }
    op
}
