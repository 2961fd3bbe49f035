//! The expected matrix, row by row: what is promised is kept, what is permitted happens and stays
//! inside its bound, and 4.9's behaviours break what the table says they break.
#![expect(clippy::print_stdout, reason = "totals are read by people")]

use std::collections::BTreeMap;

use staticfire::campaign::sweep::{SweepOptions, sweep};
use staticfire::run;
use staticfire::run::report::{Finding, Verdict};
use staticfire::stories::matrix_rows::{self, MatrixRow, Ours};
use staticfire::stories::rows;
use staticfire_judge::check::Checker;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds that every row runs under.
const SEEDS: u64 = 4;

/// Seeds among which a permitted loss has to show, or a switch has to break its row.
const SEARCHED_SEEDS: u64 = 20;
/// Seeds among which one has to show what an upstream switch costs: one in twenty does, at worst.
const SWITCH_SEEDS: u64 = 100;

/// One run in brief.
struct Seen {
    verdict: Verdict,
    lost: u32,
    checkers: Vec<Checker>,
    findings: Vec<Finding>,
    trace_len: usize,
}

fn see(row: &MatrixRow, seed: u64, upstream: &[String]) -> Seen {
    let outcome = run::run(&rows::plan(row, seed, upstream), seed, "-");
    Seen {
        verdict: outcome.report.verdict,
        lost: outcome.report.lost,
        checkers: outcome.violations.iter().map(|violation| violation.checker).collect(),
        findings: outcome.report.findings,
        trace_len: outcome.trace.len(),
    }
}

#[test]
fn every_row_keeps_its_promise() {
    let table = matrix_rows::all();
    let jobs: Vec<(usize, u64)> =
        (0..table.len()).flat_map(|row| (0..SEEDS).map(move |seed| (row, seed))).collect();
    let seen = sweep(&jobs, &SweepOptions::quiet(), |(row, seed)| see(&table[*row], *seed, &[]));

    let mut complaints = Vec::new();
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut witnessed = vec![false; table.len()];
    let mut shown = vec![false; table.len()];
    let mut events = 0;
    for ((row, seed), seen) in jobs.iter().zip(&seen) {
        *verdicts.entry(seen.verdict).or_default() += 1;
        witnessed[*row] |= seen.lost > 0;
        shown[*row] |= seen.verdict != Verdict::Vacuous;
        events += seen.trace_len;
        if seen.verdict == Verdict::Broken {
            complaints.push(format!("{} seed {seed}: {:?}", table[*row].id, seen.findings));
        } else if table[*row].ours == Ours::Never && seen.lost > 0 {
            complaints.push(format!("{} seed {seed}: {} lost", table[*row].id, seen.lost));
        }
    }
    for row in (0..table.len()).filter(|row| !shown[*row]) {
        complaints.push(format!("{}: vacuous under every seed", table[row].id));
    }
    println!("{} rows x {SEEDS} seeds, {events} events: {verdicts:?}", table.len());
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));

    let open: Vec<&MatrixRow> = (0..table.len())
        .filter(|row| permits_a_loss(&table[*row]) && !witnessed[*row])
        .map(|row| &table[row])
        .collect();
    let may = table.iter().filter(|row| permits_a_loss(row)).count();
    println!("{may} rows permit a loss, {} showed one at once", may - open.len());
    every_permitted_loss_happens(&open);
}

/// Whether a row says that acknowledged messages may be lost, and there are seeds that show it.
fn permits_a_loss(row: &MatrixRow) -> bool {
    row.ours == Ours::May
}

/// Searches a witness for rows whose first seeds lost nothing.
fn every_permitted_loss_happens(open: &[&MatrixRow]) {
    let lacking = sweep(open, &SweepOptions::quiet(), |row| {
        let mut seeds = SEEDS..SEARCHED_SEEDS;
        let witness = seeds.find(|seed| {
            let seen = see(row, *seed, &[]);
            assert_ne!(
                seen.verdict,
                Verdict::Broken,
                "{} seed {seed}: {:?}",
                row.id,
                seen.findings
            );
            seen.lost > 0
        });
        (witness, row.id.clone())
    });
    for (witness, id) in &lacking {
        println!("{id}: {}", witness.map_or("no witness".to_owned(), |at| format!("seed {at}")));
    }
    let without = lacking.iter().filter(|(witness, _)| witness.is_none()).count();
    assert_eq!(without, 0, "rows without a witness");
}

#[test]
fn upstream_switches_turn_rows_red() {
    let mut red = matrix_rows::all();
    red.retain(|row| !row.turned_red_by().is_empty());
    let found = sweep(&red, &SweepOptions::quiet(), |row| {
        let names: Vec<String> = row.turned_red_by().iter().map(ToString::to_string).collect();
        // A lost message or logs that differ: what an operator would notice.
        let is_seen = |seen: &Seen| {
            seen.checkers.contains(&Checker::AckedDurable)
                || seen.checkers.contains(&Checker::Replicas)
        };
        let seed = (0..SWITCH_SEEDS).find(|seed| is_seen(&see(row, *seed, &names)));
        let what = format!("{} with {}", row.id, names.join(", "));
        println!("{what}: {}", seed.map_or("stays green".to_owned(), |at| format!("seed {at}")));
        (what, seed)
    });
    let green: Vec<_> = found.iter().filter(|(_, seed)| seed.is_none()).map(|it| &it.0).collect();
    assert!(green.is_empty(), "{green:#?}");
    assert_eq!(found.len(), 26);
}

#[test]
fn a_switch_by_name_is_known_to_the_engine() {
    for row in matrix_rows::all() {
        for switch in row.turned_red_by() {
            assert_eq!(&switch.name().parse::<mq_store::config::UpstreamSwitch>().unwrap(), switch);
        }
    }
}
