//! [`PushConsumer`]: a member of a consumer group, which shares the group's messages with the others or gets
//! all of them (RocketMQ 4.9 `DefaultMQPushConsumer` with a concurrent or an orderly listener).
//!
//! Each queue it owns has two tasks: one pulls, one hands messages to the listener. Owning is decided
//! by rebalancing. Delivery is at least once: what was consumed and not committed comes again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::BoxFuture;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_env::task::TaskGroup;
use mq_protocol::body::heartbeat::{
    CheckClientRequestBody, ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SQL92,
    SubscriptionData, SubscriptionParseError,
};
use mq_protocol::message::{MessageExt, MessageQueue, retry_topic};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::allocate::AllocateMessageQueueStrategy;
use crate::consumer_group::GroupBegin;
use crate::error::StartError;
use crate::flow_control::FlowControl;
use crate::instance::{CLIENT_INNER_PRODUCER_GROUP, ClientInstance};
use crate::local_offset_store::LocalOffsetStore;
use crate::namespace::{queue_without_namespace, with_namespace};
use crate::offset_store::OffsetTable;
use crate::process_queue::ProcessQueue;
use crate::producer::{Producer, ProducerConfig};

/// What the listener made of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeResult {
    /// Done with them (`CONSUME_SUCCESS`).
    Success,
    /// To be redelivered later, or to become dead letters (`RECONSUME_LATER`). In order: to be consumed again
    /// after [`PushConsumerConfig::suspend_current_queue_time_ms`], and nothing of their queue before
    /// (`SUSPEND_CURRENT_QUEUE_A_MOMENT`).
    ReconsumeLater,
}

/// What a listener answers.
pub enum Consumption {
    /// The result.
    Done(ConsumeResult),
    /// The result comes when this future ends. Up to [`PushConsumerConfig::consume_thread_max`] of them
    /// run at a time.
    Later(BoxFuture<'static, ConsumeResult>),
}

impl From<ConsumeResult> for Consumption {
    fn from(result: ConsumeResult) -> Self {
        Consumption::Done(result)
    }
}

/// Given the messages, at most [`PushConsumerConfig::consume_message_batch_max_size`] of one queue at a
/// time. Called on a task; must not block.
pub type MessageListener = Arc<dyn Fn(&[Arc<MessageExt>]) -> Consumption + Send + Sync>;

/// What is wanted of a topic (RocketMQ 4.9 `MessageSelector`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageSelector {
    /// `*`, or tags separated by `||`.
    ByTag(String),
    /// An SQL92 expression over the properties of messages. Brokers filter by it, if
    /// `enablePropertyFilter` is on there.
    BySql(String),
}

impl From<&str> for MessageSelector {
    fn from(tags: &str) -> Self {
        MessageSelector::ByTag(tags.to_owned())
    }
}

impl From<String> for MessageSelector {
    fn from(tags: String) -> Self {
        MessageSelector::ByTag(tags)
    }
}

impl MessageSelector {
    fn subscription(
        &self,
        topic: &str,
        version: i64,
    ) -> Result<SubscriptionData, SubscriptionParseError> {
        match self {
            MessageSelector::ByTag(tags) => SubscriptionData::by_tags(topic, tags, version),
            MessageSelector::BySql(expression) => {
                Ok(SubscriptionData::by_expression(topic, SQL92, expression, version))
            }
        }
    }
}

/// Settings of a [`PushConsumer`], with RocketMQ's defaults.
#[derive(Clone, Debug)]
pub struct PushConsumerConfig {
    /// Consumer group.
    pub group: String,
    /// Whether the members share the messages. Who gets all of them by `Broadcasting` keeps offsets by itself:
    /// it wants a client with an instance name, or they are not found again.
    pub message_model: MessageModel,
    /// Where the offsets of broadcasting are kept (`rocketmq.client.localOffsetStoreDir`, which is in the
    /// home directory there).
    pub local_offset_store_dir: PathBuf,
    /// How the members divide the queues; the same for all of them.
    pub allocate_message_queue_strategy: AllocateMessageQueueStrategy,
    /// Topics with what is wanted of them.
    pub subscriptions: BTreeMap<String, MessageSelector>,
    /// Where a group begins that has no offset. Brokers answer 0 for young queues, so with
    /// CONSUME_FROM_LAST_OFFSET these are read from their beginning all the same.
    pub consume_from_where: ConsumeFromWhere,
    /// Where a group begins that has no offset, with CONSUME_FROM_TIMESTAMP: at what was stored then or later, in
    /// ms (`consumeTimestamp`). `None` is half an hour before the start of the consumer.
    pub consume_timestamp_ms: Option<i64>,
    /// How many messages a pull may bring (`pullBatchSize`).
    pub pull_batch_size: i32,
    /// How many messages the listener gets at a time (`consumeMessageBatchMaxSize`).
    pub consume_message_batch_max_size: usize,
    /// How many listener calls may be unfinished (`consumeThreadMax`).
    pub consume_thread_max: usize,
    /// Redeliveries before a message becomes a dead letter (`maxReconsumeTimes`). −1 means 16, or for
    /// ever when messages are consumed in order.
    pub reconsume_times_max: i32,
    /// Whether the messages of a queue are consumed one batch after the other, in their order, by the one
    /// member of the group that has the queue's lock (`MessageListenerOrderly`).
    pub consume_orderly: bool,
    /// How long a queue that is consumed in order rests after a batch that is to be consumed again
    /// (`suspendCurrentQueueTimeMillis`); 10 ms to 30 s.
    pub suspend_current_queue_time_ms: u64,
    /// A message that a listener has had for longer comes again (`consumeTimeout`); looked for once in this time.
    /// Not in order.
    pub consume_timeout: Duration,
    /// How long a shutdown waits for listeners that are at work (`awaitTerminationMillisWhenShutdown`). In order
    /// it always waits, until the lock of the queue runs out.
    pub await_termination_when_shutdown: Duration,
    /// When pulling pauses.
    pub flow_control: FlowControl,
}

impl PushConsumerConfig {
    /// The defaults for `group`, with one subscription.
    #[must_use]
    pub fn new(
        group: impl Into<String>,
        topic: impl Into<String>,
        selector: impl Into<MessageSelector>,
    ) -> Self {
        PushConsumerConfig {
            group: group.into(),
            message_model: MessageModel::default(),
            local_offset_store_dir: PathBuf::from(".rocketmq_offsets"),
            allocate_message_queue_strategy: AllocateMessageQueueStrategy::default(),
            subscriptions: BTreeMap::from([(topic.into(), selector.into())]),
            consume_from_where: ConsumeFromWhere::default(),
            consume_timestamp_ms: None,
            pull_batch_size: 32,
            consume_message_batch_max_size: 1,
            consume_thread_max: 20,
            reconsume_times_max: -1,
            consume_orderly: false,
            suspend_current_queue_time_ms: 1_000,
            consume_timeout: Duration::from_secs(15 * 60),
            await_termination_when_shutdown: Duration::ZERO,
            flow_control: FlowControl::default(),
        }
    }

    /// With the group and the topics within `namespace`.
    fn within(mut self, namespace: &str) -> Self {
        self.group = with_namespace(namespace, &self.group);
        let subscriptions = std::mem::take(&mut self.subscriptions).into_iter();
        self.subscriptions = subscriptions
            .map(|(topic, selector)| (with_namespace(namespace, &topic), selector))
            .collect();
        self
    }
}

/// A member of a consumer group. Ends with [`PushConsumer::shutdown`], not when dropped.
pub struct PushConsumer {
    inner: Arc<ConsumerInner>,
}

/// What the tasks of one consumer share.
pub(crate) struct ConsumerInner {
    pub(crate) instance: ClientInstance,
    pub(crate) config: PushConsumerConfig,
    pub(crate) listener: MessageListener,
    pub(crate) tasks: TaskGroup,
    /// Sends to the retry topic what could not be sent back.
    pub(crate) inner_producer: Producer,
    pub(crate) consume_permits: Arc<Semaphore>,
    /// The offsets of broadcasting.
    pub(crate) local_offsets: Option<LocalOffsetStore>,
    /// Where the group begins that has no offset.
    pub(crate) begin: GroupBegin,
    /// One request for locks of queues at a time.
    pub(crate) locking: tokio::sync::Mutex<()>,
    /// When it was made, by the wall clock, in ms.
    pub(crate) started_ms: i64,
    state: Mutex<ConsumerState>,
}

pub(crate) struct ConsumerState {
    pub(crate) subscriptions: BTreeMap<String, SubscriptionData>,
    pub(crate) process_queues: BTreeMap<MessageQueue, Arc<ProcessQueue>>,
    pub(crate) offsets: OffsetTable,
    /// The broker id to pull each queue from, as suggested last.
    pub(crate) pull_from_which_node: BTreeMap<MessageQueue, i64>,
    /// No queue is taken or given up any more.
    pub(crate) is_stopping: bool,
}

impl PushConsumer {
    /// Joins the group: asks for routes, tells the brokers, and takes its share of the queues.
    ///
    /// # Errors
    /// When a subscription's expression cannot be read, here or, of SQL92, by a broker that it was shown to, or the
    /// offsets of broadcasting cannot.
    pub fn start(
        instance: &ClientInstance,
        config: PushConsumerConfig,
        listener: MessageListener,
    ) -> BoxFuture<'static, Result<PushConsumer, StartError>> {
        let instance = instance.clone();
        Box::pin(async move {
            let config = config.within(instance.namespace());
            let local_offsets = load_local_offsets(&instance, &config).await?;
            let inner = ConsumerInner::new(&instance, config, listener, local_offsets)?;
            let inner = Arc::new(inner);
            let weak = Arc::downgrade(&inner);
            instance.register_consumer(&inner.config.group, weak);
            for topic in inner.topics() {
                if let Err(error) = instance.update_route(&topic).await {
                    tracing::info!(topic, %error, "no route yet");
                }
            }
            if let Err(error) = inner.check_client_in_broker().await {
                instance.unregister_consumer(&inner.config.group).await;
                return Err(error);
            }
            instance.send_heartbeat_to_all_brokers().await;
            instance.rebalance_soon();
            if inner.locks_queues() {
                let keeping = Arc::clone(&inner).keep_locks();
                inner.tasks.spawn_until_cancelled("client queue locks", keeping);
            }
            if !inner.config.consume_orderly {
                let cleaning = Arc::clone(&inner).clean_expired_messages();
                inner.tasks.spawn_until_cancelled("client expired messages", cleaning);
            }
            Ok(PushConsumer { inner })
        })
    }

    /// The queues it owns, with the offsets it would commit now.
    #[must_use]
    pub fn owned_queues(&self) -> Vec<(MessageQueue, Option<i64>)> {
        let state = self.inner.state();
        let namespace = self.inner.instance.namespace();
        let queues = state.process_queues.keys();
        let known = |queue| queue_without_namespace(namespace, queue);
        queues.map(|queue| (known(queue), state.offsets.get(queue))).collect()
    }

    /// Asks for something else of a topic while it runs (RocketMQ 4.9 `DefaultMQPushConsumer.subscribe`): the brokers are told
    /// at once, and pull by what the members of the group told them last. What is under way may still be of the
    /// subscription before.
    ///
    /// # Errors
    /// When the expression cannot be read, here or, of SQL92, by a broker that it was shown to: nothing is changed then.
    pub async fn subscribe(
        &self,
        topic: &str,
        selector: MessageSelector,
    ) -> Result<(), StartError> {
        let inner = &self.inner;
        let topic = with_namespace(inner.instance.namespace(), topic);
        let now_ms = inner.instance.env().clock.now_millis() as i64;
        let subscription = selector.subscription(&topic, now_ms)?;
        inner.show_to_broker(subscription.clone()).await?;
        {
            let mut state = inner.state();
            let before = state.subscriptions.get(&topic).map_or(i64::MIN, |it| it.sub_version);
            // Of two versions the greater one counts, whatever the clock says.
            let sub_version = now_ms.max(before.saturating_add(1));
            state.subscriptions.insert(topic, SubscriptionData { sub_version, ..subscription });
        }
        inner.instance.send_heartbeat_to_all_brokers().await;
        Ok(())
    }

    /// Leaves the group: stops pulling and consuming, commits offsets, releases queues, tells the brokers.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.state().is_stopping = true;
        inner.await_termination().await;
        inner.tasks.shutdown().await;
        if !planted_on_this_thread(Plant::LeavesWithoutCommit) {
            inner.persist_offsets().await;
        }
        let owned = std::mem::take(&mut inner.state().process_queues);
        for (queue, process_queue) in &owned {
            process_queue.drop_queue();
            inner.group().tell_given_up(queue);
        }
        if inner.locks_queues() {
            inner.unlock_all(owned.into_iter().collect()).await;
        }
        inner.instance.unregister_consumer(&inner.config.group).await;
    }
}

impl ConsumerInner {
    fn new(
        instance: &ClientInstance,
        config: PushConsumerConfig,
        listener: MessageListener,
        local_offsets: Option<LocalOffsetStore>,
    ) -> Result<Self, SubscriptionParseError> {
        let version = instance.env().clock.now_millis() as i64;
        let begin =
            GroupBegin::new(config.consume_from_where, config.consume_timestamp_ms, version);
        let mut selectors = config.subscriptions.clone();
        if config.message_model == MessageModel::Clustering {
            selectors.insert(retry_topic(&config.group), "*".into());
        }
        let subscriptions = selectors
            .iter()
            .map(|(topic, selector)| {
                let subscription = selector.subscription(topic, version);
                subscription.map(|subscription| (topic.clone(), subscription))
            })
            .collect::<Result<_, _>>()?;
        let state = ConsumerState {
            subscriptions,
            process_queues: BTreeMap::new(),
            offsets: OffsetTable::default(),
            pull_from_which_node: BTreeMap::new(),
            is_stopping: false,
        };
        Ok(ConsumerInner {
            instance: instance.clone(),
            listener,
            tasks: instance.tasks().child(),
            inner_producer: Producer::new(
                instance,
                ProducerConfig::new(CLIENT_INNER_PRODUCER_GROUP),
            ),
            consume_permits: Arc::new(Semaphore::new(config.consume_thread_max)),
            local_offsets,
            locking: tokio::sync::Mutex::default(),
            begin,
            started_ms: version,
            state: Mutex::new(state),
            config,
        })
    }

    /// Shows the subscriptions that brokers have to read to one broker of their topic each, drawn at random.
    async fn check_client_in_broker(&self) -> Result<(), StartError> {
        let subscriptions: Vec<_> = self.state().subscriptions.values().cloned().collect();
        for subscription in subscriptions {
            self.show_to_broker(subscription).await?;
        }
        Ok(())
    }

    /// Shows a subscription that brokers have to read to one of them.
    async fn show_to_broker(&self, subscription_data: SubscriptionData) -> Result<(), StartError> {
        let topic = subscription_data.topic.clone();
        let addrs = self.instance.with_routes(|routes| routes.any_addrs(&topic));
        if subscription_data.is_tag_type() || addrs.is_empty() {
            return Ok(());
        }
        let body = CheckClientRequestBody {
            client_id: self.instance.client_id().to_owned(),
            group: self.config.group.clone(),
            subscription_data,
        };
        let addr = &addrs[self.instance.random_below(addrs.len())];
        let checked = self.instance.api().check_client_in_broker(addr, &body).await;
        checked.map_err(|source| StartError::Refused { topic, source })
    }

    /// The topics subscribed to, with the retry topic of a group that shares its messages.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.state().subscriptions.keys().cloned().collect()
    }

    /// Whether every member gets all messages.
    pub(crate) fn is_broadcasting(&self) -> bool {
        self.config.message_model == MessageModel::Broadcasting
    }

    /// What heartbeats say of this consumer.
    pub(crate) fn heartbeat_data(&self) -> ConsumerData {
        ConsumerData {
            group_name: self.config.group.clone(),
            consume_type: ConsumeType::ConsumePassively,
            message_model: self.config.message_model,
            consume_from_where: self.config.consume_from_where,
            unit_mode: self.instance.config().unit_mode,
            subscription_data_set: self.state().subscriptions.values().cloned().collect(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ConsumerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for listeners that are at work, and lets none begin.
    async fn await_termination(&self) {
        let until = Instant::now() + self.config.await_termination_when_shutdown;
        if self.config.consume_orderly {
            let owned: Vec<_> = self.state().process_queues.values().cloned().collect();
            let ended = owned.iter().map(|process_queue| async move {
                process_queue.drop_queue();
                let until = process_queue.locked_until().max(Some(until)).unwrap_or(until);
                tokio::time::timeout_at(until, process_queue.consuming()).await.is_ok()
            });
            let all_ended = futures::future::join_all(ended).await.into_iter().all(|ended| ended);
            if !all_ended {
                tracing::warn!(
                    "a listener did not end before the lock of its queue: it is cut off"
                );
            }
        } else if until > Instant::now() {
            // Who gets a permit meanwhile does not use it.
            let all = u32::try_from(self.config.consume_thread_max).unwrap_or(u32::MAX);
            let _ = tokio::time::timeout_at(until, self.consume_permits.acquire_many(all)).await;
        }
    }
}

/// What an earlier life of a broadcasting consumer left.
async fn load_local_offsets(
    instance: &ClientInstance,
    config: &PushConsumerConfig,
) -> Result<Option<LocalOffsetStore>, StartError> {
    if config.message_model == MessageModel::Clustering {
        return Ok(None);
    }
    let (disk, dir) = (Arc::clone(&instance.env().disk), &config.local_offset_store_dir);
    let store = LocalOffsetStore::load(disk, dir, instance.client_id(), &config.group);
    store.await.map(Some)
}
