//! Files over mmap, msync, fallocate and fsync.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use memmap2::MmapRaw;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::BoxFuture;
use crate::disk::{
    DirEntry, Disk, DiskSpace, FileLock, FileStat, MappedRegion, RegionTracker, not_attempted,
};

/// Unit of `st_blocks`, whatever the file system's blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

/// Bytes written at once where reserving means writing zeros.
const ZEROS_BYTES: usize = 1 << 20;

/// The bit of a file's mode by which its owner may write it.
const OWNER_WRITES: u32 = 0o200;

/// The machine's files.
pub(crate) struct OsDisk;

impl OsDisk {
    pub(crate) fn new() -> Self {
        OsDisk
    }
}

impl Disk for OsDisk {
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        let opened = Opened::of(path, len)?;
        // A file of the right length may have holes (a copy, one of Java's): a write into one would
        // be the process's death by SIGBUS once the file system is full.
        let has_holes = opened.meta.blocks() * STAT_BLOCK_BYTES < opened.wanted;
        let present = opened.meta.len();
        if present < opened.wanted || has_holes {
            reserve_whole(&opened.file, present, opened.wanted)?;
        }
        opened.region(path, false)
    }

    fn map_sparse(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        let opened = Opened::of(path, len)?;
        if opened.meta.len() < opened.wanted {
            opened.file.set_len(opened.wanted)?;
        }
        opened.region(path, true)
    }

    fn reserve(&self, region: &MappedRegion, range: Range<usize>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mapping = mapping_of(region)?;
        let file = mapping.open(true)?;
        reserve_range(&file, range.start as u64..range.end as u64)
    }

    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        let mapping = mapping_of(region);
        Box::pin(async move {
            let mapping = mapping?;
            let sync = move || mapping.mmap.flush_range(range.start, range.end - range.start);
            blocking(move || uninterrupted(sync)).await
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

    fn create_like(&self, model: &Path, path: &Path) -> io::Result<()> {
        let mut permissions = fs::metadata(model)?.permissions();
        // What is written is written by its path, now and should this process die before.
        permissions.set_mode(permissions.mode() | OWNER_WRITES);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_permissions(permissions)
    }

    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        let path = path.to_path_buf();
        Box::pin(blocking(move || File::open(path).map_err(not_attempted)?.sync_all()))
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

/// A file that is about to be mapped.
struct Opened {
    file: File,
    meta: fs::Metadata,
    /// The length that it is to have.
    wanted: u64,
}

impl Opened {
    /// Opens or creates `path`, which must not be longer than `len`.
    fn of(path: &Path, len: usize) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let meta = file.metadata()?;
        let wanted = u64::try_from(len).map_err(io::Error::other)?;
        if meta.len() > wanted {
            let text = format!("{} has {} bytes, more than {len}", path.display(), meta.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Opened { file, meta, wanted })
    }

    /// The region over the file, which has its length by now.
    #[expect(unsafe_code, reason = "a region over a fresh mapping")]
    fn region(self, path: &Path, is_sparse: bool) -> io::Result<MappedRegion> {
        let mapping = Arc::new(Mapping {
            mmap: MmapRaw::map_raw(&self.file)?,
            path: path.to_path_buf(),
            inode: (self.meta.dev(), self.meta.ino()),
        });
        let base = NonNull::new(mapping.mmap.as_mut_ptr())
            .ok_or_else(|| io::Error::other("mmap returned null"))?;
        let len = usize::try_from(self.wanted).map_err(io::Error::other)?;
        let tracker = is_sparse.then(|| Arc::clone(&mapping) as _);
        // SAFETY: `base` points at `len` mapped bytes that live as long as `mapping`, the owner, and
        // nothing else looks at them.
        Ok(unsafe { MappedRegion::new(base, len, tracker, mapping) })
    }
}

/// What keeps a file mapped. It holds no descriptor: a store may have more files than there are.
struct Mapping {
    mmap: MmapRaw,
    path: PathBuf,
    /// Device and number of the file, which its path may not name any more.
    inode: (u64, u64),
}

impl Mapping {
    fn open(&self, for_writing: bool) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(for_writing).open(&self.path)?;
        let meta = file.metadata()?;
        if (meta.dev(), meta.ino()) == self.inode {
            return Ok(file);
        }
        let text = format!("{} is another file by now", self.path.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

/// Attached to regions of sparse files only.
impl RegionTracker for Mapping {
    fn wrote(&self, _offset: usize, _len: usize) {}

    fn next_data(&self, from: usize) -> usize {
        let data = self.open(false).map_err(|_| Errno::NOENT);
        match data.and_then(|file| rustix::fs::seek(&file, SeekFrom::Data(from as u64))) {
            Ok(next) => usize::try_from(next).unwrap_or(usize::MAX),
            // Nothing but a hole is left.
            Err(Errno::NXIO) => usize::MAX,
            // Whoever asks looks for himself.
            Err(_) => from,
        }
    }
}

fn mapping_of(region: &MappedRegion) -> io::Result<Arc<Mapping>> {
    let mapping = Arc::clone(region.owner()).downcast::<Mapping>();
    mapping.map_err(|_| io::Error::other("region of another disk"))
}

/// Extends `file`, `present` bytes long, to `wanted` with all its blocks reserved. When there is no
/// space for them the file has its old length again.
fn reserve_whole(file: &File, present: u64, wanted: u64) -> io::Result<()> {
    let reserved = match allocate(file, 0..wanted) {
        Err(Errno::OPNOTSUPP) => write_zeros(file, present..wanted),
        other => other.map_err(io::Error::from),
    };
    if reserved.is_err() && present < wanted {
        file.set_len(present)?;
    }
    reserved
}

/// Reserves the blocks of a part of `file` that holds nothing but zeros.
fn reserve_range(file: &File, range: Range<u64>) -> io::Result<()> {
    match allocate(file, range.clone()) {
        Err(Errno::OPNOTSUPP) => write_zeros(file, range),
        other => other.map_err(io::Error::from),
    }
}

fn allocate(file: &File, range: Range<u64>) -> Result<(), Errno> {
    let len = range.end - range.start;
    rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(file, FallocateFlags::empty(), range.start, len)
    })
}

/// Makes a call again that a signal interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
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
