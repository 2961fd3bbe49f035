//! Injected flush errors: [`FlushFault`], [`FlushErrorMode`].

use std::path::Path;

/// What an injected error does to the pages of the flush that it hits. In no mode do they reach the
/// platter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlushErrorMode {
    /// Linux: the call reports EIO once, the pages are clean from then on, their content stays in
    /// the page cache. A second flush succeeds without writing them; power loss drops them.
    #[default]
    Clean,
    /// The call reports EIO, the pages stay dirty: a second flush writes them.
    KeptDirty,
    /// The call reports success, the pages are clean; the next flush or sync of the file reports
    /// EIO, whatever it writes.
    ReportedLate,
    /// The call reports success, the pages are clean, nobody is ever told: a lost write.
    NeverReported,
    /// The call reports EIO and the page cache shows again what the platter holds.
    Reverted,
}

/// Flushes and syncs that fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushFault {
    /// Only paths that contain this; empty for all.
    pub path_contains: String,
    /// How many flushes fail before the fault is used up; `None` until cleared.
    pub times: Option<u32>,
    /// What the error does.
    pub mode: FlushErrorMode,
}

impl FlushFault {
    /// Whether flushes of `path` fail.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        // Not `Path::ends_with`: a filter may name a part of a component.
        path.to_string_lossy().contains(&self.path_contains)
    }
}

/// Uses the first of `faults` that matches `path` once.
pub(super) fn take(faults: &mut Vec<FlushFault>, path: &Path) -> Option<FlushErrorMode> {
    let at = faults.iter().position(|fault| fault.matches(path))?;
    let mode = faults[at].mode;
    if let Some(times) = &mut faults[at].times {
        *times = times.saturating_sub(1);
        if *times == 0 {
            faults.remove(at);
        }
    }
    Some(mode)
}
