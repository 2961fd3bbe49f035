//! [`LitePullConsumer`]: a consumer that reads when it likes (RocketMQ 4.9 `DefaultLitePullConsumer`).
//!
//! Its queues are pulled ahead, within limits, and [`LitePullConsumer::poll`] gives what is there. They are
//! either shared among the members of the group ([`LitePullConsumer::subscribe`]) or chosen by the caller
//! ([`LitePullConsumer::assign`]). What a poll gave may be committed from the next poll on: a consumer that
//! fails in between gets it again.

mod assigned;

mod pull_task;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::BoxFuture;
use mq_env::task::TaskGroup;
use mq_protocol::body::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
    SubscriptionParseError,
};
use mq_protocol::codes::RequestCode;
use mq_protocol::message::{MessageExt, MessageQueue};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::allocate::AllocateMessageQueueStrategy;
use crate::consumer_group::{ConsumerGroup, GroupBegin};
use crate::consumer_inner::MqConsumerInner;
use crate::error::ClientError;
use crate::flow_control::FlowControl;
use crate::instance::ClientInstance;
use crate::namespace::{queue_with_namespace, queue_without_namespace, with_namespace};

use assigned::{LiteState, SubscriptionType};

/// Settings of a [`LitePullConsumer`], with RocketMQ's defaults.
#[derive(Clone, Debug)]
pub struct LitePullConsumerConfig {
    /// Consumer group.
    pub group: String,
    /// How the members divide the queues of topics subscribed to; the same for all of them.
    pub allocate_message_queue_strategy: AllocateMessageQueueStrategy,
    /// Where a group begins that has no offset.
    pub consume_from_where: ConsumeFromWhere,
    /// Where a group begins that has no offset, with CONSUME_FROM_TIMESTAMP: at what was stored then or later, in
    /// ms (`consumeTimestamp`). `None` is half an hour before the consumer was made.
    pub consume_timestamp_ms: Option<i64>,
    /// How many messages a pull may bring (`pullBatchSize`).
    pub pull_batch_size: i32,
    /// Whether polls commit what earlier ones gave (`autoCommit`).
    pub auto_commit: bool,
    /// How often they do (`autoCommitIntervalMillis`).
    pub auto_commit_interval: Duration,
    /// How many messages of all queues may be cached before pulling pauses (`pullThresholdForAll`).
    pub pull_threshold_for_all: usize,
    /// When the pulling of one queue pauses.
    pub flow_control: FlowControl,
}

impl LitePullConsumerConfig {
    /// The defaults for `group`.
    #[must_use]
    pub fn new(group: impl Into<String>) -> Self {
        LitePullConsumerConfig {
            group: group.into(),
            allocate_message_queue_strategy: AllocateMessageQueueStrategy::default(),
            consume_from_where: ConsumeFromWhere::default(),
            consume_timestamp_ms: None,
            pull_batch_size: 10,
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            pull_threshold_for_all: 10_000,
            flow_control: FlowControl::default(),
        }
    }
}

/// What a [`LitePullConsumer`] cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LitePullError {
    /// The expression of a subscription cannot be read.
    #[error(transparent)]
    Subscription(#[from] SubscriptionParseError),
    /// The consumer has subscribed, and is to be assigned queues, or the other way round.
    #[error("subscribe and assign are mutually exclusive")]
    Exclusive,
    /// The queue is not one of the consumer's, perhaps not any more or not yet.
    #[error("the message queue {0:?} is not assigned, it may be rebalancing")]
    NotAssigned(MessageQueue),
    /// There is nothing at the offset.
    #[error("seek offset {offset} is illegal, the queue has {min} to {max}")]
    SeekIllegal {
        /// Where to.
        offset: i64,
        /// First offset of the queue.
        min: i64,
        /// Offset behind its last message.
        max: i64,
    },
    /// A broker could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A consumer that polls. Ends with [`LitePullConsumer::shutdown`], not when dropped.
pub struct LitePullConsumer {
    inner: Arc<Inner>,
}

/// What the tasks of one consumer share.
struct Inner {
    instance: ClientInstance,
    config: LitePullConsumerConfig,
    begin: GroupBegin,
    tasks: TaskGroup,
    state: Mutex<LiteState>,
    /// Signalled when there is something to poll.
    arrived: Notify,
    /// Signalled when pulling may go on: queues are resumed, or less is cached.
    unblocked: Notify,
}

impl LitePullConsumer {
    /// A member of its group from the first subscription or assignment on.
    #[must_use]
    pub fn new(instance: &ClientInstance, mut config: LitePullConsumerConfig) -> Self {
        config.group = with_namespace(instance.namespace(), &config.group);
        let now_ms = instance.env().clock.now_millis() as i64;
        let begin = GroupBegin::new(config.consume_from_where, config.consume_timestamp_ms, now_ms);
        let inner = Arc::new(Inner {
            instance: instance.clone(),
            begin,
            tasks: instance.tasks().child(),
            state: Mutex::default(),
            arrived: Notify::new(),
            unblocked: Notify::new(),
            config,
        });
        let weak = Arc::downgrade(&inner);
        instance.register_consumer(&inner.config.group, weak);
        LitePullConsumer { inner }
    }

    /// Shares a topic with the other members of the group. `expression` is `*`, or tags separated by `||`.
    ///
    /// # Errors
    /// When the expression cannot be read, or queues were assigned.
    pub async fn subscribe(&self, topic: &str, expression: &str) -> Result<(), LitePullError> {
        let instance = &self.inner.instance;
        let topic = with_namespace(instance.namespace(), topic);
        let version = instance.env().clock.now_millis() as i64;
        let subscription = SubscriptionData::by_tags(&topic, expression, version)?;
        {
            let mut state = self.inner.state();
            state.set_subscription_type(SubscriptionType::Subscribe)?;
            state.subscriptions.insert(topic.clone(), subscription);
        }
        self.inner.join(&BTreeSet::from([topic])).await;
        instance.rebalance_soon();
        Ok(())
    }

    /// Ends a subscription, and gives its queues up.
    pub async fn unsubscribe(&self, topic: &str) {
        let topic = with_namespace(self.inner.instance.namespace(), topic);
        let known = self.inner.state().subscriptions.remove(&topic).is_some();
        if known {
            self.inner.set_queues(&topic, &[]).await;
            self.inner.instance.heartbeat_soon();
        }
    }

    /// Reads these queues and no others, whoever else in the group does.
    ///
    /// # Errors
    /// When the consumer has subscribed.
    pub async fn assign(&self, queues: &[MessageQueue]) -> Result<(), LitePullError> {
        let namespace = self.inner.instance.namespace();
        let queues: Vec<_> =
            queues.iter().map(|queue| queue_with_namespace(namespace, queue)).collect();
        let mut topics: BTreeSet<String> = queues.iter().map(|queue| queue.topic.clone()).collect();
        {
            let mut state = self.inner.state();
            state.set_subscription_type(SubscriptionType::Assign)?;
            topics.extend(state.topics());
        }
        self.inner.join(&topics).await;
        for topic in topics {
            let of_topic: Vec<_> =
                queues.iter().filter(|queue| queue.topic == topic).cloned().collect();
            self.inner.set_queues(&topic, &of_topic).await;
        }
        Ok(())
    }

    /// The next messages, all of one queue and in its order; none if none come within `timeout`.
    pub async fn poll(&self, timeout: Duration) -> Vec<Arc<MessageExt>> {
        let inner = &self.inner;
        let deadline = Instant::now() + timeout;
        if inner.config.auto_commit {
            inner.state().commit_if_due(inner.config.auto_commit_interval);
        }
        loop {
            let arrived = inner.arrived.notified();
            let polled = inner.state().take_ready();
            if let Some(messages) = polled {
                inner.unblocked.notify_waiters();
                return messages;
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return Vec::new();
            }
        }
    }

    /// Commits what was polled so far: brokers hear of it with the next round of commits
    /// ([`ClientConfig::persist_consumer_offset_interval`](crate::ClientConfig)), or at the end.
    pub fn commit(&self) {
        self.inner.state().commit_all();
    }

    /// Reads a queue from `offset` on; what is cached of it is dropped.
    ///
    /// # Errors
    /// When the queue is not the consumer's, its broker cannot be asked, or it does not have the offset.
    pub async fn seek(&self, queue: &MessageQueue, offset: i64) -> Result<(), LitePullError> {
        let inner = &self.inner;
        let queue = queue_with_namespace(inner.instance.namespace(), queue);
        inner.state().check_assigned(&queue)?;
        let min = inner.queue_offset(RequestCode::GET_MIN_OFFSET, &queue).await?;
        let max = inner.queue_offset(RequestCode::GET_MAX_OFFSET, &queue).await?;
        if !(min..=max).contains(&offset) {
            return Err(LitePullError::SeekIllegal { offset, min, max });
        }
        let process_queue = inner.state().seek(&queue, offset)?;
        inner.spawn_pull(queue, process_queue);
        Ok(())
    }

    /// Reads a queue from its first message on.
    ///
    /// # Errors
    /// As [`LitePullConsumer::seek`].
    pub async fn seek_to_begin(&self, queue: &MessageQueue) -> Result<(), LitePullError> {
        let min = self.bound(RequestCode::GET_MIN_OFFSET, queue).await?;
        self.seek(queue, min).await
    }

    /// Reads of a queue only what is stored from now on.
    ///
    /// # Errors
    /// As [`LitePullConsumer::seek`].
    pub async fn seek_to_end(&self, queue: &MessageQueue) -> Result<(), LitePullError> {
        let max = self.bound(RequestCode::GET_MAX_OFFSET, queue).await?;
        self.seek(queue, max).await
    }

    /// Stops pulling queues. What is cached of them is polled all the same.
    pub fn pause(&self, queues: &[MessageQueue]) {
        self.inner.set_paused(queues, true);
    }

    /// Pulls queues again.
    pub fn resume(&self, queues: &[MessageQueue]) {
        self.inner.set_paused(queues, false);
    }

    /// The committed offset of a queue, as this consumer knows it or else as its broker does.
    ///
    /// # Errors
    /// When its broker cannot be asked.
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, ClientError> {
        let inner = &self.inner;
        let queue = queue_with_namespace(inner.instance.namespace(), queue);
        let known = inner.state().offsets.get(&queue);
        match known {
            Some(offset) => Ok(Some(offset)),
            None => inner.group().fetch_consume_offset(&queue).await,
        }
    }

    /// The queues of a topic, asked for anew.
    ///
    /// # Errors
    /// When no name server answers, or none knows the topic.
    pub async fn fetch_message_queues(
        &self,
        topic: &str,
    ) -> Result<Vec<MessageQueue>, ClientError> {
        let instance = &self.inner.instance;
        let topic = with_namespace(instance.namespace(), topic);
        instance.update_route(&topic).await?;
        let queues = instance.with_routes(|routes| routes.subscribe_queues(&topic));
        let queues = queues.ok_or(ClientError::NoRoute(topic))?;
        Ok(queues.iter().map(|it| queue_without_namespace(instance.namespace(), it)).collect())
    }

    /// The queues it reads.
    #[must_use]
    pub fn assigned_queues(&self) -> Vec<MessageQueue> {
        let namespace = self.inner.instance.namespace();
        let state = self.inner.state();
        state.assigned.keys().map(|queue| queue_without_namespace(namespace, queue)).collect()
    }

    /// Leaves the group: stops pulling, tells brokers what is committed. What was polled and not committed
    /// comes again to the next owner.
    pub async fn shutdown(&self) {
        self.inner.tasks.shutdown().await;
        self.inner.persist_committed().await;
        self.inner.state().drop_all();
        self.inner.instance.unregister_consumer(&self.inner.config.group).await;
    }

    async fn bound(&self, code: i32, queue: &MessageQueue) -> Result<i64, ClientError> {
        let queue = queue_with_namespace(self.inner.instance.namespace(), queue);
        self.inner.queue_offset(code, &queue).await
    }
}

impl Inner {
    fn group(&self) -> ConsumerGroup<'_> {
        ConsumerGroup {
            instance: &self.instance,
            name: &self.config.group,
            strategy: &self.config.allocate_message_queue_strategy,
            begin: self.begin,
            local_offsets: None,
        }
    }

    /// Asks for routes and lets the brokers know of the consumer.
    async fn join(&self, topics: &BTreeSet<String>) {
        for topic in topics {
            if let Err(error) = self.instance.update_route(topic).await {
                tracing::info!(topic, %error, "no route yet");
            }
        }
        self.instance.send_heartbeat_to_all_brokers().await;
    }

    /// Makes `queues` those of the topic that are read: gives up others, takes what is new.
    async fn set_queues(self: &Arc<Self>, topic: &str, queues: &[MessageQueue]) {
        let lost = self.state().give_up_others(topic, queues);
        for (queue, committed) in lost {
            if let Some(offset) = committed {
                self.group().persist(&queue, offset, || true).await;
            }
            self.group().tell_given_up(&queue);
        }
        self.unblocked.notify_waiters();
        for queue in queues {
            let taken = self.state().take(queue);
            if let Some(process_queue) = taken {
                self.spawn_pull(queue.clone(), process_queue);
            }
        }
    }

    fn set_paused(&self, queues: &[MessageQueue], paused: bool) {
        let namespace = self.instance.namespace();
        let queues = queues.iter().map(|queue| queue_with_namespace(namespace, queue));
        self.state().set_paused(queues, paused);
        self.unblocked.notify_waiters();
    }

    async fn queue_offset(&self, code: i32, queue: &MessageQueue) -> Result<i64, ClientError> {
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        self.instance.api().queue_offset(&addr, code, queue).await
    }

    async fn persist_committed(&self) {
        let offsets = self.state().committed();
        for (queue, offset) in offsets {
            self.group().persist(&queue, offset, || true).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, LiteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MqConsumerInner for Inner {
    fn heartbeat_data(&self) -> ConsumerData {
        ConsumerData {
            group_name: self.config.group.clone(),
            consume_type: ConsumeType::ConsumeActively,
            message_model: MessageModel::Clustering,
            consume_from_where: self.config.consume_from_where,
            unit_mode: self.instance.config().unit_mode,
            subscription_data_set: self.state().subscriptions.values().cloned().collect(),
        }
    }

    fn topics(&self) -> Vec<String> {
        self.state().topics().into_iter().collect()
    }

    fn do_rebalance(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if self.tasks.is_cancelled() {
                return;
            }
            let topics: Vec<_> = self.state().subscriptions.keys().cloned().collect();
            for topic in topics {
                let Some(mine) = self.group().allocate(&topic).await else { continue };
                // Somebody may have ended the subscription meanwhile.
                let is_wanted = self.state().subscriptions.contains_key(&topic);
                if is_wanted {
                    self.set_queues(&topic, &mine).await;
                }
            }
        })
    }

    fn persist_offsets(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.persist_committed().await })
    }
}
