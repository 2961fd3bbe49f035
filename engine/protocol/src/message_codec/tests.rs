//! Records by hand, round trips, damage.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::message::MessageConst;

fn fields() -> RecordFields<'static> {
    RecordFields {
        body_crc: body_crc(b"hello"),
        queue_id: 3,
        flag: 5,
        queue_offset: 7,
        phy_offset: 1000,
        sys_flag: MessageSysFlag::MULTI_TAGS,
        born_timestamp: 1_795_246_624_952,
        born_host: "10.0.0.9:50000".parse().unwrap(),
        store_timestamp: 1_795_246_624_999,
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 2,
        prepared_transaction_offset: 11,
        body: b"hello",
        topic: "TopicTest",
        properties: "TAGS\u{1}TagA\u{2}KEYS\u{1}k",
    }
}

fn record_of(fields: &RecordFields<'_>) -> Vec<u8> {
    let mut record = Vec::new();
    let size = fields.encode(&mut record).unwrap();
    assert_eq!(size, record.len());
    record
}

fn assert_view(view: &RecordView<'_>, fields: &RecordFields<'_>) {
    assert_eq!(view.body_crc(), fields.body_crc);
    assert_eq!(view.queue_id(), fields.queue_id);
    assert_eq!(view.flag(), fields.flag);
    assert_eq!(view.queue_offset(), fields.queue_offset);
    assert_eq!(view.phy_offset(), fields.phy_offset);
    assert_eq!(view.sys_flag() & !0x30, fields.sys_flag & !0x30);
    assert_eq!(view.born_timestamp(), fields.born_timestamp);
    assert_eq!(view.born_host(), fields.born_host);
    assert_eq!(view.store_timestamp(), fields.store_timestamp);
    assert_eq!(view.store_host(), fields.store_host);
    assert_eq!(view.reconsume_times(), fields.reconsume_times);
    assert_eq!(view.prepared_transaction_offset(), fields.prepared_transaction_offset);
    assert_eq!(view.body(), fields.body);
    assert_eq!(view.topic(), fields.topic);
    assert_eq!(view.properties(), fields.properties);
}

#[test]
fn the_layout_is_that_of_java() {
    let record = record_of(&fields());
    assert_eq!(record.len(), 91 + 5 + 9 + 16);
    assert_eq!(record[4..8], [0xDA, 0xA3, 0x20, 0xA7]);
    assert_eq!(record[20..28], 7i64.to_be_bytes());
    assert_eq!(record[28..36], 1000i64.to_be_bytes());
    assert_eq!(record[56..64], 1_795_246_624_999i64.to_be_bytes());
    assert_eq!(&record[84..93], b"\0\0\0\x05hello");
    assert_eq!(record[93], 9);
    assert_eq!(body_crc(b""), 0);
}

#[test]
fn positions_are_assigned_late() {
    for born_host in ["10.0.0.9:50000", "[fe80::1]:50000"] {
        let mut wanted = fields();
        wanted.born_host = born_host.parse().unwrap();
        let mut record = record_of(&wanted);
        (wanted.queue_offset, wanted.phy_offset, wanted.store_timestamp) = (i64::MAX, 1 << 41, 77);
        assign_positions(&mut record, i64::MAX, 1 << 41, 77);
        patch_body_crc(&mut record, wanted.body_crc);
        assert_eq!(record, record_of(&wanted));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = "x".repeat(32_768);
    let topic = RecordFields { topic: &long[..128], ..fields() };
    assert_eq!(topic.encode(&mut Vec::new()), Err(EncodeError::Topic(128)));
    let properties = RecordFields { properties: &long, ..fields() };
    assert_eq!(properties.size(), Err(EncodeError::Properties(32_768)));
    record_of(&RecordFields { topic: &long[..127], properties: &long[..32_767], ..fields() });
}

#[test]
fn a_record_of_version_2_is_read() {
    let topic = "t".repeat(200);
    let mut record = record_of(&RecordFields { topic: "", ..fields() });
    let topic_length = record.len() - 16 - 2 - 1;
    record.splice(topic_length..=topic_length, [0, 200]);
    record.splice(topic_length + 2..topic_length + 2, topic.bytes());
    let size = record.len() as i32;
    record[..4].copy_from_slice(&size.to_be_bytes());
    record[4..8].copy_from_slice(&MESSAGE_MAGIC_CODE_V2.to_be_bytes());
    let view = decode_record(&record).unwrap();
    assert_eq!(view.version(), 2);
    assert_eq!(view.topic(), topic);
    assert_eq!(view.body(), b"hello");
    assert_eq!(view.properties(), fields().properties);
}

#[test]
fn a_check_tells_what_is_wrong() {
    let strict = RecordRules::strict(1000);
    let record = record_of(&fields());
    assert!(matches!(check_record(&record, &strict), RecordCheck::Valid(_)));
    assert_eq!(check_record(&[0; 64], &strict), RecordCheck::Zeros);
    assert_eq!(check_record(&record[..7], &strict), RecordCheck::Torn(TornReason::NoRoom));
    let mut blank = Vec::new();
    encode_blank(4096, &mut blank);
    assert_eq!(check_record(&blank, &strict), RecordCheck::Blank { size: 4096 });

    let torn = |position: usize, byte: u8, rules: &RecordRules| {
        let mut record = record.clone();
        record[position] = byte;
        match check_record(&record, rules) {
            RecordCheck::Torn(reason) => Some(reason),
            _ => None,
        }
    };
    let cut = &record[..record.len() - 1];
    let size = RecordError::TotalSize { total: 121, available: 120 };
    assert_eq!(check_record(cut, &strict), RecordCheck::Torn(TornReason::Layout(size)));
    assert_eq!(torn(35, 9, &strict), Some(TornReason::PhyOffset(1000 & !0xff | 9)));
    assert!(matches!(torn(88, b'H', &strict), Some(TornReason::BodyCrc { .. })));
    assert_eq!(torn(94, 0xff, &strict), Some(TornReason::Topic));
    assert_eq!(torn(120, 0, &strict), Some(TornReason::Properties));
    assert!(matches!(torn(87, 6, &strict), Some(TornReason::Layout(RecordError::Lengths { .. }))));
    assert!(matches!(torn(4, 0, &strict), Some(TornReason::Layout(RecordError::Magic(_)))));

    let upstream = RecordRules::upstream(true);
    assert_eq!(torn(35, 9, &upstream), None);
    assert_eq!(torn(94, 0xff, &upstream), None);
    assert_eq!(torn(120, 0, &upstream), None);
    assert!(torn(88, b'H', &upstream).is_some());
    assert_eq!(torn(88, b'H', &RecordRules::upstream(false)), None);
}

#[test]
fn batches_come_back_and_cut_ones_are_refused() {
    let entries = [
        BatchEntry { flag: 1, body: b"one", properties: "a\u{1}1\u{2}" },
        BatchEntry { flag: 0, body: b"", properties: "" },
    ];
    let mut body = BytesMut::new();
    entries.iter().for_each(|entry| encode_batch_entry(entry, &mut body).unwrap());
    assert_eq!(decode_batch(&body).unwrap(), entries);
    assert_eq!(decode_batch(&[]).unwrap(), []);
    for cut in 1..body.len() {
        let whole_entries = cut == 29;
        assert_eq!(decode_batch(&body[..cut]).is_ok(), whole_entries, "cut at {cut}");
    }
}

#[test]
fn sizes_that_no_entry_of_a_batch_has_are_refused() {
    let entry = BatchEntry { flag: 0, body: b"body", properties: "a\u{1}b" };
    let mut body = Vec::new();
    encode_batch_entry(&entry, &mut body).unwrap();
    encode_batch_entry(&entry, &mut body).unwrap();
    let second = body.len() / 2;
    for size in [-5, 0, 21, body.len() as i32 - second as i32 + 1, i32::MAX, i32::MIN] {
        let mut wrong = body.clone();
        wrong[second..second + 4].copy_from_slice(&size.to_be_bytes());
        let error = decode_batch(&wrong).unwrap_err();
        assert_eq!(error, BatchError { index: 1, what: "its size is impossible" }, "{size}");
    }
}

#[test]
fn a_batch_and_properties_take_few_steps() {
    let batch = |entries| {
        let mut body = Vec::new();
        for _ in 0..entries {
            let entry = BatchEntry { flag: 0, body: b"", properties: "" };
            encode_batch_entry(&entry, &mut body).unwrap();
        }
        body
    };
    crate::steps::assert_n_log_n(batch, |body| decode_batch(body).unwrap().len());
    let properties = |n| (0..n).map(|n| format!("{n}\u{1}v\u{2}")).collect::<String>();
    crate::steps::assert_n_log_n(properties, |text| crate::message::Properties::parse(text));
}

#[test]
fn properties_of_a_batch_follow_a_separator() {
    let join = |own, of_batch| {
        let mut out = String::new();
        join_batch_properties(own, of_batch, &mut out);
        out
    };
    assert_eq!(join("a\u{1}1", "b\u{1}2"), "a\u{1}1\u{2}b\u{1}2");
    assert_eq!(join("a\u{1}1\u{2}", "b\u{1}2"), "a\u{1}1\u{2}b\u{1}2");
    assert_eq!(join("", "b\u{1}2"), "b\u{1}2");
    assert_eq!(join("a\u{1}1", ""), "a\u{1}1");
}

#[test]
fn messages_are_read_from_records_until_one_is_malformed() {
    let plain = record_of(&fields());
    let compressed_body = compress_body(&[7; 5000], 5);
    let compressed = record_of(&RecordFields {
        body: &compressed_body,
        sys_flag: MessageSysFlag::COMPRESSED | MessageSysFlag::COMPRESSION_ZLIB,
        ..fields()
    });
    let records = Bytes::from([plain, compressed, vec![0; 10]].concat());
    let messages = decode_messages(&records);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].message.tags(), Some("TagA"));
    assert_eq!(messages[0].message.properties.get(MessageConst::KEYS), Some("k"));
    assert_eq!(messages[0].message.body.as_ptr(), records[88..].as_ptr());
    assert_eq!(messages[0].msg_id(), "7F00000100002A9F00000000000003E8");
    assert_eq!(messages[1].message.body, [7; 5000][..]);
    assert!(decode_message(&Bytes::new()).is_err());

    for damaged in [0x1, 0x101, 0x201, 0x301] {
        assert!(matches!(decompress_body(damaged, b"x"), Err(BodyError::Damaged(_))), "{damaged}");
    }
    assert_eq!(decompress_body(0x701, b"x"), Err(BodyError::Unsupported));
    assert_eq!(decompress_body(0x300, b"x"), Ok(None));
}

#[test]
fn a_damaged_record_costs_only_itself() {
    let inner = record_of(&fields());
    let records: Vec<Vec<u8>> = (0..3)
        .map(|queue_offset| record_of(&RecordFields { queue_offset, body: &inner, ..fields() }))
        .collect();
    let offsets = |records: &[Vec<u8>]| -> Vec<i64> {
        let messages = decode_messages(&Bytes::from(records.concat()));
        messages.iter().map(|message| message.queue_offset).collect()
    };
    assert_eq!(offsets(&records), [0, 1, 2]);
    // Its size, its magic, its body's length, its end: what the body holds is no record of the queue.
    for damaged in [1, 4, 84, 85, records[1].len() - 1] {
        for bit in [0x01, 0x80] {
            let mut spoilt = records.clone();
            spoilt[1][damaged] ^= bit;
            let found = offsets(&spoilt);
            assert!(found == [0, 2] || found == [0, 1, 2], "byte {damaged}: {found:?}");
        }
    }
    let mut last = records.clone();
    last[2][1] ^= 0x80;
    assert_eq!(offsets(&last), [0, 1]);
}

fn arbitrary_host() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn records_come_back(
        numbers in any::<(i32, i32, i32, i64, i64, i32, i64, i64, i32, i64)>(),
        hosts in (arbitrary_host(), arbitrary_host()),
        body in prop::collection::vec(any::<u8>(), 0..100),
        topic in "[a-zA-Zä]{0,60}",
        properties in any::<String>(),
    ) {
        let fields = RecordFields {
            body_crc: numbers.0, queue_id: numbers.1, flag: numbers.2, queue_offset: numbers.3,
            phy_offset: numbers.4, sys_flag: numbers.5, born_timestamp: numbers.6,
            born_host: hosts.0, store_timestamp: numbers.7, store_host: hosts.1,
            reconsume_times: numbers.8, prepared_transaction_offset: numbers.9,
            body: &body, topic: &topic, properties: &properties,
        };
        let mut record = record_of(&fields);
        assert_view(&decode_record(&record).unwrap(), &fields);
        record.extend([1, 2, 3]);
        prop_assert_eq!(decode_record(&record).unwrap().size(), record.len() - 3);
    }

    #[test]
    fn damaged_records_never_panic(
        at in 0usize..121,
        with in any::<u32>(),
        cut in 0usize..122,
        garbage in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut record = record_of(&fields());
        let end = (at + 4).min(record.len());
        record[at..end].copy_from_slice(&with.to_be_bytes()[..end - at]);
        let bytes = Bytes::copy_from_slice(&record[..cut.min(record.len())]);
        let _ = decode_messages(&bytes);
        for rules in [RecordRules::strict(1000), RecordRules::upstream(true)] {
            let _ = check_record(&bytes, &rules);
            let _ = check_record(&garbage, &rules);
        }
        let _ = decode_batch(&garbage);
        let _ = decompress_body(1, &garbage);
    }
}
