//! [`OffsetTable`]: how far a group has consumed each queue, as this client knows it; and when a push consumer
//! tells and asks brokers (RocketMQ 4.9 `RemoteBrokerOffsetStore`).

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::message::MessageQueue;

use crate::consumer_group::{ConsumerGroup, PullFrom};
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

    /// Commits one offset; see [`ConsumerGroup::persist`]. Not where another member may have the lock.
    pub(crate) async fn persist(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        offset: i64,
    ) {
        self.group().persist(queue, offset, || process_queue.may_commit()).await;
    }

    /// Where to begin with a queue; `None` as long as the broker cannot be asked.
    pub(crate) async fn compute_pull_from_where(&self, queue: &MessageQueue) -> Option<i64> {
        match self.group().compute_pull_from_where(queue).await? {
            PullFrom::Committed(offset) => {
                self.state().offsets.set(queue, offset);
                Some(offset)
            }
            PullFrom::Fresh(offset) => Some(offset),
        }
    }

    /// The group, for what its members ask and tell.
    pub(crate) fn group(&self) -> ConsumerGroup<'_> {
        ConsumerGroup {
            instance: &self.instance,
            name: &self.config.group,
            strategy: &self.config.allocate_message_queue_strategy,
            begin: self.begin,
            local_offsets: self.local_offsets.as_ref(),
        }
    }
}
