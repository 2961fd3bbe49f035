//! What is said about runs that did not keep their promise: what happened, the chains of their messages,
//! and how to see it again. The command line and [`testing`](crate::testing) say the same.

use crate::campaign::subject::Subject;
use crate::campaign::{Outcome, Summary};
use crate::conf::render::Colour;
use crate::run::report::{Finding, LostKey, Verdict};
use staticfire_judge::forensics::Fate;

/// Violations told of one run.
const VIOLATIONS: usize = 5;

/// What `staticfire run` says, below its table, of the runs of a subject; empty where all of them are kept.
#[must_use]
pub fn told(subject: &Subject, outcome: &Outcome, colour: Colour) -> String {
    let is_unproven =
        |run: &&Summary| !matches!(run.report.verdict, Verdict::Kept | Verdict::Broken);
    let unproven: String =
        outcome.runs.iter().filter(is_unproven).map(|run| unproven(subject, run)).collect();
    broken(subject, outcome, colour) + &unproven
}

/// Tells the first broken run of a subject in full and names the seeds of the others.
#[must_use]
pub fn broken(subject: &Subject, outcome: &Outcome, colour: Colour) -> String {
    let mut runs = outcome.with(Verdict::Broken);
    let Some(first) = runs.next() else { return String::new() };
    let mut text = broken_run(subject, first, colour);
    let others: Vec<String> = runs.map(|run| run.report.seed.to_string()).collect();
    if !others.is_empty() {
        text += &format!("  also with --seed: {}\n", others.join(", "));
    }
    text
}

fn broken_run(subject: &Subject, run: &Summary, colour: Colour) -> String {
    let seed = run.report.seed;
    let mut text = format!("\n{}  {}  seed {seed}\n", painted("BROKEN", colour), subject.name());
    for violation in run.violations.iter().take(VIOLATIONS) {
        text += &format!("  {violation}\n");
    }
    if run.violations.len() > VIOLATIONS {
        text += &format!("  … {} more\n", run.violations.len() - VIOLATIONS);
    }
    let is_forbidden = |(key, _): &(&LostKey, &Fate)| !key.permitted;
    let forbidden = run.report.lost_keys.iter().zip(&run.fates).filter(is_forbidden);
    text += &chains(forbidden, "  ");
    let (rerun, explain) = (subject.rerun(seed), subject.explain(seed));
    if rerun != explain {
        text += &format!("  rerun:    {rerun}\n");
    }
    text + &format!("  explain:  {explain}\n")
}

/// The chains of lost messages.
#[must_use]
pub fn chains<'a>(lost: impl Iterator<Item = (&'a LostKey, &'a Fate)>, indent: &str) -> String {
    let mut text = String::new();
    for (key, fate) in lost {
        let verdict = if key.permitted { "permitted" } else { "NOT PERMITTED" };
        text += &format!("{indent}lost: {}  {verdict}: {}\n", key.key, key.reason);
        for link in &fate.links {
            text += &format!("{indent}  {}\n", link.to_string().trim_end());
        }
    }
    text
}

/// Why a run proves nothing.
#[must_use]
pub fn why_unproven(run: &Summary) -> &str {
    let decides = |it: &&Finding| it.verdict == run.report.verdict;
    run.report.findings.iter().find(decides).map_or("nothing happened", |it| &it.text)
}

/// The first run that met a limit, could not be carried out or made Staticfire contradict itself, and how
/// many others did.
#[must_use]
pub fn unanswered(subject: &Subject, outcome: &Outcome) -> String {
    let asks = [Verdict::Undecided, Verdict::BadInput, Verdict::OwnFault];
    let mut runs = outcome.runs.iter().filter(|run| asks.contains(&run.report.verdict));
    let Some(first) = runs.next() else { return String::new() };
    let mut text = unproven(subject, first);
    let others = runs.count();
    if others > 0 {
        text += &format!("  and {others} more\n");
    }
    text
}

/// A run that proves nothing: why, and how to see it again.
#[must_use]
pub fn unproven(subject: &Subject, run: &Summary) -> String {
    let (seed, verdict) = (run.report.seed, run.report.verdict);
    let (why, name) = (why_unproven(run), subject.name());
    let send_in = if verdict == Verdict::OwnFault {
        "  send in:  the output of the next line, with --trace FILE, and FILE: what Staticfire says of \
         this run does not count\n"
    } else {
        ""
    };
    format!(
        "\n{verdict}  {name}  seed {seed}: {why}\n{send_in}  explain:  {}\n",
        subject.explain(seed)
    )
}

/// A word in red where colour is allowed.
#[must_use]
pub fn painted(word: &str, colour: Colour) -> String {
    match colour {
        Colour::On => format!("\x1b[31;1m{word}\x1b[0m"),
        Colour::Off => word.to_owned(),
    }
}
