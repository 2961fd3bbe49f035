//! Brokers in a simulated world, asked over the wire.

mod away;
mod cluster;
mod delays;
mod groups;
mod in_order;
mod life;
mod limits;
mod offsets;
mod pulling;
mod recorded;
mod roles;
mod sending;
mod slaves;
mod transaction_checks;
mod transactions;
