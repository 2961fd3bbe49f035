//! What `mqload` does: requests at a broker, as many at a time as are wanted, and how long each takes.
//!
//! The generator shares the machine with the broker, so it does little: frames are made once per *slot* (a request
//! that is always under way: answered, it is sent again), and of a reply's header only the numbers that are wanted are
//! looked for. Headers are JSON, as RocketMQ's clients have them by default. It speaks to brokers of either make.

mod connection;
mod echo;
mod pull;
mod reply;
mod report;
mod send;

use std::fmt;
use std::io;
use std::time::Duration;

use mq_env::Env;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};

pub use echo::serve_echo;
pub use pull::{PullLoad, pull};
pub use report::{Percentiles, Report};
pub use send::{SendLoad, send};

/// Time for the broker to make the topic.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there are no figures.
#[derive(Debug)]
pub enum LoadError {
    /// A connection cannot be opened, or broke.
    Connection {
        /// The broker.
        addr: String,
        /// What the machine says.
        error: io::Error,
    },
    /// The broker answers with something else than it should.
    Answer {
        /// The broker.
        addr: String,
        /// What it answered, in words.
        what: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Connection { addr, error } => write!(f, "the connection to {addr}: {error}"),
            LoadError::Answer { addr, what } => write!(f, "{addr} {what}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Makes `topic` with so many queues at the broker, or changes it to that.
///
/// # Errors
/// When the broker does not answer, or refuses.
pub async fn make_topic(env: &Env, addr: &str, topic: &str, queues: i32) -> Result<(), LoadError> {
    let header = CreateTopicRequestHeader::new(topic, queues);
    let request = RemotingCommand::request(RequestCode::UPDATE_AND_CREATE_TOPIC, &header);
    let client = RemotingClient::new(
        env.clone(),
        RemotingClientConfig::default(),
        ProcessorTable::default(),
    );
    let answer = client.invoke(addr, request, TOPIC_TIMEOUT).await;
    client.shutdown().await;
    let bad = |what: String| LoadError::Answer { addr: addr.to_owned(), what };
    let answer =
        answer.map_err(|error| bad(format!("does not make the topic {topic}: {error}")))?;
    if answer.code != ResponseCode::SUCCESS {
        let remark = answer.remark.unwrap_or_default();
        return Err(bad(format!("does not make the topic {topic}: code {} {remark}", answer.code)));
    }
    Ok(())
}
