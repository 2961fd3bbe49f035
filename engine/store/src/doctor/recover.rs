//! `recover`: a copy of a store is started, and says what it holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mq_env::Env;
use mq_env::disk::PAGE_SIZE;
use serde::Serialize;

use super::{COMMIT_LOG, DoctorError, Progress, StoreDir, StoreFile};
use crate::config::{BrokerRole, FlushDiskType, StoreConfig};
use crate::get_result::MessageFilter;
use crate::message_store::MessageStore;
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

impl StoreDir {
    /// Copies the store to `copy`, the log into its `commitlog`, and starts and closes it there. With `salvage` damage below the
    /// durable watermark is passed over instead of refusing the start.
    ///
    /// # Errors
    /// When `copy` is in the way, what the disk says, and why the copy does not start.
    pub async fn recover(
        &self,
        env: Env,
        copy: &Path,
        salvage: bool,
        progress: Progress<'_>,
    ) -> Result<Recovered, DoctorError> {
        self.refuse_dledger()?;
        self.check_copy(copy)?;
        self.copy_dir(&self.root, copy, &mut *progress)?;
        self.copy_dir(&self.log_dir, &copy.join(COMMIT_LOG), progress)?;
        let mut config =
            StoreConfig { store_path_root_dir: copy.to_path_buf(), ..self.config.clone() };
        config.broker_role = BrokerRole::AsyncMaster;
        config.flush_disk_type = FlushDiskType::AsyncFlush;
        config.message_index_enable &=
            self.shape.index.is_some() || self.files(Path::new("index"))?.is_empty();
        config.salvage = salvage;
        // However long it takes and however full the disk is: nothing expires meanwhile.
        config.file_reserved_time_hours = u64::MAX;
        config.clean_file_forcibly_enable = false;
        let store = MessageStore::open(env, Arc::new(config)).await?;
        let recovered = Recovered {
            min_phy_offset: store.commit_log().min_offset(),
            max_phy_offset: store.commit_log().max_offset(),
            queues: store.consume_queues().all().iter().map(|it| read(&store, it)).collect(),
            report: store.recovery(),
        };
        store.shutdown().await;
        Ok(recovered)
    }

    fn check_copy(&self, copy: &Path) -> Result<(), DoctorError> {
        for dir in [&self.root, &self.log_dir] {
            if copy.starts_with(dir) || dir.starts_with(copy) {
                return Err(DoctorError::Overlap(dir.clone(), copy.to_path_buf()));
            }
        }
        match self.disk.list(copy) {
            Ok(entries) if !entries.is_empty() => Err(DoctorError::CopyExists(copy.to_path_buf())),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DoctorError::io(copy)(error))
            }
            _ => Ok(()),
        }
    }

    fn copy_dir(&self, from: &Path, to: &Path, progress: Progress<'_>) -> Result<(), DoctorError> {
        self.disk.create_dir_all(to).map_err(DoctorError::io(to))?;
        for entry in self.entries(from)?.into_iter().filter(|entry| !self.is_log(entry)) {
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
        let mut at = 0;
        while at < len {
            let read = self.disk.read_at(&file.path, at as u64, COPIED_AT_ONCE_BYTES);
            let bytes = read.map_err(DoctorError::io(&file.path))?;
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

fn read(store: &MessageStore, queue: &crate::consume_queue::ConsumeQueue) -> RecoveredQueue {
    let (topic, queue_id) = (queue.topic().to_owned(), queue.queue_id());
    let (min, max) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
    let (mut readable, mut offset) = (0, min);
    while offset < max {
        let result = store.get_message(&topic, queue_id, offset, 32, &MessageFilter::All);
        readable += result.messages.len() as u64;
        offset = result.next_begin_offset.max(offset + 1);
    }
    RecoveredQueue { topic, queue_id, min, max, readable }
}
