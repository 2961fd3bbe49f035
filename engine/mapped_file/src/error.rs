//! [`FlushError`] and [`LoadError`]: what a queue of files may refuse.

use std::io;
use std::path::PathBuf;

use mq_env::disk::was_attempted;

/// A sync failed: the range is not durable. If that is final, it never will be known to be.
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

impl FlushError {
    /// Whether another sync would prove nothing.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !can_be_attempted_again(&self.source)
    }
}

/// Whether a sync failed for want of something that may be there the next time. A file that is gone
/// is gone.
pub(crate) fn can_be_attempted_again(error: &io::Error) -> bool {
    let is_gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    !was_attempted(error) && !is_gone
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
