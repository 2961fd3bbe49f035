//! Of a consumer group that shares its messages every queue has one owner: none is without one, and none has two, for
//! longer than a rebalance takes ([`pace`]). And it keeps its owner while nobody comes or goes.
//!
//! Who has a queue its members say, as only they know. What counts is time in which brokers, name servers and members
//! lived and could talk, and had been able to for as long as it takes them to learn of each other again
//! ([`Calm`]); who is paused has nothing meanwhile. A queue counts while the clients know that there is a broker behind
//! it: from an acknowledgement, or from when a member took it by a route that is not older than the last broker of its
//! group that came or went, until the next one does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::{Checker, Violation};
use crate::calm::Calm;
use crate::duration::seconds;
use crate::history::{History, QueueKey, TopicDeletion};
use crate::timeline::{Role, Timeline, What};
use crate::watch::TenureStep;

pub mod pace;
mod tenure;

use pace::Pace;
use tenure::{Stretch, Tenures};

/// A consumer group that shares its messages.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Whether it consumes in order, and locks its queues for that.
    pub orderly: bool,
    /// How long a listener may have a message, microseconds.
    pub listener_us: u64,
}

/// Facts beside the history.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The groups whose members tell who has which queue, by name.
    pub groups: BTreeMap<Arc<str>, Group>,
    /// What troubled them, and the brokers and name servers.
    pub timeline: Timeline,
    /// Queues that an operator made, and when: simulated microseconds.
    pub made: BTreeMap<QueueKey, u64>,
    /// What a link takes in one direction, microseconds.
    pub latency_us: u64,
    /// Up to when it is judged: simulated microseconds.
    pub until_us: u64,
}

/// What is found of the queues' owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Queues without an owner, with two, or with another one for no reason.
    pub violations: Vec<Violation>,
    /// How often a queue went from one member to another.
    pub moves: u32,
    /// How often for no reason.
    pub needless_moves: u32,
    /// Until when it has to be watched before what is open now can be judged: a queue without an owner, or with two.
    pub open_until_us: Option<u64>,
}

/// Judges the groups of `facts`.
#[must_use]
pub fn judge(history: &History, facts: &Facts) -> Judged {
    let mut judged = Judged::default();
    for (name, group) in &facts.groups {
        let queues = queues(history, facts, name);
        if let Some(pace) = Pace::of(group, queues.len() as u64, facts.latency_us) {
            let judge = GroupJudge::of(facts, name, &queues, pace);
            queues.iter().for_each(|(queue, told)| judge.judge(queue, told, &mut judged));
            judge.judge_shares(&queues, &mut judged);
        }
    }
    judged
}

/// What clients said of a queue.
#[derive(Default)]
struct Told<'a> {
    /// Who took it and gave it up, in the order of the trace.
    steps: Vec<&'a TenureStep>,
    /// When it was known to be there, in order.
    signs: Vec<u64>,
    /// When there was a broker behind it, in order: members keep queues of a topic that was deleted for as long as
    /// nobody tells them.
    served: Vec<Sign>,
}

/// A queue has a broker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sign {
    at_us: u64,
    /// Whether a member took it for there: its route may be old.
    is_hearsay: bool,
}

impl Told<'_> {
    fn sign(&mut self, at_us: u64) {
        self.signs.push(at_us);
        self.served.push(Sign { at_us, is_hearsay: false });
    }

    fn taken(&mut self, at_us: u64, is_deleted: bool) {
        self.signs.push(at_us);
        if !is_deleted {
            self.served.push(Sign { at_us, is_hearsay: true });
        }
    }
}

/// The queues that a group is known to have to share out.
fn queues<'a>(
    history: &'a History,
    facts: &'a Facts,
    group: &str,
) -> BTreeMap<&'a QueueKey, Told<'a>> {
    let mut queues: BTreeMap<&QueueKey, Told<'a>> = BTreeMap::new();
    let topics = history.subscriptions.get(group).map_or(&[][..], Vec::as_slice);
    let is_of_group = |queue: &QueueKey| topics.contains(&queue.topic);
    for (queue, at_us) in facts.made.iter().filter(|(queue, _)| is_of_group(queue)) {
        queues.entry(queue).or_default().sign(*at_us);
    }
    // What is delayed, or in a transaction, was put elsewhere first.
    let places = history.acked().filter_map(|send| Some((send.ended_us, send.place.as_ref()?)));
    for (at_us, place) in places.filter(|(_, place)| is_of_group(&place.queue)) {
        queues.entry(&place.queue).or_default().sign(at_us);
    }
    let is_judged = |it: &&TenureStep| *it.consumer_group == *group && it.at_us <= facts.until_us;
    for step in history.watch.steps.iter().filter(is_judged) {
        let told = queues.entry(&step.queue).or_default();
        told.steps.push(step);
        let is_deleted = |it: &TopicDeletion| {
            (&it.topic, &it.group) == (&step.queue.topic, &step.queue.group)
                && it.at_us <= step.at_us
        };
        if step.has_it {
            told.taken(step.at_us, history.deletions.iter().any(is_deleted));
        }
    }
    queues.retain(|_, told| !told.signs.is_empty());
    for told in queues.values_mut() {
        told.signs.sort_unstable();
        told.served.sort_unstable();
    }
    queues
}

/// A group whose queues are judged.
struct GroupJudge<'a> {
    facts: &'a Facts,
    name: &'a Arc<str>,
    pace: Pace,
    /// By topic: members divide the queues of each by themselves.
    calm: BTreeMap<&'a str, Calm>,
    /// When no member was there.
    deserted: Vec<Range<u64>>,
}

impl<'a> GroupJudge<'a> {
    fn of(
        facts: &'a Facts,
        name: &'a Arc<str>,
        queues: &BTreeMap<&'a QueueKey, Told<'a>>,
        pace: Pace,
    ) -> Self {
        let timeline = &facts.timeline;
        let is_member = |role: &Role| matches!(role, Role::Member(group) if group == name);
        let members = timeline.nodes.iter().filter(|node| is_member(&node.role));
        let lives = members.flat_map(|node| timeline.lives_of(&node.name));
        let deserted = complement(lives.cloned().collect());
        // What they share out when they come together is no news.
        let first_us = deserted.first().filter(|it| it.start == 0).map_or(0, |it| it.end);
        let together_us = first_us.saturating_add(pace.seen_us);
        let mut first_signs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (queue, told) in queues {
            first_signs.entry(&*queue.topic).or_default().push(told.signs[0]);
        }
        let calm = first_signs.into_iter().map(|(topic, signs)| {
            let news = signs.into_iter().filter(|at_us| *at_us > together_us);
            let mut spans = pace.spans(timeline, name, topic);
            spans.extend(news.map(|at_us| pace.new_queue(at_us)));
            (topic, Calm::beside(spans))
        });
        GroupJudge { facts, name, calm: calm.collect(), deserted, pace }
    }

    fn judge(&self, queue: &QueueKey, told: &Told<'_>, judged: &mut Judged) {
        let calm = &self.calm[&*queue.topic];
        let tenures = Tenures::of(&told.steps, &self.facts.timeline);
        self.judge_moves(queue, &tenures, calm, judged);
        let others = self.unserved(queue, told).into_iter().chain(self.deserted.iter().cloned());
        let calm = calm.outside(others);
        for stretch in tenures.stretches(told.signs[0]..self.facts.until_us) {
            self.judge_stretch(queue, told, &stretch, &calm, judged);
        }
    }

    /// A time in which a queue had no owner, or more than one.
    fn judge_stretch(
        &self,
        queue: &QueueKey,
        told: &Told<'_>,
        stretch: &Stretch,
        calm: &Calm,
        judged: &mut Judged,
    ) {
        let Range { start, end } = stretch.time;
        let due = start.saturating_add(self.pace.base_us);
        let Some(found_us) = calm.first_in(due..end) else {
            if end == self.facts.until_us {
                let open = calm.first_in(due.max(end)..u64::MAX);
                judged.open_until_us = judged.open_until_us.max(open);
            }
            return;
        };
        let (group, owners) = (self.name, &stretch.owners);
        let owners: Vec<&str> = owners.iter().map(|it| &**it).collect();
        let what = match owners.is_empty() {
            true => format!("nobody of {group} has it"),
            false => format!("{} of {group} have it at once", owners.join(" and ")),
        };
        let (since, by) = (seconds(start), seconds(found_us));
        let text = format!(
            "{queue}: {what} since {since}, and at {by} nothing had been in the way for long enough"
        );
        let found = Violation::new(Checker::Ownership, text);
        let step = told.steps.iter().rfind(|it| it.at_us <= start);
        judged.violations.push(match step {
            Some(step) => found.at(step.ordinal),
            None => found,
        });
    }

    /// Counts how often a queue changed hands. The first time that it did for no reason says it all.
    fn judge_moves(
        &self,
        queue: &QueueKey,
        tenures: &Tenures<'_>,
        calm: &Calm,
        judged: &mut Judged,
    ) {
        let mut is_first = true;
        for (before, taken) in tenures.moves() {
            judged.moves += 1;
            if !calm.is_at(taken.at_us) {
                continue;
            }
            judged.needless_moves += 1;
            if std::mem::take(&mut is_first) {
                let text = format!(
                    "{queue}: {} of {} took it from {before} at {}, though nobody had come or gone",
                    taken.consumer,
                    self.name,
                    seconds(taken.at_us)
                );
                let found = Violation::new(Checker::Ownership, text).at(taken.ordinal);
                judged.violations.push(found);
            }
        }
    }

    /// Members share out each topic evenly: one of them may have one queue more than another, if no queue is for
    /// nobody. Whoever gives up nothing leaves nothing to those that come.
    fn judge_shares(&self, queues: &BTreeMap<&QueueKey, Told<'_>>, judged: &mut Judged) {
        for (topic, calm) in &self.calm {
            let of_topic = queues.iter().filter(|(queue, _)| &*queue.topic == *topic);
            let of_topic: Vec<_> = of_topic.collect();
            let others = of_topic.iter().flat_map(|(queue, told)| self.unserved(queue, told));
            let calm = calm.outside(others.chain(self.deserted.iter().cloned()));
            let tenures =
                of_topic.iter().map(|(_, told)| Tenures::of(&told.steps, &self.facts.timeline));
            let tenures: Vec<Tenures<'_>> = tenures.collect();
            for time in self.uneven(&tenures) {
                let due = time.start.saturating_add(self.pace.seen_us);
                if let Some(found_us) = calm.first_in(due..time.end) {
                    let text = format!(
                        "{topic}: the members of {} do not share it evenly since {}, and at {} nothing had been in the way for \
                         long enough",
                        self.name,
                        seconds(time.start),
                        seconds(found_us)
                    );
                    judged.violations.push(Violation::new(Checker::Ownership, text));
                } else if time.end == self.facts.until_us {
                    let open = calm.first_in(due.max(time.end)..u64::MAX);
                    judged.open_until_us = judged.open_until_us.max(open);
                }
            }
        }
    }

    /// When one living member had two queues more than another.
    fn uneven(&self, tenures: &[Tenures<'_>]) -> Vec<Range<u64>> {
        let timeline = &self.facts.timeline;
        let is_member = |role: &Role| matches!(role, Role::Member(group) if group == self.name);
        let members = timeline.nodes.iter().filter(|node| is_member(&node.role));
        let members: Vec<&Arc<str>> = members.map(|node| &node.name).collect();
        let lives = members.iter().flat_map(|name| timeline.lives_of(name));
        let edges = lives.flat_map(|it| [it.start, it.end]);
        let edges = edges.chain(tenures.iter().flat_map(Tenures::edges));
        let mut edges: BTreeSet<u64> = edges.filter(|at| *at < self.facts.until_us).collect();
        edges.insert(self.facts.until_us);
        let edges: Vec<u64> = edges.into_iter().collect();
        let mut uneven: Vec<Range<u64>> = Vec::new();
        for pair in edges.windows(2) {
            let lives = |name: &&&Arc<str>| {
                timeline.lives_of(name).iter().any(|life| life.contains(&pair[0]))
            };
            let has = |name: &&Arc<str>| -> usize {
                tenures.iter().filter(|it| it.owners_at(pair[0]).contains(&***name)).count()
            };
            let shares: Vec<usize> = members.iter().filter(lives).map(has).collect();
            let (most, least) = (shares.iter().max(), shares.iter().min());
            if most.zip(least).is_none_or(|(most, least)| most - least <= 1) {
                continue;
            }
            match uneven.last_mut().filter(|last| last.end == pair[0]) {
                Some(last) => last.end = pair[1],
                None => uneven.push(pair[0]..pair[1]),
            }
        }
        uneven
    }

    /// When nobody knows whether there is a broker behind a queue.
    fn unserved(&self, queue: &QueueKey, told: &Told<'_>) -> Vec<Range<u64>> {
        let timeline = &self.facts.timeline;
        let keeps = |name: &str| {
            timeline.role(name).is_some_and(|it| *it == Role::Broker(Arc::clone(&queue.group)))
        };
        let troubles = timeline.troubles.iter().filter(|it| it.strikes(&queue.topic));
        let troubles = troubles.filter(|it| it.what.is_turn() && it.concerns(keeps));
        let mut turns: BTreeSet<u64> = BTreeSet::new();
        let mut outdated: Vec<Range<u64>> = Vec::new();
        for it in troubles {
            turns.extend([it.from_us, it.until_us]);
            // Of a broker that was never there before nobody has an old route.
            if !matches!(it.what, What::Came { first: true }) {
                outdated.push(it.from_us..it.until_us.saturating_add(self.pace.route_us));
            }
        }
        let may_be_old = |at_us: u64| outdated.iter().any(|it| it.contains(&at_us));
        let mut served: Vec<Range<u64>> = Vec::new();
        for Sign { at_us, is_hearsay } in told.served.iter().copied() {
            if is_hearsay && may_be_old(at_us) {
                continue;
            }
            let until = turns.range(at_us..).next().copied().unwrap_or(u64::MAX);
            match served.last_mut().filter(|last| last.end >= at_us) {
                Some(last) => last.end = last.end.max(until),
                None => served.push(at_us..until),
            }
        }
        complement(served)
    }
}

/// What lies outside of `ranges`.
fn complement(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|it| (it.start, it.end));
    let (mut outside, mut from) = (Vec::new(), 0);
    for it in ranges {
        if from < it.start {
            outside.push(from..it.start);
        }
        from = from.max(it.end);
    }
    if from < u64::MAX {
        outside.push(from..u64::MAX);
    }
    outside
}

#[cfg(test)]
mod tests;
