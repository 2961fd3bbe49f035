//! A log that ends earlier than it did, or begins anew.
//!
//! The checkpoint is lowered durably before anything it speaks of goes: a crash amid a cut leaves a log that is
//! sound up to what the checkpoint says, and some of what is behind.

use crate::error::LogError;
use crate::log::{DLedgerLog, Ends, index_offset};
use crate::settle::Synced;
use crate::small_files::Checkpoint;

/// Why a log cannot begin somewhere.
pub(crate) const NO_FILE: &str =
    "no file begins there; mappedFileSizeCommitLog must be the same on all peers";

impl DLedgerLog {
    /// Ends the log with the entry `keep_through`, durably; `generation` names it from now on. What of it is synced.
    ///
    /// # Errors
    /// What the disk says. Where it is full this is to be tried again before anything else; else the log is poisoned.
    ///
    /// # Panics
    /// When the entry is not there, and not the one before the first.
    pub async fn truncate(&self, keep_through: i64, generation: u64) -> Result<Synced, LogError> {
        let mut written = self.settling.lock().await;
        self.check_sound()?;
        let before = *self.ends();
        assert!(
            (before.begin_index - 1..=before.end_index).contains(&keep_through),
            "a cut at {keep_through} of {}..={}",
            before.begin_index,
            before.end_index
        );
        let kept = self.kept(&before, keep_through, generation)?;
        let cut = self.truncate_to(&mut written, &kept).await;
        self.poison_unless_full(cut)?;
        Ok(Synced { generation, index: kept.synced_index })
    }

    /// Empties the log, durably: it goes on with the entry `begin_index` at `begin_pos`, the start of a file.
    ///
    /// # Errors
    /// What the disk says, and a position where no file can begin. Where it is full this is to be tried again before
    /// anything else; else the log is poisoned.
    pub async fn reset(
        &self,
        begin_index: i64,
        begin_pos: u64,
        generation: u64,
    ) -> Result<Synced, LogError> {
        let mut written = self.settling.lock().await;
        self.check_sound()?;
        let reset = if begin_pos.is_multiple_of(self.config.data_file_bytes as u64) {
            let ends = Ends { generation, ..Ends::empty(begin_index, begin_pos) };
            self.reset_to(&mut written, ends).await
        } else {
            Err(LogError::Entry {
                index: begin_index,
                pos: begin_pos as i64,
                reason: NO_FILE.to_owned(),
            })
        };
        self.poison_unless_full(reset)?;
        Ok(Synced { generation, index: begin_index - 1 })
    }

    /// The ends of what is kept.
    fn kept(&self, before: &Ends, keep_through: i64, generation: u64) -> Result<Ends, LogError> {
        let kept = Ends {
            end_index: keep_through,
            synced_index: before.synced_index.min(keep_through),
            generation,
            ..*before
        };
        if keep_through < before.begin_index {
            return Ok(Ends { end_term: -1, end_pos: before.begin_pos, ..kept });
        }
        let record = self.record(keep_through).map_err(|error| LogError::Entry {
            index: keep_through,
            pos: -1,
            reason: error.to_string(),
        })?;
        let end_pos = record.pos as u64 + record.size as u64;
        Ok(Ends { end_term: record.term, end_pos, ..kept })
    }

    async fn truncate_to(&self, written: &mut Checkpoint, kept: &Ends) -> Result<(), LogError> {
        if written.end_index > kept.end_index {
            let committed_index = written.committed_index;
            self.store_checkpoint(written, kept, committed_index).await?;
        }
        *self.ends() = *kept;
        let data = self.data.cut(kept.end_pos, true);
        let index = self.index.cut(index_offset(kept.end_index + 1), true);
        let failed = || LogError::io(format!("cut the log behind entry {}", kept.end_index));
        self.data.settle(data).await.map_err(failed())?;
        self.index.settle(index).await.map_err(failed())
    }

    /// Files go one by one: until all are gone the checkpoint says that nothing is durable, then where the log goes on.
    async fn reset_to(&self, written: &mut Checkpoint, ends: Ends) -> Result<(), LogError> {
        let nothing = Ends { generation: ends.generation, ..Ends::empty(0, 0) };
        self.store_checkpoint(written, &nothing, -1).await?;
        *self.ends() = nothing;
        let failed = || LogError::io("empty the log");
        let index = self.index.cut_all();
        self.index.settle(index).await.map_err(failed())?;
        let data = self.data.cut_all();
        self.data.settle(data).await.map_err(failed())?;
        *self.ends() = ends;
        self.store_checkpoint(written, &ends, ends.end_index).await
    }
}
