//! The clients of a run: producers, the existing consumer group, and the fresh group's reader. They use
//! the real client library, and tell the history what they saw.

pub mod consume;
pub mod produce;
pub mod read_back;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_client::{ClientConfig, ClientInstance};
use mq_env::Env;
use mq_env::watched::Watched;
use mq_protocol::message::MessageExt;
use staticfire_judge::history::{Delivery, History, Outcome, SendOp, fill_body, message_number};
use staticfire_world::trace::{Name, Trace};

use crate::plan::WorkloadPlan;

/// Consumer group that exists throughout a run.
pub const EXISTING_GROUP: &str = "existing-group";
/// Consumer group that reads everything back at the end.
pub const FRESH_GROUP: &str = "fresh-group";

/// Most sends of a run that is short.
const SENDS_MAX: u32 = 100_000;

/// What the clients of a run share.
pub struct Workload {
    /// The plan.
    pub plan: WorkloadPlan,
    /// `host:port` of the name servers.
    pub namesrv_addrs: Vec<String>,
    /// Seed of the bodies.
    pub seed: u64,
    trace: Trace,
    history: Mutex<History>,
    next_number: AtomicU32,
    in_flight: AtomicU32,
    stopped: AtomicBool,
    acks: Watched<u32>,
}

impl Workload {
    /// A workload whose clients know `namesrv_addrs`.
    #[must_use]
    pub fn new(plan: WorkloadPlan, namesrv_addrs: Vec<String>, seed: u64, trace: Trace) -> Self {
        Workload {
            plan,
            namesrv_addrs,
            seed,
            trace,
            history: Mutex::default(),
            next_number: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            acks: Watched::new(0),
        }
    }

    /// What the clients saw so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of acknowledgements, as it grows.
    #[must_use]
    pub fn acks(&self) -> Watched<u32> {
        self.acks.clone()
    }

    /// Number of sends started.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.next_number.load(Ordering::Relaxed)
    }

    /// Lets no further send start.
    pub fn stop_sending(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether every send that was started has an outcome.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// A client of this run.
    fn client(&self, env: &Env, instance_name: &str) -> ClientInstance {
        let config = ClientConfig {
            namesrv_addrs: self.namesrv_addrs.clone(),
            instance_name: instance_name.to_owned(),
            ..ClientConfig::default()
        };
        ClientInstance::start(env.clone(), config)
    }

    /// The number of the next message to send, until sending is stopped.
    fn take_number(&self) -> Option<u32> {
        if self.stopped.load(Ordering::Relaxed) || self.started() >= self.sends_max() {
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(self.next_number.fetch_add(1, Ordering::Relaxed))
    }

    /// Most sends of a run, far more than a story needs: a run has to fit into memory.
    fn sends_max(&self) -> u32 {
        self.plan.messages.saturating_mul(20).max(SENDS_MAX)
    }

    /// How many sends there were, if producers would have gone on and were not let.
    #[must_use]
    pub fn ran_out(&self) -> Option<u32> {
        let started = self.started();
        (started >= self.sends_max()).then_some(started)
    }

    /// Records the start of a send.
    fn send_started(&self, producer: &Name, number: u32) {
        self.trace.op(producer, u64::from(number), "send");
    }

    /// Records the outcome of a send.
    fn send_ended(&self, producer: &Name, mut op: SendOp) {
        let text = match &op.outcome {
            Outcome::Acked => &op.status,
            Outcome::Rejected(text) | Outcome::Unknown(text) => text,
        };
        op.ordinal = self.trace.op(producer, u64::from(op.number), text);
        let acked = op.outcome == Outcome::Acked;
        self.history().sends.push(op);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if acked {
            self.acks.modify(|acks| *acks += 1);
        }
    }

    /// A delivery as the history keeps it.
    fn delivery(&self, source: &Name, message: &MessageExt) -> Delivery {
        let key = message.message.keys().next().unwrap_or_default();
        let number = message_number(key).filter(|number| *number < self.started());
        let body_intact = number.is_some_and(|number| {
            let mut sent = Vec::new();
            fill_body(self.seed, number, message.message.body.len(), &mut sent);
            sent == message.message.body
        });
        let ordinal = self.trace.op(source, u64::from(number.unwrap_or(u32::MAX)), "delivered");
        Delivery {
            number,
            key: Arc::from(key),
            body_intact,
            group: self.trace.name(&message.broker_name),
            queue_id: message.queue_id.unsigned_abs(),
            queue_offset: message.queue_offset.unsigned_abs(),
            phy_offset: message.phy_offset.unsigned_abs(),
            at_us: self.trace.now_us(),
            ordinal,
        }
    }
}
