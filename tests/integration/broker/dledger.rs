//! Brokers whose log is that of a DLedger group.

use std::time::Duration;

use mq_broker::config::BrokerConfig;
use mq_client::{Producer, ProducerConfig, SendStatus};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::header::send_message::SendMessageResponseHeader;
use mq_protocol::message::{Message, MessageQueue};
use mq_protocol::message_codec::decode_messages;
use mq_store::config::{BrokerRole, DLedgerConfig, FlushDiskType, StoreConfig, UpstreamSwitch};
use staticfire_world::world::{World, WorldHandle};

use super::cluster::{
    Broker, Cluster, new_instance, pull_header, seconds, send_header, send_request,
};
use super::offsets::{commit, query};

pub(super) const TOPIC: &str = "T";

/// A group of three brokers, started.
pub(super) async fn group(
    cluster: &Cluster,
    edit: impl Fn(&mut BrokerConfig, &mut StoreConfig),
) -> [Broker; 3] {
    let brokers = [1, 2, 3].map(|broker_id| {
        cluster.broker("a", broker_id, BrokerRole::Slave, |config, store| {
            store.dledger = Some(DLedgerConfig {
                group: "a".to_owned(),
                peers: "n0-a-1:40911;n1-a-2:40911;n2-a-3:40911".to_owned(),
                self_id: format!("n{}", broker_id - 1),
                preferred_leader_ids: Vec::new(),
                store_path: None,
            });
            edit(config, store);
        })
    });
    for broker in &brokers {
        broker.start().await;
    }
    brokers
}

/// Sends one message to whichever broker takes it; its queue offset and who that was.
pub(super) async fn send_to_master(cluster: &Cluster, brokers: &[Broker]) -> (i64, usize) {
    for _ in 0..300 {
        for (index, broker) in brokers.iter().enumerate() {
            let request = send_request(&send_header(TOPIC), "body");
            let timeout = Duration::from_secs(4);
            let answer = cluster.client.invoke(&broker.addr, request, timeout).await;
            if let Ok(answer) = answer
                && answer.code == ResponseCode::SUCCESS
            {
                let header = answer.header::<SendMessageResponseHeader>().unwrap();
                return (header.queue_offset, index);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody takes a message");
}

/// How many messages queue 0 of a broker has.
async fn count(cluster: &Cluster, broker: &Broker) -> usize {
    let mut next = 0;
    loop {
        let header = pull_header("reader", TOPIC, next as i64);
        let answer = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
        let messages = decode_messages(&answer.body);
        if messages.is_empty() {
            return next;
        }
        for message in &messages {
            assert_eq!(message.queue_offset, next as i64, "queue offsets are dense");
            next += 1;
        }
    }
}

#[test]
fn whoever_leads_is_the_master_and_has_what_was_acknowledged() {
    World::test(51, async |world| {
        let cluster = Cluster::new(world);
        let brokers = group(&cluster, |_, _| {}).await;
        let (first, leader) = send_to_master(&cluster, &brokers).await;
        assert_eq!(first, 0);
        for offset in 1..40 {
            assert_eq!(send_to_master(&cluster, &brokers).await, (offset, leader));
        }
        let followers = [0, 1, 2].into_iter().filter(|index| *index != leader);
        for follower in followers {
            let refused =
                cluster.ask(&brokers[follower].addr, send_request(&send_header(TOPIC), "body"));
            assert_eq!(refused.await.code, ResponseCode::SERVICE_NOT_AVAILABLE);
        }
        brokers[leader].process.kill();
        let (offset, next) = send_to_master(&cluster, &brokers).await;
        assert_eq!(offset, 40, "nothing was lost, and nothing is counted twice");
        assert_ne!(next, leader);
        brokers[leader].start().await;
        seconds(15).await;
        for broker in &brokers {
            assert_eq!(count(&cluster, broker).await, 41);
        }
    });
}

/// What a new master knows of a topic made and an offset committed two seconds before the old one was killed.
async fn known_after_a_switch(
    world: WorldHandle,
    upstream: &[UpstreamSwitch],
) -> (bool, Option<i64>) {
    let cluster = Cluster::new(world);
    let brokers = group(&cluster, |_, store| store.upstream.extend(upstream.iter().copied())).await;
    for _ in 0..20 {
        send_to_master(&cluster, &brokers).await;
    }
    let (_, leader) = send_to_master(&cluster, &brokers).await;
    // Slaves ask for tables every ten seconds: not between now and the kill.
    seconds(6).await;
    commit(&cluster, &brokers[leader].addr, "G", TOPIC, 12).await;
    cluster.create_topic(&brokers[leader], "Made").await;
    seconds(2).await;
    brokers[leader].process.kill();
    let (_, next) = send_to_master(&cluster, &brokers).await;
    let code = RequestCode::PULL_MESSAGE;
    let header = PullMessageRequestHeader { queue_id: 3, ..pull_header("reader", "Made", 0) };
    let answer = cluster.call(&brokers[next].addr, code, &header).await;
    let has_topic = answer.code != ResponseCode::TOPIC_NOT_EXIST;
    (has_topic, query(&cluster, &brokers[next].addr, "G", TOPIC).await)
}

#[test]
fn a_new_master_has_the_tables_of_the_old_one() {
    World::test(54, async |world| {
        assert_eq!(known_after_a_switch(world, &[]).await, (true, Some(12)));
    });
    World::test(54, async |world| {
        let upstream = [UpstreamSwitch::TablesBySlaveSync];
        // Whoever has no offset begins with the oldest message.
        assert_eq!(known_after_a_switch(world, &upstream).await, (false, Some(0)));
    });
}

#[test]
fn a_batch_is_one_thing_in_the_log_of_a_group() {
    World::test(52, async |world| {
        let cluster = Cluster::new(world.clone());
        let brokers = group(&cluster, |_, _| {}).await;
        let (_, leader) = send_to_master(&cluster, &brokers).await;
        let (_, client) = new_instance(&world, "producer");
        let producer = Producer::new(&client, ProducerConfig::new("P"));
        let batch =
            ["one", "two", "three"].map(|body| Message::new(TOPIC, body.as_bytes().to_vec()));
        let queue = MessageQueue { topic: TOPIC.into(), broker_name: "a".into(), queue_id: 0 };
        let result = producer.send_batch_to(batch.to_vec(), &queue).await.unwrap();
        assert_eq!((result.send_status, result.queue_offset), (SendStatus::SendOk, 1));
        assert_eq!(result.offset_msg_id.split(',').count(), 3, "{}", result.offset_msg_id);
        assert_eq!(send_to_master(&cluster, &brokers).await, (4, leader));
        seconds(3).await;
        for broker in &brokers {
            assert_eq!(count(&cluster, broker).await, 5);
        }
    });
}

#[test]
fn a_group_that_loses_power_has_what_it_synced() {
    World::test(53, async |world| {
        let cluster = Cluster::new(world);
        let sync = |_: &mut BrokerConfig, store: &mut StoreConfig| {
            store.flush_disk_type = FlushDiskType::SyncFlush;
            store.mapped_file_size_commit_log = 64 << 10;
        };
        let brokers = group(&cluster, sync).await;
        let mut sent = 0;
        for _ in 0..3 {
            // Enough for several files.
            for _ in 0..300 {
                assert_eq!(send_to_master(&cluster, &brokers).await.0, sent);
                sent += 1;
            }
            for broker in &brokers {
                cluster.power_cycle(broker);
            }
            for broker in &brokers {
                broker.start().await;
            }
        }
        assert_eq!(send_to_master(&cluster, &brokers).await.0, sent);
        seconds(5).await;
        for broker in &brokers {
            assert_eq!(count(&cluster, broker).await as i64, sent + 1);
        }
    });
}
