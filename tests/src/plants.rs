//! Who finds a plant, how soon, and whether the first finding says why: the table of `docs/plants.md`.

pub mod named;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use mq_store::plant::{Finder, PlantRow};
use staticfire::plan::Plan;
use staticfire::run;
use staticfire::run::report::Verdict;

use crate::shapes;

/// What a finder made of one row.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The finder, as the table names it.
    pub finder: String,
    /// Runs that were red, and runs.
    pub red: (usize, usize),
    /// Runs until the first red one, from any seed on: the median; `None` if none was red.
    pub median_runs: Option<usize>,
    /// Processor time of one run.
    pub cpu_of_a_run: Duration,
    /// The first finding of the first red run.
    pub first: String,
}

/// The plan of a story, by its path from the repository's root.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "tests read stories")]
pub fn story(path: &str) -> Plan {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join(path)).expect("the story is there");
    Plan::parse(&text).expect("the story is a plan")
}

/// The plan that the generator makes of a seed.
#[must_use]
pub fn generated(seed: u64) -> Plan {
    shapes::shape(seed).plan()
}

/// Runs a row's story or generated plans under the first `runs` seeds; `None` for other finders.
#[must_use]
pub fn measure(row: &PlantRow, finder: &Finder, runs: u64) -> Option<Measured> {
    let (name, plan_of): (String, Box<dyn Fn(u64) -> Plan>) = match finder {
        Finder::Fuzz => ("generated plans".to_owned(), Box::new(generated)),
        Finder::Story(path) => {
            let plan = story(path);
            let name = path.trim_start_matches("scenarios/").trim_end_matches(".toml");
            (name.to_owned(), Box::new(move |_| plan.clone()))
        }
        _ => return None,
    };
    let before = cpu_time();
    let told: Vec<Option<String>> = (0..runs)
        .map(|seed| {
            let plan = Plan { plants: vec![row.name.to_owned()], ..plan_of(seed) };
            let report = run::run(&plan, seed, "-").report;
            let first = report.findings.first().map(ToString::to_string);
            (report.verdict == Verdict::Broken).then(|| first.unwrap_or_default())
        })
        .collect();
    let cpu = cpu_time().saturating_sub(before);
    Some(Measured {
        finder: name,
        red: (told.iter().flatten().count(), told.len()),
        median_runs: median_wait(&told.iter().map(Option::is_some).collect::<Vec<_>>()),
        cpu_of_a_run: cpu / u32::try_from(runs.max(1)).unwrap_or(u32::MAX),
        first: told.into_iter().flatten().next().unwrap_or_default(),
    })
}

/// From each run on, how many it takes until one is red, the list being a circle; the median.
fn median_wait(red: &[bool]) -> Option<usize> {
    let wait = |from: usize| {
        let mut later = (0..red.len()).filter(|step| red[(from + step) % red.len()]);
        later.next().map(|step| step + 1)
    };
    let mut waits: Vec<usize> = (0..red.len()).filter_map(wait).collect();
    waits.sort_unstable();
    waits.get(waits.len() / 2).copied()
}

/// Processor time of this thread so far; zero where the system does not tell.
#[expect(clippy::disallowed_methods, reason = "the time that tests take is not simulated")]
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    // Behind the name, which may hold blanks: state is field 3, user and system time are 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// One line of the table.
#[must_use]
pub fn line(row: &PlantRow, measured: Option<&Measured>, finder: &Finder) -> String {
    let mut line = format!("| `{}` | {} | {} |", row.name, row.place, row.defence);
    match (measured, finder) {
        (Some(it), _) => {
            let median = it.median_runs.map_or("–".to_owned(), |runs| runs.to_string());
            let (red, runs) = it.red;
            let seconds = it.cpu_of_a_run.as_secs_f64();
            let told = if names_the_cause(&it.first) { "yes" } else { "no" };
            let first = it.first.replace('|', "/");
            let _ = write!(
                line,
                " {} | {red}/{runs} | {median} | {seconds:.2} | {told} | {first} |",
                it.finder
            );
        }
        (None, Finder::Test(name)) => {
            let _ = write!(line, " test: {name} | | | | yes | |");
        }
        (None, other) => {
            let _ = write!(line, " {other:?} | | | | | |");
        }
    }
    line
}

/// What only says that something is missing, late or out of bounds, and what it has to say besides in order to name why.
const EFFECTS: [(&str, &[&str]); 6] = [
    ("checker: counts", &[" more often: "]),
    ("checker: liveness", &["; message "]),
    ("nothing took it: ", &["no queue of "]),
    ("is lost: ", &["no broker gave that SEND_OK"]),
    ("never reached", &[" committed ", "nobody of ", " read that queue from "]),
    ("did not get it: ", &["was read from "]),
];

/// Whether a finding names what went wrong, and not only that a count is out of bounds, or a message gone.
#[must_use]
pub fn names_the_cause(finding: &str) -> bool {
    let is_mere = |(effect, causes): &(&str, &[&str])| {
        finding.contains(effect) && !causes.iter().any(|cause| finding.contains(cause))
    };
    !finding.is_empty() && !EFFECTS.iter().any(is_mere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_a_red_run_goes_round() {
        assert_eq!(median_wait(&[false, false]), None);
        assert_eq!(median_wait(&[true, true, true]), Some(1));
        assert_eq!(median_wait(&[false, false, true, false]), Some(3), "3, 2, 1, 4");
    }

    #[test]
    fn an_effect_alone_is_no_cause() {
        for (finding, is_cause) in [
            ("", false),
            ("duplicated: 67, at most 0 wanted (checker: counts)", false),
            ("message 3 never reached g: q has it at 3, and m read from 0 on (#1)", false),
            ("message 3 never reached g: q has it at 3, and nobody of g took that queue", true),
            ("SEND_OK before the sync: a acknowledged the record at 1", true),
        ] {
            assert_eq!(names_the_cause(finding), is_cause, "{finding}");
        }
    }
}
