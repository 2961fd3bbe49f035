//! [`ConsumerManageProcessor`]: members of a group (38) and its offsets (14, 15) (RocketMQ 4.9
//! `ConsumerManageProcessor`).

use std::sync::Arc;

use mq_protocol::body::heartbeat::GetConsumerListByGroupResponseBody;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::client::ConsumerGroupRequestHeader;
use mq_protocol::header::offset::{
    QueryConsumerOffsetRequestHeader, QueryConsumerOffsetResponseHeader,
    UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessResult, RequestProcessor};

use super::{empty_success, refuse};
use crate::context::BrokerContext;

/// Answers 14, 15 and 38.
pub(super) struct ConsumerManageProcessor {
    context: Arc<BrokerContext>,
}

impl ConsumerManageProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        ConsumerManageProcessor { context }
    }

    fn consumer_list(&self, header: &ConsumerGroupRequestHeader) -> RemotingCommand {
        let group = &header.consumer_group;
        match self.context.consumers.client_ids(group) {
            Some(consumer_id_list) => {
                let body = GetConsumerListByGroupResponseBody { consumer_id_list };
                empty_success().with_body(to_bytes(&body))
            }
            None => {
                let remark = format!("no consumer for this group, {group}");
                refuse(ResponseCode::SYSTEM_ERROR, remark)
            }
        }
    }

    fn update_offset(
        &self,
        channel: &Channel,
        header: &UpdateConsumerOffsetRequestHeader,
    ) -> RemotingCommand {
        let UpdateConsumerOffsetRequestHeader { consumer_group, topic, queue_id, commit_offset } =
            header;
        let (context, channel) = (&self.context, channel.id());
        match context.commit_offset(channel, consumer_group, topic, *queue_id, *commit_offset) {
            Ok(()) => empty_success(),
            Err(error) => refuse(error.code(), error.to_string()),
        }
    }

    /// A group without offset begins at 0 in a queue that still has its first message, unless that
    /// is so old that 4.9 takes it for swapped out; else the client decides where to begin.
    fn query_offset(&self, header: &QueryConsumerOffsetRequestHeader) -> RemotingCommand {
        let QueryConsumerOffsetRequestHeader { consumer_group, topic, queue_id } = header;
        if let Some(offset) = self.context.tell_offset(consumer_group, topic, *queue_id) {
            return RemotingCommand::success(&QueryConsumerOffsetResponseHeader { offset });
        }
        let store = &self.context.store;
        let begins_at_zero = u32::try_from(*queue_id).is_ok_and(|queue_id| {
            store.min_offset_in_queue(topic, queue_id) == 0
                && !store.is_in_disk_by_consume_offset(topic, queue_id, 0)
        });
        if begins_at_zero {
            return RemotingCommand::success(&QueryConsumerOffsetResponseHeader { offset: 0 });
        }
        let remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
        refuse(ResponseCode::QUERY_NOT_FOUND, remark)
    }
}

impl RequestProcessor for ConsumerManageProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let response = match request.code {
            RequestCode::GET_CONSUMER_LIST_BY_GROUP => self.consumer_list(&request.header()?),
            RequestCode::UPDATE_CONSUMER_OFFSET => self.update_offset(channel, &request.header()?),
            _ => self.query_offset(&request.header()?),
        };
        Ok(response.into())
    }
}
