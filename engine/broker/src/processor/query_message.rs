//! [`QueryMessageProcessor`]: looking messages up by position (33) and by key (12) (RocketMQ 4.9
//! `QueryMessageProcessor`).

use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::query_message::{
    QueryMessageRequestHeader, QueryMessageResponseHeader, UNIQUE_KEY_QUERY,
    ViewMessageRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessError, ProcessResult, RequestProcessor};

use crate::context::BrokerContext;

/// Answers 12 and 33.
pub(super) struct QueryMessageProcessor {
    context: Arc<BrokerContext>,
}

impl QueryMessageProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        QueryMessageProcessor { context }
    }

    /// Messages by key, one record behind the other. A query for a `UNIQ_KEY` finds as many as this
    /// broker is set to; any other one as many as it asks for.
    fn query_message(&self, request: &RemotingCommand) -> ProcessResult {
        let header: QueryMessageRequestHeader = request.header()?;
        let is_unique_key = request.ext_fields.get(UNIQUE_KEY_QUERY) == Some("true");
        let max_num = if is_unique_key {
            self.context.live().default_query_max_num
        } else {
            usize::try_from(header.max_num).unwrap_or(0)
        };
        let (begin_ms, end_ms) = (header.begin_timestamp, header.end_timestamp);
        let store = &self.context.store;
        let found = store.query_message(&header.topic, &header.key, max_num, begin_ms, end_ms);
        let response_header = QueryMessageResponseHeader {
            index_last_update_timestamp: found.index_last_update_timestamp,
            index_last_update_phyoffset: found.index_last_update_phy_offset,
        };
        if found.messages.is_empty() {
            let remark = "can not find message, maybe time range not correct".to_owned();
            let response = RemotingCommand::response(ResponseCode::QUERY_NOT_FOUND, Some(remark));
            return Ok(response.with_header(&response_header).into());
        }
        let body: Vec<u8> =
            found.messages.iter().flat_map(|record| record.iter().copied()).collect();
        let response = RemotingCommand::response(ResponseCode::SUCCESS, None);
        Ok(response.with_header(&response_header).with_body(Bytes::from(body)).into())
    }

    fn view_message(&self, channel: &Channel, request: &RemotingCommand) -> ProcessResult {
        let header: ViewMessageRequestHeader = request.header()?;
        let found = u64::try_from(header.offset)
            .ok()
            .and_then(|offset| self.context.store.look_message_by_offset(offset));
        let remark = || format!("can not find message by the offset, {}", header.offset);
        let record = found.ok_or_else(|| ProcessError::system(remark()))?;
        self.context.check_read(channel, request, record.as_ref())?;
        let response = RemotingCommand::response(ResponseCode::SUCCESS, None);
        Ok(response.with_body(Bytes::from_owner(record)).into())
    }
}

impl RequestProcessor for QueryMessageProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        if request.code == RequestCode::VIEW_MESSAGE_BY_ID {
            return self.view_message(channel, &request);
        }
        self.query_message(&request)
    }
}
