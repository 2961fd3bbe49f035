//! [`LiteState`]: the queues of a lite pull consumer, what is cached of them and how far they are read
//! (RocketMQ 4.9 `AssignedMessageQueue`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mq_protocol::body::heartbeat::SubscriptionData;
use mq_protocol::message::{MessageExt, MessageQueue};
use tokio::time::Instant;

use super::LitePullError;
use crate::offset_store::OffsetTable;
use crate::process_queue::ProcessQueue;

/// Where the consumer's queues come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SubscriptionType {
    #[default]
    None,
    Subscribe,
    Assign,
}

/// All that a consumer knows.
#[derive(Default)]
pub(super) struct LiteState {
    subscription_type: SubscriptionType,
    pub(super) subscriptions: BTreeMap<String, SubscriptionData>,
    pub(super) assigned: BTreeMap<MessageQueue, Assigned>,
    /// What is committed; brokers hear of it from time to time.
    pub(super) offsets: OffsetTable,
    /// What pulls brought and no poll has taken, in that order.
    ready: VecDeque<Ready>,
    /// Messages in `ready`.
    ready_count: usize,
    next_auto_commit: Option<Instant>,
    /// The broker id to pull each queue from, as suggested last.
    pub(super) pull_from_which_node: BTreeMap<MessageQueue, i64>,
}

/// One queue.
pub(super) struct Assigned {
    pub(super) process_queue: Arc<ProcessQueue>,
    /// Where the next pull begins, once that is known.
    pub(super) pull_offset: Option<i64>,
    /// Behind what was polled.
    consume_offset: Option<i64>,
    pub(super) paused: bool,
}

/// What one pull brought.
struct Ready {
    queue: MessageQueue,
    process_queue: Arc<ProcessQueue>,
    count: usize,
}

impl LiteState {
    pub(super) fn set_subscription_type(
        &mut self,
        wanted: SubscriptionType,
    ) -> Result<(), LitePullError> {
        if self.subscription_type != SubscriptionType::None && self.subscription_type != wanted {
            return Err(LitePullError::Exclusive);
        }
        self.subscription_type = wanted;
        Ok(())
    }

    /// The topics subscribed to and those of the queues assigned.
    pub(super) fn topics(&self) -> BTreeSet<String> {
        let of_queues = self.assigned.keys().map(|queue| &queue.topic);
        self.subscriptions.keys().chain(of_queues).cloned().collect()
    }

    /// Takes a queue, unless it is taken already.
    pub(super) fn take(&mut self, queue: &MessageQueue) -> Option<Arc<ProcessQueue>> {
        if self.assigned.contains_key(queue) {
            return None;
        }
        self.offsets.remove(queue);
        let process_queue = Arc::<ProcessQueue>::default();
        let assigned = Assigned {
            process_queue: Arc::clone(&process_queue),
            pull_offset: None,
            consume_offset: None,
            paused: false,
        };
        self.assigned.insert(queue.clone(), assigned);
        Some(process_queue)
    }

    /// Gives up the queues of a topic that are not among `mine`; with what is committed of each.
    pub(super) fn give_up_others(
        &mut self,
        topic: &str,
        mine: &[MessageQueue],
    ) -> Vec<(MessageQueue, Option<i64>)> {
        let of_topic = self.assigned.keys().filter(|queue| queue.topic == topic);
        let lost: Vec<_> = of_topic.filter(|queue| !mine.contains(queue)).cloned().collect();
        let mut given_up = Vec::new();
        for queue in lost {
            self.drop_cached(&queue);
            self.assigned.remove(&queue);
            self.pull_from_which_node.remove(&queue);
            let committed = self.offsets.get(&queue);
            self.offsets.remove(&queue);
            given_up.push((queue, committed));
        }
        given_up
    }

    pub(super) fn drop_all(&mut self) {
        for assigned in self.assigned.values() {
            assigned.process_queue.drop_queue();
        }
        self.assigned.clear();
        self.ready.clear();
        self.ready_count = 0;
    }

    pub(super) fn check_assigned(&self, queue: &MessageQueue) -> Result<(), LitePullError> {
        let is_assigned = self.assigned.contains_key(queue);
        is_assigned.then_some(()).ok_or_else(|| LitePullError::NotAssigned(queue.clone()))
    }

    /// Lets a queue be read from `offset` on: its cache is a new one.
    pub(super) fn seek(
        &mut self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<Arc<ProcessQueue>, LitePullError> {
        self.drop_cached(queue);
        let assigned = self.assigned.get_mut(queue);
        let assigned = assigned.ok_or_else(|| LitePullError::NotAssigned(queue.clone()))?;
        assigned.process_queue = Arc::default();
        assigned.pull_offset = Some(offset);
        assigned.consume_offset = Some(offset);
        Ok(Arc::clone(&assigned.process_queue))
    }

    pub(super) fn set_paused(&mut self, queues: impl Iterator<Item = MessageQueue>, paused: bool) {
        for queue in queues {
            if let Some(assigned) = self.assigned.get_mut(&queue) {
                assigned.paused = paused;
            }
        }
    }

    /// The queue, if `process_queue` is still its cache.
    pub(super) fn current(
        &mut self,
        queue: &MessageQueue,
        process_queue: &Arc<ProcessQueue>,
    ) -> Option<&mut Assigned> {
        let assigned = self.assigned.get_mut(queue);
        assigned.filter(|assigned| Arc::ptr_eq(&assigned.process_queue, process_queue))
    }

    /// Takes in what a pull brought. Nothing is kept of a queue that was given up or sought meanwhile.
    pub(super) fn put(
        &mut self,
        queue: &MessageQueue,
        process_queue: &Arc<ProcessQueue>,
        messages: Vec<Arc<MessageExt>>,
        next_offset: i64,
    ) {
        let Some(assigned) = self.current(queue, process_queue) else { return };
        assigned.pull_offset = Some(next_offset);
        if messages.is_empty() {
            return;
        }
        let count = messages.len();
        process_queue.put(messages);
        self.ready_count += count;
        let process_queue = Arc::clone(process_queue);
        self.ready.push_back(Ready { queue: queue.clone(), process_queue, count });
    }

    /// A queue goes on before what was pulled: its broker knows no more. What is cached is read again, what is committed
    /// goes back as well, and what was not polled yet is not passed. Returns its new cache, and where it goes on.
    pub(super) fn set_back(
        &mut self,
        queue: &MessageQueue,
        process_queue: &Arc<ProcessQueue>,
        next_offset: i64,
    ) -> Option<(Arc<ProcessQueue>, i64)> {
        let polled = self.current(queue, process_queue)?.consume_offset;
        let unconsumed = process_queue.first_cached().into_iter().chain(polled);
        let target = unconsumed.fold(next_offset, i64::min);
        if self.offsets.get(queue).is_some_and(|committed| committed > target) {
            self.offsets.set(queue, target);
        }
        Some((self.seek(queue, target).ok()?, target))
    }

    /// Messages that are cached, of all queues.
    pub(super) fn ready_count(&self) -> usize {
        self.ready_count
    }

    /// What the next poll gives, if there is something.
    pub(super) fn take_ready(&mut self) -> Option<Vec<Arc<MessageExt>>> {
        let Ready { queue, process_queue, count } = self.ready.pop_front()?;
        self.ready_count -= count;
        let messages = process_queue.take_now(count);
        assert_eq!(messages.len(), count, "what is ready is cached");
        let behind = process_queue.remove(&messages);
        let assigned = self.current(&queue, &process_queue);
        assigned.expect("what was given up is not ready").consume_offset = behind;
        Some(messages)
    }

    /// Commits, if that was not done for `interval`.
    pub(super) fn commit_if_due(&mut self, interval: Duration) {
        let now = Instant::now();
        if self.next_auto_commit.is_none_or(|due| due <= now) {
            self.commit_all();
            self.next_auto_commit = Some(now + interval);
        }
    }

    /// Commits what was polled, lower offsets too: a queue may have been sought.
    pub(super) fn commit_all(&mut self) {
        for (queue, assigned) in &self.assigned {
            if let Some(offset) = assigned.consume_offset {
                self.offsets.set(queue, offset);
            }
        }
    }

    /// What is committed of the consumer's queues.
    pub(super) fn committed(&mut self) -> Vec<(MessageQueue, i64)> {
        self.offsets.retain_owned(|queue| self.assigned.contains_key(queue))
    }

    /// Drops the cache of a queue, and ends its pulls.
    fn drop_cached(&mut self, queue: &MessageQueue) {
        let Some(assigned) = self.assigned.get(queue) else { return };
        assigned.process_queue.drop_queue();
        self.ready.retain(|ready| ready.queue != *queue);
        self.ready_count = self.ready.iter().map(|ready| ready.count).sum();
    }
}
