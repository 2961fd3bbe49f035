//! What the engine reports of itself, for traces and logs: [`Event`] and [`Probe`].
//!
//! Events are borrowed and cost one branch when nobody listens. The simulator records them with a
//! time and an ordinal; its verdicts rest on the simulated disk and network, the events say why.

use std::sync::Arc;

/// Something the engine did. Offsets are physical CommitLog offsets in bytes unless named otherwise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A record was copied into the CommitLog.
    Appended {
        /// First byte of the record.
        phy_offset: u64,
        /// Length of the record.
        size_bytes: u32,
        /// Its topic.
        topic: &'a str,
        /// Its queue.
        queue_id: u32,
        /// Its index in the queue.
        queue_offset: u64,
        /// Its `UNIQ_KEY` property.
        uniq_key: Option<&'a str>,
    },
    /// Records went from the memory of the process into the CommitLog's file (transient store pool):
    /// everything below `to` survives the death of the process.
    Committed {
        /// Where the committed part ended before.
        from: u64,
        /// Where it ends now.
        to: u64,
    },
    /// A CommitLog sync completed: everything below `to` is durable.
    Synced {
        /// Where the durable part ended before.
        from: u64,
        /// Where it ends now.
        to: u64,
    },
    /// A CommitLog sync failed; the store refuses writes from now on.
    SyncFailed {
        /// Where the durable part ends.
        from: u64,
        /// Where the failed sync would have ended.
        to: u64,
        /// What the operating system said.
        error: &'a str,
    },
    /// A record became visible to consumers.
    Dispatched {
        /// First byte of the record.
        phy_offset: u64,
        /// Its topic.
        topic: &'a str,
        /// Its queue.
        queue_id: u32,
        /// Its index in the queue.
        queue_offset: u64,
    },
    /// The put path decided on a status; `phy_offset` is absent when nothing was stored.
    PutDone {
        /// First byte of the record.
        phy_offset: Option<u64>,
        /// End of the record, where stored.
        end_offset: Option<u64>,
        /// `PutMessageStatus` in its upper-case wire spelling.
        status: &'static str,
    },
    /// Start-up recovery of the CommitLog ended.
    Recovered {
        /// First readable byte.
        min_phy_offset: u64,
        /// End of the log after recovery.
        max_phy_offset: u64,
        /// Valid bytes that were cut off behind it, 0 for a sound log.
        dropped_bytes: u64,
        /// Why the walk stopped where it did.
        reason: &'a str,
    },
    /// The log was cut at `to`; it ended at `from`.
    Truncated {
        /// Old end.
        from: u64,
        /// New end.
        to: u64,
        /// Why.
        reason: &'a str,
    },
    /// A file of the log, of a queue or of the index was removed because it had expired.
    Expired {
        /// Its path.
        file: &'a str,
        /// Why it had to go.
        reason: &'a str,
    },
    /// The disk is full, or it is so no longer: writes are refused, or taken again.
    DiskFull {
        /// Whether it is full now.
        full: bool,
        /// Used share in percent; absent where it cannot be told.
        used_percent: Option<u64>,
    },
    /// A diverged tail was copied aside before truncation.
    Quarantined {
        /// First byte of the tail.
        from: u64,
        /// End of the tail.
        to: u64,
        /// Messages in it.
        messages: u64,
    },
    /// A slave refuses to follow its master.
    RefusedToFollow {
        /// What an operator should know and do.
        reason: &'a str,
    },
    /// The master accepted an HA connection.
    SlaveConnected {
        /// The slave's address.
        slave: &'a str,
    },
    /// An HA connection ended, seen from the master.
    SlaveGone {
        /// The slave's address.
        slave: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The master sent a slice of its log.
    HaSent {
        /// The slave's address.
        slave: &'a str,
        /// First byte.
        from: u64,
        /// End.
        to: u64,
    },
    /// The slave appended a slice to its log.
    HaReceived {
        /// First byte.
        from: u64,
        /// End.
        to: u64,
    },
    /// The master counted a slave's report.
    SlaveAcked {
        /// The slave's address.
        slave: &'a str,
        /// The reported end of the slave's log.
        offset: u64,
    },
    /// A consumer group's offset was moved by the broker because it stood beyond the queue's end.
    OffsetClamped {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// The queue.
        queue_id: u32,
        /// Where the offset stood (queue offset).
        from: u64,
        /// Where it stands now (queue offset).
        to: u64,
    },
    /// A consumer group committed an offset.
    OffsetCommitted {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// `brokerName` of the broker.
        broker_name: &'a str,
        /// The queue.
        queue_id: u32,
        /// The queue offset of the next message it wants.
        offset: u64,
    },
    /// A broker told a member of a consumer group where the group stands.
    OffsetQueried {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// `brokerName` of the broker.
        broker_name: &'a str,
        /// The queue.
        queue_id: u32,
        /// The queue offset of the next message it wants.
        offset: u64,
    },
    /// A consumer's position in a queue was set: it took the queue, or learned that it stood outside of it.
    PullOffset {
        /// The consumer's group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// `brokerName` of the queue's broker.
        broker_name: &'a str,
        /// The queue.
        queue_id: u32,
        /// The queue offset that it reads from now on.
        offset: u64,
    },
    /// A consumer gave a queue up, which it had taken: it pulls and consumes nothing of it any more.
    QueueGivenUp {
        /// The consumer's group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// `brokerName` of the queue's broker.
        broker_name: &'a str,
        /// The queue.
        queue_id: u32,
    },
    /// A broker registered itself or a name server changed its tables.
    Route {
        /// What changed, in words.
        what: &'a str,
    },
    /// A broker of a DLedger group serves as its master from now on.
    BecameMaster {
        /// The term in which its node leads.
        term: u64,
    },
    /// It takes no puts any more as the master of that term.
    CeasedMaster {
        /// The term.
        term: u64,
    },
    /// A step of a process's life: `starting`, `serving`, `stopped`, …
    Life {
        /// The step.
        what: &'a str,
    },
}

/// Receives the events of one process.
pub trait Observer: Send + Sync {
    /// Called at the moment of the event, on the task that caused it. Must not block.
    fn event(&self, event: &Event<'_>);
}

/// The handle by which the engine reports events.
#[derive(Clone)]
pub struct Probe {
    observer: Option<Arc<dyn Observer>>,
}

impl Probe {
    /// A probe that nobody listens to.
    #[must_use]
    pub fn silent() -> Self {
        Probe { observer: None }
    }

    /// A probe that reports to `observer`.
    #[must_use]
    pub fn to(observer: Arc<dyn Observer>) -> Self {
        Probe { observer: Some(observer) }
    }

    /// A probe that writes every event to `tracing` at debug level.
    #[must_use]
    pub fn tracing() -> Self {
        struct Log;
        impl Observer for Log {
            fn event(&self, event: &Event<'_>) {
                tracing::debug!(?event);
            }
        }
        Probe::to(Arc::new(Log))
    }

    /// Whether anybody listens: for events whose fields cost something to find.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.observer.is_some()
    }

    /// Reports an event.
    pub fn emit(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.event(event);
        }
    }
}
