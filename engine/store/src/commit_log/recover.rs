//! The walk over the log at start-up: where it ends, and what lies behind the end.
//!
//! With a durable watermark everything below it has to be sound, or is passed over when told to
//! (`salvage`); the first bad record above it is the torn end. Without one (a store that Java wrote)
//! 4.9's rules hold: the first bad record is the end. Where Java closed the store in order, though, a
//! bad record among sound ones that have their units is damage, not an end: it is passed over.

use std::sync::Arc;

use mq_env::probe::Event;
use mq_mapped_file::MappedFile;
use mq_protocol::message_codec::{
    RecordCheck, RecordRules, TornReason, check_record, decode_record,
};

use super::CommitLog;
use super::search::next_record;
use crate::checkpoint::StoreCheckpoint;
use crate::durable_mark::Mark;
use crate::error::StoreError;
use crate::recovery::{DroppedRecord, RecoveryReport};

/// 4.9 looks at the last three files whatever the marks say.
const FILES_ALWAYS_WALKED: usize = 3;

/// Where the log is walked from, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) enum RecoverFrom<'a> {
    /// The store's own marks.
    Durable(Mark),
    /// A store without marks that was closed in order: below `claimed_end` its ConsumeQueues say
    /// that there was a sound log.
    CleanJava { claimed_end: u64 },
    /// A store without marks that was not closed in order.
    AbortedJava(&'a StoreCheckpoint),
}

/// Where the walk ended.
struct WalkEnd {
    phy_offset: u64,
    reason: String,
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

impl CommitLog {
    /// Maps the files, finds the end of the log, erases durably what lies behind it, and syncs
    /// what was not known to be synced. Returns where the walk began, and what was found.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when durable bytes are gone, and what the disk says.
    pub(crate) async fn recover(
        &self,
        from: RecoverFrom<'_>,
    ) -> Result<(u64, RecoveryReport), StoreError> {
        // Java knows no gaps: without marks every file found has to be whole but the last.
        let (durable_end, files_end) = match from {
            RecoverFrom::Durable(mark) => (mark.log_end, mark.log_end),
            RecoverFrom::CleanJava { .. } | RecoverFrom::AbortedJava(_) => (0, u64::MAX),
        };
        let removed = self.queue.load(Some(files_end))?;
        self.damage.load();
        let files = self.queue.files();
        let start = first_file_to_walk(&files, from);
        let walked_from = files.get(start).map_or(0, |file| file.file_from_offset());
        let known = self.damage.ranges().len();
        let end = self.walk(&files[start..], from, durable_end);
        if end.phy_offset < durable_end && !self.config.salvage {
            return Err(self.damaged(&end, durable_end));
        }
        if self.damage.ranges().len() > known {
            let written = self.damage.store().await;
            written.map_err(StoreError::io("write the list of damaged ranges"))?;
        }
        let unsure_from = match from {
            RecoverFrom::Durable(mark) => mark.log_end.min(end.phy_offset),
            RecoverFrom::CleanJava { .. } => end.phy_offset,
            RecoverFrom::AbortedJava(_) => walked_from,
        };
        let found: Vec<_> = files.iter().cloned().chain(removed).collect();
        let mut report = report_dropped(&found, &end);
        report.damaged = self.damage.ranges();
        report.dropped_bytes = self.end_at(end.phy_offset, unsure_from).await?;
        self.env.probe.emit(&Event::Recovered {
            min_phy_offset: self.min_offset(),
            max_phy_offset: end.phy_offset,
            dropped_bytes: report.dropped_bytes,
            reason: &end.reason,
        });
        let dropped_bytes = report.dropped_bytes;
        tracing::info!(end = end.phy_offset, dropped_bytes, reason = end.reason, "log recovered");
        Ok((walked_from, report))
    }

    /// Walks record by record to the first bad one; damage that is known, or that lies where the log
    /// was sound before, is passed over.
    fn walk(&self, files: &[Arc<MappedFile>], from: RecoverFrom<'_>, durable_end: u64) -> WalkEnd {
        let Some(first) = files.first() else {
            return WalkEnd { phy_offset: 0, reason: "no files".to_owned() };
        };
        let sound_end = match from {
            RecoverFrom::Durable(_) if self.config.salvage => durable_end,
            RecoverFrom::Durable(_) | RecoverFrom::AbortedJava(_) => 0,
            RecoverFrom::CleanJava { claimed_end } => claimed_end,
        };
        let mut at = first.file_from_offset();
        loop {
            let index = (at - first.file_from_offset()) / self.queue.file_size() as u64;
            let Some(file) = files.get(index as usize) else {
                return WalkEnd { phy_offset: at, reason: "end of the last file".to_owned() };
            };
            let is_last = index as usize + 1 == files.len();
            let reason = match self.step(file, at, from, is_last && durable_end <= at) {
                Step::To(next) => {
                    at = next;
                    continue;
                }
                Step::End(reason) => {
                    return WalkEnd { phy_offset: at, reason: reason.to_owned() };
                }
                Step::Bad(reason) => reason,
            };
            match self.pass_over(files, at, sound_end, &reason) {
                Some(next) => at = next,
                None => return WalkEnd { phy_offset: at, reason },
            }
        }
    }

    /// Looks at what is at `at`. A blank ends the log where it may (`ends_at_blank`).
    fn step(&self, file: &MappedFile, at: u64, from: RecoverFrom<'_>, ends_at_blank: bool) -> Step {
        let check_crc = self.config.check_crc_on_recover;
        let rules = match from {
            RecoverFrom::Durable(_) => {
                RecordRules { body_crc: check_crc, ..RecordRules::strict(at as i64) }
            }
            _ => RecordRules::upstream(check_crc),
        };
        let position = (at - file.file_from_offset()) as usize;
        match check_record(file.raw(position..file.file_size()), &rules) {
            RecordCheck::Valid(record) => Step::To(at + record.size() as u64),
            // A blank in the last file counts only if it is known to be durable: else its room is
            // used again, as in 4.9.
            RecordCheck::Blank { .. } if ends_at_blank => {
                Step::End("blank at the end of the last file")
            }
            RecordCheck::Blank { .. } => Step::To(file.file_end_offset()),
            RecordCheck::Zeros => Step::Bad("no record".to_owned()),
            RecordCheck::Torn(reason) => Step::Bad(reason.to_string()),
        }
    }

    /// Where the walk goes on behind the bad record at `at`, if it does: damage below `sound_end`,
    /// with a sound record behind it, is written down.
    fn pass_over(
        &self,
        files: &[Arc<MappedFile>],
        at: u64,
        sound_end: u64,
        reason: &str,
    ) -> Option<u64> {
        if let Some(end) = self.damage.end_of(at) {
            return Some(end);
        }
        if at >= sound_end {
            return None;
        }
        let next = next_record(files, at + 1).filter(|next| *next < sound_end)?;
        tracing::error!(from = at, to = next, reason, "damage in the CommitLog is passed over");
        self.damage.add(at..next, reason);
        Some(next)
    }

    /// Makes `end` the end of the log, durably, with everything from `unsure_from` on synced.
    /// Returns how many bytes behind it were not zero.
    async fn end_at(&self, end: u64, unsure_from: u64) -> Result<u64, StoreError> {
        self.damage.cut(end).await.map_err(StoreError::io("write the list of damaged ranges"))?;
        let cut = self.cut(end);
        let dropped_bytes = cut.dropped_bytes();
        self.settle(cut).await?;
        self.queue.rewrite(unsure_from..end).await?;
        self.queue.set_flushed_where(end);
        self.flushed_offset.send_replace(end);
        Ok(dropped_bytes)
    }

    fn damaged(&self, end: &WalkEnd, durable_end: u64) -> StoreError {
        let file = self.file_path(end.phy_offset).unwrap_or_else(|| self.dir().to_path_buf());
        let (phy_offset, reason) = (end.phy_offset, end.reason.clone());
        StoreError::Damaged { file, phy_offset, durable_end, reason }
    }
}

/// Names the records from the end of the log on, the torn one first.
fn report_dropped(files: &[Arc<MappedFile>], end: &WalkEnd) -> RecoveryReport {
    let mut report = RecoveryReport { end_reason: end.reason.clone(), ..Default::default() };
    let holds = |file: &&Arc<MappedFile>| file.file_end_offset() > end.phy_offset;
    let Some(file) = files.iter().find(holds) else { return report };
    let position = (end.phy_offset - file.file_from_offset()) as usize;
    let rest = file.raw(position..file.file_size());
    let is_bad = !matches!(
        check_record(rest, &RecordRules::upstream(false)),
        RecordCheck::Zeros | RecordCheck::Blank { .. } | RecordCheck::Torn(TornReason::NoRoom)
    );
    if is_bad {
        report.add_dropped(|| DroppedRecord::describe(rest, end.phy_offset, &end.reason));
    }
    let mut from = end.phy_offset + 1;
    while let Some(at) = next_record(files, from) {
        let Some(file) = files.iter().find(|file| file.file_end_offset() > at) else { break };
        let rest = file.raw((at - file.file_from_offset()) as usize..file.file_size());
        let size = decode_record(rest).map_or(1, |record| record.size() as u64);
        report.add_dropped(|| DroppedRecord::describe(rest, at, "behind the end of the log"));
        from = at + size;
    }
    report
}

/// The file to start at: early enough for the marks and for the last three files.
fn first_file_to_walk(files: &[Arc<MappedFile>], from: RecoverFrom<'_>) -> usize {
    let third_last = files.len().saturating_sub(FILES_ALWAYS_WALKED);
    match from {
        RecoverFrom::Durable(mark) => {
            let needed = mark.log_end.min(mark.logics_end);
            let behind = files.partition_point(|file| file.file_from_offset() <= needed);
            third_last.min(behind.saturating_sub(1))
        }
        RecoverFrom::CleanJava { .. } => third_last,
        RecoverFrom::AbortedJava(checkpoint) => {
            let min_timestamp_ms = checkpoint.min_timestamp_ms();
            files.iter().rposition(|file| starts_by(file, min_timestamp_ms)).unwrap_or(0)
        }
    }
}

/// Whether the file's first record was stored at or before `min_timestamp_ms`.
fn starts_by(file: &MappedFile, min_timestamp_ms: u64) -> bool {
    let bytes = file.raw(0..file.file_size());
    match check_record(bytes, &RecordRules::upstream(false)) {
        RecordCheck::Valid(record) => u64::try_from(record.store_timestamp())
            .is_ok_and(|stored_ms| stored_ms != 0 && stored_ms <= min_timestamp_ms),
        _ => false,
    }
}
