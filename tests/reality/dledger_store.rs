//! A DLedger store of Java's that was damaged and recovered by `store recover`: Apache RocketMQ 4.9.7 opens the copy, serves what the
//! recovery said that it holds and adds to it, and then a broker of ours serves the lot.
#![expect(clippy::disallowed_methods, reason = "damages files behind the back of every store")]

use std::collections::BTreeSet;
use std::path::Path;

use mq_client::{ClientInstance, Producer, PullClient, SendStatus};
use mq_env::Env;
use mq_env::probe::Probe;
use mq_protocol::message::Message;
use mq_store::config::{FlushDiskType, StoreConfig};
use mq_store::doctor::{Recovered, StoreDir};
use mq_tests::archive::{gunzip, untar};
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::read_back::client_of_started;
use mq_tests::senders::producer_config;
use mq_tests::skip::skipped;

use mq_tests::rig::mqbroker;
use mq_tests::rocketmq::RocketMq;

/// A node of Java's, with 286 entries in files of 64 KiB.
const STORE: &[u8] = include_bytes!("../fixtures/golden/dledger-n0-store.tar.gz");

/// Messages that each broker adds.
const ADDED: usize = 20;

/// Unpacks the store, without what the log gives again, and damages it: a page in the middle, and the end.
fn damaged(dir: &Path) -> std::path::PathBuf {
    for (name, mut content) in untar(&gunzip(STORE)) {
        let path = dir.join(&name);
        if name.contains("consumequeue") || name.contains("store/index") {
            continue;
        }
        if name.contains("dledger-n0/data") {
            content.resize(64 << 10, 0);
        }
        if name.ends_with("data/00000000000000065536") {
            content[8 << 12..9 << 12].fill(0);
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }
    dir.join("store")
}

async fn recover(store: &Path, copy: &Path) -> Recovered {
    let env = Env { probe: Probe::silent(), ..Env::os() };
    let mut config = StoreConfig::at(store);
    config.mapped_file_size_commit_log = 64 << 10;
    config.mapped_file_size_consume_queue = 2_000;
    (config.max_hash_slot_num, config.max_index_num) = (100, 400);
    let dir = StoreDir::open(env.disk.clone(), store, Some(&config)).unwrap();
    dir.recover(env, copy, true, &mut |_| {}).await.unwrap()
}

/// How many messages there are: where entries are lost, queues have holes.
async fn count(client: &ClientInstance, topics: &BTreeSet<String>) -> usize {
    let pulls = PullClient::new(client, "counter");
    let mut count = 0;
    for topic in topics {
        for queue in pulls.fetch_subscribe_message_queues(topic).await.unwrap() {
            let (mut at, end) = (0, pulls.max_offset(&queue).await.unwrap());
            while at < end {
                let pulled = pulls.pull(&queue, at, 32).await.unwrap();
                count += pulled.messages.len();
                assert!(pulled.next_begin_offset > at, "{queue:?} leads nowhere at {at}");
                at = pulled.next_begin_offset;
            }
        }
    }
    count
}

/// How many messages there are, once so many more were sent.
async fn serves(client: &ClientInstance, topics: &BTreeSet<String>, expected: usize) -> usize {
    assert_eq!(count(client, topics).await, expected);
    let producer = Producer::new(client, producer_config());
    let topic = topics.first().unwrap();
    for number in 0..ADDED {
        let sent = producer.send(Message::new(topic, format!("added {number}").into_bytes())).await;
        assert_eq!(sent.unwrap().send_status, SendStatus::SendOk);
    }
    let all = count(client, topics).await;
    assert_eq!(all, expected + ADDED);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_serves_a_recovered_copy_of_its_store() {
    let rocketmq = match RocketMq::get() {
        Ok(rocketmq) => rocketmq,
        Err(reason) => return skipped("a recovered DLedger store", reason),
    };
    let dir = tempfile::tempdir().unwrap();
    let store = damaged(dir.path());
    let copy = dir.path().join("copy");
    let recovered = recover(&store, &copy).await;
    assert!(!recovered.report.dropped.is_empty(), "a page of entries is lost");
    let users = recovered.queues.iter().filter(|queue| queue.topic.starts_with("Dl"));
    let topics: BTreeSet<String> = users.clone().map(|queue| queue.topic.clone()).collect();
    let readable = users.map(|queue| queue.readable as usize).sum::<usize>();
    assert!(readable > 100, "{readable} messages are too few to show anything");

    let (_namesrv, namesrv_addr) = rocketmq.name_server(dir.path());
    let mut settings = BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
    settings.store_dir = copy;
    let peer = format!("dLegerPeers=n0-127.0.0.1:{}", free_port());
    let keys = ["enableDLegerCommitLog=true", "dLegerGroup=broker-a", "dLegerSelfId=n0", &peer];
    settings.more.extend(keys.map(str::to_owned));
    // Of three members one cannot have voted for another one that is none of them.
    std::fs::write(settings.store_dir.join("dledger-n0/currterm"), "voteLeader=n0\ncurrTerm=1\n")
        .unwrap();

    let mut java = rocketmq.broker(&settings);
    let client = client_of_started(&mut java, &namesrv_addr).await;
    let served = serves(&client, &topics, readable).await;
    client.shutdown().await;
    let _ = java.terminate();

    let mut ours = BrokerProcess::start(mqbroker(), &settings);
    let client = client_of_started(&mut ours, &namesrv_addr).await;
    let served = serves(&client, &topics, served).await;
    client.shutdown().await;
    ours.stop();
    println!("{served} messages, {} lost", recovered.report.dropped.len());
}
