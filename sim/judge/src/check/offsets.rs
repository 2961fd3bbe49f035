//! Queue offsets are dense, injective and stable, and a group's committed offset passes nothing that
//! the group was not given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Checker, Violation};
use crate::history::{Delivery, GroupQueue, History, Outcome, QueueKey, QueueReading};

pub mod excuse;
pub mod resets;

use excuse::{Excuses, Misled};

/// Committed offsets at the end of the run, by consumer group and queue.
pub type Committed = BTreeMap<GroupQueue, u64>;

/// Facts beside the history.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Where the groups' committed offsets stand at the end.
    pub committed: Committed,
    /// Acknowledged messages whose record the present log does not owe
    /// ([`custody`](crate::ledger::custody)): their offsets may have been used again.
    pub not_owed: BTreeSet<u32>,
    /// Queue offsets whose records a device damaged: nothing is read there.
    pub holes: BTreeSet<(QueueKey, u64)>,
    /// What may pass consumer groups by.
    pub excuses: Excuses,
    /// Broker groups that nobody could read as their brokers meant it to be.
    pub unread: BTreeSet<Arc<str>>,
    /// Consumer groups and the broker groups that they are cut off from: what they were not given waits there.
    pub cut_off: BTreeSet<(Arc<str>, Arc<str>)>,
}

/// Looks at the read-back, the acknowledged places and the deliveries.
#[must_use]
pub fn check(history: &History, facts: &Facts) -> Vec<Violation> {
    // The causes first: a skip that an answer led to is one of many.
    let mut violations: Vec<_> =
        facts.excuses.misled().map(|(place, misled)| led_astray(place, misled)).collect();
    for (queue, reading) in
        history.read_back.iter().filter(|it| !facts.unread.contains(&it.0.group))
    {
        violations.extend(dense(queue, reading, facts));
    }
    violations.extend(committed_within(history, facts));
    violations.extend(acked_places_hold(history, facts));
    let delivered = delivered(history);
    violations.extend(passed_over(history, facts, &delivered));
    violations.extend(never_given(history, facts, &delivered));
    violations
}

/// Read from minimum to maximum, every offset comes once and in order.
fn dense(queue: &QueueKey, reading: &QueueReading, facts: &Facts) -> Option<Violation> {
    let is_hole = |offset| facts.holes.contains(&(queue.clone(), offset));
    let behind_holes = |mut offset| {
        while is_hole(offset) {
            offset += 1;
        }
        offset
    };
    let mut expected = behind_holes(reading.min_offset);
    for message in reading.messages.iter().filter(|message| !is_hole(message.queue_offset)) {
        if message.queue_offset != expected {
            let text = format!("{queue}: offset {} follows {expected}", message.queue_offset);
            return Some(Violation::new(Checker::Offsets, text).at(message.ordinal));
        }
        expected = behind_holes(expected + 1);
    }
    (expected != reading.max_offset).then(|| {
        let text = format!(
            "{queue}: read up to {expected}, the broker says it ends at {}",
            reading.max_offset
        );
        Violation::new(Checker::Offsets, text)
    })
}

fn committed_within<'a>(
    history: &'a History,
    facts: &'a Facts,
) -> impl Iterator<Item = Violation> + 'a {
    facts.committed.iter().filter_map(|((group, queue), committed)| {
        let end = history.read_back.get(queue)?.max_offset;
        (*committed > end).then(|| {
            let text =
                format!("{queue}: the offset {committed} of {group} is beyond the end {end}");
            Violation::new(Checker::Offsets, text)
        })
    })
}

/// Two acknowledgements never name one place, and a message that is read back stands where its
/// acknowledgement said, unless the log does not owe it.
fn acked_places_hold(history: &History, facts: &Facts) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut owners: BTreeMap<(&QueueKey, u64), u32> = BTreeMap::new();
    for send in history.sends.iter().filter(|send| send.outcome == Outcome::Acked) {
        let Some(place) = &send.place else { continue };
        if facts.not_owed.contains(&send.number) || facts.unread.contains(&place.queue.group) {
            continue;
        }
        let (queue, offset) = (&place.queue, place.queue_offset);
        if let Some(other) = owners.insert((queue, offset), send.number) {
            let text = format!(
                "messages {other} and {} were both acknowledged at {queue} offset {offset}",
                send.number
            );
            violations
                .push(Violation::new(Checker::Offsets, text).of(send.number).at(send.ordinal));
            continue;
        }
        if facts.holes.contains(&(queue.clone(), offset)) {
            continue;
        }
        let there = history.read_back.get(queue).and_then(|reading| reading.at(offset));
        if let Some(there) = there.filter(|there| there.number != Some(send.number)) {
            let text = format!(
                "message {} was acknowledged at {queue} offset {offset}, where {} stands",
                send.number, there.key
            );
            violations
                .push(Violation::new(Checker::Offsets, text).of(send.number).at(there.ordinal));
        }
    }
    violations
}

/// Numbers of what was delivered, by consumer group.
type Delivered<'a> = BTreeMap<&'a str, BTreeSet<u32>>;

/// Below a group's committed offset, every message that stands there was given to the group, unless it may
/// pass it by.
fn passed_over(history: &History, facts: &Facts, delivered: &Delivered<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (place @ (group, queue), committed) in &facts.committed {
        let given = delivered.get(&**group);
        let Some(reading) = history.read_back.get(queue) else { continue };
        let excuse = facts.excuses.at(place);
        let is_owed = |m: &&Delivery| m.queue_offset < *committed && !excuse.covers(m.queue_offset);
        for message in reading.messages.iter().filter(is_owed) {
            let is_given = |number: &u32| given.is_some_and(|given| given.contains(number));
            let is_owed = |number: &u32| !is_given(number) && history.wants(group, *number);
            if let Some(number) = message.number.filter(is_owed) {
                let text = format!(
                    "{queue}: {group} committed {committed} without being given message {number} at {}",
                    message.queue_offset
                );
                violations.push(Violation::new(Checker::Offsets, text).of(number));
            }
        }
    }
    violations
}

/// Above its committed offset, too, a group that subscribes was given every message that stands there, unless
/// it may pass it by. What was acknowledged [`acked_durable`](super::acked_durable) asks for.
fn never_given(history: &History, facts: &Facts, delivered: &Delivered<'_>) -> Vec<Violation> {
    let acked: BTreeSet<u32> = history.acked().map(|send| send.number).collect();
    let mut violations = Vec::new();
    for (group, topics) in &history.subscriptions {
        let given = delivered.get(&**group);
        for (queue, reading) in history.read_back.iter().filter(|it| topics.contains(&it.0.topic)) {
            if facts.cut_off.contains(&(Arc::clone(group), Arc::clone(&queue.group))) {
                continue;
            }
            let place = (Arc::clone(group), queue.clone());
            let committed = facts.committed.get(&place).copied().unwrap_or_default();
            let excuse = facts.excuses.at(&place);
            let is_due =
                |it: &&Delivery| it.queue_offset >= committed && !excuse.covers(it.queue_offset);
            for message in reading.messages.iter().filter(is_due) {
                let is_owed = |number: &u32| {
                    !acked.contains(number)
                        && given.is_none_or(|given| !given.contains(number))
                        && history.wants(group, *number)
                };
                if let Some(number) = message.number.filter(is_owed) {
                    let text = format!(
                        "{queue}: {group} was never given message {number}, which stands at {}",
                        message.queue_offset
                    );
                    violations.push(Violation::new(Checker::Offsets, text).of(number));
                }
            }
        }
    }
    violations
}

/// A broker sent a member of a group past messages that the group had not passed.
fn led_astray((group, queue): &GroupQueue, misled: &Misled) -> Violation {
    let Misled { from, told, committed, number, ordinal } = misled;
    let text = format!(
        "{queue}: {group} was told to go on at {told}, though it committed {} since message {number} came to \
         stand at {from}",
        committed.map_or_else(|| "nothing".to_owned(), |it| format!("no more than {it}"))
    );
    Violation::new(Checker::Offsets, text).of(*number).at(*ordinal)
}

fn delivered(history: &History) -> Delivered<'_> {
    let mut delivered = Delivered::new();
    for delivery in history.ended() {
        delivered.entry(&delivery.consumer_group).or_default().extend(delivery.number);
    }
    delivered
}

#[cfg(test)]
mod tests {
    use super::excuse::{Reused, is_gone, stood_beyond};
    use super::*;
    use crate::history::{
        GroupOffset, OffsetStep, PullOffset, a_delivery as delivery, a_send as send,
    };

    fn queue() -> QueueKey {
        QueueKey { group: "a".into(), topic: "T".into(), queue_id: 0 }
    }

    fn place() -> (Arc<str>, QueueKey) {
        ("g".into(), queue())
    }

    /// Three messages, all acknowledged, delivered, committed and read back.
    fn clean() -> (History, Facts) {
        let mut history = History::default();
        let mut reading = QueueReading { min_offset: 0, max_offset: 3, messages: vec![] };
        for n in 0..3 {
            history.sends.push(send(n, u64::from(n)));
            history.deliveries.push(delivery(n, u64::from(n)));
            reading.messages.push(delivery(n, u64::from(n)));
        }
        history.read_back.insert(queue(), reading);
        let mut facts = Facts::default();
        facts.committed.insert(place(), 3);
        (history, facts)
    }

    /// Of messages that were appended every ten microseconds.
    fn check(history: &History, facts: &Facts) -> Vec<Violation> {
        check_reused(history, facts, &Reused::new())
    }

    fn check_reused(history: &History, facts: &Facts, reused: &Reused) -> Vec<Violation> {
        let excuses = Excuses::of(history, |send| Some(u64::from(send.number) * 10), reused);
        super::check(history, &Facts { excuses, ..facts.clone() })
    }

    fn complaint(doctor: impl FnOnce(&mut History, &mut Facts)) -> String {
        let (mut history, mut facts) = clean();
        doctor(&mut history, &mut facts);
        let found = check(&history, &facts);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].text.clone()
    }

    fn reading(history: &mut History) -> &mut QueueReading {
        history.read_back.get_mut(&queue()).unwrap()
    }

    #[test]
    fn a_clean_queue_passes() {
        let (history, facts) = clean();
        assert_eq!(check(&history, &facts), vec![]);
    }

    #[test]
    fn holes_ends_and_double_places_are_found() {
        let text = complaint(|h, _| reading(h).messages[2].queue_offset = 4);
        assert!(text.contains("offset 4 follows 2"), "{text}");
        let (mut history, mut facts) = clean();
        facts.holes.insert((queue(), 1));
        assert_eq!(check(&history, &facts), vec![], "what is there after all is no harm");
        reading(&mut history).messages.remove(1);
        assert_eq!(check(&history, &facts), vec![], "the disk made the hole");
        facts.holes.clear();
        assert!(check(&history, &facts)[0].text.contains("offset 2 follows 1"));
        let text = complaint(|h, _| reading(h).max_offset = 4);
        assert!(text.contains("ends at 4"), "{text}");
        let text = complaint(|h, _| h.sends.push(send(9, 1)));
        assert!(text.contains("both acknowledged"), "{text}");
    }

    #[test]
    fn a_message_stands_where_it_was_acknowledged() {
        let text = complaint(|h, _| {
            h.sends.remove(1);
            h.sends.push(send(7, 1));
        });
        assert!(text.contains("where k000001 stands"), "{text}");
        let (mut history, mut facts) = clean();
        history.sends.push(send(7, 1));
        facts.not_owed.insert(7);
        assert_eq!(check(&history, &facts), vec![], "a cut log uses offsets again");
        facts.not_owed = [1].into();
        assert!(check(&history, &facts)[0].text.contains("where k000001 stands"));
    }

    #[test]
    fn only_what_lies_where_the_group_had_been_may_pass_it_by() {
        let (mut history, facts) = clean();
        // The group was given another record at offset 1; the one that stands there now it never got.
        history.deliveries[1] = delivery(8, 1);
        assert_eq!(check(&history, &facts), vec![]);
        let beyond = |history: &History| stood_beyond(history, |it| is_gone(history, it));
        assert_eq!(beyond(&history), BTreeMap::from([(place(), 1)]));
        // The one behind it has no such excuse.
        history.deliveries.remove(2);
        let found = check(&history, &facts);
        assert!(found[0].text.contains("without being given message 2"), "{found:?}");
        // Nor has a queue with whose log nothing happened.
        history.deliveries[1].queue.queue_id = 1;
        assert_eq!(check(&history, &facts).len(), 2);
    }

    #[test]
    fn a_member_that_was_set_back_stands_beyond_nothing_more() {
        let (mut history, facts) = clean();
        // Another record was given at offset 2, and 1 and 2 as they stand now were not.
        history.deliveries[2] = delivery(8, 2);
        history.deliveries.remove(1);
        assert_eq!(check(&history, &facts), vec![]);
        let set = |consumer: &str, queue_offset, ordinal| PullOffset {
            consumer: consumer.into(),
            consumer_group: "g".into(),
            queue: queue(),
            queue_offset,
            ordinal,
        };
        // It began there, which says nothing of later; and another member is another.
        history.pull_offsets = vec![set("c", 0, 1), set("d", 0, 9)];
        assert_eq!(check(&history, &facts), vec![]);
        history.pull_offsets.push(set("c", 2, 10));
        let found = check(&history, &facts);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.contains("without being given message 2 at 2"), "{found:?}");
        history.pull_offsets.push(set("c", 0, 11));
        assert_eq!(check(&history, &facts).len(), 2);
        // Given once more what is gone, it stands there again.
        history.deliveries.push(Delivery { ordinal: 12, ..delivery(8, 2) });
        assert_eq!(check(&history, &facts), vec![]);
    }

    #[test]
    fn a_filter_lets_members_pass_what_lay_where_something_else_lies_now() {
        let (mut history, facts) = clean();
        history.deliveries.remove(1);
        let reused = Reused::from([(queue(), BTreeMap::from([(1, 9)]))]);
        let set = |queue_offset, ordinal| PullOffset {
            consumer: "c".into(),
            consumer_group: "g".into(),
            queue: queue(),
            queue_offset,
            ordinal,
        };
        history.pull_offsets = vec![set(0, 1)];
        let judge = |history: &History| check_reused(history, &facts, &reused).len();
        assert_eq!(judge(&history), 1, "without a filter it would have been given what lay there");
        history.unwanted.insert("g".into(), [50].into());
        assert_eq!(judge(&history), 0);
        assert_eq!(check(&history, &facts).len(), 1, "nothing was used again");
        history.pull_offsets.push(set(1, 12));
        assert_eq!(judge(&history), 1, "it was set back since");
        history.pull_offsets = vec![set(0, 10)];
        assert_eq!(judge(&history), 1, "it came later");
    }

    #[test]
    fn nobody_is_sent_past_what_the_group_has_not_passed_since_it_lies_there() {
        // The group was given other records at 1 and 2; those that lie there now it never got.
        let (mut history, facts) = clean();
        history.deliveries[1] = delivery(7, 1);
        history.deliveries[2] = delivery(8, 2);
        let judge = |offsets: &[(OffsetStep, u64, u64)]| {
            let mut history = history.clone();
            for (ordinal, (step, queue_offset, at_us)) in (1..).zip(offsets.iter().copied()) {
                let offset = GroupOffset { step, queue_offset, at_us, ordinal };
                history.note_group_offset(place(), offset);
            }
            check(&history, &facts)
        };
        let (committed, told) = (OffsetStep::Committed, OffsetStep::Told);
        assert_eq!(judge(&[]), vec![], "nobody else came");
        assert_eq!(judge(&[(told, 1, 50)]), vec![], "up to where it had been");
        assert_eq!(judge(&[(told, 3, 9), (told, 2, 20)]).len(), 2, "1 lay there, 2 did not yet");
        assert_eq!(judge(&[(told, 3, 10)]), vec![], "nothing lay there yet");
        assert_eq!(judge(&[(committed, 3, 20), (told, 3, 21)]), vec![], "it passed both");
        // What it committed before they lay there spoke of others.
        let found = judge(&[(committed, 3, 9), (committed, 3, 9), (told, 3, 21)]);
        assert_eq!(found.len(), 3, "{found:?}");
        let text =
            "told to go on at 3, though it committed nothing since message 1 came to stand at 1";
        assert!(found[0].text.contains(text) && found[0].ordinal == Some(3), "{found:?}");
        // It passed the first since, not the second; by itself it comes that far, told again it does not.
        let found = judge(&[(committed, 2, 20), (told, 2, 30), (told, 3, 31), (committed, 3, 32)]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].text.contains("committed no more than 2 since message 2"), "{found:?}");
        assert!(found[1].text.contains("without being given message 2 at 2"), "{found:?}");
        let late = [(committed, 2, 20), (told, 2, 30), (committed, 3, 31), (told, 3, 32)];
        assert_eq!(judge(&late), vec![], "it came that far by itself");
    }

    #[test]
    fn one_groups_deliveries_are_no_excuse_for_another() {
        let (mut history, mut facts) = clean();
        facts.committed.insert(("h".into(), queue()), 2);
        let found = check(&history, &facts);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].text.contains("h committed 2 without being given message 0"));
        // What one group was given before is no place where the other had been.
        history.deliveries[1] = delivery(8, 1);
        assert_eq!(check(&history, &facts).len(), 2);
    }

    #[test]
    fn committed_offsets_pass_nothing_and_stay_inside() {
        let text = complaint(|h, _| {
            h.deliveries.remove(1);
        });
        assert!(text.contains("without being given message 1"), "{text}");
        let text = complaint(|_, f| {
            f.committed.insert(place(), 4);
        });
        assert!(text.contains("beyond the end 3"), "{text}");
    }

    #[test]
    fn what_a_filter_does_not_let_pass_is_owed_to_nobody() {
        let (mut history, facts) = clean();
        history.deliveries.remove(1);
        assert_eq!(check(&history, &facts).len(), 1);
        history.unwanted.insert("g".into(), [1].into());
        assert_eq!(check(&history, &facts), vec![]);
        history.deliveries.remove(1);
        assert_eq!(check(&history, &facts).len(), 1, "the one behind it is owed all the same");
    }

    #[test]
    fn whoever_ended_in_the_midst_of_a_message_did_not_consume_it() {
        let text = complaint(|h, _| {
            h.deliveries[1].ordinal = 6;
            h.cut_short.insert(6);
        });
        assert!(text.contains("without being given message 1"), "{text}");
    }

    #[test]
    fn what_nobody_acknowledged_is_given_as_well_once_it_is_stored() {
        let (mut history, mut facts) = clean();
        history.subscriptions.insert("g".into(), vec!["T".into()]);
        history.sends[2].outcome = Outcome::Unknown("FLUSH_SLAVE_TIMEOUT".into());
        assert_eq!(check(&history, &facts), vec![]);
        facts.committed.insert(place(), 2);
        history.deliveries.pop();
        let found = check(&history, &facts);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.contains("g was never given message 2, which stands at 2"));
        facts.committed.clear();
        assert_eq!(check(&history, &facts), found, "a group that never committed is owed it, too");
        // It had been beyond that place before, or does not subscribe.
        history.deliveries.push(delivery(9, 2));
        assert_eq!(check(&history, &facts), vec![]);
        history.deliveries.pop();
        history.subscriptions.insert("g".into(), vec!["U".into()]);
        assert_eq!(check(&history, &facts), vec![]);
    }
}
