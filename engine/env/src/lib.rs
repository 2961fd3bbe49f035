//! The one door between the engine and the machine it runs on.
//!
//! Everything the engine can observe or change outside its own heap goes through [`Env`]: files
//! ([`disk`]), sockets ([`net`]), wall clock and time zone ([`clock`]), randomness ([`rng`]) and
//! tasks ([`task`]). `clippy.toml` refuses the direct ways. Monotonic time is the exception that
//! needs no handle: `tokio::time::{Instant, sleep, timeout}`, which both backends drive.
//!
//! Two complete sets of backends exist: the operating system ([`Env::os`]) and the simulator (the
//! `staticfire-world` crate). The engine cannot tell them apart: no type parameter, no feature, no `cfg`.
//! Backends are object-safe traits called only where production pays a system call; what is hot
//! (bytes of a mapped file) is the concrete [`disk::MappedRegion`].
//!
//! Modules in reading order: [`disk`], [`net`], [`clock`], [`rng`], [`task`], [`probe`],
//! [`watched`], [`select!`], [`collections`], [`plant`]; `os` holds the operating system's side of each. The
//! target decides whether `os` is there; nothing else does.

pub mod clock;
pub mod collections;
pub mod disk;
pub mod net;
#[cfg(not(target_family = "wasm"))]
mod os;
pub mod plant;
pub mod probe;
pub mod rng;
mod select;
pub mod task;
pub mod watched;

use std::sync::Arc;

/// For [`select!`]: whoever uses it need not name tokio.
#[doc(hidden)]
pub use tokio;

/// A boxed future of the seam's asynchronous calls.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Handles to everything outside the process, passed first to every constructor of the engine.
///
/// Cheap to clone. One `Env` belongs to one *process* (a name server, broker or client): its task
/// group and probe carry that identity.
#[derive(Clone)]
pub struct Env {
    /// Files and directories of the machine.
    pub disk: Arc<dyn disk::Disk>,
    /// Sockets of the machine.
    pub net: Arc<dyn net::Net>,
    /// Wall clock and time zone of the machine.
    pub clock: Arc<dyn clock::Clock>,
    /// Named random streams.
    pub rng: rng::Rng,
    /// The process's tasks.
    pub tasks: task::TaskGroup,
    /// Where the engine reports what it did; the simulator builds its trace from it.
    pub probe: probe::Probe,
}

impl Env {
    /// The operating system's backends: mmap and msync, tokio sockets, the real clock, randomness
    /// from the operating system, tasks on the current tokio runtime, probe events to `tracing`.
    ///
    /// WebAssembly has none of these: there the only backends are the simulator's.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn os() -> Self {
        Env {
            disk: Arc::new(os::disk::OsDisk::new()),
            net: Arc::new(os::net::OsNet::new()),
            clock: Arc::new(os::clock::OsClock),
            rng: rng::Rng::from_os(),
            tasks: task::TaskGroup::new(Arc::new(os::task::TokioSpawner::current())),
            probe: probe::Probe::tracing(),
        }
    }
}
