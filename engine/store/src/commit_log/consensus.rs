//! The CommitLog of a node of a consensus group (RocketMQ 4.9 `DLedgerCommitLog`): the group's log holds the records, each
//! behind the header of its entry, and they are readable once they are committed.
//!
//! Who keeps that log, syncs it and agrees with the others is behind [`ConsensusLog`]. Here positions follow what it says, and
//! records that are proposed get their places in queues and in the log at the moment in which they are appended.

use std::io;
use std::sync::{Arc, Mutex};

use mq_env::BoxFuture;
use mq_env::probe::Event;
use mq_env::task::TaskGroup;
use mq_mapped_file::{FlushError, MappedFileQueue, Retired};
use mq_protocol::dledger_entry::{ENTRY_BLANK_MAGIC, ENTRY_HEADER_BYTES, EntryHead};
use mq_protocol::message_codec::{
    RecordCheck, RecordRules, TornReason, assign_positions, check_record,
};
use mq_protocol::topic_deletion::says_deletion;

use super::append::counts_in_queue;
use super::{CommitLog, OldestFile, RecoveredLog};
use crate::error::StoreError;
use crate::message_inner::MessageInner;
use crate::put_result::{AppendMessageResult, PutMessageResult, PutMessageStatus};
use crate::record::{EncodedRecords, uniq_key};
use crate::recovery::RecoveryReport;
use crate::sync::lock;

/// Told of each record with its physical offset, right before it is written into the log.
pub type OnAppend = Box<dyn FnMut(&mut [u8], u64) + Send + Sync>;

/// How far a consensus log has come, as physical offsets at which entries begin or the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsensusEnds {
    /// Everything below is committed: it stays, and may be read.
    pub committed: u64,
    /// Everything below survives a power loss of this machine.
    pub durable: u64,
    /// A sync has failed: nothing more becomes durable.
    pub is_poisoned: bool,
}

/// The log that a group of stores agrees on, as one of them has it.
pub trait ConsensusLog: Send + Sync {
    /// Its data files. Nobody else writes into them.
    fn data(&self) -> &Arc<MappedFileQueue>;

    /// How far it has come.
    fn ends(&self) -> ConsensusEnds;

    /// Resolves once it has come to anything else than `seen`.
    fn moved_from(&self, seen: ConsensusEnds) -> BoxFuture<'_, ()>;

    /// Asks for records to be appended, all or none and behind one another, if this store leads the group and serves as its
    /// master. Those of one call after the other are in the log in that order. Resolves when they are committed; else to the
    /// status of a put that is not known to be stored.
    fn propose(
        &self,
        records: Vec<Vec<u8>>,
        on_append: OnAppend,
    ) -> BoxFuture<'static, Result<(), PutMessageStatus>>;

    /// Syncs what was appended before; whether that was done.
    fn sync(&self) -> BoxFuture<'_, bool>;

    /// Removes the oldest file, durably, if it was written last before that time (milliseconds since the Unix epoch) and all
    /// of it is committed; whether it went.
    fn expire_oldest(&self, modified_before_ms: u64) -> BoxFuture<'_, io::Result<bool>>;

    /// Ends it: takes no part any more, syncs everything; whether that was done.
    fn shutdown(&self) -> BoxFuture<'_, bool>;
}

/// What is proposed, from the question to the place that it got.
struct Proposed {
    topic: String,
    queue_id: u32,
    sys_flag: i32,
    is_deletion: bool,
    is_batch: bool,
    appended: Option<AppendMessageResult>,
}

impl CommitLog {
    /// Whether a consensus group keeps the log.
    pub(crate) fn is_agreed(&self) -> bool {
        self.consensus.is_some()
    }

    /// Bytes before each record: the header of its entry.
    pub(crate) fn lead_bytes(&self) -> usize {
        if self.is_agreed() { ENTRY_HEADER_BYTES } else { 0 }
    }

    /// What begins at `phy_offset`, of which `bytes` are at hand, and how many bytes behind it the record does.
    pub(crate) fn check_at<'a>(
        &self,
        bytes: &'a [u8],
        phy_offset: u64,
    ) -> (usize, RecordCheck<'a>) {
        let lead = self.lead_bytes();
        if lead == 0 {
            return (0, check_record(bytes, &RecordRules::own(phy_offset)));
        }
        if bytes.starts_with(&ENTRY_BLANK_MAGIC.to_be_bytes()) {
            return (0, RecordCheck::Blank { size: bytes.len() as i32 });
        }
        let Some(head) = EntryHead::decode(bytes) else {
            return (lead, RecordCheck::Torn(TornReason::NoRoom));
        };
        if head.pos as u64 != phy_offset || bytes.len() < head.size.unsigned_abs() as usize {
            return (lead, RecordCheck::Torn(TornReason::NoRoom));
        }
        (lead, check_record(&bytes[lead..], &RecordRules::own(phy_offset + lead as u64)))
    }

    /// Follows the group's log, until `tasks` end.
    pub(crate) async fn run_following(self: Arc<Self>, tasks: TaskGroup) {
        let Some(consensus) = self.consensus.clone() else { return };
        loop {
            let seen = self.follow_consensus();
            mq_env::select! {
                () = tasks.cancelled() => return,
                () = consensus.moved_from(seen) => {}
            }
        }
    }

    /// Moves the ends to where the group's log has come by now.
    pub(crate) fn follow_consensus(&self) -> ConsensusEnds {
        let Some(consensus) = &self.consensus else { return ConsensusEnds::default() };
        let _following = lock(&self.following);
        let ends = consensus.ends();
        let (before, committed) = (self.max_offset(), ends.committed);
        assert!(committed >= before, "what is committed stays: {before} before {committed}");
        if committed > before {
            self.max_offset.advance_to(committed);
            self.put_side.appended.notify_one();
            if self.file_start(committed) != self.file_start(before) {
                self.rolled.notify_one();
            }
        }
        let (from, to) = (self.flushed_offset(), ends.durable.min(committed));
        if to > from {
            self.flushed_offset.advance_to(to);
            self.env.probe.emit(&Event::Synced { from, to });
        }
        if ends.is_poisoned && !self.is_poisoned() {
            let source = io::Error::other("the disk has failed");
            self.poison(&FlushError { from: self.flushed_offset(), to: committed, source });
        }
        ends
    }

    /// Has the group's log synced, and follows it.
    pub(super) async fn sync_agreed(&self, consensus: &dyn ConsensusLog) -> Result<(), StoreError> {
        let is_synced = consensus.sync().await;
        self.follow_consensus();
        if is_synced { Ok(()) } else { Err(StoreError::Poisoned) }
    }

    /// Proposes the records of one queue, all or none. They are committed when this resolves, or the status of the
    /// answer says that this is not known.
    pub(crate) fn propose(
        self: &Arc<Self>,
        consensus: &dyn ConsensusLog,
        message: &MessageInner,
        records: &mut EncodedRecords,
    ) -> BoxFuture<'static, PutMessageResult> {
        let mut bodies = Vec::with_capacity(records.count());
        records.for_each(|_, record| bodies.push(record.to_vec()));
        let proposed = Arc::new(Mutex::new(Proposed {
            topic: message.topic.clone(),
            queue_id: message.queue_id,
            sys_flag: message.sys_flag,
            is_deletion: says_deletion(message.sys_flag, &message.properties),
            is_batch: records.is_batch(),
            appended: None,
        }));
        let (log, placed) = (Arc::clone(self), Arc::clone(&proposed));
        let on_append = move |record: &mut [u8], phy_offset| {
            log.place_proposed(&mut lock(&placed), record, phy_offset);
        };
        let done = consensus.propose(bodies, Box::new(on_append));
        Box::pin(async move {
            match done.await {
                Ok(()) => {
                    let append = lock(&proposed).appended.take();
                    assert!(append.is_some(), "what is committed was appended");
                    PutMessageResult { status: PutMessageStatus::PutOk, append }
                }
                Err(status) => PutMessageResult::refused(status),
            }
        })
    }

    /// Gives a record its place in its queue and its store time, as it gets its place in the log.
    fn place_proposed(&self, proposed: &mut Proposed, record: &mut [u8], phy_offset: u64) {
        let mut put = self.lock_put();
        let now_ms = self.env.clock.now_millis();
        let Proposed { topic, queue_id, .. } = &*proposed;
        let in_queue = counts_in_queue(proposed.sys_flag);
        let queue_offset = if in_queue { put.table.next(topic, *queue_id) } else { 0 };
        let store_timestamp_ms =
            proposed.appended.as_ref().map_or(now_ms, |it| it.store_timestamp_ms);
        assign_positions(record, queue_offset as i64, phy_offset as i64, store_timestamp_ms as i64);
        if in_queue {
            put.table.advance(topic, *queue_id, 1);
        }
        if proposed.is_deletion {
            put.table.forget(topic);
        }
        self.env.probe.emit(&Event::Appended {
            phy_offset,
            size_bytes: record.len() as u32,
            topic,
            queue_id: *queue_id,
            queue_offset,
            uniq_key: uniq_key(record),
        });
        drop(put);
        let appended = proposed.appended.get_or_insert(AppendMessageResult {
            phy_offset,
            wrote_bytes: 0,
            store_timestamp_ms,
            queue_offset,
            batch_phy_offsets: Vec::new(),
        });
        assert!(phy_offset >= appended.end_offset(), "records lie behind one another");
        appended.wrote_bytes = (phy_offset + record.len() as u64 - appended.phy_offset) as u32;
        if proposed.is_batch {
            appended.batch_phy_offsets.push(phy_offset);
        }
    }

    /// Removes the oldest file of the group's log.
    pub(super) async fn expire_agreed(
        &self,
        consensus: &dyn ConsensusLog,
        oldest: &OldestFile,
    ) -> io::Result<Retired> {
        let went = consensus.expire_oldest(oldest.modified_ms + 1).await?;
        Ok(if went { Retired::Gone } else { Retired::Pinned })
    }

    /// Begins with what the group's log has that is committed and durable.
    pub(crate) fn begin_agreed(&self) -> RecoveredLog {
        let ends = self.consensus.as_ref().map(|it| it.ends()).unwrap_or_default();
        let end = ends.committed.min(ends.durable);
        self.max_offset.advance_to(end);
        self.flushed_offset.advance_to(end);
        self.env.probe.emit(&Event::Recovered {
            min_phy_offset: self.min_offset(),
            max_phy_offset: end,
            dropped_bytes: 0,
            reason: "the committed end of the group's log",
        });
        RecoveredLog { walked_from: end, unsure: end..end, report: RecoveryReport::default() }
    }
}
