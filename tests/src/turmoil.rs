//! Stories on a second simulator: turmoil, which shares neither network nor scheduler with our own
//! world. Disks, acts, clients, ledger, checkers and verdict are the same.

mod host;
pub mod net;
mod stage;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use staticfire::plan::Plan;
use staticfire::run::{RunOutcome, run_on};

pub use stage::TurmoilStage;

/// As [`run`](staticfire::run::run), on turmoil. Plans that turmoil cannot tell are
/// [bad input](staticfire::run::report::Verdict::BadInput).
///
/// # Panics
/// When a task of a process panics.
#[must_use]
pub fn run_on_turmoil(plan: &Plan, seed: u64, repro: &str) -> RunOutcome {
    run_on(plan, seed, repro, |config, script| {
        TurmoilStage::run(config, seed, async move |stage| script.tell(Rc::new(stage)).await)
    })
}
