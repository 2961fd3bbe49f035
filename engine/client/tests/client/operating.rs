//! What operators ask of push consumers: resets, offsets, state, a message out of turn.

use std::time::Duration;

use mq_client::ConsumeResult;
use mq_protocol::body::offset_table::{
    GetConsumerStatusBody, MessageQueueForC, ResetOffsetBody, ResetOffsetBodyForC,
};
use mq_protocol::body::running_info::{
    CmResult, ConsumeMessageDirectlyResult, ConsumerRunningInfo,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::client::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader, ResetOffsetRequestHeader,
};
use mq_protocol::message::MessageQueue;
use mq_protocol::remoting_command::RemotingCommand;

use crate::fake_cluster::FakeCluster;
use crate::listening::{SECOND, Seen, config, consumer, success};

/// The group that every client tells of.
const EVERY_CLIENT: &str = "CLIENT_INNER_PRODUCER";

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue { topic: "T".to_owned(), broker_name: "a".to_owned(), queue_id }
}

fn reset(group: &str, topic: &str) -> RemotingCommand {
    let header = ResetOffsetRequestHeader {
        topic: topic.to_owned(),
        group: group.to_owned(),
        timestamp: 0,
        is_force: false,
    };
    RemotingCommand::request(RequestCode::RESET_CONSUMER_CLIENT_OFFSET, &header)
}

/// Stores messages in queue 0, of which the group has had `had`.
fn store(cluster: &FakeCluster, bodies: &[&str], had: i64) {
    bodies.iter().for_each(|body| cluster.append("a", 0, "T", body));
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), had);
}

async fn ask(cluster: &FakeCluster, request: RemotingCommand) -> RemotingCommand {
    cluster.producer_channel(EVERY_CLIENT).invoke(request, 3 * SECOND).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_reset_moves_its_queue_and_holds_up_no_other() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    store(&cluster, &["0", "1", "2", "3"], 0);
    let seen = Seen::default();
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(success)).await;
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!((seen.digits(), cluster.offset("G", 0)), ("0123".into(), Some(4)));

    let body = ResetOffsetBody { offset_table: [(queue(0), 2)].into_iter().collect() };
    cluster.ask_producer(EVERY_CLIENT, reset("G", "T").with_body(to_bytes(&body)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.append("a", 0, "T", "4");
    cluster.append("a", 1, "T", "other");
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(seen.take(), ["other"], "the queue rests, the other one does not");
    assert_ne!(cluster.offset("G", 0), Some(5), "nobody commits what the queue had");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(seen.digits(), "234", "taken again, at its new offset");
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(cluster.offset("G", 0), Some(5));
}

#[tokio::test(start_paused = true)]
async fn of_two_resets_the_second_counts() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    store(&cluster, &["0", "1", "2", "3"], 4);
    let seen = Seen::default();
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(success)).await;
    for offset in [0, 3] {
        let body = ResetOffsetBody { offset_table: [(queue(0), offset)].into_iter().collect() };
        cluster.ask_producer(EVERY_CLIENT, reset("G", "T").with_body(to_bytes(&body)));
        tokio::time::sleep(5 * SECOND).await;
    }
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(seen.digits(), "3");
}

#[tokio::test(start_paused = true)]
async fn a_reset_for_cpp_clients_is_read_and_one_for_others_is_not_ours() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    store(&cluster, &["0", "1", "2"], 0);
    let seen = Seen::default();
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(success)).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(seen.digits(), "012");
    let MessageQueue { topic, broker_name, queue_id } = queue(0);
    let entry = MessageQueueForC { broker_name, offset: 1, queue_id, topic };
    let body = to_bytes(&ResetOffsetBodyForC { offset_table: vec![entry] });
    for request in [reset("H", "T"), reset("G", "U")] {
        cluster.ask_producer(EVERY_CLIENT, request.with_body(body.clone()));
    }
    cluster.ask_producer(EVERY_CLIENT, reset("G", "T"));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!((seen.digits(), cluster.offset("G", 0)), (String::new(), Some(3)));
    cluster.ask_producer(EVERY_CLIENT, reset("G", "T").with_body(body));
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!((seen.digits(), cluster.offset("G", 0)), ("12".into(), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_client_tells_how_far_it_is_and_in_what_state() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    store(&cluster, &["0", "1", "stuck"], 0);
    let seen = Seen::default();
    let sticks = |body: &str| match body {
        "stuck" => mq_client::Consumption::Later(Box::pin(std::future::pending())),
        _ => ConsumeResult::Success.into(),
    };
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(sticks)).await;
    tokio::time::sleep(SECOND).await;

    let status = async |group: &str, topic: &str| {
        let header = GetConsumerStatusRequestHeader {
            topic: topic.to_owned(),
            group: group.to_owned(),
            client_addr: None,
        };
        let code = RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT;
        let answer = ask(&cluster, RemotingCommand::request(code, &header)).await;
        assert_eq!(answer.code, ResponseCode::SUCCESS);
        let body: GetConsumerStatusBody = from_slice(&answer.body).unwrap();
        Vec::from_iter(body.message_queue_table)
    };
    assert_eq!(status("G", "T").await, [(queue(0), 2)]);
    assert!(status("G", "U").await.is_empty() && status("H", "T").await.is_empty());

    let info = async |group: &str| {
        let header = GetConsumerRunningInfoRequestHeader {
            consumer_group: group.to_owned(),
            client_id: "c".to_owned(),
            jstack_enable: true,
        };
        let code = RequestCode::GET_CONSUMER_RUNNING_INFO;
        ask(&cluster, RemotingCommand::request(code, &header)).await
    };
    let answer = info("G").await;
    let running: ConsumerRunningInfo = from_slice(&answer.body).unwrap();
    let first = &running.mq_table[&queue(0)];
    let cached = (first.cached_msg_count, first.cached_msg_min_offset, first.cached_msg_max_offset);
    assert_eq!((cached, first.commit_offset, first.droped), ((1, 2, 2), 2, false));
    assert!(first.last_pull_timestamp > 0 && first.last_consume_timestamp > 0);
    assert_eq!(running.mq_table.len(), 2, "the retry topic has no route here");
    assert_eq!(running.properties["consumerGroup"], "G");
    assert_eq!(running.properties["PROP_CONSUME_TYPE"], "CONSUME_PASSIVELY");
    assert_eq!(running.properties["PROP_NAMESERVER_ADDR"], "10.0.0.10:9876;");
    let topics: Vec<_> = running.subscription_set.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!(topics, ["%RETRY%G", "T"]);
    let refused = info("H").await;
    assert_eq!(refused.code, ResponseCode::SYSTEM_ERROR);
    let remark = "The Consumer Group <H> not exist in this consumer";
    assert_eq!(refused.remark.as_deref(), Some(remark));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_consumed_out_of_turn() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    store(&cluster, &["good", "bad"], 2);
    let seen = Seen::default();
    let slowly = |body: &str| {
        let result = match body {
            "bad" => ConsumeResult::ReconsumeLater,
            _ => ConsumeResult::Success,
        };
        mq_client::Consumption::Later(Box::pin(async move {
            tokio::time::sleep(SECOND).await;
            result
        }))
    };
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(slowly)).await;
    let consume = async |offset: usize, group: &str| {
        let header = ConsumeMessageDirectlyResultRequestHeader {
            consumer_group: group.to_owned(),
            ..ConsumeMessageDirectlyResultRequestHeader::default()
        };
        let request = RemotingCommand::request(RequestCode::CONSUME_MESSAGE_DIRECTLY, &header);
        ask(&cluster, request.with_body(cluster.record("a", 0, "T", offset))).await
    };
    for (offset, result) in [(0, CmResult::CrSuccess), (1, CmResult::CrLater)] {
        let answer = consume(offset, "G").await;
        assert_eq!(answer.code, ResponseCode::SUCCESS, "{:?}", answer.remark);
        let body: ConsumeMessageDirectlyResult = from_slice(&answer.body).unwrap();
        assert_eq!((body.consume_result, body.order, body.auto_commit), (result, false, true));
        assert!((1_000..1_100).contains(&body.spent_time_mills), "{}", body.spent_time_mills);
    }
    assert_eq!(seen.take(), ["good", "bad"]);
    assert_eq!(consume(0, "H").await.code, ResponseCode::SYSTEM_ERROR);
    assert_eq!(cluster.offset("G", 0), Some(2), "nothing follows from it");
}
