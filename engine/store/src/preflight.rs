//! [`Preflight`]: everything that can refuse a start, looked at before anything is written. A start that
//! is refused leaves the store as it was; `doctor` foretells it by the same look.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mq_env::disk::{Disk, PAGE_SIZE};
use mq_mapped_file::{Known, LoadError, LoadPlan, MappedFileQueue, file_name};
use mq_protocol::consume_queue_unit::CQ_STORE_UNIT_BYTES;

use crate::checkpoint::CheckpointTimes;
use crate::commit_log::RecoverFrom;
use crate::config::{DLedgerConfig, StoreConfig};
use crate::consume_queue::sound_units;
use crate::consume_queue_store::ConsumeQueueStore;
use crate::damage::Damage;
use crate::durable_mark::{MarkState, mark_state};
use crate::error::StoreError;

/// Units are read in pieces of so many bytes: a multiple of a unit's.
const UNITS_BYTES: usize = 20 << 12;
const _: () = assert!(UNITS_BYTES.is_multiple_of(CQ_STORE_UNIT_BYTES));

/// What a start finds, and is going to do, before it changes anything.
pub(crate) struct Preflight {
    /// The store was not closed in order.
    pub(crate) was_aborted: bool,
    /// Where the log is walked from.
    pub(crate) from: RecoverFrom,
    /// The CommitLog's files.
    pub(crate) log: LoadPlan,
    /// The ConsumeQueues, by topic and id.
    pub(crate) queues: Vec<QueuePlan>,
}

/// The files of a ConsumeQueue.
pub(crate) struct QueuePlan {
    pub(crate) topic: String,
    pub(crate) queue_id: u32,
    pub(crate) files: LoadPlan,
}

impl Preflight {
    /// Looks at everything but the log's content ([`crate::CommitLog`] looks at that). Changes nothing.
    ///
    /// # Errors
    /// Why a start is refused.
    pub(crate) fn look(disk: &Arc<dyn Disk>, config: &StoreConfig) -> Result<Self, StoreError> {
        let root = &config.store_path_root_dir;
        refuse_other_log(&**disk, config)?;
        let was_aborted = disk.stat(&root.join("abort")).is_ok();
        let mark = match mark_state(&small_file(&**disk, root, "durable")?) {
            MarkState::Marked(mark) => Some(mark),
            MarkState::None => None,
            MarkState::Damaged if config.salvage => None,
            MarkState::Damaged => {
                let what = "is damaged in both its copies; put it back, or move it away to have the \
                            store recovered by RocketMQ's rules, which may drop what was synced";
                return Err(StoreError::SmallFile { file: root.join("durable"), what });
            }
        };
        let times = CheckpointTimes::of_file(&small_file(&**disk, root, "checkpoint")?);
        match Damage::new(Arc::clone(disk), root.join("damaged.json")).load() {
            Err(_) if config.salvage => {}
            loaded => loaded?,
        }
        let queues = plan_queues(disk, config)?;
        let claimed = match mark {
            None if !was_aborted => claimed_end(&**disk, root, &queues)?,
            _ => 0,
        };
        let from = RecoverFrom::of(mark, was_aborted, || claimed, times.min_timestamp_ms());
        let known = Known { durable_end: Some(from.files_end()), is_salvage: config.salvage };
        let (dir, size) = (config.commit_log_dir(), config.mapped_file_size_commit_log);
        let log = match &config.dledger {
            Some(_) => LoadPlan::default(),
            None => MappedFileQueue::new(Arc::clone(disk), root, dir, size).plan_load(known)?,
        };
        list(&**disk, &root.join("index"))?;
        Ok(Preflight { was_aborted, from, log, queues })
    }
}

/// The names of a directory's entries, and whether each is a directory; none if it is missing.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<(String, bool)>, StoreError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => {
            let listed = listed.map_err(StoreError::io(format!("list {}", dir.display())))?;
            Ok(listed.into_iter().map(|entry| (entry.name, entry.is_dir)).collect())
        }
    }
}

/// Whether a directory of that name in the root holds the log of a DLedger node.
pub(crate) fn is_dledger(name: &str) -> bool {
    name.starts_with("dledger-")
}

/// A store has one log: that of the mode in which it is started.
fn refuse_other_log(disk: &dyn Disk, config: &StoreConfig) -> Result<(), StoreError> {
    let root = &config.store_path_root_dir;
    let own = config.dledger.as_ref().map(DLedgerConfig::dir_name);
    let is_other = |name: &str| is_dledger(name) && own.as_deref() != Some(name);
    let found = list(disk, root)?.into_iter().find(|(name, is_dir)| *is_dir && is_other(name));
    if let Some((name, _)) = found {
        return Err(StoreError::Dledger(root.join(name)));
    }
    let dir = config.store_path_commit_log.clone().unwrap_or_else(|| root.join("commitlog"));
    if own.is_some() && !list(disk, &dir)?.is_empty() {
        return Err(StoreError::OwnLog(dir));
    }
    Ok(())
}

/// A file of one page; empty if it is missing.
fn small_file(disk: &dyn Disk, root: &Path, name: &str) -> Result<Vec<u8>, StoreError> {
    let path = root.join(name);
    let bytes = match disk.read_at(&path, 0, PAGE_SIZE + 1) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(StoreError::io(format!("read {}", path.display())))?,
    };
    if bytes.len() > PAGE_SIZE {
        let what =
            "has more than 4096 bytes; put it back, or move it away: a start makes a new one";
        return Err(StoreError::SmallFile { file: path, what });
    }
    Ok(bytes)
}

fn plan_queues(disk: &Arc<dyn Disk>, config: &StoreConfig) -> Result<Vec<QueuePlan>, StoreError> {
    let store = ConsumeQueueStore::new(Arc::clone(disk), config);
    let mut queues = Vec::new();
    for (topic, queue_id) in queue_dirs(&**disk, &config.store_path_root_dir)? {
        let files = store.plan_load(&topic, queue_id, config.salvage)?;
        queues.push(QueuePlan { topic, queue_id, files });
    }
    Ok(queues)
}

/// The queues that have a directory `<topic>/<queueId>/`.
fn queue_dirs(disk: &dyn Disk, root: &Path) -> Result<Vec<(String, u32)>, StoreError> {
    let dir = root.join("consumequeue");
    let mut queues = Vec::new();
    for (topic, _) in list(disk, &dir)?.into_iter().filter(|(_, is_dir)| *is_dir) {
        for (name, is_dir) in list(disk, &dir.join(&topic))? {
            if let Some(queue_id) = queue_id_of(&name).filter(|_| is_dir) {
                queues.push((topic.clone(), queue_id));
            }
        }
    }
    Ok(queues)
}

/// The queue that a directory of that name holds. `01` and `+1` hold none.
pub(crate) fn queue_id_of(name: &str) -> Option<u32> {
    name.parse().ok().filter(|queue_id: &u32| queue_id.to_string() == name)
}

/// End of the last record that any queue points at.
fn claimed_end(disk: &dyn Disk, root: &Path, queues: &[QueuePlan]) -> Result<u64, StoreError> {
    let mut claimed = 0;
    for QueuePlan { topic, queue_id, files } in queues {
        let dir = root.join("consumequeue").join(topic).join(queue_id.to_string());
        for (from, _) in files.kept.iter().rev() {
            let end = last_end(disk, &dir.join(file_name(*from)))?;
            claimed = claimed.max(end);
            if end > 0 {
                break;
            }
        }
    }
    Ok(claimed)
}

/// End of the record that the last of a file's leading sound units points at; 0 without one.
fn last_end(disk: &dyn Disk, path: &Path) -> Result<u64, StoreError> {
    let (mut end, mut at) = (0, 0);
    loop {
        let bytes = match disk.read_at(path, at, UNITS_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            read => read.map_err(|source| LoadError::Io { path: path.to_path_buf(), source })?,
        };
        let (sound, last) = sound_units(&bytes, u64::MAX);
        end = end.max(last);
        assert!(sound <= bytes.len(), "units are counted that were read");
        assert!(sound.is_multiple_of(CQ_STORE_UNIT_BYTES), "units are counted whole");
        if sound < UNITS_BYTES {
            return Ok(end);
        }
        at += sound as u64;
    }
}
