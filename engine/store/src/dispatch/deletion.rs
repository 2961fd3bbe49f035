//! What the dispatcher does where the log says that a topic was deleted.
//!
//! Everything before has its units by then, and nothing behind has one: the topic's queues go as a whole. It
//! stands still meanwhile, so that no mark speaks of what lies behind before the files are durably gone;
//! whatever a crash leaves of them, the next start comes to the same record and removes it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mq_protocol::message_codec::{RecordCheck, RecordRules, RecordView, check_record};
use mq_protocol::topic_deletion::is_topic_deletion;

use super::ReputMessageService;
use crate::sync::lock;

/// So many names of deleted topics are remembered.
pub(super) const REMEMBERED_MAX: usize = 10_000;

/// Told of a topic whose queues were removed. Must not block.
pub type TopicDeletedListener = Arc<dyn Fn(&str) + Send + Sync>;

/// A record that says that its topic was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    topic: String,
    /// Where dispatching stands before it.
    from: u64,
    phy_offset: u64,
    end: u64,
}

impl ReputMessageService {
    /// Sets who is told; the first one stays.
    pub(crate) fn set_topic_deleted_listener(&self, listener: TopicDeletedListener) {
        let _ = self.topic_deleted.set(listener);
    }

    /// How many deletions were carried out.
    pub(crate) fn topics_deleted(&self) -> u64 {
        self.topics_deleted.load(Ordering::Acquire)
    }

    /// Whether a topic was deleted, as far as that is remembered.
    pub(crate) fn was_deleted(&self, topic: &str) -> bool {
        lock(&self.deleted).contains(topic)
    }

    /// What excludes that marks are sampled and written.
    pub(crate) fn marking(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.marking)
    }

    /// Resolves once the deletion that ends at `end` is carried out.
    pub(crate) async fn deletion_passed(&self, end: u64) {
        loop {
            let passed = self.deletion_passed.notified();
            let mut passed = std::pin::pin!(passed);
            passed.as_mut().enable();
            if self.progress().reput_from_offset >= end {
                return;
            }
            passed.await;
        }
    }

    /// What `record` deletes.
    pub(super) fn deletion(&self, record: &RecordView<'_>, phy_offset: u64) -> Option<Deletion> {
        is_topic_deletion(record).then(|| Deletion {
            topic: record.topic().into_owned(),
            from: phy_offset - self.log.lead_bytes() as u64,
            phy_offset,
            end: phy_offset + record.size() as u64,
        })
    }

    /// Removes the queues of the topic, durably, and goes on behind the record, unless somebody cut the log
    /// there meanwhile. The record is synced before: whoever forgets it must have the queues.
    pub(super) async fn carry_out(&self, deletion: &Deletion) -> io::Result<()> {
        self.synced(deletion.end).await?;
        let marking = self.marking.lock().await;
        // Cut since, and maybe there again: the next turn looks anew.
        if self.progress().reput_from_offset != deletion.from
            || self.log.flushed_offset() < deletion.end
            || !self.stands(deletion)
        {
            return Ok(());
        }
        self.remove_queues_marked(&deletion.topic).await?;
        {
            let mut progress = lock(&self.progress);
            assert_eq!(progress.reput_from_offset, deletion.from, "nobody moved it meanwhile");
            progress.reput_from_offset = deletion.end;
        }
        drop(marking);
        self.topics_deleted.fetch_add(1, Ordering::AcqRel);
        self.remember(&deletion.topic);
        if let Some(listener) = self.topic_deleted.get() {
            listener(&deletion.topic);
        }
        tracing::info!(topic = deletion.topic, "the queues of a deleted topic are removed");
        self.deletion_passed.notify_waiters();
        self.dispatched.notify_one();
        Ok(())
    }

    /// Resolves once the log is synced up to `end`, or ends before it. A start syncs what it found in a way of its own.
    async fn synced(&self, end: u64) -> io::Result<()> {
        if self.log.flushed_offset() >= end {
            return Ok(());
        }
        if self.runs.load(Ordering::Acquire) {
            self.log.commit(0);
            return self.log.flush(0).await.map_err(io::Error::other);
        }
        let mut flushed = self.log.watch_flushed_offset();
        while flushed.see() < end {
            flushed.changed().await;
        }
        Ok(())
    }

    /// Whether the log still says so.
    fn stands(&self, deletion: &Deletion) -> bool {
        let Some(data) = self.log.data(deletion.phy_offset) else { return false };
        match check_record(&data, &RecordRules::own(deletion.phy_offset)) {
            RecordCheck::Valid(record) => {
                self.deletion(&record, deletion.phy_offset).as_ref() == Some(deletion)
            }
            _ => false,
        }
    }

    fn remember(&self, topic: &str) {
        let mut deleted = lock(&self.deleted);
        if deleted.len() < REMEMBERED_MAX {
            deleted.insert(topic.to_owned());
        }
    }

    /// Removes the queues of a topic, durably.
    pub(crate) async fn remove_queues(&self, topic: &str) -> io::Result<()> {
        let _marking = self.marking.lock().await;
        self.remove_queues_marked(topic).await
    }

    async fn remove_queues_marked(&self, topic: &str) -> io::Result<()> {
        // Files that are on their way to the disk are not removed under it.
        let _flushing = self.queues.lock_flushing().await;
        self.durable.forget_units().await?;
        self.queues.remove_topic(topic).await
    }

    /// Whether what is dispatched of the log from `phy_offset` on deleted a topic. Nobody may mark meanwhile, so that
    /// no other deletion is carried out.
    ///
    /// # Errors
    /// None that a walk without writing could meet.
    pub(crate) async fn has_carried_out(&self, phy_offset: u64) -> io::Result<bool> {
        let mut found = false;
        let look = |record: &RecordView<'_>, _| {
            found |= is_topic_deletion(record);
            Ok(())
        };
        self.walk_range(phy_offset..self.progress().reput_from_offset, look).await?;
        Ok(found)
    }
}
