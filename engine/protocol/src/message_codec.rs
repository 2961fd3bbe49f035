//! The CommitLog record: one message as bytes, on disk and in the bodies of pull responses.
//!
//! ```text
//!  0  total size      i32    of the whole record
//!  4  magic           i32    0xDAA320A7 (version 1); 0xDAA320AB (version 2, of 5.x: read only)
//!  8  body crc        i32    CRC-32 of the body, 31 bits; 0 without a body
//! 12  queue id        i32
//! 16  flag            i32    the user's
//! 20  queue offset    i64
//! 28  physical offset i64    of byte 0 of this record
//! 36  sys flag        i32    says whether the hosts are IPv6
//! 40  born timestamp  i64
//! 48  born host       8 | 20 ip and port i32
//!     store timestamp i64    at 56, or 68 behind an IPv6 born host
//!     store host      8 | 20
//!     reconsume times i32
//!     prepared transaction offset i64
//!     body            i32 length, bytes
//!     topic           i8 length (version 2: i16), UTF-8
//!     properties      i16 length, UTF-8
//! ```
//!
//! A file ends with a *blank*: i32 bytes left, i32 magic 0xCBD43194, then anything. All numbers are
//! big-endian. Hosts whose sys flag bit is missing are IPv4.

mod batch;
mod check;
mod encode;
mod message_ext;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::message::OffsetMessageId;
use crate::sys_flag::MessageSysFlag;

pub use batch::{BatchEntry, BatchError, decode_batch, encode_batch_entry, join_batch_properties};
pub use check::{RecordCheck, RecordRules, TornReason, check_record};
pub use encode::{
    EncodeError, RecordFields, assign_positions, encode_blank, patch_body_crc, patch_phy_offset,
    patch_queue_offset, patch_store_timestamp,
};
pub use message_ext::{
    BodyError, compress_body, decode_message, decode_messages, decompress_body, message_from_record,
};

/// Magic of records of version 1, the only ones that are written.
pub const MESSAGE_MAGIC_CODE: i32 = 0xDAA3_20A7_u32 as i32;
/// Magic of records of version 2 (5.x: longer topics).
pub const MESSAGE_MAGIC_CODE_V2: i32 = 0xDAA3_20AB_u32 as i32;
/// Magic of the blank at the end of a file.
pub const BLANK_MAGIC_CODE: i32 = 0xCBD4_3194_u32 as i32;
/// Bytes that remain at the end of every file for the blank.
pub const END_FILE_MIN_BLANK_BYTES: usize = 8;

/// Position of the total size.
pub const TOTAL_SIZE_POSITION: usize = 0;
/// Position of the magic.
pub const MAGIC_POSITION: usize = 4;
/// Position of the body's CRC.
pub const BODY_CRC_POSITION: usize = 8;
/// Position of the queue id.
pub const QUEUE_ID_POSITION: usize = 12;
/// Position of the user's flag.
pub const FLAG_POSITION: usize = 16;
/// Position of the queue offset.
pub const QUEUE_OFFSET_POSITION: usize = 20;
/// Position of the physical offset.
pub const PHY_OFFSET_POSITION: usize = 28;
/// Position of the sys flag.
pub const SYS_FLAG_POSITION: usize = 36;
/// Position of the born timestamp.
pub const BORN_TIMESTAMP_POSITION: usize = 40;
/// Position of the born host.
pub const BORN_HOST_POSITION: usize = 48;

/// Size of a record with IPv4 hosts and without body, topic and properties.
pub const RECORD_BYTES_MIN: usize = 91;

const HOST_V4_BYTES: usize = 8;
const HOST_V6_BYTES: usize = 20;

/// Why bytes are no record. Positions and sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The magic is neither that of version 1 nor that of version 2.
    #[error("magic {0:#010x} is not that of a record")]
    Magic(i32),
    /// The total size is impossible, or more than there is.
    #[error("total size {total} of {available} bytes")]
    TotalSize {
        /// As stated.
        total: i32,
        /// What there is.
        available: usize,
    },
    /// The lengths of body, topic and properties do not add up to the total size.
    #[error("body, topic and properties do not fill the record of {total} bytes")]
    Lengths {
        /// As stated.
        total: i32,
    },
}

/// A record in place: nothing is copied, every accessor reads the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    store_timestamp_position: usize,
    body_position: usize,
    topic_position: usize,
    properties_position: usize,
    topic_bytes: usize,
}

/// Reads the record at the front of `bytes`, which may go on behind it. Only the layout is checked,
/// see [`check_record`] for the contents.
///
/// # Errors
/// When the magic, the total size or the lengths within are wrong.
pub fn decode_record(bytes: &[u8]) -> Result<RecordView<'_>, RecordError> {
    let available = bytes.len();
    let size_and_magic = i32_at(bytes, TOTAL_SIZE_POSITION).zip(i32_at(bytes, MAGIC_POSITION));
    let Some((total, magic)) = size_and_magic else {
        return Err(RecordError::TotalSize { total: 0, available });
    };
    if magic != MESSAGE_MAGIC_CODE && magic != MESSAGE_MAGIC_CODE_V2 {
        return Err(RecordError::Magic(magic));
    }
    let record = usize::try_from(total)
        .ok()
        .filter(|size| *size >= RECORD_BYTES_MIN)
        .and_then(|size| bytes.get(..size))
        .ok_or(RecordError::TotalSize { total, available })?;
    layout(record, magic).ok_or(RecordError::Lengths { total })
}

/// Finds the variable parts; `None` if they do not fill `record`.
fn layout(record: &[u8], magic: i32) -> Option<RecordView<'_>> {
    let sys_flag = i32_at(record, SYS_FLAG_POSITION)?;
    let host_bytes = |bit: i32| if sys_flag & bit == 0 { HOST_V4_BYTES } else { HOST_V6_BYTES };
    let store_timestamp_position = BORN_HOST_POSITION + host_bytes(MessageSysFlag::BORNHOST_V6);
    let store_host_end = store_timestamp_position + 8 + host_bytes(MessageSysFlag::STOREHOST_V6);
    let body_position = store_host_end + 4 + 8 + 4;
    let body_bytes = length(i32_at(record, body_position - 4)?)?;
    let topic_length_position = body_position.checked_add(body_bytes)?;
    let (topic_bytes, topic_position) = if magic == MESSAGE_MAGIC_CODE {
        let topic_bytes = *record.get(topic_length_position)? as i8;
        (length(i32::from(topic_bytes))?, topic_length_position + 1)
    } else {
        let topic_bytes = i16_at(record, topic_length_position)?;
        (length(i32::from(topic_bytes))?, topic_length_position + 2)
    };
    let properties_position = topic_position + topic_bytes + 2;
    let properties_bytes = length(i32::from(i16_at(record, properties_position - 2)?))?;
    let view = RecordView {
        bytes: record,
        store_timestamp_position,
        body_position,
        topic_position,
        properties_position,
        topic_bytes,
    };
    (properties_position + properties_bytes == record.len()).then_some(view)
}

impl<'a> RecordView<'a> {
    /// All bytes of the record.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Size of the record in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// 1, or 2 for a record of a 5.x broker with a long topic.
    #[must_use]
    pub fn version(&self) -> u8 {
        if self.i32(MAGIC_POSITION) == MESSAGE_MAGIC_CODE { 1 } else { 2 }
    }

    /// CRC of the body as stored.
    #[must_use]
    pub fn body_crc(&self) -> i32 {
        self.i32(BODY_CRC_POSITION)
    }

    /// Queue.
    #[must_use]
    pub fn queue_id(&self) -> i32 {
        self.i32(QUEUE_ID_POSITION)
    }

    /// The user's flag.
    #[must_use]
    pub fn flag(&self) -> i32 {
        self.i32(FLAG_POSITION)
    }

    /// Index in the queue.
    #[must_use]
    pub fn queue_offset(&self) -> i64 {
        self.i64(QUEUE_OFFSET_POSITION)
    }

    /// Physical offset as stored.
    #[must_use]
    pub fn phy_offset(&self) -> i64 {
        self.i64(PHY_OFFSET_POSITION)
    }

    /// [`MessageSysFlag`] bits.
    #[must_use]
    pub fn sys_flag(&self) -> i32 {
        self.i32(SYS_FLAG_POSITION)
    }

    /// When the client made the message, in ms.
    #[must_use]
    pub fn born_timestamp(&self) -> i64 {
        self.i64(BORN_TIMESTAMP_POSITION)
    }

    /// Address of the client; of its port the low 16 bits.
    #[must_use]
    pub fn born_host(&self) -> SocketAddr {
        host(&self.bytes[BORN_HOST_POSITION..self.store_timestamp_position])
    }

    /// When the broker stored the message, in ms.
    #[must_use]
    pub fn store_timestamp(&self) -> i64 {
        self.i64(self.store_timestamp_position)
    }

    /// Address of the broker; of its port the low 16 bits.
    #[must_use]
    pub fn store_host(&self) -> SocketAddr {
        host(&self.bytes[self.store_timestamp_position + 8..self.body_position - 16])
    }

    /// How often the message was consumed in vain.
    #[must_use]
    pub fn reconsume_times(&self) -> i32 {
        self.i32(self.body_position - 16)
    }

    /// Physical offset of the half message of a committed one.
    #[must_use]
    pub fn prepared_transaction_offset(&self) -> i64 {
        self.i64(self.body_position - 12)
    }

    /// The body as stored.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        // The topic's length takes one byte in version 1, two in version 2.
        let topic_length_bytes = usize::from(self.version());
        &self.bytes[self.body_position..self.topic_position - topic_length_bytes]
    }

    /// Where the body begins within the record.
    #[must_use]
    pub fn body_position(&self) -> usize {
        self.body_position
    }

    /// The topic's bytes.
    #[must_use]
    pub fn topic_bytes(&self) -> &'a [u8] {
        &self.bytes[self.topic_position..self.topic_position + self.topic_bytes]
    }

    /// The topic; copied only if its bytes are not UTF-8.
    #[must_use]
    pub fn topic(&self) -> Cow<'a, str> {
        text(self.topic_bytes())
    }

    /// The bytes of the properties string.
    #[must_use]
    pub fn properties_bytes(&self) -> &'a [u8] {
        &self.bytes[self.properties_position..]
    }

    /// The properties string; copied only if its bytes are not UTF-8.
    #[must_use]
    pub fn properties(&self) -> Cow<'a, str> {
        text(self.properties_bytes())
    }

    /// The id that follows from where the record says it is stored.
    #[must_use]
    pub fn offset_msg_id(&self) -> OffsetMessageId {
        OffsetMessageId { store_host: self.store_host(), phy_offset: self.phy_offset() }
    }

    fn i32(&self, position: usize) -> i32 {
        i32_at(self.bytes, position).expect("the layout was checked")
    }

    fn i64(&self, position: usize) -> i64 {
        let (chunk, _) =
            self.bytes[position..].split_first_chunk().expect("the layout was checked");
        i64::from_be_bytes(*chunk)
    }
}

/// CRC-32 of a body as records keep it: without the sign bit, and 0 for an empty body.
#[must_use]
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

/// As `String::from_utf8_lossy`, which takes several times as long over what is UTF-8.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn host(bytes: &[u8]) -> SocketAddr {
    let (ip, port) = bytes.split_at(bytes.len() - 4);
    let ip = match <[u8; 4]>::try_from(ip) {
        Ok(octets) => IpAddr::V4(Ipv4Addr::from(octets)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).expect("4 or 16 bytes"))),
    };
    SocketAddr::new(ip, u16::from_be_bytes([port[2], port[3]]))
}

fn length(stated: i32) -> Option<usize> {
    usize::try_from(stated).ok()
}

fn i16_at(bytes: &[u8], position: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(crate) fn i32_at(bytes: &[u8], position: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
