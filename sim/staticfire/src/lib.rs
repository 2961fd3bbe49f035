//! Staticfire: runs a RocketMQ cluster in a simulated world until it breaks, and says which
//! acknowledged messages were lost, and why.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | [`Plan`](plan::Plan): everything a run is made of; scenario files are plans |
//! | [`stories`] | plans that nobody wrote: the expected matrix, and the generator |
//! | [`conf`] | directories of RocketMQ's `.properties`, as clusters |
//! | [`run`] | one plan, one seed, one verdict: stage, cluster, workload, acts |
//! | [`campaign`] | many runs: subjects, seeds, sweeps, figures, repeatability |
//! | [`failures`] | what is said about runs that did not keep their promise |
//! | [`testing`] | stories in the tests of other crates |
//!
//! Each knows only those above it. The world that runs are told in is `staticfire-world`, what judges
//! them `staticfire-judge`; the command line stands on all of it, in the binary.

pub mod campaign;
pub mod conf;
pub mod failures;
pub mod plan;
pub mod run;
pub mod stories;
pub mod testing;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also behind a holder that panicked: the state is of no use only to what it was about.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
