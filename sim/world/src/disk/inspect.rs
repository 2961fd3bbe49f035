//! Looking into a disk from outside, without being a process: what the ledger and the checkers ask.
//!
//! "Live" is what a process would read, "durable" what a power loss is certain to leave if nothing
//! newer has reached the platter by then. Ranges are bytes of the file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use mq_env::disk::PAGE_SIZE;

use super::SimDisk;
use super::flush::page_range;
use super::memory::ZERO_PAGE;
use super::state::{State, read_pages};
use super::tree::{Body, File, NodeId};

/// When a page reached the platter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncNote {
    /// Number of the flush, as in [`DiskEvent`](super::DiskEvent); background writes have numbers of
    /// the same sequence that appear in no event.
    pub flush: u64,
    /// The machine's wall clock at that instant, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl SimDisk {
    /// All files that processes see, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.paths_under(Path::new("/"))
    }

    /// The files below `dir` that processes see, sorted. Costs what lies there, not what the disk holds.
    #[must_use]
    pub fn paths_under(&self, dir: &Path) -> Vec<PathBuf> {
        let tree = &self.lock().tree;
        let mut paths = Vec::new();
        let mut left: Vec<NodeId> = tree.resolve(dir).into_iter().collect();
        while let Some(node) = left.pop().map(|id| tree.node(id)) {
            match &node.body {
                Body::Dir(dir) => left.extend(dir.entries.values().rev()),
                Body::File(_) => paths.push(node.path.clone()),
            }
        }
        paths
    }

    /// Whether processes see something at `path`.
    #[must_use]
    pub fn exists(&self, path: &Path) -> bool {
        self.lock().tree.resolve(path).is_ok()
    }

    /// Whether the platter has the name `path`.
    #[must_use]
    pub fn exists_durably(&self, path: &Path) -> bool {
        self.lock().tree.resolve_durable(path).is_some()
    }

    /// Length of the file as processes see it.
    #[must_use]
    pub fn live_len(&self, path: &Path) -> Option<u64> {
        let state = self.lock();
        Some(state.tree.file(state.live_file(path)?).len)
    }

    /// Length of the file on the platter.
    #[must_use]
    pub fn durable_len(&self, path: &Path) -> Option<u64> {
        let state = self.lock();
        Some(state.tree.file(state.durable_file(path)?).durable_len)
    }

    /// Live bytes; `None` when there is no such file or it is shorter.
    #[must_use]
    pub fn live_bytes(&self, path: &Path, range: Range<u64>) -> Option<Vec<u8>> {
        let state = self.lock();
        let id = state.live_file(path)?;
        let mut bytes = vec![0; length(&range, state.tree.file(id).len)?];
        state.read_live(id, range.start as usize, &mut bytes);
        Some(bytes)
    }

    /// Durable bytes; `None` when the platter has no such file or a shorter one.
    #[must_use]
    pub fn durable_bytes(&self, path: &Path, range: Range<u64>) -> Option<Vec<u8>> {
        let state = self.lock();
        let file = state.tree.file(state.durable_file(path)?);
        let mut bytes = vec![0; length(&range, file.durable_len)?];
        read_pages(range.start as usize, &mut bytes, |page| platter_page(file, page));
        Some(bytes)
    }

    /// Whether the live bytes from `offset` on are `expect`. Allocates nothing.
    #[must_use]
    pub fn is_live(&self, path: &Path, offset: u64, expect: &[u8]) -> bool {
        let state = self.lock();
        let Some(id) = state.live_file(path) else { return false };
        length(&(offset..offset + expect.len() as u64), state.tree.file(id).len).is_some()
            && equal_pages(offset, expect, |page| state.live_page(id, page))
    }

    /// Whether the durable bytes from `offset` on are `expect`. Allocates nothing.
    #[must_use]
    pub fn is_durable(&self, path: &Path, offset: u64, expect: &[u8]) -> bool {
        let state = self.lock();
        let Some(id) = state.durable_file(path) else { return false };
        let file = state.tree.file(id);
        length(&(offset..offset + expect.len() as u64), file.durable_len).is_some()
            && equal_pages(offset, expect, |page| platter_page(file, page))
    }

    /// The first byte of `range` that power loss might take or change, as far as the file is live;
    /// `None` when all of it is durable. The end of what is synced of a log is
    /// `first_unsynced(path, from..end).unwrap_or(end)`. What the device lost after it had said that it
    /// was there counts as synced: see [`SimDisk::damage`]. Costs what is un-synced, not what is asked.
    #[must_use]
    pub fn first_unsynced(&self, path: &Path, range: Range<u64>) -> Option<u64> {
        let state = self.lock();
        let id = state.live_file(path)?;
        let file = state.tree.file(id);
        let range = range.start..range.end.min(file.len);
        let named = state.durable_file(path) == Some(id);
        let sized = if named && file.is_settled() { file.durable_len } else { 0 };
        let unsized_from = range.start.max(sized);
        let differing = state.memory_of(id).and_then(|memory| {
            memory.unsynced_pages_in(page_range(&range)).find_map(|page| {
                let start = u64::from(page) * PAGE_SIZE as u64;
                let end = start + PAGE_SIZE as u64;
                let within = (range.start.max(start) - start) as usize
                    ..(range.end.min(end).max(start) - start) as usize;
                let (live, old) = (memory.page(page), platter_page(file, page));
                if let Some(lost) = file.damaged.get(&page) {
                    let synced = |at: usize| lost.iter().any(|it| it.in_page().contains(&at));
                    let mut differing = within.filter(|at| live[*at] != old[*at]);
                    return differing.find(|at| !synced(*at)).map(|at| start + at as u64);
                }
                let from = start + within.start as u64;
                let at = first_difference(live.get(within.clone())?, &old[within])?;
                Some(from + at as u64)
            })
        });
        let first = differing.map_or(unsized_from, |at| at.min(unsized_from));
        (first < range.end).then_some(first)
    }

    /// Pages of the file whose live bytes differ from the platter's, ascending.
    #[must_use]
    pub fn unsynced_pages(&self, path: &Path) -> Vec<u64> {
        let state = self.lock();
        let Some(id) = state.live_file(path) else { return Vec::new() };
        let file = state.tree.file(id);
        let Some(memory) = state.memory_of(id) else { return Vec::new() };
        let live = file.live();
        let differs = |page: &u32| {
            let old = live.pages.get(page).map_or(&ZERO_PAGE, |durable| &*durable.bytes);
            memory.page(*page) != old
        };
        memory.unsynced_pages().filter(differs).map(u64::from).collect()
    }

    /// When page `page` of the file last reached the platter; `None` if never.
    #[must_use]
    pub fn last_synced(&self, path: &Path, page: u64) -> Option<SyncNote> {
        let state = self.lock();
        let content = state.tree.file(state.live_file(path)?).live();
        let durable = content.pages.get(&u32::try_from(page).ok()?)?;
        Some(SyncNote { flush: durable.seq, at_ms: durable.at_ms })
    }

    /// Metadata operations that are not durable yet.
    #[must_use]
    pub fn pending_ops(&self) -> usize {
        self.lock().tree.journal.len()
    }

    /// Used share of the disk in percent, rounded up, with `extra_bytes` more.
    #[must_use]
    pub fn used_percent(&self, extra_bytes: u64) -> u64 {
        let mut state = self.lock();
        let page = PAGE_SIZE as u64;
        let total = state.config.capacity_bytes.max(1);
        let free = (state.free_pages() * page).saturating_sub(extra_bytes.next_multiple_of(page));
        (total.saturating_sub(free) * 100).div_ceil(total)
    }

    /// Bytes that files occupy.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let mut state = self.lock();
        // Gives back first what removed files held.
        state.free_pages();
        state.tree.used_pages * PAGE_SIZE as u64
    }
}

impl State {
    fn live_file(&self, path: &Path) -> Option<NodeId> {
        self.tree.find_file(path).ok()?
    }

    pub(super) fn durable_file(&self, path: &Path) -> Option<NodeId> {
        self.tree.resolve_durable(path).filter(|id| !self.tree.is_dir(*id))
    }
}

fn platter_page(file: &File, page: u32) -> &super::memory::Page {
    file.on_platter().pages.get(&page).map_or(&ZERO_PAGE, |durable| &*durable.bytes)
}

/// Where two slices of one length first differ.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    // Comparing whole slices is several times faster than looking for the place.
    if one == other {
        return None;
    }
    one.iter().zip(other).position(|(one, other)| one != other)
}

/// Length of `range` if it lies within a file of `len` bytes.
fn length(range: &Range<u64>, len: u64) -> Option<usize> {
    let inside = range.start <= range.end && range.end <= len;
    inside.then(|| usize::try_from(range.end - range.start).ok())?
}

/// Whether `expect` lies in the pages from `offset` on.
fn equal_pages<'a>(
    offset: u64,
    expect: &[u8],
    page: impl Fn(u32) -> &'a super::memory::Page,
) -> bool {
    let mut at = offset as usize;
    let mut rest = expect;
    while !rest.is_empty() {
        let (index, inside) = (at / PAGE_SIZE, at % PAGE_SIZE);
        let count = (PAGE_SIZE - inside).min(rest.len());
        let (part, behind) = rest.split_at(count);
        if page(index as u32)[inside..inside + count] != *part {
            return false;
        }
        rest = behind;
        at += count;
    }
    true
}
