//! The two serializations of a command's header.
//!
//! Both read into, and write from, a [`RemotingCommand`] whose body and serialize type the frame
//! takes care of.

mod json;
mod rocketmq;

use bytes::BytesMut;

use crate::remoting_command::RemotingCommand;

/// How a header is serialized; the top byte of the frame's header word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SerializeType {
    /// JSON text.
    #[default]
    Json = 0,
    /// The compact binary form.
    RocketMq = 1,
}

impl SerializeType {
    /// The type with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(SerializeType::Json),
            1 => Some(SerializeType::RocketMq),
            _ => None,
        }
    }
}

/// Why a header could not be read. The position is a byte index into the header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerializeError {
    /// The header is not UTF-8.
    #[error("header is not UTF-8")]
    NotUtf8,
    /// The JSON text is malformed.
    #[error("header is not JSON at byte {position}: {expected} expected")]
    Json {
        /// Where.
        position: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// The binary header ends before the value named.
    #[error("header ends within {within}")]
    Short {
        /// The value that is cut off.
        within: &'static str,
    },
}

/// Appends the header of `command`, in its serialize type, to `out`.
pub fn encode_header(command: &RemotingCommand, out: &mut BytesMut) {
    match command.serialize_type {
        SerializeType::Json => json::encode(command, out),
        SerializeType::RocketMq => rocketmq::encode(command, out),
    }
}

/// Reads a header; the body of the result is empty.
///
/// # Errors
/// When the bytes are no header of this type.
pub fn decode_header(
    serialize_type: SerializeType,
    header: &[u8],
) -> Result<RemotingCommand, SerializeError> {
    match serialize_type {
        SerializeType::Json => json::decode(header),
        SerializeType::RocketMq => rocketmq::decode(header),
    }
}
