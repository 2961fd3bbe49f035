//! What tests share. Of those against reality: a broker as a process of its own, clients that send and keep
//! what was acknowledged, and the reading back of all of it.
//!
//! | module | holds |
//! |---|---|
//! | [`ledger`] | [`Ledger`](ledger::Ledger): what was attempted, what was acknowledged and where |
//! | [`senders`] | traffic until somebody pulls a plug |
//! | [`read_back`] | every queue from its minimum, held against the ledger |
//! | [`broker_process`] | `mqbroker` as a child process |
//! | [`rig`] | a name server in the test's process, the programs that cargo built, a folder for what is fetched |
//! | [`rocketmq`] | Apache RocketMQ's servers and client, fetched where asked for |
//! | [`peers`] | a client as a process, whose lines are kept, and a cluster of either make for it |
//! | [`raw_peer`] | a connection without manners, and frames that no honest peer sends |
//! | [`crash`] | every crash point of the store's operations on the simulated disk |
//! | [`openmetrics`] | figures by their grammar |
//! | [`archive`] | packed fixtures |
//! | [`skip`] | tests that the machine does not permit say so |
//! | [`turmoil`] | stories on the second simulator |
//! | [`shapes`] | shapes of generated plans that shrink |
//! | `plants` | who finds a planted bug, and how soon (feature `plants`) |
//! | [`outcome`] | what a power loss may make of a store's files, in words |
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

pub mod ledger;

pub mod senders;

pub mod read_back;

pub mod broker_process;

pub mod rig;

pub mod rocketmq;

pub mod peers;

pub mod raw_peer;

pub mod outcome;

pub mod crash;

pub mod openmetrics;

pub mod archive;

pub mod skip;

pub mod shapes;

#[cfg(feature = "plants")]
pub mod plants;

pub mod turmoil;
