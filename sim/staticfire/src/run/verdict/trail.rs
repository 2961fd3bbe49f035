//! What is known of a message that did not come, for whoever reads of it: it explains a finding and decides none.

use std::collections::BTreeSet;

use staticfire_judge::duration::seconds;
use staticfire_judge::history::{History, LocalTransaction, OffsetStep, Place, QueueKey, SendOp};
use staticfire_judge::ledger::custody::Owed;
use staticfire_world::trace::Name;

/// How a consumer group came past a place: who read from behind it, or that the group committed behind it, or how far
/// it got.
pub(super) fn past(history: &History, consumers: &Name, queue: &QueueKey, offset: u64) -> String {
    let here = format!("{queue} has it at {offset}, and");
    let taken = history.pull_offsets.iter();
    let taken: Vec<_> =
        taken.filter(|it| it.consumer_group == *consumers && it.queue == *queue).collect();
    let place = (Name::clone(consumers), queue.clone());
    let offsets = history.group_offsets.get(&place).into_iter().flatten();
    let mut committed = offsets.filter(|it| it.step == OffsetStep::Committed);
    let committed = committed.find(|it| it.queue_offset > offset);
    let beyond = taken.iter().find(|it| it.queue_offset > offset);
    let until = committed.map_or(u64::MAX, |it| it.ordinal);
    match (beyond.filter(|it| it.ordinal < until), committed) {
        (Some(it), _) => format!(
            "{here} {} read that queue from {} on (#{})",
            it.consumer, it.queue_offset, it.ordinal
        ),
        (None, Some(it)) => {
            let owner = taken.iter().rev().find(|taken| taken.ordinal < it.ordinal);
            let owner = owner.map_or_else(
                || "nobody had read it".to_owned(),
                |it| format!("{} had read it from {} on", it.consumer, it.queue_offset),
            );
            format!("{here} {consumers} committed {} (#{}): {owner}", it.queue_offset, it.ordinal)
        }
        (None, None) => match taken.last() {
            None => format!("{here} nobody of {consumers} took that queue"),
            Some(last) => {
                let mut given = history.deliveries.iter().rev();
                let given = given.find(|it| it.consumer_group == *consumers && it.queue == *queue);
                let given = given.map_or_else(
                    || "was given nothing there".to_owned(),
                    |it| format!("was given {} last there (#{})", it.queue_offset, it.ordinal),
                );
                format!(
                    "{here} {} read from {} on (#{}); {consumers} {given}",
                    last.consumer, last.queue_offset, last.ordinal
                )
            }
        },
    }
}

/// What became of the copies of a message's record, and what was to become of those that are no end by themselves.
pub(super) fn custody(
    history: &History,
    send: &SendOp,
    owed: Option<&Owed>,
    appended_again: &BTreeSet<&str>,
) -> String {
    let Some(owed) = owed else { return "no broker gave that SEND_OK".to_owned() };
    if !appended_again.contains(&*send.topic) {
        return owed.to_string();
    }
    let topic = &send.topic;
    let wanting = match history.transactions.get(&send.number) {
        Some(LocalTransaction::Committed { ordinal }) => {
            format!(
                "its local transaction was committed (#{ordinal}), and no queue of {topic} has it"
            )
        }
        Some(_) => return owed.to_string(),
        None => format!("no queue of {topic} got it from there"),
    };
    format!("{owed}; {wanting}")
}

/// What a fresh group was told of the queue that a message was put into.
pub(super) fn reading(history: &History, place: &Place) -> String {
    let Place { queue, queue_offset, .. } = place;
    match history.read_back.get(queue) {
        None => format!("{queue} was not read"),
        Some(it) => {
            let (min, max) = (it.min_offset, it.max_offset);
            format!("{queue}, where it was put at {queue_offset}, was read from {min} to {max}")
        }
    }
}

/// How the last send ended that was not acknowledged after `healed_us`, for whoever waits for acknowledgements.
pub(super) fn refused(history: &History, healed_us: u64) -> String {
    let mut refused = history.sends.iter().rev();
    let refused = refused.find(|it| !it.is_acked() && it.ended_us > healed_us);
    refused.map_or_else(String::new, |it| {
        let at = seconds(it.ended_us);
        format!("; message {} got {} at {at} (#{})", it.number, it.status, it.ordinal)
    })
}
