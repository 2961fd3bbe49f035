//! Which queue a message goes to: selectors, what an asynchronous send tries again, brokers left alone.

use std::time::Duration;

use mq_client::{
    ClientError, MessageQueueSelector, Producer, ProducerConfig, SelectMessageQueueByHash,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::message::{Message, MessageQueue, java_hash_code};
use mq_remoting::RemotingError;
use tokio::time::Instant;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A, MASTER_B};

const SEND: i32 = RequestCode::SEND_MESSAGE_V2;

fn message() -> Message {
    Message::new("T", "x")
}

async fn start(queues: i32, config: ProducerConfig) -> (FakeCluster, Producer) {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a", "b"], queues);
    let producer = Producer::new(&cluster.client("p"), config);
    (cluster, producer)
}

/// Counts from the end.
struct Last;

impl MessageQueueSelector<usize> for Last {
    fn select<'a>(
        &self,
        queues: &'a [MessageQueue],
        _: &Message,
        back: &usize,
    ) -> Option<&'a MessageQueue> {
        queues.iter().rev().nth(*back)
    }
}

fn config() -> ProducerConfig {
    ProducerConfig::new("P")
}

#[tokio::test(start_paused = true)]
async fn a_selector_decides_and_nothing_is_tried_elsewhere() {
    let (cluster, producer) = start(3, config()).await;
    let by_hash = SelectMessageQueueByHash;
    for order in ["1001", "1002", "TagA"] {
        let result = producer.send_with_selector(message(), &by_hash, order).await.unwrap();
        let index = java_hash_code(order) % 6;
        let queue = &result.message_queue;
        assert_eq!(
            (&*queue.broker_name, queue.queue_id),
            (["a", "b"][index as usize / 3], index % 3)
        );
    }
    cluster.answer(MASTER_B, SEND, &[Answer::Code(ResponseCode::SYSTEM_ERROR)]);
    let error = producer.send_with_selector(message(), &Last, &0).await.unwrap_err();
    assert_eq!((error.attempts, error.maybe_stored), (1, true));
    let error = producer.send_with_selector(message(), &Last, &6).await.unwrap_err();
    assert!(error.attempts == 0 && matches!(error.cause, ClientError::IllegalMessage(_)));
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_send_is_tried_again_only_where_the_network_failed() {
    let (cluster, producer) = start(1, config()).await;
    cluster.stop(MASTER_A).await;
    for _ in 0..4 {
        let result = producer.send_async(message()).await.unwrap();
        assert_eq!(result.message_queue.broker_name, "b");
    }
    for code in [ResponseCode::SYSTEM_ERROR, ResponseCode::TOPIC_NOT_EXIST] {
        cluster.take_log("");
        cluster.answer(MASTER_B, SEND, &[Answer::Code(code); 2]);
        let error = producer.send_async(message()).await.unwrap_err();
        assert!(matches!(error.cause, ClientError::Broker { .. }), "{error}");
        assert_eq!(cluster.take_log("310").len(), 1);
        producer.send_async(message()).await.unwrap_err();
    }
    cluster.stop(MASTER_B).await;
    let error = producer.send_async(message()).await.unwrap_err();
    assert_eq!((error.attempts, error.maybe_stored), (3, false));
    assert!(matches!(&error.cause, ClientError::Remoting(RemotingError::Connect { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_send_has_one_budget_and_leaves_the_connection_open() {
    let (cluster, producer) = start(1, config()).await;
    for addr in [MASTER_A, MASTER_B] {
        cluster.answer(addr, SEND, &[Answer::Silence]);
    }
    let begin = Instant::now();
    let (one, other) = tokio::join!(producer.send_async(message()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        producer.send_async(message()).await
    });
    // Whichever was sent later is still waiting when the first is given up.
    assert_eq!(begin.elapsed(), Duration::from_secs(4));
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert_eq!((error.attempts, error.maybe_stored), (1, true));
        assert_eq!(error.cause, ClientError::CallTimeout);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_failed_is_left_alone_for_ten_minutes() {
    let (cluster, producer) =
        start(2, ProducerConfig { send_latency_fault_enable: true, ..config() }).await;
    cluster.answer(MASTER_A, SEND, &[Answer::Code(ResponseCode::SYSTEM_ERROR)]);
    let mut brokers = Vec::new();
    let mut send = async |count: usize| {
        brokers.clear();
        for _ in 0..count {
            let result = producer.send(message()).await.unwrap();
            brokers.push(result.message_queue.broker_name);
        }
        brokers.iter().filter(|name| *name == "a").count()
    };
    // The failure may come with any of the first ones.
    send(4).await;
    assert_eq!(send(8).await, 0, "a is left alone");
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(send(8).await, 0, "a is still left alone");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(send(8).await, 4, "a has its turns again");
}

#[tokio::test(start_paused = true)]
async fn when_all_brokers_are_left_alone_one_is_taken_all_the_same() {
    let (cluster, producer) =
        start(2, ProducerConfig { send_latency_fault_enable: true, ..config() }).await;
    for addr in [MASTER_A, MASTER_B] {
        cluster.answer(addr, SEND, &[Answer::Code(ResponseCode::SYSTEM_ERROR)]);
    }
    // The first two attempts fail, at one broker each; the third is made at one that was left alone.
    let result = producer.send(message()).await.unwrap();
    cluster.take_log("");
    for _ in 0..4 {
        producer.send(message()).await.unwrap();
    }
    let broker = &result.message_queue.broker_name;
    let log = cluster.take_log("310");
    assert!(log.iter().all(|line| line.starts_with(&format!("310 {broker}-"))), "{log:?}");
}
