//! [`check`]: a run three times, twice on this thread and once on another; the traces must be equal.

use std::fmt;

use staticfire_world::trace::{Trace, TraceRecord};

use crate::campaign::subject::Subject;
use crate::run;
use crate::run::report::RunReport;

/// Where two runs of one seed parted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Which run differs from the first one.
    pub run: &'static str,
    /// Ordinal of the first event that differs.
    pub ordinal: u64,
    /// That event in the first run, as one line; `None` when it has ended.
    pub first: Option<String>,
    /// That event in the other run.
    pub other: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |line: &Option<String>| {
            line.clone().unwrap_or_else(|| "(the run has ended)".to_owned())
        };
        writeln!(f, "event #{} differs in the {}", self.ordinal, self.run)?;
        writeln!(f, "  first  {}", line(&self.first))?;
        writeln!(f, "  other  {}", line(&self.other))
    }
}

/// What a seed showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// Number of events.
    pub events: u64,
    /// Digest of the first run.
    pub digest: String,
    /// The first difference, if there is one.
    pub divergence: Option<Divergence>,
}

/// Runs `subject` under `seed` three times.
///
/// # Panics
/// When the harness does.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a world of its own on each thread")]
pub fn check(subject: &Subject, seed: u64) -> Repeated {
    let once = || {
        let outcome = run::run_traced(&subject.plan(seed), seed, &subject.explain(seed));
        (outcome.trace, outcome.report)
    };
    let (first, report) = once();
    let again = compare("second run", (&first, &report), &once());
    let divergence = again.or_else(|| {
        let elsewhere = std::thread::scope(|scope| scope.spawn(once).join());
        let elsewhere = elsewhere.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        compare("run on another thread", (&first, &report), &elsewhere)
    });
    Repeated { events: first.len() as u64, digest: report.trace_digest, divergence }
}

fn compare(
    run: &'static str,
    first: (&Trace, &RunReport),
    other: &(Trace, RunReport),
) -> Option<Divergence> {
    let (a, b) = (first.0.records(), other.0.records());
    let parted = first_difference(&a, &b);
    let ended = a.len().min(b.len()) as u64;
    let differs = first.0.digest() != other.0.digest()
        || first.1.without_wall_time() != other.1.without_wall_time();
    let ordinal = parted.or_else(|| differs.then_some(ended))?;
    let line = |records: &[TraceRecord]| {
        let record = records.get(usize::try_from(ordinal).unwrap_or(usize::MAX))?;
        Some(format!("{record}  [{:016x}]", record.digest))
    };
    Some(Divergence { run, ordinal, first: line(&a), other: line(&b) })
}

/// The first event that differs, or whose digest says that something before it did.
fn first_difference(a: &[TraceRecord], b: &[TraceRecord]) -> Option<u64> {
    let index = a.iter().zip(b).position(|(a, b)| a != b);
    let longer = || (a.len() != b.len()).then(|| a.len().min(b.len()));
    index.or_else(longer).map(|index| index as u64)
}

#[cfg(test)]
mod tests {
    use staticfire_world::trace::TraceEvent;

    use super::*;

    fn records(words: &[&str]) -> Vec<TraceRecord> {
        let record = |(ordinal, word): (u64, &&str)| TraceRecord {
            ordinal,
            at_us: ordinal,
            source: "a".into(),
            incarnation: 1,
            digest: ordinal,
            event: TraceEvent::Note { what: (**word).into() },
        };
        (0..).zip(words).map(record).collect()
    }

    #[test]
    fn the_first_difference_is_found() {
        let base = records(&["x", "y", "z"]);
        assert_eq!(first_difference(&base, &base), None);
        assert_eq!(first_difference(&base, &records(&["x", "q", "r"])), Some(1));
        assert_eq!(first_difference(&base, &records(&["x", "y"])), Some(2));
        let mut silent = base.clone();
        silent[2].digest = 99;
        assert_eq!(first_difference(&base, &silent), Some(2), "only the digest knows");
    }

    #[test]
    fn a_seed_repeats_itself_here_and_on_another_thread() {
        let id = "matrix:ASYNC_FLUSH/async/ASYNC_FLUSH/power_master/promote";
        let subject = Subject::parse(id, &[], &[]).unwrap();
        let found = check(&subject, 2);
        assert_eq!(found.divergence, None);
        assert!(found.events > 100);
        assert_ne!(found.digest, check(&subject, 3).digest);
    }

    #[test]
    fn another_seed_is_a_divergence_with_both_lines() {
        let id = "matrix:ASYNC_FLUSH/none/-/kill_master/restart";
        let subject = Subject::parse(id, &[], &[]).unwrap();
        let once = |seed| {
            let outcome = run::run_traced(&subject.plan(seed), seed, "-");
            (outcome.trace, outcome.report)
        };
        let (trace, report) = once(1);
        let found = compare("second run", (&trace, &report), &once(2)).expect("they differ");
        let text = found.to_string();
        assert!(text.contains("differs in the second run\n  first  #"), "{text}");
        assert!(text.contains("\n  other  #"), "{text}");
    }
}
