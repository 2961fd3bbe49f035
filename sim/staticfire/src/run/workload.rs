//! [`Workload`]: the clients of one workload of a plan: producers, members of consumer groups, and the fresh
//! group's reader of all of them.

mod application;
mod ask;
pub mod consume;
mod draft;
mod outbox;
mod outcome;
pub mod poll;
pub mod produce;
pub mod read_back;
mod sender;
mod transact;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use mq_client::idempotence::Deduplicator;
use staticfire_judge::history::{LocalTransaction, Outcome, SendOp};
use staticfire_world::trace::Name;

use self::outbox::Outboxes;
use super::traffic::Traffic;
use crate::plan::{Plan, WorkloadPlan};

/// What the clients of a workload share.
pub struct Workload {
    /// The plan.
    pub plan: WorkloadPlan,
    /// What they share with the clients of the others.
    pub traffic: Arc<Traffic>,
    /// The delay levels of which each message has one; 0 is none.
    pub levels: Vec<u32>,
    /// Most bytes of a batch.
    batch_bytes_max: usize,
    index: usize,
    topic: Name,
    started: AtomicU32,
    in_flight: AtomicU32,
    /// Requests that were sent and whose replies are waited for.
    asking: AtomicU32,
    stopped: AtomicBool,
    /// What readers have consumed that know each key once.
    deduplicators: Mutex<BTreeMap<Name, Arc<Deduplicator>>>,
    /// What producers have sent and know nothing of.
    outboxes: Outboxes,
}

impl Workload {
    /// The `index`th workload of a plan.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new(whole: &Plan, index: usize, traffic: &Arc<Traffic>) -> Self {
        let plan = whole.workloads[index].clone();
        Workload {
            topic: traffic.trace().name(&plan.topic),
            levels: plan.levels(&whole.delay_levels()),
            batch_bytes_max: usize::try_from(whole.batch_bytes_max()).unwrap_or(usize::MAX),
            plan,
            traffic: Arc::clone(traffic),
            index,
            started: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            asking: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            deduplicators: Mutex::default(),
            outboxes: Outboxes::default(),
        }
    }

    /// Its place among the workloads of the plan.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether it uses the queues of a broker group.
    #[must_use]
    pub fn uses(&self, group: &str) -> bool {
        self.plan.uses(group)
    }

    /// Number of sends started.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.started.load(Ordering::Relaxed)
    }

    /// Lets no further send start.
    pub fn stop_sending(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether every send that was started has an outcome.
    fn have_all_ended(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// The same, and nobody waits for the reply to a request.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.have_all_ended() && self.asking.load(Ordering::Relaxed) == 0
    }

    /// Whether as many sends as the plan wants have an outcome.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.have_all_ended() && self.started() >= self.plan.messages
    }

    /// The number of the next message to send, until sending is stopped.
    fn take_number(&self) -> Option<u32> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.traffic.take_number()?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.started.fetch_add(1, Ordering::Relaxed);
        Some(number)
    }

    /// The numbers of the next messages to send together; none once sending is stopped.
    fn take_numbers(&self) -> Vec<u32> {
        (0..self.plan.batch).map_while(|_| self.take_number()).collect()
    }

    /// Counts a message in that is sent once more, until sending is stopped.
    fn takes_again(&self) -> bool {
        let goes_on = !self.stopped.load(Ordering::Relaxed);
        if goes_on {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        goes_on
    }

    /// Records the start of a send; `again`, if its producer started anew.
    fn send_started(
        self: &Arc<Self>,
        producer: &Name,
        number: u32,
        sharding_key: Option<Name>,
        again: bool,
    ) -> InFlight {
        let trace = self.traffic.trace();
        let ordinal = trace.op(producer, u64::from(number), "send");
        let earlier = again.then(|| self.take_earlier(number)).flatten();
        if again {
            self.traffic.history().sent_anew.entry(number).or_default().push(ordinal);
        }
        if self.plan.transaction.is_some() {
            let running = LocalTransaction::Running;
            self.traffic.history().transactions.insert(number, running);
        }
        let (work, started_us) = (Arc::clone(self), trace.now_us());
        InFlight { work, number, sharding_key, started_us, earlier, has_ended: false }
    }

    /// A send is no longer in flight. A local transaction that did not run before that never will.
    fn send_is_over(&self, number: u32) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.plan.transaction.is_some()
            && let Some(transaction) = self.traffic.history().transactions.get_mut(&number)
            && *transaction == LocalTransaction::Running
        {
            *transaction = LocalTransaction::RolledBack;
        }
    }
}

/// A send without an outcome. If it is dropped as such, because the producer's process ends, its outcome stays
/// open for good.
struct InFlight {
    work: Arc<Workload>,
    number: u32,
    sharding_key: Option<Name>,
    started_us: u64,
    /// What came of an earlier send of the message.
    earlier: Option<SendOp>,
    has_ended: bool,
}

impl InFlight {
    /// Records the outcome.
    fn ended(mut self, producer: &Name, mut op: SendOp) {
        self.has_ended = true;
        // Whoever waits for the acknowledgement may look at what is in flight.
        self.work.send_is_over(self.number);
        let now_us = self.work.traffic.trace().now_us();
        (op.number, op.started_us, op.ended_us) = (self.number, self.started_us, now_us);
        op.sharding_key = self.sharding_key.take();
        self.work.leave_outbox(producer, &op);
        let op = outbox::merged(op, self.earlier.as_ref());
        self.work.traffic.send_ended(producer, self.work.index, op);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.work.send_is_over(self.number);
        let trace = self.work.traffic.trace();
        let status = trace.name("PRODUCER_GONE");
        self.work.traffic.history().sends.push(SendOp {
            number: self.number,
            topic: Name::clone(&self.work.topic),
            started_us: self.started_us,
            ended_us: trace.now_us(),
            ordinal: trace.len() as u64,
            outcome: Outcome::Unknown(Name::clone(&status)),
            status,
            group: None,
            place: None,
            attempts: None,
            sharding_key: self.sharding_key.clone(),
        });
    }
}
