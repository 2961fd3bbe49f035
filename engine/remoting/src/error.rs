//! What can go wrong with a request, and why a connection ended.

use std::time::Duration;

/// Why a request got no reply. After [`RemotingError::Timeout`] and [`RemotingError::Closed`] the
/// peer may or may not have executed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemotingError {
    /// No connection could be opened (Java `RemotingConnectException`): the request was not sent.
    #[error("connect to {addr} failed: {reason}")]
    Connect {
        /// The address dialled.
        addr: String,
        /// What the operating system says, or that the time was over.
        reason: String,
    },
    /// The connection ended before the reply came (Java `RemotingSendRequestException`).
    #[error("connection to {addr} closed: {reason}")]
    Closed {
        /// The peer.
        addr: String,
        /// Why it ended.
        reason: CloseReason,
    },
    /// No reply in time (Java `RemotingTimeoutException`).
    #[error("no reply from {addr} within {} ms", timeout.as_millis())]
    Timeout {
        /// The peer.
        addr: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The frame would be larger than a peer accepts: the request was not sent.
    #[error("frame of {frame_bytes} bytes to {addr} is too large")]
    TooLarge {
        /// The peer.
        addr: String,
        /// Length of the frame.
        frame_bytes: usize,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This side closed it.
    #[error("closed by this side")]
    Requested,
    /// The peer closed it.
    #[error("closed by the peer")]
    Peer,
    /// Nothing was read or written for the idle limit.
    #[error("idle")]
    Idle,
    /// The peer sent bytes that are no frame.
    #[error("bad frame: {0}")]
    BadFrame(String),
    /// The peer does not read what it asked for.
    #[error("{out_bytes} bytes of replies wait and the peer does not read them")]
    Unread {
        /// Bytes that waited to be written.
        out_bytes: usize,
    },
    /// All peers together hold too much of this side's memory, and this one has done so longest.
    #[error("{held_bytes} bytes of {what} were held while too much is held by all connections")]
    Budget {
        /// Of what.
        what: &'static str,
        /// By this connection.
        held_bytes: usize,
    },
    /// The operating system reported an error.
    #[error("{0}")]
    Io(String),
    /// It was never open.
    #[error("connect failed: {0}")]
    Connect(String),
}

impl CloseReason {
    /// Whether this side ended the connection because of what the peer did or did not do.
    pub(crate) fn is_fault_of_peer(&self) -> bool {
        match self {
            CloseReason::Idle
            | CloseReason::BadFrame(_)
            | CloseReason::Unread { .. }
            | CloseReason::Budget { .. } => true,
            CloseReason::Requested
            | CloseReason::Peer
            | CloseReason::Io(_)
            | CloseReason::Connect(_) => false,
        }
    }

    /// The error of a request that was waiting on a connection to `addr` when it ended.
    pub(crate) fn into_error(self, addr: &str) -> RemotingError {
        match self {
            CloseReason::Connect(reason) => {
                RemotingError::Connect { addr: addr.to_owned(), reason }
            }
            reason => RemotingError::Closed { addr: addr.to_owned(), reason },
        }
    }
}
