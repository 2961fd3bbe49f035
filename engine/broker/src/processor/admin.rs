//! [`AdminBrokerProcessor`]: everything that no other processor answers (RocketMQ 4.9 `AdminBrokerProcessor`): topics (17,
//! 215), groups (200, 207), offsets of queues (29 to 32), tables for slaves (21, 43, 45, 201), and through the modules beside
//! this one what tools show and change.

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
use super::group_offsets::{clone_group_offset, correction_offsets};
use super::half_message::resume_check;
use super::query_consume_queue::query_consume_queue;
use super::runtime_info::runtime_info;
use super::{
    check_master, check_topic_changes, cleaning, connections, consume_stats, created_by_java,
    deletion, topic_stats,
};
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
            context.tables.write(&context).await;
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
            context.tables.write(&context).await;
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

impl AdminBrokerProcessor {
    /// Answers what changes something.
    fn change(&self, channel: &Channel, request: &RemotingCommand) -> ProcessResult {
        let context = &self.context;
        match request.code {
            RequestCode::UPDATE_AND_CREATE_TOPIC => self.create_topic(&request.header()?),
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => self.update_group(request),
            RequestCode::DELETE_TOPIC_IN_BROKER => {
                deletion::delete_topic(context, request.header()?)
            }
            RequestCode::DELETE_SUBSCRIPTIONGROUP => {
                deletion::delete_group(context, request.header()?)
            }
            RequestCode::UPDATE_BROKER_CONFIG => update_broker_config(context, request),
            RequestCode::CLONE_GROUP_OFFSET => clone_group_offset(context, channel, request),
            RequestCode::RESUME_CHECK_HALF_MESSAGE => resume_check(context, &request.header()?),
            RequestCode::CLEAN_UNUSED_TOPIC => cleaning::clean_unused_topics(context),
            RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE => {
                Ok(cleaning::clean_expired_consume_queues(context).into())
            }
            RequestCode::DELETE_EXPIRED_COMMITLOG => {
                Ok(cleaning::delete_expired_commit_log(context).into())
            }
            code => Err(not_supported(code)),
        }
    }

    /// Answers what shows something; `None` for another request.
    fn show(&self, request: &RemotingCommand) -> Result<Option<RemotingCommand>, ProcessError> {
        let context = &self.context;
        Ok(Some(match request.code {
            RequestCode::GET_ALL_TOPIC_CONFIG => content(context.topics.content()),
            RequestCode::GET_ALL_CONSUMER_OFFSET => content(context.offsets.content()),
            RequestCode::GET_ALL_DELAY_OFFSET => table(&context.delay_offsets.wrapper()),
            RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => content(context.groups.content()),
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => self.search_offset(&request.header()?),
            RequestCode::GET_MAX_OFFSET => self.max_offset(&request.header()?),
            RequestCode::GET_MIN_OFFSET => self.min_offset(&request.header()?),
            RequestCode::GET_EARLIEST_MSG_STORETIME => self.earliest_store_time(&request.header()?),
            RequestCode::GET_BROKER_CONFIG => get_broker_config(context),
            RequestCode::GET_BROKER_RUNTIME_INFO => table(&runtime_info(context)),
            RequestCode::GET_CONSUME_STATS => {
                table(&consume_stats::consume_stats(context, &request.header()?))
            }
            RequestCode::GET_BROKER_CONSUME_STATS => {
                table(&consume_stats::broker_consume_stats(context, &request.header()?))
            }
            RequestCode::GET_TOPIC_STATS_INFO => {
                table(&topic_stats::topic_stats(context, &request.header()?)?)
            }
            RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => {
                table(&topic_stats::who_consumes(context, &request.header()?))
            }
            RequestCode::QUERY_CONSUME_TIME_SPAN => {
                table(&topic_stats::time_span(context, &request.header()?)?)
            }
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => {
                table(&topic_stats::system_topics(context))
            }
            RequestCode::VIEW_BROKER_STATS_DATA => {
                table(&topic_stats::view_stats(context, &request.header()?)?)
            }
            RequestCode::GET_CONSUMER_CONNECTION_LIST => {
                table(&connections::consumer_connections(context, &request.header()?)?)
            }
            RequestCode::GET_PRODUCER_CONNECTION_LIST => {
                table(&connections::producer_connections(context, &request.header()?)?)
            }
            RequestCode::GET_ALL_PRODUCER_INFO => table(&connections::all_producers(context)),
            RequestCode::QUERY_CORRECTION_OFFSET => {
                table(&correction_offsets(context, &request.header()?))
            }
            RequestCode::QUERY_CONSUME_QUEUE => query_consume_queue(context, &request.header()?)?,
            _ => return Ok(None),
        }))
    }
}

impl RequestProcessor for AdminBrokerProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        match self.show(&request)? {
            Some(shown) => Ok(shown.into()),
            None => self.change(channel, &request),
        }
    }
}

fn table(body: &impl Json) -> RemotingCommand {
    content(to_bytes(body))
}

fn content(body: Bytes) -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS, None).with_body(body)
}
