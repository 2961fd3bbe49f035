//! A consumer group is given what its subscription asks for: nothing that its filter does not let pass. (That it
//! is given all of what passes others ask: [`acked_durable`](super::acked_durable), [`offsets`](super::offsets).)
//!
//! A group that changes its filter is given nothing that none of those lets pass that may have held: not one that nobody
//! asked for yet, nor, of a message that was sent later, one that nobody asks for any more.

use std::collections::BTreeMap;

use super::{Checker, Violation};
use crate::history::{Delivery, History};

/// Looks at every delivery to the groups of the story. What came from where `is_damaged` says that a device damaged
/// records tells nothing: tags and properties have no checksum.
#[must_use]
pub fn check(history: &History, is_damaged: impl Fn(&Delivery) -> bool) -> Vec<Violation> {
    if history.unwanted.is_empty() {
        return Vec::new();
    }
    let sends = history.sends.iter().map(|send| (send.number, send.started_us));
    let sent_us: BTreeMap<u32, u64> = sends.collect();
    let is_refused =
        |it: &Delivery, number: u32| match history.changed_filters.get(&it.consumer_group) {
            None => !history.wants(&it.consumer_group, number),
            Some(filters) => {
                let sent_us = sent_us.get(&number).copied().unwrap_or_default();
                let held = filters.iter().filter(|filter| filter.may_have_held(sent_us, it.at_us));
                held.clone().next().is_some() && held.clone().all(|it| it.refused.contains(&number))
            }
        };
    let given = history.deliveries.iter().filter_map(|it| Some((it, it.number?)));
    let unwanted = given.filter(|(it, number)| is_refused(it, *number));
    let sound = unwanted.filter(|(it, _)| !is_damaged(it));
    sound.map(|(it, number)| violation(it, number)).collect()
}

fn violation(delivery: &Delivery, number: u32) -> Violation {
    let Delivery { key, consumer, consumer_group, queue, queue_offset, ordinal, .. } = delivery;
    let text = format!(
        "{consumer_group} does not subscribe to {key}, and {consumer} was given it from {queue} offset {queue_offset}"
    );
    Violation::new(Checker::Subscription, text).of(number).at(*ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{SendOp, Subscribed, a_delivery, a_send};

    #[test]
    fn what_a_filter_does_not_let_pass_is_given_to_others_only() {
        let deliveries = vec![a_delivery(1, 0), a_delivery(2, 1)];
        let mut history = History { deliveries, ..History::default() };
        assert_eq!(check(&history, |_| false), vec![], "no group has a filter");
        history.unwanted.insert("g".into(), [3].into());
        history.unwanted.insert("h".into(), [1, 2].into());
        assert_eq!(check(&history, |_| false), vec![], "they are given to g");

        history.unwanted.insert("g".into(), [2].into());
        let found = check(&history, |_| false);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.contains("g does not subscribe to k000002"), "{found:?}");
        assert_eq!((found[0].number, found[0].ordinal), (Some(2), Some(5)));
        assert_eq!(check(&history, |it| it.queue_offset == 1), vec![], "a device changed the tag");
    }

    /// Until 100 the group wants 1 and not 2, from then on 2 and not 1; from 150 on the old filter is forgotten.
    fn changing(number: u32, sent_us: u64, at_us: u64) -> usize {
        let before = Subscribed {
            from_us: 0,
            until_us: Some(150),
            refused: [2].into(),
            ..Subscribed::default()
        };
        let after = Subscribed {
            from_us: 100,
            until_us: None,
            refused: [1].into(),
            ..Subscribed::default()
        };
        let delivery = Delivery { at_us, ..a_delivery(number, 0) };
        let send = SendOp { started_us: sent_us, ..a_send(number, 0) };
        let mut history =
            History { deliveries: vec![delivery], sends: vec![send], ..History::default() };
        history.unwanted.insert("g".into(), [1, 2].into());
        history.changed_filters.insert("g".into(), vec![before, after]);
        check(&history, |_| false).len()
    }

    #[test]
    fn a_filter_that_changes_counts_from_when_it_is_asked_for() {
        assert_eq!(changing(1, 10, 20), 0);
        assert_eq!(changing(2, 10, 20), 1, "nobody has asked for it yet");
        assert_eq!(changing(2, 10, 120), 0, "it lay there until somebody asked");
        assert_eq!(changing(2, 160, 170), 0);
    }

    #[test]
    fn near_a_change_neither_filter_accuses_and_later_the_new_one_does() {
        assert_eq!(changing(1, 10, 500), 0, "it waited in a member");
        assert_eq!(changing(1, 140, 170), 0, "the change was under way");
        assert_eq!(changing(1, 151, 170), 1, "nobody asks for it any more");
    }
}
