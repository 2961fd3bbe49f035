//! Made-up runs for tests of what is shown.

use std::collections::BTreeSet;

use staticfire::campaign::{Outcome, Summary};
use staticfire::run::report::{Finding, LostKey, RunReport, SCHEMA_VERSION, Verdict};
use staticfire_judge::check::{Checker, Violation};
use staticfire_judge::forensics::{Fate, Link};

/// Runs of seeds 0, 1, … that acknowledged 500 messages and lost these many.
pub(crate) fn outcome(lost: &[u32]) -> Outcome {
    Outcome { runs: (0..).zip(lost).map(|(seed, lost)| run(seed, *lost)).collect() }
}

/// Two runs, the second of which lost a message against its promise.
pub(crate) fn broken() -> Outcome {
    let mut outcome = outcome(&[0, 1]);
    let run = &mut outcome.runs[1];
    let text = "acknowledged message k000007 is lost";
    let violation = Violation::new(Checker::AckedDurable, text).of(7).at(1_042);
    run.report.verdict = Verdict::Broken;
    run.report.findings = vec![Finding::new(Verdict::Broken, violation.to_string())];
    run.report.lost_keys[0].permitted = false;
    run.violations = vec![violation];
    outcome
}

/// Two runs that showed nothing.
pub(crate) fn vacuous() -> Outcome {
    let mut outcome = outcome(&[0, 0]);
    for run in &mut outcome.runs {
        run.report.verdict = Verdict::Vacuous;
        run.report.findings = vec![Finding::new(Verdict::Vacuous, "kill of a had no effect")];
    }
    outcome
}

fn run(seed: u64, lost: u32) -> Summary {
    let reason = "not synced (#9 reached 4096) when power was lost (#12); a ends at 4096 (#15)";
    let key = LostKey { key: "k000007".to_owned(), reason: reason.to_owned(), permitted: true };
    let link =
        Link { ordinal: 12, at_us: 1_204_000, source: "a".into(), text: "lost power".into() };
    let fate = Fate { links: vec![link], reason: reason.to_owned() };
    let told = usize::from(lost > 0);
    let report = RunReport {
        schema_version: SCHEMA_VERSION,
        scenario: "s".to_owned(),
        seed,
        mode: "ASYNC_MASTER + ASYNC_FLUSH".to_owned(),
        fault: "kill".to_owned(),
        recovery: "restart".to_owned(),
        verdict: Verdict::Kept,
        findings: Vec::new(),
        sent: 510,
        acked: 500,
        unknown: 10,
        delivered: 520,
        lost,
        expired: 0,
        deleted: 0,
        skipped: 0,
        passed_over: 0,
        redelivered: 0,
        redelivery_lost: 0,
        dead_letters: 0,
        queue_moves: 0,
        needless_moves: 0,
        duplicated: 20,
        lost_keys: vec![key; told],
        bitten: vec!["kill of a".to_owned()],
        rpo_ms: u64::from(lost) * 61,
        unavailable_ms: Some(4_060 + seed),
        sim_ms: 60_000,
        wall_ms: 100,
        trace_digest: "00ff".to_owned(),
        repro: "staticfire replay s --seed 0".to_owned(),
    };
    Summary {
        report,
        bitten: BTreeSet::new(),
        violations: Vec::new(),
        fates: vec![fate; told],
        json: None,
    }
}
