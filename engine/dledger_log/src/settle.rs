//! What is synced, and up to where the checkpoint says so.

use mq_mapped_file::{AheadError, FlushError};

use crate::error::LogError;
use crate::log::{DLedgerLog, Ends};
use crate::small_files::{Checkpoint, Durable};

/// What a sync made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Of the log, as of [`DLedgerLog::truncate`].
    pub generation: u64,
    /// The last entry that is durable.
    pub index: i64,
}

impl DLedgerLog {
    /// Whether there are entries that are not synced.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let ends = self.ends();
        ends.synced_index < ends.end_index
    }

    /// What is known to be synced, whoever saw to it: the checkpoint and the removal of old files sync, too.
    #[must_use]
    pub fn synced(&self) -> Synced {
        let ends = self.ends();
        Synced { generation: ends.generation, index: ends.synced_index }
    }

    /// Resolves when something was appended or synced since the last call, or the log was poisoned. One caller at a time.
    pub async fn appended(&self) {
        self.appended.notified().await;
    }

    /// Syncs the entries that were appended before the call. The index, which a start can make again, is the checkpoint's.
    ///
    /// # Errors
    /// [`LogError::Flush`]: if it is final, the log is poisoned; else it may be tried again.
    pub async fn sync(&self) -> Result<Synced, LogError> {
        let _settling = self.settling.lock().await;
        self.sync_data()
            .await
            .map(|ends| Synced { generation: ends.generation, index: ends.end_index })
    }

    /// Syncs data and index, and writes into the checkpoint how far that goes, and how much is committed.
    ///
    /// # Errors
    /// As for [`DLedgerLog::sync`].
    pub async fn write_checkpoint(&self, committed_index: i64) -> Result<(), LogError> {
        let mut written = self.settling.lock().await;
        let ends = self.sync_data().await?;
        self.flushed(self.index.flush(0).await)?;
        self.store_checkpoint(&mut written, &ends, committed_index).await
    }

    /// Makes the next data file before it is wanted, when the last one is half full. One caller at a time.
    ///
    /// # Errors
    /// When somebody has taken it and it cannot be synced: the log is poisoned.
    pub async fn allocate_ahead(&self) -> Result<(), LogError> {
        if self.is_poisoned() || !self.data.wants_ahead() {
            return Ok(());
        }
        match self.data.allocate_ahead().await {
            Ok(()) => Ok(()),
            Err(AheadError::NotMade(error)) => {
                tracing::warn!(%error, "no data file is made ahead");
                Ok(())
            }
            Err(AheadError::Taken(error)) => self.flushed::<()>(Err(error)),
        }
    }

    /// Syncs everything for the last time; the file made ahead goes.
    ///
    /// # Errors
    /// As for [`DLedgerLog::sync`].
    pub async fn close(&self, committed_index: i64) -> Result<(), LogError> {
        self.write_checkpoint(committed_index).await?;
        self.data.remove_ahead().await.map_err(LogError::io("remove the file made ahead"))
    }

    async fn sync_data(&self) -> Result<Ends, LogError> {
        self.check_sound()?;
        let mut synced = *self.ends();
        self.flushed(self.data.flush(0).await)?;
        let mut ends = self.ends();
        assert_eq!(ends.generation, synced.generation, "nothing is cut while something is synced");
        if ends.synced_index < synced.end_index {
            ends.synced_index = synced.end_index;
            self.appended.notify_one();
        }
        synced.synced_index = ends.synced_index;
        Ok(synced)
    }

    /// Writes the checkpoint of a log whose data and index are durable up to `ends`, unless it says that already.
    pub(crate) async fn store_checkpoint(
        &self,
        written: &mut Checkpoint,
        ends: &Ends,
        committed_index: i64,
    ) -> Result<(), LogError> {
        let checkpoint = Checkpoint {
            committed_index: committed_index.min(ends.end_index),
            end_index: ends.end_index,
            durable: Some(Durable { begin_index: ends.begin_index, pos: ends.end_pos }),
        };
        if *written == checkpoint {
            return Ok(());
        }
        let stored = checkpoint.store(&*self.disk, &self.config.dir).await;
        if stored.is_ok() {
            *written = checkpoint;
        }
        stored
    }

    /// Poisons the log when a sync failed for good.
    fn flushed<T>(&self, flushed: Result<T, FlushError>) -> Result<(), LogError> {
        if flushed.as_ref().is_err_and(FlushError::is_final) {
            self.poison();
        }
        flushed.map(|_| ()).map_err(LogError::Flush)
    }
}
