//! Three brokers, each a process, that agree on their log: ours, and ours beside those of Apache RocketMQ 4.9.7. Whoever leads
//! them is killed under traffic, again and again; nothing that was acknowledged may be missing, another one leads within the time
//! that the settings allow, and in the end all logs have the same bytes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{ClientConfig, ClientInstance, Producer, SendStatus};
use mq_env::Env;
use mq_protocol::dledger_entry::EntryHead;
use mq_protocol::message::Message;
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::ledger::{Ack, Ledger, MessageId};
use mq_tests::read_back::ReadBack;
use mq_tests::senders::{lock, producer_config};
use mq_tests::skip::skipped;
use tokio::time::Instant;

use mq_tests::rig::{mqbroker, name_server};
use mq_tests::rocketmq::RocketMq;

/// Senders at the moment of a kill.
const SENDERS: u32 = 4;

const TOPIC: &str = "Agreed";

/// Silence of a leader, an election or two, the queues of the new one, and a client that hears of it from a name server.
const LEADER_WITHIN: Duration = Duration::from_secs(60);

/// How long the logs may take to become the same.
const SAME_WITHIN: Duration = Duration::from_secs(60);

/// One of the group: its settings, and the process while it runs.
struct Member {
    self_id: String,
    settings: BrokerSettings,
    /// It is Apache's.
    java: Option<RocketMq>,
    process: Option<BrokerProcess>,
}

impl Member {
    fn start(&mut self) {
        self.process = Some(match &self.java {
            Some(rocketmq) => rocketmq.broker(&self.settings),
            None => BrokerProcess::start(mqbroker(), &self.settings),
        });
    }

    fn stop(&mut self) {
        let process = self.process.take().expect("it runs");
        match self.java {
            // Java ends with the number of its signal.
            Some(_) => drop(process.terminate()),
            None => process.stop(),
        }
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

    /// The entries of its log, header and body.
    fn entries(&self) -> Vec<Vec<u8>> {
        let dir = self.settings.store_dir.join(format!("dledger-{}/data", self.self_id));
        let disk = Env::os().disk;
        let mut entries = Vec::new();
        // There is no folder before it has started.
        for file in disk.list(&dir).into_iter().flatten() {
            let bytes = disk.read(&dir.join(&file.name)).unwrap();
            let mut at = 0;
            while let Some(head) = EntryHead::decode(&bytes[at..]).filter(|head| head.magic == 1) {
                let end = at + head.size as usize;
                entries.push(bytes[at..end].to_vec());
                at = end;
            }
        }
        entries
    }
}

/// A group whose members with these numbers are Apache's.
#[expect(clippy::disallowed_methods, reason = "tests make directories")]
fn members(
    dir: &Path,
    namesrv_addr: &str,
    flush: FlushDiskType,
    javas: Option<(&RocketMq, &[u32])>,
) -> Vec<Member> {
    let ports = [free_port(), free_port(), free_port()];
    let peers: Vec<String> = (0..)
        .zip(ports)
        .map(|(number, port): (u32, _)| format!("n{number}-127.0.0.1:{port}"))
        .collect();
    let numbers = javas.map_or(&[][..], |(_, numbers)| numbers);
    let java_peers: Vec<String> = numbers.iter().map(|number| format!("n{number}")).collect();
    let member = |number: u32| {
        let self_id = format!("n{number}");
        let dir = dir.join(&self_id);
        std::fs::create_dir(&dir).unwrap();
        let mut settings = BrokerSettings::small(&dir, namesrv_addr, flush);
        let keys = [
            "enableDLegerCommitLog=true".to_owned(),
            "dLegerGroup=broker-a".to_owned(),
            format!("dLegerPeers={}", peers.join(";")),
            format!("dLegerSelfId={self_id}"),
        ];
        settings.more.extend(keys);
        let java = javas.filter(|_| numbers.contains(&number)).map(|(java, _)| java.clone());
        if java.is_none() && !java_peers.is_empty() {
            settings.more.push(format!("dLegerJavaPeers={}", java_peers.join(";")));
        }
        Member { self_id, settings, java, process: None }
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

/// Waits until every member follows. Who first heard of a new group by its leader's term votes once it has what that one has, and
/// a group whose leader falls before waits for him.
async fn all_have_entries(members: &[Member]) {
    let begin = Instant::now();
    while members.iter().any(|member| member.entries().is_empty()) {
        assert!(begin.elapsed() < SAME_WITHIN, "a member has no entry");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until all members have the same log, and more than nothing in it.
async fn logs_become_the_same(members: &[Member]) {
    let begin = Instant::now();
    loop {
        let logs: Vec<_> = members.iter().map(Member::entries).collect();
        if logs.iter().all(|log| *log == logs[0]) && !logs[0].is_empty() {
            println!("{} entries on each member", logs[0].len());
            return;
        }
        let lens: Vec<_> = logs.iter().map(Vec::len).collect();
        assert!(begin.elapsed() < SAME_WITHIN, "logs of {lens:?} entries are not the same");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Kills whoever leads, so many times, and sends on until so many messages are acknowledged.
async fn kill_leaders(
    flush: FlushDiskType,
    kills: u32,
    messages: u64,
    javas: Option<(&RocketMq, &[u32])>,
) {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let mut members = members(dir.path(), &namesrv_addr, flush, javas);
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
    all_have_entries(&members).await;
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
    let missing = messages.saturating_sub(traffic.acked.load(Ordering::SeqCst));
    traffic.wait_for(missing, LEADER_WITHIN + Duration::from_millis(20 * missing)).await;
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
    println!("{acked} messages acknowledged");
    client.shutdown().await;
    logs_become_the_same(&members).await;
    members.iter_mut().for_each(Member::stop);
    namesrv.shutdown().await;
}

#[expect(clippy::disallowed_methods, reason = "tests read variables")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_of_three_is_followed_by_one_that_has_everything() {
    let kills = number("DLEDGER_KILLS").unwrap_or(1) as u32;
    for flush in FlushDiskType::ALL {
        kill_leaders(flush, kills, 0, None).await;
    }
}

/// The members with these numbers are Apache's.
async fn beside_java(javas: &[u32]) {
    let rocketmq = match RocketMq::get() {
        Ok(rocketmq) => rocketmq,
        Err(reason) => return skipped("brokers of a DLedger group with Java", reason),
    };
    let kills = number("DLEDGER_KILLS").unwrap_or(2) as u32;
    let messages = number("DLEDGER_MESSAGES").unwrap_or(1_000);
    kill_leaders(FlushDiskType::AsyncFlush, kills, messages, Some((&rocketmq, javas))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_ours_beside_two_of_javas_loses_nothing() {
    beside_java(&[0, 1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_of_ours_beside_one_of_javas_lose_nothing() {
    beside_java(&[1]).await;
}
