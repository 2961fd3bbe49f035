//! [`UpstreamSwitch`]: behaviours of RocketMQ 4.9 by name, of brokers and of clients.

use std::fmt;
use std::str::FromStr;

macro_rules! switches {
    ($($(#[$doc:meta])+ $switch:ident = $name:literal,)+) => {
        /// Upstream behaviours that can be switched on by name to show what they cost. Without them the
        /// engine keeps the promise (docs/decisions.md).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum UpstreamSwitch {
            $($(#[$doc])+ $switch,)+
        }

        impl UpstreamSwitch {
            /// Every switch, in the order of docs/decisions.md.
            pub const ALL: &'static [UpstreamSwitch] = &[$(UpstreamSwitch::$switch),+];

            /// The names of all.
            #[must_use]
            pub fn names() -> Vec<&'static str> {
                UpstreamSwitch::ALL.iter().map(|switch| switch.name()).collect()
            }

            /// The name used in plans and on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(UpstreamSwitch::$switch => $name,)+
                }
            }
        }
    };
}

switches! {
    /// SYNC_FLUSH messages are consumable before they are synced.
    DispatchUnflushed = "dispatch-unflushed",
    /// A failed sync advances the flushed position all the same.
    FlushErrorCountsAsDone = "flush-error-counts-as-done",
    /// Truncation moves positions in memory and leaves the bytes on disk.
    TruncateInMemory = "truncate-in-memory",
    /// Group offsets beyond the end of a truncated queue are kept.
    OffsetsBeyondEnd = "offsets-beyond-end",
    /// A slave's report beyond the master's log end counts as an acknowledgement.
    AckBeyondLogEnd = "ack-beyond-log-end",
    /// A slave with another history keeps its tail and appends behind it.
    SpliceDiverged = "splice-diverged",
    /// A blank slave is filled from the master's last file.
    SlaveStartsAtLastFile = "slave-starts-at-last-file",
    /// Under SYNC_FLUSH the master sends bytes that it has not synced.
    SendUnflushed = "send-unflushed",
    /// A SYNC_FLUSH slave acknowledges what is in its page cache.
    SlaveAcksPageCache = "slave-acks-page-cache",
    /// A slave's first report waits for the heartbeat interval.
    FirstReportLate = "first-report-late",
    /// A slave does not notice a silent master.
    MasterSilenceUnnoticed = "master-silence-unnoticed",
    /// A message that a consumer gives back waits for no sync and no slave.
    SendBackUnwaited = "send-back-unwaited",
    /// A half message is appended anew with every question about it, and every end counts.
    PutBackHalfMessages = "put-back-half-messages",
    /// What the transient store pool holds is not found by its place before it is committed.
    UncommittedUnread = "uncommitted-unread",
    /// A starting master asks no slave for consumer offsets, and a slave takes its master's as they are.
    OffsetsNotMerged = "offsets-not-merged",
    /// In DLedger mode slaves ask their master for its tables every ten seconds, and a new master's are as old.
    TablesBySlaveSync = "tables-by-slave-sync",
    /// A DLedger leader commits whatever a quorum holds, also entries of older terms.
    DLedgerCommitsOldTerms = "dledger-commits-old-terms",
    /// A new DLedger leader writes no entry of its own.
    DLedgerNoNoOp = "dledger-no-no-op",
    /// A DLedger node answers before term and vote are durable.
    DLedgerVoteNotDurable = "dledger-vote-not-durable",
    /// `flushDiskType` is ignored in DLedger mode.
    DLedgerAcksPageCache = "dledger-acks-page-cache",
    /// A DLedger follower cuts whatever its leader says, committed entries included.
    DLedgerTruncatesCommitted = "dledger-truncates-committed",
    /// A DLedger follower takes an APPEND that continues its log by number alone.
    DLedgerAppendUnmatched = "dledger-append-unmatched",
    /// A DLedger node judges a candidate's log before its term.
    DLedgerLogBeforeTerm = "dledger-log-before-term",
    /// A DLedger leader with a quorum ignores the larger term in an answer.
    DLedgerIgnoresLargerTerm = "dledger-ignores-larger-term",
    /// A DLedger node that hears no leader raises its term at once.
    DLedgerNoPreVote = "dledger-no-pre-vote",
    /// A larger term makes a candidate of a DLedger node, and no vote is given in the same exchange.
    DLedgerTermNotReady = "dledger-term-not-ready",
    /// A DLedger node that lost its disk votes at once.
    DLedgerBlankNodeVotes = "dledger-blank-node-votes",
    /// A client: the copy of a message that no broker takes back is a dead letter one redelivery too early.
    EarlyDeadLetters = "early-dead-letters",
    /// A client: whatever a broker refuses to say of an offset means that there is none.
    RefusedOffsetIsNone = "refused-offset-is-none",
    /// A client: without a master it begins where a slave says.
    OffsetsFromSlave = "offsets-from-slave",
    /// A client: a queue that it has just locked is not locked for it before the next renewal (before 4.9.5).
    LocksUnnoted = "locks-unnoted",
    /// A client: a queue's lock is trusted for thirty seconds from the answer on, not from the question.
    LockTrustedFromAnswer = "lock-trusted-from-answer",
    /// A client: brokers hear of it one after the other, and the next time only once all have answered.
    HeartbeatsInTurn = "heartbeats-in-turn",
    /// A client: every send that times out closes its connection, also when others had its time.
    EveryTimeoutCloses = "every-timeout-closes",
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
            .iter()
            .copied()
            .find(|switch| switch.name() == text)
            .ok_or_else(|| format!("no upstream switch is called {text:?}"))
    }
}
