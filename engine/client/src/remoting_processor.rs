//! What brokers ask a client (RocketMQ 4.9 `ClientRemotingProcessor`).

use std::sync::Arc;

use mq_env::clock::Clock;
use mq_protocol::body::offset_table::GetConsumerStatusBody;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{Json, to_bytes};
use mq_protocol::header::client::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader, ResetOffsetRequestHeader,
};
use mq_protocol::message_codec::decode_message;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::processor::not_supported;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};

use crate::consumer_admin::offsets_of_reset;
use crate::consumers::Consumers;
use crate::instance::Signals;
use crate::push_consumer::ConsumerInner;
use crate::request_reply::RequestFutures;
use crate::transaction_checks::TransactionChecks;

/// Hands what brokers ask to whom it concerns.
pub(crate) struct ClientRemotingProcessor {
    pub(crate) signals: Arc<Signals>,
    pub(crate) transaction_checks: Arc<TransactionChecks>,
    pub(crate) consumers: Arc<Consumers>,
    pub(crate) request_futures: Arc<RequestFutures>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl ClientRemotingProcessor {
    fn reset_offset(&self, request: &RemotingCommand) -> Result<(), ProcessError> {
        let header: ResetOffsetRequestHeader = request.header()?;
        let offsets = offsets_of_reset(&request.body)?;
        if let Some(consumer) = self.consumers.get_push(&header.group) {
            consumer.reset_offset(&header.topic, &offsets);
        }
        Ok(())
    }

    fn consumer_status(&self, header: &GetConsumerStatusRequestHeader) -> ProcessOutcome {
        let consumer = self.consumers.get_push(&header.group);
        let offsets = consumer.map(|consumer| consumer.consumer_status(&header.topic));
        answer(&GetConsumerStatusBody {
            message_queue_table: offsets.unwrap_or_default(),
            ..GetConsumerStatusBody::default()
        })
        .into()
    }

    fn consume_directly(&self, request: &RemotingCommand) -> ProcessResult {
        let header: ConsumeMessageDirectlyResultRequestHeader = request.header()?;
        let consumer = self.consumer(&header.consumer_group)?;
        let mut message = decode_message(&request.body)?;
        message.broker_name = header.broker_name.unwrap_or_default();
        Ok(ProcessOutcome::later(async move {
            Ok(Some(answer(&consumer.consume_message_directly(message).await)))
        }))
    }

    fn consumer(&self, group: &str) -> Result<Arc<ConsumerInner>, ProcessError> {
        let remark = || format!("The Consumer Group <{group}> not exist in this consumer");
        self.consumers.get_push(group).ok_or_else(|| ProcessError::system(remark()))
    }
}

impl RequestProcessor for ClientRemotingProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => self.signals.rebalance.notify_one(),
            RequestCode::CHECK_TRANSACTION_STATE => {
                self.transaction_checks.ask(channel, &request)?;
            }
            RequestCode::RESET_CONSUMER_CLIENT_OFFSET => self.reset_offset(&request)?,
            RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT => {
                return Ok(self.consumer_status(&request.header()?));
            }
            RequestCode::GET_CONSUMER_RUNNING_INFO => {
                let header: GetConsumerRunningInfoRequestHeader = request.header()?;
                let info = self.consumer(&header.consumer_group)?.running_info();
                return Ok(answer(&info).into());
            }
            RequestCode::CONSUME_MESSAGE_DIRECTLY => return self.consume_directly(&request),
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

/// SUCCESS with a body.
fn answer(body: &impl Json) -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS, None).with_body(to_bytes(body))
}
