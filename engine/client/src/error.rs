//! What can go wrong in a client.

use std::time::Duration;

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
