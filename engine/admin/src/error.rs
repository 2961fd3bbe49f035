//! Why a command failed.

use std::path::{Path, PathBuf};

use mq_client::{ClientError, SendError};
use mq_protocol::codes::ResponseCode;

/// Why a command failed, in a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// What was asked for makes no sense, whatever the cluster is like.
    #[error("{0}")]
    Input(String),
    /// No name server was named, and the command needs one.
    #[error(
        "no name server is known: name one with -n HOST:PORT (several split by ;), or set NAMESRV_ADDR"
    )]
    NoNameServer,
    /// A server refused, did not answer, or is not there; the sentence names its address.
    #[error("{}", said(.0))]
    Client(ClientError),
    /// A message was not acknowledged.
    #[error("the message was not sent: {0}")]
    Send(#[from] SendError),
    /// The answer of a server cannot be read.
    #[error("the answer of {addr} cannot be read: {reason}")]
    BadAnswer {
        /// The server.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster does not have what was asked for, or not all of it could be done.
    #[error("{0}")]
    Failed(String),
    /// A file cannot be written or read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        reason: String,
    },
    /// Nobody takes what is printed any more.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl From<ClientError> for AdminError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoNameServer => AdminError::NoNameServer,
            error => AdminError::Client(error),
        }
    }
}

impl AdminError {
    /// The answer of the server at `addr` cannot be read because of `error`.
    pub(crate) fn bad_answer(addr: &str, error: &dyn std::error::Error) -> Self {
        AdminError::BadAnswer { addr: addr.to_owned(), reason: error.to_string() }
    }

    /// The file at `path` cannot be used because of `error`.
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        AdminError::File { path: path.to_path_buf(), reason: error.to_string() }
    }

    /// Whether the arguments are to blame, not the cluster.
    #[must_use]
    pub fn is_input(&self) -> bool {
        matches!(self, AdminError::Input(_) | AdminError::NoNameServer)
    }

    /// The code that a server answered, if one did.
    #[must_use]
    pub fn response_code(&self) -> Option<i32> {
        match self {
            AdminError::Client(ClientError::Broker { code, .. }) => Some(*code),
            _ => None,
        }
    }
}

fn said(error: &ClientError) -> String {
    match error {
        ClientError::Broker { addr, code, remark } => {
            let name = ResponseCode::name(*code).unwrap_or("a code that is not known here");
            let remark = remark.split('\n').next().unwrap_or_default();
            format!("{addr} refuses: {remark} (code {code}, {name})")
        }
        ClientError::NoRoute(topic) => {
            format!("the name server knows no route of the topic {topic}")
        }
        ClientError::NoBroker(name) => {
            format!("the name server knows no broker {name} that could be asked")
        }
        error => error.to_string(),
    }
}
