//! What a slave takes out of its log before it follows: [`Quarantine`], copies kept aside.
//!
//! Nothing is cut before its copy is durable. A copy lies in a directory of its own under
//! `<store>/quarantine`: raw files named by their first offset, as in the CommitLog, and
//! `quarantine.json`, which is written last and says range, reason, time and count.

use std::ops::Range;
use std::path::{Path, PathBuf};

use mq_env::Env;
use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};

use crate::commit_log::CommitLog;
use crate::error::StoreError;

/// Bytes that a slave set aside because its master has others, or none, in their place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// First byte, a CommitLog offset.
    pub from: u64,
    /// End.
    pub to: u64,
    /// Whole messages among them.
    pub messages: u64,
    /// Why they were taken out.
    pub reason: String,
    /// The master that the slave follows instead.
    pub master: String,
    /// When, in milliseconds since the epoch.
    pub time_ms: u64,
    /// Where the copy lies.
    #[serde(skip)]
    pub dir: PathBuf,
}

/// Copies `range` of the log aside, durably.
pub(crate) async fn copy_aside(
    env: &Env,
    log: &CommitLog,
    root: &Path,
    range: Range<u64>,
    reason: &str,
    master: &str,
) -> Result<Quarantine, StoreError> {
    let quarantine = describe(env, log, root, range.clone(), reason, master);
    log.copy_out(range, &quarantine.dir).await?;
    finish_aside(env, &quarantine).await?;
    Ok(quarantine)
}

/// Makes a directory for the whole log to go to; [`finish_aside`] follows once it is there.
pub(crate) async fn begin_aside(
    env: &Env,
    log: &CommitLog,
    root: &Path,
    reason: &str,
    master: &str,
) -> Result<Quarantine, StoreError> {
    let range = log.min_offset()..log.max_offset();
    let quarantine = describe(env, log, root, range.clone(), reason, master);
    // Nothing is copied: this makes the directory and the way to it durable.
    log.copy_out(range.start..range.start, &quarantine.dir).await?;
    Ok(quarantine)
}

/// Writes the description of a directory that is complete.
pub(crate) async fn finish_aside(env: &Env, quarantine: &Quarantine) -> Result<(), StoreError> {
    let path = quarantine.dir.join("quarantine.json");
    let what = format!("write of {}", path.display());
    let write = async {
        let text = serde_json::to_vec_pretty(quarantine)?;
        env.disk.write(&path, &text)?;
        env.disk.sync(&path).await?;
        env.disk.sync(&quarantine.dir).await
    };
    write.await.map_err(StoreError::io(what))
}

/// Ascending starts of the sound records in `range`, from its file's start on; its end is among
/// them when a record ends there.
pub(crate) fn record_boundaries(log: &CommitLog, range: Range<u64>) -> Vec<u64> {
    let start = log.file_start(range.start);
    let mut boundaries = vec![start.max(log.min_offset())];
    walk(log, start.max(log.min_offset())..range.end, |_, next| boundaries.push(next));
    assert!(boundaries.windows(2).all(|pair| pair[0] < pair[1]), "records end in their order");
    boundaries
}

/// Whole messages in `range`, which starts at a record.
fn count_messages(log: &CommitLog, range: Range<u64>) -> u64 {
    let mut messages = 0;
    walk(log, range, |is_message, _| messages += u64::from(is_message));
    messages
}

/// Visits the whole records in `range`: whether each is a message, and where it ends.
fn walk(log: &CommitLog, range: Range<u64>, mut visit: impl FnMut(bool, u64)) {
    let mut at = range.start;
    while at < range.end {
        let Some(data) = log.data(at) else { return };
        let (start, mut position) = (at, 0);
        // One turn per file.
        while position < data.len() {
            let rules = RecordRules::own(start + position as u64);
            let (is_message, next) = match check_record(&data[position..], &rules) {
                RecordCheck::Valid(record) => (true, start + (position + record.size()) as u64),
                RecordCheck::Blank { .. } => (false, log.roll_next_file(start)),
                RecordCheck::Zeros | RecordCheck::Torn(_) => return,
            };
            assert!(next > at, "what lies at {at} ends at {next}");
            if next > range.end {
                return;
            }
            visit(is_message, next);
            position = (next - start) as usize;
            at = next;
        }
    }
}

fn describe(
    env: &Env,
    log: &CommitLog,
    root: &Path,
    range: Range<u64>,
    reason: &str,
    master: &str,
) -> Quarantine {
    assert!(range.start <= range.end, "{range:?} is a piece of the log");
    assert!(range.end <= log.max_offset(), "and ends before the log does: {range:?}");
    let time_ms = env.clock.now_millis();
    Quarantine {
        from: range.start,
        to: range.end,
        messages: count_messages(log, range.clone()),
        reason: reason.to_owned(),
        master: master.to_owned(),
        time_ms,
        dir: fresh_dir(env, &root.join("quarantine"), &range, time_ms),
    }
}

/// A directory that does not exist yet: neither clock nor range is unique.
fn fresh_dir(env: &Env, parent: &Path, range: &Range<u64>, time_ms: u64) -> PathBuf {
    let name = format!("{:020}-{:020}-{time_ms}", range.start, range.end);
    let mut dir = parent.join(&name);
    let mut attempt = 1;
    while env.disk.stat(&dir).is_ok() {
        attempt += 1;
        dir = parent.join(format!("{name}-{attempt}"));
    }
    dir
}
