//! Consumer offsets: commits, files, and offsets beyond the end of a queue.

use std::path::Path;

use mq_env::disk::Disk;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::offset::{
    GetEarliestMsgStoretimeResponseHeader, OffsetResponseHeader, QueryConsumerOffsetRequestHeader,
    QueryConsumerOffsetResponseHeader, QueueRequestHeader, SearchOffsetRequestHeader,
    UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::header::query_message::ViewMessageRequestHeader;
use mq_protocol::message_codec::decode_messages;
use mq_protocol::sys_flag::PullSysFlag;
use mq_store::config::{FlushDiskType, UpstreamSwitch};
use staticfire_world::trace::TraceEvent;
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, pull_header, seconds, test_without_writeback};

/// The group's offset in queue 0.
pub(super) async fn query(cluster: &Cluster, addr: &str, group: &str, topic: &str) -> Option<i64> {
    let header = QueryConsumerOffsetRequestHeader {
        consumer_group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id: 0,
    };
    let response = cluster.call(addr, RequestCode::QUERY_CONSUMER_OFFSET, &header).await;
    let found = response.header::<QueryConsumerOffsetResponseHeader>();
    found.ok().map(|header| header.offset)
}

/// Commits the group's offset in queue 0, after a pull that makes the group known, and returns the code of
/// the reply.
pub(super) async fn commit(
    cluster: &Cluster,
    addr: &str,
    group: &str,
    topic: &str,
    commit_offset: i64,
) -> i32 {
    cluster.call(addr, RequestCode::PULL_MESSAGE, &pull_header(group, topic, 0)).await;
    let header = UpdateConsumerOffsetRequestHeader {
        consumer_group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id: 0,
        commit_offset,
    };
    cluster.call(addr, RequestCode::UPDATE_CONSUMER_OFFSET, &header).await.code
}

pub(super) fn clamped(event: &TraceEvent) -> Option<String> {
    match event {
        TraceEvent::OffsetClamped { group, topic, queue_id, from, to } => {
            Some(format!("{group} {topic}-{queue_id}: {from} to {to}"))
        }
        _ => None,
    }
}

#[test]
fn a_commit_survives_power_loss_five_seconds_later_and_a_stop_at_once() {
    test_without_writeback(1, async |world| {
        let cluster = Cluster::new(world);
        let broker =
            cluster.master(|_, store| store.flush_disk_type = FlushDiskType::SyncFlush).await;
        for _ in 0..3 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 1).await, ResponseCode::SUCCESS);
        seconds(6).await;
        cluster.power_cycle(&broker);
        broker.start().await;
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(1));

        commit(&cluster, &broker.addr, "G", "T", 2).await;
        broker.stop().await;
        broker.start().await;
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(2));
        assert_eq!(cluster.send(&broker.addr, "T", "body").await, 3);
        assert!(cluster.events(clamped).is_empty());
    });
}

/// Makes a file's content something else.
type Damage = fn(&[u8]) -> Vec<u8>;

#[test]
fn no_damage_to_a_table_costs_the_start_or_more_than_one_version() {
    let damages: [Damage; 3] =
        [|_| Vec::new(), |whole| vec![0; whole.len()], |whole| whole[..whole.len() / 2].to_vec()];
    for damage in damages {
        World::test(9, async |world| {
            let cluster = Cluster::new(world);
            let broker = cluster.master(|_, _| {}).await;
            for topic in ["T", "T", "U"] {
                cluster.send(&broker.addr, topic, "body").await;
            }
            commit(&cluster, &broker.addr, "G", "T", 1).await;
            seconds(6).await;
            commit(&cluster, &broker.addr, "G", "T", 2).await;
            // A second version of the groups, too.
            commit(&cluster, &broker.addr, "H", "T", 1).await;
            seconds(6).await;
            broker.process.kill();
            let disk = broker.machine.disk().handle("damage");
            for file in ["topics", "subscriptionGroup", "consumerOffset", "delayOffset"] {
                let path = Path::new("/store/config").join(file).with_extension("json");
                let whole = disk.read(&path).unwrap_or_default();
                disk.write(&path, &damage(&whole)).unwrap();
            }
            broker.start().await;
            assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(1));
            assert_eq!(cluster.send(&broker.addr, "T", "body").await, 2, "the older topic");
        });
    }
}

#[test]
fn a_topic_that_a_killed_process_left_in_the_page_cache_outlives_the_next_power_loss() {
    test_without_writeback(10, async |world| {
        let cluster = Cluster::new(world);
        let broker =
            cluster.master(|_, store| store.flush_disk_type = FlushDiskType::SyncFlush).await;
        // As after a kill between the last rename and the sync of the directory.
        let disk = broker.machine.disk().handle("killed");
        let config = Path::new("/store/config");
        disk.create_dir_all(config).unwrap();
        let topics = br#"{"topicConfigTable":{"T":{"order":false,"perm":6,"readQueueNums":4,
            "topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}}}"#;
        disk.write(&config.join("topics.json"), topics).unwrap();
        disk.sync(&config.join("topics.json")).await.unwrap();
        broker.process.kill();
        broker.start().await;
        cluster.send(&broker.addr, "T", "body").await;
        cluster.power_cycle(&broker);
        broker.start().await;
        assert_eq!(cluster.send(&broker.addr, "T", "body").await, 1);
        let reader = broker.machine.disk().handle("reader");
        assert_eq!(reader.read(&config.join("topics.json")).unwrap(), topics);
    });
}

/// A master that consumed three messages and whose power loss took them: the offset was durable.
async fn offset_outlives_messages(cluster: &Cluster, broker: &Broker) {
    for _ in 0..3 {
        cluster.send(&broker.addr, "T", "body").await;
    }
    commit(cluster, &broker.addr, "G", "T", 3).await;
    seconds(6).await;
    cluster.power_cycle(broker);
    broker.start().await;
}

#[test]
fn an_offset_beyond_the_end_is_moved_to_it() {
    test_without_writeback(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, store| store.flush_interval_commit_log_ms = 60_000).await;
        offset_outlives_messages(&cluster, &broker).await;
        assert_eq!(cluster.events(clamped), ["G T-0: 3 to 0"]);
        assert_eq!(cluster.send(&broker.addr, "T", "body").await, 0);
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(0));
        let refused = commit(&cluster, &broker.addr, "G", "T", 2).await;
        assert_eq!(refused, ResponseCode::SYSTEM_ERROR);
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 1).await, ResponseCode::SUCCESS);
        let content = broker.process.env().unwrap().disk;
        let content = content.read(Path::new("/store/config/consumerOffset.json")).unwrap();
        assert_eq!(content, br#"{"offsetTable":{"T@G":{0:0}}}"#);
    });
}

#[test]
fn upstream_leaves_offsets_beyond_the_end_alone() {
    test_without_writeback(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, store| {
            store.flush_interval_commit_log_ms = 60_000;
            store.upstream.insert(UpstreamSwitch::OffsetsBeyondEnd);
        });
        let broker = broker.await;
        offset_outlives_messages(&cluster, &broker).await;
        assert!(cluster.events(clamped).is_empty());
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(3));
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 9).await, ResponseCode::SUCCESS);
    });
}

/// Where a pull from offset 9 of queue 0 is sent to.
async fn resume_offset(cluster: &Cluster, broker: &Broker, group: &str) -> i64 {
    let pull = PullMessageRequestHeader {
        sys_flag: PullSysFlag::SUBSCRIPTION,
        ..pull_header(group, "T", 9)
    };
    let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &pull).await;
    assert_eq!(response.code, ResponseCode::PULL_OFFSET_MOVED);
    response.header::<PullMessageResponseHeader>().unwrap().next_begin_offset
}

#[test]
fn a_running_consumer_beyond_the_end_goes_on_where_the_log_was_cut() {
    for upstream in [false, true] {
        test_without_writeback(4, async |world| {
            let cluster = Cluster::new(world);
            let broker = cluster.master(|_, store| {
                store.flush_interval_commit_log_ms = 60_000;
                store.upstream.extend(upstream.then_some(UpstreamSwitch::OffsetsBeyondEnd));
            });
            let broker = broker.await;
            offset_outlives_messages(&cluster, &broker).await;
            for _ in 0..2 {
                cluster.send(&broker.addr, "T", "body").await;
            }
            let expected = if upstream { 2 } else { 0 };
            assert_eq!(resume_offset(&cluster, &broker, "G").await, expected);
            assert_eq!(resume_offset(&cluster, &broker, "never-committed").await, 2);
        });
    }
}

#[test]
fn the_bounds_of_a_queue_and_its_times_are_told() {
    World::test(7, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let addr = &broker.addr;
        for _ in 0..3 {
            cluster.send(addr, "T", "body").await;
            seconds(10).await;
        }
        let queue = |queue_id| QueueRequestHeader { topic: "T".to_owned(), queue_id };
        let offset = async |code, queue_id| {
            let response = cluster.call(addr, code, &queue(queue_id)).await;
            response.header::<OffsetResponseHeader>().unwrap().offset
        };
        assert_eq!(offset(RequestCode::GET_MAX_OFFSET, 0).await, 3);
        assert_eq!(offset(RequestCode::GET_MIN_OFFSET, 0).await, 0);
        assert_eq!(offset(RequestCode::GET_MAX_OFFSET, 3).await, 0, "nothing was sent there");
        let earliest = async |queue_id| {
            let code = RequestCode::GET_EARLIEST_MSG_STORETIME;
            let response = cluster.call(addr, code, &queue(queue_id)).await;
            response.header::<GetEarliestMsgStoretimeResponseHeader>().unwrap().timestamp
        };
        let by_time = async |timestamp| {
            let header =
                SearchOffsetRequestHeader { topic: "T".to_owned(), queue_id: 0, timestamp };
            let code = RequestCode::SEARCH_OFFSET_BY_TIMESTAMP;
            let response = cluster.call(addr, code, &header).await;
            response.header::<OffsetResponseHeader>().unwrap().offset
        };
        let first_ms = earliest(0).await;
        assert_eq!(earliest(3).await, -1);
        assert_eq!((by_time(-1).await, by_time(0).await, by_time(i64::MAX).await), (0, 0, 2));
        assert_eq!((by_time(first_ms).await, by_time(first_ms + 11_000).await), (0, 1));
        assert_eq!(by_time(first_ms + 19_000).await, 2);
        let view = async |offset| {
            let header = ViewMessageRequestHeader { offset };
            cluster.call(addr, RequestCode::VIEW_MESSAGE_BY_ID, &header).await
        };
        assert_eq!(decode_messages(&view(0).await.body).len(), 1);
        for nowhere in [-1, 1, 1 << 40] {
            let refused = view(nowhere).await;
            let remark = format!("can not find message by the offset, {nowhere}");
            assert_eq!((refused.code, refused.remark), (ResponseCode::SYSTEM_ERROR, Some(remark)));
        }
    });
}
