//! What the programs `mqbroker`, `mqnamesrv`, `mqadmin`, `mqload` and `mqshutdown` have in common: how they are called, and how they end.
//!
//! Exit codes: 0 stopped as asked, 1 what the machine does not give (a port that is taken, a store that is
//! damaged or in use) or a cluster refuses, 64 bad input, 70 a fault of their own. What ends them is one sentence
//! on standard error.

pub mod load;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

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

/// Has the log written to standard error.
///
/// # Panics
/// When it is written elsewhere already.
pub fn log_to_stderr() {
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_ansi(is_terminal).with_writer(std::io::stderr).init();
}

/// Says why `program` ends, if it failed.
#[must_use]
pub fn exit_code(program: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(Failure { code, sentence }) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "{program}: {sentence}");
    ExitCode::from(code)
}

/// ctrl-c and SIGTERM, heard from when this is made.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// From now on neither ends the process by itself.
    ///
    /// # Errors
    /// A fault of the program's own: the handlers cannot be set.
    pub fn new() -> Result<Self, Failure> {
        let heard = || {
            Ok(StopSignals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        };
        heard().map_err(|error: std::io::Error| {
            let sentence = format!("the handlers of SIGTERM and SIGINT cannot be set: {error}");
            Failure::new(Failure::OWN_FAULT, sentence)
        })
    }

    /// Resolves when one of them has come.
    pub async fn asked(&mut self) {
        mq_env::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
