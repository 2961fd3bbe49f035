//! A store's CommitLog and ConsumeQueues as they lie on a simulated disk, read without the store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mq_mapped_file::file_name;
use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};
use mq_protocol::message::{self, MessageConst, PropertiesView};
use mq_protocol::message_codec::{RecordCheck, RecordRules, RecordView, check_record};
use mq_protocol::topic_deletion::TOPIC_DELETED;
use mq_protocol::topic_validator::RMQ_SYS_SCHEDULE_TOPIC;
use staticfire_world::disk::SimDisk;

use super::log_damage::meets;
use super::window::Window;
use crate::check::replicas::{IndexedRecord, QueueUnits, Unit};
use crate::history::{DELETION_NUMBER, message_number};

/// Where a store keeps its CommitLog and ConsumeQueues.
#[derive(Clone, Debug)]
pub struct StoreDirs {
    /// Directory of the CommitLog.
    pub commit_log: PathBuf,
    /// Size of a CommitLog file in bytes.
    pub commit_log_file_bytes: u64,
    /// The log is a DLedger node's: its records lie in entries, each behind a header.
    pub has_entries: bool,
    /// Directory of the ConsumeQueues.
    pub consume_queue: PathBuf,
    /// Size of a ConsumeQueue file in bytes.
    pub consume_queue_file_bytes: u64,
    /// What delayed messages wait, in milliseconds, level 1 first.
    pub delay_levels_ms: Vec<u64>,
}

/// One sound record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its queue entry, as a rebuild would write it.
    pub indexed: IndexedRecord,
    /// The workload's number in its key, if it is a message of the workload.
    pub number: Option<u32>,
}

impl FoundRecord {
    /// First byte behind the record.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.indexed.unit.phy_offset + u64::from(self.indexed.unit.size_bytes)
    }
}

/// A walk over a log from its first byte to the first thing that is no record.
#[derive(Clone, Debug, Default)]
pub struct LogWalk {
    /// First byte.
    pub min: u64,
    /// End of the last sound record.
    pub end: u64,
    /// The records, but those of topics that were deleted behind them.
    pub records: Vec<FoundRecord>,
    /// Those.
    pub deleted: Vec<FoundRecord>,
    /// The records that say that their topic was deleted.
    pub deletions: Vec<FoundRecord>,
    /// Ranges that the walk passed over, because a device damaged them.
    pub gaps: Vec<Range<u64>>,
}

impl LogWalk {
    fn add(&mut self, found: FoundRecord) {
        if found.number != Some(DELETION_NUMBER) {
            return self.records.push(found);
        }
        let is_of_topic = |it: &FoundRecord| it.indexed.topic == found.indexed.topic;
        self.deleted.extend(self.records.extract_if(.., |it| is_of_topic(it)));
        self.deletions.push(found);
    }
}

/// The disk of a store and where on it the store lies.
#[derive(Clone)]
pub struct LogView {
    pub(super) disk: Arc<SimDisk>,
    pub(super) dirs: StoreDirs,
    /// The log file looked at last, by its first byte: acknowledgements come in the order of the log.
    last_file: Arc<Mutex<LastFile>>,
}

/// A log file by its first byte.
#[derive(Default)]
struct LastFile(Option<(u64, Arc<Path>)>);

impl LogView {
    /// A view of the store at `dirs` on `disk`.
    #[must_use]
    pub fn new(disk: Arc<SimDisk>, dirs: StoreDirs) -> Self {
        LogView { disk, dirs, last_file: Arc::default() }
    }

    /// Reads a range as processes see it; bytes of missing files read as zero.
    #[must_use]
    pub fn read(&self, range: Range<u64>) -> Vec<u8> {
        self.read_live(range)
    }

    /// Whether a range would survive power loss as processes see it now.
    #[must_use]
    pub fn is_durable(&self, range: Range<u64>) -> bool {
        self.pieces(range).all(|(path, within)| {
            self.disk.exists_durably(&path) && self.disk.first_unsynced(&path, within).is_none()
        })
    }

    /// Whether the range holds the same bytes here and at `other`.
    #[must_use]
    pub fn same_bytes(&self, other: &LogView, range: Range<u64>) -> bool {
        let start = range.start;
        other.holds(start, &self.read(range))
    }

    /// Whether the log has these bytes at `start`.
    #[must_use]
    pub fn holds(&self, start: u64, bytes: &[u8]) -> bool {
        self.pieces(start..start + bytes.len() as u64).all(|(path, within)| {
            let log_offset = offset_in_name(&path).unwrap_or_default() + within.start;
            let from = (log_offset - start) as usize;
            let len = (within.end - within.start) as usize;
            self.disk.is_live(&path, within.start, &bytes[from..from + len])
        })
    }

    /// Whether nothing was written at `end_offset`, or the log's last file ends there.
    #[must_use]
    pub fn ends_at(&self, end_offset: u64) -> bool {
        let bytes = self.read(end_offset..end_offset + 4);
        bytes.iter().all(|byte| *byte == 0)
    }

    /// Whether the record that begins at `phy_offset` would survive power loss.
    #[must_use]
    pub fn is_record_durable(&self, phy_offset: u64) -> bool {
        self.is_durable(self.record_range(phy_offset))
    }

    /// The record that begins at `phy_offset`, as far as its size says.
    pub(super) fn record_range(&self, phy_offset: u64) -> Range<u64> {
        let size = self.read(phy_offset..phy_offset + 4).try_into().map_or(0, u32::from_be_bytes);
        phy_offset..phy_offset + u64::from(size.max(4))
    }

    /// Whether a sound record begins at `phy_offset`, as processes see it.
    #[must_use]
    pub fn has_record(&self, phy_offset: u64) -> bool {
        is_record(phy_offset, &self.read(self.record_range(phy_offset)))
    }

    /// First byte behind the log's end `end_offset`, in the file of that end, that is not durably
    /// zero; looks at 64 KiB.
    #[must_use]
    pub fn leftover_behind(&self, end_offset: u64) -> Option<u64> {
        let file_bytes = self.dirs.commit_log_file_bytes;
        let file_from = end_offset - end_offset % file_bytes;
        let to = (end_offset + (64 << 10)).min(file_from + file_bytes);
        let (path, within) = self.pieces(end_offset..to).next()?;
        let bytes = self.disk.live_bytes(&path, within.clone())?;
        let stale = bytes.iter().position(|byte| *byte != 0).map(|at| within.start + at as u64);
        let stale = stale.or_else(|| self.disk.first_unsynced(&path, within));
        stale.map(|at| file_from + at)
    }

    /// First byte of the log; `None` if there is none.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        self.disk
            .paths_under(&self.dirs.commit_log)
            .iter()
            .filter_map(|path| offset_in_name(path))
            .min()
    }

    /// Walks the log as processes see it.
    #[must_use]
    pub fn walk(&self) -> LogWalk {
        let Some(min) = self.min() else { return LogWalk::default() };
        let mut walk = LogWalk { min, end: min, ..LogWalk::default() };
        let file_bytes = self.dirs.commit_log_file_bytes;
        let mut at = min;
        let mut window = Window::default();
        let damage = self.damage();
        loop {
            let file_end = at - at % file_bytes + file_bytes;
            let step = self.step(window.ensure(self, at, file_end), at);
            match step {
                Step::Unqueued { end } => {
                    at = end;
                    walk.end = at;
                }
                Step::Record(found) => {
                    let record = at..found.end_offset();
                    at = record.end;
                    walk.end = at;
                    // Only the body has a checksum.
                    match damage.iter().any(|damage| meets(&damage.range, &record)) {
                        true => walk.gaps.push(record),
                        false => walk.add(found),
                    }
                }
                Step::Blank if self.file_exists(file_end) => at = file_end,
                Step::Torn { stated_bytes } if window.grow(stated_bytes, at, file_end) => {}
                Step::Blank | Step::Torn { .. } | Step::End => {
                    let Some(behind) = self.behind_damage(&damage, at, file_end) else {
                        return walk;
                    };
                    walk.gaps.push(at..behind);
                    window = Window::default();
                    at = behind;
                }
            }
        }
    }

    /// What begins at `at`, of which the log has `bytes` there.
    pub(super) fn step(&self, bytes: &[u8], at: u64) -> Step {
        match self.dirs.has_entries {
            true => self.step_entry(bytes, at),
            false => self.step_record(bytes, at),
        }
    }

    pub(super) fn step_record(&self, bytes: &[u8], at: u64) -> Step {
        match check_record(bytes, &RecordRules::strict(at as i64)) {
            RecordCheck::Valid(record) => {
                Step::Record(found_record(at, &record, &self.dirs.delay_levels_ms))
            }
            RecordCheck::Blank { .. } => Step::Blank,
            RecordCheck::Torn(_) => Step::Torn { stated_bytes: stated_bytes(bytes) },
            RecordCheck::Zeros => Step::End,
        }
    }

    /// End of the part of `range` that would survive power loss.
    #[must_use]
    pub fn durable_end(&self, range: Range<u64>) -> u64 {
        for (path, within) in self.pieces(range.clone()) {
            let file_from = offset_in_name(&path).unwrap_or_default();
            if !self.disk.exists_durably(&path) {
                return file_from + within.start;
            }
            if let Some(at) = self.disk.first_unsynced(&path, within) {
                return file_from + at;
            }
        }
        range.end
    }

    /// End of the part of `range` that `other` holds as well.
    #[must_use]
    pub fn common_end(&self, other: &LogView, range: Range<u64>) -> u64 {
        range.start + common_bytes(&self.read(range.clone()), &other.read(range))
    }

    /// The ConsumeQueues as processes see them, without fillers, unwritten tails and what points below
    /// the log's first byte, which readers leave out until its file goes, too.
    #[must_use]
    pub fn queues(&self) -> BTreeMap<(Arc<str>, u32), QueueUnits> {
        let mut files: BTreeMap<(Arc<str>, u32), BTreeMap<u64, PathBuf>> = BTreeMap::new();
        for path in self.disk.paths_under(&self.dirs.consume_queue) {
            let Some((topic, queue_id)) = queue_of(&path, &self.dirs.consume_queue) else {
                continue;
            };
            if let Some(offset) = offset_in_name(&path) {
                files.entry((topic, queue_id)).or_default().insert(offset, path);
            }
        }
        let min = self.min().unwrap_or_default();
        files.into_iter().map(|(key, files)| (key, self.queue_units(&files).from(min))).collect()
    }

    /// How many records outside of `gaps` the ConsumeQueues point at.
    #[must_use]
    pub fn queued_records(&self, gaps: &[Range<u64>]) -> usize {
        let queues = self.queues();
        let units = queues.values().flat_map(|queue| &queue.units);
        let points_at_gap = |unit: &Unit| gaps.iter().any(|gap| gap.contains(&unit.phy_offset));
        units.filter(|unit| **unit != Unit::HOLE && !points_at_gap(unit)).count()
    }

    fn queue_units(&self, files: &BTreeMap<u64, PathBuf>) -> QueueUnits {
        let mut queue = QueueUnits::default();
        'files: for (from, path) in files {
            let mut index = from / CQ_STORE_UNIT_BYTES as u64;
            for start in (0..self.dirs.consume_queue_file_bytes).step_by(QUEUE_CHUNK_BYTES) {
                let end = self.dirs.consume_queue_file_bytes.min(start + QUEUE_CHUNK_BYTES as u64);
                let bytes = self.disk.live_bytes(path, start..end).unwrap_or_default();
                for unit in bytes.chunks_exact(CQ_STORE_UNIT_BYTES) {
                    if !queue.push(index, unit) {
                        break 'files;
                    }
                    index += 1;
                }
            }
        }
        queue
    }

    fn read_live(&self, range: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
        for (path, within) in self.pieces(range) {
            let len = usize::try_from(within.end - within.start).unwrap_or(0);
            let piece = self.disk.live_bytes(&path, within);
            let start = bytes.len();
            bytes.extend(piece.unwrap_or_default());
            bytes.resize(start + len, 0);
        }
        bytes
    }

    /// The files that a range touches, and which part of each.
    fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = (Arc<Path>, Range<u64>)> {
        let file_bytes = self.dirs.commit_log_file_bytes;
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let from = at - at % file_bytes;
            let to = range.end.min(from + file_bytes);
            let piece = (self.file_path(from), at - from..to - from);
            at = to;
            Some(piece)
        })
    }

    fn file_path(&self, from: u64) -> Arc<Path> {
        let mut last = self.last_file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, path)) = &last.0
            && *known == from
        {
            return Arc::clone(path);
        }
        let path: Arc<Path> = Arc::from(self.dirs.commit_log.join(file_name(from)));
        last.0 = Some((from, Arc::clone(&path)));
        path
    }

    pub(super) fn file_exists(&self, from: u64) -> bool {
        self.disk.live_bytes(&self.file_path(from), 0..1).is_some()
    }
}

/// Bytes of a ConsumeQueue read at a time; whole units.
const QUEUE_CHUNK_BYTES: usize = CQ_STORE_UNIT_BYTES * 64;

impl QueueUnits {
    /// Without the first units that point below `min_phy_offset`.
    fn from(mut self, min_phy_offset: u64) -> QueueUnits {
        let is_below = |unit: &&Unit| unit.phy_offset < min_phy_offset;
        let below = self.units.iter().take_while(is_below).count();
        self.units.drain(..below);
        self.min_offset += below as u64;
        self
    }

    /// Adds the unit at `index` unless it is a filler; `false` where nothing was written yet.
    fn push(&mut self, index: u64, bytes: &[u8]) -> bool {
        match ConsumeQueueUnit::decode(bytes) {
            Some(unit) if unit == ConsumeQueueUnit::FILLER => true,
            Some(unit) if unit.size > 0 => {
                if self.units.is_empty() {
                    self.min_offset = index;
                }
                while self.min_offset + (self.units.len() as u64) < index {
                    self.units.push(Unit::HOLE);
                }
                self.units.push(Unit {
                    phy_offset: unit.phy_offset as u64,
                    size_bytes: unit.size.unsigned_abs(),
                    tags_code: unit.tags_code,
                });
                true
            }
            _ => false,
        }
    }
}

/// What a walk meets.
pub(super) enum Step {
    Record(FoundRecord),
    /// A record that is in no queue.
    Unqueued {
        /// First byte behind it.
        end: u64,
    },
    Blank,
    /// No record, or one of which only a part was shown.
    Torn {
        /// The size it states.
        stated_bytes: u64,
    },
    End,
}

/// Whether exactly these bytes are a sound record of `phy_offset`.
#[must_use]
pub fn is_record(phy_offset: u64, bytes: &[u8]) -> bool {
    sound_record(phy_offset, bytes).is_some()
}

/// These bytes as a sound record of `phy_offset`, if they are just that.
pub(super) fn sound_record(phy_offset: u64, bytes: &[u8]) -> Option<RecordView<'_>> {
    match check_record(bytes, &RecordRules::strict(phy_offset as i64)) {
        RecordCheck::Valid(record) if record.size() == bytes.len() => Some(record),
        _ => None,
    }
}

/// The workload's number in the record's key, if it is a message of the workload; [`DELETION_NUMBER`] where its topic
/// was deleted.
pub(super) fn number_of(properties: PropertiesView<'_>) -> Option<u32> {
    match properties.get(TOPIC_DELETED) {
        Some(_) => Some(DELETION_NUMBER),
        None => message_number(properties.get(MessageConst::KEYS)?),
    }
}

/// The total size that the bytes of a record begin with; 0 if it is none.
fn stated_bytes(bytes: &[u8]) -> u64 {
    let size = bytes.first_chunk().map_or(0, |size| i32::from_be_bytes(*size));
    u64::try_from(size).unwrap_or(0)
}

fn found_record(at: u64, record: &RecordView<'_>, delay_levels_ms: &[u64]) -> FoundRecord {
    let properties = record.properties();
    let properties = PropertiesView::new(&properties);
    let number = number_of(properties);
    FoundRecord {
        indexed: IndexedRecord {
            topic: Arc::from(&*record.topic()),
            queue_id: record.queue_id().unsigned_abs(),
            queue_offset: record.queue_offset().unsigned_abs(),
            unit: Unit {
                phy_offset: at,
                size_bytes: u32::try_from(record.size()).unwrap_or(u32::MAX),
                tags_code: tags_code(record, properties, delay_levels_ms),
            },
        },
        number,
    }
}

/// The hash of the tag; of a message that waits in the schedule topic the time of its delivery.
fn tags_code(
    record: &RecordView<'_>,
    properties: PropertiesView<'_>,
    delay_levels_ms: &[u64],
) -> i64 {
    let level = properties.get(MessageConst::DELAY).and_then(|level| level.parse::<usize>().ok());
    let delay_ms = level.and_then(|level| delay_levels_ms.get(level.checked_sub(1)?));
    match delay_ms.filter(|_| record.topic() == RMQ_SYS_SCHEDULE_TOPIC) {
        Some(delay_ms) => record.store_timestamp().saturating_add_unsigned(*delay_ms),
        None => message::tags_code(properties.get(MessageConst::TAGS)),
    }
}

/// How many bytes agree from the start.
fn common_bytes(one: &[u8], other: &[u8]) -> u64 {
    let agree = one.iter().zip(other).position(|(a, b)| a != b);
    agree.unwrap_or(one.len().min(other.len())) as u64
}

pub(super) fn offset_in_name(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Topic and queue of a ConsumeQueue file: `<dir>/<topic>/<queueId>/<file>`.
fn queue_of(path: &Path, dir: &Path) -> Option<(Arc<str>, u32)> {
    let mut parts = path.strip_prefix(dir).ok()?.iter();
    let topic = parts.next()?.to_str()?;
    let queue_id = parts.next()?.to_str()?.parse().ok()?;
    Some((Arc::from(topic), queue_id))
}
