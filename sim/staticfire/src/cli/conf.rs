//! `conf`: what a cluster loses, and when. `--lint` stops after the files.

mod advice;
mod compare;
mod filter;
mod render;
mod tables;
mod what_if;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use staticfire::campaign::subject::Subject;
use staticfire::campaign::{self, Figures, Outcome};
use staticfire::conf::render::{Colour, all_findings, first_findings, modes, topology, totals};
use staticfire::conf::row::ConfRow;
use staticfire::conf::{self, ClusterConf, Finding, Overlay, mirror};
use staticfire::run::report::Verdict;

use crate::cli::{ConfArgs, Exit, failures, output};

pub(crate) use filter::FaultFilter;
pub(crate) use render::{fault, lost, promise, recovery, rpo, unavailable};
use tables::Tables;

/// What the tables are about; the first lines.
const ABOUT: &str = "\
What Staticfire's own engine loses on these files, run in the simulator; it is right by default.
Column 4.9: what Apache RocketMQ 4.9 would do by the expected matrix (it was not run; `same` as promised).

";

/// A row of the table and what its runs gave.
struct Tried {
    row: ConfRow,
    outcome: Outcome,
}

impl Tried {
    fn subject(&self) -> Subject {
        Subject::Conf(Box::new(self.row.clone()))
    }
}

/// Serves `conf`: every directory in turn.
pub(crate) fn conf(args: &ConfArgs) -> Exit {
    let mut json = match output::JsonFile::create(args.json.as_deref()) {
        Ok(json) => json,
        Err(why) => return output::bad_input(&why),
    };
    let mut exit = Exit::Kept;
    for (index, dir) in args.dirs.iter().enumerate() {
        if index > 0 {
            output::result("\n");
        }
        let one = if args.lint { lint(dir, args) } else { measure(dir, args, &mut json) };
        exit = exit.max(one);
    }
    match json.finish() {
        Ok(()) => exit,
        Err(why) => output::bad_input(&why),
    }
}

/// Everything that is to be said about the files; errors, too, are the result here.
fn lint(dir: &Path, args: &ConfArgs) -> Exit {
    let loaded = conf::load_dir(dir, &args.sets);
    let findings = match &loaded {
        Ok(cluster) => {
            output::result(&format!("{}\n{}\n", topology(cluster), modes(cluster)));
            &cluster.findings
        }
        Err(findings) => findings,
    };
    output::result(&all_findings(findings, output::colour(&io::stdout())));
    output::result(&format!("{}\n", totals(findings)));
    if loaded.is_ok() { Exit::Kept } else { Exit::BadInput }
}

/// One directory: the files, then the runs.
fn measure(dir: &Path, args: &ConfArgs, json: &mut output::JsonFile) -> Exit {
    let done = match args.compare {
        true => compare::compared(dir, args, json),
        false => measured(dir, args, json),
    };
    match done {
        Ok(exit) => exit,
        Err(Refused::Findings(findings)) => {
            output::complaint(&first_findings(&findings, output::colour(&io::stderr())));
            Exit::BadInput
        }
        Err(Refused::Text(why)) => output::bad_input(&why),
    }
}

enum Refused {
    Findings(Vec<Finding>),
    Text(String),
}

fn measured(dir: &Path, args: &ConfArgs, json: &mut output::JsonFile) -> Result<Exit, Refused> {
    let load = |sets: &[Overlay]| conf::load_dir(dir, sets).map_err(Refused::Findings);
    let rows = |cluster: &ClusterConf, sets: &[Overlay]| {
        let all = ConfRow::all(dir, sets, cluster);
        wanted(all, &args.faults).map_err(Refused::Text)
    };
    let now = load(&[])?;
    // A fault that only the changed cluster knows is no error.
    let now_rows =
        if args.sets.is_empty() { rows(&now, &[])? } else { rows(&now, &[]).unwrap_or_default() };
    let what_if = match args.sets.as_slice() {
        [] => None,
        sets => {
            let then = load(sets)?;
            let rows = rows(&then, sets)?;
            Some((then, rows))
        }
    };
    let shown = what_if.as_ref().map_or(&now, |(then, _)| then);
    output::result(ABOUT);
    output::result(&topology(shown));
    output::result(&first_findings(&shown.findings, output::colour(&io::stdout())));
    output::result("\n");

    let colour = output::colour(&io::stdout());
    let Some((then, then_rows)) = what_if else {
        let images = if args.all { BTreeMap::new() } else { mirror::images(&now) };
        let is_image = |row: &ConfRow| images.contains_key(&row.group);
        let rows: Vec<ConfRow> = now_rows.into_iter().filter(|row| !is_image(row)).collect();
        let mut tables = Tables::new(&now, &rows, args.seeds.count(), args.all);
        let shown = |tried: &Tried| output::result(&tables.add(tried));
        let now_tried = try_rows(&rows, dir, args, json, shown);
        output::result(&render::images(&images));
        return Ok(conclude(&now_tried, None, args, colour));
    };
    let now_tried = try_rows(&now_rows, dir, args, json, |_| ());
    let then_tried = try_rows(&then_rows, dir, args, json, |_| ());
    output::result(&what_if::table(&now, &then, &now_tried, &then_tried));
    Ok(conclude(&now_tried, Some(&then_tried), args, colour))
}

/// The rows that the filters ask for.
fn wanted(rows: Vec<ConfRow>, filters: &[FaultFilter]) -> Result<Vec<ConfRow>, String> {
    for filter in filters {
        if !rows.iter().any(|row| filter.takes(&row.row)) {
            return Err(format!("--fault {filter} fits no group of this cluster"));
        }
    }
    let is_wanted =
        |row: &ConfRow| filters.is_empty() || filters.iter().any(|filter| filter.takes(&row.row));
    Ok(rows.into_iter().filter(is_wanted).collect())
}

/// Runs row after row and shows each one as it gets done.
fn try_rows(
    rows: &[ConfRow],
    dir: &Path,
    args: &ConfArgs,
    json: &mut output::JsonFile,
    mut show: impl FnMut(&Tried),
) -> Vec<Tried> {
    let mut tried = Vec::new();
    for (number, row) in (1..).zip(rows) {
        let subject = Subject::Conf(Box::new(row.clone()));
        let options = campaign::Options {
            jobs: args.jobs,
            progress: Some(format!("{}: row {number} of {}", dir.display(), rows.len())),
            json: json.is_wanted(),
        };
        let outcomes = campaign::run(&[(&subject, args.seeds.clone())], &options);
        json.write(&outcomes);
        for outcome in outcomes {
            let one = Tried { row: row.clone(), outcome };
            show(&one);
            tried.push(one);
        }
    }
    tried
}

/// Broken runs, limits, the summary and the exit code. With `--set` the cluster as it would be is
/// `judged`: limits and the commands to go on with are about it.
fn conclude(now: &[Tried], then: Option<&[Tried]>, args: &ConfArgs, colour: Colour) -> Exit {
    let judged = then.unwrap_or(now);
    let every: Vec<&Tried> = now.iter().chain(then.unwrap_or_default()).collect();
    let mut troubles = String::new();
    for tried in &every {
        troubles += &failures::broken(&tried.subject(), &tried.outcome, colour);
        troubles += &failures::unanswered(&tried.subject(), &tried.outcome);
    }
    let passed = render::limits(judged, args.max_lost, args.max_rpo);
    troubles += &passed;
    if !troubles.is_empty() {
        // Groups end with an empty line, troubles begin with one.
        output::result(&format!("{}\n", troubles.trim_start_matches('\n')));
    }
    if then.is_some() {
        output::result(&format!("now:  {}", render::summary(now)));
        output::result(&format!("then: {}", render::summary(judged)));
    } else {
        output::result(&render::summary(now));
    }
    output::result(&render::commands(judged));
    exit(&every, !passed.is_empty())
}

/// What the runs and the limits say to the shell.
fn exit(tried: &[&Tried], limit_passed: bool) -> Exit {
    let any = |is: fn(&Figures) -> bool| tried.iter().any(|tried| is(&tried.outcome.figures()));
    let gravest = tried.iter().map(|tried| tried.outcome.figures().gravest).max();
    if let Some(gravest) = gravest.filter(|verdict| *verdict > Verdict::Broken) {
        gravest.into()
    } else if limit_passed || any(|figures| figures.broken > 0) {
        Exit::Broken
    } else if any(|figures| figures.is_vacuous() || figures.undecided > 0) {
        Exit::Nothing
    } else {
        Exit::Kept
    }
}

#[cfg(test)]
mod tests;
