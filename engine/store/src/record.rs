//! Records on their way in: [`EncodedRecords`], the reused buffer a put encodes into.

use std::cell::RefCell;

use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::{BatchEntry, EncodeError, RecordFields, body_crc, decode_record};

use crate::message_inner::MessageInner;

/// A buffer that grew beyond this is given back after the put.
const KEPT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static REUSED: RefCell<EncodedRecords> = RefCell::default();
}

/// One encoded record, or the records of a batch one behind the other.
#[derive(Debug, Default)]
pub(crate) struct EncodedRecords {
    bytes: Vec<u8>,
    /// End of each record of a batch; empty for a single record.
    batch_ends: Vec<usize>,
}

impl EncodedRecords {
    /// Runs `put` with this thread's buffer, emptied.
    pub(crate) fn with_reused<T>(put: impl FnOnce(&mut EncodedRecords) -> T) -> T {
        REUSED.with_borrow_mut(|records| {
            records.bytes.clear();
            records.batch_ends.clear();
            let outcome = put(records);
            if records.bytes.capacity() > KEPT_BYTES_MAX {
                *records = EncodedRecords::default();
            }
            outcome
        })
    }

    /// Encodes a single message. What is known only under the put lock stays 0.
    pub(crate) fn encode(&mut self, message: &MessageInner) -> Result<(), EncodeError> {
        assert!(self.bytes.is_empty(), "a single record is alone");
        let fields = fields(message, message.flag, &message.body, &message.properties);
        let size = fields.encode(&mut self.bytes)?;
        assert_eq!(self.bytes.len(), size, "a record is as long as it says");
        Ok(())
    }

    /// Encodes one message of a batch, which shares everything else with the batch.
    pub(crate) fn encode_entry(
        &mut self,
        batch: &MessageInner,
        entry: &BatchEntry<'_>,
        properties: &str,
    ) -> Result<(), EncodeError> {
        let fields = fields(batch, entry.flag, entry.body, properties);
        let before = self.batch_ends.last().copied().unwrap_or(0);
        assert_eq!(self.bytes.len(), before, "records lie behind one another");
        let size = fields.encode(&mut self.bytes)?;
        assert_eq!(self.bytes.len(), before + size, "a record is as long as it says");
        self.batch_ends.push(self.bytes.len());
        Ok(())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_batch(&self) -> bool {
        !self.batch_ends.is_empty()
    }

    /// Number of records.
    pub(crate) fn count(&self) -> usize {
        self.batch_ends.len().max(1)
    }

    /// Shows each record with its index, in order.
    pub(crate) fn for_each(&mut self, mut visit: impl FnMut(usize, &mut [u8])) {
        if self.batch_ends.is_empty() {
            return visit(0, &mut self.bytes);
        }
        assert_eq!(self.batch_ends.last(), Some(&self.bytes.len()), "records fill the buffer");
        let mut start = 0;
        for (index, end) in self.batch_ends.iter().copied().enumerate() {
            visit(index, &mut self.bytes[start..end]);
            start = end;
        }
    }
}

/// The `UNIQ_KEY` of an encoded record, for reports.
pub(crate) fn uniq_key(record: &[u8]) -> Option<&str> {
    let properties = decode_record(record).ok()?.properties_bytes();
    PropertiesView::new(std::str::from_utf8(properties).ok()?).get(MessageConst::UNIQ_KEY)
}

fn fields<'a>(
    message: &'a MessageInner,
    flag: i32,
    body: &'a [u8],
    properties: &'a str,
) -> RecordFields<'a> {
    RecordFields {
        body_crc: if body.is_empty() { 0 } else { body_crc(body) },
        queue_id: message.queue_id as i32,
        flag,
        queue_offset: 0,
        phy_offset: 0,
        sys_flag: message.sys_flag,
        born_timestamp: message.born_timestamp_ms,
        born_host: message.born_host,
        store_timestamp: 0,
        store_host: message.store_host,
        reconsume_times: message.reconsume_times,
        prepared_transaction_offset: message.prepared_transaction_offset,
        body,
        topic: &message.topic,
        properties,
    }
}
