//! What operators ask of a cluster: the commands of `mqadmin`, with the options and the printed shapes of
//! RocketMQ 4.9's.
//!
//! | module | holds |
//! |---|---|
//! | `error` | [`AdminError`]: why a command failed |
//! | `mq_admin_ext` | [`MqAdminExt`]: the requests as functions |
//! | `runtime_stats` | [`RuntimeStats`]: what a broker says of how it is doing |
//! | `text` | local times and other texts as Java prints them |
//! | `command` | what every command has: where it prints, which brokers it is about |
//! | `commands` | the commands, a module per family; each asks, gets typed results, and prints them by a function without I/O |
//! | `console` | a page for browsers: what it asks, the JSON that it answers with, and who may ask |
//! | `surroundings` | [`Surroundings`]: what the arguments do not say |
//! | `cli` | [`MqAdmin`]: arguments, and the way to the commands |
//!
//! A command that fails says so with an exit code (`docs/decisions.md`, mqadmin); RocketMQ's mostly does not.

mod cli;
mod command;
mod commands;
mod console;
mod error;
mod mq_admin_ext;
mod runtime_stats;
mod surroundings;
mod text;

pub use cli::MqAdmin;
pub use error::AdminError;
pub use mq_admin_ext::{MessageTrack, MqAdminExt};
pub use runtime_stats::{Counted, RuntimeStats};
pub use surroundings::Surroundings;
