//! `recover`: a copy of a store is started, and says what it holds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mq_env::Env;
use mq_env::disk::replaced_file::backup_of;
use mq_env::disk::{MappedRegion, PAGE_SIZE};
use serde::Serialize;

use super::start::Start;
use super::tables::{MovedOffset, TableState};
use super::verify::{Finding, Severity};
use super::{COMMIT_LOG, DoctorError, KEPT_ON_PURPOSE, Progress, StoreDir, StoreFile, is_dir};
use crate::config::{BrokerRole, FlushDiskType, StoreConfig};
use crate::damage::{Damage, DamagedRange};
use crate::get_result::MessageFilter;
use crate::message_store::MessageStore;
use crate::metadata_file::store_metadata;
use crate::recovery::RecoveryReport;

/// How much is copied at once.
const COPIED_AT_ONCE_BYTES: usize = 4 << 20;

/// What a started copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovered {
    /// First byte of the log.
    pub min_phy_offset: u64,
    /// End of the log.
    pub max_phy_offset: u64,
    /// Every queue, by topic and id.
    pub queues: Vec<RecoveredQueue>,
    /// Damaged ranges that the copy leaves out and the store did not.
    pub left_out: u64,
    /// Offsets that were moved, for they stood outside of their queues.
    pub moved_offsets: Vec<MovedOffset>,
    /// What of a DLedger log was written anew.
    pub mended: Vec<Finding>,
    /// What is not as a broker writes it and is kept as it is: `verify` has notes of it.
    pub kept: Vec<Finding>,
    /// What the start made of what it found.
    #[serde(flatten)]
    pub report: RecoveryReport,
}

/// What a queue of a started copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveredQueue {
    /// Its topic.
    pub topic: String,
    /// Its id.
    pub queue_id: u32,
    /// Queue offset of the oldest message.
    pub min: u64,
    /// Queue offset behind the newest message.
    pub max: u64,
    /// Messages that a consumer gets.
    pub readable: u64,
}

impl Recovered {
    /// Whether records that the store had are not in the copy.
    #[must_use]
    pub fn is_any_dropped(&self) -> bool {
        let RecoveryReport { dropped, dropped_more, .. } = &self.report;
        !dropped.is_empty() || *dropped_more > 0 || self.left_out > 0
    }
}

impl StoreDir {
    /// Copies the store to `copy`, the log into its `commitlog`, and starts and closes it there: what is
    /// damaged is left out or written down, ConsumeQueues and index are made again from the log, of the
    /// tables the versions that a start takes are kept, with the offsets that it moves. With `salvage`
    /// damage below the durable watermark is passed over instead of refusing the start, zeros take the
    /// place of missing files, and damaged tables are left out.
    ///
    /// Of a DLedger node the log is copied up to its last sound entry. With `salvage` entries that are lost before
    /// it are replaced by fillers; without, they refuse the recovery.
    ///
    /// # Errors
    /// When `copy` is in the way, what the disk says, and why the copy does not start: nothing is copied
    /// then.
    pub async fn recover(
        &self,
        env: Env,
        copy: &Path,
        salvage: bool,
        progress: Progress<'_>,
    ) -> Result<Recovered, DoctorError> {
        self.check_copy(copy)?;
        match &self.dledger_dirs()?[..] {
            [] => self.recover_log(env, copy, salvage, progress).await,
            [node] => self.recover_dledger(env, copy, &node.name, salvage, progress).await,
            _ => Err(DoctorError::SeveralLogs(self.root.clone())),
        }
    }

    async fn recover_log(
        &self,
        env: Env,
        copy: &Path,
        salvage: bool,
        progress: Progress<'_>,
    ) -> Result<Recovered, DoctorError> {
        let start = Start::foretell(self, &mut |_| {})?;
        if let Some(refusal) = self.refusal(&start, salvage) {
            return Err(DoctorError::Refused(refusal));
        }
        let mut known = self.damage_for_copy(&start, &mut |_| {})?;
        self.copy_dir(&self.root, copy, &mut *progress)?;
        self.copy_dir(&self.log_dir, &copy.join(COMMIT_LOG), progress)?;
        let copied = self.in_copy(copy)?;
        copied.write_damage(&known).await?;
        let mut config = self.copy_config(copy)?;
        config.salvage = salvage;
        let store = MessageStore::open(env.clone(), Arc::new(config.clone())).await?;
        let report = store.recovery();
        let derived = derived(&store, copy);
        store.shutdown().await;
        drop(store);
        copied.remove_all(&derived)?;
        config.salvage = false;
        let store = MessageStore::open(env, Arc::new(config)).await?;
        let queues: Vec<_> =
            store.consume_queues().all().iter().map(|it| read(&store, it)).collect();
        let (min_phy_offset, max_phy_offset) =
            (store.commit_log().min_offset(), store.commit_log().max_offset());
        store.shutdown().await;
        drop(store);
        let moved_offsets = self.settle_tables(&copied, &queues).await?;
        let kept = copied.keep_on_purpose().await?;
        known.retain(|range| start.known.contains(range));
        let is_new = |range: &&DamagedRange| !known.contains(range);
        let left_out = report.damaged.iter().filter(is_new).count();
        let left_out = left_out as u64;
        Ok(Recovered {
            min_phy_offset,
            max_phy_offset,
            queues,
            left_out,
            moved_offsets,
            mended: Vec::new(),
            kept,
            report,
        })
    }

    /// Why the copy would not start.
    fn refusal(&self, start: &Start, salvage: bool) -> Option<String> {
        if !salvage || start.is_refused_anyway {
            let tables = self.find_tables().into_iter().find_map(|table| table.refusal);
            return tables.or(start.refusal.clone());
        }
        None
    }

    /// The copy, examined as this store is.
    pub(super) fn in_copy(&self, copy: &Path) -> Result<StoreDir, DoctorError> {
        let mut config = self.copy_config(copy)?;
        config.store_path_root_dir = copy.to_path_buf();
        Ok(StoreDir {
            disk: Arc::clone(&self.disk),
            root: copy.to_path_buf(),
            log_dir: copy.join(COMMIT_LOG),
            shape: self.shape,
            config,
            _lock: None,
        })
    }

    pub(super) fn copy_config(&self, copy: &Path) -> Result<StoreConfig, DoctorError> {
        let mut config =
            StoreConfig { store_path_root_dir: copy.to_path_buf(), ..self.config.clone() };
        config.broker_role = BrokerRole::AsyncMaster;
        config.flush_disk_type = FlushDiskType::AsyncFlush;
        config.message_index_enable &=
            self.shape.index.is_some() || self.files(Path::new("index"))?.is_empty();
        // However long it takes and however full the disk is: nothing expires meanwhile.
        config.file_reserved_time_hours = u64::MAX;
        config.clean_file_forcibly_enable = false;
        Ok(config)
    }

    /// What is known of this copy's log before it starts.
    async fn write_damage(&self, ranges: &[DamagedRange]) -> Result<(), DoctorError> {
        let damage = Damage::new(Arc::clone(&self.disk), self.root.join("damaged.json"));
        let has_list = damage.load().is_ok_and(|()| damage.ranges() == ranges);
        if has_list {
            return Ok(());
        }
        damage.set(ranges.to_vec());
        damage.store().await.map_err(DoctorError::io(&self.root.join("damaged.json")))
    }

    /// Removes files and directories of this copy.
    pub(super) fn remove_all(&self, paths: &[PathBuf]) -> Result<(), DoctorError> {
        for path in paths.iter().filter(|path| self.disk.stat(path).is_ok()) {
            if !is_dir(&*self.disk, path) {
                self.disk.remove(path).map_err(DoctorError::io(path))?;
                continue;
            }
            for entry in self.entries(path)?.into_iter().filter(|entry| !entry.is_dir) {
                self.disk.remove(&entry.path).map_err(DoctorError::io(&entry.path))?;
            }
        }
        Ok(())
    }

    /// Keeps in `copied` of every table of this store the version that a start takes, and moves the
    /// offsets that a start moves.
    pub(super) async fn settle_tables(
        &self,
        copied: &StoreDir,
        queues: &[RecoveredQueue],
    ) -> Result<Vec<MovedOffset>, DoctorError> {
        for table in self.find_tables() {
            let path = copied.root.join("config").join(&table.name);
            let backup = backup_of(&path);
            if table.state == TableState::Bak {
                let content = copied.disk.read(&backup).map_err(DoctorError::io(&backup))?;
                copied.disk.write(&path, &content).map_err(DoctorError::io(&path))?;
            } else if table.trouble.is_some() {
                copied.remove_all(std::slice::from_ref(&path))?;
            }
            if table.backup_trouble.is_some() {
                copied.remove_all(&[backup])?;
            }
        }
        let range = |topic: &str, queue_id: i32| {
            let is_it = |queue: &&RecoveredQueue| {
                queue.topic == topic && i64::from(queue.queue_id) == i64::from(queue_id)
            };
            queues.iter().find(is_it).map_or((0, 0), |queue| (queue.min, queue.max))
        };
        let (moved, tables) = copied.moved_offsets(&range);
        for (name, content) in tables.into_iter().filter(|_| !moved.is_empty()) {
            let path = copied.root.join("config").join(name);
            let stored = store_metadata(&*copied.disk, &path, &content).await;
            stored.map_err(DoctorError::io(&path))?;
        }
        Ok(moved)
    }

    /// What `verify` still finds in this copy is kept on purpose: it is written down.
    pub(super) async fn keep_on_purpose(&self) -> Result<Vec<Finding>, DoctorError> {
        let mut kept = self.verify(&mut |_| {})?.findings;
        kept.retain(|finding| finding.severity == Severity::Damage);
        if kept.is_empty() {
            return Ok(kept);
        }
        let path = self.root.join(KEPT_ON_PURPOSE);
        let text = serde_json::to_vec(&kept).map_err(|it| DoctorError::io(&path)(it.into()))?;
        let stored = store_metadata(&*self.disk, &path, &text).await;
        stored.map_err(DoctorError::io(&path))?;
        Ok(kept)
    }

    fn check_copy(&self, copy: &Path) -> Result<(), DoctorError> {
        let mut dirs = vec![self.root.clone(), self.log_dir.clone()];
        dirs.extend(self.dledger_dirs()?.iter().map(|node| self.entries_dir(&node.name)));
        for dir in &dirs {
            if copy.starts_with(dir) || dir.starts_with(copy) {
                return Err(DoctorError::Overlap(dir.clone(), copy.to_path_buf()));
            }
        }
        match self.disk.list(copy) {
            Ok(entries) if !entries.is_empty() => Err(DoctorError::CopyExists(copy.to_path_buf())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DoctorError::io(copy)(error))
            }
            _ => Ok(()),
        }
    }

    /// Copies a directory, without the files of a log inside it.
    pub(super) fn copy_dir(
        &self,
        from: &Path,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<(), DoctorError> {
        self.disk.create_dir_all(to).map_err(DoctorError::io(to))?;
        let is_copied = |entry: &StoreFile| !self.is_log(entry) && !self.is_entries(entry);
        for entry in self.entries(from)?.into_iter().filter(is_copied) {
            let target = to.join(&entry.name);
            if entry.is_dir {
                self.copy_dir(&entry.path, &target, progress)?;
            } else {
                self.copy_file(&entry, target, progress)?;
            }
        }
        Ok(())
    }

    fn copy_file(
        &self,
        file: &StoreFile,
        target: PathBuf,
        progress: Progress<'_>,
    ) -> Result<(), DoctorError> {
        let len = usize::try_from(file.len).unwrap_or(usize::MAX);
        if len == 0 {
            return self.disk.write(&target, b"").map_err(DoctorError::io(&target));
        }
        let region = self.disk.map(&target, len).map_err(DoctorError::io(&target))?;
        self.copy_bytes(&file.path, &region, len, progress)
    }

    /// Copies the first `len` bytes of a file, as far as it has them.
    pub(super) fn copy_bytes(
        &self,
        from: &Path,
        region: &MappedRegion,
        len: usize,
        progress: Progress<'_>,
    ) -> Result<(), DoctorError> {
        let mut at = 0;
        while at < len {
            let bytes = match self.disk.read_at(from, at as u64, COPIED_AT_ONCE_BYTES.min(len - at))
            {
                // Zeros take the place of a missing file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                read => read.map_err(DoctorError::io(from))?,
            };
            if bytes.is_empty() {
                break;
            }
            // What is zero is zero there already, and stays a hole where holes can be.
            for (index, page) in bytes.chunks(PAGE_SIZE).enumerate() {
                if page.iter().any(|byte| *byte != 0) {
                    region.write(at + index * PAGE_SIZE, page);
                }
            }
            at += bytes.len();
            progress(bytes.len() as u64);
        }
        Ok(())
    }
}

/// What the log can give again: the queues of its records, the index, and the checkpoint.
pub(super) fn derived(store: &MessageStore, root: &Path) -> Vec<PathBuf> {
    let min = store.commit_log().min_offset();
    let queues = store.consume_queues().all().into_iter();
    let queues =
        queues.filter(|queue| queue.max_physic_offset() == 0 || queue.max_physic_offset() > min);
    let dir = root.join("consumequeue");
    let queues = queues.map(|it| dir.join(it.topic()).join(it.queue_id().to_string()));
    queues.chain([root.join("index"), root.join("checkpoint")]).collect()
}

pub(super) fn read(
    store: &MessageStore,
    queue: &crate::consume_queue::ConsumeQueue,
) -> RecoveredQueue {
    let (topic, queue_id) = (queue.topic().to_owned(), queue.queue_id());
    let (min, max) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
    let (mut readable, mut offset) = (0, min);
    while offset < max {
        let result = store.get_message(&topic, queue_id, offset, 32, &MessageFilter::All);
        readable += result.messages.len() as u64;
        offset = result.next_begin_offset.max(offset + 1);
    }
    assert!(readable <= max.saturating_sub(min), "each message has a unit: {readable}");
    RecoveredQueue { topic, queue_id, min, max, readable }
}
