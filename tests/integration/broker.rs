//! Brokers in a simulated world, asked over the wire.

mod access_control;
mod away;
mod batches;
mod busy;
pub(crate) mod cluster;
mod consume_stats;
mod delays;
mod deleting;
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
mod settings;
mod slaves;
mod sql92;
mod statistics;
mod tools;
mod transaction_checks;
mod transactions;
