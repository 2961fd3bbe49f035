//! [`OffsetTable`]: how far a group has consumed each queue, as this client knows it; and how brokers are told
//! and asked (RocketMQ 4.9 `RemoteBrokerOffsetStore`, `RebalancePushImpl.computePullFromWhere`).

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::offset::{
    QueryConsumerOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::message::{MessageQueue, RETRY_GROUP_TOPIC_PREFIX};

use crate::error::ClientError;
use crate::process_queue::ProcessQueue;
use crate::push_consumer::{ConsumerInner, ConsumerState};

/// Queue offsets of the next message to consume.
#[derive(Debug, Default)]
pub(crate) struct OffsetTable {
    offsets: BTreeMap<MessageQueue, i64>,
}

impl OffsetTable {
    /// The offset of a queue.
    pub(crate) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.offsets.get(queue).copied()
    }

    /// Raises the offset of a queue; a lower one changes nothing.
    pub(crate) fn raise(&mut self, queue: &MessageQueue, offset: i64) {
        if planted_on_this_thread(Plant::OffsetsOfAllBrokers) {
            let is_namesake = |other: &MessageQueue| {
                other.topic == queue.topic && other.queue_id == queue.queue_id
            };
            let namesakes = self.offsets.iter_mut().filter(|(other, _)| is_namesake(other));
            namesakes.for_each(|(_, known)| *known = offset.max(*known));
        }
        match self.offsets.get_mut(queue) {
            Some(known) => *known = offset.max(*known),
            None => self.set(queue, offset),
        }
    }

    /// Sets the offset of a queue, lower ones too.
    pub(crate) fn set(&mut self, queue: &MessageQueue, offset: i64) {
        self.offsets.insert(queue.clone(), offset);
    }

    /// Forgets a queue.
    pub(crate) fn remove(&mut self, queue: &MessageQueue) {
        self.offsets.remove(queue);
    }

    /// The queues that `is_owned` says are still this client's, with their offsets; the others are
    /// forgotten without a commit.
    pub(crate) fn retain_owned(
        &mut self,
        is_owned: impl Fn(&MessageQueue) -> bool,
    ) -> Vec<(MessageQueue, i64)> {
        self.offsets.retain(|queue, _| is_owned(queue));
        self.offsets.iter().map(|(queue, offset)| (queue.clone(), *offset)).collect()
    }
}

impl ConsumerInner {
    /// Commits the offsets of the queues owned.
    pub(crate) async fn persist_offsets(&self) {
        let offsets: Vec<_> = {
            let mut state = self.state();
            let ConsumerState { process_queues, offsets, .. } = &mut *state;
            let owned =
                offsets.retain_owned(|queue| process_queues.contains_key(queue)).into_iter();
            owned
                .filter_map(|(queue, offset)| {
                    let process_queue = Arc::clone(process_queues.get(&queue)?);
                    Some((queue, process_queue, offset))
                })
                .collect()
        };
        for (queue, process_queue, offset) in offsets {
            self.persist(&queue, &process_queue, offset).await;
        }
        if let Some(local) = &self.local_offsets {
            local.persist().await;
        }
    }

    /// Commits one offset without waiting for an answer: at the master, or at a slave if there is no
    /// master (whose synchronisation will overwrite it). Not where another member may have the lock. The offsets
    /// of broadcasting wait for their file to be written.
    pub(crate) async fn persist(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        offset: i64,
    ) {
        if let Some(local) = &self.local_offsets {
            return local.set(queue, offset);
        }
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: self.config.group.clone(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        let addr = self.instance.subscribe_addr(queue, MASTER_ID).await;
        if !process_queue.may_commit() {
            return;
        }
        let sent = match addr {
            Ok((addr, _)) => self.instance.api().update_consumer_offset_oneway(&addr, &header),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::info!(?queue, offset, %error, "offset not committed");
        }
    }

    /// Where to begin with a queue; `None` as long as the broker cannot be asked.
    pub(crate) async fn compute_pull_from_where(&self, queue: &MessageQueue) -> Option<i64> {
        let stored = match self.fetch_consume_offset(queue).await {
            Ok(offset) => offset,
            // The broker answered that it has none, in whatever words.
            Err(ClientError::Broker { .. }) => None,
            Err(error) => {
                tracing::info!(?queue, %error, "offset unknown, queue left alone");
                return None;
            }
        };
        if let Some(offset) = stored.filter(|offset| *offset >= 0) {
            self.state().offsets.set(queue, offset);
            return Some(offset);
        }
        self.begin_without_offset(queue).await.ok().filter(|offset| *offset >= 0)
    }

    /// Where a group begins that has no offset. Messages that come again are never passed over but with
    /// CONSUME_FROM_TIMESTAMP, as in RocketMQ 4.9.
    async fn begin_without_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let from_where = self.config.consume_from_where;
        let is_retry = queue.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX);
        let from_timestamp = from_where == ConsumeFromWhere::ConsumeFromTimestamp;
        let from_first = from_where == ConsumeFromWhere::ConsumeFromFirstOffset;
        if from_first || is_retry && !from_timestamp {
            return Ok(0);
        }
        let (topic, api) = (&queue.topic, self.instance.api());
        let addr = self.instance.master_addr(topic, &queue.broker_name).await?;
        if from_timestamp && !is_retry {
            return api.search_offset(&addr, queue, self.consume_timestamp_ms).await;
        }
        api.queue_offset(&addr, RequestCode::GET_MAX_OFFSET, queue).await
    }

    async fn fetch_consume_offset(&self, queue: &MessageQueue) -> Result<Option<i64>, ClientError> {
        if let Some(local) = &self.local_offsets {
            return Ok(local.get(queue));
        }
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: self.config.group.clone(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        self.instance.api().query_consumer_offset(&addr, &header).await
    }
}
