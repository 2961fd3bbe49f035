//! [`FlushError`] and [`LoadError`]: what a queue of files may refuse.

use std::io;
use std::path::PathBuf;

/// A sync failed: the range is not durable and never will be known to be.
#[derive(Debug, thiserror::Error)]
#[error("sync of {from}..{to} failed: {source}")]
pub struct FlushError {
    /// Where the durable part ends.
    pub from: u64,
    /// Where it would have ended.
    pub to: u64,
    /// What the operating system said.
    pub source: io::Error,
}

/// A directory does not hold a sound sequence of files.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file has a length that the configured file size does not allow.
    #[error(
        "{} has {len} bytes: length not matched message store config value {expected}; set the size that \
         the store was written with, or have `staticfire store recover --salvage` make a copy",
        path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// The configured size.
        expected: usize,
    },
    /// A file's name is no offset at which a file of the configured size begins.
    #[error(
        "{} is named as if files had another size than {expected} bytes, the message store config \
         value; set the size that the store was written with, or move the file away",
        path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// The configured size.
        expected: usize,
    },
    /// A file is missing although later bytes were known to be durable.
    #[error(
        "{} is missing; put it back, or have `staticfire store recover --salvage` make a copy of the \
         rest",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}
