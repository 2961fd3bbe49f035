//! [`Rig`]: a group of nodes in a world, each on a machine of its own, and clients that append.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use mq_dledger::Role;
use mq_dledger_log::{Appended, LogConfig};
use mq_dledger_node::{AppendError, DLedgerNode, NodeConfig, PeerConfig, parse_peers};
use mq_protocol::message_codec::{RecordFields, decode_record};
use mq_protocol::sys_flag::MessageSysFlag;
use staticfire_world::world::{
    MachineConfig, MachineHandle, ProcessContext, ProcessHandle, WorldHandle,
};

use super::{DATA_FILE, INDEX_FILE_ENTRIES, Path};

/// A machine with a node that runs or does not.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) machine: MachineHandle,
    pub(super) process: ProcessHandle,
    /// As the next start reads it.
    pub(super) config: Rc<RefCell<NodeConfig>>,
    running: Rc<RefCell<Option<DLedgerNode>>>,
}

/// A group, and what its clients know.
#[derive(Clone)]
pub(super) struct Rig {
    pub(super) world: WorldHandle,
    pub(super) nodes: Vec<Node>,
    sent: Rc<Cell<u32>>,
    /// Numbers of messages that were acknowledged, by their indexes.
    pub(super) acked: Rc<RefCell<BTreeMap<i64, u32>>>,
    is_silent: Rc<Cell<bool>>,
    /// Who led which term, as far as somebody looked.
    leaders: Rc<RefCell<BTreeMap<i64, BTreeSet<String>>>>,
}

impl Rig {
    /// So many nodes, started.
    pub(super) fn start(
        world: &WorldHandle,
        size: usize,
        change: impl Fn(&mut NodeConfig),
    ) -> Self {
        let peers: Vec<String> =
            (0..size).map(|number| format!("n{number}-10.0.0.{}:40911", number + 1)).collect();
        let peers = parse_peers(&peers.join(";")).unwrap();
        let node = |number| Node::start(world, &peers, number, &change);
        let nodes = (0..size).map(node).collect();
        let rig = Rig {
            world: world.clone(),
            nodes,
            sent: Rc::default(),
            acked: Rc::default(),
            is_silent: Rc::default(),
            leaders: Rc::default(),
        };
        let watching = rig.clone();
        world.spawn(async move {
            loop {
                watching.note_leaders();
                sleep_ms(50).await;
            }
        });
        rig
    }

    fn note_leaders(&self) {
        for node in self.nodes.iter().filter_map(Node::running) {
            let status = node.status().get();
            if status.role == Role::Leader {
                let mut leaders = self.leaders.borrow_mut();
                let of_term = leaders.entry(status.term).or_default();
                of_term.insert(node.self_id().to_owned());
                assert_eq!(of_term.len(), 1, "term {} has {of_term:?}", status.term);
            }
        }
    }

    /// The node that leads, and may serve.
    pub(super) fn leader(&self) -> Option<&Node> {
        self.nodes
            .iter()
            .filter(|it| it.status_is(|status| status.is_ready))
            .max_by_key(|it| it.running().map(|node| node.status().get().term))
    }

    /// A node that follows.
    pub(super) fn follower(&self) -> &Node {
        let follows = |it: &&Node| it.status_is(|status| status.role == Role::Follower);
        self.nodes.iter().find(follows).unwrap()
    }

    pub(super) async fn wait_for_leader(&self) -> &Node {
        self.eventually("somebody leads", || self.leader().is_some()).await;
        self.leader().unwrap()
    }

    /// Appends a message by that node, and waits.
    pub(super) async fn append_by(&self, node: &Node) -> Result<Appended, AppendError> {
        let number = self.sent.get();
        self.sent.set(number + 1);
        let running = node.running().ok_or(AppendError::Ended)?;
        let append = async move |_| running.append(vec![message(number)]).await;
        let outcome = node.process.run(append).await.unwrap_or(Err(AppendError::Ended))?;
        self.acked.borrow_mut().insert(outcome[0].index, number);
        Ok(outcome[0])
    }

    /// Appends by whoever leads, until so many are acknowledged.
    pub(super) async fn append(&self, count: usize) {
        let wanted = self.acked.borrow().len() + count;
        for _ in 0..20 * count + 2_000 {
            if self.acked.borrow().len() == wanted {
                return;
            }
            match self.leader() {
                Some(leader) => drop(self.append_by(leader).await),
                None => sleep_ms(20).await,
            }
        }
        panic!("{} of {wanted} are acknowledged: {}", self.acked.borrow().len(), self.describe());
    }

    /// Clients that append to whoever leads, until the world ends.
    pub(super) fn append_always(&self, clients: usize) {
        for client in 0..clients {
            let rig = self.clone();
            self.world.spawn(async move {
                while !rig.is_silent.get() {
                    sleep_ms(5 + client as u64).await;
                    if let Some(leader) = rig.leader() {
                        // What is not acknowledged promises nothing.
                        let _ = rig.append_by(leader).await;
                    }
                }
            });
        }
    }

    /// Clients append no more.
    pub(super) fn silence(&self) {
        self.is_silent.set(true);
    }

    /// Waits until every node has the same log, all of it committed; then nothing is missing of what was
    /// acknowledged.
    pub(super) async fn converge(&self) {
        let is_done = || {
            let Some(leader) = self.leader().and_then(Node::running) else { return false };
            let end = leader.log().end_index();
            self.nodes.iter().all(|node| {
                node.running().is_some_and(|node| {
                    node.log().end_index() == end && node.committed().get().index == end
                })
            })
        };
        self.eventually("all have the same log", is_done).await;
        let logs: Vec<_> = self.nodes.iter().map(Node::entries).collect();
        for log in &logs[1..] {
            let behind = log.first().map_or(0, |(index, _)| *index);
            let first = logs[0].iter().filter(|(index, _)| *index >= behind);
            let rest = log.iter().filter(|(index, _)| *index >= logs[0][0].0);
            assert!(first.eq(rest), "logs differ");
        }
        let found: BTreeMap<i64, Option<u32>> =
            logs[0].iter().map(|(index, bytes)| (*index, number(&bytes[48..]))).collect();
        for (index, number) in self.acked.borrow().iter() {
            assert_eq!(found.get(index), Some(&Some(*number)), "entry {index} was acknowledged");
        }
    }

    pub(super) async fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..1_200 {
            if holds() {
                return;
            }
            sleep_ms(100).await;
        }
        panic!("in vain: {what}: {}", self.describe());
    }

    fn describe(&self) -> String {
        let describe = |node: &Node| {
            let running = node.running().map(|it| {
                (
                    it.status().get(),
                    it.log().begin_index(),
                    it.log().end_index(),
                    it.committed().get(),
                )
            });
            format!("{} {:?} {running:?}", node.machine.name(), node.process.status())
        };
        self.nodes.iter().map(describe).collect::<Vec<_>>().join("; ")
    }
}

impl Node {
    fn start(
        world: &WorldHandle,
        peers: &[PeerConfig],
        number: usize,
        change: impl Fn(&mut NodeConfig),
    ) -> Node {
        let self_id = peers[number].id.clone();
        let machine = world.add_machine(&self_id, MachineConfig::default());
        let log = LogConfig {
            data_file_bytes: 8 * DATA_FILE,
            index_file_bytes: 8 * 32 * INDEX_FILE_ENTRIES,
            ..LogConfig::of_node(Path::new("/store"), &self_id)
        };
        let mut config = NodeConfig::new("g", peers.to_vec(), &self_id, log).unwrap();
        change(&mut config);
        let config = Rc::new(RefCell::new(config));
        let running = Rc::new(RefCell::new(None));
        let (starts, shows) = (Rc::clone(&config), Rc::clone(&running));
        let process = machine.add_process(&format!("{self_id}-node"), move |it| {
            serve(it, starts.borrow().clone(), Rc::clone(&shows))
        });
        process.start();
        Node { machine, process, config, running }
    }

    /// The node of the running process.
    pub(super) fn running(&self) -> Option<DLedgerNode> {
        self.running.borrow().clone().filter(|_| self.process.is_running())
    }

    pub(super) fn status_is(&self, is: impl Fn(&mq_dledger_node::Status) -> bool) -> bool {
        self.running().is_some_and(|node| node.status().read(|status| is(status)))
    }

    /// Index and bytes of every entry.
    pub(super) fn entries(&self) -> Vec<(i64, Vec<u8>)> {
        let node = self.running().unwrap();
        let log = node.log();
        let read = |index| (index, log.entry(index).unwrap().bytes().to_vec());
        (log.begin_index()..=log.end_index()).map(read).collect()
    }

    pub(super) fn restart(&self) {
        if !self.machine.is_on() {
            self.machine.power_on();
        }
        self.process.start();
    }
}

/// The process of a node.
async fn serve(
    context: ProcessContext,
    config: NodeConfig,
    shows: Rc<RefCell<Option<DLedgerNode>>>,
) -> Result<(), String> {
    let env = context.env;
    // As whoever takes the store's lock does.
    env.disk.create_dir_all(&config.log.root).map_err(|error| error.to_string())?;
    env.disk.sync(Path::new("/")).await.map_err(|error| error.to_string())?;
    let node = DLedgerNode::start(env, config).await.map_err(|error| error.to_string())?;
    *shows.borrow_mut() = Some(node.clone());
    context.shutdown.cancelled().await;
    node.shutdown().await.map_err(|error| error.to_string())
}

/// A message that is in no queue, so that a log of them is whole without queues.
pub(super) fn message(number: u32) -> Vec<u8> {
    let body = format!("m{number:05}{:>1$}", "", number as usize * 37 % 400);
    let plain = RecordFields::plain("T", body.as_bytes(), ([10, 0, 0, 1], 10911).into(), 1);
    let fields = RecordFields { sys_flag: MessageSysFlag::TRANSACTION_PREPARED, ..plain };
    let mut record = Vec::new();
    fields.encode(&mut record).unwrap();
    record
}

/// Of which number a message is; none of a leader's own.
pub(super) fn number(record: &[u8]) -> Option<u32> {
    let record = decode_record(record).unwrap();
    let body = std::str::from_utf8(record.body()).unwrap();
    body.strip_prefix('m').map(|body| body[..5].parse().unwrap())
}

pub(super) async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
