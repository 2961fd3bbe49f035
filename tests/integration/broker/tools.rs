//! What operators' tools ask of a broker besides statistics and settings.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mq_broker::{BrokerController, BrokerError};
use mq_protocol::body::cluster::{GroupList, TopicList};
use mq_protocol::body::connection::{
    Connection, ConsumerConnection, ProducerConnection, ProducerTableInfo,
};
use mq_protocol::body::consume_stats::{
    QueryConsumeQueueResponseBody, QueryConsumeTimeSpanBody, TopicStatsTable,
};
use mq_protocol::body::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData,
};
use mq_protocol::body::offset_table::QueryCorrectionOffsetBody;
use mq_protocol::codes::{MqVersion, RequestCode, ResponseCode};
use mq_protocol::fastjson::{Json, from_slice};
use mq_protocol::header::CustomHeader;
use mq_protocol::header::admin::{
    CloneGroupOffsetRequestHeader, GetProducerConnectionListRequestHeader,
    QueryConsumeTimeSpanRequestHeader, QueryCorrectionOffsetRequestHeader, TopicRequestHeader,
};
use mq_protocol::header::client::ConsumerGroupRequestHeader;
use mq_protocol::header::query_message::QueryConsumeQueueRequestHeader;
use mq_remoting::ProcessorTable;
use mq_store::MessageInner;
use staticfire_world::world::{ProcessContext, World};

use super::cluster::{Broker, Cluster, heartbeat, new_client, seconds, subscription};
use super::offsets::{commit, query};
use super::transactions::read;

/// The body of a reply that has to be a good one.
async fn ask<T: Json>(
    cluster: &Cluster,
    broker: &Broker,
    code: i32,
    header: &impl CustomHeader,
) -> T {
    let reply = cluster.call(&broker.addr, code, header).await;
    assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
    from_slice(&reply.body).unwrap()
}

/// Code and remark of a refusal.
async fn refused(
    cluster: &Cluster,
    broker: &Broker,
    code: i32,
    header: &impl CustomHeader,
) -> (i32, String) {
    let reply = cluster.call(&broker.addr, code, header).await;
    (reply.code, reply.remark.unwrap_or_default())
}

fn topic(topic: &str) -> TopicRequestHeader {
    TopicRequestHeader { topic: topic.to_owned() }
}

#[test]
fn a_topic_tells_the_ends_and_times_of_its_queues() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.create_topic(&broker, "T").await;
        for body in ["one", "two", "three"] {
            cluster.send(&broker.addr, "T", body).await;
            seconds(2).await;
        }
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 1).await, ResponseCode::SUCCESS);
        let stored: Vec<i64> =
            read(&cluster, &broker, "T", 0).await.iter().map(|it| it.store_timestamp).collect();
        let code = RequestCode::GET_TOPIC_STATS_INFO;
        let stats: TopicStatsTable = ask(&cluster, &broker, code, &topic("T")).await;
        let ends: Vec<_> = stats
            .offset_table
            .iter()
            .map(|(queue, it)| {
                (queue.queue_id, it.min_offset, it.max_offset, it.last_update_timestamp)
            })
            .collect();
        assert_eq!(ends, [(0, 0, 3, stored[2]), (1, 0, 0, 0), (2, 0, 0, 0), (3, 0, 0, 0)]);
        let missing = (ResponseCode::TOPIC_NOT_EXIST, "topic[U] not exist".to_owned());
        assert_eq!(refused(&cluster, &broker, code, &topic("U")).await, missing);

        let code = RequestCode::QUERY_CONSUME_TIME_SPAN;
        let header = |topic: &str, group: &str| QueryConsumeTimeSpanRequestHeader {
            topic: topic.to_owned(),
            group: group.to_owned(),
        };
        let spans: QueryConsumeTimeSpanBody = ask(&cluster, &broker, code, &header("T", "G")).await;
        let now_ms = broker.process.env().unwrap().clock.now_millis() as i64;
        let span = &spans.consume_time_span_set[0];
        let times = [span.min_time_stamp, span.max_time_stamp, span.consume_time_stamp];
        assert_eq!(times, [stored[0], stored[2], stored[0]]);
        let delay_ms = now_ms - stored[1];
        assert!((delay_ms - 1_000..=delay_ms).contains(&span.delay_time), "{}", span.delay_time);
        assert!(span.min_time_stamp_str.contains('#'), "{}", span.min_time_stamp_str);
        let nobody: QueryConsumeTimeSpanBody =
            ask(&cluster, &broker, code, &header("T", "H")).await;
        let [first, empty] = [0, 1].map(|queue_id| &nobody.consume_time_span_set[queue_id]);
        assert_eq!(first.consume_time_stamp, stored[0]);
        assert!((now_ms - stored[0] - 1_000..10_000).contains(&first.delay_time));
        assert_eq!((empty.min_time_stamp, empty.max_time_stamp, empty.delay_time), (-1, -1, 0));
        assert_eq!(refused(&cluster, &broker, code, &header("U", "G")).await, missing);
    });
}

#[test]
fn who_is_connected_and_who_consumes_is_told() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "body").await;
        let client = new_client(&world, "c", ProcessorTable::default());
        let subscribed = subscription("T", "a || b", 5);
        let consumer = ConsumerData {
            group_name: "G".to_owned(),
            consume_type: ConsumeType::ConsumePassively,
            consume_from_where: ConsumeFromWhere::ConsumeFromTimestamp,
            message_model: MessageModel::Broadcasting,
            subscription_data_set: vec![subscribed.clone()],
            ..ConsumerData::default()
        };
        let data = HeartbeatData {
            client_id: "c@1".to_owned(),
            consumer_data_set: vec![consumer],
            producer_data_set: vec![ProducerData { group_name: "P".to_owned() }],
        };
        assert_eq!(heartbeat(&client, &broker, &data).await.code, ResponseCode::SUCCESS);
        let now_ms = broker.process.env().unwrap().clock.now_millis() as i64;
        seconds(3).await;
        let ip = world.machine("c").unwrap().ip().to_string();
        let check = |connection: &Connection| {
            let addr = connection.client_addr.strip_prefix(&ip).unwrap();
            assert!(addr.starts_with(':'), "{addr}");
            assert_eq!((&*connection.client_id, &*connection.language), ("c@1", "RUST"));
            assert_eq!(connection.version, MqVersion::CURRENT);
        };
        let group = |group: &str| ConsumerGroupRequestHeader { consumer_group: group.to_owned() };
        let code = RequestCode::GET_CONSUMER_CONNECTION_LIST;
        let found: ConsumerConnection = ask(&cluster, &broker, code, &group("G")).await;
        assert_eq!(found.connection_set.len(), 1);
        check(&found.connection_set[0]);
        assert_eq!(found.consume_type, ConsumeType::ConsumePassively);
        assert_eq!(found.consume_from_where, ConsumeFromWhere::ConsumeFromTimestamp);
        assert_eq!(found.message_model, MessageModel::Broadcasting);
        assert_eq!(found.subscription_table["T"], subscribed);
        let offline =
            (ResponseCode::CONSUMER_NOT_ONLINE, "the consumer group[H] not online".to_owned());
        assert_eq!(refused(&cluster, &broker, code, &group("H")).await, offline);

        let group = |group: &str| GetProducerConnectionListRequestHeader {
            producer_group: group.to_owned(),
        };
        let code = RequestCode::GET_PRODUCER_CONNECTION_LIST;
        let found: ProducerConnection = ask(&cluster, &broker, code, &group("P")).await;
        check(&found.connection_set[0]);
        let unknown = (ResponseCode::SYSTEM_ERROR, "the producer group[Q] not exist".to_owned());
        assert_eq!(refused(&cluster, &broker, code, &group("Q")).await, unknown);
        let code = RequestCode::GET_ALL_PRODUCER_INFO;
        let all: ProducerTableInfo = ask(&cluster, &broker, code, &()).await;
        let info = &all.data["P"][0];
        assert!(info.remote_ip.starts_with(&format!("/{ip}:")), "{}", info.remote_ip);
        assert!((now_ms - 1_000..=now_ms).contains(&info.last_update_timestamp));

        commit(&cluster, &broker.addr, "read-before", "T", 0).await;
        let code = RequestCode::QUERY_TOPIC_CONSUME_BY_WHO;
        let groups: GroupList = ask(&cluster, &broker, code, &topic("T")).await;
        assert_eq!(groups.group_list, ["G", "read-before"]);
        let code = RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER;
        let topics: TopicList = ask(&cluster, &broker, code, &()).await;
        // What 4.9.7 answered, with the names of this broker and its cluster.
        let mut java = vec![
            "SCHEDULE_TOPIC_XXXX",
            "RMQ_SYS_TRANS_HALF_TOPIC",
            "RMQ_SYS_TRACE_TOPIC",
            "DefaultCluster_REPLY_TOPIC",
            "RMQ_SYS_TRANS_OP_HALF_TOPIC",
            "BenchmarkTest",
            "TRANS_CHECK_MAX_TIME_TOPIC",
            "OFFSET_MOVED_EVENT",
            "TBW102",
            "a",
            "SELF_TEST_TOPIC",
            "DefaultCluster",
        ];
        java.sort_unstable();
        assert_eq!(topics.topic_list, java);
    });
}

#[test]
fn offsets_of_groups_are_compared_and_cloned() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        for _ in 0..3 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        for (group, offset) in [("G", 2), ("H", 1)] {
            let code = commit(&cluster, &broker.addr, group, "T", offset).await;
            assert_eq!(code, ResponseCode::SUCCESS);
        }
        let corrected = async |left_out: &str, compared: &str| {
            let header = QueryCorrectionOffsetRequestHeader {
                filter_groups: Some(left_out.to_owned()),
                compare_group: compared.to_owned(),
                topic: "T".to_owned(),
            };
            let code = RequestCode::QUERY_CORRECTION_OFFSET;
            let body: QueryCorrectionOffsetBody = ask(&cluster, &broker, code, &header).await;
            body.correction_offsets.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(corrected("", "G").await, [(0, 1)]);
        assert_eq!(corrected("H", "G").await, [(0, 2)]);
        assert_eq!(corrected("H", "H").await, [(0, i64::MAX)], "the others are further");
        assert_eq!(corrected("G,H", "G").await, [(0, i64::MAX)], "there is no other");
        assert_eq!(corrected("", "nobody").await, [(0, 1)], "nobody's offsets went meanwhile");

        let clone = async |target: &str, topic: Option<&str>| {
            let header = CloneGroupOffsetRequestHeader {
                src_group: "G".to_owned(),
                dest_group: target.to_owned(),
                topic: topic.map(str::to_owned),
                offline: false,
            };
            let code = RequestCode::CLONE_GROUP_OFFSET;
            assert_eq!(cluster.call(&broker.addr, code, &header).await.code, ResponseCode::SUCCESS);
        };
        clone("one", Some("T")).await;
        clone("all", None).await;
        clone("none", Some("no such topic")).await;
        let told = async |group: &str| query(&cluster, &broker.addr, group, "T").await;
        assert_eq!([told("one").await, told("all").await], [Some(2), Some(2)]);
        let file = broker.process.env().unwrap().disk;
        let file = file.read("/store/config/consumerOffset.json".as_ref()).unwrap();
        let text = String::from_utf8(file).unwrap();
        assert!(text.contains("\"T@all\":{0:2}") && !text.contains("none"), "{text}");
    });
}

#[test]
fn units_of_a_queue_are_told() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        for _ in 0..3 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        let code = RequestCode::QUERY_CONSUME_QUEUE;
        let header = |queue_id, index, group: Option<&str>| QueryConsumeQueueRequestHeader {
            topic: "T".to_owned(),
            queue_id,
            index,
            count: 2,
            consumer_group: group.map(str::to_owned),
        };
        let records = read(&cluster, &broker, "T", 0).await;
        let body: QueryConsumeQueueResponseBody =
            ask(&cluster, &broker, code, &header(0, 1, None)).await;
        assert_eq!((body.min_queue_index, body.max_queue_index), (0, 3));
        let places: Vec<_> = body.queue_data.iter().map(|it| it.physic_offset).collect();
        assert_eq!(places, [records[1].phy_offset, records[2].phy_offset]);
        assert!(body.queue_data.iter().all(|it| it.physic_size > 0 && !it.eval));
        assert_eq!((body.filter_data, body.subscription_data), (None, None));
        let body: QueryConsumeQueueResponseBody =
            ask(&cluster, &broker, code, &header(0, 0, Some("G"))).await;
        assert_eq!(body.filter_data.as_deref(), Some("G@T is not online!"));
        assert_eq!(body.queue_data.len(), 2, "no more than was asked for");
        let absent = refused(&cluster, &broker, code, &header(9, 0, None)).await;
        assert_eq!(absent, (ResponseCode::SYSTEM_ERROR, "9@T is not exist!".to_owned()));
        let beyond = refused(&cluster, &broker, code, &header(0, 10, None)).await;
        assert_eq!(beyond, (ResponseCode::SUCCESS, "Index 10 of 0@T is not exist!".to_owned()));
    });
}

/// A broker whose store is at hand.
fn open_broker(cluster: &Cluster) -> (Broker, Arc<Mutex<Option<Arc<BrokerController>>>>) {
    let broker = cluster.broker("a", 0, Default::default(), |_, _| {});
    let slot = Arc::<Mutex<Option<Arc<BrokerController>>>>::default();
    let (kept, (config, store_config)) = (Arc::clone(&slot), broker.settings());
    broker.process.set_main(move |context: ProcessContext| {
        let (kept, config, store_config) =
            (Arc::clone(&kept), config.clone(), store_config.clone());
        async move {
            let broker = BrokerController::start(context.env, config, store_config).await?;
            *kept.lock().unwrap() = Some(Arc::clone(&broker));
            context.shutdown.cancelled().await;
            broker.shutdown().await;
            Ok::<(), BrokerError>(())
        }
    });
    (broker, slot)
}

#[test]
fn topics_of_no_table_are_cleaned_for_good() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let (broker, slot) = open_broker(&cluster);
        broker.start().await;
        cluster.send(&broker.addr, "T", "body").await;
        let controller = slot.lock().unwrap().take().unwrap();
        let stray = MessageInner {
            topic: "stray".to_owned(),
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            body: Bytes::from_static(b"body"),
            properties: String::new(),
            born_timestamp_ms: 1,
            born_host: ([10, 0, 0, 1], 1).into(),
            store_host: ([10, 0, 0, 1], 1).into(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            wait_store_ok: true,
        };
        assert!(controller.store().put_message(&stray).await.status.is_stored());
        seconds(1).await;
        let topics = |controller: &BrokerController| controller.store().consume_queues().topics();
        assert_eq!(topics(&controller), ["T", "stray"]);
        let code = RequestCode::CLEAN_UNUSED_TOPIC;
        let clean = async |addr: &str| cluster.call(addr, code, &()).await;
        assert_eq!(clean(&broker.addr).await.code, ResponseCode::SUCCESS);
        assert_eq!(topics(&controller), ["T"]);
        drop(controller);
        broker.stop().await;
        broker.start().await;
        let controller = slot.lock().unwrap().take().unwrap();
        assert_eq!(topics(&controller), ["T"], "the log says so");
        assert!(controller.topic_config("stray").is_none());

        let slave = cluster.slave().await;
        let reply = clean(&slave.addr).await;
        assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
        for code in [RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE, RequestCode::DELETE_EXPIRED_COMMITLOG]
        {
            let reply = cluster.call(&broker.addr, code, &()).await;
            assert_eq!((reply.code, reply.remark), (ResponseCode::SUCCESS, None));
        }
    });
}
