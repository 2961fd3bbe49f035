//! What of a node's log goes into a copy: found by a walk over its entries that changes nothing.
//!
//! Where the walk meets no entry it asks, in this order:
//! 1. Is only the header damaged? The index says where the next entry is, of which term, and how long, and its message is
//!    sound: the header is made again, and nothing is lost.
//! 2. Does a sound entry follow that may lie behind the last one? Then what is between is *bridged*: whoever salvages gets
//!    a filler in the place of each entry that is lost there, of its length, with its index and term, so that everything behind stays
//!    where it is. Others are refused: a group that lives sends again what is cut, and never hears of a filler.
//! 3. Else the log ends here.

use std::ops::Range;

use mq_protocol::dledger_entry::{
    ENTRY_BLANK_BYTES, ENTRY_BLANK_MAGIC, ENTRY_HEADER_BYTES, EntryHead, IndexRecord,
};
use mq_protocol::message_codec::decode_record;

use super::filler::FILLER_BODY_BYTES_MIN;
use crate::big_endian::i32_at;
use crate::commit_log::log_bytes::{LogBytes as _, file_of, next_record, record_bytes};
use crate::doctor::dledger::holds_trouble;
use crate::doctor::entry_claims::Claims;
use crate::doctor::entry_index::EntryIndex;
use crate::doctor::log_reader::LogReader;
use crate::doctor::{DoctorError, Progress, StoreDir};
use crate::recovery::{DroppedRecord, RecoveryReport};

const HEADER: u64 = ENTRY_HEADER_BYTES as u64;

/// The shortest entry that a filler can take the place of.
const FILLER_BYTES_MIN: u64 = HEADER + FILLER_BODY_BYTES_MIN as u64;

/// Where the index does not tell how long entries were, none is taken for longer.
const GUESSED_BYTES_MAX: u64 = 4 << 20;

/// Why a log ends that nothing has damaged.
const NO_ENTRY: &str = "no record";
const LAST_FILE_ENDS: &str = "end of the last file";

/// What is written over the bytes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// The header, which was damaged.
    Header(EntryHead),
    /// Header and a message that nobody reads.
    Filler(EntryHead),
    /// The blank that ends a file: from there up to its end.
    Blank { at: u64, bytes: u64 },
}

/// What becomes of a node's log.
pub(super) struct Mended {
    /// Where the log begins.
    pub(super) begin: u64,
    /// The last entry of the copy.
    pub(super) last: Option<EntryHead>,
    /// Where it ends; where the log begins without one.
    pub(super) end: u64,
    /// In the order of their places.
    pub(super) mends: Vec<Mend>,
    /// What is left out, and why the log ends.
    pub(super) report: RecoveryReport,
    /// Why this is not to be done unless the operator salvages.
    pub(super) refusal: Option<String>,
}

/// What lies between the last entry and the next sound one.
struct Gap {
    heads: Vec<EntryHead>,
    blanks: Vec<Mend>,
}

/// What is at a position.
enum Step {
    Entry(EntryHead),
    NextFile(u64),
    End(String),
}

/// The walk.
struct Mender<'a> {
    dir: &'a StoreDir,
    log: LogReader<'a>,
    claims: &'a Claims,
    /// The node's own, if that is known.
    term: Option<i64>,
    index: EntryIndex,
    mended: Mended,
}

impl StoreDir {
    /// Looks through the log of the node `name`, which is in that term.
    pub(super) fn mend_entries(
        &self,
        name: &str,
        claims: &Claims,
        term: Option<i64>,
        salvage: bool,
        progress: Progress<'_>,
    ) -> Result<Mended, DoctorError> {
        let log = LogReader::entries(self, &self.entries_dir(name), progress)?;
        let begin = log.files().first().map_or(0, |file| file.start);
        let mended = Mended {
            begin,
            last: None,
            end: begin,
            mends: Vec::new(),
            report: RecoveryReport::default(),
            refusal: None,
        };
        let index = EntryIndex::open(self, name)?;
        let mut mender = Mender { dir: self, log, claims, term, index, mended };
        mender.run(salvage)?;
        let mut mended = mender.mended;
        if let Some(durable) = claims.durable_pos.filter(|durable| mended.end < *durable) {
            let reason = &mended.report.end_reason;
            let text = format!("the log ends at {} ({reason})", mended.end);
            let refusal = format!("{text}, although everything below {durable} was synced");
            mended.refusal.get_or_insert(refusal);
        }
        Ok(mended)
    }
}

impl Mender<'_> {
    fn run(&mut self, salvage: bool) -> Result<(), DoctorError> {
        let mut at = self.mended.begin;
        loop {
            let reason = match self.step(at)? {
                Step::Entry(head) => {
                    at = self.keep(&head);
                    continue;
                }
                Step::NextFile(next) => {
                    assert!(next > at, "a file ends behind {at}");
                    at = next;
                    continue;
                }
                Step::End(reason) => reason,
            };
            if let Some(head) = self.indexed_at(at)? {
                self.mended.mends.push(Mend::Header(head));
                at = self.keep(&head);
                continue;
            }
            let next = self.next_sound(at)?;
            let gap = match &next {
                Some(next) => self.gap(at, next)?,
                None => None,
            };
            if let Some(next) = &next {
                self.refuse(at, &reason, next);
            }
            let Some((next, gap)) = next.zip(gap).filter(|_| salvage) else {
                return self.end(at, reason, next.is_some());
            };
            self.bridge(gap, &reason)?;
            assert!(next.pos as u64 > at, "sound entries follow what is none");
            at = next.pos as u64;
        }
    }

    /// What is at a position, as a start of ours asks.
    fn step(&mut self, at: u64) -> Result<Step, DoctorError> {
        let Some(number) = file_of(self.log.files(), at) else {
            let is_missing = self.log.files().last().is_some_and(|last| last.start > at);
            let reason = if is_missing { "the file is missing" } else { LAST_FILE_ENDS };
            return Ok(Step::End(reason.to_owned()));
        };
        let file = self.log.files()[number].clone();
        let bytes = self.log.bytes(at, ENTRY_HEADER_BYTES)?;
        if i32_at(bytes, 0) == Some(ENTRY_BLANK_MAGIC) {
            return Ok(Step::NextFile(file.end));
        }
        let Some(head) = EntryHead::decode(bytes) else {
            return Ok(Step::End("no room for an entry is left".to_owned()));
        };
        if head.size == 0 {
            return Ok(Step::End(NO_ENTRY.to_owned()));
        }
        let trouble = match self.trouble(&head, at, &file)? {
            None => self.term_trouble(&head)?,
            trouble => trouble,
        };
        Ok(trouble.map_or(Step::Entry(head), Step::End))
    }

    /// An entry has no checksum: a term that the node never knew of is not believed where the index has another one.
    fn term_trouble(&mut self, head: &EntryHead) -> Result<Option<String>, DoctorError> {
        let Some(known) = self.term.filter(|known| head.term > *known) else { return Ok(None) };
        let indexed = self.indexed(head.index)?;
        let is_other = indexed.is_some_and(|indexed| {
            indexed.term <= known && EntryHead { term: head.term, ..indexed } == *head
        });
        Ok(is_other.then(|| format!("its term is {}, and the node's is {known}", head.term)))
    }

    fn trouble(
        &mut self,
        head: &EntryHead,
        at: u64,
        file: &Range<u64>,
    ) -> Result<Option<String>, DoctorError> {
        let last = self.mended.last.as_ref();
        let trouble = head
            .trouble(at, file)
            .or_else(|| last.and_then(|last| head.trouble_behind(last)))
            .or_else(|| {
                (head.index < 0 || head.term < 0).then(|| "a number is negative".to_owned())
            });
        if trouble.is_some() {
            return Ok(trouble);
        }
        let size = head.size as usize;
        let body = &self.log.bytes(at, size)?[ENTRY_HEADER_BYTES..size];
        Ok(holds_trouble(head, at, body))
    }

    /// The log ends with that entry now; where.
    fn keep(&mut self, head: &EntryHead) -> u64 {
        let end = (head.pos + i64::from(head.size)) as u64;
        assert!(end > self.mended.end, "entries lie behind one another");
        (self.mended.last, self.mended.end) = (Some(*head), end);
        end
    }

    /// The entry that the index has next, if it is at `at` and holds a sound message.
    fn indexed_at(&mut self, at: u64) -> Result<Option<EntryHead>, DoctorError> {
        let Some(last) = self.mended.last else { return Ok(None) };
        let Some(head) = self.indexed(last.index + 1)?.filter(|head| head.pos as u64 == at) else {
            return Ok(None);
        };
        let is_of_log = !self.claims.is_left_over(Some(&head), Some(&last));
        let is_sound = is_of_log && head.term >= last.term && self.holds_message(&head)?;
        Ok(is_sound.then_some(head))
    }

    /// Whether the bytes behind that header are its message.
    fn holds_message(&mut self, head: &EntryHead) -> Result<bool, DoctorError> {
        let (at, size) = (head.pos as u64, head.size as usize);
        let bytes = self.log.bytes(at, size)?;
        let body = bytes.get(ENTRY_HEADER_BYTES..size);
        Ok(body.is_some_and(|body| holds_trouble(head, at, body).is_none()))
    }

    /// What the index says of an entry, if that can be.
    fn indexed(&mut self, index: i64) -> Result<Option<EntryHead>, DoctorError> {
        let record = self.index.record(self.dir, index)?;
        let file_bytes = self.file_bytes();
        let can_be = |record: &IndexRecord| {
            let (pos, size) = (record.pos, i64::from(record.size));
            record.index == index
                && record.term >= 0
                && pos >= self.mended.begin as i64
                && size >= FILLER_BYTES_MIN as i64
                && (pos as u64 % file_bytes).saturating_add(size as u64) <= file_bytes
        };
        let head = |record: IndexRecord| {
            EntryHead::new(index, record.term, record.pos, record.size - ENTRY_HEADER_BYTES as i32)
        };
        Ok(record.filter(can_be).map(head))
    }

    /// The next sound entry behind `at` that may lie behind the last one.
    fn next_sound(&mut self, at: u64) -> Result<Option<EntryHead>, DoctorError> {
        let mut from = at + 1;
        while let Some(record) = next_record(&mut self.log, from)? {
            let size =
                decode_record(record_bytes(&mut self.log, record)?).map_or(1, |it| it.size());
            from = record + size as u64;
            let Some(pos) = record.checked_sub(HEADER) else { continue };
            let Some(number) = file_of(self.log.files(), pos) else { continue };
            let file = self.log.files()[number].clone();
            let Some(head) = EntryHead::decode(self.log.bytes(pos, ENTRY_HEADER_BYTES)?) else {
                continue;
            };
            let last = self.mended.last;
            let may_follow = pos > at
                && head.term >= last.map_or(0, |last| last.term)
                && head.index > last.map_or(-1, |last| last.index)
                && !self.claims.is_left_over(Some(&head), last.as_ref());
            if may_follow && head.trouble(pos, &file).is_none() && self.holds_message(&head)? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn refuse(&mut self, at: u64, reason: &str, next: &EntryHead) {
        let EntryHead { index, pos, .. } = next;
        let text = format!(
            "what is at {at} is no entry ({reason}), and sound ones follow, the first with index {index} at {pos}: in a group \
             whose other members have them, move the node's directory away and start it as one that lost its disk; to \
             salvage keeps them, with fillers in the place of what is lost"
        );
        self.mended.refusal.get_or_insert(text);
    }

    /// The entries that were between `at` and `next`.
    fn gap(&mut self, at: u64, next: &EntryHead) -> Result<Option<Gap>, DoctorError> {
        let Some(first) = self.first_missing(next)? else { return Ok(None) };
        let by_index = self.gap_by_index(at, first, next)?;
        Ok(by_index.or_else(|| self.gap_by_guess(at, first, next)))
    }

    /// The index of the first entry that is missing before `next`.
    fn first_missing(&mut self, next: &EntryHead) -> Result<Option<i64>, DoctorError> {
        if let Some(last) = self.mended.last {
            return Ok(Some(last.index + 1));
        }
        let begin = self.mended.begin;
        if begin == 0 {
            return Ok(Some(0));
        }
        let mut index = next.index - 1;
        while let Some(head) = self.indexed(index)? {
            if head.pos as u64 == begin {
                return Ok(Some(index));
            }
            index -= 1;
        }
        // How many they were nobody knows: they count as one.
        Ok(Some(next.index - 1).filter(|index| *index >= 0))
    }

    fn gap_by_index(
        &mut self,
        at: u64,
        first: i64,
        next: &EntryHead,
    ) -> Result<Option<Gap>, DoctorError> {
        let mut gap = Gap { heads: Vec::new(), blanks: Vec::new() };
        let (mut end, mut term) = (at, self.mended.last.map_or(0, |last| last.term));
        for index in first..next.index {
            let Some(head) = self.indexed(index)? else { return Ok(None) };
            let fits = (term..=next.term).contains(&head.term);
            if !fits || !self.leads(end, head.pos as u64, &mut gap.blanks) {
                return Ok(None);
            }
            (end, term) = ((head.pos + i64::from(head.size)) as u64, head.term);
            gap.heads.push(head);
        }
        Ok(self.leads(end, next.pos as u64, &mut gap.blanks).then_some(gap))
    }

    /// Entries of the shortest length, and a last one of what is left: the index tells nothing.
    fn gap_by_guess(&self, at: u64, first: i64, next: &EntryHead) -> Option<Gap> {
        let mut blanks = Vec::new();
        let next_file = self.next_file(at);
        let next_pos = next.pos as u64;
        let is_next_file = next_pos == next_file && !self.is_file_start(at);
        let room = if is_next_file {
            next_file - at - ENTRY_BLANK_BYTES as u64
        } else {
            (next_pos < next_file).then(|| next_pos - at)?
        };
        let count = u64::try_from(next.index - first).ok().filter(|count| *count > 0)?;
        let before = (count - 1).checked_mul(FILLER_BYTES_MIN)?;
        let rest = room.checked_sub(before)?;
        if !(FILLER_BYTES_MIN..=GUESSED_BYTES_MAX).contains(&rest) {
            return None;
        }
        let term = self.mended.last.map_or(next.term, |last| last.term);
        let mut pos = at;
        let mut heads = Vec::new();
        for index in first..next.index {
            let size = if index + 1 == next.index { rest } else { FILLER_BYTES_MIN };
            heads.push(EntryHead::new(index, term, pos as i64, (size - HEADER) as i32));
            pos += size;
        }
        self.leads(pos, next_pos, &mut blanks).then_some(Gap { heads, blanks })
    }

    /// Whether an entry at `to` comes right behind one that ends at `end`; a blank fills what is left of its file.
    fn leads(&self, end: u64, to: u64, blanks: &mut Vec<Mend>) -> bool {
        if to == end {
            return true;
        }
        let next_file = self.next_file(end);
        let bytes = next_file - end;
        if to != next_file || self.is_file_start(end) || bytes < ENTRY_BLANK_BYTES as u64 {
            return false;
        }
        blanks.push(Mend::Blank { at: end, bytes });
        true
    }

    /// Takes what is between over into the copy: messages that are sound, fillers for the others.
    fn bridge(&mut self, gap: Gap, reason: &str) -> Result<(), DoctorError> {
        for head in gap.heads {
            if self.holds_message(&head)? {
                self.mended.mends.push(Mend::Header(head));
            } else {
                self.drop_entry(&head, reason)?;
                self.mended.mends.push(Mend::Filler(head));
            }
            self.keep(&head);
        }
        self.mended.mends.extend(gap.blanks);
        Ok(())
    }

    /// The log ends behind the last entry that was kept: names what it had behind, as far as anything tells.
    fn end(&mut self, at: u64, reason: String, sound_follow: bool) -> Result<(), DoctorError> {
        let claimed = self.claims.closed_at().max(self.claims.committed_index).unwrap_or(-1);
        let first = self.mended.last.map_or(0, |last| last.index + 1);
        let mut next_index = first;
        while next_index <= claimed
            && let Some(head) = self.indexed(next_index)?
            && head.pos as u64 >= at
        {
            let reason = if head.pos as u64 == at { &reason } else { "behind the end of the log" };
            self.drop_entry(&head, reason)?;
            next_index += 1;
        }
        let is_clean = [NO_ENTRY, LAST_FILE_ENDS].contains(&reason.as_str());
        let torn = EntryHead::decode(self.log.bytes(at, ENTRY_HEADER_BYTES)?);
        let torn = torn.filter(|head| head.pos == at as i64);
        let last = self.mended.last;
        if next_index == first
            && !is_clean
            && !self.claims.is_left_over(torn.as_ref(), last.as_ref())
        {
            let bytes = record_bytes(&mut self.log, at + HEADER)?;
            self.mended.report.add_dropped(|| DroppedRecord::describe(bytes, at + HEADER, &reason));
            next_index += 1;
        }
        while sound_follow && let Some(head) = self.next_sound_from(at, next_index)? {
            self.drop_entry(&head, "behind a gap that cannot be bridged")?;
            next_index = head.index + 1;
        }
        // The node had them, and nothing else is left of them.
        self.mended.report.dropped_more += u64::try_from(claimed + 1 - next_index).unwrap_or(0);
        self.mended.report.end_reason = reason;
        Ok(())
    }

    /// The next sound entry behind `at` with that index or a larger one.
    fn next_sound_from(&mut self, at: u64, index: i64) -> Result<Option<EntryHead>, DoctorError> {
        let mut at = at;
        loop {
            match self.next_sound(at)? {
                Some(head) if head.index < index => at = head.pos as u64 + HEADER,
                other => return Ok(other),
            }
        }
    }

    fn drop_entry(&mut self, head: &EntryHead, reason: &str) -> Result<(), DoctorError> {
        let (at, size) = (head.pos as u64 + HEADER, head.body_len as u64);
        let bytes = record_bytes(&mut self.log, at)?;
        let reason = format!("entry {}: {reason}", head.index);
        self.mended.report.add_dropped(|| {
            let described = DroppedRecord::describe(bytes, at, &reason);
            DroppedRecord { size: described.size.or(Some(size)), ..described }
        });
        Ok(())
    }

    fn file_bytes(&self) -> u64 {
        self.dir.shape().commit_log_file_bytes as u64
    }

    /// Where the file behind the one of `at` begins.
    fn next_file(&self, at: u64) -> u64 {
        (at / self.file_bytes() + 1) * self.file_bytes()
    }

    fn is_file_start(&self, at: u64) -> bool {
        at.is_multiple_of(self.file_bytes())
    }
}
