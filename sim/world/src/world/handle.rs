//! [`WorldHandle`]: what a scenario holds.

use std::net::IpAddr;
use std::rc::Rc;

use mq_env::rng::Rng;

use super::core::Core;
use super::machine::{MachineConfig, MachineHandle};
use super::process::ProcessHandle;
use super::{Failure, WorldStats};
use crate::net::Fabric;
use crate::trace::Trace;

pub use super::faults::Partition;

/// The world as its scenario sees it; clones share it. Simulated code may hold one, too.
#[derive(Clone)]
pub struct WorldHandle {
    pub(super) core: Rc<Core>,
}

impl WorldHandle {
    pub(super) fn new(core: Rc<Core>) -> Self {
        WorldHandle { core }
    }

    /// Adds a machine, powered on.
    ///
    /// # Panics
    /// When another machine has one of its addresses.
    pub fn add_machine(&self, name: &str, config: MachineConfig) -> MachineHandle {
        MachineHandle::add(&self.core, name, config)
    }

    /// Makes `host` resolve to `addr` on every machine, besides the machines' own names.
    pub fn add_host(&self, host: &str, addr: IpAddr) {
        self.core.fabric.add_host(host, addr);
    }

    /// The machines, in the order of their addition.
    #[must_use]
    pub fn machines(&self) -> Vec<MachineHandle> {
        let machines = self.core.machines.borrow();
        let handle =
            |cell: &Rc<_>| MachineHandle { cell: Rc::clone(cell), core: Rc::clone(&self.core) };
        machines.iter().map(handle).collect()
    }

    /// The processes, in the order of their addition.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessHandle> {
        let processes = self.core.processes.borrow();
        processes.iter().map(|cell| ProcessHandle { cell: Rc::clone(cell) }).collect()
    }

    /// The machine called `name`.
    #[must_use]
    pub fn machine(&self, name: &str) -> Option<MachineHandle> {
        self.machines().into_iter().find(|machine| &**machine.name() == name)
    }

    /// The process called `name`.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<ProcessHandle> {
        self.processes().into_iter().find(|process| &**process.name() == name)
    }

    /// Runs `future` beside the scenario, outside all processes, until the run ends. A panic in it
    /// is a panic of the scenario.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.core.spawn(Box::pin(future));
    }

    /// Simulated milliseconds since the world began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.core.time.now_ms()
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.core.trace
    }

    /// Random streams for the scenario's own draws.
    #[must_use]
    pub fn rng(&self) -> Rng {
        self.core.rng.child("scenario")
    }

    /// The network.
    #[must_use]
    pub fn net(&self) -> &Fabric {
        &self.core.fabric
    }

    /// Panics of tasks so far.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.core.failures()
    }

    /// What the run cost so far.
    #[must_use]
    pub fn stats(&self) -> WorldStats {
        self.core.stats()
    }
}
