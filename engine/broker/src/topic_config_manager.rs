//! [`TopicConfigManager`]: the topics of a broker, file `topics.json` (RocketMQ 4.9
//! `TopicConfigManager`).
//!
//! A topic is on disk before the first message is stored under it: a message whose topic a power
//! loss takes away cannot be read by anybody. How many topics and queues there may be is bounded, except
//! for what a slave's master has.

mod system_topics;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mq_env::Env;
use mq_env::clock::Clock;
use mq_protocol::body::OrderedMap;
use mq_protocol::body::topic_config::{
    DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper,
};
use mq_protocol::fastjson::from_slice;
use mq_protocol::sys_flag::PermName;
use mq_protocol::topic_validator::{AUTO_CREATE_TOPIC_KEY_TOPIC, SYSTEM_TOPICS, is_system_topic};
use mq_store::config::StoreConfig;
use mq_store::metadata_file::{MetadataError, load_table, table_path};
use mq_store::role::RoleWatch;

use crate::config::BrokerConfig;
use crate::limits::LimitReached;
use crate::now_ms;
use crate::persisted_table::PersistedTable;
use system_topics::{auto_create_pattern, system_topics};
use table::{Limits, TopicTable};

/// A topic that was looked up, and whether that brought it into being: then name servers want to
/// hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundTopic {
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) is_new: bool,
}

/// A retry topic, or another one of a group, that has to be there.
#[derive(Clone, Debug)]
pub(crate) struct GroupTopic {
    pub(crate) name: String,
    pub(crate) queue_nums: i32,
    /// Whether the group is one of units.
    pub(crate) is_unit: bool,
}

/// Why a topic is not created or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    /// `topics.json` cannot be written.
    #[error("topics.json cannot be written: {0}")]
    Disk(#[from] io::Error),
    /// There are too many, or it wants too much.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// It makes no sense.
    #[error("a topic with readQueueNums={read} and writeQueueNums={write} makes no sense")]
    QueueNums { read: i32, write: i32 },
    /// It makes no sense either.
    #[error("a topic with perm={0} makes no sense: 4 is read, 2 is write, 1 is inherit")]
    Perm(i32),
}

/// The topics of a broker.
pub(crate) struct TopicConfigManager {
    clock: Arc<dyn Clock>,
    limits: Limits,
    auto_create_topic_enable: AtomicBool,
    /// A slave's own additions do not count as a version: its master's table replaces them.
    role: RoleWatch,
    /// Topics of this broker's own that belong to the system.
    own_system_topics: BTreeSet<String>,
    table: PersistedTable<TopicTable>,
}

impl TopicConfigManager {
    /// The system's topics and what the file holds.
    ///
    /// # Errors
    /// When nothing sound is left of the file.
    pub(crate) fn load(
        env: &Env,
        config: &BrokerConfig,
        store_config: &StoreConfig,
        role: &RoleWatch,
    ) -> Result<Self, MetadataError> {
        let name = "topics.json";
        let mut table = TopicTable::default();
        table.data_version.timestamp = now_ms(&*env.clock);
        let mut own_system_topics = BTreeSet::new();
        for topic in system_topics(config) {
            own_system_topics.insert(topic.topic_name.clone());
            table.put(topic);
        }
        if let Some(wrapper) = load_table(&*env.disk, store_config, name, from_slice)? {
            table.merge(wrapper);
        }
        let path = table_path(store_config, name);
        Ok(TopicConfigManager {
            clock: Arc::clone(&env.clock),
            limits: Limits::of(config),
            auto_create_topic_enable: AtomicBool::new(config.auto_create_topic_enable),
            role: role.clone(),
            own_system_topics,
            table: PersistedTable::new(Arc::clone(&env.disk), path, TopicTable::encode, table),
        })
    }

    /// The topic, if there is one.
    pub(crate) fn select_topic_config(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        self.table.read(|table| table.topics.get(topic).cloned())
    }

    /// Whether the topic belongs to the system.
    pub(crate) fn is_system_topic(&self, topic: &str) -> bool {
        is_system_topic(topic) || self.own_system_topics.contains(topic)
    }

    /// Every topic that belongs to the system, this broker's own included.
    pub(crate) fn system_topics(&self) -> BTreeSet<String> {
        let everywhere = SYSTEM_TOPICS.iter().map(|topic| (*topic).to_owned());
        everywhere.chain(self.own_system_topics.iter().cloned()).collect()
    }

    /// The version of the table.
    pub(crate) fn data_version(&self) -> DataVersion {
        self.table.read(|table| table.data_version)
    }

    /// Every topic, as slaves (21) and the file get them, encoded.
    pub(crate) fn content(&self) -> Bytes {
        self.table.content()
    }

    /// Every topic.
    fn wrapper(&self) -> TopicConfigSerializeWrapper {
        self.table.read(TopicTable::wrapper)
    }

    /// Number of topics.
    pub(crate) fn topic_nums(&self) -> usize {
        self.table.read(|table| table.topics.len())
    }

    /// What name servers get: every topic, or `only` that one. A broker that may not be read or
    /// written says so by the permissions of its topics.
    pub(crate) fn register_body(
        &self,
        broker_permission: i32,
        only: Option<&str>,
    ) -> RegisterBrokerBody {
        let mut wrapper = match only {
            Some(topic) => {
                self.table.read(|table| table.wrapper_of(table.topics.get_key_value(topic)))
            }
            None => self.wrapper(),
        };
        if broker_permission & PermName::READ_WRITE != PermName::READ_WRITE {
            for topic_config in wrapper.topic_config_table.values_mut() {
                topic_config.perm = broker_permission;
            }
        }
        RegisterBrokerBody {
            filter_server_list: Vec::new(),
            topic_config_serialize_wrapper: wrapper,
        }
    }

    /// The topic, created after the pattern of `default_topic` if there is none and the pattern
    /// allows it.
    ///
    /// # Errors
    /// When the table cannot be written, or is full; there is no such topic then.
    pub(crate) async fn create_topic_in_send_message_method(
        &self,
        topic: &str,
        default_topic: &str,
        client_default_topic_queue_nums: i32,
        topic_sys_flag: i32,
    ) -> Result<Option<FoundTopic>, TopicError> {
        if default_topic == AUTO_CREATE_TOPIC_KEY_TOPIC
            && !self.auto_create_topic_enable.load(Ordering::Relaxed)
        {
            return Ok(self.existing(topic));
        }
        let now_ms = now_ms(&*self.clock);
        let created = self.table.update::<TopicError>(|table| {
            if table.topics.contains_key(topic) {
                return Ok(false);
            }
            let Some(pattern) = table.topics.get(default_topic) else {
                return Ok(false);
            };
            if !PermName::is_inherited(pattern.perm) {
                return Ok(false);
            }
            let queue_nums = client_default_topic_queue_nums.min(pattern.write_queue_nums);
            let mut config = TopicConfig::new(topic, queue_nums, pattern.perm & !PermName::INHERIT);
            config.topic_filter_type = pattern.topic_filter_type;
            config.topic_sys_flag = topic_sys_flag;
            self.limits.check(table, &config)?;
            table.put(config);
            table.data_version.next(now_ms);
            Ok(true)
        });
        let is_new = created.await?;
        Ok(self.existing(topic).map(|found| FoundTopic { is_new, ..found }))
    }

    /// The topics, created if they are missing (retry topics, dead letters), all with one write, and
    /// whether any was.
    ///
    /// # Errors
    /// When the table cannot be written, or is full; what is missing then stays so.
    pub(crate) async fn create_topics_in_send_message_back_method(
        &self,
        topics: &[GroupTopic],
    ) -> Result<bool, TopicError> {
        let is_missing = |topic: &&GroupTopic| self.select_topic_config(&topic.name).is_none();
        let missing: Vec<&GroupTopic> = topics.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(false);
        }
        let now_ms = now_ms(&*self.clock);
        let mut refused = None;
        let created = self.table.update::<TopicError>(|table| {
            let mut is_changed = false;
            for topic in missing {
                if table.topics.contains_key(&topic.name) {
                    continue;
                }
                let config = topic.config();
                if let Err(error) = self.limits.check(table, &config) {
                    refused = Some(error);
                    break;
                }
                table.put(config);
                if self.role.is_master() {
                    table.data_version.next(now_ms);
                }
                is_changed = true;
            }
            Ok(is_changed)
        });
        let is_new = created.await?;
        refused.map_or(Ok(is_new), Err)
    }

    /// As [`TopicConfigManager::create_topics_in_send_message_back_method`], for one topic.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn create_topic_in_send_message_back_method(
        &self,
        topic: GroupTopic,
    ) -> Result<FoundTopic, TopicError> {
        if let Some(found) = self.existing(&topic.name) {
            return Ok(found);
        }
        let topics = [topic];
        let is_new = self.create_topics_in_send_message_back_method(&topics).await?;
        let [topic] = topics;
        let existing = self.select_topic_config(&topic.name);
        Ok(FoundTopic { config: existing.unwrap_or_else(|| Arc::new(topic.config())), is_new })
    }

    /// Puts or replaces a topic.
    ///
    /// # Errors
    /// When it makes no sense or the table is full, or cannot be written; it is then as before.
    pub(crate) async fn update_topic_config(&self, config: TopicConfig) -> Result<(), TopicError> {
        let now_ms = now_ms(&*self.clock);
        let updated = self.table.update::<TopicError>(|table| {
            self.limits.check(table, &config)?;
            table.put(config);
            table.data_version.next(now_ms);
            Ok(true)
        });
        updated.await.map(drop)
    }

    /// Follows `autoCreateTopicEnable`. The pattern that such topics are made after comes with it; it stays where it is
    /// switched off, as there it is not asked for.
    ///
    /// # Errors
    /// When the table cannot be written; nothing is changed then.
    pub(crate) async fn set_auto_create(&self, config: &BrokerConfig) -> io::Result<()> {
        if config.auto_create_topic_enable {
            let now_ms = now_ms(&*self.clock);
            let pattern = auto_create_pattern(config);
            let updated = self.table.update::<io::Error>(|table| {
                let is_missing = !table.topics.contains_key(&pattern.topic_name);
                if is_missing {
                    table.put(pattern);
                    table.data_version.next(now_ms);
                }
                Ok(is_missing)
            });
            updated.await?;
        }
        self.auto_create_topic_enable.store(config.auto_create_topic_enable, Ordering::Relaxed);
        Ok(())
    }

    /// Has name servers and slaves take the table for a newer one: its permissions are read otherwise from now on.
    ///
    /// # Errors
    /// When the table cannot be written; it is then as before.
    pub(crate) async fn next_data_version(&self) -> io::Result<()> {
        let now_ms = now_ms(&*self.clock);
        let updated = self.table.update::<io::Error>(|table| {
            table.data_version.next(now_ms);
            Ok(true)
        });
        updated.await.map(drop)
    }

    /// Takes a topic out of the table; what it was, if there was one.
    ///
    /// # Errors
    /// When the table cannot be written; it is then as before.
    pub(crate) async fn delete_topic_config(&self, topic: &str) -> io::Result<Option<TopicConfig>> {
        let now_ms = now_ms(&*self.clock);
        let mut removed = None;
        let updated = self.table.update::<io::Error>(|table| {
            removed = table.remove(topic);
            if removed.is_some() {
                table.data_version.next(now_ms);
            }
            Ok(removed.is_some())
        });
        updated.await?;
        Ok(removed.map(Arc::unwrap_or_clone))
    }

    /// Sets the order flag of the topics that name servers list as ordered, and of no others.
    ///
    /// # Errors
    /// When the table cannot be written; it is then as before.
    pub(crate) async fn update_order_topic_config(
        &self,
        ordered: &OrderedMap<String, String>,
    ) -> io::Result<()> {
        let now_ms = now_ms(&*self.clock);
        let updated = self.table.update::<io::Error>(|table| {
            let mut is_changed = false;
            for (name, config) in &mut table.topics {
                let order = ordered.contains_key(name);
                if config.order != order {
                    Arc::make_mut(config).order = order;
                    is_changed = true;
                }
            }
            if is_changed {
                table.data_version.next(now_ms);
            }
            Ok(is_changed)
        });
        updated.await.map(drop)
    }

    /// Takes over a master's table if it has another version. One without a topic of any user,
    /// where this one has some of which `has_queues` says that they have messages, is a blank master's and
    /// refused: returns `false` then.
    ///
    /// # Errors
    /// When the table cannot be written; it is then as before.
    pub(crate) async fn adopt(
        &self,
        wrapper: TopicConfigSerializeWrapper,
        has_queues: impl Fn(&str) -> bool,
    ) -> io::Result<bool> {
        let is_users = |name: &String| !self.is_system_topic(name);
        let mut is_refused = false;
        let adopted = self.table.update::<io::Error>(|table| {
            if table.data_version == wrapper.data_version {
                return Ok(false);
            }
            let is_blank = !wrapper.topic_config_table.keys().any(is_users);
            if is_blank && table.topics.keys().any(|name| is_users(name) && has_queues(name)) {
                is_refused = true;
                return Ok(false);
            }
            table.topics.clear();
            table.queue_nums = 0;
            table.merge(wrapper);
            Ok(true)
        });
        adopted.await?;
        Ok(!is_refused)
    }

    /// Makes the topics that have queues and are not in the table, and the queues that a topic of it lacks: whatever a
    /// log holds can be read. A slave that becomes a master before it could copy its master's topics would have
    /// messages that nobody finds (RocketMQ 4.9 does). `queues`: how many each topic has at least, see
    /// [`TopicConfigManager::queue_nums_told`]. Returns what was made or grew.
    ///
    /// What cannot be written is made all the same: the next change of the table writes it, and the next
    /// start makes it again.
    pub(crate) async fn make_for_queues(&self, queues: &BTreeMap<String, i32>) -> Vec<String> {
        let now_ms = now_ms(&*self.clock);
        self.make(|table| self.limits.add_missing(table, queues, now_ms)).await
    }

    /// How many queues `topic` has at least, if its log has `queue_ids` of it; `None` if the table may be right. A topic
    /// that is not in the table has all of them. In a queue beyond those of the table lies what an operator took
    /// away when he gave the topic fewer queues; whatever was stored there after the table's last change
    /// (`last_stored_ms`) tells of a newer table.
    pub(crate) fn queue_nums_told(
        &self,
        topic: &str,
        queue_ids: &[u32],
        last_stored_ms: impl Fn(u32) -> Option<u64>,
    ) -> Option<i32> {
        let nums = |queue_id: u32| i32::try_from(queue_id.checked_add(1)?).ok();
        let Some(config) = self.select_topic_config(topic) else {
            return queue_ids.iter().copied().max().and_then(nums);
        };
        let known = config.read_queue_nums.max(config.write_queue_nums);
        let changed_ms = self.data_version().timestamp;
        let is_newer = |queue_id: u32| {
            let stored_ms = last_stored_ms(queue_id).and_then(|it| i64::try_from(it).ok());
            stored_ms.is_some_and(|stored_ms| stored_ms > changed_ms)
        };
        let beyond = queue_ids.iter().copied().filter(|it| i64::from(*it) >= i64::from(known));
        beyond.filter(|it| is_newer(*it)).max().and_then(nums)
    }

    /// Lets a queue be read that a message is about to go to without a producer having asked for its topic: one
    /// that was delayed, or a transaction's. RocketMQ 4.9 puts it there whether or not anybody can read it, which
    /// on a slave that became master before it had copied the topic nobody can. Whether anything had to be
    /// made; as in [`TopicConfigManager::make_for_queues`] it is whatever the disk says.
    pub(crate) async fn make_readable(&self, topic: &str, queue_id: u32) -> bool {
        let is_readable =
            |config: Arc<TopicConfig>| i64::from(config.read_queue_nums) > i64::from(queue_id);
        if self.select_topic_config(topic).is_some_and(is_readable) {
            return false;
        }
        let now_ms = now_ms(&*self.clock);
        !self.make(|table| self.limits.add_queue(table, topic, queue_id, now_ms)).await.is_empty()
    }

    /// Lets `add` make topics, in memory alone if they cannot be written. Returns what was made.
    async fn make(&self, add: impl Fn(&mut TopicTable) -> Vec<String>) -> Vec<String> {
        let mut made = Vec::new();
        let updated = self.table.update::<io::Error>(|table| {
            made = add(table);
            Ok(!made.is_empty())
        });
        if let Err(error) = updated.await {
            tracing::error!(%error, ?made, "topics of queues cannot be written; they are in memory alone");
            self.table.update_unwritten(|table| !add(table).is_empty()).await;
        }
        made
    }

    fn existing(&self, topic: &str) -> Option<FoundTopic> {
        self.select_topic_config(topic).map(|config| FoundTopic { config, is_new: false })
    }
}

impl GroupTopic {
    fn config(&self) -> TopicConfig {
        let mut config = TopicConfig::new(&self.name, self.queue_nums, PermName::READ_WRITE);
        config.topic_sys_flag = topic_sys_flag(false, self.is_unit);
        config
    }
}

/// Unit bits of a topic (Java `TopicSysFlag.buildSysFlag`).
pub(crate) fn topic_sys_flag(is_unit: bool, has_unit_sub: bool) -> i32 {
    i32::from(is_unit) | i32::from(has_unit_sub) << 1
}

#[cfg(test)]
mod tests;
