//! [`NodeError`], why a node does not start, and [`AppendError`], why an entry is not known to be committed.

use std::io;

use mq_dledger_log::{LogError, ReadError};
use mq_protocol::codes::DLedgerResponseCode;

/// Why a node does not start, or does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The settings contradict themselves, or the disk.
    #[error("{0}")]
    Config(String),
    /// The log is refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The peer port cannot be listened on.
    #[error(
        "the port of {addr} cannot be listened on ({source}): a DLedger group needs it; stop the process that has it or \
         change dLegerPeers, on every member"
    )]
    Bind {
        /// Of `dLegerPeers`.
        addr: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The node has ended.
    #[error("the node has ended")]
    Ended,
}

/// Why an entry is not known to be committed. It is in the log of nobody, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another one leads, or nobody.
    #[error("this node does not lead; the leader is {}", leader_id.as_deref().unwrap_or("not known"))]
    NotLeader {
        /// Who, if that is known.
        leader_id: Option<String>,
    },
    /// Another one is about to lead.
    #[error("the leadership is being handed over")]
    LeaderTransferring,
    /// Too much waits to be committed.
    #[error("too many entries wait to be committed")]
    PendingFull,
    /// There is no room on the leader's disk.
    #[error("the disk is full")]
    DiskFull,
    /// The leader's disk has failed; the entry may be in its log.
    #[error("the disk has failed")]
    DiskError,
    /// The node stopped leading before the entry was committed; it may be committed later.
    #[error("the node stopped leading before the entry was committed; it may still be")]
    TermChanged,
    /// No quorum in time; the entry may be committed later.
    #[error("no quorum within {0} ms; the entry may still be committed")]
    QuorumTimeout(u64),
    /// It fits into no file, or there is nothing in it.
    #[error("{0}")]
    Illegal(String),
    /// The node has ended; the entry may be in its log.
    #[error("the node has ended")]
    Ended,
}

impl AppendError {
    /// The `DLedgerResponseCode` that says so.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            AppendError::NotLeader { .. } => DLedgerResponseCode::NOT_LEADER,
            AppendError::LeaderTransferring => DLedgerResponseCode::LEADER_TRANSFERRING,
            AppendError::PendingFull => DLedgerResponseCode::LEADER_PENDING_FULL,
            AppendError::DiskFull => DLedgerResponseCode::DISK_FULL,
            AppendError::DiskError => DLedgerResponseCode::DISK_ERROR,
            AppendError::TermChanged => DLedgerResponseCode::TERM_CHANGED,
            AppendError::QuorumTimeout(_) => DLedgerResponseCode::WAIT_QUORUM_ACK_TIMEOUT,
            AppendError::Illegal(_) => DLedgerResponseCode::UNEXPECTED_ARGUMENT,
            AppendError::Ended => DLedgerResponseCode::INTERNAL_ERROR,
        }
    }
}
