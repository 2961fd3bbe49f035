//! [`DiskLayer`]: a disk in front of another one.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::{DirEntry, Disk, DiskSpace, FileLock, FileStat, MappedRegion};
use crate::BoxFuture;

/// A disk in front of another one: what it does not say itself it passes on. Tests hold calls back with
/// it, count them or have them fail.
pub trait DiskLayer: Send + Sync {
    /// The disk that does the work.
    fn below(&self) -> &dyn Disk;

    /// As [`Disk::map`].
    ///
    /// # Errors
    /// What the disk says.
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        self.below().map(path, len)
    }

    /// As [`Disk::map_sparse`].
    ///
    /// # Errors
    /// What the disk says.
    fn map_sparse(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        self.below().map_sparse(path, len)
    }

    /// As [`Disk::reserve`].
    ///
    /// # Errors
    /// What the disk says.
    fn reserve(&self, region: &MappedRegion, range: Range<usize>) -> io::Result<()> {
        self.below().reserve(region, range)
    }

    /// As [`Disk::flush`].
    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        self.below().flush(region, range)
    }

    /// As [`Disk::sync`].
    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        self.below().sync(path)
    }

    /// As [`Disk::space`].
    ///
    /// # Errors
    /// What the disk says.
    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        self.below().space(dir)
    }
}

impl<T: DiskLayer> Disk for T {
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        DiskLayer::map(self, path, len)
    }

    fn map_sparse(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        DiskLayer::map_sparse(self, path, len)
    }

    fn reserve(&self, region: &MappedRegion, range: Range<usize>) -> io::Result<()> {
        DiskLayer::reserve(self, region, range)
    }

    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        DiskLayer::flush(self, region, range)
    }

    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        DiskLayer::sync(self, path)
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        DiskLayer::space(self, dir)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.below().read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.below().read_at(path, offset, len)
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.below().write(path, data)
    }

    fn create_like(&self, model: &Path, path: &Path) -> io::Result<()> {
        self.below().create_like(model, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.below().remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.below().remove_dir(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.below().create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.below().list(dir)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.below().stat(path)
    }

    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        self.below().lock(path)
    }
}
