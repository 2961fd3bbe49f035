//! A node of a DLedger group: hosts the consensus core (`mq-dledger`) over a log (`mq-dledger-log`), and carries what the
//! nodes tell each other in RocketMQ's frames.
//!
//! Entry point: [`DLedgerNode::start`]. Modules in reading order:
//!
//! | module | holds |
//! |---|---|
//! | `config`, `error` | settings, `dLegerPeers`, failures |
//! | `members` | names, numbers and addresses |
//! | `wire` | the core's messages as JSON bodies, and back |
//! | `no_op` | the entry that a new leader writes |
//! | `answers` | requests that wait for what the core answers |
//! | `host` | the one task that owns the core: events in, commands carried out; `host/writes`: what is written |
//! | `proposals` | what clients wait for |
//! | `flush` | syncs, and the checkpoint |
//! | `peers` | what is sent to the others, and their answers |
//! | `server` | what comes in by the peer port |
//! | `node` | the whole |
//!
//! # Rules
//! * One task owns the core and appends to the log; it waits for nobody but the disk. Everything else tells it by one
//!   bounded queue.
//! * Commands are carried out in their order: term and vote are on disk, entries written and cuts durable before
//!   what comes behind.
//! * Who appends is answered when the entry is committed, or told why not; after TERM_CHANGED and
//!   WAIT_QUORUM_ACK_TIMEOUT it may be committed later.
//! * What is too much is dropped or refused, and asked for again: nothing waits in a queue without an end.

mod config;
mod error;
mod members;
mod wire;
mod no_op;
mod answers;
mod host;
mod proposals;
mod flush;
mod peers;
mod server;
mod node;

pub use config::{NodeConfig, PeerConfig, parse_peers};
pub use error::{AppendError, NodeError};
pub use host::{Committed, Durable, Status};
pub use no_op::is_no_op;
pub use node::DLedgerNode;
pub use proposals::{OnAppend, PendingAppend};
