//! Machines and processes as turmoil hosts. A host is a machine with one process: from its boot on it
//! runs a small kernel, which waits until the process is started and runs it as host software.
//!
//! Killing the process crashes the host and boots it at once: its sockets close, connects are refused.
//! Power loss crashes it without a word and leaves it down.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use mq_env::Env;
use mq_env::rng::Rng;
use staticfire::run::program::Program;
use staticfire::run::stage::{Job, Machine, Process};
use staticfire_world::disk::{DiskHandle, PowerLossReport, SimDisk};
use staticfire_world::trace::{
    FaultId, FaultKind, MachineStep, Name, ProcessStep, Trace, TraceEvent,
};
use staticfire_world::world::{Main, ProcessContext, ProcessGone, ProcessStatus, StopOutcome};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::net::host_env;
use super::stage::{Order, Orders};

/// A machine and its process, across boots.
pub(super) struct Host {
    pub(super) address: IpAddr,
    name: Name,
    disk: Arc<SimDisk>,
    trace: Trace,
    rng: Rng,
    orders: Orders,
    /// The power loss that the next power-on heals.
    off_since: Cell<Option<FaultId>>,
    power_losses: Cell<u32>,
    program: OnceCell<Installed>,
    incarnation: Cell<u32>,
    life: RefCell<Option<Life>>,
    status: RefCell<ProcessStatus>,
    /// The kill that the next start heals.
    killed_by: Cell<Option<FaultId>>,
    started: Notify,
    ended: Notify,
}

struct Installed {
    name: Name,
    main: Main,
}

/// One incarnation of the process.
struct Life {
    /// Cleared at the instant of death; shared with the process's probe.
    alive: Arc<AtomicBool>,
    disk: Arc<DiskHandle>,
    shutdown: CancellationToken,
    jobs: Rc<Jobs>,
    /// Whether the kernel runs it.
    taken: bool,
}

/// Code that the scenario wants to run inside the process.
#[derive(Default)]
struct Jobs {
    waiting: RefCell<Vec<Job>>,
    added: Notify,
}

impl Host {
    pub(super) fn new(
        address: IpAddr,
        name: Name,
        disk: Arc<SimDisk>,
        trace: &Trace,
        rng: &Rng,
        orders: &Orders,
    ) -> Rc<Self> {
        Rc::new(Host {
            address,
            name,
            disk,
            trace: trace.clone(),
            rng: rng.clone(),
            orders: Rc::clone(orders),
            off_since: Cell::new(None),
            power_losses: Cell::new(0),
            program: OnceCell::new(),
            incarnation: Cell::new(0),
            life: RefCell::new(None),
            status: RefCell::new(ProcessStatus::New),
            killed_by: Cell::new(None),
            started: Notify::new(),
            ended: Notify::new(),
        })
    }

    /// What the host runs from its boot on.
    pub(super) async fn kernel(self: Rc<Self>) -> turmoil::Result {
        let (main, context, jobs) = loop {
            match self.take_start() {
                Some(start) => break start,
                None => self.started.notified().await,
            }
        };
        let incarnation = context.incarnation;
        spawn_local(run_jobs(context.env.clone(), jobs));
        let result = main(context).await;
        self.order(Order::Exited { host: Rc::clone(&self), incarnation, result });
        // The crash that follows takes away whatever tasks the process left.
        std::future::pending().await
    }

    /// Makes the environment of a process that was started since the boot.
    fn take_start(&self) -> Option<(Main, ProcessContext, Rc<Jobs>)> {
        let program = self.program.get()?;
        let mut life = self.life.borrow_mut();
        let life = life.as_mut().filter(|life| !life.taken)?;
        life.taken = true;
        let incarnation = self.incarnation.get();
        let rng = self.rng.child("process").child(&format!("{}#{incarnation}", program.name));
        let probe = self.trace.probe(&program.name, incarnation, Arc::clone(&life.alive));
        let disk = Arc::clone(&life.disk) as Arc<dyn mq_env::disk::Disk>;
        let context = ProcessContext {
            env: host_env(&self.address.to_string(), disk, rng, probe),
            shutdown: life.shutdown.clone(),
            name: Name::clone(&program.name),
            incarnation,
        };
        Some((Rc::clone(&program.main), context, Rc::clone(&life.jobs)))
    }

    /// The process returned by itself; whether that is still news.
    pub(super) fn exited(&self, incarnation: u32, result: Result<(), String>) -> bool {
        self.incarnation.get() == incarnation
            && self.end(match result {
                Ok(()) => ProcessStep::Exited,
                Err(error) => ProcessStep::Failed { error: self.trace.name(&error) },
            })
    }

    /// Ends the running incarnation in the books, as far as disk and trace are concerned.
    fn end(&self, step: ProcessStep) -> bool {
        let Some(life) = self.life.take() else { return false };
        life.alive.store(false, Ordering::Relaxed);
        self.disk.process_died(life.disk.epoch());
        *self.status.borrow_mut() = match &step {
            ProcessStep::Failed { error } => ProcessStatus::Exited(Err(Name::clone(error))),
            ProcessStep::Killed => ProcessStatus::Killed,
            ProcessStep::LostPower => ProcessStatus::LostPower,
            _ => ProcessStatus::Exited(Ok(())),
        };
        self.record_step(step);
        self.ended.notify_waiters();
        true
    }

    fn record_step(&self, step: ProcessStep) {
        if let Some(program) = self.program.get() {
            let event = TraceEvent::Process(step);
            self.trace.record(&program.name, self.incarnation.get(), event);
        }
    }

    fn order(&self, order: Order) {
        self.orders.borrow_mut().push(order);
    }

    fn lose_power(
        &self,
        kind: FaultKind,
        crash: impl FnOnce(&SimDisk) -> PowerLossReport,
    ) -> FaultId {
        let fault = self.trace.fault_started(kind, &self.name, "");
        if self.off_since.get().is_some() {
            return fault;
        }
        self.off_since.set(Some(fault));
        let ended = self.end(ProcessStep::LostPower);
        let report = crash(&self.disk);
        self.order(Order::CutPower(self.address));
        self.trace.record(&self.name, 0, TraceEvent::Machine(MachineStep::PowerLost));
        if kind == FaultKind::PowerLoss {
            let what = self.trace.name(&report.to_string());
            self.trace.record(&self.name, 0, TraceEvent::Disk { what });
        }
        self.trace.fault_bit(fault, if ended { "the process is gone" } else { "nothing ran" });
        fault
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel of a simulated machine")]
fn spawn_local(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(task);
}

async fn run_jobs(env: Env, jobs: Rc<Jobs>) {
    loop {
        for job in jobs.waiting.take() {
            spawn_local(job(env.clone()));
        }
        jobs.added.notified().await;
    }
}

/// A machine on turmoil; clones name the same machine.
#[derive(Clone)]
pub(super) struct TurmoilMachine {
    pub(super) host: Rc<Host>,
}

impl Machine for TurmoilMachine {
    fn name(&self) -> &Name {
        &self.host.name
    }

    fn ip(&self) -> IpAddr {
        self.host.address
    }

    fn disk(&self) -> &Arc<SimDisk> {
        &self.host.disk
    }

    fn is_on(&self) -> bool {
        self.host.off_since.get().is_none()
    }

    fn processes(&self) -> Vec<Rc<dyn Process>> {
        let process = || Rc::new(TurmoilProcess { host: Rc::clone(&self.host) }) as Rc<dyn Process>;
        self.host.program.get().map(|_| process()).into_iter().collect()
    }

    /// # Panics
    /// When the machine has a process: such plans are refused.
    fn add_process(&self, name: &str, program: Program) -> Rc<dyn Process> {
        let installed = Installed { name: self.host.trace.name(name), main: program.into_main() };
        let added = self.host.program.set(installed).is_ok();
        assert!(added, "{}: a machine has one process on turmoil", self.name());
        Rc::new(TurmoilProcess { host: Rc::clone(&self.host) })
    }

    /// A machine without power gives a fault without effect.
    fn power_loss(&self) -> FaultId {
        self.host.lose_power(FaultKind::PowerLoss, |disk| {
            let number = self.host.power_losses.replace(self.host.power_losses.get() + 1);
            let rng = self.host.rng.child("power_loss").child(self.name());
            disk.power_loss(&mut rng.stream(&number.to_string()))
        })
    }

    fn power_loss_worst(&self) -> FaultId {
        self.host.lose_power(FaultKind::PowerLoss, |disk| disk.power_loss_worst())
    }

    fn destroy_disk(&self) -> FaultId {
        let host = &self.host;
        let fault = host.lose_power(FaultKind::DiskDestroyed, |_| PowerLossReport::default());
        host.disk.destroy();
        host.trace.record(&host.name, 0, TraceEvent::Machine(MachineStep::DiskDestroyed));
        host.trace.fault_bit(fault, "the disk is empty");
        fault
    }

    fn power_on(&self) {
        let Some(fault) = self.host.off_since.take() else { return };
        self.host.order(Order::Boot(self.host.address));
        let event = TraceEvent::Machine(MachineStep::PoweredOn);
        self.host.trace.record(&self.host.name, 0, event);
        self.host.trace.fault_healed(fault, "powered on");
    }

    /// # Panics
    /// Always: plans with clocks that are tampered with are refused.
    fn jump_clock(&self, _by_ms: i64) -> FaultId {
        panic!("{}: plans that set clocks are refused", self.name());
    }

    /// # Panics
    /// Always: as [`Machine::jump_clock`].
    fn drift_clock(&self, _ppm: i64) -> FaultId {
        panic!("{}: plans with clocks that drift are refused", self.name());
    }

    /// Nothing drifts.
    fn steady_clock(&self) {}
}

/// The process of a machine on turmoil.
struct TurmoilProcess {
    host: Rc<Host>,
}

impl TurmoilProcess {
    async fn ended(&self) -> ProcessStatus {
        loop {
            let changed = self.host.ended.notified();
            if !self.is_running() {
                return self.host.status.borrow().clone();
            }
            changed.await;
        }
    }
}

impl Process for TurmoilProcess {
    fn name(&self) -> &Name {
        self.host.program.get().map_or(&self.host.name, |program| &program.name)
    }

    fn machine(&self) -> Rc<dyn Machine> {
        Rc::new(TurmoilMachine { host: Rc::clone(&self.host) })
    }

    fn is_running(&self) -> bool {
        self.host.life.borrow().is_some()
    }

    fn start(&self) {
        assert!(!self.is_running(), "{} runs already", self.name());
        assert!(self.machine().is_on(), "{}: its machine has no power", self.name());
        let host = &self.host;
        host.incarnation.set(host.incarnation.get() + 1);
        if let Some(fault) = host.killed_by.take() {
            host.trace.fault_healed(fault, "started again");
        }
        *host.status.borrow_mut() = ProcessStatus::Running;
        *host.life.borrow_mut() = Some(Life {
            alive: Arc::new(AtomicBool::new(true)),
            disk: host.disk.handle(self.name()),
            shutdown: CancellationToken::new(),
            jobs: Rc::default(),
            taken: false,
        });
        host.record_step(ProcessStep::Started);
        host.started.notify_one();
    }

    /// One that does not run gives a fault without effect.
    fn kill(&self) -> FaultId {
        let host = &self.host;
        let fault = host.trace.fault_started(FaultKind::Kill, self.name(), "");
        if host.end(ProcessStep::Killed) {
            host.order(Order::Reap(host.address));
            host.trace.fault_bit(fault, "the process is gone");
            host.killed_by.set(Some(fault));
        }
        fault
    }

    fn stop(&self, deadline: Duration) -> LocalBoxFuture<'_, StopOutcome> {
        async move {
            if let Some(life) = &*self.host.life.borrow() {
                self.host.record_step(ProcessStep::StopRequested);
                life.shutdown.cancel();
            }
            match tokio::time::timeout(deadline, self.ended()).await {
                Ok(status) => StopOutcome::Ended(status),
                Err(_) => {
                    self.kill();
                    StopOutcome::Killed
                }
            }
        }
        .boxed_local()
    }

    /// # Panics
    /// Always: plans with pauses are refused.
    fn pause(&self) -> FaultId {
        panic!("{}: plans with pauses are refused", self.name())
    }

    fn resume(&self) {}

    fn spawn(&self, job: Job) -> Result<(), ProcessGone> {
        let life = self.host.life.borrow();
        let jobs = &life.as_ref().ok_or(ProcessGone)?.jobs;
        jobs.waiting.borrow_mut().push(job);
        jobs.added.notify_one();
        Ok(())
    }
}
