//! What a JSON text says, with objects in order and any value as key.

use std::borrow::Cow;

use super::lexer::{Lexer, Token};
use super::{JsonError, JsonKey};

/// A JSON value of fastjson's dialect.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number that is a 64-bit integer.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// Text.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object; keys are text, integers or objects.
    Object(Vec<(Value, Value)>),
}

impl Value {
    /// Reads a text.
    ///
    /// # Errors
    /// When the text is malformed, or nested deeper than 64 levels.
    pub fn parse(text: &str) -> Result<Value, JsonError> {
        let mut lexer = Lexer::new(text);
        let value = value(&mut lexer)?;
        lexer.end()?;
        Ok(value)
    }

    /// The member `key` of an object, if it is there and not null; of repeated keys the last.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Value::Object(members) = self else { return None };
        let found = members.iter().rev().find(|(name, _)| name.as_str() == Some(key));
        found.map(|(_, value)| value).filter(|value| **value != Value::Null)
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// An integer, or a text that is one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A number, or a text that is one.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Integer(number) => Some(*number as f64),
            Value::Double(number) => Some(*number),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A boolean, or a text or number that stands for one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            Value::Integer(number) => Some(*number == 1),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The text of a scalar.
    #[must_use]
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Bool(value) => Some(Cow::Owned(value.to_string())),
            Value::Integer(number) => Some(Cow::Owned(number.to_string())),
            Value::Double(number) => Some(Cow::Owned(number.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The members of an object whose keys are `K`; `None` if this is no object or a key is not.
    pub(crate) fn entries<K: JsonKey>(&self) -> Option<impl Iterator<Item = Option<(K, &Value)>>> {
        let Value::Object(members) = self else { return None };
        Some(members.iter().map(|(key, value)| Some((K::from_key(key)?, value))))
    }
}

fn value(lexer: &mut Lexer<'_>) -> Result<Value, JsonError> {
    match lexer.peek() {
        Some(b'{') => {
            let mut members = Vec::new();
            lexer.members(|lexer| {
                let key = key(lexer)?;
                lexer.expect(b':', "colon")?;
                members.push((key, value(lexer)?));
                Ok(())
            })?;
            Ok(Value::Object(members))
        }
        Some(b'[') => {
            let mut elements = Vec::new();
            lexer.array(|lexer| {
                elements.push(value(lexer)?);
                Ok(())
            })?;
            Ok(Value::Array(elements))
        }
        _ => scalar(lexer),
    }
}

/// Text, an object, or a bare word: an integer or the name of a member.
fn key(lexer: &mut Lexer<'_>) -> Result<Value, JsonError> {
    match lexer.peek() {
        Some(b'{') => value(lexer),
        Some(b'"' | b'\'') => Ok(Value::String(lexer.key_text()?.into_owned())),
        _ => {
            let word = lexer.key_text()?;
            Ok(word.parse().map_or_else(|_| Value::String(word.into_owned()), Value::Integer))
        }
    }
}

fn scalar(lexer: &mut Lexer<'_>) -> Result<Value, JsonError> {
    let (token, text) = lexer.value_text()?;
    match token {
        Token::Null => Ok(Value::Null),
        Token::Bool => Ok(Value::Bool(text == "true")),
        Token::Number => number(&text).ok_or_else(|| lexer.error("number")),
        Token::String | Token::Container => Ok(Value::String(text.into_owned())),
    }
}

/// Java marks some numbers with a letter at their end.
fn number(text: &str) -> Option<Value> {
    let digits = text.trim_end_matches(['L', 'S', 'B', 'D', 'F']);
    match digits.parse() {
        Ok(integer) => Some(Value::Integer(integer)),
        Err(_) => digits.parse().ok().map(Value::Double),
    }
}
