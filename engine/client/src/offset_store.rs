//! [`OffsetTable`]: how far a group has consumed each queue, as this client knows it (the memory of
//! RocketMQ 4.9 `RemoteBrokerOffsetStore`).

use std::collections::BTreeMap;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::message::MessageQueue;

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
