//! Finding records among bytes that are none.

use std::sync::Arc;

use mq_env::disk::PAGE_SIZE;
use mq_mapped_file::MappedFile;
use mq_protocol::message_codec::{
    MAGIC_POSITION, MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordCheck, RecordRules,
    check_record,
};

static ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// The first record at or behind `from` that is sound in everything and says that it is where it is.
pub(super) fn next_record(files: &[Arc<MappedFile>], from: u64) -> Option<u64> {
    files.iter().filter(|file| file.file_end_offset() > from).find_map(|file| {
        let start = from.saturating_sub(file.file_from_offset()) as usize;
        find_record(file.raw(0..file.file_size()), start, file.file_from_offset())
            .map(|position| file.file_from_offset() + position as u64)
    })
}

/// The same in the bytes of one file that begins at `file_from_offset`; a position.
pub(crate) fn find_record(bytes: &[u8], start: usize, file_from_offset: u64) -> Option<usize> {
    let mut position = start;
    while position + MAGIC_POSITION + 4 <= bytes.len() {
        // What was never written is passed in large steps.
        let page = bytes.get(position..position + PAGE_SIZE);
        if page.is_some_and(|page| page == ZERO_PAGE) {
            position += PAGE_SIZE - (MAGIC_POSITION + 3);
            continue;
        }
        let end = (position + PAGE_SIZE).min(bytes.len() - MAGIC_POSITION - 3);
        let sound = (position..end).find(|at| is_sound_at(bytes, *at, file_from_offset));
        if sound.is_some() {
            return sound;
        }
        position = end;
    }
    None
}

fn is_sound_at(bytes: &[u8], at: usize, file_from_offset: u64) -> bool {
    let magic = bytes[at + MAGIC_POSITION..].first_chunk().map(|magic| i32::from_be_bytes(*magic));
    let is_magic = matches!(magic, Some(MESSAGE_MAGIC_CODE | MESSAGE_MAGIC_CODE_V2));
    let rules = || RecordRules::strict((file_from_offset + at as u64) as i64);
    is_magic && matches!(check_record(&bytes[at..], &rules()), RecordCheck::Valid(_))
}
