//! Which queues a consumer owns, where it begins to read them, and the commit of its offsets
//! (RocketMQ 4.9 `RebalancePushImpl` and `RemoteBrokerOffsetStore`).
//!
//! Every member computes its share by itself from what it sees. Members that see different lists
//! own a queue twice for a while, or none does: concurrent consumption has no fencing.

use std::sync::Arc;

use mq_protocol::message::MessageQueue;

use crate::consumer_group::{ConsumerGroup, PullFrom};
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
            let Some(mine) = self.group().allocate(&topic).await else { continue };
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
            self.group().persist(&queue, offset).await;
        }
    }

    /// The group, for what its members ask and tell.
    fn group(&self) -> ConsumerGroup<'_> {
        ConsumerGroup { instance: &self.instance, name: &self.config.group }
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
            self.group().persist(queue, offset).await;
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
        let from_where = self.config.consume_from_where;
        match self.group().compute_pull_from_where(queue, from_where).await? {
            PullFrom::Committed(offset) => {
                self.state().offsets.set(queue, offset);
                Some(offset)
            }
            PullFrom::Fresh(offset) => Some(offset),
        }
    }
}
