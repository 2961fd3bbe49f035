//! Producers: choice of queues, retries, budget, results.

use std::collections::BTreeSet;
use std::time::Duration;

use mq_client::{ClientConfig, ClientError, ClientInstance, Producer, ProducerConfig, SendStatus};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::message::{Message, MessageConst, MessageQueue};
use mq_remoting::RemotingError;
use tokio::time::Instant;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A, MASTER_B, NAMESRV};

const SEND: i32 = RequestCode::SEND_MESSAGE_V2;

fn message(body: &str) -> Message {
    Message::new("T", body.to_owned())
}

/// A cluster whose topic `T` has `queues` queues on each of `brokers`, and a producer.
async fn start(brokers: &[&str], queues: i32) -> (FakeCluster, Producer) {
    let cluster = FakeCluster::start().await;
    cluster.route("T", brokers, queues);
    let producer = Producer::new(&cluster.client("p"), ProducerConfig::new("P"));
    (cluster, producer)
}

/// The broker and queue of each send logged, and the keys.
fn sends(cluster: &FakeCluster) -> (Vec<String>, BTreeSet<String>) {
    let log = cluster.take_log("310 ");
    let word = |line: &String, n| line.split(' ').nth(n).unwrap().to_owned();
    (log.iter().map(|l| word(l, 1)).collect(), log.iter().map(|l| word(l, 3)).collect())
}

#[tokio::test(start_paused = true)]
async fn queues_are_taken_in_turn_and_every_message_has_its_own_key() {
    let (cluster, producer) = start(&["b", "a"], 2).await;
    for n in 0..8 {
        let result = producer.send(message(&n.to_string())).await.unwrap();
        assert_eq!(result.send_status, SendStatus::SendOk);
        assert_eq!(result.queue_offset, n / 4);
        assert_eq!((result.msg_id.len(), result.offset_msg_id.len()), (32, 32));
    }
    let (queues, keys) = sends(&cluster);
    let first = ["a-0", "a-1", "b-0", "b-1"].iter().position(|q| *q == queues[0]).unwrap();
    let turn = ["a-0", "a-1", "b-0", "b-1"].into_iter().cycle().skip(first).take(8);
    assert_eq!(queues, turn.collect::<Vec<_>>());
    assert_eq!(keys.len(), 8);
    let published = producer.fetch_publish_message_queues("T").await.unwrap();
    let names: Vec<_> =
        published.iter().map(|q| format!("{}-{}", q.broker_name, q.queue_id)).collect();
    assert_eq!(names, ["a-0", "a-1", "b-0", "b-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_avoids_the_broker_that_failed_and_keeps_the_key() {
    let (cluster, producer) = start(&["a", "b"], 4).await;
    let unavailable = [Answer::Code(ResponseCode::SERVICE_NOT_AVAILABLE); 8];
    cluster.answer(MASTER_A, SEND, &unavailable);
    for n in 0..8 {
        let result = producer.send(message(&n.to_string())).await.unwrap();
        assert_eq!(result.message_queue.broker_name, "b");
        let (queues, keys) = sends(&cluster);
        assert_eq!(keys.len(), 1, "one key for all attempts: {keys:?}");
        assert!(queues.len() <= 2, "{queues:?}");
        assert_eq!(result.attempts as usize, queues.len());
    }
}

#[tokio::test(start_paused = true)]
async fn three_attempts_are_made() {
    let (cluster, producer) = start(&["a", "b"], 1).await;
    for addr in [MASTER_A, MASTER_B] {
        cluster.answer(addr, SEND, &[Answer::Code(ResponseCode::SYSTEM_ERROR); 3]);
    }
    let error = producer.send(message("x")).await.unwrap_err();
    assert_eq!((error.attempts, error.maybe_stored), (3, true));
    assert!(matches!(error.cause, ClientError::Broker { code: ResponseCode::SYSTEM_ERROR, .. }));
    let (queues, _) = sends(&cluster);
    assert!(queues == ["a-0", "b-0", "a-0"] || queues == ["b-0", "a-0", "b-0"], "{queues:?}");
}

#[tokio::test(start_paused = true)]
async fn a_busy_broker_is_not_tried_again() {
    let (cluster, producer) = start(&["a"], 1).await;
    cluster.answer(MASTER_A, SEND, &[Answer::Code(ResponseCode::SYSTEM_BUSY)]);
    let error = producer.send(message("x")).await.unwrap_err();
    assert_eq!((error.attempts, error.maybe_stored), (1, false));
}

#[tokio::test(start_paused = true)]
async fn silence_uses_up_the_budget_and_closes_the_connection() {
    let (cluster, producer) = start(&["a", "b"], 1).await;
    for addr in [MASTER_A, MASTER_B] {
        cluster.answer(addr, SEND, &[Answer::Silence]);
    }
    let begin = Instant::now();
    let error = producer.send(message("x")).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
    assert_eq!((error.attempts, error.maybe_stored), (1, true));
    assert_eq!(error.cause, ClientError::CallTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_costs_one_attempt_until_the_route_says_so() {
    let (cluster, producer) = start(&["a", "b"], 2).await;
    cluster.stop(MASTER_A).await;
    for n in 0..4 {
        let result = producer.send(message(&n.to_string())).await.unwrap();
        assert_eq!(result.message_queue.broker_name, "b");
    }
    cluster.route("T", &["a-slave", "b"], 2);
    tokio::time::sleep(Duration::from_secs(31)).await;
    let published = producer.fetch_publish_message_queues("T").await.unwrap();
    assert!(published.iter().all(|queue| queue.broker_name == "b"), "{published:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_without_the_guarantee_is_a_result() {
    let (cluster, producer) = start(&["a"], 1).await;
    let codes = [
        (ResponseCode::FLUSH_DISK_TIMEOUT, SendStatus::FlushDiskTimeout),
        (ResponseCode::FLUSH_SLAVE_TIMEOUT, SendStatus::FlushSlaveTimeout),
        (ResponseCode::SLAVE_NOT_AVAILABLE, SendStatus::SlaveNotAvailable),
    ];
    for (offset, (code, status)) in codes.into_iter().enumerate() {
        cluster.answer(MASTER_A, SEND, &[Answer::Code(code)]);
        let result = producer.send(message("x")).await.unwrap();
        assert_eq!((result.send_status, result.queue_offset), (status, offset as i64));
    }
    assert_eq!(sends(&cluster).0.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn another_broker_is_tried_for_the_guarantee_if_wanted() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a", "b"], 1);
    let config =
        ProducerConfig { retry_another_broker_when_not_store_ok: true, ..ProducerConfig::new("P") };
    let producer = Producer::new(&cluster.client("p"), config);
    cluster.answer(MASTER_A, SEND, &[Answer::Code(ResponseCode::SLAVE_NOT_AVAILABLE); 9]);
    for _ in 0..2 {
        let result = producer.send(message("x")).await.unwrap();
        assert_eq!(result.send_status, SendStatus::SendOk);
    }
    cluster.answer(MASTER_B, SEND, &[Answer::Code(ResponseCode::SLAVE_NOT_AVAILABLE); 9]);
    let result = producer.send(message("x")).await.unwrap();
    assert_eq!(result.send_status, SendStatus::SlaveNotAvailable);
}

#[tokio::test(start_paused = true)]
async fn an_explicit_queue_gets_one_attempt() {
    let (cluster, producer) = start(&["a", "b"], 2).await;
    let queue = MessageQueue { topic: "T".into(), broker_name: "b".into(), queue_id: 1 };
    let result = producer.send_to(message("x"), &queue).await.unwrap();
    assert_eq!(result.message_queue, queue);
    cluster.answer(MASTER_B, SEND, &[Answer::Code(ResponseCode::SERVICE_NOT_AVAILABLE)]);
    let error = producer.send_to(message("x"), &queue).await.unwrap_err();
    assert_eq!(error.attempts, 1);
    let other = MessageQueue { topic: "U".into(), ..queue };
    let error = producer.send_to(message("x"), &other).await.unwrap_err();
    assert!(matches!(error.cause, ClientError::IllegalMessage(_)), "{error}");
    assert_eq!(sends(&cluster).0, ["b-1", "b-1"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_gets_the_route_of_the_topic_it_is_created_after() {
    let (cluster, producer) = start(&["a"], 1).await;
    let error = producer.send(Message::new("U", "x")).await.unwrap_err();
    assert_eq!((error.cause, error.attempts), (ClientError::NoRoute("U".into()), 0));
    cluster.route("TBW102", &["b"], 8);
    cluster.take_log("");
    let published = producer.fetch_publish_message_queues("U").await.unwrap();
    assert_eq!(published.len(), 4);
    assert!(published.iter().all(|queue| queue.topic == "U" && queue.broker_name == "b"));
    assert_eq!(cluster.take_log("105"), ["105 U", "105 TBW102"]);
    producer.send(Message::new("U", "x")).await.unwrap();
    assert_eq!(cluster.take_log("105"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn illegal_messages_are_not_sent() {
    let (cluster, producer) = start(&["a"], 1).await;
    let too_long = Message::new("T", vec![0; (4 << 20) + 1]);
    let illegal =
        [Message::new("T", ""), Message::new("", "x"), Message::new("a b", "x"), too_long];
    for message in illegal {
        let error = producer.send(message).await.unwrap_err();
        assert!(matches!(error.cause, ClientError::IllegalMessage(_)), "{error}");
        assert_eq!((error.attempts, error.maybe_stored), (0, false));
    }
    assert_eq!(cluster.take_log("310"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_way_messages_arrive_and_a_given_key_is_kept() {
    let (cluster, producer) = start(&["a"], 1).await;
    let mut keyed = message("x");
    keyed.properties.insert(MessageConst::UNIQ_KEY, "MINE");
    producer.send_oneway(keyed).await.unwrap();
    let queue = MessageQueue { topic: "T".into(), broker_name: "a".into(), queue_id: 0 };
    producer.send_to(message("y"), &queue).await.unwrap();
    assert!(cluster.take_log("310").first().unwrap().ends_with(" MINE"));
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_is_down_is_passed_over() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for name in ["one", "two", "three", "four"] {
        let config = ClientConfig {
            namesrv_addrs: vec!["10.0.0.99:9876".into(), NAMESRV.into()],
            instance_name: name.into(),
            ..ClientConfig::default()
        };
        let client = ClientInstance::start(cluster.env.clone(), config);
        Producer::new(&client, ProducerConfig::new("P")).send(message("x")).await.unwrap();
        client.shutdown().await;
    }
    let client = ClientInstance::start(cluster.env.clone(), ClientConfig::default());
    let error = Producer::new(&client, ProducerConfig::new("P")).send(message("x")).await;
    assert_eq!(error.unwrap_err().cause, ClientError::NoNameServer);
}

#[tokio::test(start_paused = true)]
async fn after_shutdown_nothing_is_sent() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    let client = cluster.client("p");
    let producer = Producer::new(&client, ProducerConfig::new("P"));
    producer.send(message("x")).await.unwrap();
    client.shutdown().await;
    assert_eq!(
        cluster.take_log("35 "),
        [format!("35 {MASTER_A} CLIENT_INNER_PRODUCER"), format!("35 {MASTER_A} P"),]
    );
    let error = producer.send(message("x")).await.unwrap_err();
    let closed = matches!(&error.cause, ClientError::Remoting(RemotingError::Closed { .. }));
    assert!(closed, "{error}");
}

/// An idle client asks for routes and sends heartbeats every 30 s and does nothing else.
#[tokio::test(start_paused = true)]
async fn an_idle_producer_is_nearly_silent() {
    let (cluster, producer) = start(&["a+slave", "b"], 4).await;
    producer.send(message("x")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    cluster.take_log("");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let log = cluster.take_log("");
    let count = |prefix: &str| log.iter().filter(|line| line.starts_with(prefix)).count();
    assert_eq!((count("105 T"), count("34 ")), (120, 240), "no heartbeat goes to the slave");
    assert_eq!(log.len(), 360);
}
