//! [`StoreCheckpoint`]: the 4096-byte file `checkpoint`, as RocketMQ 4.9 writes it.
//!
//! Three store times in milliseconds, big-endian: CommitLog at 0, ConsumeQueues at 8, index at 16.
//! Each says: messages stored up to then are durable there. The page is written only with values
//! that are true of the disk at that moment, so it may reach the disk at any time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mq_env::disk::{Disk, MappedRegion, PAGE_SIZE};
use serde::Serialize;

const PHYSIC_AT: usize = 0;
const LOGICS_AT: usize = 8;
const INDEX_AT: usize = 16;
/// Recovery starts this much before the oldest of the times.
const SLACK_MS: u64 = 3_000;

/// The store times that a checkpoint file holds, in ms as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckpointTimes {
    /// Of the last message that is durable in the CommitLog.
    pub(crate) physic_msg_timestamp: i64,
    /// Of the last message that is durable in its ConsumeQueue.
    pub(crate) logics_msg_timestamp: i64,
    /// Of the last message of the last index file that is durable and takes no more.
    pub(crate) index_msg_timestamp: i64,
}

impl CheckpointTimes {
    /// The times at the front of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let time = |at: usize| Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(CheckpointTimes {
            physic_msg_timestamp: time(PHYSIC_AT)?,
            logics_msg_timestamp: time(LOGICS_AT)?,
            index_msg_timestamp: time(INDEX_AT)?,
        })
    }

    /// The times of a file as a start has it: filled up with zeros.
    pub(crate) fn of_file(bytes: &[u8]) -> Self {
        let mut times = [0; 24];
        let len = bytes.len().min(times.len());
        times[..len].copy_from_slice(&bytes[..len]);
        Self::decode(&times).unwrap_or_default()
    }

    /// Where an abnormal recovery by 4.9's rules may start (`getMinTimestamp`).
    pub(crate) fn min_timestamp_ms(&self) -> u64 {
        let oldest = self.physic_msg_timestamp.min(self.logics_msg_timestamp);
        time_of(oldest).saturating_sub(SLACK_MS)
    }
}

/// The checkpoint file of a store.
pub(crate) struct StoreCheckpoint {
    disk: Arc<dyn Disk>,
    region: MappedRegion,
}

impl StoreCheckpoint {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let region = disk.map(path, PAGE_SIZE)?;
        Ok(StoreCheckpoint { disk, region })
    }

    /// Store time of the last message of the last index file that is durable and takes no more.
    pub(crate) fn index_msg_timestamp_ms(&self) -> u64 {
        self.get(INDEX_AT)
    }

    /// All three as they are.
    #[cfg(test)]
    pub(crate) fn times(&self) -> CheckpointTimes {
        CheckpointTimes::of_file(self.region.slice(0..24))
    }

    /// Records new times and syncs the file. They only advance.
    ///
    /// # Errors
    /// What the sync said.
    pub(crate) async fn advance(
        &self,
        physic_ms: u64,
        logics_ms: u64,
        index_ms: u64,
    ) -> io::Result<()> {
        let mut times = [0; 24];
        for (at, ms) in [(PHYSIC_AT, physic_ms), (LOGICS_AT, logics_ms), (INDEX_AT, index_ms)] {
            times[at..][..8].copy_from_slice(&ms.max(self.get(at)).to_be_bytes());
        }
        if self.region.slice(0..24) == times {
            return Ok(());
        }
        let before = [PHYSIC_AT, LOGICS_AT, INDEX_AT].map(|at| self.get(at));
        self.region.write(0, &times);
        let after = [PHYSIC_AT, LOGICS_AT, INDEX_AT].map(|at| self.get(at));
        assert!(
            before.iter().zip(after).all(|(before, after)| after >= *before),
            "times only advance"
        );
        self.disk.flush(&self.region, 0..PAGE_SIZE).await
    }

    fn get(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.region.slice(at..at + 8));
        time_of(i64::from_be_bytes(bytes))
    }
}

/// A negative time of Java's counts as none.
fn time_of(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}
