//! Ending the queue before its end: at once in memory, durably when the cut is settled.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mq_env::disk::PAGE_SIZE;

use super::{MappedFileQueue, file_name};
use crate::error::can_be_attempted_again;
use crate::{Erased, MappedFile};

/// How often a sync that could not be attempted is tried again before a cut is given up.
const SYNC_ATTEMPTS_MAX: u32 = 50;
/// Pause before each of them.
const SYNC_ATTEMPT_PAUSE: Duration = Duration::from_millis(200);

/// What [`MappedFileQueue::cut`] left to be made durable.
#[must_use = "a cut is durable only after `settle`"]
#[derive(Debug)]
pub struct Cut {
    erased: Option<(Arc<MappedFile>, Erased)>,
    removed: Vec<Arc<MappedFile>>,
    /// A file ahead that lies apart from the others now.
    stranded: Option<PathBuf>,
}

impl MappedFileQueue {
    /// Ends the queue at `offset` in memory: later files leave the queue, positions are lowered,
    /// and (`erase`) the bytes behind the new end are zeroed. What was not committed is forgotten.
    /// Nothing may be appended before [`MappedFileQueue::settle`] made that durable. The caller excludes
    /// appender, committer and flusher;
    /// buffers selected above `offset` before show zeros or new bytes from then on.
    pub fn cut(&self, offset: u64, erase: bool) -> Cut {
        let mut ahead = self.ahead();
        let mut files = self.write_files();
        let kept = files.partition_point(|file| file.file_from_offset() <= offset);
        let removed = files.split_off(kept);
        assert!(
            removed.iter().all(|file| file.file_from_offset() > offset),
            "what is kept begins before"
        );
        let last = files.last().filter(|last| offset < last.file_end_offset());
        let erased = last.map(|last| {
            let position = self.position(offset);
            last.lower_positions(position);
            let erased = if erase { last.erase(position) } else { Erased::nothing(position) };
            (Arc::clone(last), erased)
        });
        drop(files);
        removed.iter().for_each(|file| file.drop_uncommitted());
        self.committed_where.fetch_min(offset, Ordering::AcqRel);
        self.flushed_where.fetch_min(offset, Ordering::AcqRel);
        assert!(self.max_offset() <= offset, "nothing is left behind {offset}");
        Cut { erased, removed, stranded: self.cut_ahead(&mut ahead) }
    }

    /// Takes every file out of the queue, so that the next append may be at any offset.
    pub fn cut_all(&self) -> Cut {
        // What is retired must not stand before the file that comes next.
        let mut ahead = self.ahead();
        let mut removed = std::mem::take(&mut *self.retired());
        removed.append(&mut self.write_files());
        removed.iter().for_each(|file| file.drop_uncommitted());
        self.committed_where.store(0, Ordering::Release);
        self.set_flushed_where(0);
        Cut { erased: None, removed, stranded: self.cut_ahead(&mut ahead) }
    }

    /// Makes a cut durable: syncs the zeroed bytes, removes the later files, syncs the directory.
    ///
    /// # Errors
    /// What the disk says; what could not be erased is there again then, out of sight until the next
    /// start.
    pub async fn settle(&self, cut: Cut) -> io::Result<()> {
        if let Some((file, erased)) = &cut.erased {
            file.sync_erased(&*self.disk, erased).await?;
        }
        let removed = cut.removed.iter().map(|file| file.path());
        self.remove_files(removed.chain(cut.stranded.as_deref())).await?;
        self.end_cut();
        Ok(())
    }

    /// Like [`MappedFileQueue::settle`], but the later files go to the existing directory `aside`
    /// instead of being removed.
    ///
    /// # Errors
    /// What the disk says; some files may have gone, the oldest first.
    pub async fn settle_aside(&self, cut: Cut, aside: &Path) -> io::Result<()> {
        if let Some((file, erased)) = &cut.erased {
            file.sync_erased(&*self.disk, erased).await?;
        }
        self.remove_files(cut.stranded.as_deref().into_iter()).await?;
        for file in &cut.removed {
            self.unsynced.forget_file(file.path());
            let to = aside.join(file_name(file.file_from_offset()));
            match self.disk.rename(file.path(), &to) {
                // It had expired, and its name was going already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        if !cut.removed.is_empty() {
            self.sync_patiently(aside).await?;
            self.sync_patiently(&self.dir).await?;
        }
        self.end_cut();
        Ok(())
    }

    async fn remove_files(&self, removed: impl Iterator<Item = &Path>) -> io::Result<()> {
        let mut is_changed = false;
        for path in removed {
            self.unsynced.forget_file(path);
            self.remove_name(path)?;
            is_changed = true;
        }
        if is_changed { self.sync_patiently(&self.dir).await } else { Ok(()) }
    }

    /// A cut cannot be left half done: a sync that could not be attempted is tried again for a while.
    async fn sync_patiently(&self, dir: &Path) -> io::Result<()> {
        for _ in 0..SYNC_ATTEMPTS_MAX {
            match self.disk.sync(dir).await {
                Err(error) if can_be_attempted_again(&error) => {
                    tracing::warn!(dir = %dir.display(), %error, "not synced yet; tried again");
                    tokio::time::sleep(SYNC_ATTEMPT_PAUSE).await;
                }
                synced => return synced,
            }
        }
        self.disk.sync(dir).await
    }
}

impl Cut {
    /// Where it begins and where what it took away ended, as far as that was written or there were files.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let erased = self.erased.as_ref().map(|(file, erased)| {
            let (from, range) = (file.file_from_offset(), erased.range());
            from + range.start as u64..from + range.end as u64
        });
        let removed = self.removed.first().zip(self.removed.last());
        let removed = removed.map(|(first, last)| first.file_from_offset()..last.file_end_offset());
        match (erased, removed) {
            (Some(erased), Some(removed)) => erased.start..removed.end,
            (erased, removed) => erased.or(removed).unwrap_or_default(),
        }
    }

    /// Bytes behind the new end, up to the last one in each file that was not zero.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        let erased = self.erased.as_ref().map_or(0, |(_, erased)| erased.range().len() as u64);
        let used = |file: &Arc<MappedFile>| used_bytes(file.raw(0..file.wrote_position()));
        erased + self.removed.iter().map(used).sum::<u64>()
    }
}

/// Bytes up to the last one that is not zero. A file ahead has none, and may be large.
fn used_bytes(bytes: &[u8]) -> u64 {
    static ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
    let zeros: usize = bytes
        .rchunks(PAGE_SIZE)
        .take_while(|page| ZERO_PAGE[..page.len()] == **page)
        .map(<[u8]>::len)
        .sum();
    let bytes = &bytes[..bytes.len() - zeros];
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}
