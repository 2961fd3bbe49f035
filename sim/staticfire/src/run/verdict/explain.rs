//! Why messages are gone: the chain of each of the first ones, and a line for each.

use std::collections::BTreeMap;

use mq_protocol::ack_rule::Held;
use staticfire_judge::check::acked_durable::Losses;
use staticfire_judge::forensics::{self, Fate, LostMessage};
use staticfire_judge::history::message_key;
use staticfire_world::trace::{Trace, TraceRecord};

use crate::run::report::LostKey;
use crate::run::{GroupStory, Story};

/// Chains that are searched per broker group: a run that loses thousands is explained by its first ones.
const FATES_MAX: usize = 20;

/// The chains of the first lost messages of a broker group, by number.
pub(super) fn chains(
    story: &Story,
    group: &GroupStory,
    trace: &Trace,
    losses: &Losses,
) -> BTreeMap<u32, Fate> {
    let first = losses.lost.iter().take(FATES_MAX);
    trace.read(|records| {
        first.filter_map(|number| Some((*number, chain(story, group, records, *number)?))).collect()
    })
}

fn chain(story: &Story, group: &GroupStory, records: &[TraceRecord], number: u32) -> Option<Fate> {
    let send = story.history.acked().find(|send| send.number == number)?;
    let place = send.place.as_ref()?;
    let acked = story.history.answered(send).ordinal;
    let fact = story.ledger.ack_fact(&group.name, place.phy_offset, acked);
    let broker = fact.as_ref().map_or(group.master_then.as_str(), |fact| &fact.ack.broker);
    let members = group.replicas.iter().chain([&group.master_then]);
    let replicas: Vec<String> = members.filter(|name| *name != broker).cloned().collect();
    let lost = LostMessage {
        number,
        broker,
        phy_offset: place.phy_offset,
        end_offset: fact.as_ref().map_or(place.phy_offset, |fact| fact.end_offset),
        acked,
        in_process_memory: fact.as_ref().is_some_and(|it| it.ack.held == Held::Process),
        replicas: &replicas,
        machines: &group.machines,
        master_now: &group.master_now,
    };
    Some(forensics::explain(records, &lost))
}

/// A line for each lost message, those with a chain first, in the order of the chains.
pub(super) fn lost_keys(
    losses: &Losses,
    fates: &BTreeMap<u32, Fate>,
    permitted: impl Fn(u32) -> bool,
) -> Vec<LostKey> {
    let line = |number: u32, reason: &str| LostKey {
        key: message_key(number),
        reason: reason.to_owned(),
        permitted: permitted(number),
    };
    let told = fates.iter().map(|(number, fate)| line(*number, &fate.reason));
    let others = losses.lost.iter().filter(|number| !fates.contains_key(number));
    told.chain(others.map(|number| line(*number, "as the messages before it"))).collect()
}
