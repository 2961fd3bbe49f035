//! [`PullClient`]: reads queues from wherever the caller says, without a group's offsets (the
//! low level of RocketMQ 4.9 `DefaultMQPullConsumer`).

use std::time::Duration;

use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::offset::QueryConsumerOffsetRequestHeader;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::message::MessageQueue;
use mq_protocol::sys_flag::PullSysFlag;

use crate::api::PullResult;
use crate::error::ClientError;
use crate::instance::ClientInstance;

/// Time allowed for a pull that the broker may not hold.
const PULL_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads queues. Nothing is committed and nobody rebalances.
#[derive(Clone)]
pub struct PullClient {
    instance: ClientInstance,
    group: String,
}

impl PullClient {
    /// Reads in the name of `group`, which brokers want to know or create.
    #[must_use]
    pub fn new(instance: &ClientInstance, group: impl Into<String>) -> Self {
        PullClient { instance: instance.clone(), group: group.into() }
    }

    /// The queues of `topic` that can be read, asked for anew.
    ///
    /// # Errors
    /// When no name server answers, or none knows the topic.
    pub async fn fetch_subscribe_message_queues(
        &self,
        topic: &str,
    ) -> Result<Vec<MessageQueue>, ClientError> {
        self.instance.update_route(topic).await?;
        let queues = self.instance.with_routes(|routes| routes.subscribe_queues(topic));
        queues.map(|queues| queues.to_vec()).ok_or_else(|| ClientError::NoRoute(topic.to_owned()))
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
        let (addr, _) = self.instance.subscribe_addr(queue, MASTER_ID).await?;
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
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            queue_offset: offset,
            max_msg_nums: count_max,
            sys_flag: PullSysFlag::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_ms: 0,
            subscription: Some("*".to_owned()),
            sub_version: 0,
            expression_type: Some("TAG".to_owned()),
            broker_name: Some(queue.broker_name.clone()),
        };
        let api = self.instance.api();
        api.pull_message(addr, &queue.broker_name, &header, PULL_TIMEOUT).await
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

    /// The offset that `group` has committed at the queue's master, if any.
    ///
    /// # Errors
    /// When no master is known or the request fails.
    pub async fn query_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: group.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        self.instance.api().query_consumer_offset(&addr, &header).await
    }

    async fn queue_offset(&self, code: i32, queue: &MessageQueue) -> Result<i64, ClientError> {
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        self.instance.api().queue_offset(&addr, code, queue).await
    }
}
