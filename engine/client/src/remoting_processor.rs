//! What brokers ask a client (RocketMQ 4.9 `ClientRemotingProcessor`).

use std::sync::Arc;

use mq_protocol::codes::RequestCode;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::processor::not_supported;
use mq_remoting::{Channel, ProcessOutcome, ProcessResult, RequestProcessor};

use crate::instance::Signals;
use crate::transaction_checks::TransactionChecks;

/// Hands what brokers ask to whom it concerns.
pub(crate) struct ClientRemotingProcessor {
    pub(crate) signals: Arc<Signals>,
    pub(crate) transaction_checks: Arc<TransactionChecks>,
}

impl RequestProcessor for ClientRemotingProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => self.signals.rebalance.notify_one(),
            RequestCode::CHECK_TRANSACTION_STATE => {
                self.transaction_checks.ask(channel, &request)?;
            }
            code => return Err(not_supported(code)),
        }
        Ok(ProcessOutcome::Silent)
    }
}
