//! [`UnitReader`]: a ConsumeQueue unit by unit, through a window.

use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};

use super::{DoctorError, QueueDir, StoreDir};

const UNIT: u64 = CQ_STORE_UNIT_BYTES as u64;
/// Units read at once. There may be many thousands of queues.
const WINDOW_UNITS: u64 = 256;

/// Reads a ConsumeQueue without holding more of it than a window.
pub(super) struct UnitReader {
    queue: QueueDir,
    file_bytes: u64,
    /// Queue offset of the first unit of the window.
    from: u64,
    units: Vec<u8>,
}

impl UnitReader {
    pub(super) fn new(dir: &StoreDir, queue: QueueDir) -> Self {
        let file_bytes = dir.shape.consume_queue_file_bytes.max(1) as u64;
        let file_bytes = file_bytes.next_multiple_of(UNIT);
        UnitReader { queue, file_bytes, from: 0, units: Vec::new() }
    }

    pub(super) fn units_per_file(&self) -> u64 {
        self.file_bytes / UNIT
    }

    /// Number of the first file, by its name.
    pub(super) fn first_file(&self) -> u64 {
        let offsets = self.queue.files.iter().filter_map(|file| file.offset());
        offsets.min().unwrap_or(0) / self.file_bytes
    }

    /// The unit at `queue_offset`, if one was ever written there.
    pub(super) fn unit(
        &mut self,
        dir: &StoreDir,
        queue_offset: u64,
    ) -> Result<Option<ConsumeQueueUnit>, DoctorError> {
        Ok(self.raw_unit(dir, queue_offset)?.filter(|unit| unit.size > 0))
    }

    /// What is at `queue_offset`, if a file reaches there.
    pub(super) fn raw_unit(
        &mut self,
        dir: &StoreDir,
        queue_offset: u64,
    ) -> Result<Option<ConsumeQueueUnit>, DoctorError> {
        let held = self.units.len() as u64 / UNIT;
        if !(self.from..self.from + held).contains(&queue_offset) {
            self.read(dir, queue_offset)?;
        }
        assert!(queue_offset >= self.from, "the window begins at or before what is asked for");
        let at = (queue_offset - self.from) as usize * CQ_STORE_UNIT_BYTES;
        Ok(self.units.get(at..).and_then(ConsumeQueueUnit::decode))
    }

    fn read(&mut self, dir: &StoreDir, queue_offset: u64) -> Result<(), DoctorError> {
        (self.from, self.units) = (queue_offset, Vec::new());
        let Some(at) = queue_offset.checked_mul(UNIT) else { return Ok(()) };
        let from = at - at % self.file_bytes;
        let holds = |file: &&super::StoreFile| file.offset() == Some(from);
        let Some(file) = self.queue.files.iter().find(holds) else { return Ok(()) };
        let len = (WINDOW_UNITS * UNIT).min(self.file_bytes - (at - from)) as usize;
        let read = dir.disk.read_at(&file.path, at - from, len);
        self.units = read.map_err(DoctorError::io(&file.path))?;
        assert!(self.units.len() as u64 <= WINDOW_UNITS * UNIT, "no more is held than a window");
        Ok(())
    }
}
