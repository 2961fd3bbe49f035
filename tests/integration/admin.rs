//! `mqadmin` at clusters: command lines, and what they print.

mod acl;
mod at_broker;
mod console;
mod desk;
mod messages;
mod name_servers;
mod offsets;
mod refused;
mod scripted;
mod topics;
