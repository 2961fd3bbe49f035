//! A producer process: it starts sends at its rate, keeps at most a window of them in flight, and
//! slows down while they fail.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mq_client::{
    ClientError, Producer, ProducerConfig, SelectMessageQueueByHash, SendError, SendResult,
    SendStatus, TransactionProducer,
};
use mq_env::Env;
use mq_protocol::codes::ResponseCode;
use mq_protocol::message::{Message, MessageConst, OffsetMessageId};
use mq_store::delay_level::SCHEDULE_TOPIC;
use staticfire_judge::history::{Outcome, Place, QueueKey, SendOp, fill_body, message_key};
use staticfire_world::trace::Name;
use staticfire_world::world::ProcessContext;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use super::outbox::Draft;
use super::transact::{LocalDatabase, half_stored};
use super::{InFlight, Workload};
use crate::lock;

/// A send that was not acknowledged keeps its place in the window for this long, so that a cluster
/// in trouble is not flooded and the story's messages last.
const BACK_OFF: Duration = Duration::from_millis(300);

/// Main function of a producer process.
pub async fn run(context: ProcessContext, work: Arc<Workload>) {
    let ProcessContext { env, shutdown, name, .. } = context;
    let client = work.traffic.client(&env, &name);
    let mut config = ProducerConfig::new(work.plan.producer_group());
    config.send_msg_timeout = work.plan.send_timeout.duration();
    // Compression would hide the size of a body from the plan.
    config.compress_body_over_bytes = usize::MAX;
    let producer = match work.plan.transaction {
        None if work.plan.ordered => Sender::Ordered(Producer::new(&client, config)),
        None => Sender::Plain(Producer::new(&client, config)),
        Some(plan) => {
            let database = Arc::new(LocalDatabase::of(&env, &name, &work, plan));
            Sender::InTransactions(TransactionProducer::new(&client, config, database))
        }
    };
    let sending = send_all(&env, &name, &work, &producer);
    let _ = shutdown.run_until_cancelled(sending).await;
    shutdown.cancelled().await;
    client.shutdown().await;
}

/// How messages are sent.
#[derive(Clone)]
enum Sender {
    Plain(Producer),
    Ordered(Producer),
    InTransactions(TransactionProducer),
}

impl Sender {
    async fn send(&self, work: &Workload, number: u32, message: Message, wait: bool) -> SendOp {
        let sent = match self {
            Sender::Plain(producer) => {
                producer.send(message).await.map(|result| stored(work, &result, wait))
            }
            Sender::Ordered(producer) => {
                send_in_order(producer, message).await.map(|result| stored(work, &result, wait))
            }
            Sender::InTransactions(producer) => {
                let sent = producer.send_message_in_transaction(message).await;
                sent.map(|result| half_stored(work, number, &result))
            }
        };
        sent.unwrap_or_else(|error| failed(work, &error))
    }
}

/// Sends to the queue that the sharding key chooses, once: elsewhere it would be out of order.
async fn send_in_order(producer: &Producer, message: Message) -> Result<SendResult, SendError> {
    let key = message.properties.get(MessageConst::SHARDING_KEY).unwrap_or_default().to_owned();
    producer.send_with_selector(message, &SelectMessageQueueByHash, &*key).await
}

async fn send_all(env: &Env, name: &Name, work: &Arc<Workload>, producer: &Sender) {
    let window = Arc::new(Semaphore::new(work.plan.window as usize));
    let keys = Arc::new(Mutex::new((0..work.plan.window).collect::<BTreeSet<_>>()));
    let interval = Duration::from_millis((1_000 / u64::from(work.plan.rate_per_second)).max(1));
    let mut draw = env.rng.stream("workload");
    let mut left = work.left_in_outbox(name).into_iter();
    let mut due = Instant::now();
    while let Ok(place) = Arc::clone(&window).acquire_owned().await {
        sleep_until(due).await;
        due = Instant::now().max(due) + interval;
        let again = left.next();
        let message = match again {
            Some(found) => work.takes_again().then_some(found),
            None => work.take_number().map(|number| (number, new_draft(work, &mut draw))),
        };
        let Some((number, draft)) = message else { return };
        work.enters_outbox(name, number, draft);
        let (work, producer, name) = (Arc::clone(work), producer.clone(), Arc::clone(name));
        // Each place in the window is a key, whose messages go one after the other.
        let key = lock(&keys).pop_first();
        let keys = Arc::clone(&keys);
        env.tasks.spawn("send", async move {
            let sharding_key = key.filter(|_| work.plan.ordered);
            let sharding_key =
                sharding_key.map(|key| work.traffic.trace().name(&format!("{name}-{key}")));
            let in_flight = work.send_started(&name, number, sharding_key, again.is_some());
            let acked = send_one(&name, &producer, in_flight, draft).await;
            if !acked {
                sleep(BACK_OFF).await;
            }
            lock(&keys).extend(key);
            drop(place);
        });
    }
}

fn new_draft(work: &Workload, draw: &mut impl rand::Rng) -> Draft {
    let [shortest, longest] = work.plan.body_bytes;
    let len = draw.random_range(shortest..=longest) as usize;
    Draft { len, wait: draw.random_range(0..100) >= work.plan.wait_false_percent }
}

/// Sends one message and records what became of it; whether it was acknowledged.
async fn send_one(name: &Name, producer: &Sender, in_flight: InFlight, draft: Draft) -> bool {
    let (work, number) = (Arc::clone(&in_flight.work), in_flight.number);
    let Draft { len, wait } = draft;
    let mut body = Vec::with_capacity(len + 8);
    fill_body(work.traffic.seed, number, len, &mut body);
    let mut message = Message::new(work.plan.topic.clone(), Bytes::from(body));
    message.properties.insert(MessageConst::KEYS, &message_key(number));
    if !wait {
        message.properties.insert(MessageConst::WAIT, "false");
    }
    if work.plan.delay_level > 0 {
        message.properties.insert_display(MessageConst::DELAY, work.plan.delay_level);
    }
    if let Some(key) = &in_flight.sharding_key {
        message.properties.insert(MessageConst::SHARDING_KEY, key);
    }
    let op = producer.send(&work, number, message, wait).await;
    let acked = op.outcome == Outcome::Acked;
    // Of a message that waits for nothing nobody learns more than that it was sent.
    let is_known = acked || (!wait && &*op.status == status_name(SendStatus::SendOk));
    in_flight.ended(name, op);
    if is_known {
        work.leaves_outbox(name, number);
    }
    acked
}

/// A message that a broker stored, with whatever guarantee.
pub(super) fn stored(work: &Workload, result: &SendResult, wait: bool) -> SendOp {
    let trace = work.traffic.trace();
    let status = trace.name(status_name(result.send_status));
    let acked = result.send_status == SendStatus::SendOk && wait;
    let group = trace.name(&result.message_queue.broker_name);
    let phy_offset = result.offset_msg_id.parse().map_or(0, |id: OffsetMessageId| id.phy_offset);
    // The offset that a broker tells of a delayed message belongs to where it waits.
    let (topic, queue_id) = match work.plan.delay_level {
        0 => (Name::clone(&work.topic), result.message_queue.queue_id.unsigned_abs()),
        level => (trace.name(SCHEDULE_TOPIC), level - 1),
    };
    let place = Place {
        queue: QueueKey { group: Name::clone(&group), topic, queue_id },
        queue_offset: result.queue_offset.unsigned_abs(),
        phy_offset: phy_offset.unsigned_abs(),
    };
    let outcome = if acked { Outcome::Acked } else { Outcome::Unknown(Arc::clone(&status)) };
    blank_op(work, outcome, status, Some((group, place)), result.attempts)
}

fn failed(work: &Workload, error: &SendError) -> SendOp {
    let trace = work.traffic.trace();
    let text = trace.name(&error.cause.to_string());
    let status = match &error.cause {
        ClientError::Broker { code, .. } => ResponseCode::name(*code).map(|name| trace.name(name)),
        _ => None,
    };
    let status = status.unwrap_or_else(|| Arc::clone(&text));
    let outcome = if error.maybe_stored { Outcome::Unknown(text) } else { Outcome::Rejected(text) };
    blank_op(work, outcome, status, None, error.attempts)
}

fn blank_op(
    work: &Workload,
    outcome: Outcome,
    status: Name,
    stored: Option<(Name, Place)>,
    attempts: u32,
) -> SendOp {
    let (number, started_us, ended_us, ordinal) = (0, 0, 0, 0);
    let topic = Name::clone(&work.topic);
    let (group, place) = stored.unzip();
    let attempts = Some(attempts);
    let sharding_key = None;
    SendOp {
        number,
        topic,
        started_us,
        ended_us,
        ordinal,
        outcome,
        status,
        group,
        place,
        attempts,
        sharding_key,
    }
}

/// The status in RocketMQ's spelling.
fn status_name(status: SendStatus) -> &'static str {
    match status {
        SendStatus::SendOk => "SEND_OK",
        SendStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
        SendStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
        SendStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
    }
}
