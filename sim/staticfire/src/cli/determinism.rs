//! `check-determinism`: every seed again, here and on another thread, the traces compared.

use staticfire::campaign::determinism::{self, Repeated};
use staticfire::campaign::subject::Subject;
use staticfire::campaign::sweep::{SweepOptions, sweep};

use crate::cli::table::{count, grouped};
use crate::cli::{DeterminismArgs, Exit, output};

/// Serves `check-determinism`.
pub(crate) fn check(args: &DeterminismArgs) -> Exit {
    let scenarios = match Subject::below(&args.paths) {
        Ok(scenarios) => scenarios,
        Err(why) => return output::bad_input(&why),
    };
    let of = |scenario| args.seeds.iter().map(move |seed| (scenario, seed));
    let jobs: Vec<(&Subject, u64)> = scenarios.iter().flat_map(of).collect();
    let mut options = SweepOptions::all_cores("check-determinism");
    options.jobs = args.jobs.unwrap_or(options.jobs);
    let found = sweep(&jobs, &options, |(scenario, seed)| determinism::check(scenario, *seed));
    let per_scenario = args.seeds.iter().count();
    for (scenario, runs) in scenarios.iter().zip(found.chunks(per_scenario)) {
        output::result(&line(scenario, runs));
    }
    let mut differ = 0;
    for ((scenario, seed), repeated) in jobs.iter().zip(&found) {
        if let Some(divergence) = &repeated.divergence {
            differ += 1;
            let place = format!("\nDIFFERS  {}  seed {seed}: ", scenario.name());
            output::result(&format!("{place}{divergence}"));
            let again = format!("staticfire check-determinism {}", scenario.name());
            output::result(&format!("  rerun:    {again} --seeds {seed}..{}\n", seed + 1));
        }
    }
    let runs = count(found.len() as u64, "seed");
    let verdict = if differ == 0 { "all equal".to_owned() } else { format!("{differ} differ") };
    output::result(&format!("\n{runs} run three times (once on another thread): {verdict}\n"));
    if differ == 0 { Exit::Kept } else { Exit::Broken }
}

fn line(scenario: &Subject, runs: &[Repeated]) -> String {
    let events: u64 = runs.iter().map(|run| run.events).sum();
    let is_equal = runs.iter().all(|run| run.divergence.is_none());
    let verdict = if is_equal { "equal  " } else { "DIFFERS" };
    let (seeds, events) = (count(runs.len() as u64, "seed"), grouped(events));
    format!("{verdict}  {}  {seeds}, {events} events\n", scenario.name())
}
