//! `swarm`: drawn plans, judged by what their copies owe alone.

use std::collections::BTreeMap;
use std::io;

use staticfire::campaign::coverage::{Coverage, Mode};
use staticfire::campaign::subject::Subject;
use staticfire::campaign::{self, Outcome, Summary};
use staticfire::plan::WorkloadKind;
use staticfire::run::report::Verdict;
use staticfire_world::trace::FaultKind;

use crate::cli::table::{Table, count, grouped, seconds};
use crate::cli::{Exit, SwarmArgs, failures, output};

/// Cells in which nothing was tried that are named; of the others only their number is.
const EMPTY_TOLD: usize = 8;

/// Runs without proof of which each is told; of the others only their number is.
const UNPROVEN_TOLD: u64 = 5;

/// Serves `swarm`.
pub(crate) fn swarm(args: &SwarmArgs) -> Exit {
    if let Some(seed) = args.show {
        output::result(&Subject::Swarm.plan(seed).to_toml());
        return Exit::Kept;
    }
    match tried(args) {
        Ok(exit) => exit,
        Err(why) => output::bad_input(&why),
    }
}

fn tried(args: &SwarmArgs) -> Result<Exit, String> {
    let mut json = output::JsonFile::create(args.json.as_deref())?;
    let options = campaign::Options {
        jobs: args.jobs,
        progress: Some("swarm".to_owned()),
        json: json.is_wanted(),
    };
    let colour = output::colour(&io::stdout());
    let mut seen = Seen::default();
    campaign::stream(&Subject::Swarm, &args.seeds, &options, |run| {
        json.write_run(&run);
        let is_told = seen.count(&run);
        let outcome = Outcome { runs: vec![run] };
        output::result(&failures::broken(&Subject::Swarm, &outcome, colour));
        if is_told {
            output::result(&failures::unproven(&Subject::Swarm, &outcome.runs[0]));
        }
    });
    json.finish()?;
    output::result(&seen.table());
    output::result(&covered(&seen.coverage));
    Ok(seen.gravest.into())
}

/// What the runs add up to, without keeping them.
#[derive(Default)]
struct Seen {
    all: Line,
    /// By kind of trouble: the runs whose plans have it.
    by_trouble: BTreeMap<String, Line>,
    coverage: Coverage,
    gravest: Verdict,
    unproven: u64,
    sim_ms: u64,
    wall_ms: u64,
}

#[derive(Default)]
struct Line {
    runs: u64,
    broken: u64,
    vacuous: u64,
    undecided: u64,
    lossy: u64,
    acked: u64,
    lost: u64,
    bitten: u64,
}

impl Line {
    fn count(&mut self, run: &Summary) {
        let report = &run.report;
        self.runs += 1;
        match report.verdict {
            Verdict::Kept => {}
            Verdict::Vacuous => self.vacuous += 1,
            Verdict::Undecided => self.undecided += 1,
            _ => self.broken += 1,
        }
        self.lossy += u64::from(report.lost > 0);
        self.acked += u64::from(report.acked);
        self.lost += u64::from(report.lost);
        self.bitten += report.bitten.len() as u64;
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let numbers = [
            self.runs,
            self.broken,
            self.vacuous,
            self.undecided,
            self.lossy,
            self.acked,
            self.lost,
            self.bitten,
        ];
        let numbers = numbers.into_iter().map(grouped);
        [name.to_owned()].into_iter().chain(numbers).collect()
    }
}

impl Seen {
    /// Adds a run; whether it is to be told, because it proves nothing.
    fn count(&mut self, run: &Summary) -> bool {
        let report = &run.report;
        self.all.count(run);
        self.coverage.count(&Subject::Swarm.plan(report.seed), &run.bitten);
        let mut kinds: Vec<&str> = report.fault.split('+').collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            self.by_trouble.entry(kind.to_owned()).or_default().count(run);
        }
        self.gravest = self.gravest.max(report.verdict);
        self.sim_ms += report.sim_ms;
        self.wall_ms += report.wall_ms;
        let is_unproven = !matches!(report.verdict, Verdict::Kept | Verdict::Broken);
        self.unproven += u64::from(is_unproven);
        is_unproven && (self.unproven <= UNPROVEN_TOLD || report.verdict > Verdict::Broken)
    }

    fn table(&self) -> String {
        let header = [
            "plans with",
            ">runs",
            ">broken",
            ">vacuous",
            ">undecided",
            ">lossy",
            ">acked",
            ">lost",
            ">faults bit",
        ];
        let mut table = Table::new(&header);
        for (kind, line) in &self.by_trouble {
            table.row(line.cells(kind));
        }
        table.row(self.all.cells("all"));
        format!(
            "{}\n{}: {} broken, {} vacuous, {} undecided; {} simulated in {} of work ({} : 1)\n",
            table.render(),
            count(self.all.runs, "plan"),
            self.all.broken,
            self.all.vacuous,
            self.all.undecided,
            seconds(self.sim_ms),
            seconds(self.wall_ms),
            grouped(self.sim_ms / self.wall_ms.max(1)),
        )
    }
}

/// What was tried: by kinds of workload and fault the fewest runs in any mode.
fn covered(coverage: &Coverage) -> String {
    let faults = FaultKind::ALL.map(|fault| format!(">{fault}"));
    let header: Vec<&str> =
        ["workloads"].into_iter().chain(faults.iter().map(|it| &**it)).collect();
    let mut table = Table::new(&header);
    for kind in WorkloadKind::ALL {
        let runs = FaultKind::ALL.map(|fault| grouped(coverage.fewest(*kind, fault)));
        table.row([kind.to_string()].into_iter().chain(runs).collect());
    }
    let empty = coverage.empty();
    let mut text = format!(
        "{}\nruns in which a fault of the kind had an effect, in the mode that has fewest of {}; {} of {} cells without a run\n",
        table.render(),
        Mode::all().len(),
        empty.len(),
        Coverage::cells(),
    );
    for cell in empty.iter().take(EMPTY_TOLD) {
        text.push_str(&format!("  no run: {cell}\n"));
    }
    if let Some(more) = empty.len().checked_sub(EMPTY_TOLD).filter(|more| *more > 0) {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}
