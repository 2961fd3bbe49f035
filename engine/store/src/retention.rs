//! [`CleanService`]: removes what has expired and watches how full the disk is (RocketMQ 4.9
//! `CleanCommitLogService` and `CleanConsumeQueueService`).
//!
//! **What goes.** CommitLog files, the oldest first and never the last one: those that were not
//! written for `fileReservedTime`, at the hours `deleteWhen` or when more than
//! `diskMaxUsedSpaceRatio` of the disk is used; above `diskSpaceCleanForciblyRatio` those that have
//! not expired, too, one by one until there is room. Where consumers stand does not matter. A file that holds
//! dead letters has expired no sooner than `deadLetterReservedTime` after it was written last: they wait for
//! people, and the files are all topics' together.
//!
//! **In which order.** A file goes from the log only when the watermark says that its bytes and their
//! units are durable: a recovery never asks for it again. Then the queues' minima are corrected, then
//! queue and index files go that point at nothing any more. A crash in between leaves units and
//! entries that point below the log; a start corrects the minima, and the files go then.
//!
//! **Full.** Above `diskSpaceWarningLevelRatio` writes are refused (DISK_FULL) until there is room.
//!
//! **When.** While there is something to do every `cleanResourceInterval` as in 4.9, else every sixth
//! time, and whenever the log gets another file: an idle store costs next to nothing.

mod delete_when;
mod disk_usage;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mq_env::Env;
use mq_env::probe::Event;
use mq_env::task::TaskGroup;
use mq_mapped_file::Retired;
use mq_protocol::message::DLQ_GROUP_TOPIC_PREFIX;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::commit_log::{CommitLog, OldestFile};
use crate::config::StoreConfig;
use crate::consume_queue_store::ConsumeQueueStore;
use crate::index_service::IndexService;
use crate::live::Live;
use crate::marks::Marks;
use crate::plant::{Plant, planted_on_this_thread};
use crate::running_flags::{Refusal, RunningFlags};

use delete_when::DeleteWhen;
use disk_usage::DiskUsage;
pub use disk_usage::used_percent;

/// Nothing is removed before a store has run so long.
const FIRST_PASS_AFTER: Duration = Duration::from_secs(60);
/// At most so many CommitLog files go in one pass.
const DELETE_FILES_BATCH_MAX: u32 = 10;
/// So many passes an operator's request stands for.
const MANUAL_PASSES: u32 = 20;
/// A store with nothing to remove leaves so many passes out.
const QUIET_FACTOR: u32 = 6;
const HOUR_MS: u64 = 3_600_000;

/// Removes files. [`CleanService::run`] is its only task.
pub(crate) struct CleanService {
    env: Env,
    config: Arc<Live<StoreConfig>>,
    flags: Arc<RunningFlags>,
    log: Arc<CommitLog>,
    queues: Arc<ConsumeQueueStore>,
    index: Arc<IndexService>,
    marks: Arc<Marks>,
    manual_passes: AtomicU32,
    queues_wanted: AtomicBool,
    wanted: Notify,
}

/// Where the task stands.
struct Progress {
    started: Instant,
    /// A file that is out of the log and still in the directory.
    hanging: Option<Hanging>,
    /// The minimum of the log that queues and index were cleaned for.
    cleaned_to: u64,
}

struct Hanging {
    file: OldestFile,
    since: Instant,
    tried: Instant,
    reason: &'static str,
}

impl CleanService {
    pub(crate) fn new(
        env: Env,
        config: Arc<Live<StoreConfig>>,
        flags: Arc<RunningFlags>,
        marks: Arc<Marks>,
    ) -> Self {
        CleanService {
            env,
            config,
            flags,
            log: Arc::clone(&marks.log),
            queues: Arc::clone(&marks.queues),
            index: Arc::clone(&marks.index),
            marks,
            manual_passes: AtomicU32::new(0),
            queues_wanted: AtomicBool::new(false),
            wanted: Notify::new(),
        }
    }

    /// Has what has expired removed at the next passes, whatever the hour (RocketMQ 4.9
    /// `executeDeleteFilesManually`).
    pub(crate) fn delete_manually(&self) {
        self.manual_passes.store(MANUAL_PASSES, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    /// Has the files of queues and index removed that point at nothing any more, now and whatever the age of the store.
    pub(crate) fn clean_queues(&self) {
        self.queues_wanted.store(true, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    /// Has the next pass done now: the settings are others.
    pub(crate) fn look_again(&self) {
        self.wanted.notify_one();
    }

    /// Works until the group is cancelled.
    pub(crate) async fn run(self: Arc<Self>, tasks: TaskGroup) {
        let mut progress = Progress { started: Instant::now(), hanging: None, cleaned_to: 0 };
        loop {
            let mut usage = self.look_at_disk();
            let is_manual = self.take_manual_pass();
            if self.queues_wanted.swap(false, Ordering::Relaxed) {
                self.clean_behind(&mut progress, self.log.min_offset(), &tasks).await;
            }
            if is_manual || progress.started.elapsed() >= FIRST_PASS_AFTER {
                self.clean(&mut progress, &usage, is_manual, &tasks).await;
                usage = self.look_at_disk();
            }
            mq_env::select! {
                () = tasks.cancelled() => return,
                () = tokio::time::sleep_until(self.next_pass(&progress, &usage)) => {}
                () = self.log.rolled() => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Sees how full the disk is, and refuses writes or takes them again.
    fn look_at_disk(&self) -> DiskUsage {
        let usage = DiskUsage::of(&*self.env.disk, &self.config.get());
        let used_percent = usage.worst();
        let changed = if usage.is_full() {
            self.flags.set(Refusal::DiskFull)
        } else if planted_on_this_thread(Plant::FullForEver) {
            false
        } else {
            self.flags.clear(Refusal::DiskFull)
        };
        if changed {
            let full = usage.is_full();
            if full {
                tracing::error!(used_percent, "disk full: the store refuses writes");
            } else {
                tracing::info!(used_percent, "disk space again: the store takes writes");
            }
            self.env.probe.emit(&Event::DiskFull { full, used_percent });
        }
        usage
    }

    fn take_manual_pass(&self) -> bool {
        let taken =
            self.manual_passes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |passes| passes.checked_sub(1));
        taken.is_ok()
    }

    /// When to look again.
    fn next_pass(&self, progress: &Progress, usage: &DiskUsage) -> Instant {
        let now = Instant::now();
        let interval = Duration::from_millis(self.config.get().clean_resource_interval_ms.max(1));
        let is_busy = usage.is_near()
            || self.manual_passes.load(Ordering::Relaxed) > 0
            || self.is_time() && self.may_expire();
        let due = now + if is_busy { interval } else { interval * QUIET_FACTOR };
        let redelete = Duration::from_millis(self.config.get().redelete_hanged_file_interval_ms);
        let hanging_due = progress.hanging.as_ref().map(|hanging| hanging.tried + redelete);
        let first_pass = Some(progress.started + FIRST_PASS_AFTER).filter(|first| *first > now);
        [hanging_due, first_pass].into_iter().flatten().fold(due, Instant::min)
    }

    /// Whether it is an hour at which expired files go.
    fn is_time(&self) -> bool {
        DeleteWhen::parse(&self.config.get().delete_when).is_time(&*self.env.clock)
    }

    /// Whether there is a file that could go for its age.
    fn may_expire(&self) -> bool {
        self.log
            .oldest_file()
            .is_ok_and(|oldest| oldest.is_some_and(|oldest| self.is_expired(&oldest)))
    }

    async fn clean(
        &self,
        progress: &mut Progress,
        usage: &DiskUsage,
        is_manual: bool,
        tasks: &TaskGroup,
    ) {
        self.retry_hanging(progress).await;
        if is_manual || usage.is_over() || self.is_time() {
            self.delete_log_files(progress, tasks).await;
        }
        let min_offset = self.log.min_offset();
        if min_offset > progress.cleaned_to {
            self.clean_behind(progress, min_offset, tasks).await;
        }
    }

    async fn clean_behind(&self, progress: &mut Progress, min_offset: u64, tasks: &TaskGroup) {
        match self.clean_queues_and_index(min_offset, tasks).await {
            Ok(()) => progress.cleaned_to = min_offset,
            Err(error) => tracing::warn!(%error, "queue or index files were not removed"),
        }
    }

    async fn delete_log_files(&self, progress: &mut Progress, tasks: &TaskGroup) {
        for nth in 0..DELETE_FILES_BATCH_MAX {
            if progress.hanging.is_some() || tasks.is_cancelled() {
                return;
            }
            let Some(oldest) = self.removable_file().await else { return };
            let is_one_more = nth == 1 && planted_on_this_thread(Plant::ExpiresOneMore);
            let reason = if self.is_expired(&oldest) || is_one_more {
                "older than fileReservedTime"
            } else if self.config.get().clean_file_forcibly_enable
                && self.look_at_disk().is_forced()
            {
                "more is used than diskSpaceCleanForciblyRatio"
            } else {
                return;
            };
            let removed = self.log.delete_oldest(&oldest).await;
            self.note(progress, removed, oldest, reason, None);
            let pause = self.config.get().delete_commit_log_files_interval_ms;
            if self.pause(pause, tasks).await.is_err() {
                return;
            }
        }
    }

    /// The oldest file, if no recovery will ask for it.
    async fn removable_file(&self) -> Option<OldestFile> {
        let end = self.oldest_file()?.end;
        let durable_end = || {
            let mark = self.marks.durable.mark();
            mark.log_end.min(mark.logics_end)
        };
        if durable_end() < end {
            self.marks.flush_all_queues().await;
        }
        // Its age is asked for afterwards: writes to a mapped file may show in its time only once
        // they are synced.
        if end <= durable_end() {
            self.oldest_file().filter(|oldest| oldest.end == end)
        } else {
            None
        }
    }

    fn oldest_file(&self) -> Option<OldestFile> {
        self.log.oldest_file().unwrap_or_else(|error| {
            tracing::warn!(%error, "the age of the oldest CommitLog file cannot be told");
            None
        })
    }

    fn is_expired(&self, file: &OldestFile) -> bool {
        let config = self.config.get();
        // DLedger keeps its files for an hour more.
        let reserved_hours = config.file_reserved_time_hours;
        let reserved_hours = reserved_hours.saturating_add(u64::from(self.log.is_agreed()));
        self.is_older(file, reserved_hours)
            && (self.is_older(file, config.dead_letter_reserved_time_hours)
                || !self.queues.begin_within(DLQ_GROUP_TOPIC_PREFIX, file.from..file.end))
    }

    fn is_older(&self, file: &OldestFile, hours: u64) -> bool {
        let reserved_ms = hours.saturating_mul(HOUR_MS);
        self.env.clock.now_millis() >= file.modified_ms.saturating_add(reserved_ms)
    }

    /// Tries a file again that was held.
    async fn retry_hanging(&self, progress: &mut Progress) {
        let Some(hanging) = progress.hanging.take() else { return };
        if !self.log.has_retired() {
            return; // The log began anew meanwhile.
        }
        let redelete = Duration::from_millis(self.config.get().redelete_hanged_file_interval_ms);
        if hanging.tried.elapsed() < redelete {
            progress.hanging = Some(hanging);
            return;
        }
        let patience =
            Duration::from_millis(self.config.get().destroy_mapped_file_interval_forcibly_ms);
        let removed = self.log.remove_retired(hanging.since.elapsed() >= patience).await;
        self.note(progress, removed, hanging.file, hanging.reason, Some(hanging.since));
    }

    /// Writes down what became of a file's removal.
    fn note(
        &self,
        progress: &mut Progress,
        removed: io::Result<Retired>,
        file: OldestFile,
        reason: &'static str,
        since: Option<Instant>,
    ) {
        let path = file.path.display();
        match removed {
            Ok(Retired::Gone) => {
                tracing::info!(%path, reason, "CommitLog file removed");
                self.report(&path.to_string(), reason);
                return;
            }
            Ok(Retired::Pinned) => tracing::warn!(%path, "expired file is still being read"),
            Err(error) => tracing::warn!(%path, %error, "expired file cannot be removed"),
        }
        let now = Instant::now();
        assert!(file.from < file.end, "a file has bytes");
        progress.hanging = Some(Hanging { file, since: since.unwrap_or(now), tried: now, reason });
    }

    async fn clean_queues_and_index(
        &self,
        min_phy_offset: u64,
        tasks: &TaskGroup,
    ) -> io::Result<()> {
        const REASON: &str = "its messages have expired";
        for queue in self.queues.all() {
            if !self.config.get().planted(Plant::QueueMinimumNotMoved) {
                queue.correct_min_offset(min_phy_offset);
            }
            let expired = {
                let _flushing = self.queues.lock_flushing().await;
                // Its topic may have been deleted, and be there again with files of the same names.
                let present = self.queues.find(queue.topic(), queue.queue_id());
                if !present.is_some_and(|present| Arc::ptr_eq(&present, &queue)) {
                    continue;
                }
                let expired: Vec<_> =
                    std::iter::from_fn(|| queue.retire_first_below(min_phy_offset)).collect();
                queue.remove_retired().await?;
                expired
            };
            for file in &expired {
                self.report(&file.display().to_string(), REASON);
            }
            let pause = self.config.get().delete_consume_queue_files_interval_ms;
            if !expired.is_empty() && self.pause(pause, tasks).await.is_err() {
                return Ok(());
            }
        }
        let watermark = self.marks.durable.mark().index;
        for file in self.index.delete_expired(min_phy_offset, watermark).await? {
            self.report(&file.display().to_string(), REASON);
        }
        Ok(())
    }

    /// Waits; an error when the group is cancelled.
    async fn pause(&self, pause_ms: u64, tasks: &TaskGroup) -> Result<(), ()> {
        mq_env::select! {
            () = tasks.cancelled() => Err(()),
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => Ok(()),
        }
    }

    fn report(&self, file: &str, reason: &str) {
        self.env.probe.emit(&Event::Expired { file, reason });
    }
}
