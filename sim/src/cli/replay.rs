//! `replay`: one run again, told event by event.

use std::path::PathBuf;

use crate::cli::{Exit, ReplayArgs, output, run};

/// What stands before a directory of `.properties` files that is replayed.
const CONF: &str = "conf:";

/// Serves `replay`.
pub(crate) fn replay(args: &ReplayArgs) -> Exit {
    if !args.file.starts_with(CONF)
        && let Err(why) = run::scenarios(&[PathBuf::from(&args.file)])
    {
        return output::bad_input(&why);
    }
    output::not_built(&format!("{} under seed {}", args.file, args.seed))
}
