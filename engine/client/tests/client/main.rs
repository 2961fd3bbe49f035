//! `mq-client` against a name server and brokers that are a few lines each, over a network in memory
//! and under a paused clock.
#![expect(clippy::unwrap_used, reason = "in fixtures of tests a panic is the right end")]

mod batches;
mod broadcasting;
mod choosing;
mod fake_cluster;
mod heartbeats;
mod idempotence;
mod in_order;
mod listeners;
mod listening;
mod lite_pulling;
#[path = "../../../remoting/tests/remoting/memory_net.rs"]
mod memory_net;
mod namespaces;
mod operating;
mod producing;
mod pulling;
mod pushing;
mod requests;
mod transactions;
mod upstream;
