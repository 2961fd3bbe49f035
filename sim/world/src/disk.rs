//! The simulated disk of one machine: a page cache over a platter.
//!
//! [`SimDisk`] outlives processes. Each incarnation of a process gets a [`DiskHandle`], the engine's
//! `Disk`; what one process writes the others of the machine see at once. What survives what:
//!
//! | | page cache | platter | locks, regions |
//! |---|---|---|---|
//! | [`process_died`](SimDisk::process_died) | stays | stays | gone for that process |
//! | [`power_loss`](SimDisk::power_loss) | gone | stays, plus a seeded part of the rest | gone |
//! | [`destroy`](SimDisk::destroy) | gone | gone | gone |
//!
//! **Content.** Bytes reach the page cache at once. A flush captures the dirty 4 KiB pages of its range
//! at the call and puts them on the platter after a drawn latency; background
//! [`writeback`](SimDisk::writeback) puts any dirty pages there in any order. At power loss each page
//! that differs from the platter becomes new, old, or torn at 512 B sectors, independently of all
//! others. Pages that a failed flush left clean differ as well, and are lost as well.
//!
//! **Names and sizes** wait in a journal, of which power loss keeps a seeded prefix. A sync of a
//! directory commits its entries, a sync of a file its size, and neither commits more (see the module
//! `journal` for the exact rule); in particular a new directory is durable only after a sync of its
//! parent. Since pages do not follow the journal, a rename may survive without the data renamed.
//! The size that `Disk::write` gives a file may be lost even where the rename survived.
//!
//! **Space.** Mapping reserves all blocks of the file, writing those of the data; both fail with
//! `StorageFull`. A file mapped sparse has those that were reserved, after power loss those that were
//! written; a write to a hole panics. A removed file gives its blocks back once no living process maps it.
//!
//! Everything is drawn from named streams or from the stream passed in: the same calls with the same
//! seed give the same disk. A file of 1 GiB costs what was touched of it. Not simulated: symbolic and
//! hard links, permissions, access times, growing a file while it is mapped.
//!
//! **Faults.** Syncs that fail, lie, hang or take long; writes that land nowhere or in the wrong place
//! ([`FlushErrorMode`]); reads that fail ([`SimDisk::fail_reads`]); no descriptors
//! ([`SimDisk::fail_opens`]); bits that rot ([`SimDisk::rot`]); a
//! disk that fills up ([`SimDisk::set_capacity`]).
//!
//! Modules in reading order: `errno`, `tree`, `journal`, `memory`, `blocks`, `region`, `state`, `flush`, `ticket`, `faults`,
//! `damage`, `power`, `image`, `observe`, `handle`, `inspect`.

mod blocks;
mod damage;
mod errno;
mod faults;
mod flush;
mod handle;
mod image;
mod inspect;
mod journal;
mod memory;
mod observe;
mod power;
mod region;
mod state;
#[cfg(test)]
mod tests;
mod ticket;
mod tree;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::clock::Clock;
use mq_env::disk::PAGE_SIZE;
use mq_env::rng::Rng;
use rand::{Rng as _, RngCore};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

pub use self::damage::{DamageKind, DeviceDamage};
pub use self::faults::{DescriptorFault, FlushErrorMode, FlushFault, ReadFault};
pub use self::handle::DiskHandle;
pub use self::image::DiskImage;
pub use self::inspect::SyncNote;
pub use self::journal::MetadataOp;
pub use self::observe::{
    DiskEvent, DiskObserver, DiskStats, FlushOutcome, MicroOp, MicroOpObserver,
};
pub use self::power::{FileLoss, PageFate, PageLoss, PowerLossReport, SECTOR_SIZE};
pub use self::region::EpochId;

use self::observe::MicroOps;
use self::power::Dice;
use self::state::State;
use self::tree::{NodeId, Tree};

/// What a disk is like when it is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimDiskConfig {
    /// Capacity in bytes; whole pages are used.
    pub capacity_bytes: u64,
    /// How long syncs take.
    pub latency: LatencyProfile,
}

impl Default for SimDiskConfig {
    /// 64 GiB with the default latency.
    fn default() -> Self {
        SimDiskConfig { capacity_bytes: 64 << 30, latency: LatencyProfile::default() }
    }
}

/// How long syncs take, drawn evenly from ranges of whole milliseconds. A call that finds nothing to
/// write takes no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyProfile {
    /// A flush of a region or a sync of a file.
    pub flush_ms: RangeInclusive<u64>,
    /// A sync of a directory.
    pub dir_sync_ms: RangeInclusive<u64>,
}

impl LatencyProfile {
    /// The same range for every kind of sync.
    #[must_use]
    pub fn uniform(range_ms: RangeInclusive<u64>) -> Self {
        LatencyProfile { flush_ms: range_ms.clone(), dir_sync_ms: range_ms }
    }
}

impl Default for LatencyProfile {
    /// 1 to 4 ms: a datacenter disk.
    fn default() -> Self {
        LatencyProfile::uniform(1..=4)
    }
}

/// The disk of one machine. See the module.
pub struct SimDisk {
    state: Mutex<State>,
    micro_ops: Arc<MicroOps>,
    observer: Mutex<Option<Arc<dyn DiskObserver>>>,
    clock: Arc<dyn Clock>,
    rng: Rng,
    /// Wakes flushes that wait out a hang.
    unhung: Notify,
}

impl SimDisk {
    /// What its machine's wall clock shows, milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.clock.now_millis()
    }

    /// An empty disk. `clock` gives the files their times, `rng` the stream `disk.latency`.
    #[must_use]
    pub fn new(config: SimDiskConfig, clock: Arc<dyn Clock>, rng: Rng) -> Arc<Self> {
        let latency = rng.stream("disk.latency");
        Arc::new(SimDisk::with(State::new(config, Tree::new(), latency), clock, rng))
    }

    /// A disk as it was when `image` was taken, without processes and injected faults.
    ///
    /// # Panics
    /// When the operating system refuses anonymous memory.
    #[must_use]
    pub fn from_image(image: &DiskImage) -> Arc<Self> {
        let clock = Arc::clone(image.clock());
        Arc::new(SimDisk::with(image.state(), clock, image.rng().clone()))
    }

    fn with(state: State, clock: Arc<dyn Clock>, rng: Rng) -> Self {
        SimDisk {
            state: Mutex::new(state),
            micro_ops: Arc::default(),
            observer: Mutex::new(None),
            clock,
            rng,
            unhung: Notify::new(),
        }
    }

    /// The disk as one new incarnation of `process` sees it. The name appears in error texts.
    #[must_use]
    pub fn handle(self: &Arc<Self>, process: &str) -> Arc<DiskHandle> {
        let epoch = self.lock().new_epoch(process);
        Arc::new(DiskHandle::new(Arc::clone(self), epoch))
    }

    /// The process behind the handle has died. Its locks are free, its flushes in the air never
    /// return, its calls fail, and a write to a region that it mapped panics. The page cache stays.
    /// Call it before dropping the process's tasks, so that no `Drop` code reaches the disk.
    pub fn process_died(&self, epoch: EpochId) {
        self.lock().end_epoch(epoch);
    }

    /// The machine loses power: all processes die as in [`SimDisk::process_died`], and of what was
    /// not synced a seeded part survives. Regions of the dead keep showing the old bytes. Capacity,
    /// latency, a hang and injected faults belong to the device and outlast it.
    pub fn power_loss(&self, rng: &mut dyn RngCore) -> PowerLossReport {
        self.cut_power(Dice::drawn(rng))
    }

    /// Like [`SimDisk::power_loss`], and nothing that was not synced survives.
    pub fn power_loss_worst(&self) -> PowerLossReport {
        self.cut_power(Dice::Worst)
    }

    /// Like [`SimDisk::power_loss`], and `choose` decides: called with the number of outcomes of each free
    /// choice it returns which one it is, from 0. All of what it may return are all outcomes: prefixes
    /// of the journal, late sizes, and per page every mixture of old and new sectors. Always 0 is
    /// [`SimDisk::power_loss_worst`]. Later choices may depend on earlier ones.
    pub fn power_loss_by(&self, choose: &mut dyn FnMut(u64) -> u64) -> PowerLossReport {
        self.cut_power(Dice::Chosen(choose))
    }

    fn cut_power(&self, dice: Dice<'_>) -> PowerLossReport {
        let report = self.lock().cut_power(dice, self.clock.now_millis());
        self.emit(|| DiskEvent::PowerLost { report: &report });
        report
    }

    /// Power loss, and the disk is empty afterwards.
    pub fn destroy(&self) {
        self.lock().destroy();
        self.emit(|| DiskEvent::Destroyed);
    }

    /// Makes everything durable that is not, except what a failed flush left clean: what an orderly
    /// unmount does. Takes no time and obeys no injected fault but keeps off the files of one.
    pub fn settle(&self) {
        self.lock().write_back_all(self.clock.now_millis());
    }

    /// Background writeback, all kernels do it sometime: a seeded subset of the dirty pages becomes
    /// durable, and a seeded prefix of the metadata journal. Does nothing while the disk hangs, and
    /// keeps off the files of an injected fault.
    pub fn writeback(&self, rng: &mut dyn RngCore) {
        let mut state = self.lock();
        if state.hung {
            return;
        }
        let (pages, metadata_ops) = state.write_back(rng, self.clock.now_millis());
        drop(state);
        if pages + metadata_ops > 0 {
            self.emit(|| DiskEvent::WroteBack { pages, metadata_ops });
        }
    }

    /// Background writeback at random intervals of `mean_ms` on average, for as long as it is polled;
    /// none at all for 0.
    pub async fn write_back_for_ever(self: Arc<Self>, mean_ms: u64, mut rng: ChaCha8Rng) {
        if mean_ms == 0 {
            return;
        }
        loop {
            let pause_ms = rng.random_range(1..=2 * mean_ms);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            self.writeback(&mut rng);
        }
    }

    /// Lets flushes and syncs fail that end from now on.
    pub fn fail_flushes(&self, fault: FlushFault) {
        self.lock().faults.push(fault);
    }

    /// Takes all injected flush errors away.
    pub fn clear_flush_faults(&self) {
        self.lock().faults.clear();
    }

    /// Lets reads and maps of files with content fail from now on.
    pub fn fail_reads(&self, fault: ReadFault) {
        self.lock().read_faults.push(fault);
    }

    /// Takes all injected read errors away.
    pub fn clear_read_faults(&self) {
        self.lock().read_faults.clear();
    }

    /// Lets opens of files and directories fail from now on.
    pub fn fail_opens(&self, fault: DescriptorFault) {
        self.lock().open_faults.push(fault);
    }

    /// Takes all injected failures of opens away.
    pub fn clear_open_faults(&self) {
        self.lock().open_faults.clear();
    }

    /// Bit rot: flips the bits of `mask` in the byte at `offset` of what the platter holds of `path`.
    /// Processes see it at once unless the page waits for a sync, which then heals it. `false` when
    /// the platter has no such file or a shorter one.
    pub fn rot(&self, path: &Path, offset: u64, mask: u8) -> bool {
        let mut state = self.lock();
        let Some(id) = state.durable_file(path) else { return false };
        if offset >= state.tree.file(id).durable_len {
            return false;
        }
        state.rot(id, offset, mask);
        drop(state);
        self.emit(|| DiskEvent::Rotted { path, offset });
        true
    }

    /// Bit rot at seeded places: flips up to `bits` bits of synced data, of bytes that are not zero, in
    /// the files whose path contains `part`. Spares pages that wait for a sync. Returns the places.
    pub fn rot_somewhere(&self, part: &str, bits: u32) -> Vec<(PathBuf, u64)> {
        let places = self.lock().draw_rot(part, bits, &self.rng);
        let rotted = |(path, offset, mask): (PathBuf, u64, u8)| {
            self.rot(&path, offset, mask).then_some((path, offset))
        };
        places.into_iter().filter_map(rotted).collect()
    }

    /// What the device damaged of `path` and nothing has overwritten since, ascending.
    #[must_use]
    pub fn damage(&self, path: &Path) -> Vec<DeviceDamage> {
        let state = self.lock();
        state.durable_file(path).map_or_else(Vec::new, |id| state.tree.file(id).damage())
    }

    /// Whether the device has ever damaged anything, overwritten since or not: a question that costs nothing.
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        self.lock().tree.was_damaged
    }

    /// Sets how long syncs take that begin from now on.
    pub fn set_latency(&self, latency: LatencyProfile) {
        self.lock().latency = latency;
    }

    /// Multiplies what is drawn for syncs that begin from now on.
    ///
    /// # Panics
    /// When `scale` is negative or no number.
    pub fn set_latency_scale(&self, scale: f64) {
        assert!(scale >= 0.0, "a latency scale of {scale}");
        self.lock().latency_scale = scale;
    }

    /// Latency as configured again, scale 1.
    pub fn reset_latency(&self) {
        let mut state = self.lock();
        state.latency = state.config.latency.clone();
        state.latency_scale = 1.0;
    }

    /// From now on no flush or sync ends, those in the air included.
    pub fn hang(&self) {
        self.lock().hung = true;
    }

    /// Ends a hang: what was due is done at once.
    pub fn unhang(&self) {
        self.lock().hung = false;
        self.unhung.notify_waiters();
    }

    /// Sets the capacity in bytes. What exceeds it stays.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.lock().config.capacity_bytes = capacity_bytes;
    }

    /// Somebody else writes until no more than `free_bytes` are free; whether there was more.
    pub fn fill(&self, free_bytes: u64) -> bool {
        let mut state = self.lock();
        let surplus = state.free_pages().saturating_sub(free_bytes / PAGE_SIZE as u64);
        state.ballast_pages += surplus;
        surplus > 0
    }

    /// Gives back what [`SimDisk::fill`] took.
    pub fn unfill(&self) {
        self.lock().ballast_pages = 0;
    }

    /// The state at this instant.
    #[must_use]
    pub fn image(&self) -> DiskImage {
        DiskImage::of(&self.lock(), &self.clock, &self.rng)
    }

    /// How many persistence micro-operations were done.
    #[must_use]
    pub fn micro_ops(&self) -> u64 {
        self.micro_ops.count()
    }

    /// Has `observer` called after each micro-operation, or nobody.
    pub fn observe_micro_ops(&self, observer: Option<MicroOpObserver>) {
        self.micro_ops.observe(observer);
    }

    /// Has `observer` told of events, or nobody.
    pub fn observe(&self, observer: Option<Arc<dyn DiskObserver>>) {
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = observer;
    }

    /// Counts since the disk was made.
    #[must_use]
    pub fn stats(&self) -> DiskStats {
        self.lock().stats
    }

    /// Path of an inode for an event; absent, and not copied, while nobody listens.
    fn path_if_observed(&self, state: &State, id: NodeId) -> Option<PathBuf> {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        observer.as_ref().map(|_| state.tree.node(id).path.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds and reports an event if somebody listens. The disk must not be locked.
    fn emit<'a>(&self, event: impl FnOnce() -> DiskEvent<'a>) {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(observer) = observer {
            observer.event(&event());
        }
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("micro_ops", &self.micro_ops()).finish_non_exhaustive()
    }
}
