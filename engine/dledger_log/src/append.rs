//! Entries on their way in: into the data first, then into the index, then the log ends with them.
//!
//! Whatever can fail is done before a byte is written: the record has its room, the next file is there.

use std::sync::Arc;

use mq_mapped_file::{MappedFile, MappedFileQueue};
use mq_protocol::dledger_entry::{
    ENTRY_BLANK_BYTES, ENTRY_HEADER_BYTES, ENTRY_MAGIC, EntryHead, INDEX_RECORD_BYTES, entry_blank,
};
use mq_protocol::message_codec::{PHY_OFFSET_POSITION, patch_phy_offset};

use crate::cut::NO_FILE;
use crate::error::LogError;
use crate::log::{DLedgerLog, Ends, index_offset};

/// Where an entry was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// In the log.
    pub index: i64,
    /// In the data files; its body is 48 bytes behind.
    pub pos: u64,
}

impl Appended {
    /// The physical offset of the message: where the body is.
    #[must_use]
    pub fn phy_offset(&self) -> u64 {
        self.pos + ENTRY_HEADER_BYTES as u64
    }
}

/// Where an entry goes.
enum Place {
    /// Behind the last one.
    Here,
    /// To the start of the next file; a blank fills this one.
    NextFile,
}

impl DLedgerLog {
    /// Sees to it that entries of these lengths, headers included, find room: a full disk says so here. They may still
    /// not fit if they reach over two file ends.
    ///
    /// # Errors
    /// [`LogError::is_disk_full`], an entry that is larger than a file, and what else the disk says.
    pub fn make_room(&self, sizes: impl IntoIterator<Item = usize>) -> Result<(), LogError> {
        let ends = *self.ends();
        let (mut needed, mut next_index) = (0, ends.end_index + 1);
        for size in sizes {
            self.check_size(next_index, size)?;
            needed += size + ENTRY_BLANK_BYTES;
            next_index += 1;
        }
        let records = INDEX_RECORD_BYTES * (next_index - ends.end_index - 1) as usize;
        if records == 0 {
            return Ok(());
        }
        self.reserve(&self.data, needed, ends.end_pos)?;
        self.index_file(ends.end_index + 1)?;
        self.reserve(&self.index, records, index_offset(ends.end_index + 1))
    }

    /// Reserves the next `len` bytes of a queue, as far as the file behind the last one reaches.
    fn reserve(&self, queue: &MappedFileQueue, len: usize, start: u64) -> Result<(), LogError> {
        let full = || LogError::io("make room for entries");
        let last = queue.last().map_or_else(|| queue.last_or_create(start), Ok).map_err(full())?;
        let here = len.min(last.file_size() - last.wrote_position());
        queue.make_room(&last, here).map_err(full())?;
        if here == len {
            return Ok(());
        }
        let next = (len - here).min(last.file_size());
        queue.make_next(next).map_err(full())
    }

    /// Appends an entry of the leader that this node is. The record in `body` is told its physical offset.
    ///
    /// # Errors
    /// When the log is poisoned, the disk full, or the entry larger than a file; nothing is appended then.
    ///
    /// # Panics
    /// When the term is smaller than that of the entry before.
    pub fn append_as_leader(&self, term: i64, body: &mut [u8]) -> Result<Appended, LogError> {
        self.check_sound()?;
        let ends = *self.ends();
        assert!(term >= ends.end_term, "term {term} behind term {}", ends.end_term);
        let size = ENTRY_HEADER_BYTES + body.len();
        let index = ends.end_index + 1;
        self.check_size(index, size)?;
        let place = self.next_place(&ends, size);
        let pos = self.next_pos(&ends, size);
        if body.len() >= PHY_OFFSET_POSITION + 8 {
            patch_phy_offset(body, pos as i64 + ENTRY_HEADER_BYTES as i64);
        }
        let head = EntryHead::new(index, term, pos as i64, body.len() as i32);
        self.write(&ends, &place, &head, body)?;
        Ok(Appended { index, pos })
    }

    /// Appends an entry of another leader, exactly where he has it.
    ///
    /// # Errors
    /// As for a leader's own, and when it does not continue the log at its position.
    pub fn append_as_follower(&self, head: &EntryHead, body: &[u8]) -> Result<(), LogError> {
        self.check_sound()?;
        let ends = *self.ends();
        let refused = |reason: String| LogError::Entry { index: head.index, pos: head.pos, reason };
        let size = ENTRY_HEADER_BYTES + body.len();
        let is_whole = head.magic == ENTRY_MAGIC
            && usize::try_from(head.size) == Ok(size)
            && usize::try_from(head.body_len) == Ok(body.len());
        if !is_whole || head.index != ends.end_index + 1 || head.term < ends.end_term {
            let Ends { end_index, end_term, .. } = ends;
            let reason = format!("it does not continue entry {end_index} of term {end_term}");
            return Err(refused(reason));
        }
        let place = self.place_of(&ends, head)?;
        self.write(&ends, &place, head, body)
    }

    /// Asks whether whole entries of another leader, one behind the other from `first` on, can be appended where he has them:
    /// behind the entry before `first`, or at the start of a file where there is none, or none is kept (`is_anew`).
    ///
    /// # Errors
    /// [`LogError::Entry`] for the first one that would not be.
    pub fn check_places<'a>(
        &self,
        first: i64,
        is_anew: bool,
        heads: impl IntoIterator<Item = &'a EntryHead>,
    ) -> Result<(), LogError> {
        let mut ends = *self.ends();
        let mut heads = heads.into_iter().peekable();
        let Some(pos) = heads.peek().map(|head| head.pos) else { return Ok(()) };
        let refused = |reason: String| LogError::Entry { index: first, pos, reason };
        let has_none_before = is_anew || first == ends.begin_index;
        ends.end_pos = if has_none_before {
            let is_start = |pos: &u64| pos.is_multiple_of(self.config.data_file_bytes as u64);
            u64::try_from(pos).ok().filter(is_start).ok_or_else(|| refused(NO_FILE.to_owned()))?
        } else {
            self.end_of(first - 1).map_err(|error| refused(error.to_string()))?
        };
        for head in heads {
            self.place_of(&ends, head)?;
            ends.end_pos = (head.pos + i64::from(head.size)) as u64;
        }
        Ok(())
    }

    /// Where an entry of another leader goes that lies right behind `ends`.
    fn place_of(&self, ends: &Ends, head: &EntryHead) -> Result<Place, LogError> {
        let size = usize::try_from(head.size).unwrap_or(usize::MAX);
        self.check_size(head.index, size)?;
        let fits = matches!(self.next_place(ends, size), Place::Here);
        match u64::try_from(head.pos) {
            Ok(pos) if fits && pos == ends.end_pos => Ok(Place::Here),
            Ok(pos) if pos == self.next_file(ends) && !self.is_at_file_start(ends) => {
                Ok(Place::NextFile)
            }
            _ => {
                let end_pos = ends.end_pos;
                let reason = format!(
                    "here it would follow offset {end_pos}; mappedFileSizeCommitLog must be the same on all peers"
                );
                Err(LogError::Entry { index: head.index, pos: head.pos, reason })
            }
        }
    }

    /// Writes entry and record, and ends the log with them.
    fn write(
        &self,
        ends: &Ends,
        place: &Place,
        head: &EntryHead,
        body: &[u8],
    ) -> Result<(), LogError> {
        let index_file = self.index_file(head.index)?;
        let file = self.data_file(ends, place)?;
        let mut bytes = Vec::with_capacity(ENTRY_HEADER_BYTES + body.len());
        bytes.extend_from_slice(&head.encode());
        bytes.extend_from_slice(body);
        let at = file.append(&bytes).map(|at| file.file_from_offset() + at as u64);
        assert_eq!(at, Some(head.pos as u64), "the entry is where it says");
        append_record(&index_file, head);
        let mut ends = self.ends();
        ends.end_index = head.index;
        ends.end_term = head.term;
        ends.end_pos = (head.pos + i64::from(head.size)) as u64;
        drop(ends);
        self.appended.notify_one();
        Ok(())
    }

    fn check_size(&self, index: i64, size: usize) -> Result<(), LogError> {
        let most = self.config.data_file_bytes - ENTRY_BLANK_BYTES;
        if size <= most {
            return Ok(());
        }
        let pos = self.end_pos() as i64;
        Err(LogError::Entry { index, pos, reason: format!("{size} bytes of {most} at most") })
    }

    fn next_place(&self, ends: &Ends, size: usize) -> Place {
        let room = self.next_file(ends) - ends.end_pos;
        if (size + ENTRY_BLANK_BYTES) as u64 <= room { Place::Here } else { Place::NextFile }
    }

    /// Where an entry of that size goes.
    pub(crate) fn next_pos(&self, ends: &Ends, size: usize) -> u64 {
        match self.next_place(ends, size) {
            Place::Here => ends.end_pos,
            Place::NextFile => self.next_file(ends),
        }
    }

    /// Where the file behind the one of the log's end begins.
    fn next_file(&self, ends: &Ends) -> u64 {
        let size = self.config.data_file_bytes as u64;
        (ends.end_pos / size + 1) * size
    }

    fn is_at_file_start(&self, ends: &Ends) -> bool {
        ends.end_pos.is_multiple_of(self.config.data_file_bytes as u64)
    }

    /// The file that an entry goes to, with nothing behind the log's end.
    fn data_file(&self, ends: &Ends, place: &Place) -> Result<Arc<MappedFile>, LogError> {
        let failed = || LogError::io(format!("create a file in {}", self.data.dir().display()));
        if matches!(place, Place::NextFile) {
            self.data.make_next(0).map_err(failed())?;
            let last = self.data.last().filter(|last| !last.is_full());
            if let Some(last) = last {
                let room = last.file_size() - last.wrote_position();
                last.append_to_end(&entry_blank(room));
            }
        }
        self.data.last_or_create(ends.end_pos).map_err(|source| {
            if matches!(place, Place::NextFile) {
                // The blank is written, and nothing may come behind it here that is somewhere else with others.
                self.poison();
            }
            failed()(source)
        })
    }

    /// The file that takes an entry's record, with room for it.
    fn index_file(&self, index: i64) -> Result<Arc<MappedFile>, LogError> {
        let failed = || LogError::io(format!("make room in {}", self.index.dir().display()));
        let offset = index_offset(index);
        let is_first = self.index.is_empty();
        let file = self.index.last_or_create(offset).map_err(failed())?;
        if is_first {
            file.set_positions(self.index.position(offset));
        }
        self.index.make_room(&file, INDEX_RECORD_BYTES).map_err(failed())?;
        Ok(file)
    }

    /// Adds the record of an entry that is there, as the next of the index.
    pub(crate) fn index_again(&self, head: &EntryHead) -> Result<(), LogError> {
        let file = self.index_file(head.index)?;
        append_record(&file, head);
        Ok(())
    }
}

fn append_record(file: &MappedFile, head: &EntryHead) {
    let at = file.append(&head.index_record().encode());
    let at = at.map(|at| file.file_from_offset() + at as u64);
    assert_eq!(at, Some(index_offset(head.index)), "a record is where it is looked for");
}
