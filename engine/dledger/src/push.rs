//! How a leader makes each peer's log its own: COMPARE, TRUNCATE, APPEND, COMMIT.
//!
//! Whatever goes wrong leads back to COMPARE: an answer that does not fit, an entry that expired here. One push is
//! under way in COMPARE and TRUNCATE, a window of entries and bytes in APPEND; a peer that does not answer in time
//! gets one entry at a time.
//!
//! Java origin: `DLedgerEntryPusher.EntryDispatcher` of DLedger 0.3.1.

use crate::core::DLedgerCore;
use crate::message::{Body, PushRequest, PushResponse, PushType, ResponseCode};
use crate::role::{Progress, Push};
use crate::settings::Settings;
use crate::types::{LedgerIndex, NodeId, Term};

impl DLedgerCore {
    /// Pushes to every peer what it may get now.
    pub(crate) fn push_all(&mut self) {
        let Some(leadership) = self.role.leadership() else { return };
        for at in 0..leadership.peers.len() {
            self.push_to(at);
        }
    }

    fn push_to(&mut self, at: usize) {
        self.compare_what_expired(at);
        let Some(progress) = self.progress(at) else { return };
        match progress.push {
            Push::Compare { index } => self.push_one(at, PushType::Compare, index),
            Push::Truncate { index } => self.push_one(at, PushType::Truncate, index),
            Push::Append { .. } => {
                self.probe_when_overdue(at);
                self.append_to(at);
                self.tell_commit(at);
            }
        }
    }

    fn progress(&mut self, at: usize) -> Option<&mut Progress> {
        self.role.leadership_mut().map(|leadership| &mut leadership.peers[at])
    }

    /// A peer that needs what is not here any more starts where the log begins.
    fn compare_what_expired(&mut self, at: usize) {
        let (begin, end) = (self.log.begin_index(), self.log.end_index());
        let Some(progress) = self.progress(at) else { return };
        let needed = match progress.push {
            Push::Compare { index } | Push::Truncate { index } => index,
            Push::Append { next_index, .. } => next_index,
        };
        if needed < begin && end >= begin {
            progress.compare_from(end);
        }
    }

    /// One push of one entry, again when it is not answered in time.
    fn push_one(&mut self, at: usize, push_type: PushType, index: LedgerIndex) {
        let (now_ms, time_out) = (self.now_ms, self.settings.max_push_time_out_ms);
        let (begin, entry) = (self.log.begin_index(), self.log.entry(index));
        let Some(progress) = self.progress(at) else { return };
        let is_due = progress.sent_ms.is_none() || progress.push_is_overdue(now_ms, time_out);
        // An empty log has nothing to compare: the next entry is simply the first.
        let Some(entry) = entry else { return progress.append_from(index + 1) };
        if !is_due {
            return;
        }
        progress.sent_ms = Some(now_ms);
        let ledger_begin_index = (push_type == PushType::Truncate).then_some(begin);
        let request = PushRequest {
            push_type,
            commit_index: self.committed_index,
            first_index: index,
            entries: vec![entry],
            ledger_begin_index,
        };
        self.push(at, request);
    }

    fn probe_when_overdue(&mut self, at: usize) {
        let (now_ms, time_out) = (self.now_ms, self.settings.max_push_time_out_ms);
        let Some(progress) = self.progress(at) else { return };
        if progress.push_is_overdue(now_ms, time_out) {
            let next_index = progress.match_index.map_or(0, |index| index + 1);
            progress.push = Push::Append { next_index, is_probing: true };
            progress.sent_ms = None;
        }
    }

    /// Entries behind what the peer was sent, as far as the window goes.
    fn append_to(&mut self, at: usize) {
        let (now_ms, commit_index) = (self.now_ms, self.committed_index);
        let Settings { max_pushed_entries: window, max_pushed_bytes: bytes_max, .. } =
            *self.settings;
        let bytes = self.settings.max_batch_push_bytes;
        while let Some(progress) = self.progress(at) {
            let Push::Append { next_index, is_probing } = progress.push else { return };
            let matched = progress.match_index.unwrap_or(-1);
            let under_way = u64::try_from(next_index - matched - 1).unwrap_or(0);
            let room = if is_probing { 1 } else { window }.saturating_sub(under_way);
            let is_full = under_way > 0 && self.log.bytes_of(matched + 1, next_index) >= bytes_max;
            if is_full {
                return;
            }
            let entries = self.log.batch(next_index, room, bytes);
            if entries.is_empty() {
                return;
            }
            let next_index = next_index + entries.len() as LedgerIndex;
            let Some(progress) = self.progress(at) else { return };
            progress.push = Push::Append { next_index, is_probing };
            progress.sent_ms.get_or_insert(now_ms);
            progress.commit_told_ms = now_ms;
            let first_index = next_index - entries.len() as LedgerIndex;
            let push_type = PushType::Append;
            let ledger_begin_index = None;
            self.push(
                at,
                PushRequest { push_type, commit_index, first_index, entries, ledger_begin_index },
            );
        }
    }

    /// Tells an idle peer what is committed; its answer shows whether it has it.
    fn tell_commit(&mut self, at: usize) {
        let (now_ms, commit_index) = (self.now_ms, self.committed_index);
        let interval = self.settings.commit_push_interval_ms;
        let Some(progress) = self.progress(at) else { return };
        if progress.sent_ms.is_some() || now_ms < progress.commit_told_ms + interval {
            return;
        }
        progress.commit_told_ms = now_ms;
        let request = PushRequest {
            push_type: PushType::Commit,
            commit_index,
            first_index: commit_index,
            entries: Vec::new(),
            ledger_begin_index: None,
        };
        self.push(at, request);
    }

    fn push(&mut self, at: usize, request: PushRequest) {
        if let Some(progress) = self.progress(at) {
            let to = progress.id;
            self.send(to, Body::PushRequest(request));
        }
    }

    pub(crate) fn push_answered(&mut self, from: NodeId, term: Term, response: PushResponse) {
        if term != self.hard.term || self.role.leadership().is_none() {
            return;
        }
        let (begin, end, now_ms) = (self.log.begin_index(), self.log.end_index(), self.now_ms);
        if response.code == ResponseCode::Success {
            self.hear_follower(from);
        }
        let time_out = self.settings.max_push_time_out_ms;
        let next = self.next_compare(&response);
        let Some(progress) = self.role.leadership_mut().and_then(|it| it.progress_mut(from)) else {
            return;
        };
        let is_compared = progress.push == Push::Compare { index: response.index };
        let is_truncated = progress.push == Push::Truncate { index: response.index };
        match (response.push_type, response.code) {
            (PushType::Append, ResponseCode::Success) => {
                let last = response.index.saturating_add(LedgerIndex::from(response.count) - 1);
                // What nobody sent confirms nothing.
                if last <= end {
                    progress.appended(last, now_ms);
                }
            }
            (PushType::Compare, ResponseCode::Success) if is_compared => {
                progress.set_match(response.index);
                if response.end_index == response.index {
                    progress.append_from(response.index + 1);
                } else {
                    progress.go_on(Push::Truncate { index: response.index });
                }
            }
            (PushType::Truncate, ResponseCode::Success) if is_truncated => {
                progress.set_match(response.index);
                progress.append_from(response.index + 1);
            }
            (PushType::Compare, ResponseCode::InconsistentState) if is_compared => match next {
                Some(index) => progress.go_on(Push::Compare { index }),
                None => progress.go_on(Push::Truncate { index: begin }),
            },
            (PushType::Truncate, ResponseCode::InconsistentState) if is_truncated => {
                progress.compare_after_answer(end, now_ms, time_out);
            }
            (PushType::Append | PushType::Commit, ResponseCode::InconsistentState)
                if matches!(progress.push, Push::Append { .. }) =>
            {
                progress.compare_after_answer(end, now_ms, time_out);
            }
            _ => {}
        }
    }

    /// Where to compare next after the entries differed; nowhere when the peer has nothing of this log.
    fn next_compare(&self, response: &PushResponse) -> Option<LedgerIndex> {
        let (begin, end) = (self.log.begin_index(), self.log.end_index());
        let is_disjoint = response.end_index < begin || response.begin_index > end;
        if is_disjoint || response.index < response.begin_index {
            return None;
        }
        let next = match response.conflict {
            _ if response.index > response.end_index => response.end_index,
            Some((term, index)) => {
                self.log.last_index_of_term_up_to(term, index.min(response.index - 1))
            }
            None => response.index - 1,
        };
        (next >= begin).then_some(next)
    }
}

impl Progress {
    fn go_on(&mut self, push: Push) {
        self.push = push;
        self.sent_ms = None;
    }

    fn compare_from(&mut self, end: LedgerIndex) {
        self.go_on(Push::Compare { index: end });
    }

    /// Compares anew, at once unless it just did: a follower that refuses to cut what is committed will do so again.
    fn compare_after_answer(&mut self, end: LedgerIndex, now_ms: u64, time_out_ms: u64) {
        self.compare_from(end);
        if now_ms < self.compare_due_ms {
            self.sent_ms = Some(now_ms);
        } else {
            self.compare_due_ms = now_ms + time_out_ms;
        }
    }

    fn append_from(&mut self, next_index: LedgerIndex) {
        self.go_on(Push::Append { next_index, is_probing: false });
    }

    /// What a COMPARE found; less than before where the peer has lost entries.
    fn set_match(&mut self, index: LedgerIndex) {
        self.match_index = Some(index);
    }

    /// Entries up to `last` were appended.
    fn appended(&mut self, last: LedgerIndex, now_ms: u64) {
        let Push::Append { next_index, .. } = self.push else { return };
        if self.match_index.is_some_and(|index| index >= last) {
            return;
        }
        self.match_index = Some(last);
        let next_index = next_index.max(last + 1);
        self.push = Push::Append { next_index, is_probing: false };
        self.sent_ms = (next_index > last + 1).then_some(now_ms);
    }
}
