//! [`MappedFileQueue`]: the sequence of mapped files that makes one log.
//!
//! Appending is the caller's business (it holds the lock and the last file); the queue rolls,
//! finds, loads, flushes and truncates. Entries of new files are made durable by the next flush,
//! before the flushed position passes them.

mod ahead;
mod cut;
mod entries;
mod load;
mod retire;

pub use ahead::AheadError;
pub use cut::Cut;
pub use entries::UnsyncedEntries;
pub use retire::Retired;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mq_env::disk::Disk;
use mq_env::plant::{Plant, planted_on_this_thread};

use crate::{FlushError, MappedFile, SelectedBuffer, TransientStorePool};
use ahead::Ahead;
pub use load::{Known, LoadPlan};

/// Fixed-size files in a row under one directory (RocketMQ 4.9 `MappedFileQueue`).
pub struct MappedFileQueue {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    dir: PathBuf,
    file_size: usize,
    files: RwLock<Vec<Arc<MappedFile>>>,
    /// Taken out at the front, oldest first, and still in the directory.
    retired: Mutex<Vec<Arc<MappedFile>>>,
    /// Made before it is wanted. Locked before `files`.
    ahead: Mutex<Ahead>,
    pool: Option<Arc<TransientStorePool>>,
    lends_buffers: AtomicBool,
    /// Nothing below waits in a write buffer.
    committed_where: AtomicU64,
    flushed_where: AtomicU64,
    unsynced: UnsyncedEntries,
    is_sparse: bool,
    flush_error_counts_as_done: bool,
}

impl MappedFileQueue {
    /// An empty queue over `dir`. Nothing is touched before the first call. The directories from
    /// `root` down to `dir` are the queue's to make durable; from `/` on, if `dir` is not below.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, root: &Path, dir: PathBuf, file_size: usize) -> Self {
        MappedFileQueue {
            disk,
            root: root.to_path_buf(),
            dir,
            file_size,
            files: RwLock::new(Vec::new()),
            retired: Mutex::default(),
            ahead: Mutex::default(),
            pool: None,
            lends_buffers: AtomicBool::new(true),
            committed_where: AtomicU64::new(0),
            flushed_where: AtomicU64::new(0),
            unsynced: UnsyncedEntries::default(),
            is_sparse: false,
            flush_error_counts_as_done: false,
        }
    }

    /// A failed sync is logged and counts as done, as in RocketMQ 4.9 `MappedFile.flush`.
    #[must_use]
    pub fn with_flush_errors_as_done(mut self, flush_error_counts_as_done: bool) -> Self {
        self.flush_error_counts_as_done = flush_error_counts_as_done;
        self
    }

    /// New files take appends in buffers of `pool`, as long as there are any.
    #[must_use]
    pub fn with_transient_store_pool(mut self, pool: Option<Arc<TransientStorePool>>) -> Self {
        self.pool = pool;
        self
    }

    /// Whether files that are begun from now on get buffers, where there is a pool.
    pub fn lend_buffers(&self, lends: bool) {
        self.lends_buffers.store(lends, Ordering::Release);
    }

    /// Whether files that are begun get buffers, where there is a pool.
    #[must_use]
    pub fn lends_buffers(&self) -> bool {
        self.lends_buffers.load(Ordering::Acquire)
    }

    /// Files take disk as they fill. Whoever appends has [room made](MappedFileQueue::make_room)
    /// before.
    #[must_use]
    pub fn with_sparse_files(mut self) -> Self {
        self.is_sparse = true;
        self
    }

    /// New files and directories are noted in `unsynced`, for other queues as well.
    #[must_use]
    pub fn with_unsynced_entries(mut self, unsynced: UnsyncedEntries) -> Self {
        self.unsynced = unsynced;
        self
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Size of each file in bytes.
    #[must_use]
    pub fn file_size(&self) -> usize {
        self.file_size
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read_files().is_empty()
    }

    /// A snapshot of the files, oldest first.
    #[must_use]
    pub fn files(&self) -> Vec<Arc<MappedFile>> {
        self.read_files().clone()
    }

    /// The oldest file.
    #[must_use]
    pub fn first(&self) -> Option<Arc<MappedFile>> {
        self.read_files().first().cloned()
    }

    /// The newest file.
    #[must_use]
    pub fn last(&self) -> Option<Arc<MappedFile>> {
        self.read_files().last().cloned()
    }

    /// Offset of the oldest byte, if there is a file.
    #[must_use]
    pub fn min_offset(&self) -> Option<u64> {
        self.read_files().first().map(|file| file.file_from_offset())
    }

    /// Offset behind the newest appended byte; 0 without files.
    #[must_use]
    pub fn max_offset(&self) -> u64 {
        let files = self.read_files();
        files.last().map_or(0, |file| file.file_from_offset() + file.wrote_position() as u64)
    }

    /// Everything below is durable.
    #[must_use]
    pub fn flushed_where(&self) -> u64 {
        self.flushed_where.load(Ordering::Acquire)
    }

    /// Sets what counts as durable, as recovery finds it.
    pub fn set_flushed_where(&self, offset: u64) {
        self.flushed_where.store(offset, Ordering::Release);
    }

    /// The file to append to: the last one, or a new one behind it when it is full, or the one that
    /// contains `start_offset` when there is none yet (RocketMQ 4.9 `getLastMappedFile`).
    ///
    /// # Errors
    /// What creating the file says; no file is added then.
    pub fn last_or_create(&self, start_offset: u64) -> io::Result<Arc<MappedFile>> {
        let last = self.last();
        let from = match last {
            Some(last) if !last.is_full() => return Ok(last),
            Some(last) => last.file_end_offset(),
            None => start_offset - start_offset % self.file_size as u64,
        };
        let is_first = self.is_empty();
        if is_first {
            self.disk.create_dir_all(&self.dir)?;
            self.distrust_dirs();
        }
        let mut ahead = self.ahead();
        let file = self.take_or_map(&mut ahead, from)?;
        let pool = self.pool.as_ref().filter(|_| self.lends_buffers());
        let write_buffer = pool.and_then(TransientStorePool::borrow_buffer);
        let file = Arc::new(file.with_write_buffer(write_buffer));
        if is_first {
            self.set_flushed_where(from);
        }
        assert_eq!(
            self.position(file.file_from_offset()),
            0,
            "files begin at multiples of their size"
        );
        let mut files = self.write_files();
        let follows = files.last().is_none_or(|last| last.file_end_offset() == from);
        assert!(follows && file.file_from_offset() == from, "files lie behind one another");
        files.push(Arc::clone(&file));
        drop(files);
        Ok(file)
    }

    /// Sees to it that the next `len` bytes of `file`, one of the queue's, have blocks. Mostly that is
    /// a comparison.
    ///
    /// # Errors
    /// What reserving them says; nothing is appended then.
    pub fn make_room(&self, file: &MappedFile, len: usize) -> io::Result<()> {
        if file.has_room(len) { Ok(()) } else { file.reserve(&*self.disk, len) }
    }

    /// The file that contains `offset`.
    #[must_use]
    pub fn find(&self, offset: u64) -> Option<Arc<MappedFile>> {
        let files = self.read_files();
        let first = files.first()?.file_from_offset();
        let index = offset.checked_sub(first)? / self.file_size as u64;
        files.get(usize::try_from(index).ok()?).cloned()
    }

    /// The `len` readable bytes at `offset`, if they lie in one file.
    #[must_use]
    pub fn select(&self, offset: u64, len: usize) -> Option<SelectedBuffer> {
        let file = self.find(offset)?;
        file.select(self.position(offset), len)
    }

    /// Everything readable from `offset` on in the file that contains it.
    #[must_use]
    pub fn select_from(&self, offset: u64) -> Option<SelectedBuffer> {
        let file = self.find(offset)?;
        file.select_from(self.position(offset))
    }

    /// Position of `offset` in its file.
    #[must_use]
    pub fn position(&self, offset: u64) -> usize {
        // A remainder of a usize fits a usize.
        (offset % self.file_size as u64) as usize
    }

    /// Commits what waits in write buffers, file by file; with `least_pages` above 0 a file is left alone
    /// until it is full or so many pages wait. Returns the end of what is readable. One caller at a
    /// time.
    pub fn commit(&self, least_pages: usize) -> u64 {
        let mut end = self.committed_where.load(Ordering::Acquire);
        for file in self.files_from(end) {
            file.commit(least_pages);
            let committed = file.file_from_offset() + file.read_position() as u64;
            assert!(committed >= end, "what is committed stays so: {end} to {committed}");
            end = committed;
            if end < file.file_end_offset() {
                break;
            }
        }
        self.committed_where.store(end, Ordering::Release);
        end
    }

    /// Whether [`MappedFileQueue::commit`] would copy anything.
    #[must_use]
    pub fn is_able_to_commit(&self, least_pages: usize) -> bool {
        let files = self.files_from(self.committed_where.load(Ordering::Acquire));
        files.iter().any(|file| file.has_write_buffer() && file.is_able_to_commit(least_pages))
    }

    /// Whether [`MappedFileQueue::flush`] would sync anything.
    #[must_use]
    pub fn is_able_to_flush(&self, least_pages: usize) -> bool {
        self.files_from(self.flushed_where())
            .first()
            .is_some_and(|file| file.is_able_to_flush(least_pages))
    }

    /// Syncs what was readable before the call, file by file, and the directory entries of new
    /// files; the range that became durable. With `least_pages` above 0 a file is left alone until
    /// it is full or so many of its pages are dirty. One caller at a time.
    ///
    /// # Errors
    /// The failed range and what the sync said. If that [is final](FlushError::is_final), nothing of the
    /// range may ever count as durable in this process, whatever a later sync says; else it is tried again.
    pub async fn flush(&self, least_pages: usize) -> Result<Range<u64>, FlushError> {
        let start = self.flushed_where();
        let mut end = start;
        for file in self.files_from(start) {
            if !file.is_able_to_flush(least_pages) {
                break;
            }
            let to = file.file_from_offset() + file.read_position() as u64;
            let is_passed_over =
                file.is_full() && planted_on_this_thread(Plant::RolledFileNotSynced);
            let synced = match is_passed_over {
                true => Ok(file.pretend_flushed()),
                false => self.flush_file(&file).await,
            };
            let flushed = match synced {
                Err(source) if !self.flush_error_counts_as_done => {
                    return Err(FlushError { from: end, to, source });
                }
                Err(source) => {
                    tracing::error!(path = %file.path().display(), %source, "flush failed");
                    file.pretend_flushed()
                }
                Ok(flushed) => flushed,
            };
            end = file.file_from_offset() + flushed as u64;
            assert!(end <= file.file_end_offset(), "a file is synced to its end at most: {end}");
            let before = self.flushed_where.swap(end, Ordering::AcqRel);
            assert!(end >= before, "what is synced stays so: {before} to {end}");
        }
        assert!(start <= end, "syncs only go forward");
        Ok(start..end)
    }

    /// Makes the bytes of `range` dirty again and syncs them, with the lengths and directory
    /// entries of their files: whoever wrote them may have died before, or heard of a
    /// failed sync. `synced` is told of each end up to which this is done. Nobody may write to the range
    /// meanwhile.
    ///
    /// # Errors
    /// What the sync said.
    pub async fn rewrite(
        &self,
        range: Range<u64>,
        mut synced: impl FnMut(u64),
    ) -> Result<(), FlushError> {
        let failed = |source| FlushError { from: range.start, to: range.end, source };
        self.unsynced.sync(&*self.disk).await.map_err(failed)?;
        for file in self.files_from(range.start) {
            let from = file.file_from_offset();
            let start = range.start.max(from);
            let is_behind = start >= range.end && start > range.start;
            if is_behind {
                break;
            }
            let end = range.end.min(from + file.read_position() as u64).max(start);
            assert!(
                from <= start && start <= end && end <= file.file_end_offset(),
                "{start}..{end}"
            );
            file.touch((start - from) as usize..(end - from) as usize);
            let written = self.disk.sync(file.path()).await;
            written.map_err(|source| FlushError { from: start, to: end, source })?;
            synced(end);
        }
        Ok(())
    }

    /// Entries first: a file whose bytes are flushed is looked at again only with new bytes.
    async fn flush_file(&self, file: &MappedFile) -> io::Result<usize> {
        self.unsynced.sync(&*self.disk).await?;
        file.flush(&*self.disk).await
    }

    /// Has the next flush sync the directories that lead to the files.
    fn distrust_dirs(&self) {
        let is_below = self.dir.starts_with(&self.root);
        let dirs = self.dir.ancestors().filter(|dir| !dir.as_os_str().is_empty());
        let dirs = dirs.take_while(|dir| !is_below || dir.starts_with(&self.root));
        self.unsynced.add_dirs(dirs);
    }

    /// The files from the one that contains `offset` on.
    fn files_from(&self, offset: u64) -> Vec<Arc<MappedFile>> {
        let files = self.read_files();
        let start = files.partition_point(|file| file.file_end_offset() <= offset);
        files[start..].to_vec()
    }

    /// Opens or creates the file that begins at `from`.
    fn open_file(&self, from: u64) -> io::Result<MappedFile> {
        let open = if self.is_sparse { MappedFile::open_sparse } else { MappedFile::open };
        open(&*self.disk, self.file_path(from), from, self.file_size)
    }

    fn file_path(&self, file_from_offset: u64) -> PathBuf {
        self.dir.join(file_name(file_from_offset))
    }

    fn read_files(&self) -> RwLockReadGuard<'_, Vec<Arc<MappedFile>>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_files(&self) -> RwLockWriteGuard<'_, Vec<Arc<MappedFile>>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the file that begins at an offset.
#[must_use]
pub fn file_name(file_from_offset: u64) -> String {
    format!("{file_from_offset:020}")
}
