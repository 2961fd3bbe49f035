//! [`ReputMessageService`]: records of the CommitLog become units of the ConsumeQueues and entries of
//! the index.
//!
//! A record is visible to consumers once it is dispatched. The limit is the flushed end under
//! SYNC_FLUSH, so that nothing is seen that a power loss could take back, and the readable end
//! under ASYNC_FLUSH. Replication does not delay visibility.
//!
//! Java origin: `ReputMessageService`, `CommitLogDispatcherBuildConsumeQueue` and
//! `CommitLogDispatcherBuildIndex` of RocketMQ 4.9.

mod deletion;

use std::collections::BTreeSet;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mq_env::probe::{Event, Probe};
use mq_env::task::TaskGroup;
use mq_mapped_file::SelectedBuffer;
use mq_protocol::consume_queue_unit::ConsumeQueueUnit;
use mq_protocol::message::{MessageConst, PropertiesView, tags_code};
use mq_protocol::message_codec::{RecordCheck, RecordError, RecordView, TornReason, decode_record};
use mq_protocol::topic_deletion::is_topic_deletion;
use tokio::sync::Notify;

use crate::commit_log::{CommitLog, counts_in_queue};
use crate::config::{FlushDiskType, StoreConfig, UpstreamSwitch};
use crate::consume_queue_store::{ConsumeQueueStore, is_directory_name};
use crate::delay_level::{DelayLevels, SCHEDULE_TOPIC};
use crate::durable_mark::DurableMark;
use crate::index_service::IndexService;
use crate::log_end::LogEndWatch;
use crate::plant::{Plant, planted_on_this_thread};
use crate::role::RoleWatch;
use crate::running_flags::{Refusal, RunningFlags};
use crate::sync::lock;
use crate::topic_queue_table::TopicQueueTable;

use deletion::Deletion;
pub use deletion::TopicDeletedListener;

/// Records dispatched before other tasks get a turn.
const RECORDS_PER_TURN: usize = 256;
/// Pause before a ConsumeQueue that could not be written is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Told of every message that becomes visible on a master: topic, queue id, queue offset plus one,
/// tags code, and its record (RocketMQ 4.9 `MessageArrivingListener`). Must not block.
pub type MessageArrivingListener = Arc<dyn Fn(&str, u32, u64, i64, &RecordView<'_>) + Send + Sync>;

/// The dispatcher.
pub(crate) struct ReputMessageService {
    log: Arc<CommitLog>,
    queues: Arc<ConsumeQueueStore>,
    index: Arc<IndexService>,
    config: Arc<StoreConfig>,
    flags: Arc<RunningFlags>,
    role: RoleWatch,
    probe: Probe,
    progress: Mutex<DispatchProgress>,
    listener: OnceLock<MessageArrivingListener>,
    /// Woken when units were added: the ConsumeQueue flush service waits on it.
    dispatched: Notify,
    /// Whether the store is open: no start syncs its log beside.
    runs: AtomicBool,
    /// Woken when there is more to dispatch although the log has not grown.
    went_back: Notify,
    durable: Arc<DurableMark>,
    /// Held by whoever samples or lowers what marks say: also while queues go.
    marking: Arc<tokio::sync::Mutex<()>>,
    topic_deleted: OnceLock<TopicDeletedListener>,
    topics_deleted: AtomicU64,
    /// Their names, [`deletion::REMEMBERED_MAX`] at most.
    deleted: Mutex<BTreeSet<String>>,
    /// Woken when the queues of a deleted topic are gone.
    deletion_passed: Notify,
}

/// Shown a record with its physical offset; whoever breaks is shown it again by the next walk.
type Visit<'a> = &'a mut dyn FnMut(&RecordView<'_>, u64) -> io::Result<ControlFlow<()>>;

/// How far the log is dispatched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DispatchProgress {
    /// Everything below is dispatched; a record starts here, or the log ends.
    pub(crate) reput_from_offset: u64,
    /// Store time of the last dispatched record, in milliseconds.
    pub(crate) store_timestamp_ms: u64,
}

/// What a turn of dispatching came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing is left below the limit, or only the part of a record.
    CaughtUp,
    /// There is more.
    More,
    /// The next record says that a topic was deleted.
    Deletes(Deletion),
}

impl ReputMessageService {
    pub(crate) fn new(
        log: Arc<CommitLog>,
        queues: Arc<ConsumeQueueStore>,
        index: Arc<IndexService>,
        flags: Arc<RunningFlags>,
        role: RoleWatch,
        probe: Probe,
        durable: Arc<DurableMark>,
    ) -> Self {
        ReputMessageService {
            config: log.config(),
            log,
            queues,
            index,
            flags,
            role,
            probe,
            progress: Mutex::default(),
            listener: OnceLock::new(),
            dispatched: Notify::new(),
            runs: AtomicBool::new(false),
            went_back: Notify::new(),
            durable,
            marking: Arc::default(),
            topic_deleted: OnceLock::new(),
            topics_deleted: AtomicU64::new(0),
            deleted: Mutex::default(),
            deletion_passed: Notify::new(),
        }
    }

    /// Sets the listener; the first one stays.
    pub(crate) fn set_listener(&self, listener: MessageArrivingListener) {
        let _ = self.listener.set(listener);
    }

    pub(crate) fn progress(&self) -> DispatchProgress {
        *lock(&self.progress)
    }

    /// Runs `change` while nothing is dispatched, and goes on from what it leaves.
    pub(crate) fn pause<T>(&self, change: impl FnOnce(&mut DispatchProgress) -> T) -> T {
        change(&mut lock(&self.progress))
    }

    /// Dispatches once more from `phy_offset` on.
    pub(crate) fn go_back_to(&self, phy_offset: u64) {
        self.pause(|progress| {
            progress.reput_from_offset = progress.reput_from_offset.min(phy_offset);
        });
        self.went_back.notify_one();
    }

    /// Resolves after units were added; one waiter.
    pub(crate) async fn dispatched(&self) {
        self.dispatched.notified().await;
    }

    /// Adds the keys of the records between the index's end and `end`, which have their units
    /// already.
    ///
    /// # Errors
    /// When an index file cannot be created.
    pub(crate) async fn index_up_to(&self, end: u64) -> io::Result<()> {
        let from = self.index.indexed_to().max(self.log.min_offset());
        self.walk_range(from..end, |record, at| self.index.put_record(record, at)).await
    }

    /// Has `table` go on behind the records that are not dispatched yet.
    ///
    /// # Errors
    /// None that a walk without writing could meet.
    pub(crate) fn count_undispatched(
        &self,
        mut progress: DispatchProgress,
        table: &mut TopicQueueTable,
    ) -> io::Result<()> {
        let mut count = |record: &RecordView<'_>, _| {
            count_record(record, table);
            Ok(ControlFlow::Continue(()))
        };
        while self.walk_on(&mut progress, u64::MAX, &mut count)? {}
        Ok(())
    }

    /// Counts all that the log has in a range into `table`; others get their turns meanwhile.
    ///
    /// # Errors
    /// None that a walk without writing could meet.
    pub(crate) async fn count_range(
        &self,
        range: Range<u64>,
        table: &mut TopicQueueTable,
    ) -> io::Result<()> {
        let count = |record: &RecordView<'_>, _| {
            count_record(record, table);
            Ok(())
        };
        self.walk_range(range, count).await
    }

    /// Shows the records of a range; others get their turns meanwhile.
    async fn walk_range(
        &self,
        range: Range<u64>,
        mut visit: impl FnMut(&RecordView<'_>, u64) -> io::Result<()> + Send,
    ) -> io::Result<()> {
        let mut progress =
            DispatchProgress { reput_from_offset: range.start, store_timestamp_ms: 0 };
        let mut visit = |record: &RecordView<'_>, at| visit(record, at).map(ControlFlow::Continue);
        while self.walk_on(&mut progress, range.end, &mut visit)? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Dispatches what there is now.
    ///
    /// # Errors
    /// When a ConsumeQueue cannot be written.
    pub(crate) async fn catch_up(&self) -> io::Result<()> {
        loop {
            match self.dispatch_turn()? {
                Turn::CaughtUp => return Ok(()),
                Turn::More => tokio::task::yield_now().await,
                Turn::Deletes(deletion) => self.carry_out(&deletion).await?,
            }
        }
    }

    /// Dispatches everything below `end`, as it may be: under SYNC_FLUSH as it is synced.
    ///
    /// # Errors
    /// When a ConsumeQueue cannot be written.
    pub(crate) async fn catch_up_to(&self, end: u64) -> io::Result<()> {
        let mut growth = self.growth();
        loop {
            let limit = growth.see();
            self.catch_up().await?;
            if limit >= end {
                return Ok(());
            }
            growth.changed().await;
        }
    }

    /// Dispatches as the log grows, until the group is cancelled.
    pub(crate) async fn run(self: Arc<Self>, tasks: TaskGroup) {
        self.runs.store(true, Ordering::Release);
        let mut growth = self.growth();
        loop {
            growth.see();
            match self.catch_up().await {
                Ok(()) => {
                    if !planted_on_this_thread(Plant::LogicsErrorForEver) {
                        self.flags.clear(Refusal::LogicsError);
                    }
                    mq_env::select! {
                        () = tasks.cancelled() => return,
                        _ = growth.changed() => {}
                        () = self.went_back.notified() => {}
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "ConsumeQueue or index cannot be written");
                    self.flags.set(Refusal::LogicsError);
                    mq_env::select! {
                        () = tasks.cancelled() => return,
                        () = tokio::time::sleep(RETRY_PAUSE) => {}
                    }
                }
            }
        }
    }

    /// The offset that dispatching must not pass.
    fn limit(&self) -> u64 {
        if self.waits_for_sync() { self.log.flushed_offset() } else { self.log.max_offset() }
    }

    /// Follows what [`Self::limit`] reads.
    fn growth(&self) -> LogEndWatch {
        if self.waits_for_sync() {
            self.log.watch_flushed_offset()
        } else {
            self.log.watch_max_offset()
        }
    }

    fn waits_for_sync(&self) -> bool {
        self.config.flush_disk_type == FlushDiskType::SyncFlush
            && !self.config.upstream(UpstreamSwitch::DispatchUnflushed)
            && !self.config.planted(Plant::DispatchAboveSynced)
    }

    fn dispatch_turn(&self) -> io::Result<Turn> {
        let mut progress = lock(&self.progress);
        let mut dispatched = 0;
        while dispatched < RECORDS_PER_TURN {
            let from = progress.reput_from_offset.max(self.log.min_offset());
            progress.reput_from_offset = from;
            let limit = self.limit();
            let data = self.log.data(from).filter(|_| from < limit);
            let Some(data) = data else { return Ok(Turn::CaughtUp) };
            let data = data.truncated((limit - from) as usize);
            let data_end = data.start_offset() + data.len() as u64;
            assert_eq!(data.start_offset(), from, "dispatching goes on where it was");
            assert!(from < data_end && data_end <= limit, "nothing above {limit} is dispatched");
            let before = dispatched;
            let mut deletion = None;
            let mut dispatch = |record: &RecordView<'_>, phy_offset| {
                deletion = self.deletion(record, phy_offset);
                match deletion {
                    Some(_) => Ok(ControlFlow::Break(())),
                    None => self.dispatch_record(record, phy_offset).map(ControlFlow::Continue),
                }
            };
            self.walk_data(&data, &mut progress, &mut dispatched, &mut dispatch)?;
            if dispatched > before {
                self.dispatched.notify_one();
            }
            assert!(progress.reput_from_offset >= from, "dispatching only goes forward");
            if let Some(deletion) = deletion {
                return Ok(Turn::Deletes(deletion));
            }
            if progress.reput_from_offset == from {
                return Ok(Turn::CaughtUp);
            }
        }
        Ok(Turn::More)
    }

    /// Shows some of the records below `end` from where `progress` stands; whether it got further.
    fn walk_on(
        &self,
        progress: &mut DispatchProgress,
        end: u64,
        visit: Visit<'_>,
    ) -> io::Result<bool> {
        let from = progress.reput_from_offset;
        let Some(data) = self.log.data(from).filter(|_| from < end) else { return Ok(false) };
        self.walk_data(&data.truncated((end - from) as usize), progress, &mut 0, visit)?;
        Ok(progress.reput_from_offset > from)
    }

    /// Shows the records of one file's readable part; stops at the part of one, and where `visit` breaks.
    fn walk_data(
        &self,
        data: &SelectedBuffer,
        progress: &mut DispatchProgress,
        dispatched: &mut usize,
        visit: Visit<'_>,
    ) -> io::Result<()> {
        let mut position = 0;
        assert_eq!(data.start_offset(), progress.reput_from_offset, "records are shown in order");
        while position < data.len() && *dispatched < RECORDS_PER_TURN {
            let phy_offset = data.start_offset() + position as u64;
            let (lead, found) = self.log.check_at(&data[position..], phy_offset);
            match found {
                RecordCheck::Valid(record) => {
                    let size = lead + record.size();
                    assert!(record.size() > 0 && position + size <= data.len(), "a whole one");
                    if visit(&record, phy_offset + lead as u64)?.is_break() {
                        return Ok(());
                    }
                    position += size;
                    progress.store_timestamp_ms = record.store_timestamp() as u64;
                    progress.reput_from_offset = phy_offset + size as u64;
                    *dispatched += 1;
                }
                RecordCheck::Blank { .. } => {
                    progress.reput_from_offset = self.log.roll_next_file(phy_offset);
                    assert!(
                        progress.reput_from_offset > phy_offset,
                        "a blank leads to the next file"
                    );
                    return Ok(());
                }
                _ if let Some(end) = self.log.damage.end_of(phy_offset) => {
                    progress.reput_from_offset = end;
                    return Ok(());
                }
                // What lies at another place than it says was sound in everything that the walk of a
                // start asks: it alone is left out.
                RecordCheck::Torn(TornReason::PhyOffset(_)) => {
                    let record = decode_record(&data[position + lead..]);
                    let size = record.map_or(0, |record| lead + record.size());
                    assert!(size > 0, "what is elsewhere than it says is a record");
                    tracing::error!(phy_offset, "a record elsewhere than it says is left out");
                    position += size;
                    progress.reput_from_offset = phy_offset + size as u64;
                    *dispatched += 1;
                }
                RecordCheck::Torn(TornReason::NoRoom)
                | RecordCheck::Torn(TornReason::Layout(RecordError::TotalSize { .. }))
                    if self.log.roll_next_file(phy_offset) >= self.log.max_offset() =>
                {
                    return Ok(());
                }
                bad => {
                    self.pass_over(&bad, phy_offset, progress);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn dispatch_record(&self, record: &RecordView<'_>, phy_offset: u64) -> io::Result<()> {
        if planted_on_this_thread(Plant::FirstOfFileNotDispatched)
            && phy_offset != 0
            && phy_offset == self.log.file_start(phy_offset)
        {
            return Ok(());
        }
        if !counts_in_queue(record.sys_flag()) {
            return self.index.put_record(record, phy_offset);
        }
        let topic = record.topic();
        if !is_directory_name(&topic) {
            tracing::error!(phy_offset, %topic, "no queue can be named so; the record is passed over");
            return self.index.put_record(record, phy_offset);
        }
        let queue_id = record.queue_id() as u32;
        let Ok(queue_offset) = u64::try_from(record.queue_offset()) else {
            tracing::error!(phy_offset, %topic, "a record without a queue offset is passed over");
            return self.index.put_record(record, phy_offset);
        };
        let mut tags_code = tags_code_of(record, &topic, &self.config.message_delay_level);
        if self.config.planted(Plant::GarbledTagsCode) && topic != SCHEDULE_TOPIC {
            tags_code ^= 1;
        }
        let unit = ConsumeQueueUnit {
            phy_offset: phy_offset as i64,
            size: record.size() as i32,
            tags_code,
        };
        let queue = self.queues.find_or_create(&topic, queue_id);
        queue.put_message_position_info(unit, queue_offset)?;
        self.index.put_record(record, phy_offset)?;
        self.probe.emit(&Event::Dispatched { phy_offset, topic: &topic, queue_id, queue_offset });
        if self.role.is_master()
            && let Some(listener) = self.listener.get()
        {
            listener(&topic, queue_id, queue_offset + 1, tags_code, record);
        }
        Ok(())
    }

    /// Something that is no record lies below the limit. A master, whose own appends were whole,
    /// goes on with the next file as 4.9 does; a slave waits for its master to set it right.
    fn pass_over(&self, bad: &RecordCheck<'_>, phy_offset: u64, progress: &mut DispatchProgress) {
        tracing::error!(phy_offset, ?bad, "no record where one should be");
        let next_file = self.log.roll_next_file(phy_offset);
        assert!(next_file > phy_offset, "what is passed over lies behind");
        if self.role.is_master() && next_file < self.log.max_offset() {
            progress.reput_from_offset = next_file;
        }
    }
}

/// The hash of the tag; for a delayed message the time of its delivery.
pub(crate) fn tags_code_of(record: &RecordView<'_>, topic: &str, levels: &DelayLevels) -> i64 {
    let properties = record.properties();
    let properties = PropertiesView::new(&properties);
    if topic == SCHEDULE_TOPIC
        && let Some(level) = properties.get(MessageConst::DELAY)
        && let Ok(level) = level.parse::<i64>()
        && level > 0
    {
        let stored_ms = record.store_timestamp() as u64;
        return levels.deliver_time_ms(level as usize, stored_ms) as i64;
    }
    tags_code(properties.get(MessageConst::TAGS))
}

/// The queue offset that follows a record's.
fn count_record(record: &RecordView<'_>, table: &mut TopicQueueTable) {
    if is_topic_deletion(record) {
        table.forget(&record.topic());
    }
    // A record that states no queue offset gets no unit either.
    if counts_in_queue(record.sys_flag())
        && let Ok(queue_offset) = u64::try_from(record.queue_offset())
    {
        table.set(&record.topic(), record.queue_id() as u32, queue_offset + 1);
    }
}
