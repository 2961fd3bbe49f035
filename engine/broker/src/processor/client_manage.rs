//! [`ClientManageProcessor`]: clients come (34), go (35) and have their subscriptions checked (46)
//! (RocketMQ 4.9 `ClientManageProcessor`).

use std::sync::Arc;

use mq_protocol::body::heartbeat::{
    CheckClientRequestBody, ConsumerData, HeartbeatData, ProducerData,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::client::UnregisterClientRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::topic_validator::{GROUP_BYTES_MAX, is_storable_name};
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};
use tokio::time::Instant;

use super::{empty_success, no_property_filter};
use crate::client_channel::ClientChannelInfo;
use crate::context::BrokerContext;
use crate::subscription::{Subscription, SubscriptionKind};

/// Longest name of a client: an address, a process and the name of an instance.
const CLIENT_ID_BYTES_MAX: usize = 1_024;

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
        check_names(&data)?;
        let context = Arc::clone(&self.context);
        let client = ClientChannelInfo {
            channel: channel.clone(),
            client_id: data.client_id.into(),
            language: request.language,
            version: request.version,
            last_update: Instant::now(),
        };
        let (consumers, producers) = (data.consumer_data_set, data.producer_data_set);
        Ok(ProcessOutcome::later(async move {
            let mut outcome = context.register_consumers(&consumers, &client).await;
            for producer in &producers {
                let registered = context.producers.register_producer(&producer.group_name, &client);
                outcome = outcome.and(registered.map(drop).map_err(ProcessError::from));
            }
            context.client_appeared.notify_one();
            // The connection may have ended while a topic was written.
            if client.channel.is_closed() {
                context.client_gone(client.channel.id());
            }
            outcome.map(|()| Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
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
            let left = self.context.consumers.unregister_consumer(group, channel.id());
            if let Some(left) = left.filter(|_| self.context.notifies(group)) {
                left.notify_consumer_ids_changed();
            }
        }
        empty_success()
    }

    /// Says before a consumer starts whether it would be served.
    fn check_client_config(&self, body: &CheckClientRequestBody) -> ProcessResult {
        let subscription = &body.subscription_data;
        if !subscription.is_tag_type() {
            if !self.context.live().enable_property_filter {
                let expression_type = subscription.expression_type.as_deref().unwrap_or_default();
                return Err(no_property_filter(expression_type));
            }
            if let SubscriptionKind::Broken(why) = Subscription::from(subscription).kind {
                return Err(ProcessError::new(ResponseCode::SUBSCRIPTION_PARSE_FAILED, why));
            }
        }
        Ok(RemotingCommand::response(ResponseCode::SUCCESS, None).into())
    }
}

impl RequestProcessor for ClientManageProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::HEART_BEAT => self.heartbeat(channel, &request),
            RequestCode::UNREGISTER_CLIENT => {
                Ok(self.unregister(channel, &request.header()?).into())
            }
            _ => self.check_client_config(&from_slice(&request.body)?),
        }
    }
}

/// What a client calls itself is kept with every group that it is in.
pub(super) fn check_client_id(client_id: &str) -> Result<(), ProcessError> {
    if is_storable_name(client_id, CLIENT_ID_BYTES_MAX) {
        return Ok(());
    }
    let remark = format!(
        "the client id has control characters or is longer than {CLIENT_ID_BYTES_MAX} bytes"
    );
    Err(ProcessError::system(remark))
}

/// Refuses names that nobody honest has. Others that 4.9 would not create a group or topic for are kept
/// as there: they have no effect.
fn check_names(data: &HeartbeatData) -> Result<(), ProcessError> {
    check_client_id(&data.client_id)?;
    let of_consumer = |consumer: &ConsumerData| {
        let mut topics = consumer.subscription_data_set.iter().map(|it| &it.topic);
        topics.all(|topic| is_storable_name(topic, GROUP_BYTES_MAX))
            && is_storable_name(&consumer.group_name, GROUP_BYTES_MAX)
    };
    let of_producer =
        |producer: &ProducerData| is_storable_name(&producer.group_name, GROUP_BYTES_MAX);
    if data.consumer_data_set.iter().all(of_consumer)
        && data.producer_data_set.iter().all(of_producer)
    {
        return Ok(());
    }
    let remark = format!(
        "a group or topic of the heartbeat has control characters or is longer than \
         {GROUP_BYTES_MAX} bytes"
    );
    Err(ProcessError::system(remark))
}
