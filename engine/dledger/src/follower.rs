//! What a follower does with its leader's pushes.
//!
//! It keeps up to where its log is *known* to equal the leader's, in this term and since it started. A COMPARE
//! that finds the same entry raises that, and so does every APPEND, which is taken only where it continues it. Nothing
//! is taken on trust, so that APPEND needs no previous entry in the request: a follower that restarted, lost a
//! cut or missed a push answers INCONSISTENT_STATE, and the leader compares again. Entries of the leader's own
//! term prove everything before them.
//!
//! No table of pushes under way is kept: one that comes twice finds its entries there and is answered again.
//!
//! Java origin: `DLedgerEntryPusher.EntryHandler` of DLedger 0.3.1.

use crate::core::DLedgerCore;
use crate::event::{Command, EntrySource, Finding};
use crate::log_view::LogView;
use crate::message::{Body, PushRequest, PushResponse, PushType, ResponseCode};
use crate::role::{Following, RoleState};
use crate::types::{EntryMeta, LARGEST, LedgerIndex, NO_INDEX, NodeId, Term};
use crate::upstream::UpstreamSwitch;

impl DLedgerCore {
    /// Becomes a follower of the leader of the present term.
    pub(crate) fn become_follower(&mut self, leader: NodeId) {
        let matched_index = self.proven_index(self.hard.term);
        let following = Following { leader, matched_index, waiting: Vec::new(), take: None };
        self.change_role(RoleState::Follower(following));
    }

    pub(crate) fn push_received(&mut self, from: NodeId, term: Term, request: &PushRequest) {
        if term < self.hard.term {
            return self.refuse_push(from, request, ResponseCode::ExpiredTerm);
        }
        if !self.follow(from) {
            return self.refuse_push(from, request, ResponseCode::InconsistentLeader);
        }
        if !self.is_sound(self.hard.term, request) {
            return self.refuse_push(from, request, ResponseCode::InconsistentState);
        }
        let following = self.role.following();
        if following.is_some_and(|it| it.waiting.len() >= self.settings.max_held_answers) {
            return self.refuse_push(from, request, ResponseCode::PushRequestIsFull);
        }
        let reached = match request.push_type {
            PushType::Append => self.append_pushed(request),
            PushType::Commit => (self.matched_index() >= request.commit_index)
                .then(|| request.commit_index.min(self.log.end_index())),
            PushType::Compare => self.compare(request),
            PushType::Truncate => self.truncate(request),
        };
        match reached {
            Some(index) => {
                self.answer_when_durable(index, request);
                self.commit(request.commit_index.min(self.matched_index()));
            }
            None => self.refuse_push(from, request, ResponseCode::InconsistentState),
        }
        if self.settings.is_java(from) {
            self.hear_leader_end(request.commit_index);
        }
    }

    /// Whether a leader of that term can have such entries: their terms do not fall, and none is larger than its own.
    pub(crate) fn is_sound(&self, term: Term, request: &PushRequest) -> bool {
        let terms = || request.entries.iter().map(|entry| entry.term);
        let are_sorted = terms().is_sorted() && terms().all(|it| (0..=term).contains(&it));
        are_sorted && (NO_INDEX..=LARGEST).contains(&request.first_index)
    }

    /// Appends what is new of the entries; up to where the log is then as the push says.
    fn append_pushed(&mut self, request: &PushRequest) -> Option<LedgerIndex> {
        self.match_by_number(request);
        let matched = self.matched_index();
        if request.entries.is_empty() || request.first_index > matched + 1 {
            return None;
        }
        // What is known to be equal is passed over, what is there and equal confirmed.
        let mut index = request.first_index.max(matched + 1);
        while let Some(entry) = entry_at(request, index) {
            let Some(term) = self.log.term_of(index) else { break };
            if term != entry.term {
                if !self.cut(index - 1) {
                    return None;
                }
                break;
            }
            self.match_through(index);
            index += 1;
        }
        let new: Vec<EntryMeta> = (index..).map_while(|it| entry_at(request, it)).collect();
        if let Some(first) = new.first() {
            if first.term < self.log.end_term() {
                return None;
            }
            self.append(index, new, EntrySource::Push);
            self.match_through(request.last_index());
        }
        Some(request.last_index())
    }

    /// Upstream takes what continues the log for what continues the leader's.
    fn match_by_number(&mut self, request: &PushRequest) {
        let end = self.log.end_index();
        if self.settings.upstream(UpstreamSwitch::AppendUnmatched) && request.first_index == end + 1
        {
            self.match_through(end);
        }
    }

    /// Whether the entry that the leader has there is the one here.
    fn compare(&mut self, request: &PushRequest) -> Option<LedgerIndex> {
        let entry = entry_at(request, request.first_index)?;
        let is_equal = self.log.term_of(request.first_index) == Some(entry.term);
        is_equal.then(|| {
            self.match_through(request.first_index);
            request.first_index
        })
    }

    /// Lets the leader append behind an entry that is the one here, or begins anew where the leader's log begins.
    ///
    /// Nothing is cut behind an equal entry: what is there goes when an entry of the leader's turns out to be another, so
    /// that a late request takes nothing back that was acknowledged since.
    fn truncate(&mut self, request: &PushRequest) -> Option<LedgerIndex> {
        let index = request.first_index;
        let entry = entry_at(request, index)?;
        if self.matched_index() < index && self.log.term_of(index) != Some(entry.term) {
            if !self.is_leaders_begin(request) || !self.begin_at(index) {
                return None;
            }
            if entry.term < self.log.end_term() {
                return None;
            }
            self.append(index, vec![entry], EntrySource::Push);
        }
        self.match_through(index);
        Some(index)
    }

    /// Whether nothing of this log below the index can be the leader's: its log begins there. Java does not say where it
    /// begins, and sends such a push, of an entry that was not found to be equal, in no other case.
    pub(crate) fn is_leaders_begin(&self, request: &PushRequest) -> bool {
        let index = request.first_index;
        match request.ledger_begin_index {
            Some(begin) => index == begin,
            None => index == 0 || self.log.is_empty() || self.log.end_index() < index,
        }
    }

    /// Makes the log one that ends right before the leader's first entry.
    fn begin_at(&mut self, index: LedgerIndex) -> bool {
        let is_inside = (self.log.begin_index()..=self.log.end_index()).contains(&index);
        if is_inside && self.committed_index >= index - 1 {
            // What is before it is committed, and so the leader's before it expired there.
            return self.cut(index - 1);
        }
        if self.committed_index >= index && !self.may_cut_committed(index) {
            return false;
        }
        if self.log.is_empty() && self.log.begin_index() == index {
            return true;
        }
        self.log.start_over(index);
        let generation = self.log.generation();
        self.command(Command::Truncate { keep_through: index - 1, is_emptied: true, generation });
        true
    }

    /// Cuts the log behind an entry, unless something committed would go.
    fn cut(&mut self, keep_through: LedgerIndex) -> bool {
        assert!(keep_through >= self.matched_index(), "what equals the leader's log stays");
        if keep_through < self.committed_index && !self.may_cut_committed(keep_through + 1) {
            return false;
        }
        self.log.cut(keep_through);
        let generation = self.log.generation();
        self.command(Command::Truncate { keep_through, is_emptied: false, generation });
        if let Some(following) = self.role.following_mut() {
            following.waiting.retain(|(index, _)| *index <= keep_through);
        }
        true
    }

    /// Says no, and says so; yes where upstream's behaviour is asked for.
    fn may_cut_committed(&mut self, index: LedgerIndex) -> bool {
        if self.settings.upstream(UpstreamSwitch::TruncatesCommitted) {
            self.committed_index = self.committed_index.min(index - 1);
            return true;
        }
        let Some(leader_id) = self.leader_id() else { return false };
        let committed_index = self.committed_index;
        self.report(Finding::CommittedCutRefused { leader_id, index, committed_index });
        false
    }

    /// Enters entries that continue the log, and has them written.
    pub(crate) fn append(
        &mut self,
        first_index: LedgerIndex,
        entries: Vec<EntryMeta>,
        source: EntrySource,
    ) {
        assert_eq!(first_index, self.log.end_index() + 1, "no hole in the log");
        self.log.append(&entries);
        self.command(Command::Append { first_index, entries, source });
    }

    /// Up to where the log is that of the leader of `term` whatever he says: an entry of his proves what is before it.
    pub(crate) fn proven_index(&self, term: Term) -> LedgerIndex {
        if self.log.end_term() == term { self.log.end_index() } else { NO_INDEX }
    }

    pub(crate) fn matched_index(&self) -> LedgerIndex {
        self.role.following().map_or(NO_INDEX, |following| following.matched_index)
    }

    /// The log equals the leader's up to there; where the last entry is of the leader's term, up to its end.
    fn match_through(&mut self, index: LedgerIndex) {
        let index =
            if self.log.end_term() == self.hard.term { self.log.end_index() } else { index };
        assert!(index <= self.log.end_index(), "nothing is known of what is not there");
        if let Some(following) = self.role.following_mut() {
            following.matched_index = following.matched_index.max(index);
        }
    }

    fn answer_when_durable(&mut self, index: LedgerIndex, request: &PushRequest) {
        let response = self.push_response(request, ResponseCode::Success);
        if let Some(following) = self.role.following_mut() {
            following.waiting.push((index, response));
        }
        self.answer_what_is_durable();
    }

    /// Answers the pushes whose entries count now.
    pub(crate) fn answer_what_is_durable(&mut self) {
        let durable = self.durable_index();
        let Some(following) = self.role.following_mut() else { return };
        let leader = following.leader;
        let waiting = std::mem::take(&mut following.waiting);
        let (ready, waiting) = waiting.into_iter().partition(|(index, _)| *index <= durable);
        following.waiting = waiting;
        let ready: Vec<(LedgerIndex, PushResponse)> = ready;
        for (_, mut response) in ready {
            response.begin_index = self.log.begin_index();
            response.end_index = self.log.end_index();
            self.send(leader, Body::PushResponse(response));
        }
    }

    fn refuse_push(&mut self, to: NodeId, request: &PushRequest, code: ResponseCode) {
        let mut response = self.push_response(request, code);
        if code == ResponseCode::InconsistentState && request.push_type == PushType::Compare {
            response.conflict = conflict(&self.log, request);
        }
        self.send(to, Body::PushResponse(response));
    }

    pub(crate) fn push_response(&self, request: &PushRequest, code: ResponseCode) -> PushResponse {
        PushResponse {
            push_type: request.push_type,
            code,
            index: request.first_index,
            count: u32::try_from(request.entries.len()).unwrap_or(u32::MAX),
            begin_index: self.log.begin_index(),
            end_index: self.log.end_index(),
            conflict: None,
        }
    }
}

pub(crate) fn entry_at(request: &PushRequest, index: LedgerIndex) -> Option<EntryMeta> {
    let at = usize::try_from(index - request.first_index).ok()?;
    request.entries.get(at).copied()
}

/// What narrows down where two logs part: terms never fall along a log, so that below a different entry
/// nothing of a larger term than either has there can be equal.
fn conflict(log: &LogView, request: &PushRequest) -> Option<(Term, LedgerIndex)> {
    let index = request.first_index;
    let (own, theirs) = (log.term_of(index)?, request.entries.first()?.term);
    Some((own, log.last_index_of_term_up_to(theirs, index - 1)))
}
