//! `staticfire-portable STORY.toml SEED`: tells one story and prints its report as a line of JSON,
//! without the one field that says what the run cost.
//!
//! It builds for every target that `staticfire` builds for as a library, `wasm32-wasip1` among them:
//! `tests/node.rs` compares what it prints there with what it prints here.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]

use std::path::Path;
use std::process::ExitCode;

use staticfire::campaign::subject::Subject;
use staticfire::run::report::RunReport;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match told(&args) {
        Ok(report) => {
            println!("{}", report.to_json());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("staticfire-portable: {why}");
            ExitCode::from(64)
        }
    }
}

fn told(args: &[String]) -> Result<RunReport, String> {
    let [story, seed] = args else {
        return Err("expected STORY.toml SEED".to_owned());
    };
    let seed = seed.parse().map_err(|_| format!("{seed:?} is no seed"))?;
    let subject = Subject::read(Path::new(story))?;
    let outcome = staticfire::run::run(&subject.plan(seed), seed, &subject.explain(seed));
    Ok(outcome.report.without_wall_time())
}
