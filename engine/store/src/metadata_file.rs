//! Small metadata files that are replaced as a whole: `topics.json`, `consumerOffset.json`, ….
//!
//! How they are written is [`mq_env::disk::replaced_file`]'s: at every moment a whole old or a whole new version is
//! there. (RocketMQ 4.9 `ConfigManager` and `MixAll.string2File` sync nothing and delete before they rename.)
//!
//! A file that a start found damaged never becomes the backup, which is then the only sound version.

use std::io;
use std::path::{Path, PathBuf};

use mq_env::disk::Disk;
use mq_env::disk::replaced_file::{load_file, replace_file, settle_files};
use mq_protocol::fastjson::Value;

use crate::config::StoreConfig;

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
    let is_kept = |before: &[u8]| last_written == Some(before) || is_sound(before);
    replace_file(disk, path, is_kept, content).await
}

/// Makes durable what a start found in `dir`, if there is such a directory: a process that was killed
/// may have left versions there that only the page cache knows of.
///
/// # Errors
/// What the disk says.
pub async fn settle_metadata(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    settle_files(disk, dir).await
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
    load_file(disk, path, parse)
        .map_err(|damaged| MetadataError { path: damaged.path, reason: damaged.reason })
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

fn is_sound(content: &[u8]) -> bool {
    std::str::from_utf8(content).is_ok_and(|text| Value::parse(text).is_ok())
}
