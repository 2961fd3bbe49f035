//! [`HeldDisk`]: the operating system's disk, whose syncs wait for the test.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mq_env::disk::{Disk, DiskLayer, MappedRegion};
use mq_env::watched::Watched;
use mq_env::{BoxFuture, Env};

/// Syncs of regions wait while it is held.
pub(crate) struct HeldDisk {
    disk: Arc<dyn Disk>,
    is_held: Watched<bool>,
    fails: AtomicBool,
}

impl HeldDisk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(HeldDisk {
            disk: Env::os().disk,
            is_held: Watched::new(false),
            fails: AtomicBool::new(false),
        })
    }

    pub(crate) fn hold(&self, is_held: bool) {
        self.is_held.set(is_held);
    }

    /// From now on every sync of a region fails.
    pub(crate) fn fail(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }
}

impl DiskLayer for HeldDisk {
    fn below(&self) -> &dyn Disk {
        &*self.disk
    }

    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.is_held.wait_for(|is_held| !is_held).await;
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("the disk is broken"));
            }
            self.disk.flush(region, range).await
        })
    }
}
