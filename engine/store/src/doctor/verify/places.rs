//! Checkpoint and watermark, and files that are none of the store's.

use std::path::Path;

use mq_env::disk::PAGE_SIZE;

use super::{Finding, Severity, Verdict};
use crate::checkpoint::CheckpointTimes;
use crate::doctor::{DoctorError, KEPT_ON_PURPOSE, StoreDir, StoreFile, is_number};
use crate::durable_mark::damaged_slots;
use crate::preflight::{is_dledger, queue_id_of};

/// A checkpoint may be ahead of the log by as much as a start may have cut; nobody's clock is wrong by
/// more than this in milliseconds.
const AHEAD_MAX_MS: i64 = 86_400_000;

/// What may be in the root of a store of RocketMQ or of ours.
const ROOT: [&str; 12] = [
    "abort",
    "checkpoint",
    "commitlog",
    "config",
    "consumequeue",
    "consumequeue_ext",
    "damaged.json",
    "damaged.json.bak",
    "durable",
    "index",
    "lock",
    "quarantine",
];

impl StoreDir {
    /// Looks at checkpoint and watermark. The newest record was stored at `newest_ms`.
    pub(super) fn check_marks(
        &self,
        newest_ms: i64,
        verdict: &mut Verdict,
    ) -> Result<(), DoctorError> {
        if let Some(bytes) = self.small("durable")? {
            let text = match damaged_slots(&bytes) {
                0 => None,
                1 => Some(
                    "one of its two copies is damaged; a start takes the other, or RocketMQ's rules",
                ),
                _ => Some("both its copies are damaged; a start refuses"),
            };
            if let Some(text) = text {
                verdict.add(Severity::Damage, "durable", text);
            }
        }
        let Some(bytes) = self.small("checkpoint")? else { return Ok(()) };
        if bytes.len() != PAGE_SIZE {
            let text = format!("has {} bytes instead of {PAGE_SIZE}", bytes.len());
            // What a crash leaves that came while it was made.
            let severity = if bytes.is_empty() { Severity::Note } else { Severity::Damage };
            verdict.add(severity, "checkpoint", text);
        }
        let times = CheckpointTimes::of_file(&bytes);
        for (what, at_ms) in [
            ("the log", times.physic_msg_timestamp),
            ("the ConsumeQueues", times.logics_msg_timestamp),
            ("the index", times.index_msg_timestamp),
        ] {
            if at_ms < 0 || at_ms > newest_ms.saturating_add(AHEAD_MAX_MS) {
                let text = format!(
                    "says that messages stored up to {at_ms} are durable in {what}; the newest one was \
                     stored at {newest_ms}"
                );
                verdict.add(Severity::Damage, "checkpoint", text);
            }
        }
        Ok(())
    }

    /// Names files and directories that neither RocketMQ nor this engine puts there.
    pub(super) fn check_strays(&self, verdict: &mut Verdict) -> Result<(), DoctorError> {
        let mut strays = Vec::new();
        let mut look = |dir: &Path, is_known: &dyn Fn(&StoreFile) -> bool| {
            let entries = self.entries(&self.root.join(dir))?;
            let others = entries.into_iter().filter(|entry| !is_known(entry));
            strays.extend(others.map(|entry| entry.path));
            Ok::<(), DoctorError>(())
        };
        look(Path::new(""), &|entry| {
            ROOT.contains(&entry.name.as_str())
                || entry.name == KEPT_ON_PURPOSE
                || entry.is_dir && is_dledger(&entry.name)
                || entry.path == self.log_dir
        })?;
        look(&self.log_dir, &|entry| !entry.is_dir && is_number(&entry.name, 20))?;
        look(Path::new("index"), &|entry| !entry.is_dir && is_number(&entry.name, 17))?;
        look(Path::new("consumequeue"), &|entry| entry.is_dir)?;
        for topic in self.entries(&self.root.join("consumequeue"))?.iter().filter(|it| it.is_dir) {
            look(&topic.path, &|entry| entry.is_dir && queue_id_of(&entry.name).is_some())?;
        }
        for queue in self.queues()? {
            let dir = Path::new("consumequeue").join(&queue.topic).join(queue.queue_id.to_string());
            look(&dir, &|entry| !entry.is_dir && is_number(&entry.name, 20))?;
        }
        for path in strays {
            let place = path.strip_prefix(&self.root).unwrap_or(&path).display().to_string();
            verdict.add(
                Severity::Note,
                place,
                "is no file of the store's; a start leaves it alone",
            );
        }
        Ok(())
    }

    /// What was kept on purpose when this store was recovered.
    pub(super) fn kept_on_purpose(&self) -> Vec<Finding> {
        let bytes = self.disk.read(&self.root.join(KEPT_ON_PURPOSE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, DoctorError> {
        if !self.has(name) {
            return Ok(None);
        }
        let path = self.root.join(name);
        self.disk.read_at(&path, 0, PAGE_SIZE + 1).map(Some).map_err(DoctorError::io(&path))
    }
}
