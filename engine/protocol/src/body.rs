//! Bodies of commands, and the files that hold the same texts: JSON in fastjson's dialect.
//!
//! A body declares each property once, as `name: Type = "jsonName"`, in alphabetical order, in
//! which it is written; null properties are left out. When reading, a property that is missing or
//! null has its default (`or 6`, else that of its type), as in Java peers.

#[macro_use]
mod declare;

pub mod acl;
pub mod cluster;
pub mod connection;
pub mod consume_stats;
pub mod dledger;
pub mod export;
pub mod heartbeat;
pub mod lock;
pub mod message_queue;
pub mod offset_table;
pub mod running_info;
pub mod subscription_group;
pub mod tables;
pub mod topic_config;
pub mod topic_route;

/// A map in the order of its insertion, as JSON objects are.
///
/// Peers choose the keys: their hashes depend on a number that no peer knows, or keys that were made to
/// collide would cost n². That number is the one thing random that does not come from a seed: the order of
/// insertion does not show it.
#[expect(clippy::disallowed_types, reason = "the order of insertion hides what differs")]
pub type OrderedMap<K, V> = indexmap::IndexMap<K, V, std::hash::RandomState>;

#[cfg(test)]
mod dledger_tests;
#[cfg(test)]
mod tests;
