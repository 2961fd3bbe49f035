//! [`MessageQueueSelector`]: which queue a message goes to, by the sender's choice (RocketMQ 4.9
//! `MessageQueueSelector`).
//!
//! Messages for which the same queue is chosen stay in order, as long as the list of queues is the same: a
//! topic that gets more queues, or loses a broker, has another list.

use mq_protocol::message::{Message, MessageQueue, java_hash_code};

/// Chooses a queue. `A` is what the sender hands over with the message.
pub trait MessageQueueSelector<A: ?Sized> {
    /// One of `queues`, which are not empty; `None` sends nothing.
    fn select<'a>(
        &self,
        queues: &'a [MessageQueue],
        message: &Message,
        arg: &A,
    ) -> Option<&'a MessageQueue>;
}

/// Functions are selectors.
impl<A: ?Sized, F> MessageQueueSelector<A> for F
where
    F: for<'a> Fn(&'a [MessageQueue], &Message, &A) -> Option<&'a MessageQueue>,
{
    fn select<'a>(
        &self,
        queues: &'a [MessageQueue],
        message: &Message,
        arg: &A,
    ) -> Option<&'a MessageQueue> {
        self(queues, message, arg)
    }
}

/// What has the hash of a Java object, so that Java producers choose the same queue.
pub trait JavaHashCode {
    /// Java's `hashCode`.
    fn java_hash_code(&self) -> i32;
}

impl JavaHashCode for str {
    fn java_hash_code(&self) -> i32 {
        java_hash_code(self)
    }
}

impl JavaHashCode for i32 {
    fn java_hash_code(&self) -> i32 {
        *self
    }
}

impl JavaHashCode for i64 {
    fn java_hash_code(&self) -> i32 {
        (*self ^ (*self as u64 >> 32) as i64) as i32
    }
}

/// The queue at the hash of the argument, modulo the number of queues.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectMessageQueueByHash;

impl<A: JavaHashCode + ?Sized> MessageQueueSelector<A> for SelectMessageQueueByHash {
    fn select<'a>(
        &self,
        queues: &'a [MessageQueue],
        _: &Message,
        arg: &A,
    ) -> Option<&'a MessageQueue> {
        let count = i64::try_from(queues.len()).ok().filter(|count| *count > 0)?;
        // Java divides first, then drops the sign.
        let index = (i64::from(arg.java_hash_code()) % count).unsigned_abs();
        queues.get(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_those_that_java_selects() {
        let queues: Vec<_> =
            (0..7).map(|queue_id| MessageQueue { queue_id, ..MessageQueue::default() }).collect();
        let message = Message::default();
        let by = SelectMessageQueueByHash;
        let id = |queue: Option<&MessageQueue>| queue.unwrap().queue_id;
        // Hashes 2598919, i32::MIN (whose remainder is -2), 5 and 2³².
        assert_eq!(id(by.select(&queues, &message, "TagA")), 2_598_919 % 7);
        assert_eq!(id(by.select(&queues, &message, "polygenelubricants")), 2);
        assert_eq!(id(by.select(&queues, &message, &-5_i32)), 5);
        assert_eq!(id(by.select(&queues, &message, &(1_i64 << 32))), 1);
        assert_eq!(by.select(&[], &message, "x"), None);
    }
}
