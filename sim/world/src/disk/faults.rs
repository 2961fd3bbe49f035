//! Injected errors of flushes and reads: [`FlushFault`], [`FlushErrorMode`], [`ReadFault`]; and bit rot.

use std::path::Path;
use std::sync::Arc;

use mq_env::disk::PAGE_SIZE;

use super::damage::DamageKind;
use super::memory::{Page, ZERO_PAGE};
use super::state::State;
use super::tree::{Durable, NodeId};

/// What an injected error does to the pages of the flush that it hits. In no mode do they reach their
/// place on the platter.
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
    /// The call reports success, and the pages reached the platter one page too low, over what was
    /// there (the first page one too high). Nobody is told: a misdirected write.
    Misdirected,
}

/// Reads that fail with EIO. A broken page of a mapped file would kill the process that touches it
/// (SIGBUS); here the file cannot be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFault {
    /// Only paths that contain this; empty for all.
    pub path_contains: String,
    /// How many reads fail before the fault is used up; `None` until cleared.
    pub times: Option<u32>,
}

/// Opens that fail with EMFILE: the process has no descriptor left. Neither can files and directories
/// be mapped, read, written, listed, reserved or synced then; what is mapped can be flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorFault {
    /// Only paths that contain this; empty for all.
    pub path_contains: String,
    /// How many opens fail before the fault is used up; `None` until cleared.
    pub times: Option<u32>,
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
        contains(path, &self.path_contains)
    }
}

/// Not `Path::ends_with`: a filter may name a part of a component.
fn contains(path: &Path, part: &str) -> bool {
    path.to_string_lossy().contains(part)
}

/// Uses the first of `faults` that matches `path` once; whether there was one.
pub(super) fn take_read(faults: &mut Vec<ReadFault>, path: &Path) -> bool {
    let found = faults.iter().position(|fault| contains(path, &fault.path_contains));
    found.is_some_and(|at| use_once(faults, at, |fault| &mut fault.times))
}

/// The same for opens.
pub(super) fn take_open(faults: &mut Vec<DescriptorFault>, path: &Path) -> bool {
    let found = faults.iter().position(|fault| contains(path, &fault.path_contains));
    found.is_some_and(|at| use_once(faults, at, |fault| &mut fault.times))
}

/// Strikes the fault at `at` out once it is used up. Always true.
fn use_once<T>(faults: &mut Vec<T>, at: usize, times: impl Fn(&mut T) -> &mut Option<u32>) -> bool {
    if let Some(left) = times(&mut faults[at]) {
        *left = left.saturating_sub(1);
        if *left == 0 {
            faults.remove(at);
        }
    }
    true
}

/// Uses the first of `faults` that matches `path` once.
pub(super) fn take(faults: &mut Vec<FlushFault>, path: &Path) -> Option<FlushErrorMode> {
    let at = faults.iter().position(|fault| fault.matches(path))?;
    let mode = faults[at].mode;
    use_once(faults, at, |fault| &mut fault.times);
    Some(mode)
}

/// Where a misdirected write of a page lands.
pub(super) fn misdirected(page: u32) -> u32 {
    if page == 0 { 1 } else { page - 1 }
}

impl State {
    /// Flips the bits of `mask` in the byte at `offset` of the platter's content of file `id`, and
    /// in a clean copy in the page cache, as if that had been evicted and read again.
    pub(super) fn rot(&mut self, id: NodeId, offset: u64, mask: u8) {
        let (page, at) = ((offset / PAGE_SIZE as u64) as u32, offset as usize % PAGE_SIZE);
        let content = &mut self.tree.file_mut(id).contents[0];
        let generation = content.generation;
        let old = content.pages.get(&page).cloned();
        let old = old.unwrap_or_else(|| Durable { seq: 0, at_ms: 0, bytes: Arc::new(ZERO_PAGE) });
        let mut rotten: Page = *old.bytes;
        rotten[at] ^= mask;
        // A flush that is under way still overwrites it.
        let written = Arc::clone(&old.bytes);
        let durable = Durable { bytes: Arc::new(rotten), ..old };
        Arc::make_mut(&mut content.pages).insert(page, durable);
        self.tree.was_damaged = true;
        self.tree.file_mut(id).note_damage(page, &written, DamageKind::Rotted);
        let is_live = self.tree.file(id).live().generation == generation;
        if let Some(memory) = self.memory_of(id).filter(|_| is_live)
            && memory.unsynced_pages_in(page..page + 1).next().is_none()
        {
            memory.fill(page as usize * PAGE_SIZE, &rotten);
        }
    }
}
