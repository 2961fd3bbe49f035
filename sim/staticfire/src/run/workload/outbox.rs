//! The outbox of a producer: a table in a database beside the cluster. A message stands there from before it is sent until
//! it is acknowledged, so that a producer that starts anew sends again what it does not know the outcome of.

use std::collections::BTreeMap;
use std::sync::Mutex;

use staticfire_judge::check::duplicates::ATTEMPTS_MAX;
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
    // Of a producer that is gone nobody knows how often it had tried.
    let tried = earlier.attempts.unwrap_or(ATTEMPTS_MAX);
    op.attempts = op.attempts.map(|attempts| attempts.saturating_add(tried));
    if let (Outcome::Rejected(text), Outcome::Unknown(_)) = (&op.outcome, &earlier.outcome) {
        op.outcome = Outcome::Unknown(Name::clone(text));
    }
    op
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(outcome: Outcome, attempts: Option<u32>) -> SendOp {
        SendOp {
            number: 1,
            topic: "T".into(),
            started_us: 5,
            ended_us: 9,
            ordinal: 3,
            outcome,
            status: "any".into(),
            group: None,
            place: None,
            attempts,
            sharding_key: None,
        }
    }

    #[test]
    fn what_was_sent_before_counts() {
        let open = || Outcome::Unknown("gone".into());
        let sent = |earlier, last: Option<u32>| {
            let earlier = SendOp { started_us: 1, ..send(open(), earlier) };
            let op = merged(send(Outcome::Acked, last), Some(&earlier));
            assert_eq!((op.started_us, op.outcome), (1, Outcome::Acked));
            op.attempts
        };
        assert_eq!(sent(Some(2), Some(1)), Some(3));
        assert_eq!(sent(None, Some(1)), Some(4), "it may have tried three times");
        assert_eq!(sent(Some(2), None), None);
        let refused = Outcome::Rejected("no".into());
        let earlier = send(open(), Some(1));
        let op = merged(send(refused, Some(1)), Some(&earlier));
        assert_eq!(op.outcome, Outcome::Unknown("no".into()));
    }
}
