//! Brokers in a simulated world, asked over the wire.

mod batches;
mod cluster;
mod delays;
mod groups;
mod life;
mod limits;
mod offsets;
mod pulling;
mod recorded;
mod replies;
mod roles;
mod sending;
mod slaves;
mod transaction_checks;
mod transactions;
