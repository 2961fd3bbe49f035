//! What a broker does not keep for its peers, and does not take from them.

use std::time::Duration;

use bytes::BytesMut;
use mq_protocol::body::heartbeat::{ConsumerData, HeartbeatData, ProducerData};
use mq_protocol::body::lock::{LockBatchRequestBody, LockBatchResponseBody};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::header::offset::UpdateConsumerOffsetRequestHeader;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::header::send_message::{SendMessageRequestHeader, SendMessageResponseHeader};
use mq_protocol::message::MessageQueue;
use mq_protocol::message_codec::{BatchEntry, encode_batch_entry};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use mq_remoting::ProcessorTable;
use mq_store::config::BrokerRole;
use staticfire_world::world::World;
use tokio::time::Instant;

use super::cluster::{
    Broker, Cluster, heartbeat, new_client, pull_header, seconds, send_header, send_request,
    subscription,
};
use super::offsets::{commit, query};

/// Code and remark of a reply.
fn said(response: &RemotingCommand) -> (i32, &str) {
    (response.code, response.remark.as_deref().unwrap_or_default())
}

fn consumer(group: &str, topic: &str) -> ConsumerData {
    ConsumerData {
        group_name: group.to_owned(),
        subscription_data_set: vec![subscription(topic, "*", 1)],
        ..ConsumerData::default()
    }
}

#[test]
fn offsets_of_what_does_not_exist_are_not_kept() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "one").await;
        let commit_raw = async |group: &str, topic: &str, queue_id, commit_offset| {
            let header = UpdateConsumerOffsetRequestHeader {
                consumer_group: group.to_owned(),
                topic: topic.to_owned(),
                queue_id,
                commit_offset,
            };
            cluster.call(&broker.addr, RequestCode::UPDATE_CONSUMER_OFFSET, &header).await.code
        };
        let no_group = ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST;
        assert_eq!(commit_raw("G", "T", 0, 1).await, no_group);
        let data = HeartbeatData {
            client_id: "c".to_owned(),
            consumer_data_set: vec![consumer("G", "T")],
            ..HeartbeatData::default()
        };
        assert_eq!(heartbeat(&cluster.client, &broker, &data).await.code, ResponseCode::SUCCESS);
        assert_eq!(commit_raw("G", "U", 0, 0).await, ResponseCode::TOPIC_NOT_EXIST);
        assert_eq!(commit_raw("G\u{1}", "T", 0, 0).await, no_group);
        for (queue_id, offset) in [(-1, 0), (4, 0), (i32::MAX, 0), (0, -1), (0, 2)] {
            assert_eq!(commit_raw("G", "T", queue_id, offset).await, ResponseCode::SYSTEM_ERROR);
        }
        assert_eq!(commit_raw("G", "T", 0, 1).await, ResponseCode::SUCCESS);
        assert_eq!(commit_raw("G", "%RETRY%G", 0, 0).await, ResponseCode::SUCCESS);
        let table = RemotingCommand::request(RequestCode::GET_ALL_CONSUMER_OFFSET, &());
        let table = cluster.ask(&broker.addr, table).await.body;
        assert_eq!(&table[..], br#"{"offsetTable":{"%RETRY%G@G":{0:0},"T@G":{0:1}}}"#);
    });
}

#[test]
fn topics_that_make_no_sense_are_refused() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.limits.topic_nums = 9).await;
        let create = async |topic: &str, queue_nums: i32, perm: i32| {
            let header = CreateTopicRequestHeader {
                perm,
                ..CreateTopicRequestHeader::new(topic, queue_nums)
            };
            cluster.call(&broker.addr, RequestCode::UPDATE_AND_CREATE_TOPIC, &header).await
        };
        for (queue_nums, perm) in [(i32::MAX, 6), (0, 6), (-5, 6), (8, -1), (8, 64)] {
            let refused = create("T", queue_nums, perm).await;
            assert_eq!(refused.code, ResponseCode::SYSTEM_ERROR, "{queue_nums} {perm}");
        }
        for topic in ["", "a\u{1}b", "../T", "a/b", &"t".repeat(128)] {
            assert_eq!(create(topic, 8, 6).await.code, ResponseCode::SYSTEM_ERROR, "{topic}");
        }
        assert!(said(&create("T", i32::MAX, 6).await).1.contains("maxQueueNumsPerTopic=16384"));
        assert_eq!(create("T", 8, 6).await.code, ResponseCode::SUCCESS);
        assert!(said(&create("U", 8, 6).await).1.contains("maxTopicNums=9"));
        let send = send_request(&send_header("U"), "body");
        let response = cluster.ask(&broker.addr, send).await;
        assert_eq!(response.code, ResponseCode::SYSTEM_ERROR);
        assert!(said(&response).1.contains("maxTopicNums=9"), "{:?}", response.remark);
    });
}

#[test]
fn only_queues_that_exist_are_locked() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.limits.queue_lock_nums = 2).await;
        cluster.send(&broker.addr, "T", "one").await;
        let lock = async |queues: &[(&str, i32)]| {
            let queue = |(topic, queue_id): &(&str, i32)| MessageQueue {
                topic: (*topic).to_owned(),
                broker_name: "a".to_owned(),
                queue_id: *queue_id,
            };
            let body = LockBatchRequestBody {
                client_id: "c".to_owned(),
                consumer_group: "G".to_owned(),
                mq_set: queues.iter().map(queue).collect(),
            };
            let request = RemotingCommand::request(RequestCode::LOCK_BATCH_MQ, &());
            cluster.ask(&broker.addr, request.with_body(to_bytes(&body))).await
        };
        let locked = |response: &RemotingCommand| -> Vec<i32> {
            let body: LockBatchResponseBody = from_slice(&response.body).unwrap();
            body.lock_ok_mq_set.into_iter().map(|queue| queue.queue_id).collect()
        };
        assert!(locked(&lock(&[("T", 0)]).await).is_empty());
        let data = HeartbeatData {
            consumer_data_set: vec![consumer("G", "T")],
            ..HeartbeatData::default()
        };
        heartbeat(&cluster.client, &broker, &data).await;
        let asked = [("T", -1), ("T", 0), ("T", 4), ("U", 0), ("T", 1)];
        assert_eq!(locked(&lock(&asked).await), [0, 1]);
        let refused = lock(&[("T", 0), ("T", 2)]).await;
        assert_eq!(refused.code, ResponseCode::SYSTEM_ERROR);
        assert!(said(&refused).1.contains("maxQueueLockNums=2"), "{:?}", refused.remark);
    });
}

#[test]
fn heartbeats_with_impossible_names_are_refused() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.limits.subscription_group_nums = 9).await;
        let with_client = |client_id: &str| HeartbeatData {
            client_id: client_id.to_owned(),
            ..HeartbeatData::default()
        };
        let with_group = |group: &str, topic: &str| HeartbeatData {
            consumer_data_set: vec![consumer(group, topic)],
            ..with_client("c")
        };
        let with_producer = |group: &str| HeartbeatData {
            producer_data_set: vec![ProducerData { group_name: group.to_owned() }],
            ..with_client("c")
        };
        let long = "g".repeat(256);
        for refused in [
            with_client("a\u{7}"),
            with_client(&"c".repeat(1_025)),
            with_group("G\u{1}", "T"),
            with_group(&long, "T"),
            with_group("G", &long),
            with_producer("P\n"),
            with_producer(&long),
        ] {
            let response = heartbeat(&cluster.client, &broker, &refused).await;
            assert_eq!(response.code, ResponseCode::SYSTEM_ERROR, "{refused:?}");
        }
        let many = HeartbeatData {
            consumer_data_set: ["A", "B", "C"].map(|group| consumer(group, "T")).to_vec(),
            ..with_client("c")
        };
        let response = heartbeat(&cluster.client, &broker, &many).await;
        assert_eq!(response.code, ResponseCode::SYSTEM_ERROR);
        assert!(said(&response).1.contains("maxSubscriptionGroupNums=9"), "{response:?}");
        let pull = async |group: &str| {
            let header = pull_header(group, "%RETRY%A", 0);
            cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await
        };
        assert_eq!(pull("B").await.code, ResponseCode::PULL_NOT_FOUND);
        let response = pull("C").await;
        assert_eq!(response.code, ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST);
        assert!(said(&response).1.contains("maxSubscriptionGroupNums=9"), "{response:?}");
    });
}

#[test]
fn held_pulls_are_bounded_and_end_with_their_connection() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster
            .master(|config, _| {
                config.limits.held_pull_nums = 6;
                config.limits.held_pull_nums_per_channel = 4;
                config.limits.suspend_timeout_ms = 20_000;
            })
            .await;
        cluster.send(&broker.addr, "T", "one").await;
        let header = |tags: &str| PullMessageRequestHeader {
            sys_flag: PullSysFlag::SUBSCRIPTION | PullSysFlag::SUSPEND,
            suspend_timeout_ms: 1_000_000_000_000_000,
            subscription: Some(tags.to_owned()),
            ..pull_header("G", "T", 1)
        };
        let hostile = new_client(&world, "hostile", ProcessorTable::default());
        let request =
            |tags: &str| RemotingCommand::request(RequestCode::PULL_MESSAGE, &header(tags));
        let hold = async |client: &mq_remoting::RemotingClient, tags: &str| {
            client.invoke(&broker.addr, request(tags), Duration::from_secs(30)).await.unwrap()
        };
        // Not held: the pull has its answer at once, or after 20 s.
        for _ in 0..3 {
            hostile.invoke_oneway(&broker.addr, request("*")).unwrap();
        }
        let refused = hold(&hostile, "1||2||3||4||5||6||7||8").await;
        assert_eq!(refused.code, ResponseCode::SYSTEM_BUSY);
        assert!(said(&refused).1.contains("maxHeldPullNumsPerChannel=4"), "{refused:?}");
        let many_tags: String = (0..32).map(|tag| format!("t{tag}||")).collect();
        let refused = hold(&cluster.client, &many_tags).await;
        assert!(said(&refused).1.contains("maxHeldPullNums=6"), "{refused:?}");
        let too_many_tags: String = (0..10_001).map(|tag| format!("t{tag}||")).collect();
        let refused = hold(&cluster.client, &too_many_tags).await;
        assert_eq!(refused.code, ResponseCode::SUBSCRIPTION_PARSE_FAILED);
        assert!(said(&refused).1.contains("maxTagNumsPerSubscription=10000"), "{refused:?}");

        hostile.close(&broker.addr);
        seconds(1).await;
        let begin = Instant::now();
        let held = hold(&cluster.client, &many_tags[..80]).await;
        assert_eq!(held.code, ResponseCode::PULL_NOT_FOUND);
        assert_eq!(begin.elapsed().as_secs(), 20);
    });
}

/// A master whose slave is there and says nothing.
async fn master_of_a_silent_slave(cluster: &Cluster) -> Broker {
    let master = cluster.broker("a", 0, BrokerRole::SyncMaster, |config, store| {
        config.limits.waiting_send_nums = 3;
        store.slave_timeout_ms = 3_600_000;
        // It counts as near for as long.
        store.ha_housekeeping_interval_ms = 3_600_000;
    });
    master.start().await;
    let slave = cluster.slave().await;
    for _ in 0..100 {
        seconds(1).await;
        let send = send_request(&send_header("T"), "one");
        if cluster.ask(&master.addr, send).await.code == ResponseCode::SUCCESS {
            slave.process.pause();
            return master;
        }
    }
    panic!("the slave does not follow");
}

#[test]
fn waiting_sends_are_bounded_and_end_with_their_connection_or_the_broker() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world.clone());
        let master = master_of_a_silent_slave(&cluster).await;
        let hostile = new_client(&world, "hostile", ProcessorTable::default());
        let send = || send_request(&send_header("T"), "body");
        for _ in 0..3 {
            hostile.invoke_oneway(&master.addr, send()).unwrap();
        }
        seconds(1).await;
        let refused = cluster.ask(&master.addr, send()).await;
        assert_eq!(refused.code, ResponseCode::SYSTEM_BUSY);
        assert!(said(&refused).1.contains("maxWaitingSendNums=3"), "{refused:?}");

        hostile.close(&master.addr);
        seconds(1).await;
        let begin = Instant::now();
        let waiting = cluster.ask(&master.addr, send());
        let stopping = async {
            seconds(1).await;
            master.stop().await;
        };
        let (response, ()) = tokio::join!(waiting, stopping);
        assert_eq!(response.code, ResponseCode::FLUSH_SLAVE_TIMEOUT, "{response:?}");
        assert!(response.header::<SendMessageResponseHeader>().is_ok());
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    });
}

#[test]
fn a_batch_is_stored_as_a_whole_or_not_at_all() {
    World::test(7, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let send_batch = async |body: Vec<u8>, properties: &str| {
            let header = SendMessageRequestHeader {
                batch: Some(true),
                properties: Some(properties.to_owned()),
                ..send_header("T")
            };
            let request = RemotingCommand::request(RequestCode::SEND_BATCH_MESSAGE, &header);
            cluster.ask(&broker.addr, request.with_body(body)).await.code
        };
        let mut body = BytesMut::new();
        let entry = BatchEntry { flag: 0, body: b"a", properties: "" };
        encode_batch_entry(&entry, &mut body).unwrap();
        let second = body.len();
        encode_batch_entry(&entry, &mut body).unwrap();
        for size in [-5, 0, i32::MAX] {
            // The size of the entry, then of its body.
            for at in [second, second + 16] {
                let mut body = body.to_vec();
                body[at..at + 4].copy_from_slice(&i32::to_be_bytes(size));
                // An empty body is one; what follows is then cut off.
                assert_eq!(send_batch(body, "").await, ResponseCode::MESSAGE_ILLEGAL, "{size}");
            }
        }
        // Each of 40,000 messages would repeat 30,000 bytes.
        let mut many = BytesMut::new();
        for _ in 0..40_000 {
            encode_batch_entry(&entry, &mut many).unwrap();
        }
        let properties = format!("k\u{1}{}", "v".repeat(30_000));
        assert_eq!(send_batch(many.to_vec(), &properties).await, ResponseCode::MESSAGE_ILLEGAL);
        assert_eq!(send_batch(body.to_vec(), "").await, ResponseCode::SUCCESS);
        assert_eq!(cluster.send(&broker.addr, "T", "next").await, 2);
    });
}

#[test]
fn a_client_that_leaves_without_saying_anything_is_let_go() {
    World::test(8, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let mut request = RemotingCommand::request(RequestCode::UNREGISTER_CLIENT, &());
        request.ext_fields = Default::default();
        let response = cluster.ask(&broker.addr, request).await;
        assert_eq!(response.code, ResponseCode::SUCCESS);
        cluster.send(&broker.addr, "T", "one").await;
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 1).await, ResponseCode::SUCCESS);
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(1));
    });
}
