//! Who leads: silence, pre-votes, votes.
//!
//! Who hears no leader for `maxHeartBeatLeak` intervals becomes a candidate, waits for a drawn time and asks
//! whether it would be elected. Only if a quorum says so does it raise its term, vote for itself, have both made
//! durable and ask for votes. A Java member knows no pre-votes and counts as willing.
//!
//! Java origin: `DLedgerLeaderElector` of DLedger 0.3.1, whose results of a round (`WAIT_TO_REVOTE`,
//! `REVOTE_IMMEDIATELY`, `WAIT_TO_VOTE_NEXT`) became: a round that cannot be won any more waits anew, and every
//! round is a new term.

use std::collections::BTreeSet;

use crate::core::DLedgerCore;
use crate::event::Finding;
use crate::message::{
    Body, LeadershipTransfer, Message, PushRequest, ResponseCode, VoteRequest, VoteResponse,
    VoteResult,
};
use crate::role::{Candidacy, RoleState, Round};
use crate::types::{LedgerIndex, NodeId, Term};
use crate::upstream::UpstreamSwitch;

impl DLedgerCore {
    /// Lets a drawn time pass before the next step towards leading.
    pub(crate) fn wait_for_election(&mut self) {
        let (min, max) = (self.settings.min_vote_interval_ms, self.settings.max_vote_interval_ms);
        self.election_due_ms = self.now_ms + self.draw_ms(min, max);
    }

    /// Leaves the leader that was just heard, or a candidate that was just voted for, its time.
    pub(crate) fn wait_for_silence(&mut self) {
        self.election_due_ms = self.now_ms + self.settings.leader_silence_ms();
    }

    pub(crate) fn elect_when_due(&mut self) {
        if self.now_ms < self.election_due_ms {
            return;
        }
        match self.role {
            RoleState::Follower(_) => {
                self.change_role(RoleState::Candidate(Candidacy::default()));
                self.wait_for_election();
            }
            _ if self.blank.is_some() => {
                self.ask_for_terms();
                self.wait_for_election();
            }
            _ if self.settings.upstream(UpstreamSwitch::NoPreVote) => self.ask_for_votes(),
            _ => self.ask_for_pre_votes(),
        }
    }

    fn ask_for_pre_votes(&mut self) {
        let java = self.settings.peers.iter().filter(|peer| peer.is_java).map(|peer| peer.id);
        let granted = java.chain([self.self_id()]).collect();
        self.start_round(Round::PreVote, granted);
        let peers: Vec<NodeId> =
            self.settings.peers.iter().filter(|peer| !peer.is_java).map(|peer| peer.id).collect();
        for peer in peers {
            self.ask(peer);
        }
        self.count_votes();
    }

    /// Raises the term and asks for votes in it.
    pub(crate) fn ask_for_votes(&mut self) {
        assert!(self.blank.is_none(), "who has forgotten its votes does not lead");
        self.hard.term += 1;
        self.hard.voted_for = Some(self.self_id());
        self.persist();
        self.start_round(Round::Vote, BTreeSet::new());
        let peers: Vec<NodeId> = self.settings.peers.iter().map(|peer| peer.id).collect();
        for peer in peers {
            self.ask(peer);
        }
    }

    fn start_round(&mut self, round: Round, granted: BTreeSet<NodeId>) {
        self.change_role(RoleState::Candidate(Candidacy {
            round,
            granted,
            ..Candidacy::default()
        }));
        let drawn = self.draw_ms(0, self.settings.max_vote_interval_ms);
        self.election_due_ms = self.now_ms + self.settings.vote_round_ms + drawn;
    }

    fn ask(&mut self, peer: NodeId) {
        let RoleState::Candidate(Candidacy { round, .. }) = &self.role else { return };
        let is_pre_vote = *round == Round::PreVote;
        let request = VoteRequest {
            ledger_end_index: self.log.end_index(),
            ledger_end_term: self.log.end_term(),
            is_pre_vote,
        };
        let term = self.hard.term + Term::from(is_pre_vote);
        let (from, body) = (self.self_id(), Body::VoteRequest(request));
        self.send_message(Message { from, to: peer, term, body });
    }

    /// Its own vote counts like any other: once it is durable.
    pub(crate) fn count_own_vote(&mut self) {
        let (id, is_persisted) = (self.self_id(), self.is_persisted());
        let Some(candidacy) = self.role.candidacy_mut() else { return };
        if candidacy.round == Round::Vote && is_persisted && candidacy.granted.insert(id) {
            self.count_votes();
        }
    }

    pub(crate) fn vote_requested(&mut self, from: NodeId, term: Term, request: VoteRequest) {
        let result = if request.is_pre_vote {
            self.judge_pre_vote(term, &request)
        } else {
            self.judge_vote(from, term, &request)
        };
        let is_vote = result == VoteResult::Accept && !request.is_pre_vote;
        if is_vote && self.hard.voted_for.is_none() {
            self.hard.voted_for = Some(from);
            self.persist();
            self.wait_for_silence();
        }
        assert!(!is_vote || self.hard.voted_for == Some(from), "one vote in a term");
        let is_pre_vote = request.is_pre_vote;
        self.send(from, Body::VoteResponse(VoteResponse { result, is_pre_vote }));
    }

    fn judge_vote(&self, from: NodeId, term: Term, request: &VoteRequest) -> VoteResult {
        if self.settings.upstream(UpstreamSwitch::LogBeforeTerm)
            && let Some(result) = self.is_behind(request)
        {
            return result;
        }
        if term < self.hard.term {
            return VoteResult::RejectExpiredVoteTerm;
        }
        assert_eq!(term, self.hard.term, "a larger term was adopted");
        if self.leader_id().is_some_and(|leader| leader != from) {
            return VoteResult::RejectAlreadyHasLeader;
        }
        if self.hard.voted_for.is_some_and(|other| other != from) {
            return VoteResult::RejectAlreadyVoted;
        }
        match self.is_behind(request) {
            Some(result) => result,
            None if self.blank.is_some() => VoteResult::Unknown,
            None => VoteResult::Accept,
        }
    }

    /// Would it vote for that candidate in that term? Nothing is promised and nothing changes. Who has
    /// heard a leader lately says no: one that hears none, but is heard, does not end a leader that is well.
    fn judge_pre_vote(&self, term: Term, request: &VoteRequest) -> VoteResult {
        let patience =
            self.settings.leader_silence_ms() - self.settings.heart_beat_time_interval_ms;
        let has_heard = self.leader_heard_ms.is_some_and(|heard| self.now_ms < heard + patience);
        if term <= self.hard.term {
            return VoteResult::RejectExpiredVoteTerm;
        }
        if has_heard || self.has_quorum() {
            return VoteResult::RejectAlreadyHasLeader;
        }
        match self.is_behind(request) {
            Some(result) => result,
            None if self.blank.is_some() => VoteResult::Unknown,
            None => VoteResult::Accept,
        }
    }

    /// Why a candidate's log is not as good as this node's. The term is that of the last entry, on both sides.
    pub(crate) fn is_behind(&self, request: &VoteRequest) -> Option<VoteResult> {
        let own = (self.log.end_term(), self.log.end_index());
        if request.ledger_end_term < own.0 {
            Some(VoteResult::RejectExpiredLedgerTerm)
        } else if (request.ledger_end_term, request.ledger_end_index) < own {
            Some(VoteResult::RejectSmallLedgerEndIndex)
        } else {
            None
        }
    }

    pub(crate) fn vote_answered(&mut self, from: NodeId, term: Term, response: VoteResponse) {
        let own_term = self.hard.term;
        let Some(candidacy) = self.role.candidacy_mut() else { return };
        let is_of_round = match candidacy.round {
            Round::Waiting => false,
            Round::PreVote => response.is_pre_vote,
            Round::Vote => !response.is_pre_vote && term == own_term,
        };
        if !is_of_round {
            return;
        }
        match response.result {
            VoteResult::Unknown => {}
            VoteResult::Accept => {
                candidacy.granted.insert(from);
                candidacy.refused.remove(&from);
            }
            VoteResult::RejectTermNotReady => return self.ask(from),
            _ => {
                candidacy.refused.insert(from);
            }
        }
        self.count_votes();
    }

    fn count_votes(&mut self) {
        let (quorum, members) = (self.settings.quorum(), self.settings.peers.len() + 1);
        let Some(candidacy) = self.role.candidacy_mut() else { return };
        let refused = candidacy.refused.difference(&candidacy.granted).count();
        if candidacy.granted.len() >= quorum {
            match candidacy.round {
                Round::Waiting => {}
                Round::PreVote => self.ask_for_votes(),
                Round::Vote => self.lead_from_now_on(),
            }
        } else if members - refused < quorum {
            candidacy.round = Round::Waiting;
            self.wait_for_election();
        }
    }

    /// Follows the leader of the present term, who was just heard; whether it may.
    pub(crate) fn follow(&mut self, leader: NodeId) -> bool {
        if let Some(known) = self.leader_id()
            && known != leader
        {
            let term = self.hard.term;
            self.report(Finding::TwoLeaders { term, known, other: leader });
            return false;
        }
        if self.role.following().is_none() {
            self.become_follower(leader);
        }
        self.leader_heard_ms = Some(self.now_ms);
        self.wait_for_silence();
        true
    }

    pub(crate) fn heart_beat_received(
        &mut self,
        from: NodeId,
        term: Term,
        end: Option<LedgerIndex>,
    ) {
        let code = if term < self.hard.term {
            ResponseCode::ExpiredTerm
        } else if self.follow(from) {
            if let Some(end) = end {
                self.hear_leader_end(end);
            }
            ResponseCode::Success
        } else {
            ResponseCode::InconsistentLeader
        };
        self.send(from, Body::HeartBeatResponse(code));
    }

    /// Upstream's answer to a larger term.
    pub(crate) fn answer_term_not_ready(&mut self, message: &Message) {
        let code = ResponseCode::TermNotReady;
        let body = match &message.body {
            Body::VoteRequest(VoteRequest { is_pre_vote, .. }) => {
                let (result, is_pre_vote) = (VoteResult::RejectTermNotReady, *is_pre_vote);
                Body::VoteResponse(VoteResponse { result, is_pre_vote })
            }
            Body::HeartBeatRequest { .. } => Body::HeartBeatResponse(code),
            Body::PushRequest(request) => self.push_answer(request, code),
            Body::LeadershipTransferRequest(LeadershipTransfer { .. }) => {
                Body::LeadershipTransferResponse(ResponseCode::TakeLeadershipFailed)
            }
            _ => return,
        };
        self.send(message.from, body);
    }

    /// The answer to a push that changes nothing.
    pub(crate) fn push_answer(&self, request: &PushRequest, code: ResponseCode) -> Body {
        Body::PushResponse(self.push_response(request, code))
    }
}
