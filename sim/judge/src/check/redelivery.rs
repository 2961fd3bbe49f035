//! What a consumer group gives back comes again, or becomes a dead letter: nothing that was acknowledged ends
//! between two deliveries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bound::Promise;
use super::{Checker, Violation};
use crate::history::{Delivery, GivenBack, History};

/// A message that a group gave back and never got again, and what is known of it.
#[derive(Clone, Debug)]
pub struct Awaited<'a> {
    /// Its last failure.
    pub last: &'a GivenBack,
    /// What brokers stored to deliver it again, since then.
    pub copies: Vec<AwaitedCopy>,
    /// Whether it may be away for another reason: the message itself is lost, or the group had stood beyond it.
    pub is_excused: bool,
}

/// What a broker stored to deliver a message again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedCopy {
    /// Whether the broker group's present log owes it.
    pub owed: bool,
    /// What became of the copies.
    pub custody: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Messages whose redelivery a fault took.
    pub lost: Vec<u32>,
    /// Broken promises.
    pub violations: Vec<Violation>,
}

/// Numbers of messages, by consumer group.
type ByGroup<'a> = BTreeMap<&'a str, BTreeSet<u32>>;

/// What groups gave back last and have neither got again nor as a dead letter. A group that had consumed a message before
/// has what it wanted: a member that got it once more, and failed, need not get it again.
#[must_use]
pub fn awaited(history: &History) -> Vec<&GivenBack> {
    if history.given_back.is_empty() {
        return Vec::new();
    }
    let mut last: BTreeMap<(&str, u32), &GivenBack> = BTreeMap::new();
    for given in &history.given_back {
        last.insert((&given.consumer_group, given.number), given);
    }
    for delivery in &history.deliveries {
        let Some(place) = place_of(delivery) else { continue };
        if last.get(&place).is_some_and(|it| it.ordinal < delivery.ordinal) {
            last.remove(&place);
        }
    }
    for place in history.consumed().filter_map(place_of) {
        last.remove(&place);
    }
    let dead = dead_letters(history);
    let is_dead = |it: &&GivenBack| {
        dead.get(&*it.consumer_group).is_some_and(|dead| dead.contains(&it.number))
    };
    last.into_values().filter(|it| !is_dead(it)).collect()
}

/// What was delivered to which group.
fn place_of(delivery: &Delivery) -> Option<(&str, u32)> {
    Some((&delivery.consumer_group, delivery.number?))
}

/// The dead letters that the fresh group found, by consumer group.
#[must_use]
pub fn dead_letters(history: &History) -> ByGroup<'_> {
    let mut dead = ByGroup::new();
    for (queue, reading) in &history.read_back {
        if let Some(group) = queue.topic.strip_prefix(mq_protocol::message::DLQ_GROUP_TOPIC_PREFIX)
        {
            dead.entry(group)
                .or_default()
                .extend(reading.messages.iter().filter_map(|it| it.number));
        }
    }
    dead
}

/// How often each consumer group gave each message back.
#[must_use]
pub fn times_given_back(history: &History) -> BTreeMap<(&str, u32), u32> {
    let mut times = BTreeMap::new();
    for it in &history.given_back {
        *times.entry((&*it.consumer_group, it.number)).or_default() += 1;
    }
    times
}

/// Judges what is awaited, and the dead letters. `times_max` are the redeliveries that each consumer group wants
/// before a message is one.
#[must_use]
pub fn check(
    history: &History,
    awaited: &[Awaited<'_>],
    promise: Promise,
    times_max: &BTreeMap<Arc<str>, u32>,
) -> Judged {
    let mut judged = Judged::default();
    for message in awaited.iter().filter(|it| !it.is_excused) {
        match what_became(message, promise) {
            Ok(()) => judged.lost.push(message.last.number),
            Err(violation) => judged.violations.push(violation),
        }
    }
    judged.violations.extend(died_early(history, times_max));
    judged
}

/// Why a message may have ended between two deliveries.
fn what_became(message: &Awaited<'_>, promise: Promise) -> Result<(), Violation> {
    let GivenBack { number, consumer_group, ordinal, .. } = message.last;
    let broken =
        |text: String| Err(Violation::new(Checker::Redelivery, text).of(*number).at(*ordinal));
    let given_back = format!("message {number}, given back by {consumer_group},");
    if let Some(copy) = message.copies.iter().find(|copy| copy.owed) {
        return broken(format!(
            "{given_back} never came again, and nothing took it: {}",
            copy.custody
        ));
    }
    let Some(copy) = message.copies.last() else {
        return broken(format!("{given_back} never came again: no broker stored it"));
    };
    match promise {
        Promise::Never => broken(format!("{given_back} is lost: {}", copy.custody)),
        Promise::May | Promise::All | Promise::Owed => Ok(()),
    }
}

/// A dead letter was given back as often as its group wants, and once more.
fn died_early(history: &History, times_max: &BTreeMap<Arc<str>, u32>) -> Vec<Violation> {
    let given = times_given_back(history);
    let mut violations = Vec::new();
    for (group, numbers) in dead_letters(history) {
        let Some(times_max) = times_max.get(group) else { continue };
        for number in numbers {
            let times = given.get(&(group, number)).copied().unwrap_or_default();
            if times <= *times_max {
                let text = format!(
                    "message {number} is a dead letter of {group}, which gave it back {times} times and wants \
                     {times_max} redeliveries"
                );
                violations.push(Violation::new(Checker::Redelivery, text).of(number));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{QueueKey, a_delivery};

    fn given_back(number: u32, ordinal: u64) -> GivenBack {
        GivenBack {
            number,
            consumer: "c".into(),
            consumer_group: "g".into(),
            group: "a".into(),
            delivered: ordinal - 1,
            is_last: false,
            ordinal,
        }
    }

    fn history(given: &[(u32, u64)], delivered: &[(u32, u64)], dead: &[u32]) -> History {
        let given_back = given.iter().map(|it| given_back(it.0, it.1)).collect();
        let mut history = History { given_back, ..History::default() };
        let delivery = |(number, ordinal): &(u32, u64)| crate::history::Delivery {
            ordinal: *ordinal,
            ..a_delivery(*number, 0)
        };
        history.deliveries = delivered.iter().map(delivery).collect();
        let topic = "%DLQ%g".into();
        let queue = QueueKey { topic, ..a_delivery(0, 0).queue };
        let reading = history.read_back.entry(queue).or_default();
        reading.messages = dead.iter().map(|number| a_delivery(*number, 0)).collect();
        history
    }

    fn numbers(history: &History) -> Vec<u32> {
        awaited(history).iter().map(|it| it.number).collect()
    }

    #[test]
    fn what_is_given_back_is_awaited_until_it_comes_or_is_dead() {
        let given = [(1, 11), (2, 12), (3, 13)];
        assert_eq!(numbers(&history(&given, &[(1, 10), (2, 11), (3, 12)], &[])), [1, 2, 3]);
        assert_eq!(numbers(&history(&given, &[(1, 10), (2, 20), (3, 12)], &[3])), [1]);
        let twice = [(1, 11), (1, 21)];
        assert_eq!(numbers(&history(&twice, &[(1, 20)], &[])), [1], "the last failure counts");
        assert_eq!(numbers(&history(&twice, &[(1, 20), (1, 30)], &[])), [0; 0]);
        // Another member had consumed it; one that died while it was at it had not.
        let mut consumed = history(&given[..1], &[(1, 5), (1, 10)], &[]);
        assert_eq!(numbers(&consumed), [0; 0]);
        consumed.cut_short.insert(5);
        assert_eq!(numbers(&consumed), [1]);
        let mut of_another = history(&given[..1], &[(1, 20)], &[]);
        of_another.deliveries[0].consumer_group = "h".into();
        assert_eq!(numbers(&of_another), [1]);
    }

    fn judge(copies: &[bool], is_excused: bool, promise: Promise) -> Judged {
        let last = given_back(1, 11);
        let copies = copies.iter().map(|owed| AwaitedCopy { owed: *owed, custody: "x".to_owned() });
        let awaited = [Awaited { last: &last, copies: copies.collect(), is_excused }];
        check(&History::default(), &awaited, promise, &BTreeMap::new())
    }

    #[test]
    fn only_what_a_fault_took_may_stay_away() {
        for promise in [Promise::Owed, Promise::Never, Promise::May, Promise::All] {
            assert_eq!(judge(&[], true, promise), Judged::default());
            assert!(judge(&[], false, promise).violations[0].text.contains("no broker stored it"));
            let owed = judge(&[false, true], false, promise);
            assert!(owed.violations[0].text.contains("nothing took it"), "{owed:?}");
        }
        let lost = judge(&[false], false, Promise::Owed);
        assert_eq!((lost.lost.len(), lost.violations.len()), (1, 0));
        let lost = judge(&[false], false, Promise::Never);
        assert!(lost.violations[0].text.contains("is lost"), "{lost:?}");
    }

    #[test]
    fn nothing_dies_before_its_time() {
        let times_max = BTreeMap::from([("g".into(), 1)]);
        let judge = |given: &[(u32, u64)]| {
            check(&history(given, &[], &[1]), &[], Promise::Owed, &times_max).violations
        };
        assert_eq!(judge(&[(1, 11), (1, 21)]), vec![]);
        assert_eq!(judge(&[(1, 11), (2, 21)]).len(), 1);
    }
}
