//! `list`: a store for people to read.

use std::io::{self, Write};
use std::path::Path;

use mq_mapped_file::file_name;
use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::{RecordRules, RecordView};

use super::dledger::{Entry, entry_record};
use super::index_reader::IndexReader;
use super::log_reader::{Found, LogReader};
use super::unit_reader::UnitReader;
use super::{DoctorError, Progress, StoreDir};
use crate::commit_log::log_bytes::LogBytes as _;

impl StoreDir {
    /// Writes a line for every record, then queues, index files and checkpoint.
    ///
    /// # Errors
    /// What disk and `out` say.
    pub fn list(&self, out: &mut dyn Write, progress: Progress<'_>) -> Result<(), DoctorError> {
        self.list_log(out, &mut *progress)?;
        for dir in self.dledger_dirs()? {
            self.list_dledger(&dir.name, out, &mut *progress)?;
        }
        self.list_queues(out)?;
        self.list_index(out)?;
        let times = self.checkpoint()?;
        let text = times.map_or("none".to_owned(), |times| {
            let (physic, logics) = (times.physic_msg_timestamp, times.logics_msg_timestamp);
            format!("log {physic}, queues {logics}, index {}", times.index_msg_timestamp)
        });
        let end = if self.has("abort") { "not closed in order (abort)" } else { "closed in order" };
        writeln!(out, "\ncheckpoint  {text}\nstore       {end}").map_err(written)
    }

    fn list_log(&self, out: &mut dyn Write, progress: Progress<'_>) -> Result<(), DoctorError> {
        let mut log = LogReader::open(self, &self.log_dir, progress)?;
        for file in log.files().to_vec() {
            writeln!(out, "{}/{}", self.log_place(), file_name(file.start)).map_err(written)?;
            let mut at = file.start;
            loop {
                let end = match log.look(&file, at, &RecordRules::upstream(true))? {
                    Found::Record(record) => {
                        writeln!(out, "{}", record_line(&record, at)).map_err(written)?;
                        at += record.size() as u64;
                        None
                    }
                    Found::Blank { size } => Some(format!("blank, {size} bytes")),
                    Found::Bad { size, reason, .. } => {
                        // The body alone may be damaged: the walk goes on behind it.
                        let lenient = log.look(&file, at, &RecordRules::upstream(false))?;
                        match lenient {
                            Found::Record(record) => {
                                let text = record_line(&record, at);
                                writeln!(out, "{text}  DAMAGED: {reason}").map_err(written)?;
                                at += record.size() as u64;
                                None
                            }
                            _ if size == 0 => Some("end".to_owned()),
                            _ => Some(format!("end: {reason}")),
                        }
                    }
                    Found::FileEnd => Some("end of the file".to_owned()),
                };
                if let Some(end) = end {
                    writeln!(out, "{at:>12}  {end}").map_err(written)?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn list_dledger(
        &self,
        name: &str,
        out: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<(), DoctorError> {
        writeln!(out, "{name}/data").map_err(written)?;
        self.for_each_dledger_entry(name, progress, &mut |pos, entry| {
            let text = match entry {
                Entry::Whole(bytes) => match entry_record(bytes) {
                    Some(record) => record_line(&record, pos),
                    None => format!("{pos:>12}  {:>8} bytes  no record", bytes.len()),
                },
                Entry::Other { magic, size } => format!("{pos:>12}  magic {magic}, {size} bytes"),
                Entry::FileEnd => format!("{pos:>12}  end of the file"),
            };
            writeln!(out, "{text}").map_err(written)
        })
    }

    fn list_queues(&self, out: &mut dyn Write) -> Result<(), DoctorError> {
        let queues = self.queues()?;
        if !queues.is_empty() {
            writeln!(out, "\nqueue offsets, first and behind the last").map_err(written)?;
        }
        for queue in queues {
            let (topic, id) = (queue.topic.clone(), queue.queue_id);
            let (first, end) = self.queue_range(&UnitEnds::of(self, &queue))?;
            writeln!(out, "{first:>12} {end:>12}  {topic}/{id}").map_err(written)?;
        }
        Ok(())
    }

    fn queue_range(&self, ends: &UnitEnds) -> Result<(u64, u64), DoctorError> {
        let mut reader = UnitReader::new(self, ends.queue.clone());
        let mut first = ends.from;
        while first < ends.to && reader.unit(self, first)?.is_none_or(|unit| unit.size == i32::MAX)
        {
            first += 1;
        }
        let mut end = first;
        while end < ends.to && reader.unit(self, end)?.is_some() {
            end += 1;
        }
        Ok((first, end))
    }

    fn list_index(&self, out: &mut dyn Write) -> Result<(), DoctorError> {
        let hash_slot_num = self.config.index_layout().hash_slot_num;
        for (index, file) in self.files(Path::new("index"))?.into_iter().enumerate() {
            let name = file.name.clone();
            let Some(reader) = IndexReader::open(self, file, hash_slot_num)? else { continue };
            let header = reader.header;
            let gap = if index == 0 { "\n" } else { "" };
            writeln!(
                out,
                "{gap}index/{name}  {} entries, {} slots used, records {}..={}, stored {}..={}",
                reader.entries(),
                header.hash_slot_count,
                header.begin_phy_offset,
                header.end_phy_offset,
                header.begin_timestamp,
                header.end_timestamp,
            )
            .map_err(written)?;
        }
        Ok(())
    }
}

/// Queue offsets between which a queue's files reach.
struct UnitEnds {
    queue: super::QueueDir,
    from: u64,
    to: u64,
}

impl UnitEnds {
    fn of(dir: &StoreDir, queue: &super::QueueDir) -> Self {
        let unit = mq_protocol::consume_queue_unit::CQ_STORE_UNIT_BYTES as u64;
        let offsets = queue.files.iter().filter_map(|file| file.offset());
        let size = dir.shape.consume_queue_file_bytes as u64;
        let from = offsets.clone().min().unwrap_or(0) / unit;
        let to = offsets.max().map_or(0, |last| (last + size) / unit);
        UnitEnds { queue: queue.clone(), from, to }
    }
}

fn record_line(record: &RecordView<'_>, at: u64) -> String {
    let properties = record.properties();
    let properties = PropertiesView::new(&properties);
    let named = [
        ("tags", MessageConst::TAGS),
        ("keys", MessageConst::KEYS),
        ("id", MessageConst::UNIQ_KEY),
    ];
    let named = named.into_iter().filter_map(|(name, key)| Some((name, properties.get(key)?)));
    let named: String = named.map(|(name, value)| format!("  {name} {value}")).collect();
    format!(
        "{at:>12}  {:>8} bytes  {}/{} @{}  stored {}{named}",
        record.size(),
        record.topic(),
        record.queue_id(),
        record.queue_offset(),
        record.store_timestamp(),
    )
}

fn written(source: io::Error) -> DoctorError {
    DoctorError::io(Path::new("listing"))(source)
}
