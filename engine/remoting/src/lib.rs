//! Connections that carry `RemotingCommand`s in both directions.
//!
//! One TCP connection serves both sides: either may send requests, and replies may come in any
//! order; they are matched by opaque. Reading order of the modules:
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | what can go wrong with a request, and why a connection ended |
//! | `limits` | what is held for peers at most, per connection and over all of them |
//! | [`channel`] | [`Channel`], the handle of one connection |
//! | [`responder`] | [`Responder`], which answers one request |
//! | [`processor`] | [`RequestProcessor`], what answers requests, and the table of them |
//! | `connection` | the task that reads, dispatches and writes one connection |
//! | [`server`] | [`RemotingServer`]: listeners and the connections they accepted |
//! | [`log_limit`] | [`LogLimit`], for log lines that peers cause |
//! | [`client`] | [`RemotingClient`]: one connection per address, opened when first needed |
//!
//! Invariants
//! * One task per connection does all its reading and writing. Whoever sends encodes straight
//!   into the connection's buffer; everything queued in one wake-up leaves in one write.
//! * Every wait for a peer has a deadline of its own. Nothing sweeps, nothing polls: an idle
//!   connection holds one timer, its idle limit.
//! * What a peer makes this side hold is bounded (`limits`): a connection whose peer does not read, or with
//!   too many requests in work, is not read from; over all connections, who held too much for too long is closed.
//!   A turn of a connection ends after so much work, and others come first.
//! * A panic of a processor is not caught: it ends the process like that of any other task. What
//!   the outside can cause is a [`ProcessError`] and becomes a reply.
//!
//! Not here: TLS, which is a net before the net (`mq-tls`), the choice among name servers.

pub mod error;

mod limits;

pub mod channel;

pub mod responder;

pub mod log_limit;

pub mod processor;

mod connection;

pub mod server;

pub mod client;

pub use channel::{Channel, ChannelId};
pub use client::{RemotingClient, RemotingClientConfig, RpcHook};
pub use error::{CloseReason, RemotingError};
pub use limits::Used;
pub use log_limit::LogLimit;
pub use processor::{
    ProcessError, ProcessOutcome, ProcessResult, ProcessorTable, RequestGuard, RequestProcessor,
};
pub use responder::Responder;
pub use server::{ConnectionListener, RemotingServer, RemotingServerConfig, ServerLoad};
