//! [`Refusal`]: why a request has no other answer, with the status that says so.

use std::time::Duration;

use mq_client::ClientError;
use mq_http::Response;

use crate::error::AdminError;

/// Why a request has no other answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The request makes no sense.
    #[error("{0}")]
    Input(String),
    /// Whoever asks must not.
    #[error("{0}")]
    Forbidden(String),
    /// What is asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// A method that the path does not have.
    #[error("{path} takes {allowed}, not {method}")]
    Method {
        /// What was asked for.
        path: String,
        /// How.
        method: String,
        /// How else.
        allowed: &'static str,
    },
    /// The cluster does not say.
    #[error("{0}")]
    Cluster(#[from] AdminError),
    /// It took too long.
    #[error("no answer within {} s: ask for less, or see which broker is unreachable", .0.as_secs())]
    TooLate(Duration),
    /// A fault of the console.
    #[error("a fault of the console: {0}")]
    Ours(String),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Refusal::Cluster(error.into())
    }
}

impl Refusal {
    fn status(&self) -> u16 {
        match self {
            Refusal::Input(_) => 400,
            Refusal::Forbidden(_) => 403,
            Refusal::NotFound(_)
            | Refusal::Cluster(AdminError::Client(ClientError::NoRoute(_))) => 404,
            Refusal::Method { .. } => 405,
            Refusal::Ours(_) => 500,
            Refusal::Cluster(_) => 502,
            Refusal::TooLate(_) => 504,
        }
    }

    /// `{"error": "…"}`
    pub(super) fn response(&self) -> Response {
        let body = serde_json::json!({ "error": self.to_string() });
        Response::json(self.status(), body.to_string())
    }
}

/// What stands in place of the facts of a broker, or of what it alone knows.
pub(super) fn trouble(error: &AdminError) -> String {
    match error.response_code() {
        Some(_) => format!("refused: {error}"),
        None => format!("unreachable: {error}"),
    }
}
