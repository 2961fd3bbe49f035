//! [`ConsumerGroup`]: what the members of a consumer group ask brokers and tell them, whoever decides when
//! they read (parts of RocketMQ 4.9 `RebalanceImpl` and `RemoteBrokerOffsetStore`).

use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::offset::{
    QueryConsumerOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::message::{MessageQueue, RETRY_GROUP_TOPIC_PREFIX};

use crate::allocate::allocate_averagely;
use crate::error::ClientError;
use crate::instance::ClientInstance;

/// A group, as one of its members speaks for it.
#[derive(Clone, Copy)]
pub(crate) struct ConsumerGroup<'a> {
    pub(crate) instance: &'a ClientInstance,
    /// Its name, within the client's namespace.
    pub(crate) name: &'a str,
}

/// Where to begin with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullFrom {
    /// Where the group has been.
    Committed(i64),
    /// Where a group begins that has not been there.
    Fresh(i64),
}

impl ConsumerGroup<'_> {
    /// This member's share of a topic; `None` when the route or the members are not known.
    pub(crate) async fn allocate(self, topic: &str) -> Option<Vec<MessageQueue>> {
        let queues = self.instance.with_routes(|routes| routes.subscribe_queues(topic))?;
        let mut client_ids = self.find_consumer_id_list(topic).await?;
        client_ids.sort();
        Some(allocate_averagely(self.instance.client_id(), &queues, &client_ids))
    }

    /// Asks one broker of the topic, drawn at random, for the members of the group.
    async fn find_consumer_id_list(self, topic: &str) -> Option<Vec<String>> {
        let addrs = self.instance.with_routes(|routes| routes.any_addrs(topic));
        if addrs.is_empty() {
            return None;
        }
        let addr = &addrs[self.instance.random_below(addrs.len())];
        match self.instance.api().get_consumer_id_list_by_group(addr, self.name).await {
            Ok(client_ids) if !client_ids.is_empty() => Some(client_ids),
            Ok(_) => None,
            Err(error) => {
                tracing::info!(topic, addr, %error, "members of the group unknown");
                None
            }
        }
    }

    /// Commits one offset without waiting for an answer: at the master, or at a slave if there is no
    /// master (whose synchronisation will overwrite it).
    pub(crate) async fn persist(self, queue: &MessageQueue, offset: i64) {
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: self.name.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        let sent = match self.instance.subscribe_addr(queue, MASTER_ID).await {
            Ok((addr, _)) => self.instance.api().update_consumer_offset_oneway(&addr, &header),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::info!(?queue, offset, %error, "offset not committed");
        }
    }

    /// Where to begin with a queue; `None` as long as the broker cannot be asked.
    pub(crate) async fn compute_pull_from_where(
        self,
        queue: &MessageQueue,
        consume_from_where: ConsumeFromWhere,
    ) -> Option<PullFrom> {
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
            return Some(PullFrom::Committed(offset));
        }
        let from_first = consume_from_where == ConsumeFromWhere::ConsumeFromFirstOffset;
        if from_first || queue.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) {
            return Some(PullFrom::Fresh(0));
        }
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await.ok()?;
        let max = self.instance.api().queue_offset(&addr, RequestCode::GET_MAX_OFFSET, queue).await;
        max.ok().map(PullFrom::Fresh)
    }

    /// The committed offset of a queue, `None` if the broker says that there is none.
    pub(crate) async fn fetch_consume_offset(
        self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: self.name.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        self.instance.api().query_consumer_offset(&addr, &header).await
    }
}
