//! Our own request: is my CommitLog a prefix of yours? A slave asks it before it follows.
//!
//! RocketMQ 4.9 has no such question and answers it with REQUEST_CODE_NOT_SUPPORTED (3). Positions
//! travel in the header, checksums in the body:
//!
//! ```text
//! request body, per sample    response body, per sample
//! from  i64                   verdict  i8   0 same, 1 differs, 2 not held, 3 damaged
//! size  i32
//! crc   i32  CRC-32
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::HeaderError;

/// Code of the request. It fits the 16 bits of the binary header; no release of RocketMQ uses it.
pub const CHECK_LOG_PREFIX: i32 = 20_901;

/// Most samples in one request.
pub const LOG_SAMPLES_MAX: usize = 256;

/// Longest sample.
pub const LOG_SAMPLE_BYTES_MAX: u32 = 64 << 10;

const SAMPLE_ROW_BYTES: usize = 16;

custom_header! {
    /// Header of [`CHECK_LOG_PREFIX`].
    CheckLogPrefixRequestHeader {
        /// End of the asking log.
        end_offset: i64 = "endOffset",
    }

    /// Header of the response to [`CHECK_LOG_PREFIX`].
    CheckLogPrefixResponseHeader {
        /// First byte of the answering log.
        min_offset: i64 = "minOffset",
        /// End of the answering log.
        max_offset: i64 = "maxOffset",
    }
}

/// The checksum of a piece of the asking log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSample {
    /// CommitLog offset of its first byte.
    pub from: u64,
    /// Its length, at most [`LOG_SAMPLE_BYTES_MAX`].
    pub size_bytes: u32,
    /// Its CRC-32.
    pub crc: u32,
}

impl LogSample {
    /// CommitLog offset behind its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.from.saturating_add(u64::from(self.size_bytes))
    }
}

/// What a slave asks about its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixQuery {
    /// End of its log.
    pub end_offset: u64,
    /// Pieces of it, ascending, at most [`LOG_SAMPLES_MAX`].
    pub samples: Vec<LogSample>,
}

impl PrefixQuery {
    /// The request's header and body.
    #[must_use]
    pub fn encode(&self) -> (CheckLogPrefixRequestHeader, Bytes) {
        let mut body = BytesMut::with_capacity(self.samples.len() * SAMPLE_ROW_BYTES);
        for sample in &self.samples {
            body.put_u64(sample.from);
            body.put_u32(sample.size_bytes);
            body.put_u32(sample.crc);
        }
        (CheckLogPrefixRequestHeader { end_offset: to_wire(self.end_offset) }, body.freeze())
    }

    /// The query of a request's header and body.
    ///
    /// # Errors
    /// When a number is out of bounds or the body's length does not fit.
    pub fn decode(
        header: &CheckLogPrefixRequestHeader,
        mut body: &[u8],
    ) -> Result<Self, HeaderError> {
        let count = body.len() / SAMPLE_ROW_BYTES;
        if !body.len().is_multiple_of(SAMPLE_ROW_BYTES) || count > LOG_SAMPLES_MAX {
            return Err(malformed("body", "samples", body.len()));
        }
        let end_offset = from_wire("endOffset", header.end_offset)?;
        let mut samples = Vec::with_capacity(count);
        while body.has_remaining() {
            let from = from_wire("from", body.get_i64())?;
            let (size_bytes, crc) = (body.get_u32(), body.get_u32());
            if size_bytes > LOG_SAMPLE_BYTES_MAX {
                return Err(malformed("size", "sample size", size_bytes));
            }
            samples.push(LogSample { from, size_bytes, crc });
        }
        Ok(PrefixQuery { end_offset, samples })
    }
}

/// How a sample compares with the answering log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleVerdict {
    /// The same bytes lie there, as far as their checksums tell.
    Same,
    /// Other bytes lie there.
    Differs,
    /// The piece does not lie wholly inside the answering log.
    NotHeld,
    /// Other bytes lie there, and if a record begins with them, it fails its own checks.
    Damaged,
}

/// What the master says of a [`PrefixQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixAnswer {
    /// First byte of its log.
    pub min_offset: u64,
    /// End of its log; equal to `min_offset` when it is blank.
    pub max_offset: u64,
    /// One verdict per sample of the query.
    pub verdicts: Vec<SampleVerdict>,
}

impl PrefixAnswer {
    /// The response's header and body.
    #[must_use]
    pub fn encode(&self) -> (CheckLogPrefixResponseHeader, Bytes) {
        let body = self.verdicts.iter().map(|verdict| match verdict {
            SampleVerdict::Same => 0,
            SampleVerdict::Differs => 1,
            SampleVerdict::NotHeld => 2,
            SampleVerdict::Damaged => 3,
        });
        let header = CheckLogPrefixResponseHeader {
            min_offset: to_wire(self.min_offset),
            max_offset: to_wire(self.max_offset),
        };
        (header, body.collect())
    }

    /// The answer of a response's header and body.
    ///
    /// # Errors
    /// When a number is out of bounds.
    pub fn decode(header: &CheckLogPrefixResponseHeader, body: &[u8]) -> Result<Self, HeaderError> {
        let verdicts = body.iter().map(|byte| match byte {
            0 => Ok(SampleVerdict::Same),
            1 => Ok(SampleVerdict::Differs),
            2 => Ok(SampleVerdict::NotHeld),
            3 => Ok(SampleVerdict::Damaged),
            other => Err(malformed("body", "verdict", other)),
        });
        Ok(PrefixAnswer {
            min_offset: from_wire("minOffset", header.min_offset)?,
            max_offset: from_wire("maxOffset", header.max_offset)?,
            verdicts: verdicts.collect::<Result<_, _>>()?,
        })
    }
}

/// Offsets are below 2^63: they come from file names of 20 digits that Java reads as `long`.
fn to_wire(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn from_wire(field: &'static str, offset: i64) -> Result<u64, HeaderError> {
    u64::try_from(offset).map_err(|_| malformed(field, "offset", offset))
}

fn malformed(
    field: &'static str,
    expected: &'static str,
    value: impl std::fmt::Display,
) -> HeaderError {
    HeaderError::Malformed { field, expected, value: value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext_fields::ExtFields;
    use crate::header::CustomHeader;

    #[test]
    fn query_and_answer_survive_the_wire() {
        let sample = |from, crc| LogSample { from, size_bytes: LOG_SAMPLE_BYTES_MAX, crc };
        let query = PrefixQuery {
            end_offset: 1 << 40,
            samples: vec![sample(0, 1), sample(65_536, u32::MAX)],
        };
        let (header, body) = query.encode();
        assert_eq!(PrefixQuery::decode(&through_fields(&header), &body), Ok(query));

        let answer = PrefixAnswer {
            min_offset: 4,
            max_offset: 9,
            verdicts: vec![
                SampleVerdict::Same,
                SampleVerdict::Differs,
                SampleVerdict::NotHeld,
                SampleVerdict::Damaged,
            ],
        };
        let (header, body) = answer.encode();
        assert_eq!(PrefixAnswer::decode(&through_fields(&header), &body), Ok(answer));
        assert!(i16::try_from(CHECK_LOG_PREFIX).is_ok());
    }

    #[test]
    fn bodies_out_of_bounds_are_refused() {
        let header = CheckLogPrefixRequestHeader { end_offset: 0 };
        let too_many = vec![0; (LOG_SAMPLES_MAX + 1) * SAMPLE_ROW_BYTES];
        assert!(PrefixQuery::decode(&header, &too_many).is_err());
        assert!(PrefixQuery::decode(&header, &[0; 15]).is_err());
        let mut too_long = [0; SAMPLE_ROW_BYTES];
        too_long[8..12].copy_from_slice(&(LOG_SAMPLE_BYTES_MAX + 1).to_be_bytes());
        assert!(PrefixQuery::decode(&header, &too_long).is_err());
        let negative = CheckLogPrefixRequestHeader { end_offset: -1 };
        assert!(PrefixQuery::decode(&negative, &[]).is_err());
        let header = CheckLogPrefixResponseHeader::default();
        assert!(PrefixAnswer::decode(&header, &[4]).is_err());
    }

    fn through_fields<H: CustomHeader>(header: &H) -> H {
        let mut fields = ExtFields::absent();
        header.encode(&mut fields);
        H::decode(&fields).unwrap()
    }
}
