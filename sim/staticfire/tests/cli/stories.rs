//! The same stories told in two processes, and in a test of somebody's.

use std::path::Path;

use staticfire::testing;

use super::{check, read, staticfire, stdout, write};

/// Three machines and a destroyed disk; a recovery that is interrupted; messages in memory alone.
const STORIES: [&str; 3] = [
    "scenarios/ha/slave-dies-twice-while-catching-up.toml",
    "scenarios/store/power-loss-during-recovery.toml",
    "scenarios/store/transient-pool-kill.toml",
];

/// Loses what it acknowledged, and must not.
const BROKEN: &str = r#"
title = "a promise that nobody can keep"
holds = "nothing is lost"
seeds = "3..5"
[cluster]
namesrv = 1
writeback_interval = "0ms"
[[cluster.group]]
name = "a"
role = "ASYNC_MASTER"
flush = "ASYNC_FLUSH"
[[event]]
when = { acks = 60 }
do = { destroy_disk = { node = "a" } }
[[event]]
when = "previous"
delay = "1s"
do = { restart = { node = "a" } }
[check]
promise = "never"
"#;

/// The reports of the stories under three seeds, told by one process, without what a run costs.
fn reports(dir: &Path, jobs: &str) -> Vec<serde_json::Value> {
    let file = dir.join(format!("{jobs}.json"));
    let json = file.to_str().expect("UTF-8");
    let mut args = vec!["run", "--seeds", "4..7", "--jobs", jobs, "--json", json];
    args.extend(STORIES);
    check(&args, 0, "");
    let reports = read(json);
    let reports = reports.lines().map(|line| {
        let mut report: serde_json::Value = serde_json::from_str(line).expect("a report");
        assert!(report.as_object_mut().expect("an object").remove("wall_ms").is_some());
        report
    });
    reports.collect()
}

#[test]
fn two_processes_tell_the_same_stories() {
    let dir = tempfile::tempdir().expect("a directory");
    // One tells them in order, the other on two threads.
    let (first, second) = (reports(dir.path(), "1"), reports(dir.path(), "2"));
    assert_eq!(first, second);
    let digests: std::collections::BTreeSet<&str> =
        first.iter().filter_map(|report| report["trace_digest"].as_str()).collect();
    assert_eq!(digests.len(), 3 * STORIES.len(), "every seed is a run of its own");
}

#[test]
fn a_test_fails_with_the_words_of_the_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("broken.toml");
    write(&file, BROKEN);
    let text = testing::told(&file).expect_err("it is broken");
    let explain = format!("explain:  staticfire replay {} --seed 3", file.display());
    assert!(text.starts_with("\nBROKEN  ") && text.contains(&explain), "{text}");
    let output = staticfire(&["run", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains(&text), "{text}\nnot in\n{}", stdout(&output));

    write(&file, "title = 1");
    let text = testing::told(&file).expect_err("it is no story");
    check(&["run", file.to_str().expect("UTF-8")], 64, &text);
}

#[test]
fn a_kept_story_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    testing::check(root.join("scenarios/store/power-loss-during-recovery.toml"));
}
