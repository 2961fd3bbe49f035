//! [`HeldDisk`]: the operating system's disk, whose syncs wait for the test.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mq_env::disk::{DirEntry, Disk, DiskSpace, FileLock, FileStat, MappedRegion};
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

impl Disk for HeldDisk {
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        self.disk.map(path, len)
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

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read_at(path, offset, len)
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.disk.write(path, data)
    }

    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        self.disk.sync(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(dir)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.disk.stat(path)
    }

    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        self.disk.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        self.disk.space(dir)
    }
}
