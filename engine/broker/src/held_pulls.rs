//! [`HeldPulls`]: pulls that wait for a message or for their deadline. Pure: no clock, no task.
//!
//! A pull is found by its queue when a message arrives there and by its deadline otherwise; both
//! orders are kept, so that neither look-up walks what is not concerned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mq_env::collections::HashMap;
use mq_store::MessageFilter;
use tokio::time::Instant;

/// One pull that waits; `T` is whatever answers it.
pub(crate) struct HeldPull<T> {
    /// Queue offset from which it reads.
    pub(crate) pull_from_offset: i64,
    /// When it is answered all the same.
    pub(crate) deadline: Instant,
    /// Which messages it is woken for.
    pub(crate) filter: Arc<MessageFilter>,
    /// What answers it.
    pub(crate) payload: T,
}

/// The pulls that wait.
pub(crate) struct HeldPulls<T> {
    next_id: u64,
    pulls: HashMap<u64, Waiting<T>>,
    /// Ids per topic and queue, in the order of their arrival.
    by_queue: HashMap<String, BTreeMap<i32, Vec<u64>>>,
    by_deadline: BTreeSet<(Instant, u64)>,
}

struct Waiting<T> {
    topic: String,
    queue_id: i32,
    pull: HeldPull<T>,
}

impl<T> Default for HeldPulls<T> {
    fn default() -> Self {
        HeldPulls {
            next_id: 0,
            pulls: HashMap::default(),
            by_queue: HashMap::default(),
            by_deadline: BTreeSet::new(),
        }
    }
}

impl<T> HeldPulls<T> {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pulls.is_empty()
    }

    /// Lets `pull` wait for queue `queue_id` of `topic`.
    pub(crate) fn hold(&mut self, topic: &str, queue_id: i32, pull: HeldPull<T>) {
        let id = self.next_id;
        self.next_id += 1;
        self.by_deadline.insert((pull.deadline, id));
        let queues = self.by_queue.entry(topic.to_owned()).or_default();
        queues.entry(queue_id).or_default().push(id);
        self.pulls.insert(id, Waiting { topic: topic.to_owned(), queue_id, pull });
    }

    /// Takes the pulls of a queue that have something to read now that it ends at `max_offset`. The
    /// message that arrived has `tags_code`; an unknown one matches every filter.
    pub(crate) fn take_arrived(
        &mut self,
        topic: &str,
        queue_id: i32,
        max_offset: i64,
        tags_code: Option<i64>,
    ) -> Vec<HeldPull<T>> {
        let Some(ids) = self.by_queue.get(topic).and_then(|queues| queues.get(&queue_id)) else {
            return Vec::new();
        };
        let is_woken = |id: &&u64| {
            self.pulls.get(*id).is_some_and(|waiting| {
                max_offset > waiting.pull.pull_from_offset
                    && tags_code.is_none_or(|code| waiting.pull.filter.matches(code))
            })
        };
        let woken: Vec<u64> = ids.iter().filter(is_woken).copied().collect();
        self.take_all(woken)
    }

    /// Takes the pulls whose deadline has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<HeldPull<T>> {
        let due = self.by_deadline.range(..=(now, u64::MAX)).map(|(_, id)| *id).collect();
        self.take_all(due)
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The queues for which pulls wait, in the order of their names.
    pub(crate) fn queues(&self) -> BTreeSet<(String, i32)> {
        self.by_queue
            .iter()
            .flat_map(|(topic, queues)| queues.keys().map(|queue| (topic.clone(), *queue)))
            .collect()
    }

    fn take_all(&mut self, ids: Vec<u64>) -> Vec<HeldPull<T>> {
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    fn take(&mut self, id: u64) -> Option<HeldPull<T>> {
        let Waiting { topic, queue_id, pull } = self.pulls.remove(&id)?;
        self.by_deadline.remove(&(pull.deadline, id));
        if let Some(queues) = self.by_queue.get_mut(&topic) {
            if let Some(ids) = queues.get_mut(&queue_id) {
                ids.retain(|waiting| *waiting != id);
                if ids.is_empty() {
                    queues.remove(&queue_id);
                }
            }
            if queues.is_empty() {
                self.by_queue.remove(&topic);
            }
        }
        Some(pull)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pull(payload: u32, from: i64, deadline: Instant, filter: MessageFilter) -> HeldPull<u32> {
        HeldPull { pull_from_offset: from, deadline, filter: Arc::new(filter), payload }
    }

    fn payloads(pulls: Vec<HeldPull<u32>>) -> Vec<u32> {
        pulls.into_iter().map(|pull| pull.payload).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_wakes_the_pulls_of_its_queue_that_want_it() {
        let mut held = HeldPulls::default();
        let later = Instant::now() + Duration::from_secs(15);
        held.hold("T", 0, pull(1, 5, later, MessageFilter::All));
        held.hold("T", 0, pull(2, 6, later, MessageFilter::All));
        held.hold("T", 0, pull(3, 5, later, MessageFilter::TagsCodes(vec![7])));
        held.hold("T", 1, pull(4, 5, later, MessageFilter::All));
        held.hold("U", 0, pull(5, 5, later, MessageFilter::All));

        assert_eq!(payloads(held.take_arrived("T", 0, 5, Some(8))), [0_u32; 0]);
        assert_eq!(payloads(held.take_arrived("T", 0, 6, Some(8))), [1]);
        assert_eq!(payloads(held.take_arrived("T", 0, 7, None)), [2, 3]);
        assert_eq!(payloads(held.take_arrived("T", 0, 8, None)), [0_u32; 0]);
        let left: Vec<_> = held.queues().into_iter().collect();
        assert_eq!(left, [("T".to_owned(), 1), ("U".to_owned(), 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_takes_a_pull_once() {
        let mut held = HeldPulls::default();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        held.hold("T", 0, pull(1, 0, after(3), MessageFilter::All));
        held.hold("T", 0, pull(2, 0, after(1), MessageFilter::All));
        held.hold("T", 0, pull(3, 0, after(1), MessageFilter::All));

        assert_eq!(held.next_deadline(), Some(after(1)));
        assert_eq!(payloads(held.take_due(now)), [0_u32; 0]);
        assert_eq!(payloads(held.take_due(after(1))), [2, 3]);
        assert_eq!(held.next_deadline(), Some(after(3)));
        assert_eq!(payloads(held.take_arrived("T", 0, 1, None)), [1]);
        assert!(held.is_empty() && held.next_deadline().is_none() && held.queues().is_empty());
        assert!(held.by_queue.is_empty() && held.by_deadline.is_empty());
    }
}
