//! What is delayed does not come before it is due, by the clock of its broker; and what is there, or due, is handed to
//! a listener that is idle within a bound that follows from the settings ([`Pace`]).
//!
//! A message is ready for its consumer once it is acknowledged, the consumer has taken the queue, and has been given what
//! lies before it. The bound is broken if for longer than that nothing was in the way of the consumer, the brokers of
//! the queue and the name servers ([`Calm`]), and the consumer had a thread for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use mq_protocol::message::RETRY_GROUP_TOPIC_PREFIX;

use super::{Checker, Violation};
use crate::calm::{Calm, Span};
use crate::duration::seconds;
use crate::history::{Delivery, GivenBack, History, QueueKey, SendOp};
use crate::timeline::{Role, Timeline, What};

const SECOND_US: u64 = 1_000_000;

/// A pull that failed is repeated after so long (`pullTimeDelayMillsWhenException`).
const PULL_AGAIN_US: u64 = SECOND_US;

/// In order a queue whose lock was not given rests for so long.
const LOCK_AGAIN_US: u64 = 3 * SECOND_US;

/// In order a queue rests for so long after a listener that failed (`suspendCurrentQueueTimeMillis`).
const SUSPEND_US: u64 = SECOND_US;

/// A broker tries to store so long later what is due and could not be stored.
const DUE_AGAIN_US: u64 = SECOND_US;

/// A trouble is felt for so long once it is over: until the broker is registered again (60 s), the client has asked for
/// routes (30 s) and the broker knows the client (30 s), and a pull that was sent before is given up (30 s).
const RECOVERY_US: u64 = 150 * SECOND_US;

/// Listener calls that a consumer has under way at most (`consumeThreadMax`).
const CONSUME_THREADS: usize = 20;

/// The delay level of a first redelivery.
const FIRST_RETRY_LEVEL: usize = 3;

/// Brokers count in milliseconds.
const CLOCK_TICK_US: u64 = 1_000;

/// What takes its time, microseconds.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// What a link takes in one direction.
    pub latency_us: u64,
    /// What a sync takes at most.
    pub sync_us: u64,
    /// The delays of the levels, the first one's first.
    pub delays_us: Vec<u64>,
    /// By topic the delay level of what is sent to it; `None` where that is not the same for all, or not known when a
    /// message can be had.
    pub topics: BTreeMap<Arc<str>, Option<Option<usize>>>,
    /// Readers that consume in order.
    pub orderly: BTreeSet<Arc<str>>,
    /// Readers that poll: how soon is theirs to say.
    pub polling: BTreeSet<Arc<str>>,
}

impl Pace {
    /// How long a message that is ready may wait for a listener that is idle: for a pull that failed just before, its
    /// question and its answer, and a question before that.
    fn lag_us(&self, reader: &Arc<str>) -> u64 {
        let lock_us = if self.orderly.contains(reader) { LOCK_AGAIN_US } else { 0 };
        PULL_AGAIN_US + lock_us + 4 * 2 * self.latency_us
    }

    /// How long after it was due a delayed message lies in its own queue, and is synced.
    fn due_us(&self) -> u64 {
        DUE_AGAIN_US + 2 * self.sync_us
    }

    fn delay_us(&self, level: usize) -> Option<u64> {
        let level = level.min(self.delays_us.len());
        self.delays_us.get(level.checked_sub(1)?).copied()
    }
}

/// Looks at all deliveries. The first one that is late in a queue says it all.
#[must_use]
pub fn check(history: &History, timeline: &Timeline, pace: &Pace) -> Vec<Violation> {
    let judge = Judge::of(history, timeline, pace);
    let mut before: BTreeMap<(&str, &QueueKey), u64> = BTreeMap::new();
    let mut due_before: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    let mut late_in: BTreeSet<&QueueKey> = BTreeSet::new();
    let mut violations = Vec::new();
    for delivery in &history.deliveries {
        let Delivery { consumer, consumer_group, queue, at_us, ordinal, .. } = delivery;
        let place = before.entry((consumer, queue)).or_default();
        let ready_us = *place;
        *place = judge.free_us(delivery);
        let Some(due) = judge.due(delivery) else { continue };
        // What could not be sent back comes again where it is, as soon as its client likes.
        if due.earliest_us > at_us + CLOCK_TICK_US
            && judge.is_clock_right(&queue.group)
            && judge.is_first(delivery)
        {
            let early_ms = (due.earliest_us - at_us) / 1_000;
            let text = format!(
                "{consumer_group} was given {} {early_ms} ms before it was due",
                delivery.key
            );
            let number = delivery.number.unwrap_or_default();
            violations.push(Violation::new(Checker::Lateness, text).of(number).at(*ordinal));
        }
        let mut ready_us = ready_us.max(due.ready_us);
        if due.is_delayed {
            // One after the other they become due, whatever queues they go to.
            let level = due_before.entry((consumer_group, &queue.group, &queue.topic)).or_default();
            ready_us = ready_us.max(*level + pace.due_us());
            *level = *at_us;
        }
        if !late_in.contains(queue)
            && !pace.polling.contains(consumer_group)
            && let Some(late) = judge.late(delivery, ready_us)
        {
            late_in.insert(queue);
            violations.push(late);
        }
    }
    violations
}

/// When a message can be had.
struct Due {
    /// Not before.
    earliest_us: u64,
    /// It lies in its queue from here on.
    ready_us: u64,
    is_delayed: bool,
}

/// By consumer, broker group and topic.
type CalmTimes = BTreeMap<(Arc<str>, Arc<str>, Arc<str>), Calm>;

struct Judge<'a> {
    history: &'a History,
    timeline: &'a Timeline,
    pace: &'a Pace,
    sends: BTreeMap<u32, &'a SendOp>,
    /// What was given back, by reader and message.
    given_back: BTreeMap<(&'a str, u32), Vec<&'a GivenBack>>,
    /// When consumers took queues, or were set to another place there: ordinals and times.
    taken: BTreeMap<(&'a str, &'a QueueKey), Vec<(u64, u64)>>,
    /// When nothing was in the way, as far as that was asked.
    calm: RefCell<CalmTimes>,
}

impl<'a> Judge<'a> {
    fn of(history: &'a History, timeline: &'a Timeline, pace: &'a Pace) -> Self {
        let mut given_back: BTreeMap<(&str, u32), Vec<&GivenBack>> = BTreeMap::new();
        for it in &history.given_back {
            given_back.entry((&it.consumer_group, it.number)).or_default().push(it);
        }
        let mut taken: BTreeMap<(&str, &QueueKey), Vec<(u64, u64)>> = BTreeMap::new();
        for it in history.watch.steps.iter().filter(|it| it.has_it) {
            taken.entry((&it.consumer, &it.queue)).or_default().push((it.ordinal, it.at_us));
        }
        let sends = history.sends.iter().map(|send| (send.number, send)).collect();
        Judge { history, timeline, pace, sends, given_back, taken, calm: RefCell::default() }
    }

    fn due(&self, delivery: &Delivery) -> Option<Due> {
        let number = delivery.number?;
        if delivery.queue.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) {
            return self.due_again(delivery, number);
        }
        let level = (*self.pace.topics.get(&delivery.queue.topic)?)?;
        let send = self.sends.get(&number)?;
        // What is delayed was acknowledged in the queue of its level.
        let place = send.place.as_ref().filter(|it| match level {
            Some(_) => it.queue.group == delivery.queue.group,
            None => it.queue == delivery.queue,
        });
        // Of others it is not known when they were stored.
        let acked_us = place.map_or(u64::MAX, |_| send.ended_us);
        Some(match level.map(|level| self.pace.delay_us(level)) {
            Some(delay_us) => {
                let delay_us = delay_us?;
                let ready_us = acked_us.saturating_add(delay_us + self.pace.due_us());
                Due { earliest_us: send.started_us + delay_us, ready_us, is_delayed: true }
            }
            None => {
                let is_there = place.is_some_and(|it| it.queue_offset == delivery.queue_offset);
                let ready_us = if is_there { acked_us } else { u64::MAX };
                Due { earliest_us: 0, ready_us, is_delayed: false }
            }
        })
    }

    /// Of what was given back.
    fn due_again(&self, delivery: &Delivery, number: u32) -> Option<Due> {
        let watch = &self.history.watch;
        let times_of = |ordinal| watch.reconsume_times.get(&ordinal).copied().unwrap_or_default();
        let times = times_of(delivery.ordinal).checked_sub(1)?;
        let failures = self.given_back.get(&(&*delivery.consumer_group, number))?;
        let before = failures.iter().filter(|it| it.ordinal < delivery.ordinal);
        let answered = before.clone().filter(|it| times_of(it.delivered) == times);
        let ended =
            answered.clone().filter_map(|it| watch.listener_ends.get(&it.delivered).copied());
        let (first_us, last_us) = (ended.clone().min()?, ended.max()?);
        let delay_us = self.pace.delay_us(FIRST_RETRY_LEVEL + times as usize)?;
        // What could not be sent back was consumed once more where it is, and the broker counts less than the client. And
        // where a broker could not be asked another one was given a copy, nobody knows when.
        let is_asked = answered.clone().all(|it| it.group == delivery.queue.group);
        let is_certain = is_asked && before.count() == times as usize + 1;
        let stored_us = last_us + 2 * self.pace.latency_us;
        let ready_us =
            if is_certain { stored_us + delay_us + self.pace.due_us() } else { u64::MAX };
        Some(Due { earliest_us: first_us + delay_us, ready_us, is_delayed: true })
    }

    /// When a queue's next message may follow a delivery.
    fn free_us(&self, delivery: &Delivery) -> u64 {
        match self.pace.orderly.contains(&delivery.consumer_group) {
            true => self.end_us(delivery).saturating_add(SUSPEND_US),
            false => delivery.at_us,
        }
    }

    fn end_us(&self, delivery: &Delivery) -> u64 {
        let ends = &self.history.watch.listener_ends;
        ends.get(&delivery.ordinal).copied().unwrap_or(u64::MAX)
    }

    fn late(&self, delivery: &Delivery, ready_us: u64) -> Option<Violation> {
        let Delivery { consumer, consumer_group, queue, queue_offset, key, at_us, ordinal, .. } =
            delivery;
        let lag_us = self.pace.lag_us(consumer_group);
        if *at_us <= ready_us.saturating_add(lag_us) {
            return None;
        }
        let taken = self.taken.get(&(&**consumer, queue))?;
        let (_, taken_us) = taken.iter().rfind(|(taken, _)| taken < ordinal)?;
        let waits = ready_us.max(*taken_us)..*at_us;
        let calm = self.calm(consumer, queue);
        // The cheapest question first: most of what comes late has a fault for a reason.
        let is_excused = calm.lasting(waits.clone(), lag_us).is_none();
        if is_excused || !self.is_first(delivery) {
            return None;
        }
        let calm = calm.outside(self.busy(consumer, &waits));
        let found_us = calm.lasting(waits.clone(), lag_us)?;
        let text = format!(
            "{queue}: {consumer} was given {key} at {queue_offset} {} ms after it was ready, and was idle: within {} ms it \
             should have been (from {} on nothing was in the way)",
            (at_us - waits.start) / 1_000,
            lag_us / 1_000,
            seconds(found_us - lag_us)
        );
        let number = delivery.number.unwrap_or_default();
        Some(Violation::new(Checker::Lateness, text).of(number).at(*ordinal))
    }

    /// Whether nobody of its group was given that record before.
    fn is_first(&self, delivery: &Delivery) -> bool {
        let place = |it: &Delivery| (it.queue_offset, it.phy_offset);
        let earlier = self.history.deliveries.iter().take_while(|it| it.ordinal < delivery.ordinal);
        let mut same = earlier.filter(|it| {
            it.consumer_group == delivery.consumer_group
                && it.queue == delivery.queue
                && place(it) == place(delivery)
        });
        same.next().is_none()
    }

    /// When a consumer had no thread left, within a time.
    fn busy(&self, consumer: &str, waits: &Range<u64>) -> Vec<Range<u64>> {
        let own = self.history.deliveries.iter().filter(|it| *it.consumer == *consumer);
        let times = own.map(|it| it.at_us..self.end_us(it).saturating_add(PULL_AGAIN_US));
        let times: Vec<_> =
            times.filter(|it| it.start < waits.end && it.end > waits.start).collect();
        let mut edges: BTreeSet<u64> = [waits.start, waits.end].into();
        edges.extend(times.iter().flat_map(|it| [it.start, it.end]));
        let edges: Vec<u64> = edges.into_iter().collect();
        let pairs = edges.windows(2).map(|pair| pair[0]..pair[1]);
        let is_busy = |it: &Range<u64>| {
            times.iter().filter(|time| time.contains(&it.start)).count() >= CONSUME_THREADS
        };
        pairs.filter(is_busy).collect()
    }

    /// When nothing was in the way of a consumer, of the brokers of a queue, and of its topic there.
    fn calm(&self, consumer: &Arc<str>, queue: &QueueKey) -> Calm {
        let QueueKey { group, topic, .. } = queue;
        let key = (Arc::clone(consumer), Arc::clone(group), Arc::clone(topic));
        let mut known = self.calm.borrow_mut();
        let calm = known.entry(key).or_insert_with(|| {
            let is_concerned = |name: &str| match self.timeline.role(name) {
                // Who is told of no route finds no broker.
                Some(Role::NameServer) => true,
                Some(Role::Broker(of)) => of == group,
                _ => *name == **consumer,
            };
            let troubles = self.timeline.troubles.iter().filter(|it| it.concerns(is_concerned));
            let felt = troubles.filter(|it| it.what != What::Came { first: true });
            let (own, others): (Vec<_>, Vec<_>) = felt.partition(|it| it.strikes(topic));
            let spans = own.iter().map(|it| {
                let (from_us, until_us) = (it.from_us, it.until_us);
                Span { from_us, until_us, recovery_us: RECOVERY_US }
            });
            // Whoever deletes another topic dispatches nothing meanwhile, and that leaves nothing behind.
            let at_work = others.iter().map(|it| it.from_us..it.until_us);
            Calm::beside(spans.collect()).outside(at_work)
        });
        calm.clone()
    }

    /// Whether nobody ever tampered with the clocks of a broker group.
    fn is_clock_right(&self, group: &Arc<str>) -> bool {
        let is_its =
            |name: &str| matches!(self.timeline.role(name), Some(Role::Broker(of)) if of == group);
        let mut clocks = self.timeline.troubles.iter().filter(|it| it.what == What::Clock);
        !clocks.any(|it| it.concerns(is_its))
    }
}

#[cfg(test)]
mod tests;
