//! The local side of transactions: a database beside the cluster, which outlives every producer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_broker::RMQ_SYS_TRANS_HALF_TOPIC;
use mq_client::{LocalTransactionState, SendStatus, TransactionListener, TransactionSendResult};
use mq_env::{BoxFuture, Env};
use mq_protocol::message::{Message, MessageExt};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use staticfire_judge::history::{
    Answered, LocalTransaction, Outcome, Place, QueueKey, SendOp, drawn_percent, message_number,
};
use staticfire_world::trace::Name;
use tokio::time::sleep;

use super::Workload;
use super::draft::DraftKind;
use super::outcome::stored;
use crate::lock;
use crate::plan::TransactionPlan;

/// What a producer process asks of the database, and answers of it.
#[derive(Clone)]
pub(super) struct LocalDatabase {
    producer: Name,
    work: Arc<Workload>,
    plan: TransactionPlan,
    draw: Arc<Mutex<ChaCha8Rng>>,
    /// How long local transactions take.
    durations: Arc<Mutex<ChaCha8Rng>>,
}

impl LocalDatabase {
    /// Seen from a producer of `work`.
    pub(super) fn of(
        env: &Env,
        producer: &Name,
        work: &Arc<Workload>,
        plan: TransactionPlan,
    ) -> Self {
        let stream = |name| Arc::new(Mutex::new(env.rng.stream(name)));
        let (draw, durations) = (stream("transactions"), stream("local transactions"));
        let (producer, work) = (Arc::clone(producer), Arc::clone(work));
        LocalDatabase { producer, work, plan, draw, durations }
    }

    /// Notes when the broker's answer came: the local transaction begins with it.
    fn half_is_stored(&self, number: u32) {
        let trace = self.work.traffic.trace();
        let answered = Answered { at_us: trace.now_us(), ordinal: trace.len() as u64 };
        self.work.traffic.history().halves_answered.insert(number, answered);
    }

    /// How long the next local transaction takes.
    fn duration(&self) -> Option<Duration> {
        let [least, most] = self.plan.lasts?;
        Some(Duration::from_millis(lock(&self.durations).random_range(least.0..=most.0)))
    }

    fn execute(&self, number: u32) -> LocalTransactionState {
        let mut draw = lock(&self.draw);
        let mut happens = |percent: u32| draw.random_range(0..100) < percent;
        let rolls_back = happens(self.plan.rollback_percent);
        let is_unknown = happens(self.plan.unknown_percent);
        let trace = self.work.traffic.trace();
        let note = |what| trace.op(&self.producer, u64::from(number), what);
        if self.plan.denied_percent > 0 && self.has_ended(number) {
            note("its producer says COMMIT, having said ROLLBACK");
            return LocalTransactionState::CommitMessage;
        }
        let outcome = if rolls_back {
            note("its transaction is rolled back");
            LocalTransaction::RolledBack
        } else {
            LocalTransaction::Committed { ordinal: note("its transaction is committed") }
        };
        self.work.traffic.history().transactions.insert(number, outcome);
        if is_unknown { LocalTransactionState::Unknow } else { self.look_up(number) }
    }

    /// Whether a question was answered already with what ends the transaction.
    fn has_ended(&self, number: u32) -> bool {
        let history = self.work.traffic.history();
        let transaction = history.transactions.get(&number);
        transaction.is_some_and(|it| *it != LocalTransaction::Running)
    }

    /// What a broker is told that asks.
    fn answer(&self, number: u32) -> LocalTransactionState {
        let (seed, percent) = (self.work.traffic.seed, self.plan.denied_percent);
        if drawn_percent(seed, "denied", number) < percent && !self.has_ended(number) {
            self.work.traffic.trace().op(
                &self.producer,
                u64::from(number),
                "is told to be rolled back",
            );
            let denied = LocalTransaction::RolledBack;
            self.work.traffic.history().transactions.insert(number, denied);
        }
        self.look_up(number)
    }

    fn look_up(&self, number: u32) -> LocalTransactionState {
        match self.work.traffic.history().transactions.get(&number) {
            Some(LocalTransaction::Running) => LocalTransactionState::Unknow,
            Some(LocalTransaction::Committed { .. }) => LocalTransactionState::CommitMessage,
            Some(LocalTransaction::RolledBack) | None => LocalTransactionState::RollbackMessage,
        }
    }
}

impl TransactionListener for LocalDatabase {
    fn execute_local_transaction(
        &self,
        message: &Message,
    ) -> BoxFuture<'static, LocalTransactionState> {
        let number = message.keys().next().and_then(message_number);
        let database = self.clone();
        Box::pin(async move {
            let Some(number) = number else { return LocalTransactionState::RollbackMessage };
            database.half_is_stored(number);
            if let Some(duration) = database.duration() {
                sleep(duration).await;
            }
            database.execute(number)
        })
    }

    fn check_local_transaction(
        &self,
        message: &MessageExt,
    ) -> BoxFuture<'static, LocalTransactionState> {
        let number = message.message.keys().next().and_then(message_number);
        let state = number.map_or(LocalTransactionState::RollbackMessage, |it| self.answer(it));
        Box::pin(std::future::ready(state))
    }
}

/// A half message that a broker stored, with whatever guarantee, and how its transaction ended.
pub(super) fn half_stored(
    work: &Workload,
    kind: DraftKind,
    result: &TransactionSendResult,
) -> SendOp {
    let half = &result.send_result;
    let mut op = stored(work, kind, half);
    let trace = work.traffic.trace();
    if let Some(place) = &mut op.place {
        // The broker tells the offset at which the half message waits.
        let topic = trace.name(RMQ_SYS_TRANS_HALF_TOPIC);
        let queue = QueueKey { topic, queue_id: 0, ..place.queue.clone() };
        *place = Place { queue, ..place.clone() };
    }
    if half.send_status != SendStatus::SendOk {
        return op;
    }
    let is_committed = matches!(
        work.traffic.history().transactions.get(&kind.number),
        Some(LocalTransaction::Committed { .. })
    );
    if !is_committed {
        (op.outcome, op.status) = (Outcome::RolledBack, trace.name("ROLLBACK_MESSAGE"));
    } else if result.local_transaction_state == LocalTransactionState::Unknow {
        op.status = trace.name("UNKNOW");
    }
    op
}
