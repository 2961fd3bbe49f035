//! Power loss: what of everything un-synced is found afterwards, and the report of it.
//!
//! The journal survives up to a seeded point. Sizes given by `Disk::write` survive or not, each for
//! itself. Of a page that differs from the platter the *new* bytes survive (as they are now, or as a
//! flush in the air had captured them), the *old* ones, or a mixture torn at sectors; each page for
//! itself, whether dirty or cleaned by a failed flush. How lucky the cut is as a whole is drawn first,
//! so that everything lost and everything kept come up as well as the mixtures. Whoever wants all outcomes
//! chooses: [`SimDisk::power_loss_by`](super::SimDisk::power_loss_by).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use mq_env::disk::PAGE_SIZE;
use rand::{Rng as _, RngCore};

use super::blocks::Blocks;
use super::journal::MetadataOp;
use super::memory::{Page, ZERO_PAGE};
use super::state::State;
use super::tree::{Body, Durable, NodeId, pages_of};

/// Unit in which a page tears, in bytes.
pub const SECTOR_SIZE: usize = 512;

const SECTORS: usize = PAGE_SIZE / SECTOR_SIZE;

/// What became of a page that differed from the platter at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFate {
    /// Its latest bytes survived.
    Kept,
    /// None of what was written since it was last durable survived.
    Dropped,
    /// Something in between survived.
    Torn {
        /// Bit `i` is set when sector `i` holds its latest bytes.
        kept_sectors: u8,
    },
}

/// A page that differed from the platter at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLoss {
    /// Index of the page in its file.
    pub page: u64,
    /// What became of it.
    pub fate: PageFate,
}

/// A file that was not wholly on the platter at the cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLoss {
    /// Its path before the cut.
    pub path: PathBuf,
    /// Where the same file is found now; absent when its name was lost. It differs from `path`
    /// when a rename was lost.
    pub found_at: Option<PathBuf>,
    /// Its length before.
    pub len_before: u64,
    /// Its length now, 0 for a lost file.
    pub len_after: u64,
    /// Its pages that differed, ascending; of a lost file all that held something.
    pub pages: Vec<PageLoss>,
}

/// What a power loss did, file by file in order of creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerLossReport {
    /// Files that were not wholly durable.
    pub files: Vec<FileLoss>,
    /// Metadata operations that are undone, in the order in which they were done.
    pub lost_ops: Vec<MetadataOp>,
    /// Pending metadata operations that survived.
    pub kept_ops: usize,
}

impl PowerLossReport {
    /// Whether at least one page written since its last sync was dropped or torn.
    #[must_use]
    pub fn bit(&self) -> bool {
        self.dropped_pages() + self.torn_pages() > 0
    }

    /// Pages whose latest bytes survived although they were not synced.
    #[must_use]
    pub fn kept_pages(&self) -> usize {
        self.count(|fate| fate == PageFate::Kept)
    }

    /// Pages that are as they were last synced.
    #[must_use]
    pub fn dropped_pages(&self) -> usize {
        self.count(|fate| fate == PageFate::Dropped)
    }

    /// Pages that are a mixture.
    #[must_use]
    pub fn torn_pages(&self) -> usize {
        self.count(|fate| matches!(fate, PageFate::Torn { .. }))
    }

    fn count(&self, wanted: impl Fn(PageFate) -> bool) -> usize {
        self.files.iter().flat_map(|file| &file.pages).filter(|page| wanted(page.fate)).count()
    }
}

impl fmt::Display for PowerLossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pages dropped, {} torn, {} kept; {} metadata operations lost, {} kept",
            self.dropped_pages(),
            self.torn_pages(),
            self.kept_pages(),
            self.lost_ops.len(),
            self.kept_ops
        )
    }
}

/// How the cut falls.
pub(super) enum Dice<'a> {
    /// Nothing un-synced survives.
    Worst,
    /// Everything is drawn, with these shares of kept and torn pages.
    Drawn { rng: &'a mut dyn RngCore, kept: f64, torn: f64 },
    /// Somebody says.
    Chosen(&'a mut dyn FnMut(u64) -> u64),
}

impl<'a> Dice<'a> {
    /// A cut of drawn luck.
    pub(super) fn drawn(rng: &'a mut dyn RngCore) -> Self {
        let (kept, torn) = match rng.random_range(0..10) {
            0 => (0.0, 0.0),
            1 => (1.0, 0.0),
            _ => {
                let kept: f64 = rng.random();
                (kept, (1.0 - kept) * rng.random::<f64>())
            }
        };
        Dice::Drawn { rng, kept, torn }
    }

    fn prefix(&mut self, count: usize) -> usize {
        match self {
            Dice::Worst => 0,
            Dice::Drawn { rng, .. } => rng.random_range(0..=count),
            Dice::Chosen(choose) => choose(count as u64 + 1) as usize,
        }
    }

    fn keeps(&mut self) -> bool {
        match self {
            Dice::Worst => false,
            Dice::Drawn { rng, kept, .. } => rng.random_bool(*kept),
            Dice::Chosen(choose) => choose(2) == 1,
        }
    }

    /// What is found of a page that was `old` on the platter; `newer` is not empty.
    fn page(&mut self, old: &Page, newer: &[Arc<Page>]) -> Arc<Page> {
        let (rng, kept, torn) = match self {
            Dice::Worst => return Arc::new(*old),
            Dice::Drawn { rng, kept, torn } => (rng, *kept, *torn),
            Dice::Chosen(choose) => return chosen_page(old, newer, &mut **choose),
        };
        let roll: f64 = rng.random();
        if roll >= kept + torn {
            return Arc::new(*old);
        }
        let new = &newer[rng.random_range(0..newer.len())];
        if roll < kept {
            return Arc::clone(new);
        }
        // Devices mostly write upwards, but promise no order.
        let sectors: u8 = if rng.random_bool(0.5) {
            u8::MAX >> rng.random_range(1..SECTORS)
        } else {
            rng.random_range(1..u8::MAX)
        };
        Arc::new(mixed(old, new, (0..SECTORS).filter(|sector| sectors & (1 << sector) != 0)))
    }
}

/// `old` with some sectors of `new`.
fn mixed(old: &Page, new: &Page, sectors: impl Iterator<Item = usize>) -> Page {
    let mut mixed = *old;
    for sector in sectors {
        mixed[sector_bytes(sector)].copy_from_slice(&new[sector_bytes(sector)]);
    }
    mixed
}

/// Every outcome of a page has one number: the old page is 0, then come, for each newer one, the
/// choices of at least one of the sectors that differ, all of them last.
fn chosen_page(old: &Page, newer: &[Arc<Page>], choose: &mut dyn FnMut(u64) -> u64) -> Arc<Page> {
    let differing = |new: &Page| -> Vec<usize> {
        let differs = |sector: &usize| old[sector_bytes(*sector)] != new[sector_bytes(*sector)];
        (0..SECTORS).filter(differs).collect()
    };
    let differing: Vec<Vec<usize>> = newer.iter().map(|new| differing(new)).collect();
    let subsets = |sectors: &Vec<usize>| (1_u64 << sectors.len()) - 1;
    let mut which = choose(1 + differing.iter().map(subsets).sum::<u64>());
    if which == 0 {
        return Arc::new(*old);
    }
    for (new, sectors) in newer.iter().zip(&differing) {
        if which <= subsets(sectors) {
            let kept = sectors.iter().enumerate().filter(|(bit, _)| which & (1 << bit) != 0);
            return Arc::new(mixed(old, new, kept.map(|(_, sector)| *sector)));
        }
        which -= subsets(sectors);
    }
    panic!("a choice beyond those that there are");
}

fn sector_bytes(sector: usize) -> Range<usize> {
    sector * SECTOR_SIZE..(sector + 1) * SECTOR_SIZE
}

impl State {
    /// Cuts the power: afterwards page cache and platter are one, and all processes are dead.
    pub(super) fn cut_power(&mut self, mut dice: Dice<'_>, now_ms: u64) -> PowerLossReport {
        let kept_ops = dice.prefix(self.tree.journal.len());
        let lost_ops = self.tree.journal[kept_ops..].iter().map(|e| e.op.clone()).collect();
        self.tree.commit_prefix(kept_ops);
        self.commit_late_lens(|| dice.keeps());

        let found = self.tree.durable_paths();
        let files: Vec<NodeId> = self.tree.files().collect();
        let mut report = PowerLossReport { files: Vec::new(), lost_ops, kept_ops };
        for id in files {
            let found_at = found.get(&id);
            let survivors = match found_at {
                Some(_) => self.surviving_pages(id, &mut dice, now_ms),
                None => Arc::default(),
            };
            report.files.extend(self.loss(id, found_at, &survivors));
            if found_at.is_some() {
                self.settle_file(id, survivors);
            }
        }
        self.tree.keep_only(found);
        self.power_off();
        self.stats.power_losses += 1;
        self.stats.power_losses_that_bit += u64::from(report.bit());
        report
    }

    /// Everything is gone, the processes too.
    pub(super) fn destroy(&mut self) {
        self.tree.clear();
        self.power_off();
    }

    fn power_off(&mut self) {
        for epoch in std::mem::take(&mut self.epochs).into_values() {
            epoch.die();
        }
        self.open.clear();
        self.flights.clear();
    }

    /// The pages found of the generation that is on the platter.
    fn surviving_pages(
        &mut self,
        id: NodeId,
        dice: &mut Dice<'_>,
        now_ms: u64,
    ) -> Arc<BTreeMap<u32, Durable>> {
        let seq = self.tree.next_seq();
        let file = self.tree.file(id);
        let mut pages = Arc::clone(&file.on_platter().pages);
        for (page, newer) in self.newer_bytes(id) {
            let old = pages.get(&page).map_or(&ZERO_PAGE, |durable| &*durable.bytes);
            let found = dice.page(old, &newer);
            if *found != *old {
                let durable = Durable { seq, at_ms: now_ms, bytes: found };
                Arc::make_mut(&mut pages).insert(page, durable);
            }
        }
        clip(&mut pages, file.durable_len);
        pages
    }

    /// Per page what may have reached the platter besides what is there: captures in the air, and
    /// the live bytes. Only of the generation on the platter, and only what differs.
    fn newer_bytes(&self, id: NodeId) -> BTreeMap<u32, Vec<Arc<Page>>> {
        let file = self.tree.file(id);
        let platter = file.on_platter();
        let mut newer: BTreeMap<u32, Vec<Arc<Page>>> = BTreeMap::new();
        let mut add = |page: u32, seq: u64, bytes: &Arc<Page>| {
            let old = platter.pages.get(&page);
            let differs = **bytes != *old.map_or(&ZERO_PAGE, |durable| &*durable.bytes);
            if differs && old.is_none_or(|durable| durable.seq < seq) {
                newer.entry(page).or_default().push(Arc::clone(bytes));
            }
        };
        for flight in &self.flights {
            if flight.node == id && flight.generation == platter.generation {
                for (page, bytes) in &flight.pages {
                    add(*page, flight.seq, bytes);
                }
            }
        }
        if let Some(memory) = self.memory_of(id).filter(|_| file.is_settled()) {
            for page in memory.unsynced_pages() {
                add(page, u64::MAX, &memory.snapshot(page));
            }
        }
        newer
    }

    /// What the report says of file `id`, if processes could see it and it was not wholly durable.
    fn loss(
        &self,
        id: NodeId,
        found_at: Option<&PathBuf>,
        survivors: &BTreeMap<u32, Durable>,
    ) -> Option<FileLoss> {
        let node = self.tree.node(id);
        let file = self.tree.file(id);
        if !node.linked {
            return None;
        }
        let len_after = if found_at.is_some() { file.durable_len } else { 0 };
        let mut suspects: Vec<u32> =
            self.memory_of(id).map(|m| m.unsynced_pages().collect()).unwrap_or_default();
        if found_at.is_none() || !file.is_settled() || len_after < file.len {
            suspects.extend(file.live().pages.keys());
            suspects.sort_unstable();
            suspects.dedup();
        }
        let fate = |page: &u32| {
            let live = self.live_page(id, *page);
            let bytes = |durable: Option<&'_ Durable>| durable.map_or(ZERO_PAGE, |d| *d.bytes);
            let before = bytes(file.live().pages.get(page));
            let after = bytes(survivors.get(page));
            let fate = fate(live, &before, &after)?;
            Some(PageLoss { page: u64::from(*page), fate })
        };
        let pages: Vec<PageLoss> = suspects.iter().filter_map(fate).collect();
        let unharmed = pages.is_empty()
            && len_after == file.len
            && found_at.is_some_and(|found_at| *found_at == node.path);
        (!unharmed).then(|| FileLoss {
            path: node.path.clone(),
            found_at: found_at.cloned(),
            len_before: file.len,
            len_after,
            pages,
        })
    }

    /// From now on the file is what survived of it.
    fn settle_file(&mut self, id: NodeId, pages: Arc<BTreeMap<u32, Durable>>) {
        let file = self.tree.file_mut(id);
        let damaged: Vec<u32> = file.damaged.keys().copied().collect();
        for page in damaged {
            file.overwritten(page, pages.get(&page).map_or(&ZERO_PAGE, |durable| &*durable.bytes));
        }
        file.contents.truncate(1);
        file.contents[0].pages = pages;
        file.len = file.durable_len;
        file.late_len = None;
        if file.blocks.take().is_some() {
            let written = file.contents[0].pages.keys().copied();
            file.blocks = Some(Blocks::new(pages_of(file.len), written));
        }
    }
}

/// `None` for a page that lost nothing and had nothing to lose.
fn fate(live: &Page, before: &Page, after: &Page) -> Option<PageFate> {
    if after == live {
        return (live != before).then_some(PageFate::Kept);
    }
    if after == before || after == &ZERO_PAGE {
        return Some(PageFate::Dropped);
    }
    let mut kept_sectors = 0;
    for sector in 0..SECTORS {
        if after[sector_bytes(sector)] == live[sector_bytes(sector)] {
            kept_sectors |= 1 << sector;
        }
    }
    Some(PageFate::Torn { kept_sectors })
}

/// Takes away what lies beyond `len`.
fn clip(pages: &mut Arc<BTreeMap<u32, Durable>>, len: u64) {
    let end = pages_of(len) as u32;
    if pages.last_key_value().is_some_and(|(page, _)| *page >= end) {
        Arc::make_mut(pages).split_off(&end);
    }
    let inside = (len % PAGE_SIZE as u64) as usize;
    if inside == 0 {
        return;
    }
    let last = end - 1;
    let soiled =
        pages.get(&last).is_some_and(|page| page.bytes[inside..].iter().any(|byte| *byte != 0));
    if soiled && let Some(page) = Arc::make_mut(pages).get_mut(&last) {
        Arc::make_mut(&mut page.bytes)[inside..].fill(0);
    }
}

impl super::tree::Tree {
    /// All files, by age.
    fn files(&self) -> impl Iterator<Item = NodeId> + '_ {
        let files = self.nodes.iter().filter(|(_, node)| matches!(node.body, Body::File(_)));
        files.map(|(id, _)| *id)
    }
}
