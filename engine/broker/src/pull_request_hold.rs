//! [`PullRequestHoldService`]: long polling. A pull that found nothing waits here for a message of
//! its queue or for its deadline (RocketMQ 4.9 `PullRequestHoldService`).
//!
//! RocketMQ looks through all held pulls every 5 s; here a deadline of its own wakes each of them,
//! and nothing wakes while nothing is held. A slave hears of no arrivals, as in RocketMQ: there the
//! sweep stays, as long as something is held, and one more comes when it becomes master.
//!
//! The service knows nothing of reading messages: whoever runs it says how a pull is answered. So
//! the store may hold it as its listener without holding itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_remoting::{ChannelId, Responder, Used};
use mq_store::config::BrokerRole;
use mq_store::role::RoleWatch;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::BrokerLimits;
use crate::held_pulls::{Arrived, HeldPull, HeldPulls};
use crate::limits::{Limit, LimitReached};
use crate::lock;
use crate::subscription::Subscription;

/// Time between two sweeps of a slave.
const SLAVE_SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A pull that waits to be executed again.
pub(crate) struct PullRequest {
    /// The request's header, without the subscription if it carried one.
    pub(crate) header: PullMessageRequestHeader,
    /// The subscription that the request carried.
    pub(crate) carried: Option<Subscription>,
    /// What answers it.
    pub(crate) responder: Responder,
}

/// Woken pulls that are answered before others get their turn.
const ANSWERS_PER_TURN: usize = 32;

/// The held pulls of a broker.
pub(crate) struct PullRequestHoldService {
    limit: Limit,
    limit_per_channel: Limit,
    /// No pull waits longer.
    suspend_timeout_max: Duration,
    state: Mutex<State>,
    work: Notify,
}

#[derive(Default)]
struct State {
    held: HeldPulls<PullRequest>,
    /// Woken pulls that the service has not taken yet.
    woken: Vec<HeldPull<PullRequest>>,
}

impl PullRequestHoldService {
    pub(crate) fn new(limits: &BrokerLimits) -> Self {
        let per_channel = limits.held_pull_nums_per_channel;
        PullRequestHoldService {
            limit: Limit::new("maxHeldPullNums", limits.held_pull_nums),
            limit_per_channel: Limit::new("maxHeldPullNumsPerChannel", per_channel),
            suspend_timeout_max: Duration::from_millis(limits.suspend_timeout_ms),
            state: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// What the held pulls count for.
    pub(crate) fn used(&self) -> Used {
        self.limit.used(lock(&self.state).held.count())
    }

    /// When a pull is answered at the latest that asks to wait for `timeout` from now on.
    pub(crate) fn deadline(&self, timeout: Duration) -> Instant {
        Instant::now() + timeout.min(self.suspend_timeout_max)
    }

    /// Holds a pull of queue `queue_id` of `topic`. `max_offset` is asked for the queue's end once
    /// the pull is held: what arrived since it was read must not be missed.
    ///
    /// # Errors
    /// When too many are held, of all or of its connection; nobody answers it then.
    pub(crate) fn suspend(
        &self,
        topic: &str,
        queue_id: i32,
        pull: HeldPull<PullRequest>,
        max_offset: impl FnOnce() -> i64,
    ) -> Result<(), LimitReached> {
        let channel = pull.payload.responder.channel().clone();
        let is_earliest = {
            let mut state = lock(&self.state);
            let (count, of_channel) = state.held.counts(pull.channel);
            self.limit.check(count + pull.count(), "held pulls")?;
            let of_channel = of_channel + pull.count();
            self.limit_per_channel.check(of_channel, "held pulls of one connection")?;
            let is_earliest = state.held.next_deadline().is_none_or(|next| pull.deadline < next);
            state.held.hold(topic, queue_id, pull);
            is_earliest
        };
        if is_earliest {
            self.work.notify_one();
        }
        self.notify_message_arriving(topic, queue_id, max_offset(), None);
        // It may have ended before the pull was held; later, whoever hears of its end takes the pull.
        if channel.is_closed() {
            self.channel_gone(channel.id());
        }
        Ok(())
    }

    /// Forgets the pulls of a connection that has ended.
    pub(crate) fn channel_gone(&self, channel: ChannelId) {
        drop(lock(&self.state).held.take_channel(channel));
    }

    /// Wakes the pulls that wait for a message which now lies in a queue that ends at `max_offset`.
    pub(crate) fn notify_message_arriving(
        &self,
        topic: &str,
        queue_id: i32,
        max_offset: i64,
        arrived: Option<Arrived<'_>>,
    ) {
        let mut state = lock(&self.state);
        if state.held.is_empty()
            || arrived.is_some() && planted_on_this_thread(Plant::HeldPullNotWoken)
        {
            return;
        }
        let woken = state.held.take_arrived(topic, queue_id, max_offset, arrived);
        if !woken.is_empty() {
            state.woken.extend(woken);
            drop(state);
            self.work.notify_one();
        }
    }

    /// Wakes the pulls that wait at a topic that was deleted: they stand where nothing will come.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        let queues = lock(&self.state).held.queues();
        for (topic, queue_id) in queues.into_iter().filter(|(of, _)| **of == *topic) {
            self.notify_message_arriving(&topic, queue_id, i64::MAX, None);
        }
    }

    /// Lets `answer` answer woken and overdue pulls. On a slave held pulls are looked through every 5 s;
    /// `max_offset` tells where a queue ends.
    pub(crate) async fn run(
        self: Arc<Self>,
        role: RoleWatch,
        max_offset: impl Fn(&str, i32) -> i64 + Send,
        answer: impl Fn(PullRequest) + Send,
    ) {
        let mut was_slave = role.is_slave();
        let mut next_sweep = Instant::now() + SLAVE_SWEEP_INTERVAL;
        loop {
            let now = Instant::now();
            let is_slave = role.is_slave();
            if was_slave && (!is_slave || now >= next_sweep) {
                self.sweep(&max_offset);
            }
            if now >= next_sweep {
                next_sweep = now + SLAVE_SWEEP_INTERVAL;
            }
            was_slave = is_slave;
            let (woken, mut deadline) = self.take_woken(now);
            for (index, pull) in woken.into_iter().enumerate() {
                if index % ANSWERS_PER_TURN == ANSWERS_PER_TURN - 1 {
                    tokio::task::yield_now().await;
                }
                answer(pull.payload);
            }
            if is_slave {
                deadline = deadline.map(|deadline| deadline.min(next_sweep));
            }
            mq_env::select! {
                () = self.work.notified() => {}
                _ = role.wait_for(|role| (role == BrokerRole::Slave) != is_slave) => {}
                () = tokio::time::sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => {}
            }
        }
    }

    fn sweep(&self, max_offset: &impl Fn(&str, i32) -> i64) {
        let queues = lock(&self.state).held.queues();
        for (topic, queue_id) in queues {
            self.notify_message_arriving(&topic, queue_id, max_offset(&topic, queue_id), None);
        }
    }

    fn take_woken(&self, now: Instant) -> (Vec<HeldPull<PullRequest>>, Option<Instant>) {
        let mut state = lock(&self.state);
        let mut woken = std::mem::take(&mut state.woken);
        woken.extend(state.held.take_due(now));
        (woken, state.held.next_deadline())
    }
}
