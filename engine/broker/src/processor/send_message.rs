//! [`SendMessageProcessor`]: messages of producers, one (10, 310) or a batch (320) (RocketMQ 4.9
//! `SendMessageProcessor`, `AbstractSendMessageProcessor`).
//!
//! A message of a transaction is stored as a half message, where no consumer sees it.

use std::sync::Arc;

use mq_protocol::body::topic_config::{TopicConfig, TopicFilterType};
use mq_protocol::codes::{MqVersion, ResponseCode};
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message::{
    MessageConst, PropertiesView, RETRY_GROUP_TOPIC_PREFIX, TOPIC_BYTES_MAX, append_property,
    dlq_topic,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::{MessageSysFlag, PermName};
use mq_protocol::topic_validator::{
    RMQ_SYS_TRANS_HALF_TOPIC, is_not_allowed_send_topic, validate_topic,
};
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};
use mq_store::delay_level::delay_level;
use mq_store::{MessageInner, PutFuture};

use super::send_result::{refusal, send_response, service_not_available};
use super::{FAQ, no_group};
use crate::context::BrokerContext;
use crate::topic_config_manager::topic_sys_flag;
use crate::transactional_message::{
    TRANSACTION_QUEUE_NUMS, half_message, is_half_message, is_wait_store_ok,
};

/// Queues of a group's dead letters.
pub(super) const DLQ_NUMS_PER_GROUP: i32 = 1;

/// Answers 10, 310 and 320.
pub(super) struct SendMessageProcessor {
    context: Arc<BrokerContext>,
}

/// A send on its way into the store.
struct Send {
    request: RemotingCommand,
    header: SendMessageRequestHeader,
    channel: Channel,
    /// It begins a transaction.
    is_half: bool,
    /// The message failed too often: it goes to the group's dead letters.
    is_dead_letter: bool,
}

/// A message that is appended, and what is still to come of its status.
struct Appended {
    queue_id: i32,
    /// Under which it lies.
    stored_topic: String,
    stored_queue_id: u32,
    channel: Channel,
    put: PutFuture,
}

impl SendMessageProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        SendMessageProcessor { context }
    }

    /// Sends to a known topic are appended before this returns; others wait for theirs first.
    fn send(&self, send: Send) -> ProcessResult {
        check_request(&self.context, &send.header)?;
        let context = Arc::clone(&self.context);
        let topic = context.topics.select_topic_config(&send.header.topic);
        match topic.filter(|_| !is_to_retry_topic(&send.header) && !send.is_half) {
            Some(topic) => {
                let appended = append(&context, send, &topic)?;
                Ok(ProcessOutcome::later(
                    async move { Ok(Some(appended.response(&context).await)) },
                ))
            }
            None => {
                let body_bytes = send.request.body.len();
                context.waiting_sends.keep_body(body_bytes)?;
                Ok(ProcessOutcome::later(async move {
                    let appended = append_after_preparation(&context, send).await;
                    context.waiting_sends.release_body(body_bytes);
                    match appended {
                        Ok(appended) => Ok(Some(appended.response(&context).await)),
                        Err(error) => Ok(Some(refusal(&context.live(), error))),
                    }
                }))
            }
        }
    }
}

/// What a broker says that has no time for a message: before it looks at it, to every request that
/// would store one (RocketMQ 4.9 `rejectRequest`). The client waits, or tells its caller.
pub(super) fn reject_request(context: &BrokerContext) -> Option<RemotingCommand> {
    let log = context.store.commit_log();
    if log.is_os_page_cache_busy() || log.is_transient_store_pool_deficient() {
        let remark = "[REJECTREQUEST]system busy, start flow control for a while".to_owned();
        return Some(RemotingCommand::response(ResponseCode::SYSTEM_BUSY, Some(remark)));
    }
    context.waiting_sends.check().err().map(RemotingCommand::from)
}

impl RequestProcessor for SendMessageProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        if let Some(rejection) = reject_request(&self.context) {
            return Ok(rejection.into());
        }
        let header = request.header()?;
        let is_half = begins_transaction(&header);
        let channel = channel.clone();
        let send = Send { request, header, channel, is_half, is_dead_letter: false };
        self.send(send).or_else(|error| Ok(refusal(&self.context.live(), error).into()))
    }
}

impl Appended {
    async fn response(self, context: &BrokerContext) -> RemotingCommand {
        let result = context.waiting_sends.wait(&self.channel, self.put).await;
        context.stats.put(&self.stored_topic, self.stored_queue_id, &result);
        send_response(context, self.queue_id, result)
    }
}

fn is_to_retry_topic(header: &SendMessageRequestHeader) -> bool {
    header.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX)
}

/// What can be said before the topic is known.
pub(super) fn check_request(
    context: &BrokerContext,
    header: &SendMessageRequestHeader,
) -> Result<(), ProcessError> {
    let config = context.live();
    let accepts_from_ms = config.start_accept_send_request_timestamp_ms;
    if accepts_from_ms > 0 && context.env.clock.now_millis() < accepts_from_ms {
        let remark = format!("broker unable to service, until {accepts_from_ms}");
        return Err(ProcessError::system(remark));
    }
    if !PermName::is_writeable(config.broker_permission as i32) {
        let topic = context.topics.select_topic_config(&header.topic);
        if topic.is_some_and(|topic| topic.order) {
            let ip = context.store_host.ip();
            let remark = format!("the broker[{ip}] sending message is forbidden");
            return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
        }
    }
    validate_topic(&header.topic).map_err(ProcessError::system)?;
    if is_not_allowed_send_topic(&header.topic) {
        let remark = format!("Sending message to topic[{}] is forbidden.", header.topic);
        return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
    }
    Ok(())
}

fn begins_transaction(header: &SendMessageRequestHeader) -> bool {
    let properties = PropertiesView::new(header.properties.as_deref().unwrap_or_default());
    !header.batch.unwrap_or(false)
        && is_half_message(properties, header.reconsume_times.unwrap_or(0))
}

/// Creates the topics that are missing, looks up the group of a retry topic, then appends.
async fn append_after_preparation(
    context: &Arc<BrokerContext>,
    mut send: Send,
) -> Result<Appended, ProcessError> {
    let log = context.store.commit_log();
    let _turn = context.work_queues.sends.turn(|| log.is_os_page_cache_busy()).await?;
    let mut topic = find_or_create_topic(context, &send.header, &send.channel).await?;
    if is_to_retry_topic(&send.header)
        && let Some(dead_letters) = dead_letter_topic(context, &send).await?
    {
        send.header.topic.clone_from(&dead_letters.topic_name);
        send.header.queue_id = context.random_queue_id(DLQ_NUMS_PER_GROUP);
        send.is_dead_letter = true;
        topic = dead_letters;
    }
    if send.is_half {
        if context.live().reject_transaction_message {
            let ip = context.store_host.ip();
            let remark = format!("the broker[{ip}] sending transaction message is forbidden");
            return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
        }
        let topic = RMQ_SYS_TRANS_HALF_TOPIC;
        context.ensure_group_topic(topic, TRANSACTION_QUEUE_NUMS, false).await?;
    }
    append(context, send, &topic)
}

/// The topic of a send, made if it is missing, which has the queue that the producer wants.
pub(super) async fn find_or_create_topic(
    context: &Arc<BrokerContext>,
    header: &SendMessageRequestHeader,
    channel: &Channel,
) -> Result<Arc<TopicConfig>, ProcessError> {
    let topic = match context.topics.select_topic_config(&header.topic) {
        Some(topic) => topic,
        None => create_topic(context, header, channel).await?,
    };
    check_queue_id(header, channel, &topic)?;
    Ok(topic)
}

async fn create_topic(
    context: &Arc<BrokerContext>,
    header: &SendMessageRequestHeader,
    channel: &Channel,
) -> Result<Arc<TopicConfig>, ProcessError> {
    // Nothing could be stored under it; on a slave it would be a topic that its master lacks.
    if context.is_slave() || !context.store.is_writeable() {
        let remark = service_not_available(context);
        return Err(ProcessError::new(ResponseCode::SERVICE_NOT_AVAILABLE, remark));
    }
    let is_retry = is_to_retry_topic(header);
    let is_unit = header.unit_mode.unwrap_or(false);
    let sys_flag = topic_sys_flag(is_unit && !is_retry, is_unit && is_retry);
    let created = context.topics.create_topic_in_send_message_method(
        &header.topic,
        &header.default_topic,
        header.default_topic_queue_nums,
        sys_flag,
    );
    if let Some(found) = created.await? {
        if found.is_new {
            let producer = channel.peer_addr();
            tracing::info!(topic = header.topic, %producer, "topic created by a send");
            context.register_broker_oneway();
        }
        return Ok(found.config);
    }
    if is_retry {
        let found = context.ensure_group_topic(&header.topic, 1, is_unit).await?;
        return Ok(found.config);
    }
    let remark = format!("topic[{}] not exist, apply first please!{FAQ}", header.topic);
    Err(ProcessError::new(ResponseCode::TOPIC_NOT_EXIST, remark))
}

/// The dead letters of a retry topic's group, if the message failed too often.
async fn dead_letter_topic(
    context: &Arc<BrokerContext>,
    send: &Send,
) -> Result<Option<Arc<TopicConfig>>, ProcessError> {
    let header = &send.header;
    let group = &header.topic[RETRY_GROUP_TOPIC_PREFIX.len()..];
    let group_config = context.groups.find_or_create(group).await;
    let group_config = group_config.map_err(|missing| no_group(group, &missing))?;
    let names_limit = send.request.version >= MqVersion::V3_4_9;
    let limit = header.max_reconsume_times.filter(|_| names_limit);
    let limit = limit.unwrap_or(group_config.retry_max_times);
    if header.reconsume_times.unwrap_or(0) < limit {
        return Ok(None);
    }
    let topic = dlq_topic(group);
    let found = context.ensure_group_topic(&topic, DLQ_NUMS_PER_GROUP, false).await?;
    Ok(Some(found.config))
}

fn check_queue_id(
    header: &SendMessageRequestHeader,
    channel: &Channel,
    topic: &TopicConfig,
) -> Result<(), ProcessError> {
    if header.queue_id < topic.write_queue_nums.max(topic.read_queue_nums) {
        return Ok(());
    }
    let perm = |bit, letter| if topic.perm & bit != 0 { letter } else { '-' };
    let perm: String =
        [perm(PermName::READ, 'R'), perm(PermName::WRITE, 'W'), perm(PermName::INHERIT, 'X')]
            .into_iter()
            .collect();
    let remark = format!(
        "request queueId[{}] is illegal, TopicConfig [topicName={}, readQueueNums={}, \
         writeQueueNums={}, perm={perm}, topicFilterType={}, topicSysFlag={}, order={}] Producer: {}",
        header.queue_id,
        topic.topic_name,
        topic.read_queue_nums,
        topic.write_queue_nums,
        topic.topic_filter_type.name(),
        topic.topic_sys_flag,
        topic.order,
        channel.peer_addr(),
    );
    Err(ProcessError::system(remark))
}

/// The queue that the producer wants, or one that is drawn.
pub(super) fn queue_id(
    context: &BrokerContext,
    header: &SendMessageRequestHeader,
    topic: &TopicConfig,
) -> i32 {
    match header.queue_id {
        queue_id if queue_id < 0 => context.random_queue_id(topic.write_queue_nums),
        queue_id => queue_id,
    }
}

/// Hands the message, or the batch, to the store.
fn append(
    context: &BrokerContext,
    send: Send,
    topic: &TopicConfig,
) -> Result<Appended, ProcessError> {
    check_queue_id(&send.header, &send.channel, topic)?;
    let Send { request, header, channel, is_half, is_dead_letter } = send;
    let queue_id = queue_id(context, &header, topic);
    let is_batch = header.batch.unwrap_or(false);
    let properties = header.properties.unwrap_or_default();
    let view = PropertiesView::new(&properties);
    if is_batch && header.topic.len() > TOPIC_BYTES_MAX {
        let remark = format!("message topic length too long {}", header.topic.len());
        return Err(ProcessError::new(ResponseCode::MESSAGE_ILLEGAL, remark));
    }
    let is_multi_tag = topic.topic_filter_type == TopicFilterType::MultiTag;
    let message = MessageInner {
        queue_id: queue_id as u32,
        flag: header.flag,
        sys_flag: header.sys_flag | if is_multi_tag { MessageSysFlag::MULTI_TAGS } else { 0 },
        body: request.body,
        wait_store_ok: is_wait_store_ok(view),
        properties: stored_properties(
            view,
            properties.len(),
            &context.config.broker_cluster_name,
            is_batch || is_half || (delay_level(&properties) > 0 && !is_dead_letter),
            is_dead_letter,
        ),
        topic: header.topic,
        born_timestamp_ms: header.born_timestamp,
        born_host: channel.peer_addr(),
        store_host: context.store_host,
        reconsume_times: header.reconsume_times.unwrap_or(0),
        prepared_transaction_offset: 0,
    };
    let message = if is_half { half_message(message) } else { message };
    let put = match is_batch {
        true => context.store.put_messages(&message),
        false => context.store.put_message(&message),
    };
    let (stored_topic, stored_queue_id) = context.stored_under(&message);
    let stored_topic = stored_topic.to_owned();
    Ok(Appended { queue_id, stored_topic, stored_queue_id, channel, put })
}

/// The properties as they are stored, in their order: the cluster's name is added, the wish to wait
/// is kept only where RocketMQ does (batches, half messages, delayed ones), a dead letter has no delay.
fn stored_properties(
    properties: PropertiesView<'_>,
    len: usize,
    cluster: &str,
    keeps_wait: bool,
    is_dead_letter: bool,
) -> String {
    let mut stored = String::with_capacity(len + cluster.len() + 16);
    for (name, value) in properties.iter() {
        let is_replaced = name == MessageConst::CLUSTER
            || (name == MessageConst::WAIT && !keeps_wait)
            || (name == MessageConst::DELAY && is_dead_letter);
        if !is_replaced {
            append_property(&mut stored, name, value);
        }
    }
    append_property(&mut stored, MessageConst::CLUSTER, cluster);
    if is_dead_letter {
        append_property(&mut stored, MessageConst::DELAY, "0");
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(properties: &str, keeps_wait: bool, is_dead_letter: bool) -> String {
        let view = PropertiesView::new(properties);
        let text = stored_properties(view, properties.len(), "C", keeps_wait, is_dead_letter);
        text.replace('\u{1}', "=").replace('\u{2}', ";")
    }

    #[test]
    fn properties_keep_their_order_without_the_wish_to_wait() {
        let sent = "b\u{1}1\u{2}WAIT\u{1}false\u{2}a\u{1}2\u{2}DELAY\u{1}3\u{2}";
        assert_eq!(stored(sent, false, false), "b=1;a=2;DELAY=3;CLUSTER=C");
        assert_eq!(stored(sent, true, false), "b=1;WAIT=false;a=2;DELAY=3;CLUSTER=C");
        assert_eq!(stored(sent, false, true), "b=1;a=2;CLUSTER=C;DELAY=0");
        assert_eq!(stored("CLUSTER\u{1}X", false, false), "CLUSTER=C");
        assert!(!is_wait_store_ok(PropertiesView::new(sent)));
        assert!(is_wait_store_ok(PropertiesView::new("")));
    }
}
