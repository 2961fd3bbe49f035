//! [`Coverage`]: which kinds of workload ran under which kind of fault in which mode, so that nobody takes for tried
//! what never happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use staticfire_world::trace::FaultKind;

use crate::plan::{GroupPlan, Plan, WorkloadKind, WorkloadPlan};

/// How a broker group replicates and flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mode {
    replication: Replication,
    is_synced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Replication {
    Alone,
    Async,
    Sync,
}

impl Mode {
    /// Every mode.
    #[must_use]
    pub fn all() -> Vec<Mode> {
        let replications = [Replication::Alone, Replication::Async, Replication::Sync];
        let both = |replication| [false, true].map(|is_synced| Mode { replication, is_synced });
        replications.into_iter().flat_map(both).collect()
    }

    /// That of a group of the short form.
    #[must_use]
    pub fn of(group: &GroupPlan) -> Self {
        let replication = match (group.slaves, &*group.role) {
            (0, _) => Replication::Alone,
            (_, "SYNC_MASTER") => Replication::Sync,
            _ => Replication::Async,
        };
        Mode { replication, is_synced: group.flush == "SYNC_FLUSH" }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replication = match self.replication {
            Replication::Alone => "no slave",
            Replication::Async => "ASYNC_MASTER",
            Replication::Sync => "SYNC_MASTER",
        };
        write!(f, "{replication} {}", if self.is_synced { "SYNC_FLUSH" } else { "ASYNC_FLUSH" })
    }
}

/// A kind of workload under a kind of fault, on a broker group of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What a workload had.
    pub kind: WorkloadKind,
    /// What took effect in the run, wherever it struck.
    pub fault: FaultKind,
    /// Of a broker group that the workload used.
    pub mode: Mode,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {} / {}", self.kind, self.fault, self.mode)
    }
}

/// Runs by cell.
#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<Cell, u64>);

impl Coverage {
    /// Counts a run of `plan` in which faults of these kinds took effect.
    pub fn count(&mut self, plan: &Plan, bitten: &BTreeSet<FaultKind>) {
        let mut cells = BTreeSet::new();
        for work in &plan.workloads {
            for mode in modes(plan, work) {
                for kind in WorkloadKind::ALL.iter().copied().filter(|kind| kind.is_of(work)) {
                    cells.extend(bitten.iter().map(|fault| Cell { kind, fault: *fault, mode }));
                }
            }
        }
        for cell in cells {
            *self.0.entry(cell).or_default() += 1;
        }
    }

    /// Fewest runs that a kind of workload had under a kind of fault in any mode.
    #[must_use]
    pub fn fewest(&self, kind: WorkloadKind, fault: FaultKind) -> u64 {
        let modes = Mode::all().into_iter();
        modes.map(|mode| self.runs(Cell { kind, fault, mode })).min().unwrap_or(0)
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells() -> usize {
        WorkloadKind::ALL.len() * FaultKind::ALL.len() * Mode::all().len()
    }

    /// Those in which nothing ran.
    #[must_use]
    pub fn empty(&self) -> Vec<Cell> {
        let kinds = WorkloadKind::ALL.iter().copied();
        let pairs = kinds.flat_map(|kind| FaultKind::ALL.into_iter().map(move |it| (kind, it)));
        let cells = pairs.flat_map(|(kind, fault)| {
            Mode::all().into_iter().map(move |mode| Cell { kind, fault, mode })
        });
        cells.filter(|cell| self.runs(*cell) == 0).collect()
    }

    fn runs(&self, cell: Cell) -> u64 {
        self.0.get(&cell).copied().unwrap_or(0)
    }
}

/// Those of the broker groups that a workload uses.
fn modes(plan: &Plan, work: &WorkloadPlan) -> BTreeSet<Mode> {
    let groups = plan.cluster.groups.iter();
    groups.filter(|it| work.uses(&it.name)).map(Mode::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stories::swarm;

    #[test]
    fn what_never_ran_is_empty_and_what_ran_is_not() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.empty().len(), Coverage::cells());
        let plans = || (0..400).map(swarm::plan);
        plans().for_each(|plan| coverage.count(&plan, &BTreeSet::new()));
        assert_eq!(coverage.empty().len(), Coverage::cells(), "no fault had an effect");

        let kill = BTreeSet::from([FaultKind::Kill]);
        plans().for_each(|plan| coverage.count(&plan, &kill));
        let empty = coverage.empty();
        let others = Coverage::cells() / FaultKind::ALL.len() * (FaultKind::ALL.len() - 1);
        assert_eq!(
            empty.len(),
            others,
            "{:?}",
            empty.iter().find(|it| it.fault == FaultKind::Kill)
        );
        assert!(WorkloadKind::ALL.iter().all(|kind| coverage.fewest(*kind, FaultKind::Kill) > 0));
    }
}
