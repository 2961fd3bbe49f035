//! The small words: who, where in the log, what stands on disk.

use std::fmt;

/// Where an entry stands in the log (`index` of DLedger): the first one is 0, and [`NO_INDEX`] is before it.
pub type LedgerIndex = i64;

/// A term of Raft. 0 is the one before the first election, [`NO_TERM`] the term of an empty log's end.
pub type Term = i64;

/// The end of a log that holds nothing.
pub const NO_INDEX: LedgerIndex = -1;

/// The term of the last entry of a log that holds nothing.
pub const NO_TERM: Term = -1;

/// Terms and indexes beyond this are nobody's: whoever says one is not listened to, so that nothing overflows.
pub(crate) const LARGEST: i64 = i64::MAX / 2;

/// A peer by its number in `dLegerPeers`. What it is called (`n0`) is the host's to know, and stands in
/// `localId`, `remoteId` and `leaderId` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// What a node is in its group (`MemberState.Role`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It has just started: it has neither heard a leader nor asked for votes. A broker must not register yet.
    Unknown,
    /// It knows no leader, and asks for votes or is about to.
    Candidate,
    /// It follows the leader of its term.
    Follower,
    /// It was elected in its term.
    Leader,
}

/// What must be durable before a node says anything that rests on it (DLedger's `currterm` file).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardState {
    /// `currTerm`.
    pub term: Term,
    /// `voteLeader`: whom it gave its vote in that term.
    pub voted_for: Option<NodeId>,
    /// Ours: the node has lost its disk and has not caught up since, so that it does not vote. A property
    /// more in the file, which Java ignores.
    pub is_blank: bool,
}

impl HardState {
    /// Of a node that is a member of a new group.
    pub const NEW: HardState = HardState { term: 0, voted_for: None, is_blank: false };
}

/// What the core knows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryMeta {
    /// The term of the leader that made it.
    pub term: Term,
    /// Length of header and body.
    pub size_bytes: u32,
}

/// Names a proposal for as long as the process runs; the host counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);
