//! `mqbroker`: the broker as a program.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mq_broker::{BrokerController, ports};
use mq_env::Env;
use mq_servers::broker_file::{BrokerFile, not_started};
use mq_servers::check::check_broker;
use mq_servers::logs::LogOptions;
use mq_servers::monitor::{Monitor, WatchedBroker};
use mq_servers::stop::{StopSignals, Stopped, block_on};
use mq_servers::{Failure, arguments, exit_code, notify, refusals};

/// For memory that one thread takes and another gives back, as requests have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An orderly stop that takes longer is given up: the next start recovers, as after a kill.
const STOP_MAX: Duration = Duration::from_secs(60);

/// The RocketMQ broker.
#[derive(Parser)]
#[command(name = "mqbroker", version)]
struct Args {
    /// Configuration file (Java properties); without one all keys have their defaults.
    #[arg(short, long = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name servers, split by `;`; overrides namesrvAddr.
    #[arg(short, long = "namesrvAddr", value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
    /// Prints every key with the value in force, and exits.
    #[arg(short, long = "printConfigItem")]
    print_config: bool,
    /// Prints the important keys with the values in force, and exits.
    #[arg(short = 'm', long = "printImportantConfig")]
    print_important: bool,
    /// Says whether the broker would start: every mistake of the configuration, directories, the store's files and ports.
    /// Starts and changes nothing.
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
    let log = if args.check { Ok(()) } else { args.log.begin("broker") };
    exit_code("mqbroker", log.and_then(|()| block_on(run(&args))))
}

async fn run(args: &Args) -> Result<(), Failure> {
    let env = Env::os();
    let told = BrokerFile::read(&env, args.config.as_deref(), args.namesrv_addr.as_deref())?;
    if args.check {
        let report = check_broker(&env, &told).await;
        return print(&report.text()).and_then(|()| report.outcome(&told.name));
    }
    told.say_findings()?;
    if args.print_config || args.print_important {
        return print_values(&told, args.print_important);
    }
    serve(&env, told).await
}

async fn serve(env: &Env, told: BrokerFile) -> Result<(), Failure> {
    let BrokerFile { config, store_config, tls, .. } = told;
    let mut listened = ports(&config, &store_config).unwrap_or_default();
    listened.sort_by_key(|it| it.port);
    let ports: Vec<String> = listened.iter().map(|it| it.port.to_string()).collect();
    let root = store_config.store_path_root_dir.clone();
    let env = mq_tls::encrypted(env, tls).map_err(|error| not_started(&error.to_string()))?;
    let monitor = Monitor::start(&env, config.metrics_listen_port).await?;
    let broker = BrokerController::start(env, config, store_config).await;
    let broker = broker.map_err(|error| refusals::of_broker(&error, &root))?;
    monitor.watch(WatchedBroker(broker.clone()));
    let mut stop = StopSignals::new()?;
    let (config, addr) = (broker.config(), broker.broker_addr());
    let name = &config.broker_name;
    let (role, store, ports) = (broker.role().name(), root.display(), ports.join(", "));
    let name_servers = config.namesrv_addrs.join(";");
    tracing::info!(
        "The broker[{name}, {addr}] boot success, as {role} of the store {store}, at ports {ports}, and name server is \
         {name_servers}"
    );
    notify::ready(&format!("serves as {role} at {addr}"));
    stop.asked().await;
    notify::stopping();
    tracing::info!("The broker[{name}, {addr}] is stopping");
    let stopped = stop.orderly(broker.shutdown(), STOP_MAX).await;
    monitor.shutdown().await;
    match stopped {
        Stopped::InOrder => {
            tracing::info!("The broker[{name}, {addr}] has stopped");
            Ok(())
        }
        Stopped::AskedAgain => Err(unfinished("it was asked to stop again")),
        Stopped::TookTooLong => Err(unfinished(&format!("it took more than {STOP_MAX:?}"))),
    }
}

fn unfinished(why: &str) -> Failure {
    let sentence = format!(
        "the orderly stop is left unfinished, as {why}: nothing acknowledged is lost, and the next start recovers the store"
    );
    Failure::new(Failure::MACHINE, sentence)
}

fn print_values(told: &BrokerFile, only_important: bool) -> Result<(), Failure> {
    let BrokerFile { config, store_config, file, tls, .. } = told;
    let mut values = config.values_in_force(store_config, file, only_important);
    if !only_important {
        // `tls.enable` says the same of what was taken out of the file.
        values.retain(|(key, _)| *key != "useTLS");
        values.extend(tls.values_in_force());
    }
    print(&values.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>())
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| {
        Failure::new(Failure::MACHINE, format!("the output cannot be written: {error}"))
    })
}
