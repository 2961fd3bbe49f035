//! The JSON dialect of Java peers (fastjson 1.2): a lenient reader and a writer of the same bytes.
//!
//! Beyond standard JSON the dialect has unquoted integer keys (`{0:"10.0.0.1:10911"}`) and objects
//! as keys (`{{"queueId":0,…}:7}`). The writer never puts white space anywhere and leaves null
//! members out.

mod lexer;

use bytes::{BufMut, BytesMut};

pub(crate) use lexer::{Lexer, Token};

/// Malformed JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON text is malformed at byte {position}: {expected} expected")]
pub struct JsonError {
    /// Byte index into the text.
    pub position: usize,
    /// What should have been there.
    pub expected: &'static str,
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

/// Appends a decimal integer.
pub(crate) fn write_integer(out: &mut BytesMut, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.put_slice(&digits[at..]);
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
