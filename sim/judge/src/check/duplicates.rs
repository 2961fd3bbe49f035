//! A message that comes more than once has an alibi: its group had given it back, a member took the queue anew,
//! its producer had sent it again, or a broker that came back stored it once more. Without one, somebody hands out
//! messages twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use mq_protocol::message::RETRY_GROUP_TOPIC_PREFIX;

use super::offsets::resets::set_back;
use super::{Checker, Violation};
use crate::history::{Delivery, GroupQueue, History, PullOffset, QueueKey};
use crate::ledger::custody::Moment;

/// Attempts of one send at most (`retryTimesWhenSendFailed` of a producer).
pub const ATTEMPTS_MAX: u32 = 3;

/// Facts beside the history.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Topics of which a message is appended once more before anybody gets it.
    pub appended_again: BTreeSet<Arc<str>>,
    /// When brokers of a group started anew, by `brokerName`.
    pub restarts: BTreeMap<Arc<str>, Vec<Moment>>,
    /// Ordinal of the first fault, or of the first connection that broke; an answer may be lost from there on.
    pub troubled_from: Option<u64>,
    /// Broker groups on whose master's disk a device damaged records: topics and properties have no checksum.
    pub damaged: BTreeSet<Arc<str>>,
}

/// Why a message came once more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alibi {
    /// Its group had given it back.
    GivenBack,
    /// Its group had given it back, and more than one broker stored that: an answer was lost.
    GivenBackTwice,
    /// Another member, or the same one once more, took the queue from an offset at or before it.
    QueueTaken {
        /// Who took it.
        consumer: Arc<str>,
        /// From which queue offset on.
        queue_offset: u64,
        /// Ordinal of the trace event.
        ordinal: u64,
    },
    /// An operator had set its group back.
    SetBack {
        /// To which queue offset.
        to: u64,
        /// Ordinal of the trace event at which the operator began.
        ordinal: u64,
    },
    /// Two members had the queue at the same time: it had been taken before the other one was given the message.
    OwnedTwice {
        /// Who had it as well.
        consumer: Arc<str>,
        /// Ordinal of the trace event at which that one took it.
        ordinal: u64,
    },
    /// Its producer sent it more than once.
    SentAgain {
        /// How often; `None` where nobody was left to tell.
        attempts: Option<u32>,
    },
    /// Its producer started anew and sent it again, out of its outbox: it did not know the outcome.
    SentAnew {
        /// How often it started a send of it.
        sends: usize,
    },
    /// A device damaged records there: what is read of them tells nothing.
    Damaged,
    /// A delayed message, or one of a transaction, was stored once more after a broker had started anew.
    StoredAgain,
}

impl fmt::Display for Alibi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alibi::GivenBack => f.write_str("its group had given it back"),
            Alibi::GivenBackTwice => {
                f.write_str("it was given back once more, as the answer had been lost")
            }
            Alibi::QueueTaken { consumer, queue_offset, ordinal } => {
                write!(f, "{consumer} took the queue from {queue_offset} on (#{ordinal})")
            }
            Alibi::SetBack { to, ordinal } => {
                write!(f, "an operator had set its group back to {to} (#{ordinal})")
            }
            Alibi::OwnedTwice { consumer, ordinal } => {
                write!(f, "{consumer} had the queue as well (since #{ordinal})")
            }
            Alibi::SentAgain { attempts: Some(attempts) } => {
                write!(f, "its producer sent it {attempts} times")
            }
            Alibi::SentAgain { attempts: None } => {
                f.write_str("its producer ended while it sent it")
            }
            Alibi::SentAnew { sends } => {
                write!(f, "its producer started anew and sent it again ({sends} sends)")
            }
            Alibi::Damaged => f.write_str("a device damaged records of its broker group"),
            Alibi::StoredAgain => f.write_str("a broker that started anew stored it once more"),
        }
    }
}

/// A message that came once more.
#[derive(Clone, Debug)]
pub struct Duplicate<'a> {
    /// The delivery.
    pub delivery: &'a Delivery,
    /// The one before it.
    pub before: &'a Delivery,
    /// Why; `None`: for no reason.
    pub alibi: Option<Alibi>,
}

/// Every delivery of a message beyond its first to a consumer group, in the order of groups and messages. `facts` are
/// asked for only if there is one.
#[must_use]
pub fn duplicates(history: &History, facts: impl FnOnce() -> Facts) -> Vec<Duplicate<'_>> {
    let repeated = repeated(history);
    if repeated.is_empty() {
        return Vec::new();
    }
    let mut by_message: BTreeMap<(&Arc<str>, u32), Vec<&Delivery>> = BTreeMap::new();
    for delivery in &history.deliveries {
        let message = delivery.number.map(|number| (&delivery.consumer_group, number));
        if let Some(message) = message.filter(|message| repeated.contains(message)) {
            by_message.entry(message).or_default().push(delivery);
        }
    }
    let facts = facts();
    let causes = Causes::of(history, &facts);
    let mut duplicates = Vec::new();
    for deliveries in by_message.values() {
        for (index, delivery) in deliveries.iter().copied().enumerate().skip(1) {
            let earlier = &deliveries[..index];
            let is_damaged = facts.damaged.contains(&delivery.queue.group);
            let alibi = causes.alibi(delivery, earlier);
            let alibi = alibi.or(is_damaged.then_some(Alibi::Damaged));
            duplicates.push(Duplicate { delivery, before: earlier[index - 1], alibi });
        }
    }
    duplicates
}

/// The messages that came to a consumer group more than once.
fn repeated(history: &History) -> BTreeSet<(&Arc<str>, u32)> {
    let mut seen: BTreeMap<&Arc<str>, Vec<bool>> = BTreeMap::new();
    let mut repeated = BTreeSet::new();
    for delivery in &history.deliveries {
        let Some(number) = delivery.number else { continue };
        let seen = seen.entry(&delivery.consumer_group).or_default();
        let index = number as usize;
        seen.resize(seen.len().max(index + 1), false);
        if std::mem::replace(&mut seen[index], true) {
            repeated.insert((&delivery.consumer_group, number));
        }
    }
    repeated
}

/// Those without an alibi.
#[must_use]
pub fn check(duplicates: &[Duplicate<'_>]) -> Vec<Violation> {
    let without = duplicates.iter().filter(|it| it.alibi.is_none());
    let violations = without.map(|Duplicate { delivery, before, .. }| {
        let Delivery { key, consumer, consumer_group, queue, queue_offset, ordinal, .. } = delivery;
        let text = format!(
            "{consumer_group} got {key} twice without a cause: {consumer} from {queue} offset {queue_offset}, after \
             {} from {} offset {} (#{})",
            before.consumer, before.queue, before.queue_offset, before.ordinal
        );
        let number = delivery.number.unwrap_or_default();
        Violation::new(Checker::Duplicates, text).of(number).at(*ordinal)
    });
    violations.collect()
}

/// What there is of causes in a history.
struct Causes<'a> {
    history: &'a History,
    facts: &'a Facts,
    /// By group and queue, in the order of the trace.
    taken: BTreeMap<GroupQueue, Vec<&'a PullOffset>>,
    /// Ordinals of failures, with those of the deliveries that they answer, by group and message.
    given_back: BTreeMap<(&'a str, u32), Vec<(u64, u64)>>,
    attempts: BTreeMap<u32, Option<u32>>,
}

impl<'a> Causes<'a> {
    fn of(history: &'a History, facts: &'a Facts) -> Self {
        let mut taken: BTreeMap<GroupQueue, Vec<&PullOffset>> = BTreeMap::new();
        for it in &history.pull_offsets {
            let place = (Arc::clone(&it.consumer_group), it.queue.clone());
            taken.entry(place).or_default().push(it);
        }
        let mut given_back: BTreeMap<(&str, u32), Vec<(u64, u64)>> = BTreeMap::new();
        for it in &history.given_back {
            let failures = given_back.entry((&it.consumer_group, it.number)).or_default();
            failures.push((it.ordinal, it.delivered));
        }
        let attempts = history.sends.iter().map(|send| (send.number, send.attempts)).collect();
        Causes { history, facts, taken, given_back, attempts }
    }

    fn alibi(&self, delivery: &Delivery, earlier: &[&Delivery]) -> Option<Alibi> {
        let record = record(delivery);
        let same: Vec<_> = earlier.iter().filter(|it| self::record(it) == record).collect();
        if same.is_empty() {
            return self.stored_more_than_once(delivery, earlier);
        }
        let to_same = same.iter().rfind(|it| it.consumer == delivery.consumer);
        let since = to_same.map_or(0, |it| it.ordinal);
        let first = same[0].ordinal;
        self.queue_taken(delivery, since, first).or_else(|| {
            // What could be neither consumed nor sent back is consumed where it is.
            let last = to_same?;
            let mut failures = self.failures(delivery);
            failures.any(|(_, of)| of == last.ordinal).then_some(Alibi::GivenBack)
        })
    }

    /// The last time before a delivery that its consumer took the queue, if that was after `since`; the record had been
    /// delivered at `first`.
    fn queue_taken(&self, delivery: &Delivery, since: u64, first: u64) -> Option<Alibi> {
        let place = (Arc::clone(&delivery.consumer_group), delivery.queue.clone());
        let mut taken = self.taken.get(&place)?.iter().rev();
        let last = taken.find(|it| {
            it.consumer == delivery.consumer
                && (since..delivery.ordinal).contains(&it.ordinal)
                && it.queue_offset <= delivery.queue_offset
        })?;
        if let Some(reset) = set_back(self.history, last) {
            return Some(Alibi::SetBack { to: reset.to, ordinal: reset.ordinal });
        }
        let PullOffset { consumer, queue_offset, ordinal, .. } = last;
        let (consumer, queue_offset, ordinal) = (Arc::clone(consumer), *queue_offset, *ordinal);
        Some(match ordinal < first {
            true => Alibi::OwnedTwice { consumer, ordinal },
            false => Alibi::QueueTaken { consumer, queue_offset, ordinal },
        })
    }

    /// Why the message lies at another place as well.
    fn stored_more_than_once(&self, delivery: &Delivery, earlier: &[&Delivery]) -> Option<Alibi> {
        let is_retry = |it: &Delivery| it.queue.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX);
        let of_kind = earlier.iter().filter(|it| is_retry(it) == is_retry(delivery));
        let records: BTreeSet<_> = of_kind.map(|it| record(it)).collect();
        // With its own.
        let records = records.len() + 1;
        if is_retry(delivery) {
            return match self.failures(delivery).count() {
                0 => None,
                failures if records <= failures => Some(Alibi::GivenBack),
                _ => self.is_troubled(delivery).then_some(Alibi::GivenBackTwice),
            };
        }
        let attempts = delivery.number.and_then(|number| self.attempts.get(&number)).copied();
        if let Some(sends) = self.sends_anew(delivery)
            && records <= sends * ATTEMPTS_MAX as usize
        {
            return Some(Alibi::SentAnew { sends });
        }
        match attempts {
            // The send is still under way.
            None | Some(None) => return Some(Alibi::SentAgain { attempts: None }),
            Some(Some(attempts)) if records <= attempts as usize => {
                return Some(Alibi::SentAgain { attempts: Some(attempts) });
            }
            Some(Some(_)) => {}
        }
        let restarts = self.facts.restarts.get(&delivery.queue.group);
        let has_restarted =
            restarts.is_some_and(|it| it.iter().any(|it| it.ordinal < delivery.ordinal));
        let is_again = self.facts.appended_again.contains(&delivery.queue.topic);
        (is_again && has_restarted).then_some(Alibi::StoredAgain)
    }

    /// When the message had been given back before it was delivered, and the deliveries that this answers.
    fn failures(&self, delivery: &Delivery) -> impl Iterator<Item = (u64, u64)> {
        let number = delivery.number.unwrap_or_default();
        let failures = self.given_back.get(&(&*delivery.consumer_group, number));
        let failures = failures.cloned().unwrap_or_default();
        let before = delivery.ordinal;
        failures.into_iter().filter(move |(ordinal, _)| *ordinal < before)
    }

    /// How often the sending of a message was begun before it was delivered, if that was more than once.
    fn sends_anew(&self, delivery: &Delivery) -> Option<usize> {
        let anew = self.history.sent_anew.get(&delivery.number?)?;
        let anew = anew.iter().filter(|ordinal| **ordinal < delivery.ordinal).count();
        (anew > 0).then_some(anew + 1)
    }

    fn is_troubled(&self, delivery: &Delivery) -> bool {
        self.facts.troubled_from.is_some_and(|from| from < delivery.ordinal)
    }
}

/// What tells one record of a message from another.
fn record(delivery: &Delivery) -> (&QueueKey, u64, u64) {
    (&delivery.queue, delivery.queue_offset, delivery.phy_offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{GivenBack, OffsetReset, SendOp, a_delivery, a_send};

    fn at(ordinal: u64, queue_offset: u64, consumer: &str) -> Delivery {
        Delivery { ordinal, consumer: consumer.into(), ..a_delivery(1, queue_offset) }
    }

    fn again(ordinal: u64, queue_offset: u64) -> Delivery {
        let queue = QueueKey { topic: "%RETRY%g".into(), ..a_delivery(1, 0).queue };
        Delivery { queue, ..at(ordinal, queue_offset, "c") }
    }

    fn taken(consumer: &str, queue_offset: u64, ordinal: u64) -> PullOffset {
        PullOffset {
            consumer: consumer.into(),
            consumer_group: "g".into(),
            queue: a_delivery(1, 0).queue,
            queue_offset,
            ordinal,
        }
    }

    fn failure(delivered: u64, ordinal: u64) -> GivenBack {
        GivenBack {
            number: 1,
            consumer: "c".into(),
            consumer_group: "g".into(),
            group: "a".into(),
            delivered,
            is_last: false,
            ordinal,
        }
    }

    /// The alibis of deliveries of message 1, which was sent `attempts` times.
    fn alibis(
        deliveries: &[Delivery],
        attempts: Option<u32>,
        doctor: impl FnOnce(&mut History, &mut Facts),
    ) -> Vec<Option<Alibi>> {
        let mut history = History { deliveries: deliveries.to_vec(), ..History::default() };
        history.sends.push(SendOp { place: None, attempts, ..a_send(1, 0) });
        let mut facts = Facts::default();
        doctor(&mut history, &mut facts);
        let found = duplicates(&history, || facts);
        assert_eq!(check(&found).len(), found.iter().filter(|it| it.alibi.is_none()).count());
        found.into_iter().map(|it| it.alibi).collect()
    }

    #[test]
    fn a_queue_is_read_anew_only_by_who_took_it() {
        let calm = |_: &mut History, _: &mut Facts| {};
        assert_eq!(alibis(&[at(10, 5, "c")], Some(1), calm), []);
        let twice = [at(10, 5, "c"), at(20, 5, "c")];
        assert_eq!(alibis(&twice, Some(3), calm), [None], "one record, however often it was sent");
        let found = |pulls: &[PullOffset]| {
            alibis(&twice, Some(1), |history, _| history.pull_offsets = pulls.to_vec())
        };
        assert!(found(&[taken("c", 5, 15)])[0].is_some());
        assert_eq!(found(&[taken("c", 5, 9)]), [None], "before it was delivered first");
        assert_eq!(found(&[taken("c", 6, 15)]), [None], "behind it");
        assert_eq!(found(&[taken("d", 5, 15)]), [None], "somebody else");
        // Another member may have taken the queue before the first one was given it.
        let both = [at(10, 5, "c"), at(20, 5, "d")];
        let took = |history: &mut History, _: &mut Facts| {
            history.pull_offsets = vec![taken("d", 2, 8)];
        };
        let alibi = Alibi::OwnedTwice { consumer: "d".into(), ordinal: 8 };
        assert_eq!(alibis(&both, Some(1), took), [Some(alibi)]);
        assert_eq!(alibis(&both, Some(1), calm), [None]);
    }

    #[test]
    fn what_was_given_back_comes_once_for_each_time() {
        let deliveries = [at(10, 5, "c"), again(20, 0), again(30, 1)];
        let found = |failures: &[GivenBack], troubled_from| {
            alibis(&deliveries, Some(1), |history, facts| {
                history.given_back = failures.to_vec();
                facts.troubled_from = troubled_from;
            })
        };
        let back = Some(Alibi::GivenBack);
        assert_eq!(found(&[failure(10, 11), failure(20, 21)], None), [back.clone(), back.clone()]);
        assert_eq!(found(&[failure(10, 11)], None), [back.clone(), None]);
        assert_eq!(found(&[failure(10, 11)], Some(25)), [back, Some(Alibi::GivenBackTwice)]);
        assert_eq!(found(&[], Some(1)), [None, None], "nobody asked for it");
        // Where it cannot be sent back it is consumed once more.
        let local = [at(10, 5, "c"), at(20, 5, "c")];
        let asked = |history: &mut History, _: &mut Facts| {
            history.given_back = vec![failure(10, 11)];
        };
        assert_eq!(alibis(&local, Some(1), asked), [Some(Alibi::GivenBack)]);
    }

    #[test]
    fn a_group_that_an_operator_sets_back_gets_things_again() {
        let twice = [at(10, 5, "c"), at(30, 5, "c")];
        let found = |to: u64, ordinal: u64, taken_from: u64| {
            alibis(&twice, Some(1), |history, _| {
                let (consumer_group, queue, from, at_us) =
                    ("g".into(), a_delivery(1, 0).queue, 9, 0);
                let reset = OffsetReset { consumer_group, queue, from, to, at_us, ordinal };
                history.offset_resets.push(reset);
                history.pull_offsets.push(taken("c", taken_from, 21));
            })
        };
        assert_eq!(found(3, 20, 3), [Some(Alibi::SetBack { to: 3, ordinal: 20 })]);
        let by_itself = Alibi::QueueTaken { consumer: "c".into(), queue_offset: 4, ordinal: 21 };
        assert_eq!(found(3, 20, 4), [Some(by_itself)], "nobody sent it there");
        assert_eq!(found(3, 20, 6), [None], "and nobody took it from there");
    }

    #[test]
    fn a_producer_that_starts_anew_sends_what_it_knows_nothing_of() {
        let two = [at(10, 5, "c"), at(20, 6, "c")];
        let found = |anew: &[u64]| {
            let anew = anew.to_vec();
            alibis(&two, Some(1), |history, _| drop(history.sent_anew.insert(1, anew)))
        };
        assert_eq!(found(&[15]), [Some(Alibi::SentAnew { sends: 2 })]);
        assert_eq!(found(&[25]), [None], "only later");
        assert_eq!(found(&[]), [None]);
        let many: Vec<Delivery> = (0..8).map(|it| at(20 + it, it, "c")).collect();
        let last = alibis(&many, Some(1), |history, _| drop(history.sent_anew.insert(1, vec![15])));
        assert_eq!(last.last(), Some(&None), "more records than two sends have attempts");
    }

    #[test]
    fn two_records_are_two_attempts_or_a_broker_that_came_back() {
        let calm = |_: &mut History, _: &mut Facts| {};
        let two = [at(10, 5, "c"), at(20, 6, "c")];
        assert_eq!(alibis(&two, Some(1), calm), [None]);
        assert_eq!(alibis(&two, Some(2), calm), [Some(Alibi::SentAgain { attempts: Some(2) })]);
        assert_eq!(alibis(&two, None, calm), [Some(Alibi::SentAgain { attempts: None })]);
        let back = |restart: u64, topic: &'static str| {
            move |_: &mut History, facts: &mut Facts| {
                let restart = Moment { ordinal: restart, ..Moment::default() };
                facts.restarts.insert("a".into(), vec![restart]);
                facts.appended_again.insert(topic.into());
            }
        };
        assert_eq!(alibis(&two, Some(1), back(15, "T")), [Some(Alibi::StoredAgain)]);
        assert_eq!(alibis(&two, Some(1), back(15, "U")), [None], "nobody stores it twice");
        assert_eq!(alibis(&two, Some(1), back(25, "T")), [None], "it came back later");
        let rots = |_: &mut History, facts: &mut Facts| {
            facts.damaged.insert("a".into());
        };
        assert_eq!(alibis(&two, Some(1), rots), [Some(Alibi::Damaged)]);
    }
}
