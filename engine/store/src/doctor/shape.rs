//! [`StoreShape`]: the sizes that a store was written with.

use std::io;
use std::path::Path;

use mq_env::disk::{DirEntry, Disk};

use super::DoctorError;
use super::dledger::{data_dir, is_dledger};
use crate::config::StoreConfig;
use crate::index_layout::{
    INDEX_ENTRY_BYTES, INDEX_SLOT_BYTES, IndexEntry, IndexHeader, IndexLayout,
};

/// Index files up to this size are searched for their number of slots.
const SEARCHED_BYTES_MAX: u64 = 64 << 20;

/// How the files of a store are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreShape {
    /// `mappedFileSizeCommitLog`.
    pub commit_log_file_bytes: usize,
    /// `mappedFileSizeConsumeQueue`.
    pub consume_queue_file_bytes: usize,
    /// `maxHashSlotNum` and `maxIndexNum`; unknown when the index files do not tell.
    pub index: Option<IndexLayout>,
}

impl StoreShape {
    /// Sizes as `config` says, else as the files say, else RocketMQ's.
    pub(super) fn find(
        disk: &dyn Disk,
        root: &Path,
        log_dir: &Path,
        config: Option<&StoreConfig>,
    ) -> Result<Self, DoctorError> {
        if let Some(config) = config {
            return Ok(StoreShape {
                commit_log_file_bytes: config.mapped_file_size_commit_log,
                consume_queue_file_bytes: config.mapped_file_size_consume_queue,
                index: Some(config.index_layout()),
            });
        }
        let defaults = StoreConfig::at(root);
        let mut log = file_size(&list(disk, log_dir)?);
        for entry in list(disk, root)?.into_iter().filter(|entry| is_dledger(&entry.name)) {
            log = log.or(file_size(&list(disk, &root.join(data_dir(&entry.name)))?));
        }
        let mut queue = None;
        let queues = root.join("consumequeue");
        for topic in list(disk, &queues)?.into_iter().filter(|topic| topic.is_dir) {
            for id in list(disk, &queues.join(&topic.name))?.into_iter().filter(|id| id.is_dir) {
                let files = list(disk, &queues.join(&topic.name).join(&id.name))?;
                queue = queue.or(file_size(&files));
            }
        }
        Ok(StoreShape {
            commit_log_file_bytes: log.unwrap_or(defaults.mapped_file_size_commit_log),
            consume_queue_file_bytes: queue.unwrap_or(defaults.mapped_file_size_consume_queue),
            index: index_layout(disk, &root.join("index"))?,
        })
    }

    /// Sets these sizes.
    pub(super) fn apply(&self, config: &mut StoreConfig) {
        config.mapped_file_size_commit_log = self.commit_log_file_bytes;
        config.mapped_file_size_consume_queue = self.consume_queue_file_bytes;
        if let Some(index) = self.index {
            config.max_hash_slot_num = index.hash_slot_num;
            config.max_index_num = index.index_num;
        }
    }
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<DirEntry>, DoctorError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(DoctorError::io(dir)),
    }
}

/// The size of files in a row: the greatest length, if two have it, for one between them may be missing;
/// else the distance between their names, for one may be short; else the length of the only one.
fn file_size(files: &[DirEntry]) -> Option<usize> {
    let offsets: Vec<u64> = files.iter().filter_map(|file| file.name.parse().ok()).collect();
    let len = files.iter().map(|file| file.len).max().filter(|len| *len > 0)?;
    let is_whole = files.iter().filter(|file| file.len == len).count() > 1;
    let distance = offsets.windows(2).map(|pair| pair[1] - pair[0]).min();
    let size = if is_whole { len } else { distance.unwrap_or(len) };
    usize::try_from(size).ok()
}

/// The layout of the index files, where their length or their content tells.
fn index_layout(disk: &dyn Disk, dir: &Path) -> Result<Option<IndexLayout>, DoctorError> {
    for file in list(disk, dir)?.into_iter().filter(|file| !file.is_dir) {
        if file.len == IndexLayout::DEFAULT.file_bytes() as u64 {
            return Ok(Some(IndexLayout::DEFAULT));
        }
        if file.len > SEARCHED_BYTES_MAX {
            continue;
        }
        let path = dir.join(&file.name);
        let bytes = disk.read(&path).map_err(DoctorError::io(&path))?;
        if let Some(layout) = fitting_layout(&bytes) {
            return Ok(Some(layout));
        }
    }
    Ok(None)
}

/// The one number of slots with which header, slots and entries of a file make sense.
fn fitting_layout(bytes: &[u8]) -> Option<IndexLayout> {
    let header = IndexHeader::decode(bytes).filter(|header| header.entries() > 0)?;
    let room = bytes.len() - crate::index_layout::INDEX_HEADER_BYTES;
    (1..room / INDEX_SLOT_BYTES).find_map(|hash_slot_num| {
        let rest = room - INDEX_SLOT_BYTES * hash_slot_num;
        let layout = IndexLayout { hash_slot_num, index_num: rest / INDEX_ENTRY_BYTES };
        let may = rest.is_multiple_of(INDEX_ENTRY_BYTES) && header.entries() < layout.index_num;
        (may && fits(bytes, &header, &layout)).then_some(layout)
    })
}

fn fits(bytes: &[u8], header: &IndexHeader, layout: &IndexLayout) -> bool {
    let entry = |number| bytes.get(layout.entry_position(number)..).and_then(IndexEntry::decode);
    // Most wrong numbers fail with the first entry.
    let first = entry(1).is_some_and(|first| {
        first.phy_offset == header.begin_phy_offset && first.prev == 0 && first.key_hash >= 0
    });
    if !first {
        return false;
    }
    // Every link has to lead to the entry that its slot held before.
    let mut newest = vec![0; layout.hash_slot_num];
    (1..=header.entries()).all(|number| {
        entry(number).is_some_and(|entry| {
            let slot = &mut newest[layout.slot_of(entry.key_hash)];
            let is_linked = entry.prev == *slot;
            *slot = number as i32;
            let offsets = header.begin_phy_offset..=header.end_phy_offset;
            is_linked && offsets.contains(&entry.phy_offset)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_files_is_told_from_names_and_lengths() {
        for (files, size) in [
            (&[][..], None),
            (&[(0, 0)], None),
            (&[(0, 400)], Some(400)),
            (&[(0, 400), (400, 400)], Some(400)),
            (&[(0, 400), (800, 400)], Some(400)),
            (&[(0, 400), (400, 0)], Some(400)),
            (&[(0, 400), (400, 100)], Some(400)),
            (&[(0, 100), (400, 40)], Some(400)),
        ] {
            let entry = |(from, len): &(u64, u64)| DirEntry {
                name: format!("{from:020}"),
                len: *len,
                is_dir: false,
            };
            let entries: Vec<_> = files.iter().map(entry).collect();
            assert_eq!(file_size(&entries), size, "{files:?}");
        }
    }
}
