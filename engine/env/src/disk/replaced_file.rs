//! Small files that are replaced as a whole, each with its version before as `<path>.bak`.
//!
//! Writing leaves at every moment a whole old or a whole new version under the name or under `.bak`, also
//! over a power loss: side file, sync, rename, directory sync. A version that is not sound never becomes the
//! backup, which is then the only sound one. What is sound is the caller's to say.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Disk;
use crate::plant::{Plant, planted_on_this_thread};

/// Replaces `path` by `content`, with the access rights that it has, and by its owner to be written; the version before stays
/// as `<path>.bak` if `is_sound` says so. One writer per path at a time.
///
/// # Errors
/// What the disk says; the old version is then still in place, under its name or as `.bak`.
///
/// # Panics
/// Without content: a file without a byte counts as missing.
pub async fn replace_file(
    disk: &dyn Disk,
    path: &Path,
    is_sound: impl Fn(&[u8]) -> bool,
    content: &[u8],
) -> io::Result<()> {
    assert!(!content.is_empty(), "a file without a byte counts as missing");
    let (side, backup) = (with_suffix(path, ".tmp"), backup_of(path));
    let dir = path.parent().unwrap_or(Path::new("."));
    let parents = create_dir(disk, dir)?;
    if parents.is_empty() && disk.stat(path).is_err() {
        sync_entry(disk, dir).await?;
    }
    for parent in parents {
        disk.sync(&parent).await?;
    }
    if disk.stat(path).is_ok() {
        disk.create_like(path, &side)?;
    }
    disk.write(&side, content)?;
    if !planted_on_this_thread(Plant::MetadataRenamedBeforeSync) {
        disk.sync(&side).await?;
    }
    if planted_on_this_thread(Plant::MetadataRemovedFirst) && disk.stat(path).is_ok() {
        disk.remove(path)?;
    }
    // Whichever of the two renames a power loss undoes, a whole version is left.
    if disk.read(path).is_ok_and(|before| is_sound(&before)) {
        disk.rename(path, &backup)?;
    }
    disk.rename(&side, path)?;
    disk.sync(dir).await
}

/// Makes durable what a start found in `dir`, if there is such a directory: a process that was killed
/// may have left versions there that only the page cache knows of.
///
/// # Errors
/// What the disk says.
pub async fn settle_files(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.stat(dir).is_err() {
        return Ok(());
    }
    disk.sync(dir).await?;
    sync_entry(disk, dir).await
}

/// Nothing sound is left of a file.
#[derive(Debug)]
pub struct DamagedFile {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, or with its backup if it is missing.
    pub reason: String,
}

impl fmt::Display for DamagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, reason) = (self.path.display(), &self.reason);
        write!(f, "{path} is damaged ({reason}), and {path}.bak is not sound either")
    }
}

impl std::error::Error for DamagedFile {}

/// One of the two copies of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy<T> {
    /// Missing, or without a byte.
    Absent {
        /// There is a file, though an empty one.
        is_empty: bool,
    },
    /// What was read.
    Sound(T),
    /// Why it cannot be read.
    Damaged(String),
}

/// A file and its backup, as they are.
pub struct Copies<T> {
    /// What is under the name.
    pub main: Copy<T>,
    /// What is under `.bak`.
    pub backup: Copy<T>,
}

/// Reads `path` and `<path>.bak` with `parse`.
pub fn read_copies<T, E: fmt::Display>(
    disk: &dyn Disk,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Copies<T> {
    let read = |path: &Path| match disk.read(path) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Copy::Absent { is_empty: false }
        }
        Err(error) => Copy::Damaged(format!("cannot be read: {error}")),
        Ok(content) if content.is_empty() => Copy::Absent { is_empty: true },
        Ok(content) => match parse(&content) {
            Ok(value) => Copy::Sound(value),
            Err(error) => Copy::Damaged(error.to_string()),
        },
    };
    Copies { main: read(path), backup: read(&backup_of(path)) }
}

/// Reads `path` with `parse`; a missing, empty or unreadable one gives way to `<path>.bak`. `None` when
/// neither is there, or both are empty.
///
/// # Errors
/// When there is a damaged one and no sound one: whoever begins without it loses what it held.
pub fn load_file<T, E: fmt::Display>(
    disk: &dyn Disk,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, DamagedFile> {
    let Copies { main, backup } = read_copies(disk, path, parse);
    let damaged = |reason| DamagedFile { path: path.to_path_buf(), reason };
    match (main, backup) {
        (Copy::Sound(value), _) => Ok(Some(value)),
        (Copy::Absent { is_empty: false }, Copy::Sound(value)) => Ok(Some(value)),
        (main, Copy::Sound(value)) => {
            let why =
                if let Copy::Damaged(reason) = main { reason } else { "it is empty".to_owned() };
            tracing::error!(path = %path.display(), why, "metadata is damaged: its .bak is taken");
            Ok(Some(value))
        }
        (Copy::Absent { .. }, Copy::Absent { .. }) => Ok(None),
        (Copy::Damaged(reason), _) | (Copy::Absent { .. }, Copy::Damaged(reason)) => {
            Err(damaged(reason))
        }
    }
}

/// The version of `path` before.
#[must_use]
pub fn backup_of(path: &Path) -> PathBuf {
    with_suffix(path, ".bak")
}

/// Creates a directory and its missing parents and returns the directories that got an entry by it:
/// the new ones survive a power loss once these are synced, innermost first.
///
/// # Errors
/// What the disk says.
pub fn create_dir(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parents = Vec::new();
    let mut missing = dir;
    while disk.stat(missing).is_err() {
        let Some(parent) = missing.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            break;
        };
        parents.push(parent.to_path_buf());
        missing = parent;
    }
    disk.create_dir_all(dir)?;
    Ok(parents)
}

/// Makes the entry of a directory durable that another life of this process may have created: it may
/// have been killed before it did so. A parent that may not be read is somebody else's.
async fn sync_entry(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.sync(dir.parent().unwrap_or(dir)).await {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
