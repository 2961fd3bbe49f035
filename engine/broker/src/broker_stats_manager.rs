//! [`BrokerStatsManager`]: what passed per topic, queue and group (RocketMQ 4.9 `BrokerStatsManager`), for 208, 315
//! and 317.
//!
//! | name | key | counts |
//! |---|---|---|
//! | `TOPIC_PUT_NUMS`, `TOPIC_PUT_SIZE` | topic | what was stored, under the topic under which it lies |
//! | `QUEUE_PUT_NUMS`, `QUEUE_PUT_SIZE` | topic@queue | the same |
//! | `GROUP_GET_NUMS`, `GROUP_GET_SIZE` | topic@group | what was handed out |
//! | `QUEUE_GET_NUMS`, `QUEUE_GET_SIZE` | topic@queue@group | the same |
//! | `GROUP_GET_LATENCY` | queue@topic@group | milliseconds that putting answers together took |
//! | `SNDBCK_PUT_NUMS` | topic@group | what was given back |
//! | `BROKER_PUT_NUMS`, `BROKER_GET_NUMS` | cluster | all of it |
//!
//! 4.9 knows the `QUEUE_…` ones of delayed messages alone, and does not count what ends of transactions store. What it
//! has names for and never counts (`…_FROM_DISK_…`, `COMMERCIAL_…`), or never answers with (`GROUP_GET_FALL_…`), is not
//! there. How many keys there may be is bounded (`maxStatsItemNums`); those of deleted topics and groups go, whatever
//! `autoDeleteUnusedStats` says.

mod flow;
mod table;

use std::sync::Mutex;
use std::time::Duration;

use mq_protocol::body::consume_stats::BrokerStatsData;
use mq_remoting::LogLimit;
use mq_store::PutMessageResult;
use tokio::time::Instant;

use crate::config::BrokerLimits;
use crate::limits::log_limit;
use crate::lock;

pub(crate) use flow::Passed;
use flow::Value;
use table::{StatsTable, TableFull};

/// The group that delayed messages are handed out to (RocketMQ 4.9 `MixAll.SCHEDULE_CONSUMER_GROUP`).
pub(crate) const SCHEDULE_CONSUMER_GROUP: &str = "SCHEDULE_CONSUMER";

const NUMS: Value = |passed| passed.messages;
const SIZE: Value = |passed| passed.bytes;
const LATENCY: Value = |passed| passed.latency_ms;

/// What passed since the broker began.
pub(crate) struct BrokerStatsManager {
    cluster: String,
    begun: Instant,
    table: Mutex<StatsTable>,
    full_log: LogLimit,
}

/// Messages that a pull was answered with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandedOut {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// How long putting the answer together took.
    pub(crate) latency: Duration,
}

impl BrokerStatsManager {
    pub(crate) fn new(cluster: &str, limits: &BrokerLimits) -> Self {
        BrokerStatsManager {
            cluster: cluster.to_owned(),
            begun: Instant::now(),
            table: Mutex::new(StatsTable::new(limits.stats_item_nums)),
            full_log: log_limit(),
        }
    }

    /// A put was answered; nothing is counted where it stored nothing.
    pub(crate) fn put(&self, topic: &str, queue_id: u32, result: &PutMessageResult) {
        let Some(append) = result.append.as_ref().filter(|_| result.status.is_stored()) else {
            return;
        };
        let passed = Passed {
            times: 1,
            messages: append.message_count() as u64,
            bytes: append.wrote_bytes.into(),
            latency_ms: 0,
        };
        self.count(|table, age| {
            table.broker_put(age, passed.messages);
            table.put(age, topic, queue_id, passed)
        });
    }

    /// A pull, or a delivery of delayed messages, was answered with messages.
    pub(crate) fn get(&self, group: &str, topic: &str, queue_id: u32, handed_out: HandedOut) {
        let HandedOut { messages, bytes, latency } = handed_out;
        let passed = Passed { times: 1, messages, bytes, latency_ms: latency.as_millis() as u64 };
        self.count(|table, age| {
            table.broker_get(age, messages);
            table.get(age, topic, queue_id, group, passed)
        });
    }

    /// A consumer of `group` gave a message of `topic` back.
    pub(crate) fn sent_back(&self, group: &str, topic: &str) {
        let passed = Passed { times: 1, messages: 1, ..Passed::default() };
        self.count(|table, age| table.sent_back(age, topic, group, passed));
    }

    /// Forgets a deleted topic.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        lock(&self.table).remove_topic(topic);
    }

    /// Forgets a deleted group.
    pub(crate) fn group_deleted(&self, group: &str) {
        lock(&self.table).remove_group(group);
    }

    /// Messages of `topic` handed out to `group` per second, over the last minute.
    pub(crate) fn tps_group_get_nums(&self, group: &str, topic: &str) -> f64 {
        let table = lock(&self.table);
        let flow = table.group(topic, group);
        flow.map_or(0.0, |flow| flow.over_minute(self.begun.elapsed(), NUMS).tps)
    }

    /// What was stored since the broker began, by topic; as that of [`BrokerStatsManager::view`].
    pub(crate) fn stored(&self) -> Vec<(String, Passed)> {
        let table = lock(&self.table);
        table.stored().map(|(topic, passed)| (topic.to_owned(), passed)).collect()
    }

    /// What was handed out since the broker began, by topic and group.
    pub(crate) fn handed_out(&self) -> Vec<(String, String, Passed)> {
        let table = lock(&self.table);
        let flows = table.handed_out();
        flows.map(|(topic, group, passed)| (topic.to_owned(), group.to_owned(), passed)).collect()
    }

    /// The statistic `name` of `key`; `None` where nothing was counted.
    pub(crate) fn view(&self, name: &str, key: &str) -> Option<BrokerStatsData> {
        let table = lock(&self.table);
        let own_cluster = Some(key).filter(|key| *key == self.cluster);
        let (flow, value) = match name {
            "TOPIC_PUT_NUMS" => (table.topic(key)?, NUMS),
            "TOPIC_PUT_SIZE" => (table.topic(key)?, SIZE),
            "QUEUE_PUT_NUMS" => (table.queue(topic_and_queue(key)?)?, NUMS),
            "QUEUE_PUT_SIZE" => (table.queue(topic_and_queue(key)?)?, SIZE),
            "GROUP_GET_NUMS" => {
                (topic_and_group(key).and_then(|it| table.group(it.0, it.1))?, NUMS)
            }
            "GROUP_GET_SIZE" => {
                (topic_and_group(key).and_then(|it| table.group(it.0, it.1))?, SIZE)
            }
            "QUEUE_GET_NUMS" => (table.group_queue(topic_queue_and_group(key)?)?, NUMS),
            "QUEUE_GET_SIZE" => (table.group_queue(topic_queue_and_group(key)?)?, SIZE),
            "GROUP_GET_LATENCY" => (table.group_queue(queue_topic_and_group(key)?)?, LATENCY),
            "SNDBCK_PUT_NUMS" => {
                (topic_and_group(key).and_then(|it| table.given_back(it.0, it.1))?, NUMS)
            }
            "BROKER_PUT_NUMS" => (own_cluster.and(table.all_puts())?, NUMS),
            "BROKER_GET_NUMS" => (own_cluster.and(table.all_gets())?, NUMS),
            _ => return None,
        };
        Some(flow.view(self.begun.elapsed(), value))
    }

    fn count(&self, count: impl FnOnce(&mut StatsTable, Duration) -> Result<(), TableFull>) {
        let mut table = lock(&self.table);
        // Under the lock, so that it does not go back.
        let counted = count(&mut table, self.begun.elapsed());
        drop(table);
        if let Err(TableFull(max)) = counted
            && let Some(suppressed) = self.full_log.pass()
        {
            tracing::warn!(
                suppressed,
                "not everything is counted: maxStatsItemNums={max} is reached"
            );
        }
    }
}

/// No topic and no group contains an `@`.
fn topic_and_group(key: &str) -> Option<(&str, &str)> {
    key.split_once('@')
}

fn topic_and_queue(key: &str) -> Option<(&str, u32)> {
    let (topic, queue_id) = key.split_once('@')?;
    Some((topic, queue_id.parse().ok()?))
}

fn topic_queue_and_group(key: &str) -> Option<(&str, u32, &str)> {
    let (topic, rest) = key.split_once('@')?;
    let (queue_id, group) = rest.split_once('@')?;
    Some((topic, queue_id.parse().ok()?, group))
}

fn queue_topic_and_group(key: &str) -> Option<(&str, u32, &str)> {
    let (queue_id, rest) = key.split_once('@')?;
    let (topic, group) = rest.split_once('@')?;
    Some((topic, queue_id.parse().ok()?, group))
}

#[cfg(test)]
mod tests;
