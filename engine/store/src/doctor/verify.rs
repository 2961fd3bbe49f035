//! `verify`: what a start would keep and drop, and whether ConsumeQueues and index are what the log
//! says.
//!
//! The log is read from its first byte to where a start would end it, by the rules of a start:
//! everything below the durable watermark has to be sound, the first bad record above it is the end.
//! A store without the watermark, Java's, is read by 4.9's rules, or, where it was closed in order, by
//! what its ConsumeQueues point at.

mod configs;
mod indexes;
mod queues;

use mq_protocol::message_codec::{RecordRules, decode_record};
use serde::Serialize;

use super::log_reader::{Found, LogFile, LogReader};
use super::{DoctorError, Progress, StoreDir};
use crate::damage::DamagedRange;
use crate::durable_mark::{Mark, parse_mark};
use crate::recovery::{DroppedRecord, RecoveryReport};

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

/// What the store says of itself.
struct Claims {
    mark: Option<Mark>,
    was_aborted: bool,
    damaged: Vec<DamagedRange>,
    /// Below it the log was sound when the store was closed.
    sound_end: u64,
    /// The first offset that a start looks at.
    walked_from: u64,
}

impl StoreDir {
    /// Reads everything and compares. Changes nothing.
    ///
    /// # Errors
    /// What the disk says.
    pub fn verify(&self, progress: Progress<'_>) -> Result<Verdict, DoctorError> {
        self.refuse_dledger()?;
        let mut verdict = Verdict::default();
        let claims = self.claims()?;
        let mut log = LogReader::open(self)?;
        let mut queues = QueueCheck::open(self)?;
        let mut index = IndexCheck::open(self, &mut verdict)?;
        self.check_files(log.files(), &mut verdict);
        let Some(first) = log.files().first().cloned() else {
            verdict.end_reason = "no files".to_owned();
            queues.finish(self, 0, claims.was_aborted, &mut verdict)?;
            return Ok(verdict);
        };
        verdict.min_phy_offset = first.from;
        let mut at = first.from;
        while let Some(file) = log.file_of(at).cloned() {
            let rules = claims.rules(at);
            let is_last = log.files().last().is_some_and(|last| last.from == file.from);
            let step = match log.look(&file, at, &rules)? {
                Found::Record(record) => {
                    queues.record(self, &record, at)?;
                    index.record(self, &record, at, &mut verdict)?;
                    verdict.kept += 1;
                    Step::To(at + record.size() as u64)
                }
                Found::Blank { .. } if is_last && claims.ends_at_blank(at) => {
                    Step::End("blank at the end of the last file".to_owned())
                }
                Found::Blank { .. } | Found::FileEnd => Step::To(self.file_end(&file)),
                Found::Bad { reason, .. } => Step::Bad(reason),
            };
            progress(log.take_read());
            let step = match step {
                Step::Bad(reason) => self.judge(&mut log, &claims, at, reason, &mut verdict)?,
                other => other,
            };
            match step {
                Step::To(next) => at = next,
                Step::End(reason) | Step::Bad(reason) => {
                    verdict.end_reason = reason;
                    break;
                }
            }
        }
        if verdict.end_reason.is_empty() {
            verdict.end_reason = "end of the last file".to_owned();
        }
        verdict.max_phy_offset = at;
        self.find_dropped(&mut log, at, &mut verdict)?;
        progress(log.take_read());
        queues.finish(self, at, claims.was_aborted, &mut verdict)?;
        index.finish(self, at, claims.was_aborted, &mut verdict)?;
        self.check_configs(&mut verdict)?;
        Ok(verdict)
    }

    /// Offset behind a CommitLog file of the configured size.
    fn file_end(&self, file: &LogFile) -> u64 {
        file.from + self.shape.commit_log_file_bytes as u64
    }

    fn claims(&self) -> Result<Claims, DoctorError> {
        let read = |name: &str| self.disk.read(&self.root.join(name)).ok();
        let mark = read("durable").and_then(|bytes| parse_mark(&bytes));
        let was_aborted = self.has("abort");
        let damaged = read("damaged.json").and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let sound_end = match mark {
            Some(mark) => mark.log_end,
            None if was_aborted => 0,
            None => queues::claimed_end(self)?,
        };
        let damaged = damaged.unwrap_or_default();
        let walked_from = self.walked_from(mark, was_aborted)?;
        Ok(Claims { mark, was_aborted, damaged, sound_end, walked_from })
    }

    /// Where a start begins to look.
    fn walked_from(&self, mark: Option<Mark>, was_aborted: bool) -> Result<u64, DoctorError> {
        let mut log = LogReader::open(self)?;
        let files = log.files().to_vec();
        let third_last = files.len().saturating_sub(3);
        let first = match mark {
            Some(mark) => {
                let needed = mark.log_end.min(mark.logics_end);
                let behind = files.partition_point(|file| file.from <= needed);
                third_last.min(behind.saturating_sub(1))
            }
            None if !was_aborted => third_last,
            None => {
                let times = self.checkpoint_times()?.unwrap_or_default();
                let min_ms = times[0].min(times[1]) - 3_000;
                let mut first = 0;
                for (index, file) in files.iter().enumerate() {
                    let look = log.look(file, file.from, &RecordRules::upstream(false))?;
                    if let Found::Record(record) = look
                        && (1..=min_ms).contains(&record.store_timestamp())
                    {
                        first = index;
                    }
                }
                first
            }
        };
        Ok(files.get(first).map_or(0, |file| file.from))
    }

    fn check_files(&self, files: &[LogFile], verdict: &mut Verdict) {
        let size = self.shape.commit_log_file_bytes as u64;
        for (index, file) in files.iter().enumerate() {
            let place = format!("commitlog/{}", file.file.name);
            let is_last = index + 1 == files.len();
            if file.file.len < size && is_last {
                let text = format!("has {} of {size} bytes; a start fills it up", file.file.len);
                verdict.add(Severity::Note, place, text);
            } else if file.file.len != size {
                let text = format!("has {} bytes instead of {size}", file.file.len);
                verdict.add(Severity::Damage, place, text);
            }
            if let Some(next) = files.get(index + 1)
                && next.from != file.from + size
            {
                let text = "the file behind it is missing";
                verdict.add(Severity::Damage, format!("commitlog/{}", file.file.name), text);
            }
        }
    }

    /// What a start makes of something bad at `at`.
    fn judge(
        &self,
        log: &mut LogReader<'_>,
        claims: &Claims,
        at: u64,
        reason: String,
        verdict: &mut Verdict,
    ) -> Result<Step, DoctorError> {
        let place = format!("commitlog, offset {at}");
        if let Some(known) =
            claims.damaged.iter().find(|range| (range.from..range.to).contains(&at))
        {
            let text = format!("known damage up to {}, left out: {}", known.to, known.reason);
            verdict.add(Severity::Damage, place, text);
            return Ok(Step::To(known.to));
        }
        let is_seen = at >= claims.walked_from;
        if is_seen && at >= claims.sound_end {
            return Ok(Step::End(reason));
        }
        let Some(next) = log.next_record(at + 1)? else { return Ok(Step::End(reason)) };
        if is_seen && claims.mark.is_none() && next >= claims.sound_end {
            return Ok(Step::End(reason));
        }
        let what = match (is_seen, claims.mark) {
            (false, _) => "a start does not look there and serves it as it is",
            (true, Some(_)) => "a start refuses; told to salvage, it leaves this out",
            (true, None) => "a start leaves this out",
        };
        verdict.add(Severity::Damage, place, format!("{reason}, up to {next}; {what}"));
        Ok(Step::To(next))
    }

    /// Names the records behind the end.
    fn find_dropped(
        &self,
        log: &mut LogReader<'_>,
        end: u64,
        verdict: &mut Verdict,
    ) -> Result<(), DoctorError> {
        let mut report = RecoveryReport::default();
        if let Some(file) = log.file_of(end).cloned() {
            let reason = verdict.end_reason.clone();
            match log.look(&file, end, &RecordRules::upstream(false))? {
                Found::Record(record) => {
                    report.add_dropped(|| DroppedRecord::describe(record.bytes(), end, &reason));
                }
                Found::Bad { size, .. } if size != 0 => {
                    report.add_dropped(|| DroppedRecord::describe(&[], end, &reason));
                }
                _ => {}
            }
        }
        let mut from = end + 1;
        while let Some(at) = log.next_record(from)? {
            let Some(file) = log.file_of(at).cloned() else { break };
            let Found::Record(record) = log.look(&file, at, &RecordRules::upstream(false))? else {
                break;
            };
            let size = decode_record(record.bytes()).map_or(1, |record| record.size() as u64);
            let reason = "behind the end of the log";
            report.add_dropped(|| DroppedRecord::describe(record.bytes(), at, reason));
            from = at + size;
        }
        (verdict.dropped, verdict.dropped_more) = (report.dropped, report.dropped_more);
        Ok(())
    }
}

/// What follows from what is at an offset.
enum Step {
    To(u64),
    End(String),
    Bad(String),
}

impl Claims {
    fn rules(&self, at: u64) -> RecordRules {
        if self.mark.is_some() {
            RecordRules::strict(at as i64)
        } else {
            RecordRules::upstream(true)
        }
    }

    /// Whether a blank in the last file is room to be used again: it is not known to be durable.
    fn ends_at_blank(&self, at: u64) -> bool {
        self.mark.is_none_or(|mark| mark.log_end <= at)
    }
}
