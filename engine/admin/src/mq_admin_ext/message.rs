//! Requests about single messages, and who has consumed them.

use std::fmt;

use mq_protocol::body::connection::ConsumerConnection;
use mq_protocol::body::heartbeat::{ConsumeType, MessageModel, SUBSCRIPTION_ALL};
use mq_protocol::body::running_info::ConsumeMessageDirectlyResult;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::client::ConsumeMessageDirectlyResultRequestHeader;
use mq_protocol::header::query_message::{
    QueryMessageRequestHeader, UNIQUE_KEY_QUERY, ViewMessageRequestHeader,
};
use mq_protocol::message::{MessageExt, OffsetMessageId};
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;

use super::MqAdminExt;
use super::cluster::select_broker_addrs;
use crate::error::AdminError;
use crate::text::or_null;

/// How a message stands with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrackType {
    Consumed,
    ConsumedButFiltered,
    Pull,
    NotConsumeYet,
    NotOnline,
    ConsumeBroadcasting,
    Unknown,
}

impl TrackType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            TrackType::Consumed => "CONSUMED",
            TrackType::ConsumedButFiltered => "CONSUMED_BUT_FILTERED",
            TrackType::Pull => "PULL",
            TrackType::NotConsumeYet => "NOT_CONSUME_YET",
            TrackType::NotOnline => "NOT_ONLINE",
            TrackType::ConsumeBroadcasting => "CONSUME_BROADCASTING",
            TrackType::Unknown => "UNKNOWN",
        }
    }
}

/// Whether a group has consumed a message (RocketMQ 4.9 `MessageTrack`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTrack {
    pub(crate) consumer_group: String,
    pub(crate) track_type: TrackType,
    pub(crate) exception_desc: Option<String>,
}

/// As RocketMQ prints it.
impl fmt::Display for MessageTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageTrack { consumer_group, track_type, exception_desc } = self;
        let (track_type, desc) = (track_type.name(), or_null(exception_desc.as_deref()));
        write!(
            f,
            "MessageTrack [consumerGroup={consumer_group}, trackType={track_type}, \
             exceptionDesc={desc}]"
        )
    }
}

impl MqAdminExt {
    /// The message at the place that `id` says (33).
    ///
    /// # Errors
    /// When the broker does not answer, or has no message there.
    pub async fn view_message(&self, id: &OffsetMessageId) -> Result<MessageExt, AdminError> {
        self.view_message_at(&id.store_host.to_string(), id.phy_offset).await
    }

    /// The message at a CommitLog offset of the broker at `addr` (33).
    ///
    /// # Errors
    /// As [`MqAdminExt::view_message`].
    pub async fn view_message_at(
        &self,
        addr: &str,
        phy_offset: i64,
    ) -> Result<MessageExt, AdminError> {
        let header = ViewMessageRequestHeader { offset: phy_offset };
        let response = self.ask(addr, RequestCode::VIEW_MESSAGE_BY_ID, &header).await?;
        decode_messages(&response.body).pop().ok_or_else(|| {
            AdminError::Failed(format!("{addr} has no message at the place {phy_offset}"))
        })
    }

    /// The messages of a topic with an index key, or with a `UNIQ_KEY` (12), of all brokers that have it: at most
    /// `max_num` of each.
    ///
    /// # Errors
    /// When the topic has no route, or a broker does not answer.
    pub async fn query_message(
        &self,
        topic: &str,
        key: &str,
        max_num: i32,
        is_unique_key: bool,
    ) -> Result<Vec<MessageExt>, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let mut found = Vec::new();
        for addr in select_broker_addrs(&route) {
            found.extend(self.query_message_of(&addr, topic, key, max_num, is_unique_key).await?);
        }
        Ok(found)
    }

    /// The messages of a topic with an index key, or with a `UNIQ_KEY`, of one broker (12): at most `max_num`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn query_message_of(
        &self,
        addr: &str,
        topic: &str,
        key: &str,
        max_num: i32,
        is_unique_key: bool,
    ) -> Result<Vec<MessageExt>, AdminError> {
        let header = QueryMessageRequestHeader {
            topic: topic.to_owned(),
            key: key.to_owned(),
            max_num,
            begin_timestamp: 0,
            end_timestamp: i64::MAX,
        };
        let mut request = RemotingCommand::request(RequestCode::QUERY_MESSAGE, &header);
        let is_unique = if is_unique_key { "true" } else { "false" };
        request.ext_fields.insert(UNIQUE_KEY_QUERY, is_unique);
        let answer = self.instance.ask(addr, request, self.timeout).await.map_err(AdminError::from);
        let mut found = match answer {
            Ok(response) => decode_messages(&response.body),
            Err(error) if error.response_code() == Some(ResponseCode::QUERY_NOT_FOUND) => vec![],
            Err(error) => return Err(error),
        };
        // Keys are looked for by their hash.
        found.retain(|message| match is_unique_key {
            true => message.msg_id() == key,
            false => message.message.keys().any(|it| it == key),
        });
        Ok(found)
    }

    /// Has a member consume a message (309).
    ///
    /// # Errors
    /// When the broker that stored it does not answer or refuses.
    pub async fn consume_message_directly(
        &self,
        group: &str,
        client_id: &str,
        message: &MessageExt,
    ) -> Result<ConsumeMessageDirectlyResult, AdminError> {
        let header = ConsumeMessageDirectlyResultRequestHeader {
            consumer_group: group.to_owned(),
            client_id: Some(client_id.to_owned()),
            msg_id: Some(message.offset_msg_id().to_string()),
            broker_name: None,
        };
        let addr = message.store_host.to_string();
        self.ask_body(&addr, RequestCode::CONSUME_MESSAGE_DIRECTLY, &header).await
    }

    /// How a message stands with every group that consumes its topic.
    ///
    /// # Errors
    /// When the groups cannot be found out.
    pub async fn message_track_detail(
        &self,
        message: &MessageExt,
    ) -> Result<Vec<MessageTrack>, AdminError> {
        let mut tracks = Vec::new();
        for group in self.query_topic_consume_by_who(&message.message.topic).await? {
            tracks.push(self.message_track(group, message).await);
        }
        Ok(tracks)
    }

    /// How a message stands with one group.
    pub async fn message_track(&self, group: String, message: &MessageExt) -> MessageTrack {
        let (track_type, exception_desc) = match self.track(&group, message).await {
            Ok(track_type) => (track_type, None),
            Err(error) => failed_track(&error),
        };
        MessageTrack { consumer_group: group, track_type, exception_desc }
    }

    async fn track(&self, group: &str, message: &MessageExt) -> Result<TrackType, AdminError> {
        let connection = self.examine_consumer_connection_info(group, None).await?;
        if connection.consume_type == ConsumeType::ConsumeActively {
            return Ok(TrackType::Pull);
        }
        if connection.message_model == MessageModel::Broadcasting {
            return Ok(TrackType::ConsumeBroadcasting);
        }
        Ok(match self.is_consumed(group, message).await? {
            false => TrackType::NotConsumeYet,
            true if lets_pass(&connection, message) => TrackType::Consumed,
            true => TrackType::ConsumedButFiltered,
        })
    }

    /// Whether the group's offset lies behind the message, at the broker that stored it.
    async fn is_consumed(&self, group: &str, message: &MessageExt) -> Result<bool, AdminError> {
        let stats = self.examine_consume_stats(group, None).await?;
        let brokers = self.examine_broker_cluster_info().await?.broker_addr_table;
        let store_host = message.store_host.to_string();
        Ok(stats.offset_table.iter().any(|(queue, offset)| {
            let broker = brokers.get(&queue.broker_name);
            queue.topic == message.message.topic
                && queue.queue_id == message.queue_id
                && broker.is_some_and(|it| it.master_addr() == Some(store_host.as_str()))
                && offset.consumer_offset > message.queue_offset
        }))
    }
}

fn failed_track(error: &AdminError) -> (TrackType, Option<String>) {
    let AdminError::Client(mq_client::ClientError::Broker { code, remark, .. }) = error else {
        return (TrackType::Unknown, Some(error.to_string()));
    };
    let track_type = match *code {
        ResponseCode::CONSUMER_NOT_ONLINE => TrackType::NotOnline,
        _ => TrackType::Unknown,
    };
    (track_type, Some(format!("CODE:{code} DESC:{remark}")))
}

/// Whether what the group subscribes to of the topic lets the message pass.
fn lets_pass(connection: &ConsumerConnection, message: &MessageExt) -> bool {
    let Some(subscription) = connection.subscription_table.get(&message.message.topic) else {
        return true;
    };
    let tags = &subscription.tags_set;
    tags.is_empty()
        || tags
            .iter()
            .any(|tag| tag == SUBSCRIPTION_ALL || Some(tag.as_str()) == message.message.tags())
}
