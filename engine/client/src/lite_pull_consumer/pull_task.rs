//! The pulling of one queue ahead of the polls (RocketMQ 4.9 `DefaultLitePullConsumerImpl.PullTaskImpl`).
//!
//! At most one pull is outstanding per queue. An offset outside of the queue is moved into it, and nothing
//! else happens.

use std::sync::Arc;
use std::time::Duration;

use mq_protocol::body::heartbeat::{SUBSCRIPTION_ALL, TAG};
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::message::MessageQueue;
use mq_protocol::sys_flag::PullSysFlag;

use super::Inner;
use crate::api::{PullResult, PullStatus};
use crate::consumer_group::PullFrom;
use crate::error::ClientError;
use crate::namespace::message_without_namespace;
use crate::process_queue::ProcessQueue;
use crate::pull_service::{PULL_TIMEOUT, is_wanted, pause_after, with_bounds};

/// How long the broker may hold a pull.
const BROKER_SUSPEND: Duration = Duration::from_secs(20);

/// Pause when it is not known where to begin.
const PAUSE_WITHOUT_OFFSET: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) fn spawn_pull(
        self: &Arc<Self>,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
    ) {
        let inner = Arc::clone(self);
        self.tasks.spawn_until_cancelled("client lite pull", async move {
            mq_env::select! {
                () = process_queue.dropped() => {}
                () = inner.pull(&queue, &process_queue) => {}
            }
        });
    }

    /// Pulls a queue; goes on until it is not polled any more.
    async fn pull(self: &Arc<Self>, queue: &MessageQueue, process_queue: &Arc<ProcessQueue>) {
        loop {
            let limits = self.config.flow_control.per_queue(self.state().assigned.len());
            process_queue.wait_for_room(limits).await;
            self.wait_until_unblocked(queue, process_queue).await;
            let Some(offset) = self.next_pull_offset(queue, process_queue).await else {
                tokio::time::sleep(PAUSE_WITHOUT_OFFSET).await;
                continue;
            };
            match self.pull_once(queue, offset).await {
                Ok(result) => self.take_over(queue, process_queue, offset, result),
                Err(error) => {
                    tracing::debug!(?queue, %error, "pull failed");
                    tokio::time::sleep(pause_after(&error)).await;
                }
            }
        }
    }

    /// Waits while the queue is paused, or too much is cached of all of them.
    async fn wait_until_unblocked(&self, queue: &MessageQueue, process_queue: &Arc<ProcessQueue>) {
        loop {
            let unblocked = self.unblocked.notified();
            let is_blocked = {
                let mut state = self.state();
                state.ready_count() > self.config.pull_threshold_for_all
                    || state.current(queue, process_queue).is_some_and(|it| it.paused)
            };
            if !is_blocked {
                return;
            }
            unblocked.await;
        }
    }

    /// Where to go on; where the group has been, at first.
    async fn next_pull_offset(
        &self,
        queue: &MessageQueue,
        process_queue: &Arc<ProcessQueue>,
    ) -> Option<i64> {
        let known = self.state().current(queue, process_queue)?.pull_offset;
        if known.is_some() {
            return known;
        }
        let from = self.group().compute_pull_from_where(queue).await?;
        let (PullFrom::Committed(offset) | PullFrom::Fresh(offset)) = from;
        {
            let mut state = self.state();
            state.current(queue, process_queue)?.pull_offset = Some(offset);
            if let PullFrom::Committed(offset) = from {
                state.offsets.set(queue, offset);
            }
        }
        self.group().tell_pull_offset(queue, offset);
        Some(offset)
    }

    async fn pull_once(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<PullResult, ClientError> {
        let (broker_id, expression) = {
            let state = self.state();
            let expression = state.subscriptions.get(&queue.topic).map(|it| it.sub_string.clone());
            let broker_id = state.pull_from_which_node.get(queue).copied();
            (broker_id.unwrap_or(MASTER_ID), expression)
        };
        let (addr, _) = self.instance.subscribe_addr(queue, broker_id).await?;
        let header = PullMessageRequestHeader {
            consumer_group: self.config.group.clone(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            queue_offset: offset,
            max_msg_nums: self.config.pull_batch_size,
            sys_flag: PullSysFlag::SUSPEND | PullSysFlag::SUBSCRIPTION | PullSysFlag::LITE_PULL,
            commit_offset: 0,
            suspend_timeout_ms: BROKER_SUSPEND.as_millis() as i64,
            subscription: Some(expression.unwrap_or_else(|| SUBSCRIPTION_ALL.to_owned())),
            sub_version: 0,
            expression_type: Some(TAG.to_owned()),
            broker_name: Some(queue.broker_name.clone()),
        };
        let api = self.instance.api();
        let result = api.pull_message(&addr, &queue.broker_name, &header, PULL_TIMEOUT).await?;
        let suggested = result.suggest_which_broker_id;
        self.state().pull_from_which_node.insert(queue.clone(), suggested);
        Ok(result)
    }

    fn take_over(
        self: &Arc<Self>,
        queue: &MessageQueue,
        process_queue: &Arc<ProcessQueue>,
        offset: i64,
        result: PullResult,
    ) {
        let PullResult { next_begin_offset, min_offset, max_offset, .. } = result;
        if result.pull_status == PullStatus::OffsetIllegal {
            tracing::warn!(
                ?queue,
                next_begin_offset,
                min_offset,
                max_offset,
                "offset out of bounds"
            );
        }
        // A slave moves it back without calling the offset illegal.
        if next_begin_offset < offset {
            let set_back = self.state().set_back(queue, process_queue, next_begin_offset);
            if let Some((cache, target)) = set_back {
                self.group().tell_pull_offset(queue, target);
                self.spawn_pull(queue.clone(), cache);
            }
            return;
        }
        if result.pull_status == PullStatus::OffsetIllegal {
            self.group().tell_pull_offset(queue, next_begin_offset);
        }
        let namespace = self.instance.namespace();
        let mut state = self.state();
        let subscription = state.subscriptions.get(&queue.topic);
        let mut messages = result.messages;
        messages.retain(|message| subscription.is_none_or(|it| is_wanted(it, message)));
        let messages = messages
            .into_iter()
            .map(|message| message_without_namespace(namespace, message))
            .map(|message| Arc::new(with_bounds(message, min_offset, max_offset)))
            .collect();
        state.put(queue, process_queue, messages, next_begin_offset);
        drop(state);
        self.arrived.notify_one();
    }
}
