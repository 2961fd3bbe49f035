//! Finding the files of a queue at start-up, also those that a crash left short or apart.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mq_env::disk::MappedRegion;

use super::MappedFileQueue;
use crate::{LoadError, MappedFile};

/// A short file is searched for content in pieces of so many bytes.
const SEARCHED_BYTES: usize = 1 << 20;

/// At most so many missing files in a row are made of zeros.
const MISSING_MAX: u64 = 256;

/// What is known of a queue before its files are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Bytes below it must be there: a missing or short file is an error below it, except that older
    /// files may have been removed in front. Above it files behind a gap, which nothing reaches, are
    /// removed. `None`: nothing is known of the queue.
    pub durable_end: Option<u64>,
    /// A missing or cut file is no error: zeros take its place.
    pub is_salvage: bool,
}

/// What [`MappedFileQueue::load`] makes of the files that are there: oldest first, their offsets and
/// lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadPlan {
    /// Files that become the queue. Short ones are filled up with zeros.
    pub kept: Vec<(u64, u64)>,
    /// Files behind a gap: they go.
    pub removed: Vec<(u64, u64)>,
    /// Those among the kept ones that are not there and are made of zeros.
    pub missing: Vec<u64>,
}

impl MappedFileQueue {
    /// Maps the files of a plan; their positions stand at their ends until recovery knows better. Short
    /// files are filled up, those behind a gap removed. Of `looked`, what [`MappedFileQueue::look`] gave,
    /// whole files are taken as they are. Returns the whole files among those removed.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(
        &self,
        plan: &LoadPlan,
        looked: &[Arc<MappedFile>],
    ) -> Result<Vec<Arc<MappedFile>>, LoadError> {
        let mut files = Vec::with_capacity(plan.kept.len());
        let last = plan.kept.last().copied();
        for (from, len) in plan.kept.iter().copied() {
            let whole = looked.iter().find(|file| file.file_from_offset() == from);
            if let Some(file) = whole.filter(|_| len == self.file_size as u64) {
                files.push(Arc::clone(file));
                continue;
            }
            match self.map_whole(from, len) {
                Ok(file) => files.push(Arc::new(file)),
                Err(LoadError::Io { path, source })
                    if last == Some((from, 0)) && source.kind() == io::ErrorKind::StorageFull =>
                {
                    // It holds nothing, and the next roll makes it whole: reading can go on.
                    tracing::warn!(path = %path.display(), %source, "empty file is left out");
                }
                Err(error) => return Err(error),
            }
        }
        let removed = self.drop_behind_gap(&plan.removed)?;
        // A killed process may have made entries that only the page cache knows.
        if self.disk.stat(&self.dir).is_ok() {
            self.distrust_dirs();
        }
        *self.write_files() = files;
        Ok(removed)
    }

    /// The kept files of a plan as [`MappedFileQueue::load`] is going to have them. No file changes:
    /// whole ones are mapped, the others stand in memory.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn look(&self, plan: &LoadPlan) -> Result<Vec<Arc<MappedFile>>, LoadError> {
        let look = |(from, len): (u64, u64)| {
            if len == self.file_size as u64 {
                return Ok(Arc::new(self.map_whole(from, len)?));
            }
            let path = self.file_path(from);
            let copied =
                self.copy(&path, len).map(|region| MappedFile::over(path.clone(), from, region));
            let file = copied.map_err(|source| LoadError::Io { path, source })?;
            file.set_positions(self.file_size);
            Ok(Arc::new(file))
        };
        plan.kept.iter().copied().map(look).collect()
    }

    /// What [`MappedFileQueue::load`] is to do. Changes nothing.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn plan_load(&self, known: Known) -> Result<LoadPlan, LoadError> {
        let found = self.list_files(known)?;
        let durable = known.durable_end.unwrap_or(0);
        let first = found.first().map_or(0, |(from, _)| *from);
        if (1..first).contains(&durable) && !known.is_salvage {
            let path = self.file_path(durable - durable % self.file_size as u64);
            return Err(LoadError::Missing { path });
        }
        // Where nothing was durable, a file that does not begin at 0 was never joined.
        let mut reached = if known.durable_end == Some(0) { 0 } else { first };
        let mut plan = LoadPlan::default();
        for (index, (from, len)) in found.iter().copied().enumerate() {
            if from > reached && reached < durable && !known.is_salvage {
                return Err(LoadError::Missing { path: self.file_path(reached) });
            }
            if from > reached && reached >= durable {
                plan.removed = found[index..].to_vec();
                return Ok(plan);
            }
            if (from - reached) / self.file_size as u64 > MISSING_MAX {
                return Err(LoadError::Missing { path: self.file_path(reached) });
            }
            while reached < from {
                plan.missing.push(reached);
                plan.kept.push((reached, 0));
                reached += self.file_size as u64;
            }
            let is_last = index + 1 == found.len();
            let is_cut = !is_last && len < self.file_size as u64 && from + len < durable;
            if is_cut && !known.is_salvage {
                return Err(self.wrong_length(from, len));
            }
            plan.kept.push((from, len));
            reached = from + self.file_size as u64;
        }
        Ok(plan)
    }

    /// Whether a file that is shorter than it should be holds anything. A crash while it was made left
    /// zeros: nobody writes to it before it has its length.
    fn holds_data(&self, from: u64, len: u64) -> Result<bool, LoadError> {
        let path = self.file_path(from);
        let mut at = 0;
        while at < len {
            let read = self.disk.read_at(&path, at, SEARCHED_BYTES);
            let bytes = read.map_err(|source| LoadError::Io { path: path.clone(), source })?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(true);
            }
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
        }
        Ok(false)
    }

    /// Memory of a file's size that begins with what is at `path`.
    fn copy(&self, path: &Path, len: u64) -> io::Result<MappedRegion> {
        let region = MappedRegion::anonymous(self.file_size)?;
        let mut at = 0;
        while (at as u64) < len {
            let bytes = self.disk.read_at(path, at as u64, SEARCHED_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            region.write(at, &bytes);
            at += bytes.len();
        }
        Ok(region)
    }

    fn wrong_length(&self, from: u64, len: u64) -> LoadError {
        LoadError::Length { path: self.file_path(from), len, expected: self.file_size }
    }

    /// Offsets and lengths of the directory's files, oldest first. None may have been written with
    /// another size: a longer one was, and a shorter one that holds anything.
    fn list_files(&self, known: Known) -> Result<Vec<(u64, u64)>, LoadError> {
        let entries = match self.disk.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(LoadError::Io { path: self.dir.clone(), source }),
            Ok(entries) => entries,
        };
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = self.dir.join(&entry.name);
            let from = parse_file_name(&entry.name).filter(|_| !entry.is_dir);
            let Some(from) = from else {
                tracing::warn!(path = %path.display(), "not a file of the log, left alone");
                continue;
            };
            if from % self.file_size as u64 != 0 {
                return Err(LoadError::Name { path, expected: self.file_size });
            }
            let is_short = entry.len < self.file_size as u64 && !known.is_salvage;
            if entry.len > self.file_size as u64 || is_short && self.holds_data(from, entry.len)? {
                return Err(self.wrong_length(from, entry.len));
            }
            found.push((from, entry.len));
        }
        Ok(found)
    }

    /// Maps a file found with `len` bytes.
    fn map_whole(&self, from: u64, len: u64) -> Result<MappedFile, LoadError> {
        let path = self.file_path(from);
        if len < self.file_size as u64 {
            tracing::warn!(path = %path.display(), len, "short file is filled up with zeros");
            self.unsynced().files.push(path.clone());
        }
        let file = MappedFile::open(&*self.disk, path.clone(), from, self.file_size)
            .map_err(|source| LoadError::Io { path, source })?;
        file.set_positions(self.file_size);
        Ok(file)
    }

    /// Files behind a gap are unreachable: above the durable end they go. Returns the whole ones.
    fn drop_behind_gap(&self, files: &[(u64, u64)]) -> Result<Vec<Arc<MappedFile>>, LoadError> {
        let mut removed = Vec::new();
        for (from, len) in files {
            let path = self.file_path(*from);
            if *len == self.file_size as u64 {
                // Its bytes can be looked at as long as somebody has it.
                removed.push(Arc::new(self.map_whole(*from, *len)?));
            }
            tracing::warn!(path = %path.display(), "file behind a gap is removed");
            self.disk.remove(&path).map_err(|source| LoadError::Io { path, source })?;
        }
        Ok(removed)
    }
}

/// The offset that a file name of 20 digits stands for.
fn parse_file_name(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| name.parse().ok())
        .flatten()
}
