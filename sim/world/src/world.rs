//! [`World`]: machines, processes and a network in one thread, on simulated time, from one seed.
//!
//! ```
//! use staticfire_world::world::{MachineConfig, World, WorldConfig};
//!
//! let run = World::run(WorldConfig::default(), 7, async |world| {
//!     let machine = world.add_machine("m1", MachineConfig::default());
//!     let server = machine.add_process("server", |context| async move {
//!         let listener = context.env.net.bind(([0, 0, 0, 0], 9_876).into()).await?;
//!         context.shutdown.cancelled().await;
//!         drop(listener);
//!         Ok::<(), std::io::Error>(())
//!     });
//!     server.start();
//!     tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
//!     server.kill();
//!     world.now_ms()
//! });
//! assert_eq!(run.value, Ok(3_600_000));
//! ```
//!
//! * One OS thread, one `current_thread` tokio runtime, paused and seeded. When nothing can run,
//!   time jumps to the next timer or network event.
//! * A *process* is a `LocalSet` that the driver polls when something in it was woken; which of
//!   several woken processes goes first is drawn from the seed. A *machine* is a disk, addresses, a
//!   wall clock and the processes on it.
//! * The *scenario*, a future outside all processes, builds the world and injects the faults.
//! * Kill, power loss, pause and a destroyed disk are different faults with different promises:
//!
//! | | heap | page cache | platter | sockets, as peers see it |
//! |---|---|---|---|---|
//! | [`ProcessHandle::kill`] | lost | kept | kept | closed: FIN or reset |
//! | [`MachineHandle::power_loss`] | lost | lost | kept | silence; resets after power-on |
//! | [`MachineHandle::destroy_disk`] | lost | lost | lost | as power loss |
//! | [`ProcessHandle::pause`] | kept | kept | kept | open; bytes are accepted up to the window |
//!
//! A crash drops futures, and `Drop` code runs; by then the process's sockets are closed, its disk
//! handle is dead and its events are not recorded, so that nothing of it can be observed.
//!
//! A scenario that waits for ever ends at [`WorldConfig::limit_ms`], a world whose processes wake
//! each other without time passing at [`WorldConfig::polls_per_instant_max`], and one that never rests while time
//! passes at [`WorldConfig::polls_per_second_max`]. What no code in here
//! can end is a task that spins inside one poll: whoever runs many worlds keeps a watchdog with the
//! wall clock outside, on another thread or process.

mod core;
mod driver;
mod faults;
mod handle;
mod machine;
mod panics;
mod process;
mod ready;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::pin;
use std::rc::Rc;

use tokio::runtime::{Builder, Runtime};

use crate::net::{NetProfile, NetStats};
use crate::trace::{Keeps, Name, Trace};

use self::core::Core;
use driver::Driver;

pub use handle::{Partition, WorldHandle};
pub use machine::{MachineConfig, MachineHandle};
pub use process::{
    Exit, Main, ProcessContext, ProcessGone, ProcessHandle, ProcessStatus, StopOutcome, boxed_main,
};

/// What a world is like before anything happens.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// The network.
    pub net: NetProfile,
    /// What the wall clocks show when the world begins, milliseconds since the Unix epoch.
    pub epoch_ms: u64,
    /// Mean interval of the kernels' background writeback, machine by machine; 0 turns it off.
    pub writeback_interval_ms: u64,
    /// The run ends as [`Stopped::TimeLimit`] after this much simulated time.
    pub limit_ms: u64,
    /// The run ends as [`Stopped::Livelock`] after this many polls of tasks without time passing.
    pub polls_per_instant_max: u64,
    /// The run ends as [`Stopped::Overrun`] after this many polls of tasks within a simulated second.
    pub polls_per_second_max: u64,
    /// Whether the order of processes that are woken at the same time is drawn from the seed;
    /// otherwise the first woken goes first.
    pub shuffle: bool,
    /// Which events the trace keeps.
    pub trace_keeps: Keeps,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig {
            net: NetProfile::default(),
            epoch_ms: 1_704_067_200_000, // 2024-01-01T00:00:00Z
            writeback_interval_ms: 5_000,
            limit_ms: 7 * 24 * 3_600_000,
            polls_per_instant_max: 200_000,
            polls_per_second_max: 2_000_000,
            shuffle: true,
            trace_keeps: |_| true,
        }
    }
}

/// Why a run ended before its scenario did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// [`WorldConfig::limit_ms`] of simulated time have passed.
    TimeLimit,
    /// Processes wake each other and time does not pass; names the one polled last.
    Livelock(Name),
    /// Time passes, but processes do far more in it than any cluster of such a size.
    Overrun {
        /// The one polled last.
        process: Name,
        /// Polls of tasks within a simulated second.
        polls: u64,
    },
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::TimeLimit => f.write_str("the scenario did not end in its simulated time"),
            Stopped::Livelock(process) => write!(f, "time stands still while {process} runs"),
            Stopped::Overrun { process, polls } => {
                write!(f, "{process} never rests: {polls} turns within a simulated second")
            }
        }
    }
}

/// Something that must never happen: a task of a process panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Simulated microseconds.
    pub at_us: u64,
    /// The process.
    pub process: Name,
    /// The task.
    pub task: &'static str,
    /// Message and place of the panic.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { at_us, process, task, text } = self;
        write!(f, "{} ms: task {task} of {process} panicked: {text}", at_us / 1_000)
    }
}

/// What a run cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorldStats {
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// How often the runtime polled the world: about once per instant at which something happened.
    pub world_polls: u64,
    /// Polls of processes.
    pub process_polls: u64,
    /// Polls of tasks.
    pub task_polls: u64,
    /// The network's share.
    pub net: NetStats,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Run<T> {
    /// The seed.
    pub seed: u64,
    /// What the scenario returned, or why it did not.
    pub value: Result<T, Stopped>,
    /// Everything that happened.
    pub trace: Trace,
    /// Panics of tasks, in order.
    pub failures: Vec<Failure>,
    /// What the run cost.
    pub stats: WorldStats,
}

/// A runtime whose time jumps from timer to timer. It draws nothing: what inside tokio asks for a random
/// number (a `select!` that is not biased, a `watch` channel with several receivers) is banned.
///
/// # Panics
/// Never: a runtime without I/O needs nothing that can be missing.
#[must_use]
pub fn paused_runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing that can be missing")
}

/// Runs scenarios.
#[derive(Debug)]
pub struct World;

impl World {
    /// Runs `scenario` in a new world and tears the world down. Same configuration, seed, scenario
    /// and binary: same trace, same digest.
    ///
    /// # Panics
    /// When the scenario panics (a panic of a process is a [`Failure`] instead), when called inside
    /// a tokio runtime, or when the runtime cannot be built.
    pub fn run<T>(
        config: WorldConfig,
        seed: u64,
        scenario: impl AsyncFnOnce(WorldHandle) -> T,
    ) -> Run<T> {
        let runtime = paused_runtime();
        let _entered = runtime.enter();
        let core = TornDown(Core::new(config, seed));
        let value = runtime.block_on(async {
            let scenario = pin!(scenario(WorldHandle::new(Rc::clone(&core.0))));
            Driver::new(Rc::clone(&core.0), scenario).await
        });
        let trace = core.0.trace.clone();
        Run { seed, value, trace, failures: core.0.failures(), stats: core.0.stats() }
    }

    /// Runs `scenario` with the default configuration, for tests.
    ///
    /// # Panics
    /// When the scenario does not end, and when a task panicked; the text has the trace.
    pub fn test<T>(seed: u64, scenario: impl AsyncFnOnce(WorldHandle) -> T) -> T {
        let Run { value, trace, failures, .. } = World::run(WorldConfig::default(), seed, scenario);
        if let Some(failure) = failures.first() {
            panic!("{failure}\n{trace}");
        }
        value.unwrap_or_else(|stopped| panic!("{stopped}\n{trace}"))
    }
}

/// Takes a world apart however its run ends: its parts refer to each other.
struct TornDown(Rc<Core>);

impl Drop for TornDown {
    fn drop(&mut self) {
        self.0.tear_down();
    }
}
