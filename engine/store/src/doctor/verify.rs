//! `verify`: what a start would keep and drop, and whether ConsumeQueues and index are what the log
//! says.
//!
//! First a start is foretold (`doctor::start`). Then the log is read from its first byte to where that
//! start ends it, and compared: with ConsumeQueues and index, and field by field with what a broker writes.
//!
//! What cannot be seen: a record states its `flag`, `reconsumeTimes` and `bornTimestamp` only once, and only
//! its body has a checksum. A change there is seen where it makes a value that no broker writes, and so is
//! one of `storeTimestamp` by more than a second, or of an address. A property is compared where it is a
//! key or the tag.

mod configs;
mod entries;
mod fields;
mod indexes;
mod places;
mod queues;

use std::collections::BTreeMap;
use std::ops::Range;

use mq_mapped_file::file_name;
use mq_protocol::message_codec::RecordView;
use serde::{Deserialize, Serialize};

use super::log_reader::LogReader;
use super::start::Start;
use super::tables::{MovedOffset, QueueRange, TableUse};
use super::{DoctorError, Progress, StoreDir};
use crate::commit_log::log_bytes::LogBytes as _;
use crate::commit_log::walk::{Visit, Walk, WalkEnd, report_dropped};
use crate::damage::DamagedRange;
use crate::recovery::DroppedRecord;

use fields::FieldCheck;
use indexes::IndexCheck;
use queues::QueueCheck;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be after a kill, or a harmless habit of Java's.
    Note,
    /// Something is lost, wrong, or stops the start.
    Damage,
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// File or queue.
    pub place: String,
    /// What was found, and what a start makes of it.
    pub text: String,
}

/// What a queue holds after a start. Offsets are queue offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForetoldQueue {
    /// Its topic.
    pub topic: String,
    /// Its id.
    pub queue_id: u32,
    /// Of the oldest message.
    pub min: u64,
    /// Behind the newest message.
    pub max: u64,
}

/// What [`StoreDir::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// First byte of the log.
    pub min_phy_offset: u64,
    /// Where a start would end the log.
    pub max_phy_offset: u64,
    /// Records that a start would keep.
    pub kept: u64,
    /// Why the log ends there.
    pub end_reason: String,
    /// Records that a start would drop.
    pub dropped: Vec<DroppedRecord>,
    /// Records dropped beyond those named.
    pub dropped_more: u64,
    /// Everything else.
    pub findings: Vec<Finding>,
    /// Why a start refuses. What is said of the log and the queues is then what a start comes to that is
    /// told to salvage.
    pub refusal: Option<String>,
    /// Told to salvage, it does not refuse.
    pub is_salvageable: bool,
    /// The queues behind a start; unknown where salvaging is refused as well, and of DLedger stores.
    pub queues: Vec<ForetoldQueue>,
    /// Offsets of consumer groups and delay levels that a start moves.
    pub moved_offsets: Vec<MovedOffset>,
    /// The version of each of the broker's tables that a start takes.
    pub tables: Vec<TableUse>,
}

impl Verdict {
    /// Whether nothing is lost or wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.dropped.is_empty() && self.findings.iter().all(|it| it.severity == Severity::Note)
    }

    /// Makes notes of what was kept on purpose.
    fn downgrade(&mut self, kept_on_purpose: &[Finding]) {
        for finding in &mut self.findings {
            if kept_on_purpose.contains(finding) {
                finding.severity = Severity::Note;
                finding.text += " (kept on purpose when the store was recovered)";
            }
        }
    }

    fn add(&mut self, severity: Severity, place: impl Into<String>, text: impl Into<String>) {
        self.findings.push(Finding { severity, place: place.into(), text: text.into() });
    }
}

/// What ConsumeQueues and index have to reach up to.
struct LogEnd {
    phy_offset: u64,
    min_phy_offset: u64,
    /// A kill may have come before the last records were dispatched.
    was_aborted: bool,
    /// Whether a start adds what is missing, and not only behind the last unit.
    is_rebuilt: bool,
    /// Ranges without sound records, those that were known before included.
    damaged: Vec<Range<u64>>,
    known: Vec<Range<u64>>,
}

/// What a walk over all of the log came to.
struct Compared {
    kept: u64,
    /// Store time of the newest record.
    newest_ms: i64,
    end: WalkEnd,
    damaged: Vec<DamagedRange>,
}

impl LogEnd {
    fn is_damaged(&self, phy_offset: u64) -> bool {
        self.damaged.iter().any(|range| range.contains(&phy_offset))
    }

    fn is_known(&self, phy_offset: u64) -> bool {
        self.known.iter().any(|range| range.contains(&phy_offset))
    }
}

impl StoreDir {
    /// Reads everything and compares. Changes nothing. Of a DLedger store it says what a start of
    /// RocketMQ would keep.
    ///
    /// # Errors
    /// [`DoctorError::SeveralLogs`], and what the disk says.
    pub fn verify(&self, progress: Progress<'_>) -> Result<Verdict, DoctorError> {
        match &self.dledger_dirs()?[..] {
            [] => self.verify_log(progress),
            [log] => self.verify_dledger(&log.name, progress),
            _ => Err(DoctorError::SeveralLogs(self.root.clone())),
        }
    }

    fn verify_log(&self, progress: Progress<'_>) -> Result<Verdict, DoctorError> {
        let mut verdict = Verdict::default();
        let mut start = Start::foretell(self, &mut *progress)?;
        self.say_start(&start, &mut verdict);
        let Compared { kept, newest_ms, end, damaged } =
            self.compare(&start, &mut verdict, &mut *progress)?;
        let files = start.log.kept.iter().chain(&start.log.removed).map(|file| file.0);
        let report = report_dropped(&mut LogReader::filled_up(self, files, progress), &end)?;
        verdict.kept = kept;
        verdict.min_phy_offset = start.log.kept.first().map_or(0, |file| file.0);
        verdict.max_phy_offset = end.phy_offset;
        self.say_damage(&start, &end, &damaged, &mut verdict);
        verdict.end_reason = end.reason;
        (verdict.dropped, verdict.dropped_more) = (report.dropped, report.dropped_more);
        let log_min = verdict.min_phy_offset;
        let mut ends = BTreeMap::new();
        for ((topic, queue_id), queue) in &mut start.queues {
            let (min, max) = queue.range(self, log_min)?;
            verdict.queues.push(ForetoldQueue {
                topic: topic.clone(),
                queue_id: *queue_id,
                min,
                max,
            });
            ends.insert((topic.clone(), *queue_id), (min, max));
        }
        let range = |topic: &str, queue_id: i32| {
            let id = u32::try_from(queue_id).ok();
            let found = id.and_then(|id| ends.get(&(topic.to_owned(), id)));
            found.copied().unwrap_or_default()
        };
        let queues = if start.is_refused_anyway { None } else { Some(&range as QueueRange<'_>) };
        self.check_configs(queues, &mut verdict);
        self.check_marks(newest_ms, &mut verdict)?;
        self.check_strays(&mut verdict)?;
        verdict.downgrade(&self.kept_on_purpose());
        Ok(verdict)
    }

    /// Says what a start does with files.
    fn say_start(&self, start: &Start, verdict: &mut Verdict) {
        verdict.refusal.clone_from(&start.refusal);
        verdict.is_salvageable = !start.is_refused_anyway;
        if let Some(refusal) = &start.refusal {
            let text = format!("a start refuses: {refusal}");
            verdict.add(Severity::Damage, self.log_place(), text);
        }
        let size = self.shape.commit_log_file_bytes as u64;
        let place = |from: &u64| format!("{}/{}", self.log_place(), file_name(*from));
        let missing = &start.log.missing;
        for (from, len) in start.log.kept.iter().filter(|(from, _)| !missing.contains(from)) {
            if *len < size {
                let text = format!("has {len} of {size} bytes; a start fills it up");
                let is_whole = start.refusal.is_none();
                let severity = if is_whole { Severity::Note } else { Severity::Damage };
                verdict.add(severity, place(from), text);
            }
        }
        for (from, _) in &start.log.removed {
            verdict.add(Severity::Note, place(from), "is behind a gap; a start removes it");
        }
        if let Some(reason) = &start.rebuilt {
            let text = format!("a start makes all of them again from the log: {reason}");
            verdict.add(Severity::Note, "consumequeue", text);
        }
    }

    /// Walks all of the log, also where a start does not look, and compares every record with what
    /// follows from it.
    fn compare(
        &self,
        start: &Start,
        verdict: &mut Verdict,
        progress: Progress<'_>,
    ) -> Result<Compared, DoctorError> {
        let log_min = start.log.kept.first().map_or(0, |file| file.0);
        let mut queues = QueueCheck::open(self, log_min)?;
        let mut index = IndexCheck::open(self, verdict)?;
        let mut fields = FieldCheck::default();
        let (mut kept, mut newest_ms) = (0, 0);
        let mut visit = |record: &RecordView<'_>, at: u64| {
            kept += 1;
            newest_ms = newest_ms.max(record.store_timestamp());
            fields.record(record, at);
            queues.record(self, record, at)?;
            index.record(self, record, at)
        };
        let files = start.log.kept.iter().map(|file| file.0);
        let mut log = LogReader::filled_up(self, files, progress);
        let (end, damaged) = self.walk_all(&mut log, start, &mut visit)?;
        drop(log); // Not both windows at a time.
        let log_end = LogEnd {
            phy_offset: end.phy_offset,
            min_phy_offset: log_min,
            was_aborted: start.was_aborted && !start.log.kept.is_empty(),
            is_rebuilt: true,
            damaged: damaged.iter().map(|range| range.from..range.to).collect(),
            known: start.known.iter().map(|range| range.from..range.to).collect(),
        };
        queues.finish(self, &log_end, verdict)?;
        index.finish(self, &log_end, verdict)?;
        fields.finish(&self.log_place(), verdict);
        Ok(Compared { kept, newest_ms, end, damaged })
    }

    /// Walks the part that a start does not look at, then the other as a start does.
    fn walk_all(
        &self,
        log: &mut LogReader<'_>,
        start: &Start,
        visit: Visit<'_, DoctorError>,
    ) -> Result<(WalkEnd, Vec<DamagedRange>), DoctorError> {
        let Some(first) = log.files().first().map(|file| file.start) else {
            return Ok((WalkEnd::of_nothing(), start.damaged.clone()));
        };
        let damage = &self.known_damage();
        damage.set(start.damaged.clone());
        let (from, walked_from) = (start.from, start.walked_from);
        let unseen = Walk { from, check_crc: true, sound_end: walked_from, damage };
        let unseen_end = unseen.run(log, first..walked_from, visit)?;
        if unseen_end.phy_offset < walked_from {
            damage.add(unseen_end.phy_offset..walked_from, &unseen_end.reason);
        }
        let check_crc = self.config.check_crc_on_recover;
        let sound_end = from.sound_end(start.refusal.is_some());
        let seen = Walk { from, check_crc, sound_end, damage };
        let end = seen.run(log, walked_from..u64::MAX, visit)?;
        Ok((end, damage.ranges()))
    }

    /// Damage that is known, and what of the log a start does not look at is damaged: what a recovered
    /// copy is to know of.
    pub(super) fn damage_for_copy(
        &self,
        start: &Start,
        progress: Progress<'_>,
    ) -> Result<Vec<DamagedRange>, DoctorError> {
        let files = start.log.kept.iter().map(|file| file.0);
        let mut log = LogReader::filled_up(self, files, progress);
        let (_, damaged) = self.walk_all(&mut log, start, &mut |_, _| Ok(()))?;
        let is_unseen =
            |range: &DamagedRange| range.from < start.walked_from && !start.damaged.contains(range);
        let mut known = start.known.clone();
        known.extend(damaged.into_iter().filter(is_unseen));
        known.sort_by_key(|range| range.from);
        Ok(known)
    }

    fn say_damage(
        &self,
        start: &Start,
        end: &WalkEnd,
        damaged: &[DamagedRange],
        verdict: &mut Verdict,
    ) {
        let durable = start.from.durable_end();
        for range in damaged {
            let (severity, what) = if start.known.contains(range) {
                (Severity::Note, "known; a start leaves it out")
            } else if start.log.missing.contains(&range.from) {
                (Severity::Damage, "a start that salvages leaves it out")
            } else if range.from < start.walked_from {
                (Severity::Damage, "a start does not look there and serves it as it is")
            } else if durable > 0 {
                (Severity::Damage, "a start refuses; told to salvage, it leaves this out")
            } else {
                (Severity::Damage, "a start leaves this out")
            };
            let place = format!("{}, offset {}", self.log_place(), range.from);
            verdict.add(severity, place, format!("{}, up to {}; {what}", range.reason, range.to));
        }
        if end.phy_offset < durable {
            let place = format!("{}, offset {}", self.log_place(), end.phy_offset);
            let text = format!(
                "{}, although everything below {durable} was synced; a start refuses, told to \
                 salvage it ends the log here",
                end.reason
            );
            verdict.add(Severity::Damage, place, text);
        }
    }
}
