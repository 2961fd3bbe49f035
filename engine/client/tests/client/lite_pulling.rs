//! The lite pull consumer: subscribed and assigned, polls, seeks, pauses, commits.

use std::sync::Arc;
use std::time::Duration;

use mq_client::{
    AllocateMessageQueueStrategy, ClientConfig, ClientInstance, FlowControl, LitePullConsumer,
    LitePullConsumerConfig, LitePullError,
};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::body::offset_table::GetConsumerStatusBody;
use mq_protocol::codes::RequestCode;
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::client::GetConsumerStatusRequestHeader;
use mq_protocol::message::{MessageExt, MessageQueue};
use mq_protocol::remoting_command::RemotingCommand;
use tokio::time::Instant;

use crate::fake_cluster::{FakeCluster, MASTER_A, NAMESRV, SLAVE_A};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> LitePullConsumerConfig {
    LitePullConsumerConfig {
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..LitePullConsumerConfig::new("G")
    }
}

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue { topic: "T".into(), broker_name: "a".into(), queue_id }
}

/// A cluster whose topic `T` has `queues` queues with `count` messages each.
async fn start(queues: i32, count: usize) -> (FakeCluster, ClientInstance) {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], queues);
    append(&cluster, queues, 0..count);
    let client = cluster.client("c");
    (cluster, client)
}

fn append(cluster: &FakeCluster, queues: i32, numbers: std::ops::Range<usize>) {
    for queue_id in 0..queues {
        numbers.clone().for_each(|n| cluster.append("a", queue_id, "T", &n.to_string()));
    }
}

fn bodies(messages: &[Arc<MessageExt>]) -> Vec<String> {
    let text = |it: &Arc<MessageExt>| String::from_utf8(it.message.body.to_vec()).unwrap();
    messages.iter().map(text).collect()
}

/// Polls until nothing comes for a second.
async fn poll_all(consumer: &LitePullConsumer) -> Vec<Arc<MessageExt>> {
    let mut all = Vec::new();
    loop {
        let messages = consumer.poll(SECOND).await;
        if messages.is_empty() {
            return all;
        }
        all.extend(messages);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_polls_its_share_and_commits_what_earlier_polls_gave() {
    let (cluster, client) = start(2, 12).await;
    let consumer = LitePullConsumer::new(&client, config());
    consumer.subscribe("T", "*").await.unwrap();
    let first = consumer.poll(SECOND).await;
    let of_queue = first[0].queue_id;
    assert_eq!(bodies(&first), (0..10).map(|n| n.to_string()).collect::<Vec<_>>(), "one pull");
    assert!(first.iter().all(|message| message.queue_id == of_queue));
    let bound = |name| first[9].message.properties.get(name);
    assert_eq!((bound("MIN_OFFSET"), bound("MAX_OFFSET")), (Some("0"), Some("12")));
    assert_eq!(poll_all(&consumer).await.len(), 14);
    assert_eq!(consumer.assigned_queues(), [queue(0), queue(1)]);
    assert_eq!(cluster.offset("G", 0), None, "nothing is committed without a poll");
    tokio::time::sleep(5 * SECOND).await;
    let begin = Instant::now();
    assert!(consumer.poll(SECOND).await.is_empty());
    assert_eq!(begin.elapsed(), SECOND);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((cluster.offset("G", 0), cluster.offset("G", 1)), (Some(12), Some(12)));
    consumer.shutdown().await;
    assert_eq!(cluster.take_log("35 "), [format!("35 {MASTER_A} G")]);
}

#[tokio::test(start_paused = true)]
async fn without_auto_commit_the_caller_commits_and_the_next_one_goes_on_there() {
    let (cluster, client) = start(1, 25).await;
    let manual = || LitePullConsumerConfig { auto_commit: false, ..config() };
    let consumer = LitePullConsumer::new(&client, manual());
    consumer.subscribe("T", "*").await.unwrap();
    assert_eq!(consumer.poll(SECOND).await.len(), 10);
    consumer.commit();
    assert_eq!(consumer.committed(&queue(0)).await, Ok(Some(10)));
    assert_eq!(consumer.poll(SECOND).await.len(), 10);
    consumer.shutdown().await;
    assert_eq!(cluster.offset("G", 0), Some(10));
    let consumer = LitePullConsumer::new(&client, manual());
    consumer.subscribe("T", "*").await.unwrap();
    assert_eq!(bodies(&poll_all(&consumer).await)[0], "10");
    consumer.shutdown().await;
}

/// A group that has no offset begins at a time, and divides the queues as its strategy says; operators who ask it
/// to go on elsewhere ask in vain, as in Java.
#[tokio::test(start_paused = true)]
async fn a_group_begins_at_a_time_in_the_queues_of_its_strategy() {
    let (cluster, client) = start(2, 3).await;
    let consumer = LitePullConsumer::new(
        &client,
        LitePullConsumerConfig {
            allocate_message_queue_strategy: AllocateMessageQueueStrategy::Config(vec![queue(1)]),
            consume_from_where: ConsumeFromWhere::ConsumeFromTimestamp,
            consume_timestamp_ms: Some(1_234),
            ..LitePullConsumerConfig::new("G")
        },
    );
    consumer.subscribe("T", "*").await.unwrap();
    assert_eq!(bodies(&poll_all(&consumer).await), ["1", "2"], "the fake finds offset 1");
    assert_eq!(consumer.assigned_queues(), [queue(1)]);
    assert_eq!(cluster.take_log("29 "), ["29 T-1 at 1234"]);
    let header = GetConsumerStatusRequestHeader {
        topic: "T".to_owned(),
        group: "G".to_owned(),
        client_addr: None,
    };
    let code = RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT;
    let request = RemotingCommand::request(code, &header);
    let channel = cluster.producer_channel("CLIENT_INNER_PRODUCER");
    let answer = channel.invoke(request, SECOND).await.unwrap();
    let status: GetConsumerStatusBody = from_slice(&answer.body).unwrap();
    assert_eq!((answer.code, status.message_queue_table.len()), (0, 0));
    consumer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn members_share_and_take_over() {
    let (cluster, client) = start(4, 1).await;
    let one = LitePullConsumer::new(&client, config());
    one.subscribe("T", "*").await.unwrap();
    let other_client = cluster.client("d");
    let other = LitePullConsumer::new(&other_client, config());
    other.subscribe("T", "*").await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(one.assigned_queues(), [queue(0), queue(1)]);
    assert_eq!(other.assigned_queues(), [queue(2), queue(3)]);
    assert_eq!(poll_all(&one).await.len(), 2, "of what is not its own any more nothing is polled");
    other.shutdown().await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(one.assigned_queues().len(), 4);
    assert_eq!(poll_all(&one).await.len(), 2);
    one.unsubscribe("T").await;
    assert!(one.assigned_queues().is_empty());
    append(&cluster, 4, 1..3);
    assert!(poll_all(&one).await.is_empty());
    one.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn tags_are_matched_by_their_text() {
    let (cluster, client) = start(1, 0).await;
    // These two have the same hash.
    cluster.append_tagged("a", 0, "T", "wanted", "TAGS\u{1}Aa");
    cluster.append_tagged("a", 0, "T", "unwanted", "TAGS\u{1}BB");
    let consumer = LitePullConsumer::new(&client, config());
    consumer.subscribe("T", "Aa || C").await.unwrap();
    assert_eq!(bodies(&poll_all(&consumer).await), ["wanted"]);
    consumer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn assigned_queues_are_read_whoever_else_does() {
    let (cluster, client) = start(3, 2).await;
    let consumer = LitePullConsumer::new(&client, config());
    let queues = consumer.fetch_message_queues("T").await.unwrap();
    consumer.assign(&queues[..2]).await.unwrap();
    assert_eq!(consumer.subscribe("T", "*").await, Err(LitePullError::Exclusive));
    assert_eq!(poll_all(&consumer).await.len(), 4);
    consumer.assign(&queues[1..]).await.unwrap();
    assert_eq!(consumer.assigned_queues(), queues[1..]);
    assert_eq!(poll_all(&consumer).await.len(), 2, "the queue that it had goes on");
    assert!(cluster.take_log("38").is_empty(), "nobody asks for the members");
    let other = LitePullConsumer::new(&cluster.client("d"), config());
    other.subscribe("T", "*").await.unwrap();
    assert_eq!(other.assign(&queues).await, Err(LitePullError::Exclusive));
    consumer.shutdown().await;
    other.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_sought_queue_is_read_from_there() {
    let (cluster, client) = start(1, 40).await;
    let consumer = LitePullConsumer::new(&client, config());
    consumer.assign(&[queue(0)]).await.unwrap();
    assert_eq!(bodies(&consumer.poll(SECOND).await)[0], "0");
    consumer.seek(&queue(0), 35).await.unwrap();
    assert_eq!(bodies(&poll_all(&consumer).await), ["35", "36", "37", "38", "39"]);
    consumer.seek_to_begin(&queue(0)).await.unwrap();
    assert_eq!(poll_all(&consumer).await.len(), 40);
    consumer.seek_to_end(&queue(0)).await.unwrap();
    append(&cluster, 1, 40..41);
    assert_eq!(bodies(&poll_all(&consumer).await), ["40"]);
    consumer.seek(&queue(0), 7).await.unwrap();
    consumer.commit();
    assert_eq!(consumer.committed(&queue(0)).await, Ok(Some(7)), "a seek may lower an offset");
    let beyond = consumer.seek(&queue(0), 42).await;
    assert_eq!(beyond, Err(LitePullError::SeekIllegal { offset: 42, min: 0, max: 41 }));
    let stranger = consumer.seek(&queue(9), 0).await;
    assert_eq!(stranger, Err(LitePullError::NotAssigned(queue(9))));
    consumer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_is_not_pulled() {
    let (cluster, client) = start(2, 10).await;
    let consumer = LitePullConsumer::new(&client, config());
    consumer.assign(&[queue(0), queue(1)]).await.unwrap();
    assert_eq!(poll_all(&consumer).await.len(), 20);
    consumer.pause(&[queue(0)]);
    // One pull of it is held by the broker.
    append(&cluster, 2, 10..11);
    assert_eq!(poll_all(&consumer).await.len(), 2);
    append(&cluster, 2, 11..13);
    let messages = poll_all(&consumer).await;
    assert_eq!((messages.len(), messages[0].queue_id), (2, 1));
    consumer.resume(&[queue(0)]);
    assert_eq!(bodies(&poll_all(&consumer).await), ["11", "12"]);
    consumer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_cached_has_limits() {
    let (_cluster, client) = start(2, 200).await;
    let cached = async |config: LitePullConsumerConfig| {
        let consumer = LitePullConsumer::new(&client, config);
        consumer.assign(&[queue(0), queue(1)]).await.unwrap();
        tokio::time::sleep(SECOND).await;
        consumer.pause(&[queue(0), queue(1)]);
        let count = poll_all(&consumer).await.len();
        consumer.shutdown().await;
        count
    };
    let of_one = FlowControl { count_max: 30, ..FlowControl::default() };
    assert_eq!(cached(LitePullConsumerConfig { flow_control: of_one, ..config() }).await, 80);
    let of_all = LitePullConsumerConfig { pull_threshold_for_all: 50, ..config() };
    // The pulls of both queues may be under way when the limit is reached.
    let count = cached(of_all).await;
    assert!((60..=70).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn an_offset_outside_of_the_queue_is_moved_into_it() {
    let (cluster, client) = start(1, 10).await;
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 2);
    cluster.state().min_offset = 6;
    let consumer = LitePullConsumer::new(&client, config());
    consumer.subscribe("T", "*").await.unwrap();
    assert_eq!(bodies(&poll_all(&consumer).await), ["6", "7", "8", "9"]);
    consumer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_master_a_slave_is_read() {
    let (cluster, client) = start(1, 3).await;
    cluster.route("T", &["a+slave"], 1);
    let consumer = LitePullConsumer::new(&client, config());
    consumer.subscribe("T", "*").await.unwrap();
    assert_eq!(poll_all(&consumer).await.len(), 3);
    cluster.stop(MASTER_A).await;
    cluster.route("T", &["a-slave"], 1);
    tokio::time::sleep(40 * SECOND).await;
    append(&cluster, 1, 3..4);
    assert_eq!(bodies(&poll_all(&consumer).await), ["3"]);
    let log = cluster.take_log("11 ");
    assert!(log.iter().any(|line| line.starts_with(&format!("11 {SLAVE_A} T-0"))), "{log:?}");
    consumer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn within_a_namespace_callers_see_plain_names() {
    let (cluster, _) = start(1, 0).await;
    cluster.route("ns%T", &["a"], 1);
    cluster.append("a", 0, "ns%T", "x");
    let settings = ClientConfig {
        namesrv_addrs: vec![NAMESRV.to_owned()],
        instance_name: "n".to_owned(),
        namespace: "ns".to_owned(),
        enable_stream_request_type: true,
        ..ClientConfig::default()
    };
    let client = ClientInstance::start(cluster.env.clone(), settings);
    assert!(client.client_id().ends_with("@n@STREAM"));
    let consumer = LitePullConsumer::new(&client, config());
    let queues = consumer.fetch_message_queues("T").await.unwrap();
    assert_eq!(queues, [queue(0)]);
    consumer.assign(&queues).await.unwrap();
    assert_eq!(consumer.poll(SECOND).await[0].message.topic, "T");
    assert_eq!(consumer.assigned_queues(), queues);
    consumer.seek_to_begin(&queue(0)).await.unwrap();
    consumer.shutdown().await;
}

/// The log is cut behind what was polled and committed: nobody may begin behind what is stored there since.
#[tokio::test(start_paused = true)]
async fn where_a_log_was_cut_a_consumer_commits_nothing_beyond() {
    let (cluster, client) = start(1, 6).await;
    let config = LitePullConsumerConfig { auto_commit: false, ..config() };
    let consumer = LitePullConsumer::new(&client, config);
    consumer.subscribe("T", "*").await.unwrap();
    assert_eq!(bodies(&poll_all(&consumer).await), ["0", "1", "2", "3", "4", "5"]);
    consumer.commit();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(cluster.offset("G", 0), Some(6));

    cluster.cut("a", 0, "T", 2);
    tokio::time::sleep(60 * SECOND).await;
    append(&cluster, 1, 12..13);
    assert_eq!(bodies(&poll_all(&consumer).await), ["12"]);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(cluster.offset("G", 0), Some(2), "what was not committed is not committed");
    consumer.commit();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(cluster.offset("G", 0), Some(3));
}
