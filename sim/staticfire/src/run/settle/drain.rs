//! The consumer groups are given what is stored, then the fresh group reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use staticfire_judge::check::offsets::{Committed, excuse};
use staticfire_judge::check::redelivery;
use staticfire_judge::history::{Delivery, History, OffsetReset, QueueKey};
use staticfire_judge::ledger::{FoundRecord, Ledger};
use staticfire_world::trace::Name;
use tokio::time::{Instant, sleep};

use super::topics;
use crate::plan::ConsumerGroupPlan;
use crate::run::Clients;
use crate::run::cluster::Cluster;
use crate::run::error::StandError;
use crate::run::workload::read_back::{self, Assignment, ReadBack};

/// Longest wait for the groups to be given everything: the queues of a consumer that vanished are given to
/// others when the broker has not heard of it for two minutes, and when they rebalance next.
const DRAIN_LIMIT: Duration = Duration::from_secs(240);

/// Longest wait where nothing is missing but what a group may never get: its position comes back to where
/// the log ends.
const REBALANCE_LIMIT: Duration = Duration::from_secs(90);

/// How often it is looked at.
const DRAIN_INTERVAL: Duration = Duration::from_secs(3);

/// Within this time the last commits have reached the broker.
const COMMIT_INTERVAL: Duration = Duration::from_secs(6);

/// Listener calls that a consumer has under way at most (`consumeThreadMax`).
const CONSUME_THREADS: u64 = 20;

/// How long a queue rests that is consumed in order, once its listener has failed
/// (`suspendCurrentQueueTimeMillis`).
const SUSPEND_MS: u64 = 1_000;

/// Where records of the workloads lie, and their numbers.
pub(in crate::run) type Places = BTreeMap<(QueueKey, u64), u32>;

/// Waits until the consumer groups were given what the masters hold, then lets the fresh group read.
///
/// # Errors
/// A request that kept failing.
pub(in crate::run) async fn read_back(
    cluster: &Cluster,
    clients: &Clients,
    groups: &[String],
) -> Result<ReadBack, StandError> {
    let reader = cluster.add_client("reader", |context| async move {
        context.shutdown.cancelled().await;
    });
    reader.start();
    let mut topics = topics(clients);
    topics.retain(|topic| cluster.queues_of(topic).is_some() || cluster.was_deleted(topic));
    let masters = groups.iter().filter_map(|group| Some((group, cluster.master_of(group)?)));
    let stored: Places = masters
        .flat_map(|(group, it)| stored_places(cluster.ledger(), group, it.name(), &topics))
        .collect();
    let limit = DRAIN_LIMIT + consuming(clients, stored.len());
    let patience = redelivery_patience(cluster, clients);
    let began = Instant::now();
    let (mut deliveries, mut progress) = (0, began);
    loop {
        let (given, awaited) = {
            let history = clients.traffic.history();
            if history.deliveries.len() > deliveries {
                (deliveries, progress) = (history.deliveries.len(), Instant::now());
            }
            (given(&history, &stored), awaits_redelivery(&history))
        };
        let is_over = match given {
            Given::All => true,
            Given::AllOwed => began.elapsed() >= REBALANCE_LIMIT,
            Given::Some => began.elapsed() >= limit,
        };
        if is_over && (!awaited || progress.elapsed() >= patience) {
            break;
        }
        sleep(DRAIN_INTERVAL).await;
    }
    sleep(COMMIT_INTERVAL).await;
    let subscriptions = clients.traffic.history().subscriptions.clone();
    let failing = failing_groups(clients).map(|group| clients.traffic.trace().name(&group.name));
    let (deleted, topics) = topics.into_iter().partition(|topic| cluster.was_deleted(topic));
    let assignment = Assignment { topics, deleted, subscriptions, failing: failing.collect() };
    let (traffic, name) = (Arc::clone(&clients.traffic), Arc::clone(reader.name()));
    let reading = reader.run(move |env| read_back::run(env, name, traffic, assignment)).await;
    reading.map_err(|_| StandError::ProcessGone("reader"))?
}

/// Whether something that was given back is to come again. What was given back as often as its group wants
/// is a dead letter, or will be.
fn awaits_redelivery(history: &History) -> bool {
    redelivery::awaited(history).iter().any(|it| !it.is_last)
}

/// How long nothing may be delivered while something is awaited that was given back: the longest delay of a
/// retry, and the time that a drain may take.
fn redelivery_patience(cluster: &Cluster, clients: &Clients) -> Duration {
    let times = failing_groups(clients).map(|group| group.redeliveries_max()).max();
    let delays = times.map(|times| {
        let brokers = cluster.brokers().values();
        brokers.map(|broker| broker.redelivery_delay(times)).max().unwrap_or_default()
    });
    DRAIN_LIMIT + delays.unwrap_or_default()
}

/// The consumer groups whose listeners give messages back; the idempotence kit does with what is under way.
fn failing_groups(clients: &Clients) -> impl Iterator<Item = ConsumerGroupPlan> {
    let groups = clients.works.iter().flat_map(|work| work.plan.all_consumer_groups());
    let fails = |group: &ConsumerGroupPlan| group.fails.is_some() || group.idempotent;
    groups.filter(move |group| group.consumers > 0 && fails(group))
}

/// What the slowest listeners take for `messages`, twice over.
fn consuming(clients: &Clients, messages: usize) -> Duration {
    let of_groups = clients.works.iter().flat_map(|work| {
        let groups = work.plan.all_consumer_groups().into_iter();
        let slow = groups.filter(|group| group.consumers > 0);
        slow.map(|group| consuming_ms(&group, u64::from(work.plan.queues), messages as u64))
    });
    Duration::from_millis(of_groups.max().unwrap_or_default())
}

/// What one consumer group takes for `messages` of a topic with `queues`, twice over, in milliseconds.
fn consuming_ms(group: &ConsumerGroupPlan, queues: u64, messages: u64) -> u64 {
    let of_each = if group.lite_pull { 1 } else { CONSUME_THREADS };
    let threads = u64::from(group.consumers) * of_each;
    // In order a queue waits for the message that its listener is at work on, or fails at.
    let (at_a_time, again) = match group.orderly {
        true => (threads.min(queues), u64::from(group.redeliveries_max())),
        false => (threads, 0),
    };
    let each_ms = group.consume_time.0 + again * (group.consume_time.0 + SUSPEND_MS);
    2 * each_ms * messages / at_a_time
}

/// How much of what is stored the groups were given.
enum Given {
    /// All of it.
    All,
    /// All but what lies where a group had been before.
    AllOwed,
    /// Something is missing.
    Some,
}

/// How much of what is stored every consumer group was given.
fn given(history: &History, stored: &Places) -> Given {
    let mut all = Given::All;
    let is_gone = |it: &Delivery| {
        let place = (it.queue.clone(), it.queue_offset);
        stored.get(&place) != it.number.as_ref()
    };
    let beyond = excuse::stood_beyond(history, is_gone);
    for (group, topics) in &history.subscriptions {
        match given_to(group, topics, history, stored, &beyond) {
            Given::All => {}
            Given::AllOwed => all = Given::AllOwed,
            Given::Some => return Given::Some,
        }
    }
    all
}

fn given_to(
    group: &Name,
    topics: &[Name],
    history: &History,
    stored: &Places,
    beyond: &Committed,
) -> Given {
    let given = history.ended().filter(|it| it.consumer_group == *group);
    let given: BTreeSet<u32> = given.filter_map(|it| it.number).collect();
    let is_passed = |(queue, offset): &(QueueKey, u64)| {
        let is_passed_over = |reset: &OffsetReset| {
            reset.consumer_group == *group && reset.queue == *queue && reset.passes_over(*offset)
        };
        if history.offset_resets.iter().any(is_passed_over) {
            return true;
        }
        let beyond = beyond.get(&(Name::clone(group), queue.clone()));
        beyond.is_some_and(|beyond| offset <= beyond)
    };
    let owed = stored.iter().filter(|((queue, _), number)| {
        topics.contains(&queue.topic) && history.wants(group, **number)
    });
    let mut missing = owed.filter(|(_, number)| !given.contains(number)).peekable();
    if missing.peek().is_none() {
        return Given::All;
    }
    if missing.all(|(place, _)| is_passed(place)) { Given::AllOwed } else { Given::Some }
}

/// The records of the workloads that the disk of a broker of `group` holds.
pub(in crate::run) fn stored_places(
    ledger: &Ledger,
    group: &str,
    broker: &str,
    topics: &BTreeSet<Name>,
) -> Places {
    let group: Name = Arc::from(group);
    let walk = ledger.view(broker).walk();
    let of_topics = walk.records.iter().filter(|record| topics.contains(&record.indexed.topic));
    let place = |record: &FoundRecord| {
        let topic = Arc::clone(&record.indexed.topic);
        let queue =
            QueueKey { group: Arc::clone(&group), topic, queue_id: record.indexed.queue_id };
        (queue, record.indexed.queue_offset)
    };
    of_topics.filter_map(|record| Some((place(record), record.number?))).collect()
}
