//! [`ReplyMessageProcessor`]: replies to messages of producers that wait for one (324, 325), pushed to who
//! waits (326) (RocketMQ 4.9 `ReplyMessageProcessor`).
//!
//! A reply is stored as well, after it was pushed, so that it can be looked at; nobody consumes it.

use std::sync::Arc;
use std::time::Duration;

use mq_protocol::body::topic_config::TopicConfig;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::send_message::{ReplyMessageRequestHeader, SendMessageRequestHeader};
use mq_protocol::message::{MessageConst, PropertiesView, append_property};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::MessageSysFlag;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};
use mq_store::{MessageInner, PutMessageResult};

use super::send_message::{check_request, find_or_create_topic, queue_id};
use super::send_result::{refusal, reply_response};
use crate::context::BrokerContext;
use crate::now_ms;
use crate::transactional_message::is_wait_store_ok;

/// How long the requester may take to confirm a reply.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// What of a reply's `sysFlag` tells how to read its body.
const BODY_FLAGS: i32 = MessageSysFlag::COMPRESSED | MessageSysFlag::COMPRESSION_TYPE_MASK;

/// Answers 324 and 325.
pub(super) struct ReplyMessageProcessor {
    context: Arc<BrokerContext>,
}

/// A reply on its way to who waits for it.
struct Reply {
    request: RemotingCommand,
    header: SendMessageRequestHeader,
    channel: Channel,
}

impl ReplyMessageProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        ReplyMessageProcessor { context }
    }

    fn take(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let header: SendMessageRequestHeader = request.header()?;
        let context = Arc::clone(&self.context);
        check_request(&context, &header)?;
        context.waiting_sends.check()?;
        let body_bytes = request.body.len();
        context.waiting_sends.keep_body(body_bytes)?;
        let reply = Reply { request, header, channel: channel.clone() };
        Ok(ProcessOutcome::later(async move {
            let response = reply.pass_on(&context).await;
            context.waiting_sends.release_body(body_bytes);
            Ok(Some(response.unwrap_or_else(|error| refusal(&context.live(), error))))
        }))
    }
}

impl RequestProcessor for ReplyMessageProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let taken = self.take(channel, request);
        taken.or_else(|error| Ok(refusal(&self.context.live(), error).into()))
    }
}

impl Reply {
    /// Pushes the reply, then stores it; that it could not be pushed does not keep it from being stored.
    async fn pass_on(self, context: &Arc<BrokerContext>) -> Result<RemotingCommand, ProcessError> {
        let topic = find_or_create_topic(context, &self.header, &self.channel).await?;
        let queue_id = queue_id(context, &self.header, &topic);
        let pushed = self.push(context, queue_id).await;
        if let Err(reason) = &pushed {
            tracing::info!(reason, from = %self.channel.peer_addr(), "a reply is not pushed");
        }
        let stored = match context.live().store_reply_message_enable {
            true => Some(self.store(context, &topic, queue_id).await),
            false => None,
        };
        Ok(reply_response(context, queue_id, pushed, stored.as_ref()))
    }

    /// Hands the reply to the client that waits for it; why not, if that fails.
    async fn push(&self, context: &BrokerContext, queue_id: i32) -> Result<(), String> {
        let properties = self.header.properties.as_deref().unwrap_or_default();
        let client_id = PropertiesView::new(properties).get(MessageConst::REPLY_TO_CLIENT);
        let Some(client_id) = client_id else {
            let name = MessageConst::REPLY_TO_CLIENT;
            return Err(format!("reply message properties[{name}] is null"));
        };
        let Some(channel) = context.producers.find_channel(client_id) else {
            return Err(format!("push reply message fail, channel of <{client_id}> not found."));
        };
        // What a client does not read does not pile up here; 4.9 lets it.
        if !channel.is_writable() {
            return Err(format!("push reply message to {client_id}fail."));
        }
        let header = self.push_header(context, queue_id);
        let code = RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT;
        let request = RemotingCommand::request(code, &header).with_body(self.request.body.clone());
        match channel.invoke(request, PUSH_TIMEOUT).await {
            Ok(response) if response.code == ResponseCode::SUCCESS => Ok(()),
            Ok(_) => Err(format!("push reply message to {client_id}failed.")),
            Err(error) => {
                tracing::info!(client_id, %error, "no answer to a reply");
                Err(format!("push reply message to {client_id}fail."))
            }
        }
    }

    fn push_header(&self, context: &BrokerContext, queue_id: i32) -> ReplyMessageRequestHeader {
        let header = &self.header;
        let now_ms = now_ms(&*context.env.clock);
        let mut properties = header.properties.clone().unwrap_or_default();
        append_property(&mut properties, MessageConst::PUSH_REPLY_TIME, &now_ms.to_string());
        ReplyMessageRequestHeader {
            producer_group: header.producer_group.clone(),
            topic: header.topic.clone(),
            default_topic: header.default_topic.clone(),
            default_topic_queue_nums: header.default_topic_queue_nums,
            queue_id,
            sys_flag: header.sys_flag,
            born_timestamp: header.born_timestamp,
            flag: header.flag,
            properties: Some(properties),
            reconsume_times: header.reconsume_times,
            unit_mode: header.unit_mode.unwrap_or(false),
            born_host: self.channel.peer_addr().to_string(),
            store_host: context.store_host.to_string(),
            store_timestamp: now_ms,
        }
    }

    async fn store(
        &self,
        context: &BrokerContext,
        topic: &TopicConfig,
        queue_id: i32,
    ) -> PutMessageResult {
        let header = &self.header;
        let properties = header.properties.clone().unwrap_or_default();
        let message = MessageInner {
            topic: topic.topic_name.clone(),
            queue_id: queue_id as u32,
            flag: header.flag,
            // 4.9 drops the flags, and who reads the stored reply cannot decompress it.
            sys_flag: header.sys_flag & BODY_FLAGS,
            body: self.request.body.clone(),
            wait_store_ok: is_wait_store_ok(PropertiesView::new(&properties)),
            properties,
            born_timestamp_ms: header.born_timestamp,
            born_host: self.channel.peer_addr(),
            store_host: context.store_host,
            reconsume_times: header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
        };
        let put = context.store.put_message(&message);
        let stored = context.waiting_sends.wait(&self.channel, put).await;
        let (stored_topic, stored_queue_id) = context.stored_under(&message);
        context.stats.put(stored_topic, stored_queue_id, &stored);
        if !stored.status.is_stored() {
            tracing::info!(topic = message.topic, status = ?stored.status, "a reply is not stored");
        }
        stored
    }
}
