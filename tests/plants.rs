//! Planted bugs are found, by the generator and the checkers that everything else meets too; and
//! without a planted bug nothing is found.
//!
//! Needs the feature `plants`: `cargo test -p mq-tests --features plants --test plants`. What is
//! shipped is built without it: `StoreConfig::plant` refuses (a test of mq-store), and the names of
//! the plants stand in no release binary:
//!
//! ```text
//! cargo build --release -p staticfire && ! grep -qaE 'send-ok-before-flush|synced-on-flush-error|dispatch-above-synced|truncate-in-memory-only|stale-queue-offsets-on-promotion|planted-queue-offsets|send-ok-before-replica|garbled-tags-code|queue-offset-before-append|marks-before-sync|dispatch-from-log-end|queues-not-cut|empty-file-refused|queue-minimum-not-moved|metadata-renamed-before-sync|metadata-removed-first' target/release/staticfire
//! ```
//!
//! `PLANT_FREE_SEEDS` says how many seeds run without a plant (nightly: 5000).
#![expect(clippy::disallowed_methods, reason = "tests read variables")]

use std::collections::BTreeSet;

use mq_store::config::FlushDiskType;
use mq_store::plant::Plant;
use mq_tests::crash::{OPERATIONS, Size, enumerate, model};
use mq_tests::shapes;
use staticfire::campaign::sweep::{SweepOptions, sweep};
use staticfire::run;
use staticfire::run::report::Verdict;
use staticfire::stories::matrix_rows::{self, Defence};
use staticfire::stories::rows;

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

fn play(seed: u64, plants: &[String]) -> Option<Found> {
    let shape = shapes::shape(seed);
    let mut plan = shape.plan();
    plan.plants = plants.to_vec();
    let outcome = run::run(&plan, seed, "-");
    (outcome.report.verdict == Verdict::Broken).then(|| Found {
        seed,
        row: plan.title,
        checkers: outcome.violations.iter().map(|it| it.checker.to_string()).collect(),
        first: outcome.report.findings.first().map_or_else(String::new, ToString::to_string),
    })
}

/// The first seed under which the plant shows.
fn search(plant: Plant) -> Option<Found> {
    let plants = [plant.name().to_owned()];
    (0..SEEDS).step_by(STRIDE as usize).find_map(|from| {
        let seeds: Vec<u64> = (from..SEEDS.min(from + STRIDE)).collect();
        let found = sweep(&seeds, &SweepOptions::quiet(), |seed| play(*seed, &plants));
        // What shows without the plant, too, is no credit to it.
        found.into_iter().flatten().find(|found| play(found.seed, &[]).is_none())
    })
}

/// The rule of the engine that a plant takes away.
fn defence(plant: Plant) -> &'static str {
    match plant {
        Plant::SendOkBeforeFlush => "under SYNC_FLUSH a put is answered after its sync",
        Plant::SyncedOnFlushError => "a failed sync is final",
        Plant::DispatchAboveSynced => "under SYNC_FLUSH only what is synced is consumable",
        Plant::TruncateInMemoryOnly => "truncation is durable",
        Plant::AckBeyondLogEnd => "a report counts up to the master's own end, of a proven prefix",
        Plant::StaleQueueOffsetsOnPromotion => "a promoted slave recomputes its queue offsets",
        Plant::SendOkBeforeReplica => "a SYNC_MASTER answers after a slave has the record",
        Plant::GarbledTagsCode => "ConsumeQueues are what a rebuild from the log gives",
        Plant::QueueOffsetBeforeAppend => "a refused message takes no queue offset",
        Plant::MarksBeforeSync => "marks speak of what was synced",
        Plant::DispatchFromLogEnd => "a start dispatches from where the queues end",
        Plant::QueuesNotCut => "units beyond what is durable are made again",
        Plant::EmptyFileRefused => "a file without a record is the log's end",
        Plant::QueueMinimumNotMoved => "queues begin where the log does",
        Plant::MetadataRenamedBeforeSync => "metadata is synced before it is renamed",
        Plant::MetadataRemovedFirst => "metadata is replaced, not removed",
    }
}

/// Plants of the store alone: looked for at crash points and by its model, without a cluster.
const OF_THE_STORE: [Plant; 10] = [
    Plant::DispatchAboveSynced,
    Plant::QueueOffsetBeforeAppend,
    Plant::MarksBeforeSync,
    Plant::DispatchFromLogEnd,
    Plant::QueuesNotCut,
    Plant::TruncateInMemoryOnly,
    Plant::EmptyFileRefused,
    Plant::MetadataRenamedBeforeSync,
    Plant::MetadataRemovedFirst,
    Plant::QueueMinimumNotMoved,
];

/// Those of them that plans are to find as well.
const OF_BOTH: [Plant; 2] = [Plant::DispatchAboveSynced, Plant::TruncateInMemoryOnly];

/// Lists of steps per mode.
const MODEL_CASES: u32 = 150;

#[test]
fn every_plant_of_the_store_is_found_at_a_crash_point_or_by_the_model() {
    let mut hidden = Vec::new();
    for plant in OF_THE_STORE {
        let plants = [plant.name().to_owned()];
        let tried = OPERATIONS.iter().map(|operation| enumerate(operation, Size::SMALL, &plants));
        let at_point = tried.filter_map(Result::err).next();
        let by_model = FlushDiskType::ALL
            .into_iter()
            .find_map(|mode| Some((mode, model::find(mode, MODEL_CASES, &plants)?)));
        println!("{plant}, takes away: {}", defence(plant));
        match &at_point {
            Some(finding) => println!("  crash points: {finding}"),
            None => println!("  crash points: nothing"),
        }
        match &by_model {
            Some((mode, finding)) => {
                println!("  model, {mode:?}, case {}: {finding}", finding.cases);
            }
            None => println!("  model: nothing in 2 × {MODEL_CASES} cases"),
        }
        if at_point.is_none() && by_model.is_none() {
            hidden.push(plant.name());
        }
    }
    assert!(hidden.is_empty(), "not found: {hidden:?}");
}

#[test]
fn every_plant_is_found() {
    let mut hidden = Vec::new();
    let by_plans = |plant: &Plant| !OF_THE_STORE.contains(plant) || OF_BOTH.contains(plant);
    for plant in Plant::ALL.into_iter().filter(by_plans) {
        let Some(found) = search(plant) else {
            println!("{plant}: not found in {SEEDS} runs");
            hidden.push(plant.name());
            continue;
        };
        let Found { seed, row, checkers, first } = found;
        println!("{plant}: found by seed {seed} (run {} of {SEEDS}), row {row}", seed + 1);
        println!("  takes away: {}\n  checkers: {checkers:?}\n  {first}", defence(plant));
    }
    assert!(hidden.is_empty(), "not found: {hidden:?}");
}

/// The plant that takes a rule away by which rows of the matrix hold.
fn plant_against(defence: Defence) -> Plant {
    match defence {
        Defence::AnsweredAfterSync => Plant::SendOkBeforeFlush,
        Defence::AnsweredAfterReplica => Plant::SendOkBeforeReplica,
        Defence::QueueOffsetsRecomputed => Plant::StaleQueueOffsetsOnPromotion,
        Defence::QueuesLikeARebuild => Plant::GarbledTagsCode,
    }
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
    let found = sweep(&seeds, &SweepOptions::quiet(), |seed| play(*seed, &[]));
    let alarms: Vec<Found> = found.into_iter().flatten().collect();
    for Found { seed, row, checkers, first } in &alarms {
        println!("seed {seed}, {row}: {checkers:?} {first}");
    }
    println!("{} seeds without a plant, {} alarms", seeds.len(), alarms.len());
    assert!(alarms.is_empty());
}
