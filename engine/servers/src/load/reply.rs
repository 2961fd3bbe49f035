//! Frames as they come back, looked at as little as possible.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use mq_protocol::frame::FRAME_BYTES_MAX;

/// Keys that every header has.
pub(crate) const CODE: &str = "\"code\":";
pub(crate) const OPAQUE: &str = "\"opaque\":";

/// A frame without its length word.
pub(crate) struct Reply {
    frame: Bytes,
    header_bytes: usize,
}

/// Takes the next frame out of `buf`; `None` while it is incomplete.
///
/// # Errors
/// In words, when the bytes are no frame with a JSON header.
pub(crate) fn take_reply(buf: &mut BytesMut) -> Result<Option<Reply>, String> {
    let Some(word) = buf.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*word) as usize;
    if !(4..=FRAME_BYTES_MAX).contains(&length) {
        return Err(format!("sends a frame of {length} bytes"));
    }
    if buf.len() < 4 + length {
        return Ok(None);
    }
    let frame = buf.split_to(4 + length).freeze().slice(4..);
    let word = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    let header_bytes = (word & 0x00FF_FFFF) as usize;
    if word >> 24 != 0 || header_bytes > length - 4 {
        return Err(format!("sends a header of type {} and {header_bytes} bytes", word >> 24));
    }
    Ok(Some(Reply { frame, header_bytes }))
}

impl Reply {
    /// The header's text.
    pub(crate) fn header(&self) -> &[u8] {
        &self.frame[4..4 + self.header_bytes]
    }

    /// What is behind the header.
    pub(crate) fn body(&self) -> &[u8] {
        &self.frame[4 + self.header_bytes..]
    }

    /// The number behind `key`, which is given with its quotes and colon, as no text within the header can have it.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        let header = self.header();
        let text = &header[memmem::find(header, key.as_bytes())? + key.len()..];
        // Fields of a header are quoted.
        let text = text.strip_prefix(b"\"").unwrap_or(text);
        let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'-');
        std::str::from_utf8(&text[..end?]).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use mq_protocol::frame;
    use mq_protocol::header::pull_message::PullMessageResponseHeader;
    use mq_protocol::remoting_command::RemotingCommand;

    use super::*;

    #[test]
    fn frames_that_come_in_pieces_are_read_and_their_numbers_found() {
        let header = PullMessageResponseHeader {
            next_begin_offset: 1_234,
            ..PullMessageResponseHeader::default()
        };
        let mut reply = RemotingCommand::success(&header).with_body(&b"body"[..]);
        reply.remark = Some("\"code\":7".to_owned());
        reply.opaque = -5;
        let mut bytes = BytesMut::new();
        frame::encode(&reply, &mut bytes);
        let whole = bytes.clone();
        let mut buf = BytesMut::from(&whole[..whole.len() - 1]);
        assert!(take_reply(&mut buf).unwrap().is_none());
        buf.extend_from_slice(&whole[whole.len() - 1..]);
        let reply = take_reply(&mut buf).unwrap().unwrap();
        assert!(buf.is_empty());
        let numbers =
            [CODE, OPAQUE, "\"nextBeginOffset\":", "\"nothing\":"].map(|it| reply.number(it));
        assert_eq!(numbers, [Some(0), Some(-5), Some(1_234), None]);
        assert_eq!(reply.body(), b"body");
    }

    #[test]
    fn what_is_no_frame_is_said() {
        let mut huge = BytesMut::from(&[0xFF; 8][..]);
        assert!(take_reply(&mut huge).is_err());
        let mut binary = BytesMut::from(&[0, 0, 0, 4, 1, 0, 0, 0][..]);
        assert!(take_reply(&mut binary).is_err());
    }
}
