//! `mqnamesrv`: the name server as a program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mq_env::Env;
use mq_namesrv::NamesrvController;
use mq_servers::check::check_namesrv;
use mq_servers::logs::LogOptions;
use mq_servers::monitor::{Monitor, WatchedNamesrv};
use mq_servers::namesrv_file::{NamesrvFile, PORT_REMEDY};
use mq_servers::stop::{StopSignals, Stopped, block_on};
use mq_servers::{Failure, arguments, exit_code, notify, refusals};

/// For memory that one thread takes and another gives back, as requests have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An orderly stop that takes longer ends without what it waits for: nothing that was answered is lost.
const STOP_MAX: Duration = Duration::from_millis(800);

/// The RocketMQ name server.
#[derive(Parser)]
#[command(name = "mqnamesrv", version)]
struct Args {
    /// Configuration file (Java properties: listenPort, kvConfigPath, …; -p prints all keys).
    #[arg(short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// With a number the port to listen on, which overrides listenPort; without one, as in RocketMQ, the
    /// configuration is printed and nothing started.
    #[arg(short, value_name = "PORT", num_args = 0..=1)]
    port: Option<Option<u16>>,
    /// Addresses of name servers: accepted as in RocketMQ, where it has no effect either.
    #[arg(short, value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
    /// Says whether the name server would start: every mistake of the configuration, its files and ports. Starts and
    /// changes nothing.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    log: LogOptions,
}

fn main() -> ExitCode {
    let args: Args = match arguments() {
        Ok(args) => args,
        Err(code) => return code,
    };
    // What a check finds is what it prints.
    let log = if args.check { Ok(()) } else { args.log.begin("namesrv") };
    exit_code("mqnamesrv", log.and_then(|()| block_on(run(&args))))
}

async fn run(args: &Args) -> Result<(), Failure> {
    let env = Env::os();
    let told = NamesrvFile::read(&env, args.config.as_deref(), args.port.flatten())?;
    if args.check {
        let report = check_namesrv(&env, &told).await;
        print(&report.text());
        return report.outcome("the name server");
    }
    told.say_findings()?;
    if args.port == Some(None) {
        print(&told.config.to_properties());
        let tls = told.tls.values_in_force();
        print(&tls.iter().map(|(key, value)| format!("{key}={value}\n")).collect::<String>());
        return Ok(());
    }
    serve(&env, told).await
}

async fn serve(env: &Env, told: NamesrvFile) -> Result<(), Failure> {
    let NamesrvFile { config, tls, .. } = told;
    let mut stop = StopSignals::new()?;
    let port = config.listen_port;
    let env = mq_tls::encrypted(env, tls)
        .map_err(|error| Failure::new(Failure::INPUT, error.to_string()))?;
    let monitor = Monitor::start(&env, config.metrics_listen_port).await?;
    let started = NamesrvController::start(env, config).await;
    let namesrv =
        started.map_err(|error| refusals::of_port(port, "clients", PORT_REMEDY, &error))?;
    monitor.watch(WatchedNamesrv(namesrv.clone()));
    let addr = namesrv.local_addr();
    tracing::info!("The Name Server boot success, listening on {addr}");
    notify::ready(&format!("serves at {addr}"));
    stop.asked().await;
    notify::stopping();
    tracing::info!("The Name Server is stopping");
    match stop.orderly(namesrv.shutdown(), STOP_MAX).await {
        Stopped::InOrder => tracing::info!("The Name Server has stopped"),
        Stopped::AskedAgain => {
            tracing::warn!("asked to stop again: ending without requests in work")
        }
        Stopped::TookTooLong => {
            tracing::warn!(
                "requests in work have not ended after {STOP_MAX:?}: ending without them"
            );
        }
    }
    monitor.shutdown().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn print(text: &str) {
    print!("{text}");
}
