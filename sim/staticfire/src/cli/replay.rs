//! `replay`: one run again, told event by event.

use std::io::{self, Write};
use std::path::Path;

use staticfire::campaign::subject::{Subject, Unusable};
use staticfire::conf::render::first_findings;
use staticfire::plan::{EventPlan, Plan, Promise, Trigger};
use staticfire::run::report::{RunReport, Verdict};
use staticfire::run::{self, RunOutcome};
use staticfire_world::trace::Trace;

use crate::cli::table::{grouped, seconds};
use crate::cli::{Exit, ReplayArgs, failures, output};

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
    let trace_file = args.trace.as_deref().map(output::create).transpose();
    let trace_file = match trace_file {
        Ok(file) => file,
        Err(why) => return output::bad_input(&why),
    };
    let plan = subject.plan(args.seed);
    output::result(&story(&plan, args.seed));
    let run = if trace_file.is_some() { run::run_traced } else { run::run };
    let outcome = run(&plan, args.seed, &subject.explain(args.seed));
    output::result(&told(&outcome));
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
    text
}

fn figures(report: &RunReport) -> String {
    let number = |number: u32| grouped(u64::from(number));
    let unavailable = report.unavailable_ms.map_or_else(|| "to the end".to_owned(), seconds);
    let expired = match report.expired {
        0 => String::new(),
        expired => format!(", expired {}", number(expired)),
    };
    let passed_over = match report.passed_over {
        0 => String::new(),
        passed => format!(", passed over by a reset {}", number(passed)),
    };
    format!(
        "  sent {}, acked {}, unknown {}, delivered {} ({} again)\n  \
         lost {}{expired}, skipped {}{passed_over}, oldest lost message {}, unavailable {unavailable}\n  \
         faults that bit: {}\n  \
         {} simulated in {}, trace digest {}\n",
        number(report.sent),
        number(report.acked),
        number(report.unknown),
        number(report.delivered),
        number(report.duplicated),
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
