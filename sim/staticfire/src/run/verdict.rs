//! From what a story left behind to a verdict: facts into checkers, checkers into a report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use staticfire_judge::check::acked_durable::{self, AckedMessage, Losses};
use staticfire_judge::check::bound::Bound;
use staticfire_judge::check::{Checker, Violation, ack_predicate, liveness, no_phantom, offsets};
use staticfire_judge::forensics::{self, Fate, LostMessage};
use staticfire_judge::history::{Delivery, History, message_key};
use staticfire_world::trace::{Trace, TraceEvent, TraceRecord};
use staticfire_world::world::WorldStats;

use super::{RunOutcome, Story};
use crate::plan::{Action, Plan};
use crate::run::cluster::Cluster;
use crate::run::report::{Finding, LostKey, RunReport, SCHEMA_VERSION, Verdict};

/// Chains that are searched per run: a run that loses thousands is explained by its first ones.
const FATES_MAX: usize = 20;

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
    let mut fates = Vec::new();
    let mut shortfalls = Vec::new();
    match story {
        Err(finding) => shortfalls.push(finding),
        Ok(story) => {
            let bound: Bound = plan.check.bound.parse().unwrap_or_default();
            let acked = acked_messages(&story);
            let rotten = rotten_records(&story, trace);
            let acked_durable::Judged { losses, violations: found, contradictions } =
                acked_durable::check(&acked_durable::Facts {
                    acked: &acked,
                    promise: plan.check.promise,
                    bound: &bound,
                    faults: &story.faults,
                });
            violations.extend(found);
            let own = |text| Finding::new(Verdict::OwnFault, text);
            shortfalls.extend(contradictions.into_iter().map(own));
            violations.extend(ack_facts(&story));
            violations.extend(story.ledger.observed());
            violations.extend(no_phantom::check(&story.history, |it| rotten.is_behind(it)));
            violations
                .extend(offsets::check(&story.history, &offset_facts(&story, &acked, &rotten)));
            violations.extend(story.expectations.iter().filter_map(liveness::check));
            let permitted = |number: u32| !violations.iter().any(|v| v.number == Some(number));
            fates = explain(&story, trace, &losses);
            report.lost_keys = lost_keys(&losses, &fates, permitted);
            shortfalls.extend(why_vacuous(plan, &story, trace, &losses));
            fill(&mut report, &story, &losses);
            violations.extend(counts_out_of_range(plan, &counts(&story.history, &report)));
            violations.extend(story.violations);
            shortfalls.extend(story.shortfalls);
        }
    }
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
    RunOutcome { report, violations, fates, trace: trace.clone(), stats }
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
    let names =
        |actions: Vec<&Action>| actions.into_iter().map(Action::name).collect::<Vec<_>>().join("+");
    RunReport {
        schema_version: SCHEMA_VERSION,
        scenario: plan.title.clone(),
        seed,
        mode: String::new(),
        fault: names(faults),
        recovery: names(recoveries),
        verdict: Verdict::Vacuous,
        findings: Vec::new(),
        sent: 0,
        acked: 0,
        unknown: 0,
        delivered: 0,
        lost: 0,
        expired: 0,
        skipped: 0,
        duplicated: 0,
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
    let given: BTreeSet<u32> = history.deliveries.iter().filter_map(|d| d.number).collect();
    report.mode.clone_from(&story.mode);
    report.sent = story.started;
    report.acked = count(history.acked().count());
    report.unknown = count(history.unknown_count());
    report.delivered = count(history.deliveries.len());
    report.duplicated = count(history.deliveries.len() - given.len());
    report.lost = count(losses.lost.len());
    report.expired = count(losses.expired.len());
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

/// The acknowledged messages of the group with what is known of each.
fn acked_messages(story: &Story) -> Vec<AckedMessage> {
    let history = &story.history;
    let here = |group: &str| group == story.group;
    let read_back: BTreeSet<u32> = history
        .read_back
        .iter()
        .filter(|((group, _), _)| here(group))
        .flat_map(|(_, queue)| queue.messages.iter().filter_map(intact))
        .collect();
    let delivered: BTreeSet<u32> = history.deliveries.iter().filter_map(intact).collect();
    let skippable = skippable(history);
    let keepers = story.replicas.iter().chain([&story.master_then]);
    let expired_to = keepers.map(|it| story.ledger.expired_to(it)).max().unwrap_or_default();
    let acked = history.acked().filter_map(|send| Some((send, send.place.as_ref()?)));
    acked
        .filter(|(_, place)| here(&place.group))
        .map(|(send, place)| {
            let fact = story.ledger.ack_fact(&place.group, place.phy_offset, send.ordinal);
            let end_offset = fact.as_ref().map_or(place.phy_offset, |fact| fact.end_offset);
            let appended_us = fact.map_or(send.ended_us, |fact| fact.appended_us);
            let record = place.phy_offset..end_offset;
            let owed = story.ledger.owed(&place.group, place.phy_offset, send.ordinal);
            AckedMessage {
                number: send.number,
                end_offset,
                appended_us,
                acked_us: send.ended_us,
                read_back: read_back.contains(&send.number),
                stored: story.stored.contains(&send.number),
                delivered: delivered.contains(&send.number),
                expired: end_offset <= expired_to,
                rotten: story.ledger.is_rotten(&story.master_now, &record, appended_us),
                owed: owed.as_ref().is_some_and(|owed| owed.is_owed_by(&story.master_now)),
                stood_beyond: skippable.contains(&send.number),
                custody: owed.map_or_else(String::new, |owed| owed.to_string()),
            }
        })
        .collect()
}

/// Messages that lie where the existing group had been before they were there.
fn skippable(history: &History) -> BTreeSet<u32> {
    let beyond = offsets::stood_beyond(history);
    let queues = history.read_back.iter().filter_map(|(queue, it)| Some((it, beyond.get(queue)?)));
    queues
        .flat_map(|(reading, beyond)| {
            let passed = reading.messages.iter().filter(|it| it.queue_offset <= *beyond);
            passed.filter_map(|it| it.number)
        })
        .collect()
}

/// The number of a delivery that is what was sent.
fn intact(delivery: &Delivery) -> Option<u32> {
    delivery.number.filter(|_| delivery.body_intact)
}

/// The records of a group of which a device damaged bytes on the present master's disk.
#[derive(Default)]
struct RottenRecords {
    group: String,
    phy_offsets: BTreeSet<u64>,
    places: BTreeSet<(Arc<str>, u32, u64)>,
}

impl RottenRecords {
    fn is_behind(&self, delivery: &Delivery) -> bool {
        *delivery.group == *self.group && self.phy_offsets.contains(&delivery.phy_offset)
    }
}

fn rotten_records(story: &Story, trace: &Trace) -> RottenRecords {
    let mut rotten = RottenRecords { group: story.group.clone(), ..RottenRecords::default() };
    if !story.ledger.has_damage(&story.master_now) {
        return rotten;
    }
    let group: Arc<str> = Arc::from(&*story.group);
    trace.read(|records| {
        for record in records.iter().filter(|record| story.is_of_group(&record.source)) {
            let TraceEvent::Appended { phy_offset, size_bytes, queue_id, queue_offset, .. } =
                &record.event
            else {
                continue;
            };
            let bytes = *phy_offset..*phy_offset + u64::from(*size_bytes);
            if story.ledger.is_rotten(&story.master_now, &bytes, record.at_us) {
                rotten.phy_offsets.insert(*phy_offset);
                rotten.places.insert((Arc::clone(&group), *queue_id, *queue_offset));
            }
        }
    });
    rotten
}

/// The ack predicate of every acknowledged message.
fn ack_facts(story: &Story) -> Vec<Violation> {
    let mut violations = Vec::new();
    for send in story.history.acked() {
        let Some(place) = &send.place else { continue };
        match story.ledger.ack_fact(&place.group, place.phy_offset, send.ordinal) {
            Some(fact) => {
                violations.extend(ack_predicate::check(&fact.ack).map(|v| v.of(send.number)));
            }
            None => {
                let text = format!("SEND_OK that no broker gave: message {}", send.number);
                violations.push(Violation::new(Checker::AckPredicate, text).of(send.number));
            }
        }
    }
    violations
}

fn offset_facts(story: &Story, acked: &[AckedMessage], rotten: &RottenRecords) -> offsets::Facts {
    let not_owed = acked.iter().filter(|message| !message.owed).map(|message| message.number);
    offsets::Facts {
        committed: story.committed.clone(),
        not_owed: not_owed.collect(),
        holes: rotten.places.clone(),
    }
}

/// Send statuses and figures by the names that plans give them.
fn counts(history: &History, report: &RunReport) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> =
        history.statuses().into_iter().map(|(status, count)| (status.to_string(), count)).collect();
    let read_back = history.read_back.values().flat_map(|queue| &queue.messages);
    let readable: BTreeSet<u32> = read_back.filter_map(|message| message.number).collect();
    let readable = u32::try_from(readable.len()).unwrap_or(u32::MAX);
    for (figure, count) in [
        ("lost", report.lost),
        ("expired", report.expired),
        ("skipped", report.skipped),
        ("duplicated", report.duplicated),
        ("readable", readable),
    ] {
        counts.insert(figure.to_owned(), count);
    }
    counts
}

/// Counts that the plan wants to be higher or lower.
fn counts_out_of_range(plan: &Plan, counts: &BTreeMap<String, u32>) -> Vec<Violation> {
    let seen = |name: &String| counts.get(name).copied().unwrap_or_default();
    let complain = |text: String| Violation::new(Checker::Counts, text);
    let few = plan.check.least.iter().filter(|(name, least)| seen(name) < **least);
    let few = few.map(|(name, least)| format!("{name}: {}, at least {least} wanted", seen(name)));
    let many = plan.check.most.iter().filter(|(name, most)| seen(name) > **most);
    let many = many.map(|(name, most)| format!("{name}: {}, at most {most} wanted", seen(name)));
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
    for fault in trace.faults().iter().filter(|fault| fault.bitten_us.is_none()) {
        reasons.push(format!("{} of {} had no effect", fault.kind, fault.target));
    }
    // A SYNC_MASTER without a slave never says SEND_OK: that is a finding, not an empty run.
    if story.history.acked().next().is_none() && !story.no_second_copy {
        reasons.push("nothing was acknowledged".to_owned());
    }
    if plan.check.expect_loss && losses.lost.is_empty() && losses.skipped.is_empty() {
        reasons.push("the story wants a loss and there is none".to_owned());
    }
    reasons.into_iter().map(|why| Finding::new(Verdict::Vacuous, why)).collect()
}

/// The chains of the first lost messages.
fn explain(story: &Story, trace: &Trace, losses: &Losses) -> Vec<Fate> {
    trace.read(|records| explain_by(story, records, losses))
}

fn explain_by(story: &Story, records: &[TraceRecord], losses: &Losses) -> Vec<Fate> {
    let mut fates = Vec::new();
    for number in losses.lost.iter().take(FATES_MAX) {
        let Some(send) = story.history.acked().find(|send| send.number == *number) else {
            continue;
        };
        let Some(place) = &send.place else { continue };
        let fact = story.ledger.ack_fact(&place.group, place.phy_offset, send.ordinal);
        let broker = fact.as_ref().map_or(story.master_then.as_str(), |fact| &fact.ack.broker);
        let replicas: Vec<String> =
            story.replicas.iter().filter(|name| *name != broker).cloned().collect();
        let lost = LostMessage {
            number: *number,
            broker,
            phy_offset: place.phy_offset,
            end_offset: fact.as_ref().map_or(place.phy_offset, |fact| fact.end_offset),
            acked: send.ordinal,
            in_process_memory: fact
                .as_ref()
                .is_some_and(|it| it.ack.transient_pool && !it.ack.live),
            replicas: &replicas,
            machines: &story.machines,
            master_now: &story.master_now,
        };
        fates.push(forensics::explain(records, &lost));
    }
    fates
}

fn lost_keys(losses: &Losses, fates: &[Fate], permitted: impl Fn(u32) -> bool) -> Vec<LostKey> {
    let reason = |index: usize| match fates.get(index) {
        Some(fate) => fate.reason.clone(),
        None => "as the messages before it".to_owned(),
    };
    let lost = losses.lost.iter().enumerate();
    lost.map(|(index, number)| LostKey {
        key: message_key(*number),
        reason: reason(index),
        permitted: permitted(*number),
    })
    .collect()
}

/// The effective mode of a group in words.
pub(super) fn mode(cluster: &Cluster, group: &str) -> String {
    let Some(master) = cluster.master_of(group) else { return String::new() };
    let role = if master.is_sync_master() { "SYNC_MASTER" } else { "ASYNC_MASTER" };
    let mut text = format!("{role} + {}", master.flush_name());
    for slave in cluster.slaves_of(group) {
        text.push_str(&format!(", slave {}", slave.flush_name()));
    }
    text
}
