//! [`PushConsumer`]: a member of a consumer group in clustering mode (RocketMQ 4.9
//! `DefaultMQPushConsumer` with a concurrent listener).
//!
//! Each queue it owns has two tasks: one pulls, one hands messages to the listener. Owning is decided
//! by rebalancing. Delivery is at least once: what was consumed and not committed comes again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_env::BoxFuture;
use mq_env::task::TaskGroup;
use mq_protocol::body::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
    SubscriptionParseError,
};
use mq_protocol::message::{MessageExt, MessageQueue, retry_topic};
use tokio::sync::Semaphore;

use crate::instance::{CLIENT_INNER_PRODUCER_GROUP, ClientInstance};
use crate::namespace::{queue_without_namespace, with_namespace};
use crate::offset_store::OffsetTable;
use crate::process_queue::{FlowControl, ProcessQueue};
use crate::producer::{Producer, ProducerConfig};

/// What the listener made of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeResult {
    /// Done with them (`CONSUME_SUCCESS`).
    Success,
    /// To be redelivered later, or to become dead letters (`RECONSUME_LATER`).
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

/// Settings of a [`PushConsumer`], with RocketMQ's defaults.
#[derive(Clone, Debug)]
pub struct PushConsumerConfig {
    /// Consumer group.
    pub group: String,
    /// Topics with their expression: `*`, or tags separated by `||`.
    pub subscriptions: BTreeMap<String, String>,
    /// Where a group begins that has no offset. Brokers answer 0 for young queues, so with
    /// CONSUME_FROM_LAST_OFFSET these are read from their beginning all the same.
    pub consume_from_where: ConsumeFromWhere,
    /// How many messages a pull may bring (`pullBatchSize`).
    pub pull_batch_size: i32,
    /// How many messages the listener gets at a time (`consumeMessageBatchMaxSize`).
    pub consume_message_batch_max_size: usize,
    /// How many listener calls may be unfinished (`consumeThreadMax`).
    pub consume_thread_max: usize,
    /// Redeliveries before a message becomes a dead letter (`maxReconsumeTimes`).
    pub reconsume_times_max: i32,
    /// When pulling pauses.
    pub flow_control: FlowControl,
}

impl PushConsumerConfig {
    /// The defaults for `group`, with one subscription.
    #[must_use]
    pub fn new(
        group: impl Into<String>,
        topic: impl Into<String>,
        expression: impl Into<String>,
    ) -> Self {
        PushConsumerConfig {
            group: group.into(),
            subscriptions: BTreeMap::from([(topic.into(), expression.into())]),
            consume_from_where: ConsumeFromWhere::default(),
            pull_batch_size: 32,
            consume_message_batch_max_size: 1,
            consume_thread_max: 20,
            reconsume_times_max: 16,
            flow_control: FlowControl::default(),
        }
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
    state: Mutex<ConsumerState>,
}

pub(crate) struct ConsumerState {
    pub(crate) subscriptions: BTreeMap<String, SubscriptionData>,
    pub(crate) process_queues: BTreeMap<MessageQueue, Arc<ProcessQueue>>,
    pub(crate) offsets: OffsetTable,
    /// The broker id to pull each queue from, as suggested last.
    pub(crate) pull_from_which_node: BTreeMap<MessageQueue, i64>,
}

impl PushConsumer {
    /// Joins the group: asks for routes, tells the brokers, and takes its share of the queues.
    ///
    /// # Errors
    /// When a subscription's expression cannot be read.
    pub fn start(
        instance: &ClientInstance,
        config: PushConsumerConfig,
        listener: MessageListener,
    ) -> BoxFuture<'static, Result<PushConsumer, SubscriptionParseError>> {
        let instance = instance.clone();
        Box::pin(async move {
            let inner = ConsumerInner::new(&instance, config, listener)?;
            let inner = Arc::new(inner);
            let weak = Arc::downgrade(&inner);
            instance.register_consumer(&inner.config.group, weak);
            for topic in inner.topics() {
                if let Err(error) = instance.update_route(&topic).await {
                    tracing::info!(topic, %error, "no route yet");
                }
            }
            instance.send_heartbeat_to_all_brokers().await;
            instance.rebalance_soon();
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

    /// Leaves the group: stops pulling and consuming, commits offsets, tells the brokers.
    pub async fn shutdown(&self) {
        self.inner.tasks.shutdown().await;
        self.inner.persist_offsets().await;
        for process_queue in self.inner.take_process_queues() {
            process_queue.drop_queue();
        }
        self.inner.instance.unregister_consumer(&self.inner.config.group).await;
    }
}

impl ConsumerInner {
    fn new(
        instance: &ClientInstance,
        mut config: PushConsumerConfig,
        listener: MessageListener,
    ) -> Result<Self, SubscriptionParseError> {
        let version = instance.env().clock.now_millis() as i64;
        config.group = with_namespace(instance.namespace(), &config.group);
        let subscriptions = std::mem::take(&mut config.subscriptions).into_iter();
        config.subscriptions = subscriptions
            .map(|(topic, expression)| (with_namespace(instance.namespace(), &topic), expression))
            .collect();
        let mut expressions = config.subscriptions.clone();
        expressions.insert(retry_topic(&config.group), "*".to_owned());
        let subscriptions = expressions
            .iter()
            .map(|(topic, expression)| {
                let subscription = SubscriptionData::by_tags(topic, expression, version);
                subscription.map(|subscription| (topic.clone(), subscription))
            })
            .collect::<Result<_, _>>()?;
        let state = ConsumerState {
            subscriptions,
            process_queues: BTreeMap::new(),
            offsets: OffsetTable::default(),
            pull_from_which_node: BTreeMap::new(),
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
            state: Mutex::new(state),
            config,
        })
    }

    /// The topics subscribed to, the retry topic included.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.state().subscriptions.keys().cloned().collect()
    }

    /// What heartbeats say of this consumer.
    pub(crate) fn heartbeat_data(&self) -> ConsumerData {
        ConsumerData {
            group_name: self.config.group.clone(),
            consume_type: ConsumeType::ConsumePassively,
            message_model: MessageModel::Clustering,
            consume_from_where: self.config.consume_from_where,
            unit_mode: self.instance.config().unit_mode,
            subscription_data_set: self.state().subscriptions.values().cloned().collect(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ConsumerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_process_queues(&self) -> Vec<Arc<ProcessQueue>> {
        std::mem::take(&mut self.state().process_queues).into_values().collect()
    }
}
