//! [`BrokerError`]: why a broker does not start.

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
    /// A port that leaves no room for the two derived from it.
    #[error(
        "listenPort {0} leaves no room for the ports 2 below and 1 above it: set one from 3 to 65534"
    )]
    ListenPort(u16),
}
