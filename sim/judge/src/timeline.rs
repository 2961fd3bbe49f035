//! [`Timeline`]: which processes lived when, and what troubled them: the world says so, and the operator.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use staticfire_world::trace::{
    FaultKind, FaultSummary, ProcessStep, Trace, TraceEvent, TraceRecord,
};

use crate::history::TopicDeletion;

/// What a broker and a name server say once they serve.
const SERVING: &str = "serving";

/// A process whose troubles count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Its machine.
    pub machine: Arc<str>,
    /// What it is.
    pub role: Role,
}

/// What a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A name server.
    NameServer,
    /// A broker of a group (`brokerName`).
    Broker(Arc<str>),
    /// A member of a consumer group.
    Member(Arc<str>),
}

/// What troubled somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was started; a server serves once this is over.
    Came {
        /// For the first time.
        first: bool,
    },
    /// Its process ended; whoever was connected with it hears of that.
    Left,
    /// Its machine lost power: nobody hears of that.
    Vanished,
    /// It was not scheduled.
    Paused,
    /// What is sent on a link is held.
    Cut,
    /// A link is slower than it was.
    Slow,
    /// A disk misbehaves.
    Disk,
    /// A wall clock was tampered with.
    Clock,
    /// An operator had a topic deleted.
    Deleted,
    /// A DLedger group had no master, or got another one.
    Leaderless,
}

impl What {
    /// Whether a process came, ended, or was kept from its work, or lost a topic.
    #[must_use]
    pub fn is_turn(self) -> bool {
        use What::{Came, Deleted, Leaderless, Left, Paused, Vanished};
        matches!(self, Came { .. } | Left | Vanished | Paused | Deleted | Leaderless)
    }
}

/// A trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind.
    pub what: What,
    /// The processes that it struck; of a link those at each end of it.
    pub sides: Vec<Vec<Arc<str>>>,
    /// Simulated microseconds of its beginning.
    pub from_us: u64,
    /// Of its end; `u64::MAX` if it lasts.
    pub until_us: u64,
    /// Ordinal of the trace event of its beginning.
    pub ordinal: u64,
    /// The only topic that it struck; `None`: it struck all.
    pub topic: Option<Arc<str>>,
}

impl Trouble {
    /// Whether it struck a topic.
    #[must_use]
    pub fn strikes(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|it| **it == *topic)
    }

    /// Whether it struck what concerns `is_concerned`; of a link, at both ends.
    pub fn concerns(&self, is_concerned: impl Fn(&str) -> bool) -> bool {
        self.sides.iter().all(|side| side.iter().any(|name| is_concerned(name)))
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The processes.
    pub nodes: Vec<Node>,
    /// What troubled them.
    pub troubles: Vec<Trouble>,
    /// By process, when it ran and was scheduled; simulated microseconds.
    pub lives: BTreeMap<Arc<str>, Vec<Range<u64>>>,
    /// By process, when it ended.
    pub ends: BTreeMap<Arc<str>, Vec<u64>>,
    /// By DLedger group that had a master, the trouble that it has none, if that lasts.
    pub(crate) leaderless: BTreeMap<Arc<str>, Option<usize>>,
}

/// A process while the trace is read.
#[derive(Default)]
struct Life {
    starts: u32,
    since_us: Option<u64>,
    /// Place of the trouble of a server that does not serve yet.
    coming: Option<usize>,
}

impl Timeline {
    /// What a trace says of `nodes`.
    #[must_use]
    pub fn of(trace: &Trace, nodes: Vec<Node>) -> Self {
        let mut timeline = Timeline { nodes, ..Timeline::default() };
        let mut lives: BTreeMap<Arc<str>, Life> = BTreeMap::new();
        let mut started = Vec::new();
        trace.read(|records| {
            for record in records {
                match record.event {
                    TraceEvent::FaultStarted { fault, .. } => started.push((fault, record.ordinal)),
                    _ => timeline.read(record, &mut lives),
                }
            }
        });
        for (name, life) in lives {
            if let Some(since_us) = life.since_us {
                timeline.lives.entry(name).or_default().push(since_us..u64::MAX);
            }
        }
        let faults = trace.faults();
        for (fault, ordinal) in started {
            timeline.fault(&faults[fault.0 as usize], ordinal);
        }
        timeline
    }

    /// Adds what operators had deleted.
    pub fn add_deletions(&mut self, deletions: &[TopicDeletion]) {
        for it in deletions {
            let keeps = |node: &&Node| node.role == Role::Broker(Arc::clone(&it.group));
            let brokers = self.nodes.iter().filter(keeps).map(|node| Arc::clone(&node.name));
            self.troubles.push(Trouble {
                what: What::Deleted,
                sides: vec![brokers.collect()],
                from_us: it.at_us,
                until_us: it.ended_us,
                ordinal: it.ordinal,
                topic: Some(Arc::clone(&it.topic)),
            });
        }
    }

    /// What a process is.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.nodes.iter().find(|node| *node.name == *name).map(|node| &node.role)
    }

    /// When a process ran and was scheduled.
    #[must_use]
    pub fn lives_of(&self, name: &str) -> &[Range<u64>] {
        self.lives.get(name).map_or(&[], Vec::as_slice)
    }

    /// When a process ended that ran at a time; `u64::MAX` if it never did.
    #[must_use]
    pub fn end_after(&self, name: &str, at_us: u64) -> u64 {
        let mut ends = self.ends.get(name).into_iter().flatten();
        ends.find(|it| **it >= at_us).copied().unwrap_or(u64::MAX)
    }

    fn read(&mut self, record: &TraceRecord, lives: &mut BTreeMap<Arc<str>, Life>) {
        let at_us = record.at_us;
        let step = match &record.event {
            TraceEvent::Process(step) => step,
            TraceEvent::CeasedMaster { .. } | TraceEvent::BecameMaster { .. } => {
                return self.led(record);
            }
            TraceEvent::Life { what } if **what == *SERVING => {
                let coming = lives.get_mut(&record.source).and_then(|life| life.coming.take());
                if let Some(coming) = coming {
                    self.troubles[coming].until_us = at_us;
                }
                return;
            }
            _ => return,
        };
        let Some(role) = self.role(&record.source).cloned() else { return };
        let life = lives.entry(Arc::clone(&record.source)).or_default();
        let what = match step {
            ProcessStep::StopRequested => return,
            ProcessStep::Started => {
                life.starts += 1;
                life.since_us = Some(at_us);
                let is_server = !matches!(role, Role::Member(_));
                life.coming = is_server.then_some(self.troubles.len());
                What::Came { first: life.starts == 1 }
            }
            ended => {
                if let Some(coming) = life.coming.take() {
                    self.troubles[coming].until_us = at_us;
                }
                self.ends.entry(Arc::clone(&record.source)).or_default().push(at_us);
                if let Some(since_us) = life.since_us.take() {
                    let lived = self.lives.entry(Arc::clone(&record.source)).or_default();
                    lived.push(since_us..at_us);
                }
                if *ended == ProcessStep::LostPower { What::Vanished } else { What::Left }
            }
        };
        let until_us = if life.coming.is_some() { u64::MAX } else { at_us };
        let sides = vec![vec![Arc::clone(&record.source)]];
        let (from_us, ordinal) = (at_us, record.ordinal);
        self.troubles.push(Trouble { what, sides, from_us, until_us, ordinal, topic: None });
    }

    /// A DLedger group has a master, or none. The first one is waited for before the story.
    fn led(&mut self, record: &TraceRecord) {
        let Some(Role::Broker(group)) = self.role(&record.source).cloned() else { return };
        let (at_us, ordinal) = (record.at_us, record.ordinal);
        let has_master = matches!(record.event, TraceEvent::BecameMaster { .. });
        let next = self.troubles.len();
        let lasting = self.leaderless.insert(group, (!has_master).then_some(next));
        if let Some(Some(lasting)) = lasting {
            self.troubles[lasting].until_us = at_us;
        }
        if !has_master || lasting == Some(None) {
            let until_us = if has_master { at_us } else { u64::MAX };
            let sides = vec![vec![Arc::clone(&record.source)]];
            let (what, from_us, topic) = (What::Leaderless, at_us, None);
            self.troubles.push(Trouble { what, sides, from_us, until_us, ordinal, topic });
        }
    }

    fn fault(&mut self, fault: &FaultSummary, ordinal: u64) {
        let (from_us, until_us) = (fault.started_us, fault.healed_us.unwrap_or(u64::MAX));
        let there = |machine: &str| -> Vec<Arc<str>> {
            let nodes = self.nodes.iter().filter(|node| *node.machine == *machine);
            nodes.map(|node| Arc::clone(&node.name)).collect()
        };
        let what = match fault.kind {
            // The ends of processes tell of these.
            FaultKind::Kill | FaultKind::PowerLoss | FaultKind::DiskDestroyed => return,
            FaultKind::Pause => What::Paused,
            FaultKind::Partition => What::Cut,
            FaultKind::Link => What::Slow,
            FaultKind::Clock => What::Clock,
            FaultKind::Disk => What::Disk,
        };
        let struck: Vec<Vec<Vec<Arc<str>>>> = match what {
            What::Paused => vec![vec![vec![Arc::clone(&fault.target)]]],
            What::Cut | What::Slow => {
                fault.links.iter().map(|ends| ends.iter().map(|it| there(it)).collect()).collect()
            }
            _ => vec![vec![there(&fault.target)]],
        };
        if what == What::Paused {
            // One that does not run cannot be paused.
            let Some(lives) = self.lives.get_mut(&fault.target) else { return };
            if !lives.iter().any(|life| life.contains(&from_us)) {
                return;
            }
            *lives = lives.iter().flat_map(|life| without(life, from_us..until_us)).collect();
        }
        let troubles = struck.into_iter().map(|sides| {
            let topic = None;
            Trouble { what, sides, from_us, until_us, ordinal, topic }
        });
        self.troubles.extend(troubles);
    }
}

fn without(life: &Range<u64>, pause: Range<u64>) -> Vec<Range<u64>> {
    let before = life.start..life.end.min(pause.start.max(life.start));
    let after = life.start.max(pause.end.min(life.end))..life.end;
    [before, after].into_iter().filter(|it| !it.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use staticfire_world::clock::WorldTime;

    use super::*;

    fn node(name: &str, machine: &str, role: Role) -> Node {
        Node { name: name.into(), machine: machine.into(), role }
    }

    fn nodes() -> Vec<Node> {
        vec![
            node("a", "10.0.0.1", Role::Broker("a".into())),
            node("c-1", "172.31.0.1", Role::Member("g".into())),
        ]
    }

    #[test]
    fn lives_end_and_pause() {
        let time = WorldTime::default();
        let trace = Trace::new(time.clone());
        let (member, broker) = (trace.name("c-1"), trace.name("a"));
        let step = |ms: u64, who: &Arc<str>, step: ProcessStep| {
            time.set_ms(ms);
            trace.record(who, 1, TraceEvent::Process(step));
        };
        step(1, &member, ProcessStep::Started);
        step(2, &broker, ProcessStep::Started);
        time.set_ms(5);
        trace.record(&broker, 1, TraceEvent::Life { what: trace.name("serving") });
        let pause = trace.fault_started(FaultKind::Pause, &member, "");
        time.set_ms(8);
        trace.fault_healed(pause, "");
        step(10, &member, ProcessStep::Killed);
        step(11, &trace.name("stranger"), ProcessStep::Started);
        step(12, &member, ProcessStep::Started);
        step(13, &broker, ProcessStep::LostPower);
        let timeline = Timeline::of(&trace, nodes());
        assert_eq!(timeline.lives["c-1"], [1_000..5_000, 8_000..10_000, 12_000..u64::MAX]);
        assert_eq!(
            (timeline.end_after("c-1", 9_000), timeline.end_after("c-1", 10_001)),
            (10_000, u64::MAX)
        );
        assert_eq!(timeline.lives["a"], [Range { start: 2_000, end: 13_000 }]);
        let told: Vec<_> =
            timeline.troubles.iter().map(|it| (it.what, it.from_us, it.until_us)).collect();
        let expected = [
            (What::Came { first: true }, 1_000, 1_000),
            (What::Came { first: true }, 2_000, 5_000),
            (What::Left, 10_000, 10_000),
            (What::Came { first: false }, 12_000, 12_000),
            (What::Vanished, 13_000, 13_000),
            (What::Paused, 5_000, 8_000),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn links_concern_those_at_both_ends() {
        let trace = Trace::new(WorldTime::default());
        let ends = |one: &str, other: &str| vec![[trace.name(one), trace.name(other)]];
        trace.link_fault_started(FaultKind::Partition, ends("10.0.0.1", "172.31.0.1"), "");
        trace.link_fault_started(FaultKind::Link, ends("172.31.0.1", "10.0.0.1"), "");
        trace.link_fault_started(FaultKind::Partition, ends("10.0.0.1", "172.31.0.9"), "");
        trace.fault_started(FaultKind::Disk, &trace.name("10.0.0.1"), "hangs");
        let timeline = Timeline::of(&trace, nodes());
        let all: Vec<bool> = timeline.troubles.iter().map(|it| it.concerns(|_| true)).collect();
        assert_eq!(all, [true, true, false, true]);
        let broker: Vec<bool> =
            timeline.troubles.iter().map(|it| it.concerns(|name| name == "a")).collect();
        assert_eq!(broker, [false, false, false, true]);
    }
}
