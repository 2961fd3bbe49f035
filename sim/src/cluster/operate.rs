//! What stories do to a cluster: one function per [`Action`].

use std::time::Duration;

use super::{Cluster, OpenFault, OpenFaultKind};
use crate::env::disk::{FlushErrorMode, FlushFault, LatencyProfile};
use crate::plan::{Action, Millis};
use crate::stage::Machine;
use crate::trace::{FaultId, FaultKind, Name};

/// How long a graceful stop may take before the process is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Latency of the default link is the plan's; a calm link has it again.
impl Cluster {
    /// Carries out an action.
    ///
    /// # Errors
    /// When an edited configuration makes no sense.
    pub async fn act(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Kill { node } => {
                self.node(node).kill();
            }
            Action::PowerLoss { node, worst: false } => {
                self.machine_of(node).power_loss();
            }
            Action::PowerLoss { node, worst: true } => {
                self.machine_of(node).power_loss_worst();
            }
            Action::PowerLossGroup { group } => self.power_loss_group(group),
            Action::DestroyDisk { node } => {
                self.machine_of(node).destroy_disk();
            }
            Action::Pause { node } => {
                self.node(node).pause();
            }
            Action::Resume { node } => self.node(node).resume(),
            Action::Restart { node } => self.restart(node).await,
            Action::Promote { node } => self.promote(node).await?,
            Action::RejoinAsSlave { node } => self.rejoin_as_slave(node).await?,
            Action::Partition { between, one_way } => self.partition(between, *one_way),
            Action::Heal { between } => self.heal(between),
            Action::SlowLink { between, latency } => self.slow_link(between, *latency),
            Action::SlowDisk { node, sync } => self.slow_disk(node, *sync),
            Action::FlushError { node, count } => self.flush_error(node, *count),
            Action::Calm { node } => self.calm(node),
        }
        self.note_disk_bites();
        Ok(())
    }

    fn machine_of(&self, node: &str) -> Machine {
        self.node(node).machine()
    }

    fn power_loss_group(&self, group: &str) {
        let mut hit: Vec<Name> = Vec::new();
        for broker in self.brokers.values().filter(|broker| broker.group() == group) {
            if !hit.contains(broker.machine().name()) {
                hit.push(Name::clone(broker.machine().name()));
                broker.machine().power_loss();
            }
        }
    }

    /// Powers the machine on if needed, with what else ran there; stops the process first if it runs.
    async fn restart(&self, node: &str) {
        let process = self.node(node);
        self.fenced.borrow_mut().retain(|fenced| fenced != node);
        if process.is_running() {
            process.stop(STOP_DEADLINE).await;
        }
        self.power_on(&process.machine(), Some(node));
        if !process.is_running() {
            process.start();
        }
    }

    /// Powers a machine on if it is off and starts what ran there, but for fenced processes and `but`.
    fn power_on(&self, machine: &Machine, but: Option<&str>) {
        if machine.is_on() {
            return;
        }
        machine.power_on();
        for process in machine.processes() {
            let name = process.name();
            if Some(&**name) != but && !self.is_fenced(name) && !process.is_running() {
                process.start();
            }
        }
    }

    /// The old master is fenced, then the slave restarted with role and id edited.
    async fn promote(&self, node: &str) -> Result<(), String> {
        let broker = &self.brokers[node];
        let group = broker.group();
        if let Some(old) = self.master_of(&group) {
            if old.handle().is_running() {
                old.handle().kill();
            }
            self.fenced.borrow_mut().push(old.name().to_owned());
        }
        if broker.handle().is_running() {
            broker.handle().stop(STOP_DEADLINE).await;
        }
        broker.edit(&[("brokerRole", "ASYNC_MASTER"), ("brokerId", "0")])?;
        broker.tell(&self.ledger);
        self.power_on(broker.machine(), Some(node));
        broker.handle().start();
        Ok(())
    }

    /// A former master comes back as slave of the present one.
    async fn rejoin_as_slave(&self, node: &str) -> Result<(), String> {
        let broker = &self.brokers[node];
        let group = broker.group();
        let taken: Vec<u64> = self.slaves_of(&group).map(|slave| slave.broker_id()).collect();
        let id = (1..).find(|id| !taken.contains(id)).unwrap_or(1_u64);
        if broker.handle().is_running() {
            broker.handle().stop(STOP_DEADLINE).await;
        }
        broker.edit(&[("brokerRole", "SLAVE"), ("brokerId", &id.to_string())])?;
        broker.tell(&self.ledger);
        self.restart(node).await;
        Ok(())
    }

    fn partition(&self, between: &[String; 2], one_way: bool) {
        let [one, two] = self.machines_of(between);
        let fault = self.stage.partition([&one, &two], one_way);
        self.open(OpenFaultKind::Partition, between, fault);
    }

    fn heal(&self, between: &[String; 2]) {
        let matches = |open: &OpenFault| {
            open.kind == OpenFaultKind::Partition
                && between.iter().all(|node| open.nodes.contains(node))
        };
        for open in self.take_open(matches) {
            self.stage.heal(open.fault);
        }
    }

    fn slow_link(&self, between: &[String; 2], latency: Millis) {
        let [one, two] = self.machines_of(between);
        let fault = self.stage.slow_link([&one, &two], latency);
        self.open(OpenFaultKind::SlowLink, between, fault);
    }

    fn slow_disk(&self, node: &str, sync: Millis) {
        let machine = self.machine_of(node);
        let detail = format!("every sync takes {sync}");
        let fault = self.disk_fault(&machine, &detail);
        machine.disk().set_latency(LatencyProfile::uniform(sync.0..=sync.0));
        let flushes = machine.disk().stats().flushes;
        self.open(OpenFaultKind::SlowDisk(flushes), &[node.to_owned()], fault);
    }

    fn flush_error(&self, node: &str, count: u32) {
        let machine = self.machine_of(node);
        let fault = self.disk_fault(&machine, &format!("the next {count} syncs of the log fail"));
        machine.disk().fail_flushes(FlushFault {
            path_contains: "commitlog".to_owned(),
            times: Some(count),
            mode: FlushErrorMode::Clean,
        });
        let errors = machine.disk().stats().flush_errors;
        self.open(OpenFaultKind::FlushError(errors), &[node.to_owned()], fault);
    }

    /// Takes slow links, slow disks and pending sync errors of a machine away.
    fn calm(&self, node: &str) {
        self.note_disk_bites();
        let matches = |open: &OpenFault| {
            open.kind != OpenFaultKind::Partition && open.nodes.iter().any(|named| named == node)
        };
        for open in self.take_open(matches) {
            match open.kind {
                OpenFaultKind::SlowLink => {
                    let [one, two] = [&open.nodes[0], &open.nodes[1]].map(|it| self.machine_of(it));
                    self.stage.reset_link([&one, &two]);
                }
                OpenFaultKind::SlowDisk(_) => {
                    self.machine_of(node).disk().reset_latency();
                    self.trace().fault_healed(open.fault, "the disk is as before");
                }
                OpenFaultKind::FlushError(_) => {
                    self.machine_of(node).disk().clear_flush_faults();
                    self.trace().fault_healed(open.fault, "syncs work again");
                }
                OpenFaultKind::Partition => {}
            }
        }
    }

    /// Tells the trace of disk faults that have taken effect since they began.
    pub fn note_disk_bites(&self) {
        for open in self.open_faults.borrow().iter() {
            let (before, what) = match open.kind {
                OpenFaultKind::SlowDisk(before) => (before, "a sync was slow"),
                OpenFaultKind::FlushError(before) => (before, "a sync failed"),
                _ => continue,
            };
            let stats = self.machine_of(&open.nodes[0]).disk().stats();
            let slow = matches!(open.kind, OpenFaultKind::SlowDisk(_));
            let now = if slow { stats.flushes } else { stats.flush_errors };
            if now > before {
                self.trace().fault_bit(open.fault, what);
            }
        }
    }

    fn disk_fault(&self, machine: &Machine, detail: &str) -> FaultId {
        self.trace().fault_started(FaultKind::Disk, machine.name(), detail)
    }

    fn open(&self, kind: OpenFaultKind, nodes: &[String], fault: FaultId) {
        self.open_faults.borrow_mut().push(OpenFault { kind, nodes: nodes.to_vec(), fault });
    }

    fn take_open(&self, matches: impl Fn(&OpenFault) -> bool) -> Vec<OpenFault> {
        let mut open = self.open_faults.borrow_mut();
        let (taken, kept) = std::mem::take(&mut *open).into_iter().partition(matches);
        *open = kept;
        taken
    }

    fn machines_of(&self, nodes: &[String; 2]) -> [Machine; 2] {
        [self.machine_of(&nodes[0]), self.machine_of(&nodes[1])]
    }
}
