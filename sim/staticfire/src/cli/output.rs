//! Where text goes: results to stdout, everything else to stderr. A closed pipe ends nothing.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use mq_broker::config::nearest;
use staticfire::campaign::{Outcome, Summary};
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

/// Colour for a stream that a person looks at, unless `NO_COLOR` says no.
#[expect(clippy::disallowed_methods, reason = "what a terminal shows")]
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

/// A file of the user's to write into.
///
/// # Errors
/// Names the file.
#[expect(clippy::disallowed_methods, reason = "the user's file, not a simulated one")]
pub(crate) fn create(path: &Path) -> Result<BufWriter<File>, String> {
    File::create(path).map(BufWriter::new).map_err(|error| format!("{}: {error}", path.display()))
}

/// `--json`: one object per run, in the order of the runs. It is created before anything runs.
pub(crate) struct JsonFile {
    file: Option<(PathBuf, BufWriter<File>)>,
    result: io::Result<()>,
}

impl JsonFile {
    /// The file at `path`, or none.
    pub(crate) fn create(path: Option<&Path>) -> Result<JsonFile, String> {
        let open = |path: &Path| Ok::<_, String>((path.to_owned(), create(path)?));
        Ok(JsonFile { file: path.map(open).transpose()?, result: Ok(()) })
    }

    /// Whether there is a file.
    pub(crate) fn is_wanted(&self) -> bool {
        self.file.is_some()
    }

    /// Writes the runs of each outcome.
    pub(crate) fn write(&mut self, outcomes: &[Outcome]) {
        outcomes.iter().flat_map(|outcome| &outcome.runs).for_each(|run| self.write_run(run));
    }

    /// Writes one run.
    pub(crate) fn write_run(&mut self, run: &Summary) {
        let Some((_, file)) = &mut self.file else { return };
        if let (Some(json), Ok(())) = (&run.json, &self.result) {
            self.result = writeln!(file, "{json}");
        }
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// What went wrong first.
    pub(crate) fn finish(self) -> Result<(), String> {
        let Some((path, mut file)) = self.file else { return Ok(()) };
        self.result
            .and_then(|()| file.flush())
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}
