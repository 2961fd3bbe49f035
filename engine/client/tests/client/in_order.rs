//! Push consumers that consume in order: locks, leases, suspension, dead letters, giving queues up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{ConsumeResult, Consumption, MessageListener, PushConsumerConfig};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::codes::RequestCode;
use mq_protocol::message::MessageQueue;
use tokio::sync::Notify;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A};
use crate::listening::{SECOND, Seen, config, consumer, owned, success};

fn in_order() -> PushConsumerConfig {
    PushConsumerConfig {
        consume_orderly: true,
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..config()
    }
}

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue { topic: "T".to_owned(), broker_name: "a".to_owned(), queue_id }
}

/// One queue, with messages `0`, `1`, … in it.
async fn cluster_with(count: usize) -> FakeCluster {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for n in 0..count {
        cluster.append("a", 0, "T", &n.to_string());
    }
    cluster
}

/// A listener that is at work until it is told to end.
fn gated(seen: &Seen, gate: &Arc<Notify>) -> MessageListener {
    let gate = Arc::clone(gate);
    seen.listener(move |_| {
        let gate = Arc::clone(&gate);
        Consumption::Later(Box::pin(async move {
            gate.notified().await;
            ConsumeResult::Success
        }))
    })
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_locked_then_consumed_one_batch_after_the_other() {
    let cluster = cluster_with(3).await;
    let (seen, gate) = (Seen::default(), Arc::new(Notify::new()));
    let consumer = consumer(&cluster.client("c"), in_order(), gated(&seen, &gate)).await;
    let log = cluster.take_log("");
    let asked: Vec<_> = log.iter().filter(|line| line.starts_with("41 ")).collect();
    assert_eq!(asked, [&format!("41 {MASTER_A} 1 of 1")]);
    for n in 0..3 {
        assert_eq!(seen.take(), [n.to_string()]);
        assert_eq!(consumer.owned_queues()[0].1, (n > 0).then_some(n));
        gate.notify_one();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(cluster.offset("G", 0), Some(3));
    assert_eq!(cluster.take_log("41 ").len(), 3, "after one second, then every twenty");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_batch_comes_again_before_what_is_behind_it() {
    let cluster = cluster_with(5).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let listener: MessageListener = {
        let times = Arc::clone(&times);
        Arc::new(move |messages| {
            let mut times = times.lock().unwrap();
            let seen = messages.iter().map(|it| (it.queue_offset, it.reconsume_times));
            times.push(seen.collect::<Vec<_>>());
            match times.len() {
                2 | 3 => ConsumeResult::ReconsumeLater.into(),
                _ => ConsumeResult::Success.into(),
            }
        })
    };
    let pairs = PushConsumerConfig {
        consume_message_batch_max_size: 2,
        suspend_current_queue_time_ms: 700,
        ..in_order()
    };
    let consumer = consumer(&cluster.client("c"), pairs, listener).await;
    assert_eq!(*times.lock().unwrap(), [vec![(0, 0), (1, 0)], vec![(2, 0), (3, 0)]]);
    tokio::time::sleep(Duration::from_millis(695)).await;
    assert_eq!(times.lock().unwrap().len(), 3);
    assert_eq!(consumer.owned_queues()[0].1, Some(2));
    tokio::time::sleep(SECOND).await;
    let again = [vec![(2, 1), (3, 1)], vec![(2, 2), (3, 2)], vec![(4, 0)]];
    assert_eq!(times.lock().unwrap()[2..], again);
    assert_eq!(consumer.owned_queues()[0].1, Some(5));
    assert_eq!(cluster.take_log("36 ").len(), 0, "nothing is sent back");
}

#[tokio::test(start_paused = true)]
async fn after_too_many_times_a_message_is_sent_to_the_dead_letters() {
    let cluster = cluster_with(2).await;
    cluster.route("%RETRY%G", &["b"], 1);
    let seen = Seen::default();
    let listener = seen.listener(|body| match body {
        "0" => ConsumeResult::ReconsumeLater.into(),
        _ => ConsumeResult::Success.into(),
    });
    let twice = PushConsumerConfig { reconsume_times_max: 2, ..in_order() };
    let consumer = consumer(&cluster.client("c"), twice, listener).await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(seen.take(), ["0", "0", "0", "1"]);
    assert_eq!(consumer.owned_queues()[1].1, Some(2));
    let copies = cluster.take_log("310 ");
    assert_eq!(copies.len(), 1);
    assert!(copies[0].starts_with("310 b-0 %DLQ%G "), "{copies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_locked_by_another_is_taken_when_it_is_released() {
    let cluster = cluster_with(1).await;
    cluster.state().locks.insert(queue(0), "other".to_owned());
    let seen = Seen::default();
    let consumer = consumer(&cluster.client("c"), in_order(), seen.listener(success)).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!((owned(&consumer), seen.take()), (vec![], vec![]));
    cluster.state().locks.remove(&queue(0));
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 1);
    cluster.append("a", 0, "T", "new");
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!((owned(&consumer), seen.take()), (vec![0], vec!["new".to_owned()]));
}

/// The broker gives the lock to somebody else, who consumes; then it comes back.
#[tokio::test(start_paused = true)]
async fn what_another_had_is_neither_consumed_nor_committed_and_read_anew_afterwards() {
    let cluster = cluster_with(1).await;
    let seen = Seen::default();
    let _consumer = consumer(&cluster.client("c"), in_order(), seen.listener(success)).await;
    assert_eq!(seen.take(), ["0"]);
    tokio::time::sleep(12 * SECOND).await;
    cluster.state().locks.insert(queue(0), "other".to_owned());
    // The renewal after 21 seconds.
    tokio::time::sleep(10 * SECOND).await;
    cluster.take_log("");
    for n in 1..5 {
        cluster.append("a", 0, "T", &n.to_string());
    }
    tokio::time::sleep(15 * SECOND).await;
    assert_eq!(seen.take(), Vec::<String>::new());
    let asked = cluster.take_log("").into_iter().filter(|line| {
        line.starts_with("15 ") || line.starts_with("11 ") && !line.contains("RETRY")
    });
    assert_eq!(asked.count(), 0, "nothing is pulled or committed without the lock");
    cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 3);
    cluster.state().locks.clear();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(seen.take(), ["3", "4"], "the other had 1 and 2");
    assert_eq!(cluster.offset("G", 0), Some(5));
}

/// A renewal is not answered. What is cached is not handed out when the lock is not trusted any more, nor does
/// the result count of what is at work then.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_not_renewed_is_trusted_for_thirty_seconds() {
    let cluster = cluster_with(2).await;
    let (seen, gate) = (Seen::default(), Arc::new(Notify::new()));
    let consumer = consumer(&cluster.client("c"), in_order(), gated(&seen, &gate)).await;
    assert_eq!(seen.take(), ["0"]);
    tokio::time::sleep(2 * SECOND).await;
    cluster.answer(MASTER_A, RequestCode::LOCK_BATCH_MQ, &[Answer::Silence]);
    tokio::time::sleep(18 * SECOND).await;
    gate.notify_one();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!((seen.take(), consumer.owned_queues()[0].1), (vec!["1".into()], Some(1)));
    // Renewed after one second for the last time.
    cluster.append("a", 0, "T", "2");
    tokio::time::sleep(12 * SECOND).await;
    gate.notify_one();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!((seen.take(), consumer.owned_queues()[0].1), (vec![], Some(1)));
    // The broker had the lock for this client all the time, and gives it when there is something to consume.
    tokio::time::sleep(SECOND).await;
    assert_eq!(seen.take(), ["1"], "it comes again");
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_given_up_when_its_listener_has_ended() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    for n in [0, 0, 1, 1] {
        cluster.append("a", n, "T", &n.to_string());
    }
    let clients = ["c1", "c2"].map(|name| cluster.client(name));
    let (seen, gate) = ([Seen::default(), Seen::default()], Arc::new(Notify::new()));
    let first = consumer(&clients[0], in_order(), gated(&seen[0], &gate)).await;
    assert_eq!(seen[0].digits(), "01");
    let second = consumer(&clients[1], in_order(), seen[1].listener(success)).await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((owned(&first), owned(&second)), (vec![0, 1], vec![]), "its listener is at work");
    cluster.take_log("");
    gate.notify_waiters();
    tokio::time::sleep(40 * SECOND).await;
    assert_eq!((owned(&first), owned(&second)), (vec![0], vec![1]));
    assert_eq!(seen[1].take(), ["1"], "from what the first one committed on");
    let log = cluster.take_log("");
    let commit = format!("15 {MASTER_A} T-1 1");
    let mut ends: Vec<_> =
        log.iter().filter(|line| **line == commit || line.starts_with("42 ")).collect();
    ends.dedup();
    assert_eq!(ends, [&commit, &format!("42 {MASTER_A} 1")], "committed, then released");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_the_listener_end_then_commits_and_releases() {
    let cluster = cluster_with(2).await;
    let (seen, gate) = (Seen::default(), Arc::new(Notify::new()));
    let consumer = consumer(&cluster.client("c"), in_order(), gated(&seen, &gate)).await;
    tokio::time::sleep(2 * SECOND).await;
    cluster.take_log("");
    let stop = async {
        tokio::time::sleep(5 * SECOND).await;
        assert!(cluster.take_log("35 ").is_empty());
        gate.notify_one();
    };
    tokio::join!(consumer.shutdown(), stop);
    assert_eq!(seen.take(), ["0"]);
    let log = cluster.take_log("");
    let ends: Vec<_> = log.iter().map(|line| &line[..2]).filter(|code| *code != "11").collect();
    assert_eq!(ends, ["15", "42", "35"], "{log:?}");
    assert_eq!(cluster.offset("G", 0), Some(1));
}
