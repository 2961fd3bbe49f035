//! What the programs `mqbroker`, `mqnamesrv`, `mqadmin`, `mqload` and `mqshutdown` have in common: how they are called, and how they end.
//!
//! Exit codes: 0 stopped as asked, 1 what the machine does not give (a port that is taken, a store that is
//! damaged or in use) or a cluster refuses, 64 bad input, 70 a fault of their own. What ends them is one sentence
//! on standard error.
//!
//! | module | holds |
//! |---|---|
//! | [`load`] | what `mqload` does |
//! | [`logs`] | where the lines of a program go: `--log-dir`, `--log-level` |
//! | [`stop`] | runtime and signals |
//! | [`notify`] | what a service manager is told |
//! | [`processes`] | other processes of the machine, for sentences |
//! | [`broker_file`], [`namesrv_file`] | what the two servers are told |
//! | [`refusals`] | why they do not start |
//! | [`check`] | `--check`: whether they would |
//! | [`metrics`], [`monitor`] | figures, health and readiness over HTTP |

pub mod broker_file;
pub mod check;
pub mod load;
pub mod logs;
pub mod metrics;
pub mod monitor;
pub mod namesrv_file;
pub mod notify;
pub mod processes;
pub mod refusals;
pub mod stop;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// Why a program ends, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// For the operator.
    pub sentence: String,
}

impl Failure {
    /// What the machine does not give.
    pub const MACHINE: u8 = 1;
    /// Bad arguments or configuration.
    pub const INPUT: u8 = 64;
    /// A fault of the program's own.
    pub const OWN_FAULT: u8 = 70;

    /// Of that exit code.
    #[must_use]
    pub fn new(code: u8, sentence: impl Into<String>) -> Self {
        Failure { code, sentence: sentence.into() }
    }
}

/// The arguments of the process.
///
/// # Errors
/// The exit code, where help or the version was asked for, or something is wrong: that is said already.
pub fn arguments<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| said(&error))
}

/// Says what is wrong with arguments, or what help and version say; the exit code.
#[must_use]
pub fn said(error: &clap::Error) -> ExitCode {
    // Help and version are no errors. Nobody is left to hear of a closed pipe.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Failure::INPUT } else { 0 })
}

/// Says why `program` ends, if it failed.
#[must_use]
pub fn exit_code(program: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(Failure { code, sentence }) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "{program}: {sentence}");
    ExitCode::from(code)
}
