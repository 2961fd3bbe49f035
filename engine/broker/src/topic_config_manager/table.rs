//! [`TopicTable`]: what `topics.json` holds, and the [`Limits`] of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::body::topic_config::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::sys_flag::PermName;

use super::TopicError;
use crate::config::BrokerConfig;
use crate::limits::Limit;

const ALL_PERM_BITS: i32 = PermName::READ_WRITE | PermName::INHERIT;

/// The topics and their version.
#[derive(Clone, Default)]
pub(super) struct TopicTable {
    pub(super) data_version: DataVersion,
    pub(super) topics: BTreeMap<String, Arc<TopicConfig>>,
    /// Queues of all topics.
    pub(super) queue_nums: usize,
}

impl TopicTable {
    pub(super) fn put(&mut self, config: TopicConfig) {
        self.queue_nums += queue_nums(&config);
        if let Some(before) = self.topics.insert(config.topic_name.clone(), Arc::new(config)) {
            self.queue_nums -= queue_nums(&before);
        }
    }

    pub(super) fn remove(&mut self, topic: &str) -> Option<Arc<TopicConfig>> {
        let removed = self.topics.remove(topic);
        self.queue_nums -= removed.as_ref().map_or(0, |config| queue_nums(config));
        removed
    }

    pub(super) fn merge(&mut self, wrapper: TopicConfigSerializeWrapper) {
        self.data_version = wrapper.data_version;
        for (name, config) in wrapper.topic_config_table {
            self.put(TopicConfig { topic_name: name, ..config });
        }
    }

    pub(super) fn wrapper(&self) -> TopicConfigSerializeWrapper {
        self.wrapper_of(&self.topics)
    }

    /// Of these topics only.
    pub(super) fn wrapper_of<'a>(
        &self,
        topics: impl IntoIterator<Item = (&'a String, &'a Arc<TopicConfig>)>,
    ) -> TopicConfigSerializeWrapper {
        let entries = topics.into_iter().map(|(name, config)| (name.clone(), (**config).clone()));
        TopicConfigSerializeWrapper {
            data_version: self.data_version,
            topic_config_table: entries.collect(),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        to_bytes(&self.wrapper())
    }
}

/// How many topics and queues there may be.
pub(super) struct Limits {
    topics: Limit,
    queues_per_topic: Limit,
    queues: Limit,
}

impl Limits {
    pub(super) fn of(config: &BrokerConfig) -> Limits {
        let per_topic = config.limits.queue_nums_per_topic;
        Limits {
            topics: Limit::new("maxTopicNums", config.limits.topic_nums),
            queues_per_topic: Limit::new("maxQueueNumsPerTopic", per_topic),
            queues: Limit::new("maxQueueNums", config.limits.queue_nums),
        }
    }

    /// Adds the topics of `queues` that `table` has not, lets those grow that have fewer queues, and returns their
    /// names.
    pub(super) fn add_missing(
        &self,
        table: &mut TopicTable,
        queues: &BTreeMap<String, i32>,
        now_ms: i64,
    ) -> Vec<String> {
        let mut added = Vec::new();
        for (topic, nums) in queues {
            let present = table.topics.get(topic);
            let config = match present {
                Some(present) => TopicConfig {
                    read_queue_nums: present.read_queue_nums.max(*nums),
                    write_queue_nums: present.write_queue_nums.max(*nums),
                    ..TopicConfig::clone(present)
                },
                None => TopicConfig::new(topic, *nums, PermName::READ_WRITE),
            };
            let changes = present.is_none_or(|present| **present != config);
            // A table that is full, or a directory that is no topic, is no reason not to start.
            if changes && self.check(table, &config).is_ok() {
                table.put(config);
                added.push(topic.clone());
            }
        }
        if !added.is_empty() {
            table.data_version.next(now_ms);
        }
        added
    }

    /// Lets queue `queue_id` of a topic be read; returns the topic's name if that took a change.
    pub(super) fn add_queue(
        &self,
        table: &mut TopicTable,
        topic: &str,
        queue_id: u32,
        now_ms: i64,
    ) -> Vec<String> {
        let queue_nums =
            i32::try_from(queue_id).map_or(i32::MAX, |queue_id| queue_id.saturating_add(1));
        let config = match table.topics.get(topic) {
            Some(present) if present.read_queue_nums >= queue_nums => return Vec::new(),
            Some(present) => {
                TopicConfig { read_queue_nums: queue_nums, ..TopicConfig::clone(present) }
            }
            None => TopicConfig::new(topic, queue_nums, PermName::READ_WRITE),
        };
        if self.check(table, &config).is_err() {
            return Vec::new();
        }
        table.put(config);
        table.data_version.next(now_ms);
        vec![topic.to_owned()]
    }

    /// Whether `table` may have `config`, which replaces one of its name.
    pub(super) fn check(&self, table: &TopicTable, config: &TopicConfig) -> Result<(), TopicError> {
        let (read, write) = (config.read_queue_nums, config.write_queue_nums);
        if read.min(write) < 0 || read.max(write) == 0 {
            return Err(TopicError::QueueNums { read, write });
        }
        if !(0..=ALL_PERM_BITS).contains(&config.perm) {
            return Err(TopicError::Perm(config.perm));
        }
        let present = table.topics.get(&config.topic_name);
        let topic_nums = table.topics.len() + usize::from(present.is_none());
        let before = present.map_or(0, |present| queue_nums(present));
        self.topics.check(topic_nums, "topics")?;
        self.queues_per_topic.check(queue_nums(config), "queues of one topic")?;
        if queue_nums(config) > before {
            let queue_nums = table.queue_nums - before + queue_nums(config);
            self.queues.check(queue_nums, "queues of all topics")?;
        }
        Ok(())
    }
}

/// Queues that a topic may have messages in.
fn queue_nums(config: &TopicConfig) -> usize {
    usize::try_from(config.read_queue_nums.max(config.write_queue_nums)).unwrap_or(0)
}
