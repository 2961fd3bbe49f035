//! Heartbeats: a broker that does not answer keeps no other one waiting.

use std::time::Duration;

use mq_client::{Producer, ProducerConfig};
use mq_protocol::codes::RequestCode;
use mq_protocol::message::Message;
use tokio::time::Instant;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A, MASTER_B};

/// Brokers refuse to be read by who has taken or given up a queue, until they hear of it.
#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_delays_no_other_ones_heartbeat() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a", "b"], 1);
    let client = cluster.client("p");
    let first = Producer::new(&client, ProducerConfig::new("P"));
    first.send(Message::new("T", "x")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    cluster.take_log("");
    cluster.answer(MASTER_A, RequestCode::HEART_BEAT, &[Answer::Silence]);
    let begin = Instant::now();
    let second = Producer::new(&client, ProducerConfig::new("P2"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = Producer::new(&client, ProducerConfig::new("P3"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let line =
        |addr, groups| format!("34 {addr} {} CLIENT_INNER_PRODUCER P {groups}", client.client_id());
    let ignored = format!("34 {MASTER_A} ignored");
    let told_b = [line(MASTER_B, "P2"), line(MASTER_B, "P2 P3")];
    assert_eq!(cluster.take_log("34 "), [&ignored, &told_b[0], &told_b[1]].map(String::clone));
    // The silent one hears the latest once it is given up.
    tokio::time::sleep_until(begin + Duration::from_secs(4)).await;
    assert_eq!(cluster.take_log("34 "), [line(MASTER_A, "P2 P3")]);
    drop((second, third));
}
