//! `mqnamesrv`: the name server as a program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::properties_file::PropertiesFile;
use mq_servers::{Failure, StopSignals, arguments, exit_code, log_to_stderr};
use mq_tls::TlsSettings;

/// Half of what a message costs in memory is taken and given back at once, on several threads.
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
}

fn main() -> ExitCode {
    let args: Args = match arguments() {
        Ok(args) => args,
        Err(code) => return code,
    };
    log_to_stderr();
    exit_code("mqnamesrv", run(&args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Failure::OWN_FAULT, format!("the runtime does not start: {error}"))
    })?;
    let result = runtime.block_on(serve(args));
    // A write of the key-value table that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let env = Env::os();
    let (config, tls) = read_config(&env, args)?;
    if args.port == Some(None) {
        print(&config.to_properties());
        let tls = tls.values_in_force();
        print(&tls.iter().map(|(key, value)| format!("{key}={value}\n")).collect::<String>());
        return Ok(());
    }
    let mut stop = StopSignals::new()?;
    let port = config.listen_port;
    let env = mq_tls::encrypted(&env, tls)
        .map_err(|error| Failure::new(Failure::INPUT, error.to_string()))?;
    let started = NamesrvController::start(env, config).await;
    let namesrv =
        started.map_err(|error| Failure::new(Failure::MACHINE, not_listening(port, &error)))?;
    tracing::info!("The Name Server boot success, listening on {}", namesrv.local_addr());
    stop.asked().await;
    tracing::info!("The Name Server is stopping");
    if tokio::time::timeout(STOP_MAX, namesrv.shutdown()).await.is_err() {
        tracing::warn!("requests in work have not ended after {STOP_MAX:?}: ending without them");
    }
    Ok(())
}

fn not_listening(port: u16, error: &std::io::Error) -> String {
    let what_to_do = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another process listens there: stop it, or choose another port \
             (listenPort in the configuration file, or -p PORT)"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges: choose another one \
             (listenPort in the configuration file, or -p PORT)"
        }
        _ => "choose another port (listenPort in the configuration file, or -p PORT)",
    };
    format!("port {port} cannot be listened on ({error}): {what_to_do}")
}

#[expect(clippy::disallowed_methods, reason = "files are below the home directory")]
fn read_config(env: &Env, args: &Args) -> Result<(NamesrvConfig, TlsSettings), Failure> {
    let mut config = NamesrvConfig::default();
    let mut file = PropertiesFile::default();
    let mut name = "the command line".to_owned();
    if let Some(home) = std::env::home_dir() {
        config.kv_config_path = home.join(config.kv_config_path);
        config.config_store_path = home.join(config.config_store_path);
    }
    // What operators changed counts again, although nobody names the file; 4.9 forgets it.
    let kept = env.disk.stat(&config.config_store_path).is_ok();
    let path = args.config.clone().or_else(|| kept.then(|| config.config_store_path.clone()));
    if let Some(path) = &path {
        let shown = path.display();
        let content = env.disk.read(path).map_err(|error| {
            let text = format!(
                "the configuration file {shown} cannot be read ({error}): -c takes the path of a file"
            );
            Failure::new(Failure::INPUT, text)
        })?;
        name = shown.to_string();
        file = PropertiesFile::parse(&content).map_err(|error| {
            Failure::new(Failure::INPUT, format!("configuration file {shown}, {error}"))
        })?;
    }
    let tls = TlsSettings::take(&mut file, &name, &*env.disk);
    let tls = tls.map_err(|error| Failure::new(Failure::INPUT, error.to_string()))?;
    apply(&mut config, &file, &name)?;
    config.config_store_path = path.unwrap_or(config.config_store_path);
    if let Some(Some(port)) = args.port {
        config.listen_port = port;
    }
    Ok((config, tls))
}

/// Takes over what the file called `name` says besides TLS.
fn apply(config: &mut NamesrvConfig, file: &PropertiesFile, name: &str) -> Result<(), Failure> {
    let unknown = config.apply(file);
    let unknown = unknown.map_err(|error| {
        Failure::new(Failure::INPUT, format!("configuration file {name}, {error}"))
    })?;
    for entry in unknown {
        let (line, key) = (entry.line, entry.key);
        if promises_protection(&key) {
            let text = format!(
                "configuration file {name}, line {line}: {key} asks for a protection that this name \
                 server does not have, and everything would be open; take the key out to serve all the same"
            );
            return Err(Failure::new(Failure::INPUT, text));
        }
        tracing::warn!("configuration file {name}, line {line}: {key} has no effect here");
    }
    Ok(())
}

/// Whether an operator who sets `key` believes that peers are kept out or cannot listen.
fn promises_protection(key: &str) -> bool {
    let key = key.to_lowercase();
    ["tls", "acl", "auth"].iter().any(|word| key.starts_with(word)) || key.ends_with("tls")
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn print(text: &str) {
    print!("{text}");
}
