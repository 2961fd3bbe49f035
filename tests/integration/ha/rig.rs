//! [`Rig`]: a master and a slave in a world, stores without brokers. Which machine is which can be
//! exchanged, as an operator does it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mq_env::Env;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::log_prefix::{
    CHECK_LOG_PREFIX, CheckLogPrefixRequestHeader, PrefixAnswer, PrefixQuery,
};
use mq_protocol::message_codec::decode_record;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessOutcome, ProcessResult, ProcessorTable, RemotingClient, RemotingClientConfig,
    RemotingServer, RemotingServerConfig, RequestProcessor,
};
use mq_store::config::{BrokerRole, StoreConfig};
use mq_store::ha::HaService;
use mq_store::ha::prefix::{PrefixError, PrefixOracle, answer_prefix_query};
use mq_store::{CommitLog, MessageInner, MessageStore, PutMessageStatus};
use staticfire_world::trace::{TraceEvent, TraceRecord};
use staticfire_world::world::{
    MachineConfig, MachineHandle, ProcessContext, ProcessGone, ProcessHandle, WorldHandle,
};

const RPC_PORT: u16 = 10_911;
const HA_PORT: u16 = 10_912;
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) const FILE_BYTES: usize = 32 << 10;

/// A machine with a store that runs or does not.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) machine: MachineHandle,
    pub(super) process: ProcessHandle,
    /// As the next start reads it.
    pub(super) config: Rc<RefCell<StoreConfig>>,
    running: Rc<RefCell<Running>>,
}

/// What a running process shows. It dies with the process.
#[derive(Clone, Default)]
struct Running {
    store: Weak<MessageStore>,
    ha: Weak<HaService>,
}

/// Two machines; `nodes[0]` begins as the master.
pub(super) struct Rig {
    pub(super) world: WorldHandle,
    pub(super) nodes: [Node; 2],
}

impl Rig {
    /// Both machines, started.
    pub(super) fn start(world: &WorldHandle, change: impl Fn(&mut StoreConfig)) -> Self {
        let node = |index: usize, role| {
            let machine = world.add_machine(["a", "b"][index], MachineConfig::default());
            let mut config = StoreConfig::at("/store");
            config.mapped_file_size_commit_log = FILE_BYTES;
            config.mapped_file_size_consume_queue = 20_000;
            config.ha_listen_port = HA_PORT;
            config.broker_role = role;
            change(&mut config);
            let config = Rc::new(RefCell::new(config));
            let running = Rc::new(RefCell::new(Running::default()));
            let other = format!("10.0.0.{}", 2 - index);
            let (starts, shows) = (Rc::clone(&config), Rc::clone(&running));
            let process = machine.add_process(&format!("{}-store", machine.name()), move |it| {
                let config = starts.borrow().clone();
                serve(it, config, other.clone(), Rc::clone(&shows))
            });
            process.start();
            Node { machine, process, config, running }
        };
        let nodes = [node(0, BrokerRole::SyncMaster), node(1, BrokerRole::Slave)];
        Rig { world: world.clone(), nodes }
    }

    pub(super) fn master(&self) -> &Node {
        &self.nodes[0]
    }

    pub(super) fn slave(&self) -> &Node {
        &self.nodes[1]
    }

    /// The operator's act: both are down, the slave becomes the master and the other one its slave.
    pub(super) fn promote_slave(&mut self) {
        self.nodes.swap(0, 1);
        for (node, role) in self.nodes.iter().zip([BrokerRole::SyncMaster, BrokerRole::Slave]) {
            assert!(!node.process.is_running());
            node.config.borrow_mut().broker_role = role;
        }
    }

    /// Waits until both have the same log and the master knows it; checks that they do.
    pub(super) async fn converge(&self) {
        let is_done = || {
            let (Some(master), Some(slave)) = (self.master().running(), self.slave().running())
            else {
                return false;
            };
            let end = master.0.commit_log().max_offset();
            slave.0.commit_log().max_offset() == end
                && slave.1.is_following()
                && master.1.slaves().iter().any(|slave| slave.push_ack_offset == Some(end))
        };
        self.eventually("both logs are the same", is_done).await;
        let range = |log: &CommitLog| log.min_offset()..log.max_offset();
        let [master, slave] = [self.master().store(), self.slave().store()];
        let (master, slave) = (master.commit_log(), slave.commit_log());
        let common = range(master).start.max(range(slave).start)..range(master).end;
        assert_eq!(master.crc_of(common.clone()), slave.crc_of(common));
    }

    pub(super) async fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..1_200 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let describe = |node: &Node| {
            let running = node.running().map(|(store, ha)| {
                let state = ha.watch_follow_state().get();
                (store.commit_log().max_offset(), state)
            });
            format!("{:?} {running:?}", node.process.status())
        };
        panic!("in vain: {what}: {:?}", self.nodes.each_ref().map(describe));
    }

    /// Number of messages that slaves set aside so far.
    pub(super) fn quarantined(&self) -> u64 {
        let messages = |record: &TraceRecord| match record.event {
            TraceEvent::Quarantined { messages, .. } => messages,
            _ => 0,
        };
        self.world.trace().read(|records| records.iter().map(messages).sum())
    }
}

impl Node {
    /// Store and replication of the running process.
    pub(super) fn running(&self) -> Option<(Arc<MessageStore>, Arc<HaService>)> {
        let running = self.running.borrow();
        Some((running.store.upgrade()?, running.ha.upgrade()?))
            .filter(|_| self.process.is_running())
    }

    pub(super) fn store(&self) -> Arc<MessageStore> {
        self.running().expect("a running store").0
    }

    pub(super) fn ha(&self) -> Arc<HaService> {
        self.running().expect("a running store").1
    }

    /// Stores a message; what its producer sees, if the process lives to tell.
    pub(super) async fn put(&self, body: &str) -> Result<PutMessageStatus, ProcessGone> {
        let running = Rc::clone(&self.running);
        let message = message(body);
        let put = async move |_: Env| {
            let store = running.borrow().store.upgrade()?;
            Some(store.put_message(&message).await.status)
        };
        self.process.run(put).await?.ok_or(ProcessGone)
    }

    /// Every message of the log, whole records only, with how often it is there.
    pub(super) fn bodies(&self) -> BTreeMap<String, usize> {
        let store = self.store();
        let log = store.commit_log();
        let (mut at, mut bodies) = (log.min_offset(), BTreeMap::new());
        while at < log.max_offset() {
            let Some(record) = store.look_message_by_offset(at) else {
                at = log.roll_next_file(at);
                continue;
            };
            let body = decode_record(&record).unwrap().body().to_vec();
            *bodies.entry(String::from_utf8(body).unwrap()).or_default() += 1;
            at += record.len() as u64;
        }
        bodies
    }
}

/// The process: store, replication, and the port that answers a slave's question.
async fn serve(
    context: ProcessContext,
    config: StoreConfig,
    other: String,
    shows: Rc<RefCell<Running>>,
) -> Result<(), String> {
    let env = context.env;
    let text = |error: &dyn std::error::Error| error.to_string();
    let opened = MessageStore::open(env.clone(), Arc::new(config)).await;
    let store = opened.map_err(|error| text(&error))?;
    let answering = ProcessorTable::default()
        .register(&[CHECK_LOG_PREFIX], Arc::new(PrefixProcessor(Arc::clone(&store))));
    let addr = ([0, 0, 0, 0], RPC_PORT).into();
    let endpoints = vec![(addr, Arc::new(answering))];
    let server_config = RemotingServerConfig::default();
    let server = RemotingServer::start(env.clone(), server_config, endpoints, None).await;
    let _server = server.map_err(|error| text(&error))?;
    let oracle = oracle(&env, format!("{other}:{RPC_PORT}"));
    let ha = HaService::new(&env, &store, Some(oracle));
    ha.set_ha_master_address(Some(format!("{other}:{HA_PORT}")));
    ha.start().await.map_err(|error| text(&error))?;
    let running = Running { store: Arc::downgrade(&store), ha: Arc::downgrade(&ha) };
    *shows.borrow_mut() = running;
    context.shutdown.cancelled().await;
    ha.shutdown().await;
    store.shutdown().await;
    Ok(())
}

/// Asks the broker at `addr`, as a slave's broker does.
fn oracle(env: &Env, addr: String) -> PrefixOracle {
    let client_config = RemotingClientConfig::default();
    let client = RemotingClient::new(env.clone(), client_config, ProcessorTable::default());
    Arc::new(move |query| {
        let (client, addr) = (client.clone(), addr.clone());
        Box::pin(async move {
            let (header, body) = query.encode();
            let mut request = RemotingCommand::request(CHECK_LOG_PREFIX, &header);
            request.body = body;
            let unreachable = |text: String| PrefixError::Unreachable(text);
            let answer = client.invoke(&addr, request, ASK_TIMEOUT).await;
            let answer = answer.map_err(|error| unreachable(error.to_string()))?;
            match answer.code {
                ResponseCode::SUCCESS => {
                    let header = answer.header().map_err(|error| unreachable(error.to_string()))?;
                    PrefixAnswer::decode(&header, &answer.body)
                        .map_err(|error| unreachable(error.to_string()))
                }
                ResponseCode::REQUEST_CODE_NOT_SUPPORTED => {
                    Err(PrefixError::Unsupported { log_end: None })
                }
                code => Err(unreachable(format!("code {code}"))),
            }
        })
    })
}

struct PrefixProcessor(Arc<MessageStore>);

impl RequestProcessor for PrefixProcessor {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let header = request.header::<CheckLogPrefixRequestHeader>()?;
        let query = PrefixQuery::decode(&header, &request.body)?;
        let (header, body) = answer_prefix_query(self.0.commit_log(), &query).encode();
        let mut response = RemotingCommand::success(&header);
        response.body = body;
        Ok(ProcessOutcome::Reply(response))
    }
}

fn message(body: &str) -> MessageInner {
    let host = ([10, 0, 0, 9], 1_000).into();
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
