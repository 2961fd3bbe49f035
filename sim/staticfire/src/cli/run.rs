//! `run`: scenario files, each under its seeds.

use std::io;

use staticfire::campaign::subject::Subject;
use staticfire::campaign::{self, Figures, Outcome};
use staticfire::run::report::Verdict;
use staticfire::testing;

use crate::cli::table::{Table, count, grouped, seconds};
use crate::cli::{Exit, RunArgs, failures, output};

/// Serves `run`.
pub(crate) fn run(args: &RunArgs) -> Exit {
    match tried(args) {
        Ok(exit) => exit,
        Err(why) => output::bad_input(&why),
    }
}

fn tried(args: &RunArgs) -> Result<Exit, String> {
    let scenarios = Subject::below(&args.paths)?;
    let mut jobs = Vec::new();
    for scenario in &scenarios {
        let seeds = args.seeds.clone().map_or_else(|| testing::own_seeds(scenario), Ok)?;
        jobs.push((scenario, seeds));
    }
    let mut json = output::JsonFile::create(args.json.as_deref())?;
    let options = campaign::Options {
        jobs: args.jobs,
        progress: Some("run".to_owned()),
        json: json.is_wanted(),
    };
    let outcomes = campaign::run(&jobs, &options);
    json.write(&outcomes);
    json.finish()?;
    output::result(&table(&scenarios, &outcomes));
    let colour = output::colour(&io::stdout());
    for (scenario, outcome) in scenarios.iter().zip(&outcomes) {
        output::result(&failures::told(scenario, outcome, colour));
    }
    output::result(&format!("\n{}\n", summary(&outcomes)));
    Ok(exit(&outcomes))
}

/// A line for each scenario.
fn table(scenarios: &[Subject], outcomes: &[Outcome]) -> String {
    let mut header = vec![
        "verdict",
        "scenario",
        ">seeds",
        ">acked",
        ">lost",
        ">skipped",
        ">duplicated",
        ">faults bit",
        ">RPO",
        ">unavailable",
        ">sim : real",
    ];
    // Hardly any story lasts until something expires.
    let (any_expired, column) = (outcomes.iter().any(|it| it.figures().expired > 0), 5);
    if any_expired {
        header.insert(column, ">expired");
    }
    let mut table = Table::new(&header);
    for (scenario, outcome) in scenarios.iter().zip(outcomes) {
        let figures = outcome.figures();
        let mut row = vec![
            verdict(&figures),
            scenario.name(),
            figures.runs.to_string(),
            grouped(figures.acked),
            super::conf::lost(&figures),
            grouped(figures.skipped),
            grouped(figures.duplicated),
            grouped(figures.bitten),
            super::conf::rpo(&figures),
            super::conf::unavailable(&figures),
            format!("{} : 1", grouped(figures.sim_ms / figures.wall_ms.max(1))),
        ];
        if any_expired {
            row.insert(column, grouped(figures.expired));
        }
        table.row(row);
    }
    table.render()
}

fn verdict(figures: &Figures) -> String {
    let of = |number: u64, word: &str| format!("{word} {number}/{}", figures.runs);
    match figures {
        Figures { broken, .. } if *broken > 0 => of(*broken, "BROKEN"),
        Figures { gravest, .. } if *gravest > Verdict::Broken => gravest.to_string(),
        Figures { undecided, .. } if *undecided > 0 => of(*undecided, "undecided"),
        Figures { vacuous, .. } if *vacuous > 0 => of(*vacuous, "vacuous"),
        _ => "kept".to_owned(),
    }
}

fn summary(outcomes: &[Outcome]) -> String {
    let figures: Vec<Figures> = outcomes.iter().map(Outcome::figures).collect();
    let sum = |field: fn(&Figures) -> u64| -> u64 { figures.iter().map(field).sum() };
    let (runs, sim, wall) = (sum(|f| f.runs), sum(|f| f.sim_ms), sum(|f| f.wall_ms));
    format!(
        "{} of {}: {} broken, {} vacuous, {} undecided; {} simulated in {} of work ({} : 1)",
        count(runs, "run"),
        count(outcomes.len() as u64, "scenario"),
        sum(|f| f.broken),
        sum(|f| f.vacuous),
        sum(|f| f.undecided),
        seconds(sim),
        seconds(wall),
        grouped(sim / wall.max(1)),
    )
}

fn exit(outcomes: &[Outcome]) -> Exit {
    outcomes.iter().map(|outcome| outcome.figures().gravest).max().unwrap_or(Verdict::Kept).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;
    use staticfire::conf::render::Colour;

    #[test]
    fn a_line_a_scenario_and_a_paragraph_for_what_went_wrong() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/ha/flapping-link.toml");
        let Ok(Subject::File { plan, .. }) = Subject::read(std::path::Path::new(root)) else {
            panic!("a scenario");
        };
        let named = |path: &str| Subject::File { path: path.into(), plan: plan.clone() };
        let scenarios = [named("kept.toml"), named("broken.toml"), named("my story.toml")];
        let outcomes = [samples::outcome(&[0, 12]), samples::broken(), samples::vacuous()];
        let mut text = table(&scenarios, &outcomes);
        for (scenario, outcome) in scenarios.iter().zip(&outcomes) {
            text += &failures::told(scenario, outcome, Colour::Off);
        }
        text += &summary(&outcomes);
        insta::assert_snapshot!("run", text);
        assert_eq!(exit(&outcomes), Exit::Broken);
        assert_eq!(exit(&outcomes[2..]), Exit::Nothing);
        assert_eq!(exit(&outcomes[..1]), Exit::Kept);
    }
}
