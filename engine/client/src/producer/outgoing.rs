//! [`Outgoing`]: a message, or a batch of them, as every attempt sends it (RocketMQ 4.9
//! `DefaultMQProducerImpl.sendKernelImpl`).

use bytes::Bytes;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message::{
    Message, MessageConst, MessageQueue, Properties, RETRY_GROUP_TOPIC_PREFIX,
};
use mq_protocol::message_codec::compress_body;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::MessageSysFlag;

use super::ProducerConfig;
use crate::error::ClientError;
use crate::instance::ClientInstance;
use crate::message_batch::encode_batch;
use crate::request_reply::is_reply;

/// ZLIB level of compressed bodies.
const COMPRESS_LEVEL: u32 = 5;

/// What all attempts of one send have in common.
pub(crate) struct Outgoing {
    code: i32,
    /// Within the client's namespace.
    pub(crate) topic: String,
    /// The `UNIQ_KEY`, or those of a batch joined by commas.
    pub(super) msg_id: String,
    flag: i32,
    sys_flag: i32,
    properties: String,
    reconsume_times: i32,
    max_reconsume_times: Option<i32>,
    body: Bytes,
}

impl Outgoing {
    /// Of a message that has its `UNIQ_KEY`.
    pub(super) fn of(mut message: Message, config: &ProducerConfig, namespace: &str) -> Self {
        add_instance_id(&mut message.properties, namespace);
        let mut sys_flag = 0;
        let mut body = message.body;
        if body.len() > config.compress_body_over_bytes {
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
        let code = match is_reply(properties) {
            true => RequestCode::SEND_REPLY_MESSAGE_V2,
            false => RequestCode::SEND_MESSAGE_V2,
        };
        Outgoing {
            code,
            msg_id: properties.get(MessageConst::UNIQ_KEY).unwrap_or_default().to_owned(),
            topic: message.topic,
            flag: message.flag,
            sys_flag,
            properties: properties.to_string(),
            reconsume_times,
            max_reconsume_times,
            body,
        }
    }

    /// Whether it answers a request.
    pub(super) fn is_reply(&self) -> bool {
        self.code == RequestCode::SEND_REPLY_MESSAGE_V2
    }

    /// Of messages that may travel together and have their `UNIQ_KEY`s.
    ///
    /// # Errors
    /// When properties are too long.
    pub(super) fn of_batch(messages: &[Message], namespace: &str) -> Result<Self, ClientError> {
        assert!(!messages.is_empty(), "an empty batch was refused before");
        let keys = messages.iter().map(|message| message.properties.get(MessageConst::UNIQ_KEY));
        let keys: Vec<&str> = keys.map(Option::unwrap_or_default).collect();
        let wait = messages[0].is_wait_store_msg_ok();
        let mut properties = Properties::new();
        properties.insert_display(MessageConst::WAIT, wait);
        add_instance_id(&mut properties, namespace);
        Ok(Outgoing {
            code: RequestCode::SEND_BATCH_MESSAGE,
            topic: messages[0].topic.clone(),
            msg_id: keys.join(","),
            flag: 0,
            sys_flag: 0,
            properties: properties.to_string(),
            reconsume_times: 0,
            max_reconsume_times: None,
            body: encode_batch(messages)?,
        })
    }

    /// Length of the body in bytes.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The request of an attempt at `queue`.
    pub(super) fn request(
        &self,
        config: &ProducerConfig,
        instance: &ClientInstance,
        queue: &MessageQueue,
    ) -> RemotingCommand {
        let header = SendMessageRequestHeader {
            producer_group: config.group.clone(),
            topic: self.topic.clone(),
            default_topic: config.create_topic_key.clone(),
            default_topic_queue_nums: config.default_topic_queue_nums,
            queue_id: queue.queue_id,
            sys_flag: self.sys_flag,
            born_timestamp: instance.env().clock.now_millis() as i64,
            flag: self.flag,
            properties: Some(self.properties.clone()),
            reconsume_times: Some(self.reconsume_times),
            unit_mode: Some(instance.config().unit_mode),
            max_reconsume_times: self.max_reconsume_times,
            batch: Some(self.code == RequestCode::SEND_BATCH_MESSAGE),
            broker_name: Some(queue.broker_name.clone()),
        };
        RemotingCommand::request(self.code, &header).with_body(self.body.clone())
    }
}

fn add_instance_id(properties: &mut Properties, namespace: &str) {
    if !namespace.is_empty() {
        properties.insert(MessageConst::INSTANCE_ID, namespace);
    }
}

/// Moves a number from the properties into the header.
fn take_number(properties: &mut Properties, name: &str) -> Option<i32> {
    let number = properties.get(name)?.parse().ok();
    properties.remove(name);
    number
}
