//! [`LogPrefixProcessor`]: tells a slave whether its log is a prefix of this broker's. RocketMQ has
//! no such request.

use std::sync::Arc;

use mq_protocol::header::log_prefix::PrefixQuery;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessResult, RequestProcessor};
use mq_store::ha::prefix::answer_prefix_query;

use crate::context::BrokerContext;

/// Answers CHECK_LOG_PREFIX.
pub(super) struct LogPrefixProcessor {
    context: Arc<BrokerContext>,
}

impl LogPrefixProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        LogPrefixProcessor { context }
    }
}

impl RequestProcessor for LogPrefixProcessor {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let query = PrefixQuery::decode(&request.header()?, &request.body)?;
        let answer = answer_prefix_query(self.context.store.commit_log(), &query);
        let (header, body) = answer.encode();
        Ok(RemotingCommand::success(&header).with_body(body).into())
    }
}
