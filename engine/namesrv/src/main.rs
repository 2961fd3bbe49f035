//! `mqnamesrv`: the name server as a program.

use std::path::PathBuf;

use clap::Parser;
use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};

/// The RocketMQ name server.
#[derive(Parser)]
#[command(name = "mqnamesrv", version)]
struct Args {
    /// Configuration file (Java properties: listenPort, kvConfigPath, orderMessageEnable).
    #[arg(short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port to listen on; overrides listenPort.
    #[arg(short, value_name = "PORT")]
    port: Option<u16>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let env = Env::os();
    let config = read_config(&env, &args)?;
    let namesrv = NamesrvController::start(env, config).await?;
    tracing::info!(addr = %namesrv.local_addr(), "The Name Server boot success");
    stop_asked().await?;
    namesrv.shutdown().await;
    Ok(())
}

fn read_config(env: &Env, args: &Args) -> Result<NamesrvConfig, Box<dyn std::error::Error>> {
    let mut config = NamesrvConfig::default();
    if let Some(home) = std::env::home_dir() {
        config.kv_config_path = home.join(config.kv_config_path);
    }
    if let Some(path) = &args.config {
        for key in config.apply(&env.disk.read(path)?)? {
            tracing::warn!(key, "unknown key in the configuration file");
        }
    }
    if let Some(port) = args.port {
        config.listen_port = port;
    }
    Ok(config)
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
