//! Brokers in a simulated world, asked over the wire.

mod cluster;
mod delays;
mod groups;
mod life;
mod limits;
mod offsets;
mod operating;
mod pulling;
mod recorded;
mod roles;
mod sending;
mod slaves;
mod sql92;
mod transaction_checks;
mod transactions;
