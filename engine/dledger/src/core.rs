//! [`DLedgerCore`]: one node of a group. Events go in, commands come out; this file is what all of its parts share.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use crate::blank::Blank;
use crate::event::{Command, Event, Finding};
use crate::log_view::LogView;
use crate::message::{Body, Message, ResponseCode};
use crate::role::{Candidacy, RoleState};
use crate::settings::Settings;
use crate::types::{HardState, LARGEST, LedgerIndex, NodeId, Role, Term};
use crate::upstream::UpstreamSwitch;

/// What a start of a node found on its disk. All of it is durable when the core gets it.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Term and vote; [`HardState::is_blank`] where the node's identity says that it was a member with another disk.
    pub hard_state: HardState,
    /// The log.
    pub log: LogView,
    /// `committedIndex` of the checkpoint: what was once [`DLedgerCore::durable_committed_index`], or −1.
    pub committed_index: LedgerIndex,
}

/// One node of a DLedger group, without disk, network and clock.
///
/// The host calls [`DLedgerCore::step`] with one event at a time, carries the commands out in their order, and
/// tells what became of them as further events.
#[derive(Clone, Debug)]
pub struct DLedgerCore {
    pub(crate) settings: Arc<Settings>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) now_ms: u64,
    pub(crate) hard: HardState,
    pub(crate) persisted: HardState,
    /// Messages that rest on a term or vote that is not durable yet.
    pub(crate) held: VecDeque<Message>,
    pub(crate) log: LogView,
    pub(crate) committed_index: LedgerIndex,
    pub(crate) role: RoleState,
    /// When a node that does not lead does its next step towards leading.
    pub(crate) election_due_ms: u64,
    /// When the leader of this term was heard.
    pub(crate) leader_heard_ms: Option<u64>,
    pub(crate) blank: Option<Blank>,
    pub(crate) is_failed: bool,
    out: Vec<Command>,
}

impl DLedgerCore {
    /// A node that starts. `rng` is a stream of its own, from which its election timeouts are drawn.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        rng: ChaCha8Rng,
        recovered: Recovered,
        now_ms: u64,
    ) -> Self {
        let Recovered { mut hard_state, log, committed_index } = recovered;
        let persisted = hard_state;
        // An entry may be durable before its term is: a vote in that term would have been made durable first.
        if hard_state.term < log.end_term() {
            hard_state.term = log.end_term();
            hard_state.voted_for = None;
        }
        let is_blank = hard_state.is_blank && !settings.upstream(UpstreamSwitch::BlankNodeVotes);
        let mut core = DLedgerCore {
            rng,
            now_ms,
            hard: hard_state,
            persisted,
            held: VecDeque::new(),
            committed_index: committed_index.min(log.end_index()),
            log,
            role: RoleState::Unknown,
            election_due_ms: now_ms,
            leader_heard_ms: None,
            blank: is_blank.then(Blank::default),
            is_failed: false,
            out: Vec::new(),
            settings,
        };
        if core.hard != core.persisted {
            core.persist();
        }
        core.wait_for_election();
        core
    }

    /// Takes an event at a time, in milliseconds of a clock that does not go back, and says what is to be done.
    pub fn step(&mut self, event: Event, now_ms: u64) -> Vec<Command> {
        self.now_ms = self.now_ms.max(now_ms);
        if self.is_failed {
            if let Event::Propose { proposal, .. } = event {
                let code = ResponseCode::DiskError;
                self.command(Command::RejectProposal { proposal, code });
            }
            return std::mem::take(&mut self.out);
        }
        match event {
            Event::Tick => {}
            Event::Received(message) => self.receive(message),
            Event::Propose { proposal, sizes_bytes } => self.propose(proposal, &sizes_bytes),
            Event::TermAndVotePersisted(state) => self.term_and_vote_persisted(state),
            Event::Written { generation, index } => self.log.mark_written(generation, index),
            Event::Synced { generation, index } => self.log.mark_synced(generation, index),
            Event::TransferLeadership(transferee) => self.transfer_leadership(transferee),
            Event::LedgerBegins(index) => self.retention_removed(index),
            Event::DiskFailed => self.fail(),
        }
        if !self.is_failed {
            self.tick();
            self.settle();
        }
        std::mem::take(&mut self.out)
    }

    /// When the next [`Event::Tick`] is due, in milliseconds of the same clock.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        if self.is_failed {
            return None;
        }
        match &self.role {
            RoleState::Leader(leadership) => self.leader_due_ms(leadership),
            RoleState::Follower(following) => {
                let take = following.take.map_or(u64::MAX, |take| take.due_ms);
                Some(self.election_due_ms.min(take))
            }
            RoleState::Candidate(_) | RoleState::Unknown => Some(self.election_due_ms),
        }
    }

    /// Who it is.
    #[must_use]
    pub fn self_id(&self) -> NodeId {
        self.settings.self_id
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.role()
    }

    /// `currTerm`.
    #[must_use]
    pub fn term(&self) -> Term {
        self.hard.term
    }

    /// The leader of its term, where it knows one.
    #[must_use]
    pub fn leader_id(&self) -> Option<NodeId> {
        match &self.role {
            RoleState::Leader(_) => Some(self.self_id()),
            RoleState::Follower(following) => Some(following.leader),
            RoleState::Candidate(_) | RoleState::Unknown => None,
        }
    }

    /// `committedIndex`: never falls.
    #[must_use]
    pub fn committed_index(&self) -> LedgerIndex {
        self.committed_index
    }

    /// The committed index that a checkpoint may keep. It is not ahead of the log's last sync: behind a power loss
    /// an uncommitted tail that had been cut may be there again, and must not pass for committed.
    #[must_use]
    pub fn durable_committed_index(&self) -> LedgerIndex {
        self.committed_index.min(self.log.synced_index())
    }

    /// What it knows of its log.
    #[must_use]
    pub fn log(&self) -> &LogView {
        &self.log
    }

    /// Whether it lost its disk and does not vote yet.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.blank.is_some()
    }

    fn receive(&mut self, message: Message) {
        let from = message.from;
        if message.term > LARGEST || !self.settings.peers.iter().any(|peer| peer.id == from) {
            return;
        }
        if message.is_of_its_term() {
            self.hear_term_of(from, message.term);
            if message.term > self.hard.term && !self.learn_term(&message) {
                return;
            }
        }
        if self.has_forgotten_its_term() && message.is_of_leader() {
            return;
        }
        match message.body {
            Body::VoteRequest(request) => self.vote_requested(from, message.term, request),
            Body::VoteResponse(response) => self.vote_answered(from, message.term, response),
            Body::HeartBeatRequest { ledger_end_index } => {
                self.heart_beat_received(from, message.term, ledger_end_index);
            }
            Body::HeartBeatResponse(code) => self.heart_beat_answered(from, message.term, code),
            Body::PushRequest(request) => self.push_received(from, message.term, &request),
            Body::PushResponse(response) => self.push_answered(from, message.term, response),
            Body::LeadershipTransferRequest(transfer) => {
                self.leadership_offered(from, message.term, transfer);
            }
            Body::LeadershipTransferResponse(code) => {
                self.leadership_answered(from, message.term, code);
            }
        }
    }

    /// Takes over a larger term; whether the message is still to be answered.
    fn learn_term(&mut self, message: &Message) -> bool {
        let ignores = self.settings.upstream(UpstreamSwitch::IgnoresLargerTerm)
            && message.is_response()
            && self.has_quorum();
        let judges_log_first = self.settings.upstream(UpstreamSwitch::LogBeforeTerm)
            && matches!(&message.body, Body::VoteRequest(request) if self.is_behind(request).is_some());
        if ignores {
            return false;
        }
        if judges_log_first {
            return true;
        }
        self.adopt_term(message.term);
        if !self.settings.upstream(UpstreamSwitch::TermNotReady) {
            return true;
        }
        self.answer_term_not_ready(message);
        message.is_response()
    }

    /// Goes on to a larger term, of which it knows no leader.
    pub(crate) fn adopt_term(&mut self, term: Term) {
        assert!(term > self.hard.term, "term {term} after {}", self.hard.term);
        self.hard.term = term;
        self.hard.voted_for = None;
        self.persist();
        self.change_role(RoleState::Candidate(Candidacy::default()));
        self.wait_for_election();
    }

    /// Takes on a role; the host is told when it, its term or its leader is another.
    pub(crate) fn change_role(&mut self, role: RoleState) {
        if !matches!(role, RoleState::Follower(_)) {
            self.leader_heard_ms = None;
        }
        self.role = role;
        let (role, term, leader_id) = (self.role(), self.hard.term, self.leader_id());
        self.command(Command::RoleChanged { role, term, leader_id });
    }

    /// What time alone brings about.
    fn tick(&mut self) {
        match self.role {
            RoleState::Leader(_) => self.lead(),
            RoleState::Follower(_) => {
                self.take_leadership_when_due();
                self.elect_when_due();
            }
            RoleState::Candidate(_) | RoleState::Unknown => self.elect_when_due(),
        }
    }

    /// What follows from whatever has changed.
    fn settle(&mut self) {
        self.count_own_vote();
        self.answer_what_is_durable();
        self.take_leadership_when_due();
        self.end_blankness();
        self.commit_by_quorum();
        self.push_all();
        assert!(self.committed_index <= self.log.end_index(), "what is committed is there");
    }

    fn retention_removed(&mut self, begin_index: LedgerIndex) {
        let is_old = begin_index <= self.committed_index.max(self.log.begin_index());
        assert!(is_old, "retention leaves what is not committed, and the last entry");
        self.log.drop_below(begin_index);
    }

    fn fail(&mut self) {
        self.is_failed = true;
        self.held.clear();
        self.blank = None;
        self.change_role(RoleState::Unknown);
    }

    /// How far its own log counts, as `flushDiskType` asks.
    pub(crate) fn durable_index(&self) -> LedgerIndex {
        let is_synced =
            self.settings.is_sync_flush && !self.settings.upstream(UpstreamSwitch::AcksPageCache);
        if is_synced { self.log.synced_index() } else { self.log.written_index() }
    }

    /// Raises the committed index.
    pub(crate) fn commit(&mut self, index: LedgerIndex) {
        if index <= self.committed_index {
            return;
        }
        assert!(index <= self.log.end_index(), "{index} is not there");
        self.committed_index = index;
        self.command(Command::Commit(index));
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.out.push(command);
    }

    pub(crate) fn report(&mut self, finding: Finding) {
        self.command(Command::Report(finding));
    }

    /// A number of milliseconds between two bounds, both included.
    pub(crate) fn draw_ms(&mut self, min: u64, max: u64) -> u64 {
        min + self.rng.next_u64() % (max.saturating_sub(min) + 1)
    }
}
