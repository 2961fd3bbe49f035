//! [`ClientManageProcessor`]: clients come (34), go (35) and have their subscriptions checked (46)
//! (RocketMQ 4.9 `ClientManageProcessor`).

use std::sync::Arc;

use mq_protocol::body::heartbeat::{CheckClientRequestBody, HeartbeatData};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::client::UnregisterClientRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessOutcome, ProcessResult, RequestProcessor};
use tokio::time::Instant;

use super::empty_success;
use super::pull_message::SQL92_REFUSED;
use crate::client_channel::ClientChannelInfo;
use crate::context::BrokerContext;

/// Answers 34, 35 and 46.
pub(super) struct ClientManageProcessor {
    context: Arc<BrokerContext>,
}

impl ClientManageProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        ClientManageProcessor { context }
    }

    fn heartbeat(&self, channel: &Channel, request: &RemotingCommand) -> ProcessResult {
        let data: HeartbeatData = from_slice(&request.body)?;
        let context = Arc::clone(&self.context);
        let client = ClientChannelInfo {
            channel: channel.clone(),
            client_id: data.client_id,
            last_update: Instant::now(),
        };
        let (consumers, producers) = (data.consumer_data_set, data.producer_data_set);
        Ok(ProcessOutcome::later(async move {
            for consumer in &consumers {
                context.register_consumer(consumer, &client).await;
            }
            for producer in &producers {
                context.producers.register_producer(&producer.group_name, &client);
            }
            context.client_appeared.notify_one();
            // The connection may have ended while a topic was written.
            if client.channel.is_closed() {
                context.client_gone(client.channel.id());
            }
            Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
        }))
    }

    fn unregister(
        &self,
        channel: &Channel,
        header: &UnregisterClientRequestHeader,
    ) -> RemotingCommand {
        if let Some(group) = &header.producer_group {
            self.context.producers.unregister_producer(group, channel.id());
        }
        if let Some(group) = &header.consumer_group {
            let config = self.context.groups.find(group);
            let notifies = config.is_none_or(|config| config.notify_consumer_ids_changed_enable);
            let left = self.context.consumers.unregister_consumer(group, channel.id());
            if let Some(left) = left.filter(|_| notifies) {
                left.notify_consumer_ids_changed();
            }
        }
        empty_success()
    }

    fn check_client_config(body: &CheckClientRequestBody) -> RemotingCommand {
        if body.subscription_data.is_tag_type() {
            return RemotingCommand::response(ResponseCode::SUCCESS, None);
        }
        RemotingCommand::response(ResponseCode::SYSTEM_ERROR, Some(SQL92_REFUSED.to_owned()))
    }
}

impl RequestProcessor for ClientManageProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::HEART_BEAT => self.heartbeat(channel, &request),
            RequestCode::UNREGISTER_CLIENT => {
                Ok(self.unregister(channel, &request.header()?).into())
            }
            _ => Ok(Self::check_client_config(&from_slice(&request.body)?).into()),
        }
    }
}
