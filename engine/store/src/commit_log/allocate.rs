//! [`AllocateMappedFileService`]: makes the next CommitLog file before somebody rolls into it (RocketMQ
//! 4.9 class of this name), so that no put waits for its blocks, its length and its entry.
//!
//! It begins once the last file is half full; 4.9 makes two files at once, which costs a fresh broker a
//! gibibyte. Nothing is armed meanwhile: appends compare their end with one number. When there is no
//! room ahead of time nobody is told but the operator, and the next put has it tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mq_env::task::TaskGroup;
use mq_mapped_file::AheadError;
use tokio::sync::Notify;

use super::CommitLog;

/// When appends wake the service.
pub(crate) struct AheadTrigger {
    /// Once the log reaches this offset.
    at: AtomicU64,
    reached: Notify,
}

impl AheadTrigger {
    /// Never, before the service says when.
    pub(super) fn new() -> Self {
        AheadTrigger { at: AtomicU64::new(u64::MAX), reached: Notify::new() }
    }

    /// The log was appended to up to `end`. A service that misses it sees the append behind it.
    pub(super) fn appended(&self, end: u64) {
        if end >= self.at.load(Ordering::Relaxed) {
            self.fire();
        }
    }

    /// Has the service look again.
    pub(crate) fn fire(&self) {
        self.at.store(u64::MAX, Ordering::Relaxed);
        self.reached.notify_one();
    }
}

/// Makes files ahead of time.
pub(crate) struct AllocateMappedFileService {
    log: Arc<CommitLog>,
    has_failed: bool,
}

impl AllocateMappedFileService {
    pub(crate) fn new(log: Arc<CommitLog>) -> Self {
        AllocateMappedFileService { log, has_failed: false }
    }

    /// Works until the group is cancelled or a sync fails. A file that was begun is ended.
    pub(crate) async fn run(mut self, tasks: TaskGroup) {
        let log = Arc::clone(&self.log);
        let trigger = &log.ahead_trigger;
        while !log.is_poisoned() {
            if log.queue.wants_ahead() {
                let made = log.queue.allocate_ahead().await;
                self.note(made);
            }
            let retry_at = self.has_failed.then(|| log.queue.max_offset() + 1);
            let next = retry_at.unwrap_or_else(|| log.queue.next_ahead_at());
            trigger.at.store(next, Ordering::Relaxed);
            mq_env::select! {
                () = tasks.cancelled() => return,
                () = trigger.reached.notified() => {}
            }
        }
    }

    fn note(&mut self, made: Result<(), AheadError>) {
        match made {
            Ok(()) => self.has_failed = false,
            Err(AheadError::NotMade(error)) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(%error, "no CommitLog file ahead of time; tried again with puts");
                }
            }
            Err(AheadError::Taken(error)) => self.log.poison(&error),
        }
    }
}

impl CommitLog {
    /// Removes the file that was made ahead of time, durably.
    pub(crate) async fn remove_ahead(&self) {
        if let Err(error) = self.queue.remove_ahead().await {
            tracing::warn!(%error, "an unused CommitLog file stays");
        }
    }
}
