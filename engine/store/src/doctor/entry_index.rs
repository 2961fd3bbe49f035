//! The index of a DLedger log through a window, and what it says of an entry.

use std::path::Path;

use mq_protocol::dledger_entry::{EntryHead, INDEX_RECORD_BYTES, IndexRecord};

use super::{DoctorError, StoreDir, StoreFile};

/// Index records read at once.
pub(super) const INDEX_WINDOW_BYTES: usize = INDEX_RECORD_BYTES << 12;

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
        Ok(match self.record(dir, entry.index)? {
            Some(record) if record == entry.index_record() => Indexed::Rightly,
            Some(_) => Indexed::Wrongly,
            None => Indexed::Not,
        })
    }

    /// What stands where the record of that entry belongs; `None` for what is none.
    pub(super) fn record(
        &mut self,
        dir: &StoreDir,
        index: i64,
    ) -> Result<Option<IndexRecord>, DoctorError> {
        let at = u64::try_from(index).ok();
        let Some(at) = at.and_then(|index| index.checked_mul(INDEX_RECORD_BYTES as u64)) else {
            return Ok(None);
        };
        let held = self.from..self.from + self.window.len() as u64;
        if !held.contains(&at) {
            self.read(dir, at)?;
        }
        Ok(IndexRecord::decode(self.window.get((at - self.from) as usize..).unwrap_or_default()))
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
