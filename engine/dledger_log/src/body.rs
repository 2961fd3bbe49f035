//! What an entry holds: a message. The entry itself has no checksum, and a torn one shows by its message alone.

use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};

/// What is wrong with the body of an entry, which states `phy_offset` if that is known. Whoever appends asks before,
/// because a start takes an entry with such a body for the torn end of the log.
///
/// The record's CRC covers its body alone. What comes behind shows by its zeros where a page of it never reached the disk: no
/// topic and no properties that a broker takes have any.
#[must_use]
pub fn body_trouble(body: &[u8], phy_offset: Option<i64>) -> Option<String> {
    let rules = RecordRules { phy_offset, ..RecordRules::strict(0) };
    match check_record(body, &rules) {
        RecordCheck::Valid(record) if record.topic_bytes().contains(&0) => {
            Some("the topic holds a NUL byte".to_owned())
        }
        RecordCheck::Valid(record) if record.size() == body.len() => None,
        RecordCheck::Valid(record) => {
            Some(format!("a body of {} bytes holds a message of {}", body.len(), record.size()))
        }
        RecordCheck::Blank { .. } => Some("the body is a blank".to_owned()),
        RecordCheck::Zeros => Some("the body is zeros".to_owned()),
        RecordCheck::Torn(reason) => Some(reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mq_protocol::message_codec::RecordFields;

    #[test]
    fn a_message_of_which_a_page_is_missing_is_none() {
        for properties in ["KEYS\u{1}k\u{2}TAGS\u{1}t\u{2}", ""] {
            let plain = RecordFields::plain("Topic", b"body", ([10, 0, 0, 1], 10911).into(), 1);
            let mut record = Vec::new();
            RecordFields { properties, ..plain }.encode(&mut record).unwrap();
            assert_eq!(body_trouble(&record, Some(0)), None);
            // Without properties the last two bytes are zeros anyway.
            let last = if properties.is_empty() { record.len() - 2 } else { record.len() };
            for from in 0..last {
                let mut torn = record.clone();
                torn[from..].fill(0);
                let is_same = torn == record;
                assert_eq!(body_trouble(&torn, Some(0)).is_none(), is_same, "zeros from {from} on");
            }
        }
    }
}
