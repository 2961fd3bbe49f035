//! Types that read and write themselves as JSON.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};

use bytes::Bytes;
use indexmap::IndexMap;

use super::{JsonError, JsonStyle, JsonWriter, Value};

/// A value with a JSON form.
pub trait Json: Sized {
    /// Writes the value.
    fn write(&self, out: &mut JsonWriter);

    /// Reads a value that is not null.
    ///
    /// # Errors
    /// Names the innermost field that does not have its type.
    fn read(value: &Value) -> Result<Self, JsonReadError>;

    /// Whether the value is null, so that a property that holds it is left out.
    fn is_null(&self) -> bool {
        false
    }
}

/// Why a JSON text does not make up a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonReadError {
    /// The text is malformed.
    #[error(transparent)]
    Text(#[from] JsonError),
    /// The text is not UTF-8.
    #[error("JSON text is not UTF-8")]
    NotUtf8,
    /// A value has another type.
    #[error("{}{expected} expected", field.map(|field| format!("<{field}>: ")).unwrap_or_default())]
    Type {
        /// The property that holds it, if one does.
        field: Option<&'static str>,
        /// What should have been there.
        expected: &'static str,
    },
}

impl JsonReadError {
    /// A value that should have been `expected`.
    #[must_use]
    pub fn expected(expected: &'static str) -> Self {
        JsonReadError::Type { field: None, expected }
    }

    /// The same error with the name of the property it happened in, unless it has one.
    #[must_use]
    pub fn within(self, name: &'static str) -> Self {
        match self {
            JsonReadError::Type { field, expected } => {
                JsonReadError::Type { field: field.or(Some(name)), expected }
            }
            other => other,
        }
    }
}

/// The compact text of `value`, as it goes over the wire.
#[must_use]
pub fn to_bytes(value: &impl Json) -> Bytes {
    let mut writer = JsonWriter::new(JsonStyle::Compact);
    value.write(&mut writer);
    writer.finish()
}

/// Reads a text.
///
/// # Errors
/// When the text is malformed, or does not say what `T` needs.
pub fn from_slice<T: Json>(text: &[u8]) -> Result<T, JsonReadError> {
    let text = std::str::from_utf8(text).map_err(|_| JsonReadError::NotUtf8)?;
    T::read(&Value::parse(text)?)
}

/// A key of a JSON object.
pub trait JsonKey: Sized {
    /// Whether the key is text. In pretty style only such keys begin a line.
    const IS_TEXT: bool;

    /// Writes the key.
    fn write_key(&self, out: &mut JsonWriter);

    /// Reads the key.
    fn from_key(key: &Value) -> Option<Self>;
}

impl JsonKey for String {
    const IS_TEXT: bool = true;

    fn write_key(&self, out: &mut JsonWriter) {
        out.string(self);
    }

    fn from_key(key: &Value) -> Option<Self> {
        key.to_text().map(std::borrow::Cow::into_owned)
    }
}

impl JsonKey for i32 {
    const IS_TEXT: bool = false;

    fn write_key(&self, out: &mut JsonWriter) {
        out.integer_key(i64::from(*self));
    }

    fn from_key(key: &Value) -> Option<Self> {
        key.as_i64()?.try_into().ok()
    }
}

impl JsonKey for i64 {
    const IS_TEXT: bool = false;

    fn write_key(&self, out: &mut JsonWriter) {
        out.integer_key(*self);
    }

    fn from_key(key: &Value) -> Option<Self> {
        key.as_i64()
    }
}

impl Json for String {
    fn write(&self, out: &mut JsonWriter) {
        out.string(self);
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        let text = value.to_text().ok_or(JsonReadError::expected("text"))?;
        Ok(text.into_owned())
    }
}

impl Json for bool {
    fn write(&self, out: &mut JsonWriter) {
        out.bool(*self);
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        value.as_bool().ok_or(JsonReadError::expected("boolean"))
    }
}

impl Json for i32 {
    fn write(&self, out: &mut JsonWriter) {
        out.integer(i64::from(*self));
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        let number = value.as_i64().and_then(|number| number.try_into().ok());
        number.ok_or(JsonReadError::expected("int"))
    }
}

impl Json for i64 {
    fn write(&self, out: &mut JsonWriter) {
        out.integer(*self);
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        value.as_i64().ok_or(JsonReadError::expected("long"))
    }
}

impl Json for f64 {
    fn write(&self, out: &mut JsonWriter) {
        out.double(*self);
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        value.as_f64().ok_or(JsonReadError::expected("double"))
    }
}

impl<T: Json> Json for Option<T> {
    fn write(&self, out: &mut JsonWriter) {
        match self {
            Some(value) => value.write(out),
            None => out.null(),
        }
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        T::read(value).map(Some)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }
}

impl<T: Json> Json for Vec<T> {
    fn write(&self, out: &mut JsonWriter) {
        out.array(self);
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        match value {
            Value::Array(elements) => elements.iter().map(T::read).collect(),
            _ => Err(JsonReadError::expected("array")),
        }
    }
}

impl<K: JsonKey + Hash + Eq, V: Json, S: BuildHasher + Default> Json for IndexMap<K, V, S> {
    fn write(&self, out: &mut JsonWriter) {
        out.object(|members| self.iter().for_each(|(key, value)| members.entry(key, value)));
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        read_entries(value)
    }
}

impl<K: JsonKey + Ord, V: Json> Json for BTreeMap<K, V> {
    fn write(&self, out: &mut JsonWriter) {
        out.object(|members| self.iter().for_each(|(key, value)| members.entry(key, value)));
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        read_entries(value)
    }
}

fn read_entries<K: JsonKey, V: Json, M: FromIterator<(K, V)>>(
    value: &Value,
) -> Result<M, JsonReadError> {
    let entries = value.entries::<K>().ok_or(JsonReadError::expected("object"))?;
    let present = entries.filter(|entry| !matches!(entry, Some((_, Value::Null))));
    let read = |entry: Option<(K, &Value)>| {
        let (key, value) = entry.ok_or(JsonReadError::expected("key of a map"))?;
        Ok((key, V::read(value)?))
    };
    present.map(read).collect()
}
