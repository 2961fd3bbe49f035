//! Message properties: their names, and the string that carries them.
//!
//! ```text
//! name 0x01 value 0x02 name 0x01 value …
//! ```
//!
//! Brokers write no separator at the end, older clients do. Items without a name, a value or a
//! separator are passed over. Of a repeated name the last value counts (stored messages of a batch
//! carry `WAIT` twice).

use std::fmt::{self, Display};

use crate::text_map::{TextMap, TextMapReader};

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Between properties.
pub const PROPERTY_SEPARATOR: char = '\u{2}';
/// Longest properties string in bytes: its length is a signed 16-bit number.
pub const PROPERTIES_BYTES_MAX: usize = i16::MAX as usize;

/// Names of properties (RocketMQ 4.9 `MessageConst`).
pub struct MessageConst;

impl MessageConst {
    /// Index keys, separated by blanks.
    pub const KEYS: &'static str = "KEYS";
    /// Between the keys of [`MessageConst::KEYS`].
    pub const KEY_SEPARATOR: char = ' ';
    /// The tag.
    pub const TAGS: &'static str = "TAGS";
    /// What orders a message among others of its sender.
    pub const SHARDING_KEY: &'static str = "__SHARDINGKEY";
    /// Message id that the client made; indexed like a key.
    pub const UNIQ_KEY: &'static str = "UNIQ_KEY";
    /// "false": do not wait for the sync or the replica.
    pub const WAIT: &'static str = "WAIT";
    /// Delay level, from 1.
    pub const DELAY: &'static str = "DELAY";
    /// Topic a message to be retried came from.
    pub const RETRY_TOPIC: &'static str = "RETRY_TOPIC";
    /// Topic of a delayed or half message.
    pub const REAL_TOPIC: &'static str = "REAL_TOPIC";
    /// Queue of a delayed or half message.
    pub const REAL_QID: &'static str = "REAL_QID";
    /// "true": half message.
    pub const TRAN_MSG: &'static str = "TRAN_MSG";
    /// Producer group to ask about a transaction.
    pub const PGROUP: &'static str = "PGROUP";
    /// First queue offset when the message was pulled; never stored.
    pub const MIN_OFFSET: &'static str = "MIN_OFFSET";
    /// End of the queue when the message was pulled; never stored.
    pub const MAX_OFFSET: &'static str = "MAX_OFFSET";
    /// Buyer id, reserved.
    pub const BUYER_ID: &'static str = "BUYER_ID";
    /// Id of the message that was first retried.
    pub const ORIGIN_MESSAGE_ID: &'static str = "ORIGIN_MESSAGE_ID";
    /// Reserved.
    pub const TRANSFER_FLAG: &'static str = "TRANSFER_FLAG";
    /// Reserved.
    pub const CORRECTION_FLAG: &'static str = "CORRECTION_FLAG";
    /// Reserved.
    pub const MQ2_FLAG: &'static str = "MQ2_FLAG";
    /// Reconsume times, on the way to a retry topic only.
    pub const RECONSUME_TIME: &'static str = "RECONSUME_TIME";
    /// Reconsume limit, on the way to a retry topic only.
    pub const MAX_RECONSUME_TIMES: &'static str = "MAX_RECONSUME_TIMES";
    /// Region of the broker, for traces.
    pub const MSG_REGION: &'static str = "MSG_REGION";
    /// Whether traces are on.
    pub const TRACE_ON: &'static str = "TRACE_ON";
    /// When a consumer started on the message; local to it.
    pub const CONSUME_START_TIME: &'static str = "CONSUME_START_TIME";
    /// Queue offset of the half message that a check appended again.
    pub const TRAN_PREPARED_QUEUE_OFFSET: &'static str = "TRAN_PREPARED_QUEUE_OFFSET";
    /// How often a half message was checked.
    pub const TRANSACTION_CHECK_TIMES: &'static str = "TRANSACTION_CHECK_TIMES";
    /// Seconds during which a half message is not checked.
    pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &'static str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Transaction id of old clients.
    pub const TRANSACTION_ID: &'static str = "__transactionId__";
    /// Namespace of the client.
    pub const INSTANCE_ID: &'static str = "INSTANCE_ID";
    /// Name of the cluster, which the broker adds.
    pub const CLUSTER: &'static str = "CLUSTER";
    /// "reply" for replies.
    pub const MSG_TYPE: &'static str = "MSG_TYPE";
    /// Correlates a reply with its request message.
    pub const CORRELATION_ID: &'static str = "CORRELATION_ID";
    /// Client id that waits for a reply.
    pub const REPLY_TO_CLIENT: &'static str = "REPLY_TO_CLIENT";
    /// How long a requester waits, in ms.
    pub const TTL: &'static str = "TTL";
    /// When a reply was pushed.
    pub const PUSH_REPLY_TIME: &'static str = "PUSH_REPLY_TIME";
    /// When a reply arrived.
    pub const ARRIVE_TIME: &'static str = "ARRIVE_TIME";
    /// Light queues that a message is also put into.
    pub const INNER_MULTI_DISPATCH: &'static str = "INNER_MULTI_DISPATCH";
    /// Its offsets in those queues.
    pub const INNER_MULTI_QUEUE_OFFSET: &'static str = "INNER_MULTI_QUEUE_OFFSET";
}

/// Properties as they lie in a properties string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropertiesView<'a>(&'a str);

impl<'a> PropertiesView<'a> {
    /// Looks at `text`, which stays as it is.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        PropertiesView(text)
    }

    /// The value of `name`, the last one if there are several.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut from = self.0.len();
        // From the end, by bytes: this is asked of every message read.
        for item in self.0.as_bytes().rsplit(|byte| *byte == PROPERTY_SEPARATOR as u8) {
            let to = from;
            let start = to - item.len();
            from = start.saturating_sub(1);
            let value = item.strip_prefix(name.as_bytes());
            let value = value.and_then(|rest| rest.strip_prefix(&[NAME_VALUE_SEPARATOR as u8]));
            if value.is_some_and(|value| !value.is_empty() && !name.is_empty()) {
                return self.0.get(start + name.len() + 1..to);
            }
        }
        None
    }

    /// Names and values in order, repeated ones included.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.split(PROPERTY_SEPARATOR).filter_map(|item| {
            let (name, value) = item.split_once(NAME_VALUE_SEPARATOR)?;
            (!name.is_empty() && !value.is_empty()).then_some((name, value))
        })
    }
}

/// Properties of a message, in order; all texts share one allocation.
///
/// `Display` gives the properties string, without a separator at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(TextMap);

impl Properties {
    /// No properties.
    #[must_use]
    pub const fn new() -> Self {
        Properties(TextMap::new())
    }

    /// Reads a properties string.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut reader = TextMapReader::with_capacity(text.len() / 20 + 1, text.len());
        PropertiesView::new(text).iter().for_each(|(name, value)| reader.push(name, value));
        Properties(reader.finish())
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// Sets `name` to `value`: in place if there, else as the last property.
    pub fn insert(&mut self, name: &str, value: &str) {
        self.0.insert(name, value);
    }

    /// Sets `name` to what `value` displays as.
    pub fn insert_display(&mut self, name: &str, value: impl Display) {
        self.0.insert_display(name, value);
    }

    /// Removes `name`; tells whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter()
    }

    /// Number of properties.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                write!(f, "{PROPERTY_SEPARATOR}")?;
            }
            write!(f, "{name}{NAME_VALUE_SEPARATOR}{value}")?;
        }
        Ok(())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Properties {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(items: I) -> Self {
        let mut reader = TextMapReader::default();
        items.into_iter().for_each(|(name, value)| reader.push(name, value));
        Properties(reader.finish())
    }
}

/// Appends `name` with `value` to a properties string, putting a separator first where one is due.
pub fn append_property(properties: &mut String, name: &str, value: &str) {
    separate(properties);
    properties.push_str(name);
    properties.push(NAME_VALUE_SEPARATOR);
    properties.push_str(value);
}

/// Ends the last property of a string to which more is going to be appended.
pub fn separate(properties: &mut String) {
    if !properties.is_empty() && !properties.ends_with(PROPERTY_SEPARATOR) {
        properties.push(PROPERTY_SEPARATOR);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn items_that_are_no_property_are_passed_over() {
        let text = "TAGS\u{1}a\u{2}\u{1}b\u{2}KEYS\u{1}\u{2}plain\u{2}\u{2}x\u{1}y\u{1}z\u{2}TAGS\u{1}c\u{2}";
        let properties = Properties::parse(text);
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("TAGS", "c"), ("x", "y\u{1}z")]);
        assert_eq!(PropertiesView::new(text).get("TAGS"), Some("c"));
        assert_eq!(PropertiesView::new("").iter().count(), 0);
    }

    #[test]
    fn appending_separates_once() {
        let mut text = String::new();
        append_property(&mut text, "a", "1");
        append_property(&mut text, "b", "2");
        text.push(PROPERTY_SEPARATOR);
        append_property(&mut text, "c", "3");
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}c\u{1}3");
    }

    proptest! {
        #[test]
        fn a_properties_string_comes_back(items in prop::collection::btree_map("[^\u{1}\u{2}]{1,8}", "[^\u{2}]{1,8}", 0..8)) {
            let properties: Properties =
                items.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assert_eq!(Properties::parse(&properties.to_string()), properties);
        }

        #[test]
        fn any_text_parses(text in any::<String>()) {
            let properties = Properties::parse(&text);
            for (name, value) in properties.iter() {
                prop_assert_eq!(PropertiesView::new(&text).get(name), Some(value));
            }
        }
    }
}
