//! Figures from made-up runs, and a small campaign.

use super::*;
use crate::run::report::SCHEMA_VERSION;

/// A run that acknowledged 100 messages and lost `lost`.
fn summary(seed: u64, lost: u32, verdict: Verdict) -> Summary {
    let report = RunReport {
        schema_version: SCHEMA_VERSION,
        scenario: "s".to_owned(),
        seed,
        mode: String::new(),
        fault: String::new(),
        recovery: String::new(),
        verdict,
        findings: Vec::new(),
        sent: 110,
        acked: 100,
        unknown: 1,
        delivered: 100,
        lost,
        expired: 0,
        deleted: 0,
        passed_over: 0,
        skipped: 0,
        redelivered: 0,
        redelivery_lost: 0,
        dead_letters: 0,
        queue_moves: 0,
        needless_moves: 0,
        duplicated: 2,
        lost_keys: Vec::new(),
        bitten: vec!["kill of a".to_owned()],
        rpo_ms: u64::from(lost) * 10,
        unavailable_ms: Some(seed * 100),
        sim_ms: 1_000,
        wall_ms: 10,
        trace_digest: String::new(),
        repro: String::new(),
    };
    Summary {
        report,
        bitten: BTreeSet::new(),
        violations: Vec::new(),
        fates: Vec::new(),
        json: None,
    }
}

#[test]
fn figures_add_up_and_name_the_first_seed() {
    let runs = vec![
        summary(0, 0, Verdict::Kept),
        summary(1, 3, Verdict::Kept),
        summary(2, 7, Verdict::Broken),
        summary(3, 7, Verdict::Vacuous),
    ];
    let figures = Outcome { runs }.figures();
    assert_eq!((figures.runs, figures.vacuous, figures.broken, figures.lossy), (4, 1, 1, 3));
    assert_eq!((figures.acked, figures.lost, figures.unknown, figures.duplicated), (400, 17, 4, 8));
    assert_eq!(figures.first_loss, Some(1));
    assert_eq!(figures.most_lost, Some(Worst { value: 7, seed: 2 }));
    assert_eq!(figures.rpo_ms, Some(Worst { value: 70, seed: 2 }));
    assert_eq!(figures.unavailable, Unavailable::Ms(300));
    assert_eq!(figures.unavailable_median, Unavailable::Ms(100), "of 0, 100, 200 and 300");
    assert_eq!((figures.bitten, figures.sim_ms), (4, 4_000));
}

#[test]
fn a_run_that_never_comes_back_is_the_worst() {
    let mut runs = vec![summary(0, 0, Verdict::Kept), summary(9, 0, Verdict::Kept)];
    runs[0].report.unavailable_ms = None;
    let figures = Outcome { runs }.figures();
    assert_eq!(figures.unavailable, Unavailable::ToTheEnd);
    assert_eq!(figures.unavailable_median, Unavailable::Ms(900));
}

#[test]
fn outcomes_agree_by_verdict_not_by_figure() {
    let figures = |lost, verdict| Outcome { runs: vec![summary(0, lost, verdict)] }.figures();
    let some = figures(5, Verdict::Kept);
    assert!(some.agrees_with(&figures(50, Verdict::Kept)));
    for (lost, verdict) in
        [(0, Verdict::Kept), (100, Verdict::Kept), (5, Verdict::Broken), (5, Verdict::Vacuous)]
    {
        assert!(!some.agrees_with(&figures(lost, verdict)), "{lost} {verdict}");
    }
    assert!(figures(100, Verdict::Kept).lost_all());
    assert!(figures(0, Verdict::Vacuous).is_vacuous());
}

#[test]
fn outcomes_come_in_the_order_of_subjects_and_seeds() {
    let row = |id: &str| Subject::parse(&format!("matrix:{id}"), &[], &[]).unwrap();
    let rows = [
        row("ASYNC_FLUSH/none/-/kill_master/restart"),
        row("ASYNC_FLUSH/none/-/power_master/restart"),
    ];
    let subjects = [(&rows[0], "3..5".parse().unwrap()), (&rows[1], "1..2".parse().unwrap())];
    let options = Options { json: true, ..Options::default() };
    let outcomes = run(&subjects, &options);
    let seen: Vec<Vec<(&str, u64)>> = outcomes
        .iter()
        .map(|o| o.runs.iter().map(|r| (r.report.fault.as_str(), r.report.seed)).collect())
        .collect();
    assert_eq!(seen, [vec![("kill", 3), ("kill", 4)], vec![("power_loss", 1)]]);
    let first = &outcomes[0].runs[0];
    assert_eq!(first.report.repro, rows[0].explain(3));
    let json: RunReport = serde_json::from_str(first.json.as_deref().unwrap()).unwrap();
    assert_eq!((json.seed, json.trace_digest), (3, first.report.trace_digest.clone()));
}
