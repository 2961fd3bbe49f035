//! Small metadata files that are replaced as a whole: `topics.json`, `consumerOffset.json`, ….
//!
//! Writing leaves at every moment a whole old or a whole new version under the name or under
//! `.bak`, also over a power loss: side file, sync, rename, directory sync. (RocketMQ 4.9
//! `ConfigManager` and `MixAll.string2File` sync nothing and delete before they rename.)

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use mq_env::disk::Disk;
use mq_mapped_file::create_dir;

/// Replaces `path` by `content`; the version before stays as `<path>.bak`. One writer per path at a
/// time.
///
/// # Errors
/// What the disk says; the old version is then still in place, under its name or as `.bak`.
pub async fn store_metadata(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let (side, backup) = (with_suffix(path, ".tmp"), with_suffix(path, ".bak"));
    let dir = path.parent().unwrap_or(Path::new("."));
    for parent in create_dir(disk, dir)? {
        disk.sync(&parent).await?;
    }
    disk.write(&side, content)?;
    disk.sync(&side).await?;
    // Whichever of the two renames a power loss undoes, a whole version is left.
    if disk.stat(path).is_ok() {
        disk.rename(path, &backup)?;
    }
    disk.rename(&side, path)?;
    disk.sync(dir).await
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

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
