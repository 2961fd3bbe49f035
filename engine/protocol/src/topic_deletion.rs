//! The record by which a CommitLog itself says that a topic was deleted: ours, and no message of anybody.
//!
//! It stands in the log at the place at which the topic was deleted: what lies before it belongs to the topic
//! that was, what lies behind to one that was created anew. Like every record it is synced, copied to slaves
//! and cut. To RocketMQ it is the record of a rolled-back transaction, which gets no unit in a ConsumeQueue and
//! no key in an index.

use crate::message::{PropertiesView, append_property};
use crate::message_codec::RecordView;
use crate::sys_flag::MessageSysFlag;

/// The property that only such a record has.
pub const TOPIC_DELETED: &str = "SF_TOPIC_DELETED";

/// `sysFlag` of such a record.
pub const DELETION_SYS_FLAG: i32 = MessageSysFlag::TRANSACTION_ROLLBACK;

/// The properties of such a record.
#[must_use]
pub fn deletion_properties() -> String {
    let mut properties = String::new();
    append_property(&mut properties, TOPIC_DELETED, "true");
    properties
}

/// Whether a record with this `sysFlag` and these properties says that its topic was deleted.
#[must_use]
pub fn says_deletion(sys_flag: i32, properties: &str) -> bool {
    MessageSysFlag::transaction_type(sys_flag) == DELETION_SYS_FLAG
        && PropertiesView::new(properties).get(TOPIC_DELETED).is_some()
}

/// Whether `record` says that its topic was deleted.
#[must_use]
pub fn is_topic_deletion(record: &RecordView<'_>) -> bool {
    MessageSysFlag::transaction_type(record.sys_flag()) == DELETION_SYS_FLAG
        && says_deletion(record.sys_flag(), &record.properties())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rolled_back_record_with_the_property_is_one() {
        let properties = deletion_properties();
        assert!(says_deletion(DELETION_SYS_FLAG, &properties));
        assert!(says_deletion(DELETION_SYS_FLAG | MessageSysFlag::STOREHOST_V6, &properties));
        assert!(!says_deletion(MessageSysFlag::TRANSACTION_COMMIT, &properties));
        assert!(!says_deletion(DELETION_SYS_FLAG, "KEYS\u{1}a"));
    }
}
