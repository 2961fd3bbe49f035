//! Brokers in a simulated world, asked over the wire.

mod access_control;
mod away;
mod batches;
mod busy;
pub(crate) mod cluster;
mod consume_stats;
mod delays;
mod deleting;
mod dledger;
mod dledger_trouble;
mod groups;
mod in_order;
mod life;
mod limits;
mod offsets;
mod operating;
mod pulling;
mod recorded;
mod replies;
mod roles;
mod sending;
mod slaves;
mod sql92;
mod transaction_checks;
mod transactions;
