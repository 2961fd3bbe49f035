//! What is sent in order lies in order, and a group that consumes in order gets it so: one message of a queue at a
//! time, by one member at a time, none before those that lie before it are done with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::offsets::excuse::Excuses;
use super::{Checker, Violation};
use crate::history::{Delivery, GroupQueue, History, QueueKey, QueueReading, SendOp};
use crate::ledger::custody::Moment;

/// For so long at least nobody else gets a queue whose lock a member has just used.
const LEASE_US: u64 = 30_000_000;

/// Facts beside the history.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The groups that consume in order.
    pub orderly: BTreeSet<Arc<str>>,
    /// When brokers of a group started anew, by `brokerName`: they know of no locks then.
    pub restarts: BTreeMap<Arc<str>, Vec<Moment>>,
    /// Acknowledged messages whose record the present log does not owe.
    pub not_owed: BTreeSet<u32>,
    /// Broker groups that nobody could read.
    pub unread: BTreeSet<Arc<str>>,
}

/// Looks at the sends with a key and at the deliveries of the groups that consume in order.
#[must_use]
pub fn check(history: &History, facts: &Facts, excuses: &Excuses) -> Vec<Violation> {
    let mut violations = stored_in_order(history, facts);
    let mut queues: BTreeMap<GroupQueue, Vec<&Delivery>> = BTreeMap::new();
    for it in history.deliveries.iter().filter(|it| facts.orderly.contains(&it.consumer_group)) {
        let place = (Arc::clone(&it.consumer_group), it.queue.clone());
        queues.entry(place).or_default().push(it);
    }
    for (place, deliveries) in &queues {
        let restarts = facts.restarts.get(&place.1.group).map_or(&[][..], Vec::as_slice);
        violations.extend(one_at_a_time(place, deliveries, history, restarts));
        let reading = history.read_back.get(&place.1);
        if let Some(reading) = reading.filter(|_| !facts.unread.contains(&place.1.group)) {
            violations.extend(none_ahead(place, deliveries, history, reading, excuses));
        }
    }
    violations
}

/// Of two acknowledged messages with one key the one that was sent first lies first, in a queue that took both.
fn stored_in_order(history: &History, facts: &Facts) -> Vec<Violation> {
    let mut last: BTreeMap<(&Arc<str>, &QueueKey), (&SendOp, u64)> = BTreeMap::new();
    let mut violations = Vec::new();
    let owed = history.acked().filter(|send| !facts.not_owed.contains(&send.number));
    // By their outcomes, which for one key is by their starts.
    for send in owed {
        let (Some(key), Some(place)) = (&send.sharding_key, &send.place) else { continue };
        if let Some((before, offset)) = last.insert((key, &place.queue), (send, place.queue_offset))
            && place.queue_offset <= offset
        {
            let text = format!(
                "{}: message {} of {key} lies at {}, though {} was acknowledged at {offset} before it was sent",
                place.queue, send.number, place.queue_offset, before.number
            );
            violations.push(Violation::new(Checker::Order, text).of(send.number).at(send.ordinal));
        }
    }
    violations
}

/// No listener is called for a queue while another one is at work on it, but for one whose lock may have gone to
/// somebody else meanwhile. The first such call says it all.
fn one_at_a_time(
    (group, queue): &GroupQueue,
    deliveries: &[&Delivery],
    history: &History,
    restarts: &[Moment],
) -> Option<Violation> {
    // Of a listener that never ended its process did.
    let ends = |it: &Delivery| history.consumed.get(&it.ordinal).map(|end| end.ordinal);
    let mut at_work: Option<(&Delivery, u64)> = None;
    for delivery in deliveries {
        if let Some((other, until)) = at_work.filter(|(_, until)| delivery.ordinal < *until) {
            let is_late = delivery.at_us >= other.at_us + LEASE_US;
            let lease_from = other.at_us.saturating_sub(LEASE_US);
            let lease = lease_from..delivery.at_us;
            let forgotten = restarts.iter().any(|it| lease.contains(&it.at_us));
            if !is_late && !forgotten {
                let text = format!(
                    "{queue}: {} of {group} was given {} (#{}) and {} {} (#{}) before that was done (#{until})",
                    other.consumer,
                    other.key,
                    other.ordinal,
                    delivery.consumer,
                    delivery.key,
                    delivery.ordinal
                );
                return Some(Violation::new(Checker::Order, text).at(delivery.ordinal));
            }
        }
        let until = ends(delivery).map(|until| (*delivery, until));
        at_work = until.into_iter().chain(at_work).max_by_key(|it| it.1);
    }
    None
}

/// No message is given before those that lie before it in the queue are done with. The first such one says it
/// all.
fn none_ahead(
    place: &GroupQueue,
    deliveries: &[&Delivery],
    history: &History,
    reading: &QueueReading,
    excuses: &Excuses,
) -> Option<Violation> {
    let excuse = excuses.at(place);
    let wants = |number: u32| history.wants(&place.0, number);
    let owed = reading.messages.iter().filter(|it| it.number.is_some_and(wants));
    let owed = owed.map(|it| it.queue_offset).filter(|offset| !excuse.covers(*offset));
    let mut open: BTreeSet<u64> = owed.collect();
    let lies_there =
        |it: &Delivery| reading.at(it.queue_offset).is_some_and(|there| there.number == it.number);
    // What is done at each time, in the order of the trace.
    let done = deliveries.iter().filter(|it| lies_there(it)).filter_map(|it| {
        let end = history.consumed.get(&it.ordinal).filter(|end| end.is_done)?;
        Some((end.ordinal, it.queue_offset))
    });
    let done: BTreeMap<u64, u64> = done.collect();
    let mut done = done.into_iter().peekable();
    for delivery in deliveries {
        while let Some((_, offset)) = done.next_if(|(ordinal, _)| *ordinal < delivery.ordinal) {
            open.remove(&offset);
        }
        let first = open.first().copied().filter(|first| *first < delivery.queue_offset);
        if let Some(first) = first.filter(|_| lies_there(delivery)) {
            let (group, queue) = place;
            let text = format!(
                "{queue}: {group} was given {} at {} before it was done with what stands at {first}",
                delivery.key, delivery.queue_offset
            );
            let number = delivery.number.unwrap_or_default();
            return Some(Violation::new(Checker::Order, text).of(number).at(delivery.ordinal));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::offsets::excuse::Reused;
    use crate::history::{Consumed, a_delivery, a_send};

    fn queue() -> QueueKey {
        a_delivery(0, 0).queue
    }

    /// Calls of listeners: consumer, offset, ordinals of start and end (0: none), and whether it was done.
    type Call = (&'static str, u32, u64, u64, bool);

    /// A queue of three messages and such calls, every ordinal a second after the one before.
    fn history(calls: &[Call]) -> History {
        let mut history = History::default();
        for (consumer, offset, start, end, is_done) in calls {
            let mut delivery = a_delivery(*offset, u64::from(*offset));
            (delivery.consumer, delivery.ordinal) = ((*consumer).into(), *start);
            delivery.at_us = start * 1_000_000;
            history.deliveries.push(delivery);
            if *end > 0 {
                history.consumed.insert(*start, Consumed { ordinal: *end, is_done: *is_done });
            }
        }
        let messages = (0..3).map(|number| a_delivery(number, u64::from(number))).collect();
        let reading = QueueReading { min_offset: 0, max_offset: 3, messages };
        history.read_back.insert(queue(), reading);
        history
    }

    fn found(history: &History, doctor: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut facts = Facts { orderly: ["g".into()].into(), ..Facts::default() };
        doctor(&mut facts);
        let excuses = Excuses::of(history, |_| None, &Reused::new());
        check(history, &facts, &excuses).into_iter().map(|it| it.text).collect()
    }

    const IN_ORDER: [Call; 3] = [("c", 0, 1, 2, true), ("c", 1, 3, 4, true), ("c", 2, 5, 6, true)];

    #[test]
    fn a_queue_that_is_consumed_in_order_passes() {
        assert_eq!(found(&history(&IN_ORDER), |_| {}), [] as [&str; 0]);
        // Given up in the midst of it, or in vain, it comes again.
        let again = [
            ("c", 0, 1, 0, false),
            ("d", 0, 3, 4, false),
            ("d", 0, 5, 6, true),
            ("d", 1, 7, 8, true),
        ];
        assert_eq!(found(&history(&again), |_| {}), [] as [&str; 0]);
        let twice = [IN_ORDER[0], IN_ORDER[1], ("d", 0, 7, 8, true), ("d", 1, 9, 10, true)];
        assert_eq!(found(&history(&twice), |_| {}), [] as [&str; 0], "from where it was committed");
    }

    #[test]
    fn nothing_passes_what_is_not_done() {
        let ahead = history(&[IN_ORDER[0], ("c", 2, 3, 4, true)]);
        assert!(
            found(&ahead, |_| {})[0]
                .contains("k000002 at 2 before it was done with what stands at 1")
        );
        let in_vain = history(&[("c", 0, 1, 2, false), ("c", 1, 3, 4, true)]);
        assert!(found(&in_vain, |_| {})[0].contains("what stands at 0"));
        assert_eq!(found(&ahead, |facts| facts.orderly.clear()), [] as [&str; 0]);
        assert_eq!(
            found(&ahead, |facts| {
                facts.unread.insert("a".into());
            }),
            [] as [&str; 0]
        );
        // Something else lies there now: nobody can say what it would have had to wait for.
        let mut gone = ahead;
        gone.deliveries[1].number = Some(9);
        assert_eq!(found(&gone, |_| {}), [] as [&str; 0]);
    }

    #[test]
    fn a_queue_has_one_listener_at_a_time() {
        let both = [("c", 0, 1, 9, true), ("d", 0, 3, 4, true)];
        let text = &found(&history(&both), |_| {})[0];
        assert!(text.contains("c of g was given k000000 (#1) and d k000000 (#3)"), "{text}");
        let restart = |at_us: u64| {
            move |facts: &mut Facts| {
                let restart = Moment { at_us, ..Moment::default() };
                facts.restarts.insert("a".into(), vec![restart]);
            }
        };
        assert_eq!(found(&history(&both), restart(2_000_000)), [] as [&str; 0], "locks were gone");
        assert_eq!(found(&history(&both), restart(3_500_000)).len(), 1, "later");
        let late = [("c", 0, 1, 99, true), ("d", 0, 31, 32, true)];
        assert_eq!(found(&history(&late), |_| {}), [] as [&str; 0], "its lock had run out");
        let early = [("c", 0, 1, 99, true), ("d", 0, 30, 32, true)];
        assert_eq!(found(&history(&early), |_| {}).len(), 1);
    }

    #[test]
    fn what_is_sent_later_lies_later() {
        let send = |number: u32, queue_offset: u64, key: &str| SendOp {
            sharding_key: Some(key.into()),
            ..a_send(number, queue_offset)
        };
        let judge = |sends: &[SendOp], not_owed: &[u32]| {
            let history = History { sends: sends.to_vec(), ..History::default() };
            found(&history, |facts| facts.not_owed = not_owed.iter().copied().collect()).len()
        };
        assert_eq!(judge(&[send(1, 5, "x"), send(2, 6, "x"), send(3, 0, "y")], &[]), 0);
        assert_eq!(judge(&[send(1, 5, "x"), send(2, 4, "x")], &[]), 1);
        assert_eq!(judge(&[send(1, 5, "x"), send(2, 4, "x")], &[1]), 0, "it was cut");
    }
}
