//! [`WaitingSends`]: stored messages whose senders wait for the sync or for a slave, and messages that are
//! not stored yet because their topic is being written.
//!
//! RocketMQ 4.9 keeps as many as there are. Here they are bounded, they end with their
//! connection, and a broker that stops answers them at once: the messages stay stored.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::future::Either;
use mq_protocol::codes::ResponseCode;
use mq_remoting::{Channel, ChannelId, ProcessError, Used};
use mq_store::{PutFuture, PutMessageResult};
use tokio::sync::{Notify, oneshot};

use crate::config::BrokerLimits;
use crate::limits::{Limit, LimitReached};
use crate::lock;

/// The sends that wait.
pub(crate) struct WaitingSends {
    limit: Limit,
    body_limit: Limit,
    state: Mutex<State>,
    /// The last wait of a broker that stops has ended.
    all_ended: Notify,
}

#[derive(Default)]
struct State {
    next_id: u64,
    /// What ends the wait, by connection; without it the wait is ending.
    waits: BTreeMap<(ChannelId, u64), Option<oneshot::Sender<()>>>,
    /// Bytes of the messages that are not stored yet.
    body_bytes: usize,
    /// The broker stops.
    is_stopping: bool,
}

impl WaitingSends {
    pub(crate) fn new(limits: &BrokerLimits) -> Self {
        WaitingSends {
            limit: Limit::new("maxWaitingSendNums", limits.waiting_send_nums),
            body_limit: Limit::new("maxWaitingSendBytes", limits.waiting_send_bytes),
            state: Mutex::default(),
            all_ended: Notify::new(),
        }
    }

    /// How many wait, and bytes of those that wait for their topic.
    pub(crate) fn used(&self) -> [Used; 2] {
        let state = lock(&self.state);
        [self.limit.used(state.waits.len()), self.body_limit.used(state.body_bytes)]
    }

    /// Refuses a send, before anything is stored, while too many wait.
    pub(crate) fn check(&self) -> Result<(), ProcessError> {
        let count = lock(&self.state).waits.len() + 1;
        self.limit.check(count, "sends that wait for a sync or a slave").map_err(busy)
    }

    /// Lets a message of `bytes` wait for its topic, until [`WaitingSends::release_body`]. Refuses it while
    /// there are too many.
    pub(crate) fn keep_body(&self, bytes: usize) -> Result<(), ProcessError> {
        let mut state = lock(&self.state);
        let kept = state.body_bytes + bytes;
        self.body_limit.check(kept, "bytes of sends that wait for their topic").map_err(busy)?;
        state.body_bytes = kept;
        Ok(())
    }

    /// The message is stored or refused.
    pub(crate) fn release_body(&self, bytes: usize) {
        lock(&self.state).body_bytes -= bytes;
    }

    /// The status of a put that came by `channel`. When the connection ends or the broker stops before
    /// it is known, it is that of a put whose time is over. Where there is nothing to wait for,
    /// nothing is noted.
    pub(crate) async fn wait(&self, channel: &Channel, put: PutFuture) -> PutMessageResult {
        let mut put = match put {
            Either::Left(ready) => return ready.await,
            Either::Right(put) => put,
        };
        let Some(mut wait) = self.enter(channel.id()) else { return put.give_up() };
        // The connection may have ended before; later, whoever hears of its end ends the wait.
        if channel.is_closed() {
            return put.give_up();
        }
        mq_env::select! {
            result = &mut put => result,
            _ = &mut wait.ended => put.give_up(),
        }
    }

    /// Ends the waits of a connection that has ended.
    pub(crate) fn channel_gone(&self, channel: ChannelId) {
        let of_channel = (channel, 0)..=(channel, u64::MAX);
        for (_, end) in lock(&self.state).waits.range_mut(of_channel) {
            drop(end.take());
        }
    }

    /// Ends every wait, and all that are still to come; resolves when all have ended.
    pub(crate) async fn stop(&self) {
        let is_idle = {
            let mut state = lock(&self.state);
            state.is_stopping = true;
            for end in state.waits.values_mut() {
                drop(end.take());
            }
            state.waits.is_empty()
        };
        if !is_idle {
            self.all_ended.notified().await;
        }
    }

    fn enter(&self, channel: ChannelId) -> Option<Wait<'_>> {
        let (end, ended) = oneshot::channel();
        let mut state = lock(&self.state);
        if state.is_stopping {
            return None;
        }
        let key = (channel, state.next_id);
        state.next_id += 1;
        state.waits.insert(key, Some(end));
        Some(Wait { sends: self, key, ended })
    }
}

fn busy(reached: LimitReached) -> ProcessError {
    let remark = format!("[REJECTREQUEST]system busy, {reached}");
    ProcessError::new(ResponseCode::SYSTEM_BUSY, remark)
}

/// A place among those that wait, given up when it is dropped.
struct Wait<'a> {
    sends: &'a WaitingSends,
    key: (ChannelId, u64),
    /// Resolves when nobody is to wait any more.
    ended: oneshot::Receiver<()>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.sends.state);
        state.waits.remove(&self.key);
        if state.is_stopping && state.waits.is_empty() {
            self.sends.all_ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_its_topic_is_bounded_by_its_bytes() {
        let limits = BrokerLimits { waiting_send_bytes: 100, ..BrokerLimits::default() };
        let sends = WaitingSends::new(&limits);
        sends.keep_body(60).unwrap();
        let refused = sends.keep_body(41).unwrap_err();
        assert_eq!(refused.code, ResponseCode::SYSTEM_BUSY);
        assert!(refused.remark.contains("maxWaitingSendBytes=100"), "{}", refused.remark);
        sends.keep_body(40).unwrap();
        sends.release_body(60);
        sends.keep_body(41).unwrap();
    }
}
