//! What left a log by expiry: the stores say when they remove a file, the disks and the appends before
//! say whether they might.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use staticfire_world::trace::TraceRecord;

use super::log_view::offset_in_name;
use super::{BrokerEntry, Ledger, OBSERVED_MAX, State};
use crate::check::expiry::{self, Removal};

/// A broker's rules of retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `fileReservedTime` in microseconds.
    pub reserved_us: u64,
    /// `diskSpaceCleanForciblyRatio`; `None` where `cleanFileForciblyEnable` is off.
    pub forcibly_above_percent: Option<u64>,
}

/// When the files of a log were written last, and what has left it.
#[derive(Default)]
pub(super) struct Files {
    /// By first byte.
    written: BTreeMap<u64, Written>,
    /// What of the present log lay below this has expired.
    expired_to: u64,
    /// Ends of the files that were removed, by the ordinal of the trace event, but for those that a later one
    /// reached or passed: they descend.
    removed: BTreeMap<u64, u64>,
}

/// When something was written to a file last.
#[derive(Clone, Copy)]
struct Written {
    at_us: u64,
    /// By the clock of its machine, which may have been set since, milliseconds since the Unix epoch.
    wall_ms: u64,
}

/// For so long a page may stay dirty after it was written: the time of its file may still change.
const DIRTY_US_MAX: u64 = 60_000_000;

impl Ledger {
    /// The clock of a process's machine was set: files whose writes have not reached the disk yet get their time from
    /// it as it is now.
    pub fn clock_was_set(&self, process: &str, now_us: u64) {
        let mut state = self.lock();
        let State { brokers, files, .. } = &mut *state;
        let (Some(broker), Some(files)) = (brokers.get(process), files.get_mut(process)) else {
            return;
        };
        let wall_ms = broker.view.disk.wall_ms();
        for written in files.written.values_mut().filter(|it| it.at_us + DIRTY_US_MAX >= now_us) {
            written.wall_ms = wall_ms.min(written.wall_ms);
        }
    }

    /// Whether a record that ended at `end_offset` and was acknowledged by trace event `acked` lay in a file
    /// that a process removed since. A log that begins anew uses offsets again.
    #[must_use]
    pub fn has_expired(&self, process: &str, end_offset: u64, acked: u64) -> bool {
        let state = self.lock();
        let Some(files) = state.files.get(process) else { return false };
        // They descend: the first reaches furthest.
        files.removed.range(acked..).next().is_some_and(|(_, to)| end_offset <= *to)
    }

    /// Where the part of a process's present log ends that has expired; 0 where nothing has.
    #[must_use]
    pub fn expired_to(&self, process: &str) -> u64 {
        self.lock().files.get(process).map_or(0, |files| files.expired_to)
    }

    pub(super) fn observe_expired(&self, record: &TraceRecord, file: &str) {
        let mut state = self.lock();
        let Some(removal) = state.removal(record, Path::new(file)) else { return };
        let files = state.files.entry(Arc::clone(&record.source)).or_default();
        files.written.remove(&removal.from);
        files.expired_to = files.expired_to.max(removal.to);
        // Whatever lay below one of these when it was removed lies below this one, too.
        files.removed.retain(|_, to| *to > removal.to);
        files.removed.insert(record.ordinal, removal.to);
        if state.observed.len() < OBSERVED_MAX {
            state.observed.extend(expiry::check(&removal));
        }
    }
}

impl State {
    /// Notes that a process wrote up to `end` of its log, at least the last byte before it.
    pub(super) fn wrote(&mut self, record: &TraceRecord, end: u64) {
        let Some(broker) = self.brokers.get(&record.source) else { return };
        let file_bytes = broker.view.dirs.commit_log_file_bytes;
        let from = end.saturating_sub(1) / file_bytes * file_bytes;
        let wall_ms = broker.view.disk.wall_ms();
        let files = self.files.entry(Arc::clone(&record.source)).or_default();
        files.written.insert(from, Written { at_us: record.at_us, wall_ms });
    }

    /// A process's log is gone with its disk: the next one has not expired yet.
    pub(super) fn log_gone(&mut self, process: &Arc<str>) {
        if let Some(files) = self.files.get_mut(process) {
            files.written.clear();
            files.expired_to = 0;
        }
    }

    /// The removal of a CommitLog file; `None` for other files.
    fn removal(&self, record: &TraceRecord, file: &Path) -> Option<Removal> {
        let BrokerEntry { view, retention, .. } = self.brokers.get(&record.source)?;
        let from = offset_in_name(file).filter(|_| file.starts_with(&view.dirs.commit_log))?;
        let written = self.files.get(&record.source)?.written.get(&from);
        let wall_ms = view.disk.wall_ms();
        Some(Removal {
            broker: record.source.to_string(),
            from,
            to: from + view.dirs.commit_log_file_bytes,
            min_after: view.min(),
            idle_us: written.map(|it| wall_ms.saturating_sub(it.wall_ms).saturating_mul(1_000)),
            reserved_us: retention.reserved_us,
            used_percent: view.disk.used_percent(view.dirs.commit_log_file_bytes),
            forcibly_above_percent: retention.forcibly_above_percent,
            ordinal: record.ordinal,
        })
    }
}
