//! Whole runs, small ones.

use super::*;

fn story(events: &str, check: &str) -> Plan {
    let text = format!(
        "title = \"t\"\nholds = \"h\"\n[cluster]\nnamesrv = 1\n[[cluster.group]]\nname = \"a\"\n\
         role = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\nslaves = 1\n[workload]\nmessages = 100\n{events}\n[check]\n{check}\n"
    );
    Plan::parse(&text).unwrap()
}

#[test]
fn a_quiet_run_keeps_everything() {
    let outcome = run(&story("", "promise = \"never\""), 1, "-");
    if outcome.report.verdict != crate::run::report::Verdict::Kept {
        println!("{}", outcome.trace);
    }
    println!("{:#?}\n{:?}", outcome.report, outcome.stats);
    assert_eq!(outcome.report.verdict, crate::run::report::Verdict::Kept, "{:#?}", outcome.report);
    assert_eq!(outcome.report.acked, outcome.report.sent);
}
