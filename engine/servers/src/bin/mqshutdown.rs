//! `mqshutdown`: asks the brokers or name servers of this machine to stop.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
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
    let found = processes(program).map_err(|error| {
        Failure::new(Failure::MACHINE, format!("/proc cannot be read: {error}"))
    })?;
    if found.is_empty() {
        return Err(Failure::new(NOTHING_RUNS, format!("No {program} running.")));
    }
    let mut failed = Vec::new();
    for pid in found {
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

/// The processes whose program is called so.
#[expect(clippy::disallowed_methods, reason = "other processes are outside of every world")]
fn processes(program: &str) -> std::io::Result<Vec<Pid>> {
    let entries = std::fs::read_dir("/proc")?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_program = |id: &i32| {
        // One that has ended meanwhile, or is not ours to look at, is not it.
        std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| runs(&line, program))
    };
    Ok(ids.filter(is_program).filter_map(Pid::from_raw).collect())
}

/// Whether a command line (each word with a zero behind it) begins with the path of `program`.
fn runs(command_line: &[u8], program: &str) -> bool {
    let word = command_line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name == program.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_name() {
        assert!(runs(b"/opt/mq/mqbroker\0-c\0b.conf\0", "mqbroker"));
        assert!(runs(b"mqbroker\0", "mqbroker"));
        for other in ["", "\0", "/opt/mqbroker-under-test\0", "vi\0mqbroker\0", "mqbroker/\0"] {
            assert!(!runs(other.as_bytes(), "mqbroker"), "{other:?}");
        }
    }
}
