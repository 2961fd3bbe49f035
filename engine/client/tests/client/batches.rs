//! Several messages in one request.

use mq_client::{ClientError, Producer, ProducerConfig, SendStatus, split_messages};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::message::{Message, MessageConst, MessageQueue};

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A, MASTER_B};

const SEND_BATCH: i32 = RequestCode::SEND_BATCH_MESSAGE;

fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|n| Message::new("T", n.to_string())).collect()
}

async fn start(config: ProducerConfig) -> (FakeCluster, Producer) {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a", "b"], 1);
    let producer = Producer::new(&cluster.client("p"), config);
    (cluster, producer)
}

#[tokio::test(start_paused = true)]
async fn every_message_of_a_batch_has_its_own_key_and_place() {
    let (cluster, producer) = start(ProducerConfig::new("P")).await;
    let mut batch = messages(3);
    batch[1].properties.insert(MessageConst::UNIQ_KEY, "MINE");
    let queue = MessageQueue { topic: "T".into(), broker_name: "b".into(), queue_id: 0 };
    producer.send_to(Message::new("T", "before"), &queue).await.unwrap();
    cluster.take_log("");
    let result = producer.send_batch_to(batch, &queue).await.unwrap();
    assert_eq!((result.send_status, result.queue_offset), (SendStatus::SendOk, 1));
    let keys: Vec<_> = result.msg_id.split(',').collect();
    assert_eq!((keys.len(), keys[1]), (3, "MINE"));
    assert_ne!(keys[0], keys[2]);
    assert_eq!(result.offset_msg_id.split(',').count(), 3);
    assert_eq!(cluster.take_log("320"), [format!("320 b-0 T {}", result.msg_id)]);
    let request = cluster.state().sends.last().cloned().unwrap();
    assert_eq!(
        (request.ext_fields.get("m"), request.ext_fields.get("f")),
        (Some("true"), Some("0"))
    );
    assert_eq!(request.ext_fields.get("i"), Some("WAIT\u{1}true"));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_tried_again_with_the_same_keys() {
    let (cluster, producer) = start(ProducerConfig::new("P")).await;
    cluster.answer(MASTER_A, SEND_BATCH, &[Answer::Code(ResponseCode::SYSTEM_ERROR); 2]);
    for _ in 0..2 {
        let result = producer.send_batch(messages(2)).await.unwrap();
        assert_eq!(result.message_queue.broker_name, "b");
        let log = cluster.take_log("320");
        assert!(log.iter().all(|line| line.ends_with(&result.msg_id)), "{log:?}");
    }
    cluster.state().answers.clear();
    for addr in [MASTER_A, MASTER_B] {
        cluster.answer(addr, SEND_BATCH, &[Answer::Code(ResponseCode::MESSAGE_ILLEGAL)]);
    }
    let error = producer.send_batch(messages(2)).await.unwrap_err();
    assert_eq!((error.attempts, error.maybe_stored), (1, false));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_batch_is_not_sent() {
    let config = ProducerConfig { message_size_max_bytes: 500, ..ProducerConfig::new("P") };
    let (cluster, producer) = start(config).await;
    let refused = |error: ClientError| matches!(error, ClientError::IllegalMessage(_));
    let other_topic = [messages(1), vec![Message::new("U", "x")]].concat();
    let empty_body = [messages(1), vec![Message::new("T", "")]].concat();
    for batch in [vec![], other_topic, empty_body, messages(8)] {
        let error = producer.send_batch(batch).await.unwrap_err();
        assert!(error.attempts == 0 && refused(error.cause));
    }
    assert_eq!(cluster.take_log("320"), Vec::<String>::new());
    for batch in split_messages(messages(8), 500) {
        producer.send_batch(batch).await.unwrap();
    }
    assert_eq!(cluster.take_log("320").len(), 2);
}
