//! Writing the dialect.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Json, JsonKey};

/// How a text is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonStyle {
    /// No white space; what goes over the wire.
    #[default]
    Compact,
    /// Tabs and line feeds in the places where fastjson puts them; what goes into files. Members
    /// whose keys are no text do not get a line of their own.
    Pretty,
    /// Compact, but every key quoted and every character outside ASCII escaped.
    Standard,
}

/// Collects one JSON text.
#[derive(Debug)]
pub struct JsonWriter {
    out: BytesMut,
    style: JsonStyle,
    depth: usize,
}

impl JsonWriter {
    /// An empty text.
    #[must_use]
    pub fn new(style: JsonStyle) -> Self {
        JsonWriter { out: BytesMut::with_capacity(256), style, depth: 0 }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.out.freeze()
    }

    /// Writes an object whose members `write` puts in.
    pub fn object(&mut self, write: impl FnOnce(&mut Members<'_>)) {
        self.out.put_u8(b'{');
        self.depth += 1;
        let mut members = Members { writer: self, count: 0 };
        write(&mut members);
        let count = members.count;
        self.close(b'}', count);
    }

    /// Writes an array.
    pub fn array<'a, T: Json + 'a>(&mut self, elements: impl IntoIterator<Item = &'a T>) {
        self.out.put_u8(b'[');
        self.depth += 1;
        let mut count = 0;
        for element in elements {
            if count > 0 {
                self.out.put_u8(b',');
            }
            self.line();
            element.write(self);
            count += 1;
        }
        self.close(b']', count);
    }

    /// Writes a string.
    pub fn string(&mut self, text: &str) {
        match self.style {
            JsonStyle::Standard => write_ascii_string(&mut self.out, text),
            JsonStyle::Compact | JsonStyle::Pretty => write_string(&mut self.out, text),
        }
    }

    /// Writes an integer.
    pub fn integer(&mut self, number: i64) {
        write_integer(&mut self.out, number);
    }

    /// Writes a number as Java prints a `double`; one that is not finite as null.
    pub fn double(&mut self, number: f64) {
        if !number.is_finite() {
            return self.null();
        }
        let magnitude = number.abs();
        let is_plain = magnitude == 0.0 || (1e-3..1e7).contains(&magnitude);
        let text = if is_plain { format!("{number:?}") } else { format!("{number:E}") };
        match text.split_once('E') {
            Some((mantissa, exponent)) if !mantissa.contains('.') => {
                self.out.put_slice(format!("{mantissa}.0E{exponent}").as_bytes());
            }
            _ => self.out.put_slice(text.as_bytes()),
        }
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        self.out.put_slice(if value { b"true" } else { b"false" });
    }

    /// Writes null.
    pub fn null(&mut self) {
        self.out.put_slice(b"null");
    }

    /// Writes an integer as a key: bare, unless every key has to be quoted.
    pub fn integer_key(&mut self, number: i64) {
        let is_quoted = self.style == JsonStyle::Standard;
        if is_quoted {
            self.out.put_u8(b'"');
        }
        self.integer(number);
        if is_quoted {
            self.out.put_u8(b'"');
        }
    }

    fn close(&mut self, bracket: u8, count: usize) {
        self.depth -= 1;
        if count > 0 {
            self.line();
        }
        self.out.put_u8(bracket);
    }

    fn line(&mut self) {
        if self.style == JsonStyle::Pretty {
            self.out.put_u8(b'\n');
            self.out.put_bytes(b'\t', self.depth);
        }
    }
}

/// The members of the object being written.
#[derive(Debug)]
pub struct Members<'w> {
    writer: &'w mut JsonWriter,
    count: usize,
}

impl Members<'_> {
    /// Writes a property, or nothing if it is null. Properties go in alphabetical order.
    pub fn property(&mut self, name: &str, value: &impl Json) {
        if !value.is_null() {
            self.separate();
            self.writer.line();
            self.writer.string(name);
            self.writer.out.put_u8(b':');
            value.write(self.writer);
        }
    }

    /// Writes an entry of a map.
    pub fn entry<K: JsonKey>(&mut self, key: &K, value: &impl Json) {
        self.separate();
        if K::IS_TEXT {
            self.writer.line();
        }
        key.write_key(self.writer);
        self.writer.out.put_u8(b':');
        value.write(self.writer);
    }

    fn separate(&mut self) {
        if self.count > 0 {
            self.writer.out.put_u8(b',');
        }
        self.count += 1;
    }
}

/// Appends `text` quoted and escaped as fastjson does: C0, C1 and DEL, the two line separators of
/// Unicode, quotation mark and backslash; everything else as UTF-8.
pub(crate) fn write_string(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.put_u8(b'"');
    let mut from = 0;
    while let Some(step) = bytes[from..].iter().position(|byte| MAY_ESCAPE[usize::from(*byte)]) {
        let at = from + step;
        let (escaped, len) = escape(&bytes[at..]);
        out.put_slice(&bytes[from..at]);
        match escaped {
            Some(code) => write_escape(out, code),
            None => out.put_slice(&bytes[at..at + len]),
        }
        from = at + len;
    }
    out.put_slice(&bytes[from..]);
    out.put_u8(b'"');
}

/// Appends `text` quoted, with everything but printable ASCII escaped (fastjson's
/// `BrowserCompatible`).
fn write_ascii_string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if !MAY_ESCAPE[usize::from(byte)] && byte.is_ascii() => out.put_u8(byte),
            _ => write_escape(out, unit),
        }
    }
    out.put_u8(b'"');
}

/// Appends a decimal integer.
pub(crate) fn write_integer(out: &mut BytesMut, number: i64) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// First bytes of characters that [`escape`] has to look at.
const MAY_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[0x7f] = true;
    table[0xc2] = true;
    table[0xe2] = true;
    table
};

/// The code to escape at the start of `bytes`, if any, and the number of bytes decided upon.
fn escape(bytes: &[u8]) -> (Option<u16>, usize) {
    match bytes {
        [0xc2, low @ 0x80..=0x9f, ..] => (Some(u16::from(*low)), 2),
        [0xe2, 0x80, 0xa8, ..] => (Some(0x2028), 3),
        [0xe2, 0x80, 0xa9, ..] => (Some(0x2029), 3),
        [0xc2 | 0xe2, ..] => (None, 1),
        [byte, ..] => (Some(u16::from(*byte)), 1),
        [] => (None, 0),
    }
}

fn write_escape(out: &mut BytesMut, code: u16) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let short = match code {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        0x22 => b'"',
        0x5c => b'\\',
        _ => {
            let digit = |shift: u16| HEX[usize::from(code >> shift & 0xf)];
            out.put_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
            return;
        }
    };
    out.put_slice(&[b'\\', short]);
}
