//! [`Excuses`]: what may pass a consumer group by. A group that had been given a record which is gone stood
//! behind it; what comes to lie there afterwards it need not get. But whoever comes after that member is told
//! by a broker where the group stands, and a broker may send nobody past a message that the group has not
//! passed since it lies there: a broker that cuts its log lowers the offsets, too.
//!
//! A group with a filter passes records by without being given them: of each queue offset that was used again it may
//! have stood beyond the record that lay there before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::resets::{PassedOver, PassedOverBy};
use super::{Committed, Delivered, delivered};
use crate::history::{
    Delivery, GroupOffset, GroupQueue, History, OffsetStep, PullOffset, QueueKey, QueueReading,
    SendOp,
};

/// What may pass consumer groups by, and what may not though they stood beyond it.
#[derive(Clone, Debug, Default)]
pub struct Excuses {
    beyond: Committed,
    passed_over: PassedOver,
    misled: BTreeMap<GroupQueue, Vec<Misled>>,
}

/// A member of a consumer group that a broker sent past acknowledged messages that the group had not been given,
/// nor passed by a commit since they lay there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misled {
    /// Queue offset of the first message that it was sent past.
    pub from: u64,
    /// The queue offset that it was told.
    pub told: u64,
    /// The greatest offset that the group committed since that message lies there, if any.
    pub committed: Option<u64>,
    /// That message.
    pub number: u32,
    /// Ordinal of the trace event of the broker's answer.
    pub ordinal: u64,
}

/// By queue the offsets that were used more than once, each with the ordinal of the trace event of the last time: a
/// record that had lain there was gone by then.
pub type Reused = BTreeMap<QueueKey, BTreeMap<u64, u64>>;

impl Excuses {
    /// Of the groups of a history. `appended_us` says when the record of an acknowledged send came to lie where
    /// it does; `reused` is asked for groups with a filter alone.
    #[must_use]
    pub fn of(
        history: &History,
        appended_us: impl Fn(&SendOp) -> Option<u64>,
        reused: &Reused,
    ) -> Self {
        let beyond = stood_beyond_reused(history, |it| is_gone(history, it), reused);
        let acked = history.acked().map(|send| (send.number, send)).collect();
        let passed = PassedBy { history, delivered: delivered(history), acked, appended_us };
        let passed_over = PassedOver::of(history, |number, place| passed.lies_since(number, place));
        // Where somebody may have been sent past something.
        let mut places = beyond.clone();
        for (place, last) in passed_over.ends() {
            let known = places.entry(place.clone()).or_default();
            *known = last.max(*known);
        }
        let misled = places.iter().filter_map(|(place, beyond)| {
            let misled = passed.misled(place, *beyond);
            (!misled.is_empty()).then(|| (place.clone(), misled))
        });
        Excuses { misled: misled.collect(), beyond, passed_over }
    }

    /// What may pass a group by in a queue.
    #[must_use]
    pub fn at(&self, place: &GroupQueue) -> Excuse<'_> {
        let misled = self.misled.get(place).map_or(&[][..], Vec::as_slice);
        let passed_over = self.passed_over.at(place);
        Excuse { beyond: self.beyond.get(place).copied(), passed_over, misled }
    }

    /// The groups and queues where an operator had a group pass something over.
    pub fn places_of_resets(&self) -> impl Iterator<Item = &GroupQueue> {
        self.passed_over.ends().map(|(place, _)| place)
    }

    /// The groups and queues where something may.
    pub fn places(&self) -> impl Iterator<Item = &GroupQueue> {
        self.beyond.keys()
    }

    /// Those that brokers led astray.
    pub fn misled(&self) -> impl Iterator<Item = (&GroupQueue, &Misled)> {
        self.misled.iter().flat_map(|(place, misled)| misled.iter().map(move |it| (place, it)))
    }
}

/// What may pass a group by in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Excuse<'a> {
    beyond: Option<u64>,
    passed_over: &'a [PassedOverBy],
    misled: &'a [Misled],
}

impl Excuse<'_> {
    /// Whether what stands at a queue offset may.
    #[must_use]
    pub fn covers(&self, queue_offset: u64) -> bool {
        self.is_beyond(queue_offset) || self.is_passed_over(queue_offset)
    }

    /// Whether the group had stood beyond it.
    #[must_use]
    pub fn is_beyond(&self, queue_offset: u64) -> bool {
        self.beyond.is_some_and(|beyond| queue_offset <= beyond) && !self.is_led_past(queue_offset)
    }

    /// Whether an operator had the group pass it over.
    #[must_use]
    pub fn is_passed_over(&self, queue_offset: u64) -> bool {
        self.passed_over.iter().any(|it| it.covers(queue_offset)) && !self.is_led_past(queue_offset)
    }

    fn is_led_past(&self, queue_offset: u64) -> bool {
        self.misled.iter().any(|it| (it.from..it.told).contains(&queue_offset))
    }
}

/// What stands in queues and passed groups by that had stood beyond it.
struct PassedBy<'a, F> {
    history: &'a History,
    delivered: Delivered<'a>,
    acked: BTreeMap<u32, &'a SendOp>,
    appended_us: F,
}

/// A message that was not given to a group.
struct Passed {
    number: u32,
    queue_offset: u64,
    appended_us: u64,
}

impl<F: Fn(&SendOp) -> Option<u64>> PassedBy<'_, F> {
    /// The answers that sent members of a group past messages up to `beyond`, the first of each message.
    fn misled(&self, place: &GroupQueue, beyond: u64) -> Vec<Misled> {
        let (Some(offsets), Some(reading)) =
            (self.history.group_offsets.get(place), self.history.read_back.get(&place.1))
        else {
            return Vec::new();
        };
        let passed = self.passed(place, reading, beyond);
        if passed.is_empty() {
            return Vec::new();
        }
        let told = offsets.iter().enumerate().filter(|(_, it)| it.step == OffsetStep::Told);
        told.filter_map(|(index, told)| sent_past(&passed, &offsets[..index], told)).collect()
    }

    /// When an acknowledged message came to lie at a place; `None` of others, and of those that were put elsewhere first.
    fn lies_since(&self, number: u32, (queue, queue_offset): (&QueueKey, u64)) -> Option<u64> {
        let send = self.acked.get(&number).filter(|it| it.was_put_at(queue, queue_offset))?;
        (self.appended_us)(send)
    }

    /// The acknowledged messages up to `beyond` that the group was not given, by queue offset. Of others, and
    /// of those that were put elsewhere first, it is not known when they came to lie there.
    fn passed(&self, place: &GroupQueue, reading: &QueueReading, beyond: u64) -> Vec<Passed> {
        let (group, queue) = place;
        let given = self.delivered.get(&**group);
        let below = reading.messages.iter().take_while(|it| it.queue_offset <= beyond);
        let missed = below.filter_map(|it| Some((it, it.number?)));
        let missed = missed.filter(|(_, number)| {
            given.is_none_or(|it| !it.contains(number)) && self.history.wants(group, *number)
        });
        let dated = missed.filter_map(|(it, number)| {
            let appended_us = self.lies_since(number, (queue, it.queue_offset))?;
            Some(Passed { number, queue_offset: it.queue_offset, appended_us })
        });
        dated.collect()
    }
}

/// Whether an answer sent a member past some of `passed`: it lay there already, and nothing `before` the
/// answer says that the group had passed it since. The nearer a message to what was told, the fewer commits
/// there are since it lies there: they are walked backwards, once.
fn sent_past(passed: &[Passed], before: &[GroupOffset], told: &GroupOffset) -> Option<Misled> {
    let mut commits = before.iter().rev().filter(|it| it.step == OffsetStep::Committed).peekable();
    let mut committed = None;
    let mut misled = None;
    let lay_there =
        |it: &&Passed| it.queue_offset < told.queue_offset && it.appended_us < told.at_us;
    for message in passed.iter().rev().filter(lay_there) {
        while let Some(commit) = commits.next_if(|it| it.at_us >= message.appended_us) {
            committed = committed.max(Some(commit.queue_offset));
        }
        if committed.is_some_and(|committed| committed > message.queue_offset) {
            break;
        }
        misled = Some(Misled {
            from: message.queue_offset,
            told: told.queue_offset,
            committed,
            number: message.number,
            ordinal: told.ordinal,
        });
    }
    misled
}

/// By consumer group and queue, the highest offset that may pass one of its members by: the member was given
/// a record there of which `is_gone` says that it is no longer there, so that it stood beyond it, and was not
/// set back since.
#[must_use]
pub fn stood_beyond(history: &History, is_gone: impl Fn(&Delivery) -> bool) -> Committed {
    stood_beyond_reused(history, is_gone, &Reused::new())
}

/// The same, and what members of groups with a filter may have passed by of the offsets that were used again.
fn stood_beyond_reused(
    history: &History,
    is_gone: impl Fn(&Delivery) -> bool,
    reused: &Reused,
) -> Committed {
    let mut stands = Stands::default();
    let mut set = history.pull_offsets.iter().peekable();
    let mut passed = passed_unseen(history, reused).into_iter().peekable();
    let mut catch_up = |stands: &mut Stands, to: u64| loop {
        let next_set = set.peek().map_or(u64::MAX, |set| set.ordinal);
        let next_passed = passed.peek().map_or(u64::MAX, |it| it.ordinal);
        if next_set.min(next_passed) >= to {
            return;
        }
        match next_set <= next_passed {
            true => set.by_ref().take(1).for_each(|set| stands.set(set)),
            false => passed.by_ref().take(1).for_each(|it| stands.passed(it)),
        }
    };
    for delivery in history.deliveries.iter().filter(|it| is_gone(it)) {
        catch_up(&mut stands, delivery.ordinal);
        stands.was_given(delivery);
    }
    catch_up(&mut stands, u64::MAX);
    let mut beyond = Committed::new();
    for ((group, queue, _), highest) in stands.0 {
        let group = beyond.entry((group, queue)).or_default();
        *group = highest.max(*group);
    }
    beyond
}

/// A record that a member may have passed by without being given it, and that was gone when `ordinal` came.
struct PassedUnseen {
    member: Member,
    queue_offset: u64,
    ordinal: u64,
}

/// Every member of a group with a filter may have passed, in each queue that it ever read, what lay there before.
fn passed_unseen(history: &History, reused: &Reused) -> Vec<PassedUnseen> {
    let has_filter = |set: &&PullOffset| history.unwanted.contains_key(&set.consumer_group);
    let mut first_set: BTreeMap<Member, u64> = BTreeMap::new();
    for PullOffset { consumer, consumer_group, queue, ordinal, .. } in
        history.pull_offsets.iter().filter(has_filter)
    {
        first_set.entry(member(consumer_group, queue, consumer)).or_insert(*ordinal);
    }
    let mut passed = Vec::new();
    for (member, since) in first_set {
        for (queue_offset, ordinal) in reused.get(&member.1).into_iter().flatten() {
            if since < *ordinal {
                let (queue_offset, ordinal) = (*queue_offset, *ordinal);
                passed.push(PassedUnseen { member: member.clone(), queue_offset, ordinal });
            }
        }
    }
    passed.sort_by_key(|it| it.ordinal);
    passed
}

/// Whether the member that had taken a queue last before `ordinal` stood beyond a place then: since it took the queue it
/// had been given a record there, or behind it, that is gone. What becomes of it later changes nothing about that.
#[must_use]
pub fn stood_beyond_then(
    history: &History,
    (group, queue): &GroupQueue,
    queue_offset: u64,
    ordinal: u64,
) -> bool {
    let mut sets = history.pull_offsets.iter().rev().filter(|it| it.ordinal < ordinal);
    let set = sets.find(|it| (&it.consumer_group, &it.queue) == (group, queue));
    set.is_some_and(|set| {
        let mut given = history.deliveries.iter().filter(|it| {
            it.consumer == set.consumer
                && (&it.consumer_group, &it.queue) == (group, queue)
                && (set.ordinal..ordinal).contains(&it.ordinal)
        });
        given.any(|it| it.queue_offset >= queue_offset && is_gone(history, it))
    })
}

/// Whether something else stands where a delivered record did, or nothing.
#[must_use]
pub fn is_gone(history: &History, delivery: &Delivery) -> bool {
    let Some(reading) = history.read_back.get(&delivery.queue) else { return false };
    delivery.queue_offset >= reading.min_offset
        && reading.at(delivery.queue_offset).is_none_or(|it| it.number != delivery.number)
}

/// A member of a consumer group at a queue.
type Member = (Arc<str>, QueueKey, Arc<str>);

fn member(group: &Arc<str>, queue: &QueueKey, consumer: &Arc<str>) -> Member {
    (Arc::clone(group), queue.clone(), Arc::clone(consumer))
}

/// The highest offset at which each member was given a record that is gone.
#[derive(Default)]
struct Stands(BTreeMap<Member, u64>);

impl Stands {
    fn was_given(&mut self, delivery: &Delivery) {
        let Delivery { consumer, consumer_group, queue, .. } = delivery;
        let highest = self.0.entry(member(consumer_group, queue, consumer)).or_default();
        *highest = delivery.queue_offset.max(*highest);
    }

    fn passed(&mut self, it: PassedUnseen) {
        let highest = self.0.entry(it.member).or_default();
        *highest = it.queue_offset.max(*highest);
    }

    /// Whatever comes to lie where it reads on is given to it.
    fn set(&mut self, set: &PullOffset) {
        let PullOffset { consumer, consumer_group, queue, .. } = set;
        let member = member(consumer_group, queue, consumer);
        let Some(highest) = self.0.get_mut(&member) else { return };
        match set.queue_offset.checked_sub(1) {
            Some(last) => *highest = last.min(*highest),
            None => drop(self.0.remove(&member)),
        }
    }
}
