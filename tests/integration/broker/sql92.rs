//! Subscriptions by properties: what passes, what is refused, and retried messages.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    ClientConfig, ClientInstance, ConsumeResult, MessageSelector, PushConsumer, PushConsumerConfig,
    StartError,
};
use mq_protocol::body::heartbeat::{
    CheckClientRequestBody, ConsumerData, HeartbeatData, SQL92, SubscriptionData,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message::MessageExt;
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use staticfire_world::world::{MachineConfig, ProcessContext, ProcessHandle, World};
use tokio::time::Instant;

use super::cluster::{
    Broker, Cluster, NAMESRV, heartbeat, pull_header, seconds, send_header, send_request,
    subscription, waiting,
};

/// The bodies that a consumer was given, in order, with the times they were redelivered.
type Seen = Arc<Mutex<Vec<(String, i32)>>>;

async fn broker(cluster: &Cluster) -> Broker {
    cluster.master(|config, _| config.enable_property_filter = true).await
}

/// Sends a message with property `a` to queue 0.
async fn send(cluster: &Cluster, broker: &Broker, topic: &str, a: &str, body: &'static str) {
    let properties = Some(format!("a\u{1}{a}\u{2}"));
    let header = SendMessageRequestHeader { properties, ..send_header(topic) };
    let response = cluster.ask(&broker.addr, send_request(&header, body)).await;
    assert_eq!(response.code, ResponseCode::SUCCESS);
}

fn by_sql(header: PullMessageRequestHeader, expression: &str) -> PullMessageRequestHeader {
    PullMessageRequestHeader {
        expression_type: Some(SQL92.to_owned()),
        subscription: Some(expression.to_owned()),
        ..header
    }
}

async fn pull(
    cluster: &Cluster,
    broker: &Broker,
    header: &PullMessageRequestHeader,
) -> RemotingCommand {
    cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, header).await
}

/// Tells the broker of a consumer of group G with these subscriptions.
async fn subscribe(cluster: &Cluster, broker: &Broker, subscriptions: Vec<SubscriptionData>) {
    let consumer = ConsumerData {
        group_name: "G".to_owned(),
        subscription_data_set: subscriptions,
        ..ConsumerData::default()
    };
    let data = HeartbeatData {
        client_id: "c".to_owned(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    assert_eq!(heartbeat(&cluster.client, broker, &data).await.code, ResponseCode::SUCCESS);
}

fn sql(expression: &str, version: i64) -> SubscriptionData {
    SubscriptionData::by_expression("T", SQL92, expression, version)
}

/// A pull of the group's own subscription, of that version.
fn registered(topic: &str, queue_offset: i64, sub_version: i64) -> PullMessageRequestHeader {
    PullMessageRequestHeader {
        sys_flag: 0,
        subscription: None,
        sub_version,
        ..pull_header("G", topic, queue_offset)
    }
}

#[test]
fn a_pull_brings_what_passes_and_moves_on_past_the_rest() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = broker(&cluster).await;
        for (a, body) in [("1", "one"), ("2", "two"), ("x", "text"), ("3", "three")] {
            send(&cluster, &broker, "T", a, body).await;
        }
        let bodies = async |expression: &str| {
            let header = by_sql(pull_header("G", "T", 0), expression);
            let response = pull(&cluster, &broker, &header).await;
            let next: PullMessageResponseHeader = response.header().unwrap();
            assert_eq!(next.next_begin_offset, 4);
            let body = |it: &MessageExt| String::from_utf8(it.message.body.to_vec()).unwrap();
            let bodies: Vec<_> = decode_messages(&response.body).iter().map(body).collect();
            (response.code, bodies.join(" "))
        };
        assert_eq!(bodies("a > 1").await, (0, "two three".to_owned()));
        assert_eq!(bodies("a IN ('x', '1')").await, (0, "one text".to_owned()));
        assert_eq!(bodies("b IS NULL").await, (0, "one two text three".to_owned()));
        assert_eq!(bodies("b = 1").await, (ResponseCode::PULL_RETRY_IMMEDIATELY, String::new()));
    });
}

#[test]
fn a_held_pull_is_woken_by_what_passes_only() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = broker(&cluster).await;
        send(&cluster, &broker, "T", "0", "first").await;
        let begin = Instant::now();
        let header = by_sql(waiting(1, 15_000), "a = 7");
        let sending = async {
            for (a, body) in [("6", "six"), ("x", "text"), ("7", "seven")] {
                seconds(2).await;
                send(&cluster, &broker, "T", a, body).await;
            }
        };
        let (response, ()) = tokio::join!(pull(&cluster, &broker, &header), sending);
        let found = decode_messages(&response.body);
        assert_eq!((found.len(), &found[0].message.body[..]), (1, &b"seven"[..]));
        assert!((6_000..6_100).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    });
}

#[test]
fn what_cannot_be_read_is_refused_before_anything_is_read() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = broker(&cluster).await;
        send(&cluster, &broker, "T", "1", "one").await;
        let check = async |data: SubscriptionData| {
            let body = CheckClientRequestBody {
                client_id: "c".to_owned(),
                group: "G".to_owned(),
                subscription_data: data,
            };
            let request = RemotingCommand::request(RequestCode::CHECK_CLIENT_CONFIG, &());
            let reply = cluster.ask(&broker.addr, request.with_body(to_bytes(&body))).await;
            (reply.code, reply.remark.unwrap_or_default())
        };
        assert_eq!(check(sql("a > 1", 1)).await.0, ResponseCode::SUCCESS);
        assert_eq!(check(subscription("T", "a", 1)).await.0, ResponseCode::SUCCESS);
        let (code, remark) = check(sql("a > ", 1)).await;
        assert_eq!(code, ResponseCode::SUBSCRIPTION_PARSE_FAILED);
        assert!(remark.contains("at line 1, column 5"), "{remark}");
        let unknown = SubscriptionData::by_expression("T", "XPATH", "a", 1);
        assert_eq!(check(unknown).await.0, ResponseCode::SUBSCRIPTION_PARSE_FAILED);

        let broken = by_sql(pull_header("G", "T", 0), "a > ");
        let code = pull(&cluster, &broker, &broken).await.code;
        assert_eq!(code, ResponseCode::SUBSCRIPTION_PARSE_FAILED);

        // A heartbeat is taken; its pulls hear of the expression.
        subscribe(&cluster, &broker, vec![sql("a > ", 5)]).await;
        let code = async |version| pull(&cluster, &broker, &registered("T", 0, version)).await.code;
        assert_eq!(code(5).await, ResponseCode::FILTER_DATA_NOT_EXIST);
        assert_eq!(code(6).await, ResponseCode::SUBSCRIPTION_NOT_LATEST);
        // The same version changes nothing, a newer one does.
        subscribe(&cluster, &broker, vec![sql("a = 1", 5)]).await;
        assert_eq!(code(5).await, ResponseCode::FILTER_DATA_NOT_EXIST);
        subscribe(&cluster, &broker, vec![sql("a = 1", 6)]).await;
        assert_eq!(code(6).await, ResponseCode::SUCCESS);
        subscribe(&cluster, &broker, vec![sql("a = 2", 6)]).await;
        assert_eq!(code(6).await, ResponseCode::SUCCESS);
        subscribe(&cluster, &broker, vec![sql("a = 2", 7)]).await;
        assert_eq!(code(7).await, ResponseCode::PULL_RETRY_IMMEDIATELY);
    });
}

#[test]
fn without_the_key_nobody_filters_by_properties() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        send(&cluster, &broker, "T", "1", "one").await;
        subscribe(&cluster, &broker, vec![sql("a = 1", 5)]).await;
        for header in [by_sql(pull_header("G", "T", 0), "a = 1"), registered("T", 0, 5)] {
            let reply = pull(&cluster, &broker, &header).await;
            assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
            let remark = "The broker does not support consumer to filter message by SQL92";
            assert_eq!(reply.remark.as_deref(), Some(remark));
        }
    });
}

/// Runs a consumer of T that wants a message twice.
fn consumer(cluster: &Cluster, selector: MessageSelector) -> (ProcessHandle, Seen) {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let machine = cluster.world.add_machine("consumer", MachineConfig::default());
    let process = machine.add_process("consumer", move |context: ProcessContext| {
        let (sink, selector) = (Arc::clone(&sink), selector.clone());
        async move {
            let namesrv_addrs = vec![NAMESRV.to_owned()];
            let config = ClientConfig { namesrv_addrs, ..ClientConfig::default() };
            let client = ClientInstance::start(context.env.clone(), config);
            let listener = Arc::new(move |messages: &[Arc<MessageExt>]| {
                let message = &messages[0];
                let body = String::from_utf8(message.message.body.to_vec()).unwrap();
                sink.lock().unwrap().push((body, message.reconsume_times));
                match message.reconsume_times {
                    0 => ConsumeResult::ReconsumeLater.into(),
                    _ => ConsumeResult::Success.into(),
                }
            });
            let config = PushConsumerConfig::new("G", "T", selector);
            let consumer = PushConsumer::start(&client, config, listener).await?;
            context.shutdown.cancelled().await;
            consumer.shutdown().await;
            client.shutdown().await;
            Ok::<(), StartError>(())
        }
    });
    process.start();
    (process, seen)
}

#[test]
fn a_consumer_gets_what_passes_and_gets_it_again() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| {
            config.enable_property_filter = true;
            config.filter_support_retry = true;
        });
        let broker = broker.await;
        send(&cluster, &broker, "T", "0", "before").await;
        let (process, seen) = consumer(&cluster, MessageSelector::BySql("a >= 2".to_owned()));
        seconds(60).await;
        for (a, body) in [("1", "one"), ("2", "two"), ("x", "text"), ("3", "three")] {
            send(&cluster, &broker, "T", a, body).await;
        }
        seconds(30).await;
        let mut seen = seen.lock().unwrap().clone();
        seen.sort();
        let expected = [("three", 0), ("three", 1), ("two", 0), ("two", 1)];
        assert_eq!(seen, expected.map(|(body, times)| (body.to_owned(), times)));
        let committed = super::offsets::query(&cluster, &broker.addr, "G", "T").await;
        assert_eq!(committed, Some(5), "what does not pass holds nothing up");
        process.stop(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_consumer_whose_expression_is_refused_does_not_start() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world);
        let broker = broker(&cluster).await;
        send(&cluster, &broker, "T", "0", "before").await;
        seconds(1).await;
        let (process, seen) = consumer(&cluster, MessageSelector::BySql("a LIKE 'x'".to_owned()));
        seconds(5).await;
        assert!(!process.is_running(), "it has ended: {:?}", process.status());
        assert!(format!("{:?}", process.status()).contains("Invalid MessageSelector"));
        assert!(seen.lock().unwrap().is_empty());
    });
}

/// With `filterSupportRetry` a group's retried messages are asked what it wants of the topic they came
/// from; without it they pass.
#[test]
fn retried_messages_are_filtered_where_the_key_says_so() {
    for (seed, supports_retry) in [(7, false), (8, true)] {
        World::test(seed, async |world| {
            let cluster = Cluster::new(world);
            let broker = cluster.master(|config, _| {
                config.enable_property_filter = true;
                config.filter_support_retry = supports_retry;
            });
            let broker = broker.await;
            let subscriptions = || vec![sql("a = 1", 5), subscription("%RETRY%G", "*", 5)];
            subscribe(&cluster, &broker, subscriptions()).await;
            for properties in
                ["a\u{1}1\u{2}RETRY_TOPIC\u{1}T", "a\u{1}2\u{2}RETRY_TOPIC\u{1}T", "a\u{1}2"]
            {
                let properties = Some(properties.to_owned());
                let header = SendMessageRequestHeader { properties, ..send_header("%RETRY%G") };
                let response = cluster.ask(&broker.addr, send_request(&header, "body")).await;
                assert_eq!(response.code, ResponseCode::SUCCESS, "{:?}", response.remark);
            }
            let response = pull(&cluster, &broker, &registered("%RETRY%G", 0, 5)).await;
            let offsets: Vec<_> =
                decode_messages(&response.body).iter().map(|it| it.queue_offset).collect();
            let expected: &[i64] = if supports_retry { &[0, 2] } else { &[0, 1, 2] };
            assert_eq!(offsets, expected);
            // Pulls that carry a subscription are no others.
            let carried = PullMessageRequestHeader {
                sys_flag: PullSysFlag::SUBSCRIPTION,
                ..pull_header("G", "%RETRY%G", 0)
            };
            let response = pull(&cluster, &broker, &carried).await;
            assert_eq!(decode_messages(&response.body).len(), expected.len());
        });
    }
}
