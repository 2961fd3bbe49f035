//! Which names topics and groups may have, and which topics belong to the system (RocketMQ 4.9
//! `TopicValidator`).

use crate::message::TOPIC_BYTES_MAX;

/// Unknown topics are created after this one's pattern, unless the producer names another.
pub const AUTO_CREATE_TOPIC_KEY_TOPIC: &str = "TBW102";
/// Delayed messages.
pub const RMQ_SYS_SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// What load tests send to.
pub const RMQ_SYS_BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Half messages of transactions.
pub const RMQ_SYS_TRANS_HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Which half messages are done with.
pub const RMQ_SYS_TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages that were checked too often.
pub const RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Message traces.
pub const RMQ_SYS_TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Self tests of tools.
pub const RMQ_SYS_SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Corrections of offsets.
pub const RMQ_SYS_OFFSET_MOVED_EVENT: &str = "OFFSET_MOVED_EVENT";

const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";

/// What the names of the system's own groups begin with.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Groups that every broker has from its start.
pub const SYSTEM_GROUPS: [&str; 7] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
];

/// Longest name of a group.
pub const GROUP_BYTES_MAX: usize = 255;

/// Topics that belong to the system on every broker.
pub const SYSTEM_TOPICS: [&str; 9] = [
    AUTO_CREATE_TOPIC_KEY_TOPIC,
    RMQ_SYS_SCHEDULE_TOPIC,
    RMQ_SYS_BENCHMARK_TOPIC,
    RMQ_SYS_TRANS_HALF_TOPIC,
    RMQ_SYS_TRACE_TOPIC,
    RMQ_SYS_TRANS_OP_HALF_TOPIC,
    RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC,
    RMQ_SYS_SELF_TEST_TOPIC,
    RMQ_SYS_OFFSET_MOVED_EVENT,
];

const NOT_ALLOWED_SEND_TOPICS: [&str; 6] = [
    RMQ_SYS_SCHEDULE_TOPIC,
    RMQ_SYS_TRANS_HALF_TOPIC,
    RMQ_SYS_TRANS_OP_HALF_TOPIC,
    RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC,
    RMQ_SYS_SELF_TEST_TOPIC,
    RMQ_SYS_OFFSET_MOVED_EVENT,
];

/// Checks a topic's name.
///
/// # Errors
/// Why it is refused, in Java's words.
pub fn validate_topic(topic: &str) -> Result<(), &'static str> {
    if topic.trim().is_empty() {
        Err("The specified topic is blank.")
    } else if !has_legal_characters(topic) {
        Err("The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")
    } else if topic.len() > TOPIC_BYTES_MAX {
        Err("The specified topic is longer than topic max length.")
    } else {
        Ok(())
    }
}

/// Whether a consumer group may have this name.
#[must_use]
pub fn is_legal_group(group: &str) -> bool {
    !group.is_empty() && group.len() <= GROUP_BYTES_MAX && has_legal_characters(group)
}

/// Whether a name, legal or not, may be kept in memory for a live client.
#[must_use]
pub fn is_storable_name(name: &str, bytes_max: usize) -> bool {
    name.len() <= bytes_max && !name.chars().any(char::is_control)
}

/// Whether clients must not send to the topic.
#[must_use]
pub fn is_not_allowed_send_topic(topic: &str) -> bool {
    NOT_ALLOWED_SEND_TOPICS.contains(&topic)
}

/// Whether the topic belongs to the system on every broker.
#[must_use]
pub fn is_system_topic(topic: &str) -> bool {
    SYSTEM_TOPICS.contains(&topic) || topic.starts_with(SYSTEM_TOPIC_PREFIX)
}

fn has_legal_characters(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%|_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_in_java() {
        assert_eq!(validate_topic("%RETRY%a_b-c|D9"), Ok(()));
        assert_eq!(validate_topic(" "), Err("The specified topic is blank."));
        assert!(validate_topic("a.b").unwrap_err().contains("illegal characters"));
        assert!(validate_topic("ä").unwrap_err().contains("illegal characters"));
        assert_eq!(validate_topic(&"t".repeat(127)), Ok(()));
        assert!(validate_topic(&"t".repeat(128)).unwrap_err().contains("longer"));
        assert!(is_legal_group("G") && !is_legal_group("") && !is_legal_group("a b"));
        assert!(!is_legal_group(&"g".repeat(256)));
        assert!(is_storable_name("a.b/ä", 255) && is_storable_name("", 255));
        assert!(!is_storable_name("a\u{1}", 255) && !is_storable_name("aa", 1));
        assert!(is_system_topic("rmq_sys_x") && is_system_topic("TBW102"));
        assert!(is_not_allowed_send_topic("SELF_TEST_TOPIC"));
        assert!(!is_not_allowed_send_topic("TBW102"));
    }
}
