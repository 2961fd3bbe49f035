//! Listeners that do not end, panic, or are at work at a shutdown.

use std::sync::Arc;
use std::time::Duration;

use mq_client::{ConsumeResult, Consumption, FlowControl, PushConsumerConfig};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::message::MessageConst;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A};
use crate::listening::{SECOND, Seen, config, consumer};

fn from_first() -> PushConsumerConfig {
    PushConsumerConfig { consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset, ..config() }
}

fn never() -> Consumption {
    Consumption::Later(Box::pin(std::future::pending()))
}

fn after(pause: Duration) -> Consumption {
    Consumption::Later(Box::pin(async move {
        tokio::time::sleep(pause).await;
        ConsumeResult::Success
    }))
}

#[tokio::test(start_paused = true)]
async fn messages_that_a_listener_keeps_are_sent_back_sixteen_at_a_time() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for n in 0..19 {
        cluster.append("a", 0, "T", if n < 18 { "stuck" } else { "good" });
    }
    let seen = Seen::default();
    let listener = seen.listener(|body| match body {
        "stuck" => never(),
        _ => ConsumeResult::Success.into(),
    });
    let impatient = PushConsumerConfig { consume_timeout: 60 * SECOND, ..from_first() };
    let consumer = consumer(&cluster.client("c"), impatient, listener).await;
    assert_eq!(seen.take().len(), 19);
    tokio::time::sleep(119 * SECOND).await;
    assert_eq!((cluster.take_log("36 ").len(), consumer.owned_queues()[0].1), (0, Some(0)));
    // The first look came a little before they had been there for a minute.
    tokio::time::sleep(2 * SECOND).await;
    let sent_back = cluster.take_log("36 ");
    assert_eq!((sent_back.len(), consumer.owned_queues()[0].1), (16, Some(16)));
    assert!(sent_back[0].ends_with(" level 3 max Some(16)"), "{sent_back:?}");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((cluster.take_log("36 ").len(), consumer.owned_queues()[0].1), (2, Some(19)));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_gets_the_messages_again_later() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for body in ["panic", "good", "panic later", "good"] {
        cluster.append("a", 0, "T", body);
    }
    let seen = Seen::default();
    let listener = seen.listener(|body| match body {
        "panic" => panic!("as told"),
        "panic later" => Consumption::Later(Box::pin(async { panic!("as told, later") })),
        _ => ConsumeResult::Success.into(),
    });
    // The listener's own lock is held by no panic.
    let consumer = consumer(&cluster.client("c"), from_first(), listener).await;
    assert_eq!(seen.take(), ["panic", "good", "panic later", "good"]);
    assert_eq!((cluster.take_log("36 ").len(), consumer.owned_queues()[0].1), (2, Some(4)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_listeners_as_long_as_it_is_told() {
    for (wait, committed) in [(5 * SECOND, Some(3)), (Duration::ZERO, None)] {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a"], 1);
        for n in 0..4 {
            cluster.append("a", 0, "T", &n.to_string());
        }
        let seen = Seen::default();
        let graceful = PushConsumerConfig {
            consume_thread_max: 3,
            await_termination_when_shutdown: wait,
            ..from_first()
        };
        let listener = seen.listener(|_| after(3 * SECOND));
        let consumer = consumer(&cluster.client("c"), graceful, listener).await;
        tokio::time::sleep(SECOND).await;
        consumer.shutdown().await;
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!((seen.take().len(), cluster.offset("G", 0)), (3, committed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_all_queues_is_divided_among_those_owned() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    for n in 0..40 {
        cluster.append("a", n % 2, "T", "body");
    }
    let seen = Seen::default();
    let little = PushConsumerConfig {
        pull_batch_size: 1,
        flow_control: FlowControl { topic_count_max: Some(10), ..FlowControl::default() },
        ..from_first()
    };
    let _consumer = consumer(&cluster.client("c"), little, seen.listener(|_| never())).await;
    tokio::time::sleep(60 * SECOND).await;
    // Each queue pauses when it has more than five.
    assert_eq!(cluster.take_log("11 ").len(), 12);
}

/// A transaction's message that comes again is no half message.
#[tokio::test(start_paused = true)]
async fn a_copy_for_the_retry_topic_is_none_of_a_transaction() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    cluster.route("%RETRY%G", &["b"], 1);
    let property = format!("{}\u{1}true\u{2}", MessageConst::TRAN_MSG);
    cluster.append_tagged("a", 0, "T", "bad", &property);
    cluster.answer(MASTER_A, 36, &[Answer::Code(1)]);
    let seen = Seen::default();
    let listener = seen.listener(|_| ConsumeResult::ReconsumeLater.into());
    let _consumer = consumer(&cluster.client("c"), from_first(), Arc::clone(&listener)).await;
    let copies = cluster.take_log("310 ");
    assert_eq!(copies.len(), 1);
    assert!(!copies[0].contains("flag"), "{copies:?}");
}
