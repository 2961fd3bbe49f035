//! The commands, a module per family.

pub(crate) mod acl;
pub(crate) mod broker;
pub(crate) mod clean;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod console;
pub(crate) mod consume_message;
pub(crate) mod consumer;
pub(crate) mod export;
pub(crate) mod group;
mod message_text;
pub(crate) mod metrics;
pub(crate) mod monitor;
pub(crate) mod namesrv;
pub(crate) mod offset;
pub(crate) mod print_msg;
pub(crate) mod query_cq;
pub(crate) mod query_msg;
pub(crate) mod running_info;
pub(crate) mod send;
pub(crate) mod stats;
pub(crate) mod topic;
pub(crate) mod topic_update;
pub(crate) mod trace;
