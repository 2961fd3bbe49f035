//! Peers that mean harm, over real sockets, in sizes that a test can bear. What is asserted is counted: requests
//! that were looked at, entries that are kept, writes of files.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::Env;
use mq_env::disk::{Disk, DiskLayer};
use mq_namesrv::limits::NamesrvLimits;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::body::topic_config::{RegisterBrokerBody, TopicConfig};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::namesrv::{
    GetRouteInfoRequestHeader, PutKvConfigRequestHeader, RegisterBrokerRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, CloseReason, ConnectionListener, ProcessResult, ProcessorTable, RemotingServer,
    RemotingServerConfig, RequestProcessor,
};
use mq_tests::raw_peer::{RawPeer, frame_of, frame_with_many_fields, unfinished_frame};

const MIB: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// A name server with a runtime of its own, so that the test's thread may block.
struct NameServer {
    namesrv: NamesrvController,
    runtime: tokio::runtime::Runtime,
}

impl NameServer {
    fn start(config: NamesrvConfig, disk: Option<Arc<dyn Disk>>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let namesrv = runtime.block_on(async {
            let os = Env::os();
            let disk = disk.unwrap_or_else(|| Arc::clone(&os.disk));
            NamesrvController::start(Env { disk, ..os }, config).await.unwrap()
        });
        NameServer { namesrv, runtime }
    }

    fn connect(&self) -> RawPeer {
        RawPeer::connect(&format!("127.0.0.1:{}", self.namesrv.local_addr().port()))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.runtime.block_on(self.namesrv.shutdown());
    }
}

fn config(dir: &tempfile::TempDir) -> NamesrvConfig {
    let kv_config_path = dir.path().join("kvConfig.json");
    NamesrvConfig { listen_port: 0, kv_config_path, ..NamesrvConfig::default() }
}

fn register(broker: &str, topics: usize) -> RemotingCommand {
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.topic_config_table =
        (0..topics).map(|n| (format!("t{n}"), TopicConfig::new(format!("t{n}"), 1, 6))).collect();
    let header = RegisterBrokerRequestHeader {
        broker_name: broker.into(),
        broker_addr: format!("{broker}:1"),
        cluster_name: "C".into(),
        compressed: true,
        ..RegisterBrokerRequestHeader::default()
    };
    let request = RemotingCommand::request(RequestCode::REGISTER_BROKER, &header);
    request.with_body(body.encode(true))
}

fn route_of(topic: &str) -> RemotingCommand {
    let header = GetRouteInfoRequestHeader { topic: topic.into(), ..Default::default() };
    RemotingCommand::request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &header)
}

#[test]
fn a_frame_with_many_fields_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = NameServer::start(config(&dir), None);
    let mut peer = server.connect();
    peer.send(&frame_with_many_fields(105, 120_000), 10 * SECOND).unwrap();
    // The topic is not among them.
    assert_eq!(peer.next_frame().unwrap().code, ResponseCode::SYSTEM_ERROR);
    assert_eq!(server.connect().ask(&route_of("T")).code, ResponseCode::TOPIC_NOT_EXIST);
}

#[test]
fn a_registration_of_too_many_topics_is_refused_and_a_large_one_kept() {
    let dir = tempfile::tempdir().unwrap();
    let limits = NamesrvLimits { register_topics_max: 20_000, ..NamesrvLimits::default() };
    let server = NameServer::start(NamesrvConfig { limits, ..config(&dir) }, None);
    let mut broker = server.connect();
    let refused = broker.ask(&register("a", 20_001));
    assert_eq!(refused.code, ResponseCode::SYSTEM_ERROR);
    assert!(refused.remark.unwrap().contains("20001 topics"));
    assert_eq!(server.connect().ask(&route_of("t1")).code, ResponseCode::TOPIC_NOT_EXIST);
    assert_eq!(broker.ask(&register("a", 20_000)).code, ResponseCode::SUCCESS);
    assert_eq!(server.connect().ask(&route_of("t19999")).code, ResponseCode::SUCCESS);
}

/// Counts how often files and directories are made durable.
struct Syncs {
    below: Arc<dyn Disk>,
    count: AtomicUsize,
}

impl DiskLayer for Syncs {
    fn below(&self) -> &dyn Disk {
        &*self.below
    }

    fn sync<'a>(&'a self, path: &'a std::path::Path) -> mq_env::BoxFuture<'a, std::io::Result<()>> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.below.sync(path)
    }
}

#[test]
fn key_value_pairs_that_come_together_are_written_together() {
    const PUTS: usize = 600;
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let below = runtime.block_on(async { Env::os().disk });
    let syncs = Arc::new(Syncs { below, count: AtomicUsize::new(0) });
    let server = NameServer::start(config(&dir), Some(Arc::clone(&syncs) as Arc<_>));
    let mut frames = Vec::new();
    for n in 0..PUTS {
        let header = PutKvConfigRequestHeader {
            namespace: "ns".into(),
            key: n.to_string(),
            value: "v".repeat(1000),
        };
        let put = RemotingCommand::request(RequestCode::PUT_KV_CONFIG, &header);
        frames.extend(frame_of(&put));
    }
    let mut peer = server.connect();
    peer.send(&frames, 10 * SECOND).unwrap();
    for _ in 0..PUTS {
        assert_eq!(peer.next_frame().unwrap().code, ResponseCode::SUCCESS);
    }
    // One write syncs the file and its directory. How many come together depends on the disk; one each would be 1200.
    let writes = syncs.count.load(Ordering::Relaxed) / 2;
    assert!(writes <= PUTS / 4, "{writes} writes for {PUTS} pairs");
}

/// Answers with as many bytes as the body says, and counts.
#[derive(Default)]
struct Generous(AtomicUsize);

impl RequestProcessor for Generous {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let bytes: usize = String::from_utf8_lossy(&request.body).trim().parse()?;
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Ok(RemotingCommand::success(&()).with_body(vec![7; bytes]).into())
    }
}

/// Why connections ended.
#[derive(Default)]
struct Ends(Mutex<Vec<CloseReason>>);

impl ConnectionListener for Ends {
    fn connected(&self, _: &Channel) {}

    fn closed(&self, _: &Channel, reason: &CloseReason) {
        self.0.lock().unwrap().push(reason.clone());
    }
}

struct Server {
    generous: Arc<Generous>,
    ends: Arc<Ends>,
    server: RemotingServer,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(config: RemotingServerConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (generous, ends) = (Arc::new(Generous::default()), Arc::new(Ends::default()));
        let table = ProcessorTable::default().register_default(Arc::clone(&generous) as Arc<_>);
        let endpoints = vec![("127.0.0.1:0".parse().unwrap(), Arc::new(table))];
        let listener = Some(Arc::clone(&ends) as Arc<_>);
        let server = runtime.block_on(async {
            RemotingServer::start(Env::os(), config, endpoints, listener).await.unwrap()
        });
        Server { generous, ends, server, runtime }
    }

    fn connect(&self) -> RawPeer {
        RawPeer::connect(&self.server.local_addrs()[0].to_string())
    }

    fn closed_for(&self, what: &str) -> usize {
        let ends = self.ends.0.lock().unwrap();
        ends.iter().filter(|reason| reason.to_string().contains(what)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.block_on(self.server.shutdown());
    }
}

fn give(bytes: usize) -> RemotingCommand {
    RemotingCommand::request(33, &()).with_body(bytes.to_string())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of real sockets waits for them")]
fn replies_that_nobody_reads_are_not_made() {
    let server = Server::start(RemotingServerConfig::default());
    let mut greedy = server.connect();
    let frames: Vec<u8> = (0..400).flat_map(|_| frame_of(&give(4 * MIB))).collect();
    greedy.send(&frames, 10 * SECOND).unwrap();
    let mut honest = server.connect();
    for _ in 0..20 {
        assert_eq!(honest.ask(&give(1000)).body.len(), 1000);
    }
    std::thread::sleep(SECOND);
    // The high water of 8 MiB, what the sockets took, and one reply.
    let made = server.generous.0.load(Ordering::Relaxed) - 20 * 1000;
    assert!(made <= 32 * MIB, "{} MiB were made", made / MIB);
    // Whoever reads in the end gets all of it.
    for _ in 0..400 {
        assert_eq!(greedy.next_frame().unwrap().body.len(), 4 * MIB);
    }
}

#[test]
fn unfinished_frames_of_many_connections_give_way() {
    let config = RemotingServerConfig {
        partial_frame_bytes_max: 16 * MIB,
        budget_patience_ms: 1_000,
        ..RemotingServerConfig::default()
    };
    let server = Server::start(config);
    let unfinished = unfinished_frame(8 * MIB);
    let mut hoarders: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for hoarder in &mut hoarders {
        // Those that find no room stop amid it, or were closed.
        let _ = hoarder.send(&unfinished, SECOND / 4);
    }
    let mut honest = server.connect();
    assert_eq!(honest.ask(&give(7)).body.len(), 7);
    let mut large = give(9);
    large.ext_fields.insert("padding", &"p".repeat(7 * MIB));
    assert_eq!(honest.ask(&large).body.len(), 9);
    assert!(server.closed_for("unfinished frames") > 0);
}
