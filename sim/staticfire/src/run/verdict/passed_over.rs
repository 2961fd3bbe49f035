//! What operators had consumer groups pass over, and whether anybody went where they said.

use std::collections::{BTreeMap, BTreeSet};

use staticfire_judge::check::offsets::excuse::Excuses;
use staticfire_judge::history::{Delivery, History, OffsetReset, OffsetStep};
use staticfire_world::trace::Name;

use crate::plan::Plan;
use crate::run::report::{Finding, Verdict};

/// Whoever is told of a reset lets the queue rest for so long before it goes on elsewhere.
const REST_US: u64 = 10_000_000;

/// The messages that resets had each consumer group pass over wherever they lie.
pub(super) fn reset_over(history: &History, excuses: &Excuses) -> BTreeSet<(Name, u32)> {
    let groups: BTreeSet<&Name> = excuses.places_of_resets().map(|(group, _)| group).collect();
    let mut passed = BTreeSet::new();
    for group in groups {
        let (mut covered, mut owed) = (BTreeSet::new(), BTreeSet::new());
        let topics = history.subscriptions.get(group).map_or(&[][..], Vec::as_slice);
        for (queue, reading) in history.read_back.iter().filter(|it| topics.contains(&it.0.topic)) {
            let excuse = excuses.at(&(Name::clone(group), queue.clone()));
            for message in &reading.messages {
                let Some(number) = message.number else { continue };
                let is_covered = excuse.is_passed_over(message.queue_offset);
                if is_covered {
                    covered.insert(number)
                } else {
                    owed.insert(number)
                };
            }
        }
        passed.extend(covered.difference(&owed).map(|number| (Name::clone(group), *number)));
    }
    passed
}

/// Whether an operator had the group of a delivery go on elsewhere before it could have come again.
pub(super) fn is_cut_off(history: &History, delivery: &Delivery) -> bool {
    history.offset_resets.iter().any(|reset| {
        reset.consumer_group == delivery.consumer_group
            && reset.queue == delivery.queue
            && reset.passes_over(delivery.queue_offset)
            && delivery.at_us <= reset.at_us.saturating_add(REST_US)
    })
}

/// How much that is, a line for each group.
pub(super) fn told(passed_over: &BTreeSet<(Name, u32)>) -> Vec<Finding> {
    let mut counts: BTreeMap<&Name, u32> = BTreeMap::new();
    passed_over.iter().for_each(|(group, _)| *counts.entry(group).or_default() += 1);
    let text = |(group, count)| format!("messages passed over by resets of {group}: {count}");
    counts.into_iter().map(|it| Finding::new(Verdict::Kept, text(it))).collect()
}

/// Resets, deletions of groups among them, that a broker answered and that nobody followed: no member went there, and nothing was committed there.
pub(super) fn without_effect(plan: &Plan, history: &History) -> Vec<Finding> {
    let verdict = if plan.disturbances.is_empty() { Verdict::Vacuous } else { Verdict::Kept };
    let mut resets: BTreeMap<(u64, &Name, &Name), bool> = BTreeMap::new();
    for reset in history.offset_resets.iter().filter(|it| it.from != it.to) {
        let place = (reset.ordinal, &reset.consumer_group, &reset.queue.topic);
        *resets.entry(place).or_default() |= is_followed(history, reset);
    }
    let idle = resets.into_iter().filter(|(_, is_followed)| !is_followed);
    let text = |(_, group, topic)| {
        format!("reset_offset {group} ({topic}) had no effect: nobody went there")
    };
    idle.map(|(place, _)| Finding::new(verdict, text(place))).collect()
}

fn is_followed(history: &History, reset: &OffsetReset) -> bool {
    let OffsetReset { consumer_group, queue, to, ordinal, .. } = reset;
    let sets = history.pull_offsets.iter();
    let mut sets = sets.filter(|it| it.queue == *queue && it.consumer_group == *consumer_group);
    let place = (Name::clone(consumer_group), queue.clone());
    let committed = history.group_offsets.get(&place).into_iter().flatten();
    let mut committed = committed.filter(|it| it.step == OffsetStep::Committed);
    sets.any(|it| it.queue_offset == *to && it.ordinal >= *ordinal)
        || committed.any(|it| it.queue_offset == *to && it.ordinal >= *ordinal)
}
