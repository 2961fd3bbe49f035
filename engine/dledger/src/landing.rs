//! [`Landing`]: where the entries of a push would be written.
//!
//! Where entries lie in files is not the core's, and what it has taken its host cannot refuse any more: it asks before.

use crate::core::DLedgerCore;
use crate::follower::entry_at;
use crate::message::{PushRequest, PushType};
use crate::types::{LedgerIndex, Term};
use crate::upstream::UpstreamSwitch;

/// Where the entries of a push would be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// Nowhere: the push brings nothing that is new, or is refused anyway.
    Nowhere,
    /// From this index on, behind the entry before it. What is there now is cut.
    At(LedgerIndex),
    /// In a log that begins anew with this index.
    Anew(LedgerIndex),
}

impl DLedgerCore {
    /// Where the entries of a push of the leader of `term` would be written if it was received now.
    #[must_use]
    pub fn landing(&self, term: Term, request: &PushRequest) -> Landing {
        if term < self.hard.term || !self.is_sound(term, request) {
            return Landing::Nowhere;
        }
        match request.push_type {
            PushType::Append => self.landing_of_append(term, request),
            PushType::Truncate => self.landing_of_truncate(term, request),
            PushType::Commit | PushType::Compare => Landing::Nowhere,
        }
    }

    fn landing_of_append(&self, term: Term, request: &PushRequest) -> Landing {
        let first = request.first_index;
        let matched = self.would_match(term, first);
        if first > matched + 1 {
            return Landing::Nowhere;
        }
        let is_new = |index: &LedgerIndex| {
            let entry = entry_at(request, *index);
            entry.is_some_and(|entry| self.log.term_of(*index) != Some(entry.term))
        };
        let end = first + request.entries.len() as LedgerIndex;
        let new = (first.max(matched + 1)..end).find(is_new);
        new.filter(|index| !self.keeps(*index)).map_or(Landing::Nowhere, Landing::At)
    }

    fn landing_of_truncate(&self, term: Term, request: &PushRequest) -> Landing {
        let index = request.first_index;
        let Some(entry) = entry_at(request, index) else { return Landing::Nowhere };
        let is_equal =
            self.would_match(term, index) >= index || self.log.term_of(index) == Some(entry.term);
        if is_equal || !self.is_leaders_begin(request) || self.keeps(index) {
            return Landing::Nowhere;
        }
        let is_inside = (self.log.begin_index()..=self.log.end_index()).contains(&index);
        if is_inside && self.committed_index >= index - 1 {
            Landing::At(index)
        } else {
            Landing::Anew(index)
        }
    }

    /// Up to where the log would be known to be that of the leader of `term`, who pushes from `first` on.
    fn would_match(&self, term: Term, first: LedgerIndex) -> LedgerIndex {
        let end = self.log.end_index();
        if self.settings.upstream(UpstreamSwitch::AppendUnmatched) && first == end + 1 {
            return end;
        }
        match self.role.following() {
            Some(following) if term == self.hard.term => following.matched_index,
            _ => self.proven_index(term),
        }
    }

    /// Whether nothing is written there, because it is committed.
    fn keeps(&self, index: LedgerIndex) -> bool {
        index <= self.committed_index && !self.settings.upstream(UpstreamSwitch::TruncatesCommitted)
    }
}
