//! [`DurableMark`]: the file `durable`, which says up to where the log is known to be on disk.
//!
//! Ours; Java does not know it and leaves it alone. Two slots of one 512-byte sector each are
//! written in turn, so that a torn write leaves the other one:
//!
//! ```text
//!  0 magic u64   | 8 sequence u64       | 16 log end u64 | 24 logics end u64
//! 32 units u64   | 40 index file u64    | 48 index entries u64 | 56 index end u64
//! 64 CRC-32 of 0..64 u32
//! ```
//!
//! *Log end*: every CommitLog byte below is synced, and it is the start of a record or the end of
//! the log. *Logics end*: every record below has its synced unit in its ConsumeQueue; *units* is
//! the sum of the queues' ends there, so that a queue that is missing shows. *Index*: see
//! [`IndexMark`].

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_env::disk::{Disk, MappedRegion, PAGE_SIZE};

use crate::index_service::IndexMark;

const MAGIC: u64 = u64::from_be_bytes(*b"SFDURAB2");
const SLOT_BYTES: usize = 512;
const CHECKED_BYTES: usize = 64;
// Both slots lie in the page, each with its checksum in a sector of its own.
const _: () = assert!(CHECKED_BYTES + 4 <= SLOT_BYTES && 2 * SLOT_BYTES <= PAGE_SIZE);
/// Stands for a sum of queue ends that is not known.
const UNITS_UNKNOWN: u64 = u64::MAX;

/// What is known to be durable; physical offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// End of the synced part of the CommitLog.
    pub log_end: u64,
    /// End of the part whose ConsumeQueue units are synced.
    pub logics_end: u64,
    /// Sum of the queues' ends (queue offsets) at `logics_end`, where known.
    pub units: Option<u64>,
    /// How much of the index is synced.
    pub index: IndexMark,
}

/// The watermark file of a store.
pub(crate) struct DurableMark {
    disk: Arc<dyn Disk>,
    region: MappedRegion,
    latest: Mutex<Latest>,
    writing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Default)]
struct Latest {
    sequence: u64,
    mark: Mark,
    /// The mark is on its way to the disk, or did not get there.
    is_unsynced: bool,
}

impl DurableMark {
    /// Opens or creates the file; the mark that it holds, if it holds one.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path) -> io::Result<(Self, Option<Mark>)> {
        let region = disk.map(path, PAGE_SIZE)?;
        let latest = latest_slot(region.slice(0..PAGE_SIZE));
        let durable_mark = DurableMark {
            disk,
            region,
            latest: Mutex::new(latest.unwrap_or_default()),
            writing: tokio::sync::Mutex::new(()),
        };
        Ok((durable_mark, latest.map(|latest| latest.mark)))
    }

    /// The mark last written.
    pub(crate) fn mark(&self) -> Mark {
        self.lock().mark
    }

    /// Raises the mark to what was just synced and makes it durable.
    pub(crate) async fn advance(&self, mark: Mark) -> io::Result<()> {
        let advanced = self.store(|present| {
            let is_further = mark.logics_end > present.logics_end;
            let is_indexed_further = mark.index.end > present.index.end;
            Mark {
                log_end: present.log_end.max(mark.log_end),
                logics_end: present.logics_end.max(mark.logics_end),
                units: if is_further { mark.units } else { present.units },
                index: if is_indexed_further { mark.index } else { present.index },
            }
        });
        let before = self.mark();
        let advanced = advanced.await;
        let after = self.mark();
        // Whoever lowers it excludes whoever raises it.
        assert!(after.log_end >= before.log_end, "a mark that was raised: {before:?}, {after:?}");
        assert!(
            after.logics_end >= before.logics_end,
            "a mark that was raised: {before:?}, {after:?}"
        );
        assert!(
            after.index.end >= before.index.end,
            "a mark that was raised: {before:?}, {after:?}"
        );
        assert!(
            after.log_end >= mark.log_end && after.logics_end >= mark.logics_end,
            "what was synced is claimed: {mark:?}, {after:?}"
        );
        advanced
    }

    /// Lowers the mark durably, before bytes above it are destroyed. `index` is what the index has
    /// below `end`.
    pub(crate) async fn lower(&self, end: u64, index: IndexMark) -> io::Result<()> {
        let lowered = self.store(|present| Mark {
            log_end: present.log_end.min(end),
            logics_end: present.logics_end.min(end),
            units: present.units.filter(|_| present.logics_end <= end),
            index: if index.end < present.index.end { index } else { present.index },
        });
        let lowered = lowered.await;
        let mark = self.mark();
        assert!(
            mark.log_end <= end && mark.logics_end <= end,
            "nothing above {end} is claimed: {mark:?}"
        );
        assert!(mark.index.end <= index.end, "nor of the index: {mark:?}");
        lowered
    }

    /// Claims no sum of the queues' ends any more, durably: before queues are removed whose topic was deleted.
    pub(crate) async fn forget_units(&self) -> io::Result<()> {
        self.store(|present| Mark { units: None, ..present }).await
    }

    /// Claims no unit of the log any more, durably: before all queues are made again from it, which begins at
    /// `min_offset`. Queues whose messages have all expired keep their ends.
    pub(crate) async fn forget_logics_above(&self, min_offset: u64) -> io::Result<()> {
        let below = |present: Mark| present.logics_end.min(min_offset);
        self.store(|present| Mark { logics_end: below(present), units: None, ..present }).await
    }

    /// Sets the mark durably, as recovery found the store.
    pub(crate) async fn set(&self, mark: Mark) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        self.write(mark).await
    }

    async fn store(&self, change: impl FnOnce(Mark) -> Mark) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let present = self.mark();
        let mark = change(present);
        if mark == present && !self.lock().is_unsynced {
            return Ok(());
        }
        self.write(mark).await
    }

    async fn write(&self, mark: Mark) -> io::Result<()> {
        let latest = {
            let mut latest = self.lock();
            *latest = Latest { sequence: latest.sequence + 1, mark, is_unsynced: true };
            *latest
        };
        let at = (latest.sequence % 2) as usize * SLOT_BYTES;
        assert!(
            at + CHECKED_BYTES + 4 <= PAGE_SIZE && at.is_multiple_of(SLOT_BYTES),
            "a slot of two"
        );
        self.region.write(at, &encode_slot(latest));
        self.disk.flush(&self.region, 0..PAGE_SIZE).await?;
        self.lock().is_unsynced = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode_slot(latest: Latest) -> [u8; CHECKED_BYTES + 4] {
    let mut slot = [0; CHECKED_BYTES + 4];
    slot[0..8].copy_from_slice(&MAGIC.to_be_bytes());
    slot[8..16].copy_from_slice(&latest.sequence.to_be_bytes());
    slot[16..24].copy_from_slice(&latest.mark.log_end.to_be_bytes());
    slot[24..32].copy_from_slice(&latest.mark.logics_end.to_be_bytes());
    slot[32..40].copy_from_slice(&latest.mark.units.unwrap_or(UNITS_UNKNOWN).to_be_bytes());
    slot[40..48].copy_from_slice(&latest.mark.index.file.to_be_bytes());
    slot[48..56].copy_from_slice(&latest.mark.index.entries.to_be_bytes());
    slot[56..64].copy_from_slice(&latest.mark.index.end.to_be_bytes());
    let crc = crc32fast::hash(&slot[..CHECKED_BYTES]);
    slot[CHECKED_BYTES..].copy_from_slice(&crc.to_be_bytes());
    slot
}

/// What a watermark file says.
pub(crate) enum MarkState {
    /// Nothing yet.
    None,
    /// The newest mark.
    Marked(Mark),
    /// It was written, and can be read no more.
    Damaged,
}

/// What the bytes of a watermark file say. A power loss may tear the slot that is being written: one
/// damaged slot beside one that was never written is what the first write may leave.
pub(crate) fn mark_state(bytes: &[u8]) -> MarkState {
    match latest_slot(bytes) {
        Some(latest) => MarkState::Marked(latest.mark),
        None if (0..2).all(|slot| is_slot_used(bytes, slot)) => MarkState::Damaged,
        None => MarkState::None,
    }
}

/// How many slots were written and cannot be read.
pub(crate) fn damaged_slots(bytes: &[u8]) -> usize {
    (0..2).filter(|slot| is_slot_used(bytes, *slot) && read_slot(bytes, *slot).is_none()).count()
}

fn is_slot_used(bytes: &[u8], slot: usize) -> bool {
    let slot = bytes.iter().skip(slot * SLOT_BYTES).take(SLOT_BYTES);
    slot.into_iter().any(|byte| *byte != 0)
}

fn latest_slot(bytes: &[u8]) -> Option<Latest> {
    let slots = [read_slot(bytes, 0), read_slot(bytes, 1)];
    slots.into_iter().flatten().max_by_key(|latest| latest.sequence)
}

fn read_slot(bytes: &[u8], slot: usize) -> Option<Latest> {
    let at = slot * SLOT_BYTES;
    let bytes = bytes.get(at..at + CHECKED_BYTES + 4)?;
    let number =
        |at: usize| bytes[at..at + 8].try_into().map(u64::from_be_bytes).unwrap_or_default();
    let mark = Mark {
        log_end: number(16),
        logics_end: number(24),
        units: Some(number(32)).filter(|units| *units != UNITS_UNKNOWN),
        index: IndexMark { file: number(40), entries: number(48), end: number(56) },
    };
    let latest = Latest { sequence: number(8), mark, is_unsynced: false };
    (number(0) == MAGIC && encode_slot(latest) == bytes).then_some(latest)
}
