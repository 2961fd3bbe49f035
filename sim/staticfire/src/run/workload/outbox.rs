//! The outbox of a producer: a table in a database beside the cluster. A message stands there from before it is sent until
//! it is acknowledged, so that a producer that starts anew sends again what it does not know the outcome of.

use std::collections::BTreeMap;
use std::sync::Mutex;

use staticfire_judge::history::{Outcome, SendOp};
use staticfire_world::trace::Name;

use super::Workload;
use crate::lock;

/// What is to be sent of a message, beside its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    /// Bytes of its body.
    pub(super) len: usize,
    /// Whether its acknowledgement is waited for (`WAIT`).
    pub(super) wait: bool,
}

/// By producer and number.
pub(super) type Outboxes = Mutex<BTreeMap<Name, BTreeMap<u32, Draft>>>;

impl Workload {
    /// Notes that a producer is about to send a message, where it keeps an outbox.
    pub(super) fn enters_outbox(&self, producer: &Name, number: u32, draft: Draft) {
        if self.plan.outbox {
            lock(&self.outboxes).entry(Name::clone(producer)).or_default().insert(number, draft);
        }
    }

    /// Whoever knows the outcome of a message forgets it.
    pub(super) fn leaves_outbox(&self, producer: &Name, number: u32) {
        if let Some(outbox) = lock(&self.outboxes).get_mut(producer) {
            outbox.remove(&number);
        }
    }

    /// What a producer finds in its outbox when it starts.
    pub(super) fn left_in_outbox(&self, producer: &Name) -> Vec<(u32, Draft)> {
        let outboxes = lock(&self.outboxes);
        outboxes.get(producer).into_iter().flatten().map(|(number, it)| (*number, *it)).collect()
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
