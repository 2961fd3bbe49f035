//! [`DLedgerNode`]: a node from its start to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use mq_dledger::{DLedgerCore, HardState, Recovered, Role, Term};
use mq_dledger_log::{Appended, DLedgerLog, OpenedLog, StoredTerm};
use mq_env::Env;
use mq_env::net::any_addr;
use mq_env::watched::Watched;
use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, body_trouble};
use mq_remoting::{
    LogLimit, ProcessorTable, RemotingClient, RemotingClientConfig, RemotingServer,
    RemotingServerConfig,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::config::NodeConfig;
use crate::error::{AppendError, NodeError};
use crate::flush;
use crate::host::{Committed, Durable, Host, Input, Status};
use crate::members::Members;
use crate::no_op::no_op_body;
use crate::peers::Peers;
use crate::proposals::{OnAppend, PendingAppend, Proposal, QueuedBytes};
use crate::server::processors;
use crate::wire::PushedEntry;

/// What the host may be told before it looks.
const INBOX_MAX: usize = 8_192;

/// A log line about pushes that are not taken, at most so often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A node of a group; clones are the same one.
#[derive(Clone)]
pub struct DLedgerNode {
    shared: Arc<Shared>,
    host: mpsc::Sender<Input>,
    server: RemotingServer,
    client: RemotingClient,
}

/// What the tasks of a node share.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) config: NodeConfig,
    pub(crate) members: Members,
    pub(crate) log: Arc<DLedgerLog>,
    javas_end: u64,
    pub(crate) status: Watched<Status>,
    pub(crate) committed: Watched<Committed>,
    pub(crate) durable: Watched<Durable>,
    /// What a checkpoint may keep.
    pub(crate) durable_committed: AtomicI64,
    pub(crate) checkpoint_wanted: Notify,
    pub(crate) refused_log: LogLimit,
    queued_bytes: Arc<AtomicUsize>,
    received_bytes: Arc<AtomicUsize>,
}

impl Shared {
    pub(crate) fn rpc_timeout(&self) -> Duration {
        Duration::from_millis(self.config.rpc_timeout_ms)
    }

    /// Counts entries of a push until they were taken; `None` when too many wait.
    pub(crate) fn enter_pushed(&self, entries: &[PushedEntry]) -> Option<QueuedBytes> {
        let bytes = entries.iter().map(|entry| entry.body.len() + ENTRY_HEADER_BYTES).sum();
        QueuedBytes::enter(&self.received_bytes, bytes, self.config.max_received_bytes)
    }

    /// See [`DLedgerNode::propose`].
    pub(crate) fn propose(
        &self,
        host: &mpsc::Sender<Input>,
        bodies: Vec<Vec<u8>>,
        term: Option<Term>,
        on_append: Option<OnAppend>,
    ) -> Result<PendingAppend, AppendError> {
        if bodies.is_empty() {
            return Err(AppendError::Illegal("no entry is no proposal".to_owned()));
        }
        if let Some(trouble) = bodies.iter().find_map(|body| body_trouble(body, None)) {
            return Err(AppendError::Illegal(format!("an entry is no message: {trouble}")));
        }
        let config = &self.config;
        let bytes = bodies.iter().map(Vec::len).sum();
        let queued = QueuedBytes::enter(&self.queued_bytes, bytes, config.max_queued_bytes);
        let queued = queued.ok_or(AppendError::PendingFull)?;
        let (done, outcome) = oneshot::channel();
        let input = Input::Propose(Proposal { bodies, term, on_append, done, queued });
        host.try_send(input).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::PendingFull,
            mpsc::error::TrySendError::Closed(_) => AppendError::Ended,
        })?;
        Ok(PendingAppend { outcome, wait_ms: config.max_wait_ack_time_ms })
    }

    /// Tells who watches up to where the log is durable here.
    pub(crate) fn tell_durable(&self) {
        let log = &self.log;
        // Looked at under the lock: whoever comes last tells what is so then.
        self.durable.modify(|durable| {
            *durable = Durable { pos: log.synced_pos(), is_poisoned: log.is_poisoned() };
        });
    }
}

impl DLedgerNode {
    /// Opens the log, listens on the peer port, and takes part.
    ///
    /// # Errors
    /// Why the log is refused, or the port.
    pub async fn start(env: Env, mut config: NodeConfig) -> Result<Self, NodeError> {
        let env = Env { tasks: env.tasks.child(), ..env };
        let members = Members::of(&config);
        let port = port_of(members.addr_of(members.self_id))?;
        let may_open = |term: Option<&StoredTerm>, has_entries| {
            hard_state_of(&config, &members, term, has_entries)
        };
        let (opened, hard_state) = DLedgerLog::open_if(&env, config.log.clone(), may_open).await?;
        let core = core_of(&env, &mut config, hard_state, &opened).await?;
        let OpenedLog { log, committed_index, javas_end, .. } = opened;
        let pos = if committed_index < log.begin_index() {
            log.begin_pos()
        } else {
            log.end_of(committed_index)?
        };
        let durable = Durable { pos: log.synced_pos(), is_poisoned: false };
        let client = RemotingClient::new(
            env.clone(),
            RemotingClientConfig::default(),
            ProcessorTable::default(),
        );
        let role =
            Status { role: Role::Unknown, term: core.term(), leader_id: None, is_ready: false };
        let shared = Arc::new(Shared {
            env: env.clone(),
            config,
            members,
            log,
            javas_end,
            status: Watched::new(role),
            committed: Watched::new(Committed { index: committed_index, pos }),
            durable: Watched::new(durable),
            durable_committed: AtomicI64::new(committed_index),
            checkpoint_wanted: Notify::new(),
            refused_log: LogLimit::new(LOG_INTERVAL),
            queued_bytes: Arc::default(),
            received_bytes: Arc::default(),
        });
        let (host, inbox) = mpsc::channel(INBOX_MAX);
        let server = listen(&env, &shared, &host, port).await?;
        let node = DLedgerNode { shared, host, server, client };
        node.run(core, inbox);
        Ok(node)
    }

    fn run(&self, core: DLedgerCore, inbox: mpsc::Receiver<Input>) {
        let shared = Arc::clone(&self.shared);
        let peers = Peers::start(&shared, &self.client, &self.host);
        let host = Host::new(Arc::clone(&shared), core, peers, inbox, Instant::now());
        shared.env.tasks.spawn("dledger host", host.run());
        let flushing = flush::run(Arc::clone(&shared), self.host.clone());
        shared.env.tasks.spawn("dledger flush", flushing);
    }

    /// Appends entries, message records, one behind the other, and waits until they are committed. Each is told its physical
    /// offset on its way into the log.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<Appended>, AppendError> {
        self.shared.propose(&self.host, bodies, None, None)?.committed().await
    }

    /// As [`DLedgerNode::append`], in that term and no other. Who proposes one thing after the other has them in the log in
    /// that order.
    ///
    /// # Errors
    /// What is refused at once; see [`AppendError`].
    pub fn propose(
        &self,
        term: Term,
        bodies: Vec<Vec<u8>>,
        on_append: OnAppend,
    ) -> Result<PendingAppend, AppendError> {
        self.shared.propose(&self.host, bodies, Some(term), Some(on_append))
    }

    /// Syncs what was appended before the call.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn sync(&self) -> Result<(), NodeError> {
        let synced = self.shared.log.sync().await;
        self.shared.tell_durable();
        Ok(synced.map(|_| ())?)
    }

    /// What the node is; watched by who registers and serves by it.
    #[must_use]
    pub fn status(&self) -> &Watched<Status> {
        &self.shared.status
    }

    /// How far the log is committed; watched by who dispatches and reads.
    #[must_use]
    pub fn committed(&self) -> &Watched<Committed> {
        &self.shared.committed
    }

    /// Up to where the log is synced here; watched by who writes down what is durable.
    #[must_use]
    pub fn durable(&self) -> &Watched<Durable> {
        &self.shared.durable
    }

    /// The log, to read from.
    #[must_use]
    pub fn log(&self) -> &Arc<DLedgerLog> {
        &self.shared.log
    }

    /// Where the log ended at the start if DLedger's own library had it last: up to there that one may have written. 0 otherwise.
    #[must_use]
    pub fn javas_end(&self) -> u64 {
        self.shared.javas_end
    }

    /// `dLegerSelfId`.
    #[must_use]
    pub fn self_id(&self) -> &str {
        &self.shared.config.self_id
    }

    /// Has the leader hand over to the member called `to`, if this node leads, and that one follows closely.
    ///
    /// # Errors
    /// When nobody is called so, or the node has ended.
    pub async fn transfer_leadership(&self, to: &str) -> Result<(), NodeError> {
        let id = self.shared.members.id_of(to);
        let unknown = || NodeError::Config(format!("{to} is not among the dLegerPeers"));
        self.tell(Input::TransferLeadership(id.ok_or_else(unknown)?)).await
    }

    /// Removes the oldest file of the log if it was written last before that time (milliseconds since the Unix epoch) and
    /// all of it is committed; where the log begins then.
    ///
    /// # Errors
    /// What the disk says; it may be tried again.
    pub async fn expire_oldest(&self, modified_before_ms: u64) -> Result<Option<i64>, NodeError> {
        let (done, expired) = oneshot::channel();
        self.tell(Input::Expire { modified_before_ms, done }).await?;
        Ok(expired.await.map_err(|_| NodeError::Ended)??)
    }

    /// Takes no part any more, syncs the log and closes it.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn shutdown(&self) -> Result<(), NodeError> {
        self.server.shutdown().await;
        self.client.shutdown().await;
        self.shared.env.tasks.shutdown().await;
        let committed_index = self.shared.durable_committed.load(Ordering::Acquire);
        Ok(self.shared.log.close(committed_index).await?)
    }

    async fn tell(&self, input: Input) -> Result<(), NodeError> {
        self.host.send(input).await.map_err(|_| NodeError::Ended)
    }
}

/// Listens on the peer port, on every address as Java does.
async fn listen(
    env: &Env,
    shared: &Arc<Shared>,
    host: &mpsc::Sender<Input>,
    port: u16,
) -> Result<RemotingServer, NodeError> {
    let table = Arc::new(processors(shared, host));
    let endpoints = vec![(any_addr(port), table)];
    let started =
        RemotingServer::start(env.clone(), RemotingServerConfig::default(), endpoints, None).await;
    let addr = shared.members.addr_of(shared.members.self_id).to_owned();
    started.map_err(|source| NodeError::Bind { addr, source })
}

fn port_of(addr: &str) -> Result<u16, NodeError> {
    let port = addr.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.ok_or_else(|| NodeError::Config(format!("dLegerPeers: {addr} has no port")))
}

/// The core as the disk says that it was.
async fn core_of(
    env: &Env,
    config: &mut NodeConfig,
    hard_state: HardState,
    opened: &OpenedLog,
) -> Result<DLedgerCore, NodeError> {
    if opened.term.is_none() && hard_state.is_blank {
        // Should it be started again before it has caught up, it is still the same.
        let blank = StoredTerm { is_blank: true, ..StoredTerm::default() };
        opened.log.persist_term(&blank).await?;
    }
    let no_op = no_op_body(config.store_host, 0).len() + ENTRY_HEADER_BYTES;
    config.settings.no_op_size_bytes = no_op as u32;
    let recovered =
        Recovered { hard_state, log: opened.log.view()?, committed_index: opened.committed_index };
    let rng = env.rng.stream(&format!("dledger {} {}", config.group, config.self_id));
    Ok(DLedgerCore::new(Arc::new(config.settings.clone()), rng, recovered, 0))
}

/// Term and vote, as `currterm` has them.
fn hard_state_of(
    config: &NodeConfig,
    members: &Members,
    term: Option<&StoredTerm>,
    has_entries: bool,
) -> Result<HardState, NodeError> {
    let dir = config.log.dir.display();
    let Some(StoredTerm { term, vote_leader, is_blank }) = term else {
        if has_entries {
            let what = format!(
                "{dir} has entries but no currterm: the node has forgotten its vote; put the file back, or move the \
                 directory away and start the node as one that lost its disk"
            );
            return Err(NodeError::Config(what));
        }
        return Ok(HardState { is_blank: config.has_lost_its_disk, ..HardState::NEW });
    };
    let voted_for = match vote_leader {
        None => None,
        Some(name) => Some(members.id_of(name).ok_or_else(|| {
            NodeError::Config(format!(
                "{dir}: currterm names {name}, who is not among the dLegerPeers"
            ))
        })?),
    };
    Ok(HardState { term: *term, voted_for, is_blank: *is_blank })
}
