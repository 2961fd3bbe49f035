//! [`HeldDisk`]: the operating system's disk, whose syncs wait for the test.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mq_env::disk::{Disk, DiskLayer, MappedRegion};
use mq_env::{BoxFuture, Env};
use tokio::sync::watch;

/// Syncs of regions wait while it is held.
pub(crate) struct HeldDisk {
    disk: Arc<dyn Disk>,
    is_held: watch::Sender<bool>,
    fails: AtomicBool,
}

impl HeldDisk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(HeldDisk {
            disk: Env::os().disk,
            is_held: watch::Sender::new(false),
            fails: AtomicBool::new(false),
        })
    }

    pub(crate) fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
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
            let mut is_held = self.is_held.subscribe();
            is_held.wait_for(|is_held| !is_held).await.map_err(io::Error::other)?;
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("the disk is broken"));
            }
            self.disk.flush(region, range).await
        })
    }
}
