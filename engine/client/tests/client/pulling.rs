//! The pull client.

use mq_client::{ClientError, PullClient, PullStatus};
use mq_protocol::message::MessageQueue;

use crate::fake_cluster::{FakeCluster, MASTER_A, SLAVE_A};

#[tokio::test(start_paused = true)]
async fn queues_are_read_from_end_to_end() {
    let cluster = FakeCluster::start().await;
    let pull = PullClient::new(&cluster.client("v"), "VERIFIER");
    let error = pull.fetch_subscribe_message_queues("T").await.unwrap_err();
    assert_eq!(error, ClientError::NoRoute("T".into()));
    cluster.route("T", &["a", "b"], 1);
    for n in 0..5 {
        cluster.append("a", 0, "T", &n.to_string());
    }
    let queues = pull.fetch_subscribe_message_queues("T").await.unwrap();
    assert_eq!(queues.len(), 2);
    let queue = &queues[0];
    let bounds = (pull.min_offset(queue).await, pull.max_offset(queue).await);
    assert_eq!(bounds, (Ok(0), Ok(5)));
    let (mut next, mut bodies) = (0, Vec::new());
    loop {
        let result = pull.pull(queue, next, 2).await.unwrap();
        if result.pull_status != PullStatus::Found {
            assert_eq!(result.pull_status, PullStatus::NoNewMsg);
            break;
        }
        next = result.next_begin_offset;
        for message in result.messages {
            assert_eq!((message.broker_name.as_str(), message.queue_id), ("a", 0));
            bodies.push(String::from_utf8(message.message.body.to_vec()).unwrap());
        }
    }
    assert_eq!(bodies, ["0", "1", "2", "3", "4"]);
    let beyond = pull.pull(queue, 9, 2).await.unwrap();
    assert_eq!((beyond.pull_status, beyond.next_begin_offset), (PullStatus::OffsetIllegal, 5));
}

#[tokio::test(start_paused = true)]
async fn without_a_master_a_slave_is_read_but_not_asked_for_offsets() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a+slave"], 1);
    let pull = PullClient::new(&cluster.client("v"), "VERIFIER");
    let queue = MessageQueue { topic: "T".into(), broker_name: "a".into(), queue_id: 0 };
    pull.pull(&queue, 0, 1).await.unwrap();
    pull.pull_from(SLAVE_A, &queue, 0, 1).await.unwrap();
    assert_eq!(
        cluster.take_log("11 "),
        [format!("11 {MASTER_A} T-0 from 0"), format!("11 {SLAVE_A} T-0 from 0"),]
    );
    cluster.route("T", &["a-slave"], 1);
    pull.fetch_subscribe_message_queues("T").await.unwrap();
    pull.pull(&queue, 0, 1).await.unwrap();
    assert_eq!(cluster.take_log("11 "), [format!("11 {SLAVE_A} T-0 from 0")]);
    assert_eq!(pull.max_offset(&queue).await, Err(ClientError::NoBroker("a".into())));
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_can_be_asked_for() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    let pull = PullClient::new(&cluster.client("v"), "VERIFIER");
    let queue = MessageQueue { topic: "T".into(), broker_name: "a".into(), queue_id: 0 };
    assert_eq!(pull.query_offset("G", &queue).await, Ok(None));
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 7);
    assert_eq!(pull.query_offset("G", &queue).await, Ok(Some(7)));
}
