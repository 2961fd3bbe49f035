//! What operators asked of brokers, and what they were told.

use std::sync::Arc;

use super::QueueKey;

/// An operator had a consumer group go on elsewhere in a queue: what lies in between passes the group by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetReset {
    /// The consumer group.
    pub consumer_group: Arc<str>,
    /// The queue.
    pub queue: QueueKey,
    /// Where its broker said that the group stood, before the operator asked for anything.
    pub from: u64,
    /// Where its broker says that the group goes on; `u64::MAX` where that answer was lost.
    pub to: u64,
    /// Simulated microseconds when the operator had the answer.
    pub at_us: u64,
    /// Ordinal of the trace event that followed when the operator began.
    pub ordinal: u64,
}

impl OffsetReset {
    /// Whether what lay at a queue offset passed the group by.
    #[must_use]
    pub fn passes_over(&self, queue_offset: u64) -> bool {
        (self.from..self.to).contains(&queue_offset)
    }
}

/// An operator had a topic deleted at the master of a broker group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDeletion {
    /// The topic.
    pub topic: Arc<str>,
    /// The broker group.
    pub group: Arc<str>,
    /// How often he asked: what is not answered may be carried out.
    pub asked: u32,
    /// Whether a broker confirmed it.
    pub is_confirmed: bool,
    /// Simulated microseconds when he began.
    pub at_us: u64,
    /// Ordinal of the trace event that followed when he began.
    pub ordinal: u64,
    /// Simulated microseconds when he had the answer, or gave up.
    pub ended_us: u64,
    /// Ordinal of the trace event that followed then.
    pub ended: u64,
}
