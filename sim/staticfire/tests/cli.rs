//! The command as a shell sees it: exit codes, and what goes to stdout and to stderr.

use std::path::Path;
use std::process::{Command, Output};

#[cfg(not(feature = "plants"))]
use mq_store::{config::UpstreamSwitch, plant::Plant};

#[path = "cli/conf.rs"]
mod conf;
#[path = "cli/stories.rs"]
mod stories;
#[path = "cli/store.rs"]
mod store;

/// Runs `staticfire` in the repository's root.
#[expect(clippy::disallowed_methods, reason = "the command itself")]
fn staticfire(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_staticfire"));
    command.current_dir(root).args(args).output().expect("the command starts")
}

#[expect(clippy::disallowed_methods, reason = "a file of the test's, not a simulated one")]
fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect("the command wrote it")
}

#[cfg(not(feature = "plants"))]
#[expect(clippy::disallowed_methods, reason = "the command itself, not a simulated file")]
fn read_bytes(path: &str) -> Vec<u8> {
    std::fs::read(path).expect("the command was built")
}

#[expect(clippy::disallowed_methods, reason = "a file of the test's, not a simulated one")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the directory is ours");
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
    for command in ["conf", "run", "matrix", "swarm", "replay", "check-determinism", "store"] {
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
    assert_eq!(examples.clone().count(), 7);
    for example in examples {
        // An argument that does not exist is refused after the others were accepted.
        let mut args: Vec<&str> = example.split(' ').collect();
        args.push("--no-such-option");
        check(&args, 64, "unexpected argument '--no-such-option'");
    }
}

#[test]
fn bad_arguments_exit_with_64() {
    check(&["burn"], 64, "unrecognized subcommand");
    check(&["conf"], 64, "<DIR>");
    check(&["run"], 64, "<PATH>");
    check(&["run", "scenarios", "--seeds", "7"], 64, "expected A..B");
    check(&["run", "scenarios", "--jobs", "0"], 64, "--jobs");
    check(&["matrix", "--row", "no-such-row"], 64, "no row of the matrix has");
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
    let twice = ["conf", dledger, "--set", "n1.dLegerSelfId=n0"];
    let nothing = check(&twice, 64, "two members of broker-a are n0");
    assert_eq!(nothing, "");
    let filter = ["conf", "scenarios/conf/noslave-2m", "--fault", "lag_slave"];
    assert_eq!(check(&filter, 64, "fits no group of this cluster"), "");
}

/// A directory for files that a test writes.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn conf_measures_a_row_and_its_commands_repeat_it() {
    let dir = "scenarios/conf/noslave-2m";
    let scratch = scratch();
    let json = scratch.path().join("runs.jsonl");
    let json = json.to_str().expect("UTF-8");
    let filter = ["--fault", "power_master", "--seeds", "0..3"];
    let text = check(&[&["conf", dir, "--json", json], &filter[..]].concat(), 0, "");
    assert!(text.contains("   … 10 more of these two kinds (--lint shows all)\n"), "{text}");
    let modes = "ASYNC_MASTER + ASYNC_FLUSH, no slave";
    assert!(text.contains(&format!("broker-a: {modes} · 3 seeds a row, 500 messages a seed\n")));
    assert!(text.contains("  power loss of master  restart     may ≤ master_unflushed"), "{text}");
    assert!(text.contains("→ flushDiskType=SYNC_FLUSH on broker-a\n"), "{text}");
    assert!(text.contains("broker-b: as broker-a: nothing but names and addresses"), "{text}");
    let all = check(&[&["conf", dir, "--all"], &filter[..]].concat(), 0, "");
    assert!(!all.contains("as broker-a") && all.contains("\nbroker-b: ASYNC_MASTER"), "{all}");

    // Every command that the table ends with is accepted and shows the same run.
    let replay = text.lines().find_map(|line| line.strip_prefix("  staticfire replay "));
    let replay = replay.expect("a command to go on with");
    assert!(replay.starts_with(&format!("conf:{dir}#broker-")), "{replay}");
    let args: Vec<&str> = std::iter::once("replay").chain(replay.split(' ')).collect();
    let told = check(&args, 0, "");
    assert!(told.contains("promise: may lose master_unflushed") && told.contains("\nlost: k"));
    let what_if = "  staticfire conf scenarios/conf/noslave-2m --set broker-";
    assert!(text.contains(what_if), "{text}");

    // The objects come in the order of rows and seeds, and each knows its command.
    let lines = read(json);
    let reports: Vec<staticfire::run::report::RunReport> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a report")).collect();
    let places: Vec<_> = reports.iter().map(|r| (r.scenario.as_str(), r.seed)).collect();
    let a = "broker-a/power_master/restart";
    assert_eq!(places, [(a, 0), (a, 1), (a, 2)]);
    assert_eq!(reports[1].repro, format!("staticfire replay conf:{dir}#{a} --seed 1"));
    assert!(told.contains(&reports.iter().max_by_key(|r| r.lost).expect("some").trace_digest));
}

#[test]
fn limits_exit_with_1_and_name_row_and_seed() {
    let dir = "scenarios/conf/noslave-2m";
    let runs = ["conf", dir, "--fault", "disk_master", "--seeds", "0..1", "--all"];
    let text = check(&[&runs[..], &["--max-lost", "3"]].concat(), 1, "");
    assert!(text.contains("\nLIMIT  broker-a/disk_master/restart  seed 0: "), "{text}");
    assert!(text.contains(" lost, --max-lost is 3\n  explain:  staticfire replay conf:"), "{text}");
    let text = check(&[&runs[..], &["--max-rpo", "1"]].concat(), 1, "");
    assert!(text.contains("--max-rpo is 1 ms"), "{text}");
    let text = check(&[&runs[..], &["--max-lost", "100000"]].concat(), 0, "");
    assert!(!text.contains("LIMIT") && text.contains("  restart     all  "), "{text}");
}

#[test]
fn what_if_shows_the_rows_that_differ() {
    let dir = "scenarios/conf/noslave-2m";
    let set = ["--set", "flushDiskType=SYNC_FLUSH", "--seeds", "0..2"];
    let faults = ["--fault", "power_master", "--fault", "kill_master"];
    let text = check(&[&["conf", dir], &set[..], &faults[..]].concat(), 0, "");
    let modes = "ASYNC_MASTER + ASYNC_FLUSH, no slave, then ASYNC_MASTER + SYNC_FLUSH, no slave";
    assert!(text.contains(&format!("broker-a: now {modes}\n")), "{text}");
    assert!(text.contains("  power loss of master  restart     may ≤ master_unflushed  never"));
    assert!(!text.contains("  process kill of master"), "{text}");
    assert_eq!(text.matches("  1 row stayed the same\n").count(), 2, "{text}");
}

#[test]
fn conf_shows_what_a_transient_pool_costs() {
    let scratch = scratch();
    let properties = "brokerName=broker-a\nbrokerIP1=10.3.0.1\nnamesrvAddr=10.3.0.9:9876\n\
                      transientStorePoolEnable=true\n";
    write(&scratch.path().join("broker-a.properties"), properties);
    let dir = scratch.path().to_str().expect("UTF-8");
    let args =
        ["conf", dir, "--fault", "kill_master", "--fault", "power_master", "--seeds", "0..4"];
    let text = check(&args, 0, "");
    assert!(text.contains("broker-a: ASYNC_MASTER + ASYNC_FLUSH + transient store pool, no slave"));
    assert!(text.contains("if it is killed, they are lost"), "{text}");
    let kill = text.lines().find(|line| line.starts_with("  process kill of master"));
    let kill = kill.expect("a row");
    assert!(kill.contains("may ≤ master_uncommitted"), "{text}");
    assert!(text.contains("→ transientStorePoolEnable=false on broker-a"), "{text}");
    assert!(text.contains("may ≤ master_unflushed+master_uncommitted"), "{text}");
}

#[test]
fn run_judges_a_scenario_and_tells_a_broken_promise() {
    let story = "scenarios/ha/flapping-link.toml";
    let text = check(&["run", story, "--seeds", "0..2"], 0, "");
    assert!(text.starts_with("  verdict  scenario "), "{text}");
    assert!(text.contains(&format!("  kept     {story} ")), "{text}");
    assert!(text.contains("\n2 runs of 1 scenario: 0 broken, 0 vacuous, 0 undecided; "), "{text}");

    let scratch = scratch();
    let wrong = scratch.path().join("wrong.toml");
    let plan = "title = \"wrong\"\nholds = \"what no ASYNC_FLUSH keeps\"\n[cluster]\nnamesrv = 1\n\
                [[cluster.group]]\nname = \"a\"\nrole = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\n\
                [workload]\nmessages = 100\n[[event]]\nwhen = { acks = 40 }\n\
                do = { power_loss = { node = \"a\" } }\n[[event]]\nwhen = \"previous\"\n\
                do = { restart = { node = \"a\" } }\n[check]\npromise = \"never\"\n";
    write(&wrong, plan);
    let wrong = wrong.to_str().expect("UTF-8");
    let text = check(&["run", wrong, "--seeds", "0..3"], 1, "");
    assert!(text.contains(&format!("\nBROKEN  {wrong}  seed ")), "{text}");
    assert!(text.contains("(checker: acked durable"), "{text}");
    assert!(text.contains("  lost: k") && text.contains("NOT PERMITTED: "), "{text}");
    let command = format!("  explain:  staticfire replay {wrong} --seed ");
    let seed = text.split(&command).nth(1).and_then(|rest| rest.lines().next());
    let seed: u64 = seed.and_then(|seed| seed.parse().ok()).expect("a command");
    let rerun = format!("  rerun:    staticfire run {wrong} --seeds {seed}..{}\n", seed + 1);
    assert!(text.contains(&rerun), "{text}");
    let seed = &seed.to_string();
    check(&["replay", wrong, "--seed", seed], 1, "");
}

#[test]
fn runs_that_show_nothing_exit_with_2() {
    let scratch = scratch();
    let idle = scratch.path().join("idle.toml");
    let plan = "title = \"idle\"\nholds = \"nothing\"\n[cluster]\nnamesrv = 1\n\
                [[cluster.group]]\nname = \"a\"\nrole = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\n\
                [workload]\nmessages = 40\n[check]\npromise = \"may\"\nbound = \"lag\"\n\
                expect_loss = true\n";
    write(&idle, plan);
    let idle = idle.to_str().expect("UTF-8");
    let text = check(&["run", idle, "--seeds", "0..1"], 2, "");
    assert!(text.contains("  vacuous 1/1  "), "{text}");
    assert!(text.contains("the story wants a loss and there is none\n"), "{text}");
    check(&["replay", idle, "--seed", "0"], 2, "");
}

#[test]
fn matrix_shows_ours_beside_upstream() {
    let args = ["matrix", "--row", "ASYNC_FLUSH/none/-/power", "--seeds", "3"];
    let text = check(&args, 0, "");
    assert!(text.starts_with("ASYNC_MASTER + ASYNC_FLUSH, no slave\n  fault "), "{text}");
    assert!(text.contains("may ≤ master_unflushed ") && text.contains(", first seed "), "{text}");
    let with = check(&[&args[..], &["--upstream", "dispatch-unflushed"]].concat(), 0, "");
    assert!(with.contains("  with dispatch-unflushed"), "{with}");
}

#[test]
fn replay_tells_the_story_and_writes_the_trace() {
    let scratch = scratch();
    let trace = scratch.path().join("trace.txt");
    let trace = trace.to_str().expect("UTF-8");
    let row = "matrix:ASYNC_FLUSH/none/-/kill_master/restart";
    let text = check(&["replay", row, "--seed", "1", "--trace", trace], 0, "");
    assert!(text.contains(": kill a\n") && text.contains(": restart a\n"), "{text}");
    assert!(text.contains("\nkept  ASYNC_MASTER + ASYNC_FLUSH\n"), "{text}");
    assert!(text.contains("faults that bit: kill of a\n"), "{text}");
    let lines = read(trace);
    assert!(lines.lines().enumerate().all(|(n, line)| line.starts_with(&format!("#{n} "))));
    check(&["replay", "matrix:nothing", "--seed", "1"], 64, "is no row of the matrix");
    check(&["replay", row, "--seed", "1", "--set", "a=b"], 64, "--set has no meaning");
}

#[test]
fn equal_traces_are_said_to_be_equal() {
    let story = "scenarios/ha/flapping-link.toml";
    let text = check(&["check-determinism", story, "--seeds", "0..1"], 0, "");
    assert!(text.starts_with(&format!("equal    {story}  1 seed, ")), "{text}");
    assert!(text.ends_with("\n1 seed run three times (once on another thread): all equal\n"));
}

/// Planted bugs have names only in builds with the feature `plants`.
#[test]
#[cfg(not(feature = "plants"))]
fn the_command_knows_no_plant() {
    let bytes = read_bytes(env!("CARGO_BIN_EXE_staticfire"));
    let text = String::from_utf8_lossy(&bytes);
    let holds = |name: &str| text.contains(name);
    // What the command does know is found, so that a missing name means something.
    assert!(holds("flush-error-counts-as-done"));
    // One plant shares its name with an upstream switch.
    let is_switch = |name: &str| UpstreamSwitch::ALL.iter().any(|switch| switch.name() == name);
    let plants = Plant::all().map(Plant::name).filter(|name| !is_switch(name));
    for plant in plants {
        assert!(!holds(plant), "{plant}");
    }
}
