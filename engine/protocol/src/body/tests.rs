//! Each body in the text that Java peers write, and the liberties that readers have to take.

use proptest::prelude::*;

use super::heartbeat::{ConsumeType, HeartbeatData, SubscriptionData};
use super::offset_table::{ConsumerOffsetSerializeWrapper, ResetOffsetBody};
use super::subscription_group::SubscriptionGroupConfig;
use super::topic_config::{
    DataVersion, RegisterBodyError, RegisterBodyLimits, RegisterBrokerBody, TopicConfig,
    TopicConfigSerializeWrapper, TopicFilterType, decode_bare_topic_table, register_body_crc32,
};
use super::topic_route::{BrokerData, QueueData, TopicRouteData};
use crate::fastjson::{Json, JsonStyle, JsonWriter, from_slice, to_bytes};
use crate::message::MessageQueue;

const LIMITS: RegisterBodyLimits =
    RegisterBodyLimits { topics_max: 10_000, plain_bytes_max: 1 << 20 };

/// A body with so many topics.
fn many_topics(count: usize) -> RegisterBrokerBody {
    let topics = (0..count).map(|n| {
        let topic = TopicConfig::new(format!("t{n}"), 1, 6);
        (topic.topic_name.clone(), topic)
    });
    let mut body = register_body();
    body.topic_config_serialize_wrapper.topic_config_table = topics.collect();
    body
}

#[test]
fn bodies_beyond_the_limits_are_refused_in_both_forms() {
    let decode = |body: &RegisterBrokerBody, compressed, topics_max, plain_bytes_max| {
        let limits = RegisterBodyLimits { topics_max, plain_bytes_max };
        RegisterBrokerBody::decode(&body.encode(compressed), compressed, &limits)
    };
    let body = many_topics(100);
    for compressed in [false, true] {
        assert_eq!(decode(&body, compressed, 100, 1 << 20).as_ref(), Ok(&body));
        let refused = Err(RegisterBodyError::TooManyTopics { topics: 100, topics_max: 99 });
        assert_eq!(decode(&body, compressed, 99, 1 << 20), refused);
    }
    let refused = Err(RegisterBodyError::TooLarge { plain_bytes_max: 1_000 });
    assert_eq!(decode(&body, true, 100, 1_000), refused);
}

#[test]
fn register_bodies_take_few_steps() {
    for compressed in [false, true] {
        let encoded = |count| many_topics(count).encode(compressed);
        crate::steps::assert_n_log_n(encoded, |body| {
            RegisterBrokerBody::decode(body, compressed, &LIMITS).unwrap()
        });
    }
}

fn route() -> TopicRouteData {
    TopicRouteData {
        broker_datas: vec![BrokerData {
            broker_addrs: [(0, "10.0.0.1:10911".into()), (1, "10.0.0.2:10911".into())].into(),
            broker_name: "bröker".into(),
            cluster: "C".into(),
        }],
        queue_datas: vec![QueueData {
            broker_name: "bröker".into(),
            perm: 6,
            read_queue_nums: 8,
            topic_sys_flag: 0,
            write_queue_nums: 4,
        }],
        ..TopicRouteData::default()
    }
}

fn register_body() -> RegisterBrokerBody {
    let topic = TopicConfig {
        topic_filter_type: TopicFilterType::MultiTag,
        write_queue_nums: 4,
        ..TopicConfig::new("T", 8, 6)
    };
    RegisterBrokerBody {
        filter_server_list: vec!["f".into()],
        topic_config_serialize_wrapper: TopicConfigSerializeWrapper {
            data_version: DataVersion { counter: 3, timestamp: 1_700_000_000_000 },
            topic_config_table: [("T".to_owned(), topic)].into_iter().collect(),
        },
    }
}

#[test]
fn routes_have_a_form_for_old_and_one_for_new_clients() {
    let old = r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"bröker","cluster":"C"}],"filterServerTable":{},"queueDatas":[{"brokerName":"bröker","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":4}]}"#;
    assert_eq!(route().encode_for(317, false), old);
    let new = old.replace("{0:", "{\"0\":").replace(",1:", ",\"1\":").replace('ö', "\\u00F6");
    assert_eq!(route().encode_for(401, false), new);
    assert_eq!(route().encode_for(0, true), new);
    for text in [old.as_bytes(), new.as_bytes()] {
        assert_eq!(from_slice::<TopicRouteData>(text).unwrap(), route());
    }
    assert_eq!(route().broker_datas[0].master_addr(), Some("10.0.0.1:10911"));
}

#[test]
fn register_bodies_survive_both_forms() {
    let body = register_body();
    let plain = body.encode(false);
    assert_eq!(
        plain,
        r#"{"filterServerList":["f"],"topicConfigSerializeWrapper":{"dataVersion":{"counter":3,"timestamp":1700000000000},"topicConfigTable":{"T":{"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"MULTI_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}}}}"#
    );
    assert_eq!(RegisterBrokerBody::decode(&plain, false, &LIMITS).as_ref(), Ok(&body));
    let compressed = body.encode(true);
    assert_eq!(RegisterBrokerBody::decode(&compressed, true, &LIMITS).as_ref(), Ok(&body));
    assert!(register_body_crc32(&compressed) >= 0);
    for cut in 0..compressed.len() {
        assert!(RegisterBrokerBody::decode(&compressed[..cut], true, &LIMITS).is_err());
    }
    let not_zlib = RegisterBrokerBody::decode(&plain, true, &LIMITS);
    assert_eq!(not_zlib, Err(RegisterBodyError::Damaged("zlib stream")));
    let bare = to_bytes(&body.topic_config_serialize_wrapper);
    let decoded = decode_bare_topic_table(&bare, &LIMITS).unwrap();
    assert_eq!(decoded.topic_config_serialize_wrapper, body.topic_config_serialize_wrapper);
}

#[test]
fn a_table_file_has_the_line_breaks_of_java() {
    let table = ConsumerOffsetSerializeWrapper {
        offset_table: [
            ("A@g".to_owned(), [(0, 256), (1, 245)].into()),
            ("B@g".to_owned(), [(0, 0)].into()),
        ]
        .into_iter()
        .collect(),
    };
    let mut writer = JsonWriter::new(JsonStyle::Pretty);
    table.write(&mut writer);
    let text = writer.finish();
    let expect =
        "{\n\t\"offsetTable\":{\n\t\t\"A@g\":{0:256,1:245\n\t\t},\n\t\t\"B@g\":{0:0\n\t\t}\n\t}\n}";
    assert_eq!(text, expect);
    assert_eq!(from_slice::<ConsumerOffsetSerializeWrapper>(&text).unwrap(), table);
}

#[test]
fn queues_are_keys() {
    let queue = MessageQueue { topic: "T".into(), broker_name: "b".into(), queue_id: 3 };
    let body = ResetOffsetBody { offset_table: [(queue, 7)].into_iter().collect() };
    let text = r#"{"offsetTable":{{"brokerName":"b","queueId":3,"topic":"T"}:7}}"#;
    assert_eq!(to_bytes(&body), text);
    assert_eq!(from_slice::<ResetOffsetBody>(text.as_bytes()).unwrap(), body);
    let quoted =
        r#"{"offsetTable":{"{\"topic\":\"T\",\"brokerName\":\"b\",\"queueId\":\"3\"}":"7"}}"#;
    assert_eq!(from_slice::<ResetOffsetBody>(quoted.as_bytes()).unwrap(), body);
}

#[test]
fn heartbeats_of_other_clients_are_understood() {
    let text = r#"{"clientID":"c","consumerDataSet":[{"groupName":"G","consumeType":0,"messageModel":"CLUSTERING",
        "subscriptionDataSet":[{"topic":"T","subString":"a","codeSet":["97"],"tagsSet":["a"],"subVersion":"5"}]}]}"#;
    let heartbeat: HeartbeatData = from_slice(text.as_bytes()).unwrap();
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(consumer.consume_type, ConsumeType::ConsumeActively);
    let subscription = &consumer.subscription_data_set[0];
    assert_eq!(*subscription, SubscriptionData::by_tags("T", "a", 5).unwrap());
    assert!(subscription.is_tag_type() && heartbeat.producer_data_set.is_empty());

    let unknown = r#"{"consumerDataSet":[{"consumeType":"CONSUME_POP"}]}"#;
    let error = from_slice::<HeartbeatData>(unknown.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "<consumeType>: ConsumeType expected");
}

#[test]
fn tag_expressions_are_split_as_in_java() {
    let tags = |expression| SubscriptionData::by_tags("T", expression, 1).map(|data| data.tags_set);
    assert_eq!(tags(" a ||b||||a").unwrap(), ["a", "b"]);
    assert!(tags("").unwrap().is_empty() && tags("*").unwrap().is_empty());
    assert!(tags("||").is_err());
    let subscription = SubscriptionData::by_tags("T", "Aa || BB", 1).unwrap();
    assert_eq!((subscription.tags_set.len(), subscription.code_set), (2, vec![2112]));
    assert!(SubscriptionData::by_tags("T", "", 1).unwrap().is_all());
}

#[test]
fn missing_properties_have_the_defaults_of_java() {
    let group: SubscriptionGroupConfig = from_slice(br#"{"groupName":"G","x":1}"#).unwrap();
    assert_eq!(group, SubscriptionGroupConfig::new("G"));
    assert_eq!(group.retry_max_times, 16);
    let topic: TopicConfig = from_slice(br#"{"topicName":"T","perm":null}"#).unwrap();
    assert_eq!(topic, TopicConfig::new("T", 16, 6));
    assert!(from_slice::<TopicConfig>(b"[]").is_err());
}

#[test]
fn versions_count_changes() {
    let mut version = DataVersion::default();
    version.next(5);
    assert_eq!(version, DataVersion { counter: 1, timestamp: 5 });
}

proptest! {
    #[test]
    fn damaged_bodies_never_panic(
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        compressed in any::<bool>(),
    ) {
        let mut body = register_body().encode(compressed).to_vec();
        let at = at.index(body.len());
        body[at] = with;
        body.truncate(cut.index(body.len()) + 1);
        for compressed in [false, true] {
            let _ = RegisterBrokerBody::decode(&body, compressed, &LIMITS);
        }
        let _ = from_slice::<HeartbeatData>(&body);
        let _ = from_slice::<ResetOffsetBody>(&body);
    }

    #[test]
    fn routes_come_back_in_every_style(
        names in prop::collection::vec(any::<String>(), 0..4),
        ids in prop::collection::btree_map(any::<i64>(), any::<String>(), 0..4),
        version in 0i32..500,
    ) {
        let route = TopicRouteData {
            broker_datas: names
                .iter()
                .map(|name| BrokerData {
                    broker_addrs: ids.clone(),
                    broker_name: name.clone(),
                    cluster: String::new(),
                })
                .collect(),
            order_topic_conf: names.first().cloned(),
            ..route()
        };
        let body = route.encode_for(version, false);
        prop_assert_eq!(from_slice::<TopicRouteData>(&body).unwrap(), route);
    }
}
