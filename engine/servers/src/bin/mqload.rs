//! `mqload`: how much a broker takes, and how fast it answers.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mq_env::Env;
use mq_servers::load::{LoadError, PullLoad, Report, SendLoad, make_topic, pull, send, serve_echo};
use mq_servers::{Failure, arguments, exit_code};

/// Puts load on one RocketMQ broker, ours or Apache's, and says what it came to.
#[derive(Parser)]
#[command(name = "mqload", version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

/// Where the load goes.
#[derive(clap::Args)]
struct Target {
    /// The broker's host:port.
    #[arg(short, long)]
    broker: String,
    /// Topic.
    #[arg(short, long, default_value = "mqload")]
    topic: String,
    /// Queues of the topic.
    #[arg(short, long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=1024))]
    queues: i32,
    /// Connections; those that pull share the queues.
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
}

#[derive(Subcommand)]
enum What {
    /// Sends messages, and makes the topic first.
    Send {
        #[command(flatten)]
        target: Target,
        /// Sends that are under way on each of them at any time.
        #[arg(short = 'm', long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
        in_flight: u16,
        /// Bytes of each body.
        #[arg(short, long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4 << 20))]
        size: u32,
        /// Seconds before anything counts.
        #[arg(long, default_value_t = 2)]
        warm_up: u32,
        /// Seconds that count.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// The server at that address is an echo: no topic is made there.
        #[arg(long)]
        no_topic: bool,
    },
    /// Pulls everything that a topic's queues have.
    Pull {
        #[command(flatten)]
        target: Target,
        /// Messages of a pull at most.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..=1024))]
        batch: i32,
    },
    /// Answers every request and does nothing else: what the machine alone can do.
    Echo {
        /// Where it listens.
        #[arg(short, long, default_value = "127.0.0.1:10911")]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match arguments() {
        Ok(args) => args,
        Err(code) => return code,
    };
    exit_code("mqload", run(args.what).await)
}

async fn run(what: What) -> Result<(), Failure> {
    let env = Env::os();
    match what {
        What::Send {
            target: Target { broker, topic, queues, connections },
            in_flight,
            size,
            warm_up,
            seconds,
            no_topic,
        } => {
            if !no_topic {
                make_topic(&env, &broker, &topic, queues).await.map_err(failed)?;
            }
            let load = SendLoad {
                topic,
                connections: usize::from(connections),
                in_flight: usize::from(in_flight),
                body_bytes: size as usize,
                queues,
                warm_up: Duration::from_secs(warm_up.into()),
                measured: Duration::from_secs(seconds.into()),
            };
            say(&send(&env, &broker, &load).await.map_err(failed)?)
        }
        What::Pull { target: Target { broker, topic, queues, connections }, batch } => {
            let load = PullLoad { topic, queues, connections: usize::from(connections), batch };
            say(&pull(&env, &broker, &load).await.map_err(failed)?)
        }
        What::Echo { listen } => {
            let taken = |error| failed_at(&format!("{listen} cannot be listened on: {error}"));
            let listener = env.net.bind(listen).await.map_err(taken)?;
            let broken = |error| failed_at(&format!("{listen} cannot accept: {error}"));
            serve_echo(&env, &*listener).await.map_err(broken)
        }
    }
}

fn failed(error: LoadError) -> Failure {
    failed_at(&error.to_string())
}

fn failed_at(sentence: &str) -> Failure {
    Failure::new(Failure::MACHINE, sentence)
}

fn say(report: &Report) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{report}")
        .map_err(|error| failed_at(&format!("the figures cannot be printed: {error}")))
}
