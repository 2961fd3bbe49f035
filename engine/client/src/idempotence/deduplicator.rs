//! [`Deduplicator`]: which keys were consumed, and which are being consumed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::Env;
use mq_env::disk::replaced_file::DamagedFile;
use mq_env::task::TaskGroup;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::done_file::{Ages, DoneFile};
use super::done_keys::DoneKeys;

/// The file is written once in this time, if anything is new.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// How much a [`Deduplicator`] remembers. Whatever bound is met first, the oldest keys are forgotten: a duplicate that
/// comes later is consumed once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicatorConfig {
    /// Most keys.
    pub capacity: usize,
    /// Most bytes of all keys together: producers choose how long keys are. About a hundred bytes a key come
    /// to these.
    pub key_bytes_max: usize,
    /// How long a key is remembered. A day is longer than the sixteen redeliveries of a message take.
    pub retention: Duration,
}

impl Default for DeduplicatorConfig {
    fn default() -> Self {
        DeduplicatorConfig {
            capacity: 50_000,
            key_bytes_max: 16 << 20,
            retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Why the file of a [`Deduplicator`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeduplicatorError {
    /// Nothing sound is left of it.
    #[error(
        "{0}; put back a sound one, or remove both: what was consumed may be consumed once more then"
    )]
    Damaged(#[from] DamagedFile),
    /// Another deduplicator has it, in this process or in another one.
    #[error("{path} is another deduplicator's: give each consumer a file of its own")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The deduplicator is shut down, and has keys that are not in the file.
    #[error("keys that were done after the shutdown are not written to {path}")]
    ShutDown {
        /// The file.
        path: PathBuf,
    },
    /// The disk refuses.
    #[error("the keys in {path} cannot be used: {reason}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        reason: String,
    },
}

impl DeduplicatorError {
    /// What the disk says of the file at `path`.
    pub(crate) fn disk(path: &Path, error: &std::io::Error) -> Self {
        DeduplicatorError::Disk { path: path.to_path_buf(), reason: error.to_string() }
    }
}

/// What is known of a key.
#[must_use]
pub enum Claim {
    /// Nothing: it is the caller's now, until the claim is done or dropped.
    Granted(KeyClaim),
    /// Another delivery of it is at work: try later.
    UnderWay,
    /// It was consumed.
    Done,
}

/// Remembers the keys of what one consumer group has consumed, within the bounds of a [`DeduplicatorConfig`].
///
/// A group needs one of its own: what one group has consumed, another has not. Consumers of one group in one
/// process may share it.
pub struct Deduplicator {
    shared: Arc<Shared>,
    /// Of whoever writes the file.
    tasks: Option<TaskGroup>,
}

struct Shared {
    config: DeduplicatorConfig,
    /// Ages count from here.
    base: Instant,
    state: Mutex<State>,
    /// The state has a new revision.
    changed: Notify,
    file: Option<DoneFile>,
}

#[derive(Default)]
struct State {
    done: DoneKeys,
    /// As many as messages are with listeners: consumers bound them.
    under_way: BTreeSet<Arc<str>>,
    /// Raised with each key that is done.
    revision: u64,
}

impl Deduplicator {
    /// One that forgets everything when the process ends.
    ///
    /// # Panics
    /// With a capacity of 0, which remembers nothing.
    #[must_use]
    pub fn new(config: DeduplicatorConfig) -> Self {
        Deduplicator { shared: Arc::new(Shared::new(config, None)), tasks: None }
    }

    /// One that knows what an earlier life of the process has consumed: the keys are kept in the file at `path`,
    /// with its version before in `<path>.bak`. It is written as a whole, once a second while keys are added,
    /// and by [`Deduplicator::flush`] and [`Deduplicator::shutdown`]; choose a capacity whose file
    /// may be written that often.
    ///
    /// What a crash costs: keys that were done since the last write, about a second of them, are forgotten. If
    /// their messages come again (offsets are committed every five seconds), they are consumed once more.
    ///
    /// # Errors
    /// When another deduplicator has the file, nothing sound is left of it, it is in no directory of its own
    /// (`done.json` alone), or the disk refuses.
    ///
    /// # Panics
    /// With a capacity of 0, which remembers nothing.
    pub async fn open(
        env: &Env,
        path: impl Into<PathBuf>,
        config: DeduplicatorConfig,
    ) -> Result<Self, DeduplicatorError> {
        let (file, ages) = DoneFile::open(env, &path.into()).await?;
        let shared = Arc::new(Shared::new(config, Some(file)));
        shared.recall(ages);
        let tasks = env.tasks.child();
        tasks
            .spawn_until_cancelled("client deduplicator", Arc::clone(&shared).write_now_and_then());
        Ok(Deduplicator { shared, tasks: Some(tasks) })
    }

    /// Asks for a key, and takes it if nothing is known of it.
    pub fn claim(&self, key: &str) -> Claim {
        let mut state = self.shared.state();
        state.done.expire(self.shared.since_ms());
        if state.done.contains(key) {
            return Claim::Done;
        }
        if state.under_way.contains(key) {
            return Claim::UnderWay;
        }
        let key: Arc<str> = key.into();
        state.under_way.insert(Arc::clone(&key));
        Claim::Granted(KeyClaim { shared: Arc::clone(&self.shared), key, is_done: false })
    }

    /// How many keys are known to be done.
    #[must_use]
    pub fn done_count(&self) -> usize {
        let mut state = self.shared.state();
        state.done.expire(self.shared.since_ms());
        state.done.len()
    }

    /// Writes the file now, if anything is new. What was done before the call survives the process afterwards.
    ///
    /// # Errors
    /// When the disk refuses, or after a shutdown.
    pub async fn flush(&self) -> Result<(), DeduplicatorError> {
        self.shared.write().await
    }

    /// Writes the file and gives it up; to be called after the consumer's own shutdown. What is done later is
    /// remembered only in memory.
    ///
    /// # Errors
    /// When the disk refuses; the file is given up all the same.
    pub async fn shutdown(&self) -> Result<(), DeduplicatorError> {
        if let Some(tasks) = &self.tasks {
            tasks.shutdown().await;
        }
        let written = self.flush().await;
        if let Some(file) = &self.shared.file {
            file.close().await;
        }
        written
    }
}

impl Drop for Deduplicator {
    /// Nothing is written any more.
    fn drop(&mut self) {
        if let Some(tasks) = &self.tasks {
            tasks.cancel();
        }
    }
}

impl Shared {
    fn new(config: DeduplicatorConfig, file: Option<DoneFile>) -> Self {
        assert!(config.capacity > 0, "a deduplicator with a capacity of 0 remembers nothing");
        let (state, changed) = (Mutex::default(), Notify::new());
        Shared { config, base: Instant::now(), state, changed, file }
    }

    /// Takes over what was read, the oldest first.
    fn recall(&self, ages: Ages) {
        let (mut state, now_ms) = (self.state(), self.now_ms());
        for (key, age_ms) in ages {
            state.done.insert(key, now_ms.saturating_sub(age_ms));
        }
        state.done.expire(self.since_ms());
        state.done.shrink(self.config.capacity, self.config.key_bytes_max);
    }

    fn done(&self, key: &Arc<str>) {
        let mut state = self.state();
        assert!(state.under_way.remove(key), "a key is claimed once");
        state.done.insert(Arc::clone(key), self.now_ms());
        state.done.expire(self.since_ms());
        state.done.shrink(self.config.capacity, self.config.key_bytes_max);
        state.revision += 1;
        self.changed.notify_one();
    }

    async fn write_now_and_then(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            if let Err(error) = self.write().await {
                tracing::error!(%error, "keys of consumed messages not written");
                self.changed.notify_one();
            }
            tokio::time::sleep(WRITE_INTERVAL).await;
        }
    }

    async fn write(&self) -> Result<(), DeduplicatorError> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write(|revision| self.newer_than(revision)).await
    }

    /// The revision and its keys, if it is newer than `revision`.
    fn newer_than(&self, revision: u64) -> Option<(u64, Ages)> {
        let (state, now_ms) = (self.state(), self.now_ms());
        let age = |(at_ms, key)| (Arc::clone(key), now_ms.saturating_sub(at_ms));
        let is_newer = state.revision > revision;
        is_newer.then(|| (state.revision, state.done.iter().map(age).collect()))
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.base.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// What was done before this is forgotten.
    fn since_ms(&self) -> i64 {
        let retention_ms = i64::try_from(self.config.retention.as_millis()).unwrap_or(i64::MAX);
        self.now_ms().saturating_sub(retention_ms)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to consume a key. Dropped without [`KeyClaim::done`] it releases the key: what failed, panicked or was
/// cut off may be tried again.
#[must_use]
pub struct KeyClaim {
    shared: Arc<Shared>,
    key: Arc<str>,
    is_done: bool,
}

impl KeyClaim {
    /// The key was consumed: no other delivery of it is needed.
    pub fn done(mut self) {
        self.is_done = true;
        self.shared.done(&self.key);
    }
}

impl Drop for KeyClaim {
    fn drop(&mut self) {
        // A key that was done and is forgotten already may be somebody else's by now.
        if !self.is_done {
            self.shared.state().under_way.remove(&self.key);
        }
    }
}
