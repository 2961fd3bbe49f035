//! Groups of three brokers whose log they agree on, in trouble: whatever happens, what was acknowledged is there, once the
//! group has come together again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::send_message::SendMessageResponseHeader;
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient};
use mq_store::config::FlushDiskType;
use rand::Rng as _;
use staticfire_world::world::{Partition, World, WorldConfig, WorldHandle};

use super::cluster::{Broker, Cluster, new_client, pull_header, send_header};
use super::dledger::{TOPIC, group};

/// Senders, and what they were told.
#[derive(Clone, Default)]
struct Senders {
    sent: Rc<Cell<u32>>,
    /// Numbers of messages by the queue offsets that were acknowledged for them.
    acked: Rc<RefCell<BTreeMap<i64, u32>>>,
    is_silent: Rc<Cell<bool>>,
}

impl Senders {
    fn start(&self, world: &WorldHandle, addrs: &[String], count: u64) {
        for sender in 0..count {
            let client = new_client(world, &format!("sender-{sender}"), ProcessorTable::default());
            let (senders, addrs) = (self.clone(), addrs.to_vec());
            world.spawn(async move {
                for turn in sender as usize.. {
                    if senders.is_silent.get() {
                        return;
                    }
                    if !senders.send(&client, &addrs[turn % addrs.len()]).await {
                        tokio::time::sleep(Duration::from_millis(20 + sender)).await;
                    }
                }
            });
        }
    }

    /// Sends to that broker for as long as it takes messages; whether it took one.
    async fn send(&self, client: &RemotingClient, addr: &str) -> bool {
        let mut takes = false;
        while !self.is_silent.get() {
            let number = self.sent.replace(self.sent.get() + 1);
            let request =
                RemotingCommand::request(RequestCode::SEND_MESSAGE_V2, &send_header(TOPIC));
            let request = request.with_body(number.to_string().into_bytes());
            let answer = client.invoke(addr, request, Duration::from_secs(4)).await;
            let Ok(answer) = answer.map_err(|_| ()) else { break };
            if answer.code != ResponseCode::SUCCESS {
                break;
            }
            takes = true;
            let header = answer.header::<SendMessageResponseHeader>().unwrap();
            let twice = self.acked.borrow_mut().insert(header.queue_offset, number);
            assert_eq!(twice, None, "queue offset {} was given twice", header.queue_offset);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        takes
    }
}

/// The numbers of the messages that a broker has, in the order of their queue offsets.
async fn numbers(cluster: &Cluster, broker: &Broker) -> Vec<u32> {
    let mut numbers = Vec::new();
    loop {
        let header = pull_header("reader", TOPIC, numbers.len() as i64);
        let answer = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
        let messages = decode_messages(&answer.body);
        if messages.is_empty() {
            return numbers;
        }
        for message in &messages {
            assert_eq!(message.queue_offset, numbers.len() as i64, "queue offsets are dense");
            numbers.push(std::str::from_utf8(&message.message.body).unwrap().parse().unwrap());
        }
    }
}

async fn trouble(world: &WorldHandle, brokers: &[Broker; 3]) {
    let mut rng = world.rng().stream("trouble");
    for _ in 0..6 {
        let broker = &brokers[rng.random_range(0..brokers.len())];
        let machines = brokers.each_ref().map(|it| it.machine.id());
        match rng.random_range(0..6) {
            0 => {
                broker.process.kill();
            }
            1 => {
                broker.machine.power_loss();
            }
            2 => {
                for broker in brokers {
                    broker.machine.power_loss();
                }
            }
            3 => {
                world.isolate(broker.machine.id());
            }
            4 => {
                world.partition(&Partition::one_way(&[broker.machine.id()], &machines));
            }
            _ => {
                broker.machine.pause();
            }
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..12_000))).await;
        if rng.random_range(0..2) == 0 {
            mend(world, brokers);
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..6_000))).await;
        }
    }
    mend(world, brokers);
}

fn mend(world: &WorldHandle, brokers: &[Broker; 3]) {
    world.heal_all();
    for broker in brokers {
        broker.machine.resume();
        if !broker.machine.is_on() {
            broker.machine.power_on();
        }
        if !broker.process.is_running() {
            broker.process.start();
        }
    }
}

/// Waits until all brokers have the same messages, and somebody takes new ones.
async fn converged(cluster: &Cluster, brokers: &[Broker; 3], senders: &Senders) -> Vec<u32> {
    let before = senders.acked.borrow().len();
    for _ in 0..120 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if senders.acked.borrow().len() > before + 20 {
            break;
        }
    }
    assert!(senders.acked.borrow().len() > before + 20, "nobody takes messages any more");
    senders.is_silent.set(true);
    // What waits is answered, and what is committed is told.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut logs = Vec::new();
    for broker in brokers {
        logs.push(numbers(cluster, broker).await);
    }
    assert!(logs.iter().all(|log| *log == logs[0]), "the brokers have different messages");
    logs.swap_remove(0)
}

fn troubled(seed: u64, flush: FlushDiskType) -> u64 {
    let run = World::run(WorldConfig::default(), seed, async |world| {
        let cluster = Cluster::new(world.clone());
        let brokers = group(&cluster, |_, store| {
            store.flush_disk_type = flush;
            store.mapped_file_size_commit_log = 64 << 10;
        })
        .await;
        let senders = Senders::default();
        let addrs = brokers.each_ref().map(|broker| broker.addr.clone());
        senders.start(&world, &addrs, 3);
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert!(senders.acked.borrow().len() > 100, "nobody takes messages");
        trouble(&world, &brokers).await;
        let log = converged(&cluster, &brokers, &senders).await;
        for (offset, number) in senders.acked.borrow().iter() {
            assert_eq!(log.get(*offset as usize), Some(number), "queue offset {offset}");
        }
    });
    assert!(run.failures.is_empty(), "seed {seed}: {:?}\n{}", run.failures, run.trace);
    assert_eq!(run.value, Ok(()), "seed {seed}");
    run.trace.digest()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests read variables")]
fn whatever_happens_to_brokers_what_a_group_acknowledged_is_there() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let from = number("DLEDGER_FROM").unwrap_or(0);
    for seed in from..from + number("DLEDGER_SEEDS").unwrap_or(2) {
        println!("seed {seed}");
        troubled(seed, FlushDiskType::SyncFlush);
    }
}

#[test]
fn the_same_seed_is_the_same_story_of_a_group() {
    let sync = FlushDiskType::SyncFlush;
    assert_eq!(troubled(3, sync), troubled(3, sync));
}
