//! [`QueueLease`]: how long this client may believe that a queue is locked for it (the lock state of RocketMQ
//! 4.9 `ProcessQueue`).

use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use tokio::time::Instant;

/// How long a lock is trusted after it was asked for (`rocketmq.client.rebalance.lockMaxLiveTime`). Brokers
/// keep it for twice as long.
const LOCK_MAX_LIVE_TIME: Duration = Duration::from_secs(30);

/// The lock of one queue as this client knows it.
///
/// A *term* is a time without a gap in which the lock was trusted. Between two terms somebody else may have
/// had the queue, so nothing of one term counts in the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLease {
    valid_until: Option<Instant>,
    term: u64,
}

impl QueueLease {
    /// A lock that is trusted from `trusted_from` on.
    ///
    /// That is when the broker was asked. RocketMQ 4.9 counts from the answer (`lock-trusted-from-answer`), by the wall
    /// clock: an answer that was long under way, or a clock set back, lets it trust a lock longer than its broker may keep it.
    pub(crate) fn given(trusted_from: Instant) -> Self {
        QueueLease { valid_until: Some(trusted_from + LOCK_MAX_LIVE_TIME), term: 1 }
    }

    /// The lock of a queue that is to be locked, and was not yet.
    pub(crate) const fn none() -> Self {
        QueueLease { valid_until: None, term: 1 }
    }

    /// The broker gave the lock once more; says whether a new term begins.
    pub(crate) fn renew(&mut self, trusted_from: Instant, now: Instant) -> bool {
        let is_new_term = self.term_at(now).is_none();
        self.term += u64::from(is_new_term);
        self.valid_until = self.valid_until.max(Some(trusted_from + LOCK_MAX_LIVE_TIME));
        is_new_term
    }

    /// The broker gave the lock to somebody else.
    pub(crate) fn lose(&mut self) {
        self.valid_until = None;
    }

    /// The term, while the lock is trusted.
    pub(crate) fn term_at(&self, now: Instant) -> Option<u64> {
        let is_valid = |until| now < until || planted_on_this_thread(Plant::LeaseIgnored);
        self.valid_until.is_some_and(is_valid).then_some(self.term)
    }

    /// When the trust ends, unless the lock is renewed; `None` if it was lost.
    pub(crate) fn valid_until(&self) -> Option<Instant> {
        self.valid_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trust_counts_from_the_question_and_a_gap_begins_a_term() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut lease = QueueLease::given(start);
        assert_eq!((lease.term_at(at(29)), lease.term_at(at(30))), (Some(1), None));
        // Asked after twenty seconds, answered nine seconds later.
        assert!(!lease.renew(at(20), at(29)));
        assert_eq!((lease.term_at(at(49)), lease.term_at(at(50))), (Some(1), None));
        // An answer that comes after the lock ran out.
        assert!(lease.renew(at(45), at(52)));
        assert_eq!((lease.term_at(at(74)), lease.term_at(at(75))), (Some(2), None));
        lease.lose();
        assert_eq!(lease.term_at(at(53)), None);
        assert!(lease.renew(at(54), at(54)));
        assert_eq!(lease.term_at(at(54)), Some(3));
    }
}
