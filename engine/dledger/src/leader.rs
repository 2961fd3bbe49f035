//! What a leader does: heartbeats, the lease that they earn, the commit rule, proposals.
//!
//! Only entries of the leader's own term are committed by counting; with them everything before them is (Raft, 5.4.2).
//! The entry that a leader writes when it is elected makes that happen without a client.
//!
//! Java origin: `DLedgerLeaderElector.sendHeartbeats` and `DLedgerEntryPusher.QuorumAckChecker` of DLedger 0.3.1.

use crate::core::DLedgerCore;
use crate::event::{Command, EntrySource};
use crate::message::{Body, ResponseCode};
use crate::role::{Candidacy, Leadership, Progress, RoleState};
use crate::types::{EntryMeta, LedgerIndex, NodeId, ProposalId, Term};
use crate::upstream::UpstreamSwitch;

impl DLedgerCore {
    /// A quorum has voted for it.
    pub(crate) fn lead_from_now_on(&mut self) {
        assert!(self.is_persisted(), "its own vote is durable");
        assert_eq!(self.hard.voted_for, Some(self.self_id()), "who leads has voted for itself");
        let has_no_op = !self.settings.upstream(UpstreamSwitch::NoNoOp);
        let end = self.log.end_index() + LedgerIndex::from(has_no_op);
        let peers = self.settings.peers.iter().map(|peer| Progress::new(peer.id, end, self.now_ms));
        self.change_role(RoleState::Leader(Leadership {
            peers: peers.collect(),
            ready_index: end,
            is_ready: false,
            transfer: None,
            preferred_due_ms: self.now_ms + self.settings.check_preferred_leader_interval_ms,
        }));
        if has_no_op {
            let entry =
                EntryMeta { term: self.hard.term, size_bytes: self.settings.no_op_size_bytes };
            self.append(end, vec![entry], EntrySource::NoOp);
        }
        self.lead();
    }

    /// What time alone makes a leader do.
    pub(crate) fn lead(&mut self) {
        if !self.has_quorum() {
            self.change_role(RoleState::Candidate(Candidacy::default()));
            return self.wait_for_election();
        }
        self.send_heart_beats();
        self.end_overdue_transfer();
        self.prefer_leader();
    }

    /// When a leader has something to do for which nobody will call.
    pub(crate) fn leader_due_ms(&self, leadership: &Leadership) -> Option<u64> {
        let settings = &self.settings;
        let silence = settings.leader_silence_ms();
        let of_peer = |peer: &Progress| {
            let push =
                peer.sent_ms.map_or(peer.commit_told_ms + settings.commit_push_interval_ms, |it| {
                    it + settings.max_push_time_out_ms
                });
            let lease = peer.heard_ms + silence;
            // An expired lease is of a peer that a quorum does without.
            let lease = if lease > self.now_ms { lease } else { u64::MAX };
            push.min(lease).min(peer.heart_beat_due_ms)
        };
        let peers = leadership.peers.iter().map(of_peer).min();
        let transfer = leadership.transfer.map(|transfer| transfer.due_ms);
        let prefers = !settings.preferred_leader_ids.is_empty();
        let preferred = prefers.then_some(leadership.preferred_due_ms);
        [peers, transfer, preferred].into_iter().flatten().min()
    }

    fn send_heart_beats(&mut self) {
        let (now_ms, interval) = (self.now_ms, self.settings.heart_beat_time_interval_ms);
        let Some(leadership) = self.role.leadership_mut() else { return };
        let due = leadership.peers.iter_mut().filter(|peer| peer.heart_beat_due_ms <= now_ms);
        let due = due.map(|peer| {
            peer.heart_beat_due_ms = now_ms + interval;
            peer.id
        });
        for peer in due.collect::<Vec<_>>() {
            self.send_heart_beat(peer);
        }
    }

    fn send_heart_beat(&mut self, peer: NodeId) {
        let ledger_end_index = Some(self.log.end_index());
        self.send(peer, Body::HeartBeatRequest { ledger_end_index });
    }

    pub(crate) fn heart_beat_answered(&mut self, from: NodeId, term: Term, code: ResponseCode) {
        if term != self.hard.term || self.role.leadership().is_none() {
            return;
        }
        match code {
            ResponseCode::Success => self.hear_follower(from),
            ResponseCode::TermNotReady => self.send_heart_beat(from),
            _ => {}
        }
    }

    /// A peer said that it follows this leader.
    pub(crate) fn hear_follower(&mut self, from: NodeId) {
        let now_ms = self.now_ms;
        if let Some(peer) = self.role.leadership_mut().and_then(|it| it.progress_mut(from)) {
            peer.heard_ms = now_ms;
        }
    }

    /// Whether this is a leader that a quorum has followed within the time after which followers give up.
    pub(crate) fn has_quorum(&self) -> bool {
        let Some(leadership) = self.role.leadership() else { return false };
        let silence = self.settings.leader_silence_ms();
        let followers =
            leadership.peers.iter().filter(|peer| self.now_ms < peer.heard_ms + silence);
        followers.count() + 1 >= self.settings.quorum()
    }

    /// Commits what a quorum holds, and tells when the leader may serve.
    pub(crate) fn commit_by_quorum(&mut self) {
        let Some(leadership) = self.role.leadership() else { return };
        let own = self.durable_index();
        let of_peers = leadership.peers.iter().map(|peer| peer.match_index.unwrap_or(-1));
        let mut held: Vec<LedgerIndex> = of_peers.chain([own]).collect();
        held.sort_unstable_by(|one, other| other.cmp(one));
        let index = held[self.settings.quorum() - 1].min(self.log.end_index());
        let is_of_this_term = self.log.term_of(index) == Some(self.hard.term);
        if is_of_this_term || self.settings.upstream(UpstreamSwitch::CommitsOldTerms) {
            self.commit(index);
        }
        self.tell_when_ready();
    }

    fn tell_when_ready(&mut self) {
        let (term, index) = (self.hard.term, self.committed_index);
        let Some(leadership) = self.role.leadership_mut() else { return };
        if !leadership.is_ready && index >= leadership.ready_index {
            leadership.is_ready = true;
            self.command(Command::LeadershipReady { term, index });
        }
    }

    pub(crate) fn propose(&mut self, proposal: ProposalId, sizes_bytes: &[u32]) {
        assert!(!sizes_bytes.is_empty(), "a proposal is of something");
        if let Err(code) = self.may_append(sizes_bytes.len()) {
            return self.command(Command::RejectProposal { proposal, code });
        }
        let term = self.hard.term;
        let entries =
            sizes_bytes.iter().map(|size| EntryMeta { term, size_bytes: *size }).collect();
        self.append(self.log.end_index() + 1, entries, EntrySource::Proposal(proposal));
    }

    fn may_append(&self, count: usize) -> Result<(), ResponseCode> {
        let leadership = self.role.leadership().ok_or(ResponseCode::NotLeader)?;
        if leadership.transfer.is_some() {
            return Err(ResponseCode::LeaderTransferring);
        }
        let pending = self.log.end_index() - self.committed_index;
        let pending = u64::try_from(pending).unwrap_or(0) + count as u64;
        let is_full = pending > self.settings.max_pending_requests_num;
        if is_full { Err(ResponseCode::LeaderPendingFull) } else { Ok(()) }
    }
}
