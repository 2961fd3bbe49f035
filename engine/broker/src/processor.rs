//! The requests that a broker answers, one module per processor of RocketMQ 4.9.
//!
//! Both ports answer the same codes, except that pulls are answered by the main port only.

mod acl_config;
mod admin;
mod broker_config;
mod cleaning;
mod client_manage;
mod connections;
mod consume_stats;
mod consumer_admin;
mod consumer_manage;
mod consumer_send_back;
mod deletion;
mod end_transaction;
mod group_offsets;
mod half_message;
mod log_prefix;
mod pull_message;
mod pull_result;
mod query_consume_queue;
mod query_message;
mod queue_lock;
mod reply_message;
mod runtime_info;
mod send_message;
mod send_result;
mod topic_stats;

use std::sync::Arc;

use mq_protocol::codes::{RequestCode as Code, ResponseCode};
use mq_protocol::header::log_prefix::CHECK_LOG_PREFIX;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::topic_validator::validate_topic;
use mq_remoting::{ProcessError, ProcessorTable};

use crate::context::BrokerContext;
use crate::subscription_group_manager::NoGroup;

pub(crate) use pull_message::PullMessageProcessor;

/// Where Java's remarks send the reader.
const FAQ: &str = "\nSee http://rocketmq.apache.org/docs/faq/ for further details.";

/// Who answers what on the main port and on the fast one.
pub(crate) fn tables(
    context: &Arc<BrokerContext>,
    pulls: &Arc<PullMessageProcessor>,
) -> [ProcessorTable; 2] {
    let shared = || Arc::clone(context);
    let table = match &context.acl {
        Some(acl) => ProcessorTable::default().guarded_by(Arc::clone(acl) as Arc<_>),
        None => ProcessorTable::default(),
    };
    let fast = table
        .register(
            &[Code::SEND_MESSAGE, Code::SEND_MESSAGE_V2, Code::SEND_BATCH_MESSAGE],
            Arc::new(send_message::SendMessageProcessor::new(shared())),
        )
        .register(
            &[Code::SEND_REPLY_MESSAGE, Code::SEND_REPLY_MESSAGE_V2],
            Arc::new(reply_message::ReplyMessageProcessor::new(shared())),
        )
        .register(
            &[Code::CONSUMER_SEND_MSG_BACK],
            Arc::new(consumer_send_back::ConsumerSendBackProcessor::new(shared())),
        )
        .register(
            &[Code::END_TRANSACTION],
            Arc::new(end_transaction::EndTransactionProcessor::new(shared())),
        )
        .register(
            &[Code::HEART_BEAT, Code::UNREGISTER_CLIENT, Code::CHECK_CLIENT_CONFIG],
            Arc::new(client_manage::ClientManageProcessor::new(shared())),
        )
        .register(
            &[
                Code::GET_CONSUMER_LIST_BY_GROUP,
                Code::QUERY_CONSUMER_OFFSET,
                Code::UPDATE_CONSUMER_OFFSET,
            ],
            Arc::new(consumer_manage::ConsumerManageProcessor::new(shared())),
        )
        .register(
            &[
                Code::INVOKE_BROKER_TO_RESET_OFFSET,
                Code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
                Code::GET_CONSUMER_RUNNING_INFO,
                Code::CONSUME_MESSAGE_DIRECTLY,
            ],
            Arc::new(consumer_admin::ConsumerAdminProcessor::new(shared())),
        )
        .register(
            &[Code::LOCK_BATCH_MQ, Code::UNLOCK_BATCH_MQ],
            Arc::new(queue_lock::QueueLockProcessor::new(shared())),
        )
        .register(
            &[Code::QUERY_MESSAGE, Code::VIEW_MESSAGE_BY_ID],
            Arc::new(query_message::QueryMessageProcessor::new(shared())),
        )
        .register(
            &[
                Code::UPDATE_AND_CREATE_ACL_CONFIG,
                Code::DELETE_ACL_CONFIG,
                Code::GET_BROKER_CLUSTER_ACL_INFO,
                Code::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG,
                Code::GET_BROKER_CLUSTER_ACL_CONFIG,
            ],
            Arc::new(acl_config::AclConfigProcessor::new(shared())),
        )
        .register(&[CHECK_LOG_PREFIX], Arc::new(log_prefix::LogPrefixProcessor::new(shared())))
        .register_default(Arc::new(admin::AdminBrokerProcessor::new(shared())));
    let main = fast.clone().register(&[Code::PULL_MESSAGE, Code::LITE_PULL_MESSAGE], pulls.clone());
    [main, fast]
}

/// Refuses whoever would change a slave's tables.
fn check_master(context: &BrokerContext) -> Result<(), ProcessError> {
    const NOT_FROM_SLAVE: &str = "Can't modify topic or subscription group from slave broker, please execute it from master broker.";
    if context.is_slave() { Err(ProcessError::system(NOT_FROM_SLAVE)) } else { Ok(()) }
}

/// Refuses whoever would change a topic on a slave, or one that is nobody's.
fn check_topic_changes(context: &BrokerContext, topic: &str) -> Result<(), ProcessError> {
    check_master(context)?;
    validate_topic(topic).map_err(ProcessError::system)?;
    if context.topics.is_system_topic(topic) {
        let remark = format!("The topic[{topic}] is conflict with system topic.");
        return Err(ProcessError::system(remark));
    }
    Ok(())
}

/// A refusal of a request whose response has a header class: the ext fields are there, but empty.
fn refuse(code: i32, remark: impl Into<String>) -> RemotingCommand {
    let mut response = RemotingCommand::response(code, Some(remark.into()));
    response.ext_fields.mark_present();
    response
}

/// A subscription by properties while `enablePropertyFilter` is off.
fn no_property_filter(expression_type: &str) -> ProcessError {
    let remark =
        format!("The broker does not support consumer to filter message by {expression_type}");
    ProcessError::new(ResponseCode::SYSTEM_ERROR, remark)
}

/// SUCCESS of a request whose response has an empty header class.
fn empty_success() -> RemotingCommand {
    let mut response = RemotingCommand::response(ResponseCode::SUCCESS, None);
    response.ext_fields.mark_present();
    response
}

/// Java leaves the remark of a new response standing where it only sets the code.
fn created_by_java(code: i32) -> RemotingCommand {
    RemotingCommand::response(code, Some("not set any response code".to_owned()))
}

/// A message of a group that is not there and is not created.
fn no_group(group: &str, missing: &NoGroup) -> ProcessError {
    let remark = format!("subscription group not exist, {group} {FAQ}{}", missing.reason());
    ProcessError::new(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
}
