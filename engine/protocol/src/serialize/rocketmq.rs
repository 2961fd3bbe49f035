//! The binary header (RocketMQ 4.9 `RocketMQSerializable`), big-endian:
//!
//! ```text
//! code i16 | language i8 | version i16 | opaque i32 | flag i32
//! remarkLen i32 | remark | extLen i32 | { keyLen i16 | key | valueLen i32 | value }*
//! ```
//!
//! There is no absent remark and no absent value: a length of zero stands for both.

use bytes::{Buf, BufMut, BytesMut};

use super::{SerializeError, SerializeType};
use crate::codes::LanguageCode;
use crate::ext_fields::ExtFields;
use crate::remoting_command::RemotingCommand;
use crate::text_map::TextMapReader;

/// Codes and versions keep their low 16 bits; a key longer than 32767 bytes is left out, as the
/// format has no room for it.
pub(super) fn encode(command: &RemotingCommand, out: &mut BytesMut) {
    out.put_i16(command.code as i16);
    out.put_u8(command.language as u8);
    out.put_i16(command.version as i16);
    out.put_i32(command.opaque);
    out.put_i32(command.flag);
    let remark = command.remark.as_deref().unwrap_or_default();
    out.put_i32(remark.len() as i32);
    out.put_slice(remark.as_bytes());

    let ext_len_position = out.len();
    out.put_i32(0);
    for (key, value) in command.ext_fields.iter() {
        let Ok(key_len) = i16::try_from(key.len()) else { continue };
        out.put_i16(key_len);
        out.put_slice(key.as_bytes());
        out.put_i32(value.len() as i32);
        out.put_slice(value.as_bytes());
    }
    let ext_len = (out.len() - ext_len_position - 4) as i32;
    out[ext_len_position..ext_len_position + 4].copy_from_slice(&ext_len.to_be_bytes());
}

pub(super) fn decode(mut header: &[u8]) -> Result<RemotingCommand, SerializeError> {
    if header.len() < 2 + 1 + 2 + 4 + 4 {
        return Err(SerializeError::Short { within: "fixed part" });
    }
    let mut command = RemotingCommand::request(i32::from(header.get_i16()), &());
    command.serialize_type = SerializeType::RocketMq;
    command.language = LanguageCode::from_number(i64::from(header.get_u8()));
    command.version = i32::from(header.get_i16());
    command.opaque = header.get_i32();
    command.flag = header.get_i32();
    let remark = take_text(&mut header, "remark")?;
    command.remark = (!remark.is_empty()).then(|| remark.to_owned());
    let mut fields = take_i32_prefixed(&mut header, "ext fields")?;
    command.ext_fields = decode_fields(&mut fields)?;
    Ok(command)
}

fn decode_fields(fields: &mut &[u8]) -> Result<ExtFields, SerializeError> {
    if fields.is_empty() {
        return Ok(ExtFields::absent());
    }
    let mut decoded = TextMapReader::with_capacity(fields.len() / 12, fields.len());
    while !fields.is_empty() {
        if fields.len() < 2 {
            return Err(SerializeError::Short { within: "ext field key" });
        }
        let key_len = usize::from(fields.get_u16());
        let key = utf8(take(fields, key_len, "ext field key")?)?;
        let value = take_text(fields, "ext field value")?;
        decoded.push(key, value);
    }
    Ok(ExtFields::read(decoded))
}

fn take_text<'a>(header: &mut &'a [u8], within: &'static str) -> Result<&'a str, SerializeError> {
    utf8(take_i32_prefixed(header, within)?)
}

fn take_i32_prefixed<'a>(
    header: &mut &'a [u8],
    within: &'static str,
) -> Result<&'a [u8], SerializeError> {
    if header.len() < 4 {
        return Err(SerializeError::Short { within });
    }
    // A negative length cannot be met either: the cast makes it larger than any header.
    let len = header.get_i32() as u32 as usize;
    take(header, len, within)
}

fn take<'a>(
    header: &mut &'a [u8],
    len: usize,
    within: &'static str,
) -> Result<&'a [u8], SerializeError> {
    let (taken, rest) = header.split_at_checked(len).ok_or(SerializeError::Short { within })?;
    *header = rest;
    Ok(taken)
}

fn utf8(text: &[u8]) -> Result<&str, SerializeError> {
    std::str::from_utf8(text).map_err(|_| SerializeError::NotUtf8)
}
