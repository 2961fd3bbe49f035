//! Looking up messages by position and by key, and offsets by time.

use mq_mapped_file::SelectedBuffer;
use mq_protocol::consume_queue_unit::ConsumeQueueUnit;
use mq_protocol::message_codec::decode_record;

use super::MessageStore;
use crate::config::UpstreamSwitch;
use crate::consume_queue::ConsumeQueue;
use crate::index_service::QueryOffsetResult;

/// How often a query by key that finds only gone messages looks further back.
const QUERY_ROUNDS: usize = 3;

/// What [`MessageStore::query_message`] finds (RocketMQ 4.9 `QueryMessageResult`).
#[derive(Clone, Debug, Default)]
pub struct QueryMessageResult {
    /// The records in the order of the log. Hashes of keys may collide: whoever asked looks at the
    /// keys again.
    pub messages: Vec<SelectedBuffer>,
    /// Store time of the last indexed record, in ms; 0 when nothing was found.
    pub index_last_update_timestamp: i64,
    /// Physical offset of the last indexed record; 0 when nothing was found.
    pub index_last_update_phy_offset: i64,
}

impl MessageStore {
    /// Physical offsets of at most `max_num` (64) records of `topic` that may have `key`, stored
    /// between the times in ms, the newest first (RocketMQ 4.9 `IndexService.queryOffset`).
    #[must_use]
    pub fn query_offset(
        &self,
        topic: &str,
        key: &str,
        max_num: usize,
        begin_ms: i64,
        end_ms: i64,
    ) -> QueryOffsetResult {
        self.index.query_offset(topic, key, max_num, begin_ms, end_ms)
    }

    /// The newest `max_num` (64) messages of `topic` that may have `key`, stored between the times
    /// in ms (RocketMQ 4.9 `queryMessage`).
    #[must_use]
    pub fn query_message(
        &self,
        topic: &str,
        key: &str,
        max_num: usize,
        begin_ms: i64,
        end_ms: i64,
    ) -> QueryMessageResult {
        let mut result = QueryMessageResult::default();
        let mut last_ms = end_ms;
        for _ in 0..QUERY_ROUNDS {
            let mut found = self.query_offset(topic, key, max_num, begin_ms, last_ms);
            if found.phy_offsets.is_empty() {
                break;
            }
            result.index_last_update_timestamp = found.index_last_update_timestamp;
            result.index_last_update_phy_offset = found.index_last_update_phy_offset;
            assert!(found.phy_offsets.len() <= max_num, "{max_num} wanted at most");
            found.phy_offsets.sort_unstable();
            let records = found.phy_offsets.iter();
            result.messages = records.filter_map(|at| self.look_message_by_offset(*at)).collect();
            let oldest = found.phy_offsets.first().and_then(|at| self.stored_at(*at));
            last_ms = oldest.map_or(last_ms, |stored_ms| stored_ms as i64);
            if !result.messages.is_empty() || last_ms < begin_ms {
                break;
            }
        }
        result
    }

    /// Store time of the oldest record, in milliseconds (RocketMQ 4.9 `getEarliestMessageTime` without a queue).
    #[must_use]
    pub fn earliest_stored_ms(&self) -> Option<u64> {
        self.stored_at(self.log.min_offset())
    }

    /// The record at `phy_offset`, if a record starts there (RocketMQ 4.9 `lookMessageByOffset`).
    #[must_use]
    pub fn look_message_by_offset(&self, phy_offset: u64) -> Option<SelectedBuffer> {
        let is_committed = phy_offset < self.log.max_offset();
        if !is_committed && !self.config.upstream(UpstreamSwitch::UncommittedUnread) {
            // Whoever ends a transaction knows where its half is before that was committed.
            self.log.commit(0);
        }
        let data = self.log.data(phy_offset)?;
        if self.log.damage.end_of(phy_offset).is_some() {
            return None;
        }
        let record = decode_record(&data).ok()?;
        // Arbitrary bytes that look like a record say another offset.
        let size = (record.phy_offset() as u64 == phy_offset).then(|| record.size())?;
        assert!(size <= data.len(), "a whole record");
        Some(data.truncated(size))
    }

    /// Store time in milliseconds of the message at `queue_offset`.
    #[must_use]
    pub fn message_store_timestamp(
        &self,
        topic: &str,
        queue_id: u32,
        queue_offset: u64,
    ) -> Option<u64> {
        let queue = self.find_queue(topic, queue_id)?;
        self.store_timestamp_at(&queue, queue_offset)
    }

    /// Store time in milliseconds of the queue's oldest message.
    #[must_use]
    pub fn earliest_message_time(&self, topic: &str, queue_id: u32) -> Option<u64> {
        let queue = self.find_queue(topic, queue_id)?;
        self.store_timestamp_at(&queue, queue.min_offset_in_queue())
    }

    /// Queue offset of the message stored at `timestamp_ms`, the first of several; else of its
    /// nearer neighbour, the earlier one of two as near (RocketMQ 4.9 `getOffsetInQueueByTime`).
    /// Before the first message that is the first, behind the last one the last; 0 for a queue
    /// without messages, and the end of one whose messages are all gone. Store times are taken to
    /// ascend.
    ///
    /// 4.9 searches only the first queue file modified at or after the time, and of several
    /// messages of one millisecond it takes any.
    #[must_use]
    pub fn offset_in_queue_by_time(&self, topic: &str, queue_id: u32, timestamp_ms: u64) -> u64 {
        let Some(queue) = self.find_queue(topic, queue_id) else { return 0 };
        let (min, max) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
        let min_phy_offset = self.log.min_offset();
        // `None` of what the log no longer has: it lies before all that has a time.
        let stored_at = |offset| {
            let unit = queue.unit(offset)?;
            (unit != ConsumeQueueUnit::FILLER && unit.phy_offset as u64 >= min_phy_offset)
                .then(|| self.store_timestamp_of(&unit))?
        };
        let (mut low, mut high) = (min, max);
        // Ends at the first message that was stored at or after the time.
        while low < high {
            let middle = low + (high - low) / 2;
            assert!((min..max).contains(&middle), "the search stays in the queue");
            if stored_at(middle).is_none_or(|stored_ms| stored_ms < timestamp_ms) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let at_or_after = (low < max).then_some(low);
        let before = low.checked_sub(1).filter(|before| *before >= min);
        let before = before.and_then(|before| Some((before, stored_at(before)?)));
        let found = match (before, at_or_after) {
            (Some((before, _)), None) => before,
            (Some((before, earlier_ms)), Some(later)) => {
                let is_nearer = stored_at(later).is_none_or(|later_ms| {
                    timestamp_ms - earlier_ms <= later_ms.saturating_sub(timestamp_ms)
                });
                if is_nearer { before } else { later }
            }
            (None, Some(later)) => later,
            (None, None) => max,
        };
        assert!(found == max || (min..max).contains(&found), "{found} lies in {min}..={max}");
        found
    }

    fn stored_at(&self, phy_offset: u64) -> Option<u64> {
        let message = self.look_message_by_offset(phy_offset)?;
        u64::try_from(decode_record(&message).ok()?.store_timestamp()).ok()
    }

    fn store_timestamp_at(&self, queue: &ConsumeQueue, queue_offset: u64) -> Option<u64> {
        self.store_timestamp_of(&queue.unit(queue_offset)?)
    }

    fn store_timestamp_of(&self, unit: &ConsumeQueueUnit) -> Option<u64> {
        let message = self.log.message(unit.phy_offset as u64, unit.size as usize)?;
        u64::try_from(decode_record(&message).ok()?.store_timestamp()).ok()
    }
}
