//! Changing the role of a store that runs: what a restart with the other role would do for it.

use std::sync::Arc;

use mq_env::BoxFuture;

use super::MessageStore;
use crate::config::BrokerRole;
use crate::error::StoreError;
use crate::role::RoleWatch;

impl MessageStore {
    /// The role, which everybody who runs on this store follows.
    #[must_use]
    pub fn role(&self) -> &RoleWatch {
        &self.role
    }

    /// Makes the store a master or a slave. To be awaited to its end; one change waits for the other.
    ///
    /// A slave that becomes master follows nobody any more; a record of which it has only a part is cut
    /// off; what is left is synced and dispatched, and the queue offsets of the next messages come from
    /// it; then it takes puts. A master that becomes a slave takes no more puts; those that wait are
    /// answered; then it follows. Slaves of either connect anew.
    ///
    /// # Errors
    /// What kept a slave from becoming master, which stays a slave then.
    pub fn change_role(
        self: &Arc<Self>,
        role: BrokerRole,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.change_role_after(role, Box::pin(std::future::ready(())))
    }

    /// As [`MessageStore::change_role`], but `prepared` comes before a new master takes puts or a new slave
    /// follows: when the queues are what they will begin with.
    ///
    /// # Errors
    /// As there.
    pub fn change_role_after(
        self: &Arc<Self>,
        role: BrokerRole,
        prepared: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let store = Arc::clone(self);
        Box::pin(async move {
            let _changing = store.role_changing.lock().await;
            let from = store.role.get();
            tracing::info!(from = from.name(), to = role.name(), "the store's role changes");
            match (from, role) {
                (BrokerRole::Slave, BrokerRole::Slave) => prepared.await,
                (BrokerRole::Slave, master) => store.become_master(master, prepared).await?,
                (_, BrokerRole::Slave) => store.become_slave(prepared).await,
                (_, master) => {
                    prepared.await;
                    store.role.set_master(master);
                }
            }
            Ok(())
        })
    }

    /// Excludes that the role changes while somebody appends what a master sends.
    pub(crate) async fn lock_following(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.following.lock().await
    }

    async fn become_master(
        &self,
        role: BrokerRole,
        prepared: BoxFuture<'static, ()>,
    ) -> Result<(), StoreError> {
        let change = self.role.begin_change();
        let _following = self.lock_following().await;
        self.log.flush(0).await?;
        let dispatched = self.dispatcher.catch_up_to(self.log.max_offset()).await;
        dispatched.map_err(StoreError::io("write a ConsumeQueue"))?;
        self.cut_part_of_record().await?;
        self.queues.correct_min_offset(self.log.min_offset());
        let table = self.planted_table(self.queues.topic_queue_table(), role).await?;
        // A group's log may have got another leader's entries.
        let is_synced = || self.log.max_offset() == self.log.flushed_offset();
        assert!(self.log.is_agreed() || is_synced(), "nothing was put meanwhile");
        self.log.lock_put().reset(table);
        self.log.lend_buffers(true);
        self.marks.write_watermark().await;
        prepared.await;
        change.settle(role);
        Ok(())
    }

    /// A slave's log ends where a slice did: ends it where its last record does.
    async fn cut_part_of_record(&self) -> Result<(), StoreError> {
        if self.log.is_agreed() {
            return Ok(());
        }
        let (end, dispatched) = (self.log.max_offset(), self.dispatched_offset());
        // Beyond the end where the blank of a full file is on its way.
        let whole = if dispatched <= end {
            dispatched
        } else {
            self.log.record_boundary_at_or_below(end).unwrap_or(end)
        };
        if whole < end {
            let reason = "a new master has only a part of the record that begins here";
            self.truncate(whole, reason).await?;
        }
        Ok(())
    }

    async fn become_slave(&self, prepared: BoxFuture<'static, ()>) {
        let change = self.role.begin_change();
        // Whoever was let in before has appended once the lock is free.
        drop(self.log.lock_put());
        self.log.lend_buffers(false);
        // Where that fails the puts that wait for it are told so.
        let _ = self.log.flush(0).await;
        self.group_commit.complete();
        self.group_commit.cut(0);
        self.marks.write_watermark().await;
        prepared.await;
        change.settle(BrokerRole::Slave);
    }
}
