//! [`ConsumerOffsetManager`]: how far each consumer group has come in each queue, file
//! `consumerOffset.json` (RocketMQ 4.9 `ConsumerOffsetManager`).
//!
//! Offsets are queue offsets of the next message a group wants. Commits change memory; the file
//! follows within `flushConsumerOffsetInterval` of the first change, and at shutdown. Whether an
//! offset may be committed is decided by the caller, who knows where the queue ends; how many there may be
//! here. What brokers of the same group know is taken over all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mq_env::Env;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::offset_table::ConsumerOffsetSerializeWrapper;
use mq_protocol::fastjson::to_bytes;
use mq_remoting::LogLimit;
use mq_store::config::StoreConfig;
use mq_store::metadata_file::MetadataError;

use crate::config::BrokerConfig;
use crate::limits::{Limit, LimitReached, log_limit};
use crate::lock;
use crate::offset_file::OffsetFile;

/// Between topic and group in the keys of the file. No topic contains it.
const TOPIC_GROUP_SEPARATOR: char = '@';

/// An offset that was moved because it stood beyond the end of its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClampedOffset {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) queue_id: i32,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// The offsets of all groups.
pub(crate) struct ConsumerOffsetManager {
    file: OffsetFile,
    limit: Limit,
    /// Of offsets that go back.
    back_log: LogLimit,
    /// What slaves or the file got last, with its change count.
    encoded: Mutex<Option<(u64, Bytes)>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    offsets: Offsets,
    /// How many there are.
    count: usize,
    change_count: u64,
}

/// Topic → group → queue → offset.
type Offsets = BTreeMap<String, BTreeMap<String, BTreeMap<i32, i64>>>;

impl ConsumerOffsetManager {
    /// What the file holds.
    ///
    /// # Errors
    /// When nothing sound is left of it.
    pub(crate) fn load(
        env: &Env,
        config: &BrokerConfig,
        store_config: &StoreConfig,
    ) -> Result<Self, MetadataError> {
        let (file, wrapper) = OffsetFile::load(env, store_config, "consumerOffset.json")?;
        let offsets = wrapper.map(from_wrapper).unwrap_or_default();
        let count = offsets.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum();
        let limit = Limit::new("maxConsumerOffsetNums", config.limits.consumer_offset_nums);
        let state = State { offsets, count, change_count: 0 };
        Ok(ConsumerOffsetManager {
            file,
            limit,
            back_log: log_limit(),
            encoded: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// The group's offset in a queue.
    pub(crate) fn query_offset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        lock(&self.state).offsets.get(topic)?.get(group)?.get(&queue_id).copied()
    }

    /// The topics of which the group has offsets (RocketMQ 4.9 `whichTopicByConsumer`).
    pub(crate) fn topics_of(&self, group: &str) -> Vec<String> {
        let state = lock(&self.state);
        let topics = state.offsets.iter().filter(|(_, groups)| groups.contains_key(group));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// Topics and groups that have offsets of them, in their order.
    pub(crate) fn topics_and_groups(&self) -> Vec<(String, String)> {
        let state = lock(&self.state);
        let all = state
            .offsets
            .iter()
            .flat_map(|(topic, groups)| groups.keys().map(|group| (topic.clone(), group.clone())));
        all.collect()
    }

    /// The groups that have offsets of the topic (RocketMQ 4.9 `whichGroupByTopic`).
    pub(crate) fn groups_of(&self, topic: &str) -> Vec<String> {
        let state = lock(&self.state);
        state.offsets.get(topic).map(|groups| groups.keys().cloned().collect()).unwrap_or_default()
    }

    /// The group's offsets in a topic by queue.
    pub(crate) fn offsets_of(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let state = lock(&self.state);
        let groups = state.offsets.get(topic);
        groups.and_then(|groups| groups.get(group)).cloned().unwrap_or_default()
    }

    /// The smallest offset of a topic's groups in each queue, without those of groups that are `left_out`, and those below
    /// `queue_min` (RocketMQ 4.9 `queryMinOffsetInAllGroup`, which deletes the groups that it leaves out).
    pub(crate) fn min_offsets(
        &self,
        topic: &str,
        left_out: &BTreeSet<&str>,
        queue_min: impl Fn(i32) -> i64,
    ) -> BTreeMap<i32, i64> {
        let mut smallest = BTreeMap::new();
        let state = lock(&self.state);
        let groups = state.offsets.get(topic).into_iter().flatten();
        for (_, queues) in groups.filter(|(group, _)| !left_out.contains(group.as_str())) {
            for (queue_id, offset) in queues {
                if *offset >= queue_min(*queue_id) {
                    let known = smallest.entry(*queue_id).or_insert(*offset);
                    *known = (*known).min(*offset);
                }
            }
        }
        smallest
    }

    /// Gives a group another one's offsets in a topic, and no others there; nothing where that has none (RocketMQ 4.9
    /// `cloneOffset`).
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn clone_offsets(
        &self,
        source: &str,
        target: &str,
        topic: &str,
    ) -> Result<(), LimitReached> {
        let mut state = lock(&self.state);
        let State { offsets, count, .. } = &mut *state;
        let Some(cloned) = offsets.get(topic).and_then(|groups| groups.get(source)).cloned() else {
            return Ok(());
        };
        let before = queues_of(offsets, topic, target).len();
        let after = *count - before + cloned.len();
        if after > *count {
            self.limit.check(after, "consumer offsets")?;
        }
        *queues_of(offsets, topic, target) = cloned;
        *count = after;
        self.note_change(&mut state);
        Ok(())
    }

    /// Sets the group's offset in a queue. Smaller ones are accepted, as in RocketMQ.
    ///
    /// # Errors
    /// When there was none and there are too many.
    pub(crate) fn commit_offset(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<(), LimitReached> {
        let mut state = lock(&self.state);
        let before = present(&mut state.offsets, topic, group, queue_id);
        let before = before.map(|present| std::mem::replace(present, offset));
        if before.is_none() {
            self.limit.check(state.count + 1, "consumer offsets")?;
            queues_of(&mut state.offsets, topic, group).insert(queue_id, offset);
            state.count += 1;
        }
        if before != Some(offset) {
            self.note_change(&mut state);
        }
        drop(state);
        if let Some(before) = before.filter(|before| offset < *before)
            && let Some(suppressed) = self.back_log.pass()
        {
            tracing::warn!(suppressed, group, topic, queue_id, before, offset, "offset goes back");
        }
        Ok(())
    }

    /// Moves every offset that stands beyond the end of its queue to the end, and returns those.
    pub(crate) fn clamp(&self, queue_end: impl Fn(&str, i32) -> i64) -> Vec<ClampedOffset> {
        let mut clamped = Vec::new();
        let mut state = lock(&self.state);
        for (topic, groups) in &mut state.offsets {
            for (group, queues) in groups {
                for (queue_id, offset) in queues {
                    let end = queue_end(topic, *queue_id);
                    if *offset > end {
                        clamped.push(ClampedOffset {
                            group: group.clone(),
                            topic: topic.clone(),
                            queue_id: *queue_id,
                            from: *offset,
                            to: end,
                        });
                        *offset = end;
                    }
                }
            }
        }
        if !clamped.is_empty() {
            self.note_change(&mut state);
        }
        clamped
    }

    /// Forgets what groups had committed of a topic that was deleted.
    pub(crate) fn remove_topic(&self, topic: &str) {
        self.remove(|offsets| {
            let groups = offsets.remove(topic).unwrap_or_default();
            groups.values().map(BTreeMap::len).sum()
        });
    }

    /// Forgets what a group had committed that was deleted (RocketMQ 4.9 `removeOffset`).
    pub(crate) fn remove_group(&self, group: &str) {
        self.remove(|offsets| {
            let removed = offsets.values_mut().filter_map(|groups| groups.remove(group));
            let count = removed.map(|queues| queues.len()).sum();
            offsets.retain(|_, groups| !groups.is_empty());
            count
        });
    }

    fn remove(&self, remove: impl FnOnce(&mut Offsets) -> usize) {
        let mut state = lock(&self.state);
        let removed = remove(&mut state.offsets);
        if removed > 0 {
            state.count -= removed;
            self.note_change(&mut state);
        }
    }

    /// Takes over what another broker of the group knows: of two offsets the greater one stays.
    pub(crate) fn merge(&self, others: ConsumerOffsetSerializeWrapper) {
        self.take_over(others, |present, offset| present < offset);
    }

    /// Takes over what a master knows, lower offsets too, as RocketMQ 4.9 does.
    pub(crate) fn overwrite(&self, others: ConsumerOffsetSerializeWrapper) {
        self.take_over(others, |present, offset| present != offset);
    }

    fn take_over(
        &self,
        others: ConsumerOffsetSerializeWrapper,
        gives_way: impl Fn(i64, i64) -> bool,
    ) {
        let (mut is_changed, mut added) = (false, 0);
        let mut state = lock(&self.state);
        for (topic, groups) in from_wrapper(others) {
            for (group, queues) in groups {
                let own = queues_of(&mut state.offsets, &topic, &group);
                let is_last_writer = planted_on_this_thread(Plant::OffsetsOfTheLastWriter);
                for (queue_id, offset) in queues {
                    let is_newer =
                        own.get(&queue_id).is_none_or(|present| gives_way(*present, offset));
                    if is_newer || is_last_writer {
                        added += usize::from(own.insert(queue_id, offset).is_none());
                        is_changed = true;
                    }
                }
            }
        }
        state.count += added;
        if is_changed {
            self.note_change(&mut state);
        }
    }

    /// Every offset, as slaves (43) and the file get them, encoded.
    pub(crate) fn content(&self) -> Bytes {
        self.encoded().1
    }

    /// The change count, and every offset. Encoded once per change at most.
    fn encoded(&self) -> (u64, Bytes) {
        let mut encoded = lock(&self.encoded);
        let (change_count, wrapper) = {
            let state = lock(&self.state);
            match &*encoded {
                Some((count, content)) if *count == state.change_count => {
                    return (*count, content.clone());
                }
                _ => (state.change_count, to_wrapper(&state.offsets)),
            }
        };
        let content = to_bytes(&wrapper);
        *encoded = Some((change_count, content.clone()));
        (change_count, content)
    }

    /// Writes the file, unless it holds the present state.
    ///
    /// # Errors
    /// What the disk says; the file is then as it was.
    pub(crate) async fn persist(&self) -> io::Result<()> {
        let is_newer = |written| lock(&self.state).change_count != written;
        let newer = |written| is_newer(written).then(|| self.encoded());
        self.file.write(newer).await
    }

    /// Writes the file `interval` after a change.
    pub(crate) async fn run(self: Arc<Self>, interval: Duration) {
        loop {
            self.file.due(interval).await;
            if let Err(error) = self.persist().await {
                tracing::error!(%error, "consumer offsets cannot be written");
                self.file.note_change();
            }
        }
    }

    fn note_change(&self, state: &mut State) {
        state.change_count += 1;
        self.file.note_change();
    }
}

/// A group's offset in a queue, if there is one.
fn present<'a>(
    offsets: &'a mut Offsets,
    topic: &str,
    group: &str,
    queue_id: i32,
) -> Option<&'a mut i64> {
    offsets.get_mut(topic)?.get_mut(group)?.get_mut(&queue_id)
}

/// The offsets of a group in a topic; allocates only where there are none yet.
fn queues_of<'a>(offsets: &'a mut Offsets, topic: &str, group: &str) -> &'a mut BTreeMap<i32, i64> {
    if !offsets.contains_key(topic) {
        offsets.insert(topic.to_owned(), BTreeMap::new());
    }
    let groups = offsets.get_mut(topic).expect("the topic was just inserted");
    if !groups.contains_key(group) {
        groups.insert(group.to_owned(), BTreeMap::new());
    }
    groups.get_mut(group).expect("the group was just inserted")
}

fn from_wrapper(wrapper: ConsumerOffsetSerializeWrapper) -> Offsets {
    let mut offsets = Offsets::new();
    for (key, queues) in wrapper.offset_table {
        match key.split_once(TOPIC_GROUP_SEPARATOR) {
            Some((topic, group)) => queues_of(&mut offsets, topic, group).extend(queues),
            None => tracing::warn!(key, "offsets of neither topic nor group are passed over"),
        }
    }
    offsets
}

fn to_wrapper(offsets: &Offsets) -> ConsumerOffsetSerializeWrapper {
    let mut wrapper = ConsumerOffsetSerializeWrapper::default();
    for (topic, groups) in offsets {
        for (group, queues) in groups {
            let key = format!("{topic}{TOPIC_GROUP_SEPARATOR}{group}");
            wrapper.offset_table.insert(key, queues.clone());
        }
    }
    wrapper
}

#[cfg(test)]
mod tests;
