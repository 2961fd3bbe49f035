//! [`ConsumeQueueStore`]: every ConsumeQueue of a store, by topic and queue id.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::{StreamExt, TryStreamExt};
use mq_env::disk::Disk;
use mq_mapped_file::{Cut, FlushError, LoadPlan, UnsyncedEntries};
use mq_protocol::consume_queue_unit::CQ_STORE_UNIT_BYTES;

use crate::commit_log::CommitLog;
use crate::config::{StoreConfig, UpstreamSwitch};
use crate::consume_queue::ConsumeQueue;
use crate::error::StoreError;
use crate::preflight::QueuePlan;
use crate::topic_queue_table::TopicQueueTable;

/// Syncs of queues that are under way at a time: a store with thousands of them has to stop in time.
const SYNCS_AT_ONCE: usize = 16;

type Topics = BTreeMap<String, BTreeMap<u32, Arc<ConsumeQueue>>>;

/// The table of ConsumeQueues.
pub struct ConsumeQueueStore {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    file_size: usize,
    erase: bool,
    topics: RwLock<Topics>,
    /// New files and directories of all queues.
    entries: UnsyncedEntries,
    /// Held by whoever syncs or truncates.
    flushing: tokio::sync::Mutex<()>,
    is_suspect: AtomicBool,
}

/// Cuts of many queues, to be made durable.
pub(crate) type Cuts = Vec<(Arc<ConsumeQueue>, Cut)>;

impl ConsumeQueueStore {
    pub(crate) fn new(disk: Arc<dyn Disk>, config: &StoreConfig) -> Self {
        let file_size = config.mapped_file_size_consume_queue.max(1);
        let file_size = file_size.next_multiple_of(CQ_STORE_UNIT_BYTES);
        ConsumeQueueStore {
            disk,
            root: config.store_path_root_dir.clone(),
            file_size,
            erase: !config.upstream(UpstreamSwitch::TruncateInMemory),
            topics: RwLock::default(),
            entries: UnsyncedEntries::default(),
            flushing: tokio::sync::Mutex::new(()),
            is_suspect: AtomicBool::new(false),
        }
    }

    /// The queue, if it exists.
    #[must_use]
    pub fn find(&self, topic: &str, queue_id: u32) -> Option<Arc<ConsumeQueue>> {
        self.read_topics().get(topic)?.get(&queue_id).cloned()
    }

    /// Every queue, by topic and id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ConsumeQueue>> {
        self.read_topics().values().flat_map(|queues| queues.values().cloned()).collect()
    }

    /// Queue ids of a topic.
    #[must_use]
    pub fn queue_ids(&self, topic: &str) -> Vec<u32> {
        self.read_topics()
            .get(topic)
            .map_or_else(Vec::new, |queues| queues.keys().copied().collect())
    }

    /// Every topic that has a queue.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.read_topics().keys().cloned().collect()
    }

    pub(crate) fn find_or_create(&self, topic: &str, queue_id: u32) -> Arc<ConsumeQueue> {
        if let Some(queue) = self.find(topic, queue_id) {
            return queue;
        }
        let mut topics = self.write_topics();
        let queues = topics.entry(topic.to_owned()).or_default();
        let queue = queues.entry(queue_id).or_insert_with(|| self.open(topic, queue_id));
        Arc::clone(queue)
    }

    /// What [`ConsumeQueueStore::load`] is to do for a queue that has a directory. Changes nothing.
    pub(crate) fn plan_load(
        &self,
        topic: &str,
        queue_id: u32,
        is_salvage: bool,
    ) -> Result<LoadPlan, StoreError> {
        Ok(self.open(topic, queue_id).plan_load(is_salvage)?)
    }

    /// Maps the queues that have a directory.
    pub(crate) fn load(&self, plans: &[QueuePlan]) -> Result<(), StoreError> {
        for QueuePlan { topic, queue_id, files } in plans {
            self.find_or_create(topic, *queue_id).load(files)?;
        }
        Ok(())
    }

    /// Whether the units of all queues, put together, leave no record of `log` below `end` without
    /// one: in every file the sizes that they state add up to where the file's blank is, or `end`.
    pub(crate) fn cover(&self, log: &CommitLog, end: u64) -> bool {
        let (min, file_size) = (log.min_offset(), log.file_size() as u64);
        let files = end.saturating_sub(min).div_ceil(file_size);
        let mut sizes = vec![0_u64; files as usize];
        for queue in self.all() {
            queue.for_each_unit(|unit| {
                let phy_offset = unit.phy_offset as u64;
                if (min..end).contains(&phy_offset) {
                    assert!((phy_offset - min) / file_size < files, "{phy_offset} lies in the log");
                    sizes[((phy_offset - min) / file_size) as usize] += unit.size as u64;
                }
            });
        }
        sizes.iter().enumerate().all(|(index, size)| {
            let from = min + index as u64 * file_size;
            from + size == end || log.is_blank(from + size)
        })
    }

    /// Ends every queue before its first unit that does not point below `phy_offset`; what is kept
    /// counts as durable.
    pub(crate) fn recover(&self, phy_offset: u64) -> Cuts {
        let cut = |queue: Arc<ConsumeQueue>| {
            let cut = queue.recover(phy_offset, self.erase);
            (queue, cut)
        };
        self.all().into_iter().map(cut).collect()
    }

    /// Ends every queue before its first unit that does not point below `phy_offset`.
    pub(crate) fn truncate(&self, phy_offset: u64) -> Cuts {
        let cut = |queue: Arc<ConsumeQueue>| {
            let cut = queue.truncate(phy_offset, self.erase);
            (queue, cut)
        };
        self.all().into_iter().map(cut).collect()
    }

    /// Empties every queue.
    pub(crate) fn clear(&self) -> Cuts {
        self.clear_where(|_| true)
    }

    /// Empties the queues that point at anything from `min_phy_offset` on, or at nothing: what the log
    /// can fill again. The others keep their ends.
    pub(crate) fn clear_above(&self, min_phy_offset: u64) -> Cuts {
        self.clear_where(|queue| {
            let end = queue.max_physic_offset();
            end == 0 || end > min_phy_offset
        })
    }

    /// Takes the queues of a topic out of the table, and their files and directories away, durably. Whoever reads
    /// keeps what is held. The caller excludes syncs, and that the topic's next unit comes meanwhile. After an
    /// error the next call goes on.
    pub(crate) async fn remove_topic(&self, topic: &str) -> io::Result<()> {
        self.write_topics().remove(topic);
        let (disk, queues) = (&*self.disk, self.root.join("consumequeue"));
        let dir = queues.join(topic);
        self.entries.forget_below(&dir);
        if disk.stat(&dir).is_err() {
            // It went, maybe not durably.
            return if disk.stat(&queues).is_ok() { disk.sync(&queues).await } else { Ok(()) };
        }
        for queue in disk.list(&dir)?.into_iter().filter(|it| it.is_dir) {
            let queue = dir.join(queue.name);
            for file in disk.list(&queue)?.into_iter().filter(|it| !it.is_dir) {
                disk.remove(&queue.join(file.name))?;
            }
            disk.sync(&queue).await?;
            remove_dir(disk, &queue)?;
        }
        disk.sync(&dir).await?;
        remove_dir(disk, &dir)?;
        disk.sync(&queues).await
    }

    fn clear_where(&self, is_cleared: impl Fn(&ConsumeQueue) -> bool) -> Cuts {
        let clear = |queue: Arc<ConsumeQueue>| {
            let cut = queue.clear();
            (queue, cut)
        };
        self.all().into_iter().filter(|queue| is_cleared(queue)).map(clear).collect()
    }

    /// Makes cuts durable.
    pub(crate) async fn settle(&self, cuts: Cuts) -> Result<(), StoreError> {
        for (queue, cut) in cuts {
            let settled = queue.settle(cut).await;
            settled.map_err(StoreError::io(format!("truncate queue {}", queue.topic())))?;
        }
        Ok(())
    }

    /// Moves the minimum of every queue to the log's.
    pub(crate) fn correct_min_offset(&self, min_phy_offset: u64) {
        for queue in self.all() {
            queue.correct_min_offset(min_phy_offset);
        }
    }

    /// Whether a topic that begins with `prefix` has its first message within these bytes of the log, of which they
    /// are the first; minima of its queues are moved there.
    pub(crate) fn begin_within(&self, prefix: &str, log: Range<u64>) -> bool {
        let mut queues = self.all().into_iter().filter(|queue| queue.topic().starts_with(prefix));
        queues.any(|queue| {
            queue.correct_min_offset(log.start);
            let first = queue.unit(queue.min_offset_in_queue());
            first.is_some_and(|unit| log.contains(&unit.phy_offset.unsigned_abs()))
        })
    }

    /// End of the last record that any queue points at.
    pub(crate) fn max_physic_offset(&self) -> u64 {
        self.all().iter().map(|queue| queue.max_physic_offset()).max().unwrap_or(0)
    }

    /// The queue offsets that the queues' next messages get.
    pub(crate) fn topic_queue_table(&self) -> TopicQueueTable {
        let mut table = TopicQueueTable::default();
        for queue in self.all() {
            table.set(queue.topic(), queue.queue_id(), queue.max_offset_in_queue());
        }
        table
    }

    /// Sum of the queues' ends: what the watermark knows them by.
    pub(crate) fn units(&self) -> u64 {
        self.all().iter().map(|queue| queue.max_offset_in_queue()).sum()
    }

    pub(crate) fn is_able_to_flush(&self, least_pages: usize) -> bool {
        !self.is_suspect() && self.all().iter().any(|queue| queue.is_able_to_flush(least_pages))
    }

    /// Syncs every queue with enough dirty pages; whether everything that should be durable is. A
    /// failed sync makes that `false` for the rest of the process: the units are rebuilt at the
    /// next start. One that could not be attempted is tried again by the next call.
    pub(crate) async fn flush(&self, least_pages: usize) -> bool {
        let _flushing = self.flushing.lock().await;
        if self.is_suspect() {
            return false;
        }
        let mut dirty = self.all();
        dirty.retain(|queue| queue.is_able_to_flush(least_pages));
        if dirty.is_empty() {
            return true;
        }
        match self.sync(dirty, least_pages).await {
            Ok(()) => true,
            Err(error) if !error.is_final() => {
                tracing::warn!(%error, "the ConsumeQueues cannot be synced now; tried again");
                false
            }
            Err(error) => {
                tracing::error!(
                    "the disk refused to sync the ConsumeQueues below {} ({error}): writes and reads go on, \
                     and what is not known to be synced is made again when the broker is started again",
                    self.root.display()
                );
                self.is_suspect.store(true, Ordering::Release);
                false
            }
        }
    }

    /// Syncs the names of all new files, each directory once, and then queues, some at a time.
    async fn sync(
        &self,
        queues: Vec<Arc<ConsumeQueue>>,
        least_pages: usize,
    ) -> Result<(), FlushError> {
        let named = self.entries.sync(&*self.disk).await;
        named.map_err(|source| FlushError { from: 0, to: 0, source })?;
        let flush = async move |queue: Arc<ConsumeQueue>| queue.flush(least_pages).await;
        let flushes = queues.into_iter().map(|queue| Box::pin(flush(queue)));
        futures::stream::iter(flushes).buffer_unordered(SYNCS_AT_ONCE).try_collect().await
    }

    /// Whether a sync of a queue failed.
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Acquire)
    }

    /// Excludes syncs while queues are truncated.
    pub(crate) async fn lock_flushing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.flushing.lock().await
    }

    fn open(&self, topic: &str, queue_id: u32) -> Arc<ConsumeQueue> {
        let disk = Arc::clone(&self.disk);
        let entries = self.entries.clone();
        Arc::new(ConsumeQueue::new(disk, &self.root, self.file_size, entries, topic, queue_id))
    }

    fn read_topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_topics(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a directory, unless somebody has put something of his own there.
fn remove_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

/// Whether a topic can name the directory of its queues and nothing else.
pub(crate) fn is_directory_name(topic: &str) -> bool {
    !matches!(topic, "" | "." | "..") && !topic.contains(['/', '\0'])
}
