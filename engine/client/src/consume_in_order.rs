//! Consuming a queue in order: one batch at a time, the next one when it is done (RocketMQ 4.9
//! `ConsumeMessageOrderlyService`).
//!
//! The listener is called, and its result counts, only while the lock of the queue is trusted
//! ([`QueueLease`](crate::queue_lease::QueueLease)). What it was at work on when the lock was lost comes again,
//! to whoever has the lock then.

use std::sync::Arc;
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::message::{MessageExt, MessageQueue};

use crate::consume_service::once_more;
use crate::process_queue::ProcessQueue;
use crate::push_consumer::{ConsumeResult, ConsumerInner};

/// Pause before a queue is locked that has messages and no lock.
const PAUSE_BEFORE_LOCK: Duration = Duration::from_millis(10);

/// Pause after a broker did not give the lock.
const PAUSE_WITHOUT_LOCK: Duration = Duration::from_secs(3);

/// Bounds of `suspendCurrentQueueTimeMillis`.
const SUSPEND_MIN_MS: u64 = 10;
const SUSPEND_MAX_MS: u64 = 30_000;

/// What became of a turn.
enum Turn {
    /// There was nothing to do, or it is done.
    Done,
    /// The batch is to be consumed again.
    Suspended,
    /// The queue is not locked.
    NotLocked,
}

impl ConsumerInner {
    /// Hands a queue's messages to the listener, batch by batch, until the queue is dropped.
    pub(crate) async fn consume_in_order(
        self: Arc<Self>,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
    ) {
        let suspend_ms = self.config.suspend_current_queue_time_ms;
        let suspend = Duration::from_millis(suspend_ms.clamp(SUSPEND_MIN_MS, SUSPEND_MAX_MS));
        while process_queue.wait_in_order().await {
            match self.consume_batch(&queue, &process_queue).await {
                Turn::Done => {}
                Turn::Suspended => process_queue.rest(suspend).await,
                Turn::NotLocked => self.lock_to_consume(&queue, &process_queue).await,
            }
        }
    }

    async fn consume_batch(&self, queue: &MessageQueue, process_queue: &ProcessQueue) -> Turn {
        let Ok(_permit) = self.consume_permits.acquire().await else { return Turn::Done };
        let _turn = process_queue.consuming().await;
        let count_max = self.config.consume_message_batch_max_size;
        let Some((term, batch)) = process_queue.take_in_order(count_max) else {
            return if process_queue.term().is_none() { Turn::NotLocked } else { Turn::Done };
        };
        let result = self.call_listener(&batch).result().await;
        if process_queue.term() != Some(term) {
            tracing::warn!(
                ?queue,
                "the lock was lost while messages were consumed: they come again"
            );
            return Turn::Done;
        }
        match result {
            ConsumeResult::Success => {
                self.done_in_order(queue, process_queue, &batch);
                Turn::Done
            }
            ConsumeResult::ReconsumeLater if planted_on_this_thread(Plant::SuspendedAndPassed) => {
                self.done_in_order(queue, process_queue, &batch);
                Turn::Done
            }
            ConsumeResult::ReconsumeLater => self.suspend(queue, process_queue, batch, term).await,
        }
    }

    /// Commits in memory what is done: everything up to the last message of a batch.
    fn done_in_order(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        batch: &[Arc<MessageExt>],
    ) {
        process_queue.remove(batch);
        if let Some(last) = batch.last() {
            self.state().offsets.set(queue, last.queue_offset + 1);
        }
    }

    /// Puts a batch back, to be consumed again after a while. Messages that were consumed in vain too often become
    /// dead letters, and are done. (RocketMQ 4.9 hands them out once more together with the rest of their batch.)
    async fn suspend(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        batch: Vec<Arc<MessageExt>>,
        term: u64,
    ) -> Turn {
        let (mut dead, mut again) = (Vec::new(), Vec::new());
        for message in batch {
            let is_exhausted = message.reconsume_times >= self.reconsume_times_max();
            if is_exhausted && self.send_to_dead_letters(&message).await {
                dead.push(message);
            } else {
                again.push(once_more(message));
            }
        }
        if process_queue.term() != Some(term) {
            return Turn::Done;
        }
        if again.is_empty() {
            self.done_in_order(queue, process_queue, &dead);
            return Turn::Done;
        }
        process_queue.remove(&dead);
        process_queue.put_back_in_order(again);
        Turn::Suspended
    }

    /// Sends a message to the retry topic with as many redeliveries as are allowed: the broker makes it a dead
    /// letter.
    async fn send_to_dead_letters(&self, message: &MessageExt) -> bool {
        let times = message.reconsume_times;
        let copy = self.retry_copy(message, times, self.reconsume_times_max());
        match self.inner_producer.send(copy).await {
            Ok(_) => true,
            Err(error) => {
                tracing::info!(msg_id = message.msg_id(), %error, "message is no dead letter yet");
                false
            }
        }
    }

    /// Asks for the lock of a queue that has messages, without waiting for the next renewal.
    async fn lock_to_consume(&self, queue: &MessageQueue, process_queue: &ProcessQueue) {
        process_queue.rest(PAUSE_BEFORE_LOCK).await;
        match self.lock(queue).await {
            Some(trusted_from) => process_queue.lock_given(trusted_from),
            None => process_queue.rest(PAUSE_WITHOUT_LOCK).await,
        }
    }
}
