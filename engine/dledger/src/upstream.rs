//! Behaviours of DLedger 0.3.1 that we do not have, by name, to show what they cost.

use std::fmt;
use std::str::FromStr;

/// A behaviour of DLedger 0.3.1 (RocketMQ 4.9) that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamSwitch {
    /// The leader commits whatever a quorum holds, also entries of older terms. Costs committed
    /// entries: figure 8 of the Raft paper, a later leader without the entry overwrites it.
    CommitsOldTerms,
    /// A new leader writes no entry of its own. Costs availability: without
    /// [`UpstreamSwitch::CommitsOldTerms`] nothing inherited is committed before somebody writes.
    NoNoOp,
    /// Answers leave before term and vote are durable: `currterm` is renamed without a sync. Costs the one
    /// leader of a term: after a power loss a node votes twice.
    VoteNotDurable,
    /// `flushDiskType` is ignored, an entry counts once it is in the page cache. Costs committed entries under
    /// SYNC_FLUSH when a majority loses power within ten milliseconds, or one node does and another lags.
    AcksPageCache,
    /// A follower cuts whatever its leader says, committed entries included. Costs what consumers
    /// have read already; with the other hazards, committed entries.
    TruncatesCommitted,
    /// An APPEND is taken when it continues the log by its number, whether or not the entries before it were
    /// compared since the follower started. Costs equal logs: after a power loss
    /// took a cut back, the new entries stand behind the old ones.
    AppendUnmatched,
    /// A candidate's log is judged before its term, so that a larger term of a node that lags is never
    /// learned from its request. Costs that node: its group never hears of the term it is at.
    LogBeforeTerm,
    /// A leader with a quorum ignores the larger term in an answer. Costs the node that answered:
    /// heartbeats of the smaller term are expired to it for ever.
    IgnoresLargerTerm,
    /// Who hears no leader raises its term at once. Costs a leader: a node that was cut off comes back
    /// with a larger term and disturbs a group that was well.
    NoPreVote,
    /// A larger term makes a candidate, and is answered TERM_NOT_READY: no vote is given and no leader followed in
    /// the same exchange. Costs a round at every election.
    TermNotReady,
    /// A node that lost its disk is like any other at once. Costs committed entries: its vote elects a leader without
    /// what it had acknowledged, or elects two in one term; an old leader commits with it.
    BlankNodeVotes,
}

impl UpstreamSwitch {
    /// Every switch.
    pub const ALL: [UpstreamSwitch; 11] = [
        UpstreamSwitch::CommitsOldTerms,
        UpstreamSwitch::NoNoOp,
        UpstreamSwitch::VoteNotDurable,
        UpstreamSwitch::AcksPageCache,
        UpstreamSwitch::TruncatesCommitted,
        UpstreamSwitch::AppendUnmatched,
        UpstreamSwitch::LogBeforeTerm,
        UpstreamSwitch::IgnoresLargerTerm,
        UpstreamSwitch::NoPreVote,
        UpstreamSwitch::TermNotReady,
        UpstreamSwitch::BlankNodeVotes,
    ];

    /// The name used in plans and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            UpstreamSwitch::CommitsOldTerms => "dledger-commits-old-terms",
            UpstreamSwitch::NoNoOp => "dledger-no-no-op",
            UpstreamSwitch::VoteNotDurable => "dledger-vote-not-durable",
            UpstreamSwitch::AcksPageCache => "dledger-acks-page-cache",
            UpstreamSwitch::TruncatesCommitted => "dledger-truncates-committed",
            UpstreamSwitch::AppendUnmatched => "dledger-append-unmatched",
            UpstreamSwitch::LogBeforeTerm => "dledger-log-before-term",
            UpstreamSwitch::IgnoresLargerTerm => "dledger-ignores-larger-term",
            UpstreamSwitch::NoPreVote => "dledger-no-pre-vote",
            UpstreamSwitch::TermNotReady => "dledger-term-not-ready",
            UpstreamSwitch::BlankNodeVotes => "dledger-blank-node-votes",
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
            .ok_or_else(|| format!("no upstream switch of DLedger is called {text:?}"))
    }
}
