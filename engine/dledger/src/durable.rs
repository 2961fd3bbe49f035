//! Nothing that rests on a term or a vote is said before both are durable.
//!
//! The core holds back every message while what it last asked to be persisted is not. That is more than
//! is needed, and leaves no case to forget: a vote, an acknowledgement in a new term, a candidate's request.

use crate::core::DLedgerCore;
use crate::event::Command;
use crate::message::{Body, Message};
use crate::types::{HardState, NodeId};
use crate::upstream::UpstreamSwitch;

impl DLedgerCore {
    /// Has term and vote made durable.
    pub(crate) fn persist(&mut self) {
        let (new, old) = (self.hard, self.persisted);
        assert!(new.term >= old.term, "term {} after {}", new.term, old.term);
        assert!(
            new.term > old.term || old.voted_for.is_none() || new.voted_for == old.voted_for,
            "a second vote in term {}",
            new.term
        );
        self.command(Command::PersistTermAndVote(new));
    }

    /// Whether everything that it stands by is durable.
    pub(crate) fn is_persisted(&self) -> bool {
        self.persisted == self.hard || self.settings.upstream(UpstreamSwitch::VoteNotDurable)
    }

    pub(crate) fn term_and_vote_persisted(&mut self, state: HardState) {
        assert!(state.term <= self.hard.term, "nobody asked for term {}", state.term);
        self.persisted = state;
        if self.is_persisted() {
            for message in std::mem::take(&mut self.held) {
                self.command(Command::Send(message));
            }
        }
    }

    /// Says something, once it may be said.
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        let message = Message { from: self.self_id(), to, term: self.hard.term, body };
        self.send_message(message);
    }

    pub(crate) fn send_message(&mut self, message: Message) {
        let is_java = self.settings.is_java(message.to);
        let message = if is_java { message.without_extensions() } else { message };
        if self.is_persisted() {
            self.command(Command::Send(message));
        } else if self.held.len() < self.settings.max_held_answers {
            self.held.push_back(message);
        }
    }
}
