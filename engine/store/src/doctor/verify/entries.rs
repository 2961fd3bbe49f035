//! The log of a DLedger node: its entries, its index, and what the ConsumeQueues make of them.
//!
//! RocketMQ looks at the last three data files, or at more of them if the index does not know where
//! these begin, and asks of every entry whether it is where it says, follows the one before, and is in
//! the index. What is inside it does not look at.

use std::ops::Range;

use mq_mapped_file::file_name;
use mq_protocol::dledger_entry::{
    ENTRY_BLANK_MAGIC, ENTRY_HEADER_BYTES, EntryHead, INDEX_FILE_BYTES,
};
use mq_protocol::message_codec::{RecordRules, decode_record};

use super::indexes::IndexCheck;
use super::queues::QueueCheck;
use super::{LogEnd, Severity, Verdict};
use crate::big_endian::i32_at;
use crate::commit_log::log_bytes::{LogBytes as _, file_of, next_record, record_bytes};
use crate::commit_log::walk::WalkEnd;
use crate::doctor::dledger::holds_trouble;
use crate::doctor::entry_claims::Claims;
use crate::doctor::entry_index::{EntryIndex, Indexed};
use crate::doctor::log_reader::{Found, LogReader};
use crate::doctor::{DoctorError, Progress, StoreDir, StoreFile};
use crate::recovery::{DroppedRecord, RecoveryReport};

/// A start looks at so many files at least.
const FILES_ALWAYS_WALKED: usize = 3;
/// So many entries with damaged records are named.
const NAMED_MAX: usize = 100;
const HEADER: u64 = ENTRY_HEADER_BYTES as u64;

/// The walk over the entries.
struct EntryCheck<'a> {
    dir: &'a StoreDir,
    name: &'a str,
    claims: Claims,
    entry_index: EntryIndex,
    queues: QueueCheck,
    index: IndexCheck,
    last: Option<EntryHead>,
    kept: u64,
    /// Where the first entry is that need not be in its queue.
    uncommitted: Option<u64>,
    not_indexed: Misses,
    wrongly_indexed: Misses,
    /// Entries whose record is damaged.
    damaged: usize,
    verdict: Verdict,
}

/// What is at a position.
enum Step {
    /// An entry or a blank that leads there.
    To(u64),
    /// Neither.
    End(String),
}

/// Entries with the same trouble.
#[derive(Clone, Copy, Default)]
struct Misses {
    count: u64,
    first_index: i64,
    first_pos: u64,
}

impl Misses {
    fn add(&mut self, entry: &EntryHead) {
        if self.count == 0 {
            (self.first_index, self.first_pos) = (entry.index, entry.pos as u64);
        }
        self.count += 1;
    }
}

impl StoreDir {
    /// Reads everything of a DLedger node and compares.
    pub(super) fn verify_dledger(
        &self,
        name: &str,
        progress: Progress<'_>,
    ) -> Result<Verdict, DoctorError> {
        let mut verdict = Verdict::default();
        let index = IndexCheck::open(self, &mut verdict)?;
        let mut check = EntryCheck {
            dir: self,
            name,
            claims: Claims::of(self, name),
            entry_index: EntryIndex::open(self, name)?,
            queues: QueueCheck::open(self, 0)?,
            index,
            last: None,
            kept: 0,
            uncommitted: None,
            not_indexed: Misses::default(),
            wrongly_indexed: Misses::default(),
            damaged: 0,
            verdict,
        };
        check.check_files()?;
        let old_end = check.walk_old_log(&mut *progress)?;
        let mut log = LogReader::open(self, &self.entries_dir(name), progress)?;
        let files = log.files().to_vec();
        if let (Some((_, old_end)), Some(first)) = (&old_end, files.first())
            && *old_end != first.start
        {
            let text = format!("ends at {old_end}, but the entries begin at {}", first.start);
            check.verdict.add(Severity::Damage, self.log_place(), text);
        }
        let start = check.start(&mut log)?;
        let begin = files.first().map_or(start, |file| file.start);
        check.walk_unseen(&mut log, begin..start)?;
        let end = check.walk(&mut log, start)?;
        check.drop_behind(&mut log, &end)?;
        check.verdict.min_phy_offset = old_end.map_or(begin, |(old_begin, _)| old_begin);
        check.finish(&files, start, end)
    }
}

impl EntryCheck<'_> {
    /// Every file has to be there, at its length.
    fn check_files(&mut self) -> Result<(), DoctorError> {
        let data = self.dir.files(&self.dir.entries_dir(self.name))?;
        let size = self.dir.shape.commit_log_file_bytes as u64;
        self.check_rows(&data, &self.dir.entries_place(self.name), size);
        let index = self.entry_index.files().to_vec();
        self.check_rows(&index, &format!("{}/index", self.name), INDEX_FILE_BYTES as u64);
        Ok(())
    }

    fn check_rows(&mut self, files: &[StoreFile], dir: &str, size: u64) {
        let place = |file: &str| format!("{dir}/{file}");
        let mut expected = None;
        for (file, start) in files.iter().filter_map(|file| Some((file, file.offset()?))) {
            if let Some(missing) = expected.filter(|expected| *expected != start) {
                let text = "is missing; a start refuses";
                self.verdict.add(Severity::Damage, place(&file_name(missing)), text);
            }
            if file.len != size {
                let text = format!("has {} of {size} bytes; a start refuses", file.len);
                self.verdict.add(Severity::Damage, place(&file.name), text);
            }
            expected = Some(start + size);
        }
    }

    /// The CommitLog from before the node was one of DLedger, which is only read from then on. Where it
    /// begins and ends, if it is there.
    fn walk_old_log(&mut self, progress: Progress<'_>) -> Result<Option<(u64, u64)>, DoctorError> {
        let mut log = LogReader::open(self.dir, &self.dir.log_dir, progress)?;
        let files = log.files().to_vec();
        for (number, file) in files.iter().enumerate() {
            let mut at = file.start;
            loop {
                let reason = match log.look(file, at, &RecordRules::upstream(true))? {
                    Found::Record(record) => {
                        self.kept += 1;
                        self.queues.record(self.dir, &record, at)?;
                        self.index.record(self.dir, &record, at)?;
                        at += record.size() as u64;
                        continue;
                    }
                    Found::Bad { size: 0, .. } if number + 1 == files.len() => break,
                    Found::Blank { .. } | Found::FileEnd => break,
                    Found::Bad { reason, .. } => reason,
                };
                let next = next_record(&mut log, at + 1)?.unwrap_or(file.end).min(file.end);
                assert!(next > at, "damage at {at} ends behind");
                let place = format!("{}, offset {at}", self.dir.log_place());
                let text = format!("{reason}, up to {next}; a start does not look there");
                self.verdict.add(Severity::Damage, place, text);
                at = next;
            }
        }
        Ok(files.first().zip(files.last()).map(|(first, last)| (first.start, last.end)))
    }

    /// Where a start begins: at the third last file, or further back at one whose first entry is in the
    /// index.
    fn start(&mut self, log: &mut LogReader<'_>) -> Result<u64, DoctorError> {
        let files = log.files().to_vec();
        let mut number = files.len().saturating_sub(FILES_ALWAYS_WALKED);
        while number > 0 && !self.begins_well(log, &files[number])? {
            number -= 1;
        }
        Ok(files.get(number).map_or(0, |file| file.start))
    }

    fn begins_well(
        &mut self,
        log: &mut LogReader<'_>,
        file: &Range<u64>,
    ) -> Result<bool, DoctorError> {
        Ok(match EntryHead::decode(log.bytes(file.start, ENTRY_HEADER_BYTES)?) {
            Some(entry) if entry.trouble(file.start, file).is_none() => {
                self.entry_index.look_up(self.dir, &entry)? == Indexed::Rightly
            }
            _ => false,
        })
    }

    /// Walks the part where a start does not look, over damage.
    fn walk_unseen(
        &mut self,
        log: &mut LogReader<'_>,
        range: Range<u64>,
    ) -> Result<(), DoctorError> {
        let mut at = range.start;
        while at < range.end {
            match self.step(log, at)? {
                Step::To(next) => {
                    assert!(next > at, "an entry at {at} leads to {next}");
                    at = next;
                }
                Step::End(reason) => {
                    let next = next_entry(log, at)?.min(range.end);
                    assert!(next > at, "what is no entry at {at} is passed over");
                    self.unseen_damage(at, &format!("{reason}, up to {next}"));
                    self.last = None;
                    at = next;
                }
            }
        }
        // A start knows nothing of the entry before its first one.
        let (before, first) =
            (self.last.take(), EntryHead::decode(log.bytes(at, ENTRY_HEADER_BYTES)?));
        if let Some(trouble) = before.zip(first).and_then(|(it, first)| first.trouble_behind(&it)) {
            self.unseen_damage(at, &trouble);
        }
        Ok(())
    }

    /// Walks to the first entry that is none, as a start does.
    fn walk(&mut self, log: &mut LogReader<'_>, start: u64) -> Result<WalkEnd, DoctorError> {
        if log.files().is_empty() {
            return Ok(WalkEnd::of_nothing());
        }
        let mut at = start;
        loop {
            match self.step(log, at)? {
                Step::To(next) => {
                    assert!(next > at, "an entry at {at} leads to {next}");
                    at = next;
                }
                Step::End(reason) => return Ok(WalkEnd { phy_offset: at, reason }),
            }
        }
    }

    fn unseen_damage(&mut self, at: u64, what: &str) {
        let text = format!("{what}; a start does not look there");
        self.verdict.add(Severity::Damage, format!("{}, offset {at}", self.name), text);
    }

    fn step(&mut self, log: &mut LogReader<'_>, at: u64) -> Result<Step, DoctorError> {
        let Some(number) = file_of(log.files(), at) else {
            return Ok(Step::End("end of the last file".to_owned()));
        };
        let file = log.files()[number].clone();
        let head = log.bytes(at, ENTRY_HEADER_BYTES)?;
        if i32_at(head, 0) == Some(ENTRY_BLANK_MAGIC) {
            return Ok(Step::To(file.end));
        }
        let Some(entry) = EntryHead::decode(head) else {
            return Ok(Step::End("no room for an entry is left".to_owned()));
        };
        if entry.size == 0 {
            return Ok(Step::End("no record".to_owned()));
        }
        let behind = |last: &EntryHead| entry.trouble_behind(last);
        let trouble = entry.trouble(at, &file).or(self.last.as_ref().and_then(behind));
        if let Some(trouble) = trouble {
            return Ok(Step::End(trouble));
        }
        let size = entry.size as usize;
        self.entry(&entry, at, &log.bytes(at, size)?[ENTRY_HEADER_BYTES..size])?;
        Ok(Step::To(at + size as u64))
    }

    /// Compares an entry with its record in the index, and what it holds with queues and index.
    fn entry(&mut self, entry: &EntryHead, at: u64, body: &[u8]) -> Result<(), DoctorError> {
        self.kept += 1;
        self.last = Some(*entry);
        match self.entry_index.look_up(self.dir, entry)? {
            Indexed::Rightly => {}
            Indexed::Wrongly => self.wrongly_indexed.add(entry),
            Indexed::Not => self.not_indexed.add(entry),
        }
        if let Some(trouble) = holds_trouble(entry, at, body) {
            self.damaged += 1;
            if self.damaged <= NAMED_MAX {
                let place = format!("{}, offset {at}", self.name);
                let text = format!("{trouble}; a start does not look and serves it as it is");
                self.verdict.add(Severity::Damage, place, text);
            }
        }
        let is_committed = self.claims.committed_index.is_none_or(|it| entry.index <= it);
        if !is_committed && !self.claims.was_aborted {
            self.uncommitted.get_or_insert(at);
            return Ok(());
        }
        if let Ok(record) = decode_record(body) {
            self.queues.record(self.dir, &record, at + HEADER)?;
            self.index.record(self.dir, &record, at + HEADER)?;
        }
        Ok(())
    }

    /// Names what a start cuts: the torn entry at the end, and sound ones behind it. What is left of a
    /// longer log that the node's leader had it cut before is not meant.
    fn drop_behind(&mut self, log: &mut LogReader<'_>, end: &WalkEnd) -> Result<(), DoctorError> {
        let mut report = RecoveryReport::default();
        let at = end.phy_offset;
        if !["no record", "end of the last file", "no files"].contains(&end.reason.as_str())
            && !self.is_left_over(log, at)?
        {
            let record = record_bytes(log, at + HEADER)?;
            let place = at + HEADER;
            report.add_dropped(|| DroppedRecord::describe(record, place, &end.reason));
        }
        let mut from = at + HEADER + 1;
        while let Some(record) = next_record(log, from)? {
            assert!(record >= from, "records are looked for forward");
            from =
                record + decode_record(record_bytes(log, record)?).map_or(1, |it| it.size() as u64);
            if !self.is_left_over(log, record.saturating_sub(HEADER))? {
                let bytes = record_bytes(log, record)?;
                let reason = "behind the end of the log";
                report.add_dropped(|| DroppedRecord::describe(bytes, record, reason));
            }
        }
        (self.verdict.dropped, self.verdict.dropped_more) = (report.dropped, report.dropped_more);
        Ok(())
    }

    /// Whether what is at `at` belongs to no entry that was ever behind the last one.
    fn is_left_over(&self, log: &mut LogReader<'_>, at: u64) -> Result<bool, DoctorError> {
        let head = EntryHead::decode(log.bytes(at, ENTRY_HEADER_BYTES)?);
        let head = head.filter(|head| head.pos == at as i64);
        Ok(self.claims.is_left_over(head.as_ref(), self.last.as_ref()))
    }

    fn finish(
        mut self,
        files: &[Range<u64>],
        start: u64,
        end: WalkEnd,
    ) -> Result<Verdict, DoctorError> {
        self.verdict.kept = self.kept;
        self.verdict.max_phy_offset = end.phy_offset;
        self.check_end(files, &end);
        self.check_entry_index(start);
        let more = self.damaged.saturating_sub(NAMED_MAX);
        if more > 0 {
            let text = format!("{more} more entries hold damaged records");
            self.verdict.add(Severity::Damage, self.name, text);
        }
        let dir = self.dir;
        // RocketMQ dispatches what is behind the last unit of all queues.
        let dispatched_end = LogEnd {
            phy_offset: self.uncommitted.unwrap_or(end.phy_offset),
            min_phy_offset: self.verdict.min_phy_offset,
            was_aborted: self.claims.was_aborted,
            is_rebuilt: false,
            damaged: Vec::new(),
            known: Vec::new(),
        };
        self.verdict.end_reason = end.reason;
        let mut verdict = self.verdict;
        self.queues.finish(dir, &dispatched_end, &mut verdict)?;
        self.index.finish(dir, &dispatched_end, &mut verdict)?;
        dir.check_configs(None, &mut verdict);
        dir.check_strays(&mut verdict)?;
        Ok(verdict)
    }

    /// Says what is missing at the end, and what becomes of the node.
    fn check_end(&mut self, files: &[Range<u64>], end: &WalkEnd) {
        let last_index = self.last.map_or(-1, |last| last.index);
        let size = self.dir.shape.commit_log_file_bytes as u64;
        if let Some(last) = files.last()
            && last.start.saturating_sub(end.phy_offset) > size
        {
            let text =
                format!("the log ends at {}; a start refuses to cut so much", end.phy_offset);
            self.verdict.add(Severity::Damage, self.name, text);
        } else if !self.verdict.dropped.is_empty() {
            let text = "what a start cuts the group's leader sends again, if it has it";
            self.verdict.add(Severity::Note, self.name, text);
        }
        let Claims { was_aborted, end_index, committed_index, .. } = self.claims;
        let severity = match (committed_index, end_index) {
            (Some(committed), _) if committed > last_index => Severity::Damage,
            (_, Some(claimed)) if claimed > last_index && was_aborted => Severity::Note,
            (_, Some(claimed)) if claimed > last_index => Severity::Damage,
            _ => return,
        };
        let [end_index, committed_index] = [end_index, committed_index].map(|it| it.unwrap_or(-1));
        let text = format!(
            "says that the log reaches to entry {end_index}, and is committed to {committed_index}; \
             its last entry is {last_index}"
        );
        self.verdict.add(severity, format!("{}/checkpoint", self.name), text);
    }

    fn check_entry_index(&mut self, start: u64) {
        let last_index = self.last.map_or(-1, |last| last.index);
        for (misses, what) in [
            (self.not_indexed, "entries are not in it"),
            (self.wrongly_indexed, "entries are elsewhere than it says"),
        ] {
            let Misses { count, first_index, first_pos } = misses;
            if count == 0 {
                continue;
            }
            let repair = if first_pos >= start {
                "a start sets it right"
            } else {
                "a start does not look there"
            };
            // A kill may come between an entry and its index record.
            let is_tail = first_index + count as i64 == last_index + 1;
            let is_harmless = self.claims.was_aborted && is_tail && first_pos >= start;
            let severity = if is_harmless { Severity::Note } else { Severity::Damage };
            let text = format!("{count} {what}, the first with index {first_index}; {repair}");
            self.verdict.add(severity, format!("{}/index", self.name), text);
        }
    }
}

/// Where the next entry behind `at` is whose record is sound; at most the end of the log.
fn next_entry(log: &mut LogReader<'_>, at: u64) -> Result<u64, DoctorError> {
    let record = next_record(log, at + HEADER + 1)?;
    Ok(record.map_or(u64::MAX, |record| record - HEADER))
}
