//! The bytes of an index file: [`IndexHeader`], [`IndexEntry`], [`IndexLayout`]. Big-endian.
//!
//! ```text
//!  0 begin timestamp i64 | 8 end timestamp i64      store times of the first and last record, ms
//! 16 begin phyoffset i64 | 24 end phyoffset i64
//! 32 used slots i32      | 36 index count i32       entries plus one; 0 counts as 1
//! 40 slots, 4 bytes each: number of the newest entry whose hash falls into the slot, or 0
//!    entries, 20 bytes each, from number 0, which is not used:
//!    0 key hash i32 | 4 phyoffset i64 | 12 seconds since begin i32 | 16 older entry of the slot i32
//! ```
//!
//! Java origin: `IndexHeader` and `IndexFile` of RocketMQ 4.9.

use mq_protocol::message::{
    MessageConst, PropertiesView, continued_java_hash_code, java_hash_code,
};
use mq_protocol::message_codec::RecordView;
use mq_protocol::sys_flag::MessageSysFlag;

use crate::big_endian::{i32_at, i64_at};

/// Size of the header in bytes.
pub const INDEX_HEADER_BYTES: usize = 40;
/// Size of a slot in bytes.
pub const INDEX_SLOT_BYTES: usize = 4;
/// Size of an entry in bytes.
pub const INDEX_ENTRY_BYTES: usize = 20;

/// The header of an index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexHeader {
    /// Store time of the first record, in ms; in an empty file that of the last one before it.
    pub begin_timestamp: i64,
    /// Store time of the last record, in ms.
    pub end_timestamp: i64,
    /// Physical offset of the first record; in an empty file that of the last one before it.
    pub begin_phy_offset: i64,
    /// Physical offset of the last record.
    pub end_phy_offset: i64,
    /// Slots that hold something.
    pub hash_slot_count: i32,
    /// Number of the next entry, at least 1.
    pub index_count: i32,
}

impl IndexHeader {
    /// The header of a file that begins behind a record (RocketMQ 4.9 hands both on to a new file).
    #[must_use]
    pub fn behind(end_phy_offset: i64, end_timestamp: i64) -> Self {
        IndexHeader {
            begin_timestamp: end_timestamp,
            end_timestamp,
            begin_phy_offset: end_phy_offset,
            end_phy_offset,
            hash_slot_count: 0,
            index_count: 1,
        }
    }

    /// The header at the front of `bytes`; `None` when there are fewer than 40.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let i64_at = |at| i64_at(bytes, at);
        Some(IndexHeader {
            begin_timestamp: i64_at(0)?,
            end_timestamp: i64_at(8)?,
            begin_phy_offset: i64_at(16)?,
            end_phy_offset: i64_at(24)?,
            hash_slot_count: i32_at(bytes, 32)?,
            index_count: i32_at(bytes, 36)?.max(1),
        })
    }

    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; INDEX_HEADER_BYTES] {
        let mut bytes = [0; INDEX_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.begin_timestamp.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.end_timestamp.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.begin_phy_offset.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.end_phy_offset.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.hash_slot_count.to_be_bytes());
        // Java writes the count with the first entry.
        let index_count = if self.index_count <= 1 { 0 } else { self.index_count };
        bytes[36..40].copy_from_slice(&index_count.to_be_bytes());
        bytes
    }

    /// Number of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.index_count.max(1) as usize - 1
    }

    /// Seconds from the file's begin to `store_timestamp`, as entries keep them.
    #[must_use]
    pub fn time_diff(&self, store_timestamp: i64) -> i32 {
        if self.begin_timestamp <= 0 {
            return 0;
        }
        let seconds = store_timestamp.saturating_sub(self.begin_timestamp) / 1000;
        seconds.clamp(0, i64::from(i32::MAX)) as i32
    }
}

/// An entry: one key of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// See [`key_hash`].
    pub key_hash: i32,
    /// Physical offset of the record.
    pub phy_offset: i64,
    /// Seconds between the file's begin and the record's store time.
    pub time_diff: i32,
    /// The entry that the slot held before, or 0.
    pub prev: i32,
}

impl IndexEntry {
    /// The entry at the front of `bytes`; `None` when there are fewer than 20.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(IndexEntry {
            key_hash: i32_at(bytes, 0)?,
            phy_offset: i64_at(bytes, 4)?,
            time_diff: i32_at(bytes, 12)?,
            prev: i32_at(bytes, 16)?,
        })
    }

    /// The entry as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; INDEX_ENTRY_BYTES] {
        let mut bytes = [0; INDEX_ENTRY_BYTES];
        bytes[0..4].copy_from_slice(&self.key_hash.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.phy_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.time_diff.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.prev.to_be_bytes());
        bytes
    }
}

/// Where things are in the files of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLayout {
    /// `maxHashSlotNum`.
    pub hash_slot_num: usize,
    /// `maxIndexNum`; a file takes one entry fewer.
    pub index_num: usize,
}

impl IndexLayout {
    /// RocketMQ's default.
    pub const DEFAULT: IndexLayout =
        IndexLayout { hash_slot_num: 5_000_000, index_num: 5_000_000 * 4 };

    /// Size of a file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> usize {
        self.entry_position(self.index_num)
    }

    /// Position of a slot in its file.
    #[must_use]
    pub fn slot_position(&self, slot: usize) -> usize {
        INDEX_HEADER_BYTES + INDEX_SLOT_BYTES * slot
    }

    /// Position of an entry in its file.
    #[must_use]
    pub fn entry_position(&self, number: usize) -> usize {
        self.slot_position(self.hash_slot_num) + INDEX_ENTRY_BYTES * number
    }

    /// The slot of a key hash.
    #[must_use]
    pub fn slot_of(&self, key_hash: i32) -> usize {
        // Hashes are not negative; those of a damaged file may be.
        key_hash.unsigned_abs() as usize % self.hash_slot_num
    }

    /// Whether a file with that header takes no further entry.
    #[must_use]
    pub fn is_full(&self, header: &IndexHeader) -> bool {
        header.index_count as usize >= self.index_num
    }
}

/// The hash of a key of a topic (RocketMQ 4.9 `indexKeyHashMethod` of `topic#key`).
#[must_use]
pub fn key_hash(topic: &str, key: &str) -> i32 {
    let hash = topic_hash(topic);
    continued_hash(hash, key)
}

/// Shows the hash of every key under which a record is indexed, in order: its `UNIQ_KEY`, then its
/// `KEYS`. Rolled-back records have none.
pub fn for_each_key_hash<E>(
    record: &RecordView<'_>,
    mut visit: impl FnMut(i32) -> Result<(), E>,
) -> Result<(), E> {
    let transaction = MessageSysFlag::transaction_type(record.sys_flag());
    if transaction == MessageSysFlag::TRANSACTION_ROLLBACK {
        return Ok(());
    }
    let properties = record.properties();
    let properties = PropertiesView::new(&properties);
    let topic = record.topic();
    let hash = topic_hash(&topic);
    if let Some(key) = properties.get(MessageConst::UNIQ_KEY) {
        visit(continued_hash(hash, key))?;
    }
    let keys = properties.get(MessageConst::KEYS).unwrap_or_default();
    for key in keys.split(MessageConst::KEY_SEPARATOR).filter(|key| !key.is_empty()) {
        visit(continued_hash(hash, key))?;
    }
    Ok(())
}

/// Java's hash of `topic#`.
fn topic_hash(topic: &str) -> i32 {
    continued_java_hash_code(java_hash_code(topic), "#")
}

/// The positive hash of a text whose front hashes to `hash`.
fn continued_hash(hash: i32, rest: &str) -> i32 {
    continued_java_hash_code(hash, rest).checked_abs().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_hashes_as_in_java() {
        assert_eq!(key_hash("T", "k"), java_hash_code("T#k").abs());
        // "#" and a text that brings the hash to the one number without an absolute value.
        assert_eq!(continued_hash(0, "polygenelubricants"), 0);
        assert_eq!(key_hash("标签", "ü🚀"), java_hash_code("标签#ü🚀").wrapping_abs());
    }

    #[test]
    fn headers_and_entries_come_back() {
        let header = IndexHeader {
            begin_timestamp: 1,
            end_timestamp: 2,
            begin_phy_offset: 3,
            end_phy_offset: 4,
            hash_slot_count: 5,
            index_count: 6,
        };
        assert_eq!(IndexHeader::decode(&header.encode()), Some(header));
        assert_eq!(IndexHeader::decode(&[0; 40]).map(|header| header.index_count), Some(1));
        let entry = IndexEntry { key_hash: 1, phy_offset: 2, time_diff: 3, prev: 4 };
        assert_eq!(IndexEntry::decode(&entry.encode()), Some(entry));
        assert_eq!(IndexEntry::decode(&entry.encode()[1..]), None);
    }

    #[test]
    fn the_default_file_has_420_megabytes() {
        assert_eq!(IndexLayout::DEFAULT.file_bytes(), 420_000_040);
    }

    #[test]
    fn seconds_are_counted_from_a_known_begin_only() {
        let header = IndexHeader::behind(0, 5_000);
        assert_eq!((header.time_diff(6_999), header.time_diff(7_000)), (1, 2));
        assert_eq!(header.time_diff(4_000), 0);
        assert_eq!(IndexHeader::behind(0, 0).time_diff(9_000), 0);
        assert_eq!(IndexHeader::behind(0, 1).time_diff(i64::MAX), i32::MAX);
    }
}
