//! [`Stage`]: the simulator a story is told on. There are two: our own [`World`](crate::world::World),
//! and turmoil, which shares neither network nor scheduler with it. The acts, the workload, the ledger,
//! the checkers and the verdict are the same on both; these types hold the few operations that acts
//! need, and do nothing but pass them on.

mod turmoil_host;
mod turmoil_stage;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mq_env::Env;

use crate::env::disk::SimDisk;
use crate::env::net::LinkProfile;
use crate::plan::{Millis, Plan};
use crate::trace::{FaultId, Name, Trace};
use crate::world::{
    Exit, MachineConfig, MachineHandle, Partition, ProcessContext, ProcessGone, ProcessHandle,
    StopOutcome, WorldHandle,
};

pub use turmoil_host::{TurmoilMachine, TurmoilProcess};
pub use turmoil_stage::TurmoilStage;

/// A simulator with machines and links; clones share it.
#[derive(Clone)]
pub enum Stage {
    /// Our own.
    World(WorldHandle),
    /// Turmoil.
    Turmoil(TurmoilStage),
}

/// A machine of a stage; clones name the same machine.
#[derive(Clone)]
pub enum Machine {
    /// Of our own world.
    World(MachineHandle),
    /// A host of turmoil.
    Turmoil(TurmoilMachine),
}

/// A process of a stage; clones name the same process, across its incarnations.
#[derive(Clone)]
pub enum Process {
    /// Of our own world.
    World(ProcessHandle),
    /// The one of a turmoil host.
    Turmoil(TurmoilProcess),
}

/// Calls the same method whatever the simulator.
macro_rules! on {
    ($kind:ident, $which:expr, $it:ident => $call:expr) => {
        match $which {
            $kind::World($it) => $call,
            $kind::Turmoil($it) => $call,
        }
    };
}

impl Stage {
    /// Why a plan cannot be told here, if it cannot.
    #[must_use]
    pub fn refuses(&self, plan: &Plan) -> Option<String> {
        match self {
            Stage::World(_) => None,
            Stage::Turmoil(_) => turmoil_stage::refuses(plan),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        on!(Stage, self, it => it.trace())
    }

    /// Makes `host` resolve to `address` on every machine.
    ///
    /// # Panics
    /// On turmoil: such plans are refused.
    pub fn add_host(&self, host: &str, address: IpAddr) {
        on!(Stage, self, it => it.add_host(host, address));
    }

    /// Adds a machine, powered on.
    #[must_use]
    pub fn add_machine(&self, name: &str, config: MachineConfig) -> Machine {
        match self {
            Stage::World(world) => Machine::World(world.add_machine(name, config)),
            Stage::Turmoil(stage) => Machine::Turmoil(stage.add_machine(name, config)),
        }
    }

    /// Cuts the links between two machines: what travels on them, and what is sent, is held until
    /// [`Stage::heal`]. With `one_way` only what the first sends.
    ///
    /// # Panics
    /// When the machines are another stage's; on turmoil, which cannot hold one way.
    pub fn partition(&self, between: [&Machine; 2], one_way: bool) -> FaultId {
        match (self, between) {
            (Stage::World(world), [Machine::World(one), Machine::World(two)]) => {
                let (one, two) = ([one.id()], [two.id()]);
                world.partition(&match one_way {
                    true => Partition::one_way(&one, &two),
                    false => Partition::between(&one, &two),
                })
            }
            (Stage::Turmoil(stage), [Machine::Turmoil(one), Machine::Turmoil(two)]) => {
                assert!(!one_way, "plans with one-way partitions are refused");
                stage.hold(one, two)
            }
            _ => panic!("{STRANGERS}"),
        }
    }

    /// Ends a partition: what it held is delivered.
    pub fn heal(&self, partition: FaultId) {
        match self {
            Stage::World(world) => drop(world.heal(partition)),
            Stage::Turmoil(stage) => stage.release(partition),
        }
    }

    /// Gives the links between two machines this latency, both ways.
    ///
    /// # Panics
    /// When the machines are another stage's.
    pub fn slow_link(&self, between: [&Machine; 2], latency: Millis) -> FaultId {
        match (self, between) {
            (Stage::World(world), [Machine::World(one), Machine::World(two)]) => {
                world.set_link(one.id(), two.id(), LinkProfile::latency(latency.0))
            }
            (Stage::Turmoil(stage), [Machine::Turmoil(one), Machine::Turmoil(two)]) => {
                stage.slow_link(one, two, latency)
            }
            _ => panic!("{STRANGERS}"),
        }
    }

    /// Gives the links between two machines the configured latency again.
    ///
    /// # Panics
    /// When the machines are another stage's.
    pub fn reset_link(&self, between: [&Machine; 2]) {
        match (self, between) {
            (Stage::World(world), [Machine::World(one), Machine::World(two)]) => {
                world.reset_link(one.id(), two.id());
            }
            (Stage::Turmoil(stage), [Machine::Turmoil(one), Machine::Turmoil(two)]) => {
                stage.reset_link(one, two);
            }
            _ => panic!("{STRANGERS}"),
        }
    }
}

/// A mistake of the harness.
const STRANGERS: &str = "machines of one stage only";

impl Machine {
    /// Its name, unlike that of all others.
    #[must_use]
    pub fn name(&self) -> &Name {
        on!(Machine, self, it => it.name())
    }

    /// Its main address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        on!(Machine, self, it => it.ip())
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &Arc<SimDisk> {
        on!(Machine, self, it => it.disk())
    }

    /// Whether it has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        on!(Machine, self, it => it.is_on())
    }

    /// Its processes.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        match self {
            Machine::World(it) => it.processes().into_iter().map(Process::World).collect(),
            Machine::Turmoil(it) => it.process().into_iter().map(Process::Turmoil).collect(),
        }
    }

    /// Adds a process that is not started yet.
    ///
    /// # Panics
    /// On turmoil when the machine has one: such plans are refused.
    pub fn add_process<F, Fut>(&self, name: &str, main: F) -> Process
    where
        F: Fn(ProcessContext) -> Fut + 'static,
        Fut: Future<Output: Exit> + 'static,
    {
        match self {
            Machine::World(it) => Process::World(it.add_process(name, main)),
            Machine::Turmoil(it) => Process::Turmoil(it.add_process(name, main)),
        }
    }

    /// Cuts its power: no peer hears of it, and of what was not durable a seeded part is lost.
    pub fn power_loss(&self) -> FaultId {
        on!(Machine, self, it => it.power_loss())
    }

    /// Like [`Machine::power_loss`], and nothing that was not durable survives.
    pub fn power_loss_worst(&self) -> FaultId {
        on!(Machine, self, it => it.power_loss_worst())
    }

    /// Power loss, and the disk is empty afterwards.
    pub fn destroy_disk(&self) -> FaultId {
        on!(Machine, self, it => it.destroy_disk())
    }

    /// Gives it power again. Its processes have to be started.
    pub fn power_on(&self) {
        on!(Machine, self, it => it.power_on());
    }
}

impl Process {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        on!(Process, self, it => it.name())
    }

    /// The machine it runs on.
    #[must_use]
    pub fn machine(&self) -> Machine {
        match self {
            Process::World(it) => Machine::World(it.machine()),
            Process::Turmoil(it) => Machine::Turmoil(it.machine()),
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        on!(Process, self, it => it.is_running())
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it runs, or its machine has no power.
    pub fn start(&self) {
        on!(Process, self, it => it.start());
    }

    /// Kills it: what reached the page cache stays, its sockets are closed.
    pub fn kill(&self) -> FaultId {
        on!(Process, self, it => it.kill())
    }

    /// Asks it to stop and waits until it ends; after `deadline` it is killed.
    pub async fn stop(&self, deadline: Duration) -> StopOutcome {
        on!(Process, self, it => it.stop(deadline).await)
    }

    /// Stops scheduling it.
    ///
    /// # Panics
    /// On turmoil: plans with pauses are refused.
    pub fn pause(&self) -> FaultId {
        match self {
            Process::World(it) => it.pause(),
            Process::Turmoil(it) => panic!("{}: plans with pauses are refused", it.name()),
        }
    }

    /// Schedules it again.
    pub fn resume(&self) {
        if let Process::World(it) = self {
            it.resume();
        }
    }

    /// Runs `code` as a task of the process and waits for what it returns.
    ///
    /// # Errors
    /// [`ProcessGone`] when the process does not run, or ends first.
    pub async fn run<T, Fut>(
        &self,
        code: impl FnOnce(Env) -> Fut + 'static,
    ) -> Result<T, ProcessGone>
    where
        T: 'static,
        Fut: Future<Output = T> + 'static,
    {
        on!(Process, self, it => it.run(code).await)
    }
}
