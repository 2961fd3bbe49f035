//! What consumer groups gave back, beside what brokers stored to deliver it again.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use staticfire_judge::check::redelivery::{self, Awaited, AwaitedCopy, Judged};
use staticfire_judge::history::{GivenBack, History};
use staticfire_judge::ledger::Redelivery;
use staticfire_judge::ledger::custody::Owed;
use staticfire_world::trace::Name;

use super::facts::{Delivered, RottenRecords};
use crate::plan::{BrokerPlan, Plan, expand};
use crate::run::Story;
use crate::run::report::{Finding, Verdict};
use crate::run::settle::Absence;

/// Judges what never came again. Of messages the numbers: `not_owed` are those that no log owes, `deleted` those that
/// lay in a topic that an operator had deleted.
pub(super) fn check(
    plan: &Plan,
    story: &Story,
    delivered: &Delivered,
    rotten: &RottenRecords,
    not_owed: &BTreeSet<u32>,
    deleted: &BTreeSet<u32>,
) -> (Judged, Vec<Finding>) {
    let mut waiting: BTreeMap<(Name, Name), u32> = BTreeMap::new();
    let mut awaited = Vec::new();
    let known = LazyCell::new(|| known(&story.history));
    let filtering = LazyCell::new(|| filtering(plan));
    for last in redelivery::awaited(&story.history) {
        let message = Fate { last, story };
        if let Some(place) = message.waits_at() {
            *waiting.entry(place).or_default() += 1;
            continue;
        }
        let copies = message.copies();
        // Whatever was stored of it since lies in other topics, and is owed as ever.
        let went_with_topic = copies.is_empty() && deleted.contains(&last.number);
        // What nobody acknowledged may be gone, and its redelivery with it.
        let is_excused = went_with_topic
            || not_owed.contains(&last.number)
            || !known.contains(&last.number)
            || delivered.may_pass_by(&last.consumer_group, last.number)
            || message.is_reset_over(delivered)
            || message.is_kept_back(&filtering)
            || message.groups().iter().any(|group| rotten.are_in(group));
        awaited.push(Awaited { last, copies, is_excused });
    }
    let times_max = plan.workloads.iter().flat_map(|work| work.all_consumer_groups());
    let times_max = times_max.map(|it| (Name::from(it.name), it.max_reconsume_times));
    let judged =
        redelivery::check(&story.history, &awaited, plan.check.promise, &times_max.collect());
    let findings = waiting.into_iter().map(|(place, count)| still_waits(story, &place, count));
    (judged, findings.collect())
}

/// Numbers of messages that are owed to whoever subscribes: what was acknowledged, and what is there.
fn known(history: &History) -> BTreeSet<u32> {
    let topics = history.read_back.iter().filter(|(queue, _)| queue.is_of_topic());
    let read = topics.flat_map(|(_, reading)| reading.messages.iter().filter_map(|it| it.number));
    history.acked().map(|send| send.number).chain(read).collect()
}

/// Broker groups that ask of what was given back what consumer groups subscribe to.
fn filtering(plan: &Plan) -> BTreeSet<String> {
    let is_on = |it: &BrokerPlan| {
        it.properties.get("filterSupportRetry").is_some_and(|it| it.trim() == "true")
    };
    let brokers = expand::expand(&plan.cluster).brokers.into_iter().filter(is_on);
    brokers.filter_map(|mut it| it.properties.remove("brokerName")).collect()
}

/// Deliveries that a group had asked for by giving the message back, and dead letters.
pub(super) struct Figures {
    pub(super) redelivered: usize,
    pub(super) dead_letters: usize,
}

pub(super) fn figures(history: &History) -> Figures {
    let asked = redelivery::times_given_back(history);
    let mut again: BTreeMap<(&str, u32), u32> = BTreeMap::new();
    for it in history.deliveries.iter().filter(|_| !asked.is_empty()) {
        if let Some(place) = it.number.map(|number| (&*it.consumer_group, number)) {
            *again.entry(place).or_default() += 1;
        }
    }
    let redelivered = asked.iter().map(|(place, asked)| {
        let given = again.get(place).copied().unwrap_or_default();
        (*asked).min(given.saturating_sub(1))
    });
    let dead_letters = redelivery::dead_letters(history).values().map(BTreeSet::len).sum();
    Figures { redelivered: redelivered.sum::<u32>() as usize, dead_letters }
}

/// A message that a group gave back and never got again.
struct Fate<'a> {
    last: &'a GivenBack,
    story: &'a Story,
}

impl Fate<'_> {
    /// The consumer group and the broker group of a place where it waits for reasons that the story left behind.
    fn waits_at(&self) -> Option<(Name, Name)> {
        let consumers = &self.last.consumer_group;
        let mut places = self.groups().into_iter().map(|group| (Name::clone(consumers), group));
        places.find(|place| {
            self.story.cut_off.contains_key(place) || nothing_is_due(self.story, &place.1).is_some()
        })
    }

    /// Whether it would have come again where it lies, and an operator had its group pass over that before.
    fn is_reset_over(&self, delivered: &Delivered) -> bool {
        let Fate { last, story } = self;
        if !delivered.is_reset_over(&last.consumer_group, last.number)
            || self.stored_since().next().is_some()
        {
            return false;
        }
        let deliveries = &story.history.deliveries;
        let from = deliveries.partition_point(|it| it.ordinal < last.delivered);
        let mut then = deliveries[from..].iter().take_while(|it| it.ordinal == last.delivered);
        let failed = then.find(|it| it.number == Some(last.number));
        failed.is_some_and(|it| super::passed_over::is_cut_off(&story.history, it))
    }

    /// Whether its group may have asked for something else when it came to it again, where brokers keep it back then.
    fn is_kept_back(&self, filtering: &BTreeSet<String>) -> bool {
        let Fate { last, story } = self;
        let history = &story.history;
        let ended_us = history.watch.listener_ends.get(&last.delivered).copied();
        let subscribed = history.changed_filters.get(&last.consumer_group).into_iter().flatten();
        let mut refusing =
            subscribed.filter(|it| it.may_keep_back(last.number, ended_us.unwrap_or_default()));
        refusing.next().is_some() && self.groups().iter().all(|it| filtering.contains(&**it))
    }

    /// What brokers stored of it since it was given back last.
    fn copies(&self) -> Vec<AwaitedCopy> {
        let copies = self
            .stored_since()
            .map(|(_, custody, owed)| AwaitedCopy { owed, custody: custody.to_string() });
        copies.collect()
    }

    /// The broker groups where it, or what was stored to deliver it again, may lie.
    fn groups(&self) -> BTreeSet<Name> {
        let stored = self.stored_since().map(|(it, ..)| it.group);
        stored.chain([Name::clone(&self.last.group)]).collect()
    }

    fn stored_since(&self) -> impl Iterator<Item = (Redelivery, Owed, bool)> {
        let stored = self.story.ledger.redeliveries(&self.last.consumer_group, self.last.number);
        stored.into_iter().filter(|(it, ..)| it.stored > self.last.ordinal)
    }
}

/// Why a broker group delivers nothing that is due.
fn nothing_is_due<'a>(story: &'a Story, group: &str) -> Option<&'a str> {
    let group = story.groups.iter().find(|it| it.name == group)?;
    group.unread.as_deref().or(group.nothing_is_due.as_deref())
}

fn still_waits(story: &Story, place: &(Name, Name), count: u32) -> Finding {
    let (consumers, group) = place;
    let (verdict, why) = match story.cut_off.get(place) {
        Some(Absence::NobodyLeft(why)) => (Verdict::Kept, format!("nobody of it is left: {why}")),
        Some(Absence::Unreached(why)) => (Verdict::Undecided, why.clone()),
        None => (Verdict::Undecided, nothing_is_due(story, group).unwrap_or_default().to_owned()),
    };
    let text = format!("messages given back to {group} wait for {consumers} ({count}): {why}");
    Finding::new(verdict, text)
}
