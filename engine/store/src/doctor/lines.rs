//! The JSON lines of a dump.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use mq_protocol::message::PropertiesView;
use mq_protocol::message_codec::{MAGIC_POSITION, RecordView, decompress_body};
use serde::Serialize;

use crate::big_endian::i32_at;

/// Bodies up to this size are written out.
const BODY_HEX_BYTES_MAX: usize = 256;

/// A record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordLine<'a> {
    phy_offset: u64,
    size: usize,
    magic: String,
    #[serde(rename = "bodyCRC")]
    body_crc: i32,
    queue_id: i32,
    flag: i32,
    queue_offset: i64,
    physical_offset_field: i64,
    sys_flag: i32,
    born_timestamp: i64,
    born_host: String,
    store_timestamp: i64,
    store_host: String,
    reconsume_times: i32,
    prepared_transaction_offset: i64,
    body_len: usize,
    body_crc32: String,
    body_hex: Option<String>,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_error: Option<String>,
    msg_id: Option<String>,
    plain_len: Option<usize>,
    plain_crc32: Option<String>,
    properties: Option<BTreeMap<&'a str, &'a str>>,
    properties_raw: &'a str,
}

impl<'a> RecordLine<'a> {
    /// `topic` and `properties` are the record's.
    pub(super) fn new(
        record: &RecordView<'_>,
        phy_offset: u64,
        topic: &'a str,
        properties: &'a str,
    ) -> Self {
        let body = record.body();
        let magic = i32_at(record.bytes(), MAGIC_POSITION).unwrap_or_default();
        let plain = decompress_body(record.sys_flag(), body);
        let decode_error = plain.as_ref().err().map(ToString::to_string);
        let plain = plain.ok();
        let plain = plain.as_ref().map(|plain| plain.as_deref().unwrap_or(body));
        RecordLine {
            phy_offset,
            size: record.size(),
            magic: format!("{magic:08x}"),
            body_crc: record.body_crc(),
            queue_id: record.queue_id(),
            flag: record.flag(),
            queue_offset: record.queue_offset(),
            physical_offset_field: record.phy_offset(),
            sys_flag: record.sys_flag(),
            born_timestamp: record.born_timestamp(),
            born_host: host(record.born_host()),
            store_timestamp: record.store_timestamp(),
            store_host: host(record.store_host()),
            reconsume_times: record.reconsume_times(),
            prepared_transaction_offset: record.prepared_transaction_offset(),
            body_len: body.len(),
            body_crc32: crc(body),
            body_hex: (body.len() <= BODY_HEX_BYTES_MAX).then(|| hex(body)),
            topic,
            msg_id: plain.map(|_| record.offset_msg_id().to_string()),
            plain_len: plain.map(<[u8]>::len),
            plain_crc32: plain.map(crc),
            properties: (plain.is_some() && !properties.is_empty())
                .then(|| PropertiesView::new(properties).iter().collect()),
            decode_error,
            properties_raw: properties,
        }
    }
}

/// The blank at the end of a file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlankLine {
    pub(super) phy_offset: u64,
    pub(super) blank: bool,
    pub(super) size: i32,
    pub(super) magic: String,
    pub(super) rest_is_zero: bool,
}

/// Where the walk over a file ended without a blank.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndLine {
    pub(super) phy_offset: u64,
    pub(super) end: bool,
    pub(super) size: i32,
    pub(super) magic: String,
    pub(super) non_zero_bytes_up_to: Option<u64>,
}

/// A ConsumeQueue file; of each unit physical offset, size and hash of the tag.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueLine<'a> {
    pub(super) topic: &'a str,
    pub(super) queue_id: u32,
    pub(super) file: &'a str,
    pub(super) first_unit: u64,
    pub(super) units: &'a [(i64, i32, i64)],
}

/// The front of an index file's line; slots and entries follow.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexLine<'a> {
    pub(super) file: &'a str,
    pub(super) begin_timestamp: i64,
    pub(super) end_timestamp: i64,
    pub(super) begin_phy_offset: i64,
    pub(super) end_phy_offset: i64,
    pub(super) hash_slot_count: i32,
    pub(super) index_count: i32,
}

/// Lower-case hexadecimal of the plain CRC-32.
fn crc(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Address and port as Java writes them.
pub(super) fn host(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let segments = ip.segments().map(|segment| format!("{segment:x}"));
            segments.join(":")
        }
    };
    format!("{ip}:{}", address.port())
}
