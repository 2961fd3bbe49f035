//! Handing the messages of one queue to the listener, and what follows from its answer (RocketMQ 4.9
//! `ConsumeMessageConcurrentlyService`).

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::header::send_message::ConsumerSendMsgBackRequestHeader;
use mq_protocol::message::{Message, MessageConst, MessageExt, MessageQueue, retry_topic};
use mq_protocol::upstream::UpstreamSwitch;

use crate::error::ClientError;
use crate::namespace::with_namespace;
use crate::process_queue::ProcessQueue;
use crate::push_consumer::{ConsumeResult, ConsumerInner, Consumption};

/// How long messages rest that could not be sent back.
const LOCAL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The delay level that leaves the delay to the broker.
const BROKERS_DELAY_LEVEL: i32 = 0;

/// The delay level of messages that listeners have had for too long.
const EXPIRED_DELAY_LEVEL: i32 = 3;

/// How many messages of a queue may be sent back at a time because listeners have had them for too long.
const EXPIRED_MAX_AT_ONCE: usize = 16;

/// The delay level of a first redelivery, when the client sets it itself.
const FIRST_DELAY_LEVEL: i32 = 3;

/// `maxReconsumeTimes` where none is set, unless messages are consumed in order.
const MAX_RECONSUME_TIMES: i32 = 16;

impl ConsumerInner {
    /// Hands a queue's messages to the listener until the queue is dropped.
    pub(crate) async fn consume(
        self: Arc<Self>,
        queue: MessageQueue,
        process_queue: Arc<ProcessQueue>,
    ) {
        while let Some(batch) = process_queue.take(self.config.consume_message_batch_max_size).await
        {
            let permit = Arc::clone(&self.consume_permits).acquire_owned().await;
            if process_queue.is_dropped() || self.state().is_stopping {
                return;
            }
            process_queue.consume_started(&batch);
            let consumption = self.call_listener(&batch);
            if let Consumption::Done(ConsumeResult::Success) = consumption {
                self.done(&queue, &process_queue, &batch);
                continue;
            }
            // What takes longer does not hold up the rest of the queue.
            let (inner, queue) = (Arc::clone(&self), queue.clone());
            let process_queue = Arc::clone(&process_queue);
            self.tasks.spawn_until_cancelled("client consume later", async move {
                match consumption.result().await {
                    ConsumeResult::Success => inner.done(&queue, &process_queue, &batch),
                    ConsumeResult::ReconsumeLater => {
                        inner.reconsume_later(&queue, &process_queue, batch).await;
                    }
                }
                drop(permit);
            });
        }
    }

    /// Hands messages to the listener.
    pub(crate) fn call_listener(&self, batch: &[Arc<MessageExt>]) -> Consumption {
        let call = AssertUnwindSafe(|| (self.listener)(batch));
        std::panic::catch_unwind(call).unwrap_or_else(|panic| panicked(&*panic).into())
    }

    /// Sends back what listeners have had for too long, again and again.
    pub(crate) async fn clean_expired_messages(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.config.consume_timeout).await;
            let owned: Vec<_> = {
                let state = self.state();
                let queues = state.process_queues.iter();
                queues.map(|(queue, owned)| (queue.clone(), Arc::clone(owned))).collect()
            };
            for (queue, process_queue) in owned {
                self.clean_expired_of(&queue, &process_queue).await;
            }
        }
    }

    /// A message that is stuck at the front of its queue holds the offset back: it is to come again, although its
    /// listener may still end.
    async fn clean_expired_of(&self, queue: &MessageQueue, process_queue: &ProcessQueue) {
        for _ in 0..EXPIRED_MAX_AT_ONCE {
            let Some(head) = process_queue.stuck_head(self.config.consume_timeout) else { return };
            let msg_id = head.msg_id();
            tracing::warn!(?queue, msg_id, "a listener has had this message for too long");
            // What was broadcast does not come again.
            if !self.is_broadcasting()
                && let Err(error) = self.send_message_back(&head, EXPIRED_DELAY_LEVEL).await
            {
                tracing::info!(msg_id, %error, "expired message not sent back");
                return;
            }
            self.done(queue, process_queue, &[head]);
        }
    }

    /// Takes finished messages out of the cache and lets the offset follow. The result of a queue that
    /// was given up meanwhile is not recorded: its next owner gets the messages again.
    fn done(&self, queue: &MessageQueue, process_queue: &ProcessQueue, batch: &[Arc<MessageExt>]) {
        process_queue.consumed_at(self.instance.env().clock.now_millis() as i64);
        let commit = process_queue.remove(batch);
        if let Some(offset) = commit
            && !process_queue.is_dropped()
        {
            self.state().offsets.raise(queue, offset);
        }
    }

    /// Sends messages back to their broker; those that cannot be are consumed here again. By broadcasting they
    /// are dropped: nobody could tell which member they are for.
    async fn reconsume_later(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        batch: Vec<Arc<MessageExt>>,
    ) {
        if self.is_broadcasting() {
            for message in &batch {
                let msg_id = message.msg_id();
                tracing::warn!(msg_id, "message consumed in vain, dropped: it was broadcast");
            }
            return self.done(queue, process_queue, &batch);
        }
        let (mut sent_back, mut failed) = (Vec::new(), Vec::new());
        for message in batch {
            match self.send_message_back(&message, BROKERS_DELAY_LEVEL).await {
                Ok(()) => sent_back.push(message),
                Err(_) if planted_on_this_thread(Plant::NotGivenBackAndDone) => {
                    sent_back.push(message)
                }
                Err(error) => {
                    tracing::info!(msg_id = message.msg_id(), %error, "message not sent back");
                    failed.push(message);
                }
            }
        }
        self.done(queue, process_queue, &sent_back);
        if !failed.is_empty() {
            tokio::time::sleep(LOCAL_RETRY_AFTER).await;
            process_queue.put_back(failed.into_iter().map(once_more).collect());
        }
    }

    /// Asks the message's broker to redeliver it; failing that, sends a copy to the retry topic by any
    /// broker.
    async fn send_message_back(
        &self,
        message: &MessageExt,
        delay_level: i32,
    ) -> Result<(), ClientError> {
        let asked = self.ask_to_redeliver(message, delay_level).await;
        match asked {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::info!(msg_id = message.msg_id(), %error, "redelivery by a copy");
                // Brokers count the redeliveries before a message that they are asked about, and that one as well of
                // a copy. RocketMQ's copy is a dead letter one redelivery too early.
                let is_early = self.instance.config().upstream(UpstreamSwitch::EarlyDeadLetters);
                let times = message.reconsume_times.saturating_add(1);
                let more = i32::from(!is_early);
                let times_max = self.reconsume_times_max().saturating_add(more);
                let copy = self.retry_copy(message, times, times_max);
                self.inner_producer.send(copy).await.map(drop).map_err(|error| error.cause)
            }
        }
    }

    async fn ask_to_redeliver(
        &self,
        message: &MessageExt,
        delay_level: i32,
    ) -> Result<(), ClientError> {
        let topic = with_namespace(self.instance.namespace(), &message.message.topic);
        let addr = self.instance.master_addr(&topic, &message.broker_name).await?;
        let header = ConsumerSendMsgBackRequestHeader {
            offset: message.phy_offset,
            group: self.config.group.clone(),
            delay_level,
            origin_msg_id: Some(message.msg_id()),
            origin_topic: Some(topic),
            unit_mode: self.instance.config().unit_mode,
            max_reconsume_times: Some(self.reconsume_times_max()),
        };
        self.instance.api().consumer_send_message_back(&addr, &header).await
    }

    /// Redeliveries before a message becomes a dead letter.
    pub(crate) fn reconsume_times_max(&self) -> i32 {
        match self.config.reconsume_times_max {
            -1 if self.config.consume_orderly => i32::MAX,
            -1 => MAX_RECONSUME_TIMES,
            times => times,
        }
    }

    /// A message for the retry topic, as one that was consumed in vain `reconsume_times` times; with `times_max`
    /// of them it is a dead letter.
    pub(crate) fn retry_copy(
        &self,
        message: &MessageExt,
        reconsume_times: i32,
        times_max: i32,
    ) -> Message {
        let mut copy = message.message.clone();
        let origin_id = match copy.properties.get(MessageConst::ORIGIN_MESSAGE_ID) {
            Some(id) => id.to_owned(),
            None => message.msg_id(),
        };
        let properties = &mut copy.properties;
        properties.insert(MessageConst::ORIGIN_MESSAGE_ID, &origin_id);
        let topic = with_namespace(self.instance.namespace(), &message.message.topic);
        properties.insert(MessageConst::RETRY_TOPIC, &topic);
        properties.insert_display(MessageConst::RECONSUME_TIME, reconsume_times);
        properties.insert_display(MessageConst::MAX_RECONSUME_TIMES, times_max);
        // The transaction is over: as a half message the copy would wait for its end for ever.
        properties.remove(MessageConst::TRAN_MSG);
        let delay_level = FIRST_DELAY_LEVEL.saturating_add(message.reconsume_times);
        properties.insert_display(MessageConst::DELAY, delay_level);
        copy.topic = retry_topic(&self.config.group);
        copy
    }
}

/// The message with its count of vain deliveries raised.
pub(crate) fn once_more(message: Arc<MessageExt>) -> Arc<MessageExt> {
    let mut message = Arc::unwrap_or_clone(message);
    message.reconsume_times = message.reconsume_times.saturating_add(1);
    Arc::new(message)
}

impl Consumption {
    /// The result, once it is there.
    pub(crate) async fn result(self) -> ConsumeResult {
        match self {
            Consumption::Done(result) => result,
            Consumption::Later(future) => {
                let result = AssertUnwindSafe(future).catch_unwind().await;
                result.unwrap_or_else(|panic| panicked(&*panic))
            }
        }
    }
}

/// What a listener that panics has answered, as one that throws has in Java. It is the application's code: the
/// client's own panics are not caught.
fn panicked(panic: &(dyn Any + Send)) -> ConsumeResult {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("no text"), "listener panicked: messages come again");
    ConsumeResult::ReconsumeLater
}
