//! `ProcessQueue`: the messages of one queue that were pulled and are not consumed yet (RocketMQ 4.9
//! `ProcessQueue`).
//!
//! The offset that may be committed is the lowest one still here, or the one behind the highest
//! ever seen: a message that is stuck holds it back, however many behind it are done.
//!
//! A queue that is consumed in order is locked at its broker. What it holds was pulled in one term of that lock
//! ([`QueueLease`]) and is handed out and committed in that term alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::running_info::ProcessQueueInfo;
use mq_protocol::message::MessageExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::flow_control::FlowControl;
use crate::queue_lease::QueueLease;

/// A queue without a pull for longer is given up and taken again (`rocketmq.client.pull.pullMaxIdleTime`).
const PULL_MAX_IDLE_TIME: Duration = Duration::from_secs(120);

/// The cache of one queue.
#[derive(Default)]
pub(crate) struct ProcessQueue {
    state: Mutex<State>,
    /// Signalled when messages wait for the listener.
    arrived: Notify,
    /// Signalled when messages have left.
    drained: Notify,
    /// Signalled when a term of the lock begins or the lock is lost.
    lock_changed: Notify,
    /// Held while the listener has messages of a queue that is consumed in order.
    consuming: tokio::sync::Mutex<()>,
    dropped: CancellationToken,
    /// Wall clock in ms, for operators.
    last_pull_ms: AtomicI64,
    last_consume_ms: AtomicI64,
    /// Where it is taken again once it has rested.
    move_to: AtomicI64,
}

#[derive(Default)]
struct State {
    /// Everything pulled and not done, by queue offset.
    cached: BTreeMap<i64, Arc<MessageExt>>,
    /// What the listener has not been given yet.
    waiting: VecDeque<Arc<MessageExt>>,
    size_bytes: usize,
    /// When the listener was given each message that it has, by queue offset.
    consume_started: BTreeMap<i64, Instant>,
    /// When the pull began that is under way.
    pull_started: Option<Instant>,
    /// Highest offset ever put here.
    queue_offset_max: Option<i64>,
    /// The lock, if the queue is one that is locked.
    lease: Option<QueueLease>,
    /// The term of the lock in which the content was pulled.
    content_term: u64,
    /// It is given up as soon as the listener that has messages of it has ended.
    is_leaving: bool,
}

impl State {
    /// See [`ProcessQueue::term`].
    fn term(&self) -> Option<u64> {
        self.lease.map_or(Some(0), |lease| lease.term_at(Instant::now()))
    }

    fn may_commit(&self) -> bool {
        self.term() == Some(self.content_term)
    }

    /// The messages that wait for the listener, at most `count_max`.
    fn take(&mut self, count_max: usize) -> Vec<Arc<MessageExt>> {
        let count = count_max.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// A broker may send a message twice: it is here once.
    fn cache(&mut self, message: &Arc<MessageExt>) {
        self.forget(message.queue_offset);
        self.cached.insert(message.queue_offset, Arc::clone(message));
        self.size_bytes += message.message.body.len();
    }

    fn forget(&mut self, offset: i64) {
        let Some(message) = self.cached.remove(&offset) else { return };
        self.consume_started.remove(&offset);
        let len = message.message.body.len();
        assert!(self.size_bytes >= len, "{len} bytes of {} leave", self.size_bytes);
        self.size_bytes -= len;
        assert!(!self.cached.is_empty() || self.size_bytes == 0, "nothing has no size");
    }
}

impl ProcessQueue {
    /// A queue whose lock its broker gave and that is trusted from `trusted_from` on, to be read from now on.
    pub(crate) fn locked(trusted_from: Instant) -> Self {
        let lease = QueueLease::given(trusted_from);
        ProcessQueue::leased(lease, lease.term_at(trusted_from).unwrap_or_default())
    }

    /// One that is to be locked before it is read.
    pub(crate) fn to_be_locked() -> Self {
        ProcessQueue::leased(QueueLease::none(), 0)
    }

    fn leased(lease: QueueLease, content_term: u64) -> Self {
        let state = State { lease: Some(lease), content_term, ..State::default() };
        ProcessQueue { state: Mutex::new(state), ..ProcessQueue::default() }
    }

    /// Adds what was pulled.
    pub(crate) fn put(&self, messages: Vec<Arc<MessageExt>>) {
        let mut state = self.state();
        for message in messages {
            let offset = message.queue_offset;
            state.queue_offset_max = state.queue_offset_max.max(Some(offset));
            state.cache(&message);
            state.waiting.push_back(message);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Gives messages that could be neither consumed nor sent back to the listener once more.
    pub(crate) fn put_back(&self, messages: Vec<Arc<MessageExt>>) {
        let mut state = self.state();
        for message in messages {
            state.cache(&message);
            state.waiting.push_back(message);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The next messages for the listener, at most `count_max`; waits until there is one. `None` once
    /// the queue is dropped.
    pub(crate) async fn take(&self, count_max: usize) -> Option<Vec<Arc<MessageExt>>> {
        loop {
            if self.is_dropped() {
                return None;
            }
            let batch = self.take_now(count_max);
            if !batch.is_empty() {
                return Some(batch);
            }
            mq_env::select! {
                () = self.dropped.cancelled() => return None,
                () = self.arrived.notified() => {}
            }
        }
    }

    /// The messages that wait for the listener, at most `count_max`.
    pub(crate) fn take_now(&self, count_max: usize) -> Vec<Arc<MessageExt>> {
        self.state().take(count_max)
    }

    /// Removes what is done. Returns the offset that may be committed now.
    pub(crate) fn remove(&self, messages: &[Arc<MessageExt>]) -> Option<i64> {
        let mut state = self.state();
        for message in messages {
            state.forget(message.queue_offset);
        }
        let first = state.cached.keys().next().copied();
        let first = first.filter(|_| !planted_on_this_thread(Plant::OffsetBeforeListener));
        let commit = first.or(state.queue_offset_max.map(|offset| offset + 1));
        let is_at_most = |max: i64| commit.is_some_and(|commit| commit <= max.saturating_add(1));
        assert!(
            state.queue_offset_max.is_none_or(is_at_most),
            "nothing is committed that was not seen"
        );
        drop(state);
        self.drained.notify_one();
        commit
    }

    /// The term in which the queue may be consumed now: that of its lock, while that is trusted. Always the
    /// same one for a queue that is not locked.
    pub(crate) fn term(&self) -> Option<u64> {
        self.state().term()
    }

    /// Whether what was consumed of its content may be committed now.
    pub(crate) fn may_commit(&self) -> bool {
        self.state().may_commit()
    }

    /// Whether its content was pulled in `term`.
    pub(crate) fn is_read_in(&self, term: u64) -> bool {
        self.state().content_term == term
    }

    /// Its broker gave the lock, which is trusted from `trusted_from` on.
    pub(crate) fn lock_given(&self, trusted_from: Instant) {
        let is_new_term = {
            let mut state = self.state();
            let lease = state.lease.as_mut();
            lease.is_some_and(|lease| lease.renew(trusted_from, Instant::now()))
        };
        if is_new_term {
            self.lock_changed.notify_one();
        }
    }

    /// Its broker gave the lock to another client.
    pub(crate) fn lock_lost(&self) {
        if let Some(lease) = &mut self.state().lease {
            lease.lose();
        }
        self.lock_changed.notify_one();
    }

    /// Resolves when a term of the lock begins or the lock is lost.
    pub(crate) async fn lock_changed(&self) {
        self.lock_changed.notified().await;
    }

    /// When the lock is not trusted any more; `None` if it is not trusted now, or there is none.
    pub(crate) fn locked_until(&self) -> Option<Instant> {
        self.state().lease.and_then(|lease| lease.valid_until())
    }

    /// Forgets everything: it was pulled before `term`. The caller has [the turn](ProcessQueue::consuming).
    pub(crate) fn start_over(&self, term: u64) {
        let mut state = self.state();
        let lease = state.lease;
        *state =
            State { lease, content_term: term, is_leaving: state.is_leaving, ..State::default() };
    }

    /// Waits for the turn to have the listener consume, where that happens in order.
    pub(crate) async fn consuming(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.consuming.lock().await
    }

    /// Waits until messages are to be consumed in order, though the lock may have to be got before.
    /// `false` once the queue is dropped.
    pub(crate) async fn wait_in_order(&self) -> bool {
        while !self.is_dropped() {
            let has_some = {
                let state = self.state();
                !state.waiting.is_empty() && (state.term().is_none() || state.may_commit())
            };
            if has_some {
                return true;
            }
            mq_env::select! {
                () = self.dropped.cancelled() => {}
                () = self.arrived.notified() => {}
            }
        }
        false
    }

    /// Adds what was pulled, for consumption in order: whatever a broker sends, nothing is handed out behind
    /// what has a higher offset.
    pub(crate) fn put_in_order(&self, mut messages: Vec<Arc<MessageExt>>) {
        messages.sort_by_key(|message| message.queue_offset);
        messages.dedup_by_key(|message| message.queue_offset);
        let known = self.state().queue_offset_max;
        messages.retain(|message| Some(message.queue_offset) > known);
        self.put(messages);
    }

    /// The next messages in order, at most `count_max`, and the term of the lock. `None` without any, and
    /// while the lock is not trusted or what is here was pulled before its term. The caller has
    /// [the turn](ProcessQueue::consuming).
    pub(crate) fn take_in_order(&self, count_max: usize) -> Option<(u64, Vec<Arc<MessageExt>>)> {
        let mut state = self.state();
        let term = state.term().filter(|term| *term == state.content_term)?;
        let batch = state.take(count_max);
        let is_in_order = batch.is_sorted_by_key(|message| message.queue_offset);
        assert!(is_in_order, "messages of a queue are handed out by their offsets");
        (!batch.is_empty() && !self.is_dropped()).then_some((term, batch))
    }

    /// Puts messages back that [`ProcessQueue::take_in_order`] gave, before all others.
    pub(crate) fn put_back_in_order(&self, messages: Vec<Arc<MessageExt>>) {
        let mut state = self.state();
        for message in messages.into_iter().rev() {
            state.cache(&message);
            state.waiting.push_front(message);
        }
    }

    /// Has the next rebalance give the queue up once more.
    pub(crate) fn leave_later(&self) {
        self.state().is_leaving = true;
    }

    /// Whether the queue is dropped, and only waits for its listener.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state().is_leaving
    }

    /// The listener is given messages now.
    pub(crate) fn consume_started(&self, messages: &[Arc<MessageExt>]) {
        let (mut state, now) = (self.state(), Instant::now());
        for message in messages {
            if state.cached.contains_key(&message.queue_offset) {
                state.consume_started.insert(message.queue_offset, now);
            }
        }
    }

    /// The message with the lowest offset, if the listener has had it for longer than `timeout`.
    pub(crate) fn stuck_head(&self, timeout: Duration) -> Option<Arc<MessageExt>> {
        let state = self.state();
        let (offset, head) = state.cached.first_key_value()?;
        let is_stuck = state.consume_started.get(offset)?.elapsed() > timeout;
        is_stuck.then(|| Arc::clone(head))
    }

    /// A pull begins.
    pub(crate) fn pull_started(&self) {
        self.state().pull_started = Some(Instant::now());
    }

    /// The pull has ended.
    pub(crate) fn pull_ended(&self) {
        self.state().pull_started = None;
    }

    /// Whether a pull is under way that should have ended long ago (`isPullExpired`).
    pub(crate) fn is_pull_expired(&self) -> bool {
        self.state().pull_started.is_some_and(|started| started.elapsed() > PULL_MAX_IDLE_TIME)
    }

    /// A pull is sent, at this wall clock time in ms.
    pub(crate) fn pulled_at(&self, now_ms: i64) {
        self.last_pull_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Messages are done, at this wall clock time in ms.
    pub(crate) fn consumed_at(&self, now_ms: i64) {
        self.last_consume_ms.store(now_ms, Ordering::Relaxed);
    }

    /// It is given up at `offset` after its rest; the last word counts.
    pub(crate) fn move_to(&self, offset: i64) {
        self.move_to.store(offset, Ordering::Relaxed);
    }

    /// What was said last of where it is given up.
    pub(crate) fn moved_to(&self) -> i64 {
        self.move_to.load(Ordering::Relaxed)
    }

    /// What operators see of it.
    pub(crate) fn info(&self, commit_offset: i64) -> ProcessQueueInfo {
        let state = self.state();
        let (first, last) = (state.cached.first_key_value(), state.cached.last_key_value());
        let narrow = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        ProcessQueueInfo {
            commit_offset,
            cached_msg_count: narrow(state.cached.len()),
            cached_msg_min_offset: first.map_or(0, |(offset, _)| *offset),
            cached_msg_max_offset: last.map_or(0, |(offset, _)| *offset),
            cached_msg_size_in_mib: narrow(state.size_bytes >> 20),
            droped: self.is_dropped(),
            last_pull_timestamp: self.last_pull_ms.load(Ordering::Relaxed),
            last_consume_timestamp: self.last_consume_ms.load(Ordering::Relaxed),
            ..ProcessQueueInfo::default()
        }
    }

    /// Whether everything pulled is done.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().cached.is_empty()
    }

    /// Waits until less is cached than `limits` allow, or the queue is dropped or locked anew.
    pub(crate) async fn wait_for_room(&self, limits: FlowControl) {
        while !self.has_room(limits) {
            mq_env::select! {
                () = self.dropped.cancelled() => return,
                () = self.lock_changed() => return,
                () = self.drained.notified() => {}
            }
        }
    }

    /// The queue belongs to somebody else now: nothing more is pulled, consumed or committed.
    pub(crate) fn drop_queue(&self) {
        self.dropped.cancel();
    }

    /// The lowest offset of what is cached, if anything is.
    pub(crate) fn first_cached(&self) -> Option<i64> {
        self.state().cached.first_key_value().map(|(offset, _)| *offset)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.is_cancelled()
    }

    /// Resolves when the queue is dropped.
    pub(crate) async fn dropped(&self) {
        self.dropped.cancelled().await;
    }

    /// Waits for `pause`, or until the queue is dropped.
    pub(crate) async fn rest(&self, pause: Duration) {
        mq_env::select! {
            () = self.dropped.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    fn has_room(&self, limits: FlowControl) -> bool {
        let state = self.state();
        let span = match (state.cached.first_key_value(), state.cached.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last - first,
            _ => 0,
        };
        state.cached.len() <= limits.count_max
            && state.size_bytes <= limits.size_bytes_max
            && span <= limits.span_max
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
