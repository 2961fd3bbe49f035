//! [`CommitLog`]: the one append-only file sequence of a broker.
//!
//! Positions, all physical offsets in bytes: `min_offset <= flushed_offset <= max_offset`. Bytes
//! below `max_offset` are readable and survive the death of the process; below `flushed_offset` they
//! survive a power loss. Dispatch, replication and waiting puts follow both ends, so that they wake on
//! work. With a transient store pool (`commit`) records are appended above `max_offset`.
//!
//! A failed sync is final: the log is *poisoned*, `flushed_offset` never moves again in this
//! process, and the store refuses writes. `append` holds the put path, `flush`, `commit` and `allocate`
//! the services, `expire` what removes the oldest files, `recover` the start-up with `log_bytes` and
//! `walk`, `replica` what replication needs, `cut` what ends the log earlier, `consensus` a log that a DLedger group keeps.
//!
//! Java origin: `CommitLog` of RocketMQ 4.9.

mod allocate;
mod append;
mod commit;
mod consensus;
mod cut;
mod expire;
mod flush;
pub(crate) mod log_bytes;
mod recover;
mod replica;
pub(crate) mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use mq_env::Env;
use mq_env::probe::Event;
use mq_mapped_file::{FlushError, MappedFile, MappedFileQueue, SelectedBuffer};
use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::{StoreConfig, UpstreamSwitch};
use crate::damage::{Damage, DamagedRange};
use crate::error::StoreError;
use crate::index_service::local_time;
use crate::log_end::{LogEnd, LogEndWatch};
use crate::plant::Plant;
use crate::role::RoleWatch;
use crate::running_flags::{Refusal, RunningFlags};
use crate::stats::{LatencyCounts, LatencyHistogram};
use crate::sync::lock;
use crate::topic_queue_table::TopicQueueTable;

use allocate::AheadTrigger;
use commit::Transient;

pub(crate) use allocate::AllocateMappedFileService;
pub(crate) use append::counts_in_queue;
pub(crate) use commit::CommitRealTimeService;
pub use consensus::{ConsensusEnds, ConsensusLog, OnAppend};
pub(crate) use expire::OldestFile;
pub(crate) use flush::{FlushRealTimeService, GroupCommitService};
pub(crate) use recover::{LookedLog, RecoveredLog};
pub(crate) use walk::RecoverFrom;

/// The CommitLog of a store.
pub struct CommitLog {
    env: Env,
    config: Arc<StoreConfig>,
    flags: Arc<RunningFlags>,
    role: RoleWatch,
    queue: Arc<MappedFileQueue>,
    /// Who keeps the files, if this store does not.
    pub(crate) consensus: Option<Arc<dyn ConsensusLog>>,
    /// Held by whoever follows it.
    following: Mutex<()>,
    pub(crate) damage: Damage,
    pub(crate) put_side: PutSide,
    max_offset: LogEnd,
    flushed_offset: LogEnd,
    /// Woken by new files: the clean service waits on it.
    rolled: Notify,
    /// Wakes whoever makes the next file.
    pub(crate) ahead_trigger: AheadTrigger,
    /// The transient store pool, if there is one.
    transient: Option<Transient>,
    /// Held by whoever moves the flushed end: flush services, truncation.
    flushing: tokio::sync::Mutex<()>,
    flush_latency: LatencyHistogram,
    /// The last sync could not be attempted.
    is_sync_postponed: AtomicBool,
}

/// What every put writes. It has cache lines of its own: who reads the log's other parts on another
/// core is not held up by puts.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct PutSide {
    /// The put lock.
    state: Mutex<PutState>,
    /// Wall clock in milliseconds at which the put lock was taken; 0 while nobody holds it.
    pub(crate) locked_since_ms: AtomicU64,
    /// Woken by appends: the flush service waits on it.
    appended: Notify,
}

/// What the put lock guards.
#[derive(Default)]
pub(crate) struct PutState {
    /// The queue offsets that go with appending.
    table: TopicQueueTable,
    /// The log's last file, once something was put there.
    last: Option<Arc<MappedFile>>,
}

impl PutState {
    /// Begins a topic's queues anew.
    pub(crate) fn forget(&mut self, topic: &str) {
        self.table.forget(topic);
    }

    /// Goes on with these queue offsets, and with whatever file is the last one by now.
    pub(crate) fn reset(&mut self, table: TopicQueueTable) {
        *self = PutState { table, last: None };
    }
}

impl CommitLog {
    /// An empty log over the configured directory; recovery fills it.
    pub(crate) fn new(
        env: Env,
        config: Arc<StoreConfig>,
        flags: Arc<RunningFlags>,
        role: RoleWatch,
        consensus: Option<Arc<dyn ConsensusLog>>,
    ) -> Self {
        let flush_errors_as_done = config.upstream(UpstreamSwitch::FlushErrorCountsAsDone)
            || config.planted(Plant::SyncedOnFlushError);
        let transient = Transient::of(&config).filter(|_| consensus.is_none());
        let own_queue = || {
            let queue = MappedFileQueue::new(
                Arc::clone(&env.disk),
                &config.store_path_root_dir,
                config.commit_log_dir(),
                config.mapped_file_size_commit_log,
            )
            .with_flush_errors_as_done(flush_errors_as_done)
            .with_transient_store_pool(transient.as_ref().map(|it| Arc::clone(&it.pool)));
            queue.lend_buffers(role.is_master());
            Arc::new(queue)
        };
        let queue = consensus.as_ref().map_or_else(own_queue, |it| Arc::clone(it.data()));
        let damaged = config.store_path_root_dir.join("damaged.json");
        CommitLog {
            damage: Damage::new(Arc::clone(&env.disk), damaged),
            env,
            config,
            flags,
            role,
            queue,
            consensus,
            following: Mutex::default(),
            put_side: PutSide::default(),
            max_offset: LogEnd::default(),
            flushed_offset: LogEnd::default(),
            rolled: Notify::new(),
            ahead_trigger: AheadTrigger::new(),
            transient,
            flushing: tokio::sync::Mutex::new(()),
            flush_latency: LatencyHistogram::default(),
            is_sync_postponed: AtomicBool::new(false),
        }
    }

    /// The store's settings.
    pub(crate) fn config(&self) -> Arc<StoreConfig> {
        Arc::clone(&self.config)
    }

    /// Offset of the oldest byte; 0 without files.
    #[must_use]
    pub fn min_offset(&self) -> u64 {
        self.queue.min_offset().unwrap_or(0)
    }

    /// Offset behind the newest readable byte.
    #[must_use]
    pub fn max_offset(&self) -> u64 {
        self.max_offset.get()
    }

    /// Everything below survives a power loss.
    #[must_use]
    pub fn flushed_offset(&self) -> u64 {
        self.flushed_offset.get()
    }

    /// Follows [`CommitLog::max_offset`]; truncation lowers it.
    #[must_use]
    pub fn watch_max_offset(&self) -> LogEndWatch {
        self.max_offset.watch()
    }

    /// Follows [`CommitLog::flushed_offset`]; truncation lowers it.
    #[must_use]
    pub fn watch_flushed_offset(&self) -> LogEndWatch {
        self.flushed_offset.watch()
    }

    /// Size of each file in bytes.
    #[must_use]
    pub fn file_size(&self) -> usize {
        self.queue.file_size()
    }

    /// The file that contains `phy_offset`.
    #[must_use]
    pub fn file_path(&self, phy_offset: u64) -> Option<PathBuf> {
        self.queue.find(phy_offset).map(|file| file.path().to_path_buf())
    }

    /// Everything readable from `phy_offset` on in the file that contains it; nothing at or beyond
    /// the end, or below the start (RocketMQ 4.9 `CommitLog.getData`).
    #[must_use]
    pub fn data(&self, phy_offset: u64) -> Option<SelectedBuffer> {
        let data = self.queue.select_from(phy_offset)?;
        if !self.is_agreed() {
            return Some(data);
        }
        // What is not committed may be cut.
        let readable = self.max_offset().checked_sub(phy_offset).filter(|it| *it > 0)?;
        Some(data.truncated(usize::try_from(readable).unwrap_or(usize::MAX)))
    }

    /// Damaged ranges that recovery passed over. Readers leave them out.
    #[must_use]
    pub fn damaged_ranges(&self) -> Vec<DamagedRange> {
        self.damage.ranges()
    }

    /// The `size` bytes at `phy_offset`, if they are readable and lie in one file.
    #[must_use]
    pub fn message(&self, phy_offset: u64, size: usize) -> Option<SelectedBuffer> {
        let message = self.queue.select(phy_offset, size)?;
        let is_readable = !self.is_agreed() || phy_offset + size as u64 <= self.max_offset();
        is_readable.then_some(message)
    }

    /// Whether a sync failed: nothing is written any more, and the flushed end is final.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.flags.has(Refusal::SyncFailed)
    }

    /// Whether a blank lies at `phy_offset` and reaches to the end of its file.
    pub(crate) fn is_blank(&self, phy_offset: u64) -> bool {
        assert!(!self.is_agreed(), "entries have another blank");
        let Some(file) = self.queue.find(phy_offset) else { return false };
        let rest = file.raw(self.queue.position(phy_offset)..file.file_size());
        let found = check_record(rest, &RecordRules::upstream(false));
        matches!(found, RecordCheck::Blank { size } if size as usize == rest.len())
    }

    /// Whether a walk over the log may begin at `phy_offset`: a record, a blank or known damage begins
    /// there, or there is nothing before or behind it.
    pub(crate) fn is_boundary(&self, phy_offset: u64) -> bool {
        if phy_offset <= self.min_offset() || phy_offset >= self.max_offset() {
            return true;
        }
        let is_whole = self.data(phy_offset).is_some_and(|data| {
            let (_, found) = self.check_at(&data, phy_offset);
            matches!(found, RecordCheck::Valid(_) | RecordCheck::Blank { .. })
        });
        is_whole || self.damage.end_of(phy_offset).is_some()
    }

    /// Whether the record that begins at `phy_offset`, if one does, fails its checks, and no start knows of
    /// it yet.
    pub(crate) fn is_newly_damaged(&self, phy_offset: u64) -> bool {
        let is_torn = |found: RecordCheck<'_>| matches!(found, RecordCheck::Torn(_));
        let found = self.checked(phy_offset, &RecordRules::strict(phy_offset as i64), is_torn);
        found.unwrap_or(false) && self.damage.end_of(phy_offset).is_none()
    }

    /// End of the record that begins at `phy_offset`, if it passes all its checks.
    pub(crate) fn sound_record_end(&self, phy_offset: u64) -> Option<u64> {
        let end = |found: RecordCheck<'_>| match found {
            RecordCheck::Valid(record) => Some(phy_offset + record.size() as u64),
            _ => None,
        };
        self.checked(phy_offset, &RecordRules::strict(phy_offset as i64), end)?
    }

    /// What `judge` makes of what is readable at `phy_offset`; nothing where nothing is.
    fn checked<T>(
        &self,
        phy_offset: u64,
        rules: &RecordRules,
        judge: impl FnOnce(RecordCheck<'_>) -> T,
    ) -> Option<T> {
        self.data(phy_offset).map(|data| judge(check_record(&data, rules)))
    }

    /// Start of the file in which `phy_offset` lies or would lie.
    pub(crate) fn file_start(&self, phy_offset: u64) -> u64 {
        let start = phy_offset - self.queue.position(phy_offset) as u64;
        assert!(start <= phy_offset && phy_offset - start < self.queue.file_size() as u64);
        start
    }

    /// Start of the file behind the one that contains `phy_offset` (RocketMQ 4.9 `rollNextFile`).
    #[must_use]
    pub fn roll_next_file(&self, phy_offset: u64) -> u64 {
        self.file_start(phy_offset) + self.queue.file_size() as u64
    }

    /// Syncs what was appended so far; with `least_pages` above 0 only if so many pages are dirty
    /// or a file is full.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] after a failed sync, [`StoreError::Flush`] for the one that fails. One
    /// that could not be attempted poisons nothing.
    pub(crate) async fn flush(&self, least_pages: usize) -> Result<(), StoreError> {
        if let Some(consensus) = &self.consensus {
            return self.sync_agreed(&**consensus).await;
        }
        let _flushing = self.flushing.lock().await;
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        let begun = Instant::now();
        match self.queue.flush(least_pages).await {
            Ok(synced) => {
                if !synced.is_empty() {
                    self.flush_latency.record(begun.elapsed());
                }
                self.publish_flushed();
                if self.is_sync_postponed.swap(false, Ordering::AcqRel) {
                    tracing::info!(
                        flushed = self.flushed_offset(),
                        "the CommitLog is synced again"
                    );
                }
                Ok(())
            }
            Err(error) => {
                // Whole files before the failed one may have been synced.
                self.publish_flushed();
                if error.is_final() {
                    self.poison(&error);
                } else if !self.is_sync_postponed.swap(true, Ordering::AcqRel) {
                    tracing::warn!(%error, "the CommitLog cannot be synced now; tried again");
                }
                Err(error.into())
            }
        }
    }

    /// How long the syncs took that succeeded. Of a group's log it counts none: the group's node syncs that.
    #[must_use]
    pub fn flush_latency(&self) -> LatencyCounts {
        self.flush_latency.counts()
    }

    /// Whether bytes wait for a sync that may still succeed.
    pub(crate) fn is_dirty(&self) -> bool {
        self.flushed_offset() < self.max_offset() && !self.is_poisoned()
    }

    /// Whether a flush with `least_pages` would do something.
    pub(crate) fn is_able_to_flush(&self, least_pages: usize) -> bool {
        self.queue.is_able_to_flush(least_pages) && !self.is_poisoned()
    }

    /// Resolves after something was appended; one waiter.
    pub(crate) async fn appended(&self) {
        self.put_side.appended.notified().await;
    }

    /// Resolves after a file was added; one waiter.
    pub(crate) async fn rolled(&self) {
        self.rolled.notified().await;
    }

    /// The put lock's content.
    pub(crate) fn lock_put(&self) -> MutexGuard<'_, PutState> {
        lock(&self.put_side.state)
    }

    /// Excludes flushes while the flushed end is lowered.
    pub(crate) async fn lock_flushing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.flushing.lock().await
    }

    /// Refuses writes from now on.
    pub(crate) fn poison(&self, error: &FlushError) {
        let FlushError { from, to, .. } = *error;
        assert!(from <= to, "a sync of {from} to {to}");
        let sentence = format!(
            "the disk refused to sync the CommitLog {} ({}) at {}: writes are refused until the broker is \
             started again, reads go on",
            self.dir().display(),
            error.source,
            local_time(&*self.env.clock)
        );
        if self.flags.set_sync_failed(sentence.clone()) {
            tracing::error!(from = error.from, to = error.to, "{sentence}");
            let text = error.source.to_string();
            let (from, to) = (error.from, error.to);
            self.env.probe.emit(&Event::SyncFailed { from, to, error: &text });
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.queue.dir()
    }

    fn publish_max(&self, max_offset: u64) {
        assert!(max_offset <= self.queue.max_offset(), "readable is what was appended");
        self.max_offset.advance_to(max_offset);
        self.put_side.appended.notify_one();
    }

    fn set_flushed(&self, offset: u64) {
        assert!(offset <= self.max_offset(), "what is not in the log is not synced");
        self.queue.set_flushed_where(offset);
        self.flushed_offset.advance_to(offset);
    }

    /// Publishes what is synced of what is published itself: a sync may find bytes whose append has not
    /// told of them yet. The next one publishes those.
    fn publish_flushed(&self) {
        let from = self.flushed_offset();
        assert!(from <= self.max_offset(), "what is not in the log is not synced");
        let to = self.queue.flushed_where().min(self.max_offset());
        if from < to {
            self.flushed_offset.advance_to(to);
            self.env.probe.emit(&Event::Synced { from, to });
        }
        assert!(to >= from, "what is synced stays so: {from} to {to}");
    }

    /// `flushed_offset <= max_offset`, and what is readable was appended. The caller excludes cuts.
    pub(crate) fn assert_positions(&self) {
        // The smaller one first: both may grow meanwhile.
        let flushed = self.flushed_offset();
        let max = self.max_offset();
        let appended = self.queue.max_offset();
        assert!(flushed <= max, "{flushed} synced of {max} readable bytes");
        assert!(max <= appended || self.queue.is_empty(), "{max} readable of {appended}");
    }
}
