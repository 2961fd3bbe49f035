//! The log of a DLedger node: entries that lie behind one another, each a header and a record. Every offset that queues and
//! clients see is the record's. What a node has above its committed end is no fault: queues have none of it.

use std::ops::Range;
use std::sync::Arc;

use mq_protocol::dledger_entry::{ENTRY_BLANK_MAGIC, ENTRY_HEADER_BYTES, EntryHead};
use mq_protocol::message_codec::decode_record;
use mq_protocol::sys_flag::MessageSysFlag;

use super::State;
use super::log_view::{LogView, LogWalk, Step, StoreDirs};
use crate::check::replicas::Unit;

impl StoreDirs {
    /// Bytes of the log before each record.
    pub(super) fn lead_bytes(&self) -> u64 {
        if self.has_entries { ENTRY_HEADER_BYTES as u64 } else { 0 }
    }
}

impl LogView {
    /// What begins at `at` where entries lie behind one another.
    pub(super) fn step_entry(&self, bytes: &[u8], at: u64) -> Step {
        if bytes.starts_with(&ENTRY_BLANK_MAGIC.to_be_bytes()) {
            return Step::Blank;
        }
        let Some(head) = EntryHead::decode(bytes).filter(|head| head.magic != 0) else {
            return Step::End;
        };
        let file_bytes = self.dirs.commit_log_file_bytes;
        let file_from = at - at % file_bytes;
        if head.trouble(at, &(file_from..file_from + file_bytes)).is_some() {
            return Step::Torn { stated_bytes: 0 };
        }
        let size = head.size.unsigned_abs();
        let end = at + u64::from(size);
        let Some(body) = bytes.get(ENTRY_HEADER_BYTES..size as usize) else {
            return Step::Torn { stated_bytes: u64::from(size) };
        };
        match self.step_record(body, at + ENTRY_HEADER_BYTES as u64) {
            Step::Record(found) if found.end_offset() == end => match is_queued(body) {
                true => Step::Record(found),
                false => Step::Unqueued { end },
            },
            _ => Step::Torn { stated_bytes: 0 },
        }
    }

    /// Where the record may begin that was appended with the one that ends at `end`: behind the header of its entry, or in
    /// the next file.
    pub(super) fn next_record(&self, end: u64) -> [u64; 2] {
        let file_bytes = self.dirs.commit_log_file_bytes;
        let lead_bytes = self.dirs.lead_bytes();
        [end + lead_bytes, end.next_multiple_of(file_bytes) + lead_bytes]
    }

    /// The same files as the log of a DLedger node.
    #[cfg(test)]
    pub(super) fn with_entries(&self) -> LogView {
        let dirs = StoreDirs { has_entries: true, ..self.dirs.clone() };
        LogView::new(Arc::clone(&self.disk), dirs)
    }

    /// Whether the log is a DLedger node's.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        self.dirs.has_entries
    }

    /// Up to where of `walk` the log is surely committed: a node queues nothing else.
    #[must_use]
    pub fn queued_end(&self, walk: &LogWalk) -> u64 {
        let queues = self.queues();
        let units = queues.values().flat_map(|queue| &queue.units);
        let ends = units.filter(|unit| **unit != Unit::HOLE);
        let ends = ends.map(|unit| unit.phy_offset + u64::from(unit.size_bytes));
        ends.max().unwrap_or(walk.min).min(walk.end)
    }
}

impl State {
    /// The records of a range that was acknowledged as a whole: several, if it is a batch.
    pub(super) fn records_of(&self, broker: &Arc<str>, range: Range<u64>) -> Vec<Range<u64>> {
        let Some(entry) = self.brokers.get(broker) else { return vec![range] };
        let appended = self.appended.get(&entry.group);
        let mut records = Vec::with_capacity(1);
        let (mut at, mut end) = (range.start, range.start);
        while let Some(append) = appended.and_then(|appended| appended.get(&at)) {
            let to = at + u64::from(append.size_bytes);
            if append.size_bytes == 0 || to > range.end {
                break;
            }
            records.push(at..to);
            end = to;
            let next = entry.view.next_record(end);
            let is_there = |at: &u64| appended.is_some_and(|it| it.contains_key(at));
            let Some(next) = next.into_iter().find(is_there) else { break };
            at = next;
        }
        // Who was not seen to append it has appended it as one.
        if end == range.end { records } else { vec![range] }
    }
}

/// Whether a record is in a queue: what a new leader writes first is in none.
fn is_queued(record: &[u8]) -> bool {
    let sys_flag = decode_record(record).map_or(0, |record| record.sys_flag());
    matches!(
        MessageSysFlag::transaction_type(sys_flag),
        MessageSysFlag::TRANSACTION_NOT | MessageSysFlag::TRANSACTION_COMMIT
    )
}
