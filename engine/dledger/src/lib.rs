//! DLedger's consensus (Raft under RocketMQ 4.9's DLedger mode) as a state machine without I/O: [`Event`]s in,
//! [`Command`]s out.
mod types;
mod upstream;
mod settings;
mod message;
mod event;
mod log_view;
mod role;
mod core;
mod durable;
mod blank;
mod election;
mod follower;
mod leader;
mod push;
mod transfer;
pub use crate::core::{DLedgerCore, Recovered};
pub use event::{Command, EntrySource, Event, Finding};
pub use log_view::LogView;
pub use message::{
    Body, LeadershipTransfer, Message, PushRequest, PushResponse, PushType, ResponseCode,
    VoteRequest, VoteResponse, VoteResult,
};
pub use settings::{Peer, Settings};
pub use types::{
    EntryMeta, HardState, LedgerIndex, NO_INDEX, NO_TERM, NodeId, ProposalId, Role, Term,
};
pub use upstream::UpstreamSwitch;

#[cfg(test)]
mod tests;
