//! The length-prefixed frame that carries one command over a stream.
//!
//! ```text
//! length  i32   4 + header length + body length: everything behind this word
//! header  i32   serialize type << 24 | header length
//! header  bytes
//! body    bytes   rest
//! ```

use bytes::{Buf, BufMut, BytesMut};

use crate::remoting_command::RemotingCommand;
use crate::serialize::{SerializeError, SerializeType, decode_header, encode_header};

/// Largest frame that a peer may send, in bytes, its length word included.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;
/// Room made for a frame of which less has arrived.
const ROOM_BYTES_MIN: usize = 64 << 10;

const HEADER_LENGTH_MASK: u32 = 0x00FF_FFFF;

/// Why the bytes of a stream are no frame. The stream cannot be resynchronized: close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length word is negative, too small for a header word, or above [`FRAME_BYTES_MAX`].
    #[error("frame length {0} is out of bounds")]
    Length(i32),
    /// The header is longer than the frame.
    #[error("header of {header_bytes} bytes in a frame of {frame_bytes}")]
    HeaderLength {
        /// Length of the header as stated.
        header_bytes: usize,
        /// Length of the frame behind its length word.
        frame_bytes: usize,
    },
    /// The header's serialization is unknown.
    #[error("serialize type {0} is unknown")]
    SerializeType(u8),
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] SerializeError),
}

/// Takes one command from the front of `buf`, or `None` (and nothing) while it is incomplete. The
/// body shares the buffer's memory.
///
/// # Errors
/// When the bytes are no frame.
pub fn decode(buf: &mut BytesMut) -> Result<Option<RemotingCommand>, FrameError> {
    let Some(length) = frame_length(buf)? else { return Ok(None) };
    if buf.len() < LENGTH_BYTES + length {
        // As it arrives: whoever only says that a large frame comes takes no memory.
        let room_bytes = (LENGTH_BYTES + length).min((2 * buf.len()).max(ROOM_BYTES_MIN));
        buf.reserve(room_bytes.saturating_sub(buf.len()));
        return Ok(None);
    }
    buf.advance(LENGTH_BYTES);
    let mut frame = buf.split_to(length).freeze();
    let word = frame.get_u32();
    let header_bytes = (word & HEADER_LENGTH_MASK) as usize;
    if header_bytes > frame.len() {
        return Err(FrameError::HeaderLength { header_bytes, frame_bytes: length });
    }
    let type_number = (word >> 24) as u8;
    let serialize_type =
        SerializeType::from_number(type_number).ok_or(FrameError::SerializeType(type_number))?;
    let mut command = decode_header(serialize_type, &frame[..header_bytes])?;
    frame.advance(header_bytes);
    command.body = frame;
    Ok(Some(command))
}

/// Appends the frame of `command` to `buf`. What would be larger than [`FRAME_BYTES_MAX`] is for
/// the caller to refuse: peers close the connection over it.
pub fn encode(command: &RemotingCommand, buf: &mut BytesMut) {
    buf.reserve(256 + command.body.len());
    encode_head(command, buf);
    buf.put_slice(&command.body);
}

/// Appends the frame of `command` without its body's bytes, which the caller writes behind it
/// (large bodies need not be copied).
pub fn encode_head(command: &RemotingCommand, buf: &mut BytesMut) {
    let start = buf.len();
    buf.put_u64(0);
    encode_header(command, buf);
    let header_bytes = buf.len() - start - 8;
    let length = (4 + header_bytes + command.body.len()) as u32;
    let word = (command.serialize_type as u32) << 24 | (header_bytes as u32 & HEADER_LENGTH_MASK);
    buf[start..start + 4].copy_from_slice(&length.to_be_bytes());
    buf[start + 4..start + 8].copy_from_slice(&word.to_be_bytes());
}

/// The value of the length word, once it is there; checked as soon as it is.
fn frame_length(buf: &BytesMut) -> Result<Option<usize>, FrameError> {
    let Some(word) = buf.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = i32::from_be_bytes(*word);
    match usize::try_from(length) {
        Ok(bytes) if (4..=FRAME_BYTES_MAX - LENGTH_BYTES).contains(&bytes) => Ok(Some(bytes)),
        _ => Err(FrameError::Length(length)),
    }
}

#[cfg(test)]
mod tests;
