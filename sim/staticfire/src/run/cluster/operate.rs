//! What stories do to a cluster: one function per [`Action`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use staticfire_judge::ledger::Turn;
use staticfire_world::disk::{
    DescriptorFault, FlushErrorMode, FlushFault, LatencyProfile, ReadFault, SimDisk,
};
use staticfire_world::trace::{FaultId, FaultKind, Name};
use staticfire_world::world::StopOutcome;
use tokio::sync::OwnedMutexGuard;

use super::broker_process::BrokerProcess;
use super::{Cluster, DiskFault, OpenFault, OpenFaultKind};
use crate::plan::{Action, FileKind, FlushErrorPages, Millis};
use crate::run::error::StandError;
use crate::run::stage::{Machine, Process};

/// How long a graceful stop may take before the process is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

impl Cluster {
    /// Carries out an action.
    ///
    /// # Errors
    /// When an edited configuration makes no sense.
    pub async fn act(&self, action: &Action) -> Result<(), StandError> {
        let action = &self.seated(action);
        if !action.is_recovery() && self.witness.first_fault_us.get().is_none() {
            self.witness.first_fault_us.set(Some(self.trace().now_us()));
        }
        let _alone = match self.operated_group(action) {
            Some(group) => Some(self.operator_of(&group, action).await),
            None => None,
        };
        match action {
            Action::Kill { node } => self.kill(node),
            Action::PowerLoss { node, worst } => self.power_loss(&*self.machine_of(node), *worst),
            Action::PowerLossGroup { group } => self.power_loss_group(group),
            Action::DestroyDisk { node } => self.destroy_disk(&*self.machine_of(node)),
            Action::Pause { node } => {
                self.note_pause(node);
                self.node(node).pause();
            }
            Action::Resume { node } => {
                self.note_resume(node);
                self.node(node).resume();
            }
            Action::Restart { node, salvage } => {
                if let Some(broker) = self.brokers.get(node) {
                    broker.set_salvage(*salvage);
                }
                self.restart(node).await;
            }
            Action::Stop { node } => self.stop(node).await,
            Action::Start { node } => self.join(node).await,
            Action::ResetOffset { group, topic, to } => self.reset_offset(group, topic, *to).await,
            Action::CreateTopic { topic, queues, .. } => self.create_topic(topic, *queues).await,
            Action::DeleteTopic { topic } => self.delete_topic(topic).await,
            Action::Subscribe { group, filter } => self.subscribe(group, filter).await,
            Action::DeleteGroup { group } => self.delete_group(group).await,
            Action::ClockJump { node, by } => self.jump_clock(node, *by),
            Action::ClockDrift { node, ppm } => self.drift_clock(node, *ppm),
            Action::Promote { node } => self.promote(node).await?,
            Action::PromoteMostAdvanced { group } => {
                let node = self.most_advanced_slave(group);
                self.promote(&node.ok_or_else(|| StandError::NoSlave(group.clone()))?).await?;
            }
            Action::RejoinAsSlave { node } => self.rejoin_as_slave(node).await?,
            Action::Partition { between, one_way } => self.partition(between, *one_way),
            Action::Heal { between } => self.heal(between),
            Action::SlowLink { between, latency } => self.slow_link(between, *latency),
            Action::SlowDisk { node, sync } => self.slow_disk(node, *sync),
            Action::HangDisk { node } => self.hang_disk(node),
            Action::FillDisk { node, free_bytes } => self.fill_disk(node, *free_bytes),
            Action::FlushError { node, count, mode } => {
                self.flush_error(node, *count, error_mode(*mode));
            }
            Action::LostWrite { node, count } => {
                self.flush_error(node, *count, FlushErrorMode::NeverReported);
            }
            Action::MisdirectedWrite { node, count } => {
                self.flush_error(node, *count, FlushErrorMode::Misdirected);
            }
            Action::ReadError { node, file, count } => self.read_error(node, *file, *count),
            Action::OutOfDescriptors { node } => self.out_of_descriptors(node),
            Action::Rot { node, file, bits } => self.rot(node, *file, *bits),
            Action::Calm { node } => self.calm(node),
        }
        self.note_disk_bites();
        self.ledger.note_damage(self.trace());
        Ok(())
    }

    /// The group whose operator an action needs: starts and changes of roles take their time.
    fn operated_group(&self, action: &Action) -> Option<String> {
        match action {
            Action::Restart { node, .. }
            | Action::Stop { node }
            | Action::Promote { node }
            | Action::RejoinAsSlave { node } => self.brokers.get(node).map(BrokerProcess::group),
            Action::PromoteMostAdvanced { group } => Some(group.clone()),
            _ => None,
        }
    }

    /// Waits until nobody else operates a group.
    async fn operator_of(&self, group: &str, action: &Action) -> OwnedMutexGuard<()> {
        let operator = Arc::clone(self.operators.borrow_mut().entry(group.to_owned()).or_default());
        if let Ok(free) = Arc::clone(&operator).try_lock_owned() {
            return free;
        }
        let due_us = self.trace().now_us();
        let alone = Arc::clone(&operator).lock_owned().await;
        let late_ms = (self.trace().now_us() - due_us) / 1_000;
        let text = format!("{action}: {late_ms} ms late, the operator of {group} was busy");
        self.late.borrow_mut().push(text);
        alone
    }

    /// Operations that had to wait for another one of the same group.
    #[must_use]
    pub fn late(&self) -> Vec<String> {
        self.late.borrow().clone()
    }

    /// Operations that changed nothing.
    #[must_use]
    pub fn without_effect(&self) -> Vec<String> {
        self.without_effect.borrow().clone()
    }

    pub(super) fn had_no_effect(&self, what: &str, why: &str) {
        self.without_effect.borrow_mut().push(format!("{what} had no effect: {why}"));
    }

    /// Stops a process that runs in order.
    async fn stop(&self, node: &str) {
        let process = self.node(node);
        if !process.is_running() {
            self.had_no_effect(&format!("stop {node}"), "it does not run");
        }
        self.stop_process(&*process).await;
    }

    /// Starts a client that was away.
    async fn join(&self, node: &str) {
        if self.node(node).is_running() {
            return self.had_no_effect(&format!("start {node}"), "it runs already");
        }
        self.restart(node).await;
    }

    /// The slave of a group with the most of its log, as an operator who follows the documents finds it; of
    /// equal ones the first.
    fn most_advanced_slave(&self, group: &str) -> Option<String> {
        let ends = self.slaves_of(group).map(|it| (self.ledger.view(it.name()).walk().end, it));
        let best = ends.reduce(|best, it| if it.0 > best.0 { it } else { best });
        best.map(|(_, slave)| slave.name().to_owned())
    }

    /// Takes every fault away that lasts, and starts every process that does not run and is not fenced.
    ///
    /// # Errors
    /// As [`Cluster::act`].
    pub async fn set_right(&self) -> Result<(), StandError> {
        let open: Vec<Vec<String>> =
            self.open_faults.borrow().iter().map(|open| open.nodes.clone()).collect();
        for nodes in open {
            if let [one, other] = &nodes[..] {
                self.heal(&[one.clone(), other.clone()]);
            }
            self.calm(&nodes[0]);
        }
        let down =
            |process: &&Rc<dyn Process>| !process.is_running() && !self.is_fenced(process.name());
        let down: Vec<String> =
            self.nodes.borrow().values().filter(down).map(|it| it.name().to_string()).collect();
        for node in down {
            self.act(&Action::Restart { node, salvage: false }).await?;
        }
        Ok(())
    }

    /// Starts a process that does not run, unless its machine has no power.
    pub(super) fn start_process(&self, process: &dyn Process) {
        if process.is_running() || !process.machine().is_on() {
            return;
        }
        if self.brokers.get(&**process.name()).is_some_and(BrokerProcess::is_master) {
            self.about_to(Turn::Leads, &[process.name().to_string()]);
        }
        self.note_disk_bites();
        self.count_felt_anew(process.name());
        // Whoever was killed while it was paused starts as anybody does.
        if self.is_paused(process.name()) {
            self.note_resume(process.name());
        }
        process.start();
    }

    /// Stops a process in order, if it runs.
    async fn stop_process(&self, process: &dyn Process) {
        if process.is_running() && process.stop(STOP_DEADLINE).await == StopOutcome::Killed {
            // What was in its memory alone is gone.
            self.about_to(Turn::Kill, &[process.name().to_string()]);
        }
    }

    fn kill(&self, node: &str) {
        self.about_to(Turn::Kill, &[node.to_owned()]);
        self.node(node).kill();
    }

    fn power_loss(&self, machine: &dyn Machine, worst: bool) {
        self.about_to(Turn::PowerLoss, &self.beside(machine));
        if worst {
            machine.power_loss_worst()
        } else {
            machine.power_loss()
        };
    }

    fn destroy_disk(&self, machine: &dyn Machine) {
        self.about_to(Turn::DiskDestroyed, &self.beside(machine));
        machine.destroy_disk();
    }

    pub(super) fn machine_of(&self, node: &str) -> Rc<dyn Machine> {
        self.node(node).machine()
    }

    fn power_loss_group(&self, group: &str) {
        let mut machines: BTreeMap<Name, Rc<dyn Machine>> = BTreeMap::new();
        for broker in self.members_of(group) {
            let name = Name::clone(broker.machine().name());
            machines.entry(name).or_insert_with(|| Rc::clone(broker.machine()));
        }
        let hit = machines.values().flat_map(|machine| self.beside(&**machine)).collect::<Vec<_>>();
        self.about_to(Turn::PowerLoss, &hit);
        for machine in machines.values() {
            machine.power_loss();
        }
    }

    /// Powers the machine on if needed, with what else ran there; stops the process first if it runs.
    async fn restart(&self, node: &str) {
        let process = self.node(node);
        self.fenced.borrow_mut().retain(|fenced| fenced != node);
        self.stop_process(&*process).await;
        self.power_on(&*process.machine(), Some(node));
        self.start_process(&*process);
    }

    /// Powers a machine on if it is off and starts what ran there, but for fenced processes and `but`.
    fn power_on(&self, machine: &dyn Machine, but: Option<&str>) {
        if machine.is_on() {
            return;
        }
        machine.power_on();
        for process in machine.processes() {
            let name = process.name();
            if Some(&**name) != but && !self.is_fenced(name) {
                self.start_process(&*process);
            }
        }
    }

    /// The old master is fenced, then the slave restarted with role and id edited.
    async fn promote(&self, node: &str) -> Result<(), StandError> {
        let broker = &self.brokers[node];
        if broker.is_master() && !self.is_fenced(node) {
            return Ok(());
        }
        if let Some(old) = self.master_of(&broker.group()) {
            if old.handle().is_running() {
                self.kill(old.name());
            }
            self.fenced.borrow_mut().push(old.name().to_owned());
        }
        broker.lets_clients_in()?;
        self.stop_process(&**broker.handle()).await;
        broker.edit(&[("brokerRole", "ASYNC_MASTER"), ("brokerId", "0")])?;
        broker.tell(&self.ledger);
        self.power_on(&**broker.machine(), Some(node));
        self.start_process(&**broker.handle());
        Ok(())
    }

    /// A former master comes back as slave of the present one.
    async fn rejoin_as_slave(&self, node: &str) -> Result<(), StandError> {
        let broker = &self.brokers[node];
        let group = broker.group();
        let taken: Vec<u64> = self.slaves_of(&group).map(|slave| slave.broker_id()).collect();
        let id = (1..).find(|id| !taken.contains(id)).unwrap_or(1_u64);
        self.stop_process(&**broker.handle()).await;
        broker.edit(&[("brokerRole", "SLAVE"), ("brokerId", &id.to_string())])?;
        broker.tell(&self.ledger);
        self.restart(node).await;
        Ok(())
    }

    fn partition(&self, between: &[String; 2], one_way: bool) {
        let fault = self.stage.partition(self.addresses_of(between), one_way);
        self.open(OpenFaultKind::Partition, between, fault);
    }

    /// Takes partitions and slow links between two processes away.
    fn heal(&self, between: &[String; 2]) {
        let matches = |open: &OpenFault| {
            matches!(open.kind, OpenFaultKind::Partition | OpenFaultKind::SlowLink)
                && between.iter().all(|node| open.nodes.contains(node))
        };
        for open in self.take_open(matches) {
            match open.kind {
                OpenFaultKind::SlowLink => self.stage.reset_link(self.addresses_of(between)),
                _ => self.stage.heal(open.fault),
            }
        }
    }

    fn slow_link(&self, between: &[String; 2], latency: Millis) {
        let fault = self.stage.slow_link(self.addresses_of(between), latency);
        self.open(OpenFaultKind::SlowLink, between, fault);
    }

    fn slow_disk(&self, node: &str, sync: Millis) {
        let disk = self.disk_of(node);
        self.open_disk_fault(DiskFault::SLOW, node, &format!("every sync takes {sync}"));
        disk.set_latency(LatencyProfile::uniform(sync.0..=sync.0));
    }

    fn hang_disk(&self, node: &str) {
        self.open_disk_fault(DiskFault::HUNG, node, "no sync returns");
        self.disk_of(node).hang();
    }

    fn fill_disk(&self, node: &str, free_bytes: u64) {
        let detail = format!("somebody fills it: {free_bytes} bytes are free");
        self.open_disk_fault(DiskFault::FULL, node, &detail);
        self.disk_of(node).fill(free_bytes);
    }

    fn flush_error(&self, node: &str, count: u32, mode: FlushErrorMode) {
        let what = match mode {
            FlushErrorMode::NeverReported => "are lost",
            FlushErrorMode::Misdirected => "go astray",
            _ => "fail",
        };
        let detail = format!("the next {count} syncs of the log {what}");
        self.open_disk_fault(DiskFault::SYNC_ERROR, node, &detail);
        let (path_contains, times) = ("commitlog".to_owned(), Some(count));
        self.disk_of(node).fail_flushes(FlushFault { path_contains, times, mode });
    }

    fn read_error(&self, node: &str, file: FileKind, count: u32) {
        let detail = format!("the next {count} reads of {file} files fail");
        self.open_disk_fault(DiskFault::READ_ERROR, node, &detail);
        let (path_contains, times) = (file.path_part().to_owned(), Some(count));
        self.disk_of(node).fail_reads(ReadFault { path_contains, times });
    }

    fn out_of_descriptors(&self, node: &str) {
        let detail = "no file and no directory can be opened";
        self.open_disk_fault(DiskFault::NO_DESCRIPTOR, node, detail);
        let everything = DescriptorFault { path_contains: String::new(), times: None };
        self.disk_of(node).fail_opens(everything);
    }

    /// Bits that rotted stay so: no fault is left open.
    fn rot(&self, node: &str, file: FileKind, bits: u32) {
        let machine = self.machine_of(node);
        let detail = format!("{bits} bits of {file} files rot");
        let fault = self.trace().fault_started(FaultKind::Disk, machine.name(), &detail);
        let places = machine.disk().rot_somewhere(file.path_part(), bits);
        if !places.is_empty() {
            let there = self.beside(&*machine).into_iter().map(|broker| (broker, file));
            self.rotten.borrow_mut().extend(there);
        }
        if let Some((path, offset)) = places.first() {
            let what = format!("byte {offset} of {}, {} bits in all", path.display(), places.len());
            self.trace().fault_bit(fault, &what);
        }
    }

    /// Takes slow links and what lasts of a machine's disk faults away.
    fn calm(&self, node: &str) {
        self.note_disk_bites();
        let matches = |open: &OpenFault| {
            !matches!(open.kind, OpenFaultKind::Partition)
                && open.nodes.iter().any(|named| named == node)
        };
        for open in self.take_open(matches) {
            match open.kind {
                OpenFaultKind::SlowLink => {
                    let [one, two] = [&open.nodes[0], &open.nodes[1]].map(|it| self.address_of(it));
                    self.stage.reset_link([one, two]);
                }
                OpenFaultKind::Disk(fault, _) => {
                    (fault.end)(&self.disk_of(node));
                    self.trace().fault_healed(open.fault, fault.healed);
                }
                OpenFaultKind::Clock => self.steady_clock(node),
                OpenFaultKind::Partition => {}
            }
        }
    }

    /// Tells the trace of disk faults that have taken effect since they began.
    pub fn note_disk_bites(&self) {
        for open in self.open_faults.borrow().iter() {
            if let OpenFaultKind::Disk(fault, before) = open.kind
                && (fault.felt)(&self.disk_of(&open.nodes[0]).stats()) > before
            {
                self.trace().fault_bit(open.fault, fault.bite);
            }
        }
    }

    /// What a process feels of faults of its disk counts from its start.
    fn count_felt_anew(&self, process: &str) {
        let (stats, address) = (self.disk_of(process).stats(), self.address_of(process));
        for open in self.open_faults.borrow_mut().iter_mut() {
            let is_there = self.address_of(&open.nodes[0]) == address;
            if let OpenFaultKind::Disk(fault, before) = &mut open.kind
                && is_there
            {
                *before = (fault.felt)(&stats);
            }
        }
    }

    pub(super) fn disk_of(&self, node: &str) -> Arc<SimDisk> {
        Arc::clone(self.machine_of(node).disk())
    }

    fn open_disk_fault(&self, fault: DiskFault, node: &str, detail: &str) {
        let machine = self.machine_of(node);
        let id = self.trace().fault_started(FaultKind::Disk, machine.name(), detail);
        let before = (fault.felt)(&machine.disk().stats());
        self.open(OpenFaultKind::Disk(fault, before), &[node.to_owned()], id);
    }

    pub(super) fn open(&self, kind: OpenFaultKind, nodes: &[String], fault: FaultId) {
        self.open_faults.borrow_mut().push(OpenFault { kind, nodes: nodes.to_vec(), fault });
    }

    pub(super) fn take_open(&self, matches: impl Fn(&OpenFault) -> bool) -> Vec<OpenFault> {
        let mut open = self.open_faults.borrow_mut();
        let (taken, kept) = std::mem::take(&mut *open).into_iter().partition(matches);
        *open = kept;
        taken
    }

    fn addresses_of(&self, nodes: &[String; 2]) -> [IpAddr; 2] {
        [self.address_of(&nodes[0]), self.address_of(&nodes[1])]
    }

    pub(super) fn address_of(&self, node: &str) -> IpAddr {
        self.machine_of(node).ip()
    }
}

fn error_mode(pages: FlushErrorPages) -> FlushErrorMode {
    match pages {
        FlushErrorPages::Clean => FlushErrorMode::Clean,
        FlushErrorPages::KeptDirty => FlushErrorMode::KeptDirty,
    }
}
