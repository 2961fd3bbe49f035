//! Handing over leadership: by an operator's word, or because another member is preferred.
//!
//! The leader stops taking proposals and asks the transferee, which asks for votes at once, without a
//! pre-vote, when its log has come as far as the leader's. Who is not known to follow, lags or is
//! silent is not asked: an unknown watermark is no small lag. What has not happened in
//! time is off, and the leader goes on.
//!
//! Java origin: `DLedgerServer.checkPreferredLeader`, `DLedgerLeaderElector.handleTakeLeadership` of DLedger 0.3.1.

use crate::core::DLedgerCore;
use crate::message::{Body, LeadershipTransfer, ResponseCode};
use crate::role::{TakeLeadershipTask, Transfer};
use crate::types::{NodeId, Term};

impl DLedgerCore {
    pub(crate) fn transfer_leadership(&mut self, transferee: NodeId) {
        if !self.can_lead(transferee) {
            return;
        }
        let (transfer_id, end) = (self.self_id(), self.log.end_index());
        let due_ms = self.now_ms + self.settings.leadership_transfer_wait_timeout_ms;
        let Some(leadership) = self.role.leadership_mut() else { return };
        if leadership.transfer.is_some() {
            return;
        }
        leadership.transfer = Some(Transfer { transferee, due_ms });
        let request = LeadershipTransfer {
            transfer_id,
            transferee_id: transferee,
            take_leadership_ledger_index: end,
        };
        self.send(transferee, Body::LeadershipTransferRequest(request));
    }

    /// Whether a peer follows closely enough to take over.
    fn can_lead(&self, peer: NodeId) -> bool {
        let Some(leadership) = self.role.leadership() else { return false };
        let Some(progress) = leadership.peers.iter().find(|it| it.id == peer) else { return false };
        let is_live = self.now_ms < progress.heard_ms + self.settings.leader_silence_ms();
        let lag = progress.match_index.map(|index| self.log.end_index() - index);
        let is_close = lag
            .and_then(|lag| u64::try_from(lag).ok())
            .is_some_and(|lag| lag < self.settings.max_leadership_transfer_wait_index);
        is_live && is_close && leadership.is_ready
    }

    /// Hands over to a preferred member, if there is one and it is not the leader already.
    pub(crate) fn prefer_leader(&mut self) {
        let (now_ms, interval) = (self.now_ms, self.settings.check_preferred_leader_interval_ms);
        let Some(leadership) = self.role.leadership_mut() else { return };
        if now_ms < leadership.preferred_due_ms {
            return;
        }
        leadership.preferred_due_ms = now_ms + interval;
        let preferred = &self.settings.preferred_leader_ids;
        if preferred.contains(&self.settings.self_id) {
            return;
        }
        if let Some(peer) = preferred.iter().copied().find(|peer| self.can_lead(*peer)) {
            self.transfer_leadership(peer);
        }
    }

    pub(crate) fn end_overdue_transfer(&mut self) {
        let now_ms = self.now_ms;
        if let Some(leadership) = self.role.leadership_mut() {
            leadership.transfer = leadership.transfer.filter(|transfer| now_ms < transfer.due_ms);
        }
    }

    pub(crate) fn leadership_answered(&mut self, from: NodeId, term: Term, code: ResponseCode) {
        if term != self.hard.term || code == ResponseCode::Success {
            return;
        }
        if let Some(leadership) = self.role.leadership_mut() {
            leadership.transfer =
                leadership.transfer.filter(|transfer| transfer.transferee != from);
        }
    }

    /// The leader asks this node to lead.
    pub(crate) fn leadership_offered(
        &mut self,
        from: NodeId,
        term: Term,
        offer: LeadershipTransfer,
    ) {
        let is_meant = offer.transferee_id == self.self_id() && offer.transfer_id == from;
        let due_ms = self.now_ms + self.settings.leadership_transfer_wait_timeout_ms;
        let may_lead = self.blank.is_none() && term == self.hard.term && is_meant;
        let following = self.role.following_mut().filter(|it| may_lead && it.leader == from);
        let Some(following) = following else {
            let code = ResponseCode::TakeLeadershipFailed;
            return self.send(from, Body::LeadershipTransferResponse(code));
        };
        let ledger_index = offer.take_leadership_ledger_index;
        following.take = Some(TakeLeadershipTask { ledger_index, due_ms });
        self.take_leadership_when_due();
    }

    /// Asks for votes once the log is as long as the leader's was, or gives up.
    pub(crate) fn take_leadership_when_due(&mut self) {
        let (now_ms, reached) = (self.now_ms, self.durable_index());
        let Some(following) = self.role.following_mut() else { return };
        let Some(task) = following.take else { return };
        let leader = following.leader;
        if following.matched_index.min(reached) >= task.ledger_index {
            self.ask_for_votes();
            self.send(leader, Body::LeadershipTransferResponse(ResponseCode::Success));
        } else if now_ms >= task.due_ms {
            following.take = None;
            let code = ResponseCode::TakeLeadershipFailed;
            self.send(leader, Body::LeadershipTransferResponse(code));
        }
    }
}
