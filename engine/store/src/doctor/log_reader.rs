//! [`LogReader`]: a log through a window.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mq_env::disk::PAGE_SIZE;
use mq_mapped_file::file_name;
use mq_protocol::message_codec::{MAGIC_POSITION, RecordCheck, RecordRules, RecordView};

use super::{DoctorError, Progress, StoreDir};
use crate::big_endian::i32_at;
use crate::commit_log::log_bytes::{LogBytes, check_at, file_of};

/// How much is read at once; a larger record is read as a whole.
const WINDOW_BYTES: usize = 4 << 20;

/// The usual directory of the CommitLog, in the root.
pub(super) const COMMIT_LOG: &str = "commitlog";

/// Reads a log without holding more of it than a window.
pub(super) struct LogReader<'a> {
    store: &'a StoreDir,
    dir: PathBuf,
    ranges: Vec<Range<u64>>,
    window: Window,
    progress: Progress<'a>,
}

#[derive(Default)]
struct Window {
    /// Physical offset of the first byte.
    from: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn holds(&self, phy_offset: u64, len: usize) -> bool {
        let end = self.from + self.bytes.len() as u64;
        self.from <= phy_offset && phy_offset + len as u64 <= end
    }
}

/// What is at a physical offset.
pub(super) enum Found<'a> {
    Record(RecordView<'a>),
    /// The blank that ends the file.
    Blank {
        size: i32,
    },
    /// Something else: size and magic as they are, and what is wrong.
    Bad {
        size: i32,
        magic: i32,
        reason: String,
    },
    /// Too few bytes are left for a size and a magic.
    FileEnd,
}

impl<'a> LogReader<'a> {
    /// The files of the directory `dir` as they are.
    pub(super) fn open(
        store: &'a StoreDir,
        dir: &Path,
        progress: Progress<'a>,
    ) -> Result<Self, DoctorError> {
        let files = store.entries(dir)?;
        let files = files.iter().filter(|file| !file.is_dir);
        let range = |file: &super::StoreFile| Some(file.offset()?..file.offset()? + file.len);
        let ranges = files.filter_map(range).filter(|range| !range.is_empty());
        Ok(LogReader::over(store, dir, ranges.collect(), progress))
    }

    /// The CommitLog files that begin at `starts`, as a start sees them: filled up with zeros.
    pub(super) fn filled_up(
        store: &'a StoreDir,
        starts: impl Iterator<Item = u64>,
        progress: Progress<'a>,
    ) -> Self {
        let size = store.shape.commit_log_file_bytes as u64;
        let ranges = starts.map(|start| start..start + size).collect();
        LogReader::over(store, &store.log_dir, ranges, progress)
    }

    /// The files of entries in `dir`, filled up with zeros.
    pub(super) fn entries(
        store: &'a StoreDir,
        dir: &Path,
        progress: Progress<'a>,
    ) -> Result<Self, DoctorError> {
        let size = store.shape.commit_log_file_bytes as u64;
        let files = store.files(dir)?;
        let starts = files.iter().filter_map(|file| file.offset());
        let ranges = starts.map(|start| start..start + size).collect();
        Ok(LogReader::over(store, dir, ranges, progress))
    }

    fn over(
        store: &'a StoreDir,
        dir: &Path,
        ranges: Vec<Range<u64>>,
        progress: Progress<'a>,
    ) -> Self {
        let dir = dir.to_path_buf();
        LogReader { store, dir, ranges, window: Window::default(), progress }
    }

    /// What is at `phy_offset` of `file`, by `rules`.
    pub(super) fn look(
        &mut self,
        file: &Range<u64>,
        phy_offset: u64,
        rules: &RecordRules,
    ) -> Result<Found<'_>, DoctorError> {
        if phy_offset >= file.end {
            return Ok(Found::FileEnd);
        }
        let head = self.bytes(phy_offset, MAGIC_POSITION + 4)?;
        let (Some(size), Some(magic)) = (i32_at(head, 0), i32_at(head, MAGIC_POSITION)) else {
            return Ok(Found::FileEnd);
        };
        Ok(match check_at(self, phy_offset, rules)? {
            RecordCheck::Valid(record) => Found::Record(record),
            RecordCheck::Blank { size } => Found::Blank { size },
            RecordCheck::Zeros => Found::Bad { size, magic, reason: "no record".to_owned() },
            RecordCheck::Torn(reason) => Found::Bad { size, magic, reason: reason.to_string() },
        })
    }

    /// Offset behind the last byte of `file` from `from` on that is not zero, if there is one.
    pub(super) fn non_zero_end(
        &mut self,
        file: &Range<u64>,
        from: u64,
    ) -> Result<Option<u64>, DoctorError> {
        let (mut end, mut at) = (None, from);
        while at < file.end {
            let bytes = self.bytes(at, PAGE_SIZE)?;
            assert!(!bytes.is_empty(), "a file goes on up to its end");
            let last = bytes.iter().rposition(|byte| *byte != 0);
            end = last.map(|last| at + last as u64 + 1).or(end);
            at += bytes.len() as u64;
        }
        Ok(end)
    }

    fn read(&mut self, file: &Range<u64>, phy_offset: u64, len: usize) -> Result<(), DoctorError> {
        let path = self.dir.join(file_name(file.start));
        // Not both windows at a time.
        self.window = Window::default();
        let read = self.store.disk.read_at(&path, phy_offset - file.start, len);
        let mut bytes = match read {
            // A missing file whose place zeros take.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(DoctorError::io(&path))?,
        };
        (self.progress)(bytes.len() as u64);
        assert!((file.start..file.end).contains(&phy_offset), "{phy_offset} lies in its file");
        assert!(bytes.len() <= len, "no more is held than a window");
        // A short file is filled up.
        bytes.resize(len, 0);
        self.window = Window { from: phy_offset, bytes };
        Ok(())
    }
}

impl LogBytes for LogReader<'_> {
    type Error = DoctorError;

    fn files(&self) -> &[Range<u64>] {
        &self.ranges
    }

    fn bytes(&mut self, phy_offset: u64, len: usize) -> Result<&[u8], DoctorError> {
        let Some(index) = file_of(&self.ranges, phy_offset) else { return Ok(&[]) };
        let file = self.ranges[index].clone();
        let rest = usize::try_from(file.end - phy_offset).unwrap_or(usize::MAX);
        let len = len.min(rest);
        if !self.window.holds(phy_offset, len) {
            self.read(&file, phy_offset, len.max(WINDOW_BYTES).min(rest))?;
        }
        assert!(self.window.holds(phy_offset, len), "{len} bytes at {phy_offset} were read");
        Ok(&self.window.bytes[(phy_offset - self.window.from) as usize..])
    }
}
