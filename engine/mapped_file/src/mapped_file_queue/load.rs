//! Finding the files of a queue at start-up, also those that a crash left short or apart.

use std::io;
use std::sync::Arc;

use super::MappedFileQueue;
use crate::{LoadError, MappedFile};

/// What [`MappedFileQueue::load`] makes of the files that are there: oldest first, their offsets and
/// lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadPlan {
    /// Files that become the queue.
    pub kept: Vec<(u64, u64)>,
    /// Files behind a gap: they go.
    pub removed: Vec<(u64, u64)>,
}

impl MappedFileQueue {
    /// Maps the files of the directory; their positions stand at their ends until recovery knows
    /// better. Bytes below `durable_end` must be there: a missing or short file is an error below
    /// it, except that older files may have been removed in front. Above it a short file is filled
    /// up with zeros, and files behind a gap, which nothing reaches, are removed. With `None`
    /// nothing is known of the queue. Returns the whole files among those removed.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, durable_end: Option<u64>) -> Result<Vec<Arc<MappedFile>>, LoadError> {
        let plan = self.plan_load(durable_end)?;
        let mut files = Vec::with_capacity(plan.kept.len());
        let last = plan.kept.last().copied();
        for (from, len) in plan.kept {
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

    /// What [`MappedFileQueue::load`] would do. Changes nothing.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn plan_load(&self, durable_end: Option<u64>) -> Result<LoadPlan, LoadError> {
        let found = self.list_files()?;
        let known = durable_end.unwrap_or(0);
        let first = found.first().map_or(0, |(from, _)| *from);
        if (1..first).contains(&known) {
            let path = self.file_path(known - known % self.file_size as u64);
            return Err(LoadError::Missing { path });
        }
        // Where nothing was durable, a file that does not begin at 0 was never joined.
        let mut reached = if durable_end == Some(0) { 0 } else { first };
        for (index, (from, len)) in found.iter().copied().enumerate() {
            if from != reached {
                if reached < known {
                    return Err(LoadError::Missing { path: self.file_path(reached) });
                }
                let removed = found[index..].to_vec();
                return Ok(LoadPlan { kept: found[..index].to_vec(), removed });
            }
            let is_last = index + 1 == found.len();
            if !is_last && len < self.file_size as u64 && from + len < known {
                let path = self.file_path(from);
                return Err(LoadError::Length { path, len, expected: self.file_size });
            }
            reached = from + self.file_size as u64;
        }
        Ok(LoadPlan { kept: found, removed: Vec::new() })
    }

    /// Offsets and lengths of the directory's files, oldest first.
    fn list_files(&self) -> Result<Vec<(u64, u64)>, LoadError> {
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
            if from % self.file_size as u64 != 0 || entry.len > self.file_size as u64 {
                return Err(LoadError::Length { path, len: entry.len, expected: self.file_size });
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
            self.unsynced.add_file(&path);
        }
        let file = self.open_file(from).map_err(|source| LoadError::Io { path, source })?;
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
