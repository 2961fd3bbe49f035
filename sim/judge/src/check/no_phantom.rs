//! What is delivered was sent under that key, byte for byte, and was not refused: what a broker refuses it has not stored.

use std::collections::BTreeSet;

use super::{Checker, Violation};
use crate::history::{Delivery, History, Outcome};

/// Looks at every delivery, to the groups of the story and to the fresh one. Of a record that `is_rotten`,
/// because a device damaged its bytes, anything may be delivered: a broker hands out what it reads, and
/// the message counts as lost.
#[must_use]
pub fn check(history: &History, is_rotten: impl Fn(&Delivery) -> bool) -> Vec<Violation> {
    let read = history.read_back.values().flat_map(|queue| &queue.messages);
    let sound = history.deliveries.iter().chain(read).filter(|delivery| !is_rotten(delivery));
    let rejected = history.sends.iter().filter(|send| matches!(send.outcome, Outcome::Rejected(_)));
    let rejected: BTreeSet<u32> = rejected.map(|send| send.number).collect();
    sound.filter_map(|delivery| judge(delivery, &rejected)).collect()
}

fn judge(delivery: &Delivery, rejected: &BTreeSet<u32>) -> Option<Violation> {
    let place = format!("{} offset {}", delivery.queue, delivery.queue_offset);
    let violation = match delivery.number {
        None => {
            let text = format!("delivered {:?} from {place}, which nobody sent", delivery.key);
            Violation::new(Checker::NoPhantom, text)
        }
        Some(number) if !delivery.body_intact => {
            let text = format!("delivered {} from {place} with another body", delivery.key);
            Violation::new(Checker::NoPhantom, text).of(number)
        }
        Some(number) if rejected.contains(&number) => {
            let text = format!("delivered {} from {place}, which was refused", delivery.key);
            Violation::new(Checker::NoPhantom, text).of(number)
        }
        Some(_) => return None,
    };
    Some(violation.at(delivery.ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{SendOp, a_delivery, a_send};

    fn delivery(number: Option<u32>, body_intact: bool) -> Delivery {
        Delivery { number, body_intact, ..a_delivery(1, 0) }
    }

    #[test]
    fn phantoms_and_altered_bodies_are_found_wherever_they_show() {
        let mut history = History::default();
        history.deliveries.push(delivery(Some(1), true));
        let reading = history.read_back.entry(a_delivery(1, 0).queue).or_default();
        reading.messages.push(delivery(Some(1), true));
        assert_eq!(check(&history, |_| false), vec![]);

        history.deliveries.push(delivery(None, true));
        let reading = history.read_back.entry(a_delivery(1, 0).queue).or_default();
        reading.messages.push(delivery(Some(1), false));
        assert_eq!(check(&history, |_| true), vec![], "the disk did it");
        let found = check(&history, |_| false);
        assert_eq!(found.len(), 2);
        assert!(found[0].text.contains("nobody sent") && found[1].text.contains("another body"));
    }

    #[test]
    fn what_was_refused_is_not_delivered() {
        let mut history = History::default();
        history.deliveries.push(delivery(Some(1), true));
        let mut send =
            |number, outcome| history.sends.push(SendOp { outcome, ..a_send(number, 0) });
        send(0, Outcome::Rejected("SYSTEM_BUSY".into()));
        send(1, Outcome::Unknown("no answer".into()));
        assert_eq!(check(&history, |_| false), vec![]);
        history.deliveries.push(delivery(Some(0), true));
        let found = check(&history, |_| false);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("which was refused"), "{}", found[0].text);
    }
}
