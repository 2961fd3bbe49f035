//! The walk over the log at start-up: where it ends, and what lies behind the end.
//!
//! With a durable watermark everything below it has to be sound; the first bad record above it is
//! the torn end. Without one (a store that Java wrote) 4.9's rules hold: the first bad record is
//! the end, wherever it is.

use std::sync::Arc;

use mq_env::probe::Event;
use mq_mapped_file::MappedFile;
use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};

use super::CommitLog;
use crate::checkpoint::StoreCheckpoint;
use crate::durable_mark::Mark;
use crate::error::StoreError;

/// 4.9 looks at the last three files whatever the marks say.
const FILES_ALWAYS_WALKED: usize = 3;

/// Where the log is walked from, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) enum RecoverFrom<'a> {
    /// The store's own marks.
    Durable(Mark),
    /// A store without marks that was closed in order.
    CleanJava,
    /// A store without marks that was not closed in order.
    AbortedJava(&'a StoreCheckpoint),
}

/// Where the walk ended.
struct WalkEnd {
    phy_offset: u64,
    reason: String,
}

impl CommitLog {
    /// Maps the files, finds the end of the log, erases durably what lies behind it, and syncs
    /// what was not known to be synced. Returns where the walk began.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when durable bytes are gone, and what the disk says.
    pub(crate) async fn recover(&self, from: RecoverFrom<'_>) -> Result<u64, StoreError> {
        // Java knows no gaps: without marks every file found has to be whole but the last.
        let (durable_end, files_end) = match from {
            RecoverFrom::Durable(mark) => (mark.log_end, mark.log_end),
            RecoverFrom::CleanJava | RecoverFrom::AbortedJava(_) => (0, u64::MAX),
        };
        self.queue.load(Some(files_end))?;
        let files = self.queue.files();
        let start = first_file_to_walk(&files, from);
        let walked_from = files.get(start).map_or(0, |file| file.file_from_offset());
        let end = self.walk(&files[start..], from, durable_end);
        if end.phy_offset < durable_end {
            return Err(self.damaged(&end, durable_end));
        }
        let unsure_from = match from {
            RecoverFrom::Durable(mark) => mark.log_end,
            RecoverFrom::CleanJava => end.phy_offset,
            RecoverFrom::AbortedJava(_) => walked_from,
        };
        let dropped_bytes = self.end_at(end.phy_offset, unsure_from).await?;
        self.env.probe.emit(&Event::Recovered {
            min_phy_offset: self.min_offset(),
            max_phy_offset: end.phy_offset,
            dropped_bytes,
            reason: &end.reason,
        });
        tracing::info!(end = end.phy_offset, dropped_bytes, reason = end.reason, "log recovered");
        Ok(walked_from)
    }

    /// Walks record by record to the first bad one.
    fn walk(&self, files: &[Arc<MappedFile>], from: RecoverFrom<'_>, durable_end: u64) -> WalkEnd {
        let check_crc = self.config.check_crc_on_recover;
        let mut end = WalkEnd { phy_offset: 0, reason: "no files".to_owned() };
        for (index, file) in files.iter().enumerate() {
            let is_last = index + 1 == files.len();
            let mut position = 0;
            loop {
                end.phy_offset = file.file_from_offset() + position as u64;
                let rules = match from {
                    RecoverFrom::Durable(_) => RecordRules {
                        body_crc: check_crc,
                        ..RecordRules::strict(end.phy_offset as i64)
                    },
                    _ => RecordRules::upstream(check_crc),
                };
                match check_record(file.raw(position..file.file_size()), &rules) {
                    RecordCheck::Valid(record) => position += record.size(),
                    // A blank in the last file counts only if it is known to be durable: else its
                    // room is used again, as in 4.9.
                    RecordCheck::Blank { .. } if is_last && durable_end <= end.phy_offset => {
                        end.reason = "blank at the end of the last file".to_owned();
                        return end;
                    }
                    RecordCheck::Blank { .. } => {
                        end.phy_offset = file.file_end_offset();
                        end.reason = "end of the last file".to_owned();
                        break;
                    }
                    RecordCheck::Zeros => {
                        end.reason = "no record".to_owned();
                        return end;
                    }
                    RecordCheck::Torn(reason) => {
                        end.reason = reason.to_string();
                        return end;
                    }
                }
            }
        }
        end
    }

    /// Makes `end` the end of the log, durably, with everything from `unsure_from` on synced.
    /// Returns how many bytes behind it were not zero.
    async fn end_at(&self, end: u64, unsure_from: u64) -> Result<u64, StoreError> {
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

/// The file to start at: early enough for the marks and for the last three files.
fn first_file_to_walk(files: &[Arc<MappedFile>], from: RecoverFrom<'_>) -> usize {
    let third_last = files.len().saturating_sub(FILES_ALWAYS_WALKED);
    match from {
        RecoverFrom::Durable(mark) => {
            let needed = mark.log_end.min(mark.logics_end);
            let behind = files.partition_point(|file| file.file_from_offset() <= needed);
            third_last.min(behind.saturating_sub(1))
        }
        RecoverFrom::CleanJava => third_last,
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
