//! What a broker tells of its settings (26), and which of them change while it runs (25).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mq_protocol::body::topic_route::TopicRouteData;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::admin::GetBrokerConfigResponseHeader;
use mq_protocol::header::namesrv::GetRouteInfoRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, NAMESRV, pull_header, seconds, send_header, send_request};

/// What RocketMQ 4.9.7 told, on two processors and with some settings of its own.
const JAVA: &str = include_str!("../../fixtures/admin/broker-config.txt");

/// Settings that the recorded broker had, or its machine.
const OTHERS: [&str; 27] = [
    "brokerClusterName",
    "brokerIP1",
    "brokerIP2",
    "brokerName",
    "bitMapLengthConsumeQueueExt",
    "clientCallbackExecutorThreads",
    "endTransactionThreadPoolNums",
    "haListenPort",
    "heartbeatThreadPoolNums",
    "mappedFileSizeCommitLog",
    "mappedFileSizeConsumeQueue",
    "maxHashSlotNum",
    "maxIndexNum",
    "namesrvAddr",
    "processReplyMessageThreadPoolNums",
    "pullMessageThreadPoolNums",
    "putMessageFutureThreadPoolNums",
    "queryMessageThreadPoolNums",
    "rocketmqHome",
    "sendMessageThreadPoolNums",
    "storePathCommitLog",
    "storePathRootDir",
    "transactionCheckInterval",
    "transactionTimeOut",
    "listenPort",
    "brokerId",
    "brokerRole",
];

fn pairs(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(|line| line.split_once('=').unwrap());
    lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The settings that a broker tells, and their version.
async fn told(cluster: &Cluster, broker: &Broker) -> (BTreeMap<String, String>, String) {
    let reply = cluster.call(&broker.addr, RequestCode::GET_BROKER_CONFIG, &()).await;
    assert_eq!(reply.code, ResponseCode::SUCCESS);
    let version = reply.header::<GetBrokerConfigResponseHeader>().unwrap().version;
    (pairs(std::str::from_utf8(&reply.body).unwrap()), version)
}

async fn change(cluster: &Cluster, broker: &Broker, text: &'static str) -> (i32, String) {
    let request = RemotingCommand::request(RequestCode::UPDATE_BROKER_CONFIG, &());
    let reply = cluster.ask(&broker.addr, request.with_body(text)).await;
    (reply.code, reply.remark.unwrap_or_default())
}

#[test]
fn every_setting_of_java_is_told_with_its_value() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker =
            cluster.master(|config, _| config.rocketmq_home = Some("/home/mq".into())).await;
        let (told, version) = told(&cluster, &broker).await;
        assert!(version.starts_with("{\"counter\":0,\"timestamp\":"), "{version}");
        let java = pairs(JAVA);
        assert_eq!(java.len(), 177);
        for (key, value) in &java {
            let ours = told.get(key);
            let differs = OTHERS.contains(&key.as_str());
            assert!(ours.is_some_and(|ours| differs || ours == value), "{key}: {value}, {ours:?}");
        }
        assert!(told.values().all(|value| !value.contains('<')), "{told:?}");
        let ip = broker.machine.ip().to_string();
        for (key, value) in [
            ("brokerName", "a"),
            ("brokerId", "0"),
            ("brokerRole", "ASYNC_MASTER"),
            ("brokerIP1", &ip),
            ("brokerIP2", &ip),
            ("listenPort", "10911"),
            ("haListenPort", "10912"),
            ("namesrvAddr", NAMESRV),
            ("rocketmqHome", "/home/mq"),
            ("storePathCommitLog", "/store/commitlog"),
            ("mappedFileSizeCommitLog", "1048576"),
            ("sendMessageThreadPoolNums", "4"),
            ("maxStatsItemNums", "100000"),
            ("haMaxDivergedBytes", "67108864"),
        ] {
            assert_eq!(told[key], value, "{key}");
        }
    });
}

#[test]
fn a_change_takes_effect_and_is_written_down() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let path = PathBuf::from("/conf/broker.conf");
        let configured = path.clone();
        let broker = cluster.master(|config, _| config.broker_config_path = Some(configured)).await;
        let env = broker.process.env().unwrap();
        let written = || String::from_utf8(env.disk.read(&path).unwrap()).unwrap();
        env.disk.create_dir_all(Path::new("/conf")).unwrap();
        env.disk.write(&path, b"# ours\nfileReservedTime = 48\nbrokerName=a\n").unwrap();
        cluster.send(&broker.addr, "T", "body").await;

        let text = "fileReservedTime=24\nbrokerPermission=2\nmaxMessageSize=3\n";
        assert_eq!(change(&cluster, &broker, text).await, (ResponseCode::SUCCESS, String::new()));
        assert_eq!(
            written(),
            "# ours\nfileReservedTime=24\nbrokerName=a\nbrokerPermission=2\nmaxMessageSize=3\n"
        );
        let (settings, version) = told(&cluster, &broker).await;
        assert!(version.starts_with("{\"counter\":1,"), "{version}");
        let kept = ["fileReservedTime", "brokerPermission", "maxMessageSize"];
        assert_eq!(kept.map(|key| &*settings[key]), ["24", "2", "3"]);
        let send = async |topic: &str| {
            cluster.ask(&broker.addr, send_request(&send_header(topic), "body")).await.code
        };
        assert_eq!(send("T").await, ResponseCode::MESSAGE_ILLEGAL, "four bytes are too many");
        let pull = pull_header("G", "T", 0);
        let reply = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &pull).await;
        assert_eq!(reply.code, ResponseCode::NO_PERMISSION);
        seconds(1).await;
        let header = GetRouteInfoRequestHeader { topic: "T".to_owned(), ..Default::default() };
        let code = RequestCode::GET_ROUTEINFO_BY_TOPIC;
        let route = cluster.call(NAMESRV, code, &header).await;
        let route: TopicRouteData = from_slice(&route.body).unwrap();
        assert_eq!(route.queue_datas[0].perm, 2, "name servers hear of it");

        let back = "brokerPermission=6\nmaxMessageSize=4194304\nautoCreateTopicEnable=false";
        assert_eq!(change(&cluster, &broker, back).await.0, ResponseCode::SUCCESS);
        assert_eq!([send("T").await, send("U").await], [0, ResponseCode::TOPIC_NOT_EXIST]);
        let pull = pull_header("H", "T", 0);
        assert_eq!(change(&cluster, &broker, "autoCreateSubscriptionGroup=false").await.0, 0);
        let reply = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &pull).await;
        assert_eq!(reply.code, ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST);
        assert_eq!(change(&cluster, &broker, "autoCreateTopicEnable=true").await.0, 0);
        assert_eq!(send("U").await, 0);
    });
}

/// A broker that was started without it has no pattern that a topic could be made after.
#[test]
fn topics_are_made_once_that_is_switched_on() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.auto_create_topic_enable = false).await;
        let send =
            async || cluster.ask(&broker.addr, send_request(&send_header("T"), "body")).await.code;
        assert_eq!(send().await, ResponseCode::TOPIC_NOT_EXIST);
        assert_eq!(change(&cluster, &broker, "autoCreateTopicEnable=true").await.0, 0);
        assert_eq!(send().await, 0);
    });
}

#[test]
fn what_cannot_change_is_refused_as_a_whole() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster
            .master(|config, _| config.broker_config_path = Some("/missing/broker.conf".into()))
            .await;
        let before = told(&cluster, &broker).await;
        let refused = change(&cluster, &broker, "traceOn=false\nconfigBlackList=a").await;
        let black = "Can not update config in black list.".to_owned();
        assert_eq!(refused, (ResponseCode::NO_PERMISSION, black));
        let (code, remark) =
            change(&cluster, &broker, "traceOn=false\nflushDiskType=SYNC_FLUSH").await;
        assert_eq!(code, ResponseCode::SYSTEM_ERROR);
        assert!(remark.starts_with("flushDiskType is read when the broker starts"), "{remark}");
        let (code, remark) = change(&cluster, &broker, "traceOn=\\u12").await;
        assert_eq!(code, ResponseCode::SYSTEM_ERROR);
        assert!(remark.starts_with("string2Properties error"), "{remark}");
        let (code, remark) = change(&cluster, &broker, "traceOn=false").await;
        assert_eq!(code, ResponseCode::SYSTEM_ERROR, "what is not written down is not changed");
        assert!(remark.starts_with("/missing/broker.conf cannot be written"), "{remark}");
        assert_eq!(told(&cluster, &broker).await, before);
        assert_eq!(change(&cluster, &broker, "").await.0, ResponseCode::SUCCESS);
    });
}
