//! [`Producer`]: sends messages (RocketMQ 4.9 `DefaultMQProducer`, its synchronous send).
//!
//! A send makes up to three attempts within one time budget. Every attempt carries the same
//! `UNIQ_KEY`, so what was stored twice can be told; a retry avoids the broker of the attempt
//! before. Windows of sends in flight are the caller's: `send` may be called concurrently.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message::{
    Message, MessageConst, MessageQueue, Properties, RETRY_GROUP_TOPIC_PREFIX,
};
use mq_protocol::message_codec::compress_body;
use mq_protocol::sys_flag::MessageSysFlag;
use tokio::time::Instant;

use crate::api::{SendResult, SendStatus};
use crate::error::{ClientError, SendError};
use crate::instance::ClientInstance;

/// ZLIB level of compressed bodies.
const COMPRESS_LEVEL: u32 = 5;

/// Settings of a [`Producer`], with RocketMQ's defaults.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Producer group.
    pub group: String,
    /// Budget of one send, all attempts together (`sendMsgTimeout`).
    pub send_msg_timeout: Duration,
    /// Attempts beyond the first (`retryTimesWhenSendFailed`).
    pub retry_times_when_send_failed: u32,
    /// Whether a result other than SEND_OK is tried again on another broker
    /// (`retryAnotherBrokerWhenNotStoreOK`).
    pub retry_another_broker_when_not_store_ok: bool,
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
            retry_another_broker_when_not_store_ok: false,
            compress_body_over_bytes: 4096,
            message_size_max_bytes: 4 << 20,
            create_topic_key: "TBW102".to_owned(),
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
    /// Where the choice of queues stands, by topic.
    which_queue: Mutex<BTreeMap<String, usize>>,
}

impl Producer {
    /// A producer; the brokers known hear of its group at once, the others with the next heartbeat.
    #[must_use]
    pub fn new(instance: &ClientInstance, config: ProducerConfig) -> Self {
        instance.register_producer(&config.group);
        let inner = Inner { instance: instance.clone(), config, which_queue: Mutex::default() };
        Producer { inner: Arc::new(inner) }
    }

    /// Sends to the topic's queues in turn, trying again where that makes sense.
    ///
    /// `Ok` may carry another status than [`SendStatus::SendOk`]: stored, but without the guarantee.
    ///
    /// # Errors
    /// When no attempt was acknowledged; [`SendError::maybe_stored`] tells whether the outcome is open.
    pub async fn send(&self, mut message: Message) -> Result<SendResult, SendError> {
        let config = &self.inner.config;
        let deadline = Instant::now() + config.send_msg_timeout;
        let mut failure =
            SendError { cause: ClientError::CallTimeout, attempts: 0, maybe_stored: false };
        let queues = match self.prepare(&mut message, deadline).await {
            Ok(queues) => queues,
            Err(cause) => return Err(SendError { cause, ..failure }),
        };
        let outgoing = self.outgoing(message);
        let mut stored_otherwise = None;
        let mut last_broker: Option<&str> = None;
        for _ in 0..=config.retry_times_when_send_failed {
            let queue = self.select_one_message_queue(&outgoing.topic, &queues, last_broker);
            last_broker = Some(&queue.broker_name);
            if deadline <= Instant::now() {
                failure.cause = ClientError::CallTimeout;
                break;
            }
            failure.attempts += 1;
            match self.send_kernel(&outgoing, queue, deadline).await {
                Ok(result)
                    if result.send_status != SendStatus::SendOk
                        && config.retry_another_broker_when_not_store_ok =>
                {
                    stored_otherwise = Some(SendResult { attempts: failure.attempts, ..result });
                }
                Ok(result) => return Ok(SendResult { attempts: failure.attempts, ..result }),
                Err(cause) => {
                    failure.maybe_stored |= cause.maybe_executed();
                    let retry = is_worth_a_retry(&cause);
                    failure.cause = cause;
                    if !retry {
                        break;
                    }
                }
            }
        }
        stored_otherwise.ok_or(failure)
    }

    /// Sends to one queue, once.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_to(
        &self,
        mut message: Message,
        queue: &MessageQueue,
    ) -> Result<SendResult, SendError> {
        let deadline = Instant::now() + self.inner.config.send_msg_timeout;
        let failure = |cause: ClientError, attempts| SendError {
            maybe_stored: cause.maybe_executed(),
            cause,
            attempts,
        };
        if message.topic != queue.topic {
            let text = format!("of topic {}, not {}", message.topic, queue.topic);
            return Err(failure(ClientError::IllegalMessage(text), 0));
        }
        self.prepare(&mut message, deadline).await.map_err(|cause| failure(cause, 0))?;
        let sent = self.send_kernel(&self.outgoing(message), queue, deadline).await;
        sent.map_err(|cause| failure(cause, 1))
    }

    /// Sends once without asking for an answer.
    ///
    /// # Errors
    /// When nothing was sent. `Ok` does not say that the message arrived.
    pub async fn send_oneway(&self, mut message: Message) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.inner.config.send_msg_timeout;
        let queues = self.prepare(&mut message, deadline).await?;
        let outgoing = self.outgoing(message);
        let queue = self.select_one_message_queue(&outgoing.topic, &queues, None);
        let addr = self.inner.instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let header = self.header(&outgoing, queue);
        self.inner.instance.api().send_message_oneway(&addr, &header, outgoing.body)
    }

    pub(crate) fn instance(&self) -> &ClientInstance {
        &self.inner.instance
    }

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
        let config = &self.inner.config;
        let (key, queue_nums) = (&config.create_topic_key, config.default_topic_queue_nums);
        let queues = self.inner.instance.publish_queues(topic, key, queue_nums).await?;
        Ok(queues.to_vec())
    }

    /// Checks a message, gives it a `UNIQ_KEY` and finds the queues of its topic.
    async fn prepare(
        &self,
        message: &mut Message,
        deadline: Instant,
    ) -> Result<Arc<[MessageQueue]>, ClientError> {
        self.check(message)?;
        self.inner.instance.set_uniq_key(message);
        let config = &self.inner.config;
        let (key, queue_nums) = (&config.create_topic_key, config.default_topic_queue_nums);
        let queues = self.inner.instance.publish_queues(&message.topic, key, queue_nums);
        let queues = tokio::time::timeout_at(deadline, queues).await;
        queues.unwrap_or(Err(ClientError::CallTimeout))
    }

    fn check(&self, message: &Message) -> Result<(), ClientError> {
        let refuse = |text: &str| Err(ClientError::IllegalMessage(text.to_owned()));
        let legal = |c: char| c.is_ascii_alphanumeric() || "%|_-".contains(c);
        if message.topic.is_empty() || message.topic.len() > 127 {
            return refuse("the topic has no or more than 127 characters");
        }
        if !message.topic.chars().all(legal) {
            return refuse("the topic has characters other than %|a-zA-Z0-9_-");
        }
        if message.body.is_empty() {
            return refuse("the body is empty");
        }
        if message.body.len() > self.inner.config.message_size_max_bytes {
            return refuse("the body is too long");
        }
        Ok(())
    }

    /// What all attempts of one send have in common.
    fn outgoing(&self, mut message: Message) -> Outgoing {
        let mut sys_flag = 0;
        let mut body = message.body;
        if body.len() > self.inner.config.compress_body_over_bytes {
            body = compress_body(&body, COMPRESS_LEVEL);
            sys_flag |= MessageSysFlag::COMPRESSED;
        }
        let properties = &mut message.properties;
        if properties.get(MessageConst::TRAN_MSG) == Some("true") {
            sys_flag |= MessageSysFlag::TRANSACTION_PREPARED;
        }
        let (mut reconsume_times, mut max_reconsume_times) = (0, None);
        if message.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) {
            reconsume_times =
                take_number(properties, MessageConst::RECONSUME_TIME).unwrap_or_default();
            max_reconsume_times = take_number(properties, MessageConst::MAX_RECONSUME_TIMES);
        }
        Outgoing {
            uniq_key: properties.get(MessageConst::UNIQ_KEY).unwrap_or_default().to_owned(),
            topic: message.topic,
            flag: message.flag,
            sys_flag,
            properties: properties.to_string(),
            reconsume_times,
            max_reconsume_times,
            body,
        }
    }

    /// The next queue in turn; the first one that is not of `last_broker` if there is such a one
    /// (Java `TopicPublishInfo.selectOneMessageQueue`).
    fn select_one_message_queue<'a>(
        &self,
        topic: &str,
        queues: &'a [MessageQueue],
        last_broker: Option<&str>,
    ) -> &'a MessageQueue {
        let mut which_queue = self.inner.which_queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !which_queue.contains_key(topic) {
            let start = self.inner.instance.random_below(queues.len());
            which_queue.insert(topic.to_owned(), start);
        }
        let index = which_queue.entry(topic.to_owned()).or_default();
        let mut next = || {
            *index = index.wrapping_add(1);
            &queues[*index % queues.len()]
        };
        if last_broker.is_some() {
            for _ in 0..queues.len() {
                let queue = next();
                if last_broker != Some(&queue.broker_name) {
                    return queue;
                }
            }
        }
        next()
    }

    /// One attempt.
    async fn send_kernel(
        &self,
        outgoing: &Outgoing,
        queue: &MessageQueue,
        deadline: Instant,
    ) -> Result<SendResult, ClientError> {
        let instance = &self.inner.instance;
        let addr = instance.master_addr(&queue.topic, &queue.broker_name);
        let addr = tokio::time::timeout_at(deadline, addr).await;
        let addr = addr.unwrap_or(Err(ClientError::CallTimeout))?;
        let timeout = deadline.saturating_duration_since(Instant::now());
        if timeout.is_zero() {
            return Err(ClientError::CallTimeout);
        }
        let header = self.header(outgoing, queue);
        let body = outgoing.body.clone();
        let (send_status, response) =
            instance.api().send_message(&addr, &header, body, timeout).await?;
        Ok(SendResult {
            send_status,
            msg_id: outgoing.uniq_key.clone(),
            offset_msg_id: response.msg_id,
            message_queue: MessageQueue { queue_id: response.queue_id, ..queue.clone() },
            queue_offset: response.queue_offset,
            attempts: 1,
        })
    }

    fn header(&self, outgoing: &Outgoing, queue: &MessageQueue) -> SendMessageRequestHeader {
        let config = &self.inner.config;
        SendMessageRequestHeader {
            producer_group: config.group.clone(),
            topic: outgoing.topic.clone(),
            default_topic: config.create_topic_key.clone(),
            default_topic_queue_nums: config.default_topic_queue_nums,
            queue_id: queue.queue_id,
            sys_flag: outgoing.sys_flag,
            born_timestamp: self.inner.instance.env().clock.now_millis() as i64,
            flag: outgoing.flag,
            properties: Some(outgoing.properties.clone()),
            reconsume_times: Some(outgoing.reconsume_times),
            unit_mode: Some(false),
            max_reconsume_times: outgoing.max_reconsume_times,
            batch: Some(false),
            broker_name: Some(queue.broker_name.clone()),
        }
    }
}

/// A message as every attempt sends it.
struct Outgoing {
    topic: String,
    flag: i32,
    sys_flag: i32,
    uniq_key: String,
    properties: String,
    reconsume_times: i32,
    max_reconsume_times: Option<i32>,
    body: Bytes,
}

/// Moves a number from the properties into the header.
fn take_number(properties: &mut Properties, name: &str) -> Option<i32> {
    let number = properties.get(name)?.parse().ok();
    properties.remove(name);
    number
}

/// Whether another broker may do better (`retryResponseCodes`).
fn is_worth_a_retry(error: &ClientError) -> bool {
    match error {
        ClientError::Broker { code, .. } => matches!(
            *code,
            ResponseCode::TOPIC_NOT_EXIST
                | ResponseCode::SERVICE_NOT_AVAILABLE
                | ResponseCode::SYSTEM_ERROR
                | ResponseCode::NO_PERMISSION
                | ResponseCode::NO_BUYER_ID
                | ResponseCode::NOT_IN_CURRENT_UNIT
        ),
        ClientError::IllegalMessage(_) | ClientError::ShutDown => false,
        _ => true,
    }
}
