//! The reverse of reading Java's stores: Apache RocketMQ opens a directory that we wrote, serves every
//! message of it, delivers the delayed ones, goes on with transactions and adds to it, and then we
//! serve the lot.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    ClientInstance, ConsumeResult, Producer, PullClient, PushConsumer, PushConsumerConfig,
    SendStatus,
};
use mq_protocol::message::{Message, MessageConst, MessageExt};
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::ledger::{Ack, Ledger};
use mq_tests::read_back::{ReadBack, client_of_started, read_all};
use mq_tests::senders::{SenderPlan, Senders, lock, producer_config};
use mq_tests::skip::skipped;

use crate::later;
use mq_tests::rig::mqbroker;
use mq_tests::rocketmq::RocketMq;

/// Messages of every shape go here.
const SHAPES: &str = "Shapes";

/// Messages with every shape of tag, key, property and body.
const SHAPES_SENT: usize = 120;

/// Reads all of [`SHAPES`] and commits.
const GROUP: &str = "shapes-group";

/// Traffic goes to these.
const TOPICS: [&str; 2] = ["Traffic0", "Traffic1"];

/// Traffic before a stop.
const TRAFFIC: Duration = Duration::from_millis(300);

/// How our broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

/// A directory that two brokers open in turn.
struct Story {
    settings: BrokerSettings,
    ledger: Arc<Mutex<Ledger>>,
    senders: u32,
}

impl Story {
    /// Traffic on both topics, at the end of which `broker` ends.
    async fn traffic(&mut self, client: &ClientInstance, end: impl FnOnce()) {
        let plan = |sender| SenderPlan { sender, topic: TOPICS[sender as usize % 2].to_owned() };
        let plans = (self.senders..self.senders + 4).map(plan).collect();
        self.senders += 4;
        let senders =
            Senders::start(client, &self.ledger, plans, &(Arc::new(|_: &Ack| {}) as Arc<_>));
        tokio::time::sleep(TRAFFIC).await;
        senders.pull_plug();
        end();
        senders.ended().await;
    }

    async fn assert_all_there(&self, client: &ClientInstance) {
        let read_back = ReadBack::of(client, &TOPICS.map(str::to_owned).into()).await;
        let found = read_back.compare(&lock(&self.ledger).clone());
        assert!(found.lost.is_empty(), "{} lost, first {:?}", found.lost.len(), found.lost[0]);
        assert!(found.strange.is_empty(), "{:?}", found.strange);
    }
}

/// Sends messages of many shapes.
async fn send_shapes(client: &ClientInstance) {
    let producer = Producer::new(client, producer_config());
    for number in 0..SHAPES_SENT {
        let body = vec![number as u8; [1, 17, 300, 4_095, 4_097, 20_000][number % 6]];
        let mut message = Message::new(SHAPES, body);
        message.flag = number as i32;
        let properties = &mut message.properties;
        if number % 2 == 0 {
            properties.insert(MessageConst::TAGS, ["TagA", "标签", "b c"][number / 2 % 3]);
        }
        if number % 3 == 0 {
            properties.insert(MessageConst::KEYS, &format!("key{number} other{number}"));
        }
        if number % 5 == 0 {
            properties.insert("user", "some value = ключ");
        }
        let sent = producer.send(message).await.unwrap();
        assert_eq!(sent.send_status, SendStatus::SendOk);
    }
}

/// Has the group consume all shapes and commit.
async fn consume_shapes(client: &ClientInstance) {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let config = PushConsumerConfig::new(GROUP, SHAPES, "*");
    let listener = move |messages: &[Arc<MessageExt>]| {
        counted.fetch_add(messages.len(), std::sync::atomic::Ordering::SeqCst);
        ConsumeResult::Success.into()
    };
    let consumer = PushConsumer::start(client, config, Arc::new(listener)).await.unwrap();
    let all = async {
        while count.load(std::sync::atomic::Ordering::SeqCst) < SHAPES_SENT {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    consumer.shutdown().await;
}

/// All shapes, and the group's offset in each queue.
async fn shapes(client: &ClientInstance) -> (Vec<MessageExt>, Vec<Option<i64>>) {
    let messages = read_all(client, &BTreeSet::from([SHAPES.to_owned()])).await;
    let pulls = PullClient::new(client, GROUP);
    let mut offsets = Vec::new();
    for queue in pulls.fetch_subscribe_message_queues(SHAPES).await.unwrap() {
        offsets.push(pulls.query_offset(GROUP, &queue).await.unwrap());
    }
    (messages, offsets)
}

/// What has a broker be a DLedger group of its own.
fn alone_in_a_group(settings: &mut BrokerSettings) {
    let peer = format!("dLegerPeers=n0-127.0.0.1:{}", free_port());
    let keys = ["enableDLegerCommitLog=true", "dLegerGroup=broker-a", "dLegerSelfId=n0", &peer];
    settings.more.extend(keys.map(str::to_owned));
}

async fn java_serves_what_we_wrote(flush_disk_type: FlushDiskType, end: End) {
    java_serves(flush_disk_type, end, |_| {}).await;
}

async fn java_serves(
    flush_disk_type: FlushDiskType,
    end: End,
    edit: impl FnOnce(&mut BrokerSettings),
) {
    let rocketmq = match RocketMq::get() {
        Ok(rocketmq) => rocketmq,
        Err(reason) => return skipped("Apache RocketMQ", reason),
    };
    let dir = tempfile::tempdir().unwrap();
    let (_namesrv, namesrv_addr) = rocketmq.name_server(dir.path());
    let mut settings = BrokerSettings::small(dir.path(), &namesrv_addr, flush_disk_type);
    edit(&mut settings);
    let mut story = Story { settings, ledger: Arc::default(), senders: 0 };

    // Ours, registered at Java's name server.
    let mut ours = BrokerProcess::start(mqbroker(), &story.settings);
    let client = client_of_started(&mut ours, &namesrv_addr).await;
    send_shapes(&client).await;
    consume_shapes(&client).await;
    let written = shapes(&client).await;
    assert_eq!(written.0.len(), SHAPES_SENT);
    let addr = format!("127.0.0.1:{}", story.settings.listen_port);
    let halves = later::send(&client, &addr).await;
    let mut ours = Some(ours);
    match end {
        End::Kill => story.traffic(&client, || ours.take().unwrap().kill()).await,
        End::Stop => story.traffic(&client, || {}).await,
    }
    client.shutdown().await;
    ours.into_iter().for_each(BrokerProcess::stop);

    // Java's.
    let mut java = rocketmq.broker(&story.settings);
    let client = client_of_started(&mut java, &namesrv_addr).await;
    let acked = lock(&story.ledger).acks().len();
    story.assert_all_there(&client).await;
    let served = shapes(&client).await;
    assert_eq!(served.0, written.0);
    if end == End::Stop {
        assert_eq!(served.1, written.1, "the group's offsets");
    }
    // A kill may come before it is written down that a delayed message was delivered.
    let later = later::take_over(&client, &halves, end == End::Stop).await;
    story.traffic(&client, || {}).await;
    client.shutdown().await;
    let ended = java.terminate();
    assert!(lock(&story.ledger).acks().len() > acked, "Java took nothing; it ended with {ended}");

    // And ours again.
    let mut ours = BrokerProcess::start(mqbroker(), &story.settings);
    let client = client_of_started(&mut ours, &namesrv_addr).await;
    story.assert_all_there(&client).await;
    assert_eq!(shapes(&client).await.0, written.0);
    assert_eq!(later::all(&client).await, later);
    client.shutdown().await;
    ours.stop();
    let both = lock(&story.ledger).acks().len() - acked;
    println!("{end:?}: Java served {SHAPES_SENT} + {acked} messages of ours, we {both} of Java's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_serves_a_store_that_we_closed() {
    java_serves_what_we_wrote(FlushDiskType::AsyncFlush, End::Stop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_serves_a_store_of_a_killed_broker_of_ours() {
    java_serves_what_we_wrote(FlushDiskType::SyncFlush, End::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_serves_a_dledger_store_that_we_closed() {
    java_serves(FlushDiskType::AsyncFlush, End::Stop, alone_in_a_group).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_serves_a_dledger_store_of_a_killed_broker_of_ours() {
    java_serves(FlushDiskType::SyncFlush, End::Kill, alone_in_a_group).await;
}
