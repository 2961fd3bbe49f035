//! `mqbroker`: the broker as a program.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Parser;
use mq_broker::BrokerController;
use mq_broker::config::{BrokerConfig, ConfigFinding, LocalDefaults, Severity};
use mq_env::Env;
use mq_protocol::properties_file::PropertiesFile;
use mq_store::config::StoreConfig;

/// Physical memory where the machine does not say.
const TOTAL_MEMORY_BYTES_UNKNOWN: u64 = 16 << 30;

/// The RocketMQ broker.
#[derive(Parser)]
#[command(name = "mqbroker", version)]
struct Args {
    /// Configuration file (Java properties).
    #[arg(short, value_name = "FILE")]
    config: PathBuf,
    /// Name servers, split by `;`; overrides namesrvAddr.
    #[arg(short, value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::new("info");
    let is_terminal = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal);
    subscriber.with_writer(std::io::stderr).init();
    let env = Env::os();
    let (config, store_config) = read_config(&env, &args)?;
    let broker = BrokerController::start(env, config, store_config).await?;
    let (name, addr) = (&broker.config().broker_name, broker.broker_addr());
    tracing::info!("The broker[{name}, {addr}] boot success");
    stop_asked().await?;
    broker.shutdown().await;
    Ok(())
}

fn read_config(
    env: &Env,
    args: &Args,
) -> Result<(BrokerConfig, StoreConfig), Box<dyn std::error::Error>> {
    let path = args.config.display();
    let content = env.disk.read(&args.config).map_err(|error| format!("{path}: {error}"))?;
    let mut file = PropertiesFile::parse(&content).map_err(|error| format!("{path}: {error}"))?;
    if let Some(addresses) = &args.namesrv_addr {
        file.set("namesrvAddr", addresses);
    }
    let (config, store_config, findings) = BrokerConfig::parse(&file, &local_defaults(env));
    for finding in &findings {
        say(&args.config, finding);
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(format!("{path} is not fit to run").into());
    }
    Ok((config, store_config))
}

fn say(path: &Path, finding: &ConfigFinding) {
    let ConfigFinding { severity, line, text, allowed, suggestion, .. } = finding;
    let line = if *line == mq_protocol::properties_file::NOT_FROM_FILE {
        String::new()
    } else {
        format!(":{line}")
    };
    let allowed = allowed.as_ref().map(|it| format!("; allowed: {it}")).unwrap_or_default();
    let suggestion = suggestion.as_ref().map(|it| format!("; {it}?")).unwrap_or_default();
    let said = format!("{}{line}: {severity}: {text}{allowed}{suggestion}", path.display());
    match severity {
        Severity::Error => tracing::error!("{said}"),
        Severity::Warning => tracing::warn!("{said}"),
        Severity::Note => tracing::info!("{said}"),
    }
}

/// What the machine says of itself.
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

/// Resolves on ctrl-c and SIGTERM.
async fn stop_asked() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        biased;
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
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
