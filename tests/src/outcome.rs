//! [`outcomes`]: what a store's files look like after a power loss, in words that do not depend on
//! the disk: a real file system and the simulated one are described alike and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use mq_env::disk::{DirEntry, Disk, PAGE_SIZE};
use mq_protocol::fastjson::Value;

/// The first bytes of a record. They are not all zeros, and no run of zeros in the tests' records is
/// as long as this.
const RECORD_HEAD_BYTES: usize = 32;

/// Sizes of the store's mapped files in bytes.
#[derive(Clone, Copy, Debug)]
pub struct FileSizes {
    /// A file of the CommitLog.
    pub commit_log: u64,
    /// A file of a ConsumeQueue.
    pub consume_queue: u64,
    /// An index file.
    pub index: u64,
}

/// Every kind of outcome that the files below `root` show, each as `<kind of file>: <state>`.
/// `appended` are the places of records that were in the CommitLog when the power was cut; of each page
/// with bytes of these it is told what is left.
///
/// # Panics
/// When the disk cannot be read.
#[must_use]
pub fn outcomes(
    disk: &dyn Disk,
    root: &Path,
    sizes: FileSizes,
    appended: &[u64],
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |kind: &str, state: &str| {
        found.insert(format!("{kind}: {state}"));
    };
    let log_dir = root.join("commitlog");
    appended_files(disk, &log_dir, sizes.commit_log, &mut |state| add("CommitLog", state));
    appended_pages(disk, &log_dir, sizes.commit_log, appended, &mut |state| {
        add("CommitLog, a page with acknowledged bytes", state);
    });
    for topic in dirs(disk, &root.join("consumequeue")) {
        for queue in dirs(disk, &topic) {
            let mut add_queue = |state: &str| add("ConsumeQueue", state);
            appended_files(disk, &queue, sizes.consume_queue, &mut add_queue);
        }
    }
    for file in files(disk, &root.join("index")) {
        add("index", length(file.len, sizes.index));
    }
    for file in files(disk, &root.join("config")) {
        let kind = match file.name.rsplit_once('.') {
            Some((_, "bak")) => "metadata, version before",
            Some((_, "tmp")) => "metadata, side file",
            _ => "metadata",
        };
        add(kind, text_state(&disk.read(&root.join("config").join(&file.name)).unwrap()));
    }
    for mark in ["checkpoint", "durable"] {
        if let Ok(content) = disk.read(&root.join(mark)) {
            add("marks", mark_state(&content));
        }
    }
    found
}

/// States of files that are only ever appended to, over zeros.
fn appended_files(disk: &dyn Disk, dir: &Path, size: u64, add: &mut dyn FnMut(&str)) {
    let mut next = None;
    for file in files(disk, dir) {
        let from: u64 = file.name.parse().unwrap();
        if next.is_some_and(|next| next != from) {
            add("a file is missing in front of one that is there");
        }
        next = Some(from + size);
        add(length(file.len, size));
        add(bytes_state(&disk.read(&dir.join(&file.name)).unwrap()));
    }
}

/// States of the pages that had bytes of appended records.
fn appended_pages(
    disk: &dyn Disk,
    dir: &Path,
    size: u64,
    appended: &[u64],
    add: &mut dyn FnMut(&str),
) {
    // Per file, from its first appended record to the first bytes of its last one.
    let mut ranges: BTreeMap<u64, Range<usize>> = BTreeMap::new();
    for place in appended {
        let at = (place % size) as usize;
        let range = ranges.entry(place - place % size).or_insert(at..at);
        *range = range.start.min(at)..range.end.max(at + RECORD_HEAD_BYTES);
    }
    for (from, range) in ranges {
        let Ok(content) = disk.read(&dir.join(format!("{from:020}"))) else {
            add("its file is not there");
            continue;
        };
        if content.len() < range.end {
            add("its file ends before");
        }
        let mut start = range.start;
        while start < range.end.min(content.len()) {
            let end = (start / PAGE_SIZE + 1) * PAGE_SIZE;
            let end = end.min(range.end).min(content.len());
            add(page_state(&content[start..end]));
            start = end;
        }
    }
}

/// What is left of appended bytes, in which runs of zeros are short.
fn page_state(bytes: &[u8]) -> &'static str {
    let is_there = |part: &[u8]| part.iter().any(|byte| *byte != 0);
    if !is_there(bytes) {
        return "not there";
    }
    // What is shorter than a record's head at the end may be zeros of it.
    let parts: Vec<bool> = bytes.chunks_exact(RECORD_HEAD_BYTES).map(is_there).collect();
    let end = parts.iter().rposition(|part| *part).map_or(0, |last| last + 1);
    match (parts[..end].contains(&false), end == parts.len()) {
        (false, true) => "there",
        (false, false) => "as it was at an earlier sync",
        (true, _) => "in parts",
    }
}

fn length(len: u64, size: u64) -> &'static str {
    match len {
        0 => "the file is empty",
        len if len < size => "the file is short",
        _ => "the file has its length",
    }
}

/// Where the bytes of an appended file end, and whether some are missing before.
fn bytes_state(content: &[u8]) -> &'static str {
    let Some(last) = content.iter().rposition(|byte| *byte != 0) else {
        return "no byte is there";
    };
    let pages: Vec<&[u8]> = content[..=last].chunks(PAGE_SIZE).collect();
    if pages.iter().any(|page| page.iter().all(|byte| *byte == 0)) {
        return "a page is missing in front of one that is there";
    }
    match last + 1 {
        end if end == content.len() => "bytes up to the end of the file",
        end if end % PAGE_SIZE == 0 => "bytes up to the end of a page",
        _ => "bytes up to the middle of a page",
    }
}

fn text_state(content: &[u8]) -> &'static str {
    match content {
        [] => "empty",
        text if is_whole_json(text) => "whole",
        _ => "torn",
    }
}

/// Whether a metadata file can be read, in the JSON that RocketMQ writes.
#[must_use]
pub fn is_whole_json(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| Value::parse(text).is_ok())
}

fn mark_state(content: &[u8]) -> &'static str {
    match content {
        [] => "empty",
        zeros if zeros.iter().all(|byte| *byte == 0) => "no byte is there",
        _ => "there",
    }
}

fn files(disk: &dyn Disk, dir: &Path) -> Vec<DirEntry> {
    let entries = disk.list(dir).unwrap_or_default();
    entries.into_iter().filter(|entry| !entry.is_dir).collect()
}

fn dirs(disk: &dyn Disk, dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = disk.list(dir).unwrap_or_default();
    entries.into_iter().filter(|entry| entry.is_dir).map(|entry| dir.join(entry.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_end_somewhere_and_may_have_holes() {
        let page = [1; PAGE_SIZE];
        let zeros = [0; PAGE_SIZE];
        assert_eq!(bytes_state(&zeros), "no byte is there");
        assert_eq!(bytes_state(&[page, page].concat()), "bytes up to the end of the file");
        assert_eq!(bytes_state(&[page, zeros].concat()), "bytes up to the end of a page");
        let middle = [&page[..], &page[..9], &zeros[..]].concat();
        assert_eq!(bytes_state(&middle), "bytes up to the middle of a page");
        assert_eq!(page_state(&page), "there");
        assert_eq!(page_state(&zeros), "not there");
        assert_eq!(page_state(&middle[PAGE_SIZE..]), "as it was at an earlier sync");
        assert_eq!(page_state(&[&page[..512], &zeros[..512], &page[..512]].concat()), "in parts");
        let hole = [page, zeros, page].concat();
        assert_eq!(bytes_state(&hole), "a page is missing in front of one that is there");
    }
}
