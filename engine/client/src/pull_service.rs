//! The pulling of one queue (RocketMQ 4.9 `DefaultMQPushConsumerImpl.pullMessage`).
//!
//! At most one pull is outstanding; the broker holds it while there is nothing. Whatever the answer,
//! the next pull follows at once, unless too much is cached or an error asks for a pause.

use std::sync::Arc;
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::heartbeat::SubscriptionData;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::message::{MessageConst, MessageExt, MessageQueue, retry_topic};
use mq_protocol::sys_flag::PullSysFlag;

use crate::api::{PullResult, PullStatus};
use crate::error::ClientError;
use crate::flow_control::FlowControl;
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

/// How long a queue rests whose offset was outside of it, or is reset.
const PAUSE_BEFORE_MOVE: Duration = Duration::from_secs(10);

impl ConsumerInner {
    /// Pulls a queue from `next_offset` on until it is dropped.
    pub(crate) async fn pull(
        self: Arc<Self>,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
        mut next_offset: i64,
    ) {
        let clock = &self.instance.env().clock;
        process_queue.consumed_at(clock.now_millis() as i64);
        while !process_queue.is_dropped() {
            process_queue.wait_for_room(self.flow_control()).await;
            let Some(term) = self.begin_term(&queue, &process_queue, &mut next_offset).await else {
                process_queue.rest(PAUSE_AFTER_ERROR).await;
                continue;
            };
            process_queue.pull_started();
            process_queue.pulled_at(clock.now_millis() as i64);
            let result = mq_env::select! {
                () = process_queue.dropped() => return,
                () = process_queue.lock_changed() => None,
                result = self.pull_once(&queue, &process_queue, next_offset) => Some(result),
            };
            process_queue.pull_ended();
            let Some(result) = result else { continue };
            // Whatever came, somebody else may have had the queue meanwhile.
            if process_queue.term() != Some(term) {
                continue;
            }
            match result {
                Ok(result) if result.pull_status == PullStatus::OffsetIllegal => {
                    process_queue.drop_queue();
                    return self.correct_offset(queue, process_queue, next_offset, result).await;
                }
                Ok(result) => {
                    next_offset = result.next_begin_offset;
                    self.take_over(&queue, &process_queue, result);
                }
                Err(error) => {
                    tracing::debug!(?queue, %error, "pull failed");
                    process_queue.rest(pause_after(&error)).await;
                }
            }
        }
    }

    /// When pulling pauses. In order, a message that is stuck lets nothing pass it.
    fn flow_control(&self) -> FlowControl {
        let limits = self.config.flow_control.per_queue(self.state().process_queues.len());
        match self.config.consume_orderly {
            true => FlowControl { span_max: i64::MAX, ..limits },
            false => limits,
        }
    }

    /// The term of the queue's lock; `None` while there is none. Its first pull begins where the broker says
    /// that the group stands: somebody else may have consumed meanwhile. (RocketMQ 4.9 asks only once,
    /// however often the lock is lost later, and goes on with what it had cached.)
    async fn begin_term(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        next_offset: &mut i64,
    ) -> Option<u64> {
        let term = process_queue.term()?;
        if process_queue.is_read_in(term) {
            return Some(term);
        }
        let _turn = process_queue.consuming().await;
        self.state().offsets.remove(queue);
        if !planted_on_this_thread(Plant::OffsetNotReadWithTheLock) {
            *next_offset = self.compute_pull_from_where(queue).await?;
        }
        process_queue.start_over(term);
        tracing::debug!(?queue, next_offset, "queue locked anew");
        self.group().tell_pull_offset(queue, *next_offset);
        Some(term)
    }

    async fn pull_once(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        offset: i64,
    ) -> Result<PullResult, ClientError> {
        let (broker_id, commit_offset, sub_version, expression_type) = {
            let state = self.state();
            let subscription = state.subscriptions.get(&queue.topic);
            (
                state.pull_from_which_node.get(queue).copied().unwrap_or(MASTER_ID),
                state.offsets.get(queue).unwrap_or(0),
                subscription.map_or(0, |data| data.sub_version),
                subscription.and_then(|data| data.expression_type.clone()),
            )
        };
        let (addr, is_slave) = self.instance.subscribe_addr(queue, broker_id).await?;
        let commits =
            commit_offset > 0 && !is_slave && !self.is_broadcasting() && process_queue.may_commit();
        let commit = if commits { PullSysFlag::COMMIT_OFFSET } else { 0 };
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
            expression_type,
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
        let PullResult { min_offset, max_offset, .. } = result;
        let messages: Vec<_> = {
            let state = self.state();
            let subscription = state.subscriptions.get(&queue.topic);
            let matches = |message: &MessageExt| {
                subscription.is_none_or(|subscription| is_wanted(subscription, message))
            };
            result.messages.into_iter().filter(matches).collect()
        };
        if messages.is_empty() {
            let is_done =
                process_queue.is_empty() || planted_on_this_thread(Plant::PassesWhatIsCached);
            if is_done && result.pull_status != PullStatus::Found {
                self.state().offsets.raise(queue, result.next_begin_offset);
            }
            return;
        }
        let known = messages.into_iter().map(|message| self.reset_retry_and_namespace(message));
        let known = known.map(|known| Arc::new(with_bounds(known, min_offset, max_offset)));
        let known = known.collect();
        match self.config.consume_orderly {
            true => process_queue.put_in_order(known),
            false => process_queue.put(known),
        }
    }

    /// The message as its listener knows it: of the topic that it was sent to, not of the group's retry topic, and
    /// outside of the client's namespace.
    pub(crate) fn reset_retry_and_namespace(&self, message: MessageExt) -> MessageExt {
        let message = restore_topic(message, &retry_topic(&self.config.group));
        message_without_namespace(self.instance.namespace(), message)
    }

    /// Lets a queue rest whose offset its broker corrected, and gives it up. The next rebalance takes it again,
    /// at that offset: what was committed of the old one would lead beyond messages that nobody was given. Where the log was
    /// cut, it is taken with what the listener has not consumed: RocketMQ 4.9 goes on at the new end, and what it had
    /// pulled of the messages before is never consumed.
    async fn correct_offset(
        &self,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
        pulled_offset: i64,
        result: PullResult,
    ) {
        let PullResult { mut next_begin_offset, min_offset, max_offset, .. } = result;
        tracing::warn!(?queue, next_begin_offset, min_offset, max_offset, "offset out of bounds");
        if next_begin_offset < pulled_offset {
            let known = self.state().offsets.get(&queue);
            let unconsumed = process_queue.first_cached().into_iter().chain(known).min();
            let unconsumed = unconsumed.unwrap_or(next_begin_offset);
            next_begin_offset = next_begin_offset.min(unconsumed.max(min_offset));
        }
        self.move_queue(
            &queue,
            &process_queue,
            next_begin_offset,
            next_begin_offset.min(max_offset),
        )
        .await;
    }

    /// Lets a dropped queue rest and gives it up at `offset`, which is reported as `told` at once, or where it is told to
    /// be moved meanwhile. Returns whether it was this consumer's all the while.
    pub(crate) async fn move_queue(
        &self,
        queue: &MessageQueue,
        process_queue: &Arc<ProcessQueue>,
        offset: i64,
        told: i64,
    ) -> bool {
        process_queue.move_to(offset);
        // Whoever has the queue now has set its offset.
        let set_if_mine = || {
            let mut state = self.state();
            let owner = state.process_queues.get(queue);
            let is_mine = owner.is_some_and(|owner| Arc::ptr_eq(owner, process_queue));
            if is_mine && !planted_on_this_thread(Plant::MovedInOneTable) {
                state.offsets.set(queue, process_queue.moved_to());
            }
            is_mine
        };
        if !set_if_mine() {
            return false;
        }
        self.group().tell_pull_offset(queue, told);
        tokio::time::sleep(PAUSE_BEFORE_MOVE).await;
        // A listener that had been at work may have raised it once more.
        let is_mine = set_if_mine();
        if is_mine {
            self.give_up_queue(queue, process_queue).await;
        }
        is_mine
    }
}

/// Brokers match hashes of tags; two tags may share one.
pub(crate) fn is_wanted(subscription: &SubscriptionData, message: &MessageExt) -> bool {
    let tags = &subscription.tags_set;
    tags.is_empty()
        || message.message.tags().is_some_and(|tag| tags.iter().any(|t| t == tag))
        || planted_on_this_thread(Plant::SameHashIsSameTag)
}

/// The message with the bounds of its queue when it was pulled: what lies behind it tells a listener how late
/// it is.
pub(crate) fn with_bounds(mut message: MessageExt, min_offset: i64, max_offset: i64) -> MessageExt {
    let properties = &mut message.message.properties;
    properties.insert_display(MessageConst::MIN_OFFSET, min_offset);
    properties.insert_display(MessageConst::MAX_OFFSET, max_offset);
    message
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
