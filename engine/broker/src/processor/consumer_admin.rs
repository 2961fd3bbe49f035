//! [`ConsumerAdminProcessor`]: operators look at consumers and move them: offsets reset (222), offsets of clients
//! (223), a client's state (307), a message consumed once more (309) (RocketMQ 4.9 `AdminBrokerProcessor`,
//! `Broker2Client`).
//!
//! A reset changes nothing here: it is the members that give their queues up, and commit where they go on. A group
//! without members is told so (CONSUMER_NOT_ONLINE); tools then commit themselves (15).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use mq_protocol::body::OrderedMap;
use mq_protocol::body::offset_table::{
    GetConsumerStatusBody, MessageQueueForC, ResetOffsetBody, ResetOffsetBodyForC,
};
use mq_protocol::codes::{LanguageCode, RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::client::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader, ResetOffsetRequestHeader,
};
use mq_protocol::message::{MessageQueue, OffsetMessageId};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessError, ProcessOutcome, ProcessResult, RemotingError, RequestProcessor,
};

use super::created_by_java;
use crate::client_channel::ClientChannelInfo;
use crate::context::BrokerContext;

/// How long a client may take to tell its offsets.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take for what it is asked in an operator's name.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients that are asked at a time.
const ASKED_AT_A_TIME: usize = 64;

/// The timestamp that means the end of a queue.
const END_OF_QUEUE: i64 = -1;

/// Answers 222, 223, 307 and 309.
pub(super) struct ConsumerAdminProcessor {
    context: Arc<BrokerContext>,
}

impl ConsumerAdminProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        ConsumerAdminProcessor { context }
    }

    /// Tells the members of a group where to go on in a topic.
    fn reset_offset(&self, header: &ResetOffsetRequestHeader, for_cpp: bool) -> ProcessResult {
        let ResetOffsetRequestHeader { topic, group, timestamp, .. } = header;
        let offset_table = self.offsets_to_reset(header)?;
        let members = self.context.consumers.members(group);
        if members.is_empty() {
            let remark = format!(
                "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} \
                 Timestamp: {timestamp}"
            );
            return Err(ProcessError::new(ResponseCode::CONSUMER_NOT_ONLINE, remark));
        }
        let for_cpp = for_cpp.then(|| body_for_cpp(&offset_table));
        let body = to_bytes(&ResetOffsetBody { offset_table });
        let told = for_cpp.unwrap_or_else(|| body.clone());
        // As in 4.9, which tells the members nothing of force: it has been decided.
        let header = ResetOffsetRequestHeader { is_force: false, ..header.clone() };
        for member in &members {
            let request =
                RemotingCommand::request(RequestCode::RESET_CONSUMER_CLIENT_OFFSET, &header);
            if let Err(error) = member.channel.oneway(request.with_body(told.clone())) {
                let client = &*member.client_id;
                tracing::warn!(group, topic, client, %error, "a member hears of no reset");
            }
        }
        tracing::info!(group, topic, timestamp, members = members.len(), "offsets are reset");
        Ok(created_by_java(ResponseCode::SUCCESS).with_body(body).into())
    }

    /// Where the group goes on in each queue. Without force it only goes back.
    fn offsets_to_reset(
        &self,
        header: &ResetOffsetRequestHeader,
    ) -> Result<OrderedMap<MessageQueue, i64>, ProcessError> {
        let ResetOffsetRequestHeader { topic, group, timestamp, is_force } = header;
        let context = &self.context;
        let Some(config) = context.topics.select_topic_config(topic) else {
            let remark = format!(
                "[reset-offset] reset offset failed, no topic in this broker. topic={topic}"
            );
            return Err(ProcessError::system(remark));
        };
        let queues = 0..u32::try_from(config.write_queue_nums).unwrap_or(0);
        let offset_of = |queue_id: u32| {
            let committed = context.offsets.query_offset(group, topic, queue_id as i32);
            let committed = committed.filter(|offset| *offset >= 0).ok_or_else(|| {
                ProcessError::system(format!("THe consumer group <{group}> not exist"))
            })?;
            let by_time = match *timestamp {
                END_OF_QUEUE => context.store.max_offset_in_queue(topic, queue_id),
                at_ms => {
                    let at_ms = u64::try_from(at_ms).unwrap_or(0);
                    context.store.offset_in_queue_by_time(topic, queue_id, at_ms)
                }
            };
            let by_time = i64::try_from(by_time).unwrap_or(i64::MAX);
            let queue = MessageQueue {
                topic: topic.clone(),
                broker_name: context.config.broker_name.clone(),
                queue_id: queue_id as i32,
            };
            Ok((queue, if *is_force { by_time } else { by_time.min(committed) }))
        };
        queues.map(offset_of).collect()
    }

    /// Asks the members of a group, or one of them, how far they are in a topic.
    fn consumer_status(&self, header: GetConsumerStatusRequestHeader) -> ProcessResult {
        let members = self.context.consumers.members(&header.group);
        if members.is_empty() {
            let group = &header.group;
            let remark = format!("No Any Consumer online in the consumer group: [{group}]");
            return Err(ProcessError::system(remark));
        }
        let wanted = header.client_addr.as_deref().filter(|name| !name.trim().is_empty());
        let is_wanted =
            |member: &ClientChannelInfo| wanted.is_none_or(|it| it == &*member.client_id);
        let asked: Vec<_> = members.into_iter().filter(is_wanted).collect();
        let header = GetConsumerStatusRequestHeader { client_addr: None, ..header };
        Ok(ProcessOutcome::later(async move {
            let mut consumer_table = OrderedMap::default();
            for some in asked.chunks(ASKED_AT_A_TIME) {
                let answers = join_all(some.iter().map(|member| offsets_of(member, &header))).await;
                let names = some.iter().map(|member| member.client_id.to_string());
                let known = names.zip(answers).filter_map(|(name, offsets)| Some((name, offsets?)));
                consumer_table.extend(known);
            }
            let body = GetConsumerStatusBody { consumer_table, ..GetConsumerStatusBody::default() };
            Ok(Some(created_by_java(ResponseCode::SUCCESS).with_body(to_bytes(&body))))
        }))
    }

    /// Has a client consume a message of this broker, out of turn.
    fn consume_directly(&self, channel: &Channel, mut request: RemotingCommand) -> ProcessResult {
        let header: ConsumeMessageDirectlyResultRequestHeader = request.header()?;
        let msg_id = header.msg_id.as_deref().unwrap_or_default();
        let id: OffsetMessageId = msg_id.parse()?;
        let found = u64::try_from(id.phy_offset).ok();
        let found = found.and_then(|offset| self.context.store.look_message_by_offset(offset));
        let remark = || format!("can not find message by the offset, {}", id.phy_offset);
        let record = Bytes::from_owner(found.ok_or_else(|| ProcessError::system(remark()))?);
        self.context.check_read(channel, &request, &record)?;
        request.body = record;
        request.ext_fields.insert("brokerName", &self.context.config.broker_name);
        let client_id = header.client_id.unwrap_or_default();
        self.call_consumer(request, header.consumer_group, client_id)
    }

    /// Passes a request on to a member of a group, and its answer back.
    fn call_consumer(
        &self,
        request: RemotingCommand,
        group: String,
        client_id: String,
    ) -> ProcessResult {
        let members = self.context.consumers.members(&group);
        let Some(member) = members.into_iter().find(|it| *it.client_id == *client_id) else {
            let remark = format!("The Consumer <{group}> <{client_id}> not online");
            return Err(ProcessError::system(remark));
        };
        Ok(ProcessOutcome::later(async move {
            let mut passed_on = RemotingCommand::request(request.code, &());
            passed_on.ext_fields = request.ext_fields;
            passed_on.body = request.body;
            match member.channel.invoke(passed_on, CALL_TIMEOUT).await {
                Ok(answer) => Ok(Some(answer)),
                Err(error @ RemotingError::Timeout { .. }) => {
                    let remark = format!("consumer <{group}> <{client_id}> Timeout: {error}");
                    Err(ProcessError::new(ResponseCode::CONSUME_MSG_TIMEOUT, remark))
                }
                Err(error) => Err(ProcessError::system(format!(
                    "invoke consumer <{group}> <{client_id}> Exception: {error}"
                ))),
            }
        }))
    }
}

impl RequestProcessor for ConsumerAdminProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => {
                let for_cpp = request.language == LanguageCode::Cpp;
                self.reset_offset(&request.header()?, for_cpp)
            }
            RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => {
                self.consumer_status(request.header()?)
            }
            RequestCode::CONSUME_MESSAGE_DIRECTLY => self.consume_directly(channel, request),
            _ => {
                let header: GetConsumerRunningInfoRequestHeader = request.header()?;
                self.call_consumer(request, header.consumer_group, header.client_id)
            }
        }
    }
}

/// What a member says of its offsets; `None` if it does not.
async fn offsets_of(
    member: &ClientChannelInfo,
    header: &GetConsumerStatusRequestHeader,
) -> Option<OrderedMap<MessageQueue, i64>> {
    let request = RemotingCommand::request(RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT, header);
    let answer = member.channel.invoke(request, STATUS_TIMEOUT).await;
    let answer = answer.map_err(|error| error.to_string()).and_then(|answer| match answer.code {
        ResponseCode::SUCCESS => {
            let body = from_slice::<GetConsumerStatusBody>(&answer.body);
            body.map_err(|error| error.to_string())
        }
        code => Err(format!("code {code}")),
    });
    match answer {
        Ok(body) => Some(body.message_queue_table),
        Err(error) => {
            let (group, client) = (&header.group, &*member.client_id);
            tracing::warn!(group, client, error, "a member does not tell its offsets");
            None
        }
    }
}

/// A table of offsets as C++ clients read it.
fn body_for_cpp(offset_table: &OrderedMap<MessageQueue, i64>) -> Bytes {
    let entry = |(queue, offset): (&MessageQueue, &i64)| MessageQueueForC {
        broker_name: queue.broker_name.clone(),
        offset: *offset,
        queue_id: queue.queue_id,
        topic: queue.topic.clone(),
    };
    to_bytes(&ResetOffsetBodyForC { offset_table: offset_table.iter().map(entry).collect() })
}
