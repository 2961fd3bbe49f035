//! A master and its slave: tables, roles, promotion, and a master that comes back without its log.

use std::path::Path;

use mq_protocol::body::offset_table::ConsumerOffsetSerializeWrapper;
use mq_protocol::body::topic_config::TopicConfigSerializeWrapper;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::message_codec::decode_messages;
use mq_protocol::sys_flag::PullSysFlag;
use mq_store::config::BrokerRole;
use staticfire_world::net::{SegmentInfo, Verdict};
use staticfire_world::trace::TraceEvent;
use staticfire_world::world::World;
use tokio::time::Instant;

use super::cluster::{
    Broker, Cluster, pull_header, seconds, send_header, send_request, test_without_writeback,
    waiting,
};
use super::offsets::{clamped, commit, query};

async fn has_topic(cluster: &Cluster, broker: &Broker, topic: &str) -> bool {
    let code = RequestCode::GET_ALL_TOPIC_CONFIG;
    let table = cluster.call(&broker.fast_addr, code, &()).await;
    let table: TopicConfigSerializeWrapper = from_slice(&table.body).unwrap();
    table.topic_config_table.contains_key(topic)
}

async fn read_count(cluster: &Cluster, broker: &Broker, topic: &str) -> usize {
    let header = pull_header("reader", topic, 0);
    let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
    decode_messages(&response.body).len()
}

#[test]
fn a_slave_copies_messages_and_tables() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        for _ in 0..3 {
            cluster.send(&master.addr, "T", "body").await;
        }
        assert_eq!(read_count(&cluster, &master, "T").await, 3);
        commit(&cluster, &master.addr, "G", "T", 2).await;
        seconds(15).await;
        assert_eq!(read_count(&cluster, &slave, "T").await, 3);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(2));
        let code = RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG;
        let [of_master, of_slave] = [
            cluster.call(&master.addr, code, &()).await.body,
            cluster.call(&slave.addr, code, &()).await.body,
        ];
        assert_eq!(of_master, of_slave);
    });
}

#[test]
fn a_slave_takes_no_messages_and_no_offsets_of_pulls() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        for _ in 0..3 {
            cluster.send(&master.addr, "T", "body").await;
        }
        seconds(15).await;
        for topic in ["T", "U", "%RETRY%G"] {
            let refused = cluster.ask(&slave.addr, send_request(&send_header(topic), "body")).await;
            assert_eq!(refused.code, ResponseCode::SERVICE_NOT_AVAILABLE, "{topic}");
        }
        assert!(!has_topic(&cluster, &slave, "U").await);
        let committing = PullMessageRequestHeader {
            sys_flag: PullSysFlag::SUBSCRIPTION | PullSysFlag::COMMIT_OFFSET,
            commit_offset: 2,
            ..pull_header("G", "T", 0)
        };
        let code = RequestCode::PULL_MESSAGE;
        assert_eq!(cluster.call(&slave.addr, code, &committing).await.code, 0);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(0));
        let beyond = cluster.call(&slave.addr, code, &pull_header("G", "T", 99)).await;
        assert_eq!(beyond.code, ResponseCode::PULL_RETRY_IMMEDIATELY);
        let header: PullMessageResponseHeader = beyond.header().unwrap();
        assert_eq!((header.next_begin_offset, header.max_offset), (99, 3));
    });
}

#[test]
fn a_pull_held_by_a_slave_is_looked_at_every_five_seconds() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        cluster.send(&master.addr, "T", "body").await;
        seconds(15).await;
        let held = waiting(1, 15_000);
        let begin = Instant::now();
        let sending = async {
            seconds(1).await;
            cluster.send(&master.addr, "T", "body").await;
        };
        let pulling = cluster.call(&slave.addr, RequestCode::PULL_MESSAGE, &held);
        let (response, ()) = tokio::join!(pulling, sending);
        assert_eq!(response.code, ResponseCode::SUCCESS);
        let waited_ms = begin.elapsed().as_millis();
        assert!((1_000..6_200).contains(&waited_ms), "{waited_ms} ms");
    });
}

#[test]
fn a_starting_master_asks_its_slaves_how_far_groups_have_come() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        for _ in 0..3 {
            cluster.send(&master.addr, "T", "body").await;
        }
        seconds(15).await;
        // The master is gone; a group goes on with the slave.
        master.process.kill();
        assert_eq!(commit(&cluster, &slave.addr, "G", "T", 3).await, ResponseCode::SUCCESS);
        let beyond = commit(&cluster, &slave.addr, "H", "T", 4).await;
        assert_eq!(beyond, ResponseCode::SYSTEM_ERROR);
        master.start().await;
        assert_eq!(query(&cluster, &master.addr, "G", "T").await, Some(3));
        commit(&cluster, &master.addr, "G", "T", 1).await;
        seconds(15).await;
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(3), "never a smaller one");
        assert!(cluster.events(clamped).is_empty());
    });
}

#[test]
fn offsets_of_another_log_are_not_taken_over() {
    World::test(14, async |world| {
        let cluster = Cluster::new(world);
        let (master, slave) = pair_with_another_disk(&cluster, 3).await;
        for _ in 0..5 {
            cluster.send(&master.addr, "T", "anew").await;
        }
        seconds(15).await;
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(3));
        master.process.kill();
        cluster.client.close(&master.addr);
        master.start().await;
        let known = query(&cluster, &master.addr, "G", "T").await;
        assert_eq!(known.unwrap_or(0), 0, "nobody was given the first of the new messages");
    });
}

#[test]
fn a_slave_becomes_master_by_its_configuration() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let mut slave = cluster.slave().await;
        for _ in 0..3 {
            cluster.send(&master.addr, "T", "body").await;
        }
        commit(&cluster, &master.addr, "G", "T", 2).await;
        seconds(15).await;
        master.process.kill();
        slave.stop().await;
        slave.edit(|config, store| {
            config.broker_id = 0;
            store.broker_role = BrokerRole::AsyncMaster;
        });
        slave.start().await;
        assert_eq!(cluster.send(&slave.addr, "T", "body").await, 3);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(2));
        assert_eq!(read_count(&cluster, &slave, "T").await, 4);
    });
}

#[test]
fn a_blank_master_does_not_empty_its_slave() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world);
        let (master, slave) = pair_with_another_disk(&cluster, 2).await;
        // It may have topics of its own before long.
        cluster.send(&master.addr, "U", "body").await;
        seconds(60).await;
        assert!(has_topic(&cluster, &slave, "T").await);
        assert!(!has_topic(&cluster, &slave, "U").await);
        assert_eq!(read_count(&cluster, &slave, "T").await, 3);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(2));
        let refusals = cluster.events(|event| match event {
            TraceEvent::RefusedToFollow { reason } => Some(reason.to_string()),
            _ => None,
        });
        assert_eq!(refusals.len(), 1, "{refusals:?}");
    });
}

/// A master whose disk is another one, blank, and its slave, which keeps the three messages of the old log and how
/// far group `G` was in it.
async fn pair_with_another_disk(cluster: &Cluster, committed: i64) -> (Broker, Broker) {
    let master = cluster.master(|_, _| {}).await;
    let slave = cluster.slave().await;
    for _ in 0..3 {
        cluster.send(&master.addr, "T", "body").await;
    }
    commit(cluster, &master.addr, "G", "T", committed).await;
    seconds(15).await;
    master.machine.destroy_disk();
    cluster.power_cycle(&master);
    master.start().await;
    (master, slave)
}

/// A master that syncs nothing by itself, and its slave, which both have the first message for good.
async fn pair_with_a_durable_message(cluster: &Cluster) -> (Broker, Broker) {
    let master = cluster.master(|_, store| store.flush_interval_commit_log_ms = 600_000).await;
    let slave = cluster.slave().await;
    cluster.send(&master.addr, "T", "body").await;
    seconds(40).await;
    master.stop().await;
    master.start().await;
    seconds(12).await;
    (master, slave)
}

#[test]
fn a_slave_ahead_of_its_master_gives_up_what_groups_had_read_there() {
    test_without_writeback(7, async |world| {
        let cluster = Cluster::new(world);
        let (master, slave) = pair_with_a_durable_message(&cluster).await;
        for _ in 0..2 {
            cluster.send(&master.addr, "T", "lost").await;
        }
        commit(&cluster, &master.addr, "G", "T", 3).await;
        seconds(15).await;
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(3));
        cluster.power_cycle(&master);
        master.start().await;
        seconds(60).await;
        assert_eq!(cluster.events(clamped), ["G T-0: 3 to 1", "G T-0: 3 to 1"]);
        let offsets = slave.process.env().unwrap().disk;
        let offsets = offsets.read(Path::new("/store/config/consumerOffset.json")).unwrap();
        let offsets: ConsumerOffsetSerializeWrapper = from_slice(&offsets).unwrap();
        assert_eq!(offsets.offset_table["T@G"][&0], 1);
        others_take_the_places(&cluster, &master, &slave).await;
    });
}

#[test]
fn a_slave_that_lags_gives_up_offsets_of_messages_that_its_master_lost() {
    test_without_writeback(8, async |world| {
        let cluster = Cluster::new(world.clone());
        let (master, slave) = pair_with_a_durable_message(&cluster).await;
        let ha_port = 10_912;
        let blocked = world.add_rule(move |segment: &SegmentInfo<'_>| {
            if segment.from_addr.port() == ha_port { Verdict::Stall } else { Verdict::Pass }
        });
        for _ in 0..2 {
            cluster.send(&master.addr, "T", "lost").await;
        }
        commit(&cluster, &master.addr, "G", "T", 3).await;
        seconds(12).await;
        assert_eq!(read_count(&cluster, &slave, "T").await, 1);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(3));
        cluster.power_cycle(&master);
        world.remove_rule(blocked);
        master.start().await;
        seconds(60).await;
        assert_eq!(cluster.events(clamped), ["G T-0: 3 to 1"], "the slave merely lagged");
        others_take_the_places(&cluster, &master, &slave).await;
    });
}

/// Messages are stored where the lost ones were: the group gets them, from either broker.
async fn others_take_the_places(cluster: &Cluster, master: &Broker, slave: &Broker) {
    for _ in 0..2 {
        cluster.send(&master.addr, "T", "body").await;
    }
    seconds(15).await;
    for broker in [master, slave] {
        assert_eq!(read_count(cluster, broker, "T").await, 3);
        assert_eq!(query(cluster, &broker.addr, "G", "T").await, Some(1));
    }
}
