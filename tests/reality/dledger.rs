//! A DLedger group of which two nodes are brokers of Apache RocketMQ 4.9.7 and one is ours: it follows a Java leader,
//! takes over, and leads Java followers, and every data file has the same bytes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mq_dledger_log::LogConfig;
use mq_dledger_node::{DLedgerNode, NodeConfig, parse_peers};
use mq_env::Env;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message_codec::RecordFields;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::skip::skipped;

use mq_tests::rocketmq::RocketMq;

/// Of the data files.
const FILE_BYTES: usize = 65_536;

/// A Java broker of the group.
struct JavaNode {
    settings: BrokerSettings,
    self_id: String,
    process: Option<BrokerProcess>,
}

impl JavaNode {
    fn start(rocketmq: &RocketMq, dir: &Path, self_id: &str, peers: &str) -> Self {
        let dir = dir.join(self_id);
        Env::os().disk.create_dir_all(&dir).unwrap();
        let mut settings = BrokerSettings::small(&dir, "127.0.0.1:1", FlushDiskType::AsyncFlush);
        settings.more.extend([
            "enableDLegerCommitLog=true".to_owned(),
            "dLegerGroup=broker-a".to_owned(),
            format!("dLegerPeers={peers}"),
            format!("dLegerSelfId={self_id}"),
            "preferredLeaderId=n2".to_owned(),
        ]);
        let mut node = JavaNode { settings, self_id: self_id.to_owned(), process: None };
        node.run(rocketmq);
        node
    }

    fn run(&mut self, rocketmq: &RocketMq) {
        self.process = Some(rocketmq.broker(&self.settings));
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Sends a message to it; whether it took it.
    async fn send(&self, client: &RemotingClient, number: u32) -> bool {
        let header = SendMessageRequestHeader {
            producer_group: "p".to_owned(),
            topic: "DLedgerTopic".to_owned(),
            default_topic: "TBW102".to_owned(),
            default_topic_queue_nums: 4,
            properties: Some(format!("UNIQ_KEY\u{1}u{number}\u{2}TAGS\u{1}t")),
            ..SendMessageRequestHeader::default()
        };
        let mut request = RemotingCommand::request(RequestCode::SEND_MESSAGE, &());
        header.encode_for(RequestCode::SEND_MESSAGE, &mut request.ext_fields);
        let body = format!("{number}{:>1$}", "", number as usize * 61 % 900);
        let addr = format!("127.0.0.1:{}", self.settings.listen_port);
        let answer = client.invoke(&addr, request.with_body(body), Duration::from_secs(5)).await;
        answer.is_ok_and(|answer| answer.code == 0)
    }

    fn data_dir(&self) -> PathBuf {
        self.settings.store_dir.join(format!("dledger-{}/data", self.self_id))
    }

    /// Whether it has everything that `node` has, where it has it.
    fn has_all_of(&self, node: &DLedgerNode) -> bool {
        let log = node.log();
        (log.begin_index()..=log.end_index()).all(|index| {
            let entry = log.entry(index).unwrap();
            let pos = entry.head.pos as usize;
            let path = self.data_dir().join(format!("{:020}", pos - pos % FILE_BYTES));
            let bytes =
                Env::os().disk.read_at(&path, (pos % FILE_BYTES) as u64, entry.bytes().len());
            bytes.is_ok_and(|bytes| bytes == entry.bytes()[..])
        })
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("in vain: {what}");
}

/// Sends to whoever of them leads, until so many messages are taken.
async fn send(nodes: &[JavaNode], client: &RemotingClient, numbers: std::ops::Range<u32>) {
    let mut numbers = numbers.peekable();
    for _ in 0..2_000 {
        let Some(number) = numbers.peek().copied() else { return };
        for node in nodes.iter().filter(|node| node.process.is_some()) {
            if node.send(client, number).await {
                numbers.next();
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("message {:?} is not taken", numbers.next());
}

fn record(number: u32) -> Vec<u8> {
    let body = format!("ours {number}{:>1$}", "", number as usize * 53 % 900);
    let host = ([127, 0, 0, 1], 10911).into();
    let fields = RecordFields::plain("DLedgerTopic", body.as_bytes(), host, 1_700_000_000_000);
    let mut record = Vec::new();
    fields.encode(&mut record).unwrap();
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_ours_follows_java_and_leads_it() {
    let rocketmq = match RocketMq::get() {
        Ok(rocketmq) => rocketmq,
        Err(reason) => return skipped("a DLedger group with Java", reason),
    };
    let dir = tempfile::tempdir().unwrap();
    let peers: Vec<String> = (0..3).map(|id| format!("n{id}-127.0.0.1:{}", free_port())).collect();
    let peers = peers.join(";");
    let mut javas = ["n0", "n1"].map(|id| JavaNode::start(&rocketmq, dir.path(), id, &peers));
    let client =
        RemotingClient::new(Env::os(), RemotingClientConfig::default(), ProcessorTable::default());
    send(&javas, &client, 0..120).await;

    // It follows, and once it has caught up the leader, which prefers it, hands over.
    let root = dir.path().join("ours");
    let node = start_ours(&root, &peers).await;
    eventually("it has what was sent", || node.committed().get().index >= 119).await;
    eventually("it leads", || node.status().get().is_ready).await;
    for number in 0..60 {
        node.append(vec![record(number)]).await.unwrap();
    }
    eventually("both have all of it", || javas.iter().all(|java| java.has_all_of(&node))).await;

    javas[0].kill();
    for number in 60..90 {
        node.append(vec![record(number)]).await.unwrap();
    }
    javas[0].run(&rocketmq);
    eventually("who was away has all of it", || javas[0].has_all_of(&node)).await;
    node.append(vec![record(90)]).await.unwrap();
    eventually("and goes on", || javas.iter().all(|java| java.has_all_of(&node))).await;

    // One of Java's leads without it, and it follows again.
    node.shutdown().await.unwrap();
    send(&javas, &client, 120..180).await;
    let node = start_ours(&root, &peers).await;
    eventually("it leads again", || node.status().get().is_ready).await;
    assert!(node.log().end_index() >= 120 + 91 + 60, "{}", node.log().end_index());
    eventually("all have all of it", || javas.iter().all(|java| java.has_all_of(&node))).await;
    node.shutdown().await.unwrap();
}

/// Our node, the third of the group. It waits for a leader longer than heartbeats are apart: to Java there is no
/// pre-vote, and a Java leader never hears of a term that was raised behind its back.
async fn start_ours(root: &Path, peers: &str) -> DLedgerNode {
    let env = Env::os();
    env.disk.create_dir_all(root).unwrap();
    let log = LogConfig { data_file_bytes: FILE_BYTES, ..LogConfig::of_node(root, "n2") };
    let mut peers = parse_peers(peers).unwrap();
    peers.iter_mut().for_each(|peer| peer.is_java = peer.id != "n2");
    let mut config = NodeConfig::new("broker-a", peers, "n2", log).unwrap();
    (config.settings.min_vote_interval_ms, config.settings.max_vote_interval_ms) = (3_000, 4_000);
    DLedgerNode::start(env, config).await.unwrap()
}
