//! What all handles of a world share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures::future::LocalBoxFuture;
use mq_env::rng::Rng;

use super::machine::MachineCell;
use super::process::ProcessCell;
use super::ready::{ProcessWaker, Ready, ScenarioWaker};
use super::{Failure, WorldConfig, WorldStats};
use crate::clock::WorldTime;
use crate::net::{Fabric, MachineId};
use crate::trace::{FaultId, Name, Trace};

/// The inside of a world.
pub(super) struct Core {
    pub(super) config: WorldConfig,
    pub(super) rng: Rng,
    pub(super) time: WorldTime,
    pub(super) trace: Trace,
    pub(super) fabric: Arc<Fabric>,
    pub(super) machines: RefCell<Vec<Rc<MachineCell>>>,
    pub(super) processes: RefCell<Vec<Rc<ProcessCell>>>,
    pub(super) ready: Arc<Ready>,
    /// Set by the trace when a trigger fired.
    pub(super) interrupt: Arc<AtomicBool>,
    /// Futures that run beside the scenario, until the driver takes them.
    pub(super) helpers: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    /// The open fault of each changed link.
    pub(super) link_faults: RefCell<BTreeMap<(MachineId, MachineId), FaultId>>,
    pub(super) world_polls: Cell<u64>,
    pub(super) process_polls: Cell<u64>,
    /// Task polls of processes that have ended.
    pub(super) task_polls: Cell<u64>,
    failures: RefCell<Vec<Failure>>,
}

impl Core {
    pub(super) fn new(config: WorldConfig, seed: u64) -> Rc<Self> {
        let rng = Rng::from_seed(seed);
        let time = WorldTime::default();
        let trace = Trace::keeping(time.clone(), config.trace_keeps);
        let fabric =
            Fabric::new(config.net.clone(), &rng.child("net"), time.clone(), trace.clone());
        Rc::new(Core {
            config,
            rng,
            time,
            interrupt: trace.interrupt(),
            trace,
            fabric,
            machines: RefCell::default(),
            processes: RefCell::default(),
            ready: Arc::default(),
            helpers: RefCell::default(),
            link_faults: RefCell::default(),
            world_polls: Cell::default(),
            process_polls: Cell::default(),
            task_polls: Cell::default(),
            failures: RefCell::default(),
        })
    }

    pub(super) fn process(&self, index: usize) -> Option<Rc<ProcessCell>> {
        self.processes.borrow().get(index).cloned()
    }

    /// The processes of a machine, in the order of their addition.
    pub(super) fn processes_of(&self, machine: MachineId) -> Vec<Rc<ProcessCell>> {
        let processes = self.processes.borrow();
        processes.iter().filter(|process| process.machine.id == machine).cloned().collect()
    }

    pub(super) fn process_waker(&self, index: usize) -> Arc<ProcessWaker> {
        ProcessWaker::new(Arc::clone(&self.ready), index)
    }

    pub(super) fn scenario_waker(&self) -> Waker {
        Arc::new(ScenarioWaker(Arc::clone(&self.ready))).into()
    }

    /// Runs a future beside the scenario.
    pub(super) fn spawn(&self, future: LocalBoxFuture<'static, ()>) {
        self.helpers.borrow_mut().push(future);
        self.scenario_waker().wake();
    }

    /// Whether a trigger fired since this was last asked.
    pub(super) fn take_interrupt(&self) -> bool {
        self.interrupt.swap(false, Ordering::Relaxed)
    }

    pub(super) fn fail(&self, process: &Name, task: &'static str, text: String) {
        let (at_us, process) = (self.time.now_us(), Name::clone(process));
        self.failures.borrow_mut().push(Failure { at_us, process, task, text });
    }

    pub(super) fn failures(&self) -> Vec<Failure> {
        self.failures.borrow().clone()
    }

    pub(super) fn stats(&self) -> WorldStats {
        let running: u64 = self.processes.borrow().iter().map(|process| process.task_polls()).sum();
        WorldStats {
            simulated_ms: self.time.now_ms(),
            world_polls: self.world_polls.get(),
            process_polls: self.process_polls.get(),
            task_polls: self.task_polls.get() + running,
            net: self.fabric.stats(),
        }
    }

    /// Ends everything without a trace. Machines, processes and the scenario's closures refer to
    /// each other, so they are taken apart by hand.
    pub(super) fn tear_down(&self) {
        self.trace.forget_listeners();
        let processes = std::mem::take(&mut *self.processes.borrow_mut());
        for process in &processes {
            process.discard();
        }
        self.helpers.take();
        self.machines.take();
    }
}
