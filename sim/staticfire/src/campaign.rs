//! [`run`]: many subjects under many seeds, and what the runs of each add up to.
//!
//! Modules in reading order: [`seeds`], [`subject`] (what the command line names), [`mod@sweep`] (many runs on
//! all cores), `figures`, [`coverage`] (what was tried at all), [`determinism`] (the same run thrice).

pub mod coverage;
pub mod determinism;
mod figures;
pub mod seeds;
pub mod subject;
pub mod sweep;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use staticfire_judge::check::Violation;
use staticfire_judge::forensics::Fate;
use staticfire_world::trace::FaultKind;

use crate::campaign::seeds::SeedRange;
use crate::campaign::subject::Subject;
use crate::campaign::sweep::{SweepOptions, sweep};
use crate::run as one;
use crate::run::report::{LostKey, RunReport, Verdict};

pub use figures::{Figures, Unavailable, Worst};

/// Lost messages that a summary names, and chains that it keeps.
const KEPT_PER_RUN: usize = 3;

/// How a campaign is carried out.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Worker threads; `None` means one per processor.
    pub jobs: Option<NonZeroUsize>,
    /// Text before the progress bar on stderr; `None` shows no bar.
    pub progress: Option<String>,
    /// Whether summaries carry their report as JSON.
    pub json: bool,
}

impl Options {
    fn sweeping(&self) -> SweepOptions {
        let mut sweeping = SweepOptions::quiet();
        sweeping.jobs = self.jobs.unwrap_or(sweeping.jobs);
        sweeping.progress.clone_from(&self.progress);
        sweeping
    }
}

/// What is kept of a run: everything but its trace.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The report; of the lost messages only the first ones are named, forbidden ones before others.
    pub report: RunReport,
    /// Kinds of faults that took effect.
    pub bitten: BTreeSet<FaultKind>,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// The chains of the messages that the report names.
    pub fates: Vec<Fate>,
    /// The whole report as one line of JSON, where it was asked for.
    pub json: Option<String>,
}

/// The runs of one subject in the order of their seeds.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The runs.
    pub runs: Vec<Summary>,
}

impl Outcome {
    /// What the runs add up to.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures::of(&self.runs)
    }

    /// The runs with a verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Summary> {
        self.runs.iter().filter(move |run| run.report.verdict == verdict)
    }

    /// The first run that lost an acknowledged message.
    #[must_use]
    pub fn first_loss(&self) -> Option<&Summary> {
        self.runs.iter().find(|run| run.report.lost > 0)
    }

    /// The first run that skipped an acknowledged message.
    #[must_use]
    pub fn first_skip(&self) -> Option<&Summary> {
        self.runs.iter().find(|run| run.report.skipped > 0)
    }
}

/// Runs every subject under its seeds, on all workers, and returns the outcomes in the order of the
/// subjects whatever the number of workers.
#[must_use]
pub fn run(subjects: &[(&Subject, SeedRange)], options: &Options) -> Vec<Outcome> {
    let numbered = subjects.iter().enumerate();
    let jobs: Vec<(usize, u64)> = numbered
        .flat_map(|(index, (_, seeds))| seeds.iter().map(move |seed| (index, seed)))
        .collect();
    let sweeping = options.sweeping();
    let mut results =
        sweep(&jobs, &sweeping, |(index, seed)| summary(subjects[*index].0, *seed, options.json))
            .into_iter();
    subjects
        .iter()
        .map(|(_, seeds)| Outcome { runs: results.by_ref().take(seeds.iter().count()).collect() })
        .collect()
}

/// Runs a subject under its seeds, on all workers, and hands each run to `take` as soon as all before it
/// were: nothing is kept here.
pub fn stream(
    subject: &Subject,
    seeds: &SeedRange,
    options: &Options,
    take: impl FnMut(Summary) + Send,
) {
    let count = usize::try_from(seeds.count()).unwrap_or(usize::MAX);
    let first = seeds.iter().next().unwrap_or_default();
    let jobs = (0..count).map(|nth| first + nth as u64);
    sweep::stream(jobs, &options.sweeping(), |seed| summary(subject, seed, options.json), take);
}

fn summary(subject: &Subject, seed: u64, json: bool) -> Summary {
    let outcome = one::run(&subject.plan(seed), seed, &subject.explain(seed));
    let mut report = outcome.report;
    let faults = outcome.trace.faults();
    let bitten = faults.iter().filter(|it| it.bitten_us.is_some()).map(|it| it.kind).collect();
    let json = json.then(|| report.to_json());
    let told = std::mem::take(&mut report.lost_keys).into_iter().zip(outcome.fates);
    let mut told: Vec<(LostKey, Fate)> = told.collect();
    // What the mode does not permit comes first: it is what one asks about.
    told.sort_by_key(|(lost, _)| lost.permitted);
    told.truncate(KEPT_PER_RUN);
    let (lost_keys, fates) = told.into_iter().unzip();
    report.lost_keys = lost_keys;
    Summary { report, bitten, violations: outcome.violations, fates, json }
}

#[cfg(test)]
mod tests;
