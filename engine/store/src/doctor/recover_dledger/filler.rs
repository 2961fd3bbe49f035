//! What takes the place of an entry that is lost: a message of a rolled back transaction, as a new leader writes one, so that it is
//! in no queue and in no index, and of exactly the length that the entry had.

use mq_protocol::message_codec::RecordFields;
use mq_protocol::sys_flag::MessageSysFlag;

/// Nobody can send to it, and nobody reads it. A shorter entry gets less of it.
const TOPIC: &str = "RMQ_SYS_DLEDGER_LOST";

/// Bytes of a record besides topic, body and properties, its hosts being of IPv4.
const RECORD_BYTES: usize = 91;

/// The shortest message.
pub(super) const FILLER_BODY_BYTES_MIN: usize = RECORD_BYTES + 1;

/// A record of that length which states that it is at `phy_offset`.
///
/// # Panics
/// When it is shorter than any message.
pub(super) fn filler(body_bytes: usize, phy_offset: i64) -> Vec<u8> {
    assert!(body_bytes >= FILLER_BODY_BYTES_MIN, "a message of {body_bytes} bytes");
    let room = body_bytes - RECORD_BYTES;
    let topic = &TOPIC[..room.min(TOPIC.len())];
    // A body of zeros could not be told from a page that never reached the disk.
    let body = vec![b' '; room - topic.len()];
    let host = ([127, 0, 0, 1], 0).into();
    let plain = RecordFields::plain(topic, &body, host, 0);
    let fields =
        RecordFields { sys_flag: MessageSysFlag::TRANSACTION_ROLLBACK, phy_offset, ..plain };
    let mut record = Vec::with_capacity(body_bytes);
    let encoded = fields.encode(&mut record);
    assert!(encoded.is_ok(), "a short topic and any body make a record");
    assert_eq!(record.len(), body_bytes, "a filler fills");
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use mq_protocol::dledger_entry::body_trouble;

    #[test]
    fn fillers_of_any_length_are_messages() {
        for body_bytes in (FILLER_BODY_BYTES_MIN..400).chain([70_000]) {
            let record = filler(body_bytes, 77);
            assert_eq!(body_trouble(&record, Some(77)), None, "{body_bytes} bytes");
        }
    }
}
