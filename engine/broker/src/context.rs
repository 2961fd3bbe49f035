//! [`BrokerContext`]: what the processors and services of one broker share.
//!
//! Nothing in it owns the server or a task, so whoever owns those may be dropped in any order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mq_env::Env;
use mq_env::probe::Event;
use mq_protocol::body::heartbeat::ConsumerData;
use mq_protocol::codes::ResponseCode;
use mq_protocol::message::{MessageQueue, retry_topic};
use mq_protocol::message_codec::decode_record;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ChannelId, LogLimit, ProcessError};
use mq_store::config::{BrokerRole, UpstreamSwitch};
use mq_store::delay_level::SCHEDULE_TOPIC;
use mq_store::ha::HaService;
use mq_store::plant::Plant;
use mq_store::{MessageInner, MessageStore};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::acl_service::AclService;
use crate::broker_stats_manager::BrokerStatsManager;
use crate::client_channel::ClientChannelInfo;
use crate::config::BrokerConfig;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::delay_offset_manager::DelayOffsetManager;
use crate::dledger_commit_log::DLedgerCommitLog;
use crate::limits::LimitReached;
use crate::live_config::LiveConfig;
use crate::lock;
use crate::offset_guard::OffsetGuard;
use crate::outer_api::BrokerOuterApi;
use crate::producer_manager::ProducerManager;
use crate::pull_request_hold::PullRequestHoldService;
use crate::rebalance_lock_manager::RebalanceLockManager;
use crate::registration::{self, NewTopics};
use crate::replicated_tables::ReplicatedTables;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::{FoundTopic, GroupTopic, TopicConfigManager, TopicError};
use crate::transaction_ends::TransactionEnds;
use crate::transaction_questions::TransactionQuestions;
use crate::waiting_sends::WaitingSends;
use crate::work_queue::WorkQueues;

/// The parts of one broker.
pub(crate) struct BrokerContext {
    pub(crate) env: Env,
    /// What it was started with. Keys that may change meanwhile are read from `live`.
    pub(crate) config: BrokerConfig,
    /// See [`BrokerContext::live`].
    pub(crate) live_config: LiveConfig,
    /// Without it everybody may do everything.
    pub(crate) acl: Option<Arc<AclService>>,
    pub(crate) store: Arc<MessageStore>,
    pub(crate) ha: Arc<HaService>,
    /// In DLedger mode the group's log, which decides about the role.
    pub(crate) dledger: Option<Arc<DLedgerCommitLog>>,
    pub(crate) tables: ReplicatedTables,
    pub(crate) topics: TopicConfigManager,
    pub(crate) groups: SubscriptionGroupManager,
    pub(crate) offsets: Arc<ConsumerOffsetManager>,
    pub(crate) delay_offsets: Arc<DelayOffsetManager>,
    pub(crate) producers: ProducerManager,
    pub(crate) consumers: ConsumerManager,
    pub(crate) rebalance_locks: RebalanceLockManager,
    pub(crate) pull_hold: Arc<PullRequestHoldService>,
    pub(crate) waiting_sends: WaitingSends,
    pub(crate) work_queues: WorkQueues,
    /// What passed per topic, queue and group.
    pub(crate) stats: Arc<BrokerStatsManager>,
    pub(crate) transaction_ends: TransactionEnds,
    pub(crate) transaction_questions: TransactionQuestions,
    pub(crate) outer_api: Arc<BrokerOuterApi>,
    /// What records say about where they were stored: `brokerIP1:listenPort`.
    pub(crate) store_host: SocketAddr,
    /// The main address of a slave's master, as the name servers know it.
    pub(crate) master_addr: Arc<Mutex<Option<String>>>,
    pub(crate) guard: Arc<OffsetGuard>,
    /// Draws queues for messages that name none.
    pub(crate) queue_rng: Mutex<ChaCha8Rng>,
    /// Woken when a client appears: the housekeeping waits on it.
    pub(crate) client_appeared: Notify,
    /// What came of the last registration at each name server.
    pub(crate) registrations: Mutex<BTreeMap<String, Result<(), String>>>,
    /// Topics that the name servers have not heard of.
    pub(crate) new_topics: NewTopics,
    /// Of refused commits.
    pub(crate) refused_commit_log: LogLimit,
}

/// Why a commit is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommitRefused {
    /// The queue ends before it: the messages that it speaks of are not here.
    #[error("offset {offset} is beyond the queue's end {end}")]
    BeyondEnd { offset: i64, end: i64 },
    /// No message has such an offset.
    #[error("offset {0} is negative")]
    Negative(i64),
    /// The topic has no such queue.
    #[error("queueId {0} is illegal")]
    QueueId(i32),
    #[error("topic not exist, apply first please!")]
    NoTopic,
    #[error("subscription group not exist")]
    NoGroup,
    /// Another member of the group consumes the queue in order.
    #[error("queue {0} is locked by another client than {1}")]
    LockedByOther(i32, Arc<str>),
    #[error(transparent)]
    Limit(#[from] LimitReached),
}

impl CommitRefused {
    /// The response code.
    pub(crate) fn code(&self) -> i32 {
        match self {
            CommitRefused::NoTopic => ResponseCode::TOPIC_NOT_EXIST,
            CommitRefused::NoGroup => ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            _ => ResponseCode::SYSTEM_ERROR,
        }
    }
}

impl BrokerContext {
    /// The settings in force.
    pub(crate) fn live(&self) -> Arc<BrokerConfig> {
        self.live_config.settings.get()
    }

    /// The role.
    pub(crate) fn role(&self) -> BrokerRole {
        self.store.role().get()
    }

    /// Whether this broker copies a master, and has one to copy.
    pub(crate) fn is_following(&self) -> bool {
        match &self.dledger {
            Some(dledger) => self.is_slave() && dledger.is_following(),
            None => self.ha.is_following(),
        }
    }

    /// Whether this broker copies a master.
    pub(crate) fn is_slave(&self) -> bool {
        self.role() == BrokerRole::Slave
    }

    /// Whether who sent `request` may read `record`, which it named by where that lies: a topic was not asked for before.
    ///
    /// # Errors
    /// A refusal of access control; a record that cannot be read.
    pub(crate) fn check_read(
        &self,
        channel: &Channel,
        request: &RemotingCommand,
        record: &[u8],
    ) -> Result<(), ProcessError> {
        match &self.acl {
            Some(acl) => acl.check_read(channel, request, &decode_record(record)?.topic()),
            None => Ok(()),
        }
    }

    /// Queue offset behind the newest visible message; 0 where there is no such queue.
    pub(crate) fn max_offset(&self, topic: &str, queue_id: i32) -> i64 {
        max_offset(&self.store, topic, queue_id)
    }

    /// Whether a topic of this broker has, or had, queue `queue_id`; `None` without such a topic.
    pub(crate) fn has_queue(&self, topic: &str, queue_id: i32) -> Option<bool> {
        let config = self.topics.select_topic_config(topic)?;
        let queue_nums = config.read_queue_nums.max(config.write_queue_nums);
        Some((0..queue_nums).contains(&queue_id) || self.max_offset(topic, queue_id) > 0)
    }

    /// Commits a group's offset, as the client at the other end of `channel` says. Refused is what nobody could
    /// consume, and what a member says of a queue that another one has locked: RocketMQ 4.9 keeps
    /// whatever it is told.
    ///
    /// # Errors
    /// See [`CommitRefused`].
    pub(crate) fn commit_offset(
        &self,
        channel: ChannelId,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<(), CommitRefused> {
        let checked = self.check_commit(group, topic, queue_id, offset);
        let checked = checked.and_then(|()| self.check_holder(channel, group, topic, queue_id));
        let committed = checked.and_then(|()| {
            self.offsets.commit_offset(group, topic, queue_id, offset).map_err(CommitRefused::from)
        });
        if let Err(error) = committed {
            if let Some(suppressed) = self.refused_commit_log.pass() {
                tracing::warn!(suppressed, group, topic, queue_id, "offset not committed: {error}");
            }
            return Err(error);
        }
        if let (Ok(queue_id), Ok(offset)) = (u32::try_from(queue_id), u64::try_from(offset)) {
            let broker_name = &self.config.broker_name;
            let event = Event::OffsetCommitted { group, topic, broker_name, queue_id, offset };
            self.env.probe.emit(&event);
        }
        Ok(())
    }

    /// A group's queue offset in a queue, to be told to one of its members.
    pub(crate) fn tell_offset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        let stored = self.offsets.query_offset(group, topic, queue_id).filter(|it| *it >= 0)?;
        if let (Ok(queue_id), Ok(offset)) = (u32::try_from(queue_id), u64::try_from(stored)) {
            let broker_name = &self.config.broker_name;
            let event = Event::OffsetQueried { group, topic, broker_name, queue_id, offset };
            self.env.probe.emit(&event);
        }
        Some(stored)
    }

    fn check_commit(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<(), CommitRefused> {
        match self.has_queue(topic, queue_id) {
            None => return Err(CommitRefused::NoTopic),
            Some(false) => return Err(CommitRefused::QueueId(queue_id)),
            Some(true) => {}
        }
        if !self.groups.contains(group) {
            return Err(CommitRefused::NoGroup);
        }
        if offset < 0 {
            return Err(CommitRefused::Negative(offset));
        }
        let end = self.max_offset(topic, queue_id);
        if offset > end && !self.store.config().upstream(UpstreamSwitch::OffsetsBeyondEnd) {
            return Err(CommitRefused::BeyondEnd { offset, end });
        }
        Ok(())
    }

    /// Who consumes in order commits what it holds the lock of. A connection that told of no member of the
    /// group may be an operator's, or a client's second one: it is believed.
    fn check_holder(
        &self,
        channel: ChannelId,
        group: &str,
        topic: &str,
        queue_id: i32,
    ) -> Result<(), CommitRefused> {
        // Most groups do not consume in order, and each pull may commit.
        if !self.rebalance_locks.has_locks(group) {
            return Ok(());
        }
        let Some(client_id) = self.consumers.client_id(group, channel) else { return Ok(()) };
        let broker_name = self.config.broker_name.clone();
        let queue = MessageQueue { topic: topic.to_owned(), broker_name, queue_id };
        let now = Instant::now();
        match self.rebalance_locks.is_held_by_other(group, &queue, &client_id, now) {
            true => Err(CommitRefused::LockedByOther(queue_id, client_id)),
            false => Ok(()),
        }
    }

    /// Topic and queue under which a message is stored: a delayed one waits elsewhere for its turn.
    pub(crate) fn stored_under<'a>(&self, message: &'a MessageInner) -> (&'a str, u32) {
        match self.store.config().message_delay_level.queue_of(message) {
            Some(queue_id) => (SCHEDULE_TOPIC, queue_id),
            None => (&message.topic, message.queue_id),
        }
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
    ) -> Result<FoundTopic, TopicError> {
        let topic = GroupTopic { name: topic.to_owned(), queue_nums, is_unit };
        let found = self.topics.create_topic_in_send_message_back_method(topic).await?;
        if found.is_new {
            self.register_broker_oneway();
        }
        Ok(found)
    }

    /// Lets a queue be read that a message is about to go to, and registers it if that took a change.
    pub(crate) async fn make_readable(&self, topic: &str, queue_id: u32) {
        if self.store.config().planted(Plant::QueueWithoutTopic) {
            return;
        }
        if self.topics.make_readable(topic, queue_id).await {
            self.register_broker_oneway();
        }
    }

    /// Tells the name servers of every topic without waiting for an answer, soon.
    pub(crate) fn register_broker_oneway(&self) {
        if self.new_topics.is_due(self.topics.topic_nums()) {
            registration::register_oneway(self);
        }
    }

    /// Takes note of the consumers of a heartbeat: their groups and retry topics, each with one write of
    /// the table for all of them, and their subscriptions.
    ///
    /// # Errors
    /// When something is too much; the rest is noted.
    pub(crate) async fn register_consumers(
        &self,
        consumers: &[ConsumerData],
        client: &ClientChannelInfo,
    ) -> Result<(), ProcessError> {
        let names: Vec<&str> = consumers.iter().map(|it| it.group_name.as_str()).collect();
        let mut outcome = self.groups.create_missing(&names).await.map_err(ProcessError::from);
        let made = self.ensure_retry_topics(consumers).await;
        if let Err(error) = made {
            // Retries will want them, reading does not; the next heartbeat tries again.
            tracing::error!(groups = names.join(" "), %error, "retry topics cannot be created");
            if !matches!(error, TopicError::Disk(_)) {
                outcome = Err(error.into());
            }
        }
        for consumer in consumers {
            match self.consumers.register_consumer(consumer, client) {
                Ok(Some(changed)) if self.notifies(&consumer.group_name) => {
                    changed.notify_consumer_ids_changed();
                }
                Ok(_) => {}
                Err(reached) => outcome = Err(reached.into()),
            }
        }
        outcome
    }

    async fn ensure_retry_topics(&self, consumers: &[ConsumerData]) -> Result<(), TopicError> {
        let retry_topic_of = |consumer: &ConsumerData| {
            let group = self.groups.find(&consumer.group_name)?;
            let name = retry_topic(&consumer.group_name);
            let queue_nums = group.retry_queue_nums;
            (queue_nums > 0).then_some(GroupTopic { name, queue_nums, is_unit: consumer.unit_mode })
        };
        let topics: Vec<GroupTopic> = consumers.iter().filter_map(retry_topic_of).collect();
        if self.topics.create_topics_in_send_message_back_method(&topics).await? {
            self.register_broker_oneway();
        }
        Ok(())
    }

    /// Whether the members of a group are told when others come and go.
    pub(crate) fn notifies(&self, group: &str) -> bool {
        let group = self.groups.find(group);
        group.is_none_or(|group| group.notify_consumer_ids_changed_enable)
    }

    /// Forgets everything of a connection that has ended, and tells the others.
    pub(crate) fn client_gone(&self, channel: ChannelId) {
        self.pull_hold.channel_gone(channel);
        self.waiting_sends.channel_gone(channel);
        self.producers.do_channel_close(channel);
        for group in self.consumers.do_channel_close(channel) {
            if self.live().notify_consumer_ids_changed_enable {
                group.notify_consumer_ids_changed();
            }
        }
    }
}

/// Queue offset behind the newest visible message; 0 where there is no such queue.
pub(crate) fn max_offset(store: &MessageStore, topic: &str, queue_id: i32) -> i64 {
    u32::try_from(queue_id).map_or(0, |queue_id| store.max_offset_in_queue(topic, queue_id) as i64)
}
