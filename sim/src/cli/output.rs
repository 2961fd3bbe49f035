//! Where text goes: results to stdout, everything else to stderr. A closed pipe ends nothing.

use std::io::{self, IsTerminal, Write};

use mq_broker::config::nearest;
use staticfire::conf::render::Colour;

use crate::cli::Exit;

/// Writes a result.
pub(crate) fn result(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Writes what is wrong with the input, a paragraph that begins with `error:`.
pub(crate) fn complaint(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says that the input is of no use, and why.
pub(crate) fn bad_input(why: &str) -> Exit {
    complaint(&format!("error: {why}\n"));
    Exit::BadInput
}

/// Says that this build cannot do what it was asked.
pub(crate) fn not_built(what: &str) -> Exit {
    bad_input(&format!("{what}: the runner is not built yet, nothing was run"))
}

/// Colour for a stream that a person looks at, unless `NO_COLOR` says no.
pub(crate) fn colour(stream: &impl IsTerminal) -> Colour {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !is_refused { Colour::On } else { Colour::Off }
}

/// Adds to a complaint about `word` what it could be.
pub(crate) fn with_advice(complaint: impl Into<String>, word: &str, names: &[&str]) -> String {
    let mut complaint = complaint.into();
    if let Some(meant) = nearest(word, names.iter().copied()) {
        complaint += &format!("; did you mean {meant}?");
    }
    complaint + &format!(" (allowed: {})", names.join(", "))
}
