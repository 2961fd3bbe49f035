//! [`PassedOver`]: what operators had consumer groups pass over. A reset forward excuses what lay between where the
//! group stood and where it goes on, in that queue and for that group. What came to lie there later, once a log had
//! been cut, it excuses only for as long as a member stands behind it that the reset had sent there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::history::{GroupQueue, History, OffsetReset, PullOffset, QueueKey};

/// By consumer group and queue, its resets forward.
#[derive(Clone, Debug, Default)]
pub struct PassedOver(BTreeMap<GroupQueue, Vec<PassedOverBy>>);

/// What one reset passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOverBy {
    from: u64,
    to: u64,
    /// Offsets in between of messages that lie there only since.
    later: BTreeSet<u64>,
}

impl PassedOver {
    /// Of a history. `lies_since` says when a message came to lie at a place, where that is known.
    #[must_use]
    pub fn of(
        history: &History,
        lies_since: impl Fn(u32, (&QueueKey, u64)) -> Option<u64>,
    ) -> Self {
        let mut passed_over: BTreeMap<GroupQueue, Vec<PassedOverBy>> = BTreeMap::new();
        for reset in history.offset_resets.iter().filter(|it| it.to > it.from) {
            let OffsetReset { queue, from, to, .. } = reset;
            let messages = history.read_back.get(queue).map_or(&[][..], |it| &it.messages);
            let between = messages.iter().filter(|it| reset.passes_over(it.queue_offset));
            let later = between.filter(|it| {
                let since = it.number.and_then(|it_| lies_since(it_, (queue, it.queue_offset)));
                since.is_some_and(|since| since > reset.at_us)
                    && !stands_behind(history, reset, it.queue_offset)
            });
            let later = later.map(|it| it.queue_offset).collect();
            let place = (Arc::clone(&reset.consumer_group), queue.clone());
            let by = PassedOverBy { from: *from, to: *to, later };
            passed_over.entry(place).or_default().push(by);
        }
        PassedOver(passed_over)
    }

    /// The resets of a group in a queue.
    #[must_use]
    pub fn at(&self, place: &GroupQueue) -> &[PassedOverBy] {
        self.0.get(place).map_or(&[], Vec::as_slice)
    }

    /// The places, each with the last offset that may have been passed over.
    pub fn ends(&self) -> impl Iterator<Item = (&GroupQueue, u64)> {
        self.0.iter().filter_map(|(place, all)| {
            Some((place, all.iter().map(|it| it.to).max()?.saturating_sub(1)))
        })
    }
}

impl PassedOverBy {
    /// Whether what stands at a queue offset was passed over.
    #[must_use]
    pub fn covers(&self, queue_offset: u64) -> bool {
        (self.from..self.to).contains(&queue_offset) && !self.later.contains(&queue_offset)
    }
}

/// Whether a member that a reset sent away has never been set back to a queue offset, or before it.
fn stands_behind(history: &History, reset: &OffsetReset, queue_offset: u64) -> bool {
    let here = |it: &&PullOffset| {
        it.ordinal >= reset.ordinal
            && it.queue == reset.queue
            && it.consumer_group == reset.consumer_group
    };
    let mut sent: BTreeMap<&Arc<str>, bool> = BTreeMap::new();
    for set in history.pull_offsets.iter().filter(here) {
        if set.queue_offset == reset.to {
            sent.insert(&set.consumer, true);
        } else if set.queue_offset <= queue_offset {
            sent.insert(&set.consumer, false);
        }
    }
    sent.values().any(|stands| *stands)
}

/// The last reset before a trace event that had a group go on at an offset before where it stood, if nothing else set it
/// there.
#[must_use]
pub fn set_back<'a>(history: &'a History, set: &PullOffset) -> Option<&'a OffsetReset> {
    let resets = history.offset_resets.iter().rev();
    let mut of_place =
        resets.filter(|it| it.queue == set.queue && it.consumer_group == set.consumer_group);
    of_place.find(|it| it.ordinal <= set.ordinal && it.to == set.queue_offset && it.to < it.from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{QueueReading, a_delivery};

    /// A group that stood at 2 of ten messages, and was sent to `to` at 100 us.
    fn reset(from: u64, to: u64) -> History {
        let queue = a_delivery(0, 0).queue;
        let messages = (0..10).map(|number| a_delivery(number, u64::from(number))).collect();
        let mut history = History::default();
        let reading = QueueReading { min_offset: 0, max_offset: 10, messages };
        history.read_back.insert(queue.clone(), reading);
        let (consumer_group, at_us, ordinal) = ("g".into(), 100, 50);
        let reset = OffsetReset { consumer_group, queue, from, to, at_us, ordinal };
        history.offset_resets.push(reset);
        history
    }

    fn set(consumer: &str, queue_offset: u64, ordinal: u64) -> PullOffset {
        let (consumer, consumer_group) = (consumer.into(), "g".into());
        PullOffset {
            consumer,
            consumer_group,
            queue: a_delivery(0, 0).queue,
            queue_offset,
            ordinal,
        }
    }

    /// What is covered, where message 6 lies since `since_us`, and all others since ever.
    fn covered(history: &History, since_us: u64) -> Vec<u64> {
        let passed =
            PassedOver::of(history, |number, _| Some(if number == 6 { since_us } else { 0 }));
        let at = |group: &str| {
            let by = passed.at(&(group.into(), a_delivery(0, 0).queue)).to_vec();
            (0..10).filter(move |offset| by.iter().any(|it| it.covers(*offset)))
        };
        assert_eq!(at("h").count(), 0, "another group");
        at("g").collect()
    }

    #[test]
    fn a_reset_forward_excuses_what_lay_between() {
        assert_eq!(covered(&reset(2, 7), 0), [2, 3, 4, 5, 6]);
        assert_eq!(covered(&reset(7, 2), 0), [0; 0], "backwards nothing is passed over");
        assert_eq!(covered(&reset(8, u64::MAX), 0), [8, 9], "the answer was lost");
    }

    #[test]
    fn what_came_later_is_excused_only_where_a_member_stood_behind_it() {
        let mut history = reset(2, 7);
        assert_eq!(covered(&history, 101), [2, 3, 4, 5]);
        history.pull_offsets.push(set("c", 7, 51));
        assert_eq!(covered(&history, 101), [2, 3, 4, 5, 6]);
        history.pull_offsets.push(set("c", 6, 60));
        assert_eq!(covered(&history, 101), [2, 3, 4, 5], "it was set back");
        history.pull_offsets.push(set("d", 7, 61));
        assert_eq!(covered(&history, 101), [2, 3, 4, 5, 6], "another one stands there");
        let mut early = reset(2, 7);
        early.pull_offsets.push(set("c", 7, 49));
        assert_eq!(covered(&early, 101), [2, 3, 4, 5], "before the reset");
    }

    #[test]
    fn only_a_reset_that_went_there_sets_back() {
        let history = reset(7, 2);
        assert!(set_back(&history, &set("c", 2, 51)).is_some());
        assert!(set_back(&history, &set("c", 3, 51)).is_none());
        assert!(set_back(&history, &set("c", 2, 49)).is_none());
        assert!(set_back(&reset(2, 7), &set("c", 7, 51)).is_none(), "forward");
    }
}
