//! Reading a queue (RocketMQ 4.9 `getMessage`).

use std::sync::Arc;

use mq_mapped_file::SelectedBuffer;
use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};
use mq_protocol::message_codec::{
    MAGIC_POSITION, MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, PHY_OFFSET_POSITION,
    TOTAL_SIZE_POSITION,
};
use tokio::time::Instant;

use super::MessageStore;
use crate::big_endian::{i32_at, i64_at};
use crate::config::StoreConfig;
use crate::consume_queue::ConsumeQueue;
use crate::consume_queue_store::is_directory_name;
use crate::get_result::{GetMessageResult, GetMessageStatus, MessageFilter};
use crate::plant::{Plant, planted_on_this_thread};

/// Bytes of a ConsumeQueue that one read looks at, at least.
const SCAN_BYTES_MIN: usize = 16_000;

impl MessageStore {
    /// Up to `max_msg_nums` messages of a queue from `offset` on that pass `filter`, within the
    /// configured transfer limits. Never crosses a ConsumeQueue file; the first message is served
    /// however large it is.
    #[must_use]
    pub fn get_message(
        &self,
        topic: &str,
        queue_id: u32,
        offset: u64,
        max_msg_nums: usize,
        filter: &MessageFilter,
    ) -> GetMessageResult {
        let begun = Instant::now();
        let result = self.read_queue(topic, queue_id, offset, max_msg_nums, filter);
        self.stats.read(begun, &result);
        result
    }

    fn read_queue(
        &self,
        topic: &str,
        queue_id: u32,
        offset: u64,
        max_msg_nums: usize,
        filter: &MessageFilter,
    ) -> GetMessageResult {
        let queue = self.queues.find(topic, queue_id);
        let max_phy_offset = self.log.max_offset();
        let (min_offset, max_offset) = queue
            .as_ref()
            .map_or((0, 0), |queue| (queue.min_offset_in_queue(), queue.max_offset_in_queue()));
        let outside = |status, next_begin_offset| GetMessageResult {
            status,
            next_begin_offset: self.correct_offset(offset, next_begin_offset),
            min_offset,
            max_offset,
            messages: Vec::new(),
            buffer_total_bytes: 0,
            suggest_pulling_from_slave: false,
        };
        // 4.9 makes a queue for whoever asks, so every queue that can be is an empty one at least.
        if !is_directory_name(topic) {
            return outside(GetMessageStatus::NoMatchedLogicQueue, 0);
        }
        let Some(queue) = queue.filter(|_| max_offset > 0) else {
            return outside(GetMessageStatus::NoMessageInQueue, 0);
        };
        if offset < min_offset {
            let goes_to_the_end = planted_on_this_thread(Plant::TooSmallGoesToTheEnd);
            let next = if goes_to_the_end { max_offset } else { min_offset };
            return outside(GetMessageStatus::OffsetTooSmall, next);
        }
        if offset == max_offset {
            return outside(GetMessageStatus::OffsetOverflowOne, offset);
        }
        if offset > max_offset {
            return outside(GetMessageStatus::OffsetOverflowBadly, max_offset);
        }
        let Some(units) = queue.units_from(offset) else {
            return outside(GetMessageStatus::OffsetFoundNull, queue.roll_next_file(offset));
        };
        assert!(units.len().is_multiple_of(CQ_STORE_UNIT_BYTES), "units are whole");
        let mut scan = Scan::new(self, max_msg_nums, max_phy_offset);
        scan.run(&units, filter);
        let (found, scanned) = (scan.messages.len(), scan.units_scanned);
        assert!(found as u64 <= scanned, "{found} messages of {scanned} units");
        assert!(found <= max_msg_nums.max(1), "{found} messages, {max_msg_nums} wanted at most");
        assert!(
            scanned * CQ_STORE_UNIT_BYTES as u64 <= units.len() as u64,
            "a read stays in its file"
        );
        let is_found = scan.status == GetMessageStatus::Found;
        assert_eq!(is_found, found > 0, "a read that found something says so");
        assert_eq!(scan.total_bytes, scan.messages.iter().map(|it| it.len()).sum::<usize>());
        GetMessageResult {
            status: scan.status,
            next_begin_offset: offset + scan.units_scanned,
            min_offset,
            max_offset,
            buffer_total_bytes: scan.total_bytes,
            suggest_pulling_from_slave: self.is_in_disk(scan.last_phy_offset, max_phy_offset),
            messages: scan.messages,
        }
    }

    /// Oldest queue offset; 0 for a queue without messages.
    #[must_use]
    pub fn min_offset_in_queue(&self, topic: &str, queue_id: u32) -> u64 {
        self.find_queue(topic, queue_id).map_or(0, |queue| queue.min_offset_in_queue())
    }

    /// Queue offset behind the newest visible message; 0 for a queue without messages.
    #[must_use]
    pub fn max_offset_in_queue(&self, topic: &str, queue_id: u32) -> u64 {
        self.find_queue(topic, queue_id).map_or(0, |queue| queue.max_offset_in_queue())
    }

    /// Whether the message at `queue_offset` is older than what 4.9 takes for cached (the 40 %
    /// rule); `false` where there is none (RocketMQ 4.9 `checkInDiskByConsumeOffset`).
    #[must_use]
    pub fn is_in_disk_by_consume_offset(
        &self,
        topic: &str,
        queue_id: u32,
        queue_offset: u64,
    ) -> bool {
        self.find_queue(topic, queue_id)
            .and_then(|queue| queue.unit(queue_offset))
            .is_some_and(|unit| self.is_in_disk(unit.phy_offset as u64, self.log.max_offset()))
    }

    pub(super) fn find_queue(&self, topic: &str, queue_id: u32) -> Option<Arc<ConsumeQueue>> {
        self.queues.find(topic, queue_id)
    }

    /// Whether so much of the log lies behind `phy_offset` that it is taken to be cached no more.
    fn is_in_disk(&self, phy_offset: u64, max_phy_offset: u64) -> bool {
        is_in_disk(&self.live.get(), phy_offset, max_phy_offset)
    }

    /// A slave leaves a consumer's offset alone unless told to check.
    fn correct_offset(&self, asked: u64, corrected: u64) -> u64 {
        let corrects = self.role.is_master() || self.config.offset_check_in_slave;
        if corrects { corrected } else { asked }
    }
}

/// One walk over the units of a read.
struct Scan<'a> {
    store: &'a MessageStore,
    config: Arc<StoreConfig>,
    max_msg_nums: usize,
    status: GetMessageStatus,
    messages: Vec<SelectedBuffer>,
    total_bytes: usize,
    units_scanned: u64,
    /// Of the last message that was looked at, taken or not.
    last_phy_offset: u64,
    /// End of the log when the read began.
    max_phy_offset: u64,
}

impl<'a> Scan<'a> {
    fn new(store: &'a MessageStore, max_msg_nums: usize, max_phy_offset: u64) -> Self {
        Scan {
            store,
            config: store.live.get(),
            max_msg_nums,
            max_phy_offset,
            status: GetMessageStatus::NoMatchedMessage,
            messages: Vec::new(),
            total_bytes: 0,
            units_scanned: 0,
            last_phy_offset: 0,
        }
    }

    fn run(&mut self, units: &[u8], filter: &MessageFilter) {
        let scan_bytes = SCAN_BYTES_MIN.max(self.max_msg_nums.saturating_mul(CQ_STORE_UNIT_BYTES));
        // Behind bytes that the log no longer has, units of the same file are passed over.
        let mut skip_below = 0;
        for unit in units[..units.len().min(scan_bytes)].chunks_exact(CQ_STORE_UNIT_BYTES) {
            let Some(unit) = ConsumeQueueUnit::decode(unit) else { break };
            let (phy_offset, size) = (unit.phy_offset as u64, unit.size as usize);
            let is_left_out = unit == ConsumeQueueUnit::FILLER
                || self.store.log.damage.end_of(phy_offset).is_some();
            if !is_left_out {
                self.last_phy_offset = phy_offset;
            }
            if !is_left_out && phy_offset >= skip_below {
                if self.is_full(size, is_in_disk(&self.config, phy_offset, self.max_phy_offset)) {
                    self.units_scanned +=
                        u64::from(planted_on_this_thread(Plant::PassesWhatDidNotFit));
                    break;
                }
                if filter.matches(unit.tags_code) {
                    skip_below = self.take(phy_offset, size, filter);
                } else if self.messages.is_empty() {
                    self.status = GetMessageStatus::NoMatchedMessage;
                }
            }
            self.units_scanned += 1;
        }
    }

    /// Adds a message that passes; where to go on when the log no longer has it.
    fn take(&mut self, phy_offset: u64, size: usize, filter: &MessageFilter) -> u64 {
        match self.store.log.message(phy_offset, size) {
            Some(message) if !is_record(&message, phy_offset) => {
                tracing::error!(phy_offset, size, "a ConsumeQueue points at what is no record");
                if self.messages.is_empty() {
                    self.status = GetMessageStatus::MessageWasRemoving;
                }
                0
            }
            Some(message) if !filter.matches_record(&message) => {
                if self.messages.is_empty() {
                    self.status = GetMessageStatus::NoMatchedMessage;
                }
                0
            }
            Some(message) => {
                self.total_bytes += size;
                self.messages.push(message);
                self.status = GetMessageStatus::Found;
                0
            }
            None => {
                if self.messages.is_empty() {
                    self.status = GetMessageStatus::MessageWasRemoving;
                }
                if phy_offset >= self.max_phy_offset {
                    // A unit whose bits rotted: it says nothing of those behind it.
                    tracing::error!(phy_offset, size, "a ConsumeQueue points behind the log");
                    return 0;
                }
                self.store.log.roll_next_file(phy_offset)
            }
        }
    }

    /// Whether a message of `size` bytes has to wait for the next read (RocketMQ 4.9
    /// `isTheBatchFull`); never the first one.
    fn is_full(&self, size: usize, is_in_disk: bool) -> bool {
        if self.messages.is_empty() {
            return false;
        }
        let config = &self.config;
        let (bytes_max, count_max) = if is_in_disk {
            (
                config.max_transfer_bytes_on_message_in_disk,
                config.max_transfer_count_on_message_in_disk,
            )
        } else {
            (
                config.max_transfer_bytes_on_message_in_memory,
                config.max_transfer_count_on_message_in_memory,
            )
        };
        self.messages.len() >= self.max_msg_nums
            || self.messages.len() >= count_max
            || self.total_bytes + size > bytes_max
    }
}

fn is_in_disk(config: &StoreConfig, phy_offset: u64, max_phy_offset: u64) -> bool {
    let ratio = u128::from(config.access_message_in_memory_max_ratio);
    let cached = u128::from(config.total_memory_bytes) * ratio / 100;
    u128::from(max_phy_offset.saturating_sub(phy_offset)) > cached
}

/// Whether a record lies there, as far as its head says it: a unit whose bits rotted would have readers
/// take a piece of the log for a message.
fn is_record(bytes: &[u8], phy_offset: u64) -> bool {
    bytes.len() > PHY_OFFSET_POSITION
        && i32_at(bytes, TOTAL_SIZE_POSITION) == i32::try_from(bytes.len()).ok()
        && matches!(i32_at(bytes, MAGIC_POSITION), Some(MESSAGE_MAGIC_CODE | MESSAGE_MAGIC_CODE_V2))
        && i64_at(bytes, PHY_OFFSET_POSITION) == i64::try_from(phy_offset).ok()
}
