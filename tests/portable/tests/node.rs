//! The same stories in the machine's own code and in WebAssembly under Node: equal reports, digests of the
//! traces included. A pointer has 32 bits there, nothing maps memory, and there is no second thread.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::disallowed_methods, reason = "runs programs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use mq_tests::skip::skipped;

/// Stories with small CommitLog files: WebAssembly has no memory for files that are mostly holes. They
/// kill, cut the power, destroy a disk, promote, and recover twice.
const STORIES: [&str; 3] = [
    "scenarios/ha/slave-dies-twice-while-catching-up.toml",
    "scenarios/store/power-loss-during-recovery.toml",
    "scenarios/store/transient-pool-kill.toml",
];

const SEEDS: [&str; 2] = ["1", "2"];

/// Builds the program; `.ci/run` does so where the target is installed.
const BUILD: &str = "cargo build --package staticfire-portable --target wasm32-wasip1";

#[test]
fn webassembly_tells_the_same_stories() {
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let program = target_dir.join("wasm32-wasip1/debug/staticfire-portable.wasm");
    if let Some(reason) = missing(&program) {
        skipped("the stories under WebAssembly", &reason);
        return;
    }
    for story in STORIES {
        for seed in SEEDS {
            let native = Command::new(env!("CARGO_BIN_EXE_staticfire-portable"));
            let mut node = Command::new("node");
            // V8's compiler threads now and then end Node 20 with a segmentation fault.
            node.args(["--no-warnings", "--single-threaded"]);
            node.arg(here("run.mjs")).args([&program, &root()]);
            let (native, wasm) = (report(native, story, seed), report(node, story, seed));
            assert!(native.contains(r#""verdict":"kept""#), "{native}");
            assert_eq!(native, wasm, "{story} seed {seed}");
        }
    }
}

/// What the machine lacks. The program takes minutes to build, which no test does unasked.
fn missing(program: &Path) -> Option<String> {
    let version = Command::new("node").arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version.unwrap_or_else(|| "none".to_owned());
    let major = version.strip_prefix('v').and_then(|it| it.split('.').next()?.parse::<u32>().ok());
    if !matches!(major, Some(20..)) {
        return Some(format!("no Node 20 or later ({})", version.trim()));
    }
    let Ok(built) = program.metadata().and_then(|file| file.modified()) else {
        return Some(format!("not built (rustup target add wasm32-wasip1; {BUILD})"));
    };
    let sources = std::fs::read_to_string(program.with_extension("d")).unwrap();
    let (_, sources) = sources.split_once(": ").unwrap();
    let newer = sources.split_whitespace().find(|source| {
        Path::new(source).metadata().and_then(|file| file.modified()).is_ok_and(|it| it > built)
    });
    newer.map(|source| format!("older than {source} ({BUILD})"))
}

/// The line that the program prints about a story.
fn report(mut command: Command, story: &str, seed: &str) -> String {
    let output = command.current_dir(root()).args([story, seed]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story} seed {seed}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The project's root, where names of stories begin.
fn root() -> PathBuf {
    here("../..").canonicalize().unwrap()
}
