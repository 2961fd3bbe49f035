//! The walk over the log: where it ends, what lies behind the end, and what is passed over.
//!
//! With a durable watermark everything below it has to be sound, or is passed over when told to
//! (`salvage`); the first bad record above it is the torn end. Without one (a store that Java wrote)
//! 4.9's rules hold: the first bad record is the end. Where Java closed the store in order, though, a
//! bad record among sound ones that have their units is damage, not an end: it is passed over.

use std::ops::Range;
use std::path::Path;

use mq_protocol::message_codec::{
    RecordCheck, RecordRules, RecordView, TornReason, check_record, decode_record,
};

use super::log_bytes::{LogBytes, check_at, file_of, next_record, record_bytes};
use crate::damage::Damage;
use crate::durable_mark::Mark;
use crate::error::StoreError;
use crate::recovery::{DroppedRecord, RecoveryReport};

/// 4.9 looks at the last three files whatever the marks say.
const FILES_ALWAYS_WALKED: usize = 3;

/// Where the log is walked from, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) enum RecoverFrom {
    /// The store's own marks.
    Durable(Mark),
    /// A store without marks that was closed in order: below `claimed_end` its ConsumeQueues say
    /// that there was a sound log.
    CleanJava { claimed_end: u64 },
    /// A store without marks that was not closed in order; messages stored up to then are durable.
    AbortedJava { min_timestamp_ms: u64 },
}

impl RecoverFrom {
    /// What a store says of itself: its mark, whether it was closed in order, what its ConsumeQueues
    /// point at, and its checkpoint.
    pub(crate) fn of(
        mark: Option<Mark>,
        was_aborted: bool,
        claimed_end: impl FnOnce() -> u64,
        min_timestamp_ms: u64,
    ) -> Self {
        match mark {
            Some(mark) => RecoverFrom::Durable(mark),
            None if was_aborted => RecoverFrom::AbortedJava { min_timestamp_ms },
            None => RecoverFrom::CleanJava { claimed_end: claimed_end() },
        }
    }

    /// Everything below is known to be durable.
    pub(crate) fn durable_end(&self) -> u64 {
        match self {
            RecoverFrom::Durable(mark) => mark.log_end,
            RecoverFrom::CleanJava { .. } | RecoverFrom::AbortedJava { .. } => 0,
        }
    }

    /// Files below have to be there as a whole. Java knows no gaps: without marks all but the last.
    pub(crate) fn files_end(&self) -> u64 {
        match self {
            RecoverFrom::Durable(mark) => mark.log_end,
            RecoverFrom::CleanJava { .. } | RecoverFrom::AbortedJava { .. } => u64::MAX,
        }
    }

    /// Below it bad records are damage to be passed over.
    pub(crate) fn sound_end(&self, salvage: bool) -> u64 {
        match self {
            RecoverFrom::Durable(mark) if salvage => mark.log_end,
            RecoverFrom::Durable(_) | RecoverFrom::AbortedJava { .. } => 0,
            RecoverFrom::CleanJava { claimed_end } => *claimed_end,
        }
    }

    /// Offset of the file to start at, early enough for the marks and for the last three files; `None`
    /// without files.
    pub(crate) fn start<L: LogBytes>(&self, log: &mut L) -> Result<Option<u64>, L::Error> {
        let files = log.files();
        let third_last = files.len().saturating_sub(FILES_ALWAYS_WALKED);
        let index = match self {
            RecoverFrom::Durable(mark) => {
                let needed = mark.log_end.min(mark.logics_end);
                let behind = files.partition_point(|file| file.start <= needed);
                let index = third_last.min(behind.saturating_sub(1));
                let is_early = index == 0 || files[index].start <= needed;
                assert!(is_early, "a walk begins at or before {needed}, where marks end");
                index
            }
            RecoverFrom::CleanJava { .. } => third_last,
            RecoverFrom::AbortedJava { min_timestamp_ms } => {
                let mut index = files.len().saturating_sub(1);
                while index > 0 && !starts_by(log, index, *min_timestamp_ms)? {
                    index -= 1;
                }
                index
            }
        };
        Ok(log.files().get(index).map(|file| file.start))
    }

    fn rules(&self, at: u64, check_crc: bool) -> RecordRules {
        match self {
            RecoverFrom::Durable(_) => {
                RecordRules { body_crc: check_crc, ..RecordRules::strict(at as i64) }
            }
            _ => RecordRules::upstream(check_crc),
        }
    }
}

impl RecoverFrom {
    /// What the next start, which has the store's own marks, is going to refuse of a record that 4.9's rules
    /// accept: it is written down as damage, so that the next start passes over it.
    fn trouble_to_come(&self, record: &RecordView<'_>, at: u64) -> Option<String> {
        if matches!(self, RecoverFrom::Durable(_)) {
            return None;
        }
        let rules = RecordRules { body_crc: false, ..RecordRules::strict(at as i64) };
        match check_record(record.bytes(), &rules) {
            RecordCheck::Torn(reason) => Some(reason.to_string()),
            _ => None,
        }
    }
}

/// Whether the file's first record was stored at or before `min_timestamp_ms`.
fn starts_by<L: LogBytes>(
    log: &mut L,
    index: usize,
    min_timestamp_ms: u64,
) -> Result<bool, L::Error> {
    let start = log.files()[index].start;
    Ok(match check_at(log, start, &RecordRules::upstream(false))? {
        RecordCheck::Valid(record) => u64::try_from(record.store_timestamp())
            .is_ok_and(|stored_ms| stored_ms != 0 && stored_ms <= min_timestamp_ms),
        _ => false,
    })
}

/// A walk over a log.
pub(crate) struct Walk<'a> {
    /// What is known of the log.
    pub(crate) from: RecoverFrom,
    /// Whether bodies are compared with their CRC.
    pub(crate) check_crc: bool,
    /// Bad records below, with sound ones behind them, are passed over.
    pub(crate) sound_end: u64,
    /// Damage that is known; what is passed over is added.
    pub(crate) damage: &'a Damage,
}

/// Shown every sound record with its physical offset.
pub(crate) type Visit<'a, E> = &'a mut dyn FnMut(&RecordView<'_>, u64) -> Result<(), E>;

/// Where a walk ended, and why.
pub(crate) struct WalkEnd {
    pub(crate) phy_offset: u64,
    pub(crate) reason: String,
}

impl WalkEnd {
    /// Why a start is refused whose log ends here, in `file`, below what was durable.
    pub(crate) fn refusal(&self, file: &Path, durable_end: u64) -> StoreError {
        let (file, reason) = (file.to_path_buf(), self.reason.clone());
        StoreError::Damaged { file, phy_offset: self.phy_offset, durable_end, reason }
    }

    /// The end of a log without files.
    pub(crate) fn of_nothing() -> Self {
        WalkEnd { phy_offset: 0, reason: "no files".to_owned() }
    }
}

/// What is at an offset.
enum Step {
    /// A record or a blank that leads there.
    To(u64),
    /// The end of the log.
    End(&'static str),
    /// Neither.
    Bad(String),
}

impl Walk<'_> {
    /// Walks `range` record by record, or to the first bad one; damage that is known, or that lies where
    /// the log was sound before, is passed over. Every record is shown with its physical offset.
    pub(crate) fn run<L: LogBytes>(
        &self,
        log: &mut L,
        range: Range<u64>,
        visit: Visit<'_, L::Error>,
    ) -> Result<WalkEnd, L::Error> {
        let mut at = range.start;
        while at < range.end {
            let reason = match self.step(log, at, visit)? {
                Step::To(next) => {
                    assert!(next > at, "a record at {at} leads to {next}");
                    at = next;
                    continue;
                }
                Step::End(reason) => {
                    return Ok(WalkEnd { phy_offset: at, reason: reason.to_owned() });
                }
                Step::Bad(reason) => reason,
            };
            match self.pass_over(log, at, &reason)? {
                Some(next) => {
                    assert!(next > at, "damage at {at} ends at {next}");
                    at = next;
                }
                None => return Ok(WalkEnd { phy_offset: at, reason }),
            }
        }
        Ok(WalkEnd { phy_offset: at, reason: "end of the walk".to_owned() })
    }

    fn step<L: LogBytes>(
        &self,
        log: &mut L,
        at: u64,
        visit: Visit<'_, L::Error>,
    ) -> Result<Step, L::Error> {
        let Some(index) = file_of(log.files(), at) else {
            return Ok(Step::End("end of the last file"));
        };
        let file_end = log.files()[index].end;
        assert!((log.files()[index].start..file_end).contains(&at), "{at} lies in its file");
        let is_last = index + 1 == log.files().len();
        Ok(match check_at(log, at, &self.from.rules(at, self.check_crc))? {
            RecordCheck::Valid(record) => {
                let end = at + record.size() as u64;
                assert!(at < end && end <= file_end, "a record at {at} lies in its file: {end}");
                match self.from.trouble_to_come(&record, at) {
                    None => visit(&record, at)?,
                    Some(_) if self.damage.end_of(at).is_some() => {}
                    Some(reason) => self.damage.add(at..end, &reason),
                }
                Step::To(end)
            }
            // A blank in the last file counts only if it is known to be durable: else its room is
            // used again, as in 4.9.
            RecordCheck::Blank { .. } if is_last && self.from.durable_end() <= at => {
                Step::End("blank at the end of the last file")
            }
            RecordCheck::Blank { .. } => Step::To(file_end),
            RecordCheck::Zeros => Step::Bad("no record".to_owned()),
            RecordCheck::Torn(reason) => Step::Bad(reason.to_string()),
        })
    }

    /// Where the walk goes on behind the bad record at `at`, if it does.
    fn pass_over<L: LogBytes>(
        &self,
        log: &mut L,
        at: u64,
        reason: &str,
    ) -> Result<Option<u64>, L::Error> {
        if let Some(end) = self.damage.end_of(at) {
            return Ok(Some(end));
        }
        if at >= self.sound_end {
            return Ok(None);
        }
        let next = next_record(log, at + 1)?.filter(|next| *next < self.sound_end);
        if let Some(next) = next {
            assert!(
                at < next && next < self.sound_end,
                "what is passed over lies where the log was sound"
            );
            self.damage.add(at..next, reason);
        }
        Ok(next)
    }
}

/// Names the records from the end of the log on, the torn one first. `log` has also the files that
/// are removed.
pub(crate) fn report_dropped<L: LogBytes>(
    log: &mut L,
    end: &WalkEnd,
) -> Result<RecoveryReport, L::Error> {
    let mut report = RecoveryReport { end_reason: end.reason.clone(), ..Default::default() };
    if log.files().last().is_none_or(|last| last.end <= end.phy_offset) {
        return Ok(report);
    }
    let is_bad = !matches!(
        check_at(log, end.phy_offset, &RecordRules::upstream(false))?,
        RecordCheck::Zeros | RecordCheck::Blank { .. } | RecordCheck::Torn(TornReason::NoRoom)
    );
    if is_bad {
        let bytes = record_bytes(log, end.phy_offset)?;
        report.add_dropped(|| DroppedRecord::describe(bytes, end.phy_offset, &end.reason));
    }
    let mut from = end.phy_offset + 1;
    while let Some(at) = next_record(log, from)? {
        assert!(at >= from, "records are looked for forward");
        let bytes = record_bytes(log, at)?;
        report.add_dropped(|| DroppedRecord::describe(bytes, at, "behind the end of the log"));
        from = at + decode_record(bytes).map_or(1, |record| record.size() as u64);
    }
    Ok(report)
}
