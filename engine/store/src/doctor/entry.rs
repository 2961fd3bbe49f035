//! Entries of a DLedger log, and the records of its index. Big-endian.
//!
//! ```text
//! entry         0 magic i32 | 4 size i32, these 48 bytes included | 8 index i64 | 16 term i64
//!              24 pos i64, where the entry is | 32 channel i32 | 36 chain CRC i32 | 40 body CRC i32
//!              44 body length i32 | 48 body: a message record that states pos + 48
//! index record  0 magic i32 | 4 pos i64 | 12 size i32 | 16 index i64 | 24 term i64, at index × 32
//! ```
//!
//! Java origin: `DLedgerEntryCoder` of DLedger 0.3.

use std::ops::Range;
use std::path::Path;

use super::{DoctorError, StoreDir, StoreFile};
use crate::big_endian::{i32_at, i64_at};

/// Magic of an entry and of an index record.
pub(super) const ENTRY_MAGIC: i32 = 1;
/// Magic of what ends a file.
pub(super) const BLANK_MAGIC: i32 = -1;
/// Bytes of an entry before its body.
pub(super) const HEADER_BYTES: usize = 48;
/// Bytes of an index record.
pub(super) const INDEX_RECORD_BYTES: usize = 32;
/// Bytes of every index file.
pub(super) const INDEX_FILE_BYTES: u64 = INDEX_RECORD_BYTES as u64 * 5 * 1024 * 1024;
/// Index records read at once.
pub(super) const INDEX_WINDOW_BYTES: usize = INDEX_RECORD_BYTES << 12;

/// The header of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) magic: i32,
    pub(super) size: i32,
    pub(super) index: i64,
    pub(super) term: i64,
    pub(super) pos: i64,
    pub(super) body_crc: i32,
    pub(super) body_len: i32,
}

impl EntryHead {
    /// `None` when there are fewer than 48 bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(EntryHead {
            magic: i32_at(bytes, 0)?,
            size: i32_at(bytes, 4)?,
            index: i64_at(bytes, 8)?,
            term: i64_at(bytes, 16)?,
            pos: i64_at(bytes, 24)?,
            body_crc: i32_at(bytes, 40)?,
            body_len: i32_at(bytes, 44)?,
        })
    }

    /// What is wrong with an entry at `at` of `file`, in the order in which a start asks.
    pub(super) fn trouble(&self, at: u64, file: &Range<u64>) -> Option<String> {
        let EntryHead { magic, size, pos, body_len, .. } = *self;
        if pos != at as i64 {
            return Some(format!("the entry says that it is at {pos}"));
        }
        if i64::from(size) != i64::from(body_len) + HEADER_BYTES as i64 {
            return Some(format!("the entry has {size} bytes, but a body of {body_len}"));
        }
        if size <= HEADER_BYTES as i32 || size as u64 > file.end - at {
            return Some(format!("the entry cannot have {size} bytes"));
        }
        (magic != ENTRY_MAGIC).then(|| format!("the magic {magic} is not an entry's"))
    }

    /// What is wrong with an entry behind `last`.
    pub(super) fn trouble_behind(&self, last: &EntryHead) -> Option<String> {
        if self.index != last.index + 1 {
            return Some(format!("entry {} is followed by entry {}", last.index, self.index));
        }
        (self.term < last.term)
            .then(|| format!("term {} is followed by term {}", last.term, self.term))
    }

    fn index_record(&self) -> IndexRecord {
        let EntryHead { magic, size, index, term, pos, .. } = *self;
        IndexRecord { magic, pos, size, index, term }
    }
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexRecord {
    pub(super) magic: i32,
    pub(super) pos: i64,
    pub(super) size: i32,
    pub(super) index: i64,
    pub(super) term: i64,
}

impl IndexRecord {
    /// `None` for what is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(IndexRecord {
            magic: i32_at(bytes, 0).filter(|magic| *magic == ENTRY_MAGIC)?,
            pos: i64_at(bytes, 4)?,
            size: i32_at(bytes, 12)?,
            index: i64_at(bytes, 16)?,
            term: i64_at(bytes, 24)?,
        })
    }
}

/// What the index says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexed {
    Rightly,
    Wrongly,
    Not,
}

/// The index of a DLedger log, through a window.
pub(super) struct EntryIndex {
    files: Vec<StoreFile>,
    /// Position in the index of the first byte of the window.
    from: u64,
    window: Vec<u8>,
}

impl EntryIndex {
    /// The index of the log `name`.
    pub(super) fn open(dir: &StoreDir, name: &str) -> Result<Self, DoctorError> {
        let files = dir.files(&Path::new(name).join("index"))?;
        Ok(EntryIndex { files, from: 0, window: Vec::new() })
    }

    pub(super) fn files(&self) -> &[StoreFile] {
        &self.files
    }

    /// Compares an entry with its record.
    pub(super) fn look_up(
        &mut self,
        dir: &StoreDir,
        entry: &EntryHead,
    ) -> Result<Indexed, DoctorError> {
        let at = u64::try_from(entry.index).ok();
        let Some(at) = at.and_then(|index| index.checked_mul(INDEX_RECORD_BYTES as u64)) else {
            return Ok(Indexed::Not);
        };
        let held = self.from..self.from + self.window.len() as u64;
        if !held.contains(&at) {
            self.read(dir, at)?;
        }
        let bytes = self.window.get((at - self.from) as usize..).unwrap_or_default();
        Ok(match IndexRecord::decode(bytes) {
            Some(record) if record == entry.index_record() => Indexed::Rightly,
            Some(_) => Indexed::Wrongly,
            None => Indexed::Not,
        })
    }

    fn read(&mut self, dir: &StoreDir, at: u64) -> Result<(), DoctorError> {
        (self.from, self.window) = (at, Vec::new());
        let start = |file: &StoreFile| file.offset().filter(|start| *start <= at);
        let holds = |file: &&StoreFile| start(file).is_some_and(|start| at < start + file.len);
        let Some(file) = self.files.iter().find(holds) else { return Ok(()) };
        let offset = at - start(file).unwrap_or_default();
        let read = dir.disk.read_at(&file.path, offset, INDEX_WINDOW_BYTES);
        self.window = read.map_err(DoctorError::io(&file.path))?;
        Ok(())
    }
}
