//! [`UnsyncedEntries`]: what a power loss could undo although its bytes are flushed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_env::disk::{Disk, was_attempted};

/// New files, whose lengths, and directories, whose entries are not known to be durable. Queues that
/// are flushed together share one, so that a directory that leads to many of them is synced once.
#[derive(Clone, Debug, Default)]
pub struct UnsyncedEntries {
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug, Default)]
struct Noted {
    files: BTreeSet<PathBuf>,
    dirs: BTreeSet<PathBuf>,
}

impl UnsyncedEntries {
    /// Has the next sync include a file's length.
    pub(super) fn add_file(&self, path: &Path) {
        self.noted().files.insert(path.to_path_buf());
    }

    /// Has the next sync include the entries of directories.
    pub(super) fn add_dirs<'a>(&self, dirs: impl Iterator<Item = &'a Path>) {
        self.noted().dirs.extend(dirs.map(Path::to_path_buf));
    }

    /// Forgets a file that is going.
    pub(super) fn forget_file(&self, path: &Path) {
        self.noted().files.remove(path);
    }

    /// Forgets a directory that is going, and all below it.
    pub fn forget_below(&self, dir: &Path) {
        let mut noted = self.noted();
        noted.files.retain(|path| !path.starts_with(dir));
        noted.dirs.retain(|path| !path.starts_with(dir));
    }

    /// Syncs what was noted before the call: files first, then the directories. What could not be
    /// attempted is noted again. One caller at a time, and no file goes meanwhile.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        let Noted { files, dirs } = std::mem::take(&mut *self.noted());
        for path in files.iter().chain(&dirs) {
            let synced = disk.sync(path).await;
            if synced.as_ref().is_err_and(|error| !was_attempted(error)) {
                let mut noted = self.noted();
                noted.files.extend(files);
                noted.dirs.extend(dirs);
                return synced;
            }
            synced?;
        }
        Ok(())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
