//! Three `mqbroker` processes that agree on their log. Whoever leads them is killed under traffic, again and again; nothing
//! that was acknowledged may be missing, and another one leads within the time that the settings allow.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{ClientConfig, ClientInstance, Producer, SendStatus};
use mq_env::Env;
use mq_protocol::message::Message;
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::ledger::{Ack, Ledger, MessageId};
use mq_tests::read_back::ReadBack;
use mq_tests::senders::{lock, producer_config};
use tokio::time::Instant;

use crate::rig::{mqbroker, name_server};

/// Senders at the moment of a kill.
const SENDERS: u32 = 4;

const TOPIC: &str = "Agreed";

/// Silence of a leader, an election or two, the queues of the new one, and a client that hears of it from a name server.
const LEADER_WITHIN: Duration = Duration::from_secs(40);

/// One of the group: its settings, and the process while it runs.
struct Member {
    settings: BrokerSettings,
    process: Option<BrokerProcess>,
}

impl Member {
    fn start(&mut self) {
        self.process = Some(BrokerProcess::start(mqbroker(), &self.settings));
    }

    /// Waits until it serves.
    async fn serves(&self) {
        let addr = format!("127.0.0.1:{}", self.settings.listen_port);
        let begin = Instant::now();
        while Env::os().net.connect(&addr).await.is_err() {
            assert!(begin.elapsed() < LEADER_WITHIN, "{addr} does not serve");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests make directories")]
fn members(dir: &Path, namesrv_addr: &str, flush: FlushDiskType) -> Vec<Member> {
    let ports = [free_port(), free_port(), free_port()];
    let peers: Vec<String> = (0..)
        .zip(ports)
        .map(|(number, port): (u32, _)| format!("n{number}-127.0.0.1:{port}"))
        .collect();
    let member = |number: u32| {
        let dir = dir.join(format!("n{number}"));
        std::fs::create_dir(&dir).unwrap();
        let mut settings = BrokerSettings::small(&dir, namesrv_addr, flush);
        let keys = [
            "enableDLegerCommitLog=true".to_owned(),
            "dLegerGroup=broker-a".to_owned(),
            format!("dLegerPeers={}", peers.join(";")),
            format!("dLegerSelfId=n{number}"),
        ];
        settings.more.extend(keys);
        Member { settings, process: None }
    };
    (0..3).map(member).collect()
}

/// What senders share.
struct Traffic {
    ledger: Mutex<Ledger>,
    acked: AtomicU64,
    /// The port of whoever acknowledged the last one.
    leader_port: AtomicU64,
    is_over: AtomicBool,
}

impl Traffic {
    /// Sends one message after the other, whatever becomes of them.
    async fn send(self: Arc<Self>, producer: Producer, sender: u32) {
        let clock = Env::os().clock;
        for number in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let id = MessageId { sender, number };
            lock(&self.ledger).attempt(id, TOPIC);
            match producer.send(Message::new(TOPIC, id.body())).await {
                Ok(sent) if sent.send_status == SendStatus::SendOk => {
                    lock(&self.ledger).ack(Ack::new(id, &sent, clock.now_millis()));
                    self.leader_port.store(port_in(&sent.offset_msg_id), Ordering::SeqCst);
                    self.acked.fetch_add(1, Ordering::SeqCst);
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The member that acknowledged the last message.
    fn leader(&self, members: &[Member]) -> usize {
        let port = self.leader_port.load(Ordering::SeqCst);
        let is_it = |member: &Member| u64::from(member.settings.listen_port) == port;
        members.iter().position(is_it).expect("a member acknowledged it")
    }

    /// Waits until so many more are acknowledged; how long that took.
    async fn wait_for(&self, more: u64, within: Duration) -> Duration {
        let wanted = self.acked.load(Ordering::SeqCst) + more;
        let begin = Instant::now();
        while self.acked.load(Ordering::SeqCst) < wanted {
            assert!(begin.elapsed() < within, "nothing is acknowledged for {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begin.elapsed()
    }
}

/// The port in a message id of an IPv4 broker: behind eight digits of its address.
fn port_in(offset_msg_id: &str) -> u64 {
    u64::from_str_radix(&offset_msg_id[8..16], 16).unwrap()
}

async fn kill_leaders(flush: FlushDiskType, kills: u32) {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let mut members = members(dir.path(), &namesrv_addr, flush);
    members.iter_mut().for_each(Member::start);
    let config = ClientConfig {
        namesrv_addrs: vec![namesrv_addr.clone()],
        // The time to a new master is that of the group, not that of a client's routes.
        poll_name_server_interval: Duration::from_millis(200),
        ..ClientConfig::default()
    };
    let client = ClientInstance::start(Env::os(), config);
    let traffic = Arc::new(Traffic {
        ledger: Mutex::default(),
        acked: AtomicU64::new(0),
        leader_port: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let senders = Env::os().tasks;
    for sender in 0..SENDERS {
        let producer = Producer::new(&client, producer_config());
        senders.spawn("sender", Arc::clone(&traffic).send(producer, sender));
    }
    traffic.wait_for(50, LEADER_WITHIN).await;
    let mut away_ms = Vec::new();
    for _ in 0..kills {
        let leader = traffic.leader(&members);
        members[leader].process.take().expect("it runs").kill();
        away_ms.push(traffic.wait_for(1, LEADER_WITHIN).await.as_millis());
        traffic.wait_for(50, LEADER_WITHIN).await;
        members[leader].start();
        members[leader].serves().await;
    }
    traffic.is_over.store(true, Ordering::SeqCst);
    senders.shutdown().await;
    away_ms.sort_unstable();
    println!("{}: without a master for {away_ms:?} ms", flush.name());
    let ledger = lock(&traffic.ledger).clone();
    let read_back = ReadBack::of(&client, &BTreeSet::from([TOPIC.to_owned()])).await;
    let found = read_back.compare(&ledger);
    let (acked, lost) = (ledger.acks().len(), found.lost.len());
    assert!(found.lost.is_empty(), "{lost} of {acked} lost, first {:?}", found.lost[0]);
    assert!(found.strange.is_empty(), "{:?}", found.strange);
    client.shutdown().await;
    for member in &mut members {
        member.process.take().expect("it runs").stop();
    }
    namesrv.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "tests read variables")]
async fn a_killed_leader_of_three_is_followed_by_one_that_has_everything() {
    let kills = std::env::var("DLEDGER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for flush in FlushDiskType::ALL {
        kill_leaders(flush, kills).await;
    }
}
