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

use crate::plant::{Plant, planted_on_this_thread};

/// Replaces `path` by `content`, JSON of either dialect; the version before stays as `<path>.bak`
/// if it is sound. One writer per path at a time.
///
/// # Errors
/// What the disk says; the old version is then still in place, under its name or as `.bak`.
pub async fn store_metadata(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let (side, backup) = (with_suffix(path, ".tmp"), with_suffix(path, ".bak"));
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
pub async fn settle_metadata(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.stat(dir).is_err() {
        return Ok(());
    }
    disk.sync(dir).await?;
    sync_entry(disk, dir).await
}

/// Reads `path` with `parse`; a missing, empty or unreadable one gives way to `<path>.bak`, and
/// that one to `None`: damaged metadata never cost the start.
pub fn load_metadata<T, E: std::fmt::Display>(
    disk: &dyn Disk,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Option<T> {
    let backup = with_suffix(path, ".bak");
    for candidate in [path, &backup] {
        let content = match disk.read(candidate) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                tracing::error!(path = %candidate.display(), %error, "metadata cannot be read");
                continue;
            }
            Ok(content) if content.is_empty() => {
                tracing::error!(path = %candidate.display(), "metadata file is empty");
                continue;
            }
            Ok(content) => content,
        };
        match parse(&content) {
            Ok(value) => return Some(value),
            Err(error) => {
                tracing::error!(path = %candidate.display(), %error, "metadata is damaged");
            }
        }
    }
    None
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
