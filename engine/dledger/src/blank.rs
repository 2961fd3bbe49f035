//! A node that was a member and lost its disk: it has forgotten votes and acknowledgements, and must neither
//! vote nor lead before it is again what the others may rely on.
//!
//! It comes back in two steps.
//! 1. It asks the others for their terms, and listens to no leader before every one has told it: an old leader,
//!    whose term it had already left behind, must not count it for a commit. Whoever it may have voted for, or acknowledged
//!    entries to, is one of them and durably at that term or a larger one.
//! 2. Then it follows, and is refilled. It votes again once its log equals its leader's, durably, up to where the leader
//!    has said since that its log ends: whatever it had acknowledged is below. The term of that leader counts as voted in.
//!
//! Where every other one says that it has never seen a term, no leader was ever chosen: nobody counts on anything, and the
//! group is a new one. So whoever finds its disk empty may start as blank, and a new group begins once all are there.
//!
//! Within the failures that a group survives this waits for nobody in vain: with another member gone for good,
//! too few remember. An operator who knows better starts it as not blank.
//!
//! A Java leader tells no end in its heartbeats; then the committed index of a push is what must be reached.

use std::collections::BTreeSet;

use crate::core::DLedgerCore;
use crate::event::Finding;
use crate::message::{Body, Message, VoteRequest};
use crate::types::{LedgerIndex, NodeId, Term};

/// What a blank node has heard since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Blank {
    heard: BTreeSet<NodeId>,
    /// Somebody knows of a term.
    is_group_old: bool,
    /// How far its log must reach, by the leader of that term.
    target: Option<(Term, LedgerIndex)>,
}

impl DLedgerCore {
    /// Enters that a member told its term.
    pub(crate) fn hear_term_of(&mut self, from: NodeId, term: Term) {
        if let Some(blank) = &mut self.blank {
            blank.heard.insert(from);
            blank.is_group_old |= term > 0;
        }
    }

    /// Whether it does not know yet which terms it may have promised itself to.
    pub(crate) fn has_forgotten_its_term(&self) -> bool {
        let members = self.settings.peers.len();
        self.blank.as_ref().is_some_and(|blank| blank.heard.len() < members)
    }

    /// Enters the end of the log of the leader that it follows.
    pub(crate) fn hear_leader_end(&mut self, index: LedgerIndex) {
        let term = self.hard.term;
        assert!(!self.has_forgotten_its_term(), "nobody is followed before");
        let Some(blank) = &mut self.blank else { return };
        if blank.target.is_none_or(|(of, _)| of != term) {
            blank.target = Some((term, index));
        }
    }

    /// Asks those for their terms who have not told them. A Java member takes it for a request for a vote, and
    /// refuses: the log is empty, or its leader has been chosen.
    pub(crate) fn ask_for_terms(&mut self) {
        let Some(blank) = &self.blank else { return };
        let peers = self.settings.peers.iter().filter(|peer| !blank.heard.contains(&peer.id));
        for peer in peers.copied().collect::<Vec<_>>() {
            let request = VoteRequest {
                ledger_end_index: self.log.end_index(),
                ledger_end_term: self.log.end_term(),
                is_pre_vote: !peer.is_java,
            };
            let body = Body::VoteRequest(request);
            let (from, term) = (self.self_id(), self.hard.term);
            self.send_message(Message { from, to: peer.id, term, body });
        }
    }

    /// Takes part again once it may.
    pub(crate) fn end_blankness(&mut self) {
        let is_old = self.blank.as_ref().is_none_or(|blank| blank.is_group_old);
        if !is_old && self.hard.term == 0 && !self.has_forgotten_its_term() {
            assert!(self.log.is_empty(), "entries are of a term");
            self.hard.is_blank = false;
            self.blank = None;
            self.persist();
            return;
        }
        let Some((term, index)) = self.blank.as_ref().and_then(|blank| blank.target) else {
            return;
        };
        let Some(following) = self.role.following() else { return };
        let reached = following.matched_index.min(self.durable_index());
        if term != self.hard.term || reached < index {
            return;
        }
        self.hard.is_blank = false;
        self.hard.voted_for = Some(following.leader);
        self.blank = None;
        self.persist();
        self.report(Finding::BlankNodeCaughtUp);
    }
}
