//! Push consumers behind a deduplicator: what comes more than once reaches the listener once.

use std::sync::Arc;
use std::time::Duration;

use mq_client::idempotence::{Deduplicator, DeduplicatorConfig, idempotent};
use mq_client::{ConsumeResult, Consumption, PushConsumerConfig};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::message::MessageConst;
use tokio::sync::Notify;

use crate::fake_cluster::FakeCluster;
use crate::listening::{SECOND, Seen, config, consumer, owned, success};

fn from_first() -> PushConsumerConfig {
    PushConsumerConfig { consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset, ..config() }
}

/// A properties string with keys, of a message of topic `T` that comes again.
fn keys(keys: &str) -> String {
    format!("{}\u{1}{keys}\u{2}{}\u{1}T\u{2}", MessageConst::KEYS, MessageConst::RETRY_TOPIC)
}

fn deduplicator() -> Arc<Deduplicator> {
    Arc::new(Deduplicator::new(DeduplicatorConfig::default()))
}

/// The offset of queue 0 is forgotten: its records come again.
fn forget_offset(cluster: &FakeCluster) {
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 0);
}

#[tokio::test(start_paused = true)]
async fn two_records_of_one_key_and_the_same_record_again_are_consumed_once() {
    for consume_orderly in [false, true] {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a"], 1);
        for (body, key) in [("0", "k"), ("1", "other"), ("2", "k more")] {
            cluster.append_tagged("a", 0, "T", body, &keys(key));
        }
        let (deduplicator, seen) = (deduplicator(), Seen::default());
        let config = PushConsumerConfig { consume_orderly, ..from_first() };
        for (client, expected) in [("c1", vec!["0", "1"]), ("c2", vec![])] {
            let listener = idempotent(Arc::clone(&deduplicator), seen.listener(success));
            let consumer = consumer(&cluster.client(client), config.clone(), listener).await;
            tokio::time::sleep(SECOND).await;
            assert_eq!(seen.take(), expected);
            let offset =
                consumer.owned_queues().iter().find(|(queue, _)| queue.topic == "T").cloned();
            assert_eq!(offset.unwrap().1, Some(3), "duplicates are done as well");
            consumer.shutdown().await;
            forget_offset(&cluster);
        }
        assert_eq!(cluster.take_log("36 "), Vec::<String>::new());
    }
}

/// A queue goes to another member while the listener of the first one has its message.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_at_a_rebalance_comes_again_until_it_is_done() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    cluster.route("%RETRY%G", &["a"], 1);
    cluster.append_tagged("a", 1, "T", "x", &keys("k"));
    let (deduplicator, seen, gate) = (deduplicator(), Seen::default(), Arc::new(Notify::new()));
    let slow = {
        let gate = Arc::clone(&gate);
        seen.listener(move |_| {
            let gate = Arc::clone(&gate);
            Consumption::Later(Box::pin(async move {
                gate.notified().await;
                ConsumeResult::Success
            }))
        })
    };
    let listener = idempotent(Arc::clone(&deduplicator), slow);
    let clients = ["c1", "c2"].map(|name| cluster.client(name));
    let _first = consumer(&clients[0], from_first(), Arc::clone(&listener)).await;
    assert_eq!(seen.take(), ["x"]);
    let second = consumer(&clients[1], from_first(), listener).await;
    tokio::time::sleep(SECOND).await;
    assert!(owned(&second).contains(&1));
    assert_eq!((seen.take().len(), cluster.take_log("36 ").len()), (0, 1), "later");
    gate.notify_one();
    tokio::time::sleep(Duration::from_millis(10)).await;
    cluster.append_tagged("a", 0, "%RETRY%G", "x", &keys("k"));
    tokio::time::sleep(SECOND).await;
    assert_eq!((seen.take().len(), cluster.take_log("36 ").len()), (0, 0), "done");
    // A producer that sends again by itself: another queue, another offset.
    cluster.append_tagged("a", 0, "T", "x", &keys("k"));
    tokio::time::sleep(SECOND).await;
    assert_eq!((seen.take().len(), cluster.take_log("36 ").len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_restarted_finds_the_keys_in_its_file() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dedup/done.json");
    let seen = Seen::default();
    for (body, expected) in [("0", vec!["0"]), ("1", vec!["1"])] {
        cluster.append_tagged("a", 0, "T", body, &keys(body));
        let config = DeduplicatorConfig::default();
        let opened = Deduplicator::open(&cluster.env, &path, config).await.unwrap();
        let deduplicator = Arc::new(opened);
        let listener = idempotent(Arc::clone(&deduplicator), seen.listener(success));
        let client = cluster.client("c");
        let consumer = consumer(&client, from_first(), listener).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(seen.take(), expected);
        consumer.shutdown().await;
        deduplicator.shutdown().await.unwrap();
        client.shutdown().await;
        forget_offset(&cluster);
    }
}
