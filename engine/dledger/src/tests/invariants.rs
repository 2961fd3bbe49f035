//! What must hold of a group after every step, seen by somebody who sees all disks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::tests::cluster::{Cluster, Entry, NodeState};
use crate::{HardState, LedgerIndex, NodeId, Term};

/// A rule of Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Invariant {
    /// A term has at most one leader.
    ElectionSafety,
    /// Logs with an equal (index, term) are equal up to there.
    LogMatching,
    /// A leader has what leaders of earlier terms committed.
    LeaderCompleteness,
    /// Nobody commits another entry at an index.
    StateMachineSafety,
    /// A committed index never falls while its node runs.
    CommittedNeverFalls,
    /// A node never cuts what it knows to be committed.
    CommittedNeverCut,
    /// On a disk terms never fall, and a term's vote is never another.
    VotesStay,
    /// What is committed is on a quorum of disks, as durably as `flushDiskType` asks.
    QuorumHolds,
}

/// A rule that was broken, and how.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) invariant: Invariant,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.text)
    }
}

/// What has happened, as far as the rules ask for it.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct History {
    leaders: BTreeMap<Term, NodeId>,
    /// The committed log, each entry with the term of the node that committed it first.
    committed: Vec<(Entry, Term)>,
}

impl History {
    pub(super) fn committed(&self) -> impl Iterator<Item = Entry> {
        self.committed.iter().map(|(entry, _)| *entry)
    }

    pub(super) fn leaders(&self) -> usize {
        self.leaders.len()
    }
}

impl Cluster {
    pub(super) fn violate(&mut self, invariant: Invariant, text: String) {
        if !self.excused.contains(&invariant) {
            self.violation.get_or_insert(Violation { invariant, text });
        }
    }

    /// A node says that it leads.
    pub(super) fn check_leader(&mut self, id: NodeId) {
        let term = self.node(id).core.term();
        let other = *self.history.leaders.entry(term).or_insert(id);
        if other != id {
            self.violate(Invariant::ElectionSafety, format!("{other} and {id} lead term {term}"));
        }
        let log = &self.node(id).disk.log;
        let missing = self.history.committed.iter().enumerate().find(|(index, (entry, by))| {
            let index = *index as LedgerIndex;
            let is_other = log.get(index).is_some_and(|it| it != *entry);
            *by < term && (is_other || index > log.end())
        });
        if let Some((index, (entry, by))) = missing {
            let text =
                format!("{id} leads term {term} without {entry:?} at {index}, committed in {by}");
            self.violate(Invariant::LeaderCompleteness, text);
        }
    }

    /// A node says that everything up to `index` is committed.
    pub(super) fn check_commit(&mut self, id: NodeId, index: LedgerIndex) {
        let (term, seen) = (self.node(id).core.term(), self.node(id).committed_seen);
        if index < seen {
            let text = format!("{id} had committed {seen}, then {index}");
            self.violate(Invariant::CommittedNeverFalls, text);
        }
        for at in seen + 1..=index {
            let Some(entry) = self.node(id).disk.log.get(at) else { continue };
            match self.history.committed.get(at as usize) {
                Some((other, _)) if *other != entry => {
                    let text = format!("{id} commits {entry:?} at {at}, {other:?} was committed");
                    self.violate(Invariant::StateMachineSafety, text);
                }
                Some(_) => {}
                None => {
                    self.history.committed.push((entry, term));
                    self.check_quorum(at, entry);
                }
            }
        }
        let node = self.node_mut(id);
        node.committed_seen = index;
    }

    fn check_quorum(&mut self, index: LedgerIndex, entry: Entry) {
        let is_sync = self.settings.is_sync_flush;
        let has = |node: &&Arc<NodeState>| {
            let log = if is_sync { &node.disk.synced } else { &node.disk.log };
            // A disk that was lost since had it: that is a failure, and no broken rule.
            log.get(index) == Some(entry) || node.disk.hard.is_blank
        };
        let copies = self.nodes.iter().filter(has).count();
        if copies * 2 <= self.nodes.len() {
            let text = format!("{entry:?} at {index} is committed with {copies} durable copies");
            self.violate(Invariant::QuorumHolds, text);
        }
    }

    pub(super) fn check_cut(&mut self, id: NodeId, keep_through: LedgerIndex) {
        let seen = self.node(id).committed_seen;
        if keep_through < seen {
            let text = format!("{id} keeps {keep_through} of {seen} committed entries");
            self.violate(Invariant::CommittedNeverCut, text);
            self.node_mut(id).committed_seen = keep_through;
        }
    }

    pub(super) fn check_vote(&mut self, id: NodeId, old: HardState, new: HardState) {
        let is_other_vote =
            old.term == new.term && old.voted_for.is_some() && old.voted_for != new.voted_for;
        if new.term < old.term || is_other_vote {
            self.violate(Invariant::VotesStay, format!("{id} had {old:?} on disk, then {new:?}"));
        }
    }

    /// Compares a node's log with every other.
    pub(super) fn check_log(&mut self, id: NodeId) {
        let log = &self.node(id).disk.log;
        let parts = self.nodes.iter().filter(|node| node.core.self_id() != id).find_map(|node| {
            let index = log.parts_before_equal(&node.disk.log)?;
            Some(format!("{id} and {} differ at {index}, and agree behind", node.core.self_id()))
        });
        if let Some(text) = parts {
            self.violate(Invariant::LogMatching, text);
        }
    }
}
