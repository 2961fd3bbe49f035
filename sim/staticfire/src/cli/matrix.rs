//! `matrix`: every row of the expected matrix, ours beside 4.9.

use std::io;

use staticfire::campaign::seeds::SeedRange;
use staticfire::campaign::subject::Subject;
use staticfire::campaign::{self, Figures, Outcome};
use staticfire::run::report::Verdict;
use staticfire::stories::matrix_rows::{self, Defence, MatrixRow, Ours};

use crate::cli::conf::{fault, promise, recovery};
use crate::cli::table::{Table, count, grouped};
use crate::cli::{Exit, MatrixArgs, failures, output};

/// From this number of seeds on a `may` without a witness is a result: none.
const SEEDS_TO_DECIDE: u64 = 20;

/// A row and what its runs gave.
struct Tried {
    row: MatrixRow,
    ours: Outcome,
    upstream: Option<Outcome>,
}

/// What a row's runs say about its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// As promised.
    Kept,
    /// `may`, but no seed lost anything.
    Undecided,
    /// No seed showed anything.
    Vacuous,
    /// A promise was broken.
    Broken,
}

/// Serves `matrix`.
pub(crate) fn matrix(args: &MatrixArgs) -> Exit {
    match tried(args) {
        Ok(exit) => exit,
        Err(why) => output::bad_input(&why),
    }
}

fn tried(args: &MatrixArgs) -> Result<Exit, String> {
    let rows: Vec<MatrixRow> =
        matrix_rows::all().into_iter().filter(|row| takes(args, row)).collect();
    if rows.is_empty() {
        return Err(format!("no row of the matrix has {:?} in its name", args.rows.join(", ")));
    }
    let mut json = output::JsonFile::create(args.json.as_deref())?;
    let seeds = SeedRange::first(args.seeds);
    let mut run = |upstream: &[String], progress: &str| {
        let subject = |row: &MatrixRow| Subject::Row {
            row: Box::new(row.clone()),
            upstream: upstream.to_vec(),
        };
        let subjects: Vec<Subject> = rows.iter().map(subject).collect();
        let jobs: Vec<_> = subjects.iter().map(|subject| (subject, seeds.clone())).collect();
        let options = campaign::Options {
            jobs: args.jobs,
            progress: Some(progress.to_owned()),
            json: json.is_wanted(),
        };
        let outcomes = campaign::run(&jobs, &options);
        json.write(&outcomes);
        outcomes
    };
    let ours = run(&[], "matrix");
    let switches: Vec<String> = args.upstream.iter().map(ToString::to_string).collect();
    let mut upstream = if switches.is_empty() {
        None
    } else {
        Some(run(&switches, &switches.join(" ")).into_iter())
    };
    json.finish()?;
    let tried: Vec<Tried> = rows
        .into_iter()
        .zip(ours)
        .map(|(row, ours)| Tried {
            row,
            ours,
            upstream: upstream.as_mut().and_then(Iterator::next),
        })
        .collect();
    output::result(&tables(&tried, &switches));
    output::result(&details(&tried, &switches));
    output::result(&format!("\n{}\n", summary(&tried, args.seeds.get())));
    Ok(exit(&tried, args.seeds.get()))
}

fn takes(args: &MatrixArgs, row: &MatrixRow) -> bool {
    args.rows.is_empty() || args.rows.iter().any(|text| row.id.contains(text.as_str()))
}

fn standing(row: &MatrixRow, figures: &Figures) -> Standing {
    if figures.broken > 0 {
        Standing::Broken
    } else if figures.is_vacuous() {
        Standing::Vacuous
    } else if row.ours == Ours::May && figures.lossy == 0 {
        Standing::Undecided
    } else {
        Standing::Kept
    }
}

/// A table for each mode.
fn tables(tried: &[Tried], switches: &[String]) -> String {
    let mut text = String::new();
    let mut rest = tried;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|tried| mode(&tried.row) == mode(&first.row)).count();
        let (rows, others) = rest.split_at(same);
        text += &format!("{}\n{}\n", mode(&first.row), table(rows, switches));
        rest = others;
    }
    text
}

fn mode(row: &MatrixRow) -> String {
    if row.is_dledger() {
        return format!("DLEDGER of 3 + {}", row.flush);
    }
    let slave = row.slave_flush.map_or_else(|| "no slave".to_owned(), |f| format!("slave {f}"));
    format!("{} + {}, {slave}", row.master_role(), row.flush)
}

fn table(rows: &[Tried], switches: &[String]) -> String {
    let mut header = vec!["fault".to_owned(), "recover by".into(), "ours".into(), "4.9".into()];
    if !switches.is_empty() {
        header.push(format!("with {}", switches.join(", ")));
    }
    header.push("turned red by".into());
    let mut table = Table::new(&header);
    for tried in rows {
        let mut cells = vec![
            fault(&tried.row),
            recovery(&tried.row).to_owned(),
            ours(&tried.row, &tried.ours.figures()),
            tried.row.upstream.clone(),
        ];
        if let Some(upstream) = &tried.upstream {
            cells.push(measured(&upstream.figures()));
        }
        cells.push(turned_red_by(&tried.row));
        table.row(cells);
    }
    table.render()
}

/// The upstream switches, or else the planted bug, that break the row's promise.
fn turned_red_by(row: &MatrixRow) -> String {
    let switches = row.turned_red_by().iter().map(|switch| switch.name());
    let plant = row.defence().map(Defence::planted_in_words);
    switches.chain(plant).collect::<Vec<_>>().join(" and ")
}

/// Our promise with what was seen of it.
fn ours(row: &MatrixRow, figures: &Figures) -> String {
    let (lossy, runs) = (figures.lossy, figures.runs - figures.vacuous);
    let seen = match figures.first_loss {
        Some(seed) => format!("{lossy}/{runs}, first seed {seed}"),
        None => format!("{lossy}/{runs}"),
    };
    let text = format!("{} {seen}", promise(row));
    match standing(row, figures) {
        Standing::Broken => format!("BROKEN {text}"),
        Standing::Vacuous => format!("{} vacuous", promise(row)),
        Standing::Undecided => format!("{text} undecided"),
        Standing::Kept => text,
    }
}

/// What came of a row with upstream behaviours.
fn measured(figures: &Figures) -> String {
    let judged = figures.runs - figures.vacuous;
    if figures.is_vacuous() {
        "vacuous".to_owned()
    } else if figures.broken > 0 {
        let first =
            figures.first_broken.map_or_else(String::new, |seed| format!(", first seed {seed}"));
        format!("BROKEN {}/{judged}{first}, {} lost", figures.broken, grouped(figures.lost))
    } else {
        format!("kept, lost in {}/{judged}", figures.lossy)
    }
}

/// Broken and vacuous rows in full.
fn details(tried: &[Tried], switches: &[String]) -> String {
    let colour = output::colour(&io::stdout());
    let mut text = String::new();
    for tried in tried {
        let subject = Subject::Row { row: Box::new(tried.row.clone()), upstream: Vec::new() };
        text += &failures::broken(&subject, &tried.ours, colour);
        text += &failures::unanswered(&subject, &tried.ours);
        if standing(&tried.row, &tried.ours.figures()) == Standing::Vacuous
            && let Some(run) = tried.ours.runs.first()
        {
            let why = failures::why_unproven(run);
            let explain = subject.explain(run.report.seed);
            text += &format!("\nvacuous  {}: {why}\n  explain:  {explain}\n", tried.row.id);
        }
        let first_red = tried.upstream.as_ref().and_then(|o| o.with(Verdict::Broken).next());
        if let Some(run) = first_red {
            let upstream = switches.to_vec();
            let subject = Subject::Row { row: Box::new(tried.row.clone()), upstream };
            let what = run.report.findings.first().map_or("", |it| &it.text);
            let seed = run.report.seed;
            text += &format!(
                "\nwith {}: {}  seed {seed}: {what}\n  explain:  {}\n",
                switches.join(", "),
                tried.row.id,
                subject.explain(seed)
            );
        }
    }
    text
}

fn summary(tried: &[Tried], seeds: u64) -> String {
    let of = |wanted| {
        let stands = |tried: &&Tried| standing(&tried.row, &tried.ours.figures()) == wanted;
        tried.iter().filter(stands).count() as u64
    };
    let vacuous: u64 = tried.iter().map(|tried| tried.ours.figures().vacuous).sum();
    format!(
        "{} of {}: {} as promised, {} broken, {} vacuous, {} undecided (no seed lost what the mode \
         permits); {} vacuous",
        count(tried.len() as u64, "row"),
        count(seeds, "seed"),
        of(Standing::Kept),
        of(Standing::Broken),
        of(Standing::Vacuous),
        of(Standing::Undecided),
        count(vacuous, "run"),
    )
}

fn exit(tried: &[Tried], seeds: u64) -> Exit {
    let any =
        |wanted| tried.iter().any(|tried| standing(&tried.row, &tried.ours.figures()) == wanted);
    let gravest = tried.iter().map(|tried| tried.ours.figures().gravest).max();
    if let Some(gravest) = gravest.filter(|verdict| *verdict > Verdict::Broken) {
        gravest.into()
    } else if any(Standing::Broken) {
        Exit::Broken
    } else if any(Standing::Vacuous) || seeds >= SEEDS_TO_DECIDE && any(Standing::Undecided) {
        Exit::Nothing
    } else {
        Exit::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn tried(id: &str, ours: Outcome, upstream: Option<Outcome>) -> Tried {
        let row = matrix_rows::all().into_iter().find(|row| row.id == id).expect("a row");
        Tried { row, ours, upstream }
    }

    #[test]
    fn rows_stand_beside_upstream() {
        let red = Some(samples::broken());
        let rows = [
            tried("ASYNC_FLUSH/none/-/kill_master/restart", samples::outcome(&[0, 0]), red),
            tried(
                "ASYNC_FLUSH/none/-/power_all/restart",
                samples::outcome(&[0, 9]),
                Some(samples::outcome(&[0, 1_200])),
            ),
            tried("SYNC_FLUSH/none/-/kill_master/restart", samples::broken(), None),
            tried(
                "SYNC_FLUSH/sync/ASYNC_FLUSH/power_all/promote",
                samples::outcome(&[0, 0]),
                Some(samples::vacuous()),
            ),
        ];
        let switches = ["send-unflushed".to_owned()];
        let text = tables(&rows, &switches) + &details(&rows, &switches) + &summary(&rows, 2);
        insta::assert_snapshot!("matrix", text);
    }

    #[test]
    fn broken_weighs_more_than_open_questions() {
        let kept = || tried("SYNC_FLUSH/none/-/kill_master/restart", samples::outcome(&[0]), None);
        let open = || tried("ASYNC_FLUSH/none/-/power_all/restart", samples::outcome(&[0]), None);
        let vacuous = tried("SYNC_FLUSH/none/-/kill_master/restart", samples::vacuous(), None);
        let broken = tried("SYNC_FLUSH/none/-/kill_master/restart", samples::broken(), None);
        assert_eq!(exit(&[kept(), open()], 5), Exit::Kept, "too few seeds to ask for a witness");
        assert_eq!(exit(&[kept(), open()], 20), Exit::Nothing);
        assert_eq!(exit(&[kept(), vacuous], 5), Exit::Nothing);
        assert_eq!(exit(&[open(), broken], 20), Exit::Broken);
    }
}
