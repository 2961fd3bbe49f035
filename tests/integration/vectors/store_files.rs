//! Files of real stores against what RocketMQ's own classes read from them.

use mq_protocol::body::offset_table::{
    ConsumerOffsetSerializeWrapper, DelayOffsetSerializeWrapper,
};
use mq_protocol::body::subscription_group::SubscriptionGroupWrapper;
use mq_protocol::body::topic_config::TopicConfigSerializeWrapper;
use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};
use mq_protocol::fastjson::{Json, JsonStyle, JsonWriter, from_slice};
use mq_protocol::message::{MessageConst, Properties, PropertiesView, tags_code};
use mq_protocol::message_codec::{
    MESSAGE_MAGIC_CODE, RecordCheck, RecordRules, RecordView, body_crc, check_record,
    decompress_body, encode_blank,
};
use serde_json::Value;

use super::fixture::{json_lines, unhex};
use super::records::encode_again;
use mq_tests::archive::gunzip;

macro_rules! golden {
    ($name:literal) => {
        &include_bytes!(concat!("../../fixtures/golden/", $name))[..]
    };
}

/// CommitLog files one behind the other, and the lines about them.
fn commit_logs() -> [(Vec<u8>, usize, Vec<Value>); 2] {
    let features = gunzip(golden!("features-commitlog-00000000000000000000.gz"));
    let killed = [
        gunzip(golden!("killed-commitlog-00000000000000000000.gz")),
        gunzip(golden!("killed-commitlog-00000000000000065536.gz")),
    ];
    [
        (features, 262_144, json_lines(golden!("dump/features/commitlog.jsonl.gz"))),
        (killed.concat(), 65_536, json_lines(golden!("killed-commitlog.jsonl.gz"))),
    ]
}

#[test]
fn commit_logs_are_read_as_java_reads_them_and_written_byte_for_byte() {
    let (mut records, mut blanks, mut ends) = (0, 0, 0);
    for (log, file_bytes, lines) in commit_logs() {
        let mut position = 0;
        for line in lines {
            assert_eq!(line["phyOffset"], position);
            let to_file_end = file_bytes - position % file_bytes;
            let rest = &log[position..position + to_file_end];
            match check_record(rest, &RecordRules::strict(position as i64)) {
                RecordCheck::Valid(view) => {
                    assert_record(&view, &line);
                    assert_eq!(encode_again(&view), view.bytes());
                    position += view.size();
                    records += 1;
                }
                RecordCheck::Blank { size } => {
                    assert_eq!((line["blank"] == true, &line["size"]), (true, &size.into()));
                    assert_eq!(size as usize, to_file_end);
                    let mut blank = Vec::new();
                    encode_blank(to_file_end, &mut blank);
                    assert_eq!(blank, rest[..8]);
                    position += to_file_end;
                    blanks += 1;
                }
                RecordCheck::Zeros => {
                    assert_eq!(line["end"], true);
                    ends += 1;
                }
                RecordCheck::Torn(reason) => panic!("at {position}: {reason}"),
            }
        }
    }
    println!("{records} records, {blanks} blanks, {ends} ends");
    assert_eq!((records > 400, blanks, ends), (true, 2, 1));
}

fn assert_record(view: &RecordView<'_>, line: &Value) {
    let number = |name: &str| line[name].as_i64().unwrap();
    assert_eq!(view.size() as i64, number("size"));
    assert_eq!(format!("{MESSAGE_MAGIC_CODE:x}"), line["magic"].as_str().unwrap());
    assert_eq!(i64::from(view.body_crc()), number("bodyCRC"));
    assert_eq!(body_crc(view.body()), view.body_crc());
    assert_eq!(i64::from(view.queue_id()), number("queueId"));
    assert_eq!(i64::from(view.flag()), number("flag"));
    assert_eq!(view.queue_offset(), number("queueOffset"));
    assert_eq!(view.phy_offset(), number("physicalOffsetField"));
    assert_eq!(i64::from(view.sys_flag()), number("sysFlag"));
    assert_eq!(view.born_timestamp(), number("bornTimestamp"));
    assert_eq!(view.store_timestamp(), number("storeTimestamp"));
    assert_eq!(view.born_host().to_string(), line["bornHost"].as_str().unwrap());
    assert_eq!(view.store_host().to_string(), line["storeHost"].as_str().unwrap());
    assert_eq!(i64::from(view.reconsume_times()), number("reconsumeTimes"));
    assert_eq!(view.prepared_transaction_offset(), number("preparedTransactionOffset"));
    assert_eq!(view.body().len() as i64, number("bodyLen"));
    assert_eq!(body_crc(view.body()), masked_crc(&line["bodyCrc32"]));
    if let Some(body) = line["bodyHex"].as_str() {
        assert_eq!(view.body(), unhex(body));
    }
    assert_eq!(view.topic(), line["topic"].as_str().unwrap());
    assert_eq!(view.offset_msg_id().to_string(), line["msgId"].as_str().unwrap());
    assert_eq!(view.properties(), line["propertiesRaw"].as_str().unwrap());
    assert_properties(&view.properties(), &line["properties"]);
    if let Ok(Some(plain)) = decompress_body(view.sys_flag(), view.body()) {
        assert_eq!(plain.len() as i64, number("plainLen"));
        assert_eq!(body_crc(&plain), masked_crc(&line["plainCrc32"]));
    }
}

fn masked_crc(hex: &Value) -> i32 {
    let crc = u32::from_str_radix(hex.as_str().unwrap(), 16).unwrap();
    (crc & 0x7fff_ffff) as i32
}

/// What Java's parser makes of the properties string.
fn assert_properties(text: &str, parsed: &Value) {
    let properties = Properties::parse(text);
    let parsed = parsed.as_object().unwrap();
    assert_eq!(properties.len(), parsed.len());
    for (name, value) in parsed {
        assert_eq!(properties.get(name), value.as_str());
        assert_eq!(PropertiesView::new(text).get(name), value.as_str());
    }
}

#[test]
fn consume_queues_are_read_as_java_reads_them_and_written_byte_for_byte() {
    let (log, _, lines) = commit_logs().into_iter().next().unwrap();
    let mut units = 0;
    for line in json_lines(golden!("features-consumequeue.jsonl.gz")) {
        let file = unhex(line["hex"].as_str().unwrap());
        let mut again = Vec::new();
        for (index, expected) in line["units"].as_array().unwrap().iter().enumerate() {
            let unit = ConsumeQueueUnit::decode(&file[index * CQ_STORE_UNIT_BYTES..]).unwrap();
            let [phy_offset, size, tags] = [0, 1, 2].map(|part| expected[part].as_i64().unwrap());
            let read = (unit.phy_offset, i64::from(unit.size), unit.tags_code);
            assert_eq!(read, (phy_offset, size, tags));
            again.extend(unit.encode());
            units += 1;

            let rest = &log[phy_offset as usize..];
            let RecordCheck::Valid(view) = check_record(rest, &RecordRules::strict(phy_offset))
            else {
                panic!("a unit points to a record");
            };
            assert_eq!((view.size() as i64, view.queue_offset()), (size, index as i64));
            if view.topic() != "SCHEDULE_TOPIC_XXXX" {
                let properties = view.properties();
                let tag = PropertiesView::new(&properties).get(MessageConst::TAGS);
                assert_eq!(unit.tags_code, tags_code(tag));
            }
        }
        assert_eq!(again, file[..again.len()]);
        assert!(file[again.len()..].iter().all(|byte| *byte == 0));
    }
    let records = lines.iter().filter(|line| line["end"] != true).count();
    assert_eq!(units, records);
}

#[test]
fn configuration_files_are_written_byte_for_byte() {
    let mut files = 0;
    for store in [golden!("dump/features/store.json"), golden!("dump/plain/store.json")] {
        let store: Value = serde_json::from_slice(store).unwrap();
        for (name, text) in store["config"].as_object().unwrap() {
            let text = text.as_str().unwrap();
            let again = match name.trim_end_matches(".bak") {
                "topics.json" => pretty::<TopicConfigSerializeWrapper>(text),
                "subscriptionGroup.json" => pretty::<SubscriptionGroupWrapper>(text),
                "consumerOffset.json" => pretty::<ConsumerOffsetSerializeWrapper>(text),
                "delayOffset.json" => pretty::<DelayOffsetSerializeWrapper>(text),
                _ => continue,
            };
            assert_eq!(again, text, "{name}");
            files += 1;
        }
    }
    assert_eq!(files, 16);
}

fn pretty<T: Json>(text: &str) -> String {
    let mut writer = JsonWriter::new(JsonStyle::Pretty);
    from_slice::<T>(text.as_bytes()).unwrap().write(&mut writer);
    String::from_utf8(writer.finish().to_vec()).unwrap()
}
