//! What replication needs of the log: raw appends, comparison, record boundaries, copies.

use std::ops::Range;
use std::path::Path;

use mq_env::disk::replaced_file::create_dir;
use mq_mapped_file::file_name;
use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};

use super::CommitLog;
use crate::error::StoreError;

impl CommitLog {
    /// Appends bytes of the master's log, which may be any piece of it within one file. Into an
    /// empty log they may go at any offset, else only at the end. They are readable at once and
    /// durable once [`CommitLog::watch_flushed_offset`] passes them (RocketMQ 4.9
    /// `CommitLog.appendData`): a slave has no transient store pool. One caller at a time.
    ///
    /// # Errors
    /// [`StoreError::Offset`] when the bytes do not join the log or cross a file's end,
    /// [`StoreError::Poisoned`] after a failed sync, and what creating a file says.
    pub fn append_raw(&self, phy_offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        let _put = self.lock_put();
        assert!(self.role.is_slave(), "a master's log has nothing but what is put");
        let is_empty = self.queue.is_empty();
        let end = self.max_offset();
        if !is_empty && phy_offset != end {
            let what =
                format!("bytes for offset {phy_offset} do not join a log that ends at {end}");
            return Err(StoreError::Offset { what });
        }
        assert!(self.flushed_offset() <= end, "what arrives lies behind what is synced");
        let file = self.queue.last_or_create(phy_offset).map_err(StoreError::io("append"))?;
        if is_empty {
            file.set_positions(self.queue.position(phy_offset));
            self.max_offset.advance_to(phy_offset);
            self.set_flushed(phy_offset);
        }
        if file.append(bytes).is_none() {
            let what = format!("{} bytes at {phy_offset} cross the file's end", bytes.len());
            return Err(StoreError::Offset { what });
        }
        let end = phy_offset + bytes.len() as u64;
        assert!(!file.has_write_buffer(), "a slave has no transient store pool");
        assert!(end <= file.file_end_offset(), "a slice lies in one file");
        assert_eq!(end, self.queue.max_offset(), "a slice joins the log");
        self.ahead_trigger.appended(end);
        // Where there is a pool whoever looks for a record commits, and must not publish an earlier end.
        self.without_commits(|| self.publish_max(end));
        if phy_offset == file.file_from_offset() {
            self.rolled.notify_one();
        }
        Ok(())
    }

    /// CRC-32 of the log's bytes in `range`; nothing unless all of them are readable.
    #[must_use]
    pub fn crc_of(&self, range: Range<u64>) -> Option<u32> {
        let mut hasher = crc32fast::Hasher::new();
        let mut at = range.start;
        while at < range.end {
            let piece = self.data(at)?.truncated((range.end - at) as usize);
            assert!(
                !piece.is_empty() && at + piece.len() as u64 <= range.end,
                "a piece of {range:?}"
            );
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        Some(hasher.finalize())
    }

    /// The largest offset at or below `phy_offset` where a record starts or could start; nothing
    /// below the log's start and beyond its end.
    #[must_use]
    pub fn record_boundary_at_or_below(&self, phy_offset: u64) -> Option<u64> {
        let (min, max) = (self.min_offset(), self.max_offset());
        if phy_offset == min {
            return Some(min);
        }
        // The end itself has no byte, and on a slave it may lie within a record.
        let inside = if phy_offset == max { max - 1 } else { phy_offset };
        let boundary = (min..max)
            .contains(&inside)
            .then(|| self.boundary_in_file(inside, phy_offset))
            .flatten();
        let is_at_or_below = |at: u64| (min..=phy_offset).contains(&at);
        assert!(
            boundary.is_none_or(is_at_or_below),
            "{boundary:?} is asked for at or below {phy_offset}"
        );
        boundary
    }

    /// Copies the log's bytes in `range` into files under `dir`, one per CommitLog file and named by
    /// the offset of their first byte, durably.
    ///
    /// # Errors
    /// [`StoreError::Offset`] when not all of the range is readable, and what the disk says.
    pub async fn copy_out(&self, range: Range<u64>, dir: &Path) -> Result<(), StoreError> {
        let disk = &*self.env.disk;
        let what = || format!("copy of {range:?} to {}", dir.display());
        let parents = create_dir(disk, dir).map_err(StoreError::io(what()))?;
        let mut at = range.start;
        while at < range.end {
            let piece = self.data(at).map(|data| data.truncated((range.end - at) as usize));
            let Some(piece) = piece else {
                return Err(StoreError::Offset { what: format!("no data at {at}") });
            };
            assert!(
                !piece.is_empty() && at + piece.len() as u64 <= range.end,
                "a piece of {range:?}"
            );
            let path = dir.join(file_name(at));
            let region = disk.map(&path, piece.len()).map_err(StoreError::io(what()))?;
            region.write(0, &piece);
            disk.flush(&region, 0..piece.len()).await.map_err(StoreError::io(what()))?;
            disk.sync(&path).await.map_err(StoreError::io(what()))?;
            at += piece.len() as u64;
        }
        disk.sync(dir).await.map_err(StoreError::io(what()))?;
        for parent in parents {
            disk.sync(&parent).await.map_err(StoreError::io(what()))?;
        }
        Ok(())
    }

    /// Walks the file that contains `inside` up to `limit`.
    fn boundary_in_file(&self, inside: u64, limit: u64) -> Option<u64> {
        let start = self.file_start(inside);
        let bytes = self.data(start)?;
        let rules = RecordRules::upstream(false);
        let mut position = 0;
        loop {
            let boundary = start + position as u64;
            if boundary == limit {
                return Some(boundary);
            }
            let next = match check_record(&bytes[position..], &rules) {
                RecordCheck::Valid(record) => boundary + record.size() as u64,
                RecordCheck::Blank { .. } => self.roll_next_file(start),
                RecordCheck::Zeros | RecordCheck::Torn(_) => return Some(boundary),
            };
            assert!(next > boundary, "a record at {boundary} ends at {next}");
            if next > limit {
                return Some(boundary);
            }
            position = (next - start) as usize;
        }
    }
}
