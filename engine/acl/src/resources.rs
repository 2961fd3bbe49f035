//! What a request asks for: topics and groups, each with a permission (RocketMQ 4.9 `PlainAccessValidator.parse`).
//!
//! | request | asks for |
//! |---|---|
//! | sends (10, 310, 320), replies (324, 325) | PUB on the topic; SUB for the group of a retry topic |
//! | replies (324, 325) to the cluster's own reply topic | nothing |
//! | pulls (11, 361) | SUB on the topic and for the group |
//! | query by key (12) | SUB on the topic |
//! | offsets of groups (14, 15) | SUB on the topic and for the group |
//! | heartbeat (34) | SUB for each group and on each topic that it wants |
//! | 35, 36, 38, locks (41, 42), what clients are asked (307, 309) | SUB for the group |
//! | offsets for another group (314) | SUB on the topic, if one is named, and for both groups |
//! | reset (222), offsets of clients (223) | SUB on the topic and for the group |
//!
//! What a request names is read here as its processor reads it. Of what it names by a position in the log (33, 36, 309) the
//! broker asks once it has found it: [`AclRules::check_read`](crate::AclRules::check_read).
//!
//! 4.9 does not ask anything of 14, 41, 42, 222, 223, 307, 309, 314, 320, 324, 325 and 361, and takes the group of a send to a retry
//! topic from another field, in which the sender may name any group of its own.

use std::borrow::Cow;

use mq_protocol::body::heartbeat::HeartbeatData;
use mq_protocol::body::lock::LockBatchRequestBody;
use mq_protocol::codes::RequestCode as Code;
use mq_protocol::fastjson::{Json, from_slice};
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message::{RETRY_GROUP_TOPIC_PREFIX, retry_topic};
use mq_protocol::remoting_command::RemotingCommand;

use crate::permission::Permission;

/// A topic, or a group by its retry topic, and what is to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Needed<'a> {
    pub(crate) resource: Cow<'a, str>,
    pub(crate) permission: Permission,
}

impl Needed<'_> {
    /// The group, if it is one.
    pub(crate) fn group(&self) -> Option<&str> {
        self.resource.strip_prefix(RETRY_GROUP_TOPIC_PREFIX)
    }
}

/// Only administrators may send these. The first line is 4.9's; the rest changes or shows the accounts themselves, or deletes
/// what is everybody's, which 4.9 lets every account do.
pub(crate) fn needs_admin(code: i32) -> bool {
    matches!(
        code,
        Code::UPDATE_AND_CREATE_TOPIC
            | Code::UPDATE_BROKER_CONFIG
            | Code::DELETE_TOPIC_IN_BROKER
            | Code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
            | Code::DELETE_SUBSCRIPTIONGROUP
            | Code::UPDATE_AND_CREATE_ACL_CONFIG
            | Code::DELETE_ACL_CONFIG
            | Code::GET_BROKER_CLUSTER_ACL_INFO
            | Code::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG
            | Code::GET_BROKER_CLUSTER_ACL_CONFIG
            | Code::CLEAN_EXPIRED_CONSUMEQUEUE
            | Code::CLEAN_UNUSED_TOPIC
            | Code::DELETE_EXPIRED_COMMITLOG
            | Code::RESUME_CHECK_HALF_MESSAGE
    )
}

/// Everything that `request` asks for. What it does not name asks for nothing: nobody will answer it either. Replies to
/// `reply_topic` are everybody's.
///
/// # Errors
/// A body that cannot be read.
pub(crate) fn needed<'a>(
    request: &'a RemotingCommand,
    reply_topic: Option<&str>,
) -> Result<Vec<Needed<'a>>, String> {
    let mut all = All(Vec::new());
    let field = |name| request.ext_fields.get(name);
    let sent_to = || SendMessageRequestHeader::topic_of(&request.ext_fields);
    match request.code {
        Code::SEND_MESSAGE | Code::SEND_MESSAGE_V2 | Code::SEND_BATCH_MESSAGE => {
            all.send(sent_to())
        }
        Code::SEND_REPLY_MESSAGE | Code::SEND_REPLY_MESSAGE_V2 => {
            all.send(sent_to().filter(|topic| reply_topic != Some(*topic)))
        }
        Code::PULL_MESSAGE
        | Code::LITE_PULL_MESSAGE
        | Code::QUERY_CONSUMER_OFFSET
        | Code::UPDATE_CONSUMER_OFFSET => {
            all.topic(field("topic"));
            all.group(field("consumerGroup"));
        }
        Code::QUERY_MESSAGE => all.topic(field("topic")),
        Code::CONSUMER_SEND_MSG_BACK => all.group(field("group")),
        Code::INVOKE_BROKER_TO_RESET_OFFSET | Code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => {
            all.topic(field("topic"));
            all.group(field("group"));
        }
        Code::CLONE_GROUP_OFFSET => {
            all.topic(field("topic").filter(|topic| !topic.trim().is_empty()));
            all.group(field("srcGroup"));
            all.group(field("destGroup"));
        }
        Code::UNREGISTER_CLIENT
        | Code::GET_CONSUMER_LIST_BY_GROUP
        | Code::GET_CONSUMER_RUNNING_INFO
        | Code::CONSUME_MESSAGE_DIRECTLY => all.group(field("consumerGroup")),
        Code::LOCK_BATCH_MQ | Code::UNLOCK_BATCH_MQ => {
            let body: LockBatchRequestBody = body(request)?;
            all.group(Some(&body.consumer_group));
        }
        Code::HEART_BEAT => {
            let body: HeartbeatData = body(request)?;
            for consumer in &body.consumer_data_set {
                all.group(Some(&consumer.group_name));
                for subscription in &consumer.subscription_data_set {
                    all.named(Cow::Owned(subscription.topic.clone()), Permission::SUB);
                }
            }
        }
        _ => {}
    }
    Ok(all.0)
}

fn body<T: Json>(request: &RemotingCommand) -> Result<T, String> {
    from_slice(&request.body).map_err(|error| format!("the body cannot be read: {error}"))
}

struct All<'a>(Vec<Needed<'a>>);

impl<'a> All<'a> {
    fn named(&mut self, resource: Cow<'a, str>, permission: Permission) {
        self.0.push(Needed { resource, permission });
    }

    fn send(&mut self, topic: Option<&'a str>) {
        let Some(topic) = topic else { return };
        let is_retry = topic.starts_with(RETRY_GROUP_TOPIC_PREFIX);
        let permission = if is_retry { Permission::SUB } else { Permission::PUB };
        self.named(Cow::Borrowed(topic), permission);
    }

    fn topic(&mut self, topic: Option<&'a str>) {
        if let Some(topic) = topic {
            self.named(Cow::Borrowed(topic), Permission::SUB);
        }
    }

    fn group(&mut self, group: Option<&str>) {
        if let Some(group) = group {
            self.named(Cow::Owned(retry_topic(group)), Permission::SUB);
        }
    }
}
