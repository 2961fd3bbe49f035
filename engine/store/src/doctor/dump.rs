//! `dump`: everything that a store holds, as JSON lines.
//!
//! `commitlog.jsonl` has a line for every record, blank and end of a walk; `consumequeue.jsonl` and
//! `index.jsonl` one for every file; `dledger-*.jsonl` one for every entry of a DLedger log; `store.json`
//! files, checkpoint and configuration.

use std::io::{self, Write};
use std::path::Path;

use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};
use mq_protocol::message_codec::{BLANK_MAGIC_CODE, RecordRules};
use serde_json::{Map, Value, json};

use super::index_reader::IndexReader;
use super::lines::{BlankLine, EndLine, IndexLine, QueueLine, RecordLine};
use super::log_reader::{Found, LogReader};
use super::{DoctorError, Progress, StoreDir, StoreFile};
use crate::checkpoint::CheckpointTimes;
use crate::commit_log::log_bytes::LogBytes as _;

/// Opens the file of a dump by its name.
pub type DumpFiles<'a> = &'a mut dyn FnMut(&str) -> Result<Box<dyn Write>, DoctorError>;

impl StoreDir {
    /// Writes the four files of a dump, and one for every DLedger log.
    ///
    /// # Errors
    /// What disk and files say.
    pub fn dump(&self, files: DumpFiles<'_>, progress: Progress<'_>) -> Result<(), DoctorError> {
        let mut counts = Map::new();
        let mut out = files("commitlog.jsonl")?;
        counts.insert("commitlog".to_owned(), self.dump_log(&mut *out, &mut *progress)?);
        let mut out = files("consumequeue.jsonl")?;
        counts.insert("consumequeue".to_owned(), self.dump_queues(&mut *out)?);
        let mut out = files("index.jsonl")?;
        counts.insert("index".to_owned(), self.dump_index(&mut *out)?);
        for StoreFile { name, .. } in self.dledger_dirs()? {
            let mut out = files(&format!("{name}.jsonl"))?;
            let count = self.dump_dledger(&name, &mut *out, &mut *progress)?;
            counts.insert(name, count);
        }
        let mut store = self.store_json()?;
        store.insert("counts".to_owned(), Value::Object(counts));
        let mut out = files("store.json")?;
        serde_json::to_writer_pretty(&mut out, &store).map_err(|error| written(error.into()))?;
        out.write_all(b"\n").and_then(|()| out.flush()).map_err(written)
    }

    fn dump_log(&self, out: &mut dyn Write, progress: Progress<'_>) -> Result<Value, DoctorError> {
        let mut log = LogReader::open(self, &self.log_dir, progress)?;
        let (mut messages, mut blanks) = (0_u64, 0_u64);
        for file in log.files().to_vec() {
            let mut at = file.start;
            loop {
                match log.look(&file, at, &RecordRules::upstream(false))? {
                    Found::Record(record) => {
                        let (topic, properties) = (record.topic(), record.properties());
                        let size = record.size() as u64;
                        line(out, &RecordLine::new(&record, at, &topic, &properties))?;
                        messages += 1;
                        at += size;
                    }
                    Found::FileEnd => break,
                    Found::Blank { size } => {
                        let rest_is_zero = log.non_zero_end(&file, at + 8)?.is_none();
                        let magic = format!("{BLANK_MAGIC_CODE:08x}");
                        let blank = true;
                        line(out, &BlankLine { phy_offset: at, blank, size, magic, rest_is_zero })?;
                        blanks += 1;
                        break;
                    }
                    Found::Bad { size, magic, .. } => {
                        let non_zero_bytes_up_to = log.non_zero_end(&file, at)?;
                        let (end, magic) = (true, format!("{magic:08x}"));
                        let end =
                            EndLine { phy_offset: at, end, size, magic, non_zero_bytes_up_to };
                        line(out, &end)?;
                        break;
                    }
                }
            }
        }
        out.flush().map_err(written)?;
        Ok(json!({ "messages": messages, "blanks": blanks }))
    }

    fn dump_queues(&self, out: &mut dyn Write) -> Result<Value, DoctorError> {
        let (mut queues, mut all_units) = (0_u64, 0_u64);
        for queue in self.queues()? {
            queues += 1;
            for file in &queue.files {
                let Some(from) = file.offset() else { continue };
                let bytes = self.disk.read(&file.path).map_err(DoctorError::io(&file.path))?;
                let units: Vec<_> = bytes
                    .chunks_exact(CQ_STORE_UNIT_BYTES)
                    .filter_map(ConsumeQueueUnit::decode)
                    .map(|unit| (unit.phy_offset, unit.size, unit.tags_code))
                    .collect();
                let used = units.iter().rposition(|unit| *unit != (0, 0, 0)).map_or(0, |it| it + 1);
                all_units += used as u64;
                let queue_line = QueueLine {
                    topic: &queue.topic,
                    queue_id: queue.queue_id,
                    file: &file.name,
                    first_unit: from / CQ_STORE_UNIT_BYTES as u64,
                    units: &units[..used],
                };
                line(out, &queue_line)?;
            }
        }
        out.flush().map_err(written)?;
        Ok(json!({ "queues": queues, "units": all_units }))
    }

    fn dump_index(&self, out: &mut dyn Write) -> Result<Value, DoctorError> {
        let (mut files, mut entries) = (0_u64, 0_u64);
        for file in self.files(Path::new("index"))? {
            let hash_slot_num = self.config.index_layout().hash_slot_num;
            let Some(mut reader) = IndexReader::open(self, file.clone(), hash_slot_num)? else {
                line(out, &json!({ "file": file.name, "short": file.len }))?;
                continue;
            };
            files += 1;
            entries += reader.entries() as u64;
            self.dump_index_file(&mut reader, out)?;
        }
        out.flush().map_err(written)?;
        Ok(json!({ "files": files, "entries": entries }))
    }

    /// One line, entry by entry: a file may hold twenty million.
    fn dump_index_file(
        &self,
        reader: &mut IndexReader,
        out: &mut dyn Write,
    ) -> Result<(), DoctorError> {
        let header = reader.header;
        let front = IndexLine {
            file: &reader.file.name,
            begin_timestamp: header.begin_timestamp,
            end_timestamp: header.end_timestamp,
            begin_phy_offset: header.begin_phy_offset,
            end_phy_offset: header.end_phy_offset,
            hash_slot_count: header.hash_slot_count,
            // As the file has it: Java writes the count with the first entry.
            index_count: if header.index_count <= 1 { 0 } else { header.index_count },
        };
        let front = serde_json::to_string(&front).map_err(|error| written(error.into()))?;
        write!(out, "{},\"slots\":[", front.trim_end_matches('}')).map_err(written)?;
        let slots = reader.slots(self)?;
        let used = slots.iter().enumerate().filter(|(_, newest)| **newest != 0);
        for (index, (slot, newest)) in used.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}[{slot},{newest}]").map_err(written)?;
        }
        out.write_all(b"],\"entries\":[").map_err(written)?;
        for number in 1..=reader.entries() {
            let Some(entry) = reader.entry(self, number)? else { break };
            let comma = if number == 1 { "" } else { "," };
            let slot = reader.layout().slot_of(entry.key_hash);
            let crate::index_layout::IndexEntry { key_hash, phy_offset, time_diff, prev } = entry;
            write!(out, "{comma}[{number},{slot},{key_hash},{phy_offset},{time_diff},{prev}]")
                .map_err(written)?;
        }
        out.write_all(b"]}\n").map_err(written)
    }

    fn store_json(&self) -> Result<Map<String, Value>, DoctorError> {
        let mut files = Vec::new();
        self.list_files(&self.root, "", &mut files)?;
        if !self.log_dir.starts_with(&self.root) {
            self.list_files(&self.log_dir, &format!("{}/", self.log_place()), &mut files)?;
        }
        let mut config = Map::new();
        for file in self.files(Path::new("config"))? {
            let text = self.disk.read(&file.path).map_err(DoctorError::io(&file.path))?;
            config.insert(file.name, String::from_utf8_lossy(&text).into_owned().into());
        }
        let mut store = Map::new();
        store.insert("files".to_owned(), files.into());
        store.insert("abort".to_owned(), self.has("abort").into());
        store.insert("lock".to_owned(), self.has("lock").into());
        store.insert("checkpoint".to_owned(), json!(self.checkpoint()?));
        store.insert("config".to_owned(), config.into());
        Ok(store)
    }

    fn list_files(
        &self,
        dir: &Path,
        below: &str,
        files: &mut Vec<Value>,
    ) -> Result<(), DoctorError> {
        for entry in self.entries(dir)? {
            let path = format!("{below}{}", entry.name);
            if !entry.is_dir {
                let stat = self.disk.stat(&entry.path).map_err(DoctorError::io(&entry.path))?;
                let (size, modified) = (entry.len, stat.modified_ms);
                files.push(json!({ "path": path, "size": size, "mtimeMs": modified }));
                continue;
            }
            let path = path + "/";
            if self.entries(&entry.path)?.is_empty() {
                files.push(json!({ "path": path, "size": null, "mtimeMs": null }));
            }
            self.list_files(&entry.path, &path, files)?;
        }
        Ok(())
    }

    /// The times of the checkpoint, if there is one.
    pub(super) fn checkpoint(&self) -> Result<Option<CheckpointTimes>, DoctorError> {
        let path = self.root.join("checkpoint");
        match self.disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(CheckpointTimes::decode(&other.map_err(DoctorError::io(&path))?)),
        }
    }
}

/// Writes `value` as a line.
pub(super) fn line(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<(), DoctorError> {
    serde_json::to_writer(&mut *out, value).map_err(|error| written(error.into()))?;
    out.write_all(b"\n").map_err(written)
}

/// Why `out` did not take what was written.
pub(super) fn written(source: io::Error) -> DoctorError {
    DoctorError::io(Path::new("dump"))(source)
}
