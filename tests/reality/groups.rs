//! Push consumers of both languages share one group: members come and go, in order or by `kill -9`. No queue is
//! owned twice or by nobody for long, everything is consumed, and in order where that is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mq_client::{Producer, PullClient};
use mq_env::Env;
use mq_protocol::message::Message;
use mq_tests::senders::producer_config;
use mq_tests::skip::skipped;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::ownership::{Life, Ownership};
use mq_tests::peers::{Cluster, Got, Language, Peer, SAID_WITHIN};
use mq_tests::rocketmq::RocketMq;

const TOPIC: &str = "Shared";
const GROUP: &str = "shared-group";
const QUEUES: i32 = 8;

/// What every draw follows from.
const SEED: u64 = 1;

/// Joins and leaves.
const CHANGES: usize = 52;

/// Members at a time.
const MEMBERS: std::ops::RangeInclusive<usize> = 2..=6;

/// One rebalance, of either client, and what a busy machine adds.
const REBALANCE_MS: u64 = 20_000 + 5_000;

/// How long a broker keeps the lock of a member that does not renew it.
const LOCK_MS: u64 = 60_000;

/// How long Java keeps the lock of a queue that it has given up while messages of it were cached.
const UNLOCK_DELAY_MS: u64 = 20_000;

/// Sends one message after another until it is told to stop; says what was acknowledged.
#[expect(clippy::disallowed_methods, reason = "a task of the test, not of an engine")]
fn send_on(cluster: &Cluster, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<BTreeSet<String>> {
    let producer = Producer::new(&cluster.client, producer_config());
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let mut acknowledged = BTreeSet::new();
        for number in 0.. {
            let body = format!("m{number}");
            if producer.send(Message::new(TOPIC, body.clone())).await.is_ok() {
                acknowledged.insert(body);
            }
            if stop.load(Ordering::SeqCst) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acknowledged
    })
}

/// A group whose members come and go.
struct Group<'a> {
    cluster: &'a Cluster,
    orderly: bool,
    rng: ChaCha8Rng,
    members: Vec<(Language, Peer)>,
    /// What those that are gone left behind.
    gone: Vec<(Language, Life, Vec<Got>)>,
    started: usize,
    killed: usize,
}

impl Group<'_> {
    async fn join(&mut self, language: Language) {
        self.started += 1;
        let name = format!("{language:?}-{}", self.started);
        let orderly = format!("orderly={}", self.orderly);
        let args = [&format!("group={GROUP}"), &format!("topic={TOPIC}"), &orderly];
        let mut peer = self.cluster.peer(language, "consume", &name, &args.map(String::as_str));
        peer.until_said("ready", 1).await;
        self.members.push((language, peer));
    }

    /// Somebody leaves, in order or not.
    async fn part(&mut self, kill: bool) {
        let index = self.rng.random_range(0..self.members.len());
        let (language, mut peer) = self.members.remove(index);
        let ended_ms = match kill {
            true => {
                self.killed += 1;
                Some(peer.kill())
            }
            false => {
                peer.leave().await;
                None
            }
        };
        self.gone.push((language, Life::of(&peer, ended_ms), peer.got()));
    }

    async fn change(&mut self) {
        let is_join = match self.members.len() {
            few if few <= *MEMBERS.start() => true,
            many if many >= *MEMBERS.end() => false,
            _ => self.rng.random(),
        };
        if is_join {
            let language = Language::BOTH[self.rng.random_range(0..2)];
            self.join(language).await;
        } else {
            let kill: bool = self.rng.random();
            self.part(kill).await;
        }
        // Mostly before the group has come to rest, sometimes after.
        let is_rest = self.rng.random_ratio(1, 8);
        let pause_ms = if is_rest {
            self.rng.random_range(20_000..25_000)
        } else {
            self.rng.random_range(0..3_000)
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }

    /// What all members were given so far.
    fn got(&self) -> Vec<(String, Got)> {
        let here = self.members.iter().map(|(_, peer)| (peer.name.clone(), peer.got()));
        let gone = self.gone.iter().map(|(_, life, got)| (life.name.clone(), got.clone()));
        let mut got: Vec<(String, Got)> = here
            .chain(gone)
            .flat_map(|(name, got)| got.into_iter().map(move |got| (name.clone(), got)))
            .collect();
        got.sort_by_key(|(_, got)| got.at_ms);
        got
    }

    /// Waits until everything was consumed.
    async fn until_consumed(&self, acknowledged: &BTreeSet<String>) {
        let deadline = tokio::time::Instant::now() + SAID_WITHIN;
        loop {
            let got: BTreeSet<String> = self.got().into_iter().map(|(_, got)| got.body).collect();
            let missing: Vec<_> = acknowledged.difference(&got).collect();
            if missing.is_empty() {
                return;
            }
            let in_time = tokio::time::Instant::now() < deadline;
            assert!(in_time, "{} never consumed, first {:?}", missing.len(), missing[0]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Each queue's messages come in its order, and whoever takes a queue over goes on where somebody was.
fn assert_in_order(got: &[(String, Got)]) {
    let mut next = BTreeMap::<i32, i64>::new();
    let mut owner = BTreeMap::<i32, (String, i64)>::new();
    for (name, got) in got {
        let Got { queue_id, queue_offset, .. } = *got;
        let next = next.entry(queue_id).or_insert(0);
        assert!(queue_offset <= *next, "queue {queue_id}: {queue_offset} before {next}, {name}");
        let before = owner.insert(queue_id, (name.clone(), queue_offset));
        if let Some((_, last)) = before.filter(|(before, _)| before == name) {
            assert!(
                queue_offset == last + 1,
                "queue {queue_id}: {name} got {queue_offset} behind {last}"
            );
        }
        *next = (*next).max(queue_offset + 1);
    }
}

/// The group's offsets are the ends of its queues.
async fn assert_committed(cluster: &Cluster) {
    let pulls = PullClient::new(&cluster.client, GROUP);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    for queue in pulls.fetch_subscribe_message_queues(TOPIC).await.unwrap() {
        let end = pulls.max_offset(&queue).await.unwrap();
        loop {
            let committed = pulls.query_offset(GROUP, &queue).await.unwrap();
            if committed == Some(end) {
                break;
            }
            let in_time = tokio::time::Instant::now() < deadline;
            assert!(in_time, "{queue:?}: {committed:?} is committed of {end}");
            // The last commits wait for no answer.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn both_languages_share_a_group(broker: Language, orderly: bool) {
    let rocketmq = match RocketMq::get_nightly() {
        Ok(rocketmq) => rocketmq,
        Err(reason) => return skipped("Apache RocketMQ", reason),
    };
    let cluster = Cluster::start(&rocketmq, broker, &[]).await;
    cluster.create_topic(TOPIC, QUEUES).await;
    let mut group = Group {
        cluster: &cluster,
        orderly,
        rng: mq_env::rng::Rng::from_seed(SEED).stream("changes"),
        members: Vec::new(),
        gone: Vec::new(),
        started: 0,
        killed: 0,
    };
    let stop = Arc::<AtomicBool>::default();
    let sending = send_on(&cluster, &stop);
    for language in Language::BOTH {
        group.join(language).await;
    }
    for _ in 0..CHANGES {
        group.change().await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = sending.await.unwrap();
    group.until_consumed(&acknowledged).await;
    let all_left_ms = Env::os().clock.now_millis();
    while !group.members.is_empty() {
        group.part(false).await;
    }

    let got = group.got();
    let ownership = Ownership::of(group.gone.iter().map(|(_, life, _)| life), QUEUES, all_left_ms);
    let by = |language| {
        let gone = group.gone.iter().filter(|(of, ..)| *of == language);
        gone.map(|(_, _, got)| got.len()).sum::<usize>()
    };
    println!(
        "{broker:?}'s broker, orderly {orderly}: {} sent, Java was given {} and Rust {}; {} members, {} killed; \
         a queue owned twice for {} ms and by nobody for {} ms at most",
        acknowledged.len(),
        by(Language::Java),
        by(Language::Rust),
        group.started,
        group.killed,
        ownership.twice_ms,
        ownership.nobody_ms
    );
    assert!(by(Language::Java) > 0 && by(Language::Rust) > 0);
    assert!(ownership.twice_ms <= REBALANCE_MS, "{ownership:?}");
    // Who was killed keeps its locks at the broker, and Java those of messages that it had cached.
    let held_ms = if orderly { LOCK_MS.max(UNLOCK_DELAY_MS) } else { 0 };
    assert!(ownership.nobody_ms <= REBALANCE_MS + held_ms, "{ownership:?}");
    if orderly {
        assert_in_order(&got);
    }
    assert_committed(&cluster).await;
    drop(group);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_languages_share_a_group_of_our_broker() {
    both_languages_share_a_group(Language::Rust, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_languages_share_a_group_in_order_of_our_broker() {
    both_languages_share_a_group(Language::Rust, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_languages_share_a_group_of_javas_broker() {
    both_languages_share_a_group(Language::Java, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_languages_share_a_group_in_order_of_javas_broker() {
    both_languages_share_a_group(Language::Java, true).await;
}
