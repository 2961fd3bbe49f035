//! The command as a shell sees it: exit codes, and what goes to stdout and to stderr.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `staticfire` in the repository's root.
fn staticfire(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_staticfire"));
    command.current_dir(root).args(args).output().expect("the command starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs, checks the exit code and that stderr has `text`; returns stdout.
#[track_caller]
fn check(args: &[&str], code: i32, text: &str) -> String {
    let output = staticfire(args);
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(text), "{args:?}: {text:?} not in {stderr:?}");
    stdout(&output)
}

#[test]
fn without_arguments_it_shows_every_command_with_an_example() {
    let help = check(&[], 0, "");
    for command in ["conf", "run", "matrix", "replay", "check-determinism"] {
        assert!(help.contains(&format!("\n  {command}")), "{help}");
        assert!(help.contains(&format!("\n  staticfire {command} ")), "{help}");
    }
    assert_eq!(check(&["--help"], 0, ""), help);
    assert!(check(&["--version"], 0, "").starts_with("staticfire "));
}

#[test]
fn the_examples_of_the_help_are_accepted() {
    let help = check(&[], 0, "");
    let examples = help.lines().filter_map(|line| line.strip_prefix("  staticfire "));
    assert_eq!(examples.clone().count(), 5);
    for example in examples {
        let output = staticfire(&example.split(' ').collect::<Vec<_>>());
        assert!(!stderr(&output).contains("--help"), "{example}: {}", stderr(&output));
    }
}

#[test]
fn bad_arguments_exit_with_64() {
    check(&["burn"], 64, "unrecognized subcommand");
    check(&["conf"], 64, "<DIR>");
    check(&["run"], 64, "<PATH>");
    check(&["run", "scenarios", "--seeds", "7"], 64, "expected A..B");
    check(&["run", "scenarios", "--jobs", "0"], 64, "--jobs");
    check(&["matrix", "--upstream", "send-unflush"], 64, "did you mean send-unflushed?");
    check(&["replay", "scenarios/ha/flapping-link.toml"], 64, "--seed");
    check(&["conf", "scenarios/conf/noslave-2m", "--fault", "fire"], 64, "no fault");
    check(&["conf", "scenarios/conf/noslave-2m", "--set", "flushDiskType"], 64, "key=value");
    check(&["conf", "scenarios/conf/noslave-2m", "--lint", "--max-lost", "1"], 64, "--max-lost");
}

#[test]
fn bad_scenarios_exit_with_64() {
    check(&["run", "scenarios/no-such.toml"], 64, "no-such.toml: No such file");
    check(&["run", "scenarios/conf"], 64, "no .toml file below it");
    check(&["check-determinism", "scenarios/expected-matrix.csv"], 64, "expected-matrix.csv: ");
    check(&["replay", "Cargo.toml", "--seed", "1"], 64, "Cargo.toml: ");
}

#[test]
fn lint_shows_topology_and_all_findings_on_stdout() {
    let text = check(&["conf", "scenarios/conf/hosts-2m-2s-sync", "--lint"], 0, "");
    assert!(text.starts_with(
        "rocketmq-cluster: 2 name servers, 2 masters, 2 slaves on 2 machines\n  192.168.200.120  "
    ));
    assert!(text.contains("\nbroker-a: SYNC_MASTER + SYNC_FLUSH, slave ASYNC_FLUSH\n"), "{text}");
    let warning =
        "\nwarning  broker-a.properties:11  mapedFileSizeCommitLog is not read since 4.5;";
    assert!(text.contains(warning), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("warning ")).count(), 26);
    assert!(!text.contains("--lint shows all"), "lint shows all");
    assert!(!text.contains('\x1b'), "no colour without a terminal");
}

#[test]
fn lint_exits_with_64_on_errors() {
    let set = "broker-a.brokerRole=SYNCMASTER";
    let args = ["conf", "scenarios/conf/noslave-2m", "--lint", "--set", set];
    let text = check(&args, 64, "");
    assert!(text.starts_with(
        "error: brokerRole = \"SYNCMASTER\" is no role\n  \
         broker-a.properties (--set)  brokerRole=SYNCMASTER\n  \
         allowed: ASYNC_MASTER, SYNC_MASTER, SLAVE     did you mean SYNC_MASTER?\n"
    ));
    assert!(text.ends_with("\n1 error, 12 warnings\n"), "{text}");
    let missing = check(&["conf", "no/such/directory", "--lint"], 64, "");
    assert!(missing.contains("no/such/directory cannot be read"), "{missing}");
}

#[test]
fn set_changes_what_lint_sees() {
    let set = "broker-a-s.flushDiskType=SYNC_FLUSH";
    let dir = "scenarios/conf/hosts-2m-2s-sync";
    let text = check(&["conf", dir, "--lint", "--set", set], 0, "");
    assert!(text.contains("\nbroker-a: SYNC_MASTER + SYNC_FLUSH, slave SYNC_FLUSH\n"), "{text}");
    assert!(text.contains("\nbroker-b: SYNC_MASTER + SYNC_FLUSH, slave ASYNC_FLUSH\n"), "{text}");
}

#[test]
fn conf_puts_errors_on_stderr_and_summarises_findings() {
    let dledger = "scenarios/conf/dledger-1m-2s";
    let nothing = check(&["conf", dledger], 64, "n0.properties:4  enableDLegerCommitLog=true");
    assert_eq!(nothing, "");
    let filter = ["conf", "scenarios/conf/noslave-2m", "--fault", "lag_slave"];
    assert_eq!(check(&filter, 64, "fits no group of this cluster"), "");
    let text = check(&["conf", "scenarios/conf/noslave-2m"], 64, "not built yet");
    assert!(text.contains("   … 10 more of these two kinds (--lint shows all)\n"), "{text}");
}

#[test]
fn commands_without_a_runner_say_so_and_print_no_results() {
    let story = "scenarios/ha/flapping-link.toml";
    for args in [
        &["run", "scenarios"][..],
        &["matrix", "--seeds", "3"],
        &["replay", story, "--seed", "1"],
        &["check-determinism", story],
    ] {
        assert_eq!(check(args, 64, "not built yet"), "", "{args:?}");
    }
}
