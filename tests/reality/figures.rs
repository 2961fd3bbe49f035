//! Our consumers beside Java's at our broker, measured in one run. Figures are printed and none is asserted: what
//! else the machine does is nobody's business.

use std::time::Duration;

use mq_client::{Producer, SendStatus};
use mq_protocol::message::{Message, MessageQueue};
use mq_tests::senders::producer_config;
use mq_tests::skip::skipped;

use mq_tests::peers::{Cluster, Language, Peer, Said};
use mq_tests::rocketmq::RocketMq;

/// Messages of the warm log.
const MESSAGES: usize = 200_000;
const BODY_BYTES: usize = 128;
const BATCH: usize = 500;
const QUEUES: i32 = 8;

/// Messages whose latency is measured.
const MEASURED: usize = 5_000;

const MEMBERS: usize = 16;
const MEMBERS_QUEUES: i32 = 64;

/// Each figure is taken so often, by turns.
const ROUNDS: usize = 3;

/// Fills `topic` with the messages that are consumed.
async fn fill(cluster: &Cluster, topic: &str) {
    cluster.create_topic(topic, QUEUES).await;
    let producer = Producer::new(&cluster.client, producer_config());
    let queues = producer.fetch_publish_message_queues(topic).await.unwrap();
    for batch in 0..MESSAGES / BATCH {
        let queue: &MessageQueue = &queues[batch % queues.len()];
        let message = || Message::new(topic, vec![b'x'; BODY_BYTES]);
        let messages = (0..BATCH).map(|_| message()).collect();
        let sent = producer.send_batch_to(messages, queue).await.unwrap();
        assert_eq!(sent.send_status, SendStatus::SendOk);
    }
}

/// Runs a client to its end; what it says under `words`.
async fn measured(mut peer: Peer, words: &[&str]) -> Vec<Said> {
    let mut said = Vec::new();
    for word in words {
        said.extend(peer.until_said(word, 1).await);
    }
    said
}

fn number(said: &Said, field: usize) -> f64 {
    said.fields[field].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_consumers_beside_javas() {
    let rocketmq = match RocketMq::get_nightly() {
        Ok(rocketmq) => rocketmq,
        Err(reason) => return skipped("Apache RocketMQ", reason),
    };
    let cluster = Cluster::start(&rocketmq, Language::Rust, &[]).await;
    fill(&cluster, "Warm").await;
    cluster.create_topic("Members", MEMBERS_QUEUES).await;
    for round in 0..ROUNDS {
        for language in Language::BOTH {
            for orderly in [false, true] {
                throughput(&cluster, language, orderly, round).await;
            }
            latency(&cluster, language, round).await;
            rebalance(&cluster, language, round).await;
        }
    }
    cluster.stop().await;
}

async fn throughput(cluster: &Cluster, language: Language, orderly: bool, round: usize) {
    let name = format!("{language:?}-drains-{orderly}-{round}");
    let group = format!("group={name}");
    let (count, order) = (format!("count={MESSAGES}"), format!("orderly={orderly}"));
    let args = [group.as_str(), "topic=Warm", &count, &order];
    let said = measured(cluster.warm_peer(language, "drain", &name, &args), &["drained"]).await;
    let seconds = number(&said[0], 0) / 1e6;
    let order = if orderly { "in order" } else { "concurrently" };
    println!("{language:?} consumes {order}: {:.0} messages a second", MESSAGES as f64 / seconds);
}

async fn latency(cluster: &Cluster, language: Language, round: usize) {
    let name = format!("{language:?}-latency-{round}");
    let (group, count) = (format!("group={name}"), format!("count={MEASURED}"));
    // What earlier rounds left is older than the topic of this one.
    let topic = format!("Latency{language:?}{round}");
    cluster.create_topic(&topic, QUEUES).await;
    let topic = format!("topic={topic}");
    let args = [group.as_str(), &topic, &count];
    let said = measured(cluster.warm_peer(language, "latency", &name, &args), &["latency"]).await;
    let (p50, p99) = (number(&said[0], 0) / 1e3, number(&said[0], 1) / 1e3);
    println!("{language:?} from send to listener: p50 {p50:.2} ms, p99 {p99:.2} ms");
}

async fn rebalance(cluster: &Cluster, language: Language, round: usize) {
    let name = format!("{language:?}-members-{round}");
    let (group, members) = (format!("group={name}"), format!("members={MEMBERS}"));
    let queues = format!("queues={MEMBERS_QUEUES}");
    let args = [group.as_str(), "topic=Members", &members, &queues];
    let peer = cluster.warm_peer(language, "members", &name, &args);
    let said = measured(peer, &["joined", "parted"]).await;
    let took = |field: &Said| Duration::from_micros(number(field, 0) as u64).as_millis();
    println!(
        "{language:?} divides {MEMBERS_QUEUES} queues anew when the last of {MEMBERS} members starts: {} ms, and \
         when one has left: {} ms",
        took(&said[0]),
        took(&said[1])
    );
}
