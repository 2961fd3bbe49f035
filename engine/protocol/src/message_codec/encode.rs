//! Writing records: what is known before the position is, and what is patched in late.

use std::net::{IpAddr, SocketAddr};

use bytes::BufMut;

use super::{
    BLANK_MAGIC_CODE, BODY_CRC_POSITION, BORN_HOST_POSITION, HOST_V4_BYTES, HOST_V6_BYTES,
    MESSAGE_MAGIC_CODE, PHY_OFFSET_POSITION, QUEUE_OFFSET_POSITION, RECORD_BYTES_MIN,
    SYS_FLAG_POSITION, body_crc,
};
use crate::message::{PROPERTIES_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::sys_flag::MessageSysFlag;

/// The values of a record of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFields<'a> {
    /// [`body_crc`](super::body_crc) of the body; 0 where no check is wanted.
    pub body_crc: i32,
    /// Queue.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Index in the queue.
    pub queue_offset: i64,
    /// Physical offset of the record.
    pub phy_offset: i64,
    /// [`MessageSysFlag`] bits; those of the hosts are set to fit.
    pub sys_flag: i32,
    /// When the client made the message, in ms.
    pub born_timestamp: i64,
    /// Address of the client.
    pub born_host: SocketAddr,
    /// When the broker stored the message, in ms.
    pub store_timestamp: i64,
    /// Address of the broker.
    pub store_host: SocketAddr,
    /// How often the message was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message of a committed one.
    pub prepared_transaction_offset: i64,
    /// Body.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Properties string.
    pub properties: &'a str,
}

impl<'a> RecordFields<'a> {
    /// A record of `body`, with its checksum, in queue 0 of `topic`: made and stored by `host` at `at_ms`, at
    /// offset 0, without properties and flags.
    #[must_use]
    pub fn plain(topic: &'a str, body: &'a [u8], host: SocketAddr, at_ms: i64) -> Self {
        RecordFields {
            body_crc: body_crc(body),
            queue_id: 0,
            flag: 0,
            queue_offset: 0,
            phy_offset: 0,
            sys_flag: 0,
            born_timestamp: at_ms,
            born_host: host,
            store_timestamp: at_ms,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            topic,
            properties: "",
        }
    }
}

/// Values that a record has no room for. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The topic's length does not fit a signed byte.
    #[error("topic of {0} bytes, at most {TOPIC_BYTES_MAX} fit")]
    Topic(usize),
    /// The properties' length does not fit a signed 16-bit number.
    #[error("properties of {0} bytes, at most {PROPERTIES_BYTES_MAX} fit")]
    Properties(usize),
    /// The record's size does not fit a signed 32-bit number.
    #[error("body of {0} bytes")]
    Body(usize),
}

impl RecordFields<'_> {
    /// Size of the record in bytes.
    ///
    /// # Errors
    /// When body, topic or properties are too long for a record.
    pub fn size(&self) -> Result<usize, EncodeError> {
        if self.topic.len() > TOPIC_BYTES_MAX {
            return Err(EncodeError::Topic(self.topic.len()));
        }
        if self.properties.len() > PROPERTIES_BYTES_MAX {
            return Err(EncodeError::Properties(self.properties.len()));
        }
        let hosts = host_bytes(self.born_host) + host_bytes(self.store_host);
        let fixed = RECORD_BYTES_MIN - 2 * HOST_V4_BYTES + hosts;
        let size = fixed + self.body.len() + self.topic.len() + self.properties.len();
        if i32::try_from(size).is_err() {
            return Err(EncodeError::Body(self.body.len()));
        }
        Ok(size)
    }

    /// Writes the record and returns its size in bytes.
    ///
    /// # Errors
    /// When body, topic or properties are too long for a record; nothing is written then.
    ///
    /// # Panics
    /// When `out` has too little room.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<usize, EncodeError> {
        let size = self.size()?;
        out.put_i32(size as i32);
        out.put_i32(MESSAGE_MAGIC_CODE);
        out.put_i32(self.body_crc);
        out.put_i32(self.queue_id);
        out.put_i32(self.flag);
        out.put_i64(self.queue_offset);
        out.put_i64(self.phy_offset);
        out.put_i32(self.sys_flag_of_hosts());
        out.put_i64(self.born_timestamp);
        put_host(self.born_host, out);
        out.put_i64(self.store_timestamp);
        put_host(self.store_host, out);
        out.put_i32(self.reconsume_times);
        out.put_i64(self.prepared_transaction_offset);
        out.put_i32(self.body.len() as i32);
        out.put_slice(self.body);
        out.put_u8(self.topic.len() as u8);
        out.put_slice(self.topic.as_bytes());
        out.put_i16(self.properties.len() as i16);
        out.put_slice(self.properties.as_bytes());
        Ok(size)
    }

    fn sys_flag_of_hosts(&self) -> i32 {
        let bit = |host: SocketAddr, bit: i32| if host.is_ipv6() { bit } else { 0 };
        self.sys_flag & !(MessageSysFlag::BORNHOST_V6 | MessageSysFlag::STOREHOST_V6)
            | bit(self.born_host, MessageSysFlag::BORNHOST_V6)
            | bit(self.store_host, MessageSysFlag::STOREHOST_V6)
    }
}

/// Writes the blank that ends a file of which `bytes_left` are left; only its 8 bytes are written.
///
/// # Panics
/// When `out` has no room for 8 bytes, or `bytes_left` does not fit an `i32`.
pub fn encode_blank(bytes_left: usize, out: &mut impl BufMut) {
    out.put_i32(i32::try_from(bytes_left).expect("a file is smaller than 2 GiB"));
    out.put_i32(BLANK_MAGIC_CODE);
}

/// Sets what is known only under the put lock, in an encoded record.
///
/// # Panics
/// When `record` is shorter than a record.
pub fn assign_positions(
    record: &mut [u8],
    queue_offset: i64,
    phy_offset: i64,
    store_timestamp: i64,
) {
    patch_queue_offset(record, queue_offset);
    patch_phy_offset(record, phy_offset);
    patch_store_timestamp(record, store_timestamp);
}

/// Sets the queue offset of an encoded record.
///
/// # Panics
/// When `record` is shorter than a record.
pub fn patch_queue_offset(record: &mut [u8], queue_offset: i64) {
    put_at(record, QUEUE_OFFSET_POSITION, &queue_offset.to_be_bytes());
}

/// Sets the physical offset of an encoded record.
///
/// # Panics
/// When `record` is shorter than a record.
pub fn patch_phy_offset(record: &mut [u8], phy_offset: i64) {
    put_at(record, PHY_OFFSET_POSITION, &phy_offset.to_be_bytes());
}

/// Sets the store timestamp of an encoded record; its place depends on the born host.
///
/// # Panics
/// When `record` is shorter than a record.
pub fn patch_store_timestamp(record: &mut [u8], store_timestamp: i64) {
    // The bit of an IPv6 born host, 0x10, is in the sys flag's last byte.
    let is_v6 = i32::from(record[SYS_FLAG_POSITION + 3]) & MessageSysFlag::BORNHOST_V6 != 0;
    let host_bytes = if is_v6 { HOST_V6_BYTES } else { HOST_V4_BYTES };
    put_at(record, BORN_HOST_POSITION + host_bytes, &store_timestamp.to_be_bytes());
}

/// Sets the body's CRC of an encoded record.
///
/// # Panics
/// When `record` is shorter than a record.
pub fn patch_body_crc(record: &mut [u8], body_crc: i32) {
    put_at(record, BODY_CRC_POSITION, &body_crc.to_be_bytes());
}

fn put_at(record: &mut [u8], position: usize, bytes: &[u8]) {
    record[position..position + bytes.len()].copy_from_slice(bytes);
}

fn host_bytes(host: SocketAddr) -> usize {
    if host.is_ipv6() { HOST_V6_BYTES } else { HOST_V4_BYTES }
}

fn put_host(host: SocketAddr, out: &mut impl BufMut) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_i32(i32::from(host.port()));
}
