//! What a host tells the core, and what the core asks of it.

use crate::message::{Message, ResponseCode};
use crate::types::{EntryMeta, HardState, LedgerIndex, NodeId, ProposalId, Role, Term};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time has passed ([`crate::DLedgerCore::next_tick_ms`]).
    Tick,
    /// A message of a member of the group arrived; one of anybody else is ignored. It was sent to this start of
    /// the node, not to an earlier one, which TCP sees to.
    Received(Message),
    /// A client's entries are to be appended, one for each length (header and body, in bytes).
    Propose {
        /// By which the outcome is told.
        proposal: ProposalId,
        /// At least one.
        sizes_bytes: Vec<u32>,
    },
    /// [`Command::PersistTermAndVote`] is done: that state is durable now.
    TermAndVotePersisted(HardState),
    /// The log of that generation is written, readable after a kill, up to the index.
    Written {
        /// Of [`Command::Truncate`].
        generation: u64,
        /// The last entry written.
        index: LedgerIndex,
    },
    /// The log of that generation is durable up to the index, cuts before it included.
    Synced {
        /// Of [`Command::Truncate`].
        generation: u64,
        /// The last entry synced.
        index: LedgerIndex,
    },
    /// An operator wants that member to lead.
    TransferLeadership(NodeId),
    /// Retention removed entries: the log begins there now, not behind the committed index.
    LedgerBegins(LedgerIndex),
    /// Writing or syncing failed. The node says nothing from now on, until it is started again.
    DiskFailed,
}

/// Something that the host does, in the order in which the commands come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Send a message; it may be lost. Bodies of a push are read from the host's log.
    Send(Message),
    /// Make term and vote durable, then say [`Event::TermAndVotePersisted`]. Of several a host may write the last.
    PersistTermAndVote(HardState),
    /// Append entries, then say [`Event::Written`] and, synced, [`Event::Synced`].
    Append {
        /// Of the first; it continues the log.
        first_index: LedgerIndex,
        /// At least one.
        entries: Vec<EntryMeta>,
        /// Where the bodies are.
        source: EntrySource,
    },
    /// Cut the log, durably before the next [`Event::Synced`] of the new generation. Syncs of earlier
    /// generations say nothing any more.
    Truncate {
        /// The last entry that stays.
        keep_through: LedgerIndex,
        /// Nothing stays: the log begins anew behind `keep_through`.
        is_emptied: bool,
        /// Names the log from now on.
        generation: u64,
    },
    /// `committedIndex` has risen: entries up to here are dispatched, and their waiters answered.
    Commit(LedgerIndex),
    /// The node is something else now, or knows another leader. Waiters of a former leader fail with
    /// TERM_CHANGED (501); their entries may still be committed.
    RoleChanged {
        /// What it is.
        role: Role,
        /// In which term.
        term: Term,
        /// Who leads that term, when it is known.
        leader_id: Option<NodeId>,
    },
    /// Everything before the leader's term is committed: it may serve clients (the broker becomes master).
    LeadershipReady {
        /// Of the leader.
        term: Term,
        /// The committed index by which it is known.
        index: LedgerIndex,
    },
    /// Nothing was appended, for that reason.
    RejectProposal {
        /// Which one.
        proposal: ProposalId,
        /// NOT_LEADER, LEADER_TRANSFERRING, LEADER_PENDING_FULL or DISK_ERROR.
        code: ResponseCode,
    },
    /// Something to tell an operator.
    Report(Finding),
}

/// Where the bodies of an [`Command::Append`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntrySource {
    /// With the client's proposal.
    Proposal(ProposalId),
    /// In the push that is being handled.
    Push,
    /// The host makes one: the entry with which a leader commits what it inherited.
    NoOp,
}

/// What an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// A leader wanted a committed entry cut. It was refused: the leader does not have what the group promised,
    /// because a majority lost acknowledged bytes or a rule was broken.
    CommittedCutRefused {
        /// Who wanted it.
        leader_id: NodeId,
        /// From where on.
        index: LedgerIndex,
        /// What is committed here.
        committed_index: LedgerIndex,
    },
    /// Two nodes say that they lead one term.
    TwoLeaders {
        /// Which term.
        term: Term,
        /// Whom this node follows, or itself.
        known: NodeId,
        /// Who says so as well.
        other: NodeId,
    },
    /// A node that lost its disk has caught up, and votes from now on.
    BlankNodeCaughtUp,
}
