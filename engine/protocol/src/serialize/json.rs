//! The JSON header, written in the key order and spelling of Java peers.

use bytes::{BufMut, BytesMut};

use super::{SerializeError, SerializeType};
use crate::codes::LanguageCode;
use crate::ext_fields::ExtFields;
use crate::fastjson::{JsonError, Lexer, Token, write_integer, write_string};
use crate::remoting_command::RemotingCommand;
use crate::text_map::TextMapReader;

/// Keys alphabetical, nulls left out: the bytes a Java peer writes for the same values.
pub(super) fn encode(command: &RemotingCommand, out: &mut BytesMut) {
    out.reserve(256);
    out.put_slice(b"{\"code\":");
    write_integer(out, i64::from(command.code));
    if command.ext_fields.is_present() {
        out.put_slice(b",\"extFields\":{");
        for (index, (key, value)) in command.ext_fields.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            write_string(out, key);
            out.put_u8(b':');
            write_string(out, value);
        }
        out.put_u8(b'}');
    }
    out.put_slice(b",\"flag\":");
    write_integer(out, i64::from(command.flag));
    out.put_slice(b",\"language\":\"");
    out.put_slice(command.language.name().as_bytes());
    out.put_slice(b"\",\"opaque\":");
    write_integer(out, i64::from(command.opaque));
    if let Some(remark) = &command.remark {
        out.put_slice(b",\"remark\":");
        write_string(out, remark);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    write_integer(out, i64::from(command.version));
    out.put_u8(b'}');
}

/// Tolerant: any key order, unknown keys, numbers as text and text as numbers, languages by name or
/// number, missing keys (zero, absent).
pub(super) fn decode(header: &[u8]) -> Result<RemotingCommand, SerializeError> {
    let text = std::str::from_utf8(header).map_err(|_| SerializeError::NotUtf8)?;
    let mut command = RemotingCommand::request(0, &());
    command.serialize_type = SerializeType::Json;
    command.language = LanguageCode::Other;
    command.version = 0;

    let mut lexer = Lexer::new(text);
    lexer.object(|lexer, key| {
        match key {
            "code" => command.code = integer(lexer)?,
            "flag" => command.flag = integer(lexer)?,
            "opaque" => command.opaque = integer(lexer)?,
            "version" => command.version = integer(lexer)?,
            "language" => {
                let (token, value) = lexer.value_text()?;
                command.language = match (token, value.parse()) {
                    (Token::Number, Ok(number)) => LanguageCode::from_number(number),
                    _ => LanguageCode::from_name(&value),
                };
            }
            "remark" => {
                let (token, value) = lexer.value_text()?;
                command.remark = (token != Token::Null).then(|| value.into_owned());
            }
            "extFields" => command.ext_fields = ext_fields(lexer, text.len())?,
            _ => lexer.skip_value()?,
        }
        Ok(())
    })?;
    lexer.end()?;
    Ok(command)
}

/// Room for the texts of ext fields that is made at once.
const FIELDS_BYTES_USUAL: usize = 2048;

/// Null values are dropped, as if the key were not there; nested values keep their JSON text.
fn ext_fields(lexer: &mut Lexer<'_>, header_len: usize) -> Result<ExtFields, JsonError> {
    if lexer.take_null() {
        return Ok(ExtFields::absent());
    }
    // A header may have the key many times: the room for one must not be that of all.
    let mut fields = TextMapReader::with_capacity(16, header_len.min(FIELDS_BYTES_USUAL));
    lexer.object(|lexer, key| {
        let (token, value) = lexer.value_text()?;
        if token != Token::Null {
            fields.push(key, &value);
        }
        Ok(())
    })?;
    Ok(ExtFields::read(fields))
}

/// Numbers that do not fit 32 bits keep their low bits; what is no number counts as zero.
fn integer(lexer: &mut Lexer<'_>) -> Result<i32, JsonError> {
    let (_, value) = lexer.value_text()?;
    Ok(value.parse::<i64>().unwrap_or_default() as i32)
}

impl From<JsonError> for SerializeError {
    fn from(error: JsonError) -> Self {
        SerializeError::Json { position: error.position, expected: error.expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expect: &str) {
        let mut out = BytesMut::new();
        encode(&decode(header.as_bytes()).unwrap(), &mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), expect);
    }

    #[test]
    fn java_headers_come_back_byte_for_byte() {
        for header in [
            r#"{"code":0,"flag":1,"language":"JAVA","opaque":-7,"serializeTypeCurrentRPC":"JSON","version":407}"#,
            r#"{"code":15,"extFields":{},"flag":2,"language":"CPP","opaque":0,"serializeTypeCurrentRPC":"JSON","version":407}"#,
            r#"{"code":310,"extFields":{"i":"KEYS\u0001k3\u0002name\u0001张 \"x\" {y}\\\n\u007F\u0085\u2028"},"flag":0,"language":"RUST","opaque":1,"remark":"","serializeTypeCurrentRPC":"JSON","version":1}"#,
        ] {
            check(header, header);
        }
    }

    #[test]
    fn other_dialects_are_understood() {
        check(
            " { \"opaque\" : \"12\", \"language\":9,\"code\":11,\n\"flag\":0,\"new\":[{\"a\":1}],\"remark\":null,
               \"extFields\":{\"queueId\":3,\"wait\":true,\"none\":null,\"\\u00e9\":\"a\\/\\ud83d\\ude00\"} } \n",
            r#"{"code":11,"extFields":{"queueId":"3","wait":"true","é":"a/😀"},"flag":0,"language":"GO","opaque":12,"serializeTypeCurrentRPC":"JSON","version":0}"#,
        );
        check(
            r#"{"language":"KLINGON","extFields":null}"#,
            r#"{"code":0,"flag":0,"language":"OTHER","opaque":0,"serializeTypeCurrentRPC":"JSON","version":0}"#,
        );
    }

    #[test]
    fn malformed_headers_are_refused_with_a_position() {
        for header in [
            "",
            "[]",
            "{",
            "{\"code\"",
            "{\"code\":}",
            "{\"code\":1",
            "{\"code\":1}x",
            "{\"a\":\"\\u12\"}",
        ] {
            assert!(
                matches!(decode(header.as_bytes()), Err(SerializeError::Json { .. })),
                "{header}"
            );
        }
        assert_eq!(decode(b"{\"\xff\":1}"), Err(SerializeError::NotUtf8));
    }
}
