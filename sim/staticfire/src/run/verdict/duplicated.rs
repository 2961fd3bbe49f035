//! What came more than once, and why.

use std::collections::BTreeMap;

use staticfire_judge::check::duplicates::{self, Duplicate, Facts};
use staticfire_judge::ledger::custody::Moment;
use staticfire_world::trace::{Name, ProcessStep, Trace, TraceEvent, TraceRecord};

use super::facts::RottenRecords;
use crate::plan::{Millis, Plan};
use crate::run::Story;

/// A link or a disk that is slower than this lets requests time out without any fault.
const SLOW: Millis = Millis(1_000);

/// The facts that the checker is fed with.
pub(super) fn facts(plan: &Plan, story: &Story, trace: &Trace, rotten: &RottenRecords) -> Facts {
    let again = super::appended_again(plan).into_iter().map(Name::from);
    let mut facts = Facts { appended_again: again.collect(), ..Facts::default() };
    let groups = story.groups.iter().map(|group| Name::from(&*group.name));
    facts.damaged = groups.filter(|group| rotten.are_in(group)).collect();
    facts.restarts = restarts(story, trace);
    facts.troubled_from = troubled_from(plan, trace);
    facts
}

/// Ordinal of the first event from which on answers may be lost.
pub(super) fn troubled_from(plan: &Plan, trace: &Trace) -> Option<u64> {
    let cluster = &plan.cluster;
    if cluster.link_latency >= SLOW || cluster.sync_latency[1] >= SLOW {
        return Some(0);
    }
    let mut first = None;
    trace.read(|records| {
        first = records.iter().find(|it| is_trouble(it)).map(|it| it.ordinal);
    });
    first
}

/// When brokers of each group were started once more.
pub(super) fn restarts(story: &Story, trace: &Trace) -> BTreeMap<Name, Vec<Moment>> {
    let mut starts: BTreeMap<Name, u32> = BTreeMap::new();
    let mut restarts: BTreeMap<Name, Vec<Moment>> = BTreeMap::new();
    trace.read(|records| {
        let started = |it: &&TraceRecord| it.event == TraceEvent::Process(ProcessStep::Started);
        for record in records.iter().filter(started) {
            let starts = starts.entry(Name::clone(&record.source)).or_default();
            *starts += 1;
            let mut groups = story.groups.iter().filter(|_| *starts > 1);
            if let Some(group) = groups.find(|group| group.has(&record.source)) {
                let at = Moment { ordinal: record.ordinal, at_us: record.at_us };
                restarts.entry(Name::from(&*group.name)).or_default().push(at);
            }
        }
    });
    restarts
}

/// Whether an answer may be lost from here on.
fn is_trouble(record: &TraceRecord) -> bool {
    match &record.event {
        TraceEvent::Process(step) => !matches!(step, ProcessStep::Started),
        TraceEvent::FaultStarted { .. }
        | TraceEvent::ConnectionReset { .. }
        | TraceEvent::ConnectionTimedOut { .. }
        | TraceEvent::Machine(_) => true,
        _ => false,
    }
}

/// One line for each cause, the most frequent one first: how many messages came more often for it, and the first of
/// them.
pub(super) fn causes(found: &[Duplicate<'_>]) -> Vec<String> {
    let mut causes: BTreeMap<(&Name, String), (u32, &Duplicate<'_>)> = BTreeMap::new();
    for duplicate in found {
        let Some(alibi) = &duplicate.alibi else { continue };
        let why = match alibi {
            duplicates::Alibi::GivenBack => continue,
            duplicates::Alibi::QueueTaken { consumer, .. } => {
                format!("{consumer} took a queue that was not committed so far")
            }
            duplicates::Alibi::OwnedTwice { consumer, .. } => {
                format!("{consumer} had a queue at the same time as another member")
            }
            other => other.to_string(),
        };
        let first =
            causes.entry((&duplicate.delivery.consumer_group, why)).or_insert((0, duplicate));
        first.0 += 1;
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let lines = causes.into_iter().map(|((group, why), (count, first))| {
        let Duplicate { delivery, before, alibi } = first;
        let alibi = alibi.as_ref().map_or_else(String::new, ToString::to_string);
        format!(
            "{group} got {count} more often: {why}; {} from {} offset {} (#{}), before that {} (#{}): {alibi}",
            delivery.key, delivery.queue, delivery.queue_offset, delivery.ordinal, before.consumer, before.ordinal
        )
    });
    lines.collect()
}
