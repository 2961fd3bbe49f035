//! What can go wrong in a client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mq_env::disk::replaced_file::DamagedFile;
use mq_protocol::body::heartbeat::SubscriptionParseError;
use mq_protocol::codes::ResponseCode;
use mq_remoting::RemotingError;

/// Why a client's request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No name server address is configured.
    #[error("no name server address")]
    NoNameServer,
    /// The name servers know no route of the topic, nor one to create it by.
    #[error("no route info of topic {0}")]
    NoRoute(String),
    /// No address of the broker is known that may serve the request.
    #[error("the broker [{0}] does not exist")]
    NoBroker(String),
    /// The server answered with an error code (Java `MQBrokerException`).
    #[error("code {code} from {addr}: {remark}")]
    Broker {
        /// The server.
        addr: String,
        /// [`ResponseCode`].
        code: i32,
        /// Its remark.
        remark: String,
    },
    /// No answer.
    #[error(transparent)]
    Remoting(#[from] RemotingError),
    /// The answer cannot be read.
    #[error("bad answer from {addr}: {reason}")]
    BadAnswer {
        /// The server.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The time allowed was over before (another) attempt could be made.
    #[error("call timeout")]
    CallTimeout,
    /// The message is one that no broker takes; nothing was sent.
    #[error("illegal message: {0}")]
    IllegalMessage(String),
    /// The client is shut down.
    #[error("the client is shut down")]
    ShutDown,
}

impl ClientError {
    /// What the server at `addr` answered cannot be read because of `error`.
    pub(crate) fn bad_answer(addr: &str, error: &dyn std::error::Error) -> Self {
        ClientError::BadAnswer { addr: addr.to_owned(), reason: error.to_string() }
    }

    /// Whether the server may have executed the request although this side saw an error: it was sent and
    /// not answered, or answered with an error that says nothing of the outcome.
    #[must_use]
    pub fn maybe_executed(&self) -> bool {
        match self {
            ClientError::Remoting(RemotingError::Timeout { .. } | RemotingError::Closed { .. })
            | ClientError::BadAnswer { .. } => true,
            ClientError::Broker { code, .. } => {
                matches!(*code, ResponseCode::SYSTEM_ERROR | ResponseCode::SERVICE_NOT_AVAILABLE)
            }
            _ => false,
        }
    }
}

/// Why a consumer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A subscription's expression cannot be read.
    #[error(transparent)]
    Subscription(#[from] SubscriptionParseError),
    /// A broker does not serve the subscription, or could not be asked.
    #[error("the subscription to {topic} is refused: {source}")]
    Refused {
        /// The topic.
        topic: String,
        /// What the broker said.
        source: ClientError,
    },
    /// Nothing sound is left of the offsets of a broadcasting consumer.
    #[error("{0}; put back a sound one, or remove both to begin as a new consumer does")]
    Offsets(#[from] DamagedFile),
    /// The directory of the offsets cannot be used.
    #[error("the offsets in {path} cannot be used: {reason}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        reason: String,
    },
}

impl StartError {
    /// What the disk says of the file at `path`.
    pub(crate) fn disk(path: &Path, error: &std::io::Error) -> Self {
        StartError::Disk { path: path.to_path_buf(), reason: error.to_string() }
    }
}

/// Why a message was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause} (after {attempts} attempts)")]
pub struct SendError {
    /// How the last attempt failed.
    pub cause: ClientError,
    /// How many attempts were made.
    pub attempts: u32,
    /// Whether a broker may have stored the message in one of the attempts: the outcome is unknown.
    pub maybe_stored: bool,
}

impl SendError {
    /// Of a send of which nothing was sent.
    #[must_use]
    pub fn not_sent(cause: ClientError) -> Self {
        SendError { cause, attempts: 0, maybe_stored: false }
    }
}

/// Why a request got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request was not acknowledged.
    #[error("the request was not sent: {0}")]
    Send(SendError),
    /// The request was sent, and no reply came.
    #[error("the request was sent, and no reply came within {} ms", timeout.as_millis())]
    Timeout {
        /// Time allowed for both.
        timeout: Duration,
    },
    /// So many requests of the client wait for a reply that no more are sent.
    #[error("{0} requests wait for a reply")]
    TooMany(usize),
}
