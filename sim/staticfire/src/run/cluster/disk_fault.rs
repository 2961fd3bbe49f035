//! [`DiskFault`]: faults of a disk that last until they are taken away, one row each.

use staticfire_world::disk::{DiskStats, SimDisk};

/// A fault of a disk that lasts: what counts as its effect, and how it heals.
#[derive(Clone, Copy)]
pub(super) struct DiskFault {
    /// How often a disk's users felt such a fault.
    pub(super) felt: fn(&DiskStats) -> u64,
    /// What they felt, in words.
    pub(super) bite: &'static str,
    /// What the disk does as long as it lasts, in words, where that keeps it from taking anything in time.
    pub(super) lasting: Option<&'static str>,
    /// Whether it keeps nobody from anything who has not felt it since its last start.
    pub(super) is_over_unfelt: bool,
    /// Whether a broker that starts meanwhile may not come to serve anybody.
    pub(super) stalls: bool,
    /// Takes it away.
    pub(super) end: fn(&SimDisk),
    /// What holds again, in words.
    pub(super) healed: &'static str,
}

impl DiskFault {
    pub(super) const SLOW: DiskFault = DiskFault {
        felt: |stats| stats.flushes,
        bite: "a sync was slow",
        lasting: Some("is slow"),
        is_over_unfelt: false,
        stalls: true,
        end: SimDisk::reset_latency,
        healed: "the disk is as before",
    };

    pub(super) const HUNG: DiskFault = DiskFault {
        felt: |stats| stats.hung_syncs,
        bite: "a sync hangs",
        lasting: Some("hangs"),
        is_over_unfelt: false,
        stalls: true,
        end: SimDisk::unhang,
        healed: "syncs return again",
    };

    pub(super) const FULL: DiskFault = DiskFault {
        felt: |stats| stats.filled_answers + stats.no_space,
        bite: "the missing space was seen",
        lasting: Some("is full"),
        is_over_unfelt: false,
        stalls: false,
        end: SimDisk::unfill,
        healed: "the space is back",
    };

    pub(super) const SYNC_ERROR: DiskFault = DiskFault {
        felt: |stats| stats.flush_errors,
        bite: "a sync failed",
        lasting: Some("failed a sync since the last start"),
        is_over_unfelt: true,
        stalls: false,
        end: SimDisk::clear_flush_faults,
        healed: "syncs work again",
    };

    pub(super) const READ_ERROR: DiskFault = DiskFault {
        felt: |stats| stats.read_errors,
        bite: "a read failed",
        lasting: None,
        is_over_unfelt: false,
        stalls: false,
        end: SimDisk::clear_read_faults,
        healed: "reads work again",
    };

    pub(super) const NO_DESCRIPTOR: DiskFault = DiskFault {
        felt: |stats| stats.open_errors,
        bite: "nothing could be opened",
        lasting: Some("opens nothing"),
        is_over_unfelt: false,
        stalls: true,
        end: SimDisk::clear_open_faults,
        healed: "there are descriptors again",
    };
}
