//! `check-determinism`: every seed twice, the traces compared.

use crate::cli::{DeterminismArgs, Exit, output, run};

/// Serves `check-determinism`.
pub(crate) fn check(args: &DeterminismArgs) -> Exit {
    match run::scenarios(&args.paths) {
        Ok(scenarios) => {
            output::not_built(&format!("{} scenarios, seeds {} twice", scenarios.len(), args.seeds))
        }
        Err(why) => output::bad_input(&why),
    }
}
