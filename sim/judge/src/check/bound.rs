//! [`Promise`]: whether a mode may lose anything. [`Bound`]: how much, as a sum of terms, and the
//! positions that give it a value.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a mode promises under a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promise {
    /// No acknowledged message is lost.
    Never,
    /// Acknowledged messages inside the bound may be lost.
    May,
    /// Everything is expected to be lost: the only readable copy is gone.
    All,
    /// What the group's log owes is not lost ([`custody`](crate::ledger::custody)), and nothing more is
    /// asked: for stories in which no bound can know which copy counts.
    Owed,
}

/// One term of a bound. All are byte ranges of the group's log at the instant of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// Above the end of the master's last completed sync.
    MasterUnflushed,
    /// The same for the first of two power losses.
    FirstMasterUnflushed,
    /// In the memory of the master's process alone, in the transient store pool, and for no longer than
    /// the settings let it wait there.
    MasterUncommitted,
    /// Above what the promoted slave had received.
    Lag,
    /// Above what the promoted slave had synced.
    SlaveUnflushed,
    /// Records of which the device damaged bytes, on the disk that is read in the end.
    Rotten,
}

impl Term {
    const ALL: [(Term, &'static str); 6] = [
        (Term::MasterUnflushed, "master_unflushed"),
        (Term::FirstMasterUnflushed, "first_master_unflushed"),
        (Term::MasterUncommitted, "master_uncommitted"),
        (Term::Lag, "lag"),
        (Term::SlaveUnflushed, "slave_unflushed"),
        (Term::Rotten, "rotten"),
    ];
}

/// A sum of terms; empty for a mode that loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    terms: BTreeSet<Term>,
}

impl Bound {
    /// Whether nothing may be lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The sum with one term more.
    #[must_use]
    pub fn and(mut self, term: Term) -> Self {
        self.terms.insert(term);
        self
    }

    /// Whether `term` belongs to the sum.
    #[must_use]
    pub fn has(&self, term: Term) -> bool {
        self.terms.contains(&term)
    }

    /// Whether a lost record that was appended at `appended_us` and ended at `end_offset` lies inside
    /// the bound, given the log positions at the faults of the run. A fault excuses only what was
    /// appended before it: offsets above a cut are used again. With `master_uncommitted` in the sum, what
    /// waited in process memory for too long is outside, whatever the other terms say.
    #[must_use]
    pub fn permits(&self, appended_us: u64, end_offset: u64, positions: &[FaultPositions]) -> bool {
        positions.iter().enumerate().filter(|(_, at)| appended_us <= at.at_us).any(|(index, at)| {
            let is_uncommitted = at.master_committed_to.is_some_and(|to| end_offset > to);
            let is_stale = at.at_us - appended_us > at.uncommitted_us_max;
            if is_uncommitted && is_stale && self.has(Term::MasterUncommitted) {
                return false;
            }
            self.terms.iter().any(|term| match term {
                Term::MasterUncommitted => is_uncommitted,
                Term::MasterUnflushed => at.master_synced_to.is_some_and(|to| end_offset > to),
                Term::FirstMasterUnflushed => {
                    index == 0 && at.master_synced_to.is_some_and(|to| end_offset > to)
                }
                Term::Lag => at.slave_received_to.is_some_and(|to| end_offset > to),
                Term::SlaveUnflushed => at.slave_synced_to.is_some_and(|to| end_offset > to),
                // Known of each message by itself.
                Term::Rotten => false,
            })
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Term::ALL.iter().filter(|(term, _)| self.has(*term)).map(|(_, name)| *name).collect();
        f.write_str(&names.join("+"))
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bound = Bound::default();
        for name in text.split('+').map(str::trim).filter(|name| !name.is_empty()) {
            let (term, _) = Term::ALL
                .iter()
                .find(|(_, known)| *known == name)
                .ok_or_else(|| format!("check.bound: {name:?} is no bound term"))?;
            bound.terms.insert(*term);
        }
        Ok(bound)
    }
}

/// Where a group's copies ended at the instant of one fault, read off the simulated disks. `None`:
/// the fault does not touch that copy, so it bounds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPositions {
    /// Simulated time of the fault in microseconds.
    pub at_us: u64,
    /// Ordinal of the trace event of the fault.
    pub ordinal: u64,
    /// End of the master's last completed sync.
    pub master_synced_to: Option<u64>,
    /// End of what the page cache of a master with a transient store pool holds.
    pub master_committed_to: Option<u64>,
    /// For how long at most a record waits in that pool, microseconds, pauses of the process included.
    pub uncommitted_us_max: u64,
    /// End of what the slave to be promoted holds in its page cache.
    pub slave_received_to: Option<u64>,
    /// End of what that slave has synced.
    pub slave_synced_to: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_us: u64, master: u64, received: u64, synced: u64) -> FaultPositions {
        FaultPositions {
            at_us,
            master_synced_to: Some(master),
            slave_received_to: Some(received),
            slave_synced_to: Some(synced),
            ..FaultPositions::default()
        }
    }

    #[test]
    fn a_bound_permits_only_what_its_terms_cover() {
        let faults = [at(10, 100, 200, 50), at(20, 400, 500, 450)];
        let permits = |bound: &str, end| bound.parse::<Bound>().unwrap().permits(5, end, &faults);
        assert!(!permits("", u64::MAX));
        assert!(permits("lag", 201) && !permits("lag", 200));
        assert!(permits("slave_unflushed", 51) && !permits("slave_unflushed", 50));
        assert!(permits("master_unflushed", 101) && !permits("master_unflushed", 100));
        assert!(!permits("first_master_unflushed", 100) && permits("first_master_unflushed", 101));
        assert!(permits("lag+slave_unflushed", 60));
        assert!(!"lag".parse::<Bound>().unwrap().permits(0, 900, &[FaultPositions::default()]));
        let late = "lag".parse::<Bound>().unwrap();
        assert!(!late.permits(15, 300, &faults), "appended after the fault that would excuse it");
        assert!(late.permits(15, 501, &faults) && !late.permits(21, 501, &faults));
        let killed = FaultPositions {
            master_committed_to: Some(100),
            uncommitted_us_max: 3,
            ..at(10, 50, 80, 50)
        };
        let permits = |bound: &str, appended_us, end| {
            bound.parse::<Bound>().unwrap().permits(appended_us, end, &[killed])
        };
        assert!(permits("master_uncommitted", 7, 101) && !permits("master_uncommitted", 7, 100));
        assert!(!permits("master_uncommitted", 6, 101), "it should have been committed by then");
        assert!(!permits("lag+master_uncommitted", 6, 101), "and replicated");
        assert!(permits("lag+master_uncommitted", 6, 100) && permits("lag", 6, 101));
        assert_eq!(
            "slave_unflushed + lag".parse::<Bound>().unwrap().to_string(),
            "lag+slave_unflushed"
        );
    }
}
