//! [`Window`]: what a walk over a log has read of it.

use super::log_view::LogView;

/// A piece of the log being walked: most records fit, a large one makes it grow.
#[derive(Default)]
pub(super) struct Window {
    from: u64,
    bytes: Vec<u8>,
    wanted: u64,
}

impl Window {
    const BYTES: u64 = 64 << 10;

    /// The bytes from `at` on, at most to `file_end`.
    pub(super) fn ensure(&mut self, view: &LogView, at: u64, file_end: u64) -> &[u8] {
        let end = self.from + self.bytes.len() as u64;
        let wanted = self.wanted.max(Self::BYTES);
        if at < self.from
            || (end < file_end && end < at + wanted / 2)
            || end > file_end
            || at >= end
        {
            self.from = at;
            self.bytes = view.read(at..file_end.min(at + wanted));
        }
        &self.bytes[usize::try_from(at - self.from).unwrap_or(0)..]
    }

    /// Asks for a record of `stated_bytes` at `at`; `false` when all of it was shown already, or it
    /// cannot be one.
    pub(super) fn grow(&mut self, stated_bytes: u64, at: u64, file_end: u64) -> bool {
        let shown = self.from + self.bytes.len() as u64 - at;
        let can_grow = shown < stated_bytes && at + stated_bytes <= file_end;
        self.wanted = self.wanted.max(stated_bytes * 2);
        self.from = u64::MAX;
        self.bytes.clear();
        can_grow
    }
}
