//! The replication streams between master and slave (RocketMQ 4.9 `HAConnection`, `HAClient`).
//!
//! One TCP connection carries two one-way streams. There is no handshake, version or error frame;
//! an error is a closed connection.
//!
//! ```text
//! slave -> master, repeated          master -> slave, repeated
//! offset  i64  end of its log        offset  i64  of the first body byte
//!                                    size    i32  of the body; 0 is a heartbeat
//!                                    body    size bytes of the CommitLog, cut anywhere
//! ```
//!
//! The slave's first report asks for data from that offset, all of them acknowledge. A body never
//! crosses a CommitLog file, but records are cut at any byte.

use bytes::{Buf, Bytes, BytesMut};

/// Length of a slave's report.
pub const REPORT_BYTES: usize = 8;

/// Length of the header in front of every slice.
pub const TRANSFER_HEADER_BYTES: usize = 12;

/// Why the bytes of a replication stream make no sense. Close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaFrameError {
    /// An offset is negative.
    #[error("offset {0} is negative")]
    Offset(i64),
    /// A body's size is negative or above the limit.
    #[error("body of {size} bytes is out of bounds (limit {limit})")]
    BodySize {
        /// The size as stated.
        size: i32,
        /// The largest size allowed.
        limit: usize,
    },
}

/// A slave's report of the end of its log.
#[must_use]
pub fn encode_report(offset: u64) -> [u8; REPORT_BYTES] {
    offset.to_be_bytes()
}

/// What stands in front of every slice of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferHeader {
    /// CommitLog offset of the first body byte; of a heartbeat, what the master would send next.
    pub phy_offset: u64,
    /// Length of the body, 0 for a heartbeat.
    pub body_bytes: u32,
}

impl TransferHeader {
    /// The header's 12 bytes.
    #[must_use]
    pub fn encode(self) -> [u8; TRANSFER_HEADER_BYTES] {
        let mut bytes = [0; TRANSFER_HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.phy_offset.to_be_bytes());
        bytes[8..].copy_from_slice(&self.body_bytes.to_be_bytes());
        bytes
    }

    fn decode(mut bytes: &[u8], body_bytes_max: usize) -> Result<Self, HaFrameError> {
        let phy_offset = decode_offset(bytes.get_i64())?;
        let size = bytes.get_i32();
        match u32::try_from(size) {
            Ok(body_bytes) if body_bytes as usize <= body_bytes_max => {
                Ok(TransferHeader { phy_offset, body_bytes })
            }
            _ => Err(HaFrameError::BodySize { size, limit: body_bytes_max }),
        }
    }
}

fn decode_offset(offset: i64) -> Result<u64, HaFrameError> {
    u64::try_from(offset).map_err(|_| HaFrameError::Offset(offset))
}

/// The master's view of a slave's stream: only the last complete report counts, as in
/// RocketMQ 4.9, whose reader skips those that arrived with it.
#[derive(Debug, Default)]
pub struct ReportDecoder {
    partial: [u8; REPORT_BYTES],
    partial_bytes: usize,
}

impl ReportDecoder {
    /// Takes in what was read, cut anywhere; the last report that it completes.
    ///
    /// # Errors
    /// When that report is negative.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<u64>, HaFrameError> {
        let mut last = None;
        while !bytes.is_empty() {
            let take = bytes.len().min(REPORT_BYTES - self.partial_bytes);
            self.partial[self.partial_bytes..self.partial_bytes + take]
                .copy_from_slice(&bytes[..take]);
            bytes.advance(take);
            self.partial_bytes += take;
            if self.partial_bytes == REPORT_BYTES {
                last = Some(i64::from_be_bytes(self.partial));
                self.partial_bytes = 0;
            }
        }
        last.map(decode_offset).transpose()
    }
}

/// One slice of the master's log, or a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferFrame {
    /// Its header.
    pub header: TransferHeader,
    /// The raw bytes, empty for a heartbeat.
    pub body: Bytes,
}

/// The slave's view of its master's stream.
///
/// Read into [`TransferDecoder::buffer`], then call [`TransferDecoder::header`] and
/// [`TransferDecoder::take_frame`] until they give nothing: the header is there to be checked
/// before its body has arrived.
#[derive(Debug)]
pub struct TransferDecoder {
    buffer: BytesMut,
    body_bytes_max: usize,
}

impl TransferDecoder {
    /// A decoder that refuses bodies above `body_bytes_max` bytes.
    #[must_use]
    pub fn new(body_bytes_max: usize) -> Self {
        TransferDecoder { buffer: BytesMut::new(), body_bytes_max }
    }

    /// Where to append what arrives, with room for at least `read_bytes` more.
    pub fn buffer(&mut self, read_bytes: usize) -> &mut BytesMut {
        self.buffer.reserve(read_bytes);
        &mut self.buffer
    }

    /// The header of the frame at the front, as soon as its 12 bytes are there.
    ///
    /// # Errors
    /// When its offset is negative or its size out of bounds.
    pub fn header(&self) -> Result<Option<TransferHeader>, HaFrameError> {
        let Some(bytes) = self.buffer.get(..TRANSFER_HEADER_BYTES) else { return Ok(None) };
        TransferHeader::decode(bytes, self.body_bytes_max).map(Some)
    }

    /// Takes the frame at the front once it is complete. The body shares the buffer's memory.
    ///
    /// # Errors
    /// As [`TransferDecoder::header`].
    pub fn take_frame(&mut self) -> Result<Option<TransferFrame>, HaFrameError> {
        let Some(header) = self.header()? else { return Ok(None) };
        let frame_bytes = TRANSFER_HEADER_BYTES + header.body_bytes as usize;
        if self.buffer.len() < frame_bytes {
            return Ok(None);
        }
        let body = self.buffer.split_to(frame_bytes).freeze().slice(TRANSFER_HEADER_BYTES..);
        Ok(Some(TransferFrame { header, body }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn recorded_headers_are_read_and_written() {
        // A heartbeat at 0x1ddd23 and a slice of 1,155 bytes from there, as a 4.9.7 master sent them.
        for (bytes, body_bytes) in [
            ([0, 0, 0, 0, 0, 0x1d, 0xdd, 0x23, 0, 0, 0, 0], 0),
            ([0, 0, 0, 0, 0, 0x1d, 0xdd, 0x23, 0, 0, 4, 0x83], 1155),
        ] {
            let header = TransferHeader { phy_offset: 0x1d_dd23, body_bytes };
            assert_eq!(header.encode(), bytes);
            assert_eq!(TransferHeader::decode(&bytes, 32 << 10), Ok(header));
        }
        assert_eq!(encode_report(0x5_9c5e), [0, 0, 0, 0, 0, 5, 0x9c, 0x5e]);
    }

    #[test]
    fn a_header_is_known_before_its_body() {
        let mut decoder = TransferDecoder::new(100);
        let header = TransferHeader { phy_offset: 7, body_bytes: 3 };
        decoder.buffer(64).extend_from_slice(&header.encode()[..11]);
        assert_eq!(decoder.header(), Ok(None));
        decoder.buffer(64).extend_from_slice(&header.encode()[11..]);
        assert_eq!(decoder.header(), Ok(Some(header)));
        assert_eq!(decoder.take_frame(), Ok(None));
        decoder.buffer(64).extend_from_slice(b"abcd");
        let frame = TransferFrame { header, body: Bytes::from_static(b"abc") };
        assert_eq!(decoder.take_frame(), Ok(Some(frame)));
        assert_eq!(decoder.take_frame(), Ok(None));
    }

    #[test]
    fn sizes_and_offsets_out_of_bounds_are_refused() {
        for (offset, size, error) in [
            (-1_i64, 0_i32, HaFrameError::Offset(-1)),
            (0, -1, HaFrameError::BodySize { size: -1, limit: 100 }),
            (0, 101, HaFrameError::BodySize { size: 101, limit: 100 }),
        ] {
            let mut decoder = TransferDecoder::new(100);
            decoder.buffer(12).extend_from_slice(&offset.to_be_bytes());
            decoder.buffer(12).extend_from_slice(&size.to_be_bytes());
            assert_eq!(decoder.take_frame(), Err(error));
        }
        let negative = (-5_i64).to_be_bytes();
        assert_eq!(ReportDecoder::default().push(&negative), Err(HaFrameError::Offset(-5)));
    }

    proptest! {
        #[test]
        fn streams_may_be_cut_anywhere(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..20),
            cuts in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let (mut wire, mut reports, mut sent) = (Vec::new(), Vec::new(), Vec::new());
            let mut phy_offset = 0;
            for body in bodies {
                let header = TransferHeader { phy_offset, body_bytes: body.len() as u32 };
                wire.extend_from_slice(&header.encode());
                wire.extend_from_slice(&body);
                phy_offset += body.len() as u64;
                reports.extend_from_slice(&encode_report(phy_offset));
                sent.push(TransferFrame { header, body: body.into() });
            }
            let mut decoder = TransferDecoder::new(64);
            let mut received = Vec::new();
            for part in cut(&wire, &cuts) {
                decoder.buffer(part.len()).extend_from_slice(part);
                while let Some(frame) = decoder.take_frame().unwrap() {
                    received.push(frame);
                }
            }
            prop_assert_eq!(received, sent);

            let mut decoder = ReportDecoder::default();
            let mut seen = 0;
            for part in cut(&reports, &cuts) {
                let before = seen / REPORT_BYTES;
                seen += part.len();
                let complete = seen / REPORT_BYTES;
                let expected = (complete > before).then(|| {
                    let start = (complete - 1) * REPORT_BYTES;
                    u64::from_be_bytes(reports[start..start + REPORT_BYTES].try_into().unwrap())
                });
                prop_assert_eq!(decoder.push(part).unwrap(), expected);
            }
        }
    }

    /// `bytes` in parts of the given lengths, over and over.
    fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
        let mut parts = Vec::new();
        for length in lengths.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let (part, rest) = bytes.split_at((*length).min(bytes.len()));
            parts.push(part);
            bytes = rest;
        }
        parts
    }
}
