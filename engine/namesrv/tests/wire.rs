//! A name server over TCP of the machine.
#![expect(clippy::unwrap_used, reason = "in fixtures of tests a panic is the right end")]

use std::time::Duration;

use mq_env::Env;
use mq_namesrv::limits::NamesrvLimits;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::body::topic_config::{
    DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper, register_body_crc32,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::CustomHeader;
use mq_protocol::header::namesrv::{
    BrokerIdentityRequestHeader, DeleteTopicRequestHeader, GetKvListByNamespaceRequestHeader,
    GetRouteInfoRequestHeader, KvConfigRequestHeader, PutKvConfigRequestHeader,
    RegisterBrokerRequestHeader, WritePermOfBrokerRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};

struct Fixture {
    namesrv: NamesrvController,
    env: Env,
    client: RemotingClient,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn start(order_message_enable: bool) -> Self {
        Fixture::start_with(order_message_enable, NamesrvLimits::default()).await
    }

    async fn start_with(order_message_enable: bool, limits: NamesrvLimits) -> Self {
        let (env, dir) = (Env::os(), tempfile::tempdir().unwrap());
        let config = NamesrvConfig {
            listen_port: 0,
            kv_config_path: dir.path().join("kvConfig.json"),
            order_message_enable,
            limits,
            ..NamesrvConfig::default()
        };
        let namesrv = NamesrvController::start(env.clone(), config).await.unwrap();
        let client = new_client(&env);
        Fixture { namesrv, env, client, _dir: dir }
    }

    async fn invoke(&self, request: RemotingCommand) -> RemotingCommand {
        let addr = format!("127.0.0.1:{}", self.namesrv.local_addr().port());
        self.client.invoke(&addr, request, Duration::from_secs(5)).await.unwrap()
    }

    async fn ask(&self, code: i32, header: &impl CustomHeader) -> RemotingCommand {
        self.invoke(RemotingCommand::request(code, header)).await
    }

    /// The body, of a reply that must be a success.
    async fn body(&self, code: i32, header: &impl CustomHeader) -> String {
        let reply = self.ask(code, header).await;
        assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
        String::from_utf8(reply.body.to_vec()).unwrap()
    }

    async fn route(&self, version: i32, topic: &str) -> String {
        let header = GetRouteInfoRequestHeader { topic: topic.into(), ..Default::default() };
        let mut request = RemotingCommand::request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &header);
        request.version = version;
        String::from_utf8(self.invoke(request).await.body.to_vec()).unwrap()
    }

    async fn put_kv(&self, namespace: &str, key: &str, value: &str) {
        let header = PutKvConfigRequestHeader {
            namespace: namespace.into(),
            key: key.into(),
            value: value.into(),
        };
        let reply = self.ask(RequestCode::PUT_KV_CONFIG, &header).await;
        assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
    }
}

fn new_client(env: &Env) -> RemotingClient {
    RemotingClient::new(env.clone(), RemotingClientConfig::default(), ProcessorTable::default())
}

fn register(broker_id: i64, addr: &str, compressed: bool) -> RemotingCommand {
    let topics = [TopicConfig::new("T", 4, 6), TopicConfig::new("U", 8, 6)];
    let body = RegisterBrokerBody {
        topic_config_serialize_wrapper: TopicConfigSerializeWrapper {
            data_version: DataVersion { counter: 1, timestamp: 7 },
            topic_config_table: topics
                .map(|topic| (topic.topic_name.clone(), topic))
                .into_iter()
                .collect(),
        },
        ..RegisterBrokerBody::default()
    };
    let body = body.encode(compressed);
    let header = RegisterBrokerRequestHeader {
        broker_name: "a".into(),
        broker_addr: addr.into(),
        cluster_name: "C".into(),
        ha_server_addr: format!("{addr}2"),
        broker_id,
        compressed,
        body_crc32: register_body_crc32(&body),
    };
    RemotingCommand::request(RequestCode::REGISTER_BROKER, &header).with_body(body)
}

const ROUTE_OF_T: &str = concat!(
    r#"{"brokerDatas":[{"brokerAddrs":{"0":"h:1","1":"h:2"},"brokerName":"a","cluster":"C"}],"#,
    r#""filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"#,
    r#""topicSysFlag":0,"writeQueueNums":4}]}"#
);

#[tokio::test]
async fn routes_are_written_as_the_asking_version_reads_them() {
    let fixture = Fixture::start(false).await;
    assert_eq!(fixture.invoke(register(0, "h:1", false)).await.code, ResponseCode::SUCCESS);
    let reply = fixture.invoke(register(1, "h:2", true)).await;
    assert_eq!(reply.ext_fields.get("masterAddr"), Some("h:1"));
    assert_eq!(reply.ext_fields.get("haServerAddr"), Some("h:12"));
    assert!(reply.body.is_empty());

    assert_eq!(fixture.route(401, "T").await, ROUTE_OF_T);
    let bare = ROUTE_OF_T.replace(r#""0":"h"#, r#"0:"h"#).replace(r#""1":"h"#, r#"1:"h"#);
    assert_eq!(fixture.route(400, "T").await, bare);
    assert_eq!(fixture.route(317, "U").await, bare.replace(":4", ":8"));

    let unknown = GetRouteInfoRequestHeader { topic: "X".into(), ..Default::default() };
    let reply = fixture.ask(RequestCode::GET_ROUTEINFO_BY_TOPIC, &unknown).await;
    assert_eq!(reply.code, ResponseCode::TOPIC_NOT_EXIST);
    let remark = reply.remark.unwrap();
    assert!(remark.starts_with("No topic route info in name server for the topic: X\nSee "));
    fixture.namesrv.shutdown().await;
}

#[tokio::test]
async fn lists_permissions_and_deletion() {
    let fixture = Fixture::start(false).await;
    fixture.invoke(register(0, "h:1", false)).await;
    let cluster_info = concat!(
        r#"{"brokerAddrTable":{"a":{"brokerAddrs":{0:"h:1"},"brokerName":"a","cluster":"C"}},"#,
        r#""clusterAddrTable":{"C":["a"]}}"#
    );
    assert_eq!(fixture.body(RequestCode::GET_BROKER_CLUSTER_INFO, &()).await, cluster_info);
    let topics = fixture.body(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &()).await;
    assert_eq!(topics, r#"{"topicList":["T","U"]}"#);
    let system = fixture.body(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS, &()).await;
    assert_eq!(system, r#"{"brokerAddr":"h:1","topicList":["C","a"]}"#);

    let broker = WritePermOfBrokerRequestHeader { broker_name: "a".into() };
    let reply = fixture.ask(RequestCode::WIPE_WRITE_PERM_OF_BROKER, &broker).await;
    assert_eq!(reply.ext_fields.get("wipeTopicCount"), Some("2"));
    assert!(fixture.route(409, "T").await.contains(r#""perm":4"#));
    let reply = fixture.ask(RequestCode::ADD_WRITE_PERM_OF_BROKER, &broker).await;
    assert_eq!(reply.ext_fields.get("addTopicCount"), Some("2"));

    let header = DeleteTopicRequestHeader { topic: "T".into(), cluster_name: None };
    fixture.ask(RequestCode::DELETE_TOPIC_IN_NAMESRV, &header).await;
    let topics = fixture.body(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &()).await;
    assert_eq!(topics, r#"{"topicList":["U"]}"#);
}

#[tokio::test]
async fn damaged_registrations_and_unknown_codes_are_refused() {
    let fixture = Fixture::start(false).await;
    let mut damaged = register(0, "h:1", false);
    damaged.body = [&damaged.body[..], b" "].concat().into();
    let reply = fixture.invoke(damaged).await;
    assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
    assert_eq!(reply.remark.as_deref(), Some("crc32 not match"));
    assert_eq!(fixture.route(409, "T").await, "");
    let reply = fixture.ask(RequestCode::REGISTER_BROKER, &()).await;
    assert_eq!(reply.remark.as_deref(), Some("the custom field <brokerName> is missing"));
    let reply = fixture.ask(9999, &()).await;
    assert_eq!(reply.code, ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
}

#[tokio::test]
async fn a_version_that_is_known_need_not_be_registered_again() {
    let fixture = Fixture::start(false).await;
    let header = BrokerIdentityRequestHeader { broker_addr: "h:1".into(), ..Default::default() };
    let query = |counter| {
        let version = DataVersion { counter, timestamp: 7 };
        let request = RemotingCommand::request(RequestCode::QUERY_DATA_VERSION, &header);
        fixture.invoke(request.with_body(to_bytes(&version)))
    };
    let reply = query(1).await;
    assert_eq!((reply.ext_fields.get("changed"), reply.body.len()), (Some("true"), 0));
    fixture.invoke(register(0, "h:1", false)).await;
    let reply = query(1).await;
    assert_eq!(reply.ext_fields.get("changed"), Some("false"));
    assert_eq!(reply.body, r#"{"counter":1,"timestamp":7}"#);
    assert_eq!(query(2).await.ext_fields.get("changed"), Some("true"));
}

#[tokio::test]
async fn key_values_are_kept_and_order_configurations_handed_out() {
    let fixture = Fixture::start(true).await;
    let ns = GetKvListByNamespaceRequestHeader { namespace: "ns".into() };
    let reply = fixture.ask(RequestCode::GET_KVLIST_BY_NAMESPACE, &ns).await;
    assert_eq!(reply.code, ResponseCode::QUERY_NOT_FOUND);
    assert_eq!(reply.remark.as_deref(), Some("No config item, Namespace: ns"));
    fixture.put_kv("ns", "k", "v").await;
    assert_eq!(
        fixture.body(RequestCode::GET_KVLIST_BY_NAMESPACE, &ns).await,
        r#"{"table":{"k":"v"}}"#
    );
    let key = KvConfigRequestHeader { namespace: "ns".into(), key: "k".into() };
    let reply = fixture.ask(RequestCode::GET_KV_CONFIG, &key).await;
    assert_eq!(reply.ext_fields.get("value"), Some("v"));
    fixture.ask(RequestCode::DELETE_KV_CONFIG, &key).await;
    let reply = fixture.ask(RequestCode::GET_KV_CONFIG, &key).await;
    assert_eq!(reply.code, ResponseCode::QUERY_NOT_FOUND);

    fixture.put_kv("ORDER_TOPIC_CONFIG", "T", "a:4").await;
    let reply = fixture.invoke(register(0, "h:1", false)).await;
    assert_eq!(reply.body, r#"{"table":{"T":"a:4"}}"#);
    assert!(fixture.route(409, "T").await.contains(r#""orderTopicConf":"a:4""#));
    assert!(!fixture.route(409, "U").await.contains("orderTopicConf"));
}

#[tokio::test]
async fn a_broker_vanishes_with_its_connection_and_when_it_says_so() {
    let fixture = Fixture::start(false).await;
    let addr = format!("127.0.0.1:{}", fixture.namesrv.local_addr().port());
    let broker = new_client(&fixture.env);
    let timeout = Duration::from_secs(5);
    broker.invoke(&addr, register(0, "h:1", false), timeout).await.unwrap();
    assert_ne!(fixture.route(409, "T").await, "");
    broker.shutdown().await;
    while !fixture.route(409, "T").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fixture.invoke(register(0, "h:1", false)).await;
    let identity = BrokerIdentityRequestHeader {
        broker_name: "a".into(),
        broker_addr: "h:1".into(),
        cluster_name: "C".into(),
        broker_id: 0,
    };
    fixture.ask(RequestCode::UNREGISTER_BROKER, &identity).await;
    assert_eq!(fixture.route(409, "T").await, "");
}

/// What Java says to a request whose header has no fields at all.
#[tokio::test]
async fn requests_without_a_header_find_nothing() {
    let fixture = Fixture::start(false).await;
    for (code, answer, field) in [
        (RequestCode::GET_ROUTEINFO_BY_TOPIC, ResponseCode::TOPIC_NOT_EXIST, None),
        (RequestCode::GET_KV_CONFIG, ResponseCode::QUERY_NOT_FOUND, None),
        (RequestCode::GET_KVLIST_BY_NAMESPACE, ResponseCode::QUERY_NOT_FOUND, None),
        (RequestCode::DELETE_KV_CONFIG, ResponseCode::SUCCESS, None),
        (RequestCode::DELETE_TOPIC_IN_NAMESRV, ResponseCode::SUCCESS, None),
        (RequestCode::WIPE_WRITE_PERM_OF_BROKER, ResponseCode::SUCCESS, Some("wipeTopicCount")),
        (RequestCode::ADD_WRITE_PERM_OF_BROKER, ResponseCode::SUCCESS, Some("addTopicCount")),
        (RequestCode::GET_TOPICS_BY_CLUSTER, ResponseCode::SUCCESS, None),
        (RequestCode::REGISTER_BROKER, ResponseCode::SYSTEM_ERROR, None),
        (RequestCode::PUT_KV_CONFIG, ResponseCode::SYSTEM_ERROR, None),
    ] {
        let reply = fixture.ask(code, &()).await;
        assert_eq!(reply.code, answer, "{code}: {:?}", reply.remark);
        if let Some(field) = field {
            assert_eq!(reply.ext_fields.get(field), Some("0"), "{code}");
        }
    }
    let empty = fixture.body(RequestCode::GET_TOPICS_BY_CLUSTER, &()).await;
    assert_eq!(empty, r#"{"topicList":[]}"#);
    // With other fields a missing one is an error, as in Java.
    let mut request = RemotingCommand::request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &());
    request.ext_fields.insert("x", "y");
    assert_eq!(fixture.invoke(request).await.code, ResponseCode::SYSTEM_ERROR);
}

#[tokio::test]
async fn what_is_beyond_the_limits_is_refused_and_named() {
    let limits = NamesrvLimits {
        register_topics_max: 2,
        brokers_max: 2,
        topics_max: 3,
        kv_bytes_max: 10,
        ..NamesrvLimits::default()
    };
    let fixture = Fixture::start_with(false, limits).await;
    let refused = async |request| {
        let reply = fixture.invoke(request).await;
        assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
        reply.remark.unwrap()
    };
    assert_eq!(fixture.invoke(register(0, "h:1", true)).await.code, ResponseCode::SUCCESS);
    // The same topics of another broker name: four in all.
    let mut other = register(0, "h:2", false);
    other.ext_fields.insert("brokerName", "b");
    assert!(refused(other).await.contains("(registeredTopicsMax)"));
    assert_eq!(fixture.invoke(register(1, "h:2", false)).await.code, ResponseCode::SUCCESS);
    assert!(refused(register(2, "h:3", false)).await.contains("(registeredBrokersMax)"));
    // What is registered already is renewed.
    assert_eq!(fixture.invoke(register(0, "h:1", false)).await.code, ResponseCode::SUCCESS);
    assert_eq!(fixture.route(409, "T").await, ROUTE_OF_T);

    let mut many = RegisterBrokerBody::default();
    many.topic_config_serialize_wrapper.topic_config_table = ["T", "U", "V"]
        .map(|name| (name.to_owned(), TopicConfig::new(name, 1, 6)))
        .into_iter()
        .collect();
    let mut request = register(0, "h:1", true).with_body(many.encode(true));
    request.ext_fields.insert("bodyCrc32", "0");
    assert!(refused(request).await.contains("has 3 topics, at most 2 are taken"));

    let put = |value: &str| {
        let (namespace, key, value) = ("ns".into(), "k".into(), value.into());
        let header = PutKvConfigRequestHeader { namespace, key, value };
        RemotingCommand::request(RequestCode::PUT_KV_CONFIG, &header)
    };
    fixture.put_kv("ns", "k", "1234567").await;
    assert!(refused(put("12345678")).await.contains("(kvConfigBytesMax)"));
}

#[tokio::test]
async fn names_that_nobody_has_are_refused_where_they_would_be_kept_or_logged() {
    let fixture = Fixture::start(false).await;
    for (field, name) in
        [("brokerName", "a\nb"), ("brokerAddr", "\u{1b}[31m"), ("clusterName", &*"x".repeat(1025))]
    {
        let mut request = register(0, "h:1", false);
        request.ext_fields.insert(field, name);
        let reply = fixture.invoke(request).await;
        assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
        assert!(reply.remark.unwrap().contains(field));
    }
    assert_eq!(fixture.route(409, "T").await, "");
    // A topic like that is left out, the others are registered.
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.topic_config_table = ["T\n", "U"]
        .map(|name| (name.to_owned(), TopicConfig::new(name, 1, 6)))
        .into_iter()
        .collect();
    let mut request = register(0, "h:1", false).with_body(body.encode(false));
    request.ext_fields.insert("bodyCrc32", "0");
    assert_eq!(fixture.invoke(request).await.code, ResponseCode::SUCCESS);
    let topics = fixture.body(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &()).await;
    assert_eq!(topics, r#"{"topicList":["U"]}"#);
}
