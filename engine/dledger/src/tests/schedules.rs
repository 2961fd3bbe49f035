//! Long schedules that are drawn: messages late, twice and lost, disks slow and forgetful, links cut, machines down.
//!
//! After each the faults end, and the group must come together: one leader, equal logs, everything committed.

use std::sync::Arc;

use mq_env::rng::Rng;
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::cluster::{Cluster, Packet};
use super::invariants::Invariant;
use crate::{Event, Finding, NodeId, Role, Settings, UpstreamSwitch};

/// Schedules without a variable that says otherwise.
const SCHEDULES: u64 = 3_000;

/// Acts of a schedule before its faults end.
const ACTS: usize = 400;

/// Messages under way at most; one more loses one.
const PACKETS_MAX: usize = 40;

/// What happens how often, in a schedule of its own mind: some lose much, some seldom sync.
struct Weights([u64; Act::ALL.len()]);

#[derive(Clone, Copy, Debug)]
enum Act {
    Deliver,
    DeliverTwice,
    Drop,
    Io,
    TimeOut,
    Propose,
    Transfer,
    LosePower,
    LeaderLosesPower,
    Kill,
    Wipe,
    Start,
    Isolate,
    CutLink,
    Heal,
}

impl Act {
    const ALL: [(Act, u64); 15] = [
        (Act::Deliver, 500),
        (Act::DeliverTwice, 20),
        (Act::Drop, 20),
        (Act::Io, 150),
        (Act::TimeOut, 60),
        (Act::Propose, 60),
        (Act::Transfer, 4),
        (Act::LosePower, 8),
        (Act::LeaderLosesPower, 8),
        (Act::Kill, 4),
        (Act::Wipe, 2),
        (Act::Start, 40),
        (Act::Isolate, 6),
        (Act::CutLink, 6),
        (Act::Heal, 20),
    ];
}

/// A schedule under way.
struct Schedule {
    cluster: Cluster,
    draws: ChaCha8Rng,
    weights: Weights,
}

impl Schedule {
    fn new(size: u16, settings: &Settings, seed: u64) -> Self {
        let mut cluster = Cluster::new(size, settings, seed);
        cluster.has_lazy_disks = true;
        let mut draws = Rng::from_seed(seed).stream("schedule");
        let scale = |draws: &mut ChaCha8Rng| [0, 1, 1, 1, 2, 4][draws.next_u64() as usize % 6];
        let mut weights = Act::ALL.map(|(_, weight)| weight * scale(&mut draws));
        // Nothing goes on without these.
        for at in [0, 3, 4, 5] {
            weights[at] = weights[at].max(Act::ALL[at].1);
        }
        Schedule { cluster, draws, weights: Weights(weights) }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.draws.next_u64() % bound.max(1) as u64) as usize
    }

    fn any_node(&mut self) -> NodeId {
        NodeId(self.below(self.cluster.nodes.len()) as u16)
    }

    fn any_packet(&mut self) -> Option<Arc<Packet>> {
        let at = self.below(self.cluster.packets.len());
        self.cluster.packets.iter().nth(at).cloned()
    }

    fn next_act(&mut self) -> Act {
        let sum: u64 = self.weights.0.iter().sum();
        let mut drawn = self.draws.next_u64() % sum;
        for (at, weight) in self.weights.0.iter().enumerate() {
            if drawn < *weight {
                return Act::ALL[at].0;
            }
            drawn -= weight;
        }
        unreachable!("a number below the sum of the weights")
    }

    fn act(&mut self) {
        let (act, node) = (self.next_act(), self.any_node());
        let is_up = self.cluster.node(node).is_up;
        match act {
            Act::Deliver | Act::DeliverTwice => {
                if let Some(packet) = self.any_packet() {
                    self.cluster.deliver(&packet, matches!(act, Act::DeliverTwice));
                }
            }
            Act::Drop => self.drop_one(),
            Act::Io if is_up => match self.below(3) {
                0 => self.cluster.sync_log(node),
                1 => self.cluster.write_term(node),
                _ => self.cluster.io(node),
            },
            Act::TimeOut if is_up => self.cluster.time_out(node),
            Act::Propose => self.propose(),
            Act::Transfer => {
                if let Some(leader) = self.cluster.leader() {
                    self.cluster.step(leader, Event::TransferLeadership(node));
                }
            }
            Act::LosePower if is_up => self.cluster.lose_power(node),
            Act::LeaderLosesPower => {
                if let Some(leader) = self.cluster.leader() {
                    self.cluster.lose_power(leader);
                }
            }
            Act::Kill if is_up => self.cluster.kill(node),
            Act::Wipe if self.may_wipe() => self.cluster.wipe(node),
            Act::Start if !is_up => self.start(node),
            Act::Isolate => self.cluster.isolate(node),
            Act::CutLink => {
                let other = self.any_node();
                self.cluster.cut.insert((node, other));
            }
            Act::Heal => self.cluster.heal(),
            _ => {}
        }
        while self.cluster.packets.len() > PACKETS_MAX {
            self.drop_one();
        }
    }

    fn drop_one(&mut self) {
        if let Some(packet) = self.any_packet() {
            self.cluster.packets.remove(&packet);
        }
    }

    fn propose(&mut self) {
        let leads = |it: &NodeId| self.cluster.node(*it).core.role() == Role::Leader;
        let leaders: Vec<NodeId> = self.cluster.ids().into_iter().filter(leads).collect();
        if !leaders.is_empty() {
            let at = self.below(leaders.len());
            self.cluster.propose(leaders[at]);
        }
    }

    /// A group outlives the loss of one disk at a time.
    fn may_wipe(&self) -> bool {
        self.cluster.settings.is_sync_flush
            && self.cluster.nodes.iter().all(|node| !node.disk.hard.is_blank)
    }

    fn start(&mut self, node: NodeId) {
        let is_known = self.draws.next_u64().is_multiple_of(2);
        let committed_index = if is_known { self.cluster.node(node).checkpoint } else { -1 };
        self.cluster.start(node, committed_index);
    }

    /// The faults end; the group must come together.
    fn come_together(&mut self) -> Result<(), String> {
        self.cluster.heal();
        self.cluster.has_lazy_disks = false;
        for id in self.cluster.ids() {
            if self.cluster.node(id).is_up {
                self.cluster.io(id);
            } else {
                self.start(id);
            }
        }
        let is_led = |it: &Cluster| {
            it.leader().is_some_and(|id| it.node(id).ready_term == Some(it.node(id).core.term()))
        };
        if !self.cluster.pass_until(120_000, is_led) {
            return Err("no leader".to_owned());
        }
        let leader = self.cluster.leader().expect("led");
        self.cluster.propose(leader);
        self.cluster.pass(20_000);
        let log = &self.cluster.node(leader).disk.log;
        let strays = self.cluster.nodes.iter().find(|node| {
            node.disk.log.get(log.end()) != log.get(log.end())
                || node.core.committed_index() != log.end()
                || node.core.is_blank()
        });
        let core = &self.cluster.node(leader).core;
        let text = strays.map(|node| format!("{:?} stays apart from {core:?}", node.core));
        let findings = &self.cluster.findings;
        let is_bad = |finding: &Finding| !matches!(finding, Finding::BlankNodeCaughtUp);
        let finding = findings.iter().find(|(_, it)| is_bad(it)).map(|it| format!("{it:?}"));
        text.or(finding).map_or(Ok(()), Err)
    }
}

/// What a schedule broke, if it broke something; and what it committed.
pub(super) fn run(size: u16, settings: &Settings, seed: u64) -> (Option<String>, Cluster) {
    let mut schedule = Schedule::new(size, settings, seed);
    for _ in 0..ACTS {
        schedule.act();
        if schedule.cluster.violation.is_some() {
            break;
        }
    }
    let mut broken = schedule.cluster.violation.as_ref().map(ToString::to_string);
    if broken.is_none() {
        broken = schedule.come_together().err();
        broken = schedule.cluster.violation.as_ref().map(ToString::to_string).or(broken);
    }
    (broken.map(|text| format!("seed {seed}, {size} nodes: {text}")), schedule.cluster)
}

/// A number of the environment, which says how much a test does.
#[expect(clippy::disallowed_methods, reason = "how much a test does is said from outside")]
pub(super) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn drawn_schedules_keep_the_rules_and_come_together() {
    let schedules = number("DLEDGER_SCHEDULES", SCHEDULES);
    let first = number("DLEDGER_FIRST_SEED", 0);
    let (mut committed, mut leaders, mut wiped) = (0, 0, 0);
    for seed in first..first + schedules {
        let size = if seed % 2 == 0 { 3 } else { 5 };
        let mut settings = Settings::of_group(NodeId(0), size);
        settings.max_batch_push_bytes = [0, 4_096][seed as usize / 2 % 2];
        settings.max_pushed_entries = [2, 1_000][seed as usize / 4 % 2];
        let (broken, cluster) = run(size, &settings, seed);
        assert_eq!(broken, None);
        committed += cluster.history.committed().count();
        leaders += cluster.history.leaders();
        wiped += cluster.findings.len();
    }
    println!(
        "{schedules} schedules: {leaders} leaders, {committed} entries committed, {wiped} disks refilled"
    );
    assert!(leaders as u64 > schedules && committed as u64 > 4 * schedules && wiped > 0);
}

/// ASYNC_FLUSH does not promise to keep what a majority of page caches lost. Everything else holds.
#[test]
fn drawn_schedules_without_syncs_lose_entries_and_break_no_other_rule() {
    let mut refused = 0;
    for seed in 0..SCHEDULES / 5 {
        let settings = Settings { is_sync_flush: false, ..Settings::of_group(NodeId(0), 3) };
        let mut schedule = Schedule::new(3, &settings, seed);
        schedule.cluster.excused =
            [Invariant::LeaderCompleteness, Invariant::StateMachineSafety, Invariant::QuorumHolds]
                .into();
        for _ in 0..ACTS {
            schedule.act();
        }
        assert!(
            schedule.cluster.violation.is_none(),
            "seed {seed}: {:?}",
            schedule.cluster.violation
        );
        let is_refusal = |finding: &Finding| matches!(finding, Finding::CommittedCutRefused { .. });
        refused += schedule.cluster.findings.iter().filter(|(_, it)| is_refusal(it)).count();
    }
    assert!(refused > 0, "no majority forgot");
}

#[test]
fn drawn_schedules_of_upstreams_slowness_are_safe() {
    // These switches cost time, and nothing else.
    let slow = [UpstreamSwitch::NoPreVote, UpstreamSwitch::TermNotReady];
    for seed in 0..SCHEDULES / 10 {
        let mut settings = Settings::of_group(NodeId(0), 3);
        settings.upstream = slow.into();
        assert_eq!(run(3, &settings, seed).0, None);
    }
}
