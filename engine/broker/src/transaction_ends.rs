//! [`TransactionEnds`]: which half messages are done with, so that each transaction ends once.
//!
//! RocketMQ 4.9 keeps no account while a broker runs: it stores a message with every commit that comes, and
//! answers a rollback after a commit as if it had one. Here the first end counts. The account begins at the
//! offsets that `CID_RMQ_SYS_TRANS` has committed of half and op messages, as 4.9's does, and is the sum of
//! the op messages from there on. What a crash left without its op message is found by its key in the index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bytes::Bytes;
use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::{RecordView, decode_record};
use mq_protocol::topic_validator::{RMQ_SYS_TRANS_HALF_TOPIC, RMQ_SYS_TRANS_OP_HALF_TOPIC};
use mq_store::plant::{Plant, planted_on_this_thread};
use mq_store::{ConsumeQueue, MessageInner, MessageStore};

use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::context::BrokerContext;
use crate::transactional_message::{TRANSACTION_QUEUE_NUMS, op_message};
use crate::{lock, now_ms};

/// The group whose offsets say how far half and op messages are done with.
const CID_RMQ_SYS_TRANS: &str = "CID_RMQ_SYS_TRANS";
/// The queue of either topic.
const QUEUE_ID: u32 = 0;
/// Op messages read before other tasks get a turn.
const OPS_PER_TURN: usize = 64;
/// Messages of one key among which a committed one is looked for.
const SAME_KEY_MAX: usize = 64;

/// The ends of the half messages of a master.
#[derive(Default)]
pub(crate) struct TransactionEnds {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_loaded: bool,
    /// End of the log when the account began: below it, a commit may have come before its op message was lost.
    inherited_to: u64,
    /// First half message that is not done with; queue offset, as all below.
    half_offset: u64,
    /// The next op message to read.
    op_offset: u64,
    /// Half messages from `half_offset` on that are done with, and their op messages where there is one.
    done: BTreeMap<u64, Option<u64>>,
    /// Those of which an end is under way.
    ending: BTreeSet<u64>,
}

/// How far a half message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody has ended it.
    Open,
    /// It has ended, and its op message is still to be written.
    LacksOp,
    /// It is done with.
    Done,
}

/// An end under way: nobody else ends this half message meanwhile. Dropped, it leaves the message as it was.
pub(crate) struct Ending<'a> {
    ends: &'a TransactionEnds,
    half_offset: u64,
}

impl TransactionEnds {
    /// Forgets everything: the log may be another master's from here on.
    pub(crate) fn reset(&self) {
        *lock(&self.state) = State::default();
    }

    /// Reads the op messages that nobody has read yet.
    pub(crate) async fn catch_up(&self, context: &BrokerContext) {
        loop {
            let is_behind = {
                let mut state = lock(&self.state);
                state.load(&context.store, &context.offsets);
                state.read_ops(&context.store)
            };
            if !is_behind {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Begins to end a half message; `None` if it has ended, or is about to, or the role has changed meanwhile.
    pub(crate) fn begin(&self, half_offset: u64) -> Option<Ending<'_>> {
        let mut state = lock(&self.state);
        let ends_twice = planted_on_this_thread(Plant::TransactionEndsTwice);
        let is_open = state.is_loaded && (ends_twice || !state.is_done(half_offset));
        let is_open = is_open && state.ending.insert(half_offset);
        drop(state);
        is_open.then(|| Ending { ends: self, half_offset })
    }

    /// How far a half message has come.
    pub(crate) fn stage(&self, half_offset: u64) -> Stage {
        let state = lock(&self.state);
        match state.done.get(&half_offset) {
            Some(None) => Stage::LacksOp,
            Some(Some(_)) => Stage::Done,
            None if half_offset < state.half_offset => Stage::Done,
            None => Stage::Open,
        }
    }

    /// The op message of a half message that is done with was written at last.
    pub(crate) fn op_written(&self, half_offset: u64, op_offset: u64) {
        if let Some(op) = lock(&self.state).done.get_mut(&half_offset) {
            *op = Some(op_offset);
        }
    }

    /// The first half message that may not be done with.
    pub(crate) fn first_open(&self) -> u64 {
        lock(&self.state).half_offset
    }

    /// A half message is passed over for good, as RocketMQ 4.9 does with one that it has appended anew: until
    /// [`TransactionEnds::advance`] has moved on over it, it lacks its op message.
    pub(crate) fn pass(&self, half_offset: u64) {
        lock(&self.state).done.insert(half_offset, None);
    }

    /// Moves on over what is done with, and commits how far that is. The half queue begins at `half_min`.
    pub(crate) fn advance(&self, offsets: &ConsumerOffsetManager, half_min: u64) {
        let (half_offset, op_offset) = lock(&self.state).advance(half_min);
        commit(offsets, RMQ_SYS_TRANS_HALF_TOPIC, half_offset);
        commit(offsets, RMQ_SYS_TRANS_OP_HALF_TOPIC, op_offset);
    }

    /// Whether `message` was stored as the commit of `half` before this account began, and its op message was
    /// lost in a crash.
    pub(crate) fn was_committed(
        &self,
        store: &MessageStore,
        half: &RecordView<'_>,
        message: &MessageInner,
    ) -> bool {
        if half.phy_offset() as u64 >= lock(&self.state).inherited_to {
            return false;
        }
        let Some(key) = PropertiesView::new(&message.properties).get(MessageConst::UNIQ_KEY) else {
            return false;
        };
        let since_ms = half.store_timestamp();
        let found = store.query_message(&message.topic, key, SAME_KEY_MAX, since_ms, i64::MAX);
        let is_commit = |record: &[u8]| {
            decode_record(record)
                .is_ok_and(|it| it.prepared_transaction_offset() == half.phy_offset())
        };
        found.messages.iter().any(|record| is_commit(record))
    }
}

impl State {
    fn load(&mut self, store: &MessageStore, offsets: &ConsumerOffsetManager) {
        if self.is_loaded {
            return;
        }
        let begin = |topic| {
            let committed = offsets.query_offset(CID_RMQ_SYS_TRANS, topic, QUEUE_ID as i32);
            committed.and_then(|offset| u64::try_from(offset).ok()).unwrap_or_default()
        };
        self.half_offset = begin(RMQ_SYS_TRANS_HALF_TOPIC);
        self.op_offset = begin(RMQ_SYS_TRANS_OP_HALF_TOPIC);
        self.inherited_to = store.commit_log().max_offset();
        self.is_loaded = true;
    }

    /// Reads some op messages; whether there are more.
    fn read_ops(&mut self, store: &MessageStore) -> bool {
        let Some(queue) = store.consume_queues().find(RMQ_SYS_TRANS_OP_HALF_TOPIC, QUEUE_ID) else {
            return false;
        };
        let end = queue.max_offset_in_queue();
        self.op_offset = self.op_offset.max(queue.min_offset_in_queue());
        for _ in 0..OPS_PER_TURN {
            if self.op_offset >= end {
                return false;
            }
            let half_offset = record_at(store, &queue, self.op_offset).and_then(|op| ended_by(&op));
            if let Some(half_offset) = half_offset.filter(|half| *half >= self.half_offset) {
                self.done.insert(half_offset, Some(self.op_offset));
            }
            self.op_offset += 1;
        }
        true
    }

    fn is_done(&self, half_offset: u64) -> bool {
        half_offset < self.half_offset || self.done.contains_key(&half_offset)
    }

    fn advance(&mut self, half_min: u64) -> (u64, u64) {
        let before = self.half_offset;
        self.half_offset = self.half_offset.max(half_min);
        self.done = self.done.split_off(&self.half_offset);
        if planted_on_this_thread(Plant::OpenHalvesPassed)
            && let Some((last, _)) = self.done.last_key_value()
        {
            self.half_offset = *last;
        }
        while self.done.remove(&self.half_offset).is_some() {
            self.half_offset += 1;
        }
        assert!(before <= self.half_offset, "nothing is open again: {before}");
        // The op messages of what is done with behind it are read again after a restart.
        let op_offset = self.done.values().flatten().min().copied();
        (self.half_offset, op_offset.unwrap_or(self.op_offset).min(self.op_offset))
    }
}

impl Ending<'_> {
    /// The half message has ended; `op_offset` is where its op message stands, if it could be written.
    pub(crate) fn done(self, op_offset: Option<u64>) {
        let mut state = lock(&self.ends.state);
        state.done.insert(self.half_offset, op_offset);
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        lock(&self.ends.state).ending.remove(&self.half_offset);
    }
}

/// The record at an offset of a queue.
pub(crate) fn record_at(store: &MessageStore, queue: &ConsumeQueue, offset: u64) -> Option<Bytes> {
    let phy_offset = u64::try_from(queue.unit(offset)?.phy_offset).ok()?;
    store.look_message_by_offset(phy_offset).map(Bytes::from_owner)
}

/// Writes the op message of a half message; where it stands, or `None` if it was refused: the half message is
/// asked about again after the next start.
pub(crate) async fn write_op(context: &BrokerContext, half: &RecordView<'_>) -> Option<u64> {
    let op = op_message(half, now_ms(&*context.env.clock), context.store_host);
    store_of_own(context, half, &op).await
}

/// Stores what the broker itself has to say of a half message, under a topic that is made if need be. Its queue
/// offset, or `None`, which is logged.
pub(crate) async fn store_of_own(
    context: &BrokerContext,
    half: &RecordView<'_>,
    message: &MessageInner,
) -> Option<u64> {
    let (topic, offset) = (&message.topic, half.queue_offset());
    if let Err(error) = context.ensure_group_topic(topic, TRANSACTION_QUEUE_NUMS, false).await {
        tracing::error!(topic, offset, %error, "the topic cannot be created");
        return None;
    }
    let put = context.store.put_message(message).await;
    if put.append.is_none() {
        let status = put.status.name();
        tracing::error!(topic, offset, status, "nothing is written down of a half message");
    }
    put.append.map(|appended| appended.queue_offset)
}

/// The half message that an op message ends.
fn ended_by(op: &Bytes) -> Option<u64> {
    std::str::from_utf8(decode_record(op).ok()?.body()).ok()?.parse().ok()
}

fn commit(offsets: &ConsumerOffsetManager, topic: &str, offset: u64) {
    let (group, queue_id) = (CID_RMQ_SYS_TRANS, QUEUE_ID as i32);
    let before = offsets.query_offset(group, topic, queue_id);
    let Ok(offset) = i64::try_from(offset) else { return };
    if before == Some(offset) || (before.is_none() && offset == 0) {
        return;
    }
    if let Err(error) = offsets.commit_offset(group, topic, queue_id, offset) {
        tracing::error!(topic, offset, %error, "how far transactions are done with is not kept");
    }
}
