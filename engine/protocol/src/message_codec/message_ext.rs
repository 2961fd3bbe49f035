//! From records to messages, as clients read the bodies of pull responses.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{
    MAGIC_POSITION, MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordError, RecordView,
    decode_record,
};
use crate::message::{Message, MessageExt, Properties};
use crate::sys_flag::MessageSysFlag;

/// A decompressed body beyond this is refused: no broker takes a message that large.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a compressed body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The bytes are not of the compression stated.
    #[error("the compressed body is damaged: {0}")]
    Damaged(String),
    /// The flag names no compression of RocketMQ.
    #[error("the compression is of unknown type")]
    Unsupported,
    /// The body would be unreasonably large.
    #[error("the body is larger than 64 MiB")]
    TooLarge,
}

/// Reads the records of a pull response's body. One that a disk has damaged is left out, and those
/// behind it are found by what they begin with (RocketMQ 4.9 gives up the rest, and goes on behind it).
/// What does not decompress keeps its stored body (and its flag). Uncompressed bodies share the memory
/// of `records`.
#[must_use]
pub fn decode_messages(records: &Bytes) -> Vec<MessageExt> {
    let mut messages = Vec::new();
    let mut position = 0;
    while position < records.len() {
        match decode_record(&records[position..]) {
            Ok(view) => {
                messages.push(message_from_record(&view, records));
                position += view.size();
            }
            Err(_) => position = next_record(records, position + 1),
        }
    }
    messages
}

/// Where the next record begins, from `from` on; the end if there is none. Records go on to the end: what
/// looks like one within the body of another does not.
fn next_record(records: &[u8], mut from: usize) -> usize {
    while let Some(begin) = (from..records.len()).find(|at| has_magic(&records[*at..])) {
        let mut end = begin;
        while let Ok(view) = decode_record(&records[end..]) {
            end += view.size();
        }
        if end == records.len() {
            return begin;
        }
        from = end.max(begin + 1);
    }
    records.len()
}

fn has_magic(record: &[u8]) -> bool {
    let magic = record.get(MAGIC_POSITION..).and_then(|bytes| bytes.first_chunk());
    let magic = magic.map(|bytes| i32::from_be_bytes(*bytes));
    matches!(magic, Some(MESSAGE_MAGIC_CODE | MESSAGE_MAGIC_CODE_V2))
}

/// Reads the one record of a response to VIEW_MESSAGE_BY_ID or a request CHECK_TRANSACTION_STATE.
///
/// # Errors
/// When the bytes do not begin with a record.
pub fn decode_message(record: &Bytes) -> Result<MessageExt, RecordError> {
    decode_record(record).map(|view| message_from_record(&view, record))
}

/// The message of a record that lies within `owner`.
///
/// # Panics
/// When `view` does not lie within `owner`.
#[must_use]
pub fn message_from_record(view: &RecordView<'_>, owner: &Bytes) -> MessageExt {
    let body = decompress_body(view.sys_flag(), view.body())
        .ok()
        .flatten()
        .unwrap_or_else(|| owner.slice_ref(view.body()));
    MessageExt {
        message: Message {
            topic: view.topic().into_owned(),
            flag: view.flag(),
            properties: Properties::parse(&view.properties()),
            body,
        },
        broker_name: String::new(),
        queue_id: view.queue_id(),
        store_size: view.size() as i32,
        queue_offset: view.queue_offset(),
        sys_flag: view.sys_flag(),
        born_timestamp: view.born_timestamp(),
        born_host: view.born_host(),
        store_timestamp: view.store_timestamp(),
        store_host: view.store_host(),
        phy_offset: view.phy_offset(),
        body_crc: view.body_crc(),
        reconsume_times: view.reconsume_times(),
        prepared_transaction_offset: view.prepared_transaction_offset(),
    }
}

/// The plain body, or `None` if the flag says that it is not compressed.
///
/// # Errors
/// When the compression is not known here, or the bytes are damaged.
pub fn decompress_body(sys_flag: i32, body: &[u8]) -> Result<Option<Bytes>, BodyError> {
    if sys_flag & MessageSysFlag::COMPRESSED == 0 {
        return Ok(None);
    }
    let plain = match sys_flag & MessageSysFlag::COMPRESSION_TYPE_MASK {
        0 | MessageSysFlag::COMPRESSION_ZLIB => read_plain(ZlibDecoder::new(body)),
        MessageSysFlag::COMPRESSION_LZ4 => read_plain(lz4_flex::frame::FrameDecoder::new(body)),
        MessageSysFlag::COMPRESSION_ZSTD => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(body);
            read_plain(decoder.map_err(|error| BodyError::Damaged(error.to_string()))?)
        }
        _ => return Err(BodyError::Unsupported),
    };
    plain.map(Some)
}

/// Reads a decompressor to its end, within reason.
fn read_plain(decoder: impl Read) -> Result<Bytes, BodyError> {
    let mut plain = Vec::new();
    match decoder.take(BODY_BYTES_MAX + 1).read_to_end(&mut plain) {
        Ok(_) if plain.len() as u64 > BODY_BYTES_MAX => Err(BodyError::TooLarge),
        Ok(_) => Ok(Bytes::from(plain)),
        Err(error) => Err(BodyError::Damaged(error.to_string())),
    }
}

/// Compresses a body with ZLIB at `level` (0 to 9; clients use 5).
///
/// # Panics
/// Never: writing to memory does not fail.
#[must_use]
pub fn compress_body(body: &[u8], level: u32) -> Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level.min(9)));
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    Bytes::from(written.expect("writing to memory does not fail"))
}
