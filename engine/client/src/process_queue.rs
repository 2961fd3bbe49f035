//! `ProcessQueue`: the messages of one queue that were pulled and are not consumed yet (RocketMQ 4.9
//! `ProcessQueue`).
//!
//! The offset that may be committed is the lowest one still here, or the one behind the highest
//! ever seen: a message that is stuck holds it back, however many behind it are done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_protocol::message::MessageExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Limits of what may be cached per queue before pulling pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowControl {
    /// Messages (`pullThresholdForQueue`).
    pub count_max: usize,
    /// Bytes of bodies (`pullThresholdSizeForQueue`).
    pub size_bytes_max: usize,
    /// Distance between the lowest and the highest offset (`consumeConcurrentlyMaxSpan`).
    pub span_max: i64,
}

impl Default for FlowControl {
    fn default() -> Self {
        FlowControl { count_max: 1000, size_bytes_max: 100 << 20, span_max: 2000 }
    }
}

/// The cache of one queue.
#[derive(Default)]
pub(crate) struct ProcessQueue {
    state: Mutex<State>,
    /// Signalled when messages wait for the listener.
    arrived: Notify,
    /// Signalled when messages have left.
    drained: Notify,
    dropped: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Everything pulled and not done, by queue offset.
    cached: BTreeMap<i64, Arc<MessageExt>>,
    /// What the listener has not been given yet.
    waiting: VecDeque<Arc<MessageExt>>,
    size_bytes: usize,
    /// Highest offset ever put here.
    queue_offset_max: Option<i64>,
}

impl State {
    /// A broker may send a message twice: it is here once.
    fn cache(&mut self, message: &Arc<MessageExt>) {
        self.forget(message.queue_offset);
        self.cached.insert(message.queue_offset, Arc::clone(message));
        self.size_bytes += message.message.body.len();
    }

    fn forget(&mut self, offset: i64) {
        let Some(message) = self.cached.remove(&offset) else { return };
        let len = message.message.body.len();
        assert!(self.size_bytes >= len, "{len} bytes of {} leave", self.size_bytes);
        self.size_bytes -= len;
        assert!(!self.cached.is_empty() || self.size_bytes == 0, "nothing has no size");
    }
}

impl ProcessQueue {
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
        let mut state = self.state();
        let count = count_max.min(state.waiting.len());
        state.waiting.drain(..count).collect()
    }

    /// Removes what is done. Returns the offset that may be committed now.
    pub(crate) fn remove(&self, messages: &[Arc<MessageExt>]) -> Option<i64> {
        let mut state = self.state();
        for message in messages {
            state.forget(message.queue_offset);
        }
        let first = state.cached.keys().next().copied();
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

    /// Whether everything pulled is done.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().cached.is_empty()
    }

    /// Waits until less is cached than `limits` allow, or the queue is dropped.
    pub(crate) async fn wait_for_room(&self, limits: FlowControl) {
        while !self.has_room(limits) {
            mq_env::select! {
                () = self.dropped.cancelled() => return,
                () = self.drained.notified() => {}
            }
        }
    }

    /// The queue belongs to somebody else now: nothing more is pulled, consumed or committed.
    pub(crate) fn drop_queue(&self) {
        self.dropped.cancel();
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.is_cancelled()
    }

    /// Resolves when the queue is dropped.
    pub(crate) async fn dropped(&self) {
        self.dropped.cancelled().await;
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
mod tests {
    use mq_protocol::message::Message;

    use super::*;

    fn message(queue_offset: i64, len: usize) -> Arc<MessageExt> {
        let host = ([10, 0, 0, 1], 1).into();
        Arc::new(MessageExt {
            message: Message::new("T".to_owned(), vec![0; len]),
            broker_name: "a".to_owned(),
            queue_id: 0,
            store_size: len as i32,
            queue_offset,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_timestamp: 1,
            store_host: host,
            phy_offset: queue_offset,
            body_crc: 0,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
        })
    }

    #[test]
    fn a_message_that_comes_twice_takes_its_room_once() {
        let queue = ProcessQueue::default();
        let limits = FlowControl { size_bytes_max: 100, ..FlowControl::default() };
        for _ in 0..3 {
            queue.put(vec![message(5, 60)]);
        }
        assert!(queue.has_room(limits), "sixty bytes are here");
        queue.put(vec![message(6, 60)]);
        assert!(!queue.has_room(limits));
        assert_eq!(queue.remove(&[message(5, 60)]), Some(6));
        queue.put_back(vec![message(6, 60)]);
        assert_eq!(queue.remove(&[message(6, 60)]), Some(7));
        assert_eq!(queue.state().size_bytes, 0);
    }
}
