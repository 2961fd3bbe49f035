//! The local side of transactions: a database beside the cluster, which outlives every producer.

use std::sync::{Arc, Mutex};

use mq_broker::RMQ_SYS_TRANS_HALF_TOPIC;
use mq_client::{LocalTransactionState, SendStatus, TransactionListener, TransactionSendResult};
use mq_env::{BoxFuture, Env};
use mq_protocol::message::{Message, MessageExt};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use staticfire_judge::history::{
    LocalTransaction, Outcome, Place, QueueKey, SendOp, message_number,
};
use staticfire_world::trace::Name;

use super::Workload;
use super::draft::DraftKind;
use super::outcome::stored;
use crate::lock;
use crate::plan::TransactionPlan;

/// What a producer process asks of the database, and answers of it.
pub(super) struct LocalDatabase {
    producer: Name,
    work: Arc<Workload>,
    plan: TransactionPlan,
    draw: Mutex<ChaCha8Rng>,
}

impl LocalDatabase {
    /// Seen from a producer of `work`.
    pub(super) fn of(
        env: &Env,
        producer: &Name,
        work: &Arc<Workload>,
        plan: TransactionPlan,
    ) -> Self {
        let draw = Mutex::new(env.rng.stream("transactions"));
        LocalDatabase { producer: Arc::clone(producer), work: Arc::clone(work), plan, draw }
    }

    fn execute(&self, number: u32) -> LocalTransactionState {
        let mut draw = lock(&self.draw);
        let mut happens = |percent: u32| draw.random_range(0..100) < percent;
        let rolls_back = happens(self.plan.rollback_percent);
        let is_unknown = happens(self.plan.unknown_percent);
        let trace = self.work.traffic.trace();
        let note = |what| trace.op(&self.producer, u64::from(number), what);
        let outcome = if rolls_back {
            note("its transaction is rolled back");
            LocalTransaction::RolledBack
        } else {
            LocalTransaction::Committed { ordinal: note("its transaction is committed") }
        };
        self.work.traffic.history().transactions.insert(number, outcome);
        if is_unknown { LocalTransactionState::Unknow } else { self.look_up(number) }
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
        let state = number.map_or(LocalTransactionState::RollbackMessage, |it| self.execute(it));
        Box::pin(std::future::ready(state))
    }

    fn check_local_transaction(
        &self,
        message: &MessageExt,
    ) -> BoxFuture<'static, LocalTransactionState> {
        let number = message.message.keys().next().and_then(message_number);
        let state = number.map_or(LocalTransactionState::RollbackMessage, |it| self.look_up(it));
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
