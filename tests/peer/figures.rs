//! What a client measures of itself: the twin of `tests/reality/java/Figures.java`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use mq_client::{ClientInstance, ConsumeResult, Producer, PushConsumer};
use mq_protocol::message::{Message, MessageExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Args, body, owned, say};

/// Messages before those whose latency is measured.
const WARM_UP: usize = 200;

/// Time between two of them.
const SEND_EVERY: Duration = Duration::from_millis(2);

/// Counts down, and tells the end.
struct Countdown {
    left: AtomicUsize,
    ended: Notify,
}

impl Countdown {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Countdown { left: AtomicUsize::new(count), ended: Notify::new() })
    }

    fn down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_one();
        }
    }
}

fn count(args: &Args) -> usize {
    usize::try_from(args.number("count", 1)).unwrap()
}

/// How long it takes to consume so many messages that are there, from the first one on.
pub(crate) async fn drain(args: &Args) {
    let client = args.client("");
    let left = Countdown::new(count(args));
    let first = Arc::new(OnceLock::new());
    let (counted, begin) = (Arc::clone(&left), Arc::clone(&first));
    let listener = move |messages: &[Arc<MessageExt>]| {
        begin.get_or_init(Instant::now);
        messages.iter().for_each(|_| counted.down());
        ConsumeResult::Success.into()
    };
    let consumer = PushConsumer::start(&client, args.consumer_config(), Arc::new(listener)).await;
    let consumer = consumer.unwrap();
    left.ended.notified().await;
    say("drained", &[&first.get().unwrap().elapsed().as_micros()]);
    consumer.shutdown().await;
    client.shutdown().await;
}

/// How long a message takes from the send to the listener, one every so often.
pub(crate) async fn latency(args: &Args) {
    let client = args.client("");
    let count = count(args);
    let left = Countdown::new(count + WARM_UP);
    let sent_at = Arc::new(Mutex::new(vec![None; count + WARM_UP]));
    let took = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let (counted, sent, taken) = (Arc::clone(&left), Arc::clone(&sent_at), Arc::clone(&took));
    let listener = move |messages: &[Arc<MessageExt>]| {
        let now = Instant::now();
        for message in messages {
            let number: usize = body(&message.message).parse().unwrap();
            let at: Option<Instant> = lock(&sent)[number];
            if number >= WARM_UP {
                lock(&taken).push(now - at.unwrap());
            }
            counted.down();
        }
        ConsumeResult::Success.into()
    };
    let consumer = PushConsumer::start(&client, args.consumer_config(), Arc::new(listener)).await;
    let consumer = consumer.unwrap();
    let producers = args.client("-producer");
    let producer = Producer::new(&producers, args.producer_config("-producers"));
    for number in 0..count + WARM_UP {
        lock(&sent_at)[number] = Some(Instant::now());
        let message = Message::new(args.get("topic"), number.to_string());
        producer.send(message).await.unwrap();
        tokio::time::sleep(SEND_EVERY).await;
    }
    left.ended.notified().await;
    let mut took = lock(&took).clone();
    took.sort();
    say("latency", &[&took[count / 2].as_micros(), &took[count * 99 / 100].as_micros()]);
    consumer.shutdown().await;
    client.shutdown().await;
    producers.shutdown().await;
}

/// How long it takes from the start of the last one of many members, and again from the leave of one.
pub(crate) async fn members(args: &Args) {
    let queues = usize::try_from(args.number("queues", 1)).unwrap();
    let mut members = Vec::new();
    for member in 1..args.number("members", 1) {
        members.push(start_member(args, member).await);
    }
    divided(args, &members, queues).await;
    let begin = Instant::now();
    members.push(start_member(args, 0).await);
    divided(args, &members, queues).await;
    say("joined", &[&begin.elapsed().as_micros()]);
    let begin = Instant::now();
    let (client, consumer) = members.remove(0);
    consumer.shutdown().await;
    client.shutdown().await;
    divided(args, &members, queues).await;
    say("parted", &[&begin.elapsed().as_micros()]);
    for (client, consumer) in members {
        consumer.shutdown().await;
        client.shutdown().await;
    }
}

/// A member with a client of its own.
async fn start_member(args: &Args, member: i32) -> (ClientInstance, PushConsumer) {
    let client = args.client(&member.to_string());
    let listener = |_: &[Arc<MessageExt>]| ConsumeResult::Success.into();
    let consumer = PushConsumer::start(&client, args.consumer_config(), Arc::new(listener)).await;
    (client, consumer.unwrap())
}

/// Waits until every queue has one owner and nobody has too few.
async fn divided(args: &Args, members: &[(ClientInstance, PushConsumer)], queues: usize) {
    loop {
        let owned: Vec<Vec<String>> =
            members.iter().map(|(_, consumer)| owned(consumer, args.get("topic"))).collect();
        let is_even = owned.iter().all(|its| its.len() >= queues / members.len());
        let all: Vec<&String> = owned.iter().flatten().collect();
        let different: BTreeSet<&&String> = all.iter().collect();
        if is_even && all.len() == queues && different.len() == queues {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
