//! [`MessageStore`]: everything under `storePathRootDir` (RocketMQ 4.9 `DefaultMessageStore`).
//!
//! [`MessageStore::open`] locks, recovers and catches up before it returns; from then on puts and
//! reads are served and the services run. [`MessageStore::shutdown`] makes everything durable. A
//! store that is dropped instead is a killed one: nothing is lost but what the page cache loses.
//!
//! `put` holds the put path, `get` and `query` the reads, `open` start-up, `role` the change between master
//! and slave, `truncate` what a slave does to its log, `delete_topic` what ends a topic.

mod delete_topic;
mod get;
mod open;
mod put;
mod query;
mod role;
mod truncate;

pub use put::{PutFuture, WaitingPut};
pub use query::QueryMessageResult;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use mq_env::disk::{Disk, FileLock};
use mq_env::task::TaskGroup;
use mq_env::{BoxFuture, Env};

use crate::commit_log::{CommitLog, ConsensusLog, GroupCommitService};
use crate::config::StoreConfig;
use crate::consume_queue_store::ConsumeQueueStore;
use crate::dispatch::{MessageArrivingListener, ReputMessageService};
use crate::durable_mark::Mark;
use crate::error::StoreError;
use crate::index_service::IndexService;
use crate::live::Live;
use crate::marks::Marks;
use crate::recovery::RecoveryReport;
use crate::replica_gate::{ReplicaGate, ReplicaWait};
use crate::retention::CleanService;
use crate::role::RoleWatch;
use crate::running_flags::{Refusal, RunningFlags};
use crate::stats::StoreStats;
use crate::sync::lock;

/// Opens the log of a consensus group.
pub type OpenConsensusLog =
    Box<dyn FnOnce() -> BoxFuture<'static, Result<Arc<dyn ConsensusLog>, StoreError>> + Send>;

/// The store of one broker.
pub struct MessageStore {
    env: Env,
    config: Arc<StoreConfig>,
    live: Arc<Live<StoreConfig>>,
    pub(crate) tasks: TaskGroup,
    flags: Arc<RunningFlags>,
    role: RoleWatch,
    /// Held while the role changes.
    role_changing: tokio::sync::Mutex<()>,
    /// Held by whoever appends what a master sends.
    following: tokio::sync::Mutex<()>,
    pub(crate) log: Arc<CommitLog>,
    queues: Arc<ConsumeQueueStore>,
    index: Arc<IndexService>,
    dispatcher: Arc<ReputMessageService>,
    group_commit: Arc<GroupCommitService>,
    pub(crate) marks: Arc<Marks>,
    cleaner: Arc<CleanService>,
    replica_gate: ReplicaGate,
    stats: Arc<StoreStats>,
    file_lock: Mutex<Option<FileLock>>,
    recovery: OnceLock<RecoveryReport>,
}

impl MessageStore {
    /// Opens the store of `config`, recovers it, and starts its services on a child of `env`'s task
    /// group.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it, [`StoreError::Damaged`] when durable
    /// bytes are gone, and what the disk says.
    pub fn open(
        env: Env,
        config: Arc<StoreConfig>,
    ) -> BoxFuture<'static, Result<Arc<Self>, StoreError>> {
        let role = RoleWatch::new(config.broker_role);
        Box::pin(open::open(env, config, role, None))
    }

    /// Whether a start would refuse what lies in the directory of `config`, as far as that shows without a look at what the
    /// log holds. Changes nothing; but for an instant it holds the lock, where there is one.
    ///
    /// # Errors
    /// Why a start is refused.
    pub fn preflight(disk: &Arc<dyn Disk>, config: &StoreConfig) -> Result<(), StoreError> {
        open::preflight(disk, config)
    }

    /// As [`MessageStore::open_as`], with the log of a consensus group: `open_log` opens it once the directory is
    /// locked, and the store ends it.
    ///
    /// # Errors
    /// As there, and what keeps the group's log from being opened.
    ///
    /// # Panics
    /// When the settings name no group.
    pub fn open_agreed(
        env: Env,
        config: Arc<StoreConfig>,
        role: RoleWatch,
        open_log: OpenConsensusLog,
    ) -> BoxFuture<'static, Result<Arc<Self>, StoreError>> {
        Box::pin(open::open(env, config, role, Some(open_log)))
    }

    /// As [`MessageStore::open`], for those who need to follow the role before the store is open. From
    /// now on the store changes it.
    ///
    /// # Errors
    /// As there.
    pub fn open_as(
        env: Env,
        config: Arc<StoreConfig>,
        role: RoleWatch,
    ) -> BoxFuture<'static, Result<Arc<Self>, StoreError>> {
        Box::pin(open::open(env, config, role, None))
    }

    /// The settings in force: see [`MessageStore::set_live_config`].
    #[must_use]
    pub fn live_config(&self) -> Arc<StoreConfig> {
        self.live.get()
    }

    /// Takes over what of `config` may change while the store runs: what it says of retention and of disk usage, of the
    /// sizes of messages and of what one read hands out. The rest is obeyed as it was when the store was opened.
    pub fn set_live_config(&self, config: StoreConfig) {
        self.live.set(Arc::new(config));
        self.cleaner.look_again();
    }

    /// The settings that the store was opened with.
    #[must_use]
    pub fn config(&self) -> &Arc<StoreConfig> {
        &self.config
    }

    /// The CommitLog.
    #[must_use]
    pub fn commit_log(&self) -> &Arc<CommitLog> {
        &self.log
    }

    /// What the start made of what it found.
    #[must_use]
    pub fn recovery(&self) -> RecoveryReport {
        self.recovery.get().cloned().unwrap_or_default()
    }

    /// The ConsumeQueues.
    #[must_use]
    pub fn consume_queues(&self) -> &Arc<ConsumeQueueStore> {
        &self.queues
    }

    /// What was put and read since the store was opened.
    #[must_use]
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// Lets replication answer the puts of a SYNC_MASTER. Without it they are answered
    /// SLAVE_NOT_AVAILABLE. The first call stays.
    pub fn set_replica_wait(&self, wait: ReplicaWait) {
        self.replica_gate.set(wait);
    }

    /// Sets who is told of messages that become visible on a master. The first call stays.
    pub fn set_message_arriving_listener(&self, listener: MessageArrivingListener) {
        self.dispatcher.set_listener(listener);
    }

    /// Whether puts are taken: not after a failed sync, not while the disk is full or ConsumeQueues
    /// cannot be written, not during shutdown, not when an operator said so.
    #[must_use]
    pub fn is_writeable(&self) -> bool {
        self.flags.is_writeable()
    }

    /// What only a restart ends: the sync that failed, when, and how it goes on.
    #[must_use]
    pub fn sync_failure(&self) -> Option<&str> {
        self.flags.sync_failure()
    }

    /// Refuses or takes puts, as an operator says.
    pub fn set_writeable(&self, is_writeable: bool) {
        if is_writeable {
            self.flags.clear(Refusal::Operator);
        } else {
            self.flags.set(Refusal::Operator);
        }
    }

    /// Removes expired files whatever the hour is (RocketMQ 4.9 `executeDeleteFilesManually`).
    pub fn execute_delete_files_manually(&self) {
        self.cleaner.delete_manually();
    }

    /// Removes the files of queues and index whose messages have expired. Queues go on where they are, where RocketMQ 4.9
    /// (`cleanExpiredConsumerQueue`) takes a queue of which nothing is left away, whose next message has queue offset 0 then,
    /// behind what every group has consumed.
    pub fn clean_expired_consume_queues(&self) {
        self.cleaner.clean_queues();
    }

    /// Up to where the CommitLog and the ConsumeQueues are written down as durable.
    #[must_use]
    pub fn durable_mark(&self) -> Mark {
        self.marks.durable.mark()
    }

    /// Physical offset up to which records are visible to consumers.
    #[must_use]
    pub fn dispatched_offset(&self) -> u64 {
        self.dispatcher.progress().reput_from_offset
    }

    /// Bytes of the CommitLog that are not dispatched yet (RocketMQ 4.9 `dispatchBehindBytes`).
    #[must_use]
    pub fn dispatch_behind_bytes(&self) -> u64 {
        self.log.max_offset().saturating_sub(self.dispatched_offset())
    }

    /// Syncs the CommitLog; whether all of it is durable then.
    pub fn flush(self: &Arc<Self>) -> BoxFuture<'static, bool> {
        let store = Arc::clone(self);
        Box::pin(async move {
            store.log.commit(0);
            store.log.flush(0).await.is_ok()
        })
    }

    /// Stops the services, makes everything durable and lets go of the lock. The mark of an unclean
    /// end stays when something is not durable. A second call does nothing.
    pub fn shutdown(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        let store = Arc::clone(self);
        Box::pin(async move { store.close().await })
    }

    async fn close(&self) {
        if !self.flags.set(Refusal::Shutdown) {
            return;
        }
        let _changing = self.role_changing.lock().await;
        self.tasks.shutdown().await;
        self.log.commit(0);
        let is_flushed = self.log.flush(0).await.is_ok();
        self.group_commit.complete();
        // What could not be synced now never will be by this process.
        self.group_commit.cut(0);
        self.log.remove_ahead().await;
        let is_dispatched = self.dispatcher.catch_up().await.is_ok();
        self.marks.write_watermark().await;
        self.marks.flush_finally().await;
        let is_ended = match &self.log.consensus {
            Some(consensus) => consensus.shutdown().await,
            None => true,
        };
        let is_suspect = self.queues.is_suspect() || self.index.is_suspect();
        let is_clean = is_flushed && is_dispatched && is_ended && !is_suspect;
        if is_clean && let Err(error) = self.remove_abort_file().await {
            tracing::warn!(%error, "the abort file stays");
        }
        lock(&self.file_lock).take();
    }

    async fn remove_abort_file(&self) -> std::io::Result<()> {
        self.env.disk.remove(&abort_file(&self.config))?;
        self.env.disk.sync(&self.config.store_path_root_dir).await
    }
}

/// Exists while the store runs.
fn abort_file(config: &StoreConfig) -> PathBuf {
    config.store_path_root_dir.join("abort")
}
