//! Everything behind the disk's lock: the file system, its page cache, and how the device behaves.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

use mq_env::disk::PAGE_SIZE;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::faults::{DescriptorFault, FlushFault, ReadFault};
use super::flush::Flight;
use super::memory::{Memory, Page, ZERO_PAGE};
use super::observe::DiskStats;
use super::region::{Epoch, EpochId, Mapping};
use super::tree::{NodeId, Tree, pages_of};
use super::{LatencyProfile, SimDiskConfig};

/// Page-cache memory up to this size is given back once it equals the platter and nobody maps it.
const SMALL_BYTES: usize = 64 << 10;

/// The state of a disk.
pub(super) struct State {
    pub(super) tree: Tree,
    /// Files that the kernel holds something of.
    pub(super) open: BTreeMap<NodeId, Open>,
    /// Flushes between capture and landing, in order of capture.
    pub(super) flights: Vec<Flight>,
    pub(super) faults: Vec<FlushFault>,
    pub(super) read_faults: Vec<ReadFault>,
    pub(super) open_faults: Vec<DescriptorFault>,
    pub(super) config: SimDiskConfig,
    pub(super) latency: LatencyProfile,
    pub(super) latency_scale: f64,
    pub(super) latency_rng: ChaCha8Rng,
    pub(super) hung: bool,
    /// Pages that somebody else occupies.
    pub(super) ballast_pages: u64,
    /// How often bits rotted at random.
    pub(super) rots: u32,
    pub(super) epochs: BTreeMap<EpochId, Arc<Epoch>>,
    pub(super) next_epoch: u64,
    pub(super) next_lock: u64,
    pub(super) stats: DiskStats,
}

/// What the kernel holds of a file; gone with the power.
#[derive(Default)]
pub(super) struct Open {
    /// Absent while the live content equals the platter's newest generation.
    pub(super) memory: Option<Arc<Memory>>,
    mappings: Vec<Weak<Mapping>>,
    pub(super) lock: Option<Lock>,
    /// The next flush reports an error of an earlier one.
    pub(super) late_error: bool,
}

/// Who holds a file's lock.
pub(super) struct Lock {
    pub(super) epoch: EpochId,
    /// Distinguishes successive locks of the same file.
    pub(super) number: u64,
}

impl Open {
    /// Whether a living process maps the file.
    pub(super) fn is_mapped(&self) -> bool {
        self.mappings
            .iter()
            .any(|mapping| mapping.upgrade().is_some_and(|mapping| mapping.epoch.is_alive()))
    }
}

impl State {
    pub(super) fn new(config: SimDiskConfig, tree: Tree, latency_rng: ChaCha8Rng) -> Self {
        State {
            tree,
            open: BTreeMap::new(),
            flights: Vec::new(),
            faults: Vec::new(),
            read_faults: Vec::new(),
            open_faults: Vec::new(),
            latency: config.latency.clone(),
            config,
            latency_scale: 1.0,
            latency_rng,
            hung: false,
            ballast_pages: 0,
            rots: 0,
            epochs: BTreeMap::new(),
            next_epoch: 1,
            next_lock: 1,
            stats: DiskStats::default(),
        }
    }

    /// Begins an incarnation of `process`.
    pub(super) fn new_epoch(&mut self, process: &str) -> Arc<Epoch> {
        let id = EpochId(self.next_epoch);
        self.next_epoch += 1;
        let epoch = Arc::new(Epoch::new(id, process));
        self.epochs.insert(id, Arc::clone(&epoch));
        epoch
    }

    /// Ends one: its locks go, what it had submitted may still land.
    pub(super) fn end_epoch(&mut self, id: EpochId) {
        let Some(epoch) = self.epochs.remove(&id) else { return };
        epoch.die();
        for open in self.open.values_mut() {
            open.lock.take_if(|lock| lock.epoch == id);
        }
        let abandoned: Vec<u64> =
            self.flights.iter().filter(|flight| flight.epoch == id).map(|f| f.seq).collect();
        for seq in abandoned {
            self.abandon(seq);
        }
    }

    /// Draws a duration in whole milliseconds.
    pub(super) fn draw_ms(&mut self, range: RangeInclusive<u64>) -> u64 {
        let drawn = self.latency_rng.random_range(range);
        (drawn as f64 * self.latency_scale).round() as u64
    }

    /// Free pages, after giving back those of removed files that nobody maps any more.
    pub(super) fn free_pages(&mut self) -> u64 {
        self.sweep();
        let taken = self.tree.used_pages + self.ballast_pages;
        (self.config.capacity_bytes / PAGE_SIZE as u64).saturating_sub(taken)
    }

    fn sweep(&mut self) {
        let State { tree, open, .. } = self;
        let gone: Vec<NodeId> = tree
            .unlinked
            .iter()
            .copied()
            .filter(|id| open.get(id).is_none_or(|open| !open.is_mapped()))
            .collect();
        for id in gone {
            tree.used_pages -= tree.file(id).used_pages();
            tree.unlinked.remove(&id);
            open.remove(&id);
            tree.reap(id);
        }
    }

    /// Memory that shows the live content of file `id` and has room for `len` bytes.
    ///
    /// # Panics
    /// When a living process maps the file with memory that is too short.
    pub(super) fn memory(&mut self, id: NodeId, len: usize) -> io::Result<Arc<Memory>> {
        let open = self.open.entry(id).or_default();
        if let Some(memory) = &open.memory
            && memory.capacity() >= len
        {
            return Ok(Arc::clone(memory));
        }
        assert!(
            !open.is_mapped(),
            "{} grows to {len} bytes while a process maps it shorter: not simulated",
            self.tree.node(id).path.display()
        );
        let memory = Memory::new(len)?;
        for (page, durable) in self.tree.file(id).live().pages.iter() {
            memory.fill(*page as usize * PAGE_SIZE, &*durable.bytes);
        }
        if let Some(shorter) = open.memory.take() {
            for page in shorter.unsynced_pages() {
                memory.fill(page as usize * PAGE_SIZE, shorter.page(page));
                memory.set_unsynced(page);
                if shorter.is_dirty(page) {
                    memory.set_dirty(page);
                }
            }
        }
        let memory = Arc::new(memory);
        open.memory = Some(Arc::clone(&memory));
        Ok(memory)
    }

    /// Notes a region of file `id`.
    pub(super) fn mapped(&mut self, id: NodeId, mapping: &Arc<Mapping>) {
        let open = self.open.entry(id).or_default();
        open.mappings.retain(|mapping| mapping.strong_count() > 0);
        open.mappings.push(Arc::downgrade(mapping));
    }

    /// Gives memory back that is worth nothing.
    pub(super) fn release_memory(&mut self, id: NodeId) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let worthless = open.memory.as_ref().is_some_and(|memory| {
            memory.capacity() <= SMALL_BYTES && memory.unsynced_pages().next().is_none()
        });
        if worthless && !open.is_mapped() {
            open.memory = None;
        }
    }

    /// Cuts file `id` to nothing; regions of it read zeros from then on.
    pub(super) fn truncate(&mut self, id: NodeId) {
        self.tree.used_pages -= self.tree.file(id).used_pages();
        self.tree.file_mut(id).blocks = None;
        let open = self.open.entry(id).or_default();
        if open.is_mapped() {
            if let Some(memory) = &open.memory {
                let file = self.tree.file(id);
                let unsynced: Vec<u32> = memory.unsynced_pages().collect();
                for page in file.live().pages.keys().chain(&unsynced) {
                    memory.fill(*page as usize * PAGE_SIZE, &ZERO_PAGE);
                    memory.clear_dirty(*page);
                    memory.clear_unsynced(*page);
                }
            }
        } else {
            open.memory = None;
        }
        self.tree.truncate(id);
    }

    /// Writes `data` into the empty file `id`, as far as there is space.
    pub(super) fn fill(&mut self, id: NodeId, data: &[u8], now_ms: u64) -> io::Result<usize> {
        let room = self.free_pages().saturating_mul(PAGE_SIZE as u64);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
        if fits > 0 {
            let memory = self.memory(id, fits)?;
            memory.fill(0, &data[..fits]);
            memory.mark_written(0, fits);
            self.tree.used_pages += pages_of(fits as u64);
            let file = self.tree.file_mut(id);
            file.len = fits as u64;
            file.late_len = Some(fits as u64);
        }
        self.tree.node_mut(id).modified_ms = now_ms;
        Ok(fits)
    }

    /// The bytes of a page as processes see them.
    pub(super) fn live_page(&self, id: NodeId, page: u32) -> &Page {
        match self.open.get(&id).and_then(|open| open.memory.as_ref()) {
            Some(memory) => memory.page(page),
            None => durable_page(&self.tree, id, page),
        }
    }

    /// Whether a page may differ between page cache and platter.
    pub(super) fn memory_of(&self, id: NodeId) -> Option<&Arc<Memory>> {
        self.open.get(&id).and_then(|open| open.memory.as_ref())
    }

    /// Copies live bytes from `offset` on.
    pub(super) fn read_live(&self, id: NodeId, offset: usize, target: &mut [u8]) {
        if let Some(memory) = self.memory_of(id) {
            target.copy_from_slice(memory.bytes(offset..offset + target.len()));
        } else {
            read_pages(offset, target, |page| durable_page(&self.tree, id, page));
        }
    }
}

/// A page of the newest generation on the platter.
fn durable_page(tree: &Tree, id: NodeId, page: u32) -> &Page {
    tree.file(id).live().pages.get(&page).map_or(&ZERO_PAGE, |durable| &*durable.bytes)
}

/// Copies bytes that lie in pages.
pub(super) fn read_pages<'a>(offset: usize, target: &mut [u8], page: impl Fn(u32) -> &'a Page) {
    let mut at = offset;
    let end = offset + target.len();
    while at < end {
        let (index, inside) = (at / PAGE_SIZE, at % PAGE_SIZE);
        let count = (PAGE_SIZE - inside).min(end - at);
        let bytes = &page(index as u32)[inside..inside + count];
        target[at - offset..at - offset + count].copy_from_slice(bytes);
        at += count;
    }
}
