//! What a device damages behind everybody's back: [`DeviceDamage`], the truth that no process is told.
//!
//! A page on the platter is damaged where it is not what the kernel last wrote there: bits flipped, a
//! write that never came, or one that belongs elsewhere. The next page that lands in its place heals it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use mq_env::disk::PAGE_SIZE;
use mq_env::rng::Rng;
use rand::Rng as _;

use super::memory::{Page, ZERO_PAGE};
use super::state::State;
use super::tree::File;

/// How bytes were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DamageKind {
    /// Bits flipped.
    Rotted,
    /// A write was reported and never done.
    WriteLost,
    /// A write landed elsewhere, or one of elsewhere landed here.
    Misdirected,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DamageKind::Rotted => "bits rotted",
            DamageKind::WriteLost => "a write was lost",
            DamageKind::Misdirected => "a write was misdirected",
        })
    }
}

/// Bytes of a file that the platter does not hold as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDamage {
    /// The bytes.
    pub range: Range<u64>,
    /// What happened to them.
    pub kind: DamageKind,
}

impl DeviceDamage {
    /// The bytes within their page.
    pub(super) fn in_page(&self) -> Range<usize> {
        let from = self.range.start as usize % PAGE_SIZE;
        from..from + (self.range.end - self.range.start) as usize
    }
}

impl File {
    /// All damage, ascending.
    pub(super) fn damage(&self) -> Vec<DeviceDamage> {
        let mut all: Vec<DeviceDamage> = self.damaged.values().flatten().cloned().collect();
        all.sort_by_key(|damage| (damage.range.start, damage.range.end));
        all
    }

    /// Page `page` of the platter becomes `bytes`: other bytes heal damage, and what is written back
    /// as it was read stays damaged.
    pub(super) fn overwritten(&mut self, page: u32, bytes: &Page) {
        let Some(found) = self.damaged.get_mut(&page) else { return };
        let content = self.contents.first();
        let present = content.and_then(|content| content.pages.get(&page));
        let old = present.map_or(&ZERO_PAGE, |present| &*present.bytes);
        found.retain(|damage| old[damage.in_page()] == bytes[damage.in_page()]);
    }

    /// Notes where page `page` of the platter differs from `written`.
    pub(super) fn note_damage(&mut self, page: u32, written: &Page, kind: DamageKind) {
        let old = self.on_platter().pages.get(&page).map_or(&ZERO_PAGE, |durable| &*durable.bytes);
        let differs = |at: &usize| old[*at] != written[*at];
        let Some(first) = (0..PAGE_SIZE).find(differs) else { return };
        let last = (0..PAGE_SIZE).rfind(differs).unwrap_or(first);
        let start = u64::from(page) * PAGE_SIZE as u64;
        let range = start + first as u64..start + last as u64 + 1;
        self.damaged.entry(page).or_default().push(DeviceDamage { range, kind });
    }
}

impl State {
    /// Draws places for [`SimDisk::rot_somewhere`](super::SimDisk::rot_somewhere): path, byte, mask.
    pub(super) fn draw_rot(&mut self, part: &str, bits: u32, rng: &Rng) -> Vec<(PathBuf, u64, u8)> {
        self.rots += 1;
        let mut rng = rng.stream(&format!("disk.rot.{}", self.rots));
        let mut pages = Vec::new();
        for (id, path) in self.tree.durable_paths() {
            if !path.to_string_lossy().contains(part) {
                continue;
            }
            if self.tree.is_dir(id) {
                continue;
            }
            let file = self.tree.file(id);
            let waits = |page: u32| {
                let memory = self.memory_of(id);
                memory.is_some_and(|it| it.unsynced_pages_in(page..page + 1).next().is_some())
            };
            let kept = file.on_platter().pages.iter();
            let sound = kept.filter(|(page, durable)| {
                !waits(**page) && durable.bytes.iter().any(|byte| *byte != 0)
            });
            pages.extend(sound.map(|(page, it)| (path.clone(), *page, Arc::clone(&it.bytes))));
        }
        let mut places = Vec::new();
        for _ in 0..if pages.is_empty() { 0 } else { bits } {
            let (path, page, bytes) = &pages[rng.random_range(0..pages.len())];
            let written: Vec<usize> = (0..PAGE_SIZE).filter(|at| bytes[*at] != 0).collect();
            let at = written[rng.random_range(0..written.len())];
            let offset = u64::from(*page) * PAGE_SIZE as u64 + at as u64;
            places.push((path.clone(), offset, 1 << rng.random_range(0..8)));
        }
        places
    }
}
