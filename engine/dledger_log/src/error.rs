//! [`LogError`] and [`ReadError`]: what a log refuses.

use std::io;
use std::path::PathBuf;

use mq_mapped_file::{FlushError, LoadError};

/// Why a log does not open, or does not change.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A directory does not hold a sound sequence of files.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Bytes that were known to be durable are gone or changed.
    #[error(
        "{} is damaged at offset {pos} although everything below {durable_pos} was synced: {reason}; a node that \
         forgets what it acknowledged must not vote: move its directory away and start it as one that lost its disk",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Of the first thing that is not sound.
        pos: u64,
        /// End of what was known to be durable.
        durable_pos: u64,
        /// What is wrong there.
        reason: String,
    },
    /// `currterm` or `checkpoint` cannot be read.
    #[error("{} is damaged ({reason}): {advice}", file.display())]
    SmallFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// A sync failed. Unless it could not be attempted, the log is poisoned.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// The disk refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The log was poisoned by an earlier failure and takes no more changes.
    #[error("a sync failed earlier; the log takes no more entries before the next start")]
    Poisoned,
    /// An entry that this log cannot take.
    #[error("entry {index} at offset {pos}: {reason}")]
    Entry {
        /// Of the entry.
        index: i64,
        /// Where its leader has it.
        pos: i64,
        /// Why not.
        reason: String,
    },
}

impl LogError {
    /// Wraps an I/O error with what was attempted.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> LogError {
        let what = what.into();
        move |source| LogError::Io { what, source }
    }

    /// Whether the disk is full, and nothing was changed.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// Why an entry cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It has expired.
    #[error("entry {index} has expired: the log begins with {begin_index}")]
    Expired {
        /// Which one.
        index: i64,
        /// `ledgerBeginIndex`.
        begin_index: i64,
    },
    /// It is not there yet.
    #[error("entry {index} is not there: the log ends with {end_index}")]
    Beyond {
        /// Which one.
        index: i64,
        /// `ledgerEndIndex`.
        end_index: i64,
    },
    /// Index and entry do not agree.
    #[error("entry {index} is damaged: {reason}")]
    Damaged {
        /// Which one.
        index: i64,
        /// What is wrong.
        reason: String,
    },
}
