//! The store doctor: looks at any store directory without changing it, RocketMQ's or ours.
//!
//! [`StoreDir`] finds out how a directory is laid out. [`StoreDir::dump`] writes everything down as JSON
//! lines, [`StoreDir::list`] for people, [`StoreDir::verify`] says what a start would keep and drop and
//! compares ConsumeQueues and index with the log, [`StoreDir::recover`] starts a copy. Files are read in
//! windows of a few mebibytes, whatever their size.
//!
//! Modules in reading order: `shape` (file sizes), `log_reader`, `unit_reader`, `index_reader` (files
//! piece by piece), `entry_index` and `entry_claims` (DLedger's), `lines`, `dump` and `dledger`, `listing`, `start` and `tables`
//! (what a start does), `verify`, `recover`, `recover_dledger`.

mod dledger;
mod dump;
mod entry_claims;
mod entry_index;
mod index_reader;
mod lines;
mod listing;
mod log_reader;
mod recover;
mod recover_dledger;
mod shape;
mod start;
mod tables;
mod unit_reader;
mod verify;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mq_env::disk::{Disk, FileLock};
use mq_mapped_file::LoadError;

use crate::config::StoreConfig;
use crate::damage::Damage;
use crate::error::StoreError;
use crate::preflight::queue_id_of;

use log_reader::COMMIT_LOG;

pub use dump::DumpFiles;
pub use recover::{Recovered, RecoveredQueue};
pub use shape::StoreShape;
pub use tables::{MovedOffset, TableState, TableUse};
pub use verify::{Finding, ForetoldQueue, Severity, Verdict};

/// What is kept on purpose in a recovered copy: findings that `verify` takes for notes.
const KEPT_ON_PURPOSE: &str = "kept.json";

/// Told of bytes that were read since the last call.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// Why a directory cannot be examined.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// It holds no store.
    #[error("{} is no store: it has no directory commitlog", .0.display())]
    NotAStore(PathBuf),
    /// Its configuration says that its log is elsewhere, and there is no such directory.
    #[error("{} is no directory", .0.display())]
    NoLog(PathBuf),
    /// Somebody works on it.
    #[error("{} is in use: a broker runs on it, or somebody else examines it", .0.display())]
    Locked(PathBuf),
    /// It holds the logs of several nodes of DLedger mode.
    #[error("{} holds the logs of several DLedger nodes", .0.display())]
    SeveralLogs(PathBuf),
    /// The copy's directory is in the way.
    #[error("{} exists already and is not empty", .0.display())]
    CopyExists(PathBuf),
    /// One of the two directories lies in the other.
    #[error("{} and {} overlap", .0.display(), .1.display())]
    Overlap(PathBuf, PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The copy would not start; nothing was copied.
    #[error("the copy does not start: {0}")]
    Refused(String),
    /// The copy does not start.
    #[error("the copy does not start: {0}")]
    Start(#[from] StoreError),
}

impl DoctorError {
    /// Gives back why a start refuses, unless the disk is why it cannot be told.
    fn unless_refusal(error: StoreError) -> Result<StoreError, DoctorError> {
        match error {
            StoreError::Load(LoadError::Io { path, source }) => {
                Err(DoctorError::Io { path, source })
            }
            StoreError::Io { what, source } => Err(DoctorError::Io { path: what.into(), source }),
            refusal => Ok(refusal),
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> DoctorError + use<> {
        let path = path.to_path_buf();
        move |source| DoctorError::Io { path, source }
    }
}

/// A store directory that is looked at.
pub struct StoreDir {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// The CommitLog's directory: in the root, or where `storePathCommitLog` says.
    log_dir: PathBuf,
    shape: StoreShape,
    config: StoreConfig,
    /// Keeps a broker from starting under the examination. `None` where there is no lock file, or no
    /// right to take it.
    _lock: Option<FileLock>,
}

impl StoreDir {
    /// Looks at `root`, and at the log where `config` has its `storePathCommitLog`, else in `root`. What
    /// `config` does not say is told from the files. A broker cannot start on the store until this is
    /// dropped.
    ///
    /// # Errors
    /// [`DoctorError::NotAStore`], [`DoctorError::NoLog`], [`DoctorError::Locked`], and what the disk says.
    pub fn open(
        disk: Arc<dyn Disk>,
        root: &Path,
        config: Option<&StoreConfig>,
    ) -> Result<Self, DoctorError> {
        let entries = match disk.list(root) {
            Err(error) if is_missing(&error) => {
                return Err(DoctorError::NotAStore(root.to_path_buf()));
            }
            other => other.map_err(DoctorError::io(root))?,
        };
        let elsewhere = config.and_then(|config| config.store_path_commit_log.clone());
        let has = |is_it: fn(&str) -> bool| entries.iter().any(|it| it.is_dir && is_it(&it.name));
        let has_dledger = has(dledger::is_dledger);
        let has_log = has_dledger || has(|name| name == COMMIT_LOG);
        let log_dir = elsewhere.clone().unwrap_or_else(|| root.join(COMMIT_LOG));
        match elsewhere {
            None if !has_log => return Err(DoctorError::NotAStore(root.to_path_buf())),
            Some(log) if !has_dledger && !is_dir(&*disk, &log) => {
                return Err(DoctorError::NoLog(log));
            }
            _ => {}
        }
        let entries_dir = config.and_then(|it| it.dledger.as_ref()?.store_path.clone());
        if let Some(dir) = entries_dir.filter(|dir| !is_dir(&*disk, dir)) {
            return Err(DoctorError::NoLog(dir));
        }
        let lock = if entries.iter().any(|entry| entry.name == "lock") {
            take_lock(&*disk, root)?
        } else {
            None
        };
        let shape = StoreShape::find(&*disk, root, &log_dir, config)?;
        let mut store_config = config.cloned().unwrap_or_else(|| StoreConfig::at(root));
        store_config.store_path_root_dir = root.to_path_buf();
        store_config.store_path_commit_log = None;
        shape.apply(&mut store_config);
        let root = root.to_path_buf();
        Ok(StoreDir { disk, root, log_dir, shape, config: store_config, _lock: lock })
    }

    /// How the files are laid out.
    #[must_use]
    pub fn shape(&self) -> &StoreShape {
        &self.shape
    }

    /// The CommitLog's directory.
    #[must_use]
    pub fn commit_log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Bytes of all files: what [`Progress`] adds up to in [`StoreDir::recover`] until the copy starts.
    ///
    /// # Errors
    /// What the disk says.
    pub fn bytes(&self) -> Result<u64, DoctorError> {
        let mut bytes = self.bytes_below(&self.root)? + self.bytes_below(&self.log_dir)?;
        for dir in self.dledger_dirs()?.into_iter().map(|node| self.entries_dir(&node.name)) {
            bytes += if dir.starts_with(&self.root) { 0 } else { self.bytes_below(&dir)? };
        }
        Ok(bytes)
    }

    /// Bytes of all files of the log: what [`Progress`] adds up to in a walk over the log.
    ///
    /// # Errors
    /// What the disk says.
    pub fn log_bytes(&self) -> Result<u64, DoctorError> {
        let mut files = self.log_files()?;
        for dir in self.dledger_dirs()? {
            files.extend(self.files(&self.entries_dir(&dir.name))?);
        }
        Ok(files.iter().map(|file| file.len).sum())
    }

    /// Bytes of all files below a directory, without those of a log inside it.
    fn bytes_below(&self, dir: &Path) -> Result<u64, DoctorError> {
        let mut bytes = 0;
        for entry in self.entries(dir)?.into_iter().filter(|entry| !self.is_log(entry)) {
            bytes += if entry.is_dir { self.bytes_below(&entry.path)? } else { entry.len };
        }
        Ok(bytes)
    }

    /// Whether an entry of the root is the CommitLog's directory, or stands where it would if it were not
    /// elsewhere.
    fn is_log(&self, entry: &StoreFile) -> bool {
        entry.is_dir && (entry.path == self.log_dir || entry.path == self.root.join(COMMIT_LOG))
    }

    /// What the CommitLog is called in findings: its place in the root, or the path elsewhere.
    fn log_place(&self) -> Cow<'_, str> {
        let inside = self.log_dir.strip_prefix(&self.root);
        inside.unwrap_or(&self.log_dir).to_string_lossy()
    }

    /// The files of the CommitLog, in the order of their names; none if it is missing.
    fn log_files(&self) -> Result<Vec<StoreFile>, DoctorError> {
        let entries = self.entries(&self.log_dir)?;
        Ok(entries.into_iter().filter(|entry| !entry.is_dir).collect())
    }

    /// The files of a directory below the root, in the order of their names; none if it is missing.
    fn files(&self, dir: &Path) -> Result<Vec<StoreFile>, DoctorError> {
        let entries = self.entries(&self.root.join(dir))?;
        Ok(entries.into_iter().filter(|entry| !entry.is_dir).collect())
    }

    /// The index files, in the order of their names.
    fn index_files(&self) -> Result<Vec<StoreFile>, DoctorError> {
        let mut files = self.files(Path::new("index"))?;
        files.retain(|file| is_number(&file.name, 17));
        Ok(files)
    }

    /// The entries of a directory, in the order of their names; none if it is missing.
    fn entries(&self, dir: &Path) -> Result<Vec<StoreFile>, DoctorError> {
        let entries = match self.disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(DoctorError::io(dir))?,
        };
        let file = |entry: mq_env::disk::DirEntry| StoreFile {
            path: dir.join(&entry.name),
            name: entry.name,
            len: entry.len,
            is_dir: entry.is_dir,
        };
        Ok(entries.into_iter().map(file).collect())
    }

    /// Every queue's directory with its files: topic, queue id, files.
    fn queues(&self) -> Result<Vec<QueueDir>, DoctorError> {
        let mut queues = Vec::new();
        let topics = self.entries(&self.root.join("consumequeue"))?;
        for topic in topics.into_iter().filter(|topic| topic.is_dir) {
            for queue in self.entries(&topic.path)?.into_iter().filter(|queue| queue.is_dir) {
                let Some(queue_id) = queue_id_of(&queue.name) else { continue };
                let files = self.entries(&queue.path)?;
                queues.push(QueueDir { topic: topic.name.clone(), queue_id, files });
            }
        }
        Ok(queues)
    }

    /// What a start is told.
    fn start_config(&self) -> StoreConfig {
        let log_dir = Some(self.log_dir.clone());
        StoreConfig { store_path_commit_log: log_dir, salvage: false, ..self.config.clone() }
    }

    /// The damage that a start knows of.
    fn known_damage(&self) -> Damage {
        let damage = Damage::new(Arc::clone(&self.disk), self.root.join("damaged.json"));
        // What cannot be read is a refusal, and is said as such.
        let _ = damage.load();
        damage
    }

    /// The files of a queue; none where they cannot be listed.
    fn queue_files(&self, topic: &str, queue_id: u32) -> Vec<StoreFile> {
        let dir = self.root.join("consumequeue").join(topic).join(queue_id.to_string());
        self.entries(&dir).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.disk.stat(&self.root.join(name)).is_ok()
    }
}

/// Takes the lock that a broker takes, where that is permitted.
fn take_lock(disk: &dyn Disk, root: &Path) -> Result<Option<FileLock>, DoctorError> {
    let path = root.join("lock");
    match disk.lock(&path) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Err(DoctorError::Locked(root.to_path_buf())),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Ok(None),
            _ => Err(DoctorError::io(&path)(error)),
        },
    }
}

/// Whether a name is a number of so many digits.
fn is_number(name: &str, digits: usize) -> bool {
    name.len() == digits && name.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_dir(disk: &dyn Disk, path: &Path) -> bool {
    disk.stat(path).is_ok_and(|stat| stat.is_dir)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// An entry of a directory of the store.
#[derive(Clone, Debug)]
struct StoreFile {
    path: PathBuf,
    name: String,
    len: u64,
    is_dir: bool,
}

impl StoreFile {
    /// The offset that the name stands for.
    fn offset(&self) -> Option<u64> {
        self.name.parse().ok()
    }
}

/// The directory of a ConsumeQueue.
#[derive(Clone, Debug)]
struct QueueDir {
    topic: String,
    queue_id: u32,
    files: Vec<StoreFile>,
}
