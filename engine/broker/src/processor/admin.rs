//! [`AdminBrokerProcessor`]: everything that no other processor answers: topics (17, 215), groups (200, 207), offsets of
//! queues (29 to 32), tables for slaves (21, 43, 45, 201), what tools show (26, 28, 208), the removal of
//! expired files (329) (RocketMQ 4.9
//! `AdminBrokerProcessor`).

use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::body::subscription_group::SubscriptionGroupConfig;
use mq_protocol::body::topic_config::{TopicConfig, TopicFilterType};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{Json, from_slice, to_bytes};
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::header::offset::{
    GetEarliestMsgStoretimeResponseHeader, OffsetResponseHeader, QueueRequestHeader,
    SearchOffsetRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::topic_validator::is_legal_group;
use mq_remoting::processor::not_supported;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};

use super::broker_config::{get_broker_config, update_broker_config};
use super::consume_stats::get_consume_stats;
use super::runtime_info::runtime_info;
use super::{check_master, check_topic_changes, created_by_java, deletion};
use crate::context::BrokerContext;
use crate::registration;

/// Answers whatever nobody else does.
pub(super) struct AdminBrokerProcessor {
    context: Arc<BrokerContext>,
}

impl AdminBrokerProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        AdminBrokerProcessor { context }
    }

    fn create_topic(&self, header: &CreateTopicRequestHeader) -> ProcessResult {
        let context = Arc::clone(&self.context);
        check_topic_changes(&context, &header.topic)?;
        let filter_type = &header.topic_filter_type;
        let topic_filter_type = TopicFilterType::from_name(filter_type)
            .ok_or_else(|| ProcessError::system(format!("no TopicFilterType {filter_type}")))?;
        let config = TopicConfig {
            order: false,
            perm: header.perm,
            read_queue_nums: header.read_queue_nums,
            topic_filter_type,
            topic_name: header.topic.clone(),
            topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
            write_queue_nums: header.write_queue_nums,
        };
        Ok(ProcessOutcome::later(async move {
            let topic = config.topic_name.clone();
            context.topics.update_topic_config(config).await?;
            registration::register_topic(&context, &topic).await;
            Ok(Some(created_by_java(ResponseCode::SUCCESS)))
        }))
    }

    fn update_group(&self, request: &RemotingCommand) -> ProcessResult {
        let context = Arc::clone(&self.context);
        check_master(&context)?;
        let config: SubscriptionGroupConfig = from_slice(&request.body)
            .map_err(|error| ProcessError::system(format!("the group cannot be read: {error}")))?;
        if !is_legal_group(&config.group_name) {
            let remark = format!("the group name[{}] is illegal", config.group_name);
            return Err(ProcessError::system(remark));
        }
        Ok(ProcessOutcome::later(async move {
            context.groups.update_group(config).await?;
            Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
        }))
    }

    fn search_offset(&self, header: &SearchOffsetRequestHeader) -> RemotingCommand {
        let timestamp_ms = u64::try_from(header.timestamp).unwrap_or(0);
        let offset = u32::try_from(header.queue_id).map_or(0, |queue_id| {
            self.context.store.offset_in_queue_by_time(&header.topic, queue_id, timestamp_ms)
        });
        RemotingCommand::success(&OffsetResponseHeader { offset: offset as i64 })
    }

    fn max_offset(&self, header: &QueueRequestHeader) -> RemotingCommand {
        let offset = self.context.max_offset(&header.topic, header.queue_id);
        RemotingCommand::success(&OffsetResponseHeader { offset })
    }

    fn min_offset(&self, header: &QueueRequestHeader) -> RemotingCommand {
        let offset = u32::try_from(header.queue_id)
            .map_or(0, |queue_id| self.context.store.min_offset_in_queue(&header.topic, queue_id));
        RemotingCommand::success(&OffsetResponseHeader { offset: offset as i64 })
    }

    fn earliest_store_time(&self, header: &QueueRequestHeader) -> RemotingCommand {
        let store = &self.context.store;
        let earliest = u32::try_from(header.queue_id)
            .ok()
            .and_then(|queue_id| store.earliest_message_time(&header.topic, queue_id));
        let timestamp = earliest.map_or(-1, |timestamp_ms| timestamp_ms as i64);
        RemotingCommand::success(&GetEarliestMsgStoretimeResponseHeader { timestamp })
    }
}

impl RequestProcessor for AdminBrokerProcessor {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let context = &self.context;
        let response = match request.code {
            RequestCode::UPDATE_AND_CREATE_TOPIC => return self.create_topic(&request.header()?),
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => return self.update_group(&request),
            RequestCode::DELETE_TOPIC_IN_BROKER => {
                return deletion::delete_topic(context, request.header()?);
            }
            RequestCode::DELETE_SUBSCRIPTIONGROUP => {
                return deletion::delete_group(context, request.header()?);
            }
            RequestCode::GET_ALL_TOPIC_CONFIG => content(context.topics.content()),
            RequestCode::GET_ALL_CONSUMER_OFFSET => content(context.offsets.content()),
            RequestCode::GET_ALL_DELAY_OFFSET => table(&context.delay_offsets.wrapper()),
            RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => content(context.groups.content()),
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => self.search_offset(&request.header()?),
            RequestCode::GET_MAX_OFFSET => self.max_offset(&request.header()?),
            RequestCode::GET_MIN_OFFSET => self.min_offset(&request.header()?),
            RequestCode::GET_EARLIEST_MSG_STORETIME => self.earliest_store_time(&request.header()?),
            RequestCode::GET_CONSUME_STATS => get_consume_stats(context, &request.header()?),
            RequestCode::DELETE_EXPIRED_COMMITLOG => {
                context.store.execute_delete_files_manually();
                RemotingCommand::response(ResponseCode::SUCCESS, None)
            }
            RequestCode::GET_BROKER_CONFIG => get_broker_config(context),
            RequestCode::UPDATE_BROKER_CONFIG => return update_broker_config(context, &request),
            RequestCode::GET_BROKER_RUNTIME_INFO => table(&runtime_info(context)),
            code => return Err(not_supported(code)),
        };
        Ok(response.into())
    }
}

fn table(body: &impl Json) -> RemotingCommand {
    content(to_bytes(body))
}

fn content(body: Bytes) -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS, None).with_body(body)
}
