//! [`DoneFile`]: the keys of what was consumed, in a file that is replaced as a whole.
//!
//! The file is a JSON object: each key with when it was done, in ms by the wall clock, which is the one that
//! goes on while the process does not run. A file that is cut off is no JSON, and gives way to the version before.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mq_env::Env;
use mq_env::clock::Clock;
use mq_env::disk::replaced_file::{create_dir, load_file, replace_file, settle_files};
use mq_env::disk::{Disk, FileLock};
use mq_protocol::fastjson::{JsonReadError, from_slice, to_bytes};

use super::deduplicator::DeduplicatorError;

/// Keys, each with how long ago it was done, in ms.
pub(crate) type Ages = Vec<(Arc<str>, i64)>;

/// The file of one deduplicator, which has it for itself.
pub(crate) struct DoneFile {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    /// Held by whoever writes.
    writing: tokio::sync::Mutex<Writing>,
}

struct Writing {
    /// Of the keys that the file holds.
    revision: u64,
    /// `None` once the file is closed.
    lock: Option<FileLock>,
}

impl DoneFile {
    /// Takes the file at `path` and reads it; the oldest keys come first.
    ///
    /// # Errors
    /// When somebody else has it, nothing sound is left of it, or the disk refuses.
    pub(crate) async fn open(env: &Env, path: &Path) -> Result<(Self, Ages), DeduplicatorError> {
        let refused = |error: io::Error| DeduplicatorError::disk(path, &error);
        let (disk, clock) = (Arc::clone(&env.disk), Arc::clone(&env.clock));
        // The directory has to have a parent with a name: its entry is made durable there.
        let path = &if path.is_relative() { Path::new(".").join(path) } else { path.to_owned() };
        let has_parent = |dir: &&Path| dir.parent().is_some_and(|it| !it.as_os_str().is_empty());
        let dir = path.parent().filter(has_parent).ok_or_else(|| refused(no_directory()))?;
        for parent in create_dir(&*disk, dir).map_err(refused)? {
            disk.sync(&parent).await.map_err(refused)?;
        }
        let lock = disk.lock(&path_of_lock(path)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DeduplicatorError::InUse { path: path.to_path_buf() },
            _ => refused(error),
        })?;
        settle_files(&*disk, dir).await.map_err(refused)?;
        let done_at_ms = load_file(&*disk, path, decode)?.unwrap_or_default();
        let now_ms = clock.now_millis() as i64;
        // Of a clock that was put back the ages would be negative.
        let age_ms = |at_ms: i64| now_ms.saturating_sub(at_ms).max(0);
        let ages = done_at_ms.into_iter().map(|(key, at_ms)| (key.into(), age_ms(at_ms)));
        let mut ages: Ages = ages.collect();
        ages.sort_by_key(|(_, age_ms)| std::cmp::Reverse(*age_ms));
        let writing = tokio::sync::Mutex::new(Writing { revision: 0, lock: Some(lock) });
        Ok((DoneFile { disk, clock, path: path.to_path_buf(), writing }, ages))
    }

    /// Writes what `newer_than` says: a revision and its keys, if there is a newer one than that of the file.
    ///
    /// # Errors
    /// What the disk says, or that the file is closed.
    pub(crate) async fn write(
        &self,
        newer_than: impl FnOnce(u64) -> Option<(u64, Ages)>,
    ) -> Result<(), DeduplicatorError> {
        let mut writing = self.writing.lock().await;
        let Some((revision, ages)) = newer_than(writing.revision) else { return Ok(()) };
        if writing.lock.is_none() {
            return Err(DeduplicatorError::ShutDown { path: self.path.clone() });
        }
        let now_ms = self.clock.now_millis() as i64;
        let done_at_ms =
            ages.into_iter().map(|(key, age_ms)| (key.to_string(), now_ms.saturating_sub(age_ms)));
        let content = to_bytes(&done_at_ms.collect::<BTreeMap<_, _>>());
        let is_sound = |before: &[u8]| decode(before).is_ok();
        let replaced = replace_file(&*self.disk, &self.path, is_sound, &content).await;
        replaced.map_err(|error| DeduplicatorError::disk(&self.path, &error))?;
        writing.revision = revision;
        Ok(())
    }

    /// Gives the file up: nothing is written any more, somebody else may open it.
    pub(crate) async fn close(&self) {
        self.writing.lock().await.lock = None;
    }
}

fn no_directory() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "put it into a directory of its own")
}

fn path_of_lock(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn decode(content: &[u8]) -> Result<BTreeMap<String, i64>, JsonReadError> {
    from_slice(content)
}
