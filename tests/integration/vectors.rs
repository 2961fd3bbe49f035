//! Bytes against the real thing: frames, replication streams and files of RocketMQ 4.9.7 are
//! understood, and what Java wrote is written again byte for byte.

mod acl;
mod bodies;
pub(crate) mod fixture;
mod frames;
mod ha;
mod headers;
pub(crate) mod records;
mod store_files;
