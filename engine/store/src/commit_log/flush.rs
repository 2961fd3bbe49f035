//! The flush services: [`GroupCommitService`] for SYNC_FLUSH, [`FlushRealTimeService`] for
//! ASYNC_FLUSH (RocketMQ 4.9 classes of these names; `FlushDiskWatcher` is part of the former).
//!
//! Both sleep until something is appended. An idle log arms no timer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::task::TaskGroup;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::CommitLog;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::plant::{Plant, planted_on_this_thread};
use crate::put_result::PutMessageStatus;
use crate::sync::lock;
use crate::tick_grid::TickGrid;

/// Pause before a sync that could not be attempted is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Syncs for waiting puts: one sync serves every put that it covers.
pub(crate) struct GroupCommitService {
    log: Arc<CommitLog>,
    timeout: Duration,
    requests: Mutex<VecDeque<GroupCommitRequest>>,
    /// Tells a running sync that there is a deadline to watch.
    submitted: Notify,
}

/// A put that waits until everything below `end_offset` is synced.
struct GroupCommitRequest {
    end_offset: u64,
    deadline: Instant,
    done: oneshot::Sender<PutMessageStatus>,
}

impl GroupCommitService {
    pub(crate) fn new(log: Arc<CommitLog>, config: &StoreConfig) -> Self {
        GroupCommitService {
            log,
            timeout: Duration::from_millis(config.sync_flush_timeout_ms),
            requests: Mutex::default(),
            submitted: Notify::new(),
        }
    }

    /// Registers a put that ends at `end_offset`; resolves to its flush status. A receiver whose
    /// sender is gone stands for FLUSH_DISK_TIMEOUT.
    pub(crate) fn submit(&self, end_offset: u64) -> oneshot::Receiver<PutMessageStatus> {
        let (done, outcome) = oneshot::channel();
        let mut requests = lock(&self.requests);
        // Under the lock: the list is in the order of the deadlines.
        let deadline = Instant::now() + self.timeout;
        let is_last = requests.back().is_none_or(|last| last.deadline <= deadline);
        assert!(is_last, "no put waits behind one with a later deadline");
        // Seen under the lock: whoever syncs, poisons or cuts the log looks through the list afterwards.
        if end_offset <= self.log.flushed_offset() {
            // Nobody waits for it yet.
            let _ = done.send(PutMessageStatus::PutOk);
        } else if !self.log.is_poisoned() && end_offset <= self.log.max_offset() {
            requests.push_back(GroupCommitRequest { end_offset, deadline, done });
            self.submitted.notify_one();
        }
        outcome
    }

    /// Syncs whenever there is something to sync, until the group is cancelled or a sync fails. One that
    /// could not be attempted is tried again.
    pub(crate) async fn run(self: Arc<Self>, tasks: TaskGroup) {
        loop {
            if tasks.is_cancelled() {
                return;
            }
            if self.log.is_poisoned() {
                // Whoever poisoned the log, nothing is synced any more: puts that wait are told so.
                return self.complete();
            }
            if !self.log.is_dirty() {
                mq_env::select! {
                    () = tasks.cancelled() => return,
                    () = self.log.appended() => continue,
                }
            }
            if self.sync_once().await.is_ok() || self.log.is_poisoned() {
                continue;
            }
            let pause = async {
                mq_env::select! {
                    () = tasks.cancelled() => {}
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                }
            };
            self.expiring(pause).await;
        }
    }

    /// Answers the puts whose bytes are synced or never will be; the rest keeps waiting.
    pub(crate) fn complete(&self) {
        let flushed = self.log.flushed_offset();
        let failed = self.log.is_poisoned();
        let answers_all = !failed && planted_on_this_thread(Plant::GroupCommitAnswersAll);
        self.answer_while(|request| {
            if request.end_offset <= flushed || answers_all {
                Some(PutMessageStatus::PutOk)
            } else {
                failed.then_some(PutMessageStatus::FlushDiskTimeout)
            }
        });
    }

    /// Forgets the puts that a cut to `phy_offset` took back; to them it is FLUSH_DISK_TIMEOUT.
    pub(crate) fn cut(&self, phy_offset: u64) {
        lock(&self.requests).retain(|request| request.end_offset <= phy_offset);
    }

    async fn sync_once(&self) -> Result<(), StoreError> {
        let outcome = self.expiring(self.log.flush(0)).await;
        self.complete();
        outcome
    }

    /// Does `work`; puts whose deadline passes meanwhile are answered without it.
    async fn expiring<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let deadline = lock(&self.requests).front().map(|request| request.deadline);
            let expired = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => self.submitted.notified().await,
                }
            };
            mq_env::select! {
                outcome = &mut work => return outcome,
                () = expired => self.expire(),
            }
        }
    }

    /// Answers the puts whose time is up, even if their sync succeeds later.
    fn expire(&self) {
        let now = Instant::now();
        self.answer_while(|request| {
            (request.deadline <= now).then_some(PutMessageStatus::FlushDiskTimeout)
        });
    }

    /// Answers the oldest puts as long as there is an answer for them.
    fn answer_while(&self, answer: impl Fn(&GroupCommitRequest) -> Option<PutMessageStatus>) {
        let mut requests = lock(&self.requests);
        while let Some(status) = requests.front().and_then(&answer) {
            // A put whose caller is gone needs no answer.
            let _ = requests.pop_front().map(|request| request.done.send(status));
        }
    }
}

/// Syncs in the background: every `flushIntervalCommitLog` if `flushCommitLogLeastPages` pages are
/// dirty, and everything every `flushCommitLogThoroughInterval`.
pub(crate) struct FlushRealTimeService {
    log: Arc<CommitLog>,
    grid: TickGrid,
    is_timed: bool,
    least_pages: usize,
}

impl FlushRealTimeService {
    pub(crate) fn new(log: Arc<CommitLog>, config: &StoreConfig) -> Self {
        FlushRealTimeService {
            log,
            grid: TickGrid::start(
                config.flush_interval_commit_log_ms,
                config.flush_commit_log_thorough_interval_ms,
            ),
            is_timed: config.flush_commit_log_timed,
            least_pages: config.flush_commit_log_least_pages,
        }
    }

    /// Syncs on the grid until the group is cancelled or a sync fails. One that could not be attempted
    /// is tried again.
    pub(crate) async fn run(self, tasks: TaskGroup) {
        // A flush that was begun is ended: only waiting is given up.
        loop {
            let is_thorough = mq_env::select! {
                () = tasks.cancelled() => return,
                is_thorough = self.next_tick() => is_thorough,
            };
            let least_pages = if is_thorough { 0 } else { self.least_pages };
            if self.log.flush(least_pages).await.is_ok() {
                continue;
            }
            if self.log.is_poisoned() {
                return;
            }
            mq_env::select! {
                () = tasks.cancelled() => return,
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }

    /// Waits for the next tick that has work; whether it is a thorough one.
    async fn next_tick(&self) -> bool {
        loop {
            while !self.log.is_dirty() {
                self.log.appended().await;
            }
            // With too few dirty pages only an append or the thorough tick makes a difference.
            let has_pages = self.log.is_able_to_flush(self.least_pages);
            if has_pages && !self.is_timed {
                return false;
            }
            let due = if has_pages { self.grid.next() } else { self.grid.next_thorough() };
            mq_env::select! {
                () = tokio::time::sleep_until(due.at) => return due.is_thorough,
                () = self.log.appended(), if !has_pages => {}
            }
        }
    }
}
