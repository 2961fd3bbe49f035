//! The log of a copy, as a store has a group's: committed as far as the node says, and nobody adds to it.

use std::future::{pending, ready};
use std::io;
use std::path::Path;
use std::sync::Arc;

use mq_env::BoxFuture;
use mq_env::disk::Disk;
use mq_mapped_file::{Known, MappedFileQueue};

use crate::commit_log::{ConsensusEnds, ConsensusLog, OnAppend};
use crate::error::StoreError;
use crate::put_result::PutMessageStatus;

pub(super) struct CopiedLog {
    data: Arc<MappedFileQueue>,
    committed: u64,
}

impl CopiedLog {
    /// The files in `dir`, of which everything is synced. They are entries up to `end`, committed up to `committed`.
    pub(super) async fn open(
        disk: Arc<dyn Disk>,
        root: &Path,
        dir: &Path,
        file_bytes: usize,
        (committed, end): (u64, u64),
    ) -> Result<Self, StoreError> {
        assert!(committed <= end, "what is committed is there");
        let data = MappedFileQueue::new(disk, root, dir.to_path_buf(), file_bytes);
        let plan = data.plan_load(Known { durable_end: Some(u64::MAX), is_salvage: false })?;
        let files = data.look(&plan)?;
        drop(data.load(&plan, &files)?);
        drop(files);
        let cut = data.cut(end, true);
        data.settle(cut).await.map_err(StoreError::io("end the copied log"))?;
        data.set_flushed_where(end);
        Ok(CopiedLog { data: Arc::new(data), committed })
    }
}

impl ConsensusLog for CopiedLog {
    fn data(&self) -> &Arc<MappedFileQueue> {
        &self.data
    }

    fn ends(&self) -> ConsensusEnds {
        let committed = self.committed;
        ConsensusEnds { committed, durable: committed, is_poisoned: false }
    }

    fn moved_from(&self, _seen: ConsensusEnds) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }

    fn propose(
        &self,
        _records: Vec<Vec<u8>>,
        _on_append: OnAppend,
    ) -> BoxFuture<'static, Result<(), PutMessageStatus>> {
        Box::pin(ready(Err(PutMessageStatus::ServiceNotAvailable)))
    }

    fn sync(&self) -> BoxFuture<'_, bool> {
        Box::pin(ready(true))
    }

    fn expire_oldest(&self, _modified_before_ms: u64) -> BoxFuture<'_, io::Result<bool>> {
        Box::pin(ready(Ok(false)))
    }

    fn shutdown(&self) -> BoxFuture<'_, bool> {
        Box::pin(ready(true))
    }
}
