//! The transient store pool: what is appended waits in the memory of the process, unreadable and not
//! replicated, until [`CommitRealTimeService`] copies it into the file.
//!
//! A put's result speaks of where the record will be. `max_offset` is the readable end: whoever reads,
//! dispatches or replicates never sees more than a killed process leaves behind.
//!
//! Java origin: `CommitRealTimeService` and the pool's part of `CommitLog`, RocketMQ 4.9.

use std::sync::{Arc, Mutex};

use mq_env::probe::Event;
use mq_env::task::TaskGroup;
use mq_mapped_file::{MappedFile, TransientStorePool};
use tokio::sync::Notify;

use super::CommitLog;
use crate::config::StoreConfig;
use crate::put_result::PutMessageStatus;
use crate::sync::lock;
use crate::tick_grid::TickGrid;

/// What a log with a pool has besides.
pub(super) struct Transient {
    pub(super) pool: Arc<TransientStorePool>,
    /// Woken by appends that wait for a commit: the commit service waits on it.
    buffered: Notify,
    /// Held by whoever commits and publishes the readable end. Taken under the put lock, never before.
    committing: Mutex<()>,
}

impl Transient {
    /// A pool, if the settings want one for a master.
    pub(super) fn of(config: &StoreConfig) -> Option<Self> {
        config.wants_transient_store_pool().then(|| Transient {
            pool: TransientStorePool::new(
                config.transient_store_pool_size,
                config.mapped_file_size_commit_log,
            ),
            buffered: Notify::new(),
            committing: Mutex::default(),
        })
    }
}

impl CommitLog {
    /// Whether the pool has no buffer for another file: sends are to be turned away until a file is
    /// committed (RocketMQ 4.9 `isTransientStorePoolDeficient`).
    #[must_use]
    pub fn is_transient_store_pool_deficient(&self) -> bool {
        self.lending().is_some_and(|transient| transient.pool.available_buffer_nums() == 0)
    }

    /// Buffers that may still be borrowed; without a pool there is no end of them (RocketMQ 4.9
    /// `remainTransientStoreBufferNumbs`).
    #[must_use]
    pub fn remain_transient_store_buffer_numbs(&self) -> usize {
        let lending = self.lending();
        lending.map_or(i32::MAX as usize, |transient| transient.pool.available_buffer_nums())
    }

    /// Bytes that wait for a commit; nothing without a pool (RocketMQ 4.9 `remainHowManyDataToCommit`).
    #[must_use]
    pub fn remain_how_many_data_to_commit(&self) -> Option<u64> {
        let behind = self.queue.max_offset().saturating_sub(self.max_offset());
        self.lending().map(|_| behind)
    }

    /// Commits what waits; with `least_pages` above 0 only if so many pages do, or a file is full.
    pub(crate) fn commit(&self, least_pages: usize) {
        let Some(transient) = &self.transient else { return };
        let _committing = lock(&transient.committing);
        // The smaller one first: on a slave both may grow meanwhile.
        let flushed = self.flushed_offset();
        let (from, to) = (self.max_offset(), self.queue.commit(least_pages));
        assert!(from <= to || self.queue.is_empty(), "a commit leads from {from} to {to}");
        assert!(to <= self.queue.max_offset(), "only what was appended is committed");
        assert!(flushed <= from, "only what is committed is synced: {flushed} of {from}");
        if to > from {
            self.env.probe.emit(&Event::Committed { from, to });
            self.publish_max(to);
        }
    }

    /// Publishes what was appended to `file`, up to `end`, or leaves that to the commit.
    pub(super) fn publish_appended(&self, file: &MappedFile, end: u64) {
        let appended = file.file_from_offset() + file.wrote_position() as u64;
        assert_eq!(end, appended, "what is published is what was appended");
        self.ahead_trigger.appended(end);
        let Some(transient) = &self.transient else { return self.publish_max(end) };
        if file.read_position() < file.wrote_position() {
            transient.buffered.notify_one();
            return;
        }
        // A file that has been there since before the start, or that is committed already.
        let _committing = lock(&transient.committing);
        if end > self.max_offset() {
            self.publish_max(end);
        }
    }

    /// Sees to it that the next file gets a buffer: if all are lent, what is full is committed now, while
    /// senders wait, or the put fails fast.
    pub(super) fn ready_pool(&self) -> Result<(), PutMessageStatus> {
        let rolls = || self.queue.last().is_none_or(|last| last.is_full());
        if !self.is_transient_store_pool_deficient() || !rolls() {
            return Ok(());
        }
        if self.config.fast_fail_if_no_buffer_in_store_pool {
            tracing::warn!("no buffer in the transient store pool: no CommitLog file is begun");
            return Err(PutMessageStatus::CreateMappedFileFailed);
        }
        self.commit(0);
        Ok(())
    }

    /// Whether files that are begun get buffers: those of a slave do not. The last one gives its own back,
    /// once what waits there is committed.
    pub(crate) fn lend_buffers(&self, lends: bool) {
        let _put = self.lock_put();
        self.queue.lend_buffers(lends);
        if lends {
            return;
        }
        self.commit(0);
        if let Some(last) = self.queue.last() {
            assert_eq!(last.read_position(), last.wrote_position(), "all is committed");
            self.without_commits(|| last.drop_uncommitted());
        }
    }

    /// The pool, if there is one and it lends.
    fn lending(&self) -> Option<&Transient> {
        self.transient.as_ref().filter(|_| self.queue.lends_buffers())
    }

    /// Runs `change` while nothing is committed.
    pub(super) fn without_commits<T>(&self, change: impl FnOnce() -> T) -> T {
        let _committing = self.transient.as_ref().map(|transient| lock(&transient.committing));
        change()
    }
}

/// Commits in the background: at once if `commitCommitLogLeastPages` pages wait, and everything at the
/// wake-ups that `commitIntervalCommitLog` and `commitCommitLogThoroughInterval` make. Sleeps while
/// nothing waits.
pub(crate) struct CommitRealTimeService {
    log: Arc<CommitLog>,
    grid: TickGrid,
    least_pages: usize,
}

impl CommitRealTimeService {
    /// The service of a log that has a pool.
    pub(crate) fn new(log: Arc<CommitLog>, config: &StoreConfig) -> Option<Self> {
        log.transient.is_some().then(|| CommitRealTimeService {
            grid: TickGrid::start(
                config.commit_interval_commit_log_ms,
                config.commit_commit_log_thorough_interval_ms,
            ),
            least_pages: config.commit_commit_log_least_pages,
            log,
        })
    }

    /// Commits until the group is cancelled. What waits then is the caller's to commit.
    pub(crate) async fn run(self, tasks: TaskGroup) {
        let Some(transient) = &self.log.transient else { return };
        loop {
            let least_pages = mq_env::select! {
                () = tasks.cancelled() => return,
                least_pages = self.next_commit(transient) => least_pages,
            };
            self.log.commit(least_pages);
        }
    }

    /// Waits for the next moment with work; how many pages it takes.
    async fn next_commit(&self, transient: &Transient) -> usize {
        loop {
            while !self.log.queue.is_able_to_commit(0) {
                transient.buffered.notified().await;
            }
            if self.log.queue.is_able_to_commit(self.least_pages) {
                return self.least_pages;
            }
            mq_env::select! {
                () = tokio::time::sleep_until(self.grid.next_thorough().at) => return 0,
                () = transient.buffered.notified() => {}
            }
        }
    }
}
