//! What a disk tells of itself: [`MicroOp`], [`DiskEvent`], [`DiskObserver`], [`DiskStats`].
//!
//! Nothing here allocates while nobody listens.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::faults::FlushErrorMode;
use super::power::PowerLossReport;

/// One step after which a crash leaves another disk than before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MicroOp {
    /// Bytes were copied into a mapped region.
    RegionWrite,
    /// A file or directory was created, empty.
    Create,
    /// A file was cut to nothing, before being written anew.
    Truncate,
    /// A file grew by reserved zeros.
    Extend,
    /// The bytes of `Disk::write` reached the page cache.
    FileWrite,
    /// A flush of a region, or a sync of a file, ended.
    Flush,
    /// A file was renamed.
    Rename,
    /// A file or directory was removed.
    Remove,
    /// A sync of a directory ended.
    DirSync,
}

/// Called after each micro-operation with its number, counted from 1. It may take an
/// [`image`](super::SimDisk::image); it must hold the disk by a weak reference only.
pub type MicroOpObserver = Arc<dyn Fn(u64, MicroOp) + Send + Sync>;

/// How a flush or sync ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// All it captured is on the platter.
    Durable,
    /// An injected error bit; whether the caller learns of it depends on the mode.
    Failed(FlushErrorMode),
    /// Its pages are on the platter, but the caller was told of an earlier flush's error.
    LateError,
}

/// Something that happened to a disk. Events borrow; what is kept must be copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DiskEvent<'a> {
    /// A flush with something to write began. A sync of a file is a flush of all of it.
    FlushStarted {
        /// Number of the flush, the same in [`DiskEvent::FlushEnded`] and in
        /// [`SyncNote`](super::SyncNote).
        flush: u64,
        /// The file.
        path: &'a Path,
        /// The bytes asked for.
        range: Range<u64>,
        /// How many dirty pages it captured.
        pages: usize,
        /// Drawn duration in milliseconds.
        latency_ms: u64,
    },
    /// A flush ended. One cut short by the death of its process has no end.
    FlushEnded {
        /// Its number.
        flush: u64,
        /// The file.
        path: &'a Path,
        /// The bytes asked for.
        range: Range<u64>,
        /// How many pages it captured.
        pages: usize,
        /// How it ended.
        outcome: FlushOutcome,
    },
    /// A sync of a directory ended.
    DirSynced {
        /// The directory.
        path: &'a Path,
        /// How it ended.
        outcome: FlushOutcome,
    },
    /// Background writeback made something durable.
    WroteBack {
        /// Pages.
        pages: usize,
        /// Metadata operations.
        metadata_ops: usize,
    },
    /// A map or write found no space.
    NoSpace {
        /// The file.
        path: &'a Path,
        /// Bytes it wanted beyond what it had.
        wanted_bytes: u64,
        /// Bytes that were free.
        free_bytes: u64,
    },
    /// A read failed.
    ReadFailed {
        /// The file.
        path: &'a Path,
    },
    /// A process had no descriptor for a file or directory.
    OpenFailed {
        /// Which.
        path: &'a Path,
    },
    /// Bits of a file rotted.
    Rotted {
        /// The file.
        path: &'a Path,
        /// The byte.
        offset: u64,
    },
    /// The machine lost power.
    PowerLost {
        /// What became of everything un-synced.
        report: &'a PowerLossReport,
    },
    /// Everything is gone.
    Destroyed,
}

/// Receives the events of one disk, on the task that caused them, with no lock held: it may look
/// into the disk. It must hold the disk by a weak reference only.
pub trait DiskObserver: Send + Sync {
    /// Called once per event.
    fn event(&self, event: &DiskEvent<'_>);
}

/// Counts since the disk was made; they tell a vacuous run from a real one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Flushes of regions and syncs of files that had something to write and ended.
    pub flushes: u64,
    /// Pages they made durable.
    pub flushed_pages: u64,
    /// Injected errors of flushes that bit.
    pub flush_errors: u64,
    /// Injected errors of reads that bit.
    pub read_errors: u64,
    /// Injected failures of opens that bit.
    pub open_errors: u64,
    /// Syncs that were due while the disk hung.
    pub hung_syncs: u64,
    /// Syncs of directories that ended.
    pub dir_syncs: u64,
    /// Pages made durable in the background.
    pub written_back_pages: u64,
    /// Calls that found no space.
    pub no_space: u64,
    /// Questions for the free space that were asked while somebody else filled the disk.
    pub filled_answers: u64,
    /// Power losses.
    pub power_losses: u64,
    /// Power losses after which a page written since its last sync was gone or torn.
    pub power_losses_that_bit: u64,
}

/// Counts micro-operations; shared with the regions, which count without the disk's lock.
#[derive(Default)]
pub(super) struct MicroOps {
    count: AtomicU64,
    watched: AtomicBool,
    observer: Mutex<Option<MicroOpObserver>>,
}

impl MicroOps {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one. No lock of the disk may be held.
    pub(super) fn done(&self, op: MicroOp) {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if self.watched.load(Ordering::Relaxed) {
            let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(observer) = observer {
                observer(number, op);
            }
        }
    }

    pub(super) fn observe(&self, observer: Option<MicroOpObserver>) {
        self.watched.store(observer.is_some(), Ordering::Relaxed);
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = observer;
    }
}
