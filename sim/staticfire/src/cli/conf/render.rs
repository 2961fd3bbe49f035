//! What `conf` says of a row, and what the runs of all rows add up to.

use std::collections::BTreeMap;

use staticfire::campaign::{Figures, Unavailable};
use staticfire::conf::row::ConfRow;
use staticfire::run::report::Verdict;
use staticfire::stories::matrix_rows::{MatrixRow, Ours, Recovery};

use super::Tried;
use super::advice::advice;
use crate::cli::failures;
use crate::cli::table::{count, grouped, seconds};

/// The fault in words, a line for each step.
pub(crate) fn fault(row: &MatrixRow) -> String {
    row.fault_words().replace(", ", ",\n")
}

/// The recovery in words.
pub(crate) fn recovery(row: &MatrixRow) -> &'static str {
    match row.recovery {
        Recovery::Restart => "restart",
        Recovery::Promote => "promote",
        Recovery::Elect => "election",
        Recovery::None => "waiting",
    }
}

/// The promise in words.
pub(crate) fn promise(row: &MatrixRow) -> String {
    match row.ours {
        Ours::Never => "never".to_owned(),
        Ours::May => format!("may ≤ {}", row.bound),
        Ours::All => "all".to_owned(),
        Ours::Owed => "owed".to_owned(),
    }
}

/// The promise in words, with the slave on whose log it rests.
pub(super) fn promised(row: &ConfRow) -> String {
    row.debtor().map_or_else(|| promise(&row.row), |debtor| format!("owed by {debtor}"))
}

/// The groups that were not run because others tell of them.
pub(super) fn images(images: &BTreeMap<String, String>) -> String {
    let line = |(group, original): (&String, &String)| {
        format!(
            "{group}: as {original}: nothing but names and addresses differs (--all runs it, too)\n"
        )
    };
    let lines: String = images.iter().map(line).collect();
    if lines.is_empty() { lines } else { lines + "\n" }
}

/// Number of lost messages.
pub(crate) fn lost(figures: &Figures) -> String {
    let all = if figures.lost_all() { " (all)" } else { "" };
    format!("{}{all}", grouped(figures.lost))
}

/// Age of the oldest lost message.
pub(crate) fn rpo(figures: &Figures) -> String {
    figures.rpo_ms.map_or_else(|| "–".to_owned(), |worst| seconds(worst.value))
}

/// The longest time without acknowledgement.
pub(crate) fn unavailable(figures: &Figures) -> String {
    how_long(figures.unavailable)
}

/// The median of the runs' longest times.
pub(super) fn unavailable_median(figures: &Figures) -> String {
    how_long(figures.unavailable_median)
}

fn how_long(unavailable: Unavailable) -> String {
    match unavailable {
        Unavailable::Ms(ms) => seconds(ms),
        Unavailable::ToTheEnd => "to the end".to_owned(),
    }
}

/// Why a row is as it is, in one line, and what would change it in another.
pub(super) fn why(tried: &Tried, figures: &Figures) -> String {
    let row = &tried.row.row;
    if let Some(run) = tried.outcome.with(Verdict::Broken).next() {
        let what = run.report.findings.first().map_or("", |it| &it.text);
        return format!(
            "BROKEN in {} of {}, seed {}: {what}",
            figures.broken, figures.runs, run.report.seed
        );
    }
    if tried.row.is_sync_alone && figures.acked == 0 {
        let why = match tried.row.cut_off.as_slice() {
            [] => "without a slave".to_owned(),
            astray => format!("{} does not find its master, and", astray.join(" and ")),
        };
        return format!("nothing was acknowledged: {why} every send ends as SLAVE_NOT_AVAILABLE");
    }
    if figures.is_vacuous() {
        let why = tried.outcome.runs.first().map_or("", failures::why_unproven);
        return format!("vacuous: {why}");
    }
    if let Some(run) = tried.outcome.first_loss() {
        let reason = match run.report.lost_keys.first() {
            _ if row.ours == Ours::All && !row.why.is_empty() => row.why.as_str(),
            Some(lost) => lost.reason.as_str(),
            None => "",
        };
        let settings: Vec<String> = advice(&tried.row).iter().map(|a| a.words()).collect();
        return format!("seed {}: {reason}\n→ {}", run.report.seed, settings.join(", "));
    }
    if let Some(run) = tried.outcome.first_skip() {
        let text = "the existing group was past these queue offsets when they were used again";
        return format!("seed {}: {text}", run.report.seed);
    }
    match row.ours {
        Ours::Never => row.why.clone(),
        Ours::Owed => format!("no seed lost anything; {}", row.why),
        Ours::May | Ours::All => "no seed lost anything".to_owned(),
    }
}

/// The first run that passed each limit; empty when none did.
pub(super) fn limits(tried: &[Tried], max_lost: Option<u64>, max_rpo: Option<u64>) -> String {
    let mut text = String::new();
    let mut say = |tried: &Tried, seed: u64, what: String| {
        let subject = tried.subject();
        text += &format!("\nLIMIT  {}  seed {seed}: {what}\n", tried.row.place());
        text += &format!("  explain:  {}\n", subject.explain(seed));
    };
    for tried in tried {
        let runs = || tried.outcome.runs.iter().map(|run| &run.report);
        if let Some(max) = max_lost
            && let Some(run) = runs().find(|run| u64::from(run.lost) > max)
        {
            let what = format!("{} lost, --max-lost is {max}", count(run.lost.into(), "message"));
            say(tried, run.seed, what);
        }
        if let Some(max) = max_rpo
            && let Some(run) = runs().find(|run| run.lost > 0 && run.rpo_ms > max)
        {
            let what = format!("a lost message was {} ms old, --max-rpo is {max} ms", run.rpo_ms);
            say(tried, run.seed, what);
        }
    }
    text
}

/// What all runs add up to, in one sentence or two.
pub(super) fn summary(tried: &[Tried]) -> String {
    let figures: Vec<Figures> = tried.iter().map(|tried| tried.outcome.figures()).collect();
    let sum = |field: fn(&Figures) -> u64| -> u64 { figures.iter().map(field).sum() };
    let (runs, vacuous) = (sum(|f| f.runs), sum(|f| f.vacuous));
    let broken = sum(|f| f.broken);
    let mut text = if broken == 0 {
        format!("Every promise of these modes was kept in {}", count(runs, "run"))
    } else {
        format!("A promise was broken in {} of {}", grouped(broken), count(runs, "run"))
    };
    text += &match sum(|f| f.undecided) {
        0 => format!(" ({} vacuous).", grouped(vacuous)),
        open => format!(" ({} vacuous, {} undecided).", grouped(vacuous), grouped(open)),
    };
    let lost = sum(|f| f.lost);
    text += &match lost {
        0 if sum(|f| f.acked) == 0 => " Nothing was acknowledged that could be lost.\n".to_owned(),
        0 => " No acknowledged message was lost.\n".to_owned(),
        _ if broken > 0 => format!(" {} lost.\n", count(lost, "acknowledged message")),
        _ => format!(" {} lost where the mode permits it.\n", count(lost, "acknowledged message")),
    };
    for (tried, figures) in tried.iter().zip(&figures).filter(|(_, f)| f.is_vacuous()) {
        let Some(run) = tried.outcome.runs.first() else { continue };
        let (place, seeds) = (tried.row.place(), count(figures.runs, "seed"));
        text += &format!("vacuous: {place}, {seeds}: {}\n", failures::why_unproven(run));
        text += &format!("  {}\n", tried.subject().explain(run.report.seed));
    }
    text
}

/// Commands to go on with: the greatest loss replayed, and the settings that would change it.
pub(super) fn commands(tried: &[Tried]) -> String {
    let may = tried.iter().filter(|tried| matches!(tried.row.row.ours, Ours::May | Ours::Owed));
    let worst = may
        .filter_map(|tried| tried.outcome.figures().most_lost.map(|worst| (tried, worst)))
        .reduce(|a, b| if b.1.value > a.1.value { b } else { a });
    let Some((tried, worst)) = worst else { return String::new() };
    let mut text = format!("  {}\n", tried.subject().explain(worst.seed));
    let sets: String = staticfire::campaign::subject::set_options(&tried.row.overlays);
    for set in advice(&tried.row).iter().filter_map(|advice| advice.set()) {
        let dir = staticfire::campaign::subject::quoted(&tried.row.dir.display().to_string());
        text += &format!("  staticfire conf {dir}{sets} --set {set}\n");
    }
    text
}
