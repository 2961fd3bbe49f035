//! Entries of a DLedger log, and the records of its index. Big-endian.
//!
//! ```text
//! entry         0 magic i32 | 4 size i32, these 48 bytes included | 8 index i64 | 16 term i64
//!              24 pos i64, where the entry is | 32 channel i32 | 36 chain CRC i32 | 40 body CRC i32
//!              44 body length i32 | 48 body: a message record that states pos + 48
//! index record  0 magic i32 | 4 pos i64 | 12 size i32 | 16 index i64 | 24 term i64, at index × 32
//! blank         0 magic i32 | 4 bytes left in the file i32: the next entry is in the next file
//! ```
//!
//! Java origin: `DLedgerEntryCoder` and `MmapFileList` of DLedger 0.3.

use std::ops::Range;

use crate::message_codec::{RecordCheck, RecordRules, check_record, i32_at};

/// Magic of an entry and of an index record.
pub const ENTRY_MAGIC: i32 = 1;
/// Magic of what ends a file.
pub const ENTRY_BLANK_MAGIC: i32 = -1;
/// Bytes of an entry before its body.
pub const ENTRY_HEADER_BYTES: usize = 48;
/// Bytes of the blank that ends a file: an entry leaves room for it.
pub const ENTRY_BLANK_BYTES: usize = 8;
/// Bytes of an index record.
pub const INDEX_RECORD_BYTES: usize = 32;
/// Bytes of every index file of RocketMQ's.
pub const INDEX_FILE_BYTES: usize = INDEX_RECORD_BYTES * 5 * 1024 * 1024;

/// The header of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// [`ENTRY_MAGIC`].
    pub magic: i32,
    /// Length of header and body.
    pub size: i32,
    /// Where in the log it stands, from 0.
    pub index: i64,
    /// The term of the leader that made it.
    pub term: i64,
    /// Offset of the entry's first byte in the data files.
    pub pos: i64,
    /// Always 0.
    pub channel: i32,
    /// Always 0.
    pub chain_crc: i32,
    /// Always 0.
    pub body_crc: i32,
    /// Length of the body.
    pub body_len: i32,
}

impl EntryHead {
    /// The header of an entry as DLedger makes it.
    #[must_use]
    pub fn new(index: i64, term: i64, pos: i64, body_len: i32) -> Self {
        EntryHead {
            magic: ENTRY_MAGIC,
            size: body_len + ENTRY_HEADER_BYTES as i32,
            index,
            term,
            pos,
            channel: 0,
            chain_crc: 0,
            body_crc: 0,
            body_len,
        }
    }

    /// `None` when there are fewer than 48 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(EntryHead {
            magic: i32_at(bytes, 0)?,
            size: i32_at(bytes, 4)?,
            index: i64_at(bytes, 8)?,
            term: i64_at(bytes, 16)?,
            pos: i64_at(bytes, 24)?,
            channel: i32_at(bytes, 32)?,
            chain_crc: i32_at(bytes, 36)?,
            body_crc: i32_at(bytes, 40)?,
            body_len: i32_at(bytes, 44)?,
        })
    }

    /// The 48 bytes before the body.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_HEADER_BYTES] {
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.magic.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.index.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.term.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.pos.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.channel.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.chain_crc.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.body_crc.to_be_bytes());
        bytes[44..48].copy_from_slice(&self.body_len.to_be_bytes());
        bytes
    }

    /// What is wrong with an entry at `at` of `file`, in the order in which a start asks.
    #[must_use]
    pub fn trouble(&self, at: u64, file: &Range<u64>) -> Option<String> {
        let EntryHead { magic, size, pos, body_len, .. } = *self;
        if pos != at as i64 {
            return Some(format!("the entry says that it is at {pos}"));
        }
        if i64::from(size) != i64::from(body_len) + ENTRY_HEADER_BYTES as i64 {
            return Some(format!("the entry has {size} bytes, but a body of {body_len}"));
        }
        if size <= ENTRY_HEADER_BYTES as i32 || size as u64 > file.end - at {
            return Some(format!("the entry cannot have {size} bytes"));
        }
        (magic != ENTRY_MAGIC).then(|| format!("the magic {magic} is not an entry's"))
    }

    /// What is wrong with an entry behind `last`.
    #[must_use]
    pub fn trouble_behind(&self, last: &EntryHead) -> Option<String> {
        if self.index != last.index + 1 {
            return Some(format!("entry {} is followed by entry {}", last.index, self.index));
        }
        (self.term < last.term)
            .then(|| format!("term {} is followed by term {}", last.term, self.term))
    }

    /// The entry's record in the index.
    #[must_use]
    pub fn index_record(&self) -> IndexRecord {
        let EntryHead { magic, size, index, term, pos, .. } = *self;
        IndexRecord { magic, pos, size, index, term }
    }
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRecord {
    /// [`ENTRY_MAGIC`].
    pub magic: i32,
    /// Offset of the entry in the data files.
    pub pos: i64,
    /// Length of header and body.
    pub size: i32,
    /// Of the entry.
    pub index: i64,
    /// Of the entry.
    pub term: i64,
}

impl IndexRecord {
    /// `None` for what is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(IndexRecord {
            magic: i32_at(bytes, 0).filter(|magic| *magic == ENTRY_MAGIC)?,
            pos: i64_at(bytes, 4)?,
            size: i32_at(bytes, 12)?,
            index: i64_at(bytes, 16)?,
            term: i64_at(bytes, 24)?,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; INDEX_RECORD_BYTES] {
        let mut bytes = [0; INDEX_RECORD_BYTES];
        bytes[0..4].copy_from_slice(&self.magic.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.pos.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.size.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.index.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.term.to_be_bytes());
        bytes
    }
}

/// What is wrong with the body of an entry, which states `phy_offset` if that is known. The entry itself has no checksum, and
/// a torn one shows by its message alone. Whoever appends asks before, because a start takes an entry with such a body for the
/// torn end of the log.
///
/// The record's CRC covers its body alone. What comes behind shows by its zeros where a page of it never reached the disk: no
/// topic and no properties that a broker takes have any.
#[must_use]
pub fn body_trouble(body: &[u8], phy_offset: Option<i64>) -> Option<String> {
    let rules = RecordRules { phy_offset, ..RecordRules::strict(0) };
    match check_record(body, &rules) {
        RecordCheck::Valid(record) if record.topic_bytes().contains(&0) => {
            Some("the topic holds a NUL byte".to_owned())
        }
        RecordCheck::Valid(record) if record.size() == body.len() => None,
        RecordCheck::Valid(record) => {
            Some(format!("a body of {} bytes holds a message of {}", body.len(), record.size()))
        }
        RecordCheck::Blank { .. } => Some("the body is a blank".to_owned()),
        RecordCheck::Zeros => Some("the body is zeros".to_owned()),
        RecordCheck::Torn(reason) => Some(reason.to_string()),
    }
}

/// The blank that ends a file of which `bytes_left` are left.
///
/// # Panics
/// When they do not fit an `i32`.
#[must_use]
pub fn entry_blank(bytes_left: usize) -> [u8; ENTRY_BLANK_BYTES] {
    let bytes_left = i32::try_from(bytes_left).expect("a file is smaller than 2 GiB");
    let mut bytes = [0; ENTRY_BLANK_BYTES];
    bytes[0..4].copy_from_slice(&ENTRY_BLANK_MAGIC.to_be_bytes());
    bytes[4..8].copy_from_slice(&bytes_left.to_be_bytes());
    bytes
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_codec::RecordFields;

    const HEAD: EntryHead = EntryHead {
        channel: 8,
        chain_crc: 9,
        body_crc: 10,
        ..EntryHead::sample(3, 2, 0x0102_0304_0506_0708, 7)
    };

    impl EntryHead {
        const fn sample(index: i64, term: i64, pos: i64, body_len: i32) -> Self {
            let (magic, size) = (ENTRY_MAGIC, body_len + 48);
            let (channel, chain_crc, body_crc) = (0, 0, 0);
            EntryHead { magic, size, index, term, pos, channel, chain_crc, body_crc, body_len }
        }
    }

    #[test]
    fn headers_and_records_have_their_fields_in_their_places() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let header = "00000001000000370000000000000003000000000000000201020304050607080000000800000009\
                      0000000a00000007";
        assert_eq!(hex(&HEAD.encode()), header);
        assert_eq!(EntryHead::decode(&HEAD.encode()), Some(HEAD));
        let record = "00000001010203040506070800000037\
                      00000000000000030000000000000002";
        assert_eq!(hex(&HEAD.index_record().encode()), record);
        assert_eq!(IndexRecord::decode(&HEAD.index_record().encode()), Some(HEAD.index_record()));
        assert_eq!(hex(&entry_blank(3_334)), "ffffffff00000d06");
        assert_eq!(EntryHead::decode(&HEAD.encode()[..47]), None);
        assert_eq!(IndexRecord::decode(&[0; 32]), None);
    }

    #[test]
    fn what_contradicts_itself_or_its_place_is_named() {
        let file = 0..200;
        let at = |change: fn(&mut EntryHead)| {
            let mut head = EntryHead::new(5, 1, 100, 40);
            change(&mut head);
            head.trouble(100, &file)
        };
        assert_eq!(at(|_| ()), None);
        let said = [
            (at(|it| it.pos = 99), "the entry says that it is at 99"),
            (at(|it| it.size = 80), "the entry has 80 bytes, but a body of 40"),
            (at(|it| (it.size, it.body_len) = (48, 0)), "the entry cannot have 48 bytes"),
            (at(|it| (it.size, it.body_len) = (101, 53)), "the entry cannot have 101 bytes"),
            (at(|it| it.magic = 2), "the magic 2 is not an entry's"),
        ];
        for (trouble, expected) in said {
            assert_eq!(trouble.as_deref(), Some(expected));
        }
        let (last, next) = (EntryHead::new(5, 2, 0, 1), EntryHead::new(6, 2, 49, 1));
        assert_eq!(next.trouble_behind(&last), None);
        let said = last.trouble_behind(&last);
        assert_eq!(said.as_deref(), Some("entry 5 is followed by entry 5"));
        let said = EntryHead { term: 1, ..next }.trouble_behind(&last);
        assert_eq!(said.as_deref(), Some("term 2 is followed by term 1"));
    }

    #[test]
    fn a_message_of_which_a_page_is_missing_is_none() {
        for properties in ["KEYS\u{1}k\u{2}TAGS\u{1}t\u{2}", ""] {
            let plain = RecordFields::plain("Topic", b"body", ([10, 0, 0, 1], 10911).into(), 1);
            let mut record = Vec::new();
            RecordFields { properties, ..plain }.encode(&mut record).unwrap();
            assert_eq!(body_trouble(&record, Some(0)), None);
            // Without properties the last two bytes are zeros anyway.
            let last = if properties.is_empty() { record.len() - 2 } else { record.len() };
            for from in 0..last {
                let mut torn = record.clone();
                torn[from..].fill(0);
                let is_same = torn == record;
                assert_eq!(body_trouble(&torn, Some(0)).is_none(), is_same, "zeros from {from} on");
            }
        }
    }
}
