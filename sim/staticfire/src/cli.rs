//! The command line: arguments, exit codes, and which function serves which command.
//!
//! Results go to stdout, progress and errors to stderr. Exit codes: 0 every promise was kept, 1 a
//! promise was broken or a limit passed, 2 nothing was shown (vacuous or undecided), 64 bad input, 70 a
//! fault of Staticfire itself.

mod conf;
mod determinism;
mod matrix;
mod output;
mod replay;
mod run;
#[cfg(test)]
mod samples;
mod store;
mod swarm;
mod table;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use mq_store::config::UpstreamSwitch;
use staticfire::campaign::seeds::SeedRange;
use staticfire::conf::Overlay;
use staticfire::failures;
use staticfire::run::report::Verdict;

const EXAMPLES: &str = "\
Examples:
  staticfire conf scenarios/conf/hosts-2m-2s-sync
      what this cluster loses, fault by fault; --lint only checks the files
  staticfire run scenarios --seeds 0..20
      every story below scenarios, 20 seeds each
  staticfire matrix --seeds 100 --upstream slave-acks-page-cache
      the guarantee of every mode, with an upstream behaviour beside it
  staticfire swarm --seeds 0..1000
      a thousand plans that nobody wrote; --show 7 prints the eighth
  staticfire replay scenarios/ha/flapping-link.toml --seed 3
      one run again, with the fate of every lost message
  staticfire check-determinism scenarios --seeds 0..3
      every seed twice: the traces must be equal, byte for byte
  staticfire store verify /data/rocketmq/store
      what a start would keep and drop, and whether queues and index are right;
      store dump shows every record, store recover starts a copy

Exit codes: 0 every promise kept, 1 a promise broken or a limit passed,
2 nothing shown (vacuous or undecided), 64 bad input, 70 a fault of Staticfire itself";

/// Runs a RocketMQ cluster in a simulated world until it breaks, and says which acknowledged
/// messages were lost, and why.
#[derive(Debug, Parser)]
#[command(name = "staticfire", version, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a cluster, given as a directory of its brokers' files, loses under which fault
    Conf(ConfArgs),
    /// Run scenario files, or all below a directory
    Run(RunArgs),
    /// The expected matrix: every flush and replication mode under every fault
    Matrix(MatrixArgs),
    /// Plans that nobody wrote: clusters, workloads and faults are drawn from each seed
    Swarm(SwarmArgs),
    /// One run again, event by event, with the fate of every lost message
    Replay(ReplayArgs),
    /// Run every seed twice and compare the traces
    CheckDeterminism(DeterminismArgs),
    /// Examine a broker's store directory, RocketMQ's or ours, without changing it
    Store(StoreArgs),
}

/// Arguments of `store`.
#[derive(Debug, clap::Args)]
struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Everything that the store holds: records, ConsumeQueues, index, configuration
    #[command(
        after_help = "Example:\n  staticfire store dump /data/rocketmq/store --out /tmp/dump"
    )]
    Dump(StoreDumpArgs),
    /// What a start would keep and drop, and why; exits with 1 when something is lost or wrong
    #[command(after_help = "Example:\n  staticfire store verify /data/rocketmq/store --json")]
    Verify(StoreVerifyArgs),
    /// Copy the store, start the copy, and say what it holds
    #[command(
        after_help = "Example:\n  staticfire store recover /data/rocketmq/store --out /tmp/copy --json"
    )]
    Recover(StoreRecoverArgs),
}

/// Arguments of `store dump`.
#[derive(Debug, clap::Args)]
struct StoreDumpArgs {
    /// The store: what storePathRootDir names
    dir: PathBuf,
    /// Write commitlog.jsonl, consumequeue.jsonl, index.jsonl and store.json there; of a DLedger
    /// store dledger-*.jsonl, too
    #[arg(long, value_name = "D")]
    out: Option<PathBuf>,
    /// The broker's .properties, for file sizes, storePathCommitLog and storePathDLedgerCommitLog [default: told
    /// from the files, DIR/commitlog, and DIR/dledger-*/data]
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
}

/// Arguments of `store verify`.
#[derive(Debug, clap::Args)]
struct StoreVerifyArgs {
    /// The store: what storePathRootDir names
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The broker's .properties, for file sizes, storePathCommitLog and storePathDLedgerCommitLog [default: told
    /// from the files, DIR/commitlog, and DIR/dledger-*/data]
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
}

/// Arguments of `store recover`.
#[derive(Debug, clap::Args)]
struct StoreRecoverArgs {
    /// The store: what storePathRootDir names
    dir: PathBuf,
    /// Where the copy goes: a directory that is empty or does not exist
    #[arg(long, value_name = "COPY")]
    out: PathBuf,
    /// Pass over damage below the durable watermark instead of refusing to start, put zeros in the place of
    /// missing CommitLog files, leave damaged tables out; of a DLedger store: keep sound entries behind lost ones, with
    /// fillers in their place, which no other member of the group has
    #[arg(long)]
    salvage: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The broker's .properties, for file sizes, storePathCommitLog and storePathDLedgerCommitLog [default: told
    /// from the files, DIR/commitlog, and DIR/dledger-*/data]
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
}

/// Arguments of `conf`.
#[derive(Debug, clap::Args)]
struct ConfArgs {
    /// Directories with one .properties or .conf file per broker, and `hosts` and `placement` where needed
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Only this fault, such as power_all or disk_master/promote [default: all that fit]
    #[arg(long = "fault", value_name = "F")]
    faults: Vec<conf::FaultFilter>,
    /// Seeds of each fault
    #[arg(long, value_name = "A..B", default_value = "0..20")]
    seeds: SeedRange,
    /// What if: set a key for every broker, or for one: broker-a-s.flushDiskType=SYNC_FLUSH
    #[arg(long = "set", value_name = "[BROKER.]KEY=VALUE")]
    sets: Vec<Overlay>,
    /// Exit with 1 when more acknowledged messages than this are lost in one run
    #[arg(long, value_name = "N")]
    max_lost: Option<u64>,
    /// Exit with 1 when a lost message was older than this at the fault, in milliseconds
    #[arg(long, value_name = "MS")]
    max_rpo: Option<u64>,
    /// Run every group, mirror images of others too, and show groups that fared alike separately
    #[arg(long)]
    all: bool,
    /// Run every group as ASYNC_MASTER, SYNC_MASTER and DLEDGER side by side, on the machines that it has
    #[arg(long, conflicts_with_all = ["faults", "max_lost", "max_rpo", "all"])]
    compare: bool,
    /// Only check the files: all findings, no runs
    #[arg(long, conflicts_with_all = ["faults", "max_lost", "max_rpo", "json", "all", "compare"])]
    lint: bool,
    /// Runs at the same time [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Write one JSON object per run into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Scenario files, or directories with such files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Seeds of each scenario [default: what the scenario says]
    #[arg(long, value_name = "A..B")]
    seeds: Option<SeedRange>,
    /// Runs at the same time [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Write one JSON object per run into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Arguments of `matrix`.
#[derive(Debug, clap::Args)]
struct MatrixArgs {
    /// Number of seeds of each row
    #[arg(long, value_name = "N", default_value = "5")]
    seeds: NonZeroU64,
    /// Only rows whose name has this text, such as power_all or SYNC_FLUSH/none [default: all]
    #[arg(long = "row", value_name = "TEXT")]
    rows: Vec<String>,
    /// Switch an upstream behaviour on (docs/decisions.md names them)
    #[arg(long, value_name = "NAME", value_parser = upstream_switch)]
    upstream: Vec<UpstreamSwitch>,
    /// Runs at the same time [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Write one JSON object per run into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Arguments of `swarm`.
#[derive(Debug, clap::Args)]
struct SwarmArgs {
    /// Seeds: each is a plan of its own
    #[arg(long, value_name = "A..B", default_value = "0..200")]
    seeds: SeedRange,
    /// Print the plan of this seed as a scenario file, and run nothing
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "jobs", "json"])]
    show: Option<u64>,
    /// Runs at the same time [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Write one JSON object per run into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// Scenario file, or matrix:ROW, conf:DIR#GROUP/FAULT/RECOVERY or swarm as other commands print it
    file: String,
    /// The seed
    #[arg(long, value_name = "N")]
    seed: u64,
    /// As of `conf`, for conf:
    #[arg(long = "set", value_name = "[BROKER.]KEY=VALUE")]
    sets: Vec<Overlay>,
    /// As of `matrix`, for matrix:
    #[arg(long, value_name = "NAME", value_parser = upstream_switch)]
    upstream: Vec<UpstreamSwitch>,
    /// Write the whole trace into this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Tell the story of one message as well: its key, or its number
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Arguments of `check-determinism`.
#[derive(Debug, clap::Args)]
struct DeterminismArgs {
    /// Scenario files, or directories with such files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Seeds of each scenario
    #[arg(long, value_name = "A..B", default_value = "0..3")]
    seeds: SeedRange,
    /// Seeds at the same time [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// What a command says to the shell.
///
/// Of several the greatest counts, so they are declared by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    /// Every promise was kept.
    Kept,
    /// Nothing was shown: runs were vacuous, or a question was left open.
    Nothing,
    /// A promise was broken, or a limit passed.
    Broken,
    /// The input cannot be used.
    BadInput,
    /// Staticfire contradicts itself.
    OwnFault,
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Exit {
        match verdict {
            Verdict::Kept => Exit::Kept,
            Verdict::Vacuous | Verdict::Undecided => Exit::Nothing,
            Verdict::Broken => Exit::Broken,
            Verdict::BadInput => Exit::BadInput,
            Verdict::OwnFault => Exit::OwnFault,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Kept => 0,
            Exit::Broken => 1,
            Exit::Nothing => 2,
            Exit::BadInput => 64,
            Exit::OwnFault => 70,
        })
    }
}

/// Reads the arguments and serves the command.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_bad_input = error.use_stderr();
            let _ = error.print(); // A closed pipe is no reason to fail.
            return if is_bad_input { Exit::BadInput.into() } else { Exit::Kept.into() };
        }
    };
    let Some(command) = cli.command else {
        output::result(&Cli::command().render_help().to_string());
        return Exit::Kept.into();
    };
    let exit = match command {
        Command::Conf(args) => conf::conf(&args),
        Command::Run(args) => run::run(&args),
        Command::Matrix(args) => matrix::matrix(&args),
        Command::Swarm(args) => swarm::swarm(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::CheckDeterminism(args) => determinism::check(&args),
        Command::Store(args) => store::store(&args),
    };
    exit.into()
}

fn upstream_switch(text: &str) -> Result<UpstreamSwitch, String> {
    text.parse().map_err(|error| output::with_advice(error, text, &UpstreamSwitch::names()))
}
