//! [`PullClient`]: reads queues from wherever the caller says, without a group's offsets (the
//! low level of RocketMQ 4.9 `DefaultMQPullConsumer`).

use std::time::Duration;

use mq_protocol::body::heartbeat::{SUBSCRIPTION_ALL, TAG};
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::offset::QueryConsumerOffsetRequestHeader;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::message::MessageQueue;
use mq_protocol::sys_flag::PullSysFlag;

use crate::api::PullResult;
use crate::error::ClientError;
use crate::instance::ClientInstance;
use crate::namespace::{
    message_without_namespace, queue_with_namespace, queue_without_namespace, with_namespace,
};

/// Time allowed for a pull that the broker may not hold.
const PULL_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads queues. Nothing is committed and nobody rebalances.
#[derive(Clone)]
pub struct PullClient {
    instance: ClientInstance,
    group: String,
    /// Tags, joined by `||`, or `*`.
    subscription: String,
}

impl PullClient {
    /// Reads in the name of `group`, which brokers want to know or create.
    #[must_use]
    pub fn new(instance: &ClientInstance, group: impl Into<String>) -> Self {
        let group = with_namespace(instance.namespace(), &group.into());
        let subscription = SUBSCRIPTION_ALL.to_owned();
        PullClient { instance: instance.clone(), group, subscription }
    }

    /// Gives only what a subscription by tags (`TagA || TagB`) lets pass.
    #[must_use]
    pub fn with_subscription(self, expression: impl Into<String>) -> Self {
        PullClient { subscription: expression.into(), ..self }
    }

    /// The queues of `topic` that can be read, asked for anew.
    ///
    /// # Errors
    /// When no name server answers, or none knows the topic.
    pub async fn fetch_subscribe_message_queues(
        &self,
        topic: &str,
    ) -> Result<Vec<MessageQueue>, ClientError> {
        let topic = with_namespace(self.instance.namespace(), topic);
        self.instance.update_route(&topic).await?;
        let queues = self.instance.with_routes(|routes| routes.subscribe_queues(&topic));
        let queues = queues.ok_or(ClientError::NoRoute(topic))?;
        let namespace = self.instance.namespace();
        Ok(queues.iter().map(|queue| queue_without_namespace(namespace, queue)).collect())
    }

    /// Pulls at most `count_max` messages from `offset` on: from the master, or from any slave when
    /// there is none.
    ///
    /// # Errors
    /// When no address is known or the pull fails.
    pub async fn pull(
        &self,
        queue: &MessageQueue,
        offset: i64,
        count_max: i32,
    ) -> Result<PullResult, ClientError> {
        let wanted = queue_with_namespace(self.instance.namespace(), queue);
        let (addr, _) = self.instance.subscribe_addr(&wanted, MASTER_ID).await?;
        self.pull_from(&addr, queue, offset, count_max).await
    }

    /// Pulls from the broker at `addr`, master or slave.
    ///
    /// # Errors
    /// When the pull fails.
    pub async fn pull_from(
        &self,
        addr: &str,
        queue: &MessageQueue,
        offset: i64,
        count_max: i32,
    ) -> Result<PullResult, ClientError> {
        let header = PullMessageRequestHeader {
            consumer_group: self.group.clone(),
            topic: with_namespace(self.instance.namespace(), &queue.topic),
            queue_id: queue.queue_id,
            queue_offset: offset,
            max_msg_nums: count_max,
            sys_flag: PullSysFlag::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_ms: 0,
            subscription: Some(self.subscription.clone()),
            sub_version: 0,
            expression_type: Some(TAG.to_owned()),
            broker_name: Some(queue.broker_name.clone()),
        };
        let api = self.instance.api();
        let mut result = api.pull_message(addr, &queue.broker_name, &header, PULL_TIMEOUT).await?;
        let namespace = self.instance.namespace();
        let messages = std::mem::take(&mut result.messages).into_iter();
        result.messages =
            messages.map(|message| message_without_namespace(namespace, message)).collect();
        Ok(result)
    }

    /// The offset behind the last message of a queue, at its master.
    ///
    /// # Errors
    /// When no master is known or the request fails.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        self.queue_offset(RequestCode::GET_MAX_OFFSET, queue).await
    }

    /// The first offset of a queue, at its master; −1 when the broker has no such queue.
    ///
    /// # Errors
    /// When no master is known or the request fails.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        self.queue_offset(RequestCode::GET_MIN_OFFSET, queue).await
    }

    /// The offset of the first message that was stored at `timestamp_ms` or later, at the queue's master.
    ///
    /// # Errors
    /// When no master is known or the request fails.
    pub async fn search_offset(
        &self,
        queue: &MessageQueue,
        timestamp_ms: i64,
    ) -> Result<i64, ClientError> {
        let queue = queue_with_namespace(self.instance.namespace(), queue);
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        self.instance.api().search_offset(&addr, &queue, timestamp_ms).await
    }

    /// The offset that `group` has committed at the queue's master, if any.
    ///
    /// # Errors
    /// When no master is known or the request fails.
    pub async fn query_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let namespace = self.instance.namespace();
        let queue = queue_with_namespace(namespace, queue);
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: with_namespace(namespace, group),
            topic: queue.topic,
            queue_id: queue.queue_id,
        };
        self.instance.api().query_consumer_offset(&addr, &header).await
    }

    async fn queue_offset(&self, code: i32, queue: &MessageQueue) -> Result<i64, ClientError> {
        let queue = queue_with_namespace(self.instance.namespace(), queue);
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        self.instance.api().queue_offset(&addr, code, &queue).await
    }
}
