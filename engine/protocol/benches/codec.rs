//! What the wire and append paths cost per message: frames in both header serializations, typed
//! headers, records, routes.

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use mq_protocol::body::heartbeat::SubscriptionData;
use mq_protocol::body::topic_config::{RegisterBodyLimits, RegisterBrokerBody, TopicConfig};
use mq_protocol::codes::RequestCode;
use mq_protocol::frame;
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message_codec::{
    RecordFields, RecordRules, assign_positions, body_crc, check_record, decode_messages,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::serialize::SerializeType;

const BODY_BYTES: usize = 1024;
const PROPERTIES: &str = "KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}7F0000011E124E0E2F2A68A1A9040002\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagB";

fn main() {
    divan::main();
}

fn send_command(serialize_type: SerializeType) -> RemotingCommand {
    let header = SendMessageRequestHeader {
        producer_group: "PG_java".into(),
        topic: "WireTopic".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 3,
        born_timestamp: 1_795_246_625_028,
        properties: Some(PROPERTIES.into()),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        batch: Some(false),
        broker_name: Some("broker-a".into()),
        ..Default::default()
    };
    let mut command = RemotingCommand::request(RequestCode::SEND_MESSAGE_V2, &header)
        .with_body(vec![7; BODY_BYTES]);
    command.serialize_type = serialize_type;
    command
}

#[divan::bench(args = [SerializeType::Json, SerializeType::RocketMq])]
fn encode_send_frame(bencher: Bencher, serialize_type: SerializeType) {
    let command = send_command(serialize_type);
    let mut buf = BytesMut::with_capacity(4096);
    bencher.bench_local(|| {
        buf.clear();
        frame::encode(&command, &mut buf);
        buf.len()
    });
}

#[divan::bench(args = [SerializeType::Json, SerializeType::RocketMq])]
fn decode_send_frame(bencher: Bencher, serialize_type: SerializeType) {
    let mut encoded = BytesMut::new();
    frame::encode(&send_command(serialize_type), &mut encoded);
    bencher.with_inputs(|| encoded.clone()).bench_local_values(|mut buf| frame::decode(&mut buf));
}

#[divan::bench]
fn flatten_send_header(bencher: Bencher) {
    let header: SendMessageRequestHeader = send_command(SerializeType::Json).header().expect("own");
    bencher.bench_local(|| RemotingCommand::request(RequestCode::SEND_MESSAGE_V2, &header));
}

#[divan::bench]
fn read_send_header(bencher: Bencher) {
    let command = send_command(SerializeType::Json);
    bencher.bench_local(|| command.header::<SendMessageRequestHeader>());
}

fn record_fields(body: &[u8]) -> RecordFields<'_> {
    RecordFields {
        body_crc: body_crc(body),
        queue_id: 3,
        flag: 0,
        queue_offset: 0,
        phy_offset: 0,
        sys_flag: 0,
        born_timestamp: 1_795_246_625_028,
        born_host: ([127, 0, 0, 1], 50_000).into(),
        store_timestamp: 0,
        store_host: ([127, 0, 0, 1], 10_911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: "WireTopic",
        properties: PROPERTIES,
    }
}

#[divan::bench]
fn encode_record(bencher: Bencher) {
    let body = vec![7; BODY_BYTES];
    let mut record = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        record.clear();
        let size = record_fields(&body).encode(&mut record);
        assign_positions(&mut record, 5, 1 << 40, 1_795_246_625_030);
        size
    });
}

#[divan::bench]
fn check_record_strictly(bencher: Bencher) {
    let body = vec![7; BODY_BYTES];
    let mut record = Vec::new();
    record_fields(&body).encode(&mut record).expect("fits");
    bencher.bench_local(|| {
        matches!(
            check_record(&record, &RecordRules::strict(0)),
            mq_protocol::message_codec::RecordCheck::Valid(_)
        )
    });
}

#[divan::bench]
fn decode_32_messages(bencher: Bencher) {
    let body = vec![7; BODY_BYTES];
    let mut records = Vec::new();
    for _ in 0..32 {
        record_fields(&body).encode(&mut records).expect("fits");
    }
    let records = Bytes::from(records);
    bencher.bench_local(|| decode_messages(&records));
}

/// What a hostile peer sends: the larger size must cost about four times the smaller one.
fn many_fields_frame(fields: usize) -> BytesMut {
    let mut command = RemotingCommand::request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &());
    command.serialize_type = SerializeType::RocketMq;
    let keys: Vec<String> = (0..fields).map(|n| format!("{n:06}")).collect();
    command.ext_fields = keys.iter().map(|key| (key.as_str(), "")).collect();
    let mut encoded = BytesMut::new();
    frame::encode(&command, &mut encoded);
    encoded
}

#[divan::bench(args = [30_000, 120_000])]
fn decode_many_fields(bencher: Bencher, fields: usize) {
    let encoded = many_fields_frame(fields);
    bencher.with_inputs(|| encoded.clone()).bench_local_values(|mut buf| frame::decode(&mut buf));
}

#[divan::bench(args = [10_000, 40_000])]
fn subscribe_to_many_tags(bencher: Bencher, tags: usize) {
    let expression: String = (0..tags).map(|n| format!("tag{n}||")).collect();
    bencher.bench_local(|| SubscriptionData::by_tags("T", &expression, 1));
}

#[divan::bench(args = [10_000, 40_000])]
fn read_a_registration_of_many_topics(bencher: Bencher, topics: usize) {
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.topic_config_table =
        (0..topics).map(|n| (format!("t{n}"), TopicConfig::new(format!("t{n}"), 1, 6))).collect();
    let body = body.encode(true);
    let limits = RegisterBodyLimits { topics_max: topics, plain_bytes_max: 32 << 20 };
    bencher.bench_local(|| RegisterBrokerBody::decode(&body, true, &limits));
}
