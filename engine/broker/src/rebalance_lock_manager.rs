//! [`RebalanceLockManager`]: which client of a group may consume a queue in order (RocketMQ 4.9
//! `RebalanceLockManager`). In memory only; lost with the process, as there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::message::MessageQueue;
use tokio::time::Instant;

use crate::limits::{Limit, LimitReached};
use crate::lock;

/// A lock not renewed for longer may be taken over (`rocketmq.broker.rebalance.lockMaxLiveTime`).
const LOCK_MAX_LIVE_TIME: Duration = Duration::from_secs(60);

/// Time between two searches for locks that nobody renews.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The locks of all groups.
pub(crate) struct RebalanceLockManager {
    limit: Limit,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Group → queue → lock.
    locks: BTreeMap<String, BTreeMap<MessageQueue, LockEntry>>,
    /// How many there are.
    count: usize,
    /// When locks that nobody renews are next looked for, if there are too many.
    next_sweep: Option<Instant>,
}

struct LockEntry {
    client_id: String,
    last_update: Instant,
}

impl RebalanceLockManager {
    pub(crate) fn new(queue_lock_nums: usize) -> Self {
        let limit = Limit::new("maxQueueLockNums", queue_lock_nums);
        RebalanceLockManager { limit, state: Mutex::default() }
    }

    /// Locks or renews `queues` for a client and returns those it now holds, in the order given.
    ///
    /// # Errors
    /// When there were too many locks with these; none is then new or renewed.
    pub(crate) fn try_lock_batch(
        &self,
        group: &str,
        queues: Vec<MessageQueue>,
        client_id: &str,
        now: Instant,
    ) -> Result<Vec<MessageQueue>, LimitReached> {
        let mut state = lock(&self.state);
        let held = state.locks.get(group);
        let is_new = |queue: &&MessageQueue| held.is_none_or(|held| !held.contains_key(*queue));
        let added = queues.iter().filter(is_new).count();
        if !self.limit.allows(state.count + added) {
            state.sweep(now);
        }
        self.limit.check(state.count + added, "locks of queues")?;
        if queues.is_empty() {
            return Ok(queues);
        }
        let held = state.locks.entry(group.to_owned()).or_default();
        let count_before = held.len();
        let locked =
            queues.into_iter().filter(|queue| try_lock(held, group, queue, client_id, now));
        let locked = locked.collect();
        let added = held.len() - count_before;
        state.count += added;
        Ok(locked)
    }

    /// Whether a client of the group holds a lock, or has held one that nobody has looked at since.
    pub(crate) fn has_locks(&self, group: &str) -> bool {
        lock(&self.state).locks.contains_key(group)
    }

    /// Whether another client of the group than this one holds the lock of `queue`. A lock that may be taken
    /// over is nobody's.
    pub(crate) fn is_held_by_other(
        &self,
        group: &str,
        queue: &MessageQueue,
        client_id: &str,
        now: Instant,
    ) -> bool {
        let state = lock(&self.state);
        let entry = state.locks.get(group).and_then(|held| held.get(queue));
        entry.is_some_and(|entry| entry.client_id != client_id && !entry.is_expired(now))
    }

    /// Releases those of `queues` that the client holds.
    pub(crate) fn unlock_batch(&self, group: &str, queues: &[MessageQueue], client_id: &str) {
        let mut state = lock(&self.state);
        let State { locks, count, .. } = &mut *state;
        let Some(held) = locks.get_mut(group) else {
            return;
        };
        for queue in queues {
            if held.get(queue).is_some_and(|entry| entry.client_id == client_id) {
                held.remove(queue);
                *count -= 1;
            }
        }
        if held.is_empty() {
            locks.remove(group);
        }
    }
}

impl State {
    /// Forgets the locks that may be taken over, now and then.
    fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_some_and(|next| now < next) {
            return;
        }
        self.next_sweep = Some(now + SWEEP_INTERVAL);
        self.locks.retain(|_, held| {
            held.retain(|_, entry| !entry.is_expired(now));
            !held.is_empty()
        });
        self.count = self.locks.values().map(BTreeMap::len).sum();
    }
}

impl LockEntry {
    fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_update) > LOCK_MAX_LIVE_TIME
            && !planted_on_this_thread(Plant::LocksNeverExpire)
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
        Some(entry)
            if !entry.is_expired(now) && !planted_on_this_thread(Plant::LockedForEverybody) =>
        {
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
        let held = manager.try_lock_batch("G", queues, client_id, now).unwrap();
        held.into_iter().map(|queue| queue.queue_id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_has_one_owner_per_group() {
        let manager = RebalanceLockManager::new(100);
        let now = Instant::now();
        assert_eq!(locked(&manager, "c1", now), [0, 1]);
        assert_eq!(locked(&manager, "c1", now), [0, 1]);
        assert_eq!(locked(&manager, "c2", now), [0; 0]);
        assert_eq!(manager.try_lock_batch("H", vec![queue(0)], "c2", now).unwrap(), [queue(0)]);

        manager.unlock_batch("G", &[queue(0)], "c2");
        assert_eq!(locked(&manager, "c2", now), [0; 0]);
        manager.unlock_batch("G", &[queue(0)], "c1");
        assert_eq!(locked(&manager, "c2", now), [0]);
        manager.unlock_batch("G", &[queue(0)], "c2");
        manager.unlock_batch("G", &[queue(1)], "c1");
        assert!(!lock(&manager.state).locks.contains_key("G"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_anothers_until_it_may_be_taken_over() {
        let manager = RebalanceLockManager::new(100);
        let start = Instant::now();
        locked(&manager, "c1", start);
        let is_anothers =
            |group, client_id, now| manager.is_held_by_other(group, &queue(0), client_id, now);
        assert!(!is_anothers("G", "c1", start));
        assert!(is_anothers("G", "c2", start + LOCK_MAX_LIVE_TIME));
        assert!(!is_anothers("H", "c2", start), "each group has its own");
        let late = start + LOCK_MAX_LIVE_TIME + Duration::from_millis(1);
        assert!(!is_anothers("G", "c2", late));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_not_renewed_is_taken_over() {
        let manager = RebalanceLockManager::new(100);
        let start = Instant::now();
        locked(&manager, "c1", start);
        let renewed = start + Duration::from_secs(30);
        locked(&manager, "c1", renewed);
        assert_eq!(locked(&manager, "c2", renewed + LOCK_MAX_LIVE_TIME), [0; 0]);
        let late = renewed + LOCK_MAX_LIVE_TIME + Duration::from_millis(1);
        assert_eq!(locked(&manager, "c2", late), [0, 1]);
        assert_eq!(locked(&manager, "c1", late), [0; 0]);
    }
    #[tokio::test(start_paused = true)]
    async fn locks_are_bounded_and_those_that_nobody_renews_make_room() {
        let manager = RebalanceLockManager::new(3);
        let start = Instant::now();
        let lock_one = |group: &str, now| {
            manager.try_lock_batch(group, vec![queue(7)], "c", now).map_err(|it| it.to_string())
        };
        locked(&manager, "c1", start);
        lock_one("H", start).unwrap();
        assert_eq!(locked(&manager, "c1", start), [0, 1]);
        let refused = lock_one("I", start).unwrap_err();
        assert!(refused.contains("maxQueueLockNums=3"), "{refused}");
        let late = start + LOCK_MAX_LIVE_TIME + Duration::from_millis(1);
        lock_one("I", late).unwrap();
        let state = lock(&manager.state);
        assert_eq!((state.count, state.locks.len()), (1, 1));
    }
}
