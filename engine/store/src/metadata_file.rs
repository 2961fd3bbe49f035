//! Small metadata files that are replaced as a whole: `topics.json`, `consumerOffset.json`, ….
//!
//! Writing leaves at every moment a whole old or a whole new version under the name or under
//! `.bak`, also over a power loss: side file, sync, rename, directory sync. (RocketMQ 4.9
//! `ConfigManager` and `MixAll.string2File` sync nothing and delete before they rename.)
//!
//! A file that a start found damaged never becomes the backup, which is then the only sound version.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use mq_env::disk::Disk;
use mq_mapped_file::create_dir;
use mq_protocol::fastjson::Value;

use crate::config::StoreConfig;
use crate::plant::{Plant, planted_on_this_thread};

/// Replaces `path` by `content`, JSON of either dialect; the version before stays as `<path>.bak`
/// if it is sound. One writer per path at a time.
///
/// # Errors
/// What the disk says; the old version is then still in place, under its name or as `.bak`.
pub async fn store_metadata(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    replace_metadata(disk, path, None, content).await
}

/// As [`store_metadata`], for a writer that knows what it wrote last: if that is what is there, it is sound,
/// and nobody parses all of it again.
///
/// # Errors
/// As there.
pub async fn replace_metadata(
    disk: &dyn Disk,
    path: &Path,
    last_written: Option<&[u8]>,
    content: &[u8],
) -> io::Result<()> {
    assert!(!content.is_empty(), "a table without a byte counts as missing");
    let (side, backup) = (with_suffix(path, ".tmp"), backup_of(path));
    let dir = path.parent().unwrap_or(Path::new("."));
    let parents = create_dir(disk, dir)?;
    if parents.is_empty() && disk.stat(path).is_err() {
        sync_entry(disk, dir).await?;
    }
    for parent in parents {
        disk.sync(&parent).await?;
    }
    disk.write(&side, content)?;
    if !planted_on_this_thread(Plant::MetadataRenamedBeforeSync) {
        disk.sync(&side).await?;
    }
    if planted_on_this_thread(Plant::MetadataRemovedFirst) && disk.stat(path).is_ok() {
        disk.remove(path)?;
    }
    // Whichever of the two renames a power loss undoes, a whole version is left.
    let is_kept = |before: &[u8]| last_written == Some(before) || is_sound(before);
    if disk.read(path).is_ok_and(|before| is_kept(&before)) {
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
pub async fn settle_metadata(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.stat(dir).is_err() {
        return Ok(());
    }
    disk.sync(dir).await?;
    sync_entry(disk, dir).await
}

/// Nothing sound is left of a metadata file.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is damaged ({reason}), and {}.bak is not sound either; put back a sound one, or have the broker \
     begin without it (beginWithEmptyTables=true)",
    path.display(),
    path.display()
)]
pub struct MetadataError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, or with its backup if it is missing.
    pub reason: String,
}

/// One of the two copies of a metadata file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Copy<T> {
    /// Missing, or without a byte.
    Absent {
        /// There is a file, though an empty one.
        is_empty: bool,
    },
    Sound(T),
    Damaged(String),
}

/// A metadata file and its backup, as they are.
pub(crate) struct Copies<T> {
    pub(crate) main: Copy<T>,
    pub(crate) backup: Copy<T>,
}

/// Reads `path` and `<path>.bak` with `parse`.
pub(crate) fn read_copies<T, E: std::fmt::Display>(
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
/// neither is there, or both are empty, as in RocketMQ 4.9.
///
/// # Errors
/// When there is a damaged one and no sound one: whoever begins without it loses what it held. (4.9
/// refuses where the backup is damaged, and begins without either where it is missing.)
pub fn load_metadata<T, E: std::fmt::Display>(
    disk: &dyn Disk,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, MetadataError> {
    let Copies { main, backup } = read_copies(disk, path, parse);
    let damaged = |reason| MetadataError { path: path.to_path_buf(), reason };
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

/// As [`load_metadata`], unless the broker is to begin without what is damaged.
///
/// # Errors
/// See [`load_metadata`].
pub fn load_table<T, E: std::fmt::Display>(
    disk: &dyn Disk,
    config: &StoreConfig,
    name: &str,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, MetadataError> {
    match load_metadata(disk, &table_path(config, name), parse) {
        Err(error) if config.begin_with_empty_tables => {
            tracing::error!(%error, "the broker begins without it, as it is told to");
            Ok(None)
        }
        loaded => loaded,
    }
}

/// Where the table called `name` is.
#[must_use]
pub fn table_path(config: &StoreConfig, name: &str) -> PathBuf {
    config.store_path_root_dir.join("config").join(name)
}

/// The version of `path` before.
pub(crate) fn backup_of(path: &Path) -> PathBuf {
    with_suffix(path, ".bak")
}

/// Makes the entry of a directory durable that another life of this process may have created: it may
/// have been killed before it did so. A parent that may not be read is not this store's.
async fn sync_entry(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.sync(dir.parent().unwrap_or(dir)).await {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn is_sound(content: &[u8]) -> bool {
    std::str::from_utf8(content).is_ok_and(|text| Value::parse(text).is_ok())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
