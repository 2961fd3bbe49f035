//! Whole runs, small ones.

use super::*;

use crate::run::report::Verdict;

/// A story of a SYNC_MASTER whose slave is cut off for a second, with this broker key.
fn story_with(property: &str) -> Plan {
    let text = format!(
        r#"
title = "t"
holds = "h"
[cluster]
namesrv = 1
[cluster.properties]
{property}
[[cluster.group]]
name = "a"
role = "SYNC_MASTER"
flush = "ASYNC_FLUSH"
slaves = 1
[workload]
messages = 100
[[event]]
at = "1s"
do = {{ partition = {{ between = ["a", "a-s"] }} }}
[[event]]
when = "previous"
delay = "1s"
do = {{ heal = {{ between = ["a", "a-s"] }} }}
[check]
promise = "never"
"#
    );
    Plan::parse(&text).unwrap()
}

#[test]
fn a_quiet_run_keeps_everything() {
    let mut plan = story_with("");
    plan.events.clear();
    let report = run(&plan, 1, "-").report;
    assert_eq!(
        (report.verdict, report.acked),
        (Verdict::Kept, report.sent),
        "{:?}",
        report.findings
    );
}

#[test]
fn settings_under_which_nothing_is_acknowledged_break_no_promise() {
    let report = run(&story_with("slaveTimeout = \"0\""), 1, "-").report;
    assert_eq!((report.verdict, report.acked), (Verdict::Vacuous, 0), "{:?}", report.findings);
    let text = "a acknowledged nothing even before the first fault, but FLUSH_SLAVE_TIMEOUT";
    assert!(report.findings.iter().any(|it| it.text == text), "{:?}", report.findings);
}

#[test]
fn heartbeats_without_an_interval_come_every_millisecond() {
    let outcome = run(&story_with("haSendHeartbeatInterval = \"0\""), 1, "-");
    let report = &outcome.report;
    assert_eq!(report.verdict, Verdict::Kept, "{:?}", report.findings);
    let a_millisecond = outcome.stats.task_polls / report.sim_ms;
    assert!(a_millisecond < 50, "{:?}", outcome.stats);
}
