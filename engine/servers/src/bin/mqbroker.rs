//! `mqbroker`: the broker as a program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use mq_broker::config::{BrokerConfig, ConfigFinding, ConfigFindingKind, LocalDefaults, Severity};
use mq_broker::{BrokerController, BrokerError};
use mq_env::Env;
use mq_protocol::properties_file::PropertiesFile;
use mq_servers::{Failure, StopSignals, arguments, exit_code, log_to_stderr};
use mq_store::StoreError;
use mq_store::config::StoreConfig;
use mq_tls::TlsSettings;

/// Half of what a message costs in memory is taken and given back at once, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Physical memory where the machine does not say.
const TOTAL_MEMORY_BYTES_UNKNOWN: u64 = 16 << 30;

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
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match arguments() {
        Ok(args) => args,
        Err(code) => return code,
    };
    log_to_stderr();
    exit_code("mqbroker", run(&args).await)
}

async fn run(args: &Args) -> Result<(), Failure> {
    let env = Env::os();
    let Config { file, mut config, store_config, tls } = read_config(&env, args)?;
    if args.print_config || args.print_important {
        let mut values = config.values_in_force(&store_config, &file, args.print_important);
        if !args.print_important {
            // `tls.enable` says the same of what was taken out of the file.
            values.retain(|(key, _)| *key != "useTLS");
            values.extend(tls.values_in_force());
        }
        return print(&values);
    }
    config.broker_config_path.clone_from(&args.config);
    config.values_besides = tls.values_in_force();
    config.values_besides.push(("useTLS", tls.client_enable.to_string()));
    let root = store_config.store_path_root_dir.clone();
    let env = mq_tls::encrypted(&env, tls).map_err(|error| not_started(&error.to_string()))?;
    let broker = BrokerController::start(env, config, store_config).await;
    let broker = broker.map_err(|error| why_not_started(error, &root))?;
    let (name, addr) = (&broker.config().broker_name, broker.broker_addr());
    tracing::info!("The broker[{name}, {addr}] boot success");
    StopSignals::new()?.asked().await;
    tracing::info!("The broker[{name}, {addr}] is stopping");
    broker.shutdown().await;
    Ok(())
}

fn print(values: &[(&str, String)]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = values.iter().try_for_each(|(name, value)| writeln!(out, "{name}={value}"));
    written.map_err(|error| {
        Failure::new(Failure::MACHINE, format!("the values cannot be printed: {error}"))
    })
}

fn why_not_started(error: BrokerError, root: &Path) -> Failure {
    match error {
        BrokerError::Store(StoreError::Locked) => Failure::new(
            Failure::MACHINE,
            format!(
                "Lock failed, MQ already started: the store {} is in use by another process; stop that \
                 one or set another storePathRootDir",
                root.display()
            ),
        ),
        BrokerError::Store(error) => Failure::new(
            Failure::MACHINE,
            format!("the store {} cannot be opened: {error}", root.display()),
        ),
        BrokerError::ListenPort(_) | BrokerError::Acl(_) => {
            Failure::new(Failure::INPUT, error.to_string())
        }
        BrokerError::Table(_) | BrokerError::Listen { .. } => {
            Failure::new(Failure::MACHINE, error.to_string())
        }
    }
}

/// What the file says.
struct Config {
    file: PropertiesFile,
    config: BrokerConfig,
    store_config: StoreConfig,
    tls: TlsSettings,
}

fn not_started(why: &str) -> Failure {
    Failure::new(Failure::INPUT, format!("{why}; the broker does not start"))
}

fn read_config(env: &Env, args: &Args) -> Result<Config, Failure> {
    let input = |sentence: String| Failure::new(Failure::INPUT, sentence);
    let (name, content) = match &args.config {
        None => ("the command line".to_owned(), Vec::new()),
        Some(path) => {
            let name = path.display().to_string();
            let content = env.disk.read(path);
            let unread = |error| input(format!("{name} cannot be read: {error}"));
            (name.clone(), content.map_err(unread)?)
        }
    };
    let parsed = PropertiesFile::parse(&content);
    let mut file = parsed.map_err(|error| input(format!("{name}: {error}")))?;
    if let Some(addresses) = &args.namesrv_addr {
        file.set("namesrvAddr", addresses);
    }
    set_home(&mut file);
    let tls = TlsSettings::take(&mut file, &name, &*env.disk);
    let tls = tls.map_err(|error| not_started(&error.to_string()))?;
    let (config, store_config, findings) = BrokerConfig::parse(&file, &local_defaults(env));
    let is_fatal = |finding: &&ConfigFinding| {
        finding.severity == Severity::Error || finding.kind == ConfigFindingKind::NotProtected
    };
    let fatal: Vec<&ConfigFinding> = findings.iter().filter(is_fatal).collect();
    for finding in findings.iter().filter(|finding| !is_fatal(finding)) {
        say(&name, finding);
    }
    let Some(first) = fatal.first() else {
        return Ok(Config { file, config, store_config, tls });
    };
    for finding in &fatal[1..] {
        say(&name, finding);
    }
    Err(not_started(&described(&name, first)))
}

/// As for 4.9 the environment says where `conf` is, unless the file does.
#[expect(clippy::disallowed_methods, reason = "the program's own environment")]
fn set_home(file: &mut PropertiesFile) {
    if let (None, Ok(home)) = (file.get("rocketmqHome"), std::env::var("ROCKETMQ_HOME")) {
        file.set("rocketmqHome", &home);
    }
}

/// A finding in words, with its place.
fn described(name: &str, finding: &ConfigFinding) -> String {
    let ConfigFinding { line, text, allowed, suggestion, .. } = finding;
    let line = if *line == mq_protocol::properties_file::NOT_FROM_FILE {
        String::new()
    } else {
        format!(":{line}")
    };
    let allowed = allowed.as_ref().map(|it| format!("; allowed: {it}")).unwrap_or_default();
    let suggestion = suggestion.as_ref().map(|it| format!("; {it}?")).unwrap_or_default();
    format!("{name}{line}: {text}{allowed}{suggestion}")
}

fn say(name: &str, finding: &ConfigFinding) {
    let said = described(name, finding);
    match finding.severity {
        Severity::Error => tracing::error!("{said}"),
        Severity::Warning => tracing::warn!("{said}"),
        Severity::Note => tracing::info!("{said}"),
    }
}

/// What the machine says of itself.
#[expect(clippy::disallowed_methods, reason = "storePathRootDir is below the home directory")]
fn local_defaults(env: &Env) -> LocalDefaults {
    let read = |path: &str| {
        let content = env.disk.read(Path::new(path)).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    };
    let host_name = read("/proc/sys/kernel/hostname").trim().to_owned();
    LocalDefaults {
        host_name: if host_name.is_empty() { "DEFAULT_BROKER".to_owned() } else { host_name },
        home_dir: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
        total_memory_bytes: total_memory_bytes(&read("/proc/meminfo"))
            .unwrap_or(TOTAL_MEMORY_BYTES_UNKNOWN),
    }
}

/// The line `MemTotal:       16384000 kB`.
fn total_memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_line_that_names_it() {
        let meminfo = "MemTotal:       16384000 kB\nMemFree:         1 kB\n";
        assert_eq!(total_memory_bytes(meminfo), Some(16_384_000 << 10));
        assert_eq!(total_memory_bytes("MemFree: 1 kB"), None);
    }
}
