//! [`UpstreamSwitch`]: behaviours of RocketMQ 4.9 by name, of brokers and of clients.

use std::fmt;
use std::str::FromStr;

/// Upstream behaviours that can be switched on by name to show what they cost. Without them the
/// engine keeps the promise (docs/decisions.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamSwitch {
    /// SYNC_FLUSH messages are consumable before they are synced.
    DispatchUnflushed,
    /// A failed sync advances the flushed position all the same.
    FlushErrorCountsAsDone,
    /// Truncation moves positions in memory and leaves the bytes on disk.
    TruncateInMemory,
    /// Group offsets beyond the end of a truncated queue are kept.
    OffsetsBeyondEnd,
    /// A slave's report beyond the master's log end counts as an acknowledgement.
    AckBeyondLogEnd,
    /// A slave with another history keeps its tail and appends behind it.
    SpliceDiverged,
    /// A blank slave is filled from the master's last file.
    SlaveStartsAtLastFile,
    /// Under SYNC_FLUSH the master sends bytes that it has not synced.
    SendUnflushed,
    /// A SYNC_FLUSH slave acknowledges what is in its page cache.
    SlaveAcksPageCache,
    /// A slave's first report waits for the heartbeat interval.
    FirstReportLate,
    /// A slave does not notice a silent master.
    MasterSilenceUnnoticed,
    /// A message that a consumer gives back waits for no sync and no slave.
    SendBackUnwaited,
    /// A half message is appended anew with every question about it, and every end counts.
    PutBackHalfMessages,
    /// What the transient store pool holds is not found by its place before it is committed.
    UncommittedUnread,
    /// A starting master asks no slave for consumer offsets, and a slave takes its master's as they are.
    OffsetsNotMerged,
    /// A client: the copy of a message that no broker takes back is a dead letter one redelivery too early.
    EarlyDeadLetters,
    /// A client: whatever a broker refuses to say of an offset means that there is none.
    RefusedOffsetIsNone,
    /// A client: without a master it begins where a slave says.
    OffsetsFromSlave,
    /// A client: a queue that it has just locked is not locked for it before the next renewal (before 4.9.5).
    LocksUnnoted,
}

impl UpstreamSwitch {
    /// Every switch, in the order of docs/decisions.md.
    pub const ALL: [UpstreamSwitch; 19] = [
        UpstreamSwitch::DispatchUnflushed,
        UpstreamSwitch::FlushErrorCountsAsDone,
        UpstreamSwitch::TruncateInMemory,
        UpstreamSwitch::OffsetsBeyondEnd,
        UpstreamSwitch::AckBeyondLogEnd,
        UpstreamSwitch::SpliceDiverged,
        UpstreamSwitch::SlaveStartsAtLastFile,
        UpstreamSwitch::SendUnflushed,
        UpstreamSwitch::SlaveAcksPageCache,
        UpstreamSwitch::FirstReportLate,
        UpstreamSwitch::MasterSilenceUnnoticed,
        UpstreamSwitch::SendBackUnwaited,
        UpstreamSwitch::PutBackHalfMessages,
        UpstreamSwitch::UncommittedUnread,
        UpstreamSwitch::OffsetsNotMerged,
        UpstreamSwitch::EarlyDeadLetters,
        UpstreamSwitch::RefusedOffsetIsNone,
        UpstreamSwitch::OffsetsFromSlave,
        UpstreamSwitch::LocksUnnoted,
    ];

    /// The name used in plans and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            UpstreamSwitch::DispatchUnflushed => "dispatch-unflushed",
            UpstreamSwitch::FlushErrorCountsAsDone => "flush-error-counts-as-done",
            UpstreamSwitch::TruncateInMemory => "truncate-in-memory",
            UpstreamSwitch::OffsetsBeyondEnd => "offsets-beyond-end",
            UpstreamSwitch::AckBeyondLogEnd => "ack-beyond-log-end",
            UpstreamSwitch::SpliceDiverged => "splice-diverged",
            UpstreamSwitch::SlaveStartsAtLastFile => "slave-starts-at-last-file",
            UpstreamSwitch::SendUnflushed => "send-unflushed",
            UpstreamSwitch::SlaveAcksPageCache => "slave-acks-page-cache",
            UpstreamSwitch::FirstReportLate => "first-report-late",
            UpstreamSwitch::MasterSilenceUnnoticed => "master-silence-unnoticed",
            UpstreamSwitch::SendBackUnwaited => "send-back-unwaited",
            UpstreamSwitch::PutBackHalfMessages => "put-back-half-messages",
            UpstreamSwitch::UncommittedUnread => "uncommitted-unread",
            UpstreamSwitch::OffsetsNotMerged => "offsets-not-merged",
            UpstreamSwitch::EarlyDeadLetters => "early-dead-letters",
            UpstreamSwitch::RefusedOffsetIsNone => "refused-offset-is-none",
            UpstreamSwitch::OffsetsFromSlave => "offsets-from-slave",
            UpstreamSwitch::LocksUnnoted => "locks-unnoted",
        }
    }
}

impl fmt::Display for UpstreamSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for UpstreamSwitch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        UpstreamSwitch::ALL
            .into_iter()
            .find(|switch| switch.name() == text)
            .ok_or_else(|| format!("no upstream switch is called {text:?}"))
    }
}
