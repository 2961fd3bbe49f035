//! What a DLedger node says of its log in its checkpoint.

use mq_protocol::dledger_entry::EntryHead;

use super::StoreDir;

/// The file, in the node's directory.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// What the node says of itself.
pub(super) struct Claims {
    pub(super) was_aborted: bool,
    /// Index of the last entry, when it was last written down.
    pub(super) end_index: Option<i64>,
    /// Index of the last entry that a majority had.
    pub(super) committed_index: Option<i64>,
    /// Ours: everything below was synced.
    pub(super) durable_pos: Option<u64>,
}

impl Claims {
    /// Those of the node `name`.
    pub(super) fn of(dir: &StoreDir, name: &str) -> Self {
        let text = dir.disk.read(&dir.root.join(name).join(CHECKPOINT)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let number = |key: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.find(|(name, _)| name.trim() == key).and_then(|(_, it)| it.trim().parse().ok())
        };
        let end_index = number("endIndex");
        let durable_pos = number("durablePos").and_then(|pos| u64::try_from(pos).ok());
        // A log that was emptied says where it goes on.
        let has_entries = number("beginIndex").is_some_and(|begin| Some(begin) <= end_index);
        Claims {
            was_aborted: dir.has("abort"),
            end_index,
            committed_index: number("committedIndex"),
            durable_pos: durable_pos.filter(|_| has_entries),
        }
    }

    /// Index of the last entry, if the log was closed in order.
    pub(super) fn closed_at(&self) -> Option<i64> {
        self.end_index.filter(|_| !self.was_aborted)
    }

    /// Whether an entry with that header, or something without one, was never behind `last`: it is left of a longer log that
    /// the node's leader had it cut before.
    pub(super) fn is_left_over(&self, head: Option<&EntryHead>, last: Option<&EntryHead>) -> bool {
        let (last_index, last_term) = last.map_or((-1, -1), |last| (last.index, last.term));
        let index = head.map_or(last_index + 1, |head| head.index);
        index <= last_index
            || match self.closed_at() {
                Some(end_index) => index > end_index,
                None => head.is_some_and(|head| head.term < last_term),
            }
    }
}
