//! The log of DLedger mode (`dledger-*`), entry by entry.

use std::io::Write;
use std::path::{Path, PathBuf};

use mq_protocol::dledger_entry::{
    ENTRY_BLANK_MAGIC, ENTRY_HEADER_BYTES, ENTRY_MAGIC, EntryHead, INDEX_RECORD_BYTES, IndexRecord,
    body_trouble,
};
use mq_protocol::message_codec::{RecordView, body_crc, decode_record};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dump::{line, written};
use super::entry_index::INDEX_WINDOW_BYTES;
use super::lines::{RecordLine, hex};
use super::log_reader::LogReader;
use super::{DoctorError, Progress, StoreDir, StoreFile};
use crate::big_endian::i32_at;
use crate::commit_log::log_bytes::LogBytes as _;

/// The header of an entry, with the record behind it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryLine<'a> {
    pos: u64,
    magic: i32,
    size: i32,
    index: i64,
    term: i64,
    pos_field: i64,
    channel: i32,
    chain_crc: i32,
    body_crc: i32,
    body_len: i32,
    record: Option<RecordLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
}

/// What is at a position of a data file.
pub(super) enum Entry<'a> {
    /// An entry, header included.
    Whole(&'a [u8]),
    /// The blank that ends the file, or something else.
    Other { magic: i32, size: i32 },
    /// Too few bytes are left for a magic and a size.
    FileEnd,
}

impl StoreDir {
    /// The directories of DLedger logs, by name.
    pub(super) fn dledger_dirs(&self) -> Result<Vec<StoreFile>, DoctorError> {
        let mut entries = self.entries(&self.root)?;
        entries.retain(|entry| entry.is_dir && is_dledger(&entry.name));
        Ok(entries)
    }

    /// Where the entries of the node `name` are: beside its other files, unless the configuration of that node says
    /// otherwise (`storePathDLedgerCommitLog`).
    pub(super) fn entries_dir(&self, name: &str) -> PathBuf {
        let dledger = self.config.dledger.as_ref().filter(|dledger| dledger.dir_name() == name);
        let elsewhere = dledger.and_then(|dledger| dledger.store_path.clone());
        elsewhere.unwrap_or_else(|| self.root.join(data_dir(name)))
    }

    /// What that is called in findings: its place in the root, or the path elsewhere.
    pub(super) fn entries_place(&self, name: &str) -> String {
        let dir = self.entries_dir(name);
        dir.strip_prefix(&self.root).unwrap_or(&dir).display().to_string()
    }

    /// Whether an entry of a node's directory holds entries, or their index.
    pub(super) fn is_entries(&self, entry: &StoreFile) -> bool {
        let node = entry.path.parent().filter(|dir| dir.parent() == Some(&self.root));
        let is_in_node =
            node.and_then(Path::file_name).is_some_and(|name| is_dledger(&name.to_string_lossy()));
        entry.is_dir && is_in_node && ["data", "index"].contains(&entry.name.as_str())
    }

    /// Writes a line for every entry and blank of the log, one of its index, one of its small files.
    /// Returns the counts.
    pub(super) fn dump_dledger(
        &self,
        name: &str,
        out: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<Value, DoctorError> {
        let (mut entries, mut blanks) = (0_u64, 0_u64);
        self.for_each_dledger_entry(name, progress, &mut |pos, entry| match entry {
            Entry::Whole(bytes) => {
                entries += 1;
                dump_entry(out, pos, bytes)
            }
            Entry::Other { magic: ENTRY_BLANK_MAGIC, size } => {
                blanks += 1;
                let magic = ENTRY_BLANK_MAGIC;
                line(out, &json!({ "pos": pos, "blank": true, "magic": magic, "size": size }))
            }
            Entry::Other { magic, size } => {
                line(out, &json!({ "pos": pos, "end": true, "magic": magic, "size": size }))
            }
            Entry::FileEnd => Ok(()),
        })?;
        let index_records = self.dump_dledger_index(name, out)?;
        let mut texts = Map::new();
        for file in ["currterm", "checkpoint"] {
            if let Ok(text) = self.disk.read(&self.root.join(name).join(file)) {
                texts.insert(file.to_owned(), String::from_utf8_lossy(&text).into());
            }
        }
        line(out, &texts)?;
        out.flush().map_err(written)?;
        Ok(json!({ "entries": entries, "blanks": blanks, "indexRecords": index_records }))
    }

    /// Shows what is in every data file, up to its first position without an entry.
    pub(super) fn for_each_dledger_entry(
        &self,
        name: &str,
        progress: Progress<'_>,
        visit: &mut dyn FnMut(u64, Entry<'_>) -> Result<(), DoctorError>,
    ) -> Result<(), DoctorError> {
        let mut log = LogReader::open(self, &self.entries_dir(name), progress)?;
        for file in log.files().to_vec() {
            let mut pos = file.start;
            loop {
                let rest = file.end - pos;
                let head = if rest > 0 { log.bytes(pos, ENTRY_HEADER_BYTES)? } else { &[] };
                let (Some(magic), Some(size)) = (i32_at(head, 0), i32_at(head, 4)) else {
                    visit(pos, Entry::FileEnd)?;
                    break;
                };
                let whole = usize::try_from(size)
                    .ok()
                    .filter(|size| magic == ENTRY_MAGIC && *size >= ENTRY_HEADER_BYTES)
                    .filter(|size| *size as u64 <= rest);
                let Some(whole) = whole else {
                    visit(pos, Entry::Other { magic, size })?;
                    break;
                };
                visit(pos, Entry::Whole(&log.bytes(pos, whole)?[..whole]))?;
                pos += whole as u64;
                assert!(pos <= file.end, "an entry lies in its file: {pos}");
            }
        }
        Ok(())
    }

    /// One line: magic, position, size, index and term of every index record.
    fn dump_dledger_index(&self, name: &str, out: &mut dyn Write) -> Result<u64, DoctorError> {
        out.write_all(b"{\"indexRecords\":[").map_err(written)?;
        let mut count = 0_u64;
        for file in self.files(&Path::new(name).join("index"))? {
            let mut at = 0;
            'file: while at < file.len {
                let bytes = self.disk.read_at(&file.path, at, INDEX_WINDOW_BYTES);
                let bytes = bytes.map_err(DoctorError::io(&file.path))?;
                for record in bytes.chunks(INDEX_RECORD_BYTES) {
                    let Some(record) = IndexRecord::decode(record) else { break 'file };
                    let IndexRecord { magic, pos, size, index, term } = record;
                    let comma = if count == 0 { "" } else { "," };
                    write!(out, "{comma}[{magic},{pos},{size},{index},{term}]").map_err(written)?;
                    count += 1;
                }
                at += INDEX_WINDOW_BYTES as u64;
            }
        }
        out.write_all(b"]}\n").map_err(written)?;
        Ok(count)
    }
}

pub(super) use crate::preflight::is_dledger;

/// Where the entries of a DLedger log usually are, below the root.
pub(super) fn data_dir(name: &str) -> PathBuf {
    Path::new(name).join("data")
}

/// What is wrong with what an entry at `at` holds.
pub(super) fn holds_trouble(entry: &EntryHead, at: u64, body: &[u8]) -> Option<String> {
    // Up to DLedger 0.3 nobody sets it.
    if entry.body_crc != 0 && entry.body_crc != body_crc(body) {
        return Some("the body of the entry does not match the entry's CRC".to_owned());
    }
    body_trouble(body, Some((at + ENTRY_HEADER_BYTES as u64) as i64))
}

/// The record of an entry.
pub(super) fn entry_record(entry: &[u8]) -> Option<RecordView<'_>> {
    decode_record(&entry[ENTRY_HEADER_BYTES..]).ok()
}

fn dump_entry(out: &mut dyn Write, pos: u64, entry: &[u8]) -> Result<(), DoctorError> {
    let Some(head) = EntryHead::decode(entry) else { return Ok(()) };
    let body = &entry[ENTRY_HEADER_BYTES..];
    let record = entry_record(entry);
    let (topic, properties) = record.map(|it| (it.topic(), it.properties())).unwrap_or_default();
    let at = pos + ENTRY_HEADER_BYTES as u64;
    let entry = EntryLine {
        pos,
        magic: ENTRY_MAGIC,
        size: head.size,
        index: head.index,
        term: head.term,
        pos_field: head.pos,
        channel: head.channel,
        chain_crc: head.chain_crc,
        body_crc: head.body_crc,
        body_len: head.body_len,
        record: record.map(|record| RecordLine::new(&record, at, &topic, &properties)),
        body_hex: record.is_none().then(|| hex(body)),
    };
    line(out, &entry)
}
