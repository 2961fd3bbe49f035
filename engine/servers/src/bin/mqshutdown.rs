//! `mqshutdown`: asks the brokers or name servers of this machine to stop.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use mq_servers::processes::running;
use mq_servers::{Failure, arguments, exit_code};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// What RocketMQ's script ends with when nothing runs.
const NOTHING_RUNS: u8 = 255;

/// Sends SIGTERM to every mqbroker or mqnamesrv of this machine, and does not wait for their ends.
#[derive(Parser)]
#[command(name = "mqshutdown", version)]
struct Args {
    /// Which program is to stop.
    #[arg(ignore_case = true)]
    which: Which,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Broker,
    Namesrv,
}

impl Which {
    fn program(self) -> &'static str {
        match self {
            Which::Broker => "mqbroker",
            Which::Namesrv => "mqnamesrv",
        }
    }
}

fn main() -> ExitCode {
    let args: Args = match arguments() {
        Ok(args) => args,
        Err(code) => return code,
    };
    exit_code("mqshutdown", shut_down(args.which.program()))
}

fn shut_down(program: &str) -> Result<(), Failure> {
    let found = running(program).map_err(|error| {
        Failure::new(Failure::MACHINE, format!("/proc cannot be read: {error}"))
    })?;
    if found.is_empty() {
        return Err(Failure::new(NOTHING_RUNS, format!("No {program} running.")));
    }
    let mut failed = Vec::new();
    for pid in found.into_iter().filter_map(Pid::from_raw) {
        let id = pid.as_raw_nonzero();
        match kill_process(pid, Signal::TERM) {
            Ok(()) => say(&format!("Send shutdown request to {program}({id}) OK"))?,
            // It has ended by itself.
            Err(Errno::SRCH) => {}
            Err(error) => failed.push(format!("{program}({id}) takes no signal: {error}")),
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Failure::MACHINE, failed.join("; "))),
    }
}

fn say(sentence: &str) -> Result<(), Failure> {
    let written = writeln!(std::io::stdout(), "{sentence}");
    written.map_err(|error| {
        Failure::new(Failure::MACHINE, format!("the output cannot be written: {error}"))
    })
}
