//! What is written down about durability: the watermark once a second, the ConsumeQueues, the index
//! and the checkpoint on their own schedule (RocketMQ 4.9 `FlushConsumeQueueService`).
//!
//! Neither ever claims more than is on disk: positions are sampled before the sync and recorded
//! after it succeeded.

use std::sync::Arc;
use std::time::Duration;

use mq_env::task::TaskGroup;

use crate::checkpoint::StoreCheckpoint;
use crate::commit_log::CommitLog;
use crate::config::StoreConfig;
use crate::consume_queue_store::ConsumeQueueStore;
use crate::dispatch::ReputMessageService;
use crate::durable_mark::{DurableMark, Mark};
use crate::index_service::{IndexFlushed, IndexMark, IndexService};
use crate::plant::Plant;
use crate::role::RoleWatch;
use crate::tick_grid::TickGrid;

/// How often the watermark follows the flushed end.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);

/// The record keepers of a store.
pub(crate) struct Marks {
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<ConsumeQueueStore>,
    pub(crate) index: Arc<IndexService>,
    pub(crate) dispatcher: Arc<ReputMessageService>,
    pub(crate) checkpoint: StoreCheckpoint,
    pub(crate) durable: Arc<DurableMark>,
    pub(crate) config: Arc<StoreConfig>,
    pub(crate) role: RoleWatch,
    /// Held from sampling to writing, and by whoever lowers what is sampled, or removes what is claimed.
    pub(crate) marking: Arc<tokio::sync::Mutex<()>>,
}

impl Marks {
    /// Excludes that marks are sampled and written, until what they would say is lowered. To be taken
    /// before the locks that flushes hold.
    pub(crate) async fn lock_marking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.marking.lock().await
    }

    /// Writes the watermark at most once a second, while the flushed end moves.
    pub(crate) async fn run_watermark(self: Arc<Self>, tasks: TaskGroup) {
        let mut flushed = self.log.watch_flushed_offset();
        loop {
            mq_env::select! {
                () = tasks.cancelled() => return,
                _ = flushed.changed() => {}
            }
            self.write_watermark().await;
            mq_env::select! {
                () = tasks.cancelled() => return,
                () = tokio::time::sleep(WATERMARK_INTERVAL) => {}
            }
        }
    }

    /// Syncs ConsumeQueues as units are added: every `flushIntervalConsumeQueue` those with
    /// `flushConsumeQueueLeastPages` dirty pages, every `flushConsumeQueueThoroughInterval` all of
    /// them and then the checkpoint.
    pub(crate) async fn run_flush_consume_queue(self: Arc<Self>, tasks: TaskGroup) {
        let least_pages = self.config.flush_consume_queue_least_pages;
        let grid = TickGrid::start(
            self.config.flush_interval_consume_queue_ms,
            self.config.flush_consume_queue_thorough_interval_ms,
        );
        loop {
            let is_thorough = mq_env::select! {
                () = tasks.cancelled() => return,
                is_thorough = self.next_tick(&grid, least_pages) => is_thorough,
            };
            if is_thorough {
                self.flush_all_queues().await;
            } else {
                self.queues.flush(least_pages).await;
            }
        }
    }

    /// Syncs index files as they become full.
    pub(crate) async fn run_flush_index(self: Arc<Self>, tasks: TaskGroup) {
        loop {
            mq_env::select! {
                () = tasks.cancelled() => return,
                () = self.index.rolled() => {}
            }
            let _marking = self.lock_marking().await;
            if let Some(flushed) = self.index.flush(true).await {
                let mark = Mark { index: flushed.mark, ..Mark::default() };
                self.write(mark, 0, 0, flushed.full_until_ms).await;
            }
        }
    }

    /// Writes the watermark.
    pub(crate) async fn write_watermark(&self) {
        let _marking = self.lock_marking().await;
        let mark = Mark { log_end: self.durable_log_end(), ..Mark::default() };
        // The flushed end is lowered by nobody who does not hold the lock.
        assert!(
            mark.log_end <= self.log.flushed_offset(),
            "the watermark is not above what is synced"
        );
        if let Err(error) = self.durable.advance(mark).await {
            tracing::warn!(%error, "the durable watermark was not written");
        }
    }

    /// Syncs every ConsumeQueue and the index, then records how far: watermark and checkpoint.
    pub(crate) async fn flush_all_queues(&self) {
        self.flush_queues_and_index(|flushed| flushed.full_until_ms).await;
    }

    /// The same at the end, when nothing is added to the index any more.
    pub(crate) async fn flush_finally(&self) {
        self.flush_queues_and_index(|flushed| flushed.until_ms).await;
    }

    async fn flush_queues_and_index(&self, index_ms: impl FnOnce(&IndexFlushed) -> u64) {
        let _marking = self.lock_marking().await;
        let (dispatched, units) =
            self.dispatcher.pause(|progress| (*progress, self.queues.units()));
        if !self.config.planted(Plant::MarksBeforeSync) && !self.queues.flush(0).await {
            return;
        }
        let flushed = self.index.flush(false).await;
        let log_end = self.durable_log_end();
        assert!(log_end <= self.log.flushed_offset(), "the watermark is not above what is synced");
        let is_claimed = |end: u64| end <= self.dispatcher.progress().reput_from_offset;
        assert!(is_claimed(dispatched.reput_from_offset), "what is dispatched stays so meanwhile");
        let mark = Mark {
            log_end,
            logics_end: dispatched.reput_from_offset,
            units: Some(units),
            index: flushed.as_ref().map_or(IndexMark::default(), |flushed| flushed.mark),
        };
        let logics_ms = dispatched.store_timestamp_ms;
        assert!(mark.index.end <= self.index.indexed_to(), "nor is that of the index");
        let physic_ms = if log_end >= dispatched.reput_from_offset { logics_ms } else { 0 };
        self.write(mark, physic_ms, logics_ms, flushed.as_ref().map_or(0, index_ms)).await;
    }

    async fn write(&self, mark: Mark, physic_ms: u64, logics_ms: u64, index_ms: u64) {
        let written = match self.durable.advance(mark).await {
            Ok(()) => self.checkpoint.advance(physic_ms, logics_ms, index_ms).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "watermark or checkpoint was not written");
        }
    }

    /// Up to where the log is synced, at the start of a record. A slave's log is synced in pieces
    /// of records; what is dispatched is whole.
    fn durable_log_end(&self) -> u64 {
        let flushed = self.log.flushed_offset();
        if self.role.is_master() {
            return flushed;
        }
        flushed.min(self.dispatcher.progress().reput_from_offset)
    }

    /// Waits for the next tick that has work; whether it is a thorough one.
    async fn next_tick(&self, grid: &TickGrid, least_pages: usize) -> bool {
        loop {
            while !self.queues.is_able_to_flush(0) {
                self.dispatcher.dispatched().await;
            }
            let has_pages = self.queues.is_able_to_flush(least_pages);
            let due = if has_pages { grid.next() } else { grid.next_thorough() };
            mq_env::select! {
                () = tokio::time::sleep_until(due.at) => return due.is_thorough,
                () = self.dispatcher.dispatched(), if !has_pages => {}
            }
        }
    }
}
