//! From what a story left behind to a verdict: facts into checkers, checkers into a report.

mod asked;
mod deleted;
mod duplicated;
mod explain;
mod facts;
mod ordered;
mod passed_over;
mod redelivered;
mod trail;

use std::collections::{BTreeMap, BTreeSet};

use staticfire_judge::check::acked_durable::{self, AckedMessage, Losses};
use staticfire_judge::check::bound::Bound;
use staticfire_judge::check::ownership::Facts;
use staticfire_judge::check::{
    Checker, Violation, commits, deletions, duplicates, effects, lateness, leadership, liveness,
    no_phantom, offsets, ownership, subscription, transactions,
};
use staticfire_judge::history::{Delivery, History};
use staticfire_world::trace::Trace;
use staticfire_world::world::WorldStats;

use super::{GroupStory, RunOutcome, Story, Told};
use crate::plan::{Action, Plan};
use crate::run::cluster::Cluster;
use crate::run::report::{Finding, RunReport, SCHEMA_VERSION, Verdict};
use deleted::Deleted;
pub(super) use deleted::DeletedInLog;

/// Judges a run.
#[expect(clippy::too_many_arguments, reason = "the parts of one run, gathered once")]
pub(super) fn judge(
    plan: &Plan,
    seed: u64,
    repro: &str,
    story: Result<Story, Finding>,
    mut violations: Vec<Violation>,
    trace: &Trace,
    stats: WorldStats,
    wall_ms: u64,
) -> RunOutcome {
    let mut report = blank_report(plan, seed, repro, trace, stats, wall_ms);
    let mut fates = BTreeMap::new();
    let mut shortfalls = Vec::new();
    let mut duplicate_causes = Vec::new();
    let mut told = None;
    match story {
        Err(finding) => shortfalls.push(finding),
        Ok(story) => {
            let bound: Bound = plan.check.bound.parse().unwrap_or_default();
            let rotten = facts::rotten_records(&story, trace);
            let again = appended_again(plan);
            let mut losses = Losses::default();
            let (mut not_owed, mut deleted) = (BTreeSet::new(), BTreeSet::new());
            let excuses = facts::excuses(&story, trace);
            let delivered = facts::Delivered::of(&story, &excuses);
            for group in &story.groups {
                let deletions = deleted::facts(&story, group, trace);
                let away = Deleted::of(&story, group, &deletions);
                let acked =
                    facts::acked_messages(&story, group, &delivered, &rotten, &again, &away);
                let judged = acked_durable::check(&acked_durable::Facts {
                    acked: &acked,
                    promise: plan.check.promise,
                    bound: &bound,
                    faults: &group.faults,
                    unread: group.unread.is_some(),
                });
                shortfalls.extend(unseen(group, judged.unseen));
                violations.extend(judged.violations);
                let own = |text| Finding::new(Verdict::OwnFault, text);
                shortfalls.extend(judged.contradictions.into_iter().map(own));
                shortfalls.extend(deleted::told(&group.name, &judged.losses));
                fates.extend(explain::chains(&story, group, trace, &judged.losses));
                losses.add(judged.losses);
                let numbers = |of: fn(&AckedMessage) -> bool| {
                    acked.iter().filter(move |it| of(it)).map(|it| it.number)
                };
                not_owed.extend(numbers(|it| !it.owed));
                deleted.extend(numbers(|it| it.deleted));
                violations.extend(deletions::check(&story.history, &deletions));
            }
            let (given_back, waiting) =
                redelivered::check(plan, &story, &delivered, &rotten, &not_owed, &deleted);
            // In the queues of their topics neither is owed.
            not_owed.append(&mut deleted);
            violations.extend(given_back.violations);
            shortfalls.extend(waiting);
            let facts_of_twice = || duplicated::facts(plan, &story, trace, &rotten);
            let twice = duplicates::duplicates(&story.history, facts_of_twice);
            violations.extend(duplicates::check(&twice));
            violations.extend(effects::check(&story.history));
            duplicate_causes = duplicated::causes(&twice);
            violations.extend(ordered::check(plan, &story, trace, &not_owed, &excuses));
            violations.extend(facts::ack_predicates(&story));
            violations.extend(story.ledger.observed());
            violations.extend(no_phantom::check(&story.history, |it| rotten.is_behind(it, &again)));
            violations.extend(transactions::check(&story.history));
            violations.extend(asked::check(plan, &story, trace));
            let is_damaged = |it: &Delivery| rotten.are_in(&it.queue.group);
            violations.extend(subscription::check(&story.history, is_damaged));
            let committed = story.committed.clone();
            let cut_off = story.cut_off.keys().cloned().collect();
            let holes = rotten.places;
            let unread = story.groups.iter().filter(|group| group.unread.is_some());
            let unread = unread.map(|group| trace.name(&group.name)).collect();
            let places = offsets::Facts { committed, not_owed, holes, excuses, unread, cut_off };
            shortfalls.extend(delivered.waiting(&story));
            shortfalls.extend(passed_over::told(&delivered.passed_over));
            shortfalls.extend(passed_over::without_effect(plan, &story.history));
            violations.extend(offsets::check(&story.history, &places));
            violations.extend(commits::check(&story.history, &places));
            violations.extend(in_time(&story, &mut report));
            let Facts { timeline, until_us, .. } = &story.watched.ownership;
            violations.extend(leadership::check(&story.tenancies, &timeline.lives, *until_us));
            let permitted = |number: u32| !violations.iter().any(|v| v.number == Some(number));
            report.lost_keys = explain::lost_keys(&losses, &fates, permitted);
            shortfalls.extend(why_vacuous(plan, &story, trace, &losses));
            fill(&mut report, &story, &losses);
            report.passed_over = delivered.passed_over.len() as u32;
            report.redelivery_lost = given_back.lost.len() as u32;
            let cause = duplicate_causes.first().map(String::as_str);
            violations.extend(counts_out_of_range(plan, &counts(&story.history, &report), cause));
            violations.extend(story.violations);
            shortfalls.extend(story.shortfalls);
            let (groups, watched) = (story.groups, story.watched.ownership);
            told = Some(Told {
                history: story.history,
                ledger: story.ledger,
                keepers: groups.iter().map(GroupStory::keepers).collect(),
                until_us: watched.until_us,
                timeline: watched.timeline,
            });
        }
    }
    // What cites an event is nearer to the cause than what says which messages it cost.
    violations.sort_by_key(|it| it.ordinal.is_none());
    let (shown, violations): (Vec<_>, Vec<_>) =
        violations.into_iter().partition(|found| is_cost(plan, found.checker));
    if shortfalls.iter().all(|it| it.verdict < Verdict::Broken) {
        shortfalls.extend(not_shown(plan, &shown));
    }
    let finding = |verdict| move |found: &Violation| Finding::new(verdict, found.to_string());
    let broken = violations.iter().map(finding(Verdict::Broken));
    let shown = shown.iter().map(finding(Verdict::Kept));
    report.findings = broken.chain(shortfalls).chain(shown).collect();
    // Where Staticfire contradicts itself, that comes first.
    report.findings.sort_by_key(|it| it.verdict != Verdict::OwnFault);
    report.verdict = Finding::decide(&report.findings);
    let fates = fates.into_values().collect();
    RunOutcome {
        report,
        violations,
        fates,
        duplicates: duplicate_causes,
        trace: trace.clone(),
        stats,
        told,
    }
}

/// What came too late, or had no owner to come to; the report gets how often queues moved.
fn in_time(story: &Story, report: &mut RunReport) -> Vec<Violation> {
    let Story { history, watched, .. } = story;
    let owners = ownership::judge(history, &watched.ownership);
    (report.queue_moves, report.needless_moves) = (owners.moves, owners.needless_moves);
    let mut violations = owners.violations;
    violations.extend(lateness::check(history, &watched.ownership.timeline, &watched.pace));
    violations.extend(story.expectations.iter().filter_map(|it| {
        let late = liveness::check(it)?;
        let text = late.text + &trail::refused(history, it.healed_us);
        Some(Violation { text, ..late })
    }));
    violations
}

/// The topics of which a message is appended once more before anybody gets it: when it is due, or when its
/// transaction is committed.
fn appended_again(plan: &Plan) -> BTreeSet<&str> {
    let works = plan.workloads.iter().filter(|it| it.is_appended_again());
    works.map(|it| &*it.topic).collect()
}

/// What is not known of a broker group that nobody could read.
fn unseen(group: &GroupStory, messages: u32) -> Option<Finding> {
    let why = group.unread.as_ref().filter(|_| messages > 0)?;
    let text = format!(
        "{messages} acknowledged messages of {} cannot be read when the story ends, because {why}: an event \
         that mends it (restart, promote, resume, heal) shows what became of them",
        group.name
    );
    Some(Finding::new(Verdict::Undecided, text))
}

/// Whether a finding of `checker` is what the plan's switches cost.
fn is_cost(plan: &Plan, checker: Checker) -> bool {
    plan.check.breaks.contains(&checker) || plan.check.may_break.contains(&checker)
}

fn blank_report(
    plan: &Plan,
    seed: u64,
    repro: &str,
    trace: &Trace,
    stats: WorldStats,
    wall_ms: u64,
) -> RunReport {
    let (faults, recoveries): (Vec<_>, Vec<_>) =
        plan.events.iter().map(|event| &event.action).partition(|action| !action.is_recovery());
    let names = |actions: Vec<&Action>| actions.into_iter().map(Action::name).collect::<Vec<_>>();
    let drawn = plan.disturbances.iter().map(|it| it.trouble.name());
    let faults: Vec<&str> = names(faults).into_iter().chain(drawn).collect();
    RunReport {
        schema_version: SCHEMA_VERSION,
        scenario: plan.title.clone(),
        seed,
        mode: String::new(),
        fault: faults.join("+"),
        recovery: names(recoveries).join("+"),
        verdict: Verdict::Vacuous,
        findings: Vec::new(),
        sent: 0,
        acked: 0,
        unknown: 0,
        delivered: 0,
        lost: 0,
        expired: 0,
        deleted: 0,
        skipped: 0,
        passed_over: 0,
        duplicated: 0,
        redelivered: 0,
        redelivery_lost: 0,
        dead_letters: 0,
        queue_moves: 0,
        needless_moves: 0,
        lost_keys: Vec::new(),
        bitten: bitten(trace),
        rpo_ms: 0,
        unavailable_ms: None,
        sim_ms: stats.simulated_ms,
        wall_ms,
        trace_digest: format!("{:016x}", trace.digest()),
        repro: repro.to_owned(),
    }
}

fn bitten(trace: &Trace) -> Vec<String> {
    let faults = trace.faults();
    let bitten = faults.iter().filter(|fault| fault.bitten_us.is_some());
    bitten.map(|fault| format!("{} of {}", fault.kind, fault.target)).collect()
}

fn fill(report: &mut RunReport, story: &Story, losses: &Losses) {
    let history = &story.history;
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let given = history.deliveries.iter().filter_map(|it| Some((&it.consumer_group, it.number?)));
    let given: BTreeSet<_> = given.collect();
    let modes: Vec<&str> = story.groups.iter().map(|group| &*group.mode).collect();
    report.mode = modes.join("; ");
    report.sent = story.started;
    report.acked = count(history.acked().count());
    report.unknown = count(history.unknown_count());
    report.delivered = count(history.deliveries.len());
    let again = redelivered::figures(history);
    report.redelivered = count(again.redelivered);
    report.dead_letters = count(again.dead_letters);
    report.duplicated = count(history.deliveries.len() - given.len() - again.redelivered);
    report.lost = count(losses.lost.len());
    report.expired = count(losses.expired.len());
    report.deleted = count(losses.deleted.len());
    report.skipped = count(losses.skipped.len());
    report.rpo_ms = losses.rpo_us / 1_000;
    report.unavailable_ms = unavailable_ms(history, story.first_fault_us);
}

/// The longest time without an acknowledgement from the first fault on; `None`: never again.
fn unavailable_ms(history: &History, first_fault_us: Option<u64>) -> Option<u64> {
    let Some(fault_us) = first_fault_us else { return Some(0) };
    let mut acked: Vec<u64> = history.acked().map(|send| send.ended_us).collect();
    acked.sort_unstable();
    let after = acked.iter().copied().filter(|at| *at > fault_us);
    let mut before = acked.iter().copied().rfind(|at| *at <= fault_us).unwrap_or(fault_us);
    let mut longest = None;
    for at in after {
        longest = longest.max(Some(at - before));
        before = at;
    }
    longest.map(|us| us / 1_000)
}

/// Send statuses and figures by the names that plans give them.
fn counts(history: &History, report: &RunReport) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> =
        history.statuses().into_iter().map(|(status, count)| (status.to_string(), count)).collect();
    let queues = history.read_back.iter().filter(|(queue, _)| queue.is_of_topic());
    let read_back = queues.flat_map(|(_, queue)| &queue.messages);
    let readable: BTreeSet<u32> = read_back.filter_map(|message| message.number).collect();
    let readable = u32::try_from(readable.len()).unwrap_or(u32::MAX);
    let replied = u32::try_from(history.replies.len()).unwrap_or(u32::MAX);
    for (figure, count) in [
        ("replied", replied),
        ("lost", report.lost),
        ("expired", report.expired),
        ("deleted", report.deleted),
        ("skipped", report.skipped),
        ("passed_over", report.passed_over),
        ("duplicated", report.duplicated),
        ("redelivered", report.redelivered),
        ("redelivery_lost", report.redelivery_lost),
        ("dead_letters", report.dead_letters),
        ("queue_moves", report.queue_moves),
        ("needless_moves", report.needless_moves),
        ("readable", readable),
    ] {
        counts.insert(figure.to_owned(), count);
    }
    counts
}

/// Counts that the plan wants to be higher or lower; `cause` is why most messages came more than once.
fn counts_out_of_range(
    plan: &Plan,
    counts: &BTreeMap<String, u32>,
    cause: Option<&str>,
) -> Vec<Violation> {
    let seen = |name: &String| counts.get(name).copied().unwrap_or_default();
    let complain = |text: String| Violation::new(Checker::Counts, text);
    let few = plan.check.least.iter().filter(|(name, least)| seen(name) < **least);
    let few = few.map(|(name, least)| format!("{name}: {}, at least {least} wanted", seen(name)));
    let many = plan.check.most.iter().filter(|(name, most)| seen(name) > **most);
    let because = |name: &String| match cause.filter(|_| name == "duplicated") {
        Some(cause) => format!("; {cause}"),
        None => String::new(),
    };
    let many = many.map(|(name, most)| {
        format!("{name}: {}, at most {most} wanted{}", seen(name), because(name))
    });
    few.chain(many).map(complain).collect()
}

/// What a story of upstream switches was to show and did not.
fn not_shown(plan: &Plan, shown: &[Violation]) -> Vec<Finding> {
    let missing = plan
        .check
        .breaks
        .iter()
        .filter(|checker| !shown.iter().any(|found| found.checker == **checker));
    let text = |checker| format!("the switches cost nothing ({checker})");
    missing.map(|checker| Finding::new(Verdict::Vacuous, text(checker))).collect()
}

/// Why a run shows nothing.
fn why_vacuous(plan: &Plan, story: &Story, trace: &Trace, losses: &Losses) -> Vec<Finding> {
    let mut reasons = Vec::new();
    let faults = trace.faults();
    let is_drawn = |index: &usize| story.drawn_faults.contains(index);
    for (_, fault) in faults.iter().enumerate().filter(|(index, _)| !is_drawn(index)) {
        if fault.bitten_us.is_none() {
            reasons.push(format!("{} of {} had no effect", fault.kind, fault.target));
        }
    }
    // Of those that were drawn, one at least.
    if !plan.disturbances.is_empty() && faults.iter().all(|fault| fault.bitten_us.is_none()) {
        reasons.push("no fault had an effect".to_owned());
    }
    // A SYNC_MASTER without a slave never says SEND_OK: that is a finding, not an empty run.
    let has_second_copy = story.groups.iter().any(|group| !group.no_second_copy);
    if story.history.acked().next().is_none() && has_second_copy {
        reasons.push("nothing was acknowledged".to_owned());
    }
    if plan.check.expect_loss && losses.lost.is_empty() && losses.skipped.is_empty() {
        reasons.push("the story wants a loss and there is none".to_owned());
    }
    reasons.into_iter().map(|why| Finding::new(Verdict::Vacuous, why)).collect()
}

/// The effective mode of a group in words.
pub(super) fn mode(cluster: &Cluster, group: &str) -> String {
    let Some(master) = cluster.master_of(group) else { return String::new() };
    if master.is_dledger() {
        let members = cluster.members_of(group).count();
        return format!("DLEDGER of {members} + {}", master.flush_name());
    }
    let role = if master.acks().waits_for_copies() { "SYNC_MASTER" } else { "ASYNC_MASTER" };
    let mut text = format!("{role} + {}", master.flush_name());
    for slave in cluster.slaves_of(group) {
        text.push_str(&format!(", slave {}", slave.flush_name()));
    }
    text
}

#[cfg(test)]
mod tests;
