//! The walk over the data files of a log that is not open yet: where it ends, and what of its index is missing or wrong.

use std::ops::Range;
use std::sync::Arc;

use mq_mapped_file::MappedFile;
use mq_protocol::dledger_entry::{
    ENTRY_BLANK_MAGIC, ENTRY_HEADER_BYTES, EntryHead, INDEX_RECORD_BYTES, IndexRecord, body_trouble,
};

use crate::log::index_offset;

/// DLedger looks at the last three files whatever it knows.
const FILES_ALWAYS_WALKED: usize = 3;

/// Files in a row, as they are before the start.
pub(crate) struct Files<'a>(pub(crate) &'a [Arc<MappedFile>]);

impl Files<'_> {
    fn range(&self, number: usize) -> Range<u64> {
        self.0[number].file_from_offset()..self.0[number].file_end_offset()
    }

    /// The file that holds `pos`.
    fn number_of(&self, pos: u64) -> Option<usize> {
        let number = self.0.partition_point(|file| file.file_end_offset() <= pos);
        self.0.get(number).filter(|file| file.file_from_offset() <= pos).map(|_| number)
    }

    /// The bytes at `pos`, as many of them as the file has; none where there is no file.
    fn bytes(&self, pos: u64, len: usize) -> &[u8] {
        let Some(number) = self.number_of(pos) else { return &[] };
        let file = &self.0[number];
        let at = (pos - file.file_from_offset()) as usize;
        file.raw(at..(at + len).min(file.file_size()))
    }

    /// Whether the file ends at `pos`. A blank may be shorter than a header.
    fn is_blank(&self, pos: u64) -> bool {
        self.bytes(pos, 4) == ENTRY_BLANK_MAGIC.to_be_bytes()
    }

    /// The header at `pos`.
    pub(crate) fn head(&self, pos: u64) -> Option<EntryHead> {
        EntryHead::decode(self.bytes(pos, ENTRY_HEADER_BYTES))
    }

    /// What the index says of an entry.
    fn record(&self, index: i64) -> Option<IndexRecord> {
        if index < 0 {
            return None;
        }
        IndexRecord::decode(self.bytes(index_offset(index), INDEX_RECORD_BYTES))
    }
}

/// A walk.
pub(crate) struct Walk<'a> {
    pub(crate) data: Files<'a>,
    pub(crate) index: Files<'a>,
    /// Index files are missing or short: nothing of the index is taken on trust.
    pub(crate) is_index_broken: bool,
    /// Up to here everything is known to be durable.
    pub(crate) durable_pos: Option<u64>,
}

/// What a walk found.
#[derive(Clone, Debug)]
pub(crate) struct Walked {
    /// Where it began.
    pub(crate) start: u64,
    /// The last sound entry, if one was walked over.
    pub(crate) last: Option<EntryHead>,
    /// Behind that entry, or where the walk began.
    pub(crate) end_pos: u64,
    /// Where there is no entry, and why.
    pub(crate) stop: (u64, String),
    /// The first entry whose record is missing or wrong: from there on the index is made anew.
    pub(crate) not_indexed: Option<EntryHead>,
}

/// What is at a position.
enum Step {
    Entry(EntryHead),
    NextFile(u64),
    End(String),
}

impl Walk<'_> {
    /// Walks to the first entry that is none.
    pub(crate) fn run(&self) -> Walked {
        let start = self.data.0.get(self.start()).map_or(0, |file| file.file_from_offset());
        let (mut last, mut not_indexed) = (None, None);
        let (mut at, mut end_pos) = (start, start);
        let reason = loop {
            match self.step(at, last.as_ref()) {
                Step::Entry(head) => {
                    if self.index.record(head.index) != Some(head.index_record()) {
                        not_indexed.get_or_insert(head);
                    }
                    at += head.size as u64;
                    (last, end_pos) = (Some(head), at);
                }
                Step::NextFile(next) => at = next,
                Step::End(reason) => break reason,
            }
        };
        Walked { start, last, end_pos, stop: (at, reason), not_indexed }
    }

    /// Shows the entries from that one on to the last one that a walk found.
    pub(crate) fn for_each<E>(
        data: &Files<'_>,
        from: &EntryHead,
        last_index: i64,
        mut visit: impl FnMut(&EntryHead) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = from.pos as u64;
        while let Some(number) = data.number_of(at) {
            if data.is_blank(at) {
                at = data.range(number).end;
                continue;
            }
            let Some(head) = data.head(at) else { break };
            visit(&head)?;
            if head.index >= last_index {
                break;
            }
            at += head.size as u64;
        }
        Ok(())
    }

    /// The file to begin with: early enough for the last three and for what is not known to be durable, and one whose
    /// first entry is in the index.
    fn start(&self) -> usize {
        if self.is_index_broken {
            return 0;
        }
        let files = self.data.0;
        let unsure = |pos| files.partition_point(|file| file.file_from_offset() <= pos);
        let unsure = self.durable_pos.map_or(files.len(), unsure).saturating_sub(1);
        let mut number = files.len().saturating_sub(FILES_ALWAYS_WALKED).min(unsure);
        while number > 0 && !self.begins_well(number) {
            number -= 1;
        }
        number
    }

    fn begins_well(&self, number: usize) -> bool {
        let range = self.data.range(number);
        let head = self.data.head(range.start);
        let head = head.filter(|head| head.trouble(range.start, &range).is_none());
        head.is_some_and(|head| self.index.record(head.index) == Some(head.index_record()))
    }

    fn step(&self, at: u64, last: Option<&EntryHead>) -> Step {
        let Some(number) = self.data.number_of(at) else {
            return Step::End("end of the last file".to_owned());
        };
        let range = self.data.range(number);
        if self.data.is_blank(at) {
            return Step::NextFile(range.end);
        }
        let Some(head) = self.data.head(at) else {
            return Step::End("no room for an entry is left".to_owned());
        };
        if head.size == 0 {
            return Step::End("no entry".to_owned());
        }
        let trouble = head
            .trouble(at, &range)
            .or_else(|| last.and_then(|last| head.trouble_behind(last)))
            .or_else(|| {
                (head.index < 0 || head.term < 0).then(|| "a number is negative".to_owned())
            })
            .or_else(|| {
                let body = &self.data.bytes(at, head.size as usize)[ENTRY_HEADER_BYTES..];
                body_trouble(body, Some(at as i64 + ENTRY_HEADER_BYTES as i64))
            });
        trouble.map_or(Step::Entry(head), Step::End)
    }
}
