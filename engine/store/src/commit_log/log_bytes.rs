//! [`LogBytes`]: a log that can be looked at, whether it is mapped or read piece by piece. What a start
//! decides and what the doctor foretells is one code over it.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use mq_env::disk::PAGE_SIZE;
use mq_mapped_file::MappedFile;
use mq_protocol::message_codec::{
    MAGIC_POSITION, MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordCheck, RecordError,
    RecordRules, TornReason, check_record,
};

use crate::big_endian::i32_at;

/// Size and magic of a record.
const HEAD_BYTES: usize = MAGIC_POSITION + 4;

/// A search looks at so many bytes before it asks again where there is something.
const SEARCHED_BYTES: usize = 64 << 10;

// A magic that lies across the end of what was looked at is found in the next piece.
const _: () = assert!(HEAD_BYTES < PAGE_SIZE && PAGE_SIZE <= SEARCHED_BYTES);

/// Bytes of CommitLog files at their physical offsets.
pub(crate) trait LogBytes {
    /// Why bytes cannot be had.
    type Error;

    /// The files, oldest first; physical offsets.
    fn files(&self) -> &[Range<u64>];

    /// The bytes from `phy_offset` on: `len` of them or more, fewer only where the file ends, none where
    /// no file is.
    fn bytes(&mut self, phy_offset: u64, len: usize) -> Result<&[u8], Self::Error>;

    /// The first byte of the file at or behind `phy_offset` that may be something else than zero; at
    /// most the file's end.
    fn next_data(&self, phy_offset: u64) -> u64 {
        phy_offset
    }
}

/// Mapped files.
pub(super) struct MappedLog {
    files: Vec<Arc<MappedFile>>,
    ranges: Vec<Range<u64>>,
}

impl MappedLog {
    pub(super) fn new(files: Vec<Arc<MappedFile>>) -> Self {
        let range = |file: &Arc<MappedFile>| file.file_from_offset()..file.file_end_offset();
        let ranges: Vec<Range<u64>> = files.iter().map(range).collect();
        let ascending = |pair: &[Range<u64>]| pair[0].end <= pair[1].start;
        assert!(ranges.windows(2).all(ascending), "files are in order");
        MappedLog { files, ranges }
    }
}

impl LogBytes for MappedLog {
    type Error = Infallible;

    fn files(&self) -> &[Range<u64>] {
        &self.ranges
    }

    fn bytes(&mut self, phy_offset: u64, _len: usize) -> Result<&[u8], Infallible> {
        let Some(index) = file_of(&self.ranges, phy_offset) else { return Ok(&[]) };
        let file = &self.files[index];
        Ok(file.raw((phy_offset - file.file_from_offset()) as usize..file.file_size()))
    }

    fn next_data(&self, phy_offset: u64) -> u64 {
        let Some(index) = file_of(&self.ranges, phy_offset) else { return phy_offset };
        let file = &self.files[index];
        let from = file.file_from_offset();
        let next = from + file.next_data((phy_offset - from) as usize) as u64;
        assert!(
            (phy_offset..=file.file_end_offset()).contains(&next),
            "data is looked for in the file"
        );
        next
    }
}

/// The file that holds `phy_offset`.
pub(crate) fn file_of(files: &[Range<u64>], phy_offset: u64) -> Option<usize> {
    let index = files.partition_point(|file| file.end <= phy_offset);
    files.get(index).filter(|file| file.start <= phy_offset).map(|_| index)
}

/// The record at `phy_offset` as a whole, if there may be one, or what else is there.
pub(crate) fn record_bytes<L: LogBytes>(log: &mut L, phy_offset: u64) -> Result<&[u8], L::Error> {
    let rest = rest_of_file(log.files(), phy_offset);
    let head = log.bytes(phy_offset, HEAD_BYTES)?;
    let magic = i32_at(head, MAGIC_POSITION);
    let size = i32_at(head, 0).filter(|_| magic.is_some_and(is_record_magic));
    let size = size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size <= rest);
    let len = size.map_or(HEAD_BYTES, |size| size as usize);
    let bytes = log.bytes(phy_offset, len)?;
    let had = bytes.len() as u64;
    assert!(had >= rest.min(len as u64) && had <= rest, "{had} of {len} bytes, {rest} are left");
    Ok(bytes)
}

/// What is at `phy_offset`, by `rules`.
pub(crate) fn check_at<'a, L: LogBytes>(
    log: &'a mut L,
    phy_offset: u64,
    rules: &RecordRules,
) -> Result<RecordCheck<'a>, L::Error> {
    let available = rest_of_file(log.files(), phy_offset) as usize;
    Ok(match check_record(record_bytes(log, phy_offset)?, rules) {
        // Of a record that does not fit its file not all was looked at.
        RecordCheck::Torn(TornReason::Layout(RecordError::TotalSize { total, .. })) => {
            RecordCheck::Torn(TornReason::Layout(RecordError::TotalSize { total, available }))
        }
        other => other,
    })
}

/// The first record at or behind `from` that is sound in everything and says that it is where it is.
pub(crate) fn next_record<L: LogBytes>(log: &mut L, from: u64) -> Result<Option<u64>, L::Error> {
    let first = log.files().partition_point(|file| file.end <= from);
    for index in first..log.files().len() {
        let file = log.files()[index].clone();
        let mut at = from.max(file.start);
        assert!(at < file.end, "files that end before {from} are passed over");
        loop {
            // A record's magic lies behind its first bytes, which may be in the page before.
            at = at.max(log.next_data(at).saturating_sub(MAGIC_POSITION as u64));
            if at >= file.end {
                break;
            }
            let bytes = log.bytes(at, PAGE_SIZE)?;
            let bytes = &bytes[..bytes.len().min(SEARCHED_BYTES)];
            let len = bytes.len() as u64;
            let Some(candidate) = find_record_magic(bytes) else {
                // A magic may lie across the end of what was looked at.
                at +=
                    if len >= HEAD_BYTES as u64 { len + 1 - HEAD_BYTES as u64 } else { len.max(1) };
                continue;
            };
            at += candidate as u64;
            let rules = RecordRules::strict(at as i64);
            if matches!(check_at(log, at, &rules)?, RecordCheck::Valid(_)) {
                assert!(
                    from <= at && at < file.end,
                    "a record at {at} is looked for from {from} on"
                );
                return Ok(Some(at));
            }
            at += 1;
        }
    }
    Ok(None)
}

fn rest_of_file(files: &[Range<u64>], phy_offset: u64) -> u64 {
    file_of(files, phy_offset).map_or(0, |index| files[index].end - phy_offset)
}

/// Where the first record whose magic is among `bytes` would begin.
fn find_record_magic(bytes: &[u8]) -> Option<usize> {
    static ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
    let mut start = 0;
    while start + HEAD_BYTES <= bytes.len() {
        let page = &bytes[start..bytes.len().min(start + PAGE_SIZE)];
        // What was never written is passed at once.
        if page != ZERO_PAGE {
            let mut magics = page[MAGIC_POSITION..].windows(4);
            let is_magic = |magic: &[u8]| i32_at(magic, 0).is_some_and(is_record_magic);
            if let Some(position) = magics.position(is_magic) {
                assert!(start + position + HEAD_BYTES <= bytes.len(), "a record's head is at hand");
                return Some(start + position);
            }
        }
        // A magic may lie across the end of the page.
        start += page.len() + 1 - HEAD_BYTES;
    }
    None
}

fn is_record_magic(magic: i32) -> bool {
    magic == MESSAGE_MAGIC_CODE || magic == MESSAGE_MAGIC_CODE_V2
}
