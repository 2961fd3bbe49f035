//! What stories do to a cluster: one function per [`Action`].

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use staticfire_world::disk::{
    DescriptorFault, FlushErrorMode, FlushFault, LatencyProfile, ReadFault, SimDisk,
};
use staticfire_world::trace::{FaultId, FaultKind, Name};

use super::{Cluster, DiskFault, OpenFault, OpenFaultKind};
use crate::plan::{Action, FileKind, FlushErrorPages, Millis};
use crate::run::stage::Machine;

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
            Action::Restart { node, salvage } => {
                if let Some(broker) = self.brokers.get(node) {
                    broker.set_salvage(*salvage);
                }
                self.restart(node).await;
            }
            Action::Promote { node } => self.promote(node).await?,
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
        Ok(())
    }

    fn machine_of(&self, node: &str) -> Rc<dyn Machine> {
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
        self.power_on(&*process.machine(), Some(node));
        if !process.is_running() {
            process.start();
        }
    }

    /// Powers a machine on if it is off and starts what ran there, but for fenced processes and `but`.
    fn power_on(&self, machine: &dyn Machine, but: Option<&str>) {
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
        self.power_on(&**broker.machine(), Some(node));
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
        let fault = self.stage.partition(self.addresses_of(between), one_way);
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
        let fault = self.stage.slow_link(self.addresses_of(between), latency);
        self.open(OpenFaultKind::SlowLink, between, fault);
    }

    fn slow_disk(&self, node: &str, sync: Millis) {
        let disk = self.disk_of(node);
        self.open_disk_fault(DiskFault::Slow, node, &format!("every sync takes {sync}"));
        disk.set_latency(LatencyProfile::uniform(sync.0..=sync.0));
    }

    fn hang_disk(&self, node: &str) {
        self.open_disk_fault(DiskFault::Hung, node, "no sync returns");
        self.disk_of(node).hang();
    }

    fn fill_disk(&self, node: &str, free_bytes: u64) {
        let detail = format!("somebody fills it: {free_bytes} bytes are free");
        self.open_disk_fault(DiskFault::Full, node, &detail);
        self.disk_of(node).fill(free_bytes);
    }

    fn flush_error(&self, node: &str, count: u32, mode: FlushErrorMode) {
        let what = match mode {
            FlushErrorMode::NeverReported => "are lost",
            FlushErrorMode::Misdirected => "go astray",
            _ => "fail",
        };
        let detail = format!("the next {count} syncs of the log {what}");
        self.open_disk_fault(DiskFault::SyncError, node, &detail);
        let (path_contains, times) = ("commitlog".to_owned(), Some(count));
        self.disk_of(node).fail_flushes(FlushFault { path_contains, times, mode });
    }

    fn read_error(&self, node: &str, file: FileKind, count: u32) {
        let detail = format!("the next {count} reads of {file} files fail");
        self.open_disk_fault(DiskFault::ReadError, node, &detail);
        let (path_contains, times) = (file.path_part().to_owned(), Some(count));
        self.disk_of(node).fail_reads(ReadFault { path_contains, times });
    }

    fn out_of_descriptors(&self, node: &str) {
        let detail = "no file and no directory can be opened";
        self.open_disk_fault(DiskFault::NoDescriptor, node, detail);
        let everything = DescriptorFault { path_contains: String::new(), times: None };
        self.disk_of(node).fail_opens(everything);
    }

    /// Bits that rotted stay so: no fault is left open.
    fn rot(&self, node: &str, file: FileKind, bits: u32) {
        let machine = self.machine_of(node);
        let detail = format!("{bits} bits of {file} files rot");
        let fault = self.trace().fault_started(FaultKind::Disk, machine.name(), &detail);
        let places = machine.disk().rot_somewhere(file.path_part(), bits);
        if let Some((path, offset)) = places.first() {
            let what = format!("byte {offset} of {}, {} bits in all", path.display(), places.len());
            self.trace().fault_bit(fault, &what);
        }
    }

    /// Takes slow links and what lasts of a machine's disk faults away.
    fn calm(&self, node: &str) {
        self.note_disk_bites();
        let matches = |open: &OpenFault| {
            open.kind != OpenFaultKind::Partition && open.nodes.iter().any(|named| named == node)
        };
        for open in self.take_open(matches) {
            match open.kind {
                OpenFaultKind::SlowLink => {
                    let [one, two] = [&open.nodes[0], &open.nodes[1]].map(|it| self.address_of(it));
                    self.stage.reset_link([one, two]);
                }
                OpenFaultKind::Disk(fault, _) => {
                    let effect = fault.end(&self.disk_of(node));
                    self.trace().fault_healed(open.fault, effect);
                }
                OpenFaultKind::Partition => {}
            }
        }
    }

    /// Tells the trace of disk faults that have taken effect since they began.
    pub fn note_disk_bites(&self) {
        for open in self.open_faults.borrow().iter() {
            if let OpenFaultKind::Disk(fault, before) = open.kind
                && fault.felt(&self.disk_of(&open.nodes[0]).stats()) > before
            {
                self.trace().fault_bit(open.fault, fault.bite());
            }
        }
    }

    fn disk_of(&self, node: &str) -> Arc<SimDisk> {
        Arc::clone(self.machine_of(node).disk())
    }

    fn open_disk_fault(&self, fault: DiskFault, node: &str, detail: &str) {
        let machine = self.machine_of(node);
        let id = self.trace().fault_started(FaultKind::Disk, machine.name(), detail);
        let before = fault.felt(&machine.disk().stats());
        self.open(OpenFaultKind::Disk(fault, before), &[node.to_owned()], id);
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

    fn addresses_of(&self, nodes: &[String; 2]) -> [IpAddr; 2] {
        [self.address_of(&nodes[0]), self.address_of(&nodes[1])]
    }

    fn address_of(&self, node: &str) -> IpAddr {
        self.machine_of(node).ip()
    }
}

fn error_mode(pages: FlushErrorPages) -> FlushErrorMode {
    match pages {
        FlushErrorPages::Clean => FlushErrorMode::Clean,
        FlushErrorPages::KeptDirty => FlushErrorMode::KeptDirty,
    }
}
