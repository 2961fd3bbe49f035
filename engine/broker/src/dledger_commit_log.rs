//! [`DLedgerCommitLog`]: a DLedger node as the log of the store (RocketMQ 4.9 `DLedgerCommitLog`).
//!
//! Records are proposed in the term in which this broker became master, and in no other: whoever led meanwhile has given
//! queue offsets that this store does not know of before it becomes master again.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use mq_dledger::{NodeId, Role, Term};
use mq_dledger_log::{DLedgerLog, Entry, LogConfig};
use mq_dledger_node::{
    AppendError, DLedgerNode, NodeConfig, NodeError, PendingAppend, is_no_op, parse_peers,
};
use mq_env::{BoxFuture, Env};
use mq_mapped_file::MappedFileQueue;
use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, EntryHead};
use mq_store::config::{DLedgerConfig, FlushDiskType, StoreConfig};
use mq_store::{
    ConsensusEnds, ConsensusLog, OnAppend, OpenConsensusLog, PutMessageStatus, StoreError,
};

/// With members of Apache's a node waits for a leader longer than his heartbeats are apart before it asks for votes: they know no
/// pre-vote, and a Java leader never hears of a term that was raised behind his back.
const VOTE_INTERVAL_BESIDE_JAVA_MS: Range<u64> = 3_000..4_000;

/// No term is served in.
const NO_TERM: Term = -1;

/// The node, and in which term this broker serves.
pub(crate) struct DLedgerCommitLog {
    node: DLedgerNode,
    serving_term: AtomicI64,
}

/// Where a node is put once it has started.
pub(crate) type NodeSlot = Arc<OnceLock<Arc<DLedgerCommitLog>>>;

impl DLedgerCommitLog {
    /// The node.
    pub(crate) fn node(&self) -> &DLedgerNode {
        &self.node
    }

    /// Has puts proposed in that term, or refused.
    pub(crate) fn serve_in(&self, term: Option<Term>) {
        self.serving_term.store(term.unwrap_or(NO_TERM), Ordering::Release);
    }

    /// Whether this node follows a leader.
    pub(crate) fn is_following(&self) -> bool {
        self.node.status().read(|status| status.role == Role::Follower)
    }

    /// Whether a broker of Apache's may have led since the message at `phy_offset`: he had this log before this start, and goes on
    /// in the term in which he finds it; or there are committed entries of a term that begins with no entry of its leader's own.
    pub(crate) fn was_led_by_java_since(&self, phy_offset: u64) -> bool {
        if phy_offset < self.node.javas_end() {
            return true;
        }
        let log = self.node.log();
        let committed = self.node.committed().read(|it| it.index);
        let pos = phy_offset.checked_sub(ENTRY_HEADER_BYTES as u64);
        let header = pos.and_then(|pos| log.select(pos, ENTRY_HEADER_BYTES));
        let mut last = header.and_then(|header| EntryHead::decode(&header));
        while let Some(head) = last {
            let Some(first) = first_of_later_term(log, head.index + 1..committed + 1, head.term)
            else {
                return false;
            };
            if !is_no_op(first.body()) {
                return true;
            }
            last = Some(first.head);
        }
        false
    }

    fn pending(
        &self,
        records: Vec<Vec<u8>>,
        on_append: OnAppend,
    ) -> Result<PendingAppend, AppendError> {
        match self.serving_term.load(Ordering::Acquire) {
            NO_TERM => Err(AppendError::NotLeader { leader_id: None }),
            term => self.node.propose(term, records, on_append),
        }
    }
}

impl ConsensusLog for DLedgerCommitLog {
    fn data(&self) -> &Arc<MappedFileQueue> {
        self.node.log().data()
    }

    fn ends(&self) -> ConsensusEnds {
        let committed = self.node.committed().read(|it| it.pos);
        let durable = self.node.durable().get();
        ConsensusEnds { committed, durable: durable.pos, is_poisoned: durable.is_poisoned }
    }

    fn moved_from(&self, seen: ConsensusEnds) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            mq_env::select! {
                _ = self.node.committed().wait_for(|it| it.pos != seen.committed) => {}
                _ = self.node.durable().wait_for(|it| {
                    (it.pos, it.is_poisoned) != (seen.durable, seen.is_poisoned)
                }) => {}
            }
        })
    }

    fn propose(
        &self,
        records: Vec<Vec<u8>>,
        on_append: OnAppend,
    ) -> BoxFuture<'static, Result<(), PutMessageStatus>> {
        match self.pending(records, on_append) {
            Ok(pending) => Box::pin(async move {
                pending.committed().await.map(|_| ()).map_err(|error| status_of(&error))
            }),
            Err(error) => Box::pin(std::future::ready(Err(status_of(&error)))),
        }
    }

    fn sync(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { self.node.sync().await.is_ok() })
    }

    fn expire_oldest(&self, modified_before_ms: u64) -> BoxFuture<'_, io::Result<bool>> {
        Box::pin(async move {
            let begins = self.node.expire_oldest(modified_before_ms).await;
            Ok(begins.map_err(io::Error::other)?.is_some())
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let ended = self.node.shutdown().await;
            if let Err(error) = &ended {
                tracing::error!(%error, "the DLedger log is not closed in order");
            }
            ended.is_ok()
        })
    }
}

/// The first entry in `range` of a term larger than that one. Terms ascend.
fn first_of_later_term(log: &DLedgerLog, range: Range<i64>, term: Term) -> Option<Entry> {
    let (mut from, mut to) = (range.start, range.end);
    while from < to {
        let middle = from + (to - from) / 2;
        if log.entry(middle).ok()?.head.term > term { to = middle } else { from = middle + 1 }
    }
    (from < range.end).then(|| log.entry(from).ok()).flatten()
}

/// What a producer is told (RocketMQ 4.9 `DLedgerCommitLog.asyncPutMessage`).
fn status_of(error: &AppendError) -> PutMessageStatus {
    match error {
        AppendError::NotLeader { .. } | AppendError::DiskFull => {
            PutMessageStatus::ServiceNotAvailable
        }
        AppendError::QuorumTimeout(_) | AppendError::PendingFull => {
            PutMessageStatus::OsPageCacheBusy
        }
        AppendError::Illegal(_) => PutMessageStatus::MessageIllegal,
        AppendError::LeaderTransferring
        | AppendError::DiskError
        | AppendError::TermChanged
        | AppendError::Ended => PutMessageStatus::UnknownError,
    }
}

/// How the node of a broker is started, and where it is to be found then.
pub(crate) fn open_log(
    env: Env,
    store_config: &StoreConfig,
    dledger: &DLedgerConfig,
    store_host: SocketAddr,
) -> (OpenConsensusLog, NodeSlot) {
    let slot = NodeSlot::default();
    let filled = Arc::clone(&slot);
    let node_config = node_config(store_config, dledger, store_host);
    let open: OpenConsensusLog = Box::new(move || {
        Box::pin(async move {
            let refused = |error: NodeError| StoreError::Consensus(error.to_string());
            let node = DLedgerNode::start(env, node_config.map_err(refused)?).await;
            let node = node.map_err(refused)?;
            let log = DLedgerCommitLog { node, serving_term: AtomicI64::new(NO_TERM) };
            let log = filled.get_or_init(|| Arc::new(log));
            Ok(Arc::clone(log) as Arc<dyn ConsensusLog>)
        })
    });
    (open, slot)
}

fn node_config(
    store_config: &StoreConfig,
    dledger: &DLedgerConfig,
    store_host: SocketAddr,
) -> Result<NodeConfig, NodeError> {
    let root = &store_config.store_path_root_dir;
    let log = LogConfig {
        data_dir: store_config.commit_log_dir(),
        data_file_bytes: store_config.mapped_file_size_commit_log,
        ..LogConfig::of_node(root, &dledger.self_id)
    };
    let mut peers = parse_peers(&dledger.peers)?;
    peers.iter_mut().for_each(|peer| peer.is_java = dledger.java_peers.contains(&peer.id));
    let mut node = NodeConfig::new(&dledger.group, peers, &dledger.self_id, log)?;
    node.settings.is_sync_flush = store_config.flush_disk_type == FlushDiskType::SyncFlush;
    let number = |id: &String| {
        let number = node.peers.iter().position(|peer| peer.id == *id);
        let number = number.and_then(|number| u16::try_from(number).ok()).map(NodeId);
        let unknown = || format!("preferredLeaderId={id} is not among the dLegerPeers");
        number.ok_or_else(|| NodeError::Config(unknown()))
    };
    node.settings.preferred_leader_ids =
        dledger.preferred_leader_ids.iter().map(number).collect::<Result<_, _>>()?;
    // Those of the node have the same names there; it does not know the others.
    let switches = store_config.upstream.iter().filter_map(|it| it.name().parse().ok());
    node.settings.upstream = switches.collect();
    let java_members = dledger.java_peers.len();
    if java_members > 0 {
        let Range { start, end } = VOTE_INTERVAL_BESIDE_JAVA_MS;
        (node.settings.min_vote_interval_ms, node.settings.max_vote_interval_ms) = (start, end);
    }
    // An empty directory may be that of a member whose disk is gone. A new group finds out that it is one; but Java's members raise
    // their term before anybody leads, so that beside them it begins only if they elect a leader among themselves.
    node.has_lost_its_disk = java_members == 0 || java_members >= node.settings.quorum();
    node.store_host = store_host;
    Ok(node)
}

#[cfg(test)]
mod tests {
    use mq_store::config::UpstreamSwitch;

    use super::*;

    /// Plans and the command line name them; what the node cannot be told would show nothing.
    #[test]
    fn every_switch_of_the_node_reaches_it_by_its_name() {
        let mut store = StoreConfig::at("unused");
        store.upstream = UpstreamSwitch::ALL.iter().copied().collect();
        let dledger = DLedgerConfig {
            group: "a".to_owned(),
            peers: "n0-h:1".to_owned(),
            self_id: "n0".to_owned(),
            preferred_leader_ids: Vec::new(),
            java_peers: Vec::new(),
            store_path: None,
        };
        let node = node_config(&store, &dledger, SocketAddr::from(([127, 0, 0, 1], 1))).unwrap();
        assert!(node.settings.upstream.iter().eq(&mq_dledger::UpstreamSwitch::ALL));
    }
}
