//! Commands at a server that answers what was recorded of RocketMQ's: what is asked, and how often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mq_protocol::body::cluster::{ClusterInfo, GroupList, TopicList};
use mq_protocol::body::connection::{
    Connection, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTableInfo,
};
use mq_protocol::body::consume_stats::{
    BrokerStatsData, BrokerStatsItem, ConsumeQueueData, ConsumeStats, ConsumeStatsList,
    OffsetWrapper, QueryConsumeQueueResponseBody, TopicOffset, TopicStatsTable,
};
use mq_protocol::body::topic_route::{BrokerData, QueueData, TopicRouteData};
use mq_protocol::codes::{MqVersion, RequestCode, ResponseCode};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::message::MessageQueue;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessError, ProcessResult, ProcessorTable, RemotingServer, RemotingServerConfig,
    RequestProcessor,
};
use staticfire_world::world::{MachineConfig, ProcessContext, World, WorldHandle};

use super::desk::{Desk, words};

const ADDR: &str = "ns:9876";

/// Answers by code, and keeps what it was asked.
struct Script {
    answers: BTreeMap<i32, bytes::Bytes>,
    asked: Mutex<Vec<RemotingCommand>>,
}

impl RequestProcessor for Script {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let answer = self.answers.get(&request.code).cloned();
        let group = request.ext_fields.get("consumerGroup").map(str::to_owned);
        self.asked.lock().unwrap().push(request);
        match (answer, group.as_deref()) {
            (_, Some("OFF")) => {
                let remark = "the consumer group[OFF] not online";
                Err(ProcessError::new(ResponseCode::CONSUMER_NOT_ONLINE, remark))
            }
            (Some(body), _) => Ok(RemotingCommand::success(&()).with_body(body).into()),
            (None, _) => Err(ProcessError::system("not in the script")),
        }
    }
}

impl Script {
    /// What was asked under a code.
    fn asked(&self, code: i32) -> Vec<RemotingCommand> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| request.code == code).cloned().collect()
    }
}

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue { topic: "T".into(), broker_name: "a".into(), queue_id }
}

fn route() -> TopicRouteData {
    TopicRouteData {
        broker_datas: vec![broker()],
        queue_datas: vec![QueueData {
            broker_name: "a".into(),
            perm: 6,
            read_queue_nums: 2,
            topic_sys_flag: 0,
            write_queue_nums: 2,
        }],
        ..TopicRouteData::default()
    }
}

/// It is broker and name server in one.
fn broker() -> BrokerData {
    BrokerData {
        broker_addrs: [(0, ADDR.to_owned())].into(),
        broker_name: "a".into(),
        cluster: "C".into(),
    }
}

fn connection() -> Connection {
    Connection {
        client_addr: "h:1".into(),
        client_id: "id".into(),
        language: "JAVA".into(),
        version: MqVersion::V4_9_7,
    }
}

fn answers() -> BTreeMap<i32, bytes::Bytes> {
    let offset = OffsetWrapper { broker_offset: 9, consumer_offset: 4, last_timestamp: 1 };
    let stats =
        ConsumeStats { consume_tps: 1.5, offset_table: [(queue(0), offset)].into_iter().collect() };
    let ends = TopicOffset { last_update_timestamp: 0, max_offset: 9, min_offset: 1 };
    let minute = BrokerStatsItem { tps: 2.5, sum: 150, ..BrokerStatsItem::default() };
    let info = ClusterInfo {
        broker_addr_table: [("a".to_owned(), broker())].into_iter().collect(),
        cluster_addr_table: [("C".to_owned(), vec!["a".to_owned()])].into_iter().collect(),
    };
    let producer = ProducerInfo { client_id: "id".into(), ..ProducerInfo::default() };
    let unit = ConsumeQueueData { physic_offset: 7, physic_size: 170, ..<_>::default() };
    [
        (RequestCode::GET_ROUTEINFO_BY_TOPIC, to_bytes(&route())),
        (RequestCode::GET_BROKER_CLUSTER_INFO, to_bytes(&info)),
        (
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
            to_bytes(&TopicList {
                topic_list: vec!["T".into(), "%RETRY%G".into()],
                ..<_>::default()
            }),
        ),
        (
            RequestCode::GET_TOPIC_STATS_INFO,
            to_bytes(&TopicStatsTable {
                offset_table: [(queue(1), ends), (queue(0), ends)].into_iter().collect(),
            }),
        ),
        (
            RequestCode::GET_CONSUMER_CONNECTION_LIST,
            to_bytes(&ConsumerConnection { connection_set: vec![connection()], ..<_>::default() }),
        ),
        (
            RequestCode::GET_PRODUCER_CONNECTION_LIST,
            to_bytes(&ProducerConnection { connection_set: vec![connection()] }),
        ),
        (
            RequestCode::GET_ALL_PRODUCER_INFO,
            to_bytes(&ProducerTableInfo {
                data: [("P".to_owned(), vec![producer])].into_iter().collect(),
            }),
        ),
        (RequestCode::GET_CONSUME_STATS, to_bytes(&stats)),
        (
            RequestCode::GET_BROKER_CONSUME_STATS,
            to_bytes(&ConsumeStatsList {
                broker_addr: ADDR.into(),
                consume_stats_list: vec![[("G".to_owned(), vec![stats])].into_iter().collect()],
                total_diff: 5,
            }),
        ),
        (
            RequestCode::QUERY_TOPIC_CONSUME_BY_WHO,
            to_bytes(&GroupList { group_list: vec!["G".into()] }),
        ),
        (
            RequestCode::VIEW_BROKER_STATS_DATA,
            to_bytes(&BrokerStatsData { stats_minute: minute, ..BrokerStatsData::default() }),
        ),
        (
            RequestCode::QUERY_CONSUME_QUEUE,
            to_bytes(&QueryConsumeQueueResponseBody {
                max_queue_index: 9,
                queue_data: vec![unit],
                ..<_>::default()
            }),
        ),
        (RequestCode::UPDATE_BROKER_CONFIG, bytes::Bytes::new()),
        (RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE, bytes::Bytes::new()),
        (RequestCode::CLEAN_UNUSED_TOPIC, bytes::Bytes::new()),
        (RequestCode::CLONE_GROUP_OFFSET, bytes::Bytes::new()),
    ]
    .into()
}

/// A desk, and the server that it asks.
fn scripted(world: &WorldHandle) -> (Desk, Arc<Script>) {
    let script = Arc::new(Script { answers: answers(), asked: Mutex::default() });
    let answering = Arc::clone(&script);
    let machine = world.add_machine("ns", MachineConfig::default());
    let server = machine.add_process("script", move |context: ProcessContext| {
        let table = ProcessorTable::default().register_default(Arc::clone(&answering) as Arc<_>);
        async move {
            let endpoints = vec![(mq_env::net::any_addr(9876), Arc::new(table))];
            let config = RemotingServerConfig::default();
            let server = RemotingServer::start(context.env, config, endpoints, None).await.unwrap();
            context.shutdown.cancelled().await;
            server.shutdown().await;
        }
    });
    server.start();
    (Desk::new(world), script)
}

#[test]
fn what_brokers_answer_is_shown() {
    World::test(1, async |world| {
        let (desk, script) = scripted(&world);
        let text = desk.prints("topicStatus -t T").await;
        let rows = words(&text);
        assert_eq!(
            (&rows[1][..], &rows[2][..]),
            (&["a", "0", "1", "9"][..], &["a", "1", "1", "9"][..])
        );
        let text = desk.prints("consumerConnection -g G").await;
        assert_eq!(words(&text)[1], ["id", "h:1", "JAVA", "V4_9_7"]);
        let text = desk.prints("producerConnection -g P -t T").await;
        assert_eq!(words(&text), [["0001", "id", "h:1", "JAVA", "V4_9_7"]]);
        let text = desk.prints(&format!("producer -b {ADDR}")).await;
        assert!(text.starts_with("producer group (P) instance : clientId=id,"), "{text}");
        let text = desk.prints(&format!("brokerConsumeStats -b {ADDR} -l 5")).await;
        assert_eq!(words(&text)[1][..6], ["T", "G", "a", "0", "9", "4"]);
        assert!(text.ends_with("\nDiff Total: 5\n"), "{text}");
        let text = desk.prints("statsAll").await;
        assert_eq!(words(&text)[1], ["T", "G", "5", "2.50", "2.50", "150", "150"]);
        let keys: Vec<_> = script.asked(RequestCode::VIEW_BROKER_STATS_DATA);
        let keys: Vec<_> = keys.iter().map(|it| it.ext_fields.get("statsKey").unwrap()).collect();
        assert_eq!(keys, ["T", "T@G"]);
        let text = desk.prints("queryCq -t T -q 0 -i 3 -c 1").await;
        assert!(text.contains("\nidx: 3\nConsumeQueueData{physicOffset=7, "), "{text}");
        let text = desk.prints("consumerProgress").await;
        assert_eq!(words(&text)[1], ["G", "1", "V4_9_7", "PUSH", "CLUSTERING", "1", "5"]);
    });
}

#[test]
fn what_brokers_are_told_is_what_was_said() {
    World::test(1, async |world| {
        let (desk, script) = scripted(&world);
        let text = desk.prints(&format!("updateBrokerConfig -b {ADDR} -k a:b -v =1")).await;
        assert_eq!(text, format!("update broker config success, {ADDR}\n"));
        let body = script.asked(RequestCode::UPDATE_BROKER_CONFIG)[0].body.clone();
        assert_eq!(body, "a\\:b=\\=1\n");
        for (line, code) in [
            ("cleanExpiredCQ", RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE),
            ("cleanUnusedTopic -c C", RequestCode::CLEAN_UNUSED_TOPIC),
            ("cleanUnusedTopic -b ns:9876", RequestCode::CLEAN_UNUSED_TOPIC),
        ] {
            let before = script.asked(code).len();
            assert_eq!(desk.prints(line).await, "success\n");
            assert_eq!(script.asked(code).len(), before + 1, "{line}");
        }
        let text = desk.prints("cloneGroupOffset -s G -d H -t T -o true").await;
        assert!(text.starts_with("clone group offset success. srcGroup[G]"), "{text}");
        let asked = &script.asked(RequestCode::CLONE_GROUP_OFFSET)[0].ext_fields;
        let fields = ["srcGroup", "destGroup", "topic", "offline"].map(|name| asked.get(name));
        assert_eq!(fields, ["G", "H", "T", "true"].map(Some));
    });
}

#[test]
fn a_refusal_is_a_failure_that_names_who_refused() {
    World::test(1, async |world| {
        let (desk, _) = scripted(&world);
        let (_, error) = desk.fails("consumerConnection -g OFF").await;
        let offline = "the consumer group[OFF] not online (code 206, CONSUMER_NOT_ONLINE)";
        assert_eq!(error.to_string(), format!("{ADDR} refuses: {offline}"));
        let (text, error) = desk.fails("deleteTopic -c C -t T").await;
        // The name servers have not been told.
        assert_eq!(text, "");
        assert!(error.to_string().starts_with(&format!("{ADDR} refuses: not in the script")));
    });
}
