//! [`Node`]: a store with its replication, and [`Group`], a master and a slave that find each other.
#![expect(clippy::disallowed_methods, reason = "the test plays the machine: it copies store files")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::Env;
use mq_env::probe::{Event, Observer, Probe};
use mq_store::config::{BrokerRole, StoreConfig, UpstreamSwitch};
use mq_store::ha::HaService;
use mq_store::ha::prefix::{PrefixError, PrefixOracle, answer_prefix_query};
use mq_store::{CommitLog, MessageFilter, MessageInner, MessageStore, PutFuture, PutMessageStatus};
use tempfile::TempDir;

use crate::held_disk::HeldDisk;
use crate::pipe::PipeNet;

pub(crate) const FILE_BYTES: u64 = 16 << 10;

pub(crate) const MASTER_ADDRESS: &str = "10.0.0.1:10912";
/// Where the log of a master ends that a test plays.
pub(crate) const PLAYED_MASTER_END: u64 = 5 * FILE_BYTES / 2;

pub(crate) const SLAVE_PORT: u16 = 10_932;

/// A running store.
pub(crate) struct Node {
    pub(crate) store: Arc<MessageStore>,
    pub(crate) ha: Arc<HaService>,
    env: Env,
}

/// A master and a slave on machines of their own. Either may be down.
pub(crate) struct Group {
    pub(crate) net: PipeNet,
    pub(crate) master_config: StoreConfig,
    pub(crate) slave_config: StoreConfig,
    pub(crate) master: Option<Node>,
    pub(crate) slave: Option<Node>,
    pub(crate) master_disk: Arc<HeldDisk>,
    pub(crate) slave_disk: Arc<HeldDisk>,
    /// Whether the master answers as a Java peer does.
    pub(crate) is_master_java: bool,
    events: Events,
    /// The master as the slave's question reaches it.
    asked: Arc<Mutex<Option<Arc<MessageStore>>>>,
    dir: TempDir,
}

/// Everything that the group's stores reported, one line each.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Observer for Events {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

impl Group {
    /// Nothing runs yet; `change` sees the configuration of each machine.
    pub(crate) fn new(change: impl Fn(&mut StoreConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = |name: &str, role, ha_listen_port| {
            let mut config = StoreConfig::at(dir.path().join(name)).on_any_disk();
            config.mapped_file_size_commit_log = FILE_BYTES as usize;
            config.mapped_file_size_consume_queue = 20_000;
            config.broker_role = role;
            config.ha_listen_port = ha_listen_port;
            config.ha_transfer_batch_size = 5_000;
            change(&mut config);
            config
        };
        Group {
            master_config: config("master", BrokerRole::AsyncMaster, 10_912),
            slave_config: config("slave", BrokerRole::Slave, SLAVE_PORT),
            net: PipeNet::default(),
            master: None,
            slave: None,
            master_disk: HeldDisk::new(),
            slave_disk: HeldDisk::new(),
            is_master_java: false,
            events: Events::default(),
            asked: Arc::default(),
            dir,
        }
    }

    /// A SYNC_MASTER and its slave with upstream's behaviours, both running and connected.
    pub(crate) async fn sync_pair(upstream: &[UpstreamSwitch]) -> Self {
        let mut group = Group::new(|config| config.upstream.extend(upstream));
        group.master_config.broker_role = BrokerRole::SyncMaster;
        group.start_master().await;
        group.start_slave().await;
        group.caught_up().await;
        group
    }

    pub(crate) async fn start_master(&mut self) {
        self.start_master_asking(None).await;
    }

    /// A master that has whom to ask should it become a slave.
    pub(crate) async fn start_master_asking(&mut self, oracle: Option<PrefixOracle>) {
        let env = self.env(1, &self.master_disk);
        let node = Node::start(env, &self.master_config, oracle).await;
        *self.asked.lock().unwrap() = Some(Arc::clone(&node.store));
        self.master = Some(node);
    }

    pub(crate) async fn start_slave(&mut self) {
        let (asked, is_java) = (Arc::clone(&self.asked), self.is_master_java);
        let oracle: PrefixOracle = Arc::new(move |query| {
            let master = asked.lock().unwrap().clone();
            Box::pin(async move {
                if is_java {
                    let end = |store: Arc<MessageStore>| store.commit_log().max_offset();
                    let log_end = Some(master.map_or(PLAYED_MASTER_END, end));
                    return Err(PrefixError::Unsupported { log_end });
                }
                let unreachable = || PrefixError::Unreachable("no master".to_owned());
                let master = master.ok_or_else(unreachable)?;
                Ok(answer_prefix_query(master.commit_log(), &query))
            })
        });
        let env = self.env(2, &self.slave_disk);
        let node = Node::start(env, &self.slave_config, Some(oracle)).await;
        node.ha.set_ha_master_address(Some(MASTER_ADDRESS.to_owned()));
        self.slave = Some(node);
    }

    pub(crate) async fn kill_master(&mut self) {
        self.asked.lock().unwrap().take();
        self.master.take().unwrap().kill().await;
    }

    /// Ends the master in order: all it has is durable, and known to be.
    pub(crate) async fn stop_master(&mut self) {
        self.master().store.shutdown().await;
        self.kill_master().await;
    }

    pub(crate) async fn kill_slave(&mut self) {
        self.slave.take().unwrap().kill().await;
    }

    /// Keeps the master's files of this moment; a killed master can be put back to it.
    pub(crate) fn copy_master(&self, name: &str) {
        copy_dir(&self.master_config.store_path_root_dir, &self.dir.path().join(name));
    }

    /// What a power loss comes to that takes the master's tail.
    pub(crate) fn put_back_master(&self, name: &str) {
        self.wipe_master();
        copy_dir(&self.dir.path().join(name), &self.master_config.store_path_root_dir);
    }

    pub(crate) fn wipe_master(&self) {
        std::fs::remove_dir_all(&self.master_config.store_path_root_dir).unwrap();
    }

    pub(crate) fn master(&self) -> &Node {
        self.master.as_ref().unwrap()
    }

    pub(crate) fn slave(&self) -> &Node {
        self.slave.as_ref().unwrap()
    }

    /// Waits until the slave holds, and has reported, what the master has.
    pub(crate) async fn caught_up(&self) {
        follows(self.slave(), self.master()).await;
    }

    fn env(&self, machine: u8, disk: &Arc<HeldDisk>) -> Env {
        let probe = Probe::to(Arc::new(self.events.clone()));
        Env { net: self.net.machine(machine), disk: disk.clone(), probe, ..Env::os() }
    }

    /// Lines of events that begin with `kind`.
    pub(crate) fn events(&self, kind: &str) -> Vec<String> {
        let events = self.events.0.lock().unwrap();
        events.iter().filter(|line| line.starts_with(kind)).cloned().collect()
    }
}

impl Node {
    async fn start(env: Env, config: &StoreConfig, oracle: Option<PrefixOracle>) -> Self {
        let store = MessageStore::open(env.clone(), Arc::new(config.clone())).await.unwrap();
        let ha = HaService::new(&env, &store, oracle);
        ha.start().await.unwrap();
        Node { store, ha, env }
    }

    pub(crate) fn log(&self) -> &CommitLog {
        self.store.commit_log()
    }

    /// Ends the process: page cache and files stay as they are.
    pub(crate) async fn kill(self) {
        let Node { store, ha, env } = self;
        env.tasks.cancel();
        drop(ha);
        eventually("the tasks are gone", || Arc::strong_count(&store) == 1).await;
    }

    /// Stores a message at once; the future is its answer.
    pub(crate) fn put(&self, body: &str) -> PutFuture {
        self.store.put_message(&message(body))
    }

    /// Puts numbered messages one after the other, each expected to get `status`.
    pub(crate) async fn put_all(&self, prefix: &str, count: usize, status: PutMessageStatus) {
        for number in 0..count {
            let body = format!("{prefix}{number:>100}");
            assert_eq!(self.put(&body).await.status, status, "{prefix}{number}");
        }
    }

    /// Bodies of the topic's messages, without their padding.
    pub(crate) fn bodies(&self) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let offset = bodies.len() as u64 + self.store.min_offset_in_queue("T", 0);
            let found = self.store.get_message("T", 0, offset, 32, &MessageFilter::All);
            if found.messages.is_empty() {
                return bodies;
            }
            bodies.extend(found.messages.iter().map(|record| {
                let record = mq_protocol::message_codec::decode_record(record).unwrap();
                let body = String::from_utf8(record.body().to_vec()).unwrap();
                body.replace(' ', "")
            }));
        }
    }
}

/// A message of topic T, queue 0.
pub(crate) fn message(body: &str) -> MessageInner {
    let host = SocketAddr::from(([10, 0, 0, 9], 1_000));
    MessageInner {
        topic: "T".to_owned(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        properties: String::new(),
        born_timestamp_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}

/// `prefix0` to `prefix<count - 1>`.
pub(crate) fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// Waits for at most a minute of paused time.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain: {what}");
}

/// Waits until `slave` holds, and has reported, what `master` has.
pub(crate) async fn follows(slave: &Node, master: &Node) {
    let (of_master, of_slave) = (master.store.commit_log(), slave.store.commit_log());
    eventually("the slave catches up", || {
        let end = of_master.max_offset();
        of_slave.max_offset() == end
            && slave.ha.is_following()
            && master.ha.slaves().iter().any(|slave| slave.push_ack_offset == Some(end))
    })
    .await;
    assert_same_logs(of_master, of_slave);
}

pub(crate) fn assert_same_logs(one: &CommitLog, other: &CommitLog) {
    assert_eq!(one.max_offset(), other.max_offset());
    let range = one.min_offset().max(other.min_offset())..one.max_offset();
    assert_eq!(one.crc_of(range.clone()), other.crc_of(range));
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
