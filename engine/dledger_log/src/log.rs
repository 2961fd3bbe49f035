//! [`DLedgerLog`]: the entries of a node, where they are, and how they are read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_dledger::{EntryMeta, LogView};
use mq_env::disk::Disk;
use mq_mapped_file::{MappedFileQueue, SelectedBuffer};
use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, EntryHead, INDEX_RECORD_BYTES, IndexRecord};
use tokio::sync::Notify;

use crate::config::LogConfig;
use crate::error::{LogError, ReadError};
use crate::small_files::{Checkpoint, StoredTerm};

/// A log on a disk. Shared by the task that appends, the one that syncs, and readers.
pub struct DLedgerLog {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: LogConfig,
    pub(crate) data: Arc<MappedFileQueue>,
    pub(crate) index: MappedFileQueue,
    pub(crate) ends: Mutex<Ends>,
    /// Held by whoever syncs, cuts, removes files or writes the checkpoint: what it says now.
    pub(crate) settling: tokio::sync::Mutex<Checkpoint>,
    pub(crate) is_poisoned: AtomicBool,
    pub(crate) appended: Notify,
}

/// Where the log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// `ledgerBeginIndex`: of the first entry; behind `end_index` when there is none.
    pub(crate) begin_index: i64,
    /// Where it is, or will be.
    pub(crate) begin_pos: u64,
    /// `ledgerEndIndex`: of the last entry.
    pub(crate) end_index: i64,
    /// Its term; −1 without one.
    pub(crate) end_term: i64,
    /// Where it ends. A blank behind it does not count.
    pub(crate) end_pos: u64,
    /// Everything up to there is synced.
    pub(crate) synced_index: i64,
    /// Counts cuts, as the consensus core does.
    pub(crate) generation: u64,
}

impl Ends {
    /// Of a log that holds nothing, and goes on with that entry there.
    pub(crate) fn empty(begin_index: i64, begin_pos: u64) -> Self {
        Ends {
            begin_index,
            begin_pos,
            end_index: begin_index - 1,
            end_term: -1,
            end_pos: begin_pos,
            synced_index: begin_index - 1,
            generation: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end_index < self.begin_index
    }
}

/// An entry, as it lies in its file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its header.
    pub head: EntryHead,
    bytes: SelectedBuffer,
}

impl Entry {
    /// The body: a message record.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[ENTRY_HEADER_BYTES..]
    }

    /// Header and body.
    #[must_use]
    pub fn bytes(&self) -> &SelectedBuffer {
        &self.bytes
    }
}

impl DLedgerLog {
    /// `ledgerBeginIndex`: of the first entry that is there.
    #[must_use]
    pub fn begin_index(&self) -> i64 {
        self.ends().begin_index
    }

    /// `ledgerEndIndex`: of the last entry; before the first one without any.
    #[must_use]
    pub fn end_index(&self) -> i64 {
        self.ends().end_index
    }

    /// Where the first entry is.
    #[must_use]
    pub fn begin_pos(&self) -> u64 {
        self.ends().begin_pos
    }

    /// Where the last entry ends.
    #[must_use]
    pub fn end_pos(&self) -> u64 {
        self.ends().end_pos
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends().is_empty()
    }

    /// Whether a failure ended its changes.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::Acquire)
    }

    /// The entry at `index`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn entry(&self, index: i64) -> Result<Entry, ReadError> {
        let record = self.record(index)?;
        let damaged = |reason: &str| ReadError::Damaged { index, reason: reason.to_owned() };
        let (pos, len) = (record.pos as u64, record.size as usize);
        let bytes = self.data.select(pos, len).ok_or(damaged("the index points elsewhere"))?;
        let head = EntryHead::decode(&bytes).filter(|head| head.index_record() == record);
        let head = head.ok_or(damaged("the index says something else than the entry"))?;
        Ok(Entry { head, bytes })
    }

    /// Where the entry at `index` ends in the data files.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn end_of(&self, index: i64) -> Result<u64, ReadError> {
        self.record(index).map(|record| record.pos as u64 + record.size as u64)
    }

    /// The `len` bytes of the data files at `pos`: a body, say, by the physical offset of a message.
    #[must_use]
    pub fn select(&self, pos: u64, len: usize) -> Option<SelectedBuffer> {
        self.data.select(pos, len).filter(|_| pos + len as u64 <= self.end_pos())
    }

    /// The data files, for who reads messages without asking for entries. What lies in them behind the committed end may be
    /// cut.
    #[must_use]
    pub fn data(&self) -> &Arc<MappedFileQueue> {
        &self.data
    }

    /// Where the last entry ends that is known to be synced.
    #[must_use]
    pub fn synced_pos(&self) -> u64 {
        let ends = *self.ends();
        if ends.synced_index < ends.begin_index {
            return ends.begin_pos;
        }
        // One that was cut meanwhile is not there any more.
        self.end_of(ends.synced_index).unwrap_or(ends.begin_pos)
    }

    /// The physical offset that the message of the next entry will have, if its record is so long.
    #[must_use]
    pub fn next_phy_offset(&self, body_len: usize) -> u64 {
        let ends = *self.ends();
        self.next_pos(&ends, ENTRY_HEADER_BYTES + body_len) + ENTRY_HEADER_BYTES as u64
    }

    /// What the consensus core knows of a log.
    ///
    /// # Errors
    /// When the index has a record that is none.
    pub fn view(&self) -> Result<LogView, ReadError> {
        let ends = *self.ends();
        LogView::looked_up(ends.begin_index, ends.end_index, |index| {
            let record = self.record(index)?;
            Ok(EntryMeta { term: record.term, size_bytes: record.size as u32 })
        })
    }

    /// Replaces `currterm` durably: when this returns, the term and the vote survive a power loss.
    ///
    /// # Errors
    /// What the disk says; which of the two states is on disk is unknown then. Where it is full this may be tried again,
    /// else the log is poisoned.
    pub async fn persist_term(&self, term: &StoredTerm) -> Result<(), LogError> {
        let stored = term.store(&*self.disk, &self.config.dir).await;
        self.poison_unless_full(stored)
    }

    /// The record of the index for an entry that is there, which says that it is its.
    pub(crate) fn record(&self, index: i64) -> Result<IndexRecord, ReadError> {
        let ends = *self.ends();
        if index < ends.begin_index {
            return Err(ReadError::Expired { index, begin_index: ends.begin_index });
        }
        if index > ends.end_index {
            return Err(ReadError::Beyond { index, end_index: ends.end_index });
        }
        let bytes = self.index.select(index_offset(index), INDEX_RECORD_BYTES);
        let record = bytes.as_deref().and_then(IndexRecord::decode);
        let is_plausible = |record: &IndexRecord| {
            record.index == index && record.pos >= 0 && record.size > ENTRY_HEADER_BYTES as i32
        };
        record
            .filter(is_plausible)
            .ok_or(ReadError::Damaged { index, reason: "the index has no record of it".to_owned() })
    }

    pub(crate) fn check_sound(&self) -> Result<(), LogError> {
        if self.is_poisoned() { Err(LogError::Poisoned) } else { Ok(()) }
    }

    /// Poisons the log upon a failure that is not that of a full disk.
    pub(crate) fn poison_unless_full(&self, done: Result<(), LogError>) -> Result<(), LogError> {
        if done.as_ref().is_err_and(|error| !error.is_disk_full()) {
            self.poison();
        }
        done
    }

    pub(crate) fn poison(&self) {
        self.is_poisoned.store(true, Ordering::Release);
        // Whoever waits for something to sync looks up.
        self.appended.notify_one();
    }

    pub(crate) fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the record of an entry is in the index.
pub(crate) fn index_offset(index: i64) -> u64 {
    assert!(index >= 0, "entry {index} has no record");
    index as u64 * INDEX_RECORD_BYTES as u64
}
