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

#[test]
fn replay_tells_the_story_of_one_message() {
    let replay = |key: &str, code: i32, complaint: &str| {
        check(
            &["replay", "scenarios/order/calm.toml", "--seed", "1", "--key", key],
            code,
            complaint,
        )
    };
    assert_eq!(
        replay("first", 64, "--key first: a message is named by its key, such as k000217"),
        ""
    );
    replay("k999999", 64, "--key k999999: nobody sent it; this run sent k000000 to k0");
    for key in ["k000003", "3"] {
        let text = replay(key, 0, "");
        let (_, story) = text.split_once("\nk000003\n").expect("its story");
        for part in [
            ": SEND_OK, at a Orders queue ",
            "  stored at ",
            "has a copy of ",
            "delivered to ledger from a ",
        ] {
            assert!(story.contains(part), "{part}: {story}");
        }
        assert!(story.contains("ledger committed "), "{story}");
        assert!(
            !story.contains("k000004") && story.lines().all(|line| line.starts_with("  #")),
            "{story}"
        );
    }
}
