//! Stories in the tests of other crates.
//!
//! ```no_run
//! #[test]
//! fn the_slave_takes_over() {
//!     staticfire::testing::check("stories/the-slave-takes-over.toml");
//! }
//! ```

use std::path::Path;

use crate::campaign::seeds::SeedRange;
use crate::campaign::subject::Subject;
use crate::campaign::{self, Options, Outcome};
use crate::conf::render::Colour;
use crate::failures;

/// Tells a scenario file under the seeds that it names, as `staticfire run` does. Relative paths begin
/// where cargo runs tests: in the directory of the crate's `Cargo.toml`.
///
/// # Panics
/// When a run is not kept, with what the command line prints below its table: what is broken, or what
/// proves nothing, why, and the command that tells it again. And when the file is no story.
#[track_caller]
pub fn check(scenario: impl AsRef<Path>) {
    if let Err(text) = told(scenario.as_ref()) {
        panic!("{text}");
    }
}

/// As [`check`], with the runs and their reports as a value.
///
/// # Errors
/// The text with which [`check`] panics.
pub fn told(scenario: &Path) -> Result<Outcome, String> {
    let subject = Subject::read(scenario).map_err(bad_input)?;
    let seeds = own_seeds(&subject).map_err(bad_input)?;
    let mut outcomes = campaign::run(&[(&subject, seeds)], &Options::default());
    let outcome = outcomes.remove(0);
    let text = failures::told(&subject, &outcome, Colour::Off);
    if text.is_empty() { Ok(outcome) } else { Err(text) }
}

/// The seeds that a scenario names.
///
/// # Errors
/// What it names is no range.
pub fn own_seeds(scenario: &Subject) -> Result<SeedRange, String> {
    let in_file = scenario.plan(0).seeds;
    in_file
        .parse()
        .map_err(|why: String| format!("{}: seeds = {in_file:?}: {why}", scenario.name()))
}

fn bad_input(why: String) -> String {
    format!("error: {why}\n")
}
