//! The put path: encoded records go behind the log's end.
//!
//! Under the put lock the records get their store time, their offsets and their places in the
//! queue, and are copied into the file in one piece. Queue offsets are counted only once that
//! succeeded, so a refused message leaves no hole.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mq_env::probe::Event;
use mq_mapped_file::MappedFile;
use mq_protocol::message_codec::{END_FILE_MIN_BLANK_BYTES, assign_positions, encode_blank};
use mq_protocol::sys_flag::MessageSysFlag;
use mq_protocol::topic_deletion::says_deletion;

use super::{CommitLog, PutState};
use crate::message_inner::MessageInner;
use crate::plant::Plant;
use crate::put_result::{AppendMessageResult, PutMessageStatus};
use crate::record::{EncodedRecords, uniq_key};

impl CommitLog {
    /// Appends the records of one queue, all or none, behind one another in one file.
    ///
    /// # Errors
    /// The status of a put that stored nothing.
    pub(crate) fn append(
        &self,
        message: &MessageInner,
        records: &mut EncodedRecords,
    ) -> Result<AppendMessageResult, PutMessageStatus> {
        let mut put = self.lock_put();
        if !self.role.is_master() {
            return Err(PutMessageStatus::ServiceNotAvailable);
        }
        let PutState { table, last } = &mut *put;
        let store_timestamp_ms = self.env.clock.now_millis();
        let _timer = PutLockTimer::start(self, store_timestamp_ms);
        let in_queue = counts_in_queue(message.sys_flag);
        let queue_offset = if in_queue { table.next(&message.topic, message.queue_id) } else { 0 };
        let too_early = self.config.planted(Plant::QueueOffsetBeforeAppend);
        if in_queue && too_early {
            table.advance(&message.topic, message.queue_id, records.count() as u64);
        }
        assert!(!records.bytes().is_empty(), "what is put are records");
        let file = self.file_with_room(last, records.bytes().len())?;
        let appended = place(records, file, queue_offset, store_timestamp_ms);
        self.assert_place(file, &appended);
        if file.append(records.bytes()).is_none() {
            return Err(PutMessageStatus::UnknownError);
        }
        file.set_store_timestamp_ms(store_timestamp_ms);
        if in_queue && !too_early {
            table.advance(&message.topic, message.queue_id, records.count() as u64);
        }
        if in_queue {
            let next = table.next(&message.topic, message.queue_id);
            assert_eq!(next, queue_offset + records.count() as u64, "queue offsets are dense");
        }
        if says_deletion(message.sys_flag, &message.properties) {
            table.forget(&message.topic);
        }
        self.report_appended(message, records, &appended);
        self.publish_appended(file, appended.end_offset());
        Ok(appended)
    }

    /// New records go right behind the log's end, which only ends before what waits for a commit, and into
    /// one file, with room behind for a blank.
    fn assert_place(&self, file: &MappedFile, appended: &AppendMessageResult) {
        let (max, start, end) = (self.max_offset(), appended.phy_offset, appended.end_offset());
        assert!(start >= max, "a record at {start} would overwrite what ends at {max}");
        assert!(start == max || self.transient.is_some(), "a gap between {max} and {start}");
        assert!(
            end + END_FILE_MIN_BLANK_BYTES as u64 <= file.file_end_offset(),
            "a record up to {end} leaves its file no room for a blank"
        );
    }

    /// For how long the put lock has been held, in milliseconds; 0 if nobody holds it (RocketMQ 4.9 `lockTimeMills`).
    #[must_use]
    pub fn lock_time_ms(&self) -> u64 {
        match self.put_side.locked_since_ms.load(Ordering::Acquire) {
            0 => 0,
            since => self.env.clock.now_millis().saturating_sub(since),
        }
    }

    /// Whether a put has held the lock for longer than `osPageCacheBusyTimeOutMills`.
    #[must_use]
    pub fn is_os_page_cache_busy(&self) -> bool {
        self.lock_time_ms() > self.config.os_page_cache_busy_timeout_ms
    }

    /// The last file if `len` bytes and a blank fit, else the next one.
    fn file_with_room<'a>(
        &self,
        last: &'a mut Option<Arc<MappedFile>>,
        len: usize,
    ) -> Result<&'a MappedFile, PutMessageStatus> {
        let needed = len + END_FILE_MIN_BLANK_BYTES;
        if needed > self.queue.file_size() {
            tracing::error!(len, "a record does not fit into a CommitLog file");
            return Err(PutMessageStatus::UnknownError);
        }
        let file = self.last_or_create(last)?;
        let room = file.file_size() - file.wrote_position();
        if needed > room {
            let mut blank = [0; END_FILE_MIN_BLANK_BYTES];
            if room < blank.len() {
                tracing::error!(room, "the log's last record leaves no room for a blank");
                return Err(PutMessageStatus::UnknownError);
            }
            encode_blank(room, &mut &mut blank[..]);
            file.append_to_end(&blank);
            assert!(file.is_full(), "a blank fills its file");
            self.publish_appended(file, file.file_end_offset());
        }
        self.last_or_create(last)
    }

    fn last_or_create<'a>(
        &self,
        last: &'a mut Option<Arc<MappedFile>>,
    ) -> Result<&'a MappedFile, PutMessageStatus> {
        let file = match last.take() {
            Some(file) if !file.is_full() => file,
            _ => {
                self.ready_pool()?;
                self.queue.last_or_create(0).map_err(|error| {
                    tracing::error!(%error, "the next CommitLog file cannot be created");
                    PutMessageStatus::CreateMappedFileFailed
                })?
            }
        };
        assert!(!file.is_full(), "who appends has a file with room");
        if file.wrote_position() == 0 {
            self.rolled.notify_one();
        }
        Ok(last.insert(file))
    }

    fn report_appended(
        &self,
        message: &MessageInner,
        records: &mut EncodedRecords,
        appended: &AppendMessageResult,
    ) {
        if !self.env.probe.is_listening() {
            return;
        }
        let mut at = appended.phy_offset;
        records.for_each(|index, record| {
            self.env.probe.emit(&Event::Appended {
                phy_offset: at,
                size_bytes: record.len() as u32,
                topic: &message.topic,
                queue_id: message.queue_id,
                queue_offset: appended.queue_offset + index as u64,
                uniq_key: uniq_key(record),
            });
            at += record.len() as u64;
        });
    }
}

/// Gives the records their offsets and store time.
fn place(
    records: &mut EncodedRecords,
    file: &MappedFile,
    queue_offset: u64,
    store_timestamp_ms: u64,
) -> AppendMessageResult {
    let phy_offset = file.file_from_offset() + file.wrote_position() as u64;
    let mut batch_phy_offsets = Vec::new();
    let is_batch = records.is_batch();
    let mut at = phy_offset;
    records.for_each(|index, record| {
        let queue_offset = queue_offset + index as u64;
        assign_positions(record, queue_offset as i64, at as i64, store_timestamp_ms as i64);
        if is_batch {
            batch_phy_offsets.push(at);
        }
        at += record.len() as u64;
    });
    assert_eq!(at, phy_offset + records.bytes().len() as u64, "records lie behind one another");
    assert!(!is_batch || batch_phy_offsets.len() == records.count(), "each has its offset");
    AppendMessageResult {
        phy_offset,
        wrote_bytes: records.bytes().len() as u32,
        store_timestamp_ms,
        queue_offset,
        batch_phy_offsets,
    }
}

/// Prepared and rolled-back transaction records are in no queue and take no queue offset.
pub(crate) fn counts_in_queue(sys_flag: i32) -> bool {
    matches!(
        MessageSysFlag::transaction_type(sys_flag),
        MessageSysFlag::TRANSACTION_NOT | MessageSysFlag::TRANSACTION_COMMIT
    )
}

/// Says since when the put lock is held. Dropping it ends that on every path, panics included.
struct PutLockTimer<'a>(&'a CommitLog);

impl<'a> PutLockTimer<'a> {
    fn start(log: &'a CommitLog, now_ms: u64) -> Self {
        assert_eq!(log.put_side.locked_since_ms.load(Ordering::Relaxed), 0, "one at a time");
        log.put_side.locked_since_ms.store(now_ms, Ordering::Release);
        PutLockTimer(log)
    }
}

impl Drop for PutLockTimer<'_> {
    fn drop(&mut self) {
        self.0.put_side.locked_since_ms.store(0, Ordering::Release);
    }
}
