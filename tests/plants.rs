//! Planted bugs are found, by the generator and the checkers that everything else meets too; and
//! without a planted bug nothing is found.
//!
//! Needs the feature `plants`: `cargo test -p mq-tests --features plants --test plants`. What is
//! shipped is built without it: `StoreConfig::plant` refuses (a test of mq-store), and the names of
//! the plants stand in no binary (`the_command_knows_no_plant` of the command's own tests looks for each).
//!
//! Who must find a plant its row says (`Plant::ROWS`); here each finder takes its own.
//!
//! `PLANT_FREE_SEEDS` says how many seeds run without a plant (nightly: 5000).
#![expect(clippy::disallowed_methods, reason = "tests read variables and stories")]
#![expect(clippy::print_stdout, reason = "what was found by whom is what one wants to read")]

use std::collections::BTreeSet;

use mq_store::config::FlushDiskType;
use mq_store::plant::{Finder, Plant, PlantRow, plant_on_this_thread};
use mq_tests::crash::{OPERATIONS, Size, enumerate, model};
use mq_tests::plants::{generated, named, story};
use staticfire::campaign::sweep::{SweepOptions, sweep};
use staticfire::plan::Plan;
use staticfire::run;
use staticfire::run::report::Verdict;
use staticfire::stories::matrix_rows::{self, Defence};
use staticfire::stories::{rows, swarm};

/// A plant must be found among this many seeds.
const SEEDS: u64 = 500;

/// Seeds that run at a time before the first finding is looked for.
const STRIDE: u64 = 8;

/// Seeds that run without a plant, unless a variable says otherwise.
const PLANT_FREE_SEEDS: u64 = 300;

/// Seeds under one of which a row's plant must show.
const ROW_SEEDS: u64 = 20;

/// What a run under a plant brought to light.
struct Found {
    seed: u64,
    row: String,
    checkers: BTreeSet<String>,
    first: String,
}

/// Runs `plan` under `seed` with these plants.
fn play(mut plan: Plan, seed: u64, plants: &[String]) -> Option<Found> {
    plan.plants = plants.to_vec();
    let outcome = run::run(&plan, seed, "-");
    (outcome.report.verdict == Verdict::Broken).then(|| Found {
        seed,
        row: plan.title,
        checkers: outcome.violations.iter().map(|it| it.checker.to_string()).collect(),
        first: outcome.report.findings.first().map_or_else(String::new, ToString::to_string),
    })
}

/// The first seed under which the plant shows in the plan that `plan_of` makes of it; tells of it.
fn search(plant: Plant, plan_of: fn(u64) -> Plan) -> bool {
    introduce(plant);
    let plants = [plant.name().to_owned()];
    let found = (0..SEEDS).step_by(STRIDE as usize).find_map(|from| {
        let seeds: Vec<u64> = (from..SEEDS.min(from + STRIDE)).collect();
        let found =
            sweep(&seeds, &SweepOptions::quiet(), |seed| play(plan_of(*seed), *seed, &plants));
        // What shows without the plant, too, is no credit to it.
        let is_credit = |found: &Found| play(plan_of(found.seed), found.seed, &[]).is_none();
        found.into_iter().flatten().find(is_credit)
    });
    let Some(Found { seed, row, checkers, first }) = &found else {
        println!("  not found in {SEEDS} runs");
        return false;
    };
    println!("  found by seed {seed} (run {} of {SEEDS}), row {row}", seed + 1);
    println!("  checkers: {checkers:?}\n  {first}");
    true
}

/// The plants that a finder must find.
fn of(is_finder: impl Fn(&Finder) -> bool) -> Vec<Plant> {
    Plant::all().filter(|plant| plant.row().finders.iter().any(&is_finder)).collect()
}

/// Tells of a plant before what was found.
fn introduce(plant: Plant) {
    let PlantRow { place, defence, .. } = plant.row();
    println!("{plant} ({place}), takes away: {defence}");
}

/// Lists of steps per mode.
const MODEL_CASES: u32 = 150;

#[test]
fn the_enumerator_finds_what_it_must() {
    let mut hidden = Vec::new();
    for plant in of(|finder| *finder == Finder::Enumerator) {
        introduce(plant);
        let plants = [plant.name().to_owned()];
        let tried = OPERATIONS.iter().map(|operation| enumerate(operation, Size::SMALL, &plants));
        match tried.filter_map(Result::err).next() {
            Some(finding) => println!("  crash points: {finding}"),
            None => hidden.push(plant.name()),
        }
    }
    assert!(hidden.is_empty(), "not found: {hidden:?}");
}

#[test]
fn the_model_finds_what_it_must() {
    let mut hidden = Vec::new();
    for plant in of(|finder| *finder == Finder::Model) {
        introduce(plant);
        let plants = [plant.name().to_owned()];
        let found = FlushDiskType::ALL
            .into_iter()
            .find_map(|mode| Some((mode, model::find(mode, MODEL_CASES, &plants)?)));
        match found {
            Some((mode, finding)) => {
                println!("  model, {mode:?}, case {}: {finding}", finding.cases);
            }
            None => hidden.push(plant.name()),
        }
    }
    assert!(hidden.is_empty(), "not found: {hidden:?}");
}

#[test]
fn plans_find_what_they_must() {
    let plants = of(|finder| *finder == Finder::Fuzz).into_iter();
    let hidden: Vec<Plant> = plants.filter(|plant| !search(*plant, generated)).collect();
    assert!(hidden.is_empty(), "not found: {hidden:?}");
}

/// Under most seeds, so that it is the story that finds the plant and not chance; and under none without.
#[test]
fn stories_find_what_they_must() {
    let mut hidden = Vec::new();
    for row in Plant::ROWS {
        for finder in row.finders {
            let Finder::Story(path) = finder else { continue };
            introduce(row.plant);
            let red = |plants: &[String]| {
                let seeds: Vec<u64> = (0..ROW_SEEDS).collect();
                let told = sweep(&seeds, &SweepOptions::quiet(), |seed| {
                    let mut plan = story(path);
                    plan.plants = plants.to_vec();
                    let report = run::run(&plan, *seed, "-").report;
                    let first = report.findings.first().map(ToString::to_string);
                    (report.verdict == Verdict::Broken).then(|| first.unwrap_or_default())
                });
                told.into_iter().flatten().collect::<Vec<_>>()
            };
            let (with, without) = (red(&[row.name.to_owned()]), red(&[]));
            println!("  {path}: red under {} seeds of {ROW_SEEDS}, {:?}", with.len(), with.first());
            if with.len() as u64 * 2 <= ROW_SEEDS || !without.is_empty() {
                hidden.push(row.name);
            }
        }
    }
    assert!(hidden.is_empty(), "not found, or found where they are not: {hidden:?}");
}

/// With its plant a test finds something, and nothing without.
#[test]
fn tests_find_what_they_must() {
    let find = |name: &str| named::ALL.iter().find(|(named, _)| *named == name).map(|it| it.1);
    let mut run_of = 0;
    for row in Plant::ROWS {
        for finder in row.finders {
            let Finder::Test(name) = finder else { continue };
            introduce(row.plant);
            let test = find(name).unwrap_or_else(|| panic!("no test is called {name:?}"));
            plant_on_this_thread(&BTreeSet::new());
            assert_eq!(test(), None, "without {}", row.name);
            plant_on_this_thread(&BTreeSet::from([row.plant]));
            let found = test();
            plant_on_this_thread(&BTreeSet::new());
            println!("  {name}: {found:?}");
            assert!(found.is_some(), "{} is not found", row.name);
            run_of += 1;
        }
    }
    assert_eq!(run_of, named::ALL.len(), "each test has a plant of its own");
}

/// A swarm's plan under its own seed shows it, and no row of the matrix does.
#[test]
fn the_swarm_finds_what_no_row_of_the_matrix_does() {
    let mut hidden = Vec::new();
    for plant in of(|finder| *finder == Finder::Swarm) {
        if !search(plant, swarm::plan) {
            hidden.push(plant);
        }
        let plants = [plant.name().to_owned()];
        let rows = sweep(&matrix_rows::all(), &SweepOptions::quiet(), |row| {
            play(rows::plan(row, 0, &[]), 0, &plants).map(|_| row.id.clone())
        });
        let rows: Vec<String> = rows.into_iter().flatten().collect();
        assert!(rows.is_empty(), "{plant} is red in {rows:?}");
    }
    assert!(hidden.is_empty(), "not found in {SEEDS} plans: {hidden:?}");
}

/// The plant that takes a rule away by which rows of the matrix hold.
fn plant_against(defence: Defence) -> Plant {
    let name = format!("{defence:?}");
    let [plant] = of(|finder| matches!(finder, Finder::Matrix(of) if **of == *name))[..] else {
        panic!("one plant takes {name} away");
    };
    plant
}

#[test]
fn every_row_that_never_loses_is_turned_red_by_its_plant() {
    let mut rows = matrix_rows::all();
    rows.retain(|row| row.defence().is_some());
    let found = sweep(&rows, &SweepOptions::quiet(), |row| {
        let plant = plant_against(row.defence().expect("only such rows are left"));
        let is_red = |seed: &u64| {
            let mut plan = rows::plan(row, *seed, &[]);
            plan.plants = vec![plant.name().to_owned()];
            run::run(&plan, *seed, "-").report.verdict == Verdict::Broken
        };
        (format!("{} with {plant}", row.id), (0..ROW_SEEDS).find(is_red))
    });
    let at_once = found.iter().filter(|(_, seed)| *seed == Some(0)).count();
    println!("{} rows, {at_once} red under the first seed", found.len());
    let green: Vec<_> = found.iter().filter(|(_, seed)| seed.is_none()).map(|it| &it.0).collect();
    assert!(green.is_empty(), "{green:#?}");
}

#[test]
fn without_a_plant_nothing_is_found() {
    let variable = std::env::var("PLANT_FREE_SEEDS").ok().and_then(|text| text.parse().ok());
    let seeds: Vec<u64> = (0..variable.unwrap_or(PLANT_FREE_SEEDS)).collect();
    let found = sweep(&seeds, &SweepOptions::quiet(), |seed| play(generated(*seed), *seed, &[]));
    let alarms: Vec<Found> = found.into_iter().flatten().collect();
    for Found { seed, row, checkers, first } in &alarms {
        println!("seed {seed}, {row}: {checkers:?} {first}");
    }
    println!("{} seeds without a plant, {} alarms", seeds.len(), alarms.len());
    assert!(alarms.is_empty());
}
