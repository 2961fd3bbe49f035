//! What a broker tells of itself (28), and what it has counted (208, 315, 317).

use mq_protocol::body::OrderedMap;
use mq_protocol::body::consume_stats::{BrokerStatsData, ConsumeStats, ConsumeStatsList};
use mq_protocol::body::tables::KvTable;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::admin::{
    GetConsumeStatsInBrokerHeader, GetConsumeStatsRequestHeader, ViewBrokerStatsDataRequestHeader,
};
use mq_protocol::header::namesrv::DeleteTopicRequestHeader;
use mq_protocol::header::send_message::ConsumerSendMsgBackRequestHeader;
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, pull_header, seconds, send_header, send_request};
use super::offsets::commit;
use super::transactions::read;

/// What `brokerStatus` of RocketMQ 4.9.7 shows of a broker that has delivered messages of the first level.
const RUNTIME_KEYS: [&str; 49] = [
    "EndTransactionQueueSize",
    "EndTransactionThreadPoolQueueCapacity",
    "bootTimestamp",
    "brokerVersion",
    "brokerVersionDesc",
    "commitLogDirCapacity",
    "commitLogDiskRatio",
    "commitLogDiskRatio_/store/commitlog",
    "commitLogMaxOffset",
    "commitLogMinOffset",
    "consumeQueueDiskRatio",
    "dispatchBehindBytes",
    "dispatchMaxBuffer",
    "earliestMessageTimeStamp",
    "getFoundTps",
    "getMessageEntireTimeMax",
    "getMissTps",
    "getTotalTps",
    "getTransferedTps",
    "msgGetTotalTodayMorning",
    "msgGetTotalTodayNow",
    "msgGetTotalYesterdayMorning",
    "msgPutTotalTodayMorning",
    "msgPutTotalTodayNow",
    "msgPutTotalYesterdayMorning",
    "pageCacheLockTimeMills",
    "pullThreadPoolQueueCapacity",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "putLatency99",
    "putLatency999",
    "putMessageAverageSize",
    "putMessageDistributeTime",
    "putMessageEntireTimeMax",
    "putMessageFailedTimes",
    "putMessageSizeTotal",
    "putMessageTimesTotal",
    "putTps",
    "queryThreadPoolQueueCapacity",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "remainHowManyDataToFlush",
    "remainTransientStoreBufferNumbs",
    "runtime",
    "scheduleMessageOffset_1",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "sendThreadPoolQueueSize",
    "startAcceptSendRequestTimeStamp",
];

async fn runtime_info(cluster: &Cluster, broker: &Broker) -> OrderedMap<String, String> {
    let code = RequestCode::GET_BROKER_RUNTIME_INFO;
    let reply = cluster.call(&broker.addr, code, &()).await;
    assert_eq!(reply.code, ResponseCode::SUCCESS);
    from_slice::<KvTable>(&reply.body).unwrap().table
}

#[test]
fn a_broker_tells_what_it_does() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, store| store.max_message_size = 100).await;
        let begun_ms = broker.process.env().unwrap().clock.now_millis();
        let none = runtime_info(&cluster, &broker).await;
        for (key, value) in [
            ("putTps", "  "),
            ("getTotalTps", "0.0 0.0 0.0"),
            ("putMessageTimesTotal", "1"),
            ("msgPutTotalTodayNow", "0"),
            ("earliestMessageTimeStamp", "-1"),
            ("putMessageAverageSize", "0.0"),
        ] {
            assert_eq!(none[key], value, "{key} of nothing");
        }
        seconds(15).await;
        for _ in 0..30 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        let long = RequestCode::SEND_MESSAGE_V2;
        let long = mq_protocol::remoting_command::RemotingCommand::request(long, &send_header("T"));
        let refused = cluster.ask(&broker.addr, long.with_body(vec![0; 101])).await;
        assert_eq!(refused.code, ResponseCode::MESSAGE_ILLEGAL);
        let pull = async |offset| {
            let header = pull_header("G", "T", offset);
            cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await.code
        };
        assert_eq!([pull(0).await, pull(30).await], [0, ResponseCode::PULL_NOT_FOUND]);
        seconds(5).await;
        let info = runtime_info(&cluster, &broker).await;
        for (key, value) in [
            ("putTps", "3.0  "),
            ("getFoundTps", "0.1  "),
            ("getMissTps", "0.1  "),
            ("getTotalTps", "0.2 0.0 0.0"),
            ("getTransferedTps", "3.0  "),
            ("putMessageTimesTotal", "30"),
            ("putMessageFailedTimes", "1"),
            ("msgPutTotalTodayNow", "30"),
            ("msgGetTotalTodayNow", "30"),
            ("msgPutTotalTodayMorning", "0"),
            ("putLatency99", "0.00"),
            ("dispatchBehindBytes", "0"),
            ("sendThreadPoolQueueCapacity", "10000"),
            ("pullThreadPoolQueueCapacity", "100000"),
            ("queryThreadPoolQueueCapacity", "20000"),
            ("EndTransactionThreadPoolQueueCapacity", "100000"),
            ("startAcceptSendRequestTimeStamp", "0"),
            ("brokerVersionDesc", "V4_9_8"),
        ] {
            assert_eq!(info[key], value, "{key}");
        }
        assert_eq!(info["putMessageSizeTotal"], info["commitLogMaxOffset"]);
        let bytes: f64 = info["commitLogMaxOffset"].parse().unwrap();
        assert_eq!(info["putMessageAverageSize"].parse::<f64>().unwrap(), bytes / 30.0);
        let first_ms = read(&cluster, &broker, "T", 0).await[0].store_timestamp;
        assert_eq!(info["earliestMessageTimeStamp"], first_ms.to_string());
        let boot_ms: u64 = info["bootTimestamp"].parse().unwrap();
        assert!((begun_ms - 2_000..=begun_ms).contains(&boot_ms), "{boot_ms} before {begun_ms}");
        assert!(
            info["runtime"].starts_with("[ 0 days, 0 hours, 0 minutes, 2"),
            "{}",
            info["runtime"]
        );
        // Between none and the thirty first puts: all within the minute that runs.
        let times = &info["putMessageDistributeTime"];
        assert!(times.starts_with("[<=0ms]:") && times.ends_with("[10s~]:0 "), "{times}");
        let counts = times.split_whitespace().map(|it| it.rsplit_once(':').unwrap().1);
        assert_eq!(counts.map(|it| it.parse::<u32>().unwrap()).sum::<u32>(), 31, "{times}");
        let ratio: f64 = info["commitLogDiskRatio"].parse().unwrap();
        assert!((0.0..=1.0).contains(&ratio), "{ratio}");
        assert_eq!(info["commitLogDiskRatio_/store/commitlog"], info["commitLogDiskRatio"]);
        assert!(info["commitLogDirCapacity"].starts_with("Total : "));

        let unsynced = &info["remainHowManyDataToFlush"];
        assert!(unsynced.ends_with(" KiB"), "fewer pages than are worth a sync: {unsynced}");

        let mut delayed = send_header("T");
        delayed.properties = Some("DELAY\u{1}1\u{2}".to_owned());
        cluster.ask(&broker.addr, send_request(&delayed, "later")).await;
        seconds(3).await;
        let info = runtime_info(&cluster, &broker).await;
        assert_eq!(info["scheduleMessageOffset_1"], "1,1");
        assert_eq!(info["msgPutTotalTodayNow"], "32", "once where it waits, once where it goes");
        let mut keys: Vec<&str> = info.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, RUNTIME_KEYS);
        seconds(15).await;
        assert_eq!(runtime_info(&cluster, &broker).await["remainHowManyDataToFlush"], "0 B");
    });
}

/// A statistic's sums over minute, hour and day, and its rate over the minute.
async fn view(
    cluster: &Cluster,
    broker: &Broker,
    name: &str,
    key: &str,
) -> Result<([i64; 3], f64), String> {
    let header =
        ViewBrokerStatsDataRequestHeader { stats_name: name.to_owned(), stats_key: key.to_owned() };
    let code = RequestCode::VIEW_BROKER_STATS_DATA;
    let reply = cluster.call(&broker.addr, code, &header).await;
    if reply.code != ResponseCode::SUCCESS {
        return Err(reply.remark.unwrap_or_default());
    }
    let BrokerStatsData { stats_day, stats_hour, stats_minute } = from_slice(&reply.body).unwrap();
    Ok(([stats_minute.sum, stats_hour.sum, stats_day.sum], stats_minute.tps))
}

#[test]
fn what_passes_is_counted_by_topic_and_group() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        for _ in 0..4 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 1).await, ResponseCode::SUCCESS);
        let given_back = ConsumerSendMsgBackRequestHeader {
            offset: read(&cluster, &broker, "T", 0).await[0].phy_offset,
            group: "G".to_owned(),
            delay_level: 1,
            origin_topic: Some("T".to_owned()),
            ..ConsumerSendMsgBackRequestHeader::default()
        };
        let code = RequestCode::CONSUMER_SEND_MSG_BACK;
        let reply = cluster.call(&broker.addr, code, &given_back).await;
        assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
        let see = async |name, key| view(&cluster, &broker, name, key).await;
        let unknown = |name, key| Err(format!("The stats <{name}> <{key}> not exist"));
        assert_eq!(see("TOPIC_PUT_NUMS", "T").await, Ok(([0, 0, 0], 0.0)), "nobody has looked yet");
        assert_eq!(see("TOPIC_PUT_NUMS", "U").await, unknown("TOPIC_PUT_NUMS", "U"));
        seconds(10).await;
        assert_eq!(see("TOPIC_PUT_NUMS", "T").await, Ok(([4, 0, 0], 0.4)));
        assert_eq!(see("GROUP_GET_NUMS", "T@G").await, Ok(([4, 0, 0], 0.4)));
        assert_eq!(see("QUEUE_GET_NUMS", "T@0@G").await, Ok(([4, 0, 0], 0.4)));
        assert_eq!(see("SNDBCK_PUT_NUMS", "T@G").await, Ok(([1, 0, 0], 0.1)));
        assert_eq!(see("QUEUE_PUT_NUMS", "SCHEDULE_TOPIC_XXXX@0").await, Ok(([1, 0, 0], 0.1)));
        let delivered = see("GROUP_GET_NUMS", "SCHEDULE_TOPIC_XXXX@SCHEDULE_CONSUMER").await;
        assert_eq!(delivered, Ok(([1, 0, 0], 0.1)));
        assert_eq!(see("TOPIC_PUT_NUMS", "%RETRY%G").await, Ok(([1, 0, 0], 0.1)));
        assert_eq!(see("BROKER_PUT_NUMS", "DefaultCluster").await, Ok(([6, 0, 0], 0.6)));

        let header = GetConsumeStatsRequestHeader {
            consumer_group: "G".to_owned(),
            topic: Some("T".to_owned()),
        };
        let code = RequestCode::GET_CONSUME_STATS;
        let reply = cluster.call(&broker.addr, code, &header).await;
        let stats: ConsumeStats = from_slice(&reply.body).unwrap();
        assert_eq!(stats.consume_tps, 0.4);

        let of_all = async |is_order| {
            let code = RequestCode::GET_BROKER_CONSUME_STATS;
            let header = GetConsumeStatsInBrokerHeader { is_order };
            let reply = cluster.call(&broker.addr, code, &header).await;
            from_slice::<ConsumeStatsList>(&reply.body).unwrap()
        };
        let list = of_all(false).await;
        assert_eq!((&list.broker_addr, list.total_diff), (&broker.addr, 3));
        let of_g = list.consume_stats_list.iter().find_map(|it| it.get("G")).unwrap();
        assert_eq!((of_g.len(), of_g[0].offset_table.len(), of_g[0].consume_tps), (1, 4, 0.4));
        let (queue, progress) = of_g[0].offset_table.first().unwrap();
        assert_eq!((&*queue.topic, progress.broker_offset, progress.consumer_offset), ("T", 4, 1));
        assert!(list.consume_stats_list.iter().all(|it| it.len() == 1), "one group each");
        let ordered = of_all(true).await;
        assert!(ordered.total_diff == 0 && ordered.consume_stats_list.len() > 1, "{ordered:?}");
        assert!(ordered.consume_stats_list.iter().all(|it| it.values().all(Vec::is_empty)));

        seconds(600).await;
        assert_eq!(see("TOPIC_PUT_NUMS", "T").await, Ok(([0, 4, 0], 0.0)), "an hour ago at most");
        seconds(3_600).await;
        assert_eq!(see("TOPIC_PUT_NUMS", "T").await, Ok(([0, 0, 4], 0.0)));
        let header = DeleteTopicRequestHeader { topic: "T".to_owned(), ..Default::default() };
        let code = RequestCode::DELETE_TOPIC_IN_BROKER;
        assert_eq!(cluster.call(&broker.addr, code, &header).await.code, ResponseCode::SUCCESS);
        for (name, key) in [("TOPIC_PUT_NUMS", "T"), ("GROUP_GET_NUMS", "T@G")] {
            assert_eq!(see(name, key).await, unknown(name, key), "it is deleted");
        }
    });
}
