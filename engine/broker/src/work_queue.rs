//! [`WorkQueue`]: requests that wait for their turn (RocketMQ 4.9's thread pools with their queues, and what
//! `BrokerFastFailure` does about those).
//!
//! Almost everything begins here as soon as it is read. A request that needs a topic or a group written first has to
//! wait for the disk; so many of a kind are under way at a time, and the others wait for their turn, in order. Of
//! a request that waits nothing is done yet: who waits for too long, or finds too many before it, is answered
//! SYSTEM_BUSY, and nothing of it is stored. Whose turn has come is never refused for the time that it took.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use mq_protocol::codes::ResponseCode;
use mq_remoting::{ProcessError, Used};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::BrokerConfig;
use crate::lock;

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
        let [sends, ends] = patience(config);
        WorkQueues {
            sends: WorkQueue::new(SEND_TURNS, sends),
            end_transactions: WorkQueue::new(END_TRANSACTION_TURNS, ends),
        }
    }

    /// Follows changed settings. Who waits already waits as it was.
    pub(crate) fn set_patience(&self, config: &BrokerConfig) {
        let [sends, ends] = patience(config);
        self.sends.set_patience(sends);
        self.end_transactions.set_patience(ends);
    }
}

/// Of sends and of ends of transactions.
fn patience(config: &BrokerConfig) -> [Patience; 2] {
    let is_limited = config.broker_fast_failure_enable;
    let patience = |capacity, ms| {
        let wait_max = is_limited.then(|| Duration::from_millis(ms));
        Patience { capacity, wait_max }
    };
    [
        patience(config.send_thread_pool_queue_capacity, config.wait_time_in_send_queue_ms),
        patience(
            config.end_transaction_pool_queue_capacity,
            config.wait_time_in_transaction_queue_ms,
        ),
    ]
}

/// How many may wait, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) capacity: usize,
    /// `None` for ever.
    pub(crate) wait_max: Option<Duration>,
}

/// Requests of one kind.
pub(crate) struct WorkQueue {
    turns: Semaphore,
    line: Mutex<Line>,
}

/// Who waits.
struct Line {
    patience: Patience,
    next_number: u64,
    /// Since when, by numbers in the order of their coming.
    since: BTreeMap<u64, Instant>,
}

/// A request that waits.
struct Waiting<'a> {
    queue: &'a WorkQueue,
    number: u64,
    since: Instant,
    wait_max: Option<Duration>,
}

impl WorkQueue {
    /// A queue of which `turns` requests may be under way, and others wait.
    pub(crate) fn new(turns: usize, patience: Patience) -> Self {
        assert!(turns > 0, "nobody would ever have a turn");
        let line = Line { patience, next_number: 0, since: BTreeMap::new() };
        WorkQueue { turns: Semaphore::new(turns), line: Mutex::new(line) }
    }

    fn set_patience(&self, patience: Patience) {
        lock(&self.line).patience = patience;
    }

    /// How many may wait.
    pub(crate) fn capacity(&self) -> usize {
        lock(&self.line).patience.capacity
    }

    /// How many wait.
    pub(crate) fn size(&self) -> usize {
        lock(&self.line).since.len()
    }

    /// How many wait, and how many may.
    pub(crate) fn used(&self) -> Used {
        let line = lock(&self.line);
        Used { count: line.since.len(), max: line.patience.capacity }
    }

    /// For how long the first of them has waited; zero if nobody waits.
    pub(crate) fn head_wait(&self) -> Duration {
        let line = lock(&self.line);
        line.since.first_key_value().map_or(Duration::ZERO, |(_, since)| since.elapsed())
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
        let turn = match waiting.wait_max {
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
        let mut line = lock(&self.line);
        let Patience { capacity, wait_max } = line.patience;
        if line.since.len() >= capacity {
            let remark = "[OVERLOAD]system busy, start flow control for a while";
            return Err(ProcessError::new(ResponseCode::SYSTEM_BUSY, remark));
        }
        let (number, since) = (line.next_number, Instant::now());
        line.next_number += 1;
        line.since.insert(number, since);
        Ok(Waiting { queue: self, number, since, wait_max })
    }
}

impl Waiting<'_> {
    /// It goes, and the others stay.
    fn refused(self, why: &str) -> ProcessError {
        let others = self.queue.size().saturating_sub(1);
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
        lock(&self.queue.line).since.remove(&self.number);
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
        let queue = WorkQueue::new(1, Patience { capacity: 10, wait_max: Some(WAIT_MAX) });
        let turn = queue.turn(NOT_BUSY).await.unwrap();
        let mut second = pin!(queue.turn(NOT_BUSY));
        assert!(second.as_mut().now_or_never().is_none(), "somebody is under way");
        tokio::time::advance(Duration::from_millis(150)).await;
        let mut third = pin!(queue.turn(NOT_BUSY));
        assert!(third.as_mut().now_or_never().is_none());
        tokio::time::advance(Duration::from_millis(60)).await;
        assert_eq!((queue.size(), queue.head_wait()), (2, Duration::from_millis(210)));
        assert_eq!(
            remark(second.await),
            "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, \
             period in queue: 210ms, size of queue: 1"
        );
        drop(turn);
        assert_eq!((queue.size(), queue.head_wait()), (1, Duration::from_millis(60)));
        let turn = third.await.unwrap();
        tokio::time::advance(2 * WAIT_MAX).await;
        drop(turn);
        assert_eq!((queue.size(), queue.head_wait()), (0, Duration::ZERO));
        assert!(queue.turn(NOT_BUSY).now_or_never().unwrap().is_ok(), "nobody is there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_and_a_busy_store_take_nobody() {
        let queue = WorkQueue::new(1, Patience { capacity: 1, wait_max: None });
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
