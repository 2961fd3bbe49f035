//! [`Witness`]: tells the ledger what is about to be done to brokers, and notes where their copies stood.
//!
//! Every operation that takes a process down, or lets one lead its group, passes through here just before it
//! is carried out, whoever asked for it: what custody knows depends on no list of events.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use staticfire_judge::check::bound::FaultPositions;
use staticfire_judge::ledger::custody::Moment;
use staticfire_judge::ledger::{Processes, Turn};

use super::Cluster;
use super::broker_process::BrokerProcess;
use crate::run::stage::Machine;

/// See the module.
#[derive(Default)]
pub(super) struct Witness {
    /// By group: the process whose log is the group's.
    leaders: RefCell<BTreeMap<String, String>>,
    /// Every process that was one.
    led: RefCell<BTreeSet<String>>,
    /// By group: where copies stood, per fault that takes one.
    positions: RefCell<BTreeMap<String, Vec<FaultPositions>>>,
    /// By process: when its pause began.
    paused_since_us: RefCell<BTreeMap<String, u64>>,
    /// By process: how long its pauses were that are over.
    paused_us: RefCell<BTreeMap<String, u64>>,
    pub(super) first_fault_us: Cell<Option<u64>>,
    /// Groups of which a disk was destroyed.
    blanked: RefCell<BTreeSet<String>>,
    /// Brokers that lost their disks and were not seen with equal copies since.
    forgetful: RefCell<BTreeSet<String>>,
    /// Groups whose log began anew, on an empty disk.
    begun_anew: RefCell<BTreeSet<String>>,
}

impl Cluster {
    /// Where the copies of a group stood at each fault that took one of them.
    #[must_use]
    pub fn positions(&self, group: &str) -> Vec<FaultPositions> {
        self.witness.positions.borrow().get(group).cloned().unwrap_or_default()
    }

    /// Whether the disk of a copy of a group was destroyed: what that copy holds now may have nothing in common
    /// with the others, which then rightly refuse to follow it, or are refused.
    #[must_use]
    pub fn was_blanked(&self, group: &str) -> bool {
        self.witness.blanked.borrow().contains(group)
    }

    /// Whether the log of a group began anew because its master's disk was destroyed: topics and consumer
    /// groups are gone with it, until an operator makes them.
    #[must_use]
    pub fn leads_blank(&self, group: &str) -> bool {
        self.witness.begun_anew.borrow().contains(group)
    }

    /// Whether a broker lost its disk, and was not seen with an equal copy since.
    pub(super) fn has_forgotten(&self, process: &str) -> bool {
        self.witness.forgetful.borrow().contains(process)
    }

    /// All copies of a group are equal.
    pub(in crate::run) fn note_equal(&self, group: &str) {
        let mut forgetful = self.witness.forgetful.borrow_mut();
        for member in self.members_of(group) {
            forgetful.remove(member.name());
        }
    }

    fn note_leader(&self, broker: &BrokerProcess) {
        let group = broker.group();
        let is_empty = self.ledger.view(broker.name()).min().is_none();
        if self.was_blanked(&group) && is_empty {
            self.witness.begun_anew.borrow_mut().insert(group.clone());
        }
        self.witness.led.borrow_mut().insert(broker.name().to_owned());
        self.witness.leaders.borrow_mut().insert(group, broker.name().to_owned());
    }

    /// Whether the log of a process was its group's at any time.
    #[must_use]
    pub fn has_led(&self, process: &str) -> bool {
        let elected = self.tenancies();
        self.witness.led.borrow().contains(process)
            || elected.iter().any(|it| *it.process == *process)
    }

    /// When the first fault struck.
    #[must_use]
    pub fn first_fault_us(&self) -> Option<u64> {
        self.witness.first_fault_us.get()
    }

    /// Says that `turn` is about to be done to `processes`; others than brokers are left out.
    pub(super) fn about_to(&self, turn: Turn, processes: &[String]) {
        let trace = self.trace();
        self.ledger.note_damage(trace);
        let brokers = processes.iter().filter_map(|name| self.brokers.get(name));
        let mut groups: Vec<String> = brokers.map(BrokerProcess::group).collect();
        groups.sort();
        groups.dedup();
        for group in &groups {
            self.note_positions(group, turn, processes);
        }
        if turn == Turn::DiskDestroyed {
            self.witness.blanked.borrow_mut().extend(groups.iter().cloned());
            self.witness.forgetful.borrow_mut().extend(processes.iter().cloned());
        }
        let at = Moment { ordinal: trace.len() as u64, at_us: trace.now_us() };
        self.ledger.turn(turn, processes, at, self);
        if turn == Turn::Leads {
            processes
                .iter()
                .filter_map(|name| self.brokers.get(name))
                .for_each(|it| self.note_leader(it));
        }
    }

    /// The brokers on the machine of a process.
    #[must_use]
    pub fn beside(&self, machine: &dyn Machine) -> Vec<String> {
        let there = |broker: &&BrokerProcess| broker.machine().name() == machine.name();
        self.brokers.values().filter(there).map(|broker| broker.name().to_owned()).collect()
    }

    /// Notes where the copies of `group` end, if `turn` takes the one that leads, or pages of another.
    fn note_positions(&self, group: &str, turn: Turn, processes: &[String]) {
        let elected = self.is_dledger(group).then(|| self.master_of(group)).flatten();
        let named = || self.witness.leaders.borrow().get(group).cloned();
        let Some(leader) = elected.map(|it| it.name().to_owned()).or_else(named) else { return };
        let is_hit = |name: &str| processes.iter().any(|it| it == name);
        let takes_pages = matches!(turn, Turn::PowerLoss | Turn::DiskDestroyed);
        let others = self.members_of(group).map(BrokerProcess::name).filter(|it| **it != leader);
        let others: Vec<&str> = others.collect();
        let successor = others.iter().find(|it| turn == Turn::Leads && is_hit(it));
        let hits_leader = successor.is_some() || (turn != Turn::Leads && is_hit(&leader));
        let others = successor.map_or(others.clone(), |successor| vec![*successor]);
        let at_us = self.trace().now_us();
        let hit_others = others.iter().filter(|it| takes_pages && is_hit(it));
        for slave in hit_others.clone() {
            self.ledger.slave_will_lose_pages(slave, &leader, at_us);
        }
        if !hits_leader && hit_others.clone().next().is_none() {
            return;
        }
        let ordinal = self.trace().len() as u64;
        // Each of several slaves may be the one that is promoted.
        let slaves = others.iter().map(|it| Some(*it));
        let slaves: Vec<Option<&str>> =
            if others.is_empty() { vec![None] } else { slaves.collect() };
        for slave in slaves {
            let all = self.ledger.positions(&leader, slave);
            let leader_loses_pages = hits_leader && takes_pages;
            let slave_loses_pages = takes_pages && slave.is_some_and(is_hit);
            let paused_us = self.paused_us(&leader);
            let positions = FaultPositions {
                at_us,
                ordinal,
                master_synced_to: all.master_synced_to.filter(|_| leader_loses_pages),
                master_committed_to: all.master_committed_to.filter(|_| hits_leader),
                uncommitted_us_max: all.uncommitted_us_max + paused_us,
                slave_received_to: all.slave_received_to.filter(|_| hits_leader),
                slave_synced_to: all.slave_synced_to.filter(|_| slave_loses_pages),
            };
            self.witness
                .positions
                .borrow_mut()
                .entry(group.to_owned())
                .or_default()
                .push(positions);
        }
    }

    /// Whether a process was paused and not resumed since.
    pub(super) fn is_paused(&self, node: &str) -> bool {
        self.witness.paused_since_us.borrow().contains_key(node)
    }

    /// A process is not scheduled from now on.
    pub(super) fn note_pause(&self, node: &str) {
        let now_us = self.trace().now_us();
        self.witness.paused_since_us.borrow_mut().entry(node.to_owned()).or_insert(now_us);
    }

    /// It is again.
    pub(super) fn note_resume(&self, node: &str) {
        let now_us = self.trace().now_us();
        let since_us = self.witness.paused_since_us.borrow_mut().remove(node).unwrap_or(now_us);
        *self.witness.paused_us.borrow_mut().entry(node.to_owned()).or_default() +=
            now_us - since_us;
    }
}

impl Processes for Cluster {
    fn is_running(&self, process: &str) -> bool {
        self.node(process).is_running()
    }

    fn paused_us(&self, process: &str) -> u64 {
        let since_us = self.witness.paused_since_us.borrow().get(process).copied();
        let present_us = since_us.map_or(0, |since_us| self.trace().now_us() - since_us);
        let past_us = self.witness.paused_us.borrow().get(process).copied();
        past_us.unwrap_or_default() + present_us
    }
}
