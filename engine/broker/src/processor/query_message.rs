//! [`QueryMessageProcessor`]: looking messages up by position (33) and by key (12) (RocketMQ 4.9
//! `QueryMessageProcessor`).

use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::query_message::{QueryMessageResponseHeader, ViewMessageRequestHeader};
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

    fn view_message(&self, header: &ViewMessageRequestHeader) -> ProcessResult {
        let found = u64::try_from(header.offset)
            .ok()
            .and_then(|offset| self.context.store.look_message_by_offset(offset));
        let remark = || format!("can not find message by the offset, {}", header.offset);
        let record = found.ok_or_else(|| ProcessError::system(remark()))?;
        let response = RemotingCommand::response(ResponseCode::SUCCESS, None);
        Ok(response.with_body(Bytes::from_owner(record)).into())
    }
}

impl RequestProcessor for QueryMessageProcessor {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        if request.code == RequestCode::VIEW_MESSAGE_BY_ID {
            return self.view_message(&request.header()?);
        }
        // Nothing is indexed by key yet: nothing is found.
        let remark = "can not find message, maybe time range not correct".to_owned();
        let response = RemotingCommand::response(ResponseCode::QUERY_NOT_FOUND, Some(remark));
        Ok(response.with_header(&QueryMessageResponseHeader::default()).into())
    }
}
