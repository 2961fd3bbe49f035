//! Removing files at the front, the oldest first: what expires.
//!
//! A file is *retired* first: it leaves the queue, so that nobody finds it any more. Its name goes
//! from the directory once no reader holds its bytes, or when told not to wait; a reader keeps what
//! it holds either way. The last file is never retired. Names go one at a time and durably, so that
//! whatever a power loss leaves is a row of files without a gap.
//!
//! Java origin: `MappedFileQueue.deleteExpiredFileByTime`, `retryDeleteFirstFile` of RocketMQ 4.9,
//! where a file that hangs stays in the list and is unmapped under its readers in the end.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::MappedFileQueue;
use crate::MappedFile;

/// What became of the retired files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// None is left.
    Gone,
    /// The oldest one left is held by a reader.
    Pinned,
}

impl MappedFileQueue {
    /// Takes the oldest file out of the queue if it begins at `file_from_offset` and is not the last
    /// one; whether it did.
    pub fn retire_first(&self, file_from_offset: u64) -> bool {
        let mut files = self.write_files();
        let is_first = files.len() > 1 && files[0].file_from_offset() == file_from_offset;
        if is_first {
            let (first, next) = (files[0].file_end_offset(), files[1].file_from_offset());
            assert_eq!(first, next, "the row has no gap where its first file goes");
            self.retired().push(files.remove(0));
        }
        is_first
    }

    /// Whether a file is retired and still in the directory.
    #[must_use]
    pub fn has_retired(&self) -> bool {
        !self.retired().is_empty()
    }

    /// Removes the retired files from the directory, durably. Stops at one that a reader holds, unless
    /// told to force it. The caller excludes flushes, which sync new files by name.
    ///
    /// # Errors
    /// What the disk says; the file is tried again by the next call.
    pub async fn remove_retired(&self, force: bool) -> io::Result<Retired> {
        loop {
            let (path, from) = {
                let retired = self.retired();
                let Some(file) = retired.first() else { return Ok(Retired::Gone) };
                if Arc::strong_count(file) > 1 && !force {
                    return Ok(Retired::Pinned);
                }
                (file.path().to_path_buf(), file.file_from_offset())
            };
            self.unsynced.forget_file(&path);
            self.remove_name(&path)?;
            self.disk.sync(&self.dir).await?;
            self.retired().retain(|file| file.file_from_offset() != from);
        }
    }

    pub(super) fn retired(&self) -> MutexGuard<'_, Vec<Arc<MappedFile>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
