//! Deleting a topic: the log says so itself.
//!
//! What has no note in the log would be made again out of it: by a start that makes units again, by a slave,
//! by whoever becomes master. So the deletion is a record ([`mq_protocol::topic_deletion`]), put as a
//! message is. Whoever dispatches it, now, at a start or on a slave, removes the topic's queues; what
//! lies behind it in the log begins new ones at queue offset 0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mq_env::BoxFuture;
use mq_protocol::topic_deletion::{DELETION_SYS_FLAG, deletion_properties};

use super::MessageStore;
use super::put::{PutFuture, check_topic};
use crate::dispatch::TopicDeletedListener;
use crate::message_inner::MessageInner;
use crate::plant::Plant;
use crate::put_result::PutMessageStatus;

/// A disk that does not come to it within this time is given up on.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(30);

impl MessageStore {
    /// Deletes what the queues of `topic` hold. Resolves once the deletion is as durable and replicated as the
    /// mode asks, synced whatever the mode, and the queues are gone: `PutOk`. Other stored statuses say that it
    /// is in the log of this store, and what it waited for in vain; the rest, that nothing was deleted.
    ///
    /// Messages of the topic that wait elsewhere (delayed, half, given back) are not in its queues, and stay.
    pub fn delete_topic(
        self: &Arc<Self>,
        topic: &str,
        store_host: SocketAddr,
    ) -> BoxFuture<'static, PutMessageStatus> {
        let (store, topic) = (Arc::clone(self), topic.to_owned());
        Box::pin(async move {
            if store.config.planted(Plant::DeletionUnnoted) {
                let removed = store.dispatcher.remove_queues(&topic).await;
                store.log.lock_put().forget(&topic);
                return removed
                    .map_or(PutMessageStatus::UnknownError, |()| PutMessageStatus::PutOk);
            }
            let result = store.put_deletion(&topic, store_host).await;
            let Some(appended) = result.append else { return result.status };
            let carried_out = mq_env::select! {
                () = store.tasks.cancelled() => false,
                () = tokio::time::sleep(CARRIED_OUT_WITHIN) => false,
                is_synced = store.carried_out(appended.end_offset()) => is_synced,
            };
            if carried_out { result.status } else { PutMessageStatus::FlushDiskTimeout }
        })
    }

    /// Resolves once the deletion that ends at `end` is synced and carried out; `false` if it cannot be synced.
    async fn carried_out(&self, end: u64) -> bool {
        // Under ASYNC_FLUSH nobody else waits for that.
        self.log.commit(0);
        if self.log.flush(0).await.is_err() {
            return false;
        }
        self.dispatcher.deletion_passed(end).await;
        true
    }

    /// How many deletions of topics this store has carried out since it was opened.
    #[must_use]
    pub fn topics_deleted(&self) -> u64 {
        self.dispatcher.topics_deleted()
    }

    /// Whether a topic of this name was deleted since this store was opened, as far as that is remembered.
    #[must_use]
    pub fn was_deleted(&self, topic: &str) -> bool {
        self.dispatcher.was_deleted(topic)
    }

    /// Sets who is told of topics whose queues were removed, on a slave as well. The first call stays.
    pub fn set_topic_deleted_listener(&self, listener: TopicDeletedListener) {
        self.dispatcher.set_topic_deleted_listener(listener);
    }

    fn put_deletion(&self, topic: &str, store_host: SocketAddr) -> PutFuture {
        let message = MessageInner {
            topic: topic.to_owned(),
            queue_id: 0,
            flag: 0,
            sys_flag: DELETION_SYS_FLAG,
            body: Bytes::new(),
            properties: deletion_properties(),
            born_timestamp_ms: self.env.clock.now_millis() as i64,
            born_host: store_host,
            store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            wait_store_ok: true,
        };
        self.put_record(&message, || check_topic(topic))
    }
}
