//! The story of one message: its sends and their outcome, the records that brokers stored of it and the copies of those,
//! to whom it was given and when, what came of that, and what faults did to those who had it.
//!
//! Every line is an event of the trace, which has to be whole; nothing is said that no event says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use staticfire_world::trace::{MachineStep, ProcessStep, TraceEvent, TraceRecord, UniqKey};

use crate::duration::seconds;
use crate::forensics::{DELIVERED, Link};
use crate::history::{Delivery, History, SendOp};
use crate::ledger::Ledger;

/// A broker group and the processes and machines that keep its log.
#[derive(Clone, Debug, Default)]
pub struct Keepers {
    /// `brokerName`.
    pub group: String,
    /// Names of the processes.
    pub processes: Vec<String>,
    /// Names of their machines.
    pub machines: Vec<String>,
}

/// Tells the story of message `number` in the order of the trace.
#[must_use]
pub fn tell(
    number: u32,
    trace: &[TraceRecord],
    history: &History,
    ledger: &Ledger,
    keepers: &[Keepers],
) -> Vec<Link> {
    let mut teller = Teller { number, trace, history, keepers, links: Vec::new() };
    teller.operations();
    let keys = teller.keys(ledger);
    let stored = teller.stored(&keys);
    for record in &stored {
        teller.kept(record);
    }
    teller.commits(&stored);
    teller.links.sort_by_key(|link| link.ordinal);
    teller.links.dedup_by(|one, other| one.ordinal == other.ordinal && one.text == other.text);
    teller.links
}

struct Teller<'a> {
    number: u32,
    trace: &'a [TraceRecord],
    history: &'a History,
    keepers: &'a [Keepers],
    links: Vec<Link>,
}

/// A record that a broker stored.
struct Stored<'a> {
    appended: &'a TraceRecord,
    keepers: &'a Keepers,
    bytes: Range<u64>,
    topic: &'a Arc<str>,
    queue_id: u32,
    queue_offset: u64,
}

impl<'a> Teller<'a> {
    fn link(&mut self, record: &TraceRecord, text: impl Into<String>) {
        self.links.push(Link {
            ordinal: record.ordinal,
            at_us: record.at_us,
            source: record.source.to_string(),
            text: text.into(),
        });
    }

    fn deliveries(&self) -> impl Iterator<Item = &'a Delivery> {
        let (read_back, number) = (&self.history.read_back, self.number);
        let read = read_back.values().flat_map(|reading| &reading.messages);
        let all = self.history.deliveries.iter().chain(read);
        all.filter(move |it| it.number == Some(number))
    }

    /// What clients did.
    fn operations(&mut self) {
        let (trace, number) = (self.trace, self.number);
        let deliveries: BTreeMap<u64, &Delivery> =
            self.deliveries().map(|it| (it.ordinal, it)).collect();
        let sends: BTreeMap<u64, &SendOp> = {
            let own = self.history.sends.iter().filter(|it| it.number == number);
            own.map(|it| (it.ordinal, it)).collect()
        };
        for record in trace {
            let TraceEvent::Op { op, what } = &record.event else { continue };
            if *op != u64::from(number) {
                continue;
            }
            let text = match (sends.get(&record.ordinal), deliveries.get(&record.ordinal)) {
                (Some(send), _) => outcome(send),
                (None, Some(delivery)) => delivered(delivery),
                (None, None) => what.to_string(),
            };
            self.link(record, text);
        }
    }

    fn group_of(&self, process: &str) -> Option<&'a Keepers> {
        self.keepers.iter().find(|it| it.processes.iter().any(|name| name == process))
    }

    /// The unique keys that its records bear: one for each send of an application, whatever brokers store of it.
    fn keys(&self, ledger: &Ledger) -> BTreeSet<String> {
        let mut places: BTreeSet<(String, u64)> = BTreeSet::new();
        let acked = self.history.sends.iter().filter(|it| it.number == self.number);
        for place in acked.filter_map(|send| send.place.as_ref()) {
            places.insert((place.queue.group.to_string(), place.phy_offset));
        }
        for delivery in self.deliveries() {
            places.insert((delivery.queue.group.to_string(), delivery.phy_offset));
        }
        for keepers in self.keepers {
            for process in &keepers.processes {
                let records = ledger.view(process).walk().records;
                let own = records.iter().filter(|it| it.number == Some(self.number));
                places.extend(own.map(|it| (keepers.group.clone(), it.indexed.unit.phy_offset)));
            }
        }
        let mut last: BTreeMap<(&str, u64), &UniqKey> = BTreeMap::new();
        for record in self.trace {
            let TraceEvent::Appended { phy_offset, uniq_key: Some(key), .. } = &record.event else {
                continue;
            };
            let Some(keepers) = self.group_of(&record.source) else { continue };
            if places.contains(&(keepers.group.clone(), *phy_offset)) {
                last.insert((&keepers.group, *phy_offset), key);
            }
        }
        last.values().map(ToString::to_string).collect()
    }

    fn stored(&mut self, keys: &BTreeSet<String>) -> Vec<Stored<'a>> {
        let mut stored = Vec::new();
        for appended in self.trace {
            let TraceEvent::Appended {
                phy_offset,
                size_bytes,
                topic,
                queue_id,
                queue_offset,
                uniq_key: Some(key),
            } = &appended.event
            else {
                continue;
            };
            let Some(keepers) = self.group_of(&appended.source) else { continue };
            if !keys.contains(&key.to_string()) {
                continue;
            }
            let bytes = *phy_offset..*phy_offset + u64::from(*size_bytes);
            let text = format!(
                "stored at {}..{}: {topic} queue {queue_id} offset {queue_offset}",
                bytes.start, bytes.end
            );
            self.link(appended, text);
            let (queue_id, queue_offset) = (*queue_id, *queue_offset);
            stored.push(Stored { appended, keepers, bytes, topic, queue_id, queue_offset });
        }
        stored
    }

    /// What became of a record, and of its copies.
    fn kept(&mut self, stored: &Stored<'a>) {
        let origin = &stored.appended.source;
        let mut holders: BTreeSet<&str> = [&**origin].into();
        let mut synced: BTreeSet<&str> = BTreeSet::new();
        let mut is_dispatched: BTreeSet<&str> = BTreeSet::new();
        let trace = self.trace;
        for record in trace.iter().filter(|it| it.ordinal > stored.appended.ordinal) {
            let who = &*record.source;
            let has_it = holders.contains(who);
            let text = match &record.event {
                TraceEvent::Synced { to, .. } if has_it && *to >= stored.bytes.end => {
                    synced.insert(who).then(|| "synced it".to_owned())
                }
                TraceEvent::Dispatched { phy_offset, .. }
                    if has_it && *phy_offset == stored.bytes.start =>
                {
                    is_dispatched.insert(who).then(|| "consumers can see it".to_owned())
                }
                TraceEvent::PutDone { phy_offset, status, .. }
                    if who == &**origin && *phy_offset == Some(stored.bytes.start) =>
                {
                    Some(format!("answered {status}"))
                }
                TraceEvent::HaReceived { from, to }
                    if stored.keepers.processes.iter().any(|it| it == who)
                        && *from < stored.bytes.end
                        && *to >= stored.bytes.end =>
                {
                    synced.remove(who);
                    holders
                        .insert(who)
                        .then(|| format!("has a copy of what lies at {}", stored.bytes.start))
                }
                TraceEvent::Truncated { to, reason, .. } if has_it && *to < stored.bytes.end => {
                    holders.remove(who);
                    Some(format!("cut its log at {to}, before it: {reason}"))
                }
                TraceEvent::Recovered { max_phy_offset, .. }
                    if has_it && *max_phy_offset < stored.bytes.end =>
                {
                    holders.remove(who);
                    Some(format!(
                        "its log ends at {max_phy_offset} after the start: the record is gone"
                    ))
                }
                TraceEvent::Damaged { from, to, what }
                    if has_it && *from < stored.bytes.end && *to > stored.bytes.start =>
                {
                    Some(format!("the device damaged {from}..{to}: {what}"))
                }
                TraceEvent::Process(step) if has_it => ended(step),
                TraceEvent::Machine(MachineStep::DiskDestroyed)
                    if stored.keepers.machines.iter().any(|it| it == who) =>
                {
                    Some("the disk was destroyed".to_owned())
                }
                TraceEvent::Appended { phy_offset, .. }
                    if has_it && stored.bytes.contains(phy_offset) =>
                {
                    holders.remove(who);
                    Some("stored something else in its place".to_owned())
                }
                _ => None,
            };
            if let Some(text) = text {
                self.link(record, text);
            }
        }
    }

    /// The first commits of consumer groups that pass its places.
    fn commits(&mut self, stored: &[Stored<'a>]) {
        let trace = self.trace;
        for it in stored {
            let mut passed: BTreeSet<&str> = BTreeSet::new();
            for record in trace.iter().filter(|record| record.ordinal > it.appended.ordinal) {
                let TraceEvent::OffsetCommitted { group, topic, broker_name, queue_id, offset } =
                    &record.event
                else {
                    continue;
                };
                let is_there = **broker_name == *it.keepers.group
                    && topic == it.topic
                    && *queue_id == it.queue_id;
                if is_there && *offset > it.queue_offset && passed.insert(group) {
                    let text =
                        format!("{group} committed {offset} in {topic} queue {queue_id}, past it");
                    self.link(record, text);
                }
            }
        }
    }
}

fn outcome(send: &SendOp) -> String {
    let attempts = match send.attempts {
        Some(1) => String::new(),
        Some(attempts) => format!(" after {attempts} attempts"),
        None => " (its producer ended meanwhile)".to_owned(),
    };
    let place = send.place.as_ref();
    let place = place.map(|it| format!(", at {} offset {}", it.queue, it.queue_offset));
    format!(
        "sent since {}: {}{attempts}{}",
        seconds(send.started_us),
        send.status,
        place.unwrap_or_default()
    )
}

fn delivered(delivery: &Delivery) -> String {
    let Delivery { consumer_group, queue, queue_offset, body_intact, .. } = delivery;
    let body = if *body_intact { "" } else { ", with another body" };
    format!("{DELIVERED} to {consumer_group} from {queue} offset {queue_offset}{body}")
}

fn ended(step: &ProcessStep) -> Option<String> {
    Some(match step {
        ProcessStep::Killed => "was killed".to_owned(),
        ProcessStep::LostPower => "lost power".to_owned(),
        ProcessStep::Started => "was started".to_owned(),
        ProcessStep::Failed { error } => format!("ended: {error}"),
        ProcessStep::Panicked { text, .. } => format!("panicked: {text}"),
        ProcessStep::Exited => "ended".to_owned(),
        ProcessStep::StopRequested => return None,
    })
}

#[cfg(test)]
mod tests {
    use staticfire_world::clock::WorldTime;
    use staticfire_world::trace::Trace;

    use super::*;
    use crate::history::{Place, a_delivery, a_send};

    #[test]
    fn everything_that_happened_to_a_message_is_told_and_nothing_else() {
        let trace = Trace::new(WorldTime::default());
        let name = |text: &str| trace.name(text);
        let uniq = || Some(UniqKey::Text(trace.name("u")));
        let put = |who: &str, topic: &str, phy_offset: u64, uniq_key: Option<UniqKey>| {
            let topic = trace.name(topic);
            let (queue_id, queue_offset, size_bytes) = (0, 3, 100);
            let event = TraceEvent::Appended {
                phy_offset,
                size_bytes,
                topic,
                queue_id,
                queue_offset,
                uniq_key,
            };
            trace.record(&trace.name(who), 1, event)
        };
        put("a", "T", 700, Some(UniqKey::Text(name("v"))));
        put("a", "T", 800, uniq());
        trace.record(&name("a-s"), 1, TraceEvent::HaReceived { from: 800, to: 900 });
        trace.record(&name("b"), 1, TraceEvent::Synced { from: 800, to: 900 });
        trace.record(&name("a"), 1, TraceEvent::Synced { from: 800, to: 900 });
        let ordinal = trace.op(&name("p"), 1, "SEND_OK");
        trace.op(&name("p"), 2, "SEND_OK");
        let given = trace.op(&name("c"), 1, DELIVERED);
        trace.op(&name("c"), 1, "given back");
        let group = name("g");
        let (topic, broker_name) = (name("T"), name("a"));
        let committed =
            TraceEvent::OffsetCommitted { group, topic, broker_name, queue_id: 0, offset: 4 };
        trace.record(&name("a"), 1, committed);
        put("a", "%DLQ%g", 900, uniq());
        trace.record(&name("a"), 1, TraceEvent::Process(ProcessStep::Killed));
        let place = a_send(1, 3).place.map(|place| Place { phy_offset: 800, ..place });
        let send = SendOp { ordinal, place, attempts: Some(2), ..a_send(1, 3) };
        let delivery = Delivery { ordinal: given, phy_offset: 800, ..a_delivery(1, 3) };
        let history =
            History { sends: vec![send], deliveries: vec![delivery], ..History::default() };
        let keepers =
            Keepers { group: "a".to_owned(), processes: Vec::new(), machines: Vec::new() };
        let tell = |processes: &[&str]| {
            let processes = processes.iter().map(|it| (*it).to_owned()).collect();
            let mut teller = Teller {
                number: 1,
                trace: &trace.records(),
                history: &history,
                keepers: &[Keepers { processes, ..keepers.clone() }],
                links: Vec::new(),
            };
            teller.operations();
            let stored = teller.stored(&["u".to_owned()].into());
            stored.iter().for_each(|it| teller.kept(it));
            teller.commits(&stored);
            teller.links.sort_by_key(|link| link.ordinal);
            teller.links.iter().map(|it| format!("{} {}", it.source, it.text)).collect::<Vec<_>>()
        };
        let expected = [
            "a stored at 800..900: T queue 0 offset 3",
            "a-s has a copy of what lies at 800",
            "a synced it",
            "p sent since 0.000 s: SEND_OK after 2 attempts, at a T queue 0 offset 3",
            "c delivered to g from a T queue 0 offset 3",
            "c given back",
            "a g committed 4 in T queue 0, past it",
            "a stored at 900..1000: %DLQ%g queue 0 offset 3",
            "a was killed",
            "a was killed",
        ];
        assert_eq!(tell(&["a", "a-s"]), expected);
        assert_eq!(tell(&["a"]).len(), expected.len() - 1, "the slave is of another group");
        assert_eq!(tell(&[]).len(), 3, "what clients did");
        let all = super::tell(1, &trace.records(), &history, &Ledger::default(), &[]);
        assert_eq!(all.len(), 3);
    }
}
