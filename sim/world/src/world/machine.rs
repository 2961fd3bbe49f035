//! Machines: [`MachineHandle`], power, disk and clock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use mq_env::clock::Clock;

use super::core::Core;
use super::process::{Exit, ProcessCell, ProcessContext, ProcessHandle, boxed_main};
use crate::clock::SimClock;
use crate::disk::{PowerLossReport, SimDisk, SimDiskConfig};
use crate::net::MachineId;
use crate::trace::{FaultId, FaultKind, MachineStep, Name, ProcessStep, TraceEvent};

/// What a machine is like when it is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineConfig {
    /// Its addresses, the main one first. Without any it gets the next of 10.0.0.1, 10.0.0.2, …
    pub addrs: Vec<IpAddr>,
    /// How far its wall clock is from the world's epoch, milliseconds.
    pub clock_offset_ms: i64,
    /// Its time zone, seconds to add to UTC.
    pub utc_offset_seconds: i32,
    /// Its disk.
    pub disk: SimDiskConfig,
}

/// A machine of a world; clones name the same machine.
#[derive(Clone)]
pub struct MachineHandle {
    pub(super) cell: Rc<MachineCell>,
    pub(super) core: Rc<Core>,
}

/// A machine across its power losses.
pub(super) struct MachineCell {
    pub(super) id: MachineId,
    pub(super) name: Name,
    pub(super) addrs: Vec<IpAddr>,
    pub(super) clock: Arc<SimClock>,
    pub(super) disk: Arc<SimDisk>,
    /// The power loss that the next power-on heals.
    off_since: Cell<Option<FaultId>>,
    /// The clock faults that `steady_clock` heals.
    clock_fault: Cell<Option<FaultId>>,
    power_losses: Cell<u32>,
    last_power_loss: RefCell<Option<PowerLossReport>>,
}

/// The clock as the disk reads it for the times of its files: no reading by a process.
struct DiskClock(Arc<SimClock>);

impl Clock for DiskClock {
    fn now_millis(&self) -> u64 {
        self.0.peek_millis()
    }

    fn utc_offset_seconds(&self, at_ms: u64) -> i32 {
        self.0.utc_offset_seconds(at_ms)
    }
}

impl MachineCell {
    pub(super) fn is_on(&self) -> bool {
        self.off_since.get().is_none()
    }
}

impl MachineHandle {
    pub(super) fn add(core: &Rc<Core>, name: &str, config: MachineConfig) -> Self {
        let name = core.trace.name(name);
        let mut addrs = config.addrs;
        if addrs.is_empty() {
            let number = core.machines.borrow().len() as u32 + 1;
            addrs.push(Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number).into());
        }
        let id = core.fabric.add_machine(&name, &addrs);
        let wall_ms = core.config.epoch_ms.saturating_add_signed(config.clock_offset_ms);
        let clock = SimClock::new(core.time.clone(), wall_ms, config.utc_offset_seconds);
        let clock = Arc::new(clock);
        let disk_clock = Arc::new(DiskClock(Arc::clone(&clock)));
        let disk_rng = core.rng.child("disk").child(&name);
        let disk = SimDisk::new(config.disk, disk_clock, disk_rng);
        let cell = Rc::new(MachineCell {
            id,
            name,
            addrs,
            clock,
            disk,
            off_since: Cell::new(None),
            clock_fault: Cell::new(None),
            power_losses: Cell::new(0),
            last_power_loss: RefCell::new(None),
        });
        core.machines.borrow_mut().push(Rc::clone(&cell));
        let machine = MachineHandle { cell, core: Rc::clone(core) };
        machine.write_back_in_background();
        machine
    }

    /// Its number, for partitions and links.
    #[must_use]
    pub fn id(&self) -> MachineId {
        self.cell.id
    }

    /// Its name, which also resolves to its main address.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.cell.name
    }

    /// Its main address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.cell.addrs[0]
    }

    /// Its wall clock. Faults of the clock have methods of the machine, which record them.
    #[must_use]
    pub fn clock(&self) -> &Arc<SimClock> {
        &self.cell.clock
    }

    /// Its disk: to look into, and to injure. Power and process death are the world's business.
    #[must_use]
    pub fn disk(&self) -> &Arc<SimDisk> {
        &self.cell.disk
    }

    /// What the last power loss did to the disk.
    #[must_use]
    pub fn last_power_loss(&self) -> Option<PowerLossReport> {
        self.cell.last_power_loss.borrow().clone()
    }

    /// Whether it has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.cell.is_on()
    }

    /// Its processes, in the order of their addition.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessHandle> {
        let cells = self.core.processes_of(self.cell.id);
        cells.into_iter().map(|cell| ProcessHandle { cell }).collect()
    }

    /// Adds a process that is not started yet. `main` is called at every start; when the future it
    /// returns ends, the process exits and whatever tasks it left are dropped.
    ///
    /// # Panics
    /// When the world has a process of that name.
    pub fn add_process<F, Fut>(&self, name: &str, main: F) -> ProcessHandle
    where
        F: Fn(ProcessContext) -> Fut + 'static,
        Fut: Future<Output: Exit> + 'static,
    {
        let name = self.core.trace.name(name);
        let mut processes = self.core.processes.borrow_mut();
        let taken = processes.iter().any(|process| process.name == name);
        assert!(!taken, "there is a process {name} already");
        let (index, machine) = (processes.len(), Rc::clone(&self.cell));
        let cell = ProcessCell::new(&self.core, index, name, machine, boxed_main(main));
        processes.push(Rc::clone(&cell));
        ProcessHandle { cell }
    }

    /// Cuts its power: links first, then its processes and sockets, without a word to anybody, then
    /// the disk loses a seeded part of what was not durable. A machine without power gives a fault
    /// without effect.
    pub fn power_loss(&self) -> FaultId {
        self.lose_power(FaultKind::PowerLoss, |disk| {
            let number = self.cell.power_losses.replace(self.cell.power_losses.get() + 1);
            let rng = self.core.rng.child("power_loss").child(self.name());
            disk.power_loss(&mut rng.stream(&number.to_string()))
        })
    }

    /// Like [`MachineHandle::power_loss`], and nothing that was not durable survives.
    pub fn power_loss_worst(&self) -> FaultId {
        self.lose_power(FaultKind::PowerLoss, |disk| disk.power_loss_worst())
    }

    /// Power loss, and the disk is empty afterwards.
    pub fn destroy_disk(&self) -> FaultId {
        let fault = self.lose_power(FaultKind::DiskDestroyed, |_| PowerLossReport::default());
        self.cell.disk.destroy();
        self.record(TraceEvent::Machine(MachineStep::DiskDestroyed));
        self.core.trace.fault_bit(fault, "the disk is empty");
        fault
    }

    fn lose_power(
        &self,
        kind: FaultKind,
        crash: impl FnOnce(&SimDisk) -> PowerLossReport,
    ) -> FaultId {
        let trace = &self.core.trace;
        let fault = trace.fault_started(kind, &self.cell.name, "");
        if !self.is_on() {
            return fault;
        }
        self.cell.off_since.set(Some(fault));
        let closed = self.core.fabric.power_loss(self.cell.id);
        let mut ended = 0;
        for process in self.core.processes_of(self.cell.id) {
            ended += u32::from(process.end(ProcessStep::LostPower).is_some());
        }
        let report = crash(&self.cell.disk);
        self.record(TraceEvent::Machine(MachineStep::PowerLost));
        if kind == FaultKind::PowerLoss {
            self.record(TraceEvent::Disk { what: trace.name(&report.to_string()) });
        }
        *self.cell.last_power_loss.borrow_mut() = Some(report);
        let what = format!("{ended} processes and {} connections gone", closed.connections);
        trace.fault_bit(fault, &what);
        fault
    }

    /// The kernel's background writeback, at random intervals for as long as the world runs.
    fn write_back_in_background(&self) {
        let mean_ms = self.core.config.writeback_interval_ms;
        let rng = self.core.rng.child("writeback").stream(self.name());
        let disk = Arc::clone(&self.cell.disk);
        self.core.spawn(Box::pin(disk.write_back_for_ever(mean_ms, rng)));
    }

    /// Gives it power again. Its processes have to be started.
    pub fn power_on(&self) {
        let Some(fault) = self.cell.off_since.take() else { return };
        self.core.fabric.power_on(self.cell.id);
        self.record(TraceEvent::Machine(MachineStep::PoweredOn));
        self.core.trace.fault_healed(fault, "powered on");
    }

    /// Starts every process of it that does not run.
    ///
    /// # Panics
    /// When it has no power.
    pub fn start_all(&self) {
        self.processes().iter().filter(|process| !process.is_running()).for_each(|process| {
            process.start();
        });
    }

    /// Pauses every running process of it.
    pub fn pause(&self) -> Vec<FaultId> {
        let processes = self.processes();
        processes.iter().filter(|process| process.is_running()).map(ProcessHandle::pause).collect()
    }

    /// Resumes every process of it.
    pub fn resume(&self) {
        self.processes().iter().for_each(ProcessHandle::resume);
    }

    /// Moves its wall clock by `by_ms`, forwards or backwards.
    pub fn jump_clock(&self, by_ms: i64) -> FaultId {
        let fault = self.clock_fault(&format!("jumps by {by_ms} ms"));
        self.cell.clock.jump(by_ms);
        fault
    }

    /// Makes its wall clock gain `drift_ppm` microseconds per second (negative: lose).
    pub fn drift_clock(&self, drift_ppm: i64) -> FaultId {
        let fault = self.clock_fault(&format!("drifts by {drift_ppm} ppm"));
        self.cell.clock.set_drift(drift_ppm);
        fault
    }

    /// Stops its wall clock.
    pub fn freeze_clock(&self) -> FaultId {
        let fault = self.clock_fault("stands still");
        self.cell.clock.set_frozen(true);
        fault
    }

    /// Lets its wall clock run at the right pace, from where it stands.
    pub fn steady_clock(&self) {
        self.cell.clock.set_drift(0);
        self.cell.clock.set_frozen(false);
        if let Some(fault) = self.cell.clock_fault.take() {
            self.core.trace.fault_healed(fault, "the clock runs on");
        }
    }

    fn clock_fault(&self, detail: &str) -> FaultId {
        let trace = &self.core.trace;
        let fault = trace.fault_started(FaultKind::Clock, &self.cell.name, detail);
        self.cell.clock.bite_at_next_reading(trace.clone(), fault);
        if let Some(earlier) = self.cell.clock_fault.replace(Some(fault)) {
            trace.fault_healed(earlier, "replaced by another fault of the clock");
        }
        fault
    }

    fn record(&self, event: TraceEvent) {
        self.core.trace.record(&self.cell.name, 0, event);
    }
}

impl fmt::Debug for MachineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({}, {})", self.cell.name, self.ip())
    }
}
