//! `mqnamesrv`: the name server as a program.
//!
//! Exit codes: 0 stopped as asked, 64 bad arguments or configuration, 70 a fault of its own, 1 what the machine
//! does not give (a port that is taken).

use std::fmt::Display;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::properties_file::PropertiesFile;
use mq_tls::TlsSettings;
use tokio::signal::unix::{Signal, SignalKind, signal};

const BAD_INPUT: u8 = 64;
const OWN_FAULT: u8 = 70;
const OTHER_FAULT: u8 = 1;

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

/// A sentence for the operator, and the exit code.
struct Failure(u8, String);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let is_asked_for = !error.use_stderr();
            // Nothing is left to be told to whom.
            let _ = error.print();
            return ExitCode::from(if is_asked_for { 0 } else { BAD_INPUT });
        }
    };
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_ansi(is_terminal).with_writer(std::io::stderr).init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, text)) => {
            say(&text);
            ExitCode::from(code)
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| own_fault("the runtime does not start", &error))?;
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
    let mut stop = StopSignals::new()
        .map_err(|error| own_fault("the handlers of SIGTERM and SIGINT cannot be set", &error))?;
    let port = config.listen_port;
    let env =
        mq_tls::encrypted(&env, tls).map_err(|error| Failure(BAD_INPUT, error.to_string()))?;
    let started = NamesrvController::start(env, config).await;
    let namesrv = started.map_err(|error| Failure(OTHER_FAULT, not_listening(port, &error)))?;
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

#[expect(clippy::disallowed_methods, reason = "kvConfigPath is below the home directory")]
fn read_config(env: &Env, args: &Args) -> Result<(NamesrvConfig, TlsSettings), Failure> {
    let mut config = NamesrvConfig::default();
    let mut file = PropertiesFile::default();
    let mut name = "the command line".to_owned();
    if let Some(home) = std::env::home_dir() {
        config.kv_config_path = home.join(config.kv_config_path);
    }
    if let Some(path) = &args.config {
        let shown = path.display();
        let content = env.disk.read(path).map_err(|error| {
            let text = format!(
                "the configuration file {shown} cannot be read ({error}): -c takes the path of a file"
            );
            Failure(BAD_INPUT, text)
        })?;
        name = shown.to_string();
        file = PropertiesFile::parse(&content)
            .map_err(|error| Failure(BAD_INPUT, format!("configuration file {shown}, {error}")))?;
    }
    let tls = TlsSettings::take(&mut file, &name, &*env.disk);
    let tls = tls.map_err(|error| Failure(BAD_INPUT, error.to_string()))?;
    apply(&mut config, &file, &name)?;
    if let Some(Some(port)) = args.port {
        config.listen_port = port;
    }
    Ok((config, tls))
}

/// Takes over what the file called `name` says besides TLS.
fn apply(config: &mut NamesrvConfig, file: &PropertiesFile, name: &str) -> Result<(), Failure> {
    let unknown = config.apply(file);
    let unknown = unknown
        .map_err(|error| Failure(BAD_INPUT, format!("configuration file {name}, {error}")))?;
    for entry in unknown {
        let (line, key) = (entry.line, entry.key);
        if promises_protection(&key) {
            let text = format!(
                "configuration file {name}, line {line}: {key} asks for a protection that this name \
                 server does not have, and everything would be open; take the key out to serve all the same"
            );
            return Err(Failure(BAD_INPUT, text));
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

/// ctrl-c and SIGTERM, heard from before the start.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(StopSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        mq_env::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn own_fault(what: &str, error: &dyn Display) -> Failure {
    Failure(OWN_FAULT, format!("{what}: {error}"))
}

#[expect(clippy::print_stderr, reason = "the operator's terminal")]
fn say(text: &str) {
    eprintln!("mqnamesrv: {text}");
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn print(text: &str) {
    print!("{text}");
}
