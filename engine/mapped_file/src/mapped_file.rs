//! [`MappedFile`]: one mapped segment with its positions, and [`SelectedBuffer`], a view of it.
//!
//! `wrote_position >= read_position >= flushed_position`. One appender at a time (the caller's lock); any
//! number of readers, who stay below `read_position`. It is published with release ordering after the
//! bytes: by the append itself, or, where the file has a write buffer, by the commit.

use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mq_env::disk::{Disk, MappedRegion, PAGE_SIZE};
use mq_env::plant::{Plant, planted_on_this_thread};

use crate::transient_store_pool::WriteBuffer;
use crate::{Erased, erase_behind};

/// [`MappedFile::erase`] takes a run of this many zero bytes for the untouched rest of the file.
const ERASE_STOPS_AFTER_BYTES: usize = 64 << 20;

/// A sparse file has blocks reserved for at least so many bytes behind its end at once,
const RESERVED_BYTES_MIN: usize = 64 << 10;
/// and for at most so many.
const RESERVED_BYTES_MAX: usize = 1 << 20;

/// One fixed-size segment of a [`crate::MappedFileQueue`] (RocketMQ 4.9 `MappedFile`).
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    file_from_offset: u64,
    region: MappedRegion,
    write_buffer: Option<WriteBuffer>,
    flushed_position: AtomicUsize,
    /// Appends up to here find blocks.
    reserved_position: AtomicUsize,
    appended: Appended,
}

/// What every append writes. It has cache lines of its own: readers count themselves on the same
/// allocation, at every look into the file.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Appended {
    wrote_position: AtomicUsize,
    committed_position: AtomicUsize,
    store_timestamp_ms: AtomicU64,
}

impl MappedFile {
    /// Opens or creates the file `path` of `len` bytes, whose first byte has offset
    /// `file_from_offset` in its queue. All positions are 0.
    ///
    /// # Errors
    /// What [`Disk::map`] says.
    pub fn open(
        disk: &dyn Disk,
        path: PathBuf,
        file_from_offset: u64,
        len: usize,
    ) -> io::Result<Self> {
        let region = disk.map(&path, len)?;
        Ok(MappedFile::over(region, path, file_from_offset, len))
    }

    /// As [`MappedFile::open`], but the file takes disk as it fills: before an append somebody sees
    /// to it that it [has room](MappedFile::has_room).
    ///
    /// # Errors
    /// What [`Disk::map_sparse`] says.
    pub fn open_sparse(
        disk: &dyn Disk,
        path: PathBuf,
        file_from_offset: u64,
        len: usize,
    ) -> io::Result<Self> {
        let region = disk.map_sparse(&path, len)?;
        Ok(MappedFile::over(region, path, file_from_offset, 0))
    }

    /// The file `path` with `region` for its bytes, of which `reserved_position` have their blocks.
    pub(crate) fn over(
        region: MappedRegion,
        path: PathBuf,
        file_from_offset: u64,
        reserved_position: usize,
    ) -> Self {
        MappedFile {
            path,
            file_from_offset,
            region,
            write_buffer: None,
            flushed_position: AtomicUsize::new(0),
            reserved_position: AtomicUsize::new(reserved_position),
            appended: Appended::default(),
        }
    }

    /// The same file, which nothing was appended to yet, with a buffer that takes its appends.
    #[must_use]
    pub fn with_write_buffer(mut self, write_buffer: Option<WriteBuffer>) -> Self {
        self.write_buffer = write_buffer;
        self
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Offset of the file's first byte in its queue.
    #[must_use]
    pub fn file_from_offset(&self) -> u64 {
        self.file_from_offset
    }

    /// Offset of the first byte behind the file.
    #[must_use]
    pub fn file_end_offset(&self) -> u64 {
        self.file_from_offset + self.region.len() as u64
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn file_size(&self) -> usize {
        self.region.len()
    }

    /// End of what was appended, in bytes from the file's start.
    #[must_use]
    pub fn wrote_position(&self) -> usize {
        self.appended.wrote_position.load(Ordering::Acquire)
    }

    /// End of what can be read, in bytes from the file's start: what was appended, or of that what was
    /// committed (RocketMQ 4.9 `getReadPosition`).
    #[must_use]
    pub fn read_position(&self) -> usize {
        self.appended.committed_position.load(Ordering::Acquire)
    }

    /// Whether appends go to a buffer.
    #[must_use]
    pub fn has_write_buffer(&self) -> bool {
        self.lent_buffer().is_some()
    }

    /// End of what is known to be durable, in bytes from the file's start.
    #[must_use]
    pub fn flushed_position(&self) -> usize {
        self.flushed_position.load(Ordering::Acquire)
    }

    /// Whether nothing more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.wrote_position() == self.file_size()
    }

    /// Store time of the last record appended with one, in milliseconds; 0 when there was none.
    #[must_use]
    pub fn store_timestamp_ms(&self) -> u64 {
        self.appended.store_timestamp_ms.load(Ordering::Relaxed)
    }

    /// Remembers the store time of the record appended last.
    pub fn set_store_timestamp_ms(&self, store_timestamp_ms: u64) {
        self.appended.store_timestamp_ms.store(store_timestamp_ms, Ordering::Relaxed);
    }

    /// Whether the next `len` bytes have blocks.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        let end = self.wrote_position().saturating_add(len);
        end.min(self.file_size()) <= self.reserved_position.load(Ordering::Relaxed)
    }

    /// Reserves blocks for the next `len` bytes and, if there is space, for as many as the file
    /// has so far, within `RESERVED_BYTES_MIN` and `RESERVED_BYTES_MAX`. One appender at a time.
    ///
    /// # Errors
    /// What [`Disk::reserve`] says.
    pub fn reserve(&self, disk: &dyn Disk, len: usize) -> io::Result<()> {
        let start = self.wrote_position();
        let least = (start + len).next_multiple_of(PAGE_SIZE).min(self.file_size());
        let ahead = start.clamp(RESERVED_BYTES_MIN, RESERVED_BYTES_MAX);
        let most = least.max((start + ahead).next_multiple_of(PAGE_SIZE).min(self.file_size()));
        assert!(
            start <= least && least <= most && most <= self.file_size(),
            "{start} {least} {most}"
        );
        let end = match disk.reserve(&self.region, start..most) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && least < most => {
                disk.reserve(&self.region, start..least)?;
                least
            }
            reserved => reserved.map(|()| most)?,
        };
        self.reserved_position.store(end, Ordering::Relaxed);
        Ok(())
    }

    /// Copies `bytes` behind the end and publishes them, or leaves that to the commit; the position of
    /// the first one, or nothing when they do not fit. One appender at a time.
    pub fn append(&self, bytes: &[u8]) -> Option<usize> {
        let position = self.wrote_position();
        assert!(position <= self.file_size(), "{position} bytes of {}", self.file_size());
        if bytes.len() > self.file_size() - position {
            return None;
        }
        self.write(position, bytes, position + bytes.len());
        Some(position)
    }

    /// Copies `bytes` behind the end and makes the whole rest of the file belong to them: how the
    /// blank record fills a CommitLog file.
    ///
    /// # Panics
    /// When the bytes do not fit.
    pub fn append_to_end(&self, bytes: &[u8]) {
        self.write(self.wrote_position(), bytes, self.file_size());
    }

    /// Whether a commit would copy something: the file is full, or `least_pages` pages wait, or with
    /// `least_pages` 0 anything does (RocketMQ 4.9 `MappedFile.isAbleToCommit`).
    #[must_use]
    pub fn is_able_to_commit(&self, least_pages: usize) -> bool {
        let (wrote, committed) = (self.wrote_position(), self.read_position());
        wrote > committed
            && (self.is_full() || wrote / PAGE_SIZE - committed / PAGE_SIZE >= least_pages)
    }

    /// Copies what waits in the write buffer into the file, if so many pages do, and publishes it. With
    /// the last byte the buffer goes back to its pool. One caller at a time.
    pub fn commit(&self, least_pages: usize) {
        let Some(buffer) = self.lent_buffer().filter(|_| self.is_able_to_commit(least_pages))
        else {
            return;
        };
        let (wrote, committed) = (self.wrote_position(), self.read_position());
        assert!(committed <= wrote, "{committed} bytes committed of {wrote}");
        buffer.copy_to(&self.region, committed, wrote);
        let before = self.appended.committed_position.swap(wrote, Ordering::AcqRel);
        assert_eq!(before, committed, "one commits at a time");
        if wrote == self.file_size() {
            buffer.give_back();
        }
    }

    /// Forgets what was not committed: the file goes on without its buffer. The caller excludes appender
    /// and committer.
    pub fn drop_uncommitted(&self) {
        if let Some(buffer) = self.lent_buffer() {
            self.appended.wrote_position.store(self.read_position(), Ordering::Release);
            buffer.give_back();
        }
        assert!(!self.has_write_buffer(), "a buffer that was given back takes nothing");
    }

    /// Sets all positions, as recovery finds them.
    ///
    /// # Panics
    /// When `position` lies outside the file.
    pub fn set_positions(&self, position: usize) {
        assert!(position <= self.file_size(), "position {position} leaves {}", self.path.display());
        self.publish(position);
        self.flushed_position.store(position, Ordering::Release);
        self.assert_positions();
    }

    /// Ends the file at `position`: what lies behind, and what was not committed, is neither appended
    /// nor flushed any more. The caller excludes appender, committer and flusher.
    pub fn lower_positions(&self, position: usize) {
        self.drop_uncommitted();
        self.appended.wrote_position.fetch_min(position, Ordering::AcqRel);
        self.appended.committed_position.fetch_min(position, Ordering::AcqRel);
        self.flushed_position.fetch_min(position, Ordering::AcqRel);
        assert!(self.wrote_position() <= position, "nothing is left behind {position}");
        self.assert_positions();
    }

    /// `flushed <= read <= wrote <= size`. Nobody lowers them meanwhile.
    fn assert_positions(&self) {
        // The smaller one first: each may grow meanwhile.
        let flushed = self.flushed_position();
        let read = self.read_position();
        let wrote = self.wrote_position();
        assert!(flushed <= read, "{flushed} bytes synced of {read} in {}", self.path.display());
        assert!(read <= wrote, "{read} bytes readable of {wrote} in {}", self.path.display());
        assert!(wrote <= self.file_size(), "{wrote} bytes in {}", self.path.display());
    }

    /// The `len` bytes at `position`, or nothing when they are not all readable.
    #[must_use]
    pub fn select(self: &Arc<Self>, position: usize, len: usize) -> Option<SelectedBuffer> {
        let end = position.checked_add(len)?;
        (end <= self.read_position())
            .then(|| SelectedBuffer { file: Arc::clone(self), range: position..end })
    }

    /// Everything readable from `position` on; nothing when `position` is not below the end.
    #[must_use]
    pub fn select_from(self: &Arc<Self>, position: usize) -> Option<SelectedBuffer> {
        let end = self.read_position();
        (position < end).then(|| SelectedBuffer { file: Arc::clone(self), range: position..end })
    }

    /// The bytes of `range` whether or not they are below the end: recovery's view.
    ///
    /// # Panics
    /// When the range leaves the file.
    #[must_use]
    pub fn raw(&self, range: Range<usize>) -> &[u8] {
        self.region.slice(range)
    }

    /// The first position at or behind `from` that may hold something else than zero; at most the
    /// file's size.
    #[must_use]
    pub fn next_data(&self, from: usize) -> usize {
        self.region.next_data(from)
    }

    /// Whether a flush is due: the file is readable to its end, or `least_pages` pages are dirty, or with
    /// `least_pages` 0 anything is (RocketMQ 4.9 `MappedFile.isAbleToFlush`).
    #[must_use]
    pub fn is_able_to_flush(&self, least_pages: usize) -> bool {
        let (readable, flushed) = (self.read_position(), self.flushed_position());
        if readable <= flushed {
            return false;
        }
        readable == self.file_size() || readable / PAGE_SIZE - flushed / PAGE_SIZE >= least_pages
    }

    /// Makes durable what was readable before this call and returns the new flushed position. It
    /// advances on success only: after a failure the pages are clean but not durable, so the
    /// caller must not take a later success for theirs.
    ///
    /// # Errors
    /// What the sync said; the flushed position stays.
    pub async fn flush(&self, disk: &dyn Disk) -> io::Result<usize> {
        let (flushed, readable) = (self.flushed_position(), self.read_position());
        if readable > flushed {
            let first_page_end = (flushed / PAGE_SIZE + 1) * PAGE_SIZE;
            let one_page = planted_on_this_thread(Plant::OnePageSynced);
            let end = if one_page { readable.min(first_page_end) } else { readable };
            disk.flush(&self.region, flushed..end).await?;
            let before = self.flushed_position.fetch_max(readable, Ordering::AcqRel);
            assert_eq!(before, flushed, "one syncs at a time, and nothing is cut meanwhile");
            self.assert_positions();
        }
        Ok(readable)
    }

    /// Counts everything readable so far as flushed without a sync: upstream's answer to a failed
    /// one, behind its switch.
    pub fn pretend_flushed(&self) -> usize {
        let readable = self.read_position();
        self.flushed_position.fetch_max(readable, Ordering::AcqRel);
        self.assert_positions();
        readable
    }

    /// Writes a byte of every page of `range` over itself: the pages are dirty again, and the next sync
    /// covers them.
    pub fn touch(&self, range: Range<usize>) {
        assert!(
            range.start <= range.end && range.end <= self.file_size(),
            "{range:?} lies in the file"
        );
        let mut position = range.start;
        while position < range.end {
            let byte = self.region.slice(position..position + 1)[0];
            self.region.write(position, &[byte]);
            position = (position / PAGE_SIZE + 1) * PAGE_SIZE;
        }
    }

    /// Zeroes what is not zero behind `position`, up to the file's end or to 64 MiB of zeros. Not durable
    /// before [`MappedFile::sync_erased`].
    pub fn erase(&self, position: usize) -> Erased {
        erase_behind(&self.region, position, ERASE_STOPS_AFTER_BYTES)
    }

    /// Makes it durable that bytes were erased. When that fails they are put back: the disk may still
    /// have them, and a start that read zeros would build upon what a power loss takes back.
    ///
    /// # Errors
    /// What the sync said.
    pub async fn sync_erased(&self, disk: &dyn Disk, erased: &Erased) -> io::Result<()> {
        let range = erased.range();
        if range.is_empty() {
            return Ok(());
        }
        let synced = disk.flush(&self.region, range).await;
        if synced.is_err() {
            erased.put_back(&self.region);
        }
        synced
    }

    /// Where appends go, if not into the file.
    fn lent_buffer(&self) -> Option<&WriteBuffer> {
        self.write_buffer.as_ref().filter(|buffer| buffer.is_lent())
    }

    fn write(&self, position: usize, bytes: &[u8], end: usize) {
        assert!(position + bytes.len() <= end && end <= self.file_size(), "{position}..{end}");
        assert!(end >= self.wrote_position(), "appends only go forward");
        if let Some(buffer) = self.lent_buffer() {
            buffer.write(position, bytes);
            self.appended.wrote_position.store(end, Ordering::Release);
        } else {
            self.region.write(position, bytes);
            self.publish(end);
        }
    }

    fn publish(&self, end: usize) {
        self.appended.wrote_position.store(end, Ordering::Release);
        self.appended.committed_position.store(end, Ordering::Release);
    }
}

/// Readable bytes of one [`MappedFile`] (RocketMQ 4.9 `SelectMappedBufferResult`). Holding it keeps
/// the file mapped, even when it is removed meanwhile.
#[derive(Clone, Debug)]
pub struct SelectedBuffer {
    file: Arc<MappedFile>,
    range: Range<usize>,
}

impl SelectedBuffer {
    /// Offset of the first byte in the queue of files.
    #[must_use]
    pub fn start_offset(&self) -> u64 {
        self.file.file_from_offset() + self.range.start as u64
    }

    /// The file it is a part of.
    #[must_use]
    pub fn file(&self) -> &Arc<MappedFile> {
        &self.file
    }

    /// The first `len` bytes of this buffer, or all when there are fewer.
    #[must_use]
    pub fn truncated(mut self, len: usize) -> Self {
        self.range.end = self.range.end.min(self.range.start.saturating_add(len));
        self
    }

    /// The bytes of `range` of this buffer.
    ///
    /// # Panics
    /// When the range leaves the buffer.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.range.len(), "{range:?} leaves");
        let start = self.range.start;
        SelectedBuffer {
            file: Arc::clone(&self.file),
            range: start + range.start..start + range.end,
        }
    }
}

impl Deref for SelectedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.file.region.slice(self.range.clone())
    }
}

impl AsRef<[u8]> for SelectedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
