//! Files over mmap, msync, fallocate and fsync.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use memmap2::MmapRaw;
use rustix::fs::FallocateFlags;

use crate::BoxFuture;
use crate::disk::{DirEntry, Disk, DiskSpace, FileLock, FileStat, MappedRegion};

/// Unit of `st_blocks`, whatever the file system's blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

/// Bytes written at once where reserving means writing zeros.
const ZEROS_BYTES: usize = 1 << 20;

/// The machine's files.
pub(crate) struct OsDisk;

impl OsDisk {
    pub(crate) fn new() -> Self {
        OsDisk
    }
}

impl Disk for OsDisk {
    #[expect(unsafe_code, reason = "a region over a fresh mapping")]
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let meta = file.metadata()?;
        let present = meta.len();
        let wanted = u64::try_from(len).map_err(io::Error::other)?;
        if present > wanted {
            let text = format!("{} has {present} bytes, more than {len}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // A file of the right length may have holes (a copy, one of Java's): a write into one would
        // be the process's death by SIGBUS once the file system is full.
        let has_holes = meta.blocks() * STAT_BLOCK_BYTES < wanted;
        if present < wanted || has_holes {
            reserve(&file, present, wanted)?;
        }
        let mmap = Arc::new(MmapRaw::map_raw(&file)?);
        let base = NonNull::new(mmap.as_mut_ptr())
            .ok_or_else(|| io::Error::other("mmap returned null"))?;
        // SAFETY: `base` points at `len` mapped bytes that live as long as `mmap`, the owner, and
        // nothing else looks at them.
        Ok(unsafe { MappedRegion::new(base, len, None, mmap) })
    }

    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        let mmap = Arc::clone(region.owner()).downcast::<MmapRaw>();
        Box::pin(async move {
            let mmap = mmap.map_err(|_| io::Error::other("region of another disk"))?;
            blocking(move || mmap.flush_range(range.start, range.end - range.start)).await
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(io::SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(len);
        file.take(len as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        fs::write(path, data)
    }

    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        let path = path.to_path_buf();
        Box::pin(blocking(move || File::open(path)?.sync_all()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let name = entry.file_name().into_string().map_err(|name| {
                let text = format!("{} is not UTF-8", name.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            let len = if meta.is_dir() { 0 } else { meta.len() };
            entries.push(DirEntry { name, len, is_dir: meta.is_dir() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        let meta = fs::metadata(path)?;
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(FileStat {
            len: if meta.is_dir() { 0 } else { meta.len() },
            is_dir: meta.is_dir(),
            modified_ms: u64::try_from(modified.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        lock_first_byte(&file)?;
        Ok(FileLock::new(Box::new(file)))
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(dir)?;
        // What is kept for root is not there for us.
        let total_blocks = stat.f_blocks - stat.f_bfree + stat.f_bavail;
        Ok(DiskSpace {
            total_bytes: total_blocks * stat.f_frsize,
            free_bytes: stat.f_bavail * stat.f_frsize,
        })
    }
}

/// Extends `file`, `present` bytes long, to `wanted` with all its blocks reserved. When there is no
/// space for them the file has its old length again.
fn reserve(file: &File, present: u64, wanted: u64) -> io::Result<()> {
    let reserved = match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, wanted) {
        Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(file, present..wanted),
        other => other.map_err(io::Error::from),
    };
    if reserved.is_err() && present < wanted {
        file.set_len(present)?;
    }
    reserved
}

/// Reserves the slow way, where the file system knows no other.
fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = range.start;
    while at < range.end {
        let len = ZEROS_BYTES.min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
        file.write_all_at(&zeros[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

/// An open-file-description lock on byte range [0, 1): it excludes Java's `FileChannel.tryLock(0, 1)`
/// as well as a second holder in this process, and does not go when another descriptor is closed.
#[expect(unsafe_code, reason = "fcntl has no safe wrapper for ranged locks")]
fn lock_first_byte(file: &File) -> io::Result<()> {
    // SAFETY: an all-zero flock is a valid value of that plain C struct.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_len = 1;
    // SAFETY: the descriptor is open and `range` lives across the call.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs a blocking call away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(call).await.map_err(io::Error::other)?
}
