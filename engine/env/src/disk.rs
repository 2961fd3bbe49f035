//! Files: the trait [`Disk`], and [`MappedRegion`], the bytes of a mapped file.
//!
//! The contract both backends honour:
//! * What is written (to a region or with [`Disk::write`]) reaches the page cache at once and
//!   survives the death of the process. It survives power loss only after a flush or sync.
//! * After [`Disk::flush`] returns `Ok`, every byte of the range that was written before the call
//!   survives power loss. Bytes outside the range may or may not, page by page. After an `Err` the
//!   pages are marked clean as Linux does (the content stays readable, a second flush does nothing
//!   for them): the file must be treated as suspect; flushing again proves nothing.
//! * A sync that could not even be attempted, because the path cannot be opened (no descriptor is
//!   free, say), has touched nothing: its error is [marked](not_attempted), [`was_attempted`] tells it
//!   from the other kind, and it may be tried again.
//! * Creating, renaming or removing a file is durable only after [`Disk::sync`] of its directory.
//! * A region outlives `remove` of its path. A region from before the death of its process must
//!   never be written again (the simulator asserts it).
//! * [`Disk::list`] is sorted by name.

mod layer;
pub mod replaced_file;
mod zeroed;

use std::any::Any;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::BoxFuture;
pub use layer::DiskLayer;
pub use zeroed::ZeroedMemory;

/// Page size in bytes assumed by flush thresholds and by the simulated page cache.
pub const PAGE_SIZE: usize = 4096;

/// The files of one machine. Every call is at least one system call in production.
pub trait Disk: Send + Sync {
    /// Maps `path` shared and writable with exactly `len` bytes. A missing file is created and a
    /// shorter one extended, both zero-filled with their blocks reserved, as those of holes are, so
    /// that a later write to the region cannot fail for want of space.
    ///
    /// # Errors
    /// `StorageFull` when the blocks cannot be reserved (the file keeps its length, a missing one is
    /// then there with none), `InvalidInput` when the file is longer
    /// than `len`, otherwise what the operating system says.
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion>;

    /// Maps `path` shared and writable with exactly `len` bytes, as [`Disk::map`] does, but without
    /// blocks for what is not there yet. Whoever writes to a part has it [reserved](Disk::reserve)
    /// before: a write to a hole of a full file system is the process's death by SIGBUS.
    ///
    /// # Errors
    /// As [`Disk::map`].
    fn map_sparse(&self, path: &Path, len: usize) -> io::Result<MappedRegion>;

    /// Reserves the blocks of `range` of a region that [`Disk::map_sparse`] gave, so that writes there
    /// cannot fail for want of space. Nothing has been written behind the start of `range` that is
    /// not zero. The file still has the path by which it was mapped.
    ///
    /// # Errors
    /// `StorageFull` when there are not so many, otherwise what the operating system says.
    fn reserve(&self, region: &MappedRegion, range: Range<usize>) -> io::Result<()>;

    /// Makes the bytes of `range` durable that were written to `region` before this call.
    /// Never blocks a runtime thread.
    ///
    /// # Errors
    /// What msync says; see the module's contract for what an error means.
    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>>;

    /// Reads a whole (small) file as a reader would see it now.
    ///
    /// # Errors
    /// `NotFound` and what the operating system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Reads up to `len` bytes from `offset` on, fewer only where the file ends before. Changes
    /// nothing, and needs no more than the right to read.
    ///
    /// # Errors
    /// `NotFound` and what the operating system says.
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Creates or replaces a (small) file with `data`. Not durable before [`Disk::sync`].
    ///
    /// # Errors
    /// `StorageFull`, and what the operating system says; the file may then hold a part of `data`.
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()>;

    /// Creates `path` without a byte and with the access rights of `model`, before what nobody else may read is
    /// written to it; its owner may write it even if `model` is for reading only. A disk without access rights, as the
    /// simulated one is, does nothing.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_like(&self, model: &Path, path: &Path) -> io::Result<()> {
        let _ = (model, path);
        Ok(())
    }

    /// Makes a file's content and size, or a directory's entries, durable.
    ///
    /// # Errors
    /// What fsync says; what opening the path says, [marked](not_attempted).
    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Renames a file, replacing the target if there is one.
    ///
    /// # Errors
    /// `NotFound` and what the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` and what the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `DirectoryNotEmpty` and what the operating system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its missing parents.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by name.
    ///
    /// # Errors
    /// `NotFound` and what the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Length, kind and modification time of a path.
    ///
    /// # Errors
    /// `NotFound` and what the operating system says.
    fn stat(&self, path: &Path) -> io::Result<FileStat>;

    /// Takes an exclusive lock on byte range [0, 1) of `path`, creating the file if needed. The lock goes with
    /// the returned value or with the process.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it, otherwise what the operating system says.
    fn lock(&self, path: &Path) -> io::Result<FileLock>;

    /// Space of the file system that holds `dir`.
    ///
    /// # Errors
    /// What the operating system says.
    fn space(&self, dir: &Path) -> io::Result<DiskSpace>;
}

/// Marks what kept a sync from being attempted. The kind stays.
#[must_use]
pub fn not_attempted(source: io::Error) -> io::Error {
    io::Error::new(source.kind(), NotAttempted(source))
}

/// Whether a sync that failed with `error` was attempted, so that it cannot be tried again.
#[must_use]
pub fn was_attempted(error: &io::Error) -> bool {
    !error.get_ref().is_some_and(|inner| inner.is::<NotAttempted>())
}

/// See [`not_attempted`].
#[derive(Debug)]
struct NotAttempted(io::Error);

impl fmt::Display for NotAttempted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotAttempted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// File name without its directory.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether the entry is a directory.
    pub is_dir: bool,
}

/// What [`Disk::stat`] says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether the path is a directory.
    pub is_dir: bool,
    /// Modification time in milliseconds since the Unix epoch. As on Linux it may lag behind
    /// writes through a mapping until these are flushed.
    pub modified_ms: u64,
}

/// Space of a file system in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Capacity, as far as it is there for this process.
    pub total_bytes: u64,
    /// Free for this process.
    pub free_bytes: u64,
}

/// An exclusive file lock, released when dropped (and by the death of the process).
pub struct FileLock(#[expect(dead_code, reason = "held for its Drop")] Box<dyn Any + Send + Sync>);

impl FileLock {
    /// Wraps whatever releases the lock in its `Drop`.
    #[must_use]
    pub fn new(holder: Box<dyn Any + Send + Sync>) -> Self {
        FileLock(holder)
    }
}

/// Told of every write to a region before the next statement runs: the simulated disk marks pages
/// dirty and counts persistence micro-operations with it. The operating system needs it only to tell
/// the holes of a sparse file.
pub trait RegionTracker: Send + Sync {
    /// `len` bytes at `offset` were just written.
    fn wrote(&self, offset: usize, len: usize);

    /// See [`MappedRegion::next_data`].
    fn next_data(&self, from: usize) -> usize;
}

/// The bytes of a mapped file: a base pointer, a length and what keeps the memory alive.
///
/// Clones share the memory. There is a single appender; readers keep below the position that the
/// appender published with release ordering (`MappedFile::read_position`).
#[derive(Clone)]
pub struct MappedRegion {
    base: NonNull<u8>,
    len: usize,
    tracker: Option<Arc<dyn RegionTracker>>,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the region is plain shared memory that `owner` keeps mapped; writers and readers are
// kept apart by positions published with release/acquire ordering (see the type's contract).
#[expect(unsafe_code, reason = "shared memory, see above")]
unsafe impl Send for MappedRegion {}
// SAFETY: as for Send.
#[expect(unsafe_code, reason = "shared memory, see above")]
unsafe impl Sync for MappedRegion {}

impl MappedRegion {
    /// A region over `len` bytes at `base`.
    ///
    /// # Safety
    /// `base..base + len` must stay readable and writable for as long as `owner` lives, and nothing
    /// else may turn it into a Rust reference.
    #[must_use]
    #[expect(unsafe_code, reason = "the constructor takes over the caller's promise")]
    pub unsafe fn new(
        base: NonNull<u8>,
        len: usize,
        tracker: Option<Arc<dyn RegionTracker>>,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        MappedRegion { base, len, tracker, owner }
    }

    /// A region of zeros that belongs to no file and dies with the process; see
    /// [`ZeroedMemory`].
    ///
    /// # Errors
    /// What the operating system says.
    #[expect(unsafe_code, reason = "a region over fresh memory")]
    pub fn anonymous(len: usize) -> io::Result<Self> {
        let memory = Arc::new(ZeroedMemory::new(len)?);
        let base = memory.base();
        // SAFETY: `base` points at `len` bytes that live as long as `memory`, the owner, and nothing
        // else looks at them.
        Ok(unsafe { MappedRegion::new(base, len, None, memory) })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the region has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What keeps the memory alive; a backend recognises its own regions by it.
    #[must_use]
    pub fn owner(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.owner
    }

    /// Copies `data` to `offset`.
    ///
    /// # Panics
    /// When the range leaves the region.
    #[expect(unsafe_code, reason = "a copy into mapped memory")]
    pub fn write(&self, offset: usize, data: &[u8]) {
        assert!(
            offset <= self.len && data.len() <= self.len - offset,
            "write of {} bytes at {offset} leaves a region of {}",
            data.len(),
            self.len
        );
        // SAFETY: the range was checked above; `data` is a Rust reference and so cannot overlap
        // the part being written, which no reader has been shown yet.
        unsafe {
            std::ptr::copy_nonoverlapping(
                data.as_ptr(),
                self.base.as_ptr().add(offset),
                data.len(),
            );
        }
        if let Some(tracker) = &self.tracker {
            tracker.wrote(offset, data.len());
        }
    }

    /// The first byte at or behind `from` that may be something else than zero; at most the length.
    /// Whoever looks for what is behind the end of a large file need not touch its holes.
    #[must_use]
    pub fn next_data(&self, from: usize) -> usize {
        let next = self.tracker.as_ref().map_or(from, |tracker| tracker.next_data(from));
        next.clamp(from.min(self.len), self.len)
    }

    /// The bytes of `range`. The caller keeps below the published position.
    ///
    /// # Panics
    /// When the range leaves the region.
    #[must_use]
    #[expect(unsafe_code, reason = "a view of mapped memory")]
    pub fn slice(&self, range: Range<usize>) -> &[u8] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "range {range:?} leaves a region of {}",
            self.len
        );
        // SAFETY: the range was checked above and `owner` keeps the memory mapped.
        unsafe {
            std::slice::from_raw_parts(self.base.as_ptr().add(range.start), range.end - range.start)
        }
    }
}

impl fmt::Debug for MappedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedRegion").field("len", &self.len).finish_non_exhaustive()
    }
}
