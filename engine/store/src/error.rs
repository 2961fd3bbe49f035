//! [`StoreError`]: why a store does not open or an operation on its files failed.

use std::io;
use std::path::PathBuf;

use mq_mapped_file::{FlushError, LoadError};

use crate::metadata_file::MetadataError;

/// Why a store refuses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process uses the directory.
    #[error("Lock failed,MQ already started")]
    Locked,
    /// A directory does not hold a sound sequence of files.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Bytes that were known to be durable are gone or changed.
    #[error(
        "{} is damaged at offset {phy_offset} although everything below {durable_end} was synced: {reason}",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Physical offset of the first bad record.
        phy_offset: u64,
        /// End of what was known to be durable.
        durable_end: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A small file of marks is not what it should be.
    #[error("{} {what}", file.display())]
    SmallFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        what: &'static str,
    },
    /// The directory holds the log of DLedger mode.
    #[error(
        "{} is the log of DLedger mode: start this broker with enableDLegerCommitLog=true and the dLegerSelfId of \
         that directory, or move it away if what it holds may be lost",
        .0.display()
    )]
    Dledger(PathBuf),
    /// The directory holds a log of its own, and DLedger mode is asked for.
    #[error(
        "{} is the log of a broker without DLedger, which a DLedger group cannot go on with here; move it away only if \
         what it holds may be lost",
        .0.display()
    )]
    OwnLog(PathBuf),
    /// The group's log does not open.
    #[error("{0}")]
    Consensus(String),
    /// Nothing sound is left of a table.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A sync failed; the store is poisoned.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// The disk refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, with the path.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The store was poisoned by a failed sync and takes no more changes.
    #[error("a sync failed earlier; the store takes no more changes")]
    Poisoned,
    /// An offset that does not fit the operation.
    #[error("{what}")]
    Offset {
        /// What does not fit.
        what: String,
    },
}

impl StoreError {
    /// Wraps an I/O error with what was attempted.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
        let what = what.into();
        move |source| StoreError::Io { what, source }
    }
}
