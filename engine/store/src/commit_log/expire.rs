//! The oldest file of the log, and its removal.

use std::io;
use std::path::PathBuf;

use mq_mapped_file::Retired;

use super::CommitLog;

/// The oldest file of a log that has another one behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldestFile {
    pub(crate) path: PathBuf,
    pub(crate) from: u64,
    pub(crate) end: u64,
    /// When it was written last, milliseconds since the Unix epoch.
    pub(crate) modified_ms: u64,
}

impl CommitLog {
    /// The oldest file; `None` when it is the last one, too.
    pub(crate) fn oldest_file(&self) -> io::Result<Option<OldestFile>> {
        let Some(first) = self.queue.first() else { return Ok(None) };
        let (from, end) = (first.file_from_offset(), first.file_end_offset());
        if self.queue.last().is_none_or(|last| last.file_from_offset() == from) {
            return Ok(None);
        }
        assert!(from < end && end <= self.queue.max_offset(), "a file with one behind it is full");
        assert_eq!(self.queue.position(from), 0, "files begin at multiples of their size");
        let path = first.path().to_path_buf();
        let modified_ms = self.env.disk.stat(&path)?.modified_ms;
        Ok(Some(OldestFile { path, from, end, modified_ms }))
    }

    /// Takes the oldest file out of the log and removes it from the directory, durably, unless
    /// somebody reads it: then it stays there until [`CommitLog::remove_retired`].
    pub(crate) async fn delete_oldest(&self, oldest: &OldestFile) -> io::Result<Retired> {
        if let Some(consensus) = &self.consensus {
            return self.expire_agreed(&**consensus, oldest).await;
        }
        let _flushing = self.lock_flushing().await;
        // A slave's log may have been cut since its marks were read.
        if oldest.end <= self.flushed_offset() && self.queue.retire_first(oldest.from) {
            assert_eq!(self.min_offset(), oldest.end, "files are removed one behind the other");
            assert!(self.min_offset() <= self.flushed_offset(), "nothing goes that is not synced");
        }
        self.queue.remove_retired(false).await
    }

    /// Whether a file that is out of the log waits for its readers.
    pub(crate) fn has_retired(&self) -> bool {
        self.queue.has_retired()
    }

    /// Removes such files; `force` waits for nobody.
    pub(crate) async fn remove_retired(&self, force: bool) -> io::Result<Retired> {
        if self.is_agreed() {
            return Ok(Retired::Pinned);
        }
        let _flushing = self.lock_flushing().await;
        self.queue.remove_retired(force).await
    }
}
