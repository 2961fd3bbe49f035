//! A topic that an operator deletes stays deleted, and nothing goes but what lay in it then.
//!
//! The log itself says where a topic was deleted. What lies before that, of that topic, is passed over by an act
//! of the operator, if he asked for it; of what lies behind, and of other topics, nothing is. A deletion that
//! was confirmed holds as an acknowledged message does: as long as the group's log owes its record
//! ([`custody`](crate::ledger::custody)) none of the messages before it may come again, whatever was restarted or
//! promoted. One that was never confirmed may hold or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Checker, Violation};
use crate::history::{Delivery, History, TopicDeletion};

/// A place in the present log of a broker group where a topic was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDeletion {
    /// The topic.
    pub topic: Arc<str>,
    /// First byte of the record that says so.
    pub phy_offset: u64,
    /// When it came there, simulated microseconds; `None` where nobody saw it.
    pub appended_us: Option<u64>,
}

/// A deletion that a store acknowledged to its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The topic.
    pub topic: Arc<str>,
    /// First byte of its record.
    pub phy_offset: u64,
    /// Ordinal of the trace event of the acknowledgement.
    pub ordinal: u64,
    /// Whether the group's present log owes the record.
    pub owed: bool,
}

/// Facts of one broker group.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The group.
    pub group: Arc<str>,
    /// What its present log says, in the order of the log.
    pub in_log: Vec<LogDeletion>,
    /// What was acknowledged, in the order of the trace.
    pub confirmed: Vec<Confirmed>,
}

impl Facts {
    /// The deletions of the log that an operator asked for: what lies before them of their topics is his doing.
    #[must_use]
    pub fn lawful(&self, history: &History) -> Vec<&LogDeletion> {
        self.told_apart(history).0
    }

    /// Those that somebody asked for before they were made, and no more than were asked for; and the others.
    fn told_apart(&self, history: &History) -> (Vec<&LogDeletion>, Vec<&LogDeletion>) {
        let mut left: BTreeMap<&str, u32> = BTreeMap::new();
        for order in orders(history, &self.group) {
            let left = left.entry(&order.topic).or_default();
            *left = left.saturating_add(order.asked);
        }
        self.in_log.iter().partition(|it| {
            let is_asked_for = |order: &TopicDeletion| {
                order.topic == it.topic && it.appended_us.is_none_or(|at_us| order.at_us <= at_us)
            };
            let is_lawful = orders(history, &self.group).any(is_asked_for);
            let left = left.get_mut(&*it.topic).filter(|left| is_lawful && **left > 0);
            left.map(|left| *left -= 1).is_some()
        })
    }
}

/// Looks at what the log says and at what was read back.
#[must_use]
pub fn check(history: &History, facts: &Facts) -> Vec<Violation> {
    let (_, unlawful) = facts.told_apart(history);
    let unasked = unlawful.into_iter().map(|it| {
        let text = format!(
            "the log of {} says at {} that topic {} was deleted, which nobody had asked for",
            facts.group, it.phy_offset, it.topic
        );
        Violation::new(Checker::Deletions, text)
    });
    let confirmed = orders(history, &facts.group).filter(|order| order.is_confirmed);
    let again = confirmed.flat_map(|order| came_again(history, facts, order));
    unasked.chain(again).collect()
}

fn orders<'a>(
    history: &'a History,
    group: &'a Arc<str>,
) -> impl Iterator<Item = &'a TopicDeletion> {
    history.deletions.iter().filter(move |order| order.group == *group)
}

/// The first message of each queue that lay there when a deletion was confirmed, and is there again.
fn came_again(history: &History, facts: &Facts, order: &TopicDeletion) -> Vec<Violation> {
    let told = order.ordinal..=order.ended;
    let mut records = facts.confirmed.iter().rev();
    let record = records.find(|it| it.topic == order.topic && told.contains(&it.ordinal));
    if record.is_some_and(|record| !record.owed) {
        return Vec::new();
    }
    // Where no log says so, it is known of what had been acknowledged before.
    let known = match record {
        Some(_) => BTreeMap::new(),
        None => lay_there(history, order),
    };
    let is_deleted = |it: &&Delivery| match record {
        Some(record) => it.phy_offset < record.phy_offset,
        None => it.number.is_some_and(|number| known.get(&number) == Some(&it.phy_offset)),
    };
    let queues = history.read_back.iter();
    let queues = queues.filter(|(it, _)| it.group == order.group && it.topic == order.topic);
    let first = queues.filter_map(|(queue, reading)| {
        let again: Vec<&Delivery> = reading.messages.iter().filter(is_deleted).collect();
        let first = again.first()?;
        let text = format!(
            "{queue}: {} of {} messages are there again that were deleted with their topic (confirmed by event #{}), \
             the first of them {}",
            again.len(),
            reading.messages.len(),
            order.ended,
            first.key
        );
        let found = Violation::new(Checker::Deletions, text).at(first.ordinal);
        Some(first.number.map_or(found.clone(), |number| found.of(number)))
    });
    first.collect()
}

/// The places of messages that were acknowledged before a deletion was asked for.
fn lay_there(history: &History, order: &TopicDeletion) -> BTreeMap<u32, u64> {
    let before = history.acked().filter(|send| send.ended_us < order.at_us);
    before.filter_map(|send| Some((send.number, send.place.as_ref()?.phy_offset))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{QueueReading, a_delivery, a_send};

    fn order(is_confirmed: bool) -> TopicDeletion {
        let (topic, group) = ("T".into(), "a".into());
        let (at_us, ordinal, ended_us, ended) = (50, 20, 70, 30);
        TopicDeletion { topic, group, asked: 1, is_confirmed, at_us, ordinal, ended_us, ended }
    }

    fn in_log(phy_offset: u64) -> LogDeletion {
        LogDeletion { topic: "T".into(), phy_offset, appended_us: Some(60) }
    }

    fn confirmed(phy_offset: u64, owed: bool) -> Confirmed {
        Confirmed { topic: "T".into(), phy_offset, ordinal: 25, owed }
    }

    /// Messages 0, 1 and 2 lie at 0, 100 and 200; the topic was deleted at 200, and then came 3.
    fn story() -> (History, Facts) {
        let mut history = History {
            sends: vec![a_send(0, 0), a_send(1, 1)],
            deletions: vec![order(true)],
            ..History::default()
        };
        let new = Delivery { phy_offset: 300, ..a_delivery(3, 0) };
        let reading = QueueReading { min_offset: 0, max_offset: 1, messages: vec![new] };
        history.read_back.insert(a_delivery(0, 0).queue, reading);
        let facts = Facts {
            group: "a".into(),
            in_log: vec![in_log(200)],
            confirmed: vec![confirmed(200, true)],
        };
        (history, facts)
    }

    fn come_again(history: &mut History, number: u32) {
        let queue = a_delivery(0, 0).queue;
        let reading = history.read_back.get_mut(&queue).unwrap();
        reading.messages.insert(0, a_delivery(number, u64::from(number)));
    }

    fn texts(history: &History, facts: &Facts) -> Vec<String> {
        check(history, facts).into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn what_comes_behind_a_deletion_is_none_of_it() {
        let (history, facts) = story();
        assert_eq!(texts(&history, &facts), [] as [&str; 0]);
        assert_eq!(facts.lawful(&history), [&in_log(200)]);
    }

    #[test]
    fn what_was_deleted_does_not_come_again() {
        let (mut history, facts) = story();
        come_again(&mut history, 1);
        let found = texts(&history, &facts);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("1 of 2 messages are there again"), "{found:?}");
    }

    #[test]
    fn a_deletion_that_is_in_no_log_was_confirmed_all_the_same() {
        let (mut history, mut facts) = story();
        facts.in_log.clear();
        facts.confirmed.clear();
        assert_eq!(texts(&history, &facts), [] as [&str; 0]);
        come_again(&mut history, 1);
        assert_eq!(texts(&history, &facts).len(), 1);
        // Another record lies there now.
        history.sends.clear();
        assert_eq!(texts(&history, &facts), [] as [&str; 0]);
    }

    #[test]
    fn what_was_not_confirmed_or_is_not_owed_any_more_may_come_again() {
        let (mut history, mut facts) = story();
        come_again(&mut history, 1);
        facts.confirmed = vec![confirmed(200, false)];
        assert_eq!(texts(&history, &facts), [] as [&str; 0]);
        facts.confirmed = vec![confirmed(200, true)];
        history.deletions = vec![order(false)];
        assert_eq!(texts(&history, &facts), [] as [&str; 0]);
        // Confirmed was another topic, or another group.
        let (topic, group) = ("U".into(), "b".into());
        let others =
            [TopicDeletion { topic, ..order(true) }, TopicDeletion { group, ..order(true) }];
        history.deletions.extend(others);
        assert_eq!(texts(&history, &facts), [] as [&str; 0]);
    }

    #[test]
    fn nobody_deletes_what_nobody_asked_to_be_deleted() {
        let (mut history, mut facts) = story();
        facts.in_log.push(in_log(400));
        let found = texts(&history, &facts);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("at 400 that topic T was deleted, which nobody"), "{found:?}");
        // He asked twice, as he had no answer.
        history.deletions[0].asked = 2;
        assert_eq!(texts(&history, &facts), [] as [&str; 0]);
        facts.in_log[1].appended_us = Some(49);
        assert_eq!(facts.lawful(&history), [&in_log(200)], "before he asked at all");
        history.deletions.clear();
        assert_eq!(facts.lawful(&history).len(), 0);
    }
}
