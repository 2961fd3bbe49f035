//! What an entry holds: a message. The entry itself has no checksum, and a torn one shows by its message alone.

use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};

/// What is wrong with the body of an entry, which states `phy_offset` if that is known. Whoever appends asks before,
/// because a start takes an entry with such a body for the torn end of the log.
#[must_use]
pub fn body_trouble(body: &[u8], phy_offset: Option<i64>) -> Option<String> {
    let rules = RecordRules { phy_offset, ..RecordRules::upstream(true) };
    match check_record(body, &rules) {
        RecordCheck::Valid(record) if record.size() == body.len() => None,
        RecordCheck::Valid(record) => {
            Some(format!("a body of {} bytes holds a message of {}", body.len(), record.size()))
        }
        RecordCheck::Blank { .. } => Some("the body is a blank".to_owned()),
        RecordCheck::Zeros => Some("the body is zeros".to_owned()),
        RecordCheck::Torn(reason) => Some(reason.to_string()),
    }
}
