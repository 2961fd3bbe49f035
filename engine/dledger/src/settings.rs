//! What a node is configured with. Names and defaults are DLedger 0.3.1's, as RocketMQ 4.9's broker sets them.

use std::collections::BTreeSet;

use crate::types::NodeId;
use crate::upstream::UpstreamSwitch;

/// Another member of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub id: NodeId,
    /// It runs Java's library: it gets no pre-votes, which it would take for votes, and no field of ours.
    pub is_java: bool,
}

/// Settings of one node. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `dLegerSelfId`.
    pub self_id: NodeId,
    /// The other members of `dLegerPeers`.
    pub peers: Vec<Peer>,
    /// `preferredLeaderId`: who should lead when it can; the first is tried first.
    pub preferred_leader_ids: Vec<NodeId>,
    /// `flushDiskType = SYNC_FLUSH`: an entry counts for a node once it is synced there, otherwise once it is written.
    pub is_sync_flush: bool,
    /// `heartBeatTimeIntervalMs`.
    pub heart_beat_time_interval_ms: u64,
    /// `maxHeartBeatLeak`: so many intervals of silence end a leader, for its followers and for itself.
    pub max_heart_beat_leak: u64,
    /// `minVoteIntervalMs`.
    pub min_vote_interval_ms: u64,
    /// `maxVoteIntervalMs`.
    pub max_vote_interval_ms: u64,
    /// How long a round of votes is open at least; up to `maxVoteIntervalMs` is drawn and added.
    pub vote_round_ms: u64,
    /// `maxPendingRequestsNum`: entries of a leader above its committed index.
    pub max_pending_requests_num: u64,
    /// `maxPushTimeOutMs`: after so long without an answer a push is made again.
    pub max_push_time_out_ms: u64,
    /// The push window: entries under way to one peer.
    pub max_pushed_entries: u64,
    /// Bytes under way to one peer, ours: a thousand entries of four mebibytes would be too much. A single entry may be more.
    pub max_pushed_bytes: u64,
    /// `maxBatchPushSize`, with `isEnableBatchPush`; a single entry may be larger. 0: one entry a push.
    pub max_batch_push_bytes: u64,
    /// How often an idle leader tells the committed index.
    pub commit_push_interval_ms: u64,
    /// `maxLeadershipTransferWaitIndex`: who lags by so many entries is not made leader.
    pub max_leadership_transfer_wait_index: u64,
    /// `leadershipTransferWaitTimeout`.
    pub leadership_transfer_wait_timeout_ms: u64,
    /// How often a leader looks for a preferred one.
    pub check_preferred_leader_interval_ms: u64,
    /// Length of the entry that a new leader writes: DLedger's header, with the body that the host gives it.
    pub no_op_size_bytes: u32,
    /// Answers that wait for a sync, or for term and vote; what comes on top is not answered, and asked again.
    pub max_held_answers: usize,
    /// Behaviours of DLedger 0.3.1 that are switched on.
    pub upstream: BTreeSet<UpstreamSwitch>,
}

impl Settings {
    /// The defaults for the member `self_id` of a group of `size` of our own nodes, numbered from 0.
    #[must_use]
    pub fn of_group(self_id: NodeId, size: u16) -> Self {
        let others = (0..size).map(NodeId).filter(|id| *id != self_id);
        Settings {
            self_id,
            peers: others.map(|id| Peer { id, is_java: false }).collect(),
            preferred_leader_ids: Vec::new(),
            is_sync_flush: true,
            heart_beat_time_interval_ms: 2_000,
            max_heart_beat_leak: 3,
            min_vote_interval_ms: 300,
            max_vote_interval_ms: 1_000,
            vote_round_ms: 2_000,
            max_pending_requests_num: 10_000,
            max_push_time_out_ms: 1_000,
            max_pushed_entries: 1_000,
            max_pushed_bytes: 32 << 20,
            max_batch_push_bytes: 4_096,
            commit_push_interval_ms: 1_000,
            max_leadership_transfer_wait_index: 1_000,
            leadership_transfer_wait_timeout_ms: 1_000,
            check_preferred_leader_interval_ms: 1_000,
            no_op_size_bytes: 48,
            max_held_answers: 4_096,
            upstream: BTreeSet::new(),
        }
    }

    /// Whether a behaviour of DLedger 0.3.1 is switched on.
    #[must_use]
    pub fn upstream(&self, switch: UpstreamSwitch) -> bool {
        self.upstream.contains(&switch)
    }

    /// Members that make a quorum: more than half.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.peers.len().div_ceil(2) + 1
    }

    pub(crate) fn is_java(&self, id: NodeId) -> bool {
        self.peers.iter().any(|peer| peer.id == id && peer.is_java)
    }

    /// Silence after which a leader counts as gone.
    pub(crate) fn leader_silence_ms(&self) -> u64 {
        self.heart_beat_time_interval_ms * self.max_heart_beat_leak
    }
}
