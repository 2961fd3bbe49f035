//! Delayed messages: when they are delivered, and what restarts, power losses and promotions leave of
//! them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{ClientConfig, ClientInstance, ConsumeResult, PushConsumer, PushConsumerConfig};
use mq_env::disk::Disk;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message::MessageExt;
use mq_protocol::message_codec::decode_messages;
use mq_store::config::{BrokerRole, FlushDiskType};
use mq_store::delay_level::{DelayLevels, SCHEDULE_TOPIC};
use staticfire_world::world::{MachineConfig, ProcessContext, World};

use super::cluster::{
    Broker, Cluster, NAMESRV, pull_header, seconds, send_header, send_request,
    test_without_writeback,
};

const DELAY_OFFSET_FILE: &str = "/store/config/delayOffset.json";

/// Sends message `number` with a delay level; whether it was acknowledged.
async fn send_delayed(cluster: &Cluster, broker: &Broker, level: i32, number: usize) -> bool {
    let header = SendMessageRequestHeader {
        properties: Some(format!("DELAY\u{1}{level}\u{2}TAGS\u{1}A\u{2}n\u{1}{number}\u{2}")),
        ..send_header("T")
    };
    let sending = send_request(&header, "body");
    let response = cluster.client.invoke_async(&broker.addr, sending, Duration::from_secs(3)).await;
    response.is_ok_and(|response| response.code == ResponseCode::SUCCESS)
}

/// Every message of a queue.
async fn read_queue(
    cluster: &Cluster,
    broker: &Broker,
    topic: &str,
    queue_id: i32,
) -> Vec<MessageExt> {
    let mut found = Vec::new();
    loop {
        let mut header = pull_header("reader", topic, found.len() as i64);
        header.queue_id = queue_id;
        let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
        let messages = decode_messages(&response.body);
        if messages.is_empty() {
            return found;
        }
        found.extend(messages);
    }
}

fn number(message: &MessageExt) -> usize {
    message.message.properties.get("n").unwrap().parse().unwrap()
}

/// The numbers of what was delivered, in the order of delivery.
async fn delivered(cluster: &Cluster, broker: &Broker) -> Vec<usize> {
    read_queue(cluster, broker, "T", 0).await.iter().map(number).collect()
}

async fn assert_all_delivered(cluster: &Cluster, broker: &Broker, numbers: &[usize], what: &str) {
    let found: BTreeSet<usize> = delivered(cluster, broker).await.into_iter().collect();
    let missing: Vec<_> = numbers.iter().filter(|number| !found.contains(number)).collect();
    assert!(missing.is_empty(), "{what}: acknowledged, never delivered: {missing:?}");
}

fn sync_flush(store: &mut mq_store::config::StoreConfig) {
    store.flush_disk_type = FlushDiskType::SyncFlush;
}

#[test]
fn every_level_delivers_when_it_is_due_and_in_order() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        // One above the highest level counts as the highest.
        for round in 0..3 {
            for level in 1..=19 {
                assert!(send_delayed(&cluster, &broker, level, round * 100 + level as usize).await);
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        assert!(delivered(&cluster, &broker).await.iter().all(|number| number % 100 == 1));
        seconds(7_205).await;
        let messages = read_queue(&cluster, &broker, "T", 0).await;
        assert_eq!(messages.len(), 57);
        let levels = DelayLevels::default();
        for level in 1..=18 {
            let waited = read_queue(&cluster, &broker, SCHEDULE_TOPIC, level - 1).await;
            let came = |message: &&MessageExt| (number(message) % 100).min(18) == level as usize;
            let came: Vec<_> = messages.iter().filter(came).collect();
            assert_eq!(came.len(), waited.len());
            for (came, waited) in came.iter().zip(&waited) {
                assert_eq!(number(came), number(waited), "the order of level {level}");
                let stored_ms = waited.store_timestamp as u64;
                let due_ms = levels.deliver_time_ms(level as usize, stored_ms);
                let late_ms = came.store_timestamp as u64 - due_ms;
                assert!(late_ms <= 1, "level {level}: {late_ms} ms late");
            }
        }
    });
}

#[test]
fn a_delivered_message_is_the_one_sent() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let header = SendMessageRequestHeader {
            queue_id: 3,
            flag: 7,
            properties: Some("KEYS\u{1}k\u{2}DELAY\u{1}25\u{2}TAGS\u{1}A\u{2}".to_owned()),
            ..send_header("T")
        };
        let mut broker = broker;
        broker.stop().await;
        broker.edit(|_, store| store.message_delay_level = DelayLevels::parse("1s 2s").unwrap());
        broker.start().await;
        cluster.ask(&broker.addr, send_request(&header, "body")).await;
        assert!(read_queue(&cluster, &broker, "T", 3).await.is_empty());
        seconds(3).await;
        let [message] = &read_queue(&cluster, &broker, "T", 3).await[..] else { panic!("one") };
        let [waited] = &read_queue(&cluster, &broker, SCHEDULE_TOPIC, 1).await[..] else {
            panic!("one")
        };
        let properties: Vec<_> = message.message.properties.iter().collect();
        // As Java stores them: what names the delay stays.
        let expected = [
            ("KEYS", "k"),
            ("DELAY", "2"),
            ("TAGS", "A"),
            ("CLUSTER", "DefaultCluster"),
            ("REAL_TOPIC", "T"),
            ("REAL_QID", "3"),
        ];
        assert_eq!(properties, expected);
        assert_eq!(message.message.properties, waited.message.properties);
        assert_eq!((message.message.flag, &message.message.body[..]), (7, &b"body"[..]));
        assert_eq!((message.queue_id, message.queue_offset), (3, 0));
        assert_eq!(message.born_timestamp, 1);
        assert_eq!((message.born_host, message.store_host), (waited.born_host, waited.store_host));
        // The tag, not the time, is what its queue is filtered by.
        let mut header = pull_header("G", "T", 0);
        (header.queue_id, header.subscription) = (3, Some("A".to_owned()));
        let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
        assert_eq!(decode_messages(&response.body).len(), 1);
    });
}

#[test]
fn a_stop_in_between_delivers_everything_once() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        for number in 0..60 {
            assert!(send_delayed(&cluster, &broker, 2, number).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        broker.stop().await;
        seconds(3).await;
        broker.start().await;
        seconds(10).await;
        assert_eq!(delivered(&cluster, &broker).await, (0..60).collect::<Vec<_>>());
        broker.stop().await;
        let offsets = broker.machine.disk().handle("reader");
        let offsets = offsets.read(Path::new(DELAY_OFFSET_FILE)).unwrap();
        assert_eq!(offsets, br#"{"offsetTable":{2:60}}"#);
        broker.start().await;
        seconds(10).await;
        assert_eq!(delivered(&cluster, &broker).await.len(), 60);
    });
}

#[test]
fn no_kill_and_no_power_loss_costs_an_acknowledged_message() {
    for seed in 0..8 {
        test_without_writeback(100 + seed, async |world| {
            let cluster = Cluster::new(world);
            let broker = cluster
                .master(|config, store| {
                    sync_flush(store);
                    config.flush_delay_offset_interval_ms = 1_500;
                })
                .await;
            let mut acked = Vec::new();
            for number in 0..120 {
                if send_delayed(&cluster, &broker, 1 + number as i32 % 2, number).await {
                    acked.push(number);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                if number % 30 == 10 + seed as usize * 2 {
                    if number % 60 < 30 {
                        cluster.power_cycle(&broker);
                    } else {
                        broker.process.kill();
                        cluster.client.close(&broker.addr);
                    }
                    broker.start().await;
                }
            }
            assert!(acked.len() > 100, "{}", acked.len());
            seconds(8).await;
            assert_all_delivered(&cluster, &broker, &acked, &format!("seed {seed}")).await;
            let count = delivered(&cluster, &broker).await.len();
            assert!(count < 240, "{count} deliveries");
        });
    }
}

/// The offset file must not be ahead of deliveries that only the page cache holds, although the
/// delayed messages themselves are durable.
#[test]
fn a_delivery_that_a_power_loss_takes_is_repeated() {
    test_without_writeback(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster
            .master(|config, store| {
                store.flush_interval_commit_log_ms = 600_000;
                store.flush_commit_log_thorough_interval_ms = 600_000;
                config.flush_delay_offset_interval_ms = 1_000;
            })
            .await;
        for number in 0..5 {
            assert!(send_delayed(&cluster, &broker, 4, number).await);
        }
        broker.stop().await;
        broker.start().await;
        seconds(45).await;
        assert_eq!(delivered(&cluster, &broker).await, [0, 1, 2, 3, 4]);
        cluster.power_cycle(&broker);
        broker.start().await;
        seconds(2).await;
        assert_eq!(delivered(&cluster, &broker).await, [0, 1, 2, 3, 4]);
    });
}

fn promote(slave: &mut Broker) {
    slave.edit(|config, store| {
        config.broker_id = 0;
        store.broker_role = BrokerRole::AsyncMaster;
    });
}

#[test]
fn a_slave_delivers_nothing_until_it_is_promoted() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let mut slave = cluster.slave().await;
        for number in 0..4 {
            assert!(send_delayed(&cluster, &master, 1, number).await);
        }
        seconds(40).await;
        for number in 4..8 {
            assert!(send_delayed(&cluster, &master, 3, number).await);
        }
        seconds(2).await;
        master.process.kill();
        seconds(30).await;
        assert_eq!(delivered(&cluster, &slave).await, [0, 1, 2, 3]);
        slave.stop().await;
        promote(&mut slave);
        slave.start().await;
        seconds(1).await;
        // What the master had delivered long ago is not delivered again.
        assert_eq!(delivered(&cluster, &slave).await, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(send_delayed(&cluster, &slave, 1, 8).await);
        seconds(2).await;
        assert_eq!(delivered(&cluster, &slave).await.last(), Some(&8));
    });
}

/// The slave knows the master's delay offsets, but not yet what the master delivered.
#[test]
fn a_promotion_repeats_what_the_slave_may_lack() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world.clone());
        let master = cluster.master(|_, _| {}).await;
        let mut slave = cluster.slave().await;
        for number in 0..4 {
            assert!(send_delayed(&cluster, &master, 3, number).await);
        }
        seconds(5).await;
        let stalled = world.add_rule(|segment: &staticfire_world::net::SegmentInfo<'_>| {
            if segment.from_addr.port() == 10_912 {
                staticfire_world::net::Verdict::Stall
            } else {
                staticfire_world::net::Verdict::Pass
            }
        });
        seconds(40).await;
        assert_eq!(delivered(&cluster, &master).await, [0, 1, 2, 3]);
        master.process.kill();
        slave.stop().await;
        world.remove_rule(stalled);
        assert!(delivered_by_disk(&slave).is_none());
        promote(&mut slave);
        slave.start().await;
        seconds(1).await;
        assert_eq!(delivered(&cluster, &slave).await, [0, 1, 2, 3]);
    });
}

fn delivered_by_disk(broker: &Broker) -> Option<Vec<u8>> {
    broker.machine.disk().handle("reader").read(Path::new(DELAY_OFFSET_FILE)).ok()
}

#[test]
fn an_offset_outside_of_its_queue_is_moved_into_it() {
    World::test(7, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        assert!(send_delayed(&cluster, &broker, 2, 0).await);
        broker.stop().await;
        let disk = broker.machine.disk().handle("operator");
        disk.write(Path::new(DELAY_OFFSET_FILE), b"{\"offsetTable\":{1:9,2:50,\"3\":-4}}").unwrap();
        broker.start().await;
        assert!(send_delayed(&cluster, &broker, 2, 1).await);
        assert!(send_delayed(&cluster, &broker, 1, 2).await);
        seconds(6).await;
        // The offset says that message 0 is delivered.
        assert_eq!(delivered(&cluster, &broker).await, [2, 1]);
    });
}

#[test]
fn the_wall_clock_decides() {
    World::test(8, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        assert!(send_delayed(&cluster, &broker, 18, 0).await);
        seconds(10).await;
        broker.machine.jump_clock(7_200_000);
        seconds(31).await;
        assert_eq!(delivered(&cluster, &broker).await, [0]);
        assert!(send_delayed(&cluster, &broker, 4, 1).await);
        broker.machine.jump_clock(-3_600_000);
        seconds(31).await;
        assert_eq!(delivered(&cluster, &broker).await, [0, 1]);
    });
}

#[test]
fn levels_that_are_no_longer_configured_are_served_to_their_end() {
    World::test(9, async |world| {
        let cluster = Cluster::new(world);
        let mut broker = cluster.master(|_, _| {}).await;
        assert!(send_delayed(&cluster, &broker, 5, 0).await);
        broker.stop().await;
        broker.edit(|_, store| store.message_delay_level = DelayLevels::parse("1s 2m").unwrap());
        broker.start().await;
        seconds(50).await;
        assert!(delivered(&cluster, &broker).await.is_empty());
        seconds(15).await;
        assert_eq!(delivered(&cluster, &broker).await, [0]);
    });
}

#[test]
fn a_consumer_that_fails_gets_the_message_again_after_each_level() {
    World::test(10, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "U", "first").await;
        let seen: Arc<Mutex<Vec<(i32, i64)>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let machine = world.add_machine("consumer", MachineConfig::default());
        let process = machine.add_process("consumer", move |context: ProcessContext| {
            let sink = Arc::clone(&sink);
            async move {
                let clock = Arc::clone(&context.env.clock);
                let config = ClientConfig {
                    namesrv_addrs: vec![NAMESRV.to_owned()],
                    ..ClientConfig::default()
                };
                let client = ClientInstance::start(context.env.clone(), config);
                let config = PushConsumerConfig::new("G", "U", "*");
                let consumer = PushConsumer::start(
                    &client,
                    config,
                    Arc::new(move |messages| {
                        if &messages[0].message.body[..] == b"first" {
                            return ConsumeResult::Success.into();
                        }
                        let times = messages[0].reconsume_times;
                        sink.lock().unwrap().push((times, clock.now_millis() as i64));
                        let is_enough = times == 3;
                        let done = ConsumeResult::Success;
                        if is_enough { done } else { ConsumeResult::ReconsumeLater }.into()
                    }),
                );
                let consumer = consumer.await.unwrap();
                context.shutdown.cancelled().await;
                consumer.shutdown().await;
                client.shutdown().await;
            }
        });
        process.start();
        seconds(60).await;
        // By now the consumer knows the retry topic that its first heartbeat created.
        cluster.send(&broker.addr, "U", "body").await;
        seconds(200).await;
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.iter().map(|(times, _)| *times).collect::<Vec<_>>(), [0, 1, 2, 3]);
        for (pair, delay_ms) in seen.windows(2).zip([10_000, 30_000, 60_000]) {
            let took_ms = pair[1].1 - pair[0].1;
            assert!((delay_ms..delay_ms + 50).contains(&took_ms), "{took_ms} for {delay_ms}");
        }
        process.stop(Duration::from_secs(10)).await;
    });
}
