//! The oldest data file goes when its time has come, and the index files that only speak of what is gone.

use mq_mapped_file::Retired;
use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, EntryHead};

use crate::error::LogError;
use crate::log::{DLedgerLog, index_offset};
use crate::small_files::{Checkpoint, Durable};

impl DLedgerLog {
    /// Removes the oldest data file, durably, if it was written last before `modified_before_ms` (milliseconds since the
    /// Unix epoch) and everything in it and the entry behind it is committed. Where the log begins then. A file that
    /// somebody reads leaves the directory later.
    ///
    /// # Errors
    /// What the disk says; it is tried again by the next call.
    pub async fn expire_oldest(
        &self,
        modified_before_ms: u64,
        committed_index: i64,
    ) -> Result<Option<i64>, LogError> {
        let failed = || LogError::io(format!("remove a file of {}", self.data.dir().display()));
        let Some((from, next_pos, begin_index)) = self.oldest(committed_index) else {
            self.remove_retired().await?;
            return Ok(None);
        };
        let oldest = self.data.first().filter(|first| first.file_from_offset() == from);
        let Some(oldest) = oldest else { return Ok(None) };
        let modified_ms = self.disk.stat(oldest.path()).map_err(failed())?.modified_ms;
        drop(oldest);
        if modified_ms >= modified_before_ms {
            return Ok(None);
        }
        // The checkpoint must not end in what goes, and not begin with it.
        self.write_checkpoint(committed_index).await?;
        let mut written = self.settling.lock().await;
        let is_synced = next_pos <= self.data.flushed_where();
        if is_synced {
            let durable = written.durable.map(|it| Durable { begin_index, ..it });
            let checkpoint = Checkpoint { durable, ..*written };
            checkpoint.store(&*self.disk, &self.config.dir).await?;
            *written = checkpoint;
        }
        let removed = is_synced && self.data.retire_first(from);
        if removed {
            self.begin_with(begin_index, next_pos);
        }
        self.remove_retired_settling().await?;
        Ok(removed.then_some(begin_index))
    }

    /// The log begins with that entry now; index files that only speak of what is before it go.
    fn begin_with(&self, begin_index: i64, begin_pos: u64) {
        let mut ends = self.ends();
        (ends.begin_index, ends.begin_pos) = (begin_index, begin_pos);
        drop(ends);
        let needed = index_offset(begin_index);
        while let Some(first) = self.index.first().filter(|it| it.file_end_offset() <= needed) {
            if !self.index.retire_first(first.file_from_offset()) {
                break;
            }
        }
    }

    /// The oldest data file, if the entry behind it is committed, where that one is, and its index.
    fn oldest(&self, committed_index: i64) -> Option<(u64, u64, i64)> {
        let first = self.data.first()?;
        let next_pos = first.file_end_offset();
        let bytes = self.select(next_pos, ENTRY_HEADER_BYTES)?;
        let head = EntryHead::decode(&bytes).filter(|head| head.pos == next_pos as i64)?;
        (head.index <= committed_index).then_some((first.file_from_offset(), next_pos, head.index))
    }

    async fn remove_retired(&self) -> Result<(), LogError> {
        if !self.data.has_retired() && !self.index.has_retired() {
            return Ok(());
        }
        let _settling = self.settling.lock().await;
        self.remove_retired_settling().await
    }

    /// Nobody else may settle meanwhile.
    async fn remove_retired_settling(&self) -> Result<(), LogError> {
        for queue in [&self.data, &self.index] {
            let removed = queue.remove_retired(false).await;
            let retired = removed
                .map_err(LogError::io(format!("remove a file of {}", queue.dir().display())))?;
            if retired == Retired::Pinned {
                tracing::debug!(dir = %queue.dir().display(), "an expired file is still read");
            }
        }
        Ok(())
    }
}
