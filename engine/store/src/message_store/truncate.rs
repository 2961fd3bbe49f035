//! What a slave does to its own log: cutting a diverged tail, starting again elsewhere.

use mq_env::BoxFuture;
use mq_env::probe::Event;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::MessageStore;
use crate::consume_queue::ConsumeQueue;
use crate::dispatch::DispatchProgress;
use crate::durable_mark::Mark;
use crate::error::StoreError;
use crate::index_service::IndexMark;
use crate::plant::{Plant, planted_on_this_thread};
use crate::topic_queue_table::TopicQueueTable;

impl MessageStore {
    /// Ends the log at `phy_offset`, a record's start, and the ConsumeQueues with it. When this
    /// resolves the cut survives a power loss: the watermark was lowered, what lay behind is zeroed
    /// and synced. Nobody may append meanwhile. Where the log said behind it that a topic was deleted, that is
    /// so no longer: all queues are made again from the log. An offset at or beyond the end changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Offset`] when the log begins behind `phy_offset` by now: nothing is changed then.
    /// Otherwise what the disk says; the store is then to be opened again.
    pub fn truncate_to(
        self: &Arc<Self>,
        phy_offset: u64,
        reason: &str,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let (store, reason) = (Arc::clone(self), reason.to_owned());
        Box::pin(async move { store.truncate(phy_offset, &reason).await })
    }

    /// Empties log and queues and begins at `min_phy_offset`, the start of a CommitLog file: how a
    /// slave begins at its master's minimum. The log's files go to the existing directory `aside`.
    /// Nobody may append meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Offset`] when no file starts there, and what the disk says.
    pub fn reset_to(
        self: &Arc<Self>,
        min_phy_offset: u64,
        aside: &Path,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let (store, aside) = (Arc::clone(self), aside.to_path_buf());
        Box::pin(async move { store.reset(min_phy_offset, &aside).await })
    }

    pub(super) async fn truncate(&self, phy_offset: u64, reason: &str) -> Result<(), StoreError> {
        self.log.commit(0);
        let from = self.log.max_offset();
        if phy_offset >= from {
            return Ok(());
        }
        let _marking = self.marks.lock_marking().await;
        let _flushing = self.log.lock_flushing().await;
        let min_offset = self.log.min_offset();
        if phy_offset < min_offset {
            let what = format!("{phy_offset} has expired: the log begins at {min_offset}");
            return Err(StoreError::Offset { what });
        }
        let _flushing_queues = self.queues.lock_flushing().await;
        let _flushing_index = self.index.lock_flushing().await;
        let walked = self.dispatcher.has_carried_out(phy_offset).await;
        let revives = walked.map_err(StoreError::io("look for topics that were deleted"))?;
        if revives {
            let forgotten = self.marks.durable.forget_logics_above(min_offset).await;
            forgotten.map_err(StoreError::io("lower the durable watermark"))?;
        }
        let recounted = match revives {
            true => Some(self.recount(min_offset..phy_offset).await?),
            false => None,
        };
        let index_mark = self.index.mark_below(phy_offset, self.marks.durable.mark().index);
        let lowered = self.marks.durable.lower(phy_offset, index_mark).await;
        lowered.map_err(StoreError::io("lower the durable watermark"))?;
        let forgotten = self.log.damage.cut(phy_offset).await;
        forgotten.map_err(StoreError::io("write the list of damaged ranges"))?;
        let (cut, cuts, index_change, counted) = self.dispatcher.pause(|progress| {
            let mut put = self.log.lock_put();
            let index_change = self.index.cut(phy_offset, &self.log);
            let cut = self.log.cut(phy_offset);
            let keeps_all = planted_on_this_thread(Plant::QueuesNotTruncated);
            let cuts = if revives {
                self.queues.clear_above(min_offset)
            } else {
                self.queues.truncate(if keeps_all { u64::MAX } else { phy_offset })
            };
            progress.reput_from_offset = progress.reput_from_offset.min(phy_offset);
            let counted = match recounted {
                Some(table) => Ok(table),
                None => self.count_on(*progress),
            };
            (cut, cuts, index_change, counted.map(|table| put.reset(table)))
        });
        counted.map_err(StoreError::io("count queue offsets"))?;
        self.assert_ends_at(phy_offset);
        self.group_commit.cut(phy_offset);
        self.log.settle(cut).await?;
        self.queues.settle(cuts).await?;
        self.index.settle(index_change).await.map_err(StoreError::io("truncate the index"))?;
        if revives {
            // Not before the files of the old queues are gone: the new ones have the same names.
            self.dispatcher.go_back_to(min_offset);
        }
        self.env.probe.emit(&Event::Truncated { from, to: phy_offset, reason });
        Ok(())
    }

    /// The queue offsets behind what is dispatched and what is not yet.
    fn count_on(&self, progress: DispatchProgress) -> io::Result<TopicQueueTable> {
        let mut table = self.queues.topic_queue_table();
        self.dispatcher.count_undispatched(progress, &mut table)?;
        Ok(table)
    }

    /// The queue offsets behind a range of the log, as all queues are to be made from it again. A queue of which it
    /// has nothing keeps its end.
    async fn recount(&self, range: Range<u64>) -> Result<TopicQueueTable, StoreError> {
        let keeps_end = |it: &ConsumeQueue| (1..=range.start).contains(&it.max_physic_offset());
        let mut table = TopicQueueTable::default();
        let counted = self.dispatcher.count_range(range.clone(), &mut table).await;
        counted.map_err(StoreError::io("count queue offsets"))?;
        for queue in self.queues.all().iter().filter(|it| keeps_end(it)) {
            if !table.knows(queue.topic(), queue.queue_id()) {
                table.set(queue.topic(), queue.queue_id(), queue.max_offset_in_queue());
            }
        }
        Ok(table)
    }

    /// Nothing of this store speaks of bytes from `phy_offset` on.
    fn assert_ends_at(&self, phy_offset: u64) {
        let mark = self.marks.durable.mark();
        assert_eq!(self.log.max_offset(), phy_offset, "a log that was cut ends there");
        assert!(self.log.flushed_offset() <= phy_offset, "nothing behind a cut is synced");
        assert!(self.dispatched_offset() <= phy_offset, "nothing behind a cut is dispatched");
        assert!(
            mark.log_end <= phy_offset && mark.logics_end <= phy_offset,
            "or claimed: {mark:?}"
        );
        assert!(mark.index.end <= phy_offset, "nor of the index: {mark:?}");
    }

    async fn reset(&self, min_phy_offset: u64, aside: &Path) -> Result<(), StoreError> {
        if !min_phy_offset.is_multiple_of(self.log.file_size() as u64) {
            let what = format!("no CommitLog file starts at {min_phy_offset}");
            return Err(StoreError::Offset { what });
        }
        let from = self.log.max_offset();
        let _marking = self.marks.lock_marking().await;
        let _flushing = self.log.lock_flushing().await;
        let _flushing_queues = self.queues.lock_flushing().await;
        let _flushing_index = self.index.lock_flushing().await;
        let lowered = self.marks.durable.lower(0, IndexMark::default()).await;
        lowered.map_err(StoreError::io("lower the durable watermark"))?;
        let forgotten = self.log.damage.cut(0).await;
        forgotten.map_err(StoreError::io("write the list of damaged ranges"))?;
        let (cut, cuts, index_change) = self.dispatcher.pause(|progress| {
            let mut put = self.log.lock_put();
            let index_change = self.index.cut(0, &self.log);
            let cuts = self.queues.clear();
            progress.reput_from_offset = min_phy_offset;
            put.reset(self.queues.topic_queue_table());
            (self.log.cut_all(), cuts, index_change)
        });
        assert_eq!(self.queues.units(), 0, "queues without units begin at 0");
        self.group_commit.cut(0);
        self.queues.settle(cuts).await?;
        self.index.settle(index_change).await.map_err(StoreError::io("empty the index"))?;
        self.log.settle_aside(cut, aside).await?;
        self.log.begin_at(min_phy_offset).await?;
        self.assert_ends_at(min_phy_offset);
        let mark = Mark {
            log_end: min_phy_offset,
            logics_end: min_phy_offset,
            units: Some(0),
            index: IndexMark::default(),
        };
        let written = self.marks.durable.set(mark).await;
        written.map_err(StoreError::io("write the durable watermark"))?;
        let reason = "the log begins again at the master's minimum";
        self.env.probe.emit(&Event::Truncated { from, to: min_phy_offset, reason });
        Ok(())
    }
}
