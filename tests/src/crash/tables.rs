//! Metadata files: what the broker's persisted tables are written and read with.

use std::path::{Path, PathBuf};

use mq_env::disk::Disk;
use mq_store::metadata_file::{load_metadata, store_metadata};

use super::stage::ROOT;

/// The files that are replaced.
pub const NAMES: [&str; 2] = ["topics.json", "consumerOffset.json"];

/// Versions that there may be.
const VERSIONS: u32 = 40;

/// Writes a version of a metadata file.
pub async fn write(disk: &dyn Disk, name: &str, version: u32) {
    let stored = store_metadata(disk, &path(name), &content(name, version)).await;
    stored.unwrap();
}

/// The version that a start reads: 0 for none, [`u32::MAX`] for one that nobody wrote.
#[must_use]
pub fn read(disk: &dyn Disk, name: &str) -> u32 {
    let parse = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let version = text.trim_end_matches('}').rsplit(':').next();
        let version = version.and_then(|text| text.parse().ok()).unwrap_or(u32::MAX);
        if version < VERSIONS && content(name, version) == bytes {
            Ok(version)
        } else {
            Err("torn")
        }
    };
    load_metadata(disk, &path(name), parse).ok().flatten().unwrap_or(0)
}

/// Contents vary in length, so that left-over bytes would show.
fn content(name: &str, version: u32) -> Vec<u8> {
    let entries = 400 + version * 97 % 330;
    let entries: Vec<String> = (0..entries).map(|entry| format!("\"{entry}\":{version}")).collect();
    format!("{{\"{name}\":{{{}}}}}", entries.join(",")).into_bytes()
}

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join("config").join(name)
}
