//! [`Watch`]: who had which queue and when, when listeners ended, how far consumer groups had committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::history::{GroupQueue, QueueKey};

/// A member of a consumer group took a queue, was set to another place in one that it has, or gave it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenureStep {
    /// The member.
    pub consumer: Arc<str>,
    /// Its group.
    pub consumer_group: Arc<str>,
    /// The queue.
    pub queue: QueueKey,
    /// Whether it has the queue from here on.
    pub has_it: bool,
    /// Simulated microseconds.
    pub at_us: u64,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// A broker accepted an offset of a consumer group that is greater than every one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// The queue offset of the next message that the group wants.
    pub queue_offset: u64,
    /// Simulated microseconds.
    pub at_us: u64,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Who took and gave up queues, in the order of the trace.
    pub steps: Vec<TenureStep>,
    /// When listeners ended, well or in vain: simulated microseconds by the ordinal of the delivery.
    pub listener_ends: BTreeMap<u64, u64>,
    /// How often messages had been consumed in vain, where that was more than never, by the ordinal of the delivery.
    pub reconsume_times: BTreeMap<u64, u32>,
    /// Where groups raised their offsets, in the order of the trace.
    pub raises: BTreeMap<GroupQueue, Vec<Raise>>,
}

impl Watch {
    /// Takes note of an offset that a broker accepted.
    pub fn note_committed(&mut self, place: GroupQueue, raise: Raise) {
        let raises = self.raises.entry(place).or_default();
        if raises.last().is_none_or(|last| last.queue_offset < raise.queue_offset) {
            raises.push(raise);
        }
    }
}
