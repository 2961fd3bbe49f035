//! [`DiskFault`]: faults of a disk that last until they are taken away.

use staticfire_world::disk::{DiskStats, SimDisk};

/// A fault of a disk that lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskFault {
    Slow,
    Hung,
    Full,
    SyncError,
    ReadError,
    NoDescriptor,
}

impl DiskFault {
    /// How often a disk's users felt such a fault.
    pub(super) fn felt(self, stats: &DiskStats) -> u64 {
        match self {
            DiskFault::Slow => stats.flushes,
            DiskFault::Hung => stats.hung_syncs,
            DiskFault::Full => stats.filled_answers + stats.no_space,
            DiskFault::SyncError => stats.flush_errors,
            DiskFault::ReadError => stats.read_errors,
            DiskFault::NoDescriptor => stats.open_errors,
        }
    }

    /// What they felt, in words.
    pub(super) fn bite(self) -> &'static str {
        match self {
            DiskFault::Slow => "a sync was slow",
            DiskFault::Hung => "a sync hangs",
            DiskFault::Full => "the missing space was seen",
            DiskFault::SyncError => "a sync failed",
            DiskFault::ReadError => "a read failed",
            DiskFault::NoDescriptor => "nothing could be opened",
        }
    }

    /// Takes it away; what holds again, in words.
    pub(super) fn end(self, disk: &SimDisk) -> &'static str {
        match self {
            DiskFault::Slow => {
                disk.reset_latency();
                "the disk is as before"
            }
            DiskFault::Hung => {
                disk.unhang();
                "syncs return again"
            }
            DiskFault::Full => {
                disk.unfill();
                "the space is back"
            }
            DiskFault::SyncError => {
                disk.clear_flush_faults();
                "syncs work again"
            }
            DiskFault::ReadError => {
                disk.clear_read_faults();
                "reads work again"
            }
            DiskFault::NoDescriptor => {
                disk.clear_open_faults();
                "there are descriptors again"
            }
        }
    }
}
