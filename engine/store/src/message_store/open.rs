//! Start-up: lock, load, recover, catch up, serve.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use mq_env::Env;
use mq_env::disk::{Disk, FileLock};

use super::{MessageStore, OpenConsensusLog, abort_file};
use crate::checkpoint::StoreCheckpoint;
use crate::commit_log::{
    AllocateMappedFileService, CommitLog, CommitRealTimeService, ConsensusLog,
    FlushRealTimeService, GroupCommitService, LookedLog, RecoverFrom, RecoveredLog,
};
use crate::config::{BrokerRole, FlushDiskType, StoreConfig};
use crate::consume_queue_store::ConsumeQueueStore;
use crate::dispatch::ReputMessageService;
use crate::durable_mark::{DurableMark, Mark};
use crate::error::StoreError;
use crate::index_service::{IndexCut, IndexService, TrustedIndex};
use crate::live::Live;
use crate::marks::Marks;
use crate::plant::Plant;
use crate::preflight::Preflight;
use crate::replica_gate::ReplicaGate;
use crate::retention::CleanService;
use crate::role::RoleWatch;
use crate::running_flags::RunningFlags;
use crate::stats::StoreStats;
use crate::topic_queue_table::TopicQueueTable;

/// See [`MessageStore::open`].
pub(super) async fn open(
    env: Env,
    config: Arc<StoreConfig>,
    role: RoleWatch,
    open_log: Option<OpenConsensusLog>,
) -> Result<Arc<MessageStore>, StoreError> {
    assert_eq!(
        config.dledger.is_some(),
        open_log.is_some(),
        "a group's log is opened by who knows the group"
    );
    let file_lock = lock_root(&env, &config).await?;
    let found = Preflight::look(&env.disk, &config)?;
    let consensus = match open_log {
        Some(open_log) => Some(open_log().await?),
        None => None,
    };
    let opened = open_with(env, config, role, file_lock, &found, consensus.clone()).await;
    if opened.is_err()
        && let Some(consensus) = consensus
    {
        consensus.shutdown().await;
    }
    opened
}

async fn open_with(
    env: Env,
    config: Arc<StoreConfig>,
    role: RoleWatch,
    file_lock: FileLock,
    found: &Preflight,
    consensus: Option<Arc<dyn ConsensusLog>>,
) -> Result<Arc<MessageStore>, StoreError> {
    let flags = Arc::new(RunningFlags::default());
    let is_agreed = consensus.is_some();
    let log = CommitLog::new(
        env.clone(),
        Arc::clone(&config),
        Arc::clone(&flags),
        role.clone(),
        consensus,
    );
    let log = Arc::new(log);
    let looked = if is_agreed { None } else { Some(log.look(found)?) };
    // Whatever refuses a start has done so: from here on files change.
    let root = &config.store_path_root_dir;
    write_once(&*env.disk, &root.join("lock"), b"lock")
        .map_err(StoreError::io("write the lock file"))?;
    let checkpoint = StoreCheckpoint::open(Arc::clone(&env.disk), &root.join("checkpoint"))
        .map_err(StoreError::io("open the checkpoint"))?;
    let (durable, _) = DurableMark::open(Arc::clone(&env.disk), &root.join("durable"))
        .map_err(StoreError::io("open the durable watermark"))?;
    let store = build(env, log, flags, role, checkpoint, durable, file_lock);
    store.recover(found, looked).await?;
    store.mark_running().await?;
    store.start_services();
    Ok(Arc::new(store))
}

/// Creates the root directory and takes its lock.
async fn lock_root(env: &Env, config: &StoreConfig) -> Result<FileLock, StoreError> {
    let root = &config.store_path_root_dir;
    let path = root.join("lock");
    // Once the lock file is there, an earlier start got beyond this.
    if env.disk.stat(&path).is_err() {
        env.disk.create_dir_all(root).map_err(StoreError::io("create the root"))?;
        for dir in root.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
            let synced = env.disk.sync(dir).await;
            synced.map_err(StoreError::io("sync the directories above the root"))?;
        }
    }
    take_lock(&*env.disk, &path)
}

fn take_lock(disk: &dyn Disk, path: &Path) -> Result<FileLock, StoreError> {
    disk.lock(path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked,
        _ => StoreError::Io { what: format!("lock {}", path.display()), source },
    })
}

/// See [`MessageStore::preflight`].
pub(super) fn preflight(disk: &Arc<dyn Disk>, config: &StoreConfig) -> Result<(), StoreError> {
    let path = config.store_path_root_dir.join("lock");
    let _lock = match disk.stat(&path) {
        Ok(_) => Some(take_lock(&**disk, &path)?),
        // No broker has run here.
        Err(_) => None,
    };
    Preflight::look(disk, config).map(drop)
}

fn build(
    env: Env,
    log: Arc<CommitLog>,
    flags: Arc<RunningFlags>,
    role: RoleWatch,
    checkpoint: StoreCheckpoint,
    durable: DurableMark,
    file_lock: FileLock,
) -> MessageStore {
    let config = log.config();
    let live = Arc::new(Live::new(Arc::clone(&config)));
    let queues = Arc::new(ConsumeQueueStore::new(Arc::clone(&env.disk), &config));
    let index = Arc::new(IndexService::new(&env, &config));
    let durable = Arc::new(durable);
    let dispatcher = Arc::new(ReputMessageService::new(
        Arc::clone(&log),
        Arc::clone(&queues),
        Arc::clone(&index),
        Arc::clone(&flags),
        role.clone(),
        env.probe.clone(),
        Arc::clone(&durable),
    ));
    let marks = Arc::new(Marks {
        marking: dispatcher.marking(),
        log: Arc::clone(&log),
        queues: Arc::clone(&queues),
        index: Arc::clone(&index),
        dispatcher: Arc::clone(&dispatcher),
        checkpoint,
        durable,
        config: Arc::clone(&config),
        role: role.clone(),
    });
    MessageStore {
        tasks: env.tasks.child(),
        group_commit: Arc::new(GroupCommitService::new(Arc::clone(&log), &config)),
        cleaner: Arc::new(CleanService::new(
            env.clone(),
            Arc::clone(&live),
            Arc::clone(&flags),
            Arc::clone(&marks),
        )),
        replica_gate: ReplicaGate::default(),
        stats: Arc::new(StoreStats::new(Arc::clone(&env.clock))),
        file_lock: Mutex::new(Some(file_lock)),
        recovery: OnceLock::new(),
        env,
        config,
        live,
        flags,
        role,
        role_changing: tokio::sync::Mutex::default(),
        following: tokio::sync::Mutex::default(),
        log,
        queues,
        index,
        dispatcher,
        marks,
    }
}

impl MessageStore {
    /// Brings log, queues and marks to one state, everything of it durable or dirty.
    async fn recover(
        &self,
        found: &Preflight,
        looked: Option<LookedLog>,
    ) -> Result<(), StoreError> {
        let (from, was_aborted) = (found.from, found.was_aborted);
        self.queues.load(&found.queues)?;
        assert_eq!(self.queues.all().len(), found.queues.len(), "each queue was looked at");
        let recovered = match looked {
            Some(looked) => self.log.recover(looked).await?,
            None => self.log.begin_agreed(),
        };
        let RecoveredLog { walked_from, unsure, mut report } = recovered;
        let end = self.log.max_offset();
        // Units above are not known to be durable: they are made again.
        let trusted_units = match from {
            RecoverFrom::Durable(mark) => mark.logics_end.min(end),
            // Nothing says up to where a group's queues were complete.
            _ if self.log.is_agreed() => 0,
            RecoverFrom::CleanJava { .. } => end,
            RecoverFrom::AbortedJava { .. } => walked_from.min(end),
        };
        let (mut reput_from, rebuilt) = self.recover_queues(from, trusted_units).await?;
        if self.config.planted(Plant::DispatchFromLogEnd) {
            reput_from = end;
        }
        assert!(walked_from <= end && unsure.end == end, "a walk from {walked_from} to {end}");
        assert!(self.log.min_offset() <= end, "a log begins before it ends");
        report.queues_rebuilt = rebuilt;
        let _ = self.recovery.set(report);
        let index_cut = self.load_index(from, was_aborted)?;
        assert!(
            reput_from <= end || self.config.planted(Plant::QueuesNotCut),
            "{reput_from} of {end}"
        );
        let mark = Mark {
            log_end: end,
            logics_end: reput_from,
            units: Some(self.queues.units()),
            index: index_cut.mark(),
        };
        // A store that Java left unclosed has nothing that could claim too much; it stays one until
        // its log is synced.
        if !matches!(from, RecoverFrom::AbortedJava { .. }) {
            self.set_mark(Mark { log_end: unsure.start, ..mark }).await?;
        }
        let synced = async {
            if self.log.is_agreed() { Ok(()) } else { self.log.sync_unsure(unsure).await }
        };
        tokio::try_join!(synced, self.make_visible(index_cut, reput_from, end))?;
        assert_eq!(self.log.flushed_offset(), end, "a start syncs what it found");
        // Where queues went, the sum of their ends is another one.
        let units = mark.units.filter(|_| self.dispatcher.topics_deleted() == 0);
        let mark = Mark { units, ..mark };
        if self.marks.durable.mark() != mark {
            self.set_mark(mark).await?;
        }
        if !self.config.planted(Plant::QueueMinimumNotMoved) {
            self.queues.correct_min_offset(self.log.min_offset());
        }
        let table = self.queues.topic_queue_table();
        let table = self.planted_table(table, self.role.get()).await?;
        self.log.lock_put().reset(table);
        self.log.assert_positions();
        Ok(())
    }

    /// Brings the index to what the queues have, and both to `end`.
    async fn make_visible(
        &self,
        index_cut: IndexCut,
        reput_from: u64,
        end: u64,
    ) -> Result<(), StoreError> {
        let index_change = self.index.apply(index_cut, &self.log);
        let write_index = StoreError::io("write the index");
        self.index.settle(index_change).await.map_err(StoreError::io("cut the index"))?;
        self.dispatcher.index_up_to(reput_from).await.map_err(write_index)?;
        self.dispatcher.pause(|progress| progress.reput_from_offset = reput_from);
        let caught_up = self.dispatcher.catch_up_to(end).await;
        caught_up.map_err(StoreError::io("write a ConsumeQueue"))?;
        let dispatched = self.dispatched_offset();
        assert!(dispatched >= reput_from, "dispatching only goes forward: {dispatched}");
        Ok(())
    }

    /// Writes the watermark.
    async fn set_mark(&self, mark: Mark) -> Result<(), StoreError> {
        assert!(
            mark.log_end <= self.log.flushed_offset(),
            "a mark claims what is synced: {mark:?}"
        );
        let written = self.marks.durable.set(mark).await;
        written.map_err(StoreError::io("write the durable watermark"))
    }

    /// Cuts the queues to the units below `trusted`. Returns where dispatching goes on: at the log's
    /// start, with a reason, when a queue turns out to be missing or short, or ends with a unit that
    /// points at no record's end.
    async fn recover_queues(
        &self,
        from: RecoverFrom,
        trusted: u64,
    ) -> Result<(u64, Option<String>), StoreError> {
        let keeps_all = self.config.planted(Plant::QueuesNotCut);
        let cuts = self.queues.recover(if keeps_all { u64::MAX } else { trusted });
        self.queues.settle(cuts).await?;
        if keeps_all {
            return Ok((self.queues.max_physic_offset(), None));
        }
        let is_whole = match from {
            RecoverFrom::Durable(Mark { units: Some(units), logics_end, .. }) => {
                logics_end > trusted || self.queues.units() == units
            }
            RecoverFrom::Durable(_) => true,
            RecoverFrom::CleanJava { .. } | RecoverFrom::AbortedJava { .. } => {
                self.queues.cover(&self.log, trusted)
            }
        };
        let reput_from = trusted.min(self.queues.max_physic_offset());
        if is_whole && self.log.is_boundary(reput_from) {
            return Ok((reput_from, None));
        }
        tracing::error!("units of ConsumeQueues are missing or wrong: all queues are made again");
        let cuts = self.queues.clear_above(self.log.min_offset());
        self.queues.settle(cuts).await?;
        let reason = format!("units of records below {trusted} are missing or wrong");
        Ok((0, Some(reason)))
    }

    /// What of the index is believed and kept.
    fn load_index(&self, from: RecoverFrom, was_aborted: bool) -> Result<IndexCut, StoreError> {
        let trusted = match from {
            RecoverFrom::Durable(mark) => TrustedIndex::Marked {
                mark: mark.index,
                was_closed: !was_aborted,
                is_safe: self.config.message_index_safe,
            },
            RecoverFrom::CleanJava { .. } => TrustedIndex::Whole,
            RecoverFrom::AbortedJava { .. } => {
                TrustedIndex::Until(self.marks.checkpoint.index_msg_timestamp_ms())
            }
        };
        let loaded = self.index.load(trusted, self.log.max_offset());
        loaded.map_err(StoreError::io("open the index"))
    }

    /// Writes the mark of an unclean end and makes the root's new entries durable.
    async fn mark_running(&self) -> Result<(), StoreError> {
        let (disk, root) = (&*self.env.disk, &self.config.store_path_root_dir);
        write_once(disk, &abort_file(&self.config), b"")
            .map_err(StoreError::io("write the abort file"))?;
        for file in ["checkpoint", "durable"] {
            let synced = disk.sync(&root.join(file)).await;
            synced.map_err(StoreError::io(format!("sync {file}")))?;
        }
        disk.sync(root).await.map_err(StoreError::io("sync the root"))
    }

    fn start_services(&self) {
        let tasks = &self.tasks;
        if self.log.is_agreed() {
            tasks.spawn("consensus log", Arc::clone(&self.log).run_following(tasks.clone()));
        } else {
            self.start_log_services();
        }
        tasks.spawn("reput", Arc::clone(&self.dispatcher).run(tasks.clone()));
        tasks.spawn("watermark", Arc::clone(&self.marks).run_watermark(tasks.clone()));
        let marks = Arc::clone(&self.marks);
        tasks.spawn("flush-consume-queue", marks.run_flush_consume_queue(tasks.clone()));
        tasks.spawn("clean", Arc::clone(&self.cleaner).run(tasks.clone()));
        if self.config.message_index_enable {
            tasks.spawn("flush-index", Arc::clone(&self.marks).run_flush_index(tasks.clone()));
        }
    }

    fn start_log_services(&self) {
        let tasks = &self.tasks;
        match self.config.flush_disk_type {
            FlushDiskType::SyncFlush => {
                let service = Arc::clone(&self.group_commit);
                tasks.spawn("group-commit", service.run(tasks.clone()));
            }
            FlushDiskType::AsyncFlush => {
                let service = FlushRealTimeService::new(Arc::clone(&self.log), &self.config);
                tasks.spawn("flush-real-time", service.run(tasks.clone()));
                let service = CommitRealTimeService::new(Arc::clone(&self.log), &self.config);
                if let Some(service) = service {
                    tasks.spawn("commit-real-time", service.run(tasks.clone()));
                }
            }
        }
        let allocator = AllocateMappedFileService::new(Arc::clone(&self.log));
        tasks.spawn("allocate-mapped-file", allocator.run(tasks.clone()));
    }

    /// The table as it should be, unless the plant puts back what it was when this store last
    /// started as a slave.
    pub(super) async fn planted_table(
        &self,
        table: TopicQueueTable,
        role: BrokerRole,
    ) -> Result<TopicQueueTable, StoreError> {
        if !self.config.planted(Plant::StaleQueueOffsetsOnPromotion) {
            return Ok(table);
        }
        let (disk, path) =
            (&*self.env.disk, self.config.store_path_root_dir.join("planted-queue-offsets"));
        let what = || StoreError::io("the planted queue offsets");
        if role == BrokerRole::Slave {
            disk.write(&path, table.to_text().as_bytes()).map_err(what())?;
            disk.sync(&path).await.map_err(what())?;
            return Ok(table);
        }
        match disk.read(&path) {
            Ok(text) => Ok(TopicQueueTable::from_text(&String::from_utf8_lossy(&text))),
            Err(_) => Ok(table),
        }
    }
}

/// Writes a marker file unless it is there already with that content.
fn write_once(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    if disk.read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    disk.write(path, content)
}
