//! What a device damaged of a log ([`SimDisk::damage`](staticfire_world::disk::SimDisk::damage)), in offsets of
//! the log, and how a log is read that has such damage.

use std::ops::Range;

use mq_protocol::message_codec::PHY_OFFSET_POSITION;
use staticfire_world::disk::DamageKind;

use super::log_view::{LogView, Step, offset_in_name};

/// How far behind the last damaged byte the next sound record is looked for, with all of its bytes: no two records
/// of a story are longer.
const SEARCH_BYTES: u64 = 9 << 20;

/// A damaged range of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDamage {
    /// Bytes of the log.
    pub range: Range<u64>,
    /// What happened to them.
    pub kind: DamageKind,
}

impl LogView {
    /// What the device damaged of the log and nothing has overwritten since, ascending.
    #[must_use]
    pub fn damage(&self) -> Vec<LogDamage> {
        let mut all = Vec::new();
        // Asked at every acknowledgement.
        if !self.disk.was_damaged() {
            return all;
        }
        for path in self.disk.paths_under(&self.dirs.commit_log) {
            let Some(from) = offset_in_name(&path) else { continue };
            all.extend(self.disk.damage(&path).into_iter().map(|found| LogDamage {
                range: from + found.range.start..from + found.range.end,
                kind: found.kind,
            }));
        }
        all
    }

    /// Whether the device damaged bytes of `range`.
    #[must_use]
    pub fn is_damaged(&self, range: &Range<u64>) -> bool {
        self.damage().iter().any(|found| meets(&found.range, range))
    }

    /// Whether the range holds the same bytes here and at `other`, but for those that a device damaged.
    #[must_use]
    pub fn same_sound_bytes(&self, other: &LogView, range: Range<u64>) -> bool {
        let damaged = self.damaged_either(other);
        if damaged.is_empty() {
            return self.same_bytes(other, range);
        }
        self.read_without(&damaged, range.clone()) == other.read_without(&damaged, range)
    }

    /// Ranges that are damaged here or at `other`.
    #[must_use]
    pub fn damaged_either(&self, other: &LogView) -> Vec<Range<u64>> {
        self.damage().into_iter().chain(other.damage()).map(|found| found.range).collect()
    }

    /// Reads a range with zeros for the bytes of `damaged`.
    #[must_use]
    pub fn read_without(&self, damaged: &[Range<u64>], range: Range<u64>) -> Vec<u8> {
        let mut bytes = self.read(range.clone());
        for damaged in damaged.iter().filter(|damaged| meets(damaged, &range)) {
            let from = damaged.start.max(range.start) - range.start;
            let to = damaged.end.min(range.end) - range.start;
            bytes[from as usize..to as usize].fill(0);
        }
        bytes
    }

    /// Where a walk goes on that found no record at `at`, if the device damaged what should be there: at
    /// the next sound record of the file, or with the next file.
    pub(super) fn behind_damage(
        &self,
        damage: &[LogDamage],
        at: u64,
        file_end: u64,
    ) -> Option<u64> {
        let rest = at..file_end;
        let first = damage.iter().find(|found| meets(&found.range, &rest))?.range.clone();
        let last = damage.iter().rfind(|found| meets(&found.range, &rest))?.range.end;
        let bytes = self.read(at..file_end.min(last + SEARCH_BYTES));
        let is_record = |from: &usize| {
            let offset = at + *from as u64;
            let own = bytes[*from..].get(PHY_OFFSET_POSITION..PHY_OFFSET_POSITION + 8);
            own == Some(&offset.to_be_bytes())
                && matches!(self.step(&bytes[*from..], offset), Step::Record(_))
        };
        let found = (1..bytes.len()).find(is_record).map(|from| at + from as u64);
        let next_file = self.file_exists(file_end).then_some(file_end);
        // What is passed over must be damaged: a log that ends here ends here.
        found.or(next_file).filter(|to| first.start < *to)
    }
}

/// Whether two ranges have a byte in common.
pub(super) fn meets(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}
