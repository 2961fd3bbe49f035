//! [`IndexReader`]: an index file, its slots as a whole, its entries through a window.

use super::{DoctorError, StoreDir, StoreFile};
use crate::index_layout::{
    INDEX_ENTRY_BYTES, INDEX_HEADER_BYTES, INDEX_SLOT_BYTES, IndexEntry, IndexHeader, IndexLayout,
};

/// Entries read at once.
const WINDOW_ENTRIES: usize = 50_000;

/// Reads one index file.
pub(super) struct IndexReader {
    pub(super) file: StoreFile,
    pub(super) header: IndexHeader,
    layout: IndexLayout,
    /// Number of the first entry of the window.
    first: usize,
    window: Vec<u8>,
}

impl IndexReader {
    /// `None` for a file that is shorter than a header.
    pub(super) fn open(
        dir: &StoreDir,
        file: StoreFile,
        hash_slot_num: usize,
    ) -> Result<Option<Self>, DoctorError> {
        let header = dir.disk.read_at(&file.path, 0, INDEX_HEADER_BYTES);
        let header = header.map_err(DoctorError::io(&file.path))?;
        let Some(header) = IndexHeader::decode(&header) else { return Ok(None) };
        let slots = (INDEX_HEADER_BYTES + INDEX_SLOT_BYTES * hash_slot_num) as u64;
        let index_num = (file.len.saturating_sub(slots) / INDEX_ENTRY_BYTES as u64) as usize;
        let layout = IndexLayout { hash_slot_num, index_num };
        Ok(Some(IndexReader { file, header, layout, first: 0, window: Vec::new() }))
    }

    pub(super) fn layout(&self) -> &IndexLayout {
        &self.layout
    }

    /// Entries that the header claims and the file has room for.
    pub(super) fn entries(&self) -> usize {
        self.header.entries().min(self.layout.index_num.saturating_sub(1))
    }

    /// Every slot.
    pub(super) fn slots(&self, dir: &StoreDir) -> Result<Vec<i32>, DoctorError> {
        let (at, len) = (INDEX_HEADER_BYTES as u64, INDEX_SLOT_BYTES * self.layout.hash_slot_num);
        let bytes = dir.disk.read_at(&self.file.path, at, len);
        let bytes = bytes.map_err(DoctorError::io(&self.file.path))?;
        let slot = |slot: &[u8]| slot.try_into().map(i32::from_be_bytes).unwrap_or_default();
        Ok(bytes.chunks_exact(INDEX_SLOT_BYTES).map(slot).collect())
    }

    /// Holds nothing until the next entry is asked for.
    pub(super) fn forget(&mut self) {
        self.window = Vec::new();
    }

    /// The entry of that number, from 1.
    pub(super) fn entry(
        &mut self,
        dir: &StoreDir,
        number: usize,
    ) -> Result<Option<IndexEntry>, DoctorError> {
        assert!((1..=self.entries()).contains(&number), "entry {number} of {}", self.entries());
        let held = self.window.len() / INDEX_ENTRY_BYTES;
        if !(self.first..self.first + held).contains(&number) {
            let at = self.layout.entry_position(number) as u64;
            let len = INDEX_ENTRY_BYTES * WINDOW_ENTRIES.min(self.entries() + 1 - number);
            let read = dir.disk.read_at(&self.file.path, at, len);
            self.window = read.map_err(DoctorError::io(&self.file.path))?;
            self.first = number;
        }
        assert!(number >= self.first, "the window begins at or before what is asked for");
        assert!(
            self.window.len() <= WINDOW_ENTRIES * INDEX_ENTRY_BYTES,
            "and is no larger than it may be"
        );
        let at = (number - self.first) * INDEX_ENTRY_BYTES;
        Ok(self.window.get(at..).and_then(IndexEntry::decode))
    }
}
