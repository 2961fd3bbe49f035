//! Sending: codes 10, 310, 320, 324, 325, and sending back (36).

use super::{CustomHeader, FieldValue, HeaderError};
use crate::codes::RequestCode;
use crate::ext_fields::ExtFields;

/// Header of SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE and SEND_REPLY_MESSAGE(_V2).
///
/// On the wire the fields have long names (V1: codes 10 and 324) or one-letter names (V2: 310, 320,
/// 325). Decoding accepts either, whatever the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendMessageRequestHeader {
    /// Producer group.
    pub producer_group: String,
    /// Topic.
    pub topic: String,
    /// Topic after whose pattern an unknown topic is created.
    pub default_topic: String,
    /// Queues to create an unknown topic with.
    pub default_topic_queue_nums: i32,
    /// Queue; negative lets the broker choose.
    pub queue_id: i32,
    /// [`MessageSysFlag`](crate::sys_flag::MessageSysFlag) bits.
    pub sys_flag: i32,
    /// When the client made the message, in ms.
    pub born_timestamp: i64,
    /// The user's flag.
    pub flag: i32,
    /// Properties string.
    pub properties: Option<String>,
    /// How often the message was consumed in vain.
    pub reconsume_times: Option<i32>,
    /// Unit mode.
    pub unit_mode: Option<bool>,
    /// When a message to a retry topic becomes a dead letter.
    pub max_reconsume_times: Option<i32>,
    /// The body is a batch.
    pub batch: Option<bool>,
    /// Broker name, from clients of 4.9.5 on.
    pub broker_name: Option<String>,
}

/// The wire name of a field: one-letter and long.
struct Name {
    v2: &'static str,
    v1: &'static str,
}

const PRODUCER_GROUP: Name = Name { v2: "a", v1: "producerGroup" };
const TOPIC: Name = Name { v2: "b", v1: "topic" };
const DEFAULT_TOPIC: Name = Name { v2: "c", v1: "defaultTopic" };
const DEFAULT_TOPIC_QUEUE_NUMS: Name = Name { v2: "d", v1: "defaultTopicQueueNums" };
const QUEUE_ID: Name = Name { v2: "e", v1: "queueId" };
const SYS_FLAG: Name = Name { v2: "f", v1: "sysFlag" };
const BORN_TIMESTAMP: Name = Name { v2: "g", v1: "bornTimestamp" };
const FLAG: Name = Name { v2: "h", v1: "flag" };
const PROPERTIES: Name = Name { v2: "i", v1: "properties" };
const RECONSUME_TIMES: Name = Name { v2: "j", v1: "reconsumeTimes" };
const UNIT_MODE: Name = Name { v2: "k", v1: "unitMode" };
const MAX_RECONSUME_TIMES: Name = Name { v2: "l", v1: "maxReconsumeTimes" };
const BATCH: Name = Name { v2: "m", v1: "batch" };
const BROKER_NAME: Name = Name { v2: "n", v1: "bname" };

impl SendMessageRequestHeader {
    /// The topic of a send with these fields, whatever its code: who guards a topic has to see the one that decoding takes.
    #[must_use]
    pub fn topic_of(fields: &ExtFields) -> Option<&str> {
        fields.get(TOPIC.v1).or_else(|| fields.get(TOPIC.v2))
    }

    /// Adds the fields under the names that belong to request code `code`.
    pub fn encode_for(&self, code: i32, fields: &mut ExtFields) {
        let is_v1 = matches!(code, RequestCode::SEND_MESSAGE | RequestCode::SEND_REPLY_MESSAGE);
        let pick = |name: Name| if is_v1 { name.v1 } else { name.v2 };
        fields.mark_present();
        self.producer_group.encode(pick(PRODUCER_GROUP), fields);
        self.topic.encode(pick(TOPIC), fields);
        self.default_topic.encode(pick(DEFAULT_TOPIC), fields);
        self.default_topic_queue_nums.encode(pick(DEFAULT_TOPIC_QUEUE_NUMS), fields);
        self.queue_id.encode(pick(QUEUE_ID), fields);
        self.sys_flag.encode(pick(SYS_FLAG), fields);
        self.born_timestamp.encode(pick(BORN_TIMESTAMP), fields);
        self.flag.encode(pick(FLAG), fields);
        self.properties.encode(pick(PROPERTIES), fields);
        self.reconsume_times.encode(pick(RECONSUME_TIMES), fields);
        self.unit_mode.encode(pick(UNIT_MODE), fields);
        self.max_reconsume_times.encode(pick(MAX_RECONSUME_TIMES), fields);
        self.batch.encode(pick(BATCH), fields);
        self.broker_name.encode(pick(BROKER_NAME), fields);
    }
}

/// Encodes the short names (V2), decodes either.
impl CustomHeader for SendMessageRequestHeader {
    fn encode(&self, fields: &mut ExtFields) {
        self.encode_for(RequestCode::SEND_MESSAGE_V2, fields);
    }

    fn decode(fields: &ExtFields) -> Result<Self, HeaderError> {
        let is_v1 = fields.get(TOPIC.v1).is_some();
        let mut names = Names { fields, is_v1, next: 0 };
        Ok(SendMessageRequestHeader {
            producer_group: names.read(PRODUCER_GROUP)?,
            topic: Self::topic_of(fields).ok_or(HeaderError::Missing(TOPIC.v2))?.to_owned(),
            default_topic: names.read(DEFAULT_TOPIC)?,
            default_topic_queue_nums: names.read(DEFAULT_TOPIC_QUEUE_NUMS)?,
            queue_id: names.read(QUEUE_ID)?,
            sys_flag: names.read(SYS_FLAG)?,
            born_timestamp: names.read(BORN_TIMESTAMP)?,
            flag: names.read(FLAG)?,
            properties: names.read(PROPERTIES)?,
            reconsume_times: names.read(RECONSUME_TIMES)?,
            unit_mode: names.read(UNIT_MODE)?,
            max_reconsume_times: names.read(MAX_RECONSUME_TIMES)?,
            batch: names.read(BATCH)?,
            broker_name: names.read(BROKER_NAME)?,
        })
    }
}

/// Reads fields under the names that the header seems to use, or under the other ones.
struct Names<'a> {
    fields: &'a ExtFields,
    is_v1: bool,
    /// Behind the entry that was read last: clients write the fields in the order in which they are read, but for the
    /// topic, which is read apart.
    next: usize,
}

impl Names<'_> {
    fn read<T: FieldValue>(&mut self, name: Name) -> Result<T, HeaderError> {
        let (usual, other) = if self.is_v1 { (name.v1, name.v2) } else { (name.v2, name.v1) };
        for index in [self.next, self.next + 1] {
            if let Some((_, text)) = self.fields.entry(index).filter(|(key, _)| *key == usual) {
                self.next = index + 1;
                return T::parse(usual, text);
            }
        }
        if let Some(text) = self.fields.get(usual) {
            return T::parse(usual, text);
        }
        match self.fields.get(other) {
            Some(text) => T::parse(other, text),
            None => T::absent(usual),
        }
    }
}

custom_header! {
    /// Header of the responses to sends that were stored (codes 0, 10, 11, 12).
    SendMessageResponseHeader {
        /// Offset message id; of a batch, all of them joined by commas.
        msg_id: String = "msgId",
        /// Queue that was written.
        queue_id: i32 = "queueId",
        /// Queue offset of the (first) message.
        queue_offset: i64 = "queueOffset",
        /// Never set by 4.9 brokers.
        transaction_id: Option<String> = "transactionId",
    }

    /// Header of CONSUMER_SEND_MSG_BACK (36).
    ConsumerSendMsgBackRequestHeader {
        /// Physical offset of the message on the broker that is asked.
        offset: i64 = "offset",
        /// Consumer group.
        group: String = "group",
        /// Delay level; 0 lets the broker choose, negative makes a dead letter.
        delay_level: i32 = "delayLevel",
        /// Id of the message.
        origin_msg_id: Option<String> = "originMsgId",
        /// Its topic.
        origin_topic: Option<String> = "originTopic",
        /// Unit mode.
        unit_mode: bool = "unitMode" or false,
        /// When the message becomes a dead letter.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }

    /// Header of PUSH_REPLY_MESSAGE_TO_CLIENT (326).
    ReplyMessageRequestHeader {
        /// Producer group of the reply.
        producer_group: String = "producerGroup",
        /// Reply topic.
        topic: String = "topic",
        /// Topic after whose pattern an unknown topic is created.
        default_topic: String = "defaultTopic",
        /// Queues to create an unknown topic with.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// Queue.
        queue_id: i32 = "queueId",
        /// [`MessageSysFlag`](crate::sys_flag::MessageSysFlag) bits.
        sys_flag: i32 = "sysFlag",
        /// When the client made the message, in ms.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's flag.
        flag: i32 = "flag",
        /// Properties string.
        properties: Option<String> = "properties",
        /// How often the message was consumed in vain.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Unit mode.
        unit_mode: bool = "unitMode" or false,
        /// Address of the replying client, `ip:port`.
        born_host: String = "bornHost",
        /// Address of the broker, `ip:port`.
        store_host: String = "storeHost",
        /// When the broker took the reply, in ms.
        store_timestamp: i64 = "storeTimestamp",
    }
}
