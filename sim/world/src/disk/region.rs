//! A process's view of a file: [`Epoch`], one incarnation of a process, and [`Mapping`], one region
//! that it mapped.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mq_env::disk::{MappedRegion, PAGE_SIZE, RegionTracker};

use super::blocks::Blocks;
use super::memory::Memory;
use super::observe::{MicroOp, MicroOps};
use super::tree::NodeId;

/// Names one incarnation of a process on a disk; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochId(pub(super) u64);

/// One incarnation of a process.
pub(super) struct Epoch {
    pub(super) id: EpochId,
    process: String,
    alive: AtomicBool,
}

impl Epoch {
    pub(super) fn new(id: EpochId, process: &str) -> Self {
        Epoch { id, process: process.to_owned(), alive: AtomicBool::new(true) }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub(super) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    /// What a call of a dead process gets: nobody is left to see it, but `Drop` code may run.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        let text = format!("process {} has died, its call reaches no disk", self.process);
        Err(io::Error::new(io::ErrorKind::BrokenPipe, text))
    }
}

/// One mapped region: owner of its memory and tracker of its writes.
pub(super) struct Mapping {
    pub(super) node: NodeId,
    pub(super) memory: Arc<Memory>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) micro_ops: Arc<MicroOps>,
    pub(super) path: PathBuf,
    pub(super) len: usize,
    /// Of a sparse file.
    pub(super) blocks: Option<Blocks>,
}

impl Mapping {
    /// The region that the engine sees.
    #[expect(unsafe_code, reason = "a region over the page cache's memory")]
    pub(super) fn region(self: &Arc<Self>) -> MappedRegion {
        assert!(self.len <= self.memory.capacity(), "a region longer than its memory");
        let base = self.memory.base();
        // SAFETY: `base` points at no less than `len` readable and writable bytes that live as long
        // as the mapping, the owner. The disk makes references to them only for the length of a
        // comparison or copy, while the world's only thread cannot write.
        unsafe {
            MappedRegion::new(base, self.len, Some(Arc::clone(self) as _), Arc::clone(self) as _)
        }
    }
}

impl RegionTracker for Mapping {
    /// # Panics
    /// When the process that mapped the region is dead: its code must not run any more. And when it
    /// writes to a hole, which would end a process once the disk is full.
    fn wrote(&self, offset: usize, len: usize) {
        assert!(
            self.epoch.is_alive(),
            "stale region: process {} has died, yet {len} bytes at {offset} of its region of {} \
             were written",
            self.epoch.process,
            self.path.display()
        );
        if len > 0 {
            if let Some(blocks) = &self.blocks {
                let mut pages = offset / PAGE_SIZE..=(offset + len - 1) / PAGE_SIZE;
                assert!(
                    pages.all(|page| blocks.contains(page as u32)),
                    "SIGBUS to come: {len} bytes at {offset} of {} were written to a hole",
                    self.path.display()
                );
            }
            self.memory.mark_written(offset, len);
            self.micro_ops.done(MicroOp::RegionWrite);
        }
    }

    fn next_data(&self, from: usize) -> usize {
        self.memory.next_used(from)
    }
}
