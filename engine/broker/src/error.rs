//! [`BrokerError`]: why a broker does not start.

use std::io;
use std::net::SocketAddr;

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
    /// A port for clients cannot be listened on.
    #[error("listen on {addrs:?}: {source}")]
    Listen {
        /// The addresses, main and fast.
        addrs: [SocketAddr; 2],
        /// What the operating system said.
        source: io::Error,
    },
    /// The port for slaves cannot be listened on.
    #[error("listen for replication on port {port}: {source}")]
    ListenHa {
        /// The port.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// A port that leaves no room for the two derived from it.
    #[error("listenPort {0} leaves no room for the ports 2 below and 1 above it")]
    ListenPort(u16),
}
