//! [`HeldPulls`]: pulls that wait for a message or for their deadline. Pure: no clock, no task.
//!
//! A pull is found by its queue and what it wants when a message arrives there, by its deadline otherwise,
//! and by its connection when that ends. Every order is kept, so that no look-up walks what is not
//! concerned: a message costs no more than the pulls that it wakes, and those of its queue that ask for its
//! properties. These count by their size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mq_env::collections::HashMap;
use mq_protocol::message_codec::RecordView;
use mq_remoting::ChannelId;
use mq_store::MessageFilter;
use tokio::time::Instant;

/// Tags beyond which a pull counts once more against the limits.
const TAGS_PER_COUNT: usize = 8;

/// One pull that waits; `T` is whatever answers it.
pub(crate) struct HeldPull<T> {
    /// Queue offset from which it reads.
    pub(crate) pull_from_offset: i64,
    /// When it is answered all the same.
    pub(crate) deadline: Instant,
    /// Which messages it is woken for.
    pub(crate) filter: Arc<MessageFilter>,
    /// The connection that it came by.
    pub(crate) channel: ChannelId,
    /// What answers it.
    pub(crate) payload: T,
}

impl<T> HeldPull<T> {
    /// How much it counts against the limits: its memory grows with its tags.
    pub(crate) fn count(&self) -> usize {
        match &*self.filter {
            MessageFilter::All => 1,
            MessageFilter::TagsCodes(codes) => 1 + codes.len() / TAGS_PER_COUNT,
            MessageFilter::Properties(filter) => 1 + filter.size() / TAGS_PER_COUNT,
        }
    }
}

/// The pulls that wait.
pub(crate) struct HeldPulls<T> {
    next_id: u64,
    pulls: HashMap<u64, Waiting<T>>,
    by_queue: BTreeMap<Arc<str>, BTreeMap<i32, Queue>>,
    by_deadline: BTreeSet<(Instant, u64)>,
    by_channel: HashMap<ChannelId, OfChannel>,
    /// Sum of the pulls' counts.
    count: usize,
    /// Pulls that were looked at since the beginning.
    #[cfg(test)]
    looks: usize,
}

struct Waiting<T> {
    topic: Arc<str>,
    queue_id: i32,
    pull: HeldPull<T>,
}

/// The pulls of a queue, by the offset from which they read.
#[derive(Default)]
struct Queue {
    by_offset: BTreeSet<(i64, u64)>,
    /// Those that want every message.
    wants_all: BTreeSet<(i64, u64)>,
    /// Those that want one tags code; a pull is here once for each that it wants.
    by_tags_code: BTreeSet<(i32, i64, u64)>,
    /// Those that ask for the properties.
    by_properties: BTreeSet<(i64, u64)>,
}

/// What is known of a message that arrived.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) tags_code: i64,
    pub(crate) record: &'a RecordView<'a>,
}

#[derive(Default)]
struct OfChannel {
    ids: BTreeSet<u64>,
    count: usize,
}

impl<T> Default for HeldPulls<T> {
    fn default() -> Self {
        HeldPulls {
            next_id: 0,
            pulls: HashMap::default(),
            by_queue: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            by_channel: HashMap::default(),
            count: 0,
            #[cfg(test)]
            looks: 0,
        }
    }
}

impl<T> HeldPulls<T> {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pulls.is_empty()
    }

    /// What the waiting pulls count for.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What the waiting pulls count for, in all and those of `channel`.
    pub(crate) fn counts(&self, channel: ChannelId) -> (usize, usize) {
        (self.count, self.by_channel.get(&channel).map_or(0, |held| held.count))
    }

    /// Lets `pull` wait for queue `queue_id` of `topic`.
    pub(crate) fn hold(&mut self, topic: &str, queue_id: i32, pull: HeldPull<T>) {
        let id = self.next_id;
        self.next_id += 1;
        self.by_deadline.insert((pull.deadline, id));
        let topic = match self.by_queue.get_key_value(topic) {
            Some((topic, _)) => Arc::clone(topic),
            None => Arc::from(topic),
        };
        let queues = self.by_queue.entry(Arc::clone(&topic)).or_default();
        queues.entry(queue_id).or_default().insert(id, &pull);
        let of_channel = self.by_channel.entry(pull.channel).or_default();
        of_channel.ids.insert(id);
        of_channel.count += pull.count();
        self.count += pull.count();
        let other = self.pulls.insert(id, Waiting { topic, queue_id, pull });
        assert!(other.is_none(), "a pull has an id of its own");
    }

    /// Takes the pulls of a queue that have something to read now that it ends at `max_offset`, in the
    /// order of their arrival. A message of which nothing is known matches every filter.
    pub(crate) fn take_arrived(
        &mut self,
        topic: &str,
        queue_id: i32,
        max_offset: i64,
        arrived: Option<Arrived<'_>>,
    ) -> Vec<HeldPull<T>> {
        let Some(queue) = self.by_queue.get(topic).and_then(|queues| queues.get(&queue_id)) else {
            return Vec::new();
        };
        let mut woken = queue.woken(max_offset, arrived);
        if let Some(Arrived { record, .. }) = arrived {
            let asking = queue.by_properties.range(..(max_offset, 0)).map(|(_, id)| *id);
            woken.extend(asking.filter(|id| self.wants_properties(*id, record)));
        }
        woken.sort_unstable();
        self.take_all(woken)
    }

    fn wants_properties(&self, id: u64, record: &RecordView<'_>) -> bool {
        self.pulls.get(&id).is_some_and(|waiting| match &*waiting.pull.filter {
            MessageFilter::Properties(filter) => filter.passes(record),
            _ => false,
        })
    }

    /// Takes the pulls whose deadline has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<HeldPull<T>> {
        let due = self.by_deadline.range(..=(now, u64::MAX)).map(|(_, id)| *id).collect();
        self.take_all(due)
    }

    /// Takes the pulls of a connection.
    pub(crate) fn take_channel(&mut self, channel: ChannelId) -> Vec<HeldPull<T>> {
        let ids = self.by_channel.get(&channel).map(|held| held.ids.iter().copied().collect());
        self.take_all(ids.unwrap_or_default())
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The queues for which pulls wait, in the order of their names.
    pub(crate) fn queues(&self) -> BTreeSet<(Arc<str>, i32)> {
        self.by_queue
            .iter()
            .flat_map(|(topic, queues)| queues.keys().map(|queue| (Arc::clone(topic), *queue)))
            .collect()
    }

    fn take_all(&mut self, ids: Vec<u64>) -> Vec<HeldPull<T>> {
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    fn take(&mut self, id: u64) -> Option<HeldPull<T>> {
        let Waiting { topic, queue_id, pull } = self.pulls.remove(&id)?;
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let was_due = self.by_deadline.remove(&(pull.deadline, id));
        assert!(
            was_due && self.count >= pull.count(),
            "a pull that waits has a deadline and counts"
        );
        self.count -= pull.count();
        if let Some(of_channel) = self.by_channel.get_mut(&pull.channel) {
            of_channel.ids.remove(&id);
            of_channel.count -= pull.count();
            if of_channel.ids.is_empty() {
                self.by_channel.remove(&pull.channel);
            }
        }
        if let Some(queues) = self.by_queue.get_mut(&topic) {
            if let Some(queue) = queues.get_mut(&queue_id) {
                queue.remove(id, &pull);
                if queue.by_offset.is_empty() {
                    queues.remove(&queue_id);
                }
            }
            if queues.is_empty() {
                self.by_queue.remove(&topic);
            }
        }
        assert_eq!(self.by_deadline.len(), self.pulls.len(), "each pull has one deadline");
        assert!(!self.pulls.is_empty() || self.count == 0, "nothing counts for nothing");
        Some(pull)
    }
}

impl Queue {
    fn insert<T>(&mut self, id: u64, pull: &HeldPull<T>) {
        let from = pull.pull_from_offset;
        self.by_offset.insert((from, id));
        match &*pull.filter {
            MessageFilter::All => drop(self.wants_all.insert((from, id))),
            MessageFilter::TagsCodes(codes) => {
                self.by_tags_code.extend(codes.iter().map(|code| (*code, from, id)));
            }
            MessageFilter::Properties(_) => drop(self.by_properties.insert((from, id))),
        }
    }

    fn remove<T>(&mut self, id: u64, pull: &HeldPull<T>) {
        let from = pull.pull_from_offset;
        self.by_offset.remove(&(from, id));
        match &*pull.filter {
            MessageFilter::All => drop(self.wants_all.remove(&(from, id))),
            MessageFilter::TagsCodes(codes) => {
                for code in codes {
                    self.by_tags_code.remove(&(*code, from, id));
                }
            }
            MessageFilter::Properties(_) => drop(self.by_properties.remove(&(from, id))),
        }
    }

    /// Who reads from below `max_offset` and wants what arrived, as far as its tags code tells.
    fn woken(&self, max_offset: i64, arrived: Option<Arrived<'_>>) -> Vec<u64> {
        let below = ..(max_offset, 0);
        match arrived {
            None => self.by_offset.range(below).map(|(_, id)| *id).collect(),
            Some(Arrived { tags_code, .. }) => {
                let code = MessageFilter::code_of(tags_code);
                let of_code = (code, i64::MIN, 0)..(code, max_offset, 0);
                let by_tag = self.by_tags_code.range(of_code).map(|(_, _, id)| *id);
                self.wants_all.range(below).map(|(_, id)| *id).chain(by_tag).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mq_protocol::message_codec::decode_record;
    use mq_store::PropertiesFilter;

    use super::*;
    use crate::subscription::tests::record;

    fn pull(payload: u32, from: i64, deadline: Instant, filter: MessageFilter) -> HeldPull<u32> {
        let (filter, channel) = (Arc::new(filter), ChannelId(u64::from(payload % 2)));
        HeldPull { pull_from_offset: from, deadline, filter, channel, payload }
    }

    /// A message without properties.
    fn plain(tags_code: i64) -> Arrived<'static> {
        let bytes = record("").leak();
        Arrived { tags_code, record: Box::leak(Box::new(decode_record(bytes).unwrap())) }
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
        held.hold("T", 0, pull(3, 5, later, MessageFilter::TagsCodes([7].into())));
        held.hold("T", 1, pull(4, 5, later, MessageFilter::All));
        held.hold("U", 0, pull(5, 5, later, MessageFilter::All));

        assert_eq!(payloads(held.take_arrived("T", 0, 5, Some(plain(8)))), [0_u32; 0]);
        assert_eq!(payloads(held.take_arrived("T", 0, 6, Some(plain(8)))), [1]);
        assert_eq!(payloads(held.take_arrived("T", 0, 7, None)), [2, 3]);
        assert_eq!(payloads(held.take_arrived("T", 0, 8, None)), [0_u32; 0]);
        let left: Vec<_> = held.queues().into_iter().collect();
        assert_eq!(left, [("T".into(), 1), ("U".into(), 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_wakes_the_pulls_that_its_properties_pass() {
        let mut held = HeldPulls::default();
        let later = Instant::now() + Duration::from_secs(15);
        let is = |value: &'static str| {
            let passes = PropertiesFilter::new(40, move |it| it.get("a") == Some(value));
            MessageFilter::Properties(passes)
        };
        held.hold("T", 0, pull(1, 5, later, is("1")));
        held.hold("T", 0, pull(2, 5, later, is("2")));
        held.hold("T", 0, pull(3, 9, later, is("1")));
        held.hold("T", 0, pull(4, 5, later, MessageFilter::All));
        held.hold("T", 1, pull(5, 5, later, is("1")));
        assert_eq!(held.counts(ChannelId(0)), (25, 7), "properties count by what they cost");

        let bytes = record("a\u{1}1");
        let one = Arrived { tags_code: 0, record: &decode_record(&bytes).unwrap() };
        assert_eq!(payloads(held.take_arrived("T", 0, 6, Some(one))), [1, 4]);
        assert_eq!(payloads(held.take_arrived("T", 0, 7, Some(plain(0)))), [0_u32; 0]);
        assert_eq!(payloads(held.take_arrived("T", 0, 9, Some(one))), [0_u32; 0]);
        assert_eq!(payloads(held.take_arrived("T", 0, 10, None)), [2, 3]);
        assert_eq!(payloads(held.take_due(later)), [5]);
        assert!(held.is_empty() && held.by_queue.is_empty() && held.count == 0);
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
        assert!(held.by_channel.is_empty() && held.count == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn pulls_go_with_their_connection() {
        let mut held = HeldPulls::default();
        let later = Instant::now() + Duration::from_secs(15);
        let many_tags = MessageFilter::TagsCodes((0..20).collect());
        held.hold("T", 0, pull(1, 5, later, MessageFilter::All));
        held.hold("T", 0, pull(2, 5, later, MessageFilter::All));
        held.hold("T", 1, pull(3, 5, later, many_tags));
        assert_eq!(held.counts(ChannelId(1)), (5, 4));
        assert_eq!(payloads(held.take_channel(ChannelId(1))), [1, 3]);
        assert_eq!(held.counts(ChannelId(1)), (1, 0));
        assert_eq!(payloads(held.take_channel(ChannelId(1))), [0_u32; 0]);
        assert_eq!(payloads(held.take_arrived("T", 0, 6, None)), [2]);
        assert!(held.is_empty() && held.by_queue.is_empty() && held.by_channel.is_empty());
    }

    /// A message costs the pulls that it wakes, however many others wait for its queue.
    #[tokio::test(start_paused = true)]
    async fn a_message_looks_at_those_only_that_it_wakes() {
        for count in [1_000, 20_000] {
            let mut held = HeldPulls::default();
            let later = Instant::now() + Duration::from_secs(15);
            for payload in 0..count {
                let other_tag = MessageFilter::TagsCodes([8, 9].into());
                held.hold("T", 0, pull(payload, 5, later, other_tag));
                held.hold("T", 0, pull(payload, 10, later, MessageFilter::All));
            }
            held.hold("T", 0, pull(count, 5, later, MessageFilter::TagsCodes([7].into())));
            for end in 6..=10 {
                let woken = held.take_arrived("T", 0, end, Some(plain(7)));
                assert_eq!(payloads(woken).len(), usize::from(end == 6));
            }
            assert_eq!(held.looks, 1);
            assert_eq!(held.take_arrived("T", 0, 11, Some(plain(8))).len(), 2 * count as usize);
            assert_eq!(held.looks, 1 + 2 * count as usize);
        }
    }
}
