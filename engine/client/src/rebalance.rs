//! Which queues a consumer owns, where it begins to read them, and the commit of its offsets
//! (RocketMQ 4.9 `RebalancePushImpl` and `RemoteBrokerOffsetStore`).
//!
//! Every member computes its share by itself from what it sees. Members that see different lists
//! own a queue twice for a while, or none does: concurrent consumption has no fencing.

use std::sync::Arc;

use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::offset::{
    QueryConsumerOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::message::{MessageQueue, RETRY_GROUP_TOPIC_PREFIX};

use crate::allocate::allocate_averagely;
use crate::error::ClientError;
use crate::process_queue::ProcessQueue;
use crate::push_consumer::{ConsumerInner, ConsumerState};

impl ConsumerInner {
    /// Takes and gives up queues of every topic. A topic of which too little is known stays as it is.
    pub(crate) async fn do_rebalance(self: &Arc<Self>) {
        if self.tasks.is_cancelled() {
            return;
        }
        let mut changed = false;
        for topic in self.topics() {
            let Some(mine) = self.allocate(&topic).await else { continue };
            changed |= self.give_up_queues(&topic, &mine).await;
            changed |= self.take_queues(&mine).await;
        }
        if changed {
            let now_ms = self.instance.env().clock.now_millis() as i64;
            for subscription in self.state().subscriptions.values_mut() {
                subscription.sub_version = now_ms;
            }
            self.instance.heartbeat_soon();
        }
    }

    /// Commits the offsets of the queues owned.
    pub(crate) async fn persist_offsets(&self) {
        let offsets = {
            let mut state = self.state();
            let ConsumerState { process_queues, offsets, .. } = &mut *state;
            offsets.retain_owned(|queue| process_queues.contains_key(queue))
        };
        for (queue, offset) in offsets {
            self.persist(&queue, offset).await;
        }
    }

    /// Commits one offset without waiting for an answer: at the master, or at a slave if there is no
    /// master (whose synchronisation will overwrite it).
    pub(crate) async fn persist(&self, queue: &MessageQueue, offset: i64) {
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: self.config.group.clone(),
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

    /// This member's share of a topic; `None` when the route or the members are not known.
    async fn allocate(&self, topic: &str) -> Option<Vec<MessageQueue>> {
        let queues = self.instance.with_routes(|routes| routes.subscribe_queues(topic))?;
        let mut client_ids = self.find_consumer_id_list(topic).await?;
        client_ids.sort();
        Some(allocate_averagely(self.instance.client_id(), &queues, &client_ids))
    }

    /// Asks one broker of the topic, drawn at random, for the members of the group.
    async fn find_consumer_id_list(&self, topic: &str) -> Option<Vec<String>> {
        let addrs = self.instance.with_routes(|routes| routes.any_addrs(topic));
        if addrs.is_empty() {
            return None;
        }
        let addr = &addrs[self.instance.random_below(addrs.len())];
        let group = &self.config.group;
        match self.instance.api().get_consumer_id_list_by_group(addr, group).await {
            Ok(client_ids) if !client_ids.is_empty() => Some(client_ids),
            Ok(_) => None,
            Err(error) => {
                tracing::info!(topic, addr, %error, "members of the group unknown");
                None
            }
        }
    }

    async fn give_up_queues(&self, topic: &str, mine: &[MessageQueue]) -> bool {
        let lost: Vec<_> = {
            let state = self.state();
            let owned = state.process_queues.iter().filter(|(queue, _)| queue.topic == topic);
            owned
                .filter(|(queue, _)| !mine.contains(queue))
                .map(|(queue, process_queue)| (queue.clone(), Arc::clone(process_queue)))
                .collect()
        };
        for (queue, process_queue) in &lost {
            process_queue.drop_queue();
            self.give_up_queue(queue).await;
        }
        !lost.is_empty()
    }

    /// Commits the offset of a queue one last time and forgets the queue.
    pub(crate) async fn give_up_queue(&self, queue: &MessageQueue) {
        let offset = {
            let mut state = self.state();
            state.process_queues.remove(queue);
            let offset = state.offsets.get(queue);
            state.offsets.remove(queue);
            offset
        };
        if let Some(offset) = offset {
            self.persist(queue, offset).await;
        }
        tracing::debug!(?queue, client = self.instance.client_id(), "queue given up");
    }

    async fn take_queues(self: &Arc<Self>, mine: &[MessageQueue]) -> bool {
        let mut changed = false;
        for queue in mine {
            if self.state().process_queues.contains_key(queue) {
                continue;
            }
            self.state().offsets.remove(queue);
            let Some(next_offset) = self.compute_pull_from_where(queue).await else { continue };
            let process_queue = Arc::new(ProcessQueue::default());
            let taken = Arc::clone(&process_queue);
            self.state().process_queues.insert(queue.clone(), taken);
            tracing::debug!(?queue, next_offset, client = self.instance.client_id(), "queue taken");
            self.tell_pull_offset(queue, next_offset);
            self.spawn_queue(queue.clone(), process_queue, next_offset);
            changed = true;
        }
        changed
    }

    fn spawn_queue(
        self: &Arc<Self>,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
        next_offset: i64,
    ) {
        let consuming = Arc::clone(self).consume(queue.clone(), Arc::clone(&process_queue));
        self.tasks.spawn_until_cancelled("client consume", consuming);
        let pulling = Arc::clone(self).pull(queue, process_queue, next_offset);
        self.tasks.spawn_until_cancelled("client pull", pulling);
    }

    /// Where to begin with a queue; `None` as long as the broker cannot be asked.
    async fn compute_pull_from_where(&self, queue: &MessageQueue) -> Option<i64> {
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
        let from_first = self.config.consume_from_where == ConsumeFromWhere::ConsumeFromFirstOffset;
        if from_first || queue.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) {
            return Some(0);
        }
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await.ok()?;
        self.instance.api().queue_offset(&addr, RequestCode::GET_MAX_OFFSET, queue).await.ok()
    }

    async fn fetch_consume_offset(&self, queue: &MessageQueue) -> Result<Option<i64>, ClientError> {
        let addr = self.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: self.config.group.clone(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        self.instance.api().query_consumer_offset(&addr, &header).await
    }
}
