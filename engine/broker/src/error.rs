//! [`BrokerError`]: why a broker does not start, and [`RoleError`]: why it keeps its role.

use std::io;

use mq_store::StoreError;
use mq_store::metadata_file::MetadataError;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing sound is left of a table.
    #[error(transparent)]
    Table(#[from] MetadataError),
    /// A port cannot be listened on.
    #[error(
        "port {port} cannot be listened on ({source}): a broker needs it for {purpose}; stop the process \
         that has it or set another listenPort"
    )]
    Listen {
        /// The port.
        port: u16,
        /// What it is for.
        purpose: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Access control is asked for, and its files cannot be used.
    #[error("{0}")]
    Acl(String),
    /// A port that leaves no room for the two derived from it.
    #[error(
        "listenPort {0} leaves no room for the ports 2 below and 1 above it: set one from 3 to 65534"
    )]
    ListenPort(u16),
}

/// Why a broker does not become what it was told to be.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// A role that does not go with the id.
    #[error(
        "brokerId {broker_id} does not go with brokerRole {role}: a master has 0, a slave another one"
    )]
    BrokerId {
        /// The role.
        role: &'static str,
        /// The id.
        broker_id: u64,
    },
    /// The store cannot be a master's: it stays a slave's.
    #[error(transparent)]
    Store(#[from] StoreError),
}
