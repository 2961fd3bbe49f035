//! A table as messages: one where it fits, else several in a row, each of which holds a compressed part of it.
//!
//! ```text
//! PART=0  PARTS=3      sysFlag says that the body is compressed (zlib), as it does for any message
//! PART=1  PARTS=3
//! PART=2  PARTS=3      with it the table is there
//! ```
//! A writer begins with part 0, and again with part 0 after whatever went wrong. So parts whose numbers lie in a row are of one
//! table; a row that does not reach its end was given up, and what counts is the table before it. Parts are compressed one by
//! one: neither side ever holds more than the table and one part, and both let others run in between.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use mq_protocol::message::{PropertiesView, append_property};
use mq_protocol::message_codec::{RecordView, compress_body, decode_record, decompress_body};
use mq_protocol::sys_flag::MessageSysFlag;
use mq_store::MessageStore;
use mq_store::config::StoreConfig;

use super::TABLES_TOPIC;

const PART: &str = "PART";
const PARTS: &str = "PARTS";

/// Bytes of a table in one message, before they are compressed.
const PART_BYTES_MAX: usize = 512 << 10;

/// Messages for one table: half a gibibyte of it, unless messages must be smaller than half a mebibyte.
const PARTS_MAX: usize = 1_024;

/// What a record and its entry have besides topic, properties and body, and more.
const OVERHEAD_BYTES: usize = 512;

/// The fastest: tables are text that repeats itself, and written again and again.
const COMPRESSION_LEVEL: u32 = 1;

/// How much of a table goes into one message, compressed or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartSize {
    bytes: usize,
}

impl PartSize {
    /// What `maxMessageSize` allows, and a file of the log has room for.
    pub(super) fn of(config: &StoreConfig) -> Self {
        let file_bytes = config.mapped_file_size_commit_log.saturating_sub(OVERHEAD_BYTES);
        let body_bytes = config.max_message_size.min(file_bytes);
        // zlib adds five bytes to each 16 KiB that it cannot make smaller, and eleven.
        let growth_bytes = body_bytes / 1_024 + 16;
        PartSize { bytes: body_bytes.saturating_sub(growth_bytes).min(PART_BYTES_MAX) }
    }

    /// The largest table that messages of this size can carry.
    pub(super) fn table_bytes_max(self) -> usize {
        self.bytes * PARTS_MAX
    }

    /// The parts of a table of that size that can be carried.
    pub(super) fn split(self, table_bytes: usize) -> impl Iterator<Item = Range<usize>> {
        assert!(table_bytes <= self.table_bytes_max(), "{table_bytes} bytes are too many");
        let step = self.bytes.max(1);
        (0..table_bytes.div_ceil(step).max(1))
            .map(move |part| part * step..table_bytes.min((part + 1) * step))
    }

    /// How many parts those are.
    pub(super) fn count(self, table_bytes: usize) -> usize {
        self.split(table_bytes).count()
    }
}

/// What is particular to the message of a part.
pub(super) struct PartMessage {
    pub(super) sys_flag: i32,
    pub(super) properties: String,
    pub(super) body: Bytes,
}

impl PartMessage {
    /// The part with that number of so many.
    pub(super) fn of(plain: Bytes, part: usize, parts: usize) -> Self {
        if parts == 1 {
            return PartMessage { sys_flag: 0, properties: String::new(), body: plain };
        }
        let mut properties = String::new();
        append_property(&mut properties, PART, &part.to_string());
        append_property(&mut properties, PARTS, &parts.to_string());
        let body = compress_body(&plain, COMPRESSION_LEVEL);
        PartMessage { sys_flag: MessageSysFlag::COMPRESSED, properties, body }
    }
}

/// Which part of a table a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    part: u64,
    parts: u64,
}

impl Place {
    /// `None` for what no writer writes.
    fn of(record: &RecordView<'_>) -> Option<Self> {
        let properties = record.properties();
        let properties = PropertiesView::new(&properties);
        let Some(part) = properties.get(PART) else { return Some(Place { part: 0, parts: 1 }) };
        let (part, parts) = (part.parse().ok()?, properties.get(PARTS)?.parse().ok()?);
        (part < parts && parts <= PARTS_MAX as u64).then_some(Place { part, parts })
    }
}

/// A table that was read back.
pub(super) struct FoundTable {
    /// Queue offset behind its last message.
    pub(super) end: u64,
    /// Where that message is in the log.
    pub(super) phy_offset: u64,
    pub(super) content: Bytes,
}

/// The newest whole table in `range` of a queue; `None` without one.
///
/// # Errors
/// When its messages are damaged, with what is wrong.
pub(super) async fn newest(
    store: &MessageStore,
    queue_id: u32,
    range: Range<u64>,
) -> Result<Option<FoundTable>, String> {
    let mut end = range.end;
    while end > range.start {
        let Some(last) = record(store, queue_id, end - 1, |record| Place::of(&record)) else {
            return Ok(None);
        };
        if let Some(Place { part, parts }) = last
            && part + 1 == parts
            && let Some(start) = end.checked_sub(parts).filter(|start| *start >= range.start)
            && are_in_a_row(store, queue_id, start, parts)
        {
            let content = join(store, queue_id, start..end).await?;
            let phy_offset = record(store, queue_id, end - 1, |record| record.phy_offset());
            let phy_offset = phy_offset.unwrap_or_default() as u64;
            return Ok(Some(FoundTable { end, phy_offset, content }));
        }
        // Given up by who wrote it.
        end -= 1;
    }
    Ok(None)
}

fn are_in_a_row(store: &MessageStore, queue_id: u32, start: u64, parts: u64) -> bool {
    (0..parts).all(|part| {
        let place = record(store, queue_id, start + part, |record| Place::of(&record));
        place.flatten() == Some(Place { part, parts })
    })
}

async fn join(store: &MessageStore, queue_id: u32, range: Range<u64>) -> Result<Bytes, String> {
    let mut content = BytesMut::new();
    for offset in range.clone() {
        let body = record(store, queue_id, offset, |record| {
            let plain = decompress_body(record.sys_flag(), record.body());
            plain.map(|plain| plain.unwrap_or_else(|| Bytes::copy_from_slice(record.body())))
        });
        let body = body.ok_or_else(|| format!("part {offset} of {range:?} is gone"))?;
        let body = body.map_err(|error| format!("part {offset} of {range:?}: {error}"))?;
        if range.end - range.start == 1 {
            return Ok(body);
        }
        content.extend_from_slice(&body);
        tokio::task::yield_now().await;
    }
    Ok(content.freeze())
}

/// What `read` makes of a message of the queue; `None` where it is gone.
fn record<T>(
    store: &MessageStore,
    queue_id: u32,
    offset: u64,
    read: impl FnOnce(RecordView<'_>) -> T,
) -> Option<T> {
    let queue = store.consume_queues().find(TABLES_TOPIC, queue_id)?;
    let unit = queue.unit(offset)?;
    let record = store.look_message_by_offset(unit.phy_offset as u64)?;
    decode_record(&record).ok().map(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(max_message_size: usize, file_bytes: usize) -> PartSize {
        let mut config = StoreConfig::at("/store");
        (config.max_message_size, config.mapped_file_size_commit_log) =
            (max_message_size, file_bytes);
        PartSize::of(&config)
    }

    #[test]
    fn parts_are_all_of_a_table_and_fit() {
        for (message, file) in [(4 << 20, 1 << 30), (4 << 20, 64 << 10), (1_000, 1 << 20)] {
            let size = size(message, file);
            for bytes in [0, 1, size.bytes - 1, size.bytes, size.bytes + 1, 10 * size.bytes + 7] {
                let parts: Vec<_> = size.split(bytes).collect();
                assert_eq!(parts.len(), size.count(bytes));
                assert_eq!(parts.len() > 1, bytes > size.bytes);
                assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, bytes));
                assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
        }
    }

    #[test]
    fn a_part_that_cannot_be_compressed_fits_a_message() {
        let size = size(100_000, 1 << 20);
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(2 * size.bytes)
        .collect();
        let part = PartMessage::of(Bytes::from(noise[..size.bytes].to_vec()), 0, 2);
        assert!(part.body.len() > size.bytes, "noise grows");
        assert!(part.body.len() <= 100_000, "{} bytes", part.body.len());
    }

    #[test]
    fn messages_of_no_size_carry_nothing() {
        assert_eq!(size(0, 1 << 20).table_bytes_max(), 0);
        assert_eq!(size(4 << 20, 100).table_bytes_max(), 0);
    }

    /// Puts so many parts of a table of `bytes`.
    async fn put(store: &MessageStore, bytes: &Bytes, count: usize) {
        let size = PartSize { bytes: 1_000 };
        let parts = size.count(bytes.len());
        for (part, range) in size.split(bytes.len()).enumerate().take(count) {
            let part = PartMessage::of(bytes.slice(range), part, parts);
            let host = ([127, 0, 0, 1], 10_911).into();
            let message = mq_store::MessageInner {
                topic: TABLES_TOPIC.to_owned(),
                queue_id: 0,
                flag: 0,
                sys_flag: part.sys_flag,
                body: part.body,
                properties: part.properties,
                born_timestamp_ms: 1,
                born_host: host,
                store_host: host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                wait_store_ok: true,
            };
            let put = store.put_message(&message).await;
            assert_eq!(put.status, mq_store::PutMessageStatus::PutOk);
        }
    }

    #[tokio::test]
    async fn what_was_given_up_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::at(dir.path()).on_any_disk();
        config.mapped_file_size_commit_log = 1 << 20;
        let store = MessageStore::open(mq_env::Env::os(), config.into()).await.unwrap();
        let table = |len: usize, seed: u8| Bytes::from(vec![seed; len]);
        let mut end = 0;
        let newest_in = async |range: Range<u64>| {
            while store.max_offset_in_queue(TABLES_TOPIC, 0) < range.end {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let found = newest(&store, 0, range).await.unwrap();
            found.map(|found| (found.end, found.content))
        };
        assert!(newest_in(0..0).await.is_none());
        // Whole, whole, then rows without their last, their second last, and all but their first part.
        for (len, seed, parts, is_whole) in [
            (10, 1, 1, true),
            (5_500, 2, 6, true),
            (5_500, 3, 5, false),
            (5_500, 4, 1, false),
            (3_000, 5, 3, true),
            (3_000, 6, 2, false),
            (3_000, 7, 2, false),
        ] {
            let before = newest_in(0..end).await;
            put(&store, &table(len, seed), parts).await;
            end += parts as u64;
            let expected = if is_whole { Some((end, table(len, seed))) } else { before };
            assert_eq!(newest_in(0..end).await, expected, "table {seed}");
        }
        // Whoever has the newest one already finds none.
        let (known, _) = newest_in(0..end).await.unwrap();
        assert_eq!(newest_in(known..end).await, None);
        store.shutdown().await;
    }
}
