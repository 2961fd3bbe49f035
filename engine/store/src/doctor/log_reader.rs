//! [`LogReader`]: the CommitLog record by record, through a window.

use mq_env::disk::PAGE_SIZE;
use mq_protocol::message_codec::{
    BLANK_MAGIC_CODE, MAGIC_POSITION, MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordCheck,
    RecordRules, RecordView, check_record,
};

use super::{DoctorError, StoreDir, StoreFile};

/// How much is read at once; a larger record is read as a whole.
const WINDOW_BYTES: usize = 4 << 20;

/// Reads a CommitLog without holding more of it than a window.
pub(super) struct LogReader<'a> {
    dir: &'a StoreDir,
    files: Vec<LogFile>,
    window: Window,
    /// Bytes read since they were last asked for.
    read: u64,
}

/// A file of the log.
#[derive(Clone, Debug)]
pub(super) struct LogFile {
    pub(super) file: StoreFile,
    /// Physical offset of its first byte.
    pub(super) from: u64,
}

impl LogFile {
    /// Physical offset behind its last byte.
    pub(super) fn end(&self) -> u64 {
        self.from + self.file.len
    }
}

#[derive(Default)]
struct Window {
    /// Physical offset of the first byte.
    from: u64,
    bytes: Vec<u8>,
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
    pub(super) fn open(dir: &'a StoreDir) -> Result<Self, DoctorError> {
        let file = |file: StoreFile| Some(LogFile { from: file.offset()?, file });
        let files = dir.files("commitlog")?.into_iter().filter_map(file).collect();
        Ok(LogReader { dir, files, window: Window::default(), read: 0 })
    }

    pub(super) fn files(&self) -> &[LogFile] {
        &self.files
    }

    /// The file that holds `phy_offset`.
    pub(super) fn file_of(&self, phy_offset: u64) -> Option<&LogFile> {
        self.files.iter().find(|file| (file.from..file.end()).contains(&phy_offset))
    }

    /// Bytes read since the last call.
    pub(super) fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }

    /// What is at `phy_offset` of `file`, by `rules`.
    pub(super) fn look(
        &mut self,
        file: &LogFile,
        phy_offset: u64,
        rules: &RecordRules,
    ) -> Result<Found<'_>, DoctorError> {
        let rest = file.end().saturating_sub(phy_offset);
        let head = self.bytes(file, phy_offset, 8)?;
        let (Some(size), Some(magic)) = (i32_at(head, 0), i32_at(head, MAGIC_POSITION)) else {
            return Ok(Found::FileEnd);
        };
        let is_record = magic == MESSAGE_MAGIC_CODE || magic == MESSAGE_MAGIC_CODE_V2;
        let wanted = u64::try_from(size).ok().filter(|size| is_record && *size <= rest);
        let bytes = self.bytes(file, phy_offset, wanted.unwrap_or(8) as usize)?;
        Ok(match check_record(bytes, rules) {
            RecordCheck::Valid(record) => Found::Record(record),
            RecordCheck::Blank { size } => Found::Blank { size },
            RecordCheck::Zeros => Found::Bad { size, magic, reason: "no record".to_owned() },
            RecordCheck::Torn(reason) => Found::Bad { size, magic, reason: reason.to_string() },
        })
    }

    /// The first sound record at or behind `from`, wherever files end.
    pub(super) fn next_record(&mut self, from: u64) -> Result<Option<u64>, DoctorError> {
        for file in self.files.clone().iter().filter(|file| file.end() > from) {
            let mut at = from.max(file.from);
            while at < file.end() {
                let bytes = self.bytes(file, at, PAGE_SIZE)?;
                let candidate = record_magic(bytes);
                let len = bytes.len() as u64;
                let Some(candidate) = candidate else {
                    // The magic of a record may lie across the end of what was looked at.
                    at += if len > 7 { len - 7 } else { len };
                    continue;
                };
                at += candidate as u64;
                let rules = RecordRules::strict(at as i64);
                if matches!(self.look(file, at, &rules)?, Found::Record(_)) {
                    return Ok(Some(at));
                }
                at += 1;
            }
        }
        Ok(None)
    }

    /// Offset behind the last byte of `file` from `from` on that is not zero, if there is one.
    pub(super) fn non_zero_end(
        &mut self,
        file: &LogFile,
        from: u64,
    ) -> Result<Option<u64>, DoctorError> {
        let (mut end, mut at) = (None, from);
        while at < file.end() {
            let bytes = self.bytes(file, at, PAGE_SIZE)?;
            let last = bytes.iter().rposition(|byte| *byte != 0);
            end = last.map(|last| at + last as u64 + 1).or(end);
            at += bytes.len() as u64;
        }
        Ok(end)
    }

    /// What the window has from `phy_offset` on: at least `len` bytes, unless the file ends before.
    fn bytes(&mut self, file: &LogFile, phy_offset: u64, len: usize) -> Result<&[u8], DoctorError> {
        let end = file.end().min(phy_offset.saturating_add(len as u64));
        let window_end = self.window.from + self.window.bytes.len() as u64;
        if phy_offset < self.window.from || end > window_end || phy_offset < file.from {
            let wanted = len.max(WINDOW_BYTES).min(file.end().saturating_sub(phy_offset) as usize);
            let read = self.dir.disk.read_at(&file.file.path, phy_offset - file.from, wanted);
            let bytes = read.map_err(DoctorError::io(&file.file.path))?;
            self.read += bytes.len() as u64;
            self.window = Window { from: phy_offset, bytes };
        }
        let start = (phy_offset - self.window.from) as usize;
        let end = self.window.bytes.len().min(start + (file.end() - phy_offset) as usize);
        Ok(self.window.bytes.get(start..end).unwrap_or_default())
    }
}

/// Whether a magic is the one that ends a file.
pub(super) fn is_blank(magic: i32) -> bool {
    magic == BLANK_MAGIC_CODE
}

/// Where the first magic of a record is among `bytes`; the record's position.
fn record_magic(bytes: &[u8]) -> Option<usize> {
    let (one, two) = (MESSAGE_MAGIC_CODE.to_be_bytes(), MESSAGE_MAGIC_CODE_V2.to_be_bytes());
    let magics = bytes.get(MAGIC_POSITION..)?;
    magics.windows(4).position(|window| window[0] == one[0] && (window == one || window == two))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
