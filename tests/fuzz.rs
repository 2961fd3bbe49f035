//! Generated plans: topology, modes, faults, workload and noise are drawn, and no plan may break.
//!
//! `PROPTEST_CASES` and, for plans of the swarm, `SWARM_PLANS` scale it (nightly: tens of thousands),
//! `FUZZ_FIRST_SEED` says where the seeds begin. A plan that fails is shrunk and written as a scenario, with the command that runs it.
#![expect(clippy::disallowed_methods, reason = "tests read variables and write findings")]
#![expect(clippy::print_stdout, reason = "totals are read by people")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use mq_tests::shapes;
use proptest::strategy::ValueTree;
use staticfire::campaign::sweep::{SweepOptions, sweep};
use staticfire::run;
use staticfire::run::report::{RunReport, Verdict};
use staticfire::stories::generate::{Shape, rows_of_masters};
use staticfire::stories::swarm;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plans without a variable that says otherwise.
const CASES: u64 = 200;

/// From this many plans on every cell of the coverage table must have some.
const CASES_COVERING_ALL: u64 = 2_000;

/// Runs spent on making a failing plan smaller.
const SHRINK_STEPS: usize = 60;

/// Failing plans that are shrunk and written; the rest is counted.
const WRITTEN_MAX: usize = 5;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Plans of the swarm without a variable that says otherwise.
const SWARM_PLANS: u64 = 100;

/// The least share of them that loses something, in percent: plans that never lose judge nothing.
const LOSSY_PERCENT: usize = 5;

#[test]
fn plans_that_nobody_wrote_keep_what_their_copies_owe() {
    let (first, plans) = (number("FUZZ_FIRST_SEED", 0), number("SWARM_PLANS", SWARM_PLANS));
    let seeds: Vec<u64> = (first..first + plans).collect();
    let reports = sweep(&seeds, &SweepOptions::quiet(), |seed| {
        let rerun = format!("staticfire swarm --seeds {seed}..{}", seed + 1);
        run::run(&swarm::plan(*seed), *seed, &rerun).report
    });
    let with = |verdict| reports.iter().filter(move |it| it.verdict == verdict).count();
    let lossy = reports.iter().filter(|report| report.lost > 0).count();
    println!(
        "{plans} plans of the swarm: {lossy} lost something, {} vacuous",
        with(Verdict::Vacuous)
    );
    let is_bad = |it: &&RunReport| !matches!(it.verdict, Verdict::Kept | Verdict::Vacuous);
    let bad = reports.iter().filter(is_bad);
    let bad: Vec<String> =
        bad.map(|it| format!("{}: {}: {:?}", it.verdict, it.repro, it.findings.first())).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(lossy * 100 >= LOSSY_PERCENT * reports.len(), "only {lossy} lost something");
}

#[test]
fn generated_plans_keep_their_promises() {
    let (first, cases) = (number("FUZZ_FIRST_SEED", 0), number("PROPTEST_CASES", CASES));
    let seeds: Vec<u64> = (first..first + cases).collect();
    let reports = sweep(&seeds, &SweepOptions::quiet(), |seed| {
        let shape = shapes::shape(*seed);
        let report = play(&shape, *seed);
        (shape.row, report)
    });

    let vacuous = reports.iter().filter(|(_, it)| it.verdict == Verdict::Vacuous).count();
    let lost: u32 = reports.iter().map(|(_, report)| report.lost).sum();
    let acked: u32 = reports.iter().map(|(_, report)| report.acked).sum();
    println!("{cases} plans: {acked} acknowledged, {lost} lost as permitted, {vacuous} vacuous");
    let empty = print_coverage(reports.iter().map(|(row, _)| *row));

    let broken: Vec<u64> = seeds
        .iter()
        .zip(&reports)
        .filter(|(_, (_, report))| report.verdict == Verdict::Broken)
        .map(|(seed, _)| *seed)
        .collect();
    for seed in broken.iter().take(WRITTEN_MAX) {
        write_finding(*seed);
    }
    assert!(broken.is_empty(), "{} plans broke: seeds {broken:?}", broken.len());
    if cases >= CASES_COVERING_ALL {
        assert!(empty.is_empty(), "cells without a plan: {empty:?}");
    }
}

fn play(shape: &Shape, seed: u64) -> RunReport {
    run::run(&shape.plan(), seed, "-").report
}

/// Prints how many plans each cell of mode and fault had; returns the cells that had none.
fn print_coverage(rows: impl Iterator<Item = usize>) -> Vec<String> {
    let table = rows_of_masters();
    let mut counts = vec![0_u32; table.len()];
    rows.for_each(|row| counts[row] += 1);
    let mut cells: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut modes = BTreeSet::new();
    for (row, count) in table.iter().zip(counts) {
        let mode = row.id.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        modes.insert(mode.clone());
        let fault = format!("{}/{}", row.fault_name(), row.recovery);
        *cells.entry((fault, mode)).or_default() += count;
    }
    let modes: Vec<String> = modes.into_iter().collect();
    for (index, mode) in modes.iter().enumerate() {
        println!("column {index}: {mode}");
    }
    let faults: BTreeSet<&String> = cells.keys().map(|(fault, _)| fault).collect();
    for fault in faults {
        let cell = |mode: &String| match cells.get(&(fault.clone(), mode.clone())) {
            Some(count) => format!("{count:>4}"),
            None => "   -".to_owned(),
        };
        println!("{}  {fault}", modes.iter().map(cell).collect::<String>());
    }
    let empty = cells.iter().filter(|(_, count)| **count == 0);
    empty.map(|((fault, mode), _)| format!("{mode} {fault}")).collect()
}

/// Shrinks the plan of a seed that broke and writes it as a scenario.
fn write_finding(seed: u64) {
    let mut tree = shapes::tree(seed);
    let mut worst = (tree.current(), play(&tree.current(), seed));
    let mut simpler = tree.simplify();
    for _ in 0..SHRINK_STEPS {
        if !simpler {
            break;
        }
        let report = play(&tree.current(), seed);
        // Another row may break for another reason: the smallest plan of the same row is wanted.
        if report.verdict == Verdict::Broken && tree.current().row == worst.0.row {
            worst = (tree.current(), report);
            simpler = tree.simplify();
        } else {
            simpler = tree.complicate();
        }
    }
    let (shape, report) = worst;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{seed}.toml"));
    let written = std::fs::write(&path, shape.plan().to_toml());
    println!("seed {seed}, {}: {:#?}", shape.row().id, report.findings);
    println!("  staticfire run {} --seeds {seed}..{} ({written:?})", path.display(), seed + 1);
}
