//! Stalls: queues with messages that nobody consumed for long, each with who had the queue and what it waited for.
//!
//! A stall is no violation: most have a fault for a reason. Its chain says which.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::duration::seconds;
use crate::forensics::Link;
use crate::history::{History, QueueKey};
use crate::timeline::{Role, Timeline, Trouble, What};
use crate::watch::TenureStep;

/// A queue is worth a word if its messages waited for longer than one rebalance (20 s), microseconds.
const STALL_MIN_US: u64 = 20_000_000;

/// A queue whose messages nobody consumed for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Consumer groups and queues that stood still for the same reasons.
    pub places: Vec<String>,
    /// From when the first message waited until one was given: simulated microseconds.
    pub time: Range<u64>,
    /// Who had the queue, in one line.
    pub reason: String,
    /// What happened meanwhile.
    pub links: Vec<Link>,
}

/// The stalls of a history that ends at `end_us`, those with one chain as one, in the order of their beginnings.
#[must_use]
pub fn stalls(history: &History, timeline: &Timeline, end_us: u64) -> Vec<Stall> {
    let mut grouped: BTreeMap<(u64, String, Vec<String>), Stall> = BTreeMap::new();
    for (group, queue, time) in gaps(history, end_us) {
        let stall = explain(history, timeline, group, queue, time);
        let texts =
            stall.links.iter().map(|link| format!("{} {}", link.source, link.text)).collect();
        // What began within one second is taken for one.
        let key = (stall.time.start / 1_000_000, stall.reason.clone(), texts);
        match grouped.entry(key) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(stall);
            }
            std::collections::btree_map::Entry::Occupied(mut same) => {
                same.get_mut().places.extend(stall.places);
            }
        }
    }
    grouped.into_values().collect()
}

/// The times in which acknowledged messages of a queue waited for a group, and it was given none.
fn gaps(history: &History, end_us: u64) -> Vec<(&Arc<str>, &QueueKey, Range<u64>)> {
    let mut first: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    let mut given: BTreeMap<(&str, &QueueKey), Vec<u64>> = BTreeMap::new();
    for it in &history.deliveries {
        given.entry((&it.consumer_group, &it.queue)).or_default().push(it.at_us);
        if let Some(number) = it.number {
            first.entry((&it.consumer_group, number)).or_insert(it.at_us);
        }
    }
    let mut waits: BTreeMap<(&Arc<str>, &QueueKey), Vec<Range<u64>>> = BTreeMap::new();
    for send in history.acked() {
        // What is delayed, or in a transaction, waits elsewhere first.
        let place = send.place.as_ref().filter(|place| place.queue.topic == send.topic);
        let Some(place) = place else { continue };
        let groups = history.subscribers(&send.topic);
        for group in groups.filter(|group| history.wants(group, send.number)) {
            let until = first.get(&(&**group, send.number)).copied().unwrap_or(end_us);
            if until > send.ended_us + STALL_MIN_US {
                waits.entry((group, &place.queue)).or_default().push(send.ended_us..until);
            }
        }
    }
    let mut gaps = Vec::new();
    for ((group, queue), mut waits) in waits {
        waits.sort_by_key(|it| it.start);
        let given = given.get(&(&**group, queue)).map_or(&[][..], Vec::as_slice);
        let mut known_us = 0;
        for wait in waits {
            let from = wait.start.max(known_us);
            let mut edges = vec![from];
            edges.extend(given.iter().copied().filter(|at| (from..wait.end).contains(at)));
            edges.push(wait.end.max(from));
            for pair in edges.windows(2).filter(|pair| pair[1] - pair[0] > STALL_MIN_US) {
                gaps.push((group, queue, pair[0]..pair[1]));
            }
            known_us = known_us.max(wait.end);
        }
    }
    gaps
}

fn explain(
    history: &History,
    timeline: &Timeline,
    group: &Arc<str>,
    queue: &QueueKey,
    time: Range<u64>,
) -> Stall {
    let is_of = |step: &&TenureStep| {
        step.queue == *queue && (step.consumer_group == *group || step.consumer == *group)
    };
    let steps: Vec<&TenureStep> = history.watch.steps.iter().filter(is_of).collect();
    let before = steps.iter().rfind(|step| step.at_us <= time.start);
    let within = steps.iter().filter(|step| time.contains(&step.at_us) && step.at_us > time.start);
    let mut links: Vec<Link> = before.into_iter().chain(within).map(|step| tenure(step)).collect();
    let is_concerned = |name: &str| match timeline.role(name) {
        Some(Role::Member(of)) => of == group || *name == **group,
        Some(Role::Broker(of)) => *of == queue.group,
        Some(Role::NameServer) => true,
        None => false,
    };
    let felt = timeline.troubles.iter().filter(|it| it.strikes(&queue.topic));
    let felt = felt.filter(|it| it.concerns(is_concerned));
    let felt =
        felt.filter(|it| it.from_us < time.end && it.until_us.saturating_add(1) > time.start);
    let felt: Vec<&Trouble> = felt.filter(|it| it.what != What::Came { first: true }).collect();
    links.extend(felt.iter().map(|it| trouble(it)));
    links.sort_by_key(|link| link.at_us);
    let owner = before.filter(|step| step.has_it).map(|step| &step.consumer);
    let owner = owner.filter(|owner| {
        let taken_us = before.map_or(0, |step| step.at_us);
        timeline.end_after(owner, taken_us) > time.start
    });
    let reason = match (owner, felt.is_empty()) {
        (None, _) => "nobody had it".to_owned(),
        (Some(owner), true) => format!("{owner} had it, and nothing was in its way"),
        (Some(owner), false) => format!("{owner} had it"),
    };
    Stall { places: vec![format!("{group} in {queue}")], time, reason, links }
}

fn tenure(step: &TenureStep) -> Link {
    let text = if step.has_it { "has the queue" } else { "gives it up" };
    Link {
        ordinal: step.ordinal,
        at_us: step.at_us,
        source: step.consumer.to_string(),
        text: text.to_owned(),
    }
}

fn trouble(trouble: &Trouble) -> Link {
    let until = match trouble.until_us {
        u64::MAX => ", to the end".to_owned(),
        until if until > trouble.from_us => format!(" until {}", seconds(until)),
        _ => String::new(),
    };
    let what = match trouble.what {
        What::Came { .. } => "is started",
        What::Left => "ends",
        What::Vanished => "loses power",
        What::Paused => "is paused",
        What::Cut => "are cut off from each other",
        What::Slow => "have a slow link",
        What::Disk => "has a disk that misbehaves",
        What::Clock => "has a clock that is wrong",
        What::Deleted => "has a topic deleted",
        What::Leaderless => "leads its group no more, or is the one that leads it now",
    };
    let names: Vec<&str> = trouble.sides.iter().filter_map(|side| Some(&**side.first()?)).collect();
    Link {
        ordinal: trouble.ordinal,
        at_us: trouble.from_us,
        source: names.join(", "),
        text: format!("{what}{until}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Delivery, Place, SendOp, a_delivery, a_send};

    const S: u64 = 1_000_000;

    /// Queue 0 and 1, each with a message that was acknowledged at 10 s and given at `given_s`.
    fn history(given_s: [u64; 2], owner: Option<&str>) -> History {
        let mut history = History::default();
        history.subscriptions.insert("g".into(), vec!["T".into()]);
        for (number, given_s) in (0..).zip(given_s) {
            let mut queue = a_delivery(0, 0).queue;
            queue.queue_id = number;
            let given =
                Delivery { at_us: given_s * S, queue: queue.clone(), ..a_delivery(number, 0) };
            history.deliveries.push(given);
            if let Some(owner) = owner {
                history.watch.steps.push(TenureStep {
                    consumer: owner.into(),
                    consumer_group: "g".into(),
                    queue: queue.clone(),
                    has_it: true,
                    at_us: S,
                    ordinal: 1,
                });
            }
            let place = Some(Place { queue, queue_offset: 0, phy_offset: 0 });
            let send = SendOp { ended_us: 10 * S, ordinal: 2, place, ..a_send(number, 0) };
            history.sends.push(send);
        }
        history
    }

    #[test]
    fn what_waits_for_long_is_told_with_its_owner_and_once_for_equal_chains() {
        let timeline = Timeline::default();
        assert_eq!(stalls(&history([30, 12], Some("c")), &timeline, 99 * S), []);
        let both = stalls(&history([40, 41], Some("c")), &timeline, 99 * S);
        assert_eq!(both.len(), 1, "{both:?}");
        assert_eq!(both[0].places, ["g in a T queue 0", "g in a T queue 1"]);
        assert_eq!(both[0].reason, "c had it, and nothing was in its way");
        assert_eq!(both[0].links[0].text, "has the queue");
        let orphans = stalls(&history([40, 12], None), &timeline, 99 * S);
        assert_eq!((orphans.len(), &*orphans[0].reason), (1, "nobody had it"));
        let mut never = history([40, 12], None);
        never.deliveries.clear();
        assert_eq!(stalls(&never, &timeline, 29 * S), []);
        assert_eq!(stalls(&never, &timeline, 31 * S)[0].time, 10 * S..31 * S);
    }

    #[test]
    fn what_was_in_the_way_is_cited() {
        let mut timeline = Timeline::default();
        let node = |name: &str, role: Role| crate::timeline::Node {
            name: name.into(),
            machine: name.into(),
            role,
        };
        timeline.nodes =
            vec![node("c", Role::Member("g".into())), node("b", Role::Broker("b".into()))];
        let paused = |who: &str| Trouble {
            what: What::Paused,
            sides: vec![vec![who.into()]],
            from_us: 12 * S,
            until_us: 39 * S,
            ordinal: 7,
            topic: None,
        };
        let deleted = |topic: &str| {
            let (what, topic) = (What::Deleted, Some(topic.into()));
            Trouble { what, topic, from_us: 11 * S, ordinal: 6, ..paused("a") }
        };
        timeline.nodes.push(node("a", Role::Broker("a".into())));
        timeline.troubles = vec![paused("c"), paused("b"), deleted("T2"), deleted("T")];
        let found = stalls(&history([40, 12], Some("c")), &timeline, 99 * S);
        let texts: Vec<String> =
            found[0].links.iter().map(|it| format!("{} {}", it.source, it.text)).collect();
        let deleted = "a has a topic deleted until 39.000 s";
        assert_eq!(texts, ["c has the queue", deleted, "c is paused until 39.000 s"]);
        assert_eq!((found[0].links[2].ordinal, &*found[0].reason), (7, "c had it"));
    }
}
