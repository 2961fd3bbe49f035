//! [`Producer`]: sends messages (RocketMQ 4.9 `DefaultMQProducer`).
//!
//! A send makes up to three attempts within one time budget. Every attempt carries the same
//! `UNIQ_KEY`, so what was stored twice can be told; a retry avoids the broker of the attempt
//! before. Windows of sends in flight are the caller's: sends may be called concurrently.

mod outgoing;
mod queue_choice;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mq_protocol::codes::ResponseCode;
use mq_protocol::message::{Message, MessageQueue};
use mq_protocol::topic_validator::{
    AUTO_CREATE_TOPIC_KEY_TOPIC, is_not_allowed_send_topic, validate_topic,
};
use mq_protocol::upstream::UpstreamSwitch;
use tokio::time::Instant;

use crate::api::{SendResult, SendStatus};
use crate::error::{ClientError, SendError};
use crate::instance::{CLIENT_INNER_PRODUCER_GROUP, ClientInstance};
use crate::message_batch::check_batch;
use crate::namespace::{
    queue_with_namespace, queue_without_namespace, with_namespace, without_namespace,
};
use crate::request_reply::is_reply;
use crate::selector::MessageQueueSelector;

pub(crate) use outgoing::Outgoing;
use queue_choice::QueueChoice;

/// Settings of a [`Producer`], with RocketMQ's defaults.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Producer group.
    pub group: String,
    /// Budget of one send, all attempts together (`sendMsgTimeout`).
    pub send_msg_timeout: Duration,
    /// Attempts beyond the first (`retryTimesWhenSendFailed`).
    pub retry_times_when_send_failed: u32,
    /// Attempts of [`Producer::send_async`] beyond the first (`retryTimesWhenSendAsyncFailed`).
    pub retry_times_when_send_async_failed: u32,
    /// What brokers answer that another one may do better (`retryResponseCodes`).
    pub retry_response_codes: BTreeSet<i32>,
    /// Whether a result other than SEND_OK is tried again on another broker
    /// (`retryAnotherBrokerWhenNotStoreOK`).
    pub retry_another_broker_when_not_store_ok: bool,
    /// Whether brokers that answer slowly or not at all are left alone for a while
    /// (`sendLatencyFaultEnable`).
    pub send_latency_fault_enable: bool,
    /// Bodies longer than this are compressed, in bytes (`compressMsgBodyOverHowmuch`).
    pub compress_body_over_bytes: usize,
    /// Longest body in bytes (`maxMessageSize`).
    pub message_size_max_bytes: usize,
    /// The topic after which unknown ones are created (`createTopicKey`).
    pub create_topic_key: String,
    /// Queues that an unknown topic is created with, per broker (`defaultTopicQueueNums`).
    pub default_topic_queue_nums: i32,
}

impl ProducerConfig {
    /// The defaults for `group`.
    #[must_use]
    pub fn new(group: impl Into<String>) -> Self {
        ProducerConfig {
            group: group.into(),
            send_msg_timeout: Duration::from_secs(3),
            retry_times_when_send_failed: 2,
            retry_times_when_send_async_failed: 2,
            retry_response_codes: BTreeSet::from([
                ResponseCode::TOPIC_NOT_EXIST,
                ResponseCode::SERVICE_NOT_AVAILABLE,
                ResponseCode::SYSTEM_ERROR,
                ResponseCode::NO_PERMISSION,
                ResponseCode::NO_BUYER_ID,
                ResponseCode::NOT_IN_CURRENT_UNIT,
            ]),
            retry_another_broker_when_not_store_ok: false,
            send_latency_fault_enable: false,
            compress_body_over_bytes: 4096,
            message_size_max_bytes: 4 << 20,
            create_topic_key: AUTO_CREATE_TOPIC_KEY_TOPIC.to_owned(),
            default_topic_queue_nums: 4,
        }
    }
}

/// A producer; clones are the same one.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    instance: ClientInstance,
    config: ProducerConfig,
    queue_choice: QueueChoice,
}

/// What of a send is tried again (RocketMQ 4.9 `CommunicationMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommunicationMode {
    /// Whatever another broker may do better.
    Sync,
    /// What the network is to blame for.
    Async,
}

impl Producer {
    /// A producer; the brokers known hear of its group at once, the others with the next heartbeat.
    #[must_use]
    pub fn new(instance: &ClientInstance, mut config: ProducerConfig) -> Self {
        if config.group != CLIENT_INNER_PRODUCER_GROUP {
            config.group = with_namespace(instance.namespace(), &config.group);
        }
        instance.register_producer(&config.group);
        let queue_choice = QueueChoice::new(instance, config.send_latency_fault_enable);
        let inner = Inner { instance: instance.clone(), config, queue_choice };
        Producer { inner: Arc::new(inner) }
    }

    /// Sends to the topic's queues in turn, trying again where that makes sense.
    ///
    /// `Ok` may carry another status than [`SendStatus::SendOk`]: stored, but without the guarantee.
    ///
    /// # Errors
    /// When no attempt was acknowledged; [`SendError::maybe_stored`] tells whether the outcome is open.
    pub async fn send(&self, message: Message) -> Result<SendResult, SendError> {
        let deadline = self.deadline();
        let outgoing = self.outgoing(message).map_err(SendError::not_sent)?;
        self.send_default(&outgoing, deadline, CommunicationMode::Sync).await
    }

    /// Sends as RocketMQ's asynchronous send does: a broker that answers is not asked again, nor another one
    /// in its place, whatever the answer; only what the network did not carry is tried again. A timeout leaves
    /// the connection open. The caller decides what else is done meanwhile.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_async(&self, message: Message) -> Result<SendResult, SendError> {
        let deadline = self.deadline();
        let outgoing = self.outgoing(message).map_err(SendError::not_sent)?;
        self.send_default(&outgoing, deadline, CommunicationMode::Async).await
    }

    /// Sends several messages to one queue, where they are stored together or not at all; the rest is as in
    /// [`Producer::send`]. The ids in the result are joined by commas.
    ///
    /// # Errors
    /// As [`Producer::send`], and when the messages may not travel together: they are of several topics or of
    /// a retry topic, some wait for the broker's promise and some do not, one is delayed, or
    /// all of them are too long ([`split_messages`](crate::split_messages) helps).
    pub async fn send_batch(&self, messages: Vec<Message>) -> Result<SendResult, SendError> {
        let deadline = self.deadline();
        let outgoing = self.outgoing_batch(messages).map_err(SendError::not_sent)?;
        self.send_default(&outgoing, deadline, CommunicationMode::Sync).await
    }

    /// Sends to one queue, once.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_to(
        &self,
        message: Message,
        queue: &MessageQueue,
    ) -> Result<SendResult, SendError> {
        let deadline = self.deadline();
        let outgoing = self.outgoing(message).map_err(SendError::not_sent)?;
        self.send_outgoing_to(&outgoing, queue, deadline).await
    }

    /// Sends several messages to one queue, once; see [`Producer::send_batch`].
    ///
    /// # Errors
    /// As [`Producer::send_batch`].
    pub async fn send_batch_to(
        &self,
        messages: Vec<Message>,
        queue: &MessageQueue,
    ) -> Result<SendResult, SendError> {
        let deadline = self.deadline();
        let outgoing = self.outgoing_batch(messages).map_err(SendError::not_sent)?;
        self.send_outgoing_to(&outgoing, queue, deadline).await
    }

    /// Sends to the queue that `selector` chooses, once: another queue would break the order that the
    /// choice is for.
    ///
    /// # Errors
    /// As [`Producer::send`], and when no queue is chosen.
    pub async fn send_with_selector<A: ?Sized>(
        &self,
        message: Message,
        selector: &impl MessageQueueSelector<A>,
        arg: &A,
    ) -> Result<SendResult, SendError> {
        let deadline = self.deadline();
        let plain = Message {
            topic: without_namespace(self.namespace(), &message.topic),
            ..message.clone()
        };
        let outgoing = self.outgoing(message).map_err(SendError::not_sent)?;
        let queues =
            self.publish_queues(&outgoing.topic, deadline).await.map_err(SendError::not_sent)?;
        let queues = self.without_namespace(&queues);
        let Some(queue) = selector.select(&queues, &plain, arg) else {
            let text = "the selector chooses no queue".to_owned();
            return Err(SendError::not_sent(ClientError::IllegalMessage(text)));
        };
        self.send_outgoing_to(&outgoing, queue, deadline).await
    }

    /// Sends once without asking for an answer.
    ///
    /// # Errors
    /// When nothing was sent. `Ok` does not say that the message arrived.
    pub async fn send_oneway(&self, message: Message) -> Result<(), ClientError> {
        let deadline = self.deadline();
        let outgoing = self.outgoing(message)?;
        let queues = self.publish_queues(&outgoing.topic, deadline).await?;
        let Inner { instance, config, queue_choice } = &*self.inner;
        let topic = &outgoing.topic;
        let queue = queue_choice.select_one_message_queue(instance, topic, &queues, None);
        let addr = instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let request = outgoing.request(config, instance, &queue);
        instance.api().send_message_oneway(&addr, request)
    }

    pub(crate) fn instance(&self) -> &ClientInstance {
        &self.inner.instance
    }

    /// The group, within the client's namespace.
    pub(crate) fn group(&self) -> &str {
        &self.inner.config.group
    }

    /// The queues to which messages of `topic` may be sent, by broker name and queue id.
    ///
    /// # Errors
    /// When the name servers know of none, or do not answer.
    pub async fn fetch_publish_message_queues(
        &self,
        topic: &str,
    ) -> Result<Vec<MessageQueue>, ClientError> {
        let topic = with_namespace(self.namespace(), topic);
        let queues = self.find_publish_queues(&topic).await?;
        Ok(self.without_namespace(&queues))
    }

    /// Checks a message, gives it a `UNIQ_KEY` and makes it what all attempts send.
    pub(crate) fn outgoing(&self, mut message: Message) -> Result<Outgoing, ClientError> {
        // A reply goes to the topic of its broker's cluster, which is in no namespace; 4.9 sends it to a
        // topic of that name in the producer's.
        if !is_reply(&message.properties) {
            message.topic = with_namespace(self.namespace(), &message.topic);
        }
        self.check(&message)?;
        self.inner.instance.set_uniq_key(&mut message);
        Ok(Outgoing::of(message, &self.inner.config, self.namespace()))
    }

    /// As [`Producer::outgoing`], of messages that travel together.
    fn outgoing_batch(&self, mut messages: Vec<Message>) -> Result<Outgoing, ClientError> {
        check_batch(&messages)?;
        for message in &mut messages {
            message.topic = with_namespace(self.namespace(), &message.topic);
            self.check(message)?;
            self.inner.instance.set_uniq_key(message);
        }
        let outgoing = Outgoing::of_batch(&messages, self.namespace())?;
        self.check_length(outgoing.body_bytes())?;
        Ok(outgoing)
    }

    fn check(&self, message: &Message) -> Result<(), ClientError> {
        let refuse = |text: String| Err(ClientError::IllegalMessage(text));
        if let Err(text) = validate_topic(&message.topic) {
            return refuse(text.to_owned());
        }
        if is_not_allowed_send_topic(&message.topic) {
            return refuse(format!("Sending message to topic[{}] is forbidden.", message.topic));
        }
        if message.body.is_empty() {
            return refuse("the body is empty".to_owned());
        }
        self.check_length(message.body.len())
    }

    fn check_length(&self, body_bytes: usize) -> Result<(), ClientError> {
        let max_bytes = self.inner.config.message_size_max_bytes;
        if body_bytes <= max_bytes {
            return Ok(());
        }
        let text = format!("the body has {body_bytes} bytes, more than {max_bytes}");
        Err(ClientError::IllegalMessage(text))
    }

    /// Sends to the topic's queues in turn, as often as `mode` and the settings say.
    pub(crate) async fn send_default(
        &self,
        outgoing: &Outgoing,
        deadline: Instant,
        mode: CommunicationMode,
    ) -> Result<SendResult, SendError> {
        let Inner { instance, config, queue_choice } = &*self.inner;
        let queues =
            self.publish_queues(&outgoing.topic, deadline).await.map_err(SendError::not_sent)?;
        let mut failure = SendError::not_sent(ClientError::CallTimeout);
        let mut stored_otherwise = None;
        let mut last_broker: Option<String> = None;
        for _ in 0..=mode.retry_times(config) {
            let last = last_broker.as_deref();
            let topic = &outgoing.topic;
            let queue = queue_choice.select_one_message_queue(instance, topic, &queues, last);
            if deadline <= Instant::now() {
                failure.cause = ClientError::CallTimeout;
                break;
            }
            failure.attempts += 1;
            let begin = Instant::now();
            let sent = self.send_kernel(outgoing, &queue, deadline, mode).await;
            queue_choice.update_fault_item(&queue.broker_name, begin.elapsed(), sent.is_err());
            match sent {
                Ok(result) if mode.wants_another_broker(config, &result) => {
                    stored_otherwise = Some(SendResult { attempts: failure.attempts, ..result });
                }
                Ok(result) => return Ok(SendResult { attempts: failure.attempts, ..result }),
                Err(cause) => {
                    failure.maybe_stored |= cause.maybe_executed();
                    let retry = mode.is_worth_a_retry(config, &cause);
                    failure.cause = cause;
                    if !retry {
                        break;
                    }
                }
            }
            last_broker = Some(queue.broker_name);
        }
        stored_otherwise.ok_or(failure)
    }

    /// Sends to one queue, once.
    async fn send_outgoing_to(
        &self,
        outgoing: &Outgoing,
        queue: &MessageQueue,
        deadline: Instant,
    ) -> Result<SendResult, SendError> {
        let queue = queue_with_namespace(self.namespace(), queue);
        if outgoing.topic != queue.topic {
            let text = format!("of topic {}, not {}", outgoing.topic, queue.topic);
            return Err(SendError::not_sent(ClientError::IllegalMessage(text)));
        }
        self.publish_queues(&outgoing.topic, deadline).await.map_err(SendError::not_sent)?;
        let sent = self.send_kernel(outgoing, &queue, deadline, CommunicationMode::Sync).await;
        sent.map_err(|cause| SendError { maybe_stored: cause.maybe_executed(), cause, attempts: 1 })
    }

    /// One attempt.
    async fn send_kernel(
        &self,
        outgoing: &Outgoing,
        queue: &MessageQueue,
        deadline: Instant,
        mode: CommunicationMode,
    ) -> Result<SendResult, ClientError> {
        let Inner { instance, config, .. } = &*self.inner;
        let addr = instance.master_addr(&queue.topic, &queue.broker_name);
        let addr = tokio::time::timeout_at(deadline, addr).await;
        let addr = addr.unwrap_or(Err(ClientError::CallTimeout))?;
        let timeout = deadline.saturating_duration_since(Instant::now());
        if timeout.is_zero() {
            return Err(ClientError::CallTimeout);
        }
        let closes = mode == CommunicationMode::Sync && self.tells_of_connection(outgoing, timeout);
        let request = outgoing.request(config, instance, queue);
        let (send_status, response) =
            instance.api().send_message(&addr, request, timeout, closes).await?;
        let queue = queue_without_namespace(self.namespace(), queue);
        Ok(SendResult {
            send_status,
            msg_id: outgoing.msg_id.clone(),
            offset_msg_id: response.msg_id,
            message_queue: MessageQueue { queue_id: response.queue_id, ..queue },
            queue_offset: response.queue_offset,
            attempts: 1,
        })
    }

    /// Whether an answer that does not come within `timeout` is the connection's fault: not where most of the send's time
    /// went to another broker, and not that of a reply, for which the broker waits for whoever had asked. With the
    /// connection everything would go that others wait for, and consumers be taken for gone until the next heartbeat.
    fn tells_of_connection(&self, outgoing: &Outgoing, timeout: Duration) -> bool {
        let Inner { instance, config, .. } = &*self.inner;
        let had_its_time = timeout * 2 >= config.send_msg_timeout && !outgoing.is_reply();
        had_its_time || instance.config().upstream(UpstreamSwitch::EveryTimeoutCloses)
    }

    async fn publish_queues(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Arc<[MessageQueue]>, ClientError> {
        let queues = tokio::time::timeout_at(deadline, self.find_publish_queues(topic)).await;
        queues.unwrap_or(Err(ClientError::CallTimeout))
    }

    /// The queues of a topic within the client's namespace.
    pub(crate) async fn find_publish_queues(
        &self,
        topic: &str,
    ) -> Result<Arc<[MessageQueue]>, ClientError> {
        let config = &self.inner.config;
        let (key, queue_nums) = (&config.create_topic_key, config.default_topic_queue_nums);
        self.inner.instance.publish_queues(topic, key, queue_nums).await
    }

    fn without_namespace(&self, queues: &[MessageQueue]) -> Vec<MessageQueue> {
        queues.iter().map(|queue| queue_without_namespace(self.namespace(), queue)).collect()
    }

    fn namespace(&self) -> &str {
        self.inner.instance.namespace()
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.inner.config.send_msg_timeout
    }
}

impl CommunicationMode {
    fn retry_times(self, config: &ProducerConfig) -> u32 {
        match self {
            CommunicationMode::Sync => config.retry_times_when_send_failed,
            CommunicationMode::Async => config.retry_times_when_send_async_failed,
        }
    }

    /// Whether what is stored without the guarantee is sent once more.
    fn wants_another_broker(self, config: &ProducerConfig, result: &SendResult) -> bool {
        self == CommunicationMode::Sync
            && result.send_status != SendStatus::SendOk
            && config.retry_another_broker_when_not_store_ok
    }

    /// Whether another attempt, at another broker if there is one, may do better. Where 4.9 tries an
    /// asynchronous send again it keeps the queue's number, which the other broker may not have; here the
    /// number is that of the queue chosen.
    fn is_worth_a_retry(self, config: &ProducerConfig, error: &ClientError) -> bool {
        match error {
            ClientError::Remoting(_) => true,
            _ if self == CommunicationMode::Async => false,
            ClientError::Broker { code, .. } => config.retry_response_codes.contains(code),
            ClientError::IllegalMessage(_) | ClientError::ShutDown => false,
            _ => true,
        }
    }
}
