//! Handing the messages of one queue to the listener, and what follows from its answer (RocketMQ 4.9
//! `ConsumeMessageConcurrentlyService`).

use std::sync::Arc;
use std::time::Duration;

use mq_protocol::header::send_message::ConsumerSendMsgBackRequestHeader;
use mq_protocol::message::{Message, MessageConst, MessageExt, MessageQueue, retry_topic};

use crate::error::ClientError;
use crate::namespace::with_namespace;
use crate::process_queue::ProcessQueue;
use crate::push_consumer::{ConsumeResult, ConsumerInner, Consumption};

/// How long messages rest that could not be sent back.
const LOCAL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The delay level of a first redelivery, when the client sets it itself.
const FIRST_DELAY_LEVEL: i32 = 3;

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
            if process_queue.is_dropped() {
                return;
            }
            let consumption = (self.listener)(&batch);
            if let Consumption::Done(ConsumeResult::Success) = consumption {
                self.done(&queue, &process_queue, &batch);
                continue;
            }
            // What takes longer does not hold up the rest of the queue.
            let (inner, queue) = (Arc::clone(&self), queue.clone());
            let process_queue = Arc::clone(&process_queue);
            self.tasks.spawn_until_cancelled("client consume later", async move {
                let result = match consumption {
                    Consumption::Done(result) => result,
                    Consumption::Later(future) => future.await,
                };
                match result {
                    ConsumeResult::Success => inner.done(&queue, &process_queue, &batch),
                    ConsumeResult::ReconsumeLater => {
                        inner.reconsume_later(&queue, &process_queue, batch).await;
                    }
                }
                drop(permit);
            });
        }
    }

    /// Takes finished messages out of the cache and lets the offset follow. The result of a queue that
    /// was given up meanwhile is not recorded: its next owner gets the messages again.
    fn done(&self, queue: &MessageQueue, process_queue: &ProcessQueue, batch: &[Arc<MessageExt>]) {
        let commit = process_queue.remove(batch);
        if let Some(offset) = commit
            && !process_queue.is_dropped()
        {
            self.state().offsets.raise(queue, offset);
        }
    }

    /// Sends messages back to their broker; those that cannot be are consumed here again.
    async fn reconsume_later(
        &self,
        queue: &MessageQueue,
        process_queue: &ProcessQueue,
        batch: Vec<Arc<MessageExt>>,
    ) {
        let (mut sent_back, mut failed) = (Vec::new(), Vec::new());
        for message in batch {
            match self.send_message_back(&message).await {
                Ok(()) => sent_back.push(message),
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
    async fn send_message_back(&self, message: &MessageExt) -> Result<(), ClientError> {
        let asked = self.ask_to_redeliver(message).await;
        match asked {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::info!(msg_id = message.msg_id(), %error, "redelivery by a copy");
                let copy = self.retry_copy(message);
                self.inner_producer.send(copy).await.map(drop).map_err(|error| error.cause)
            }
        }
    }

    async fn ask_to_redeliver(&self, message: &MessageExt) -> Result<(), ClientError> {
        let topic = with_namespace(self.instance.namespace(), &message.message.topic);
        let addr = self.instance.master_addr(&topic, &message.broker_name).await?;
        let header = ConsumerSendMsgBackRequestHeader {
            offset: message.phy_offset,
            group: self.config.group.clone(),
            delay_level: 0,
            origin_msg_id: Some(message.msg_id()),
            origin_topic: Some(topic),
            unit_mode: self.instance.config().unit_mode,
            max_reconsume_times: Some(self.config.reconsume_times_max),
        };
        self.instance.api().consumer_send_message_back(&addr, &header).await
    }

    fn retry_copy(&self, message: &MessageExt) -> Message {
        let mut copy = message.message.clone();
        let origin_id = match copy.properties.get(MessageConst::ORIGIN_MESSAGE_ID) {
            Some(id) => id.to_owned(),
            None => message.msg_id(),
        };
        let properties = &mut copy.properties;
        properties.insert(MessageConst::ORIGIN_MESSAGE_ID, &origin_id);
        let topic = with_namespace(self.instance.namespace(), &message.message.topic);
        properties.insert(MessageConst::RETRY_TOPIC, &topic);
        properties.insert_display(MessageConst::RECONSUME_TIME, message.reconsume_times + 1);
        let times_max = self.config.reconsume_times_max;
        properties.insert_display(MessageConst::MAX_RECONSUME_TIMES, times_max);
        let delay_level = FIRST_DELAY_LEVEL + message.reconsume_times;
        properties.insert_display(MessageConst::DELAY, delay_level);
        copy.topic = retry_topic(&self.config.group);
        copy
    }
}

/// The message with its count of vain deliveries raised.
fn once_more(message: Arc<MessageExt>) -> Arc<MessageExt> {
    let mut message = Arc::unwrap_or_clone(message);
    message.reconsume_times += 1;
    Arc::new(message)
}
