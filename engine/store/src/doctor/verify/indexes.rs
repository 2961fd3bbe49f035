//! Index files against the keys that the log gives, and against themselves.

use std::collections::VecDeque;

use mq_protocol::message_codec::RecordView;

use super::{LogEnd, Severity, Verdict};
use crate::doctor::index_reader::IndexReader;
use crate::doctor::{DoctorError, StoreDir};
use crate::index_layout::{IndexEntry, for_each_key_hash};

/// So many entries without a record are told apart.
const UNCLAIMED_MAX: usize = 10_000;

/// The comparison under way.
pub(super) struct IndexCheck {
    files: VecDeque<IndexReader>,
    /// Number of the next entry of the front file.
    number: usize,
    /// The entry that was read and not compared yet.
    ahead: Option<IndexEntry>,
    is_known: bool,
    keys: u64,
    missing: u64,
    /// Record of the first missing entry.
    missing_first: u64,
    /// Record of the last entry that was there.
    present_to: u64,
    doubled: u64,
    /// Physical offsets of entries that are of no record; at most so many.
    unclaimed: Vec<u64>,
    unclaimed_more: u64,
    /// Entries that say another second than their record.
    mistimed: u64,
    mistimed_first: u64,
}

impl IndexCheck {
    /// Checks every file in itself and begins with the first.
    pub(super) fn open(dir: &StoreDir, verdict: &mut Verdict) -> Result<Self, DoctorError> {
        let mut check = IndexCheck {
            files: VecDeque::new(),
            number: 1,
            ahead: None,
            is_known: true,
            keys: 0,
            missing: 0,
            missing_first: 0,
            present_to: 0,
            doubled: 0,
            unclaimed: Vec::new(),
            unclaimed_more: 0,
            mistimed: 0,
            mistimed_first: 0,
        };
        let files = dir.index_files()?;
        let Some(layout) = dir.shape.index else {
            check.is_known = files.is_empty();
            if !files.is_empty() {
                let text = "maxHashSlotNum and maxIndexNum cannot be told from the files; give the \
                            broker's configuration to have them compared";
                verdict.add(Severity::Note, "index", text);
            }
            return Ok(check);
        };
        for file in files {
            let place = format!("index/{}", file.name);
            if file.len != layout.file_bytes() as u64 {
                let text = format!("has {} bytes instead of {}", file.len, layout.file_bytes());
                verdict.add(Severity::Damage, place, text);
                continue;
            }
            let Some(mut reader) = IndexReader::open(dir, file, layout.hash_slot_num)? else {
                continue;
            };
            if let Some(trouble) = check_chains(dir, &mut reader)? {
                let severity = if dir.has("abort") { Severity::Note } else { Severity::Damage };
                verdict.add(severity, place, trouble);
            }
            reader.forget();
            check.files.push_back(reader);
        }
        Ok(check)
    }

    /// Compares the keys of a record with the next entries.
    pub(super) fn record(
        &mut self,
        dir: &StoreDir,
        record: &RecordView<'_>,
        phy_offset: u64,
    ) -> Result<(), DoctorError> {
        if !self.is_known {
            return Ok(());
        }
        let mut expected = Vec::new();
        let Ok(()) = for_each_key_hash(record, |hash| {
            expected.push(hash);
            Ok::<(), std::convert::Infallible>(())
        });
        self.keys += expected.len() as u64;
        let mut found = Vec::new();
        while let Some(entry) = self.peek(dir)? {
            match entry.phy_offset.cmp(&(phy_offset as i64)) {
                std::cmp::Ordering::Greater => break,
                std::cmp::Ordering::Equal => {
                    found.push(entry.key_hash);
                    self.check_time(&entry, record, phy_offset);
                }
                // Of a record that expired, or of none.
                std::cmp::Ordering::Less => self.unclaimed(entry.phy_offset as u64),
            }
            self.ahead = None;
        }
        if found.starts_with(&expected) {
            self.doubled += (found.len() - expected.len()) as u64;
        } else {
            let missing = expected.iter().filter(|hash| !found.contains(hash)).count() as u64;
            if missing > 0 && self.missing == 0 {
                self.missing_first = phy_offset;
            }
            self.missing += missing;
            self.doubled += (found.len() as u64 + missing).saturating_sub(expected.len() as u64);
        }
        if !found.is_empty() {
            self.present_to = phy_offset;
        }
        Ok(())
    }

    /// Says what does not agree. Entries of records from `log_end` on are cut by a start.
    pub(super) fn finish(
        mut self,
        dir: &StoreDir,
        log_end: &LogEnd,
        verdict: &mut Verdict,
    ) -> Result<(), DoctorError> {
        let &LogEnd { phy_offset, was_aborted, is_rebuilt, .. } = log_end;
        let mut behind = 0_u64;
        while let Some(entry) = self.peek(dir)? {
            if entry.phy_offset as u64 >= phy_offset {
                behind += 1;
            } else {
                self.unclaimed(entry.phy_offset as u64);
            }
            self.ahead = None;
        }
        let is_there = |at: &&u64| **at >= log_end.min_phy_offset;
        let unclaimed = self.unclaimed.iter().filter(is_there);
        let (mut strange, mut damaged) = (self.unclaimed_more, 0);
        for at in unclaimed.filter(|at| !log_end.is_known(**at)) {
            if log_end.is_damaged(*at) { damaged += 1 } else { strange += 1 }
        }
        if damaged > 0 {
            let text = format!("{damaged} entries are of records in damage");
            verdict.add(Severity::Damage, "index", text);
        }
        if self.mistimed > 0 {
            let text = format!(
                "{} entries say another second than their record does, the first of the record at {}",
                self.mistimed, self.mistimed_first
            );
            verdict.add(Severity::Damage, "index", text);
        }
        let after_kill = if was_aborted { Severity::Note } else { Severity::Damage };
        if behind > 0 {
            let repair = if is_rebuilt { "a start cuts them" } else { "a start leaves them" };
            let text =
                format!("{behind} entries are of records behind the end of the log; {repair}");
            verdict.add(after_kill, "index", text);
        }
        if self.missing > 0 && self.missing < self.keys {
            let is_tail = self.missing_first > self.present_to;
            let severity = if is_tail { after_kill } else { Severity::Damage };
            let text = format!(
                "{} of {} keys have no entry, the first of the record at {}",
                self.missing, self.keys, self.missing_first
            );
            verdict.add(severity, "index", text);
        } else if self.missing > 0 {
            let repair =
                if is_rebuilt { "a start indexes them" } else { "a start does not index them" };
            let text = format!("none of {} keys has an entry; {repair}", self.keys);
            verdict.add(after_kill, "index", text);
        }
        if self.doubled > 0 {
            let text = format!(
                "{} entries are there twice, as Java leaves them after a kill",
                self.doubled
            );
            verdict.add(Severity::Note, "index", text);
        }
        if strange > 0 {
            let text = format!("{strange} entries are of no record");
            verdict.add(Severity::Damage, "index", text);
        }
        Ok(())
    }

    fn unclaimed(&mut self, phy_offset: u64) {
        if self.unclaimed.len() < UNCLAIMED_MAX {
            self.unclaimed.push(phy_offset);
        } else {
            self.unclaimed_more += 1;
        }
    }

    /// An entry keeps the seconds from its file's begin to its record. That of the first one was counted
    /// from the end of the file before.
    fn check_time(&mut self, entry: &IndexEntry, record: &RecordView<'_>, phy_offset: u64) {
        let Some(reader) = self.files.front() else { return };
        let number = self.number - 1;
        let expected = reader.header.time_diff(record.store_timestamp());
        if number > 1 && entry.time_diff != expected {
            if self.mistimed == 0 {
                self.mistimed_first = phy_offset;
            }
            self.mistimed += 1;
        }
    }

    /// The next entry, whatever file it is in.
    fn peek(&mut self, dir: &StoreDir) -> Result<Option<IndexEntry>, DoctorError> {
        while self.ahead.is_none() {
            let Some(reader) = self.files.front_mut() else { return Ok(None) };
            if self.number > reader.entries() {
                self.files.pop_front();
                self.number = 1;
                continue;
            }
            self.ahead = reader.entry(dir, self.number)?;
            self.number += 1;
        }
        Ok(self.ahead)
    }
}

/// What of slots, links and header does not follow from the entries.
fn check_chains(dir: &StoreDir, reader: &mut IndexReader) -> Result<Option<String>, DoctorError> {
    let layout = *reader.layout();
    let mut newest = vec![0_i32; layout.hash_slot_num];
    let mut broken_links = 0_u64;
    let mut ends = None;
    for number in 1..=reader.entries() {
        let Some(entry) = reader.entry(dir, number)? else { break };
        let slot = &mut newest[layout.slot_of(entry.key_hash)];
        broken_links += u64::from(entry.prev != *slot);
        *slot = number as i32;
        let begin = ends.map_or(entry.phy_offset, |(begin, _)| begin);
        ends = Some((begin, entry.phy_offset));
    }
    let header = reader.header;
    let slots = reader.slots(dir)?;
    let wrong_slots =
        slots.iter().zip(&newest).filter(|(found, expected)| found != expected).count();
    let used = newest.iter().filter(|number| **number > 0).count();
    let is_ended = ends.is_none_or(|ends| ends == (header.begin_phy_offset, header.end_phy_offset));
    let mut troubles = Vec::new();
    if broken_links > 0 {
        troubles.push(format!("{broken_links} entries are linked wrongly"));
    }
    if wrong_slots > 0 {
        troubles.push(format!("{wrong_slots} slots do not hold their newest entry"));
    }
    if used != header.hash_slot_count as usize || !is_ended {
        troubles.push("the header does not agree with the entries".to_owned());
    }
    Ok((!troubles.is_empty()).then(|| troubles.join("; ")))
}
