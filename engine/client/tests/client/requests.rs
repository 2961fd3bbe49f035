//! Requests and the replies that brokers push.

use std::time::Duration;

use mq_client::{
    ClientError, ClientInstance, Producer, ProducerConfig, RequestError, create_reply_message,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::send_message::ReplyMessageRequestHeader;
use mq_protocol::message::{Message, MessageConst, Properties};
use mq_protocol::remoting_command::RemotingCommand;
use tokio::time::Instant;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A};

const SECOND: Duration = Duration::from_secs(1);

async fn start() -> (FakeCluster, ClientInstance, Producer) {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    let client = cluster.client("p");
    let producer = Producer::new(&client, ProducerConfig::new("P"));
    (cluster, client, producer)
}

/// Waits for the next request sent and gives its properties.
async fn next_request(cluster: &FakeCluster) -> Properties {
    loop {
        let sent = cluster.state().sends.pop();
        if let Some(request) = sent {
            return Properties::parse(request.ext_fields.get("i").unwrap());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What a broker pushes as the reply to a request with these properties.
fn push(request: &Properties, body: &'static str) -> RemotingCommand {
    let header = ReplyMessageRequestHeader {
        properties: Some(request.to_string()),
        born_host: "10.0.0.7:5000".to_owned(),
        store_host: MASTER_A.to_owned(),
        ..ReplyMessageRequestHeader::default()
    };
    let code = RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT;
    RemotingCommand::request(code, &header).with_body(body)
}

/// Lets a broker push the reply; what the client answers.
async fn pushed(cluster: &FakeCluster, request: RemotingCommand) -> RemotingCommand {
    let channel = cluster.state().producers["P"].clone();
    channel.invoke(request, SECOND).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_reply_comes_to_who_asked() {
    let (cluster, client, producer) = start().await;
    let request = |body| producer.request(Message::new("T", body), 5 * SECOND);
    let (first, second, ()) = tokio::join!(request("one"), request("two"), async {
        let (second, first) = (next_request(&cluster).await, next_request(&cluster).await);
        assert_ne!(
            first.get(MessageConst::CORRELATION_ID),
            second.get(MessageConst::CORRELATION_ID)
        );
        assert_eq!(first.get(MessageConst::REPLY_TO_CLIENT), Some(client.client_id()));
        assert_eq!(first.get(MessageConst::TTL), Some("5000"));
        for (asked, body) in [(&second, "two"), (&first, "one")] {
            let answer = pushed(&cluster, push(asked, body)).await;
            assert_eq!(
                (answer.code, answer.ext_fields.is_present()),
                (ResponseCode::SUCCESS, false)
            );
        }
    });
    let (first, second) = (first.unwrap(), second.unwrap());
    // Which of the two was sent first is not told here.
    let mut bodies = [&first.message.body[..], &second.message.body[..]];
    bodies.sort_unstable();
    assert_eq!(bodies, [b"one", b"two"]);
    assert_eq!(first.born_host.to_string(), "10.0.0.7:5000");
    assert!(first.message.properties.get(MessageConst::ARRIVE_TIME).is_some());
}

#[tokio::test(start_paused = true)]
async fn brokers_know_the_client_before_its_first_request() {
    let (cluster, _client, producer) = start().await;
    let answered = tokio::join!(producer.request(Message::new("T", "x"), 5 * SECOND), async {
        let asked = next_request(&cluster).await;
        let log = cluster.take_log("");
        let at = |start: &str| log.iter().position(|line| line.starts_with(start)).unwrap();
        assert!(at("34 ") < at("310 "), "{log:?}");
        pushed(&cluster, push(&asked, "reply")).await;
    });
    assert_eq!(answered.0.unwrap().message.body, "reply");
}

#[tokio::test(start_paused = true)]
async fn without_a_reply_the_time_is_over_and_a_late_one_is_dropped() {
    let (cluster, _client, producer) = start().await;
    let begin = Instant::now();
    let error = producer.request(Message::new("T", "x"), SECOND).await.unwrap_err();
    assert_eq!(error, RequestError::Timeout { timeout: SECOND });
    assert_eq!(begin.elapsed(), SECOND);
    let asked = next_request(&cluster).await;
    let answer = pushed(&cluster, push(&asked, "late")).await;
    assert_eq!(answer.code, ResponseCode::SUCCESS);
    let bad = RemotingCommand::request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT, &());
    assert_eq!(pushed(&cluster, bad).await.code, ResponseCode::SYSTEM_ERROR);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_does_not_wait() {
    let (cluster, _client, producer) = start().await;
    let busy = [Answer::Code(ResponseCode::SYSTEM_BUSY)];
    cluster.answer(MASTER_A, RequestCode::SEND_MESSAGE_V2, &busy);
    let begin = Instant::now();
    let error = producer.request(Message::new("T", "x"), SECOND).await.unwrap_err();
    let RequestError::Send(error) = error else { panic!("{error}") };
    assert!(matches!(error.cause, ClientError::Broker { .. }), "{error}");
    assert!(begin.elapsed() < SECOND);
    let error = producer.request(Message::new("U", "x"), SECOND).await.unwrap_err();
    assert!(matches!(error, RequestError::Send(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_has_a_code_of_its_own() {
    let (cluster, _client, producer) = start().await;
    cluster.route("C_REPLY_TOPIC", &["a"], 1);
    let mut request = Message::new("T", "ping");
    request.properties.insert(MessageConst::CLUSTER, "C");
    let reply = create_reply_message(&request, "pong").unwrap();
    producer.send(reply).await.unwrap();
    assert!(cluster.take_log("325 ")[0].starts_with("325 a-0 C_REPLY_TOPIC "));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_tells_of_the_acknowledgement_first_and_then_of_the_reply() {
    let (cluster, _client, producer) = start().await;
    let ask = || producer.request_outcome(Message::new("T", "x"), SECOND);
    let begin = Instant::now();
    let outcome = ask().await.unwrap();
    assert_eq!(outcome.sent.unwrap().message_queue.broker_name, "a");
    assert!(begin.elapsed() < SECOND, "the acknowledgement waits for no reply");
    let asked = next_request(&cluster).await;
    pushed(&cluster, push(&asked, "reply")).await;
    let reply = outcome.reply.wait_response_message().await;
    assert_eq!(reply.unwrap().message.body, "reply");

    let begin = Instant::now();
    let outcome = ask().await.unwrap();
    assert!(outcome.sent.is_ok());
    assert!(outcome.reply.wait_response_message().await.is_none());
    assert_eq!(begin.elapsed(), SECOND, "its time began with the request");
}

#[tokio::test(start_paused = true)]
async fn a_reply_may_come_where_the_acknowledgement_does_not() {
    let (cluster, _client, producer) = start().await;
    let ask = || producer.request_outcome(Message::new("T", "x"), SECOND);
    ask().await.unwrap().sent.unwrap();

    let busy = [Answer::Code(ResponseCode::SYSTEM_BUSY)];
    cluster.answer(MASTER_A, RequestCode::SEND_MESSAGE_V2, &busy);
    let begin = Instant::now();
    let outcome = ask().await.unwrap();
    assert!(outcome.sent.is_err());
    assert!(outcome.reply.wait_response_message().await.is_none());
    assert!(begin.elapsed() < SECOND, "for that of a refused request nobody waits");

    cluster.state().sends.clear();
    cluster.answer(MASTER_A, RequestCode::SEND_MESSAGE_V2, &[Answer::Silence]);
    let (outcome, ()) = tokio::join!(ask(), async {
        let asked = next_request(&cluster).await;
        pushed(&cluster, push(&asked, "reply")).await;
    });
    let outcome = outcome.unwrap();
    assert!(outcome.sent.is_err());
    assert_eq!(outcome.reply.wait_response_message().await.unwrap().message.body, "reply");
}
