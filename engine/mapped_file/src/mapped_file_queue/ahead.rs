//! The file behind the last one, made before it is wanted: whoever rolls takes it and waits for no
//! allocation, and the first sync behind the roll has no length and no entry to sync.
//!
//! It holds nothing and is no part of the queue before it is taken. Between a cut and its settling, when
//! files still have the names that come next, none is made. After a kill it is a file of zeros
//! behind the end, as a roll leaves one, too.
//!
//! Java origin: `AllocateMappedFileService` of RocketMQ 4.9, without its thread and its wait.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use super::MappedFileQueue;
use crate::{FlushError, MappedFile};

/// Where the file waits to be taken.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    waiting: Option<Waiting>,
    /// A cut is not settled yet.
    is_cutting: bool,
}

#[derive(Debug)]
struct Waiting {
    file: MappedFile,
    /// Its length and its entry survive a power loss.
    is_durable: bool,
}

impl Ahead {
    fn is_at(&self, from: u64) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.file.file_from_offset() == from)
    }
}

/// Why there is no file ahead.
#[derive(Debug, thiserror::Error)]
pub enum AheadError {
    /// It cannot be made now, or its sync failed and it was thrown away. Nobody is worse off.
    #[error(transparent)]
    NotMade(io::Error),
    /// Somebody has taken it meanwhile, and then its sync was attempted and failed: as bad as any other failed sync.
    #[error(transparent)]
    Taken(FlushError),
}

impl MappedFileQueue {
    /// Makes the file behind the last one and then makes it durable, unless it is there. One caller at a
    /// time; appends and cuts may go on meanwhile, and a roll waits for the file that is being made.
    ///
    /// # Errors
    /// See [`AheadError`].
    pub async fn allocate_ahead(&self) -> Result<(), AheadError> {
        let Some((from, path)) = self.make_ahead().map_err(AheadError::NotMade)? else {
            return Ok(());
        };
        let Err(source) = self.sync_name(&path).await else {
            let mut ahead = self.ahead();
            if let Some(waiting) = ahead.waiting.as_mut() {
                waiting.is_durable |= waiting.file.file_from_offset() == from;
            }
            return Ok(());
        };
        let mut ahead = self.ahead();
        if ahead.is_at(from) {
            ahead.waiting = None;
            self.remove_name(&path).map_err(AheadError::NotMade)?;
            return Err(AheadError::NotMade(source));
        }
        if self.find(from).is_some() {
            let error = FlushError { from, to: from, source };
            // Whoever took it has the next flush sync its name.
            return if error.is_final() { Err(AheadError::Taken(error)) } else { Ok(()) };
        }
        // A cut took it.
        Ok(())
    }

    /// Makes the file behind the last one, unless it is there, with blocks for its first `len` bytes, so that the next roll
    /// cannot fail for want of space. Whoever takes it has the next flush sync its length and entry.
    ///
    /// # Errors
    /// What creating it, or reserving them, says.
    pub fn make_next(&self, len: usize) -> io::Result<()> {
        self.make_ahead()?;
        match &self.ahead().waiting {
            Some(waiting) if !waiting.file.has_room(len) => waiting.file.reserve(&*self.disk, len),
            _ => Ok(()),
        }
    }

    fn make_ahead(&self) -> io::Result<Option<(u64, PathBuf)>> {
        let mut ahead = self.ahead();
        let Some(from) = self.missing(&ahead) else { return Ok(None) };
        let path = self.file_path(from);
        match self.open_file(from) {
            Ok(file) => {
                ahead.waiting = Some(Waiting { file, is_durable: false });
                Ok(Some((from, path)))
            }
            Err(error) => {
                // It may be there without its blocks.
                self.remove_name(&path)?;
                Err(error)
            }
        }
    }

    /// Whether the last file is at least half full and none is ahead.
    #[must_use]
    pub fn wants_ahead(&self) -> bool {
        let is_half_full =
            self.last().is_some_and(|last| last.wrote_position() >= last.file_size() / 2);
        is_half_full && self.missing(&self.ahead()).is_some()
    }

    /// The offset at which [`MappedFileQueue::wants_ahead`] becomes true, as far as that is known: the
    /// middle of the last file, or of the one ahead.
    #[must_use]
    pub fn next_ahead_at(&self) -> u64 {
        let ahead = self.ahead();
        let next = self.next_from().unwrap_or(0);
        let middle = self.file_size as u64 / 2;
        if ahead.is_at(next) { next + middle } else { next.saturating_sub(middle) }
    }

    /// Removes the file ahead, durably: at the end nobody wants it any more.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn remove_ahead(&self) -> io::Result<()> {
        let Some(waiting) = self.ahead().waiting.take() else { return Ok(()) };
        self.remove_name(waiting.file.path())?;
        self.disk.sync(&self.dir).await
    }

    /// The file for `from`: the one ahead, or a new one.
    pub(super) fn take_or_map(&self, ahead: &mut Ahead, from: u64) -> io::Result<MappedFile> {
        if let Some(ready) = ahead.waiting.take_if(|it| it.file.file_from_offset() == from) {
            if !ready.is_durable {
                self.distrust_name(ready.file.path());
            }
            assert_eq!(ready.file.wrote_position(), 0, "a file ahead holds nothing");
            return Ok(ready.file);
        }
        let file = self.open_file(from)?;
        self.distrust_name(file.path());
        Ok(file)
    }

    /// Begins a cut: takes the file ahead away if it does not lie behind the last file any more.
    pub(super) fn cut_ahead(&self, ahead: &mut Ahead) -> Option<PathBuf> {
        ahead.is_cutting = true;
        let next = self.next_from();
        let stranded = ahead.waiting.take_if(|it| Some(it.file.file_from_offset()) != next);
        stranded.map(|waiting| waiting.file.path().to_path_buf())
    }

    /// A cut is settled.
    pub(super) fn end_cut(&self) {
        self.ahead().is_cutting = false;
    }

    pub(super) fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remove_name(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where the file would begin that is not there yet.
    fn missing(&self, ahead: &Ahead) -> Option<u64> {
        self.next_from().filter(|next| !ahead.is_cutting && !ahead.is_at(*next))
    }

    fn next_from(&self) -> Option<u64> {
        self.last().map(|last| last.file_end_offset())
    }

    /// Has the next flush sync a new file and its entry.
    fn distrust_name(&self, path: &Path) {
        self.unsynced.add_file(path);
        self.unsynced.add_dirs([self.dir.as_path()].into_iter());
    }

    async fn sync_name(&self, path: &Path) -> io::Result<()> {
        self.disk.sync(path).await?;
        self.disk.sync(&self.dir).await
    }
}
