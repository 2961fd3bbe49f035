//! Locking queues at their brokers, for consumption in order (RocketMQ 4.9 `RebalanceImpl.lock`, `lockAll`,
//! `unlock`, `unlockAll`).
//!
//! Only masters lock. Questions and releases of one consumer go one after the other: a renewal that is under
//! way must not take a queue again that was just released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mq_protocol::body::lock::LockBatchRequestBody;
use mq_protocol::message::MessageQueue;
use mq_protocol::upstream::UpstreamSwitch;
use tokio::time::Instant;

use crate::process_queue::ProcessQueue;
use crate::push_consumer::ConsumerInner;

/// When the locks are renewed for the first time.
const FIRST_RENEWAL_AFTER: Duration = Duration::from_secs(1);

/// Time between two renewals (`rocketmq.client.rebalance.lockInterval`).
const RENEWAL_INTERVAL: Duration = Duration::from_secs(20);

/// Time allowed for a request to lock or to unlock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// The queues of one broker.
type Owned = Vec<(MessageQueue, Arc<ProcessQueue>)>;

impl ConsumerInner {
    /// Whether queues are locked before they are consumed: in order, and shared with others.
    pub(crate) fn locks_queues(&self) -> bool {
        self.config.consume_orderly && !self.is_broadcasting()
    }

    /// Renews the locks of all queues owned, again and again.
    pub(crate) async fn keep_locks(self: Arc<Self>) {
        let mut next = Instant::now() + FIRST_RENEWAL_AFTER;
        loop {
            tokio::time::sleep_until(next).await;
            next = Instant::now() + RENEWAL_INTERVAL;
            self.lock_all().await;
        }
    }

    /// Locks a queue. Returns from when on the lock is trusted, if the broker gave it.
    pub(crate) async fn lock(&self, queue: &MessageQueue) -> Option<Instant> {
        let _turn = self.locking.lock().await;
        let asked_at = Instant::now();
        let locked = self.ask_to_lock(&queue.broker_name, vec![queue.clone()]).await?;
        locked.contains(queue).then_some(self.trusted_from(asked_at))
    }

    /// Releases a queue, behind the commit of its offset.
    pub(crate) async fn unlock(&self, queue: &MessageQueue) {
        let _turn = self.locking.lock().await;
        let Some(addr) = self.master_of(&queue.broker_name) else { return };
        let body = self.lock_body(vec![queue.clone()]);
        if let Err(error) = self.instance.api().unlock_batch_mq_oneway(&addr, &body) {
            tracing::info!(?queue, %error, "queue not unlocked: its lock will expire");
        }
    }

    /// Releases every queue of `owned`.
    pub(crate) async fn unlock_all(&self, owned: Owned) {
        let _turn = self.locking.lock().await;
        let requests = by_broker(owned).into_iter().map(|(broker_name, owned)| async move {
            let Some(addr) = self.master_of(&broker_name) else { return };
            let body = self.lock_body(owned.into_iter().map(|(queue, _)| queue).collect());
            let unlocked = self.instance.api().unlock_batch_mq(&addr, &body, LOCK_TIMEOUT).await;
            if let Err(error) = unlocked {
                tracing::info!(addr, %error, "queues not unlocked: their locks will expire");
            }
        });
        futures::future::join_all(requests).await;
    }

    async fn lock_all(&self) {
        let _turn = self.locking.lock().await;
        let owned: Owned = {
            let state = self.state();
            let queues = state.process_queues.iter();
            queues.map(|(queue, owned)| (queue.clone(), Arc::clone(owned))).collect()
        };
        let requests = by_broker(owned)
            .into_iter()
            .map(|(broker_name, owned)| async move { self.renew(&broker_name, owned).await });
        futures::future::join_all(requests).await;
    }

    /// Renews the locks of one broker. Without an answer they stay what they are, until they run out.
    async fn renew(&self, broker_name: &str, owned: Owned) {
        let asked_at = Instant::now();
        let queues = owned.iter().map(|(queue, _)| queue.clone()).collect();
        let Some(locked) = self.ask_to_lock(broker_name, queues).await else { return };
        let trusted_from = self.trusted_from(asked_at);
        for (queue, process_queue) in owned {
            if locked.contains(&queue) {
                process_queue.lock_given(trusted_from);
            } else {
                tracing::warn!(?queue, "this queue is locked by another client");
                process_queue.lock_lost();
            }
        }
    }

    /// The queues that a broker locks; `None` if it does not say.
    async fn ask_to_lock(
        &self,
        broker_name: &str,
        queues: Vec<MessageQueue>,
    ) -> Option<Vec<MessageQueue>> {
        let addr = self.master_of(broker_name)?;
        let body = self.lock_body(queues);
        match self.instance.api().lock_batch_mq(&addr, &body, LOCK_TIMEOUT).await {
            Ok(locked) => Some(locked),
            Err(error) => {
                tracing::info!(addr, %error, "queues not locked");
                None
            }
        }
    }

    /// From when on a lock is trusted that was asked for at `asked_at` and is given now.
    fn trusted_from(&self, asked_at: Instant) -> Instant {
        match self.instance.config().upstream(UpstreamSwitch::LockTrustedFromAnswer) {
            true => Instant::now(),
            false => asked_at,
        }
    }

    fn master_of(&self, broker_name: &str) -> Option<String> {
        self.instance.with_routes(|routes| routes.master_addr(broker_name))
    }

    fn lock_body(&self, mq_set: Vec<MessageQueue>) -> LockBatchRequestBody {
        LockBatchRequestBody {
            client_id: self.instance.client_id().to_owned(),
            consumer_group: self.config.group.clone(),
            mq_set,
        }
    }
}

fn by_broker(owned: Owned) -> BTreeMap<String, Owned> {
    let mut brokers = BTreeMap::<_, Owned>::new();
    for (queue, process_queue) in owned {
        brokers.entry(queue.broker_name.clone()).or_default().push((queue, process_queue));
    }
    brokers
}
