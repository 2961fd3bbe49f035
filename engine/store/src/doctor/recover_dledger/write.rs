//! The files of a copied node: entries, index, `currterm` and `checkpoint`, all of them durable.

use std::path::Path;

use mq_env::disk::MappedRegion;
use mq_mapped_file::file_name;
use mq_protocol::dledger_entry::{
    ENTRY_BLANK_MAGIC, ENTRY_HEADER_BYTES, EntryHead, INDEX_FILE_BYTES, INDEX_RECORD_BYTES,
    entry_blank,
};

use super::filler::filler;
use super::mend::{Mend, Mended};
use super::{CHECKPOINT, CURR_TERM};
use crate::big_endian::i32_at;
use crate::commit_log::log_bytes::{LogBytes as _, file_of};
use crate::doctor::dledger::data_dir;
use crate::doctor::entry_claims::Claims;
use crate::doctor::log_reader::LogReader;
use crate::doctor::{DoctorError, Progress, StoreDir};

/// Index records that are written at once.
const RECORDS_AT_ONCE: usize = 1 << 12;

impl StoreDir {
    /// Writes the data files of the copy, up to the last of its entries.
    pub(super) async fn write_entries(
        &self,
        copy: &Path,
        name: &str,
        mended: &Mended,
        progress: Progress<'_>,
    ) -> Result<(), DoctorError> {
        let (from, to) = (self.entries_dir(name), copy.join(data_dir(name)));
        self.disk.create_dir_all(&to).map_err(DoctorError::io(&to))?;
        let file_bytes = self.shape.commit_log_file_bytes;
        let mut start = mended.begin;
        while start < mended.end {
            let target = to.join(file_name(start));
            let region = self.disk.map(&target, file_bytes).map_err(DoctorError::io(&target))?;
            let kept = (mended.end - start).min(file_bytes as u64) as usize;
            self.copy_bytes(&from.join(file_name(start)), &region, kept, &mut *progress)?;
            write_mends(&region, start, &mended.mends);
            let flushed = self.disk.flush(&region, 0..file_bytes).await;
            flushed.map_err(DoctorError::io(&target))?;
            start += file_bytes as u64;
        }
        self.sync_dir(&to).await
    }

    /// Writes the index of this copy, of the entries that it has.
    pub(super) async fn write_entry_index(
        &self,
        name: &str,
        mended: &Mended,
    ) -> Result<(), DoctorError> {
        let dir = self.root.join(name).join("index");
        self.disk.create_dir_all(&dir).map_err(DoctorError::io(&dir))?;
        let mut unseen = |_| {};
        let mut log = LogReader::entries(self, &self.entries_dir(name), &mut unseen)?;
        let mut records = Records { at: 0, bytes: Vec::new() };
        let mut at = mended.begin;
        while at < mended.end {
            let Some(number) = file_of(log.files(), at) else { break };
            let file_end = log.files()[number].end;
            let bytes = log.bytes(at, ENTRY_HEADER_BYTES)?;
            if i32_at(bytes, 0) == Some(ENTRY_BLANK_MAGIC) {
                at = file_end;
                continue;
            }
            let head = EntryHead::decode(bytes).filter(|head| head.pos == at as i64);
            let Some(head) = head else { unreachable!("the copy has entries up to its end") };
            if records.is_full(&head) {
                self.write_records(&dir, &mut records).await?;
            }
            records.add(&head);
            at += head.size as u64;
        }
        self.write_records(&dir, &mut records).await?;
        self.sync_dir(&dir).await
    }

    async fn write_records(&self, dir: &Path, records: &mut Records) -> Result<(), DoctorError> {
        let bytes = std::mem::take(&mut records.bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        let start = records.at - records.at % INDEX_FILE_BYTES as u64;
        let path = dir.join(file_name(start));
        let region =
            self.disk.map_sparse(&path, INDEX_FILE_BYTES).map_err(DoctorError::io(&path))?;
        let from = (records.at - start) as usize;
        let range = from..from + bytes.len();
        self.disk.reserve(&region, range.clone()).map_err(DoctorError::io(&path))?;
        region.write(from, &bytes);
        self.disk.flush(&region, range).await.map_err(DoctorError::io(&path))
    }

    /// Writes `currterm` and `checkpoint` of this copy, as Java has them, and what is ours of the checkpoint if it was there.
    pub(super) async fn write_small_files(
        &self,
        name: &str,
        mended: &Mended,
        claims: &Claims,
        curr_term: Option<&[u8]>,
    ) -> Result<(), DoctorError> {
        let dir = self.root.join(name);
        let mut files = Vec::new();
        files.extend(curr_term.map(|content| (CURR_TERM, content.to_vec())));
        if let Some(last) = &mended.last {
            let committed = committed_index(claims, last);
            let mut text = format!("committedIndex={committed}\nendIndex={}\n", last.index);
            if claims.durable_pos.is_some() {
                let first = self.first_index(name, mended)?;
                text += &format!("beginIndex={first}\ndurablePos={}\n", mended.end);
            }
            files.push((CHECKPOINT, text.into_bytes()));
        }
        for (file, content) in files {
            let path = dir.join(file);
            self.disk.write(&path, &content).map_err(DoctorError::io(&path))?;
            self.disk.sync(&path).await.map_err(DoctorError::io(&path))?;
            // What was there before is of another log.
            let backup = dir.join(format!("{file}.bak"));
            self.remove_all(&[backup])?;
        }
        self.sync_dir(&dir).await?;
        self.sync_dir(&self.root).await
    }

    /// Where the last committed entry of this copy ends.
    pub(super) fn committed_end(
        &self,
        name: &str,
        mended: &Mended,
        claims: &Claims,
    ) -> Result<u64, DoctorError> {
        let Some(last) = &mended.last else { return Ok(mended.begin) };
        let committed = committed_index(claims, last);
        if committed == last.index {
            return Ok(mended.end);
        }
        let mut index = crate::doctor::entry_index::EntryIndex::open(self, name)?;
        let record = index.record(self, committed)?;
        Ok(record.map_or(mended.begin, |record| (record.pos + i64::from(record.size)) as u64))
    }

    fn first_index(&self, name: &str, mended: &Mended) -> Result<i64, DoctorError> {
        let mut unseen = |_| {};
        let mut log = LogReader::entries(self, &self.entries_dir(name), &mut unseen)?;
        let first = EntryHead::decode(log.bytes(mended.begin, ENTRY_HEADER_BYTES)?);
        Ok(first.map_or(0, |first| first.index))
    }

    async fn sync_dir(&self, dir: &Path) -> Result<(), DoctorError> {
        self.disk.sync(dir).await.map_err(DoctorError::io(dir))
    }
}

/// What a node that has `last` may take for committed.
fn committed_index(claims: &Claims, last: &EntryHead) -> i64 {
    claims.committed_index.unwrap_or(-1).min(last.index)
}

/// Index records behind one another, of one file.
struct Records {
    /// Where in the index the first one belongs.
    at: u64,
    bytes: Vec<u8>,
}

impl Records {
    /// Whether the record of that entry has to wait.
    fn is_full(&self, head: &EntryHead) -> bool {
        let is_of_next_file = index_offset(head).is_multiple_of(INDEX_FILE_BYTES as u64);
        self.bytes.len() >= RECORDS_AT_ONCE * INDEX_RECORD_BYTES || is_of_next_file
    }

    fn add(&mut self, head: &EntryHead) {
        if self.bytes.is_empty() {
            self.at = index_offset(head);
        }
        assert_eq!(index_offset(head), self.at + self.bytes.len() as u64, "entries follow");
        self.bytes.extend_from_slice(&head.index_record().encode());
    }
}

fn index_offset(head: &EntryHead) -> u64 {
    head.index as u64 * INDEX_RECORD_BYTES as u64
}

/// Writes what of the mends is in the file that begins at `start`.
fn write_mends(region: &MappedRegion, start: u64, mends: &[Mend]) {
    let range = start..start + region.len() as u64;
    let mended = |mend: &&Mend| range.contains(&mend.at());
    for mend in mends.iter().filter(mended) {
        let at = (mend.at() - start) as usize;
        match mend {
            Mend::Header(head) => region.write(at, &head.encode()),
            Mend::Filler(head) => {
                region.write(at, &head.encode());
                let body_at = at + ENTRY_HEADER_BYTES;
                let phy_offset = head.pos + ENTRY_HEADER_BYTES as i64;
                region.write(body_at, &filler(head.body_len as usize, phy_offset));
            }
            Mend::Blank { bytes, .. } => region.write(at, &entry_blank(*bytes as usize)),
        }
    }
}

impl Mend {
    fn at(&self) -> u64 {
        match self {
            Mend::Header(head) | Mend::Filler(head) => head.pos as u64,
            Mend::Blank { at, .. } => *at,
        }
    }
}
