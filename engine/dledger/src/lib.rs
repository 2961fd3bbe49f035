//! DLedger's consensus (the Raft under RocketMQ 4.9's DLedger mode) as a state machine without I/O: [`Event`]s go in,
//! [`Command`]s come out. There is no disk, no network, no clock and no task in here; time comes with every event, drawn
//! numbers come from a stream that the host hands in, and entries are known by index, term and length.
//!
//! Modules in reading order: `types` (small words), `settings`, `upstream` (behaviours of DLedger 0.3.1 by name),
//! `message` (what nodes say), `event` (what a host says and does), `log_view` (which term stands where), `core` (the state
//! machine and what its parts share), `role` (what a node keeps while it is something), `durable` (nothing is said
//! before term and vote are on disk), `election`, `leader` (heartbeats, commit rule, proposals), `push` (how a leader makes
//! a peer's log its own), `follower` (what becomes of a push), `landing` (where its
//! entries would be written), `transfer` (handing over), `blank` (a node that lost its disk).
//!
//! # What the host does
//! Carry commands out in their order; put bodies of entries into pushes and take them out; map numbers to names, and refuse
//! who is no member (401); answer a message with the message that the core sends back; say [`Event::Tick`]
//! when [`DLedgerCore::next_tick_ms`] says so. A broker registers when it is told a role, and serves as a master
//! from [`Command::LeadershipReady`] to the next [`Command::RoleChanged`].
//!
//! # What was wrong in DLedger, and where it went
//! Where a switch is named, it brings the behaviour back.
//!
//! | | here |
//! |---|---|
//! | entries of old terms are committed by counting | only entries of the leader's term are counted; [`UpstreamSwitch::CommitsOldTerms`] |
//! | nothing is committed before somebody writes | a leader writes an entry of its own; [`UpstreamSwitch::NoNoOp`] |
//! | the current term stands for the last entry's | there is no other way to ask than [`LogView::end_term`] |
//! | term and vote renamed without a sync | every message waits for both; [`UpstreamSwitch::VoteNotDurable`] |
//! | an entry is acknowledged from the page cache | it counts as `flushDiskType` says; [`UpstreamSwitch::AcksPageCache`] |
//! | committed entries are cut, the committed index stays above the end | refused and reported; asserted after every event; [`UpstreamSwitch::TruncatesCommitted`] |
//! | a failed write leaves an answer open | [`Event::DiskFailed`] ends the node; answers rest on what is written |
//! | a wiped follower gets nothing until somebody writes | COMMIT is refused by who lacks what it names, and leads to COMPARE |
//! | a node with a larger term stays out | any message's larger term is adopted; [`UpstreamSwitch::LogBeforeTerm`], [`UpstreamSwitch::IgnoresLargerTerm`] |
//! | a node that was cut off raises the term | pre-votes; [`UpstreamSwitch::NoPreVote`] |
//! | a push under way is refused as repeated for ever | no table of pushes: what is there is confirmed again |
//! | a push of what expired is repeated for ever | whatever does not fit leads to COMPARE, and to where the log begins |
//! | a full queue blocks the threads of the RPC | nothing waits; what is too much is refused (421) |
//! | an unknown watermark passes for a small lag | it is an `Option`, and unknown is not close |
//! | results of an old vote outlive a change of role | what belongs to a role ends with it |
//! | APPEND is not checked against the entry before it | taken only behind what is known to be equal; [`UpstreamSwitch::AppendUnmatched`] |
//! | a larger term costs a round (TERM_NOT_READY) | it is adopted and answered at once; [`UpstreamSwitch::TermNotReady`] |
//! | an empty disk votes | not before it has caught up; [`UpstreamSwitch::BlankNodeVotes`] |
//! | a broker registers before it has a role | it is [`Role::Unknown`] until it has one |

mod types;
mod settings;
mod upstream;
mod message;
mod event;
mod log_view;
mod core;
mod role;
mod durable;
mod election;
mod leader;
mod push;
mod follower;
mod landing;
mod transfer;
mod blank;

pub use crate::core::{DLedgerCore, Recovered};
pub use event::{Command, EntrySource, Event, Finding};
pub use landing::Landing;
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
