//! [`ConsumeQueue`]: the index of one queue, 20 bytes per message.
//!
//! Unit `n` is at byte `20 × n` and points at the message with queue offset `n`. Units are dense
//! and their physical offsets ascend. One writer (the dispatcher); readers stay below the end.
//!
//! Java origin: `ConsumeQueue` of RocketMQ 4.9, without the extension file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mq_env::disk::Disk;
use mq_mapped_file::{
    Cut, Known, LoadError, LoadPlan, MappedFile, MappedFileQueue, SelectedBuffer, UnsyncedEntries,
};
use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};
use mq_protocol::message_codec::RECORD_BYTES_MIN;

use crate::plant::{Plant, planted_on_this_thread};

const UNIT: u64 = CQ_STORE_UNIT_BYTES as u64;
/// A queue may go on so many units behind where its log has room for it to be.
const FILLERS_MAX: u64 = 1 << 16;

/// The index of one queue.
pub struct ConsumeQueue {
    topic: String,
    queue_id: u32,
    queue: MappedFileQueue,
    /// End of the record that the last unit points at.
    max_physic_offset: AtomicU64,
    /// Byte offset of the first unit that points into the log.
    min_logic_offset: AtomicU64,
}

impl ConsumeQueue {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        root: &Path,
        file_size: usize,
        entries: UnsyncedEntries,
        topic: &str,
        queue_id: u32,
    ) -> Self {
        let dir = root.join("consumequeue").join(topic).join(queue_id.to_string());
        ConsumeQueue {
            topic: topic.to_owned(),
            queue_id,
            queue: MappedFileQueue::new(disk, root, dir, file_size)
                .with_sparse_files()
                .with_unsynced_entries(entries),
            max_physic_offset: AtomicU64::new(0),
            min_logic_offset: AtomicU64::new(0),
        }
    }

    /// The queue's topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The queue's id.
    #[must_use]
    pub fn queue_id(&self) -> u32 {
        self.queue_id
    }

    /// Queue offset of the oldest message.
    #[must_use]
    pub fn min_offset_in_queue(&self) -> u64 {
        self.min_logic_offset.load(Ordering::Acquire) / UNIT
    }

    /// Queue offset behind the newest message.
    #[must_use]
    pub fn max_offset_in_queue(&self) -> u64 {
        self.queue.max_offset() / UNIT
    }

    /// Physical offset behind the record that the last unit points at; 0 without units.
    #[must_use]
    pub fn max_physic_offset(&self) -> u64 {
        self.max_physic_offset.load(Ordering::Acquire)
    }

    /// The units from `queue_offset` on in the file that holds it (RocketMQ 4.9 `getIndexBuffer`).
    #[must_use]
    pub fn units_from(&self, queue_offset: u64) -> Option<SelectedBuffer> {
        let offset = queue_offset.checked_mul(UNIT)?;
        if offset < self.min_logic_offset.load(Ordering::Acquire) {
            return None;
        }
        self.queue.select_from(offset)
    }

    /// The unit at `queue_offset`.
    #[must_use]
    pub fn unit(&self, queue_offset: u64) -> Option<ConsumeQueueUnit> {
        ConsumeQueueUnit::decode(&self.units_from(queue_offset)?)
    }

    /// First queue offset of the file behind the one that holds `queue_offset`.
    #[must_use]
    pub fn roll_next_file(&self, queue_offset: u64) -> u64 {
        let units_per_file = self.queue.file_size() as u64 / UNIT;
        let next = queue_offset - queue_offset % units_per_file + units_per_file;
        assert!(next > queue_offset, "the next file lies behind");
        next
    }

    /// Adds the unit of the record at `unit.phy_offset` with queue offset `queue_offset`. A record
    /// that already has its unit is passed over, so dispatching again is harmless.
    ///
    /// # Errors
    /// When the next file cannot be created or there are no blocks for the unit; at most fillers before
    /// it were added then.
    pub(crate) fn put_message_position_info(
        &self,
        unit: ConsumeQueueUnit,
        queue_offset: u64,
    ) -> io::Result<()> {
        let end_offset = unit.phy_offset as u64 + unit.size as u64;
        if end_offset <= self.max_physic_offset() {
            return Ok(());
        }
        let end = self.queue.max_offset() / UNIT;
        if !is_possible_offset(queue_offset, end, unit.phy_offset as u64, self.max_physic_offset())
        {
            tracing::error!(
                topic = self.topic,
                queue_id = self.queue_id,
                queue_offset,
                end,
                "record states a queue offset that no queue can have; it gets no unit"
            );
            return Ok(());
        }
        assert!(unit.size > 0 && unit.phy_offset >= 0, "a unit points at a record: {unit:?}");
        let expected = queue_offset * UNIT;
        let file = self.queue.last_or_create(expected)?;
        if self.queue.max_offset() == file.file_from_offset() && self.is_first(&file) {
            self.fill_before(&file, expected)?;
        }
        let end = self.queue.max_offset();
        if expected < end {
            tracing::warn!(
                topic = self.topic,
                queue_id = self.queue_id,
                queue_offset,
                end = end / UNIT,
                "record repeats a queue offset and gets no unit"
            );
            return Ok(());
        }
        if expected > end {
            tracing::error!(
                topic = self.topic,
                queue_id = self.queue_id,
                queue_offset,
                end = end / UNIT,
                "units are missing; fillers take their places"
            );
            return self.fill_gap_and_append(expected, unit, end_offset);
        }
        self.append(&file, unit)?;
        self.note_last(expected, end_offset);
        Ok(())
    }

    /// Adds a unit to `file`, which takes disk as it fills and has room.
    fn append(&self, file: &MappedFile, unit: ConsumeQueueUnit) -> io::Result<()> {
        assert!(file.wrote_position().is_multiple_of(CQ_STORE_UNIT_BYTES), "units are whole");
        self.queue.make_room(file, CQ_STORE_UNIT_BYTES)?;
        let appended = file.append(&unit.encode());
        assert!(appended.is_some(), "a file that is not full takes a whole unit");
        Ok(())
    }

    /// The unit at `offset` is the last one now, of a record that ends at `end_offset`.
    fn note_last(&self, offset: u64, end_offset: u64) {
        assert_eq!(self.queue.max_offset(), offset + UNIT, "queue offsets are dense");
        let before = self.max_physic_offset.swap(end_offset, Ordering::AcqRel);
        assert!(end_offset > before, "units ascend: {end_offset} behind {before}");
    }

    /// What [`ConsumeQueue::load`] is to do. Changes nothing.
    pub(crate) fn plan_load(&self, is_salvage: bool) -> Result<LoadPlan, LoadError> {
        self.queue.plan_load(Known { durable_end: None, is_salvage })
    }

    /// Maps the files.
    pub(crate) fn load(&self, plan: &LoadPlan) -> Result<(), LoadError> {
        self.queue.load(plan, &[]).map(|_| ())
    }

    /// Shows every unit that points at a record, whatever its place.
    pub(crate) fn for_each_unit(&self, mut visit: impl FnMut(ConsumeQueueUnit)) {
        for file in self.queue.files() {
            let units = file.raw(0..file.wrote_position()).chunks_exact(CQ_STORE_UNIT_BYTES);
            let units = units.filter_map(ConsumeQueueUnit::decode);
            let is_record =
                |unit: &ConsumeQueueUnit| *unit != ConsumeQueueUnit::FILLER && unit.size > 0;
            units.filter(is_record).for_each(&mut visit);
        }
    }

    /// Ends the queue, after [`ConsumeQueue::load`], before its first unit that does not point
    /// below `phy_offset`. What is kept counts as durable.
    pub(crate) fn recover(&self, phy_offset: u64, erase: bool) -> Cut {
        let cut = self.truncate(phy_offset, erase);
        self.queue.set_flushed_where(self.queue.max_offset());
        assert!(self.queue.max_offset().is_multiple_of(UNIT), "what is kept are whole units");
        cut
    }

    /// Ends the queue before its first unit that does not point below `phy_offset`.
    pub(crate) fn truncate(&self, phy_offset: u64, erase: bool) -> Cut {
        let files = self.queue.files();
        let starts_below = |file: &&Arc<MappedFile>| {
            file.wrote_position() >= CQ_STORE_UNIT_BYTES
                && ConsumeQueueUnit::decode(file.raw(0..CQ_STORE_UNIT_BYTES))
                    .is_some_and(|unit| is_below(&unit, phy_offset))
        };
        // Units ascend: the end lies in the last file that starts below.
        let Some(last) = files.iter().rev().find(starts_below) else {
            return match files.first().map_or(0, |first| first.file_from_offset()) {
                0 => self.clear(),
                // Files before the first one have expired; the queue goes on where they ended.
                from => {
                    self.max_physic_offset.store(0, Ordering::Release);
                    self.queue.cut(from, erase)
                }
            };
        };
        let (sound, max_physic_offset) =
            sound_units(last.raw(0..last.wrote_position()), phy_offset);
        assert!(sound.is_multiple_of(CQ_STORE_UNIT_BYTES), "a cut leaves whole units");
        self.max_physic_offset.store(max_physic_offset, Ordering::Release);
        let end = last.file_from_offset() + sound as u64;
        let cut = self.queue.cut(end, erase);
        assert_eq!(self.queue.max_offset(), end, "a queue ends behind its last sound unit");
        cut
    }

    /// Takes every unit out of the queue, so that the next one may have any offset.
    pub(crate) fn clear(&self) -> Cut {
        self.max_physic_offset.store(0, Ordering::Release);
        self.min_logic_offset.store(0, Ordering::Release);
        let cut = self.queue.cut_all();
        assert_eq!(self.max_offset_in_queue(), 0, "a queue without units begins at 0");
        cut
    }

    /// Takes the first file out of the queue if all its units point below `min_phy_offset`; its
    /// path. Never the last file (RocketMQ 4.9 `deleteExpiredFileByOffset`).
    pub(crate) fn retire_first_below(&self, min_phy_offset: u64) -> Option<PathBuf> {
        let first = self.queue.first()?;
        let looks_at_first = planted_on_this_thread(Plant::QueueFileTooMany);
        let end = if looks_at_first { 0 } else { first.file_size() - CQ_STORE_UNIT_BYTES };
        let is_below = first.is_full()
            && ConsumeQueueUnit::decode(first.raw(end..end + CQ_STORE_UNIT_BYTES))
                .is_some_and(|unit| is_below(&unit, min_phy_offset));
        let path = first.path().to_path_buf();
        (is_below && self.queue.retire_first(first.file_from_offset())).then_some(path)
    }

    /// Removes what was retired. Whoever reads keeps what is held. The caller excludes syncs.
    pub(crate) async fn remove_retired(&self) -> io::Result<()> {
        self.queue.remove_retired(true).await.map(|_| ())
    }

    pub(crate) async fn settle(&self, cut: Cut) -> io::Result<()> {
        self.queue.settle(cut).await
    }

    /// Moves the minimum to the first unit that points at or above `min_phy_offset`, or to the end.
    pub(crate) fn correct_min_offset(&self, min_phy_offset: u64) {
        let pointer = |unit: &[u8]| {
            ConsumeQueueUnit::decode(unit).filter(|unit| *unit != ConsumeQueueUnit::FILLER)
        };
        let is_in_log = |unit: &ConsumeQueueUnit| unit.phy_offset as u64 >= min_phy_offset;
        let found = self.queue.files().into_iter().find_map(|file| {
            let mut units = file.raw(0..file.wrote_position()).chunks_exact(CQ_STORE_UNIT_BYTES);
            // Units ascend: the last one tells whether the file has any. Fillers may stand behind it, where a
            // cut took what they made room for.
            units.clone().rev().find_map(pointer).filter(is_in_log)?;
            let index =
                units.position(|unit| pointer(unit).is_some_and(|unit| is_in_log(&unit)))?;
            Some(file.file_from_offset() + index as u64 * UNIT)
        });
        let found = found.map(|at| {
            if at > 0 && planted_on_this_thread(Plant::QueueMinimumTooHigh) {
                at + UNIT
            } else {
                at
            }
        });
        let min_logic_offset = found.unwrap_or_else(|| self.queue.max_offset());
        assert!(min_logic_offset.is_multiple_of(UNIT), "a queue begins with a unit");
        assert!(min_logic_offset <= self.queue.max_offset(), "a queue begins before it ends");
        self.min_logic_offset.store(min_logic_offset, Ordering::Release);
    }

    /// Whether [`ConsumeQueue::flush`] would sync anything.
    pub(crate) fn is_able_to_flush(&self, least_pages: usize) -> bool {
        self.queue.is_able_to_flush(least_pages)
    }

    pub(crate) async fn flush(&self, least_pages: usize) -> Result<(), mq_mapped_file::FlushError> {
        self.queue.flush(least_pages).await.map(|_| ())
    }

    fn is_first(&self, file: &Arc<MappedFile>) -> bool {
        self.queue.min_offset() == Some(file.file_from_offset())
    }

    /// A queue that does not begin at 0 begins inside its first file: fillers stand before. An empty
    /// file that a crash left may end before that.
    fn fill_before(&self, file: &MappedFile, offset: u64) -> io::Result<()> {
        // The file may end before: what is missing behind it is a gap.
        let wanted = offset.saturating_sub(file.file_from_offset()) as usize;
        let position = wanted.min(file.file_size());
        assert!(position.is_multiple_of(CQ_STORE_UNIT_BYTES), "fillers are whole units");
        // All or nothing: a file that begins with some of them would look like one with a gap.
        self.queue.make_room(file, position.saturating_sub(file.wrote_position()))?;
        while file.wrote_position() < position {
            self.append(file, ConsumeQueueUnit::FILLER)?;
        }
        if offset > 0 {
            self.min_logic_offset.store(offset, Ordering::Release);
        }
        Ok(())
    }

    fn fill_gap_and_append(
        &self,
        offset: u64,
        unit: ConsumeQueueUnit,
        end_offset: u64,
    ) -> io::Result<()> {
        while self.queue.max_offset() < offset {
            self.append(&*self.queue.last_or_create(offset)?, ConsumeQueueUnit::FILLER)?;
        }
        self.append(&*self.queue.last_or_create(offset)?, unit)?;
        self.note_last(offset, end_offset);
        Ok(())
    }
}

/// Whether the record at `phy_offset` can have `queue_offset` in a queue that ends at `end` with a record
/// up to `max_physic_offset`: each message in between took up room in the log. What is stated wrongly
/// would be made true with fillers until the disk is full.
pub(crate) fn is_possible_offset(
    queue_offset: u64,
    end: u64,
    phy_offset: u64,
    max_physic_offset: u64,
) -> bool {
    let room = phy_offset.saturating_sub(max_physic_offset) / RECORD_BYTES_MIN as u64;
    let from = if max_physic_offset == 0 { 0 } else { end };
    queue_offset <= from.saturating_add(room).saturating_add(FILLERS_MAX)
}

/// Whether a unit is one, and points below `phy_offset`.
pub(crate) fn is_below(unit: &ConsumeQueueUnit, phy_offset: u64) -> bool {
    unit.size > 0 && u64::try_from(unit.phy_offset).is_ok_and(|offset| offset < phy_offset)
}

/// Length of the leading units of a file that point below `phy_offset`, in bytes, and the end of the
/// record that the last of them points at.
pub(crate) fn sound_units(file: &[u8], phy_offset: u64) -> (usize, u64) {
    let mut end = 0;
    let mut max_physic_offset = 0;
    for unit in file.chunks_exact(CQ_STORE_UNIT_BYTES) {
        let Some(unit) = ConsumeQueueUnit::decode(unit).filter(|unit| is_below(unit, phy_offset))
        else {
            break;
        };
        end += CQ_STORE_UNIT_BYTES;
        if unit != ConsumeQueueUnit::FILLER {
            max_physic_offset = unit.phy_offset as u64 + unit.size as u64;
        }
    }
    (end, max_physic_offset)
}
