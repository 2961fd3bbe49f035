//! Every schedule of a small group within bounds, breadth first, so that what breaks a rule is found by a shortest way.
//!
//! A state is everything that a node, a disk or the network could still act on. Each act is one of: a packet arrives, a
//! disk does what it was asked to, a node's next timer fires, a leader gets an entry, a node loses power (or its disk) and
//! starts again, a node is cut off, the cut heals. A packet may stay under way for ever, so that
//! every loss is among the schedules.
//!
//! Three things make it small enough. Any timer may be the next: times are set back after every act, so that a
//! leader's lease does not end. Heartbeats are left out, except where a blank node needs them. And with
//! [`Bounds::has_prompt_answers`] a link carries one request, which arrives with its answer or without, or is lost when the
//! next one takes its place; without that every packet is for itself, and the schedules are shorter.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use mq_env::collections::HashSet;
use rand_chacha::ChaCha8Rng;

use super::cluster::{Cluster, Packet};
use super::invariants::Violation;
use super::schedules::number;
use crate::role::RoleState;
use crate::{DLedgerCore, NodeId, Role, Settings, Term, UpstreamSwitch};

/// How far an exploration goes. Each counts over a whole schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) terms: Term,
    pub(super) entries: u32,
    pub(super) crashes: u32,
    /// Whether a crash costs the disk.
    pub(super) wipes: bool,
    pub(super) partitions: u32,
    pub(super) time_outs: u32,
    /// An answer arrives together with its request, or is lost; otherwise it is a packet of its own.
    pub(super) has_prompt_answers: bool,
    /// States that are seen at most; the depth that was looked through wholly is what counts then.
    pub(super) states: usize,
}

/// What came of it.
pub(super) struct Explored {
    pub(super) states: usize,
    /// Acts up to which every schedule was looked at.
    pub(super) depth: usize,
    /// Whether there is no longer one.
    pub(super) is_complete: bool,
    /// What was broken, and the acts that lead there.
    pub(super) violation: Option<(Violation, Vec<String>)>,
}

#[derive(Clone)]
struct State {
    cluster: Cluster,
    used: Used,
    /// What every core draws from, always from its beginning.
    rng: Arc<ChaCha8Rng>,
    node_hashes: Vec<u64>,
}

#[derive(Clone, Default, Hash)]
struct Used {
    entries: u32,
    crashes: u32,
    partitions: u32,
    time_outs: u32,
}

#[derive(Clone, Debug)]
enum Act {
    Deliver(Arc<Packet>),
    /// A request arrives whose answer is lost.
    DeliverInVain(Arc<Packet>),
    Io(NodeId),
    TimeOut(NodeId),
    Propose(NodeId),
    Crash(NodeId),
    Wipe(NodeId),
    Isolate(NodeId),
    Heal,
}

/// Every node's clock stands here in every state.
const NOW_MS: u64 = 1_000_000;

impl State {
    fn acts(&self, bounds: &Bounds) -> Vec<Act> {
        let (cluster, used) = (&self.cluster, &self.used);
        let packets = || cluster.packets.iter().cloned();
        let mut acts: Vec<Act> = packets().map(Act::Deliver).collect();
        if bounds.has_prompt_answers {
            acts.extend(packets().map(Act::DeliverInVain));
        }
        for id in cluster.ids() {
            if cluster.has_io(id) {
                acts.push(Act::Io(id));
            }
            if used.time_outs < bounds.time_outs {
                acts.push(Act::TimeOut(id));
            }
            if used.entries < bounds.entries && cluster.node(id).core.role() == Role::Leader {
                acts.push(Act::Propose(id));
            }
            if used.crashes < bounds.crashes {
                acts.push(if bounds.wipes { Act::Wipe(id) } else { Act::Crash(id) });
            }
            if used.partitions < bounds.partitions {
                acts.push(Act::Isolate(id));
            }
        }
        if !cluster.cut.is_empty() {
            acts.push(Act::Heal);
        }
        acts
    }

    /// The state after an act; none where nothing came of it, so that it is as if the packet had stayed under way.
    fn after(&self, act: &Act, bounds: &Bounds) -> Option<State> {
        let mut next = self.clone();
        let (cluster, used) = (&mut next.cluster, &mut next.used);
        match act {
            Act::Deliver(packet) => cluster.deliver(packet, false),
            Act::DeliverInVain(packet) => {
                cluster.deliver(packet, false);
                cluster.packets.retain(|packet| !packet.message.is_response());
            }
            Act::Io(id) => cluster.io(*id),
            Act::TimeOut(id) => {
                used.time_outs += 1;
                cluster.time_out(*id);
            }
            Act::Propose(id) => {
                used.entries += 1;
                cluster.propose(*id);
            }
            Act::Crash(id) => {
                used.crashes += 1;
                cluster.lose_power(*id);
                cluster.start(*id, -1);
            }
            Act::Wipe(id) => {
                used.crashes += 1;
                cluster.wipe(*id);
                cluster.start(*id, -1);
            }
            Act::Isolate(id) => {
                used.partitions += 1;
                cluster.isolate(*id);
            }
            Act::Heal => cluster.heal(),
        }
        if next.used.crashes == bounds.crashes {
            // No disk forgets any more, so that a slow one is only one whose node says everything late.
            while let Some(id) = next.cluster.ids().into_iter().find(|id| next.cluster.has_io(*id))
            {
                next.cluster.io(id);
            }
        }
        if bounds.has_prompt_answers {
            next.deliver_answers();
            next.lose_what_is_late(self);
        }
        next.normalise(Some(self));
        let is_delivery = matches!(act, Act::Deliver(_) | Act::DeliverInVain(_));
        let is_same = next.node_hashes == self.node_hashes
            && next.cluster.packets.len() + 1 == self.cluster.packets.len();
        (!is_delivery || !is_same).then_some(next)
    }

    fn deliver_answers(&mut self) {
        let answer = |it: &Cluster| it.packets.iter().find(|it| it.message.is_response()).cloned();
        while let Some(packet) = answer(&self.cluster) {
            self.cluster.deliver(&packet, false);
        }
    }

    /// A link carries one request: a new one takes the place of the one before, and one is lost that its receiver would
    /// only call expired.
    fn lose_what_is_late(&mut self, before: &State) {
        let cluster = &mut self.cluster;
        let (nodes, old) = (&cluster.nodes, &before.cluster.packets);
        let link = |packet: &Packet| (packet.message.from, packet.message.to);
        let new: Vec<_> = cluster.packets.difference(old).map(|packet| link(packet)).collect();
        let mut taken = BTreeSet::new();
        cluster.packets.retain(|packet| {
            let is_expired =
                packet.message.term < nodes[usize::from(packet.message.to.0)].core.term();
            let is_replaced = old.contains(packet) && new.contains(&link(packet));
            !is_expired && !is_replaced && taken.insert(link(packet))
        });
    }

    /// Sets the clocks of the nodes that have changed to the same time, and what was to be drawn to the same numbers.
    fn normalise(&mut self, before: Option<&State>) {
        for at in 0..self.cluster.nodes.len() {
            let is_changed =
                |it: &State| !Arc::ptr_eq(&it.cluster.nodes[at], &self.cluster.nodes[at]);
            if !before.is_none_or(is_changed) {
                continue;
            }
            let node = Arc::make_mut(&mut self.cluster.nodes[at]);
            set_times(&mut node.core);
            node.core.now_ms = NOW_MS;
            node.now_ms = NOW_MS;
            node.core.rng = (*self.rng).clone();
            let mut hasher = DefaultHasher::new();
            hash_core(&node.core, &mut hasher);
            (&node.disk, node.is_up, node.committed_seen).hash(&mut hasher);
            self.node_hashes[at] = hasher.finish();
        }
    }

    fn is_within(&self, bounds: &Bounds) -> bool {
        self.cluster.nodes.iter().all(|node| node.core.term() <= bounds.terms)
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let cluster = &self.cluster;
        (&self.node_hashes, &cluster.packets, &cluster.cut, &cluster.history, &self.used)
            .hash(&mut hasher);
        hasher.finish()
    }
}

fn hash_core(core: &DLedgerCore, hasher: &mut DefaultHasher) {
    (core.hard, core.persisted, &core.held, &core.log, core.committed_index).hash(hasher);
    (&core.role, core.election_due_ms, core.leader_heard_ms, &core.blank, core.is_failed)
        .hash(hasher);
}

/// Sets every time that a core keeps to what it is when all that its role can wait for has just begun: a rule must not
/// depend on time, so that any timer may be the next.
fn set_times(core: &mut DLedgerCore) {
    core.election_due_ms = NOW_MS + core.settings.min_vote_interval_ms;
    core.leader_heard_ms = core.leader_heard_ms.map(|_| NOW_MS);
    match &mut core.role {
        RoleState::Unknown | RoleState::Candidate(_) => {}
        RoleState::Follower(following) => {
            if let Some(take) = &mut following.take {
                take.due_ms = NOW_MS + core.settings.leadership_transfer_wait_timeout_ms;
            }
        }
        RoleState::Leader(leadership) => {
            leadership.preferred_due_ms = NOW_MS;
            if let Some(transfer) = &mut leadership.transfer {
                transfer.due_ms = NOW_MS + core.settings.leadership_transfer_wait_timeout_ms;
            }
            for peer in &mut leadership.peers {
                peer.sent_ms = peer.sent_ms.map(|_| NOW_MS);
                peer.commit_told_ms = NOW_MS;
                peer.heard_ms = NOW_MS;
                peer.heart_beat_due_ms = NOW_MS + core.settings.heart_beat_time_interval_ms;
                peer.compare_due_ms = NOW_MS;
            }
        }
    }
}

/// How states were reached: each by which act of which state.
struct Ways(Vec<(u32, u16)>);

impl Ways {
    fn tell(&self, start: &State, bounds: &Bounds, mut at: usize) -> Vec<String> {
        let mut steps = Vec::new();
        while at != 0 {
            let (parent, act) = self.0[at];
            steps.push(act);
            at = parent as usize;
        }
        let mut state = start.clone();
        let mut told = Vec::new();
        for step in steps.into_iter().rev() {
            let act = &state.acts(bounds)[usize::from(step)];
            told.push(format!("{act:?}"));
            state = state.after(act, bounds).expect("it had an effect");
        }
        told
    }
}

/// Looks at every schedule within the bounds, up to the first that breaks a rule.
pub(super) fn explore(start: Cluster, bounds: &Bounds) -> Explored {
    let rng = Arc::new(start.rng.stream("explore"));
    let node_hashes = vec![0; start.nodes.len()];
    let mut start = State { cluster: start, used: Used::default(), rng, node_hashes };
    start.normalise(None);
    let mut ways = Ways(vec![(0, 0)]);
    let mut seen = HashSet::default();
    seen.insert(start.fingerprint());
    let mut frontier = vec![(start.clone(), 0_u32)];
    let mut depth = 0;
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for (state, parent) in frontier {
            for (step, act) in state.acts(bounds).iter().enumerate() {
                let Some(after) = state.after(act, bounds) else { continue };
                if !after.is_within(bounds) || !seen.insert(after.fingerprint()) {
                    continue;
                }
                let at = ways.0.len();
                ways.0.push((parent, step as u16));
                if let Some(violation) = after.cluster.violation.clone() {
                    let told = ways.tell(&start, bounds, at);
                    let violation = Some((violation, told));
                    return Explored { states: at, depth, is_complete: false, violation };
                }
                next.push((after, at as u32));
            }
            if ways.0.len() > bounds.states {
                let states = ways.0.len();
                return Explored { states, depth, is_complete: false, violation: None };
            }
        }
        depth += 1;
        frontier = next;
    }
    Explored { states: ways.0.len(), depth, is_complete: true, violation: None }
}

/// Settings under which timers of a kind fire together, so that there are fewer of them.
pub(super) fn settings() -> Settings {
    Settings {
        heart_beat_time_interval_ms: 1_000,
        max_pushed_entries: 1,
        min_vote_interval_ms: 300,
        max_vote_interval_ms: 300,
        ..Settings::of_group(NodeId(0), 3)
    }
}

/// Three nodes, of which the first is the first to ask for votes: which one it is makes no difference.
pub(super) fn start(settings: &Settings) -> Cluster {
    let mut cluster = Cluster::new(3, settings, 1);
    cluster.has_lazy_disks = true;
    cluster.has_no_heart_beats = true;
    cluster.time_out(NodeId(0));
    cluster
}

/// A group in which the first node leads term 1 and is followed.
pub(super) fn started(settings: &Settings) -> Cluster {
    let mut cluster = start(settings);
    for _ in 0..8 {
        cluster.deliver_all();
        cluster.ids().into_iter().for_each(|id| cluster.io(id));
    }
    cluster.deliver_all();
    assert_eq!(cluster.leader(), Some(NodeId(0)));
    cluster
}

fn assert_sound(name: &str, start: Cluster, bounds: &Bounds) {
    let Explored { states, depth, is_complete, violation } = explore(start, bounds);
    let extent = if is_complete { "all of them" } else { "and no deeper" };
    println!("{name}: {states} states, every schedule of {depth} acts, {extent}; {bounds:?}");
    if let Some((violation, told)) = violation {
        panic!("{name}: {violation} after\n{}", told.join("\n"));
    }
}

/// States of an exploration without a variable that says otherwise.
const STATES: u64 = 45_000;

/// Two terms, a crash, and as many time-outs as make a leader of another node.
pub(super) fn bounds() -> Bounds {
    Bounds {
        terms: 2,
        entries: 1,
        crashes: 1,
        wipes: false,
        partitions: 0,
        time_outs: 2,
        has_prompt_answers: true,
        states: number("DLEDGER_STATES", STATES) as usize,
    }
}

/// Without pre-votes there are more schedules: whoever waits may ask for votes.
fn settings_without_pre_votes() -> Settings {
    Settings { upstream: [UpstreamSwitch::NoPreVote].into(), ..settings() }
}

#[test]
fn no_schedule_of_a_group_with_a_leader_breaks_a_rule() {
    let start = started(&settings_without_pre_votes());
    assert_sound("a leader, a crash, another leader", start, &bounds());
}

#[test]
fn no_schedule_of_a_new_group_breaks_a_rule() {
    let start = start(&settings());
    assert_sound("a new group", start, &Bounds { time_outs: 4, ..bounds() });
}

#[test]
fn no_schedule_with_three_entries_a_crash_and_a_partition_breaks_a_rule() {
    let bounds = Bounds { entries: 3, partitions: 1, time_outs: 5, ..bounds() };
    assert_sound("entries and a partition", started(&settings_without_pre_votes()), &bounds);
}

#[test]
fn no_schedule_of_late_answers_breaks_a_rule() {
    let bounds = Bounds { entries: 3, time_outs: 5, has_prompt_answers: false, ..bounds() };
    let settings = Settings { max_pushed_entries: 1_000, ..settings_without_pre_votes() };
    assert_sound("every packet for itself", started(&settings), &bounds);
}

#[test]
fn no_schedule_with_a_lost_disk_breaks_a_rule() {
    let bounds = Bounds { wipes: true, ..bounds() };
    let mut start = started(&settings_without_pre_votes());
    start.has_no_heart_beats = false;
    assert_sound("a lost disk", start, &bounds);
}
