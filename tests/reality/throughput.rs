//! Our broker beside Java's and beside a server that only answers, by turns in one run. Figures are printed and none
//! is asserted, as in [`figures`](crate::figures).
//!
//! `STATICFIRE_JAVA=fetch STATICFIRE_NIGHTLY=1 cargo test --release -p mq-tests --test reality by_turns -- --nocapture`
#![expect(clippy::disallowed_methods, reason = "an echo is a process of its own")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mq_env::Env;
use mq_servers::load::{PullLoad, Report, SendLoad, make_topic, pull, send};
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::skip::skipped;

use mq_tests::rig::{mqbroker, mqload};
use mq_tests::rocketmq::RocketMq;

/// Each figure is taken so often, by turns.
const ROUNDS: usize = 5;

const QUEUES: i32 = 8;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(3);

/// Sends under way, and how large.
struct Case {
    connections: usize,
    in_flight: usize,
    body_bytes: usize,
}

const CASES: [Case; 3] = [
    Case { connections: 4, in_flight: 32, body_bytes: 1024 },
    Case { connections: 4, in_flight: 32, body_bytes: 128 },
    Case { connections: 1, in_flight: 1, body_bytes: 128 },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Echo,
    Ours(FlushDiskType),
    Java(FlushDiskType),
}

const SERVERS: [Server; 5] = [
    Server::Echo,
    Server::Ours(FlushDiskType::AsyncFlush),
    Server::Java(FlushDiskType::AsyncFlush),
    Server::Ours(FlushDiskType::SyncFlush),
    Server::Java(FlushDiskType::SyncFlush),
];

/// What a server came to in one round: each case, and the pulling of everything.
struct Round {
    sent: Vec<Report>,
    pulled: Option<Report>,
    anonymous_kib: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_by_turns() {
    let rocketmq = match RocketMq::get_nightly() {
        Ok(rocketmq) => rocketmq,
        Err(reason) => return skipped("Apache RocketMQ", reason),
    };
    let mut rounds: Vec<(Server, Round)> = Vec::new();
    for _ in 0..ROUNDS {
        for server in SERVERS {
            let dir = tempfile::tempdir().unwrap();
            rounds.push((server, round(&rocketmq, server, dir.path()).await));
        }
    }
    for server in SERVERS {
        let its: Vec<&Round> = rounds.iter().filter(|it| it.0 == server).map(|it| &it.1).collect();
        tell(server, &its);
    }
}

async fn round(rocketmq: &RocketMq, server: Server, dir: &Path) -> Round {
    let port = free_port();
    let addr = format!("127.0.0.1:{port}");
    let settings = |flush_disk_type| BrokerSettings {
        listen_port: port,
        more: vec!["diskSpaceWarningLevelRatio=100".to_owned()],
        // Nobody listens there: a broker alone serves whoever knows it.
        ..BrokerSettings::small(dir, "127.0.0.1:1", flush_disk_type)
    };
    let process = match server {
        Server::Echo => {
            let mut command = Command::new(mqload());
            command.args(["echo", "--listen", &addr]);
            BrokerProcess::run(command, dir.join("echo.log"))
        }
        Server::Ours(flush) => BrokerProcess::start(mqbroker(), &settings(flush)),
        Server::Java(flush) => rocketmq.broker(&settings(flush)),
    };
    let env = Env::os();
    until_serving(&env, &addr, server).await;
    let mut sent = Vec::new();
    for Case { connections, in_flight, body_bytes } in CASES {
        let load = SendLoad {
            topic: "mqload".to_owned(),
            connections,
            in_flight,
            body_bytes,
            queues: QUEUES,
            warm_up: WARM_UP,
            measured: MEASURED,
        };
        sent.push(send(&env, &addr, &load).await.unwrap());
    }
    let anonymous_kib = process.anonymous_kib();
    let pulled = match server {
        Server::Echo => None,
        _ => {
            let topic = "mqload".to_owned();
            let load = PullLoad { topic, queues: QUEUES, connections: 4, batch: 32 };
            Some(pull(&env, &addr, &load).await.unwrap())
        }
    };
    drop(process);
    Round { sent, pulled, anonymous_kib }
}

async fn until_serving(env: &Env, addr: &str, server: Server) {
    for _ in 0..600 {
        let serves = match server {
            Server::Echo => env.net.connect(addr).await.is_ok(),
            _ => make_topic(env, addr, "mqload", QUEUES).await.is_ok(),
        };
        if serves {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{server:?} at {addr} does not serve");
}

fn tell(server: Server, rounds: &[&Round]) {
    for (case, Case { connections, in_flight, body_bytes }) in CASES.iter().enumerate() {
        let sent: Vec<&Report> = rounds.iter().map(|round| &round.sent[case]).collect();
        assert!(sent.iter().all(|it| it.refused.is_empty()), "{server:?} refuses: {:?}", sent[0]);
        let figure = |of: fn(&Report) -> f64| spread(sent.iter().map(|it| of(it)).collect());
        println!(
            "{server:?} {connections} x {in_flight} of {body_bytes} B: {} messages a second; p50 {} µs, p99 {} µs, p99.9 \
             {} µs",
            figure(Report::rate),
            figure(|it| it.latencies.p50_us as f64),
            figure(|it| it.latencies.p99_us as f64),
            figure(|it| it.latencies.p999_us as f64),
        );
    }
    let pulled: Vec<f64> =
        rounds.iter().filter_map(|it| it.pulled.as_ref()).map(Report::rate).collect();
    if !pulled.is_empty() {
        println!("{server:?} pulled from: {} messages a second", spread(pulled));
    }
    let memory = spread(rounds.iter().map(|it| it.anonymous_kib as f64).collect());
    println!("{server:?} anonymous memory: {memory} KiB");
}

/// Median, least and greatest.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (least, greatest) = (values[0], values[values.len() - 1]);
    format!("{:.0} ({least:.0} to {greatest:.0})", values[values.len() / 2])
}
