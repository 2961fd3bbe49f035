//! [`Stage`]: where a story is told. The acts, the workload, the ledger, the checkers and the verdict
//! are the same on all stages; these traits are the few operations that acts need.
//!
//! Our own [`World`](staticfire_world::world::World) is one (`world`). Another brings its own network and
//! scheduler, runs [`Program`]s as it sees fit, and says what it [refuses](Stage::refuses) to tell: only
//! what it accepts is asked of it. Machines are named by their addresses, so that a stage never has to
//! tell its own handles from another's.

mod world;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use mq_env::Env;
use staticfire_world::disk::{SimDisk, SimDiskConfig};
use staticfire_world::trace::{FaultId, Name, Trace};
use staticfire_world::world::{ProcessGone, StopOutcome};
use tokio::sync::oneshot;

use crate::plan::{Millis, Plan};
use crate::run::program::Program;

/// Machines and links. Faults begin and end in its trace.
pub trait Stage {
    /// Why a plan cannot be told here, if it cannot.
    fn refuses(&self, plan: &Plan) -> Option<String>;

    /// What happened so far.
    fn trace(&self) -> &Trace;

    /// Makes `host` resolve to `address` on every machine.
    fn add_host(&self, host: &str, address: IpAddr);

    /// Adds a machine, powered on and called by its address.
    fn add_machine(&self, address: IpAddr, disk: SimDiskConfig) -> Rc<dyn Machine>;

    /// Cuts the links between two machines: what travels on them, and what is sent, is held until
    /// [`Stage::heal`]. With `one_way` only what the first sends.
    fn partition(&self, between: [IpAddr; 2], one_way: bool) -> FaultId;

    /// Ends a partition: what it held is delivered.
    fn heal(&self, partition: FaultId);

    /// Gives the links between two machines this latency, both ways.
    fn slow_link(&self, between: [IpAddr; 2], latency: Millis) -> FaultId;

    /// Gives the links between two machines the configured latency again.
    fn reset_link(&self, between: [IpAddr; 2]);
}

/// A machine of a stage.
pub trait Machine {
    /// Its name, unlike that of all others.
    fn name(&self) -> &Name;

    /// Its main address.
    fn ip(&self) -> IpAddr;

    /// Its disk: the ledger reads it, faults of disks injure it.
    fn disk(&self) -> &Arc<SimDisk>;

    /// Whether it has power.
    fn is_on(&self) -> bool;

    /// Its processes.
    fn processes(&self) -> Vec<Rc<dyn Process>>;

    /// Adds a process that is not started yet.
    fn add_process(&self, name: &str, program: Program) -> Rc<dyn Process>;

    /// Cuts its power: no peer hears of it, and of what was not durable a seeded part is lost.
    fn power_loss(&self) -> FaultId;

    /// Like [`Machine::power_loss`], and nothing that was not durable survives.
    fn power_loss_worst(&self) -> FaultId;

    /// Power loss, and the disk is empty afterwards.
    fn destroy_disk(&self) -> FaultId;

    /// Gives it power again. Its processes have to be started.
    fn power_on(&self);

    /// Sets its wall clock by so many milliseconds, forwards or backwards.
    fn jump_clock(&self, by_ms: i64) -> FaultId;

    /// Lets its wall clock gain so many microseconds a second, or lose them.
    fn drift_clock(&self, ppm: i64) -> FaultId;

    /// Lets its wall clock go at its pace again, from where it stands.
    fn steady_clock(&self);
}

/// Code of the harness that is to run inside a process.
pub type Job = Box<dyn FnOnce(Env) -> LocalBoxFuture<'static, ()>>;

/// A process of a stage, across its incarnations.
pub trait Process {
    /// Its name.
    fn name(&self) -> &Name;

    /// The machine it runs on.
    fn machine(&self) -> Rc<dyn Machine>;

    /// Whether it runs.
    fn is_running(&self) -> bool;

    /// Starts it.
    ///
    /// # Panics
    /// When it runs, or its machine has no power.
    fn start(&self);

    /// Kills it: what reached the page cache stays, its sockets are closed.
    fn kill(&self) -> FaultId;

    /// Asks it to stop and waits until it ends; after `deadline` it is killed.
    fn stop(&self, deadline: Duration) -> LocalBoxFuture<'_, StopOutcome>;

    /// Stops scheduling it.
    fn pause(&self) -> FaultId;

    /// Schedules it again.
    fn resume(&self);

    /// Runs a job as a task of the process; it is dropped with the process. Asked of
    /// [clients](Program::Client) only.
    ///
    /// # Errors
    /// [`ProcessGone`] when the process does not run.
    fn spawn(&self, job: Job) -> Result<(), ProcessGone>;
}

impl dyn Process + '_ {
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
        let (done, result) = oneshot::channel();
        self.spawn(Box::new(move |env| {
            let running = code(env);
            Box::pin(async move {
                let _ = done.send(running.await);
            })
        }))?;
        result.await.map_err(|_| ProcessGone)
    }
}
