//! A consumer group commits nothing before a listener has ended with it, well or in vain: whoever comes after a member
//! that dies then begins behind messages that nobody consumed.
//!
//! [`offsets`](super::offsets) holds the offsets of the end against what was given until then; here it is every offset
//! that a broker accepted, against what had been given when it did. What counts are messages that were acknowledged
//! before, and stand where that acknowledgement said.

use std::collections::BTreeMap;

use super::offsets::Facts;
use super::offsets::excuse::stood_beyond_then;
use super::{Checker, Violation};
use crate::history::{GroupQueue, History, QueueReading, SendOp};
use crate::watch::Raise;

/// Looks at every offset that a group raised. The first message that one passes in a queue says it all.
#[must_use]
pub fn check(history: &History, facts: &Facts) -> Vec<Violation> {
    let acked: BTreeMap<u32, &SendOp> = history.acked().map(|it| (it.number, it)).collect();
    let ended = first_ends(history);
    let raised = history.watch.raises.iter();
    let judged = raised.filter(|(place, _)| {
        history.subscriptions.contains_key(&place.0) && !facts.unread.contains(&place.1.group)
    });
    let found = judged.filter_map(|(place, raises)| {
        let reading = history.read_back.get(&place.1)?;
        let ended = ended.get(&*place.0);
        let is_done = |number: u32, at_us: u64| {
            let end_us = ended.and_then(|ended| ended.get(&number));
            end_us.is_some_and(|end_us| *end_us <= at_us) || !history.wants(&place.0, number)
        };
        let is_excused = |queue_offset: u64, raise: &Raise| {
            facts.excuses.at(place).covers(queue_offset)
                || stood_beyond_then(history, place, queue_offset, raise.ordinal)
        };
        passed(place, raises, reading, &acked, &is_done, &is_excused)
    });
    found.collect()
}

/// When a listener of each consumer group ended with each message for the first time.
fn first_ends(history: &History) -> BTreeMap<&str, BTreeMap<u32, u64>> {
    let mut ended: BTreeMap<&str, BTreeMap<u32, u64>> = BTreeMap::new();
    for delivery in &history.deliveries {
        let end_us = history.watch.listener_ends.get(&delivery.ordinal);
        if let Some((number, end_us)) = delivery.number.zip(end_us) {
            let of_group = ended.entry(&*delivery.consumer_group).or_default();
            let first = of_group.entry(number).or_insert(*end_us);
            *first = (*first).min(*end_us);
        }
    }
    ended
}

fn passed(
    place: &GroupQueue,
    raises: &[Raise],
    reading: &QueueReading,
    acked: &BTreeMap<u32, &SendOp>,
    is_done: &dyn Fn(u32, u64) -> bool,
    is_excused: &dyn Fn(u64, &Raise) -> bool,
) -> Option<Violation> {
    let (group, queue) = place;
    let mut messages = reading.messages.iter().peekable();
    for raise in raises {
        while let Some(message) = messages.next_if(|it| it.queue_offset < raise.queue_offset) {
            let Some(number) = message.number else { continue };
            let lay_there = acked.get(&number).is_some_and(|send| {
                send.was_put_at(queue, message.queue_offset) && send.ordinal < raise.ordinal
            });
            if lay_there
                && !is_done(number, raise.at_us)
                && !is_excused(message.queue_offset, raise)
            {
                let text = format!(
                    "{queue}: {group} committed {} before a listener had ended with message {number} at {}",
                    raise.queue_offset, message.queue_offset
                );
                return Some(Violation::new(Checker::Offsets, text).of(number).at(raise.ordinal));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::offsets::excuse::{Excuses, Reused};
    use crate::history::{PullOffset, a_delivery, a_send};

    /// Three messages that were acknowledged, given at 10, 20 and 30 µs and read back.
    fn clean() -> History {
        let mut history = History::default();
        history.subscriptions.insert("g".into(), vec!["T".into()]);
        let queue = a_delivery(0, 0).queue;
        for number in 0..3 {
            let (queue_offset, ordinal) = (u64::from(number), 10 * (u64::from(number) + 1));
            let mut given = a_delivery(number, queue_offset);
            (given.ordinal, given.at_us) = (ordinal, ordinal);
            history.watch.listener_ends.insert(ordinal, ordinal + 5);
            history.deliveries.push(given);
            history.sends.push(a_send(number, queue_offset));
        }
        let messages = (0..3).map(|number| a_delivery(number, u64::from(number))).collect();
        history.read_back.insert(queue, QueueReading { min_offset: 0, max_offset: 3, messages });
        history
    }

    /// What is found once the group has raised its offset so: offset and time.
    fn found(raises: &[(u64, u64)], doctor: impl FnOnce(&mut History, &mut Facts)) -> Vec<String> {
        let mut history = clean();
        for (queue_offset, at) in raises {
            let raise = Raise { queue_offset: *queue_offset, at_us: *at, ordinal: *at };
            let place = ("g".into(), a_delivery(0, 0).queue);
            history.watch.note_committed(place, raise);
        }
        let mut facts = Facts::default();
        doctor(&mut history, &mut facts);
        facts.excuses = Excuses::of(&history, |_| None, &Reused::new());
        check(&history, &facts).into_iter().map(|it| it.text).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn what_listeners_have_ended_with_may_be_committed() {
        assert_eq!(found(&[(1, 15), (2, 25), (2, 26), (3, 40)], |_, _| {}), NOTHING);
        assert_eq!(found(&[], |_, _| {}), NOTHING);
    }

    #[test]
    fn what_a_filter_keeps_from_a_group_may_be_passed() {
        let early = [(1, 15), (3, 25)];
        assert_eq!(found(&early, |_, _| {}).len(), 1);
        let unwanted = |history: &mut History, _: &mut Facts| {
            history.unwanted.insert("g".into(), [1, 2].into());
        };
        assert_eq!(found(&early, unwanted), NOTHING);
    }

    #[test]
    fn what_is_committed_too_early_is_found_though_it_is_consumed_later() {
        let text = &found(&[(1, 15), (2, 24), (3, 40)], |_, _| {})[0];
        assert!(
            text.contains("g committed 2 before a listener had ended with message 1"),
            "{text}"
        );
        assert_eq!(found(&[(3, 9)], |_, _| {}).len(), 1);
        let never = |history: &mut History, _: &mut Facts| {
            history.watch.listener_ends.remove(&30);
        };
        assert_eq!(found(&[(3, 40)], never).len(), 1, "its process ended with it");
        // What had not been acknowledged may have come later, or lie elsewhere.
        let later = |history: &mut History, _: &mut Facts| history.sends[1].ordinal = 30;
        assert_eq!(found(&[(2, 24)], later), NOTHING);
        let unread = |_: &mut History, facts: &mut Facts| {
            facts.unread.insert("a".into());
        };
        assert_eq!(found(&[(2, 24)], unread), NOTHING);
        let beyond = |history: &mut History, _: &mut Facts| {
            history.deliveries[1].number = Some(9);
        };
        assert_eq!(found(&[(2, 24)], beyond), NOTHING, "the group stood beyond that place");
        let taken = |back: u64| {
            move |history: &mut History, _: &mut Facts| {
                history.deliveries[1].number = Some(9);
                let sets = [2, back].map(|ordinal| PullOffset {
                    consumer: "c".into(),
                    consumer_group: "g".into(),
                    queue: a_delivery(0, 0).queue,
                    queue_offset: 0,
                    ordinal,
                });
                history.pull_offsets.extend(sets);
            }
        };
        assert_eq!(found(&[(2, 24)], taken(26)), NOTHING, "it is set back only later");
        assert_eq!(found(&[(2, 24)], taken(22)).len(), 1, "it had been set back");
    }
}
