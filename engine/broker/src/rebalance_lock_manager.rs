//! [`RebalanceLockManager`]: which client of a group may consume a queue in order (RocketMQ 4.9
//! `RebalanceLockManager`). In memory only; lost with the process, as there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use mq_protocol::message::MessageQueue;
use tokio::time::Instant;

use crate::lock;

/// A lock not renewed for longer may be taken over (`rocketmq.broker.rebalance.lockMaxLiveTime`).
const LOCK_MAX_LIVE_TIME: Duration = Duration::from_secs(60);

/// The locks of all groups.
#[derive(Default)]
pub(crate) struct RebalanceLockManager {
    /// Group → queue → lock.
    locks: Mutex<BTreeMap<String, BTreeMap<MessageQueue, LockEntry>>>,
}

struct LockEntry {
    client_id: String,
    last_update: Instant,
}

impl RebalanceLockManager {
    /// Locks or renews `queues` for a client and returns those it now holds, in the order given.
    pub(crate) fn try_lock_batch(
        &self,
        group: &str,
        queues: Vec<MessageQueue>,
        client_id: &str,
        now: Instant,
    ) -> Vec<MessageQueue> {
        let mut locks = lock(&self.locks);
        let held = locks.entry(group.to_owned()).or_default();
        queues.into_iter().filter(|queue| try_lock(held, group, queue, client_id, now)).collect()
    }

    /// Releases those of `queues` that the client holds.
    pub(crate) fn unlock_batch(&self, group: &str, queues: &[MessageQueue], client_id: &str) {
        let mut locks = lock(&self.locks);
        let Some(held) = locks.get_mut(group) else {
            return;
        };
        for queue in queues {
            if held.get(queue).is_some_and(|entry| entry.client_id == client_id) {
                held.remove(queue);
            }
        }
        if held.is_empty() {
            locks.remove(group);
        }
    }
}

fn try_lock(
    held: &mut BTreeMap<MessageQueue, LockEntry>,
    group: &str,
    queue: &MessageQueue,
    client_id: &str,
    now: Instant,
) -> bool {
    match held.get_mut(queue) {
        Some(entry) if entry.client_id == client_id => {
            entry.last_update = now;
            true
        }
        Some(entry) if now.saturating_duration_since(entry.last_update) <= LOCK_MAX_LIVE_TIME => {
            false
        }
        other => {
            if let Some(expired) = other {
                tracing::warn!(
                    group,
                    ?queue,
                    from = expired.client_id,
                    to = client_id,
                    "lock expired"
                );
            }
            let entry = LockEntry { client_id: client_id.to_owned(), last_update: now };
            held.insert(queue.clone(), entry);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { topic: "T".to_owned(), broker_name: "a".to_owned(), queue_id }
    }

    fn locked(manager: &RebalanceLockManager, client_id: &str, now: Instant) -> Vec<i32> {
        let queues = vec![queue(0), queue(1)];
        let held = manager.try_lock_batch("G", queues, client_id, now);
        held.into_iter().map(|queue| queue.queue_id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_has_one_owner_per_group() {
        let manager = RebalanceLockManager::default();
        let now = Instant::now();
        assert_eq!(locked(&manager, "c1", now), [0, 1]);
        assert_eq!(locked(&manager, "c1", now), [0, 1]);
        assert_eq!(locked(&manager, "c2", now), [0; 0]);
        assert_eq!(manager.try_lock_batch("H", vec![queue(0)], "c2", now), [queue(0)]);

        manager.unlock_batch("G", &[queue(0)], "c2");
        assert_eq!(locked(&manager, "c2", now), [0; 0]);
        manager.unlock_batch("G", &[queue(0)], "c1");
        assert_eq!(locked(&manager, "c2", now), [0]);
        manager.unlock_batch("G", &[queue(0)], "c2");
        manager.unlock_batch("G", &[queue(1)], "c1");
        assert!(!lock(&manager.locks).contains_key("G"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_not_renewed_is_taken_over() {
        let manager = RebalanceLockManager::default();
        let start = Instant::now();
        locked(&manager, "c1", start);
        let renewed = start + Duration::from_secs(30);
        locked(&manager, "c1", renewed);
        assert_eq!(locked(&manager, "c2", renewed + LOCK_MAX_LIVE_TIME), [0; 0]);
        let late = renewed + LOCK_MAX_LIVE_TIME + Duration::from_millis(1);
        assert_eq!(locked(&manager, "c2", late), [0, 1]);
        assert_eq!(locked(&manager, "c1", late), [0; 0]);
    }
}
