//! Custom headers: the typed view of a command's ext fields.
//!
//! A header declares each field once, as `name: Type = "wireName"`. `Option` fields may be absent,
//! others are required unless a default follows (`or 0`). Numbers are strict decimals; a boolean is
//! true if it spells so in any case. Fields that are not declared are ignored.

#[macro_use]
mod declare;

pub mod acl;
pub mod admin;
pub mod client;
pub mod log_prefix;
pub mod namesrv;
pub mod offset;
pub mod pull_message;
pub mod query_message;
pub mod send_message;
pub mod transaction;

use crate::ext_fields::ExtFields;

/// Why ext fields do not make up a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A required field is not there.
    #[error("the custom field <{0}> is missing")]
    Missing(&'static str),
    /// A field's text is no value of its type.
    #[error("the custom field <{field}> has no {expected} value: {value}")]
    Malformed {
        /// Wire name of the field.
        field: &'static str,
        /// What its type is.
        expected: &'static str,
        /// What it holds.
        value: String,
    },
}

/// A header that flattens into ext fields.
pub trait CustomHeader {
    /// Adds the fields that are set, and marks the ext fields as present.
    fn encode(&self, fields: &mut ExtFields);

    /// Reads the fields; extra ones are ignored.
    ///
    /// # Errors
    /// Names the first field that is required and missing, or that does not parse.
    fn decode(fields: &ExtFields) -> Result<Self, HeaderError>
    where
        Self: Sized;
}

/// No header: leaves the ext fields as they are.
impl CustomHeader for () {
    fn encode(&self, _: &mut ExtFields) {}

    fn decode(_: &ExtFields) -> Result<Self, HeaderError> {
        Ok(())
    }
}

/// A value that one ext field holds.
pub(crate) trait FieldValue: Sized {
    fn encode(&self, field: &'static str, fields: &mut ExtFields);
    fn parse(field: &'static str, text: &str) -> Result<Self, HeaderError>;

    /// What an absent field means.
    fn absent(field: &'static str) -> Result<Self, HeaderError> {
        Err(HeaderError::Missing(field))
    }

    fn decode(field: &'static str, fields: &ExtFields) -> Result<Self, HeaderError> {
        fields.get(field).map_or_else(|| Self::absent(field), |text| Self::parse(field, text))
    }

    fn decode_or(
        field: &'static str,
        fields: &ExtFields,
        default: Self,
    ) -> Result<Self, HeaderError> {
        fields.get(field).map_or(Ok(default), |text| Self::parse(field, text))
    }
}

impl FieldValue for String {
    fn encode(&self, field: &'static str, fields: &mut ExtFields) {
        fields.insert(field, self);
    }

    fn parse(_: &'static str, text: &str) -> Result<Self, HeaderError> {
        Ok(text.to_owned())
    }
}

/// Anything but "true", in whatever case, is false, as in Java.
impl FieldValue for bool {
    fn encode(&self, field: &'static str, fields: &mut ExtFields) {
        fields.insert(field, if *self { "true" } else { "false" });
    }

    fn parse(_: &'static str, text: &str) -> Result<Self, HeaderError> {
        Ok(text.eq_ignore_ascii_case("true"))
    }
}

impl FieldValue for i32 {
    fn encode(&self, field: &'static str, fields: &mut ExtFields) {
        encode_number(field, fields, *self);
    }

    fn parse(field: &'static str, text: &str) -> Result<Self, HeaderError> {
        text.parse().map_err(|_| malformed(field, "int", text))
    }
}

impl FieldValue for i64 {
    fn encode(&self, field: &'static str, fields: &mut ExtFields) {
        encode_number(field, fields, *self);
    }

    fn parse(field: &'static str, text: &str) -> Result<Self, HeaderError> {
        text.parse().map_err(|_| malformed(field, "long", text))
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    fn encode(&self, field: &'static str, fields: &mut ExtFields) {
        if let Some(value) = self {
            value.encode(field, fields);
        }
    }

    fn parse(field: &'static str, text: &str) -> Result<Self, HeaderError> {
        T::parse(field, text).map(Some)
    }

    fn absent(_: &'static str) -> Result<Self, HeaderError> {
        Ok(None)
    }
}

fn encode_number(field: &'static str, fields: &mut ExtFields, number: impl itoa::Integer) {
    fields.insert(field, itoa::Buffer::new().format(number));
}

fn malformed(field: &'static str, expected: &'static str, value: &str) -> HeaderError {
    HeaderError::Malformed { field, expected, value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::offset::UpdateConsumerOffsetRequestHeader;
    use super::pull_message::PullMessageRequestHeader;
    use super::send_message::{ConsumerSendMsgBackRequestHeader, SendMessageRequestHeader};
    use super::*;
    use crate::codes::RequestCode;
    use crate::remoting_command::RemotingCommand;

    #[test]
    fn a_header_survives_the_flattening() {
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: "G".into(),
            topic: "T".into(),
            queue_id: 3,
            commit_offset: i64::MAX,
        };
        let command = RemotingCommand::request(RequestCode::UPDATE_CONSUMER_OFFSET, &header);
        assert_eq!(command.ext_fields.get("commitOffset"), Some("9223372036854775807"));
        assert_eq!(command.header(), Ok(header));
        assert!(!RemotingCommand::request(RequestCode::HEART_BEAT, &()).ext_fields.is_present());
    }

    #[test]
    fn a_decode_error_names_the_field() {
        let fields = |entries: &[(&'static str, &'static str)]| entries.iter().copied().collect();
        let missing = PullMessageRequestHeader::decode(&fields(&[("consumerGroup", "G")]));
        assert_eq!(missing, Err(HeaderError::Missing("topic")));
        let mut malformed: ExtFields =
            fields(&[("consumerGroup", "G"), ("topic", "T"), ("queueId", "1.0")]);
        let error = PullMessageRequestHeader::decode(&malformed).unwrap_err();
        assert_eq!(error.to_string(), "the custom field <queueId> has no int value: 1.0");
        malformed.insert("queueId", "2147483648");
        assert!(PullMessageRequestHeader::decode(&malformed).is_err());
    }

    #[test]
    fn defaults_and_options_may_be_absent() {
        let fields = [("offset", "1"), ("group", "G"), ("delayLevel", "-1"), ("unitMode", "TRUE")];
        let mut fields: ExtFields = fields.into_iter().collect();
        let header = ConsumerSendMsgBackRequestHeader::decode(&fields).unwrap();
        assert!(header.unit_mode && header.max_reconsume_times.is_none());
        fields.remove("unitMode");
        assert!(!ConsumerSendMsgBackRequestHeader::decode(&fields).unwrap().unit_mode);
    }

    #[test]
    fn both_namings_of_a_send_are_read_whatever_the_code() {
        let header = SendMessageRequestHeader {
            producer_group: "P".into(),
            topic: "T".into(),
            properties: Some("a\u{1}b".into()),
            batch: Some(true),
            ..Default::default()
        };
        let (mut long, mut short) = (ExtFields::absent(), ExtFields::absent());
        header.encode_for(RequestCode::SEND_MESSAGE, &mut long);
        header.encode_for(RequestCode::SEND_BATCH_MESSAGE, &mut short);
        assert_eq!(long.get("producerGroup"), Some("P"));
        assert_eq!((short.get("a"), short.get("m")), (Some("P"), Some("true")));
        assert_eq!(SendMessageRequestHeader::decode(&long).as_ref(), Ok(&header));
        assert_eq!(SendMessageRequestHeader::decode(&short), Ok(header));
    }

    #[test]
    fn the_topic_that_is_asked_for_is_the_one_that_is_decoded() {
        let header = SendMessageRequestHeader { producer_group: "P".into(), ..Default::default() };
        for code in [RequestCode::SEND_MESSAGE, RequestCode::SEND_MESSAGE_V2] {
            for (long, short, wanted) in [
                (Some("L"), Some("S"), Some("L")),
                (Some("L"), None, Some("L")),
                (None, Some("S"), Some("S")),
                (None, None, None),
            ] {
                let mut fields = ExtFields::absent();
                header.encode_for(code, &mut fields);
                for (name, topic) in [("topic", long), ("b", short)] {
                    fields.remove(name);
                    if let Some(topic) = topic {
                        fields.insert(name, topic);
                    }
                }
                let decoded = SendMessageRequestHeader::decode(&fields).ok().map(|it| it.topic);
                assert_eq!(decoded.as_deref(), wanted, "{code} {long:?} {short:?}");
                assert_eq!(SendMessageRequestHeader::topic_of(&fields), wanted);
            }
        }
    }
}
