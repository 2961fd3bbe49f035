//! The body of a batch send: messages without topic and queue, one behind the other.
//!
//! ```text
//! total size i32 | magic i32 = 0 | body crc i32 = 0 | flag i32
//! body i32 length, bytes | properties i16 length, bytes
//! ```

use bytes::{Buf, BufMut};

use super::EncodeError;
use crate::message::{PROPERTIES_BYTES_MAX, separate};
use crate::steps;

/// Size of an entry without body and properties.
const ENTRY_BYTES_MIN: usize = 22;

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// The user's flag.
    pub flag: i32,
    /// Body; never compressed.
    pub body: &'a [u8],
    /// Properties string.
    pub properties: &'a str,
}

/// The body of a batch is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message {index} of the batch is malformed: {what}")]
pub struct BatchError {
    /// Number of the message, from 0.
    pub index: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Reads the body of a batch. Magics and CRCs within are ignored, as 4.9 brokers do; a stated size only has
/// to be possible.
///
/// # Errors
/// When an entry is cut off, its size is that of no entry (below 22, or more than there is), or its
/// properties are not UTF-8: MESSAGE_ILLEGAL to who sent it.
pub fn decode_batch(mut body: &[u8]) -> Result<Vec<BatchEntry<'_>>, BatchError> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        let malformed = |what| BatchError { index: entries.len(), what };
        if body.len() < ENTRY_BYTES_MIN {
            return Err(malformed("cut off"));
        }
        let rest_bytes = body.len();
        steps::count(1);
        let size = usize::try_from(body.get_i32()).unwrap_or(0);
        if !(ENTRY_BYTES_MIN..=rest_bytes).contains(&size) {
            return Err(malformed("its size is impossible"));
        }
        body.advance(8);
        let flag = body.get_i32();
        let message = take(&mut body, 4).ok_or_else(|| malformed("body is cut off"))?;
        let properties = take(&mut body, 2).ok_or_else(|| malformed("properties are cut off"))?;
        let properties =
            std::str::from_utf8(properties).map_err(|_| malformed("properties are not UTF-8"))?;
        entries.push(BatchEntry { flag, body: message, properties });
    }
    Ok(entries)
}

/// Appends one message to the body of a batch.
///
/// # Errors
/// When body or properties are too long; nothing is written then.
pub fn encode_batch_entry(
    entry: &BatchEntry<'_>,
    out: &mut impl BufMut,
) -> Result<(), EncodeError> {
    if entry.properties.len() > PROPERTIES_BYTES_MAX {
        return Err(EncodeError::Properties(entry.properties.len()));
    }
    let size = ENTRY_BYTES_MIN + entry.body.len() + entry.properties.len();
    let size = i32::try_from(size).map_err(|_| EncodeError::Body(entry.body.len()))?;
    out.put_i32(size);
    out.put_i32(0);
    out.put_i32(0);
    out.put_i32(entry.flag);
    out.put_i32(entry.body.len() as i32);
    out.put_slice(entry.body);
    out.put_i16(entry.properties.len() as i16);
    out.put_slice(entry.properties.as_bytes());
    Ok(())
}

/// Appends to `out` the properties of a stored message of a batch: its own, then the batch's.
pub fn join_batch_properties(own: &str, of_batch: &str, out: &mut String) {
    out.push_str(own);
    if !of_batch.is_empty() {
        separate(out);
        out.push_str(of_batch);
    }
}

/// Takes bytes behind a signed length of `length_bytes`.
fn take<'a>(body: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    if body.len() < length_bytes {
        return None;
    }
    let length = body.get_int(length_bytes);
    let (taken, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
    *body = rest;
    Some(taken)
}
