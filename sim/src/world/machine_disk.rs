//! The disk of a machine, as the world needs it.

use std::io;
use std::ops::Range;
use std::path::Path;

use mq_env::BoxFuture;
use mq_env::disk::{DirEntry, Disk, DiskSpace, FileLock, FileStat, MappedRegion};

/// The disk of a process that has none: every call fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDisk;

fn none<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Disk for NoDisk {
    fn map(&self, _path: &Path, _len: usize) -> io::Result<MappedRegion> {
        none()
    }

    fn flush<'a>(
        &'a self,
        _region: &'a MappedRegion,
        _range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async { none() })
    }

    fn read(&self, _path: &Path) -> io::Result<Vec<u8>> {
        none()
    }

    fn write(&self, _path: &Path, _data: &[u8]) -> io::Result<()> {
        none()
    }

    fn sync<'a>(&'a self, _path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async { none() })
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        none()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        none()
    }

    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        none()
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        none()
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<DirEntry>> {
        none()
    }

    fn stat(&self, _path: &Path) -> io::Result<FileStat> {
        none()
    }

    fn lock(&self, _path: &Path) -> io::Result<FileLock> {
        none()
    }

    fn space(&self, _dir: &Path) -> io::Result<DiskSpace> {
        none()
    }
}
