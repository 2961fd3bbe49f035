//! Which brokers an action takes down, blanks, or makes the log of their group: what custody has to know
//! before it is carried out.

use std::collections::BTreeMap;

use crate::plan::Action;
use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;
use crate::run::stage::Machine;
use staticfire_judge::ledger::custody::Moment;
use staticfire_judge::ledger::{Processes, Turn};

/// The turns of an action, in the order in which they happen.
pub(super) fn turns(cluster: &Cluster, action: &Action) -> Vec<(Turn, Vec<String>)> {
    match action {
        Action::Kill { node } => vec![(Turn::Kill, vec![node.clone()])],
        Action::PowerLoss { node, .. } => vec![(Turn::PowerLoss, beside(cluster, node))],
        Action::PowerLossGroup { group } => {
            let members = cluster.brokers().values().filter(|broker| broker.group() == *group);
            let mut hit: Vec<String> =
                members.flat_map(|broker| on_machine(cluster, &**broker.machine())).collect();
            hit.sort();
            hit.dedup();
            vec![(Turn::PowerLoss, hit)]
        }
        Action::DestroyDisk { node } => vec![(Turn::DiskDestroyed, beside(cluster, node))],
        Action::Promote { node } => {
            let old = cluster.brokers().get(node).and_then(|it| cluster.master_of(&it.group()));
            let old = old.filter(|old| old.handle().is_running());
            let fenced = old.map(|old| (Turn::Kill, vec![old.name().to_owned()]));
            fenced.into_iter().chain([(Turn::Leads, vec![node.clone()])]).collect()
        }
        Action::Restart { node, .. } => vec![(Turn::Leads, masters_started(cluster, node, None))],
        Action::RejoinAsSlave { node } => {
            vec![(Turn::Leads, masters_started(cluster, node, Some(node)))]
        }
        _ => Vec::new(),
    }
}

/// Tells custody which logs are their groups' from the start.
pub(super) fn first_leaders(cluster: &Cluster) {
    let masters = cluster.brokers().values().filter(|broker| broker.is_master());
    let masters: Vec<String> = masters.map(|broker| broker.name().to_owned()).collect();
    let now = Now { cluster, pauses: &Pauses::default(), now_us: 0 };
    cluster.ledger().turn(Turn::Leads, &masters, Moment::default(), &now);
}

/// The masters that start when `node` is started, its machine with it if that is off, but for `slave`.
fn masters_started(cluster: &Cluster, node: &str, slave: Option<&String>) -> Vec<String> {
    let machine = cluster.node(node).machine();
    let starts = |name: &String| *name == node || !machine.is_on();
    let leads = |name: &String| {
        let broker = &cluster.brokers()[name];
        broker.is_master() && (*name == node || !cluster.is_fenced(name))
    };
    let all = on_machine(cluster, &*machine).into_iter();
    all.filter(|name| starts(name) && leads(name) && Some(name) != slave).collect()
}

/// The brokers on the machine of a process.
fn beside(cluster: &Cluster, node: &str) -> Vec<String> {
    on_machine(cluster, &*cluster.node(node).machine())
}

fn on_machine(cluster: &Cluster, machine: &dyn Machine) -> Vec<String> {
    let there = |broker: &&BrokerProcess| broker.machine().name() == machine.name();
    cluster.brokers().values().filter(there).map(|broker| broker.name().to_owned()).collect()
}

/// For how long processes did not run.
#[derive(Default)]
pub(super) struct Pauses {
    /// By process: when its pause began.
    since_us: BTreeMap<String, u64>,
    /// By process: how long its pauses were that are over.
    past_us: BTreeMap<String, u64>,
}

impl Pauses {
    pub(super) fn note(&mut self, action: &Action, now_us: u64) {
        match action {
            Action::Pause { node } => {
                self.since_us.entry(node.clone()).or_insert(now_us);
            }
            Action::Resume { node } => {
                let since_us = self.since_us.remove(node).unwrap_or(now_us);
                *self.past_us.entry(node.clone()).or_default() += now_us - since_us;
            }
            _ => {}
        }
    }

    /// All pauses of `node` so far.
    pub(super) fn total_us(&self, node: &str, now_us: u64) -> u64 {
        let present_us = self.since_us.get(node).map_or(0, |since_us| now_us - since_us);
        self.past_us.get(node).copied().unwrap_or_default() + present_us
    }
}

/// What custody asks of processes, at one instant.
pub(super) struct Now<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) pauses: &'a Pauses,
    pub(super) now_us: u64,
}

impl Processes for Now<'_> {
    fn is_running(&self, process: &str) -> bool {
        self.cluster.node(process).is_running()
    }

    fn paused_us(&self, process: &str) -> u64 {
        self.pauses.total_us(process, self.now_us)
    }
}
