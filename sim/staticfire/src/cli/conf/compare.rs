//! `--compare`: what the modes of RocketMQ lose, how long they stand still, and what a message costs, on the machines of one
//! directory.

use std::io;
use std::path::Path;

use staticfire::campaign::Figures;
use staticfire::campaign::sweep::{SweepOptions, sweep};
use staticfire::conf::cast::copies;
use staticfire::conf::render::topology;
use staticfire::conf::row::ConfRow;
use staticfire::conf::{self, BrokerGroup, Cast, ClusterConf, mirror};
use staticfire::run;
use staticfire::stories::matrix_rows::Recovery;

use super::render::{fault, recovery, unavailable, unavailable_median};
use super::{Refused, Tried, render, try_rows};
use crate::cli::table::{Table, count, grouped};
use crate::cli::{ConfArgs, Exit, failures, output};

/// What the table is about; the first lines.
const ABOUT: &str = "\
What Staticfire's own engine loses in each mode on these machines, run in the simulator. Of a master and its slaves an
operator restarts what fell, or promotes a slave where the disk is gone, 0.2 to 6 s after the fault; the members of a
DLedger group elect another master, and what fell comes back once that one serves. No acknowledgement: for how long
producers had none, the median of all seeds. A message: from its send to its acknowledgement, without faults.

";

/// The faults that every mode knows, with what is done about each: of a master and its slaves, in the order of preference, and
/// of a DLedger group.
const FAULTS: [[&[(&str, Recovery)]; 2]; 5] = [
    [&[("kill_master", Recovery::Restart)], &[("kill_master", Recovery::Elect)]],
    [&[("power_master", Recovery::Restart)], &[("power_master", Recovery::Elect)]],
    [
        &[("disk_master", Recovery::Promote), ("disk_master", Recovery::Restart)],
        &[("disk_master", Recovery::Elect)],
    ],
    [&[("power_all", Recovery::Restart)], &[("power_all", Recovery::Restart)]],
    [&[("partition_master_slave", Recovery::None)], &[("isolate_master", Recovery::Elect)]],
];

/// Seeds under which the cost of a message is measured.
const COST_SEEDS: u64 = 5;

/// A mode of a group and what its runs gave.
struct Compared {
    cast: Cast,
    /// Why it was not run.
    left_out: Option<String>,
    tried: Vec<Tried>,
    cost: Option<Cost>,
}

/// What a message costs, simulated milliseconds from send to acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    p50_ms: u64,
    p99_ms: u64,
}

impl Cost {
    /// Of how long each acknowledgement took, microseconds.
    fn of(mut took_us: Vec<u64>) -> Option<Cost> {
        took_us.sort_unstable();
        let at = |percent: usize| took_us.get(took_us.len().checked_sub(1)? * percent / 100);
        let ms = |us: &u64| (us + 500) / 1_000;
        Some(Cost { p50_ms: ms(at(50)?), p99_ms: ms(at(99)?) })
    }
}

/// One directory in every mode.
pub(super) fn compared(
    dir: &Path,
    args: &ConfArgs,
    json: &mut output::JsonFile,
) -> Result<Exit, Refused> {
    let cluster = conf::load_dir(dir, &args.sets).map_err(Refused::Findings)?;
    output::result(ABOUT);
    output::result(&topology(&cluster));
    output::result("\n");
    let images = mirror::images(&cluster);
    let mut tried: Vec<Tried> = Vec::new();
    for group in cluster.groups.iter().filter(|it| !images.contains_key(&it.name)) {
        let modes =
            Cast::ALL.into_iter().map(|cast| run_as(cast, group, &cluster, dir, args, json));
        let modes = modes.collect::<Result<Vec<_>, _>>()?;
        output::result(&table(group, &modes, args.seeds.count()));
        output::result("\n");
        tried.extend(modes.into_iter().flat_map(|mode| mode.tried));
    }
    output::result(&render::images(&images));
    let colour = output::colour(&io::stdout());
    let mut troubles = String::new();
    for tried in &tried {
        troubles += &failures::broken(&tried.subject(), &tried.outcome, colour);
        troubles += &failures::unanswered(&tried.subject(), &tried.outcome);
    }
    if !troubles.is_empty() {
        output::result(&format!("{}\n", troubles.trim_start_matches('\n')));
    }
    output::result(&render::summary(&tried));
    Ok(super::exit(&tried.iter().collect::<Vec<_>>(), false))
}

fn run_as(
    cast: Cast,
    group: &BrokerGroup,
    cluster: &ClusterConf,
    dir: &Path,
    args: &ConfArgs,
    json: &mut output::JsonFile,
) -> Result<Compared, Refused> {
    let copies = copies(group).count();
    if cast.needs_a_second_copy() && copies == 1 {
        let left_out = Some("one copy: no slave would confirm".to_owned());
        return Ok(Compared { cast, left_out, tried: Vec::new(), cost: None });
    }
    let rows = ConfRow::all_cast(dir, &args.sets, cluster, cast).map_err(Refused::Findings)?;
    let rows: Vec<ConfRow> = rows.into_iter().filter(|row| row.group == group.name).collect();
    let wanted: Vec<ConfRow> =
        FAULTS.iter().filter_map(|fault| row_of(cast, fault, &rows)).collect();
    let label = format!("{}: {} as {cast}", dir.display(), group.name);
    let cost = rows.first().and_then(|row| cost_of(row, args));
    let tried = try_rows(&wanted, Path::new(&label), args, json, |_| ());
    Ok(Compared { cast, left_out: None, tried, cost })
}

/// The row of a fault in a mode; a group of one copy has no link between two.
fn row_of(cast: Cast, fault: &[&[(&str, Recovery)]; 2], rows: &[ConfRow]) -> Option<ConfRow> {
    let is = |row: &&ConfRow, name: &str, recovery: Recovery| {
        row.row.fault_name() == name && row.row.recovery == recovery
    };
    let mut preferred = fault[usize::from(cast.is_dledger())].iter();
    preferred.find_map(|(name, recovery)| rows.iter().find(|row| is(row, name, *recovery)).cloned())
}

/// The workload of a row without its fault.
fn cost_of(row: &ConfRow, args: &ConfArgs) -> Option<Cost> {
    let mut options = SweepOptions::quiet();
    options.jobs = args.jobs.unwrap_or(options.jobs);
    let seeds: Vec<u64> = args.seeds.iter().take(COST_SEEDS as usize).collect();
    let took = sweep(&seeds, &options, |seed| {
        let mut plan = row.plan(*seed);
        plan.events.clear();
        let told = run::run(&plan, *seed, "-").told;
        let took = |history: &staticfire_judge::history::History| -> Vec<u64> {
            history.acked().map(|send| send.ended_us - send.started_us).collect()
        };
        told.map_or_else(Vec::new, |told| took(&told.history))
    });
    Cost::of(took.concat())
}

fn table(group: &BrokerGroup, modes: &[Compared], seeds: u64) -> String {
    let copies = copies(group).count();
    let count_of = |number: usize, noun| count(number as u64, noun);
    let copies_text = match count_of(copies, "copy") {
        one if copies == 1 => one,
        _ => format!("{copies} copies"),
    };
    let mut text = format!(
        "{}: {copies_text}, here {} · {} a row\n",
        group.name,
        group.mode,
        count(seeds, "seed")
    );
    let mut table = Table::new(&[
        "mode",
        ">a message p50",
        ">p99",
        "fault",
        "recover by",
        "lost",
        ">no acknowledgement",
        ">at worst",
    ]);
    for mode in modes {
        let mut names = mode_cells(mode.cast, copies).into_iter();
        let mut cells = vec![names.next().unwrap_or_default()];
        let ms = |ms: Option<u64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms"));
        cells.extend([mode.cost.map(|it| it.p50_ms), mode.cost.map(|it| it.p99_ms)].map(ms));
        if let Some(why) = &mode.left_out {
            cells.push(why.clone());
            table.row(cells);
            continue;
        }
        for tried in &mode.tried {
            let figures = tried.outcome.figures();
            cells.extend([
                fault(&tried.row.row),
                recovery(&tried.row.row).to_owned(),
                lost(&figures),
                unavailable_median(&figures),
                unavailable(&figures),
            ]);
            let next = vec![names.next().unwrap_or_default(), String::new(), String::new()];
            table.row(std::mem::replace(&mut cells, next));
        }
    }
    text += &table.render();
    text
}

/// The mode, and below it what the directory does not have of it.
fn mode_cells(cast: Cast, copies: usize) -> Vec<String> {
    let more = cast.lacks(copies);
    let beside = format!("  on {} more", count(more as u64, "machine"));
    let name = cast.name().replace('+', " + ");
    std::iter::once(name).chain((more > 0).then_some(beside)).collect()
}

/// What is lost of what was acknowledged.
fn lost(figures: &Figures) -> String {
    if figures.broken > 0 {
        return format!("BROKEN in {} of {}", figures.broken, count(figures.runs, "run"));
    }
    if figures.is_vacuous() {
        return "not shown".to_owned();
    }
    if figures.lost == 0 {
        return "none".to_owned();
    }
    let (lost, acked) = (grouped(figures.lost), grouped(figures.acked));
    format!("{lost} of {acked} in {} of {}", figures.lossy, count(figures.runs, "run"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    const DIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/conf");

    fn load(name: &str) -> ClusterConf {
        conf::load_dir(&Path::new(DIRS).join(name), &[]).expect("a sound directory")
    }

    fn compared(cluster: &ClusterConf, cast: Cast, losses: &[u32]) -> Compared {
        let rows = ConfRow::all_cast(Path::new("DIR"), &[], cluster, cast).expect("a mode");
        let rows: Vec<ConfRow> = rows.into_iter().filter(|it| it.group == "broker-a").collect();
        let rows = FAULTS.iter().filter_map(|fault| row_of(cast, fault, &rows));
        let tried = rows.map(|row| Tried { row, outcome: samples::outcome(losses) }).collect();
        let cost = Cost::of((1..=100).map(|ms| ms * 1_000).collect());
        Compared { cast, left_out: None, tried, cost }
    }

    #[test]
    fn modes_stand_side_by_side() {
        let cluster = load("public-2m-2s-sync");
        let losses: [&[u32]; 5] = [&[0, 31], &[0, 0], &[0, 0], &[0, 2], &[0, 0]];
        let modes = Cast::ALL.into_iter().zip(losses);
        let modes: Vec<_> = modes.map(|(cast, lost)| compared(&cluster, cast, lost)).collect();
        insta::assert_snapshot!("compare", table(&cluster.groups[0], &modes, 2));
    }

    #[test]
    fn every_published_group_is_cast_in_every_mode() {
        for name in ["public-2m-2s-sync", "hosts-2m-2s-sync", "noslave-2m", "dledger-1m-2s"] {
            let cluster = load(name);
            for cast in Cast::ALL {
                let rows = ConfRow::all_cast(Path::new("DIR"), &[], &cluster, cast);
                let rows = rows.unwrap_or_else(|found| panic!("{name} as {cast}: {found:#?}"));
                for row in &rows {
                    row.plan(1).check_sense().expect("a plan without contradictions");
                }
                let has_slaves = name != "noslave-2m" || cast.is_dledger();
                let found = FAULTS.iter().filter_map(|fault| row_of(cast, fault, &rows));
                assert_eq!(found.count(), if has_slaves { 5 } else { 4 }, "{name} as {cast}");
            }
        }
    }

    #[test]
    fn a_message_costs_what_half_and_nearly_all_of_them_took() {
        let cost = Cost::of((1..=1_000).map(|ms| ms * 1_000).collect());
        assert_eq!(cost, Some(Cost { p50_ms: 500, p99_ms: 990 }));
        assert_eq!(Cost::of(Vec::new()), None);
    }
}
