//! What of the index is believed at start-up, and how it is cut when the log is.
//!
//! Both take two steps. First it is decided what is kept, so that the watermark can be lowered to it;
//! then the files are changed. A crash in between leaves more than the watermark claims, never less.

use std::io;
use std::path::PathBuf;

use mq_env::disk::MappedRegion;
use mq_protocol::message_codec::decode_record;

use super::{IndexMark, IndexService, IndexState, name};
use crate::commit_log::CommitLog;
use crate::index_file::IndexFile;

/// What is known of the files found at start-up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TrustedIndex {
    /// The store's own watermark says what was synced.
    Marked {
        mark: IndexMark,
        /// The store was closed in order: slots and header agree with the entries.
        was_closed: bool,
        /// The last file is to be made again from the log when it was not (`messageIndexSafe`).
        is_safe: bool,
    },
    /// Java closed the store in order.
    Whole,
    /// Java did not: files whose last record was stored by then, in ms, were synced.
    Until(u64),
}

/// What is to be done to the files.
#[must_use = "a cut is durable only after `settle`"]
pub(crate) struct IndexCut {
    kept: Vec<Kept>,
    removed: Vec<PathBuf>,
    /// Where the log is to be indexed from.
    resume: u64,
    /// The watermark of files that nobody looks at.
    unread: Option<IndexMark>,
}

/// A file that stays, with so many of its entries.
struct Kept {
    file: IndexFile,
    entries: usize,
    is_sound: bool,
}

impl IndexCut {
    /// What is durable of what is kept.
    pub(crate) fn mark(&self) -> IndexMark {
        self.unread.unwrap_or_else(|| IndexMark {
            file: self.kept.last().map_or(0, |kept| kept.file.number()),
            entries: self.kept.last().map_or(0, |kept| kept.entries as u64),
            end: self.resume,
        })
    }
}

impl IndexService {
    /// Maps the files that are believed and decides what of them is kept, all of it below `log_end`.
    pub(crate) fn load(&self, trusted: TrustedIndex, log_end: u64) -> io::Result<IndexCut> {
        let mut cut = IndexCut { kept: Vec::new(), removed: Vec::new(), resume: 0, unread: None };
        if !self.is_enabled {
            let mark = match trusted {
                TrustedIndex::Marked { mark, .. } => mark,
                TrustedIndex::Whole | TrustedIndex::Until(_) => IndexMark::default(),
            };
            cut.unread = Some(IndexMark { end: mark.end.min(log_end), ..mark });
            return Ok(cut);
        }
        let mut is_whole = true;
        for (number, len) in self.list()? {
            let path = IndexFile::path_in(&self.dir, number);
            let believed = is_whole && len == self.layout.file_bytes() as u64;
            let kept = if believed { self.load_file(number, trusted, log_end)? } else { None };
            match kept {
                Some(kept) => {
                    is_whole = kept.entries == kept.file.header().entries();
                    cut.kept.push(kept);
                }
                None => {
                    is_whole = false;
                    cut.removed.push(path);
                }
            }
        }
        cut.resume = resume_after(&mut cut, trusted, log_end);
        let ascending = |pair: &[Kept]| pair[0].file.number() < pair[1].file.number();
        assert!(cut.kept.windows(2).all(ascending), "files are kept in their order");
        assert!(cut.resume <= log_end, "nothing behind the log is indexed: {}", cut.resume);
        for kept in cut.kept.iter_mut().filter(|kept| !kept.is_sound) {
            kept.file.reserve_slots(&*self.disk)?;
        }
        Ok(cut)
    }

    /// What is durable below `phy_offset`, given that `present` is.
    pub(crate) fn mark_below(&self, phy_offset: u64, present: IndexMark) -> IndexMark {
        if !self.is_enabled || present.end <= phy_offset {
            return IndexMark { end: present.end.min(phy_offset), ..present };
        }
        let state = self.lock();
        let below = |file: &IndexFile| file.entries_below(phy_offset, file.header().entries());
        let last =
            state.files.iter().map(|file| (file, below(file))).rfind(|(_, count)| *count > 0);
        last.map_or(IndexMark { end: phy_offset, ..IndexMark::default() }, |(file, entries)| {
            IndexMark { file: file.number(), entries: entries as u64, end: phy_offset }
        })
    }

    /// Ends the index before the records from `phy_offset` on, which the log still has. The caller
    /// keeps the dispatcher from adding anything.
    pub(crate) fn cut(&self, phy_offset: u64, log: &CommitLog) -> IndexChange {
        let mut state = self.lock();
        let resume = state.indexed_to.min(phy_offset);
        let mut cut = IndexCut { kept: Vec::new(), removed: Vec::new(), resume, unread: None };
        let mut is_whole = true;
        for file in std::mem::take(&mut state.files) {
            let known = file.header().entries();
            let entries = file.entries_below(phy_offset, known);
            let is_sound = is_whole && entries == known;
            assert!(entries <= known, "a cut adds no entry");
            if is_whole && (is_sound || entries > 0) {
                cut.kept.push(Kept { file, entries, is_sound });
            } else {
                cut.removed.push(file.path().to_path_buf());
            }
            is_whole = is_sound;
        }
        drop(state);
        self.apply(cut, log)
    }

    /// Makes the files what `cut` says; returns what [`IndexService::settle`] has to sync.
    pub(crate) fn apply(&self, cut: IndexCut, log: &CommitLog) -> IndexChange {
        let mut state = IndexState { indexed_to: cut.resume, ..IndexState::default() };
        let mut regions = Vec::new();
        for Kept { mut file, entries, is_sound } in cut.kept {
            if !is_sound {
                file.keep(entries, end_timestamp(&file, entries, log));
                regions.extend(file.take_dirty());
            }
            state.files.push(file);
        }
        let mut present = self.lock();
        state.unsynced = std::mem::take(&mut present.unsynced);
        state.unsynced.retain(|path| !cut.removed.contains(path));
        *present = state;
        IndexChange { regions, removed: cut.removed }
    }

    /// Makes a change durable.
    pub(crate) async fn settle(&self, change: IndexChange) -> io::Result<()> {
        for region in &change.regions {
            self.disk.flush(region, 0..region.len()).await?;
        }
        self.remove(&change.removed).await
    }

    /// Removes files, durably.
    pub(super) async fn remove(&self, files: &[PathBuf]) -> io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        for path in files {
            match self.disk.remove(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.disk.sync(&self.dir).await
    }

    /// Names and lengths of the files, oldest first.
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let entries = match self.disk.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let numbered = |entry: mq_env::disk::DirEntry| {
            let number = name::parse_number(&entry.name).filter(|_| !entry.is_dir);
            if number.is_none() {
                tracing::warn!(name = entry.name, "not a file of the index, left alone");
            }
            Some((number?, entry.len))
        };
        Ok(entries.into_iter().filter_map(numbered).collect())
    }

    /// The file with what of it is kept; `None` when nothing is.
    fn load_file(
        &self,
        number: u64,
        trusted: TrustedIndex,
        log_end: u64,
    ) -> io::Result<Option<Kept>> {
        let file = IndexFile::open(&*self.disk, &self.dir, number, self.layout)?;
        let known = file.header().entries().min(self.layout.index_num.saturating_sub(1));
        let (known, limit, is_sound) = match trusted {
            TrustedIndex::Marked { mark, .. } if number < mark.file => (known, mark.end, true),
            TrustedIndex::Marked { mark, was_closed, is_safe } if number == mark.file => {
                if is_safe && !was_closed {
                    return Ok(None);
                }
                let is_sound = was_closed && known as u64 == mark.entries;
                (mark.entries as usize, mark.end, is_sound)
            }
            TrustedIndex::Marked { .. } => return Ok(None),
            TrustedIndex::Until(until_ms) if file.header().end_timestamp > until_ms as i64 => {
                return Ok(None);
            }
            TrustedIndex::Until(_) | TrustedIndex::Whole => (known, u64::MAX, true),
        };
        let entries = file.entries_below(limit.min(log_end), known);
        let is_sound = is_sound && entries == file.header().entries();
        Ok((entries > 0).then_some(Kept { file, entries, is_sound }))
    }
}

/// Where indexing goes on: at the watermark, if what it claims was found. Else with the last
/// record that has an entry, which is indexed again: other keys of it may be lost.
fn resume_after(cut: &mut IndexCut, trusted: TrustedIndex, log_end: u64) -> u64 {
    if let TrustedIndex::Marked { mark, .. } = trusted {
        let found = cut.kept.last().map_or(0, |kept| kept.file.number());
        if found == mark.file || mark.entries == 0 && cut.kept.is_empty() {
            return mark.end.min(log_end);
        }
    }
    while let Some(last) = cut.kept.last_mut() {
        let end = last.file.entry(last.entries).map_or(0, |entry| entry.phy_offset as u64);
        last.entries = last.file.entries_below(end, last.entries);
        last.is_sound = false;
        if last.entries > 0 {
            return end;
        }
        let emptied = cut.kept.pop();
        cut.removed.extend(emptied.map(|kept| kept.file.path().to_path_buf()));
        if cut.kept.is_empty() {
            return end.min(log_end);
        }
    }
    0
}

/// A change of files that is not durable yet.
#[must_use = "a change is durable only after `settle`"]
pub(crate) struct IndexChange {
    regions: Vec<MappedRegion>,
    removed: Vec<PathBuf>,
}

/// Store time of the record of an entry: the log knows it to the millisecond.
fn end_timestamp(file: &IndexFile, number: usize, log: &CommitLog) -> i64 {
    let Some(entry) = file.entry(number).filter(|_| number > 0) else { return 0 };
    let data = log.data(entry.phy_offset as u64);
    let stored = data.and_then(|data| Some(decode_record(&data).ok()?.store_timestamp()));
    stored.unwrap_or(file.header().begin_timestamp + i64::from(entry.time_diff) * 1000)
}
