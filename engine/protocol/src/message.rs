//! Messages as clients and brokers know them: properties, ids, hashes.

mod message_id;
mod property;

use std::net::SocketAddr;

use bytes::Bytes;

pub use message_id::{MessageIdError, OffsetMessageId, UniqKeySource, ms_into_month};
pub use property::{
    MessageConst, NAME_VALUE_SEPARATOR, PROPERTIES_BYTES_MAX, PROPERTY_SEPARATOR, Properties,
    PropertiesView, append_property, separate,
};

/// Prefix of the topic from which a consumer group gets messages again.
pub const RETRY_GROUP_TOPIC_PREFIX: &str = "%RETRY%";
/// Prefix of the topic of a consumer group's dead letters.
pub const DLQ_GROUP_TOPIC_PREFIX: &str = "%DLQ%";
/// Longest topic in bytes that a record of version 1 can hold.
pub const TOPIC_BYTES_MAX: usize = i8::MAX as usize;

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// The user's flag; the engine gives it no meaning.
    pub flag: i32,
    /// Properties.
    pub properties: Properties,
    /// Body.
    pub body: Bytes,
}

impl Message {
    /// A message without properties.
    #[must_use]
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Message { topic: topic.into(), flag: 0, properties: Properties::new(), body: body.into() }
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tags(&self) -> Option<&str> {
        self.properties.get(MessageConst::TAGS)
    }

    /// The index keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.properties.get(MessageConst::KEYS).unwrap_or_default();
        keys.split(MessageConst::KEY_SEPARATOR).filter(|key| !key.is_empty())
    }

    /// Whether the sender waits for what the broker's mode promises (the default).
    #[must_use]
    pub fn is_wait_store_msg_ok(&self) -> bool {
        self.properties.get(MessageConst::WAIT).is_none_or(|wait| wait.eq_ignore_ascii_case("true"))
    }

    /// Delay level, from 1; 0 for none. What is no number counts as none.
    #[must_use]
    pub fn delay_level(&self) -> i32 {
        let level = self.properties.get(MessageConst::DELAY);
        level.and_then(|level| level.parse().ok()).unwrap_or(0)
    }
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageExt {
    /// What was sent; the body is decompressed if its compression is known here.
    pub message: Message,
    /// Name of the broker it was pulled from; records do not say.
    pub broker_name: String,
    /// Queue.
    pub queue_id: i32,
    /// Size of the record in bytes.
    pub store_size: i32,
    /// Index in the queue.
    pub queue_offset: i64,
    /// [`MessageSysFlag`](crate::sys_flag::MessageSysFlag) bits.
    pub sys_flag: i32,
    /// When the client made it, in ms.
    pub born_timestamp: i64,
    /// Address of the client.
    pub born_host: SocketAddr,
    /// When the broker stored it, in ms.
    pub store_timestamp: i64,
    /// Address of the broker.
    pub store_host: SocketAddr,
    /// Physical offset in the CommitLog.
    pub phy_offset: i64,
    /// CRC of the stored body, 31 bits.
    pub body_crc: i32,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message of a committed one.
    pub prepared_transaction_offset: i64,
}

impl MessageExt {
    /// The id that follows from where the message is stored.
    #[must_use]
    pub fn offset_msg_id(&self) -> OffsetMessageId {
        OffsetMessageId { store_host: self.store_host, phy_offset: self.phy_offset }
    }

    /// The id that clients show: the `UNIQ_KEY`, or the offset message id without one.
    #[must_use]
    pub fn msg_id(&self) -> String {
        match self.message.properties.get(MessageConst::UNIQ_KEY) {
            Some(key) => key.to_owned(),
            None => self.offset_msg_id().to_string(),
        }
    }
}

/// One queue of one broker, the unit of assignment to consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    /// Topic.
    pub topic: String,
    /// Broker name.
    pub broker_name: String,
    /// Queue.
    pub queue_id: i32,
}

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
#[must_use]
pub fn java_hash_code(text: &str) -> i32 {
    continued_java_hash_code(0, text)
}

/// Java's hash of a text that ends with `rest` and whose front hashes to `hash`.
#[must_use]
pub fn continued_java_hash_code(hash: i32, rest: &str) -> i32 {
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if rest.is_ascii() {
        // Several times as fast, and what keys and topics mostly are.
        return rest.bytes().map(u16::from).fold(hash, step);
    }
    rest.encode_utf16().fold(hash, step)
}

/// The `tagsCode` of a ConsumeQueue unit: hash of the tag, 0 without one.
#[must_use]
pub fn tags_code(tags: Option<&str>) -> i64 {
    tags.map_or(0, |tags| i64::from(java_hash_code(tags)))
}

/// The topic from which `group` gets messages again.
#[must_use]
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_GROUP_TOPIC_PREFIX}{group}")
}

/// The topic of the replies that clients of a cluster wait for.
#[must_use]
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_REPLY_TOPIC")
}

/// The topic of the dead letters of `group`.
#[must_use]
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_GROUP_TOPIC_PREFIX}{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(java_hash_code(""), 0);
        assert_eq!(java_hash_code("Aa"), java_hash_code("BB"));
        assert_eq!(java_hash_code("TagA"), 2_598_919);
        assert_eq!(java_hash_code("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash_code("😀"), 1_772_899);
        assert_eq!(tags_code(Some("polygenelubricants")), i64::from(i32::MIN));
        assert_eq!(tags_code(None), 0);
    }

    #[test]
    fn properties_answer_for_the_message() {
        let mut message = Message::new("T", "body");
        assert!(message.is_wait_store_msg_ok());
        assert_eq!((message.delay_level(), message.tags()), (0, None));
        message.properties.insert(MessageConst::WAIT, "false");
        message.properties.insert(MessageConst::KEYS, "a  b");
        message.properties.insert(MessageConst::DELAY, "x");
        assert!(!message.is_wait_store_msg_ok());
        assert_eq!(message.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(message.delay_level(), 0);
    }
}
