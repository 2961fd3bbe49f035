//! `replay`: one run again, told event by event.

use std::io::{self, Write};
use std::path::Path;

use staticfire::campaign::subject::{Subject, Unusable};
use staticfire::conf::render::first_findings;
use staticfire::plan::{EventPlan, Plan, Promise, Trigger};
use staticfire::run::report::{RunReport, Verdict};
use staticfire::run::{self, RunOutcome, Told};
use staticfire_judge::history::{message_key, message_number};
use staticfire_judge::{biography, stall};
use staticfire_world::trace::Trace;

use crate::cli::table::{grouped, seconds};
use crate::cli::{Exit, ReplayArgs, failures, output};

/// Stalls that are told of one run.
const STALLS_MAX: usize = 10;

/// Serves `replay`.
pub(crate) fn replay(args: &ReplayArgs) -> Exit {
    let upstream: Vec<String> = args.upstream.iter().map(ToString::to_string).collect();
    let subject = match Subject::parse(&args.file, &args.sets, &upstream) {
        Ok(subject) => subject,
        Err(Unusable::Text(why)) => return output::bad_input(&why),
        Err(Unusable::Findings(findings)) => {
            output::complaint(&first_findings(&findings, output::colour(&io::stderr())));
            return Exit::BadInput;
        }
    };
    let number = match args.key.as_deref().map(number_of).transpose() {
        Ok(number) => number,
        Err(why) => return output::bad_input(&why),
    };
    let trace_file = args.trace.as_deref().map(output::create).transpose();
    let trace_file = match trace_file {
        Ok(file) => file,
        Err(why) => return output::bad_input(&why),
    };
    let plan = subject.plan(args.seed);
    output::result(&story(&plan, args.seed));
    let is_whole = trace_file.is_some() || number.is_some();
    let run = if is_whole { run::run_traced } else { run::run };
    let outcome = run(&plan, args.seed, &subject.explain(args.seed));
    output::result(&told(&outcome));
    if let Some(number) = number {
        match biography(&outcome, number) {
            Ok(story) => output::result(&story),
            Err(why) => return output::bad_input(&why),
        }
    }
    if let (Some(file), Some(path)) = (trace_file, &args.trace) {
        if let Err(error) = write_trace(file, &outcome.trace) {
            return output::bad_input(&format!("{}: {error}", path.display()));
        }
        output::result(&trace_line(path, &outcome.trace));
    }
    outcome.report.verdict.into()
}

/// What is going to happen.
fn story(plan: &Plan, seed: u64) -> String {
    let promise = match plan.check.promise {
        Promise::Never => "never loses".to_owned(),
        Promise::May => format!("may lose {}", plan.check.bound),
        Promise::All => "loses all".to_owned(),
        Promise::Owed => "loses nothing that the group's log owes".to_owned(),
    };
    let mut text = format!("{}  seed {seed}\n  {}\n  promise: {promise}\n", plan.title, plan.holds);
    for (name, list) in [("upstream", &plan.upstream), ("plants", &plan.plants)] {
        if !list.is_empty() {
            text += &format!("  {name}: {}\n", list.join(", "));
        }
    }
    for event in &plan.events {
        text += &format!("  {}\n", event_line(event));
    }
    for disturbance in &plan.disturbances {
        text += &format!("  {disturbance}\n");
    }
    text + "\n"
}

fn event_line(event: &EventPlan) -> String {
    let when = match (&event.at, &event.when) {
        (Some(at), _) => format!("at {at}"),
        (None, Some(when)) => trigger(when),
        (None, None) => String::new(),
    };
    let delay = if event.delay.0 > 0 { format!(", {} later", event.delay) } else { String::new() };
    format!("{when}{delay}: {}", event.action)
}

fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Acks(count) => format!("after {count} acknowledgements"),
        Trigger::AcksSincePrevious(count) => format!("{count} acknowledgements after that"),
        Trigger::UnreplicatedAckAfter(count) => {
            format!("after {count} acknowledgements, at the first that no slave holds")
        }
        Trigger::Previous => "after that".to_owned(),
        Trigger::Recovering(node) => format!("while {node} recovers"),
        Trigger::SlaveConnected(node) => format!("once {node} follows"),
        Trigger::Replicated(group) => format!("once {group} is replicated"),
        Trigger::SendsDone => "after the last send".to_owned(),
    }
}

/// What happened: verdict, figures, violations, chains.
fn told(outcome: &RunOutcome) -> String {
    let report = &outcome.report;
    let colour = output::colour(&io::stdout());
    let verdict = match report.verdict {
        Verdict::Broken => failures::painted("BROKEN", colour),
        other => other.to_string(),
    };
    let mut text = format!("{verdict}  {}\n", report.mode);
    for finding in &report.findings {
        text += &format!("  {finding}\n");
    }
    text += &figures(report);
    for cause in &outcome.duplicates {
        text += &format!("  again: {cause}\n");
    }
    if !outcome.fates.is_empty() {
        text += "\n";
        text += &failures::chains(report.lost_keys.iter().zip(&outcome.fates), "");
        let untold = report.lost_keys.len().saturating_sub(outcome.fates.len());
        if untold > 0 {
            text += &format!("… {untold} more, as the messages before them\n");
        }
    }
    text + &stalls(outcome)
}

/// The number of a message that is asked for by its key or its number.
fn number_of(key: &str) -> Result<u32, String> {
    let number = message_number(key).or_else(|| key.parse().ok());
    number.ok_or_else(|| {
        format!("--key {key}: a message is named by its key, such as k000217, or its number, such as 217")
    })
}

/// The story of one message.
fn biography(outcome: &RunOutcome, number: u32) -> Result<String, String> {
    let key = message_key(number);
    let sent = outcome.report.sent;
    let Some(story) = outcome.told.as_ref().filter(|_| number < sent) else {
        let last = sent.checked_sub(1).map(message_key);
        let known = last.map_or_else(
            || "this run sent nothing".to_owned(),
            |last| format!("this run sent {} to {last}", message_key(0)),
        );
        return Err(format!("--key {key}: nobody sent it; {known}"));
    };
    let Told { history, ledger, keepers, .. } = story;
    let links =
        outcome.trace.read(|trace| biography::tell(number, trace, history, ledger, keepers));
    let mut text = format!("\n{key}\n");
    for link in links {
        text += &format!("  {}\n", link.to_string().trim_end());
    }
    if let Some(lost) = outcome.report.lost_keys.iter().find(|it| it.key == key) {
        text += &format!("  lost: {}\n", lost.reason);
    }
    Ok(text)
}

/// Queues that nobody consumed for long.
fn stalls(outcome: &RunOutcome) -> String {
    let Some(story) = &outcome.told else { return String::new() };
    let found = stall::stalls(&story.history, &story.timeline, story.until_us);
    let mut text = String::new();
    for stall in found.iter().take(STALLS_MAX) {
        let time_ms = (stall.time.end - stall.time.start) / 1_000;
        text += &format!(
            "stalled: {} for {}: {}\n",
            stall.places.join(", "),
            seconds(time_ms),
            stall.reason
        );
        for link in &stall.links {
            text += &format!("  {}\n", link.to_string().trim_end());
        }
    }
    if found.len() > STALLS_MAX {
        text += &format!("… {} more stalls\n", found.len() - STALLS_MAX);
    }
    text
}

fn figures(report: &RunReport) -> String {
    let number = |number: u32| grouped(u64::from(number));
    let unavailable = report.unavailable_ms.map_or_else(|| "to the end".to_owned(), seconds);
    let expired = match report.expired {
        0 => String::new(),
        expired => format!(", expired {}", number(expired)),
    };
    let deleted = match report.deleted {
        0 => String::new(),
        deleted => format!(", deleted with their topic {}", number(deleted)),
    };
    let needless = match report.needless_moves {
        0 => String::new(),
        needless => format!(" ({} needlessly)", number(needless)),
    };
    let passed_over = match report.passed_over {
        0 => String::new(),
        passed => format!(", passed over by a reset {}", number(passed)),
    };
    format!(
        "  sent {}, acked {}, unknown {}, delivered {} ({} again), queues moved {}{needless}\n  \
         lost {}{expired}{deleted}, skipped {}{passed_over}, oldest lost message {}, unavailable {unavailable}\n  \
         faults that bit: {}\n  \
         {} simulated in {}, trace digest {}\n",
        number(report.sent),
        number(report.acked),
        number(report.unknown),
        number(report.delivered),
        number(report.duplicated),
        number(report.queue_moves),
        number(report.lost),
        number(report.skipped),
        seconds(report.rpo_ms),
        if report.bitten.is_empty() { "none".to_owned() } else { report.bitten.join(", ") },
        seconds(report.sim_ms),
        seconds(report.wall_ms),
        report.trace_digest,
    )
}

fn write_trace(mut file: impl Write, trace: &Trace) -> io::Result<()> {
    trace.read(|records| records.iter().try_for_each(|record| writeln!(file, "{record}")))?;
    file.flush()
}

fn trace_line(path: &Path, trace: &Trace) -> String {
    format!("\n{} events in {}\n", grouped(trace.len() as u64), path.display())
}
