//! [`DiskHandle`]: the engine's `Disk` over a [`SimDisk`], for one incarnation of a process.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, MutexGuard};

use mq_env::BoxFuture;
use mq_env::disk::{
    DirEntry, Disk, DiskSpace, FileLock, FileStat, MappedRegion, PAGE_SIZE, not_attempted,
};

use super::SimDisk;
use super::blocks::Blocks;
use super::errno::Errno;
use super::faults;
use super::flush::page_range;
use super::journal::Place;
use super::observe::{DiskEvent, MicroOp};
use super::region::{Epoch, EpochId, Mapping};
use super::state::{Lock, State};
use super::ticket::Ticket;
use super::tree::{Body, NodeId, pages_of};

/// A process's way to its machine's disk. Errors are those of Linux, in kind and words.
pub struct DiskHandle {
    disk: Arc<SimDisk>,
    epoch: Arc<Epoch>,
}

impl DiskHandle {
    pub(super) fn new(disk: Arc<SimDisk>, epoch: Arc<Epoch>) -> Self {
        DiskHandle { disk, epoch }
    }

    /// Names this incarnation for [`SimDisk::process_died`].
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.epoch.id
    }

    /// The locked state, unless the process is dead.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        self.epoch.check()?;
        Ok(self.disk.lock())
    }

    fn now_ms(&self) -> u64 {
        self.disk.clock.now_millis()
    }

    /// EIO if reads of `path` fail.
    fn check_readable(&self, mut state: MutexGuard<'_, State>, path: &Path) -> io::Result<()> {
        if !faults::take_read(&mut state.read_faults, path) {
            return Ok(());
        }
        state.stats.read_errors += 1;
        drop(state);
        self.disk.emit(|| DiskEvent::ReadFailed { path });
        Err(Errno::IO.into())
    }

    /// The file at `path`, created if it is missing, to be mapped.
    fn open_to_map(&self, path: &Path) -> io::Result<NodeId> {
        let id = self.open_or_create(path)?;
        let state = self.state()?;
        if state.tree.file(id).len > 0 {
            self.check_readable(state, path)?;
        }
        Ok(id)
    }

    /// EMFILE while the process has no descriptor for `path`.
    fn check_open(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        if !faults::take_open(&mut state.open_faults, path) {
            return Ok(());
        }
        state.stats.open_errors += 1;
        drop(state);
        self.disk.emit(|| DiskEvent::OpenFailed { path });
        Err(Errno::MFILE.into())
    }

    /// The file at `path`, created if it is missing.
    fn open_or_create(&self, path: &Path) -> io::Result<NodeId> {
        self.check_open(path)?;
        let now_ms = self.now_ms();
        let mut state = self.state()?;
        if let Some(id) = state.tree.find_file(path)? {
            return Ok(id);
        }
        let (dir, name) = state.tree.resolve_parent(path)?;
        let id = state.tree.create(Place { dir, name: name.to_owned() }, path, false, now_ms);
        drop(state);
        self.disk.micro_ops.done(MicroOp::Create);
        Ok(id)
    }

    /// Extends file `id` to `len` bytes with all blocks reserved.
    fn reserve_whole(&self, id: NodeId, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let present = state.tree.file(id).len;
        if present > len {
            return Err(longer(path, present, len));
        }
        let wanted = pages_of(len) - state.tree.file(id).used_pages();
        let free = state.free_pages();
        if wanted > free {
            return Err(self.no_space(state, path, wanted, free));
        }
        if present < len {
            self.extend(&mut state, id, len)?;
        }
        state.tree.used_pages += wanted;
        if let Some(blocks) = state.tree.file_mut(id).blocks.take() {
            blocks.allocate_all();
        }
        drop(state);
        if present < len {
            self.disk.micro_ops.done(MicroOp::Extend);
        }
        Ok(())
    }

    /// Extends file `id` to `len` bytes without blocks for what is new.
    fn extend_sparse(&self, id: NodeId, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let present = state.tree.file(id).len;
        if present >= len {
            return if present == len { Ok(()) } else { Err(longer(path, present, len)) };
        }
        self.extend(&mut state, id, len)?;
        let file = state.tree.file_mut(id);
        file.blocks = Some(match file.blocks.take() {
            Some(blocks) => Blocks::new(pages_of(len), blocks.allocated()),
            None => Blocks::new(pages_of(len), 0..pages_of(present) as u32),
        });
        drop(state);
        self.disk.micro_ops.done(MicroOp::Extend);
        Ok(())
    }

    fn extend(&self, state: &mut State, id: NodeId, len: u64) -> io::Result<()> {
        // Before the size changes: it may find that a region stands in the way.
        state.memory(id, usize::try_from(len).map_err(io::Error::other)?)?;
        state.tree.extend(id, len);
        state.tree.node_mut(id).modified_ms = self.now_ms();
        Ok(())
    }

    fn no_space(
        &self,
        mut state: MutexGuard<'_, State>,
        path: &Path,
        wanted: u64,
        free: u64,
    ) -> io::Error {
        state.stats.no_space += 1;
        drop(state);
        let page = PAGE_SIZE as u64;
        let (wanted_bytes, free_bytes) = (wanted * page, free * page);
        self.disk.emit(|| DiskEvent::NoSpace { path, wanted_bytes, free_bytes });
        Errno::NOSPC.into()
    }

    /// The file at `path`, created if it is missing, cut to nothing if it is not.
    fn open_truncated(&self, path: &Path) -> io::Result<NodeId> {
        let id = self.open_or_create(path)?;
        let mut state = self.state()?;
        if state.tree.file(id).len > 0 {
            state.truncate(id);
            drop(state);
            self.disk.micro_ops.done(MicroOp::Truncate);
        }
        Ok(id)
    }

    /// The mapping behind a region of this disk.
    fn mapping_of(&self, region: &MappedRegion) -> io::Result<Arc<Mapping>> {
        Arc::clone(region.owner())
            .downcast::<Mapping>()
            .ok()
            .filter(|mapping| Arc::ptr_eq(&mapping.micro_ops, &self.disk.micro_ops))
            .ok_or_else(|| io::Error::other("region of another disk"))
    }

    /// A region over file `id`, which has its length by now.
    fn region(&self, id: NodeId, path: &Path, len: usize) -> io::Result<MappedRegion> {
        let mut state = self.state()?;
        let mapping = Arc::new(Mapping {
            node: id,
            memory: state.memory(id, len)?,
            epoch: Arc::clone(&self.epoch),
            micro_ops: Arc::clone(&self.disk.micro_ops),
            path: path.to_path_buf(),
            len,
            blocks: state.tree.file(id).blocks.as_ref().map(Blocks::share),
        });
        state.mapped(id, &mapping);
        Ok(mapping.region())
    }

    fn begin_flush(&self, region: &MappedRegion, range: Range<usize>) -> io::Result<Ticket> {
        let mapping = self.mapping_of(region)?;
        if range.start > range.end || range.end > region.len() {
            return Err(Errno::INVAL.into());
        }
        let range = range.start as u64..range.end as u64;
        Ok(if self.epoch.is_alive() && mapping.epoch.is_alive() {
            Ticket::begin(&self.disk, &self.epoch, mapping.node, range)
        } else {
            Ticket::of_the_dead(&self.disk)
        })
    }

    fn begin_sync(&self, path: &Path) -> io::Result<Ticket> {
        if !self.epoch.is_alive() {
            return Ok(Ticket::of_the_dead(&self.disk));
        }
        self.check_open(path).map_err(not_attempted)?;
        let state = self.state()?;
        let id = state.tree.resolve(path).map_err(not_attempted)?;
        let len = match &state.tree.node(id).body {
            Body::File(file) => file.len,
            Body::Dir(_) => 0,
        };
        drop(state);
        Ok(Ticket::begin(&self.disk, &self.epoch, id, 0..len))
    }

    /// Creates the first missing directory on the way to `path`; `false` when none is missing.
    fn create_next_dir(&self, path: &Path) -> io::Result<bool> {
        let now_ms = self.now_ms();
        let mut state = self.state()?;
        let mut missing = None;
        for ancestor in path.ancestors() {
            match state.tree.resolve(ancestor) {
                Ok(id) if state.tree.is_dir(id) => break,
                // A file in the place of the last directory, or of one on the way.
                Ok(_) if missing.is_none() => return Err(Errno::EXIST.into()),
                Ok(_) => return Err(Errno::NOTDIR.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = Some(ancestor),
                Err(error) => return Err(error),
            }
        }
        let Some(path) = missing else { return Ok(false) };
        let (dir, name) = state.tree.resolve_parent(path)?;
        state.tree.create(Place { dir, name: name.to_owned() }, path, true, now_ms);
        Ok(true)
    }

    fn unlink(&self, path: &Path, wants_dir: bool) -> io::Result<()> {
        let now_ms = self.now_ms();
        let mut state = self.state()?;
        let id = state.tree.resolve(path)?;
        match &state.tree.node(id).body {
            Body::Dir(_) if !wants_dir => return Err(Errno::ISDIR.into()),
            Body::File(_) if wants_dir => return Err(Errno::NOTDIR.into()),
            Body::Dir(dir) if !dir.entries.is_empty() => return Err(Errno::NOTEMPTY.into()),
            _ => {}
        }
        let (dir, name) = state.tree.resolve_parent(path)?;
        state.tree.unlink(Place { dir, name: name.to_owned() }, id, now_ms);
        drop(state);
        self.disk.micro_ops.done(MicroOp::Remove);
        Ok(())
    }
}

impl Disk for DiskHandle {
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        let id = self.open_to_map(path)?;
        self.reserve_whole(id, path, len as u64)?;
        self.region(id, path, len)
    }

    fn map_sparse(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        let id = self.open_to_map(path)?;
        self.extend_sparse(id, path, len as u64)?;
        self.region(id, path, len)
    }

    fn reserve(&self, region: &MappedRegion, range: Range<usize>) -> io::Result<()> {
        let mapping = self.mapping_of(region)?;
        self.check_open(&mapping.path)?;
        let mut state = self.state()?;
        let Some(blocks) = state.tree.file(mapping.node).blocks.as_ref().map(Blocks::share) else {
            return Ok(());
        };
        let pages = page_range(&(range.start as u64..range.end as u64));
        let missing: Vec<u32> = pages.filter(|page| !blocks.contains(*page)).collect();
        let (wanted, free) = (missing.len() as u64, state.free_pages());
        if wanted > free {
            return Err(self.no_space(state, &mapping.path, wanted, free));
        }
        missing.into_iter().for_each(|page| blocks.allocate(page));
        state.tree.used_pages += wanted;
        Ok(())
    }

    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        let ticket = self.begin_flush(region, range);
        Box::pin(async move { ticket?.wait().await })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check_open(path)?;
        self.check_readable(self.state()?, path)?;
        let state = self.state()?;
        let id = state.tree.find_file(path)?.ok_or(Errno::NOENT)?;
        let len = usize::try_from(state.tree.file(id).len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        state.read_live(id, 0, &mut bytes);
        Ok(bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.check_open(path)?;
        self.check_readable(self.state()?, path)?;
        let state = self.state()?;
        let id = state.tree.find_file(path)?.ok_or(Errno::NOENT)?;
        let rest = state.tree.file(id).len.saturating_sub(offset);
        let rest = usize::try_from(rest).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(rest)];
        if !bytes.is_empty() {
            state.read_live(id, offset as usize, &mut bytes);
        }
        Ok(bytes)
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let id = self.open_truncated(path)?;
        if data.is_empty() {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let mut state = self.state()?;
        let written = state.fill(id, data, now_ms)?;
        let error = if written < data.len() {
            let wanted = pages_of(data.len() as u64) - pages_of(written as u64);
            let free = state.free_pages();
            Some(self.no_space(state, path, wanted, free))
        } else {
            drop(state);
            None
        };
        if written > 0 {
            self.disk.micro_ops.done(MicroOp::FileWrite);
        }
        error.map_or(Ok(()), Err)
    }

    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        let ticket = self.begin_sync(path);
        Box::pin(async move { ticket?.wait().await })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let now_ms = self.now_ms();
        let mut state = self.state()?;
        let (from_dir, from_name) = state.tree.resolve_parent(from)?;
        let (to_dir, to_name) = state.tree.resolve_parent(to)?;
        let id = state.tree.resolve(from)?;
        let is_dir = state.tree.is_dir(id);
        if from != to && to.starts_with(from) {
            return Err(Errno::INVAL.into());
        }
        if let Some(replaced) = state.tree.dir(to_dir)?.entries.get(to_name) {
            match &state.tree.node(*replaced).body {
                _ if *replaced == id => return Ok(()),
                _ if from.starts_with(to) => return Err(Errno::NOTEMPTY.into()),
                Body::Dir(_) if !is_dir => return Err(Errno::ISDIR.into()),
                Body::File(_) if is_dir => return Err(Errno::NOTDIR.into()),
                Body::Dir(dir) if !dir.entries.is_empty() => return Err(Errno::NOTEMPTY.into()),
                _ => {}
            }
        }
        let from = Place { dir: from_dir, name: from_name.to_owned() };
        let place = Place { dir: to_dir, name: to_name.to_owned() };
        state.tree.rename(id, from, place, to, now_ms);
        drop(state);
        self.disk.micro_ops.done(MicroOp::Rename);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.unlink(path, false)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.unlink(path, true)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        while self.create_next_dir(path)? {
            self.disk.micro_ops.done(MicroOp::Create);
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.check_open(dir)?;
        let state = self.state()?;
        let id = state.tree.resolve(dir)?;
        let entries = state.tree.dir(id)?.entries.iter();
        let entry = |(name, id): (&String, &NodeId)| {
            let (len, is_dir) = match &state.tree.node(*id).body {
                Body::File(file) => (file.len, false),
                Body::Dir(_) => (0, true),
            };
            DirEntry { name: name.clone(), len, is_dir }
        };
        Ok(entries.map(entry).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        let state = self.state()?;
        let node = state.tree.node(state.tree.resolve(path)?);
        let (len, is_dir) = match &node.body {
            Body::File(file) => (file.len, false),
            Body::Dir(_) => (0, true),
        };
        Ok(FileStat { len, is_dir, modified_ms: node.modified_ms })
    }

    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        let id = self.open_or_create(path)?;
        let mut state = self.state()?;
        let number = state.next_lock;
        let open = state.open.entry(id).or_default();
        if open.lock.is_some() {
            return Err(Errno::AGAIN.into());
        }
        open.lock = Some(Lock { epoch: self.epoch.id, number });
        state.next_lock += 1;
        Ok(FileLock::new(Box::new(Holder { disk: Arc::clone(&self.disk), file: id, number })))
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let mut state = self.state()?;
        state.tree.resolve(dir)?;
        state.stats.filled_answers += u64::from(state.ballast_pages > 0);
        let free_bytes = state.free_pages() * PAGE_SIZE as u64;
        Ok(DiskSpace { total_bytes: state.config.capacity_bytes, free_bytes })
    }
}

impl std::fmt::Debug for DiskHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskHandle").field("epoch", &self.epoch.id).finish_non_exhaustive()
    }
}

fn longer(path: &Path, present: u64, len: u64) -> io::Error {
    let text = format!("{} has {present} bytes, more than {len}", path.display());
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Releases a file's lock when dropped, if it is still the one that was taken.
struct Holder {
    disk: Arc<SimDisk>,
    file: NodeId,
    number: u64,
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(open) = self.disk.lock().open.get_mut(&self.file) {
            open.lock.take_if(|lock| lock.number == self.number);
        }
    }
}
