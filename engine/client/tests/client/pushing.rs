//! Push consumers: assignment, offsets, redelivery, flow control.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    AllocateMessageQueueStrategy, ConsumeResult, Consumption, FlowControl, MessageListener,
    PushConsumer, PushConsumerConfig,
};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::codes::{RequestCode, ResponseCode};
use tokio::sync::Notify;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A, SLAVE_A};
use crate::listening::{SECOND, Seen, config, consumer, owned, success};

#[tokio::test(start_paused = true)]
async fn messages_are_consumed_and_offsets_committed() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    for n in 0..3 {
        cluster.append("a", 0, "T", &n.to_string());
    }
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 1);
    let (client, seen) = (cluster.client("c"), Seen::default());
    let consumer = consumer(&client, config(), seen.listener(success)).await;
    assert_eq!(seen.take(), ["1", "2"], "from the committed offset on");
    assert_eq!(cluster.offset("G", 0), Some(1));
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(cluster.offset("G", 0), Some(3), "after ten seconds, then every five");

    for body in ["x", "y"] {
        cluster.append("a", 1, "T", body);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(seen.take(), [body], "a held pull is answered at once");
    }
    let pulls = cluster.take_log("11 ");
    assert_eq!(pulls.last().unwrap(), &format!("11 {MASTER_A} T-1 from 2 commit 1"));
    assert_eq!(cluster.offset("G", 1), None, "not yet committed by itself");
    consumer.shutdown().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(cluster.offset("G", 1), Some(2), "at shutdown");
    assert_eq!(cluster.take_log("35 "), [format!("35 {MASTER_A} G")]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_sees_how_far_its_queue_reached_when_a_message_was_pulled() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for body in ["0", "1"] {
        cluster.append("a", 0, "T", body);
    }
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let told = Arc::clone(&seen);
    let listener: MessageListener = Arc::new(move |messages| {
        let properties = &messages[0].message.properties;
        let bound = |name| properties.get(name).map(str::to_owned);
        told.lock().unwrap().push((bound("MIN_OFFSET"), bound("MAX_OFFSET")));
        ConsumeResult::Success.into()
    });
    let from_first = ConsumeFromWhere::ConsumeFromFirstOffset;
    let config = PushConsumerConfig { consume_from_where: from_first, ..config() };
    let _consumer = consumer(&cluster.client("c"), config, listener).await;
    cluster.append("a", 0, "T", "2");
    tokio::time::sleep(SECOND).await;
    let bounds = |max: &str| (Some("0".to_owned()), Some(max.to_owned()));
    assert_eq!(*seen.lock().unwrap(), [bounds("2"), bounds("2"), bounds("3")]);
}

#[tokio::test(start_paused = true)]
async fn a_new_group_begins_where_it_says() {
    for (from, expected) in [
        (ConsumeFromWhere::ConsumeFromLastOffset, vec!["new"]),
        (ConsumeFromWhere::ConsumeFromFirstOffset, vec!["old", "new"]),
    ] {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a"], 1);
        cluster.append("a", 0, "T", "old");
        let seen = Seen::default();
        let config = PushConsumerConfig { consume_from_where: from, ..config() };
        let _consumer = consumer(&cluster.client("c"), config, seen.listener(success)).await;
        cluster.append("a", 0, "T", "new");
        tokio::time::sleep(SECOND).await;
        assert_eq!(seen.take(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_group_begins_at_a_time_and_behind_what_comes_again() {
    for consume_timestamp_ms in [Some(7_000), None] {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a"], 1);
        cluster.route("%RETRY%G", &["a"], 1);
        for body in ["older", "newer"] {
            cluster.append("a", 0, "T", body);
            cluster.append("a", 0, "%RETRY%G", body);
        }
        let seen = Seen::default();
        let config = PushConsumerConfig {
            consume_from_where: ConsumeFromWhere::ConsumeFromTimestamp,
            consume_timestamp_ms,
            ..config()
        };
        let start_ms = cluster.env.clock.now_millis() as i64;
        let _consumer = consumer(&cluster.client("c"), config, seen.listener(success)).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(seen.take(), ["newer"]);
        let searched = cluster.take_log("29 ");
        let at_ms: i64 = searched[0].rsplit_once(' ').unwrap().1.parse().unwrap();
        let expected_ms = consume_timestamp_ms.unwrap_or(start_ms - 30 * 60_000);
        assert!((0..60_000).contains(&(at_ms - expected_ms)), "{searched:?}");
        assert_eq!(searched.len(), 1, "{searched:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn members_share_the_queues_and_take_over_from_each_other() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 4);
    let clients = ["c1", "c2"].map(|name| cluster.client(name));
    let seen = [Seen::default(), Seen::default()];
    let first = consumer(&clients[0], config(), seen[0].listener(success)).await;
    assert_eq!(owned(&first), [0, 1, 2, 3]);
    let second = consumer(&clients[1], config(), seen[1].listener(success)).await;
    assert_eq!((owned(&first), owned(&second)), (vec![0, 1], vec![2, 3]), "by notification");
    for queue_id in 0..4 {
        cluster.append("a", queue_id, "T", &queue_id.to_string());
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!((seen[0].digits(), seen[1].digits()), ("01".into(), "23".into()));
    first.shutdown().await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(owned(&second), [0, 1, 2, 3]);
    for queue_id in 0..4 {
        cluster.append("a", queue_id, "T", &queue_id.to_string());
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!((seen[0].digits(), seen[1].digits()), (String::new(), "0123".into()));
}

#[tokio::test(start_paused = true)]
async fn members_divide_the_queues_as_their_strategy_says() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 4);
    let seen = Seen::default();
    let by_circle = PushConsumerConfig {
        allocate_message_queue_strategy: AllocateMessageQueueStrategy::AveragelyByCircle,
        ..config()
    };
    let clients = ["c1", "c2"].map(|name| cluster.client(name));
    let first = consumer(&clients[0], by_circle.clone(), seen.listener(success)).await;
    let second = consumer(&clients[1], by_circle, seen.listener(success)).await;
    assert_eq!((owned(&first), owned(&second)), (vec![0, 2], vec![1, 3]));
}

#[tokio::test(start_paused = true)]
async fn a_message_consumed_in_vain_is_sent_back() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for body in ["good", "bad", "good"] {
        cluster.append("a", 0, "T", body);
    }
    let seen = Seen::default();
    let listener = seen.listener(|body| match body {
        "bad" => ConsumeResult::ReconsumeLater.into(),
        _ => ConsumeResult::Success.into(),
    });
    let from_first = PushConsumerConfig {
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..config()
    };
    let _consumer = consumer(&cluster.client("c"), from_first, listener).await;
    let sent_back = cluster.take_log("36 ");
    assert_eq!(sent_back.len(), 1);
    assert!(sent_back[0].starts_with(&format!("36 {MASTER_A} T at ")));
    assert!(sent_back[0].ends_with(" level 0 max Some(16)"));
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!((seen.take().len(), cluster.offset("G", 0)), (3, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_back_is_copied_or_consumed_again_here() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    cluster.append("a", 0, "T", "bad");
    cluster.append("a", 0, "T", "good");
    let refused = [Answer::Code(ResponseCode::SYSTEM_ERROR); 9];
    cluster.answer(MASTER_A, RequestCode::CONSUMER_SEND_MSG_BACK, &refused);
    let seen = Seen::default();
    let listener = seen.listener(|body| match body {
        "bad" => ConsumeResult::ReconsumeLater.into(),
        _ => ConsumeResult::Success.into(),
    });
    let from_first = PushConsumerConfig {
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..config()
    };
    let _consumer = consumer(&cluster.client("c"), from_first, listener).await;
    tokio::time::sleep(4 * SECOND).await;
    assert_eq!(seen.take(), ["bad", "good"]);
    tokio::time::sleep(8 * SECOND).await;
    assert_eq!(seen.take(), ["bad", "bad"], "every five seconds");
    assert_eq!(cluster.offset("G", 0), Some(0), "the stuck message holds the offset back");

    cluster.route("%RETRY%G", &["b"], 1);
    tokio::time::sleep(31 * SECOND).await;
    let copies = cluster.take_log("310 ");
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert!(copies[0].starts_with("310 b-0 %RETRY%G "));
    assert_eq!(cluster.offset("G", 0), Some(2));
}

#[tokio::test(start_paused = true)]
async fn retried_messages_come_with_their_own_topic() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    cluster.route("%RETRY%G", &["a"], 1);
    cluster.append_tagged("a", 0, "%RETRY%G", "again", "RETRY_TOPIC\u{1}T\u{2}");
    let topics = Arc::new(Mutex::new(Vec::new()));
    let listener: MessageListener = {
        let topics = Arc::clone(&topics);
        Arc::new(move |messages| {
            topics.lock().unwrap().push(messages[0].message.topic.clone());
            ConsumeResult::Success.into()
        })
    };
    let _consumer = consumer(&cluster.client("c"), config(), listener).await;
    assert_eq!(*topics.lock().unwrap(), ["T"]);
}

#[tokio::test(start_paused = true)]
async fn tags_are_matched_as_text() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    let seen = Seen::default();
    let tagged = PushConsumerConfig {
        subscriptions: BTreeMap::from([("T".into(), "x || y".into())]),
        ..config()
    };
    let consumer = consumer(&cluster.client("c"), tagged, seen.listener(success)).await;
    for tag in ["x", "z", "y", "zz"] {
        cluster.append_tagged("a", 0, "T", tag, &format!("TAGS\u{1}{tag}"));
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(seen.take(), ["x", "y"]);
    consumer.shutdown().await;
    let only_separators = PushConsumerConfig::new("H", "T", "||");
    let refused =
        PushConsumer::start(&cluster.client("d"), only_separators, seen.listener(success));
    assert!(refused.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_offset_outside_of_the_queue_is_corrected_after_a_rest() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for n in 0..6 {
        cluster.append("a", 0, "T", &n.to_string());
    }
    cluster.state().min_offset = 4;
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 2);
    let seen = Seen::default();
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(success)).await;
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(cluster.offset("G", 0), Some(2));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!((cluster.offset("G", 0), seen.take().len()), (Some(4), 0));
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(seen.take(), ["4", "5"], "after the next rebalance");
}

#[tokio::test(start_paused = true)]
async fn where_a_log_was_cut_a_member_goes_on_with_what_it_has_not_consumed() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for n in 0..6 {
        cluster.append("a", 0, "T", &n.to_string());
    }
    let seen = Seen::default();
    let at_work_for_long = |body: &str| match body {
        "0" => ConsumeResult::Success.into(),
        _ => Consumption::Later(Box::pin(async {
            tokio::time::sleep(40 * SECOND).await;
            ConsumeResult::Success
        })),
    };
    let consume_from_where = ConsumeFromWhere::ConsumeFromFirstOffset;
    let config = PushConsumerConfig { consume_thread_max: 1, consume_from_where, ..config() };
    let listener = seen.listener(at_work_for_long);
    let _consumer = consumer(&cluster.client("c"), config, listener).await;
    assert_eq!(seen.take(), ["0", "1"]);
    cluster.cut("a", 0, "T", 4);
    tokio::time::sleep(400 * SECOND).await;
    assert_eq!(seen.take(), ["1", "2", "3"], "all of them had been pulled before");
    assert_eq!(cluster.offset("G", 0), Some(4));
}

#[tokio::test(start_paused = true)]
async fn a_slave_is_read_when_suggested_and_gets_no_commits_by_pulls() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a+slave"], 1);
    cluster.state().suggested_broker_id = 1;
    let seen = Seen::default();
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(success)).await;
    for body in ["x", "y"] {
        cluster.append("a", 0, "T", body);
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(seen.take(), ["x", "y"]);
    assert_eq!(
        cluster.take_log("11 "),
        [
            format!("11 {MASTER_A} T-0 from 0"),
            format!("11 {SLAVE_A} T-0 from 1"),
            format!("11 {SLAVE_A} T-0 from 2"),
        ]
    );
    tokio::time::sleep(10 * SECOND).await;
    let commits = cluster.take_log("15 ");
    assert_eq!(commits.last().unwrap(), &format!("15 {MASTER_A} T-0 2"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_master_is_retried_each_second_until_the_route_leads_to_the_slave() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a+slave"], 1);
    let seen = Seen::default();
    let consumer = consumer(&cluster.client("c"), config(), seen.listener(success)).await;
    cluster.stop(MASTER_A).await;
    cluster.append("a", 0, "T", "x");
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(seen.take(), Vec::<String>::new());
    cluster.route("T", &["a-slave"], 1);
    tokio::time::sleep(31 * SECOND).await;
    assert_eq!((seen.take(), owned(&consumer)), (vec!["x".to_owned()], vec![0]));
    assert_eq!(cluster.take_log("15 ").last().unwrap(), &format!("15 {SLAVE_A} T-0 1"));
}

#[tokio::test(start_paused = true)]
async fn pulling_pauses_while_too_much_waits_for_a_slow_listener() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    let (seen, gate) = (Seen::default(), Arc::new(Notify::new()));
    let listener = {
        let gate = Arc::clone(&gate);
        seen.listener(move |_| {
            let gate = Arc::clone(&gate);
            Consumption::Later(Box::pin(async move {
                gate.notified().await;
                ConsumeResult::Success
            }))
        })
    };
    let small = PushConsumerConfig {
        pull_batch_size: 2,
        consume_thread_max: 3,
        flow_control: FlowControl { count_max: 5, ..FlowControl::default() },
        ..config()
    };
    let consumer = consumer(&cluster.client("c"), small, listener).await;
    for n in 0..20 {
        cluster.append("a", 0, "T", &n.to_string());
    }
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(seen.take(), ["0", "1", "2"], "three at a time");
    let pulls = cluster.take_log("11 ");
    assert_eq!(pulls.iter().filter(|pull| !pull.contains("from 0")).count(), 2, "{pulls:?}");
    for _ in 0..20 {
        gate.notify_one();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen.take().len(), 17);
    assert_eq!(consumer.owned_queues()[0].1, Some(20));
}

/// A consumer with nothing to do: heartbeats and routes (30 s), a look at the group (20 s) and commits
/// (5 s), and a pull per queue that the broker holds for 15 s.
#[tokio::test(start_paused = true)]
async fn an_idle_consumer_has_only_its_timers() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    let seen = Seen::default();
    let _consumer = consumer(&cluster.client("c"), config(), seen.listener(success)).await;
    tokio::time::sleep(60 * SECOND).await;
    cluster.take_log("");
    tokio::time::sleep(600 * SECOND).await;
    let log = cluster.take_log("");
    let count = |prefix: &str| log.iter().filter(|line| line.starts_with(prefix)).count();
    assert_eq!((count("105 "), count("34 "), count("38 ")), (40, 20, 30));
    assert_eq!((count("15 "), count("11 ")), (240, 80));
    assert_eq!(log.len(), 410);
}
