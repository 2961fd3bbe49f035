//! Cleaning up by hand: files that have expired (306, 329), and topics that are in no table (316) (RocketMQ 4.9
//! `AdminBrokerProcessor`).

use std::sync::Arc;

use mq_protocol::codes::ResponseCode;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessOutcome, ProcessResult};

use super::check_master;
use super::deletion::delete_topic_of;
use crate::context::BrokerContext;

/// Answers 306.
pub(super) fn clean_expired_consume_queues(context: &BrokerContext) -> RemotingCommand {
    context.store.clean_expired_consume_queues();
    RemotingCommand::response(ResponseCode::SUCCESS, None)
}

/// Answers 329.
pub(super) fn delete_expired_commit_log(context: &BrokerContext) -> RemotingCommand {
    context.store.execute_delete_files_manually();
    RemotingCommand::response(ResponseCode::SUCCESS, None)
}

/// Answers 316: deletes the queues of topics that are not in the table, but for the system's, as an operator deletes a
/// topic. RocketMQ 4.9 removes their files alone, and a start makes them again from the log; on a slave as well, whose
/// queues are its master's.
pub(super) fn clean_unused_topics(context: &Arc<BrokerContext>) -> ProcessResult {
    check_master(context)?;
    let context = Arc::clone(context);
    Ok(ProcessOutcome::later(async move {
        for topic in context.store.consume_queues().topics() {
            let is_known = context.topics.select_topic_config(&topic).is_some();
            if !is_known && !context.topics.is_system_topic(&topic) {
                tracing::warn!(topic, "the queues of a topic that is in no table are deleted");
                delete_topic_of(&context, &topic).await?;
            }
        }
        Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
    }))
}
