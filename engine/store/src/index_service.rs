//! [`IndexService`]: the index files of a store: which messages have a key.
//!
//! The dispatcher adds the keys of every record, in the order of the log. A full file is followed by
//! a new one, synced, and noted in the checkpoint. [`IndexService::flush`] syncs the current one as
//! well and says how far the index is durable; a restart trusts that much and adds the rest again.
//! One lock keeps the writer and the short walks of readers apart.
//!
//! Only hashes are kept: what a query finds may be another key's message.
//!
//! Java origin: `IndexService` of RocketMQ 4.9.

mod name;
mod recover;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mq_env::Env;
use mq_env::clock::Clock;
use mq_env::disk::replaced_file::create_dir;
use mq_env::disk::{Disk, MappedRegion, was_attempted};
use mq_protocol::message_codec::RecordView;
use tokio::sync::Notify;

use crate::config::StoreConfig;
use crate::index_file::IndexFile;
use crate::index_layout::{IndexHeader, IndexLayout, for_each_key_hash, key_hash};
use crate::sync::lock;

pub use name::human_time;
pub(crate) use name::local_time;
pub(crate) use recover::{IndexCut, TrustedIndex};

/// A query finds at most so many (RocketMQ 4.9 `maxMsgsNumBatch`).
const MAX_MSGS_NUM_BATCH: usize = 64;

/// The index of a store.
pub(crate) struct IndexService {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    layout: IndexLayout,
    is_enabled: bool,
    state: Mutex<IndexState>,
    /// Woken when a file is full.
    rolled: Notify,
    /// Held by whoever syncs or truncates.
    flushing: tokio::sync::Mutex<()>,
    is_suspect: AtomicBool,
}

/// The files and how far the log is indexed.
#[derive(Default)]
struct IndexState {
    /// Oldest first.
    files: Vec<IndexFile>,
    /// Every record below is indexed.
    indexed_to: u64,
    /// Keys of the record at `indexed_to` that were added before a file could not be made.
    keys_done: usize,
    /// Files and directories whose entries may be unsynced.
    unsynced: Vec<PathBuf>,
}

/// What a flush has to sync: files by number, and names.
struct Dirty {
    regions: Vec<(u64, MappedRegion)>,
    unsynced: Vec<PathBuf>,
}

/// How much of the index is durable. Default: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexMark {
    /// Name of the last synced file, as a number.
    pub file: u64,
    /// Its synced entries; the files before it are synced as a whole.
    pub entries: u64,
    /// The records below this physical offset have all their keys among these.
    pub end: u64,
}

/// What [`IndexService::flush`] found durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexFlushed {
    pub(crate) mark: IndexMark,
    /// Store time of the last record of the last full file, in ms; 0 without one.
    pub(crate) full_until_ms: u64,
    /// Store time of the last record, in ms; 0 without one.
    pub(crate) until_ms: u64,
}

/// What [`crate::MessageStore::query_offset`] finds (RocketMQ 4.9 `QueryOffsetResult`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryOffsetResult {
    /// Physical offsets, newest first.
    pub phy_offsets: Vec<u64>,
    /// Store time of the last indexed record, in ms.
    pub index_last_update_timestamp: i64,
    /// Physical offset of the last indexed record.
    pub index_last_update_phy_offset: i64,
}

impl IndexService {
    /// An empty index; recovery fills it.
    pub(crate) fn new(env: &Env, config: &StoreConfig) -> Self {
        IndexService {
            disk: Arc::clone(&env.disk),
            clock: Arc::clone(&env.clock),
            dir: config.store_path_root_dir.join("index"),
            layout: config.index_layout(),
            is_enabled: config.message_index_enable,
            state: Mutex::default(),
            rolled: Notify::new(),
            flushing: tokio::sync::Mutex::new(()),
            is_suspect: AtomicBool::new(false),
        }
    }

    /// Every record below is indexed, or nobody wants it to be.
    pub(crate) fn indexed_to(&self) -> u64 {
        if self.is_enabled { self.lock().indexed_to } else { u64::MAX }
    }

    /// Adds the keys of the record at `phy_offset`. Records come in the order of the log; one that
    /// is indexed already is passed over.
    ///
    /// # Errors
    /// When the next file cannot be created. The same record may be tried again.
    pub(crate) fn put_record(&self, record: &RecordView<'_>, phy_offset: u64) -> io::Result<()> {
        if !self.is_enabled {
            return Ok(());
        }
        let mut state = self.lock();
        if phy_offset < state.indexed_to {
            return Ok(());
        }
        let done = if phy_offset == state.indexed_to { state.keys_done } else { 0 };
        let mut seen = 0;
        let added = for_each_key_hash(record, |hash| {
            if seen >= done {
                self.make_room(&mut state)?;
                if let Some(file) = state.files.last_mut() {
                    file.make_room(&*self.disk)?;
                    file.put(hash, phy_offset as i64, record.store_timestamp());
                }
            }
            seen += 1;
            Ok(())
        });
        if seen > done
            && let Some(file) = state.files.last_mut()
        {
            file.publish();
        }
        let before = state.indexed_to;
        match &added {
            Ok(()) => (state.indexed_to, state.keys_done) = (phy_offset + record.size() as u64, 0),
            Err(_) => (state.indexed_to, state.keys_done) = (phy_offset, seen),
        }
        assert!(state.indexed_to >= before, "indexing only goes forward");
        added
    }

    /// Physical offsets of at most `max_num` (64) records that may have `key`, stored between the
    /// times in ms, newest first (RocketMQ 4.9 `queryOffset`).
    pub(crate) fn query_offset(
        &self,
        topic: &str,
        key: &str,
        max_num: usize,
        begin_ms: i64,
        end_ms: i64,
    ) -> QueryOffsetResult {
        let state = self.lock();
        let mut result = QueryOffsetResult::default();
        let Some(last) = state.files.last() else { return result };
        result.index_last_update_timestamp = last.header().end_timestamp;
        result.index_last_update_phy_offset = last.header().end_phy_offset;
        let (hash, max_num) = (key_hash(topic, key), max_num.min(MAX_MSGS_NUM_BATCH));
        for file in state.files.iter().rev() {
            assert!(result.phy_offsets.len() < max_num.max(1), "who has enough looks no further");
            if file.is_time_matched(begin_ms, end_ms) {
                let found = &mut result.phy_offsets;
                file.select_phy_offset(hash, max_num, begin_ms, end_ms, found);
            }
            if file.header().begin_timestamp < begin_ms || result.phy_offsets.len() >= max_num {
                break;
            }
        }
        assert!(result.phy_offsets.len() <= max_num, "{max_num} wanted at most");
        result
    }

    /// Resolves after a file became full; one waiter.
    pub(crate) async fn rolled(&self) {
        self.rolled.notified().await;
    }

    /// Syncs what was added before the call; with `only_full` only files that take no more. `None`
    /// after a failed sync: nothing newer is ever known to be durable in this process, unless the sync
    /// could not be attempted.
    pub(crate) async fn flush(&self, only_full: bool) -> Option<IndexFlushed> {
        let _flushing = self.flushing.lock().await;
        if self.is_suspect() {
            return None;
        }
        let (flushed, dirty) = self.take_dirty(only_full);
        let Err(error) = self.sync(&dirty).await else { return Some(flushed) };
        if was_attempted(&error) {
            tracing::error!(
                "the disk refused to sync the index {} ({error}): writes and reads go on, and what is not \
                 known to be synced is made again when the broker is started again",
                self.dir.display()
            );
            self.is_suspect.store(true, Ordering::Release);
        } else {
            tracing::warn!(%error, "the index cannot be synced now; tried again");
            self.dirty_again(dirty);
        }
        None
    }

    /// Whether a sync failed.
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Acquire)
    }

    /// Excludes syncs while the index is truncated.
    pub(crate) async fn lock_flushing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.flushing.lock().await
    }

    /// Removes the oldest files whose records all lie below `min_phy_offset`, durably; their paths. The
    /// last file stays, and from the one on that the watermark names (RocketMQ 4.9
    /// `deleteExpiredFile`).
    pub(crate) async fn delete_expired(
        &self,
        min_phy_offset: u64,
        watermark: IndexMark,
    ) -> io::Result<Vec<PathBuf>> {
        let _flushing = self.lock_flushing().await;
        let expired = {
            let mut state = self.lock();
            let is_expired = |file: &IndexFile| {
                file.number() < watermark.file
                    && u64::try_from(file.header().end_phy_offset)
                        .is_ok_and(|end| end < min_phy_offset)
            };
            let removable = &state.files[..state.files.len().saturating_sub(1)];
            let count = removable.iter().take_while(|file| is_expired(file)).count();
            assert!(count < state.files.len().max(1), "the last file stays");
            let expired: Vec<PathBuf> =
                state.files.drain(..count).map(|file| file.path().to_path_buf()).collect();
            state.unsynced.retain(|path| !expired.contains(path));
            expired
        };
        self.remove(&expired).await?;
        Ok(expired)
    }

    /// What a flush is going to make durable, and what has to be synced for it.
    fn take_dirty(&self, only_full: bool) -> (IndexFlushed, Dirty) {
        let mut state = self.lock();
        let full_until = |file: &IndexFile| file.header().end_timestamp.max(0) as u64;
        let full = state.files.iter().rfind(|file| file.is_full());
        let last = if only_full { full } else { state.files.last() };
        let end = match last {
            // The record at the end of a full file may have keys in the next one.
            Some(last) if only_full => last.header().end_phy_offset.max(0) as u64,
            Some(_) => state.indexed_to,
            None => 0,
        };
        let mark = IndexMark {
            file: last.map_or(0, IndexFile::number),
            entries: last.map_or(0, |last| last.header().entries() as u64),
            end,
        };
        let flushed = IndexFlushed {
            mark,
            full_until_ms: full.map_or(0, full_until),
            until_ms: last.map_or(0, full_until),
        };
        let dirty = state.files.iter_mut().filter(|file| !only_full || file.is_full());
        let regions = dirty.filter_map(|file| Some((file.number(), file.take_dirty()?))).collect();
        (flushed, Dirty { regions, unsynced: std::mem::take(&mut state.unsynced) })
    }

    /// Undoes [`IndexService::take_dirty`] but for files that have gone meanwhile.
    fn dirty_again(&self, dirty: Dirty) {
        let mut state = self.lock();
        for (number, _) in &dirty.regions {
            let file = state.files.iter_mut().find(|file| file.number() == *number);
            file.into_iter().for_each(IndexFile::set_dirty);
        }
        state.unsynced.extend(dirty.unsynced);
    }

    async fn sync(&self, dirty: &Dirty) -> io::Result<()> {
        for (_, region) in &dirty.regions {
            self.disk.flush(region, 0..region.len()).await?;
        }
        for path in &dirty.unsynced {
            match self.disk.sync(path).await {
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Has the last file take another entry, if need be by making a new one behind it.
    fn make_room(&self, state: &mut IndexState) -> io::Result<()> {
        let begin = match state.files.last_mut() {
            Some(last) if !last.is_full() => return Ok(()),
            Some(last) => {
                last.publish();
                IndexHeader::behind(last.header().end_phy_offset, last.header().end_timestamp)
            }
            None => IndexHeader::behind(0, 0),
        };
        let is_first = state.files.is_empty();
        if is_first {
            let parents = create_dir(&*self.disk, &self.dir)?;
            state.unsynced.extend(parents);
        }
        let newest = state.files.last().map_or(0, IndexFile::number);
        let number = name::next_number(&*self.clock, newest);
        assert!(number > newest, "files are named in their order: {number} behind {newest}");
        let opened = IndexFile::open(&*self.disk, &self.dir, number, self.layout);
        let made = opened.and_then(|mut file| file.make_room(&*self.disk).map(|()| file));
        let mut file = made.inspect_err(|_| {
            // A file without room is of no use to the next try.
            let _ = self.disk.remove(&IndexFile::path_in(&self.dir, number));
        })?;
        file.begin(begin);
        if begin.end_timestamp > 0 {
            file.publish();
        }
        state.unsynced.push(file.path().to_path_buf());
        state.unsynced.push(self.dir.clone());
        assert!(!file.is_full() && file.header().entries() == 0, "a new file is empty");
        state.files.push(file);
        if !is_first {
            self.rolled.notify_one();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, IndexState> {
        lock(&self.state)
    }
}
