//! The same stories in the machine's own code and in WebAssembly under Node: equal reports, digests of the
//! traces included. A pointer has 32 bits there, nothing maps memory, and there is no second thread.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::disallowed_methods, reason = "runs programs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use mq_tests::skip::skipped;

const TARGET: &str = "wasm32-wasip1";

/// Stories with small CommitLog files: WebAssembly has no memory for files that are mostly holes. They
/// kill, cut the power, destroy a disk, promote, and recover twice.
const STORIES: [&str; 3] = [
    "scenarios/ha/slave-dies-twice-while-catching-up.toml",
    "scenarios/store/power-loss-during-recovery.toml",
    "scenarios/store/transient-pool-kill.toml",
];

const SEEDS: [&str; 2] = ["1", "2"];

#[test]
fn webassembly_tells_the_same_stories() {
    if let Some(reason) = missing() {
        skipped("the stories under WebAssembly", &reason);
        return;
    }
    let program = built();
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

/// What the machine lacks.
fn missing() -> Option<String> {
    let libdir = printed(Command::new("rustc").args(["--print=target-libdir", "--target", TARGET]));
    if !libdir.is_some_and(|dir| Path::new(dir.trim()).is_dir()) {
        return Some(format!("no {TARGET} (rustup target add {TARGET})"));
    }
    let version = printed(Command::new("node").arg("--version"));
    let major = version.as_deref().and_then(|it| it.strip_prefix('v')?.split('.').next());
    match major.and_then(|it| it.parse::<u32>().ok()) {
        Some(20..) => None,
        _ => Some(format!("no Node 20 or later ({})", version.unwrap_or("none".into()).trim())),
    }
}

/// What a program prints when it exists and succeeds.
fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// The program for WebAssembly, as new as this test.
fn built() -> PathBuf {
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "staticfire-portable", "--target", TARGET]);
    cargo.args(["--config", "profile.dev.debug=false"]);
    cargo.arg("--target-dir").arg(target_dir).current_dir(root());
    assert!(cargo.status().unwrap().success(), "it does not build for {TARGET}");
    target_dir.join(TARGET).join("debug/staticfire-portable.wasm")
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
