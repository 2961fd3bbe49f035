//! What a node keeps for as long as it is something. A change of role makes it anew, so that nothing
//! of an earlier candidacy or leadership is left to act on.

use std::collections::BTreeSet;

use crate::message::PushResponse;
use crate::types::{LedgerIndex, NodeId, Role};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RoleState {
    Unknown,
    Candidate(Candidacy),
    Follower(Following),
    Leader(Leadership),
}

/// Of a candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Candidacy {
    pub(crate) round: Round,
    pub(crate) granted: BTreeSet<NodeId>,
    pub(crate) refused: BTreeSet<NodeId>,
}

/// What a candidate is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Round {
    /// Waits for its timer.
    #[default]
    Waiting,
    /// Asks who would vote for it.
    PreVote,
    /// Asks for votes.
    Vote,
}

/// Of a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Following {
    pub(crate) leader: NodeId,
    /// Up to here the log is known to equal the leader's. Known in this term and by this start only.
    pub(crate) matched_index: LedgerIndex,
    /// Answers that wait until the log is durable up to an index, in the order of their pushes.
    pub(crate) waiting: Vec<(LedgerIndex, PushResponse)>,
    pub(crate) take: Option<TakeLeadershipTask>,
}

/// The leader wants this follower to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TakeLeadershipTask {
    pub(crate) ledger_index: LedgerIndex,
    pub(crate) due_ms: u64,
}

/// Of a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leadership {
    pub(crate) peers: Vec<Progress>,
    /// The leader may serve clients once this is committed.
    pub(crate) ready_index: LedgerIndex,
    pub(crate) is_ready: bool,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) preferred_due_ms: u64,
}

/// Somebody else is about to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    pub(crate) transferee: NodeId,
    pub(crate) due_ms: u64,
}

/// What a leader knows of a peer, and how far it is with pushing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) id: NodeId,
    pub(crate) push: Push,
    /// The watermark: the peer's log equals ours up to here, durably. Unknown is not zero.
    pub(crate) match_index: Option<LedgerIndex>,
    /// When the oldest push without an answer went out, or the last answer came while others were under way.
    pub(crate) sent_ms: Option<u64>,
    /// When the committed index was told last.
    pub(crate) commit_told_ms: u64,
    /// When the peer last said that it follows.
    pub(crate) heard_ms: u64,
    pub(crate) heart_beat_due_ms: u64,
    /// Before then no answer makes it compare at once.
    pub(crate) compare_due_ms: u64,
}

/// What is done with a peer's log (`EntryDispatcher.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Push {
    /// Looks for the last equal entry.
    Compare { index: LedgerIndex },
    /// Found it, or the leader's first; what is behind it goes.
    Truncate { index: LedgerIndex },
    /// Pushes what follows.
    Append {
        next_index: LedgerIndex,
        /// A push was not answered in time: one at a time until one is.
        is_probing: bool,
    },
}

impl Progress {
    pub(crate) fn new(id: NodeId, end_index: LedgerIndex, now_ms: u64) -> Self {
        Progress {
            id,
            push: Push::Compare { index: end_index },
            match_index: None,
            sent_ms: None,
            commit_told_ms: now_ms,
            heard_ms: now_ms,
            heart_beat_due_ms: now_ms,
            compare_due_ms: now_ms,
        }
    }

    pub(crate) fn push_is_overdue(&self, now_ms: u64, time_out_ms: u64) -> bool {
        self.sent_ms.is_some_and(|sent| now_ms >= sent + time_out_ms)
    }
}

impl RoleState {
    pub(crate) fn role(&self) -> Role {
        match self {
            RoleState::Unknown => Role::Unknown,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Follower(_) => Role::Follower,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    pub(crate) fn following(&self) -> Option<&Following> {
        if let RoleState::Follower(following) = self { Some(following) } else { None }
    }

    pub(crate) fn following_mut(&mut self) -> Option<&mut Following> {
        if let RoleState::Follower(following) = self { Some(following) } else { None }
    }

    pub(crate) fn leadership(&self) -> Option<&Leadership> {
        if let RoleState::Leader(leadership) = self { Some(leadership) } else { None }
    }

    pub(crate) fn leadership_mut(&mut self) -> Option<&mut Leadership> {
        if let RoleState::Leader(leadership) = self { Some(leadership) } else { None }
    }

    pub(crate) fn candidacy_mut(&mut self) -> Option<&mut Candidacy> {
        if let RoleState::Candidate(candidacy) = self { Some(candidacy) } else { None }
    }
}

impl Leadership {
    pub(crate) fn progress_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.peers.iter_mut().find(|progress| progress.id == id)
    }
}
