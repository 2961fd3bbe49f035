//! Deleting topics (215) and consumer groups (207) (RocketMQ 4.9 `AdminBrokerProcessor.deleteTopic`,
//! `deleteSubscriptionGroup`).
//!
//! A topic goes in this order: out of the table, so that nothing new is stored or committed under it; then the log
//! says so and its queues go ([`mq_store::MessageStore::delete_topic`]); then what groups had committed. A crash
//! in between leaves a topic that a start makes again from its queues, or one without messages; never a part of
//! them. Name servers are told by whoever asked (216), as in 4.9.
//!
//! What waits elsewhere for its turn (delayed, half, given back) is no message of the topic's queues: it is
//! delivered when it is due, under its topic, which is there again then.

use std::sync::Arc;

use mq_protocol::codes::ResponseCode;
use mq_protocol::header::admin::DeleteSubscriptionGroupRequestHeader;
use mq_protocol::header::namesrv::DeleteTopicRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessError, ProcessOutcome, ProcessResult};
use mq_store::PutMessageStatus;

use super::send_result::service_not_available;
use super::{check_master, check_topic_changes};
use crate::context::BrokerContext;

/// Answers 215.
pub(super) fn delete_topic(
    context: &Arc<BrokerContext>,
    header: DeleteTopicRequestHeader,
) -> ProcessResult {
    check_topic_changes(context, &header.topic)?;
    let (context, topic) = (Arc::clone(context), header.topic);
    Ok(ProcessOutcome::later(async move {
        delete_topic_of(&context, &topic).await?;
        context.tables.write(&context).await;
        Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
    }))
}

/// Deletes a topic, if there is anything of it.
///
/// # Errors
/// What kept it from being deleted, or its deletion from being durable.
pub(super) async fn delete_topic_of(
    context: &BrokerContext,
    topic: &str,
) -> Result<(), ProcessError> {
    let had_queues = !context.store.consume_queues().queue_ids(topic).is_empty();
    // What was deleted, and may not have come to the slaves, is deleted again.
    let was_deleted = context.store.was_deleted(topic);
    if context.topics.select_topic_config(topic).is_none() && !had_queues && !was_deleted {
        return Ok(());
    }
    if !context.store.is_writeable() {
        let remark = service_not_available(context);
        return Err(ProcessError::new(ResponseCode::SERVICE_NOT_AVAILABLE, remark));
    }
    let removed = context.topics.delete_topic_config(topic).await?;
    let status = context.store.delete_topic(topic, context.store_host).await;
    if !status.is_stored() {
        if let Some(config) = removed {
            context.topics.update_topic_config(config).await?;
        }
        let remark = format!("topic[{topic}] is not deleted: {}", status.name());
        return Err(ProcessError::system(remark));
    }
    // Forgotten when the queues went.
    context.offsets.persist().await?;
    if status == PutMessageStatus::PutOk {
        return Ok(());
    }
    let remark = format!(
        "topic[{topic}] is deleted on this broker, but its deletion may be lost ({}): delete it again",
        status.name()
    );
    Err(ProcessError::system(remark))
}

/// Answers 207.
pub(super) fn delete_group(
    context: &Arc<BrokerContext>,
    header: DeleteSubscriptionGroupRequestHeader,
) -> ProcessResult {
    check_master(context)?;
    let context = Arc::clone(context);
    Ok(ProcessOutcome::later(async move {
        context.groups.delete_group_config(&header.group_name).await?;
        context.stats.group_deleted(&header.group_name);
        if header.remove_offset {
            context.offsets.remove_group(&header.group_name);
            context.offsets.persist().await?;
        }
        Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
    }))
}
