//! What runs inside the machine that loses power: name server, broker and clients. What it tells the
//! world outside goes to files of the host, which outlive the machine.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::disallowed_methods, reason = "a file of the host, outside of what is tested")]

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use mq_client::{ClientInstance, PullClient};
use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::offset::UpdateConsumerOffsetRequestHeader;
use mq_protocol::message::MessageQueue;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings};
use mq_tests::ledger::Ack;
use mq_tests::read_back::{ReadBack, client_of_started};
use mq_tests::senders::{AckSink, SenderPlan, Senders};

/// The group whose offsets are committed.
const GROUP: &str = "power-group";

/// Pause between two commits.
const COMMIT_EVERY: Duration = Duration::from_millis(50);

/// Serves a store, reads it back, and sends until the power fails.
#[derive(Parser)]
struct Args {
    /// Directory of the host for what is told.
    #[arg(long)]
    told: PathBuf,
    /// The store's directory, on the disk that loses power.
    #[arg(long)]
    store: PathBuf,
    /// The broker program.
    #[arg(long)]
    broker: PathBuf,
    /// flushDiskType.
    #[arg(long)]
    flush: String,
    /// Number of the first sender; without it nothing is sent.
    #[arg(long)]
    first_sender: Option<u32>,
    /// Where each sender sends to.
    #[arg(long)]
    send_to: Vec<String>,
    /// What is read back before.
    #[arg(long)]
    read: Vec<String>,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let kv_config_path = args.told.join("kvConfig.json");
    let config = NamesrvConfig { listen_port: 0, kv_config_path, ..NamesrvConfig::default() };
    let namesrv = NamesrvController::start(Env::os(), config).await.unwrap();
    let namesrv_addr = format!("127.0.0.1:{}", namesrv.local_addr().port());
    let flush_disk_type = match args.flush.as_str() {
        "SYNC_FLUSH" => FlushDiskType::SyncFlush,
        _ => FlushDiskType::AsyncFlush,
    };
    let mut settings = BrokerSettings::small(&args.told, &namesrv_addr, flush_disk_type);
    settings.store_dir = args.store.clone();
    settings.more.push("flushConsumerOffsetInterval=500".to_owned());
    let mut broker = BrokerProcess::start(&args.broker, &settings);
    let client = client_of_started(&mut broker, &namesrv_addr).await;
    tell_what_is_there(&args, &client).await;
    match args.first_sender {
        Some(first_sender) => send_for_ever(&args, first_sender, &client, &settings).await,
        None => broker.stop(),
    }
}

/// Writes every message and the group's offsets, then the file that says that all is said.
async fn tell_what_is_there(args: &Args, client: &ClientInstance) {
    let read_back = ReadBack::of(client, &args.read.iter().cloned().collect()).await;
    say(&args.told.join("messages"), &read_back.to_string());
    let mut offsets = String::new();
    let pulls = PullClient::new(client, GROUP);
    for topic in &args.read {
        for queue in pulls.fetch_subscribe_message_queues(topic).await.unwrap() {
            let max = pulls.max_offset(&queue).await.unwrap();
            let offset = pulls.query_offset(GROUP, &queue).await.unwrap();
            let MessageQueue { queue_id, .. } = queue;
            offsets += &format!("{topic} {queue_id} {} {max}\n", offset.unwrap_or(-1));
        }
    }
    say(&args.told.join("offsets"), &offsets);
    say(&args.told.join("told"), "");
}

async fn send_for_ever(
    args: &Args,
    first_sender: u32,
    client: &ClientInstance,
    settings: &BrokerSettings,
) {
    let acks = line_by_line(&args.told.join("acks"));
    let sink: AckSink = Arc::new(move |ack: &Ack| acks(&ack.to_string()));
    let plan = |(sender, topic): (u32, &String)| SenderPlan { sender, topic: topic.clone() };
    let plans: Vec<SenderPlan> = (first_sender..).zip(&args.send_to).map(plan).collect();
    let is_lasting = |topic: &&String| topic.starts_with("Power");
    let topics: BTreeSet<String> = args.read.iter().filter(is_lasting).cloned().collect();
    let senders = Senders::start(client, &Arc::default(), plans, &sink);
    if !topics.is_empty() {
        commit_for_ever(args, client, &topics, settings.listen_port).await;
    }
    senders.ended().await;
}

/// Commits the end of every queue, again and again, and tells what was confirmed.
async fn commit_for_ever(
    args: &Args,
    client: &ClientInstance,
    topics: &BTreeSet<String>,
    port: u16,
) {
    let commits = line_by_line(&args.told.join("commits"));
    let env = Env::os();
    let config = RemotingClientConfig::default();
    let remoting = RemotingClient::new(env.clone(), config, ProcessorTable::default());
    let pulls = PullClient::new(client, GROUP);
    let addr = format!("127.0.0.1:{port}");
    loop {
        for topic in topics {
            let queues = pulls.fetch_subscribe_message_queues(topic).await.unwrap();
            let queue = &queues[0];
            let commit_offset = pulls.max_offset(queue).await.unwrap();
            // The group is created by its first pull.
            pulls.pull(queue, commit_offset, 1).await.unwrap();
            let header = UpdateConsumerOffsetRequestHeader {
                consumer_group: GROUP.to_owned(),
                topic: topic.clone(),
                queue_id: queue.queue_id,
                commit_offset,
            };
            let request = RemotingCommand::request(RequestCode::UPDATE_CONSUMER_OFFSET, &header);
            let reply = remoting.invoke(&addr, request, Duration::from_secs(10)).await.unwrap();
            assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
            let now_ms = env.clock.now_millis();
            commits(&format!("{topic} {} {commit_offset} {now_ms}", queue.queue_id));
        }
        tokio::time::sleep(COMMIT_EVERY).await;
    }
}

fn say(path: &Path, text: &str) {
    Env::os().disk.write(path, text.as_bytes()).unwrap();
}

/// Appends whole lines to a file of the host, each with one write.
fn line_by_line(path: &Path) -> impl Fn(&str) + Send + Sync + use<> {
    let file: File = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let file = Mutex::new(file);
    move |line: &str| {
        let line = format!("{line}\n");
        file.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}
