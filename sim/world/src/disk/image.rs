//! Images: the state of a disk at one instant, from which any number of disks can be made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use mq_env::clock::Clock;
use mq_env::disk::PAGE_SIZE;
use mq_env::rng::Rng;
use rand::RngCore;

use super::flush::Flight;
use super::memory::{Page, ZERO_PAGE};
use super::power::PowerLossReport;
use super::state::State;
use super::tree::{Body, NodeId, Tree};
use super::{SimDisk, SimDiskConfig};

/// Page cache, platter, journal and flushes in the air at one instant. Platter pages are shared with
/// the disk, only un-synced ones are copied. Two images are equal when both the processes and a power
/// loss would find the same.
#[derive(Clone)]
pub struct DiskImage {
    tree: Tree,
    cache: BTreeMap<NodeId, Vec<CachedPage>>,
    late_errors: BTreeSet<NodeId>,
    flights: Vec<Flight>,
    config: SimDiskConfig,
    clock: Arc<dyn Clock>,
    rng: Rng,
}

#[derive(Clone, PartialEq)]
struct CachedPage {
    page: u32,
    dirty: bool,
    bytes: Arc<Page>,
}

impl DiskImage {
    pub(super) fn of(state: &State, clock: &Arc<dyn Clock>, rng: &Rng) -> Self {
        let mut cache = BTreeMap::new();
        for (id, open) in &state.open {
            let Some(memory) = &open.memory else { continue };
            let cached = |page| CachedPage {
                page,
                dirty: memory.is_dirty(page),
                bytes: memory.snapshot(page),
            };
            let pages: Vec<CachedPage> = memory.unsynced_pages().map(cached).collect();
            if !pages.is_empty() {
                cache.insert(*id, pages);
            }
        }
        let late = state.open.iter().filter(|(_, open)| open.late_error);
        DiskImage {
            tree: state.tree.clone(),
            cache,
            late_errors: late.map(|(id, _)| *id).collect(),
            flights: state.flights.clone(),
            config: state.config.clone(),
            clock: Arc::clone(clock),
            rng: rng.child("image"),
        }
    }

    /// The disk after all processes were killed at that instant: the page cache is intact, flushes
    /// in the air are abandoned, no lock is held. Injected faults are not part of an image.
    ///
    /// # Panics
    /// When the operating system refuses anonymous memory.
    #[must_use]
    pub fn after_kill(&self) -> Arc<SimDisk> {
        SimDisk::from_image(self)
    }

    /// The disk after power loss at that instant.
    ///
    /// # Panics
    /// When the operating system refuses anonymous memory.
    #[must_use]
    pub fn after_power_loss(&self, rng: &mut dyn RngCore) -> (Arc<SimDisk>, PowerLossReport) {
        let disk = SimDisk::from_image(self);
        let report = disk.power_loss(rng);
        (disk, report)
    }

    /// A hash of what processes and a power loss would find: names, lengths and bytes, both those of the
    /// page cache and those of the platter. Times do not count, nor does how it came about.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let durable = self.tree.durable_paths();
        for (id, node) in &self.tree.nodes {
            let path = node.linked.then_some(&node.path);
            let durable_path = durable.get(id);
            if path.is_none() && durable_path.is_none() {
                continue;
            }
            (path, durable_path).hash(&mut hasher);
            let Body::File(file) = &node.body else { continue };
            (file.len, file.durable_len, file.late_len, file.contents.len()).hash(&mut hasher);
            for content in &file.contents {
                for (page, durable) in content.pages.iter() {
                    (page, &durable.bytes[..]).hash(&mut hasher);
                }
            }
            for cached in self.cache.get(id).into_iter().flatten() {
                let platter = file.live().pages.get(&cached.page);
                if *cached.bytes != *platter.map_or(&ZERO_PAGE, |durable| &*durable.bytes) {
                    ("cached", cached.page, &cached.bytes[..]).hash(&mut hasher);
                }
            }
        }
        self.tree.journal.len().hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) fn rng(&self) -> &Rng {
        &self.rng
    }

    pub(super) fn state(&self) -> State {
        let latency = self.rng.stream("disk.latency");
        let mut state = State::new(self.config.clone(), self.tree.clone(), latency);
        for (id, pages) in &self.cache {
            let len = usize::try_from(self.tree.file(*id).len).expect("a mapped length");
            // A region may reach beyond a file that was rewritten shorter under it.
            let end = pages.last().map_or(0, |last| (last.page as usize + 1) * PAGE_SIZE);
            let memory =
                state.memory(*id, len.max(end)).expect("anonymous memory for a page cache");
            for cached in pages {
                memory.fill(cached.page as usize * PAGE_SIZE, &*cached.bytes);
                memory.set_unsynced(cached.page);
                if cached.dirty {
                    memory.set_dirty(cached.page);
                }
            }
        }
        for id in &self.late_errors {
            state.open.entry(*id).or_default().late_error = true;
        }
        state.flights.clone_from(&self.flights);
        for flight in &self.flights {
            state.abandon(flight.seq);
        }
        state
    }
}

impl PartialEq for DiskImage {
    fn eq(&self, other: &Self) -> bool {
        self.tree == other.tree
            && self.cache == other.cache
            && self.late_errors == other.late_errors
            && self.flights == other.flights
    }
}

impl fmt::Debug for DiskImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskImage")
            .field("nodes", &self.tree.nodes.len())
            .field("unsynced_pages", &self.cache.values().map(Vec::len).sum::<usize>())
            .field("pending_ops", &self.tree.journal.len())
            .finish_non_exhaustive()
    }
}
