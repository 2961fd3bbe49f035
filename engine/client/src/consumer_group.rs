//! [`ConsumerGroup`]: what the members of a consumer group ask brokers and tell them, whoever decides when
//! they read (parts of RocketMQ 4.9 `RebalanceImpl`, `RemoteBrokerOffsetStore`, `computePullFromWhere`).

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_env::probe::Event;
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::offset::{
    QueryConsumerOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::message::{MessageQueue, RETRY_GROUP_TOPIC_PREFIX};
use mq_protocol::upstream::UpstreamSwitch;

use crate::allocate::AllocateMessageQueueStrategy;
use crate::error::ClientError;
use crate::instance::ClientInstance;
use crate::local_offset_store::LocalOffsetStore;

/// How long before a consumer's start it begins with CONSUME_FROM_TIMESTAMP, if nothing else is said.
const HALF_AN_HOUR_MS: i64 = 30 * 60 * 1_000;

/// A group, as one of its members speaks for it.
#[derive(Clone, Copy)]
pub(crate) struct ConsumerGroup<'a> {
    pub(crate) instance: &'a ClientInstance,
    /// Its name, within the client's namespace.
    pub(crate) name: &'a str,
    /// How the members divide the queues.
    pub(crate) strategy: &'a AllocateMessageQueueStrategy,
    /// Where it begins with a queue of which it has no offset.
    pub(crate) begin: GroupBegin,
    /// The member's own offsets, if every member gets all messages.
    pub(crate) local_offsets: Option<&'a LocalOffsetStore>,
}

/// Where a group begins that has no offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupBegin {
    pub(crate) from_where: ConsumeFromWhere,
    /// With CONSUME_FROM_TIMESTAMP: at what was stored then or later, in ms.
    timestamp_ms: i64,
}

/// Where to begin with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullFrom {
    /// Where the group has been.
    Committed(i64),
    /// Where a group begins that has not been there.
    Fresh(i64),
}

impl GroupBegin {
    /// What a consumer's settings say that starts at `now_ms`.
    pub(crate) fn new(
        from_where: ConsumeFromWhere,
        timestamp_ms: Option<i64>,
        now_ms: i64,
    ) -> Self {
        let timestamp_ms = timestamp_ms.unwrap_or(now_ms - HALF_AN_HOUR_MS);
        GroupBegin { from_where, timestamp_ms }
    }
}

impl ConsumerGroup<'_> {
    /// This member's share of a topic, all of it by broadcasting; `None` when the route or the members are not
    /// known.
    pub(crate) async fn allocate(self, topic: &str) -> Option<Vec<MessageQueue>> {
        let queues = self.instance.with_routes(|routes| routes.subscribe_queues(topic))?;
        if self.local_offsets.is_some() {
            return Some(queues.to_vec());
        }
        let mut client_ids = self.find_consumer_id_list(topic).await?;
        client_ids.sort();
        if planted_on_this_thread(Plant::SharesShuffled) {
            let round = self.instance.env().clock.now_millis() / 15_000;
            let by = round as usize % client_ids.len();
            client_ids.rotate_left(by);
        }
        match self.strategy.allocate(self.instance.client_id(), &queues, &client_ids) {
            Ok(mine) => Some(mine),
            Err(error) => {
                tracing::error!(topic, strategy = self.strategy.name(), %error, "queues not divided");
                None
            }
        }
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
    /// master (whose synchronisation will overwrite it). Not if `may_commit`, asked last of all, says that the
    /// queue may be another member's. The offsets of broadcasting wait for their file to be written.
    pub(crate) async fn persist(
        self,
        queue: &MessageQueue,
        offset: i64,
        may_commit: impl FnOnce() -> bool,
    ) {
        if let Some(local) = self.local_offsets {
            return local.set(queue, offset);
        }
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: self.name.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        let addr = self.instance.subscribe_addr(queue, MASTER_ID).await;
        if !may_commit() {
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
    pub(crate) async fn compute_pull_from_where(self, queue: &MessageQueue) -> Option<PullFrom> {
        let stored = match self.fetch_consume_offset(queue).await {
            Ok(offset) => offset,
            Err(error) if self.takes_for_none(&error) => None,
            Err(_) if planted_on_this_thread(Plant::FailureIsNoOffset) => None,
            Err(error) => {
                tracing::info!(?queue, %error, "offset unknown, queue left alone");
                return None;
            }
        };
        if let Some(offset) = stored.filter(|offset| *offset >= 0) {
            return Some(PullFrom::Committed(offset));
        }
        let offset = self.begin_without_offset(queue).await.ok();
        offset.filter(|offset| *offset >= 0).map(PullFrom::Fresh)
    }

    /// Whether an offset that could not be asked for counts as one that there is none of. A broker says so with
    /// QUERY_NOT_FOUND; RocketMQ 4.9 takes whatever it refuses for that, and begins anew or at the end.
    fn takes_for_none(self, error: &ClientError) -> bool {
        let is_refusal = matches!(error, ClientError::Broker { .. });
        is_refusal && self.instance.config().upstream(UpstreamSwitch::RefusedOffsetIsNone)
    }

    /// Where a group begins that has no offset. Messages that come again are never passed over but with
    /// CONSUME_FROM_TIMESTAMP, as in RocketMQ 4.9.
    async fn begin_without_offset(self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let GroupBegin { from_where, timestamp_ms } = self.begin;
        let is_retry = queue.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX);
        let from_timestamp = from_where == ConsumeFromWhere::ConsumeFromTimestamp;
        let from_first = from_where == ConsumeFromWhere::ConsumeFromFirstOffset;
        if from_first || is_retry && !from_timestamp {
            return Ok(0);
        }
        let (topic, api) = (&queue.topic, self.instance.api());
        let addr = self.instance.master_addr(topic, &queue.broker_name).await?;
        if from_timestamp && !is_retry {
            return api.search_offset(&addr, queue, timestamp_ms).await;
        }
        api.queue_offset(&addr, RequestCode::GET_MAX_OFFSET, queue).await
    }

    /// Reports where a queue is read from now on.
    pub(crate) fn tell_pull_offset(self, queue: &MessageQueue, offset: i64) {
        let (Ok(queue_id), Ok(offset)) = (u32::try_from(queue.queue_id), u64::try_from(offset))
        else {
            return;
        };
        self.instance.env().probe.emit(&Event::PullOffset {
            group: self.name,
            topic: &queue.topic,
            broker_name: &queue.broker_name,
            queue_id,
            offset,
        });
    }

    /// Reports that a queue is not this consumer's any more.
    pub(crate) fn tell_given_up(self, queue: &MessageQueue) {
        let Ok(queue_id) = u32::try_from(queue.queue_id) else { return };
        self.instance.env().probe.emit(&Event::QueueGivenUp {
            group: self.name,
            topic: &queue.topic,
            broker_name: &queue.broker_name,
            queue_id,
        });
    }

    /// The committed offset of a queue, `None` if there is none.
    pub(crate) async fn fetch_consume_offset(
        self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        if let Some(local) = self.local_offsets {
            return Ok(local.get(queue));
        }
        let addr = match planted_on_this_thread(Plant::OffsetOfAnyReplica) {
            true => self.instance.subscribe_addr(queue, MASTER_ID + 1).await?.0,
            false => self.offset_addr(queue).await?,
        };
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: self.name.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        self.instance.api().query_consumer_offset(&addr, &header).await
    }

    /// Who is asked for an offset: a master. A slave's is as old as its last copy of its master's table;
    /// RocketMQ 4.9 takes that where there is no master.
    async fn offset_addr(self, queue: &MessageQueue) -> Result<String, ClientError> {
        if self.instance.config().upstream(UpstreamSwitch::OffsetsFromSlave) {
            return Ok(self.instance.subscribe_addr(queue, MASTER_ID).await?.0);
        }
        self.instance.master_addr(&queue.topic, &queue.broker_name).await
    }
}
