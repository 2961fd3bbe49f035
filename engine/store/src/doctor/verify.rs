//! `verify`: what a start would keep and drop, and whether ConsumeQueues and index are what the log
//! says.
//!
//! The log is read from its first byte to where a start would end it, by the walk of a start
//! (`commit_log::walk`).

mod configs;
mod entries;
mod indexes;
mod queues;

use std::sync::Arc;

use mq_mapped_file::{LoadError, LoadPlan, MappedFileQueue, file_name};
use mq_protocol::message_codec::RecordView;
use serde::Serialize;

use super::log_reader::LogReader;
use super::{DoctorError, Progress, StoreDir};
use crate::commit_log::RecoverFrom;
use crate::commit_log::log_bytes::LogBytes as _;
use crate::commit_log::walk::{Visit, Walk, WalkEnd, report_dropped};
use crate::damage::Damage;
use crate::durable_mark::parse_mark;
use crate::recovery::DroppedRecord;

use indexes::IndexCheck;
use queues::QueueCheck;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be after a kill, or a harmless habit of Java's.
    Note,
    /// Something is lost, wrong, or stops the start.
    Damage,
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// File or queue.
    pub place: String,
    /// What was found, and what a start makes of it.
    pub text: String,
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
}

impl Verdict {
    /// Whether nothing is lost or wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.dropped.is_empty() && self.findings.iter().all(|it| it.severity == Severity::Note)
    }

    fn add(&mut self, severity: Severity, place: impl Into<String>, text: impl Into<String>) {
        self.findings.push(Finding { severity, place: place.into(), text: text.into() });
    }
}

/// What ConsumeQueues and index have to reach up to.
struct LogEnd {
    phy_offset: u64,
    /// A kill may have come before the last records were dispatched.
    was_aborted: bool,
    /// Whether a start adds what is missing, and not only behind the last unit.
    is_rebuilt: bool,
}

/// What the store says of itself.
struct Claims {
    from: RecoverFrom,
    was_aborted: bool,
    damage: Damage,
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
        let claims = self.claims()?;
        let plan = self.plan_load(&claims.from, &mut verdict)?;
        let mut queues = QueueCheck::open(self)?;
        let mut index = IndexCheck::open(self, &mut verdict)?;
        let mut kept = 0;
        let mut visit = |record: &RecordView<'_>, at: u64| {
            kept += 1;
            queues.record(self, record, at)?;
            index.record(self, record, at)
        };
        let starts = |files: &[(u64, u64)]| files.iter().map(|file| file.0).collect::<Vec<_>>();
        let (loaded, removed) = (starts(&plan.kept), starts(&plan.removed));
        let mut log = LogReader::filled_up(self, loaded.iter().copied(), &mut *progress);
        let end = self.walk(&mut log, &claims, &mut visit, &mut verdict)?;
        drop(log); // Not both windows at a time.
        let found = loaded.iter().chain(&removed).copied();
        let report = report_dropped(&mut LogReader::filled_up(self, found, progress), &end)?;
        verdict.kept = kept;
        verdict.min_phy_offset = loaded.first().copied().unwrap_or(0);
        verdict.max_phy_offset = end.phy_offset;
        verdict.end_reason = end.reason;
        (verdict.dropped, verdict.dropped_more) = (report.dropped, report.dropped_more);
        let was_aborted = claims.was_aborted;
        let end = LogEnd { phy_offset: end.phy_offset, was_aborted, is_rebuilt: true };
        queues.finish(self, &end, &mut verdict)?;
        index.finish(self, &end, &mut verdict)?;
        self.check_configs(&mut verdict)?;
        Ok(verdict)
    }

    fn claims(&self) -> Result<Claims, DoctorError> {
        let mark = self.disk.read(&self.root.join("durable")).ok();
        let mark = mark.and_then(|bytes| parse_mark(&bytes));
        let was_aborted = self.has("abort");
        let is_clean_java = mark.is_none() && !was_aborted;
        let claimed_end = if is_clean_java { queues::claimed_end(self)? } else { 0 };
        let min_timestamp_ms = self.checkpoint()?.unwrap_or_default().min_timestamp_ms();
        let from = RecoverFrom::of(mark, was_aborted, || claimed_end, min_timestamp_ms);
        let damage = Damage::new(Arc::clone(&self.disk), self.root.join("damaged.json"));
        damage.load();
        Ok(Claims { from, was_aborted, damage })
    }

    /// The files that a start takes; where it refuses, all.
    fn plan_load(
        &self,
        from: &RecoverFrom,
        verdict: &mut Verdict,
    ) -> Result<LoadPlan, DoctorError> {
        let size = self.shape.commit_log_file_bytes;
        let dir = self.log_dir.clone();
        let queue = MappedFileQueue::new(Arc::clone(&self.disk), &self.root, dir, size);
        let plan = match queue.plan_load(Some(from.files_end())) {
            Ok(plan) => plan,
            Err(LoadError::Io { path, source }) => return Err(DoctorError::Io { path, source }),
            Err(error) => {
                let text = format!("a start refuses: {error}");
                verdict.add(Severity::Damage, self.log_place(), text);
                let files = self.log_files()?;
                let kept = files.iter().filter_map(|file| Some((file.offset()?, file.len)));
                LoadPlan { kept: kept.collect(), removed: Vec::new() }
            }
        };
        let place = |from: &u64| format!("{}/{}", self.log_place(), file_name(*from));
        for (from, len) in plan.kept.iter().filter(|(_, len)| *len < size as u64) {
            let text = format!("has {len} of {size} bytes; a start fills it up");
            verdict.add(Severity::Note, place(from), text);
        }
        for (from, _) in &plan.removed {
            verdict.add(Severity::Note, place(from), "is behind a gap; a start removes it");
        }
        Ok(plan)
    }

    /// Walks the part that a start does not look at, then the other as a start does that is told to
    /// salvage.
    fn walk(
        &self,
        log: &mut LogReader<'_>,
        claims: &Claims,
        visit: Visit<'_, DoctorError>,
        verdict: &mut Verdict,
    ) -> Result<WalkEnd, DoctorError> {
        let Claims { from, damage, .. } = claims;
        let Some(first) = log.files().first().map(|file| file.start) else {
            return Ok(WalkEnd::of_nothing());
        };
        let start = from.start(log)?.unwrap_or(first);
        let known = damage.ranges();
        let unseen = Walk { from: *from, check_crc: true, sound_end: start, damage };
        let unseen_end = unseen.run(log, first..start, visit)?;
        if unseen_end.phy_offset < start {
            damage.add(unseen_end.phy_offset..start, &unseen_end.reason);
        }
        let check_crc = self.config.check_crc_on_recover;
        let sound_end = from.sound_end(true);
        let seen = Walk { from: *from, check_crc, sound_end, damage };
        let end = seen.run(log, start..u64::MAX, visit)?;
        for range in damage.ranges() {
            let what = if known.contains(&range) {
                "known; a start leaves it out"
            } else if range.from < start {
                "a start does not look there and serves it as it is"
            } else if from.durable_end() > 0 {
                "a start refuses; told to salvage, it leaves this out"
            } else {
                "a start leaves this out"
            };
            let place = format!("{}, offset {}", self.log_place(), range.from);
            let text = format!("{}, up to {}; {what}", range.reason, range.to);
            verdict.add(Severity::Damage, place, text);
        }
        if end.phy_offset < from.durable_end() {
            let place = format!("{}, offset {}", self.log_place(), end.phy_offset);
            let durable = from.durable_end();
            let text = format!(
                "{}, although everything below {durable} was synced; a start refuses, told to \
                 salvage it ends the log here",
                end.reason
            );
            verdict.add(Severity::Damage, place, text);
        }
        Ok(end)
    }
}
