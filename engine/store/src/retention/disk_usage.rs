//! [`DiskUsage`]: how full the disk is, against the configured ratios.

use std::path::Path;

use mq_env::disk::Disk;

use crate::config::StoreConfig;

/// So many percent below a ratio the disk counts as near to it.
const NEAR_PERCENT: u64 = 10;

/// Used share of the file system that holds `dir`, in whole percent, rounded up; `None` where it
/// cannot be told (RocketMQ 4.9 `getDiskPartitionSpaceUsedPercent`).
#[must_use]
pub fn used_percent(disk: &dyn Disk, dir: &Path) -> Option<u64> {
    let space = disk.space(dir).ok()?;
    let used = u128::from(space.total_bytes.saturating_sub(space.free_bytes));
    let percent = (used * 100).div_ceil(u128::from(space.total_bytes.max(1)));
    assert!(percent <= 100, "no more is used than there is: {percent} %");
    Some(percent as u64)
}

/// Used shares at one moment, and what they mean.
#[derive(Clone, Debug)]
pub(super) struct DiskUsage {
    /// Of the CommitLog's file system and of the ConsumeQueues'.
    percents: [Option<u64>; 2],
    max_used: u64,
    clean_forcibly: u64,
    warning_level: u64,
}

impl DiskUsage {
    pub(super) fn of(disk: &dyn Disk, config: &StoreConfig) -> Self {
        let root = &config.store_path_root_dir;
        let dirs = [config.commit_log_dir(), root.join("consumequeue")];
        DiskUsage {
            // Directories come with the first message.
            percents: dirs.map(|dir| used_percent(disk, &dir).or_else(|| used_percent(disk, root))),
            max_used: config.disk_max_used_space_ratio,
            clean_forcibly: config.disk_space_clean_forcibly_ratio,
            warning_level: config.disk_space_warning_level_ratio,
        }
    }

    /// The largest share, as far as known.
    pub(super) fn worst(&self) -> Option<u64> {
        self.percents.iter().copied().flatten().max()
    }

    /// No more is to be written.
    pub(super) fn is_full(&self) -> bool {
        self.exceeds(self.warning_level)
    }

    /// Files may go before they expire.
    pub(super) fn is_forced(&self) -> bool {
        self.is_full() || self.exceeds(self.clean_forcibly)
    }

    /// Expired files go at any hour; so it is when nothing is known.
    pub(super) fn is_over(&self) -> bool {
        self.percents.contains(&None) || self.exceeds(self.max_used)
    }

    /// It will soon matter how full the disk is.
    pub(super) fn is_near(&self) -> bool {
        let lowest = self.max_used.min(self.clean_forcibly).min(self.warning_level);
        self.percents.contains(&None) || self.exceeds(lowest.saturating_sub(NEAR_PERCENT))
    }

    fn exceeds(&self, ratio: u64) -> bool {
        self.worst().is_some_and(|percent| percent > ratio)
    }
}
