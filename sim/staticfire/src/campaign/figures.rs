//! [`Figures`]: what runs add up to.

use super::Summary;
use crate::run::report::Verdict;

/// A greatest value and the seed that showed it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// The value.
    pub value: u64,
    /// The seed.
    pub seed: u64,
}

/// How long nothing was acknowledged; what lasts to the end is longer than any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unavailable {
    /// Milliseconds.
    Ms(u64),
    /// A run ended without another acknowledgement.
    ToTheEnd,
}

/// What the runs of a subject add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Number of runs.
    pub runs: u64,
    /// Runs that showed nothing.
    pub vacuous: u64,
    /// Runs that met a limit before they answered.
    pub undecided: u64,
    /// Runs that broke a promise.
    pub broken: u64,
    /// The gravest verdict.
    pub gravest: Verdict,
    /// Runs that lost something.
    pub lossy: u64,
    /// Acknowledged sends.
    pub acked: u64,
    /// Acknowledged messages that are gone.
    pub lost: u64,
    /// Acknowledged messages that left by expiry.
    pub expired: u64,
    /// Acknowledged, stored, never given to the existing group.
    pub skipped: u64,
    /// Sends whose outcome is open.
    pub unknown: u64,
    /// Deliveries beyond the first.
    pub duplicated: u64,
    /// Seed of the first run that lost something.
    pub first_loss: Option<u64>,
    /// Seed of the first run that broke a promise.
    pub first_broken: Option<u64>,
    /// Oldest lost message in milliseconds, with its seed.
    pub rpo_ms: Option<Worst>,
    /// Most messages lost by one run, with its seed.
    pub most_lost: Option<Worst>,
    /// Longest time without acknowledgement.
    pub unavailable: Unavailable,
    /// The median of the runs' longest times; of two in the middle the shorter one.
    pub unavailable_median: Unavailable,
    /// Simulated milliseconds.
    pub sim_ms: u64,
    /// Real milliseconds, all workers together.
    pub wall_ms: u64,
    /// Faults that took effect.
    pub bitten: u64,
}

impl Figures {
    pub(super) fn of(runs: &[Summary]) -> Figures {
        let reports = || runs.iter().map(|run| &run.report);
        let sum = |field: fn(&crate::run::report::RunReport) -> u32| -> u64 {
            reports().map(|report| u64::from(field(report))).sum()
        };
        let count = |verdict| reports().filter(|report| report.verdict == verdict).count() as u64;
        let lossy = || reports().filter(|report| report.lost > 0);
        // Of equal values the first seed: `max_by_key` would take the last.
        let worst = |field: fn(&crate::run::report::RunReport) -> u64| {
            let of = |report: &crate::run::report::RunReport| Worst {
                value: field(report),
                seed: report.seed,
            };
            lossy().map(of).reduce(|a, b| if b.value > a.value { b } else { a })
        };
        let unavailable = reports().map(|report| report.unavailable_ms);
        let mut unavailable: Vec<Unavailable> =
            unavailable.map(|ms| ms.map_or(Unavailable::ToTheEnd, Unavailable::Ms)).collect();
        unavailable.sort_unstable();
        Figures {
            runs: runs.len() as u64,
            vacuous: count(Verdict::Vacuous),
            undecided: count(Verdict::Undecided),
            broken: count(Verdict::Broken),
            gravest: reports().map(|report| report.verdict).max().unwrap_or(Verdict::Kept),
            lossy: lossy().count() as u64,
            acked: sum(|report| report.acked),
            lost: sum(|report| report.lost),
            expired: sum(|report| report.expired),
            skipped: sum(|report| report.skipped),
            unknown: sum(|report| report.unknown),
            duplicated: sum(|report| report.duplicated),
            first_loss: lossy().next().map(|report| report.seed),
            first_broken: reports()
                .find(|report| report.verdict == Verdict::Broken)
                .map(|report| report.seed),
            rpo_ms: worst(|report| report.rpo_ms),
            most_lost: worst(|report| u64::from(report.lost)),
            unavailable: unavailable.last().copied().unwrap_or(Unavailable::Ms(0)),
            unavailable_median: median(&unavailable),
            sim_ms: reports().map(|report| report.sim_ms).sum(),
            wall_ms: reports().map(|report| report.wall_ms).sum(),
            bitten: reports().map(|report| report.bitten.len() as u64).sum(),
        }
    }

    /// Whether every run showed nothing.
    #[must_use]
    pub fn is_vacuous(&self) -> bool {
        self.vacuous + self.undecided == self.runs
    }

    /// Whether everything that was acknowledged is gone.
    #[must_use]
    pub fn lost_all(&self) -> bool {
        self.lost > 0 && self.lost == self.acked
    }

    /// Whether two subjects fared alike: both lost or none, both skipped or none, and so on.
    #[must_use]
    pub fn agrees_with(&self, other: &Figures) -> bool {
        let verdict = |figures: &Figures| {
            let Figures { lost, skipped, broken, .. } = figures;
            (*lost > 0, figures.lost_all(), *skipped > 0, *broken > 0, figures.is_vacuous())
        };
        verdict(self) == verdict(other)
    }
}

/// The one in the middle of what is sorted.
fn median(sorted: &[Unavailable]) -> Unavailable {
    let middle = sorted.len().checked_sub(1).map(|last| last / 2);
    middle.map_or(Unavailable::Ms(0), |middle| sorted[middle])
}
