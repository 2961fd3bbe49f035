//! What the checkers are fed with: the clients' history beside the disks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use staticfire_judge::check::acked_durable::{AckedMessage, Missed};
use staticfire_judge::check::offsets::excuse::{Excuses, Reused};
use staticfire_judge::check::{Checker, Violation, ack_predicate};
use staticfire_judge::history::{Delivery, History, QueueKey, SendOp};
use staticfire_world::trace::{Name, Trace, TraceEvent};

use super::deleted::Deleted;
use super::trail;
use crate::run::report::{Finding, Verdict};
use crate::run::settle::Absence;
use crate::run::{GroupStory, Story};

/// What was delivered to whom, once for all broker groups.
pub(super) struct Delivered {
    /// Numbers of messages that came back as they were sent, by consumer group.
    given: BTreeMap<Name, BTreeSet<u32>>,
    /// Messages that may pass a consumer group by.
    skippable: BTreeSet<(Name, u32)>,
    /// Messages that an operator had a consumer group pass over.
    reset_over: BTreeSet<(Name, u32)>,
    /// Those of them that it was not given.
    pub(super) passed_over: BTreeSet<(Name, u32)>,
    /// Consumer groups and the broker groups that they are cut off from.
    cut_off: BTreeSet<(Name, Name)>,
}

/// What may pass consumer groups by.
pub(super) fn excuses(story: &Story, trace: &Trace) -> Excuses {
    let appended_us = |send: &SendOp| {
        let place = send.place.as_ref()?;
        let answered = story.history.answered(send).ordinal;
        let fact = story.ledger.ack_fact(&place.queue.group, place.phy_offset, answered)?;
        Some(fact.appended_us)
    };
    let reused = match story.history.unwanted.is_empty() {
        true => Reused::new(),
        false => reused(story, trace),
    };
    Excuses::of(&story.history, appended_us, &reused)
}

/// Queue offsets at which one record was appended after another.
fn reused(story: &Story, trace: &Trace) -> Reused {
    let mut ends: BTreeMap<QueueKey, u64> = BTreeMap::new();
    let mut reused = Reused::new();
    trace.read(|records| {
        for record in records {
            let TraceEvent::Appended { topic, queue_id, queue_offset, .. } = &record.event else {
                continue;
            };
            let Some(group) = story.groups.iter().find(|it| it.has(&record.source)) else {
                continue;
            };
            let (group, topic) = (Name::from(&*group.name), Arc::clone(topic));
            let queue = QueueKey { group, topic, queue_id: *queue_id };
            let end = ends.entry(queue.clone()).or_default();
            if *queue_offset < *end {
                reused.entry(queue).or_default().insert(*queue_offset, record.ordinal);
            }
            *end = (*end).max(queue_offset + 1);
        }
    });
    reused
}

impl Delivered {
    pub(super) fn of(story: &Story, excuses: &Excuses) -> Self {
        let history = &story.history;
        let mut given: BTreeMap<Name, BTreeSet<u32>> = BTreeMap::new();
        for delivery in history.ended() {
            let group = given.entry(Arc::clone(&delivery.consumer_group)).or_default();
            group.extend(intact(delivery));
        }
        let passed = excuses.places().filter_map(|place| {
            Some((&place.0, excuses.at(place), history.read_back.get(&place.1)?))
        });
        let skippable = passed.flat_map(|(group, excuse, reading)| {
            let messages =
                reading.messages.iter().filter(move |it| excuse.is_beyond(it.queue_offset));
            messages.filter_map(|it| Some((Name::clone(group), it.number?)))
        });
        let cut_off = story.cut_off.keys().cloned().collect();
        let skippable = skippable.collect();
        let reset_over = super::passed_over::reset_over(history, excuses);
        let is_missed = |(group, number): &&(Name, u32)| {
            given.get(group).is_none_or(|given| !given.contains(number))
        };
        let passed_over = reset_over.iter().filter(is_missed).cloned().collect();
        Delivered { given, skippable, reset_over, passed_over, cut_off }
    }

    /// Whether a message may pass a consumer group by, wherever it lies.
    pub(super) fn may_pass_by(&self, consumer_group: &Name, number: u32) -> bool {
        let message = (Name::clone(consumer_group), number);
        self.skippable.contains(&message) || self.passed_over.contains(&message)
    }

    /// Whether an operator had a consumer group pass over a message, wherever it lies.
    pub(super) fn is_reset_over(&self, consumer_group: &Name, number: u32) -> bool {
        self.reset_over.contains(&(Name::clone(consumer_group), number))
    }

    /// Why consumer groups were not given what they could have been, and how much that is.
    pub(super) fn waiting(&self, story: &Story) -> Vec<Finding> {
        let cut_off = story.cut_off.iter();
        cut_off
            .filter_map(|(place, absence)| self.waits_for(&story.history, place, absence))
            .collect()
    }

    fn waits_for(
        &self,
        history: &History,
        (consumers, group): &(Name, Name),
        absence: &Absence,
    ) -> Option<Finding> {
        let topics = history.subscriptions.get(consumers)?;
        let queues = history.read_back.iter();
        let queues = queues.filter(|(it, _)| it.group == *group && topics.contains(&it.topic));
        let numbers = queues.flat_map(|(_, it)| it.messages.iter().filter_map(|it| it.number));
        let given = self.given.get(consumers);
        let is_owed = |number: &u32| {
            given.is_none_or(|given| !given.contains(number)) && history.wants(consumers, *number)
        };
        let waiting = numbers.filter(is_owed).count();
        let (verdict, why) = match absence {
            Absence::NobodyLeft(why) => (Verdict::Kept, format!("nobody of it is left: {why}")),
            Absence::Unreached(why) => (Verdict::Undecided, why.clone()),
        };
        (waiting > 0).then(|| {
            let text = format!("messages of {group} wait for {consumers} ({waiting}): {why}");
            Finding::new(verdict, text)
        })
    }

    /// The consumer groups that were owed a message and never got it; it is to be read at `there`.
    fn missed(
        &self,
        history: &History,
        send: &SendOp,
        there: Option<&(&QueueKey, u64)>,
    ) -> Vec<Missed> {
        let has_it = |group: &&Name| {
            self.given.get(*group).is_some_and(|given| given.contains(&send.number))
        };
        let can_have_it = |group: &&Name| {
            let there = send.place.as_ref().map(|place| Name::clone(&place.queue.group));
            there.is_none_or(|there| !self.cut_off.contains(&(Name::clone(group), there)))
        };
        let missed = history.subscribers(&send.topic);
        let missed = missed.filter(|group| history.wants(group, send.number));
        let is_passed_over =
            |group: &&Name| self.passed_over.contains(&(Name::clone(group), send.number));
        let missed = missed.filter(|it| !has_it(it) && can_have_it(it) && !is_passed_over(it));
        missed
            .map(|group| {
                let stood_beyond = self.skippable.contains(&(Arc::clone(group), send.number));
                let there = there.filter(|_| !stood_beyond);
                let how = there.map(|(queue, offset)| trail::past(history, group, queue, *offset));
                Missed { group: Arc::clone(group), stood_beyond, how: how.unwrap_or_default() }
            })
            .collect()
    }
}

/// The acknowledged messages of a broker group with what is known of each. Which record a message of
/// `appended_again` topics had the second time is known of those alone that were read back: where a device
/// damaged any record, it may be that of one that was not.
pub(super) fn acked_messages(
    story: &Story,
    group: &GroupStory,
    delivered: &Delivered,
    rotten: &RottenRecords,
    appended_again: &BTreeSet<&str>,
    deleted: &Deleted<'_>,
) -> Vec<AckedMessage> {
    let history = &story.history;
    let here = |name: &str| name == group.name;
    let queues =
        history.read_back.iter().filter(|(queue, _)| here(&queue.group) && queue.is_of_topic());
    let messages =
        queues.flat_map(|(key, reading)| reading.messages.iter().map(move |it| (key, it)));
    let read_back: BTreeMap<u32, (&QueueKey, u64)> =
        messages.filter_map(|(key, it)| Some((intact(it)?, (key, it.queue_offset)))).collect();
    let has_expired = |end_offset, acked| {
        // What only a slave has removed is there for whoever reads.
        let mut keepers = group.leaders.iter();
        keepers.any(|keeper| story.ledger.has_expired(keeper, end_offset, acked))
    };
    let acked = history.acked().filter_map(|send| Some((send, send.place.as_ref()?)));
    acked
        .filter(|(_, place)| here(&place.queue.group))
        .map(|(send, place)| {
            let answered = history.answered(send);
            let fact = story.ledger.ack_fact(&group.name, place.phy_offset, answered.ordinal);
            let end_offset = fact.as_ref().map_or(place.phy_offset, |fact| fact.end_offset);
            let acked = fact.as_ref().map_or(answered.ordinal, |fact| fact.ack.ordinal);
            let appended_us = fact.map_or(answered.at_us, |fact| fact.appended_us);
            let record = place.phy_offset..end_offset;
            let owed = story.ledger.owed(&group.name, place.phy_offset, answered.ordinal);
            let rotten_again =
                appended_again.contains(&*send.topic) && rotten.are_in(&place.queue.group);
            AckedMessage {
                number: send.number,
                end_offset,
                appended_us,
                acked_us: answered.at_us,
                read_back: read_back.contains_key(&send.number),
                stored: group.stored.contains(&send.number),
                missed_by: delivered.missed(history, send, read_back.get(&send.number)),
                expired: has_expired(end_offset, acked),
                deleted: deleted.has(send, place, appended_again.contains(&*send.topic)),
                rotten: rotten_again
                    || story.ledger.is_rotten(&group.master_now, &record, appended_us),
                owed: !rotten_again
                    && owed.as_ref().is_some_and(|owed| owed.is_owed(&group.master_now)),
                custody: trail::custody(history, send, owed.as_ref(), appended_again),
                reading: trail::reading(history, place),
            }
        })
        .collect()
}

/// The number of a delivery that is what was sent.
fn intact(delivery: &Delivery) -> Option<u32> {
    delivery.number.filter(|_| delivery.body_intact)
}

/// The records of which a device damaged bytes on the disk of their group's present master.
#[derive(Default)]
pub(super) struct RottenRecords {
    phy_offsets: BTreeSet<(Name, u64)>,
    pub(super) places: BTreeSet<(QueueKey, u64)>,
}

impl RottenRecords {
    /// Whether there are some on the disk of the master of a broker group.
    pub(super) fn are_in(&self, group: &Name) -> bool {
        let ends = |phy_offset| (Name::clone(group), phy_offset);
        self.phy_offsets.range(ends(0)..=ends(u64::MAX)).next().is_some()
    }

    /// Whether a delivery may be of one, or, in `appended_again` topics, of a copy of one.
    pub(super) fn is_behind(&self, delivery: &Delivery, appended_again: &BTreeSet<&str>) -> bool {
        let QueueKey { group, topic, .. } = &delivery.queue;
        if appended_again.contains(&**topic) && self.are_in(group) {
            return true;
        }
        let place = (Arc::clone(&delivery.queue.group), delivery.phy_offset);
        !self.phy_offsets.is_empty() && self.phy_offsets.contains(&place)
    }
}

pub(super) fn rotten_records(story: &Story, trace: &Trace) -> RottenRecords {
    let mut rotten = RottenRecords::default();
    for group in &story.groups {
        if story.ledger.has_damage(&group.master_now) {
            add_rotten(story, group, trace, &mut rotten);
        }
    }
    rotten
}

fn add_rotten(story: &Story, group: &GroupStory, trace: &Trace, rotten: &mut RottenRecords) {
    let name: Name = Arc::from(&*group.name);
    trace.read(|records| {
        for record in records.iter().filter(|record| group.has(&record.source)) {
            let TraceEvent::Appended {
                phy_offset, size_bytes, topic, queue_id, queue_offset, ..
            } = &record.event
            else {
                continue;
            };
            let bytes = *phy_offset..*phy_offset + u64::from(*size_bytes);
            if story.ledger.is_rotten(&group.master_now, &bytes, record.at_us) {
                rotten.phy_offsets.insert((Arc::clone(&name), *phy_offset));
                let (group, topic) = (Arc::clone(&name), Arc::clone(topic));
                let queue = QueueKey { group, topic, queue_id: *queue_id };
                rotten.places.insert((queue, *queue_offset));
            }
        }
    });
}

/// The ack predicate of every acknowledged message.
pub(super) fn ack_predicates(story: &Story) -> Vec<Violation> {
    let mut violations = Vec::new();
    for send in story.history.acked() {
        let Some(place) = &send.place else { continue };
        let answered = story.history.answered(send).ordinal;
        match story.ledger.ack_fact(&place.queue.group, place.phy_offset, answered) {
            Some(fact) => {
                violations.extend(ack_predicate::check(&fact.ack).map(|v| v.of(send.number)));
            }
            None => {
                let text = format!("SEND_OK that no broker gave: message {}", send.number);
                violations.push(Violation::new(Checker::AckPredicate, text).of(send.number));
            }
        }
    }
    violations
}
