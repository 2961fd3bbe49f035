//! Which queues a consumer owns (RocketMQ 4.9 `RebalancePushImpl`).
//!
//! Every member computes its share by itself from what it sees. Members that see different lists
//! own a queue twice for a while, or none does: concurrent consumption has no fencing. A queue that is
//! consumed in order is locked at its broker before it is taken, and released when it is given up.

use std::sync::Arc;
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::message::MessageQueue;
use mq_protocol::upstream::UpstreamSwitch;

use crate::process_queue::ProcessQueue;
use crate::push_consumer::ConsumerInner;

/// How long giving up a queue waits for a listener that consumes it in order.
const LISTENER_GRACE: Duration = Duration::from_secs(1);

impl ConsumerInner {
    /// Takes and gives up queues of every topic. A topic of which too little is known stays as it is.
    pub(crate) async fn do_rebalance(self: &Arc<Self>) {
        if self.tasks.is_cancelled() || self.state().is_stopping {
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

    async fn give_up_queues(&self, topic: &str, mine: &[MessageQueue]) -> bool {
        let lost: Vec<_> = {
            let state = self.state();
            let owned = state.process_queues.iter().filter(|(queue, _)| queue.topic == topic);
            owned
                .filter(|(queue, owned)| {
                    let is_lost =
                        !mine.contains(queue) && !planted_on_this_thread(Plant::NothingGivenUp);
                    is_lost || owned.is_leaving() || owned.is_pull_expired()
                })
                .map(|(queue, process_queue)| (queue.clone(), Arc::clone(process_queue)))
                .collect()
        };
        let mut changed = false;
        for (queue, process_queue) in &lost {
            process_queue.drop_queue();
            changed |= self.give_up_queue(queue, process_queue).await;
        }
        changed
    }

    /// Commits the offset of a dropped queue one last time and forgets the queue. One that is consumed in order
    /// stays until its listener has ended, whose result then counts; this waits only a little for that,
    /// and says whether the queue is gone. (RocketMQ 4.9 commits before it waits, so that the next
    /// owner gets the messages again.)
    pub(crate) async fn give_up_queue(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
    ) -> bool {
        let turn = tokio::time::timeout(LISTENER_GRACE, process_queue.consuming()).await;
        let Ok(_turn) = turn else {
            tracing::info!(?queue, "queue kept until its listener has ended");
            process_queue.leave_later();
            return false;
        };
        let offset = {
            let mut state = self.state();
            state.process_queues.remove(queue);
            let offset = state.offsets.get(queue);
            state.offsets.remove(queue);
            offset
        };
        if let Some(offset) = offset {
            self.persist(queue, process_queue, offset).await;
        }
        if planted_on_this_thread(Plant::BroadcastOffsetForgotten)
            && let Some(local) = &self.local_offsets
        {
            local.set(queue, -1);
        }
        self.group().tell_given_up(queue);
        if self.locks_queues() {
            self.unlock(queue).await;
        }
        tracing::debug!(?queue, client = self.instance.client_id(), "queue given up");
        true
    }

    async fn take_queues(self: &Arc<Self>, mine: &[MessageQueue]) -> bool {
        let mut changed = false;
        for queue in mine {
            if self.state().process_queues.contains_key(queue) {
                continue;
            }
            let process_queue = match self.locks_queues() {
                false => ProcessQueue::default(),
                true => match self.lock(queue).await {
                    Some(_) if self.instance.config().upstream(UpstreamSwitch::LocksUnnoted) => {
                        ProcessQueue::to_be_locked()
                    }
                    Some(trusted_from) => ProcessQueue::locked(trusted_from),
                    // Its owner may not have released it yet: the next round sees.
                    None => continue,
                },
            };
            changed |= self.take_queue(queue, Arc::new(process_queue)).await;
        }
        changed
    }

    /// Begins to pull and consume a queue; not as long as nobody says where.
    async fn take_queue(
        self: &Arc<Self>,
        queue: &MessageQueue,
        process_queue: Arc<ProcessQueue>,
    ) -> bool {
        self.state().offsets.remove(queue);
        let Some(next_offset) = self.compute_pull_from_where(queue).await else {
            if self.locks_queues() {
                self.unlock(queue).await;
            }
            return false;
        };
        let taken = Arc::clone(&process_queue);
        self.state().process_queues.insert(queue.clone(), taken);
        tracing::debug!(?queue, next_offset, client = self.instance.client_id(), "queue taken");
        self.group().tell_pull_offset(queue, next_offset);
        self.spawn_queue(queue.clone(), process_queue, next_offset);
        true
    }

    fn spawn_queue(
        self: &Arc<Self>,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
        next_offset: i64,
    ) {
        let (inner, consumed) = (Arc::clone(self), (queue.clone(), Arc::clone(&process_queue)));
        match self.config.consume_orderly {
            true => {
                let consuming = inner.consume_in_order(consumed.0, consumed.1);
                self.tasks.spawn_until_cancelled("client consume in order", consuming);
            }
            false => {
                let consuming = inner.consume(consumed.0, consumed.1);
                self.tasks.spawn_until_cancelled("client consume", consuming);
            }
        }
        let pulling = Arc::clone(self).pull(queue, process_queue, next_offset);
        self.tasks.spawn_until_cancelled("client pull", pulling);
    }
}
