//! What lay in topics that an operator had deleted, as the log of a group tells it in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use staticfire_judge::check::acked_durable::Losses;
use staticfire_judge::check::deletions::{Confirmed, Facts, LogDeletion};
use staticfire_judge::history::{Place, SendOp};
use staticfire_judge::ledger::FoundRecord;
use staticfire_world::trace::{Name, Trace};

use crate::run::report::{Finding, Verdict};
use crate::run::{GroupStory, Story};

/// What a group's log says of deleted topics when a story ends.
#[derive(Clone, Debug, Default)]
pub(in crate::run) struct DeletedInLog {
    /// First byte of the log.
    pub(in crate::run) min: u64,
    /// Where it says so.
    pub(in crate::run) deletions: Vec<FoundRecord>,
    /// The records of these topics that lie before.
    pub(in crate::run) records: Vec<FoundRecord>,
}

/// The facts of a group for the checker.
pub(super) fn facts(story: &Story, group: &GroupStory, trace: &Trace) -> Facts {
    let in_log = group.deleted.deletions.iter().map(|it| LogDeletion {
        topic: Arc::clone(&it.indexed.topic),
        phy_offset: it.indexed.unit.phy_offset,
        appended_us: story.ledger.appended_us(&group.name, it.indexed.unit.phy_offset),
    });
    let confirmed = story.ledger.deletions(&group.name).into_iter().map(|it| {
        let owed = story.ledger.owed(&group.name, it.phy_offset, it.ordinal + 1);
        let owed = owed.is_some_and(|owed| owed.is_owed(&group.master_now));
        Confirmed { topic: it.topic, phy_offset: it.phy_offset, ordinal: it.ordinal, owed }
    });
    Facts {
        group: trace.name(&group.name),
        in_log: in_log.collect(),
        confirmed: confirmed.collect(),
    }
}

/// The messages of a group that an operator had deleted with their topic.
pub(super) struct Deleted<'a> {
    /// Topics and where they were deleted.
    places: Vec<(Name, u64)>,
    /// The records that lie before, by first byte.
    records: BTreeMap<u64, Option<u32>>,
    /// Their topics and numbers.
    numbers: BTreeSet<(&'a str, u32)>,
    min: u64,
}

impl<'a> Deleted<'a> {
    pub(super) fn of(story: &Story, group: &'a GroupStory, facts: &Facts) -> Self {
        let lawful = facts.lawful(&story.history).into_iter();
        let places: Vec<(Name, u64)> =
            lawful.map(|it| (Name::clone(&it.topic), it.phy_offset)).collect();
        let lies_before = |it: &&FoundRecord| {
            let at = it.indexed.unit.phy_offset;
            places.iter().any(|(topic, to)| *topic == it.indexed.topic && at < *to)
        };
        let records = group.deleted.records.iter().filter(lies_before);
        let numbers = records.clone().filter_map(|it| Some((&*it.indexed.topic, it.number?)));
        let numbers = numbers.collect();
        let records = records.map(|it| (it.indexed.unit.phy_offset, it.number)).collect();
        Deleted { places, records, numbers, min: group.deleted.min }
    }

    /// Whether an acknowledged message lay in its topic when that was deleted: at its place, or, if it is
    /// `appended_again`, wherever its topic's own record was.
    pub(super) fn has(&self, send: &SendOp, place: &Place, appended_again: bool) -> bool {
        if appended_again {
            return self.numbers.contains(&(&*send.topic, send.number));
        }
        let at = place.phy_offset;
        let lies_before = |(topic, to): &(Name, u64)| *topic == send.topic && at < *to;
        let is_there = || self.records.get(&at) == Some(&Some(send.number));
        self.places.iter().any(lies_before) && (at < self.min || is_there())
    }
}

/// How many that are.
pub(super) fn told(group: &str, losses: &Losses) -> Option<Finding> {
    let count = losses.deleted.len();
    let text = format!("messages of {group} deleted with their topic: {count}");
    (count > 0).then(|| Finding::new(Verdict::Kept, text))
}
