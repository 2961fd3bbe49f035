//! [`WorkQueue`]: requests that wait for their turn (RocketMQ 4.9's thread pools with their queues, and what
//! `BrokerFastFailure` does about those).
//!
//! Almost everything begins here as soon as it is read. A request that needs a topic or a group written first has to
//! wait for the disk; so many of a kind are under way at a time, and the others wait for their turn, in order. Of
//! a request that waits nothing is done yet: who waits for too long, or finds too many before it, is answered
//! SYSTEM_BUSY, and nothing of it is stored. Whose turn has come is never refused for the time that it took.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mq_protocol::codes::ResponseCode;
use mq_remoting::ProcessError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::BrokerConfig;

/// Sends and give-backs that are under way at a time (`sendMessageThreadPoolNums` of four processors).
const SEND_TURNS: usize = 4;

/// Ends of transactions that are (`endTransactionThreadPoolNums` of four processors).
const END_TRANSACTION_TURNS: usize = 16;

/// The queues of a broker. What else 4.9 lets wait (pulls, heartbeats, queries) begins at once here.
pub(crate) struct WorkQueues {
    /// Sends whose topic or group may have to be written first, and whatever a consumer gives back.
    pub(crate) sends: WorkQueue,
    /// Ends of transactions.
    pub(crate) end_transactions: WorkQueue,
}

impl WorkQueues {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let is_limited = config.broker_fast_failure_enable;
        let wait_max = |ms| is_limited.then(|| Duration::from_millis(ms));
        let capacity = config.send_thread_pool_queue_capacity;
        let sends = wait_max(config.wait_time_in_send_queue_ms);
        let sends = WorkQueue::new(SEND_TURNS, capacity, sends);
        let capacity = config.end_transaction_pool_queue_capacity;
        let ends = wait_max(config.wait_time_in_transaction_queue_ms);
        let end_transactions = WorkQueue::new(END_TRANSACTION_TURNS, capacity, ends);
        WorkQueues { sends, end_transactions }
    }
}

/// Requests of one kind.
pub(crate) struct WorkQueue {
    turns: Semaphore,
    /// How many may wait.
    capacity: usize,
    /// For how long; `None` for ever.
    wait_max: Option<Duration>,
    waiting: AtomicUsize,
}

/// A request that waits.
struct Waiting<'a> {
    queue: &'a WorkQueue,
    since: Instant,
}

impl WorkQueue {
    /// A queue of which `turns` requests may be under way, and `capacity` wait, none longer than `wait_max`.
    pub(crate) fn new(turns: usize, capacity: usize, wait_max: Option<Duration>) -> Self {
        assert!(turns > 0, "nobody would ever have a turn");
        let (turns, waiting) = (Semaphore::new(turns), AtomicUsize::new(0));
        WorkQueue { turns, capacity, wait_max, waiting }
    }

    /// Waits for a turn, which lasts until the permit is dropped. Who had to wait is sent away as well if the store
    /// `is_busy` when its turn comes.
    ///
    /// # Errors
    /// SYSTEM_BUSY, in RocketMQ's words.
    pub(crate) async fn turn(
        &self,
        is_busy: impl Fn() -> bool,
    ) -> Result<SemaphorePermit<'_>, ProcessError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let waiting = self.enter()?;
        let turn = match self.wait_max {
            Some(wait_max) => tokio::time::timeout(wait_max, self.turns.acquire()).await,
            None => Ok(self.turns.acquire().await),
        };
        let Ok(turn) = turn else { return Err(waiting.refused("TIMEOUT_CLEAN_QUEUE")) };
        let turn = turn.expect("nobody closes it");
        if is_busy() {
            return Err(waiting.refused("PCBUSY_CLEAN_QUEUE"));
        }
        Ok(turn)
    }

    fn enter(&self) -> Result<Waiting<'_>, ProcessError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting { queue: self, since: Instant::now() };
        if before >= self.capacity {
            let remark = "[OVERLOAD]system busy, start flow control for a while";
            return Err(ProcessError::new(ResponseCode::SYSTEM_BUSY, remark));
        }
        Ok(waiting)
    }
}

impl Waiting<'_> {
    /// It goes, and the others stay.
    fn refused(self, why: &str) -> ProcessError {
        let others = self.queue.waiting.load(Ordering::Relaxed).saturating_sub(1);
        let waited_ms = self.since.elapsed().as_millis();
        let remark = format!(
            "[{why}]broker busy, start flow control for a while, period in queue: {waited_ms}ms, \
             size of queue: {others}"
        );
        ProcessError::new(ResponseCode::SYSTEM_BUSY, remark)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;

    use super::*;

    const NOT_BUSY: fn() -> bool = || false;
    const WAIT_MAX: Duration = Duration::from_millis(200);

    fn remark(refused: Result<SemaphorePermit<'_>, ProcessError>) -> String {
        let error = refused.unwrap_err();
        assert_eq!(error.code, ResponseCode::SYSTEM_BUSY);
        error.remark
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_goes_and_whose_turn_it_is_stays() {
        let queue = WorkQueue::new(1, 10, Some(WAIT_MAX));
        let turn = queue.turn(NOT_BUSY).await.unwrap();
        let mut second = pin!(queue.turn(NOT_BUSY));
        assert!(second.as_mut().now_or_never().is_none(), "somebody is under way");
        tokio::time::advance(Duration::from_millis(150)).await;
        let mut third = pin!(queue.turn(NOT_BUSY));
        assert!(third.as_mut().now_or_never().is_none());
        tokio::time::advance(Duration::from_millis(60)).await;
        assert_eq!(
            remark(second.await),
            "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, \
             period in queue: 210ms, size of queue: 1"
        );
        drop(turn);
        let turn = third.await.unwrap();
        tokio::time::advance(2 * WAIT_MAX).await;
        drop(turn);
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 0);
        assert!(queue.turn(NOT_BUSY).now_or_never().unwrap().is_ok(), "nobody is there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_and_a_busy_store_take_nobody() {
        let queue = WorkQueue::new(1, 1, None);
        let turn = queue.turn(|| true).await.expect("who does not wait asks the store");
        let mut second = pin!(queue.turn(|| true));
        assert!(second.as_mut().now_or_never().is_none());
        let overload = "[OVERLOAD]system busy, start flow control for a while";
        assert_eq!(remark(queue.turn(NOT_BUSY).await), overload);
        tokio::time::advance(100 * WAIT_MAX).await;
        drop(turn);
        let refused = remark(second.await);
        assert!(refused.starts_with("[PCBUSY_CLEAN_QUEUE]broker busy, "), "{refused}");
        assert!(refused.ends_with("period in queue: 20000ms, size of queue: 0"), "{refused}");
    }
}
