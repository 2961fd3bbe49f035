//! [`RecoveryReport`]: what a start made of what it found.

use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::{RecordView, decode_record};
use serde::Serialize;

use crate::damage::DamagedRange;

/// So many dropped records are named; the rest is counted.
const NAMED_MAX: usize = 10_000;

/// What a start made of what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryReport {
    /// Why the log ends where it ends.
    pub end_reason: String,
    /// Bytes behind the end that were not zero and were cut off.
    pub dropped_bytes: u64,
    /// The records among them, and the torn one at the end, as far as they can be told.
    pub dropped: Vec<DroppedRecord>,
    /// Records dropped beyond those named.
    pub dropped_more: u64,
    /// Damage that was passed over.
    pub damaged: Vec<DamagedRange>,
    /// Why the ConsumeQueues were made again from the log, if they were.
    pub queues_rebuilt: Option<String>,
}

/// A record that a start cut off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedRecord {
    /// Where it began.
    pub phy_offset: u64,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
    /// Its topic, where known.
    pub topic: Option<String>,
    /// Its queue, where known.
    pub queue_id: Option<i32>,
    /// Its queue offset, where known.
    pub queue_offset: Option<i64>,
    /// Its `UNIQ_KEY`, where known.
    pub uniq_key: Option<String>,
    /// Why it was dropped.
    pub reason: String,
}

impl DroppedRecord {
    /// What can be told of the bytes at `phy_offset`.
    pub(crate) fn describe(bytes: &[u8], phy_offset: u64, reason: &str) -> Self {
        let nameless = DroppedRecord { phy_offset, reason: reason.to_owned(), ..Self::default() };
        let Ok(record) = decode_record(bytes) else { return nameless };
        DroppedRecord {
            size: Some(record.size() as u64),
            topic: Some(record.topic().into_owned()),
            queue_id: Some(record.queue_id()),
            queue_offset: Some(record.queue_offset()),
            uniq_key: uniq_key(&record),
            ..nameless
        }
    }
}

impl RecoveryReport {
    pub(crate) fn add_dropped(&mut self, record: impl FnOnce() -> DroppedRecord) {
        if self.dropped.len() < NAMED_MAX {
            self.dropped.push(record());
        } else {
            self.dropped_more += 1;
        }
    }
}

fn uniq_key(record: &RecordView<'_>) -> Option<String> {
    let properties = record.properties();
    PropertiesView::new(&properties).get(MessageConst::UNIQ_KEY).map(str::to_owned)
}
