//! A group of cores with disks and a network, for tests: everything is a value, and nothing happens by itself.
//!
//! A disk has a page cache, which a kill leaves and a power loss takes, and what is synced. Packets are under way until
//! somebody delivers or drops them, in any order; those to a node that stops are gone.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use mq_env::rng::Rng;

use super::invariants::{History, Invariant, Violation};
use super::landings::{check_landing, landing_of};
use crate::{
    Body, Command, DLedgerCore, EntryMeta, EntrySource, Event, Finding, HardState, LedgerIndex,
    LogView, Message, NO_INDEX, NodeId, ProposalId, PushType, Recovered, ResponseCode, Role,
    Settings, Term, UpstreamSwitch,
};

/// An entry with its body, which is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    pub(super) term: Term,
    pub(super) body: u32,
}

/// Bodies of the entries that leaders write for themselves.
pub(super) const NO_OP: u32 = 0;

/// Entries from an index on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Log {
    begin: LedgerIndex,
    entries: Vec<Entry>,
}

impl Log {
    pub(super) fn get(&self, index: LedgerIndex) -> Option<Entry> {
        usize::try_from(index - self.begin).ok().and_then(|at| self.entries.get(at)).copied()
    }

    pub(super) fn end(&self) -> LedgerIndex {
        self.begin + self.entries.len() as LedgerIndex - 1
    }

    pub(super) fn bodies(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.body).collect()
    }

    fn cut(&mut self, keep_through: LedgerIndex, is_emptied: bool) {
        if is_emptied {
            *self = Log { begin: keep_through + 1, entries: Vec::new() };
        }
        self.entries.truncate((keep_through + 1 - self.begin) as usize);
    }

    /// Where two logs differ although they have an equal (index, term) behind.
    pub(super) fn parts_before_equal(&self, other: &Log) -> Option<LedgerIndex> {
        let indexes = self.begin.max(other.begin)..=self.end().min(other.end());
        let term = |log: &Log, index| log.get(index).map(|entry| entry.term);
        let last = indexes.clone().rev().find(|it| term(self, *it) == term(other, *it))?;
        (*indexes.start()..=last).find(|index| self.get(*index) != other.get(*index))
    }
}

/// What a node has on its disk.
#[derive(Clone, Debug, Hash)]
pub(super) struct Disk {
    pub(super) hard: HardState,
    /// Asked to be persisted, and not yet.
    hard_pending: Option<HardState>,
    /// As processes read it.
    pub(super) log: Log,
    /// As it is after a power loss.
    pub(super) synced: Log,
}

/// A node.
#[derive(Clone)]
pub(super) struct NodeState {
    pub(super) core: DLedgerCore,
    pub(super) disk: Disk,
    pub(super) is_up: bool,
    pub(super) now_ms: u64,
    /// The committed index that it last told.
    pub(super) committed_seen: LedgerIndex,
    pub(super) ready_term: Option<Term>,
    /// The committed index of its checkpoint, which is as new as it may be.
    pub(super) checkpoint: LedgerIndex,
}

/// A message under way, with the bodies of its entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Packet {
    pub(super) message: Message,
    bodies: Vec<u32>,
}

/// The group.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) settings: Arc<Settings>,
    /// Shared by copies of the group until they are changed.
    pub(super) nodes: Vec<Arc<NodeState>>,
    /// Equal packets are one: a duplicate is made by delivering without taking out.
    pub(super) packets: BTreeSet<Arc<Packet>>,
    /// Links, by direction, that lose everything.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// Whether heartbeats are left out: a push does to a follower what they do.
    pub(super) has_no_heart_beats: bool,
    /// Whether disks wait for [`Cluster::io`].
    pub(super) has_lazy_disks: bool,
    pub(super) history: History,
    pub(super) violation: Option<Violation>,
    /// What a group of these settings does not promise.
    pub(super) excused: BTreeSet<Invariant>,
    pub(super) findings: Vec<(NodeId, Finding)>,
    pub(super) rejected: Vec<(ProposalId, ResponseCode)>,
    pub(super) rng: Rng,
    next_body: u32,
}

impl Cluster {
    /// `size` nodes of a new group.
    pub(super) fn new(size: u16, settings: &Settings, seed: u64) -> Self {
        let mut cluster = Cluster {
            settings: Arc::new(settings.clone()),
            nodes: Vec::new(),
            packets: BTreeSet::new(),
            cut: BTreeSet::new(),
            has_no_heart_beats: false,
            has_lazy_disks: false,
            history: History::default(),
            violation: None,
            excused: BTreeSet::new(),
            findings: Vec::new(),
            rejected: Vec::new(),
            rng: Rng::from_seed(seed),
            next_body: NO_OP + 1,
        };
        for id in (0..size).map(NodeId) {
            let disk = Disk {
                hard: HardState::NEW,
                hard_pending: None,
                log: Log::default(),
                synced: Log::default(),
            };
            let core = cluster.start_core(id, &disk, NO_INDEX, 0);
            let node = NodeState {
                core,
                disk,
                is_up: true,
                now_ms: 0,
                committed_seen: NO_INDEX,
                ready_term: None,
                checkpoint: NO_INDEX,
            };
            cluster.nodes.push(Arc::new(node));
        }
        cluster
    }

    /// Three nodes with the defaults and some of upstream's behaviours.
    pub(super) fn three(upstream: &[UpstreamSwitch]) -> Self {
        let settings = Settings {
            upstream: upstream.iter().copied().collect(),
            ..Settings::of_group(NodeId(0), 3)
        };
        Cluster::new(3, &settings, 1)
    }

    fn start_core(
        &self,
        id: NodeId,
        disk: &Disk,
        committed_index: LedgerIndex,
        now_ms: u64,
    ) -> DLedgerCore {
        let size = self.settings.peers.len() as u16 + 1;
        let peers = Settings::of_group(id, size).peers;
        let settings = Settings { self_id: id, peers, ..(*self.settings).clone() };
        let meta = |entry: &Entry| EntryMeta { term: entry.term, size_bytes: 100 };
        let log = LogView::recovered(disk.log.begin, disk.log.entries.iter().map(meta));
        let recovered = Recovered { hard_state: disk.hard, log, committed_index };
        let rng = self.rng.stream(&format!("elections of {id} from {now_ms}"));
        DLedgerCore::new(Arc::new(settings), rng, recovered, now_ms)
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.core.self_id()).collect()
    }

    pub(super) fn node(&self, id: NodeId) -> &NodeState {
        &self.nodes[usize::from(id.0)]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut NodeState {
        Arc::make_mut(&mut self.nodes[usize::from(id.0)])
    }

    /// The leader of the largest term, of those that run.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let leaders = self.nodes.iter().filter(|it| it.is_up && it.core.role() == Role::Leader);
        leaders.max_by_key(|it| it.core.term()).map(|it| it.core.self_id())
    }

    /// Tells a node something, and does what it asks for.
    pub(super) fn step(&mut self, id: NodeId, event: Event) {
        self.step_with(id, event, &[]);
    }

    fn step_with(&mut self, id: NodeId, event: Event, bodies: &[u32]) {
        if !self.node(id).is_up {
            return;
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let first_index = match &event {
                Event::Received(Message { body: Body::PushRequest(request), .. }) => {
                    request.first_index
                }
                _ => 0,
            };
            let node = self.node_mut(id);
            let landing = landing_of(&node.core, &event);
            let commands = node.core.step(event, node.now_ms);
            check_landing(landing, &commands);
            for command in commands {
                self.obey(id, command, first_index, bodies, &mut events);
            }
        }
        let node = self.node(id);
        let is_late = node.core.next_tick_ms().is_some_and(|due| due <= node.core.now_ms);
        assert!(!is_late, "a timer is due that has just been looked at: {:?}", node.core);
        let committed = node.core.committed_index();
        let checkpoint = node.core.durable_committed_index();
        self.node_mut(id).checkpoint = checkpoint.max(self.node(id).checkpoint);
        if committed < self.node(id).committed_seen {
            self.check_commit(id, committed);
        }
    }

    fn obey(
        &mut self,
        id: NodeId,
        command: Command,
        first_index: LedgerIndex,
        bodies: &[u32],
        events: &mut VecDeque<Event>,
    ) {
        match command {
            Command::Send(message) => self.send(message),
            Command::PersistTermAndVote(state) => {
                self.node_mut(id).disk.hard_pending = Some(state);
                if !self.has_lazy_disks {
                    events.extend(self.persist(id));
                }
            }
            Command::Append { first_index: index, entries, source } => {
                let bodies: Vec<u32> = match source {
                    EntrySource::Push => bodies[(index - first_index) as usize..].to_vec(),
                    EntrySource::NoOp => vec![NO_OP],
                    EntrySource::Proposal(ProposalId(body)) => {
                        (0..entries.len()).map(|at| body as u32 + at as u32).collect()
                    }
                };
                let log = &mut self.node_mut(id).disk.log;
                assert_eq!(index, log.end() + 1, "no hole in the log");
                let entries = entries.iter().zip(bodies);
                log.entries.extend(entries.map(|(meta, body)| Entry { term: meta.term, body }));
                events.push_back(self.written(id));
                if !self.has_lazy_disks {
                    events.push_back(self.sync(id));
                }
                self.check_log(id);
            }
            Command::Truncate { keep_through, is_emptied, .. } => {
                self.check_cut(id, keep_through);
                self.node_mut(id).disk.log.cut(keep_through, is_emptied);
            }
            Command::Commit(index) => self.check_commit(id, index),
            Command::RoleChanged { role: Role::Leader, .. } => self.check_leader(id),
            Command::RoleChanged { .. } => {}
            Command::LeadershipReady { term, .. } => self.node_mut(id).ready_term = Some(term),
            Command::RejectProposal { proposal, code } => self.rejected.push((proposal, code)),
            Command::Report(finding) => self.findings.push((id, finding)),
        }
    }

    fn send(&mut self, message: Message) {
        let mut bodies = Vec::new();
        if let Body::PushRequest(request) = &message.body
            && request.push_type != PushType::Commit
        {
            let log = &self.node(message.from).disk.log;
            let indexes = request.first_index..=request.last_index();
            bodies = indexes.filter_map(|index| log.get(index)).map(|entry| entry.body).collect();
            assert_eq!(bodies.len(), request.entries.len(), "a leader pushes what it has");
        }
        let is_lost =
            self.cut.contains(&(message.from, message.to)) || !self.node(message.to).is_up;
        if !is_lost {
            self.packets.insert(Arc::new(Packet { message, bodies }));
        }
    }

    fn persist(&mut self, id: NodeId) -> Option<Event> {
        let disk = &mut self.node_mut(id).disk;
        let (old, new) = (disk.hard, disk.hard_pending.take()?);
        disk.hard = new;
        self.check_vote(id, old, new);
        Some(Event::TermAndVotePersisted(new))
    }

    fn written(&self, id: NodeId) -> Event {
        let node = self.node(id);
        Event::Written { generation: node.core.log().generation(), index: node.disk.log.end() }
    }

    fn sync(&mut self, id: NodeId) -> Event {
        let node = self.node_mut(id);
        node.disk.synced = node.disk.log.clone();
        Event::Synced { generation: node.core.log().generation(), index: node.disk.log.end() }
    }

    /// Whether a disk has something to do.
    pub(super) fn has_io(&self, id: NodeId) -> bool {
        let disk = &self.node(id).disk;
        self.node(id).is_up && (disk.hard_pending.is_some() || disk.synced != disk.log)
    }

    /// A disk does what it was asked to.
    pub(super) fn io(&mut self, id: NodeId) {
        self.sync_log(id);
        self.write_term(id);
    }

    /// A disk syncs the log, and no more.
    pub(super) fn sync_log(&mut self, id: NodeId) {
        let event = self.sync(id);
        self.step(id, event);
    }

    /// A disk makes term and vote durable, and no more.
    pub(super) fn write_term(&mut self, id: NodeId) {
        if let Some(event) = self.persist(id) {
            self.step(id, event);
        }
    }

    /// Delivers a packet; it stays under way if it is to come twice.
    pub(super) fn deliver(&mut self, packet: &Arc<Packet>, comes_twice: bool) {
        if !comes_twice {
            self.packets.remove(packet);
        }
        let (message, bodies) = (packet.message.clone(), &packet.bodies);
        if !self.cut.contains(&(message.from, message.to)) {
            self.step_with(message.to, Event::Received(message), bodies);
        }
    }

    /// Delivers everything, and what comes of it, in order.
    pub(super) fn deliver_all(&mut self) {
        for _ in 0..100_000 {
            let Some(packet) = self.packets.first().cloned() else { return };
            self.deliver(&packet, false);
        }
        panic!("messages without an end");
    }

    pub(super) fn drop_all(&mut self) {
        self.packets.clear();
    }

    /// Lets time pass everywhere, timer by timer, and delivers everything at once.
    pub(super) fn pass(&mut self, ms: u64) {
        self.pass_until(ms, |_| false);
    }

    /// As [`Cluster::pass`], until something has come about; whether it has.
    pub(super) fn pass_until(&mut self, ms: u64, has_come: impl Fn(&Cluster) -> bool) -> bool {
        // Nodes whose own timers fired are ahead.
        let mut now = self.nodes.iter().map(|node| node.now_ms).max().unwrap_or(0);
        let end = now + ms;
        self.deliver_all();
        while now < end && !has_come(self) {
            let up = self.nodes.iter().filter(|node| node.is_up);
            let next = up.filter_map(|node| node.core.next_tick_ms()).min().unwrap_or(end);
            now = next.clamp(now + 1, end);
            for id in self.ids() {
                self.node_mut(id).now_ms = now;
                self.step(id, Event::Tick);
            }
            self.deliver_all();
        }
        has_come(self)
    }

    /// A node's own timer fires, and the next ones until it has said something, or would if its disk were done; the
    /// others' time stands still.
    pub(super) fn time_out(&mut self, id: NodeId) {
        for _ in 0..4 {
            let before = self.packets.len();
            let Some(due) = self.node(id).core.next_tick_ms() else { return };
            let node = self.node_mut(id);
            node.now_ms = node.now_ms.max(due);
            self.step(id, Event::Tick);
            if self.packets.len() > before || self.node(id).disk.hard_pending.is_some() {
                return;
            }
        }
    }

    /// Proposes an entry; its body.
    pub(super) fn propose(&mut self, id: NodeId) -> u32 {
        let body = self.next_body;
        self.next_body += 1;
        let proposal = ProposalId(u64::from(body));
        self.step(id, Event::Propose { proposal, sizes_bytes: vec![100] });
        body
    }

    /// The process ends; the page cache stays.
    pub(super) fn kill(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        node.is_up = false;
        node.disk.hard_pending = None;
        self.packets.retain(|packet| packet.message.to != id);
    }

    /// The machine loses power: what was not synced is gone.
    pub(super) fn lose_power(&mut self, id: NodeId) {
        self.kill(id);
        let disk = &mut self.node_mut(id).disk;
        disk.log = disk.synced.clone();
    }

    /// The disk is another one, and empty.
    pub(super) fn wipe(&mut self, id: NodeId) {
        self.kill(id);
        let hard = HardState { is_blank: true, ..HardState::NEW };
        let (log, synced) = (Log::default(), Log::default());
        let node = self.node_mut(id);
        node.disk = Disk { hard, hard_pending: None, log, synced };
        node.checkpoint = NO_INDEX;
    }

    /// The node starts from its disk, knowing that much of the committed index.
    pub(super) fn start(&mut self, id: NodeId, committed_index: LedgerIndex) {
        // A start makes durable what it found.
        self.sync(id);
        let now_ms = self.node(id).now_ms;
        let core = self.start_core(id, &self.node(id).disk, committed_index, now_ms);
        let node = self.node_mut(id);
        node.committed_seen = core.committed_index();
        node.ready_term = None;
        node.core = core;
        node.is_up = true;
    }

    /// Cuts a node off, in both directions; what is under way is lost.
    pub(super) fn isolate(&mut self, id: NodeId) {
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.cut.extend([(id, other), (other, id)]);
        }
        self.packets.retain(|packet| packet.message.from != id && packet.message.to != id);
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Fails on a broken rule.
    pub(super) fn assert_sound(&self) {
        if let Some(violation) = &self.violation {
            panic!("{violation}");
        }
    }
}
