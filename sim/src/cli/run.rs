//! `run`: scenario files, each under its seeds.

use std::io;
use std::path::{Path, PathBuf};

use staticfire::plan::Plan;
use staticfire::seeds::SeedRange;

use crate::cli::{Exit, RunArgs, output};

/// A scenario and the file it came from.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) path: PathBuf,
    pub(crate) plan: Plan,
}

/// Serves `run`.
pub(crate) fn run(args: &RunArgs) -> Exit {
    let scenarios = match scenarios(&args.paths) {
        Ok(scenarios) => scenarios,
        Err(why) => return output::bad_input(&why),
    };
    let mut runs = 0;
    for scenario in &scenarios {
        match seeds(scenario, args.seeds.as_ref()) {
            Ok(seeds) => runs += seeds.count(),
            Err(why) => return output::bad_input(&why),
        }
    }
    output::not_built(&format!("{} scenarios, {runs} runs", scenarios.len()))
}

/// The seeds of the command line, else those that the scenario names.
fn seeds(scenario: &Scenario, given: Option<&SeedRange>) -> Result<SeedRange, String> {
    let in_file = || scenario.plan.seeds.parse();
    given.cloned().map_or_else(in_file, Ok).map_err(|why: String| {
        format!("{}: seeds = {:?}: {why}", scenario.path.display(), scenario.plan.seeds)
    })
}

/// The scenarios in `paths`, in that order; of a directory all `.toml` files below it, by path.
///
/// # Errors
/// The first file that cannot be read or is no plan.
pub(crate) fn scenarios(paths: &[PathBuf]) -> Result<Vec<Scenario>, String> {
    let mut files = Vec::new();
    for path in paths {
        let named = |error: io::Error| format!("{}: {error}", path.display());
        if path.is_dir() {
            let before = files.len();
            collect(path, &mut files).map_err(named)?;
            if files.len() == before {
                return Err(format!("{}: no .toml file below it", path.display()));
            }
        } else {
            files.push(path.clone());
        }
    }
    files
        .into_iter()
        .map(|path| {
            let text = read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let plan =
                Plan::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(Scenario { path, plan })
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the user's directory, not a simulated one")]
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries: io::Result<Vec<_>> = std::fs::read_dir(dir)?.collect();
    let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the user's file, not a simulated one")]
fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}
