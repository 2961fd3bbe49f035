//! Topics of a broker (file `topics.json`, response to 21) and how they are registered (103).

use std::io::{Read, Write};

use bytes::{Buf, BufMut, Bytes};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::OrderedMap;
use crate::fastjson::{JsonReadError, from_slice, to_bytes};
use crate::message_codec::body_crc;
use crate::steps;
use crate::sys_flag::PermName;

/// What a register body may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterBodyLimits {
    /// Topics in it.
    pub topics_max: usize,
    /// Its size in bytes when it is no longer compressed.
    pub plain_bytes_max: usize,
}

json_enum! {
    /// How many tags a message may have.
    TopicFilterType {
        /// One.
        #[default]
        SingleTag = "SINGLE_TAG",
        /// Several.
        MultiTag = "MULTI_TAG",
    }
}

json_body! {
    /// The version of a table: equal only if both numbers are.
    #[derive(Copy, Eq)]
    DataVersion {
        /// Number of changes.
        counter: i64 = "counter",
        /// When the last change was made, in ms.
        timestamp: i64 = "timestamp",
    }

    /// One topic of a broker.
    #[derive(Eq)]
    TopicConfig {
        /// Whether it is an ordered topic.
        order: bool = "order",
        /// [`PermName`] bits.
        perm: i32 = "perm" or PermName::READ_WRITE,
        /// Queues to read.
        read_queue_nums: i32 = "readQueueNums" or 16,
        /// How many tags a message may have.
        topic_filter_type: TopicFilterType = "topicFilterType",
        /// Topic.
        topic_name: String = "topicName",
        /// Unit bits.
        topic_sys_flag: i32 = "topicSysFlag",
        /// Queues to write.
        write_queue_nums: i32 = "writeQueueNums" or 16,
    }

    /// The topics of a broker.
    #[derive(Eq)]
    TopicConfigSerializeWrapper {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// Topics by name.
        topic_config_table: OrderedMap<String, TopicConfig> = "topicConfigTable",
    }

    /// Body of REGISTER_BROKER (103).
    #[derive(Eq)]
    RegisterBrokerBody {
        /// Filter servers; a dead feature.
        filter_server_list: Vec<String> = "filterServerList",
        /// Topics.
        topic_config_serialize_wrapper: TopicConfigSerializeWrapper =
            "topicConfigSerializeWrapper",
    }
}

/// Why a body of REGISTER_BROKER cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterBodyError {
    /// A JSON text, or the JSON within the compressed form, is malformed.
    #[error(transparent)]
    Json(#[from] JsonReadError),
    /// The compressed form is damaged.
    #[error("the compressed register body is damaged: {0}")]
    Damaged(&'static str),
    /// It has more topics than it may have.
    #[error("the register body has {topics} topics, at most {topics_max} are taken")]
    TooManyTopics {
        /// In the body.
        topics: usize,
        /// [`RegisterBodyLimits::topics_max`].
        topics_max: usize,
    },
    /// It is larger than it may be.
    #[error("the register body has more than {plain_bytes_max} bytes when it is not compressed")]
    TooLarge {
        /// [`RegisterBodyLimits::plain_bytes_max`].
        plain_bytes_max: usize,
    },
}

impl DataVersion {
    /// Makes this the version of a table changed at `now_ms`.
    pub fn next(&mut self, now_ms: i64) {
        self.timestamp = now_ms;
        self.counter += 1;
    }
}

impl TopicConfig {
    /// A topic with as many queues to read as to write.
    #[must_use]
    pub fn new(topic_name: impl Into<String>, queue_nums: i32, perm: i32) -> Self {
        TopicConfig {
            perm,
            read_queue_nums: queue_nums,
            topic_name: topic_name.into(),
            write_queue_nums: queue_nums,
            ..TopicConfig::default()
        }
    }

    /// `name read write perm FILTERTYPE`; order and unit bits are lost.
    fn to_line(&self) -> String {
        let filter_type = self.topic_filter_type.name();
        format!(
            "{} {} {} {} {filter_type}",
            self.topic_name, self.read_queue_nums, self.write_queue_nums, self.perm,
        )
    }

    fn from_line(line: &str) -> Option<Self> {
        steps::count(line.len());
        let mut words = line.split(' ');
        let topic_name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        let (read_queue_nums, write_queue_nums, perm) = (number()?, number()?, number()?);
        let topic_filter_type = TopicFilterType::from_name(words.next()?)?;
        Some(TopicConfig {
            perm,
            read_queue_nums,
            topic_filter_type,
            topic_name,
            write_queue_nums,
            ..TopicConfig::default()
        })
    }
}

impl RegisterBrokerBody {
    /// The body, in the compressed form if wanted.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    #[must_use]
    pub fn encode(&self, compressed: bool) -> Bytes {
        if !compressed {
            return to_bytes(self);
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        let written = encoder.write_all(&self.to_plain()).and_then(|()| encoder.finish());
        Bytes::from(written.expect("writing to memory does not fail"))
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When the text or the compressed form is malformed, or takes more than `limits` allow.
    pub fn decode(
        body: &[u8],
        compressed: bool,
        limits: &RegisterBodyLimits,
    ) -> Result<Self, RegisterBodyError> {
        if !compressed {
            let decoded: Self = from_slice(body)?;
            let topics = decoded.topic_config_serialize_wrapper.topic_config_table.len();
            limits.check_topics(topics)?;
            return Ok(decoded);
        }
        let RegisterBodyLimits { plain_bytes_max, .. } = *limits;
        let mut plain = Vec::new();
        let mut decoder = ZlibDecoder::new(body).take(plain_bytes_max as u64 + 1);
        let inflated = decoder.read_to_end(&mut plain);
        inflated.map_err(|_| RegisterBodyError::Damaged("zlib stream"))?;
        if plain.len() > plain_bytes_max {
            return Err(RegisterBodyError::TooLarge { plain_bytes_max });
        }
        Self::from_plain(&plain, limits)
    }

    /// What the compressed form compresses, big-endian: i32 length and data version as JSON, i32
    /// number of topics, i32 length and line of each, i32 length and filter servers as JSON.
    fn to_plain(&self) -> Vec<u8> {
        let wrapper = &self.topic_config_serialize_wrapper;
        let mut plain = Vec::new();
        put_prefixed(&mut plain, &to_bytes(&wrapper.data_version));
        plain.put_i32(wrapper.topic_config_table.len() as i32);
        for topic_config in wrapper.topic_config_table.values() {
            put_prefixed(&mut plain, topic_config.to_line().as_bytes());
        }
        put_prefixed(&mut plain, &to_bytes(&self.filter_server_list));
        plain
    }

    fn from_plain(
        mut plain: &[u8],
        limits: &RegisterBodyLimits,
    ) -> Result<Self, RegisterBodyError> {
        let data_version = from_slice(take_prefixed(&mut plain, "data version")?)?;
        let topic_count = take_i32(&mut plain, "number of topics")?;
        limits.check_topics(usize::try_from(topic_count).unwrap_or(0))?;
        let mut topic_config_table = OrderedMap::default();
        for _ in 0..topic_count {
            let line = std::str::from_utf8(take_prefixed(&mut plain, "topic")?).ok();
            let topic_config = line
                .and_then(TopicConfig::from_line)
                .ok_or(RegisterBodyError::Damaged("line of a topic"))?;
            topic_config_table.insert(topic_config.topic_name.clone(), topic_config);
        }
        let filter_server_list = from_slice(take_prefixed(&mut plain, "filter servers")?)?;
        Ok(RegisterBrokerBody {
            filter_server_list,
            topic_config_serialize_wrapper: TopicConfigSerializeWrapper {
                data_version,
                topic_config_table,
            },
        })
    }
}

/// Header field `bodyCrc32` for a body as it is sent: CRC-32 without the sign bit.
#[must_use]
pub fn register_body_crc32(body: &[u8]) -> i32 {
    body_crc(body)
}

fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

fn take_i32(plain: &mut &[u8], what: &'static str) -> Result<i32, RegisterBodyError> {
    if plain.len() < 4 {
        return Err(RegisterBodyError::Damaged(what));
    }
    Ok(plain.get_i32())
}

fn take_prefixed<'a>(
    plain: &mut &'a [u8],
    what: &'static str,
) -> Result<&'a [u8], RegisterBodyError> {
    let length = usize::try_from(take_i32(plain, what)?).ok();
    let (taken, rest) = length
        .and_then(|length| plain.split_at_checked(length))
        .ok_or(RegisterBodyError::Damaged(what))?;
    *plain = rest;
    Ok(taken)
}

impl RegisterBodyLimits {
    fn check_topics(&self, topics: usize) -> Result<(), RegisterBodyError> {
        let topics_max = self.topics_max;
        if topics > topics_max {
            return Err(RegisterBodyError::TooManyTopics { topics, topics_max });
        }
        Ok(())
    }
}

/// A register body of a broker older than 3.0.11 is the bare table of topics.
///
/// # Errors
/// When the text is malformed, or has more topics than `limits` allow.
pub fn decode_bare_topic_table(
    body: &[u8],
    limits: &RegisterBodyLimits,
) -> Result<RegisterBrokerBody, RegisterBodyError> {
    let topic_config_serialize_wrapper: TopicConfigSerializeWrapper = from_slice(body)?;
    limits.check_topics(topic_config_serialize_wrapper.topic_config_table.len())?;
    Ok(RegisterBrokerBody { filter_server_list: Vec::new(), topic_config_serialize_wrapper })
}
