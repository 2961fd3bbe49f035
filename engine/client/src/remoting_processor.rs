//! What brokers ask a client (RocketMQ 4.9 `ClientRemotingProcessor`).

use std::sync::Arc;

use mq_env::clock::Clock;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::processor::not_supported;
use mq_remoting::{Channel, ProcessOutcome, ProcessResult, RequestProcessor};

use crate::instance::Signals;
use crate::request_reply::RequestFutures;
use crate::transaction_checks::TransactionChecks;

/// Hands what brokers ask to whom it concerns.
pub(crate) struct ClientRemotingProcessor {
    pub(crate) signals: Arc<Signals>,
    pub(crate) transaction_checks: Arc<TransactionChecks>,
    pub(crate) request_futures: Arc<RequestFutures>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl RequestProcessor for ClientRemotingProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => self.signals.rebalance.notify_one(),
            RequestCode::CHECK_TRANSACTION_STATE => {
                self.transaction_checks.ask(channel, &request)?;
            }
            RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT => {
                let now_ms = self.clock.now_millis();
                self.request_futures.take_reply(channel, request, now_ms)?;
                return Ok(RemotingCommand::response(ResponseCode::SUCCESS, None).into());
            }
            code => return Err(not_supported(code)),
        }
        Ok(ProcessOutcome::Silent)
    }
}
