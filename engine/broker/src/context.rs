//! [`BrokerContext`]: what the processors and services of one broker share.
//!
//! Nothing in it owns the server or a task, so whoever owns those may be dropped in any order.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mq_env::Env;
use mq_env::probe::Event;
use mq_protocol::body::heartbeat::ConsumerData;
use mq_protocol::message::retry_topic;
use mq_protocol::sys_flag::PermName;
use mq_remoting::ChannelId;
use mq_store::MessageStore;
use mq_store::config::{BrokerRole, UpstreamSwitch};
use mq_store::ha::HaService;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

use crate::client_channel::ClientChannelInfo;
use crate::config::BrokerConfig;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::delay_offset_manager::DelayOffsetManager;
use crate::lock;
use crate::outer_api::BrokerOuterApi;
use crate::producer_manager::ProducerManager;
use crate::pull_request_hold::PullRequestHoldService;
use crate::rebalance_lock_manager::RebalanceLockManager;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::{FoundTopic, TopicConfigManager, topic_sys_flag};

/// The parts of one broker.
pub(crate) struct BrokerContext {
    pub(crate) env: Env,
    pub(crate) config: BrokerConfig,
    pub(crate) store: Arc<MessageStore>,
    pub(crate) ha: Arc<HaService>,
    pub(crate) topics: TopicConfigManager,
    pub(crate) groups: SubscriptionGroupManager,
    pub(crate) offsets: Arc<ConsumerOffsetManager>,
    pub(crate) delay_offsets: Arc<DelayOffsetManager>,
    pub(crate) producers: ProducerManager,
    pub(crate) consumers: ConsumerManager,
    pub(crate) rebalance_locks: RebalanceLockManager,
    pub(crate) pull_hold: Arc<PullRequestHoldService>,
    pub(crate) outer_api: Arc<BrokerOuterApi>,
    /// What records say about where they were stored: `brokerIP1:listenPort`.
    pub(crate) store_host: SocketAddr,
    /// The main address of a slave's master, as the name servers know it.
    pub(crate) master_addr: Arc<Mutex<Option<String>>>,
    /// Draws queues for messages that name none.
    pub(crate) queue_rng: Mutex<ChaCha8Rng>,
    /// Woken when a client appears: the housekeeping waits on it.
    pub(crate) client_appeared: Notify,
}

/// A commit that was refused: the queue ends before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} is beyond the queue's end {end}")]
pub(crate) struct OffsetBeyondEnd {
    pub(crate) offset: i64,
    pub(crate) end: i64,
}

impl BrokerContext {
    /// The role.
    pub(crate) fn role(&self) -> BrokerRole {
        self.store.config().broker_role
    }

    /// Whether this broker copies a master.
    pub(crate) fn is_slave(&self) -> bool {
        self.role() == BrokerRole::Slave
    }

    /// Queue offset behind the newest visible message; 0 where there is no such queue.
    pub(crate) fn max_offset(&self, topic: &str, queue_id: i32) -> i64 {
        max_offset(&self.store, topic, queue_id)
    }

    /// Commits a group's offset. One beyond the end of the queue is refused: the messages that it
    /// speaks of are not here, and others will take their places.
    pub(crate) fn commit_offset(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<(), OffsetBeyondEnd> {
        let end = self.max_offset(topic, queue_id);
        if offset > end && !self.store.config().upstream(UpstreamSwitch::OffsetsBeyondEnd) {
            tracing::warn!(group, topic, queue_id, offset, end, "commit beyond the queue refused");
            return Err(OffsetBeyondEnd { offset, end });
        }
        self.offsets.commit_offset(group, topic, queue_id, offset);
        if let (Ok(queue_id), Ok(offset)) = (u32::try_from(queue_id), u64::try_from(offset)) {
            self.env.probe.emit(&Event::OffsetCommitted { group, topic, queue_id, offset });
        }
        Ok(())
    }

    /// Draws one of `queue_nums` queues.
    pub(crate) fn random_queue_id(&self, queue_nums: i32) -> i32 {
        if queue_nums > 1 { lock(&self.queue_rng).random_range(0..queue_nums) } else { 0 }
    }

    /// A group's retry topic or dead letters: created if need be, and then registered.
    pub(crate) async fn ensure_group_topic(
        &self,
        topic: &str,
        queue_nums: i32,
        is_unit: bool,
    ) -> io::Result<FoundTopic> {
        let sys_flag = topic_sys_flag(false, is_unit);
        let perm = PermName::READ_WRITE;
        let created =
            self.topics.create_topic_in_send_message_back_method(topic, queue_nums, perm, sys_flag);
        let found = created.await?;
        if found.is_new {
            self.register_broker_oneway();
        }
        Ok(found)
    }

    /// Tells the name servers of every topic without waiting for an answer.
    pub(crate) fn register_broker_oneway(&self) {
        let permission = self.config.broker_permission as i32;
        self.outer_api.register_broker_all_oneway(&self.topics.register_body(permission, None));
    }

    /// Takes note of one consumer of a heartbeat: its group, its retry topic, its subscriptions.
    pub(crate) async fn register_consumer(
        &self,
        consumer: &ConsumerData,
        client: &ClientChannelInfo,
    ) {
        let group = self.groups.find_or_create(&consumer.group_name).await;
        let mut notifies = true;
        if let Some(group) = group {
            notifies = group.notify_consumer_ids_changed_enable;
            let topic = retry_topic(&consumer.group_name);
            let made = self.ensure_group_topic(&topic, group.retry_queue_nums, consumer.unit_mode);
            if let Err(error) = made.await {
                // Retries will want it, reading does not; the next heartbeat tries again.
                tracing::error!(topic, %error, "retry topic cannot be created");
            }
        }
        let changed = self.consumers.register_consumer(consumer, client);
        if let Some(changed) = changed.filter(|_| notifies) {
            changed.notify_consumer_ids_changed();
        }
    }

    /// Forgets everybody on a connection that has ended, and tells the others.
    pub(crate) fn client_gone(&self, channel: ChannelId) {
        self.producers.do_channel_close(channel);
        for group in self.consumers.do_channel_close(channel) {
            if self.config.notify_consumer_ids_changed_enable {
                group.notify_consumer_ids_changed();
            }
        }
    }
}

/// Queue offset behind the newest visible message; 0 where there is no such queue.
pub(crate) fn max_offset(store: &MessageStore, topic: &str, queue_id: i32) -> i64 {
    u32::try_from(queue_id).map_or(0, |queue_id| store.max_offset_in_queue(topic, queue_id) as i64)
}
