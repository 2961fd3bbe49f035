//! The pulling of one queue (RocketMQ 4.9 `DefaultMQPushConsumerImpl.pullMessage`).
//!
//! At most one pull is outstanding; the broker holds it while there is nothing. Whatever the answer,
//! the next pull follows at once, unless too much is cached or an error asks for a pause.

use std::sync::Arc;
use std::time::Duration;

use mq_env::probe::Event;
use mq_protocol::body::heartbeat::SubscriptionData;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::message::{MessageConst, MessageExt, MessageQueue, retry_topic};
use mq_protocol::sys_flag::PullSysFlag;

use crate::api::{PullResult, PullStatus};
use crate::error::ClientError;
use crate::namespace::message_without_namespace;
use crate::process_queue::ProcessQueue;
use crate::push_consumer::ConsumerInner;

/// How long the broker may hold a pull.
const BROKER_SUSPEND: Duration = Duration::from_secs(15);

/// Time allowed for a pull, the holding included.
pub(crate) const PULL_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after an error (`pullTimeDelayMillsWhenException`).
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Pause after FLOW_CONTROL.
const PAUSE_AFTER_FLOW_CONTROL: Duration = Duration::from_millis(20);

/// How long a queue rests whose offset was outside of it.
const PAUSE_AFTER_ILLEGAL_OFFSET: Duration = Duration::from_secs(10);

impl ConsumerInner {
    /// Pulls a queue from `next_offset` on until it is dropped.
    pub(crate) async fn pull(
        self: Arc<Self>,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
        mut next_offset: i64,
    ) {
        while !process_queue.is_dropped() {
            process_queue.wait_for_room(self.config.flow_control).await;
            let result = mq_env::select! {
                () = process_queue.dropped() => return,
                result = self.pull_once(&queue, next_offset) => result,
            };
            match result {
                Ok(result) if result.pull_status == PullStatus::OffsetIllegal => {
                    process_queue.drop_queue();
                    return self.correct_offset(queue, process_queue, result).await;
                }
                Ok(result) => {
                    next_offset = result.next_begin_offset;
                    self.take_over(&queue, &process_queue, result);
                }
                Err(error) => {
                    tracing::debug!(?queue, %error, "pull failed");
                    mq_env::select! {
                        () = process_queue.dropped() => return,
                        () = tokio::time::sleep(pause_after(&error)) => {}
                    }
                }
            }
        }
    }

    async fn pull_once(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<PullResult, ClientError> {
        let (broker_id, commit_offset, sub_version) = {
            let state = self.state();
            (
                state.pull_from_which_node.get(queue).copied().unwrap_or(MASTER_ID),
                state.offsets.get(queue).unwrap_or(0),
                state.subscriptions.get(&queue.topic).map_or(0, |data| data.sub_version),
            )
        };
        let (addr, is_slave) = self.instance.subscribe_addr(queue, broker_id).await?;
        let commit = if commit_offset > 0 && !is_slave { PullSysFlag::COMMIT_OFFSET } else { 0 };
        let header = PullMessageRequestHeader {
            consumer_group: self.config.group.clone(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            queue_offset: offset,
            max_msg_nums: self.config.pull_batch_size,
            sys_flag: PullSysFlag::SUSPEND | commit,
            commit_offset,
            suspend_timeout_ms: BROKER_SUSPEND.as_millis() as i64,
            subscription: None,
            sub_version,
            expression_type: Some("TAG".to_owned()),
            broker_name: Some(queue.broker_name.clone()),
        };
        let api = self.instance.api();
        let result = api.pull_message(&addr, &queue.broker_name, &header, PULL_TIMEOUT).await?;
        let suggested = result.suggest_which_broker_id;
        self.state().pull_from_which_node.insert(queue.clone(), suggested);
        Ok(result)
    }

    /// Puts the messages that match into the cache; without any, the offset may move on.
    fn take_over(&self, queue: &MessageQueue, process_queue: &ProcessQueue, result: PullResult) {
        let retry_topic = retry_topic(&self.config.group);
        let messages: Vec<_> = {
            let state = self.state();
            let subscription = state.subscriptions.get(&queue.topic);
            let matches = |message: &MessageExt| {
                subscription.is_none_or(|subscription| is_wanted(subscription, message))
            };
            result.messages.into_iter().filter(matches).collect()
        };
        if messages.is_empty() {
            if process_queue.is_empty() && result.pull_status != PullStatus::Found {
                self.state().offsets.raise(queue, result.next_begin_offset);
            }
            return;
        }
        let namespace = self.instance.namespace();
        let restored = messages
            .into_iter()
            .map(|message| restore_topic(message, &retry_topic))
            .map(|message| message_without_namespace(namespace, message));
        process_queue.put(restored.map(Arc::new).collect());
    }

    /// Lets a queue rest whose offset its broker corrected, and gives it up. The next rebalance takes it again,
    /// at that offset: what was committed of the old one would lead beyond messages that nobody was given.
    async fn correct_offset(
        &self,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
        result: PullResult,
    ) {
        let PullResult { next_begin_offset, min_offset, max_offset, .. } = result;
        tracing::warn!(?queue, next_begin_offset, min_offset, max_offset, "offset out of bounds");
        // Whoever has the queue now has set its offset.
        let set_if_mine = || {
            let mut state = self.state();
            let owner = state.process_queues.get(&queue);
            let is_mine = owner.is_some_and(|owner| Arc::ptr_eq(owner, &process_queue));
            if is_mine {
                state.offsets.set(&queue, next_begin_offset);
            }
            is_mine
        };
        if !set_if_mine() {
            return;
        }
        self.tell_pull_offset(&queue, next_begin_offset.min(max_offset));
        tokio::time::sleep(PAUSE_AFTER_ILLEGAL_OFFSET).await;
        // A listener that had been at work may have raised it once more.
        if set_if_mine() {
            self.give_up_queue(&queue).await;
        }
    }

    /// Reports where a queue is read from now on.
    pub(crate) fn tell_pull_offset(&self, queue: &MessageQueue, offset: i64) {
        let (Ok(queue_id), Ok(offset)) = (u32::try_from(queue.queue_id), u64::try_from(offset))
        else {
            return;
        };
        self.instance.env().probe.emit(&Event::PullOffset {
            group: &self.config.group,
            topic: &queue.topic,
            broker_name: &queue.broker_name,
            queue_id,
            offset,
        });
    }
}

/// Brokers match hashes of tags; two tags may share one.
pub(crate) fn is_wanted(subscription: &SubscriptionData, message: &MessageExt) -> bool {
    let tags = &subscription.tags_set;
    tags.is_empty() || message.message.tags().is_some_and(|tag| tags.iter().any(|t| t == tag))
}

/// A message that comes again has the topic it was sent to, not the group's retry topic.
fn restore_topic(mut message: MessageExt, retry_topic: &str) -> MessageExt {
    if message.message.topic == retry_topic
        && let Some(topic) = message.message.properties.get(MessageConst::RETRY_TOPIC)
    {
        message.message.topic = topic.to_owned();
    }
    message
}

/// How long the pulling of a queue rests after an error.
pub(crate) fn pause_after(error: &ClientError) -> Duration {
    match error {
        ClientError::Broker { code: ResponseCode::FLOW_CONTROL, .. } => PAUSE_AFTER_FLOW_CONTROL,
        _ => PAUSE_AFTER_ERROR,
    }
}
