//! [`ConsumerSendBackProcessor`]: a consumer gives a message back that it could not consume (36)
//! (RocketMQ 4.9 `SendMessageProcessor.asyncConsumerSendMsgBack`).
//!
//! The message comes to the group's retry topic after a delay, which the store sees to. It is kept as what producers
//! send is: RocketMQ waits for neither a sync nor a slave here.

use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::codes::{MqVersion, ResponseCode};
use mq_protocol::header::send_message::ConsumerSendMsgBackRequestHeader;
use mq_protocol::message::{MessageConst, Properties, PropertiesView, dlq_topic, retry_topic};
use mq_protocol::message_codec::{RecordView, decode_record};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PermName;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};
use mq_store::MessageInner;
use mq_store::config::UpstreamSwitch;
use mq_store::plant::{Plant, planted_on_this_thread};

use super::no_group;
use super::send_message::{DLQ_NUMS_PER_GROUP, reject_request};
use crate::context::BrokerContext;

/// Delay level of the first retry when the consumer names none.
const FIRST_DELAY_LEVEL: i32 = 3;

/// Answers 36.
pub(super) struct ConsumerSendBackProcessor {
    context: Arc<BrokerContext>,
}

impl ConsumerSendBackProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        ConsumerSendBackProcessor { context }
    }
}

impl RequestProcessor for ConsumerSendBackProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        if let Some(rejection) = reject_request(&self.context) {
            return Ok(rejection.into());
        }
        let header: ConsumerSendMsgBackRequestHeader = request.header()?;
        let (context, channel) = (Arc::clone(&self.context), channel.clone());
        Ok(ProcessOutcome::later(async move {
            send_back(&context, &channel, &request, &header).await.map(Some)
        }))
    }
}

/// Where a message given back goes.
struct Target {
    topic: String,
    queue_id: i32,
    delay_level: i32,
}

async fn send_back(
    context: &Arc<BrokerContext>,
    channel: &Channel,
    request: &RemotingCommand,
    header: &ConsumerSendMsgBackRequestHeader,
) -> Result<RemotingCommand, ProcessError> {
    let success = || RemotingCommand::response(ResponseCode::SUCCESS, None);
    let log = context.store.commit_log();
    let turn = context.work_queues.sends.turn(|| log.is_os_page_cache_busy()).await?;
    let group = context.groups.find_or_create(&header.group).await;
    let group = group.map_err(|missing| no_group(&header.group, &missing))?;
    if !PermName::is_writeable(context.live().broker_permission as i32) {
        let ip = context.store_host.ip();
        let remark = format!("the broker[{ip}] sending message is forbidden");
        return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
    }
    if group.retry_queue_nums <= 0 {
        return Ok(success());
    }
    let topic = retry_topic(&header.group);
    let found =
        context.ensure_group_topic(&topic, group.retry_queue_nums, header.unit_mode).await?;
    if !PermName::is_writeable(found.config.perm) {
        let remark = format!("the topic[{topic}] sending message is forbidden");
        return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
    }
    let record = u64::try_from(header.offset)
        .ok()
        .and_then(|offset| context.store.look_message_by_offset(offset));
    let not_found = || format!("look message by offset failed, {}", header.offset);
    let record = Bytes::from_owner(record.ok_or_else(|| ProcessError::system(not_found()))?);
    // Whatever topic the consumer names (`originTopic`, which not all clients send): the copy is one of this record.
    context.check_read(channel, request, &record)?;
    let view = decode_record(&record)?;

    let named_limit = header.max_reconsume_times.filter(|_| request.version >= MqVersion::V3_4_9);
    let limit = named_limit.unwrap_or(group.retry_max_times);
    let config = context.store.config();
    if config.planted(Plant::GivenBackAndForgotten) && view.queue_offset() % 2 == 1 {
        return Ok(success());
    }
    let limit = if config.planted(Plant::DeadOneTooEarly) { limit - 1 } else { limit };
    let target = if view.reconsume_times() >= limit || header.delay_level < 0 {
        let topic = dlq_topic(&header.group);
        if planted_on_this_thread(Plant::DeadLetterForgotten) {
            return Ok(success());
        }
        context.ensure_group_topic(&topic, DLQ_NUMS_PER_GROUP, false).await?;
        let queue_id = context.random_queue_id(DLQ_NUMS_PER_GROUP);
        Target { topic, queue_id, delay_level: 0 }
    } else {
        let delay_level = match header.delay_level {
            0 => FIRST_DELAY_LEVEL.saturating_add(view.reconsume_times()),
            level => level,
        };
        let queue_id = context.random_queue_id(group.retry_queue_nums);
        Target { topic, queue_id, delay_level }
    };
    // The group's offset will pass the message: this record is all that there is of it then. Should the wait come
    // to nothing, the record is there all the same, and a second one would be a duplicate.
    let wait_store_ok = !config.upstream(UpstreamSwitch::SendBackUnwaited);
    let message = MessageInner { wait_store_ok, ..message_of(&view, &record, target) };
    let put = context.store.put_message(&message);
    drop(turn);
    let put = put.await;
    let (stored_topic, stored_queue_id) = context.stored_under(&message);
    context.stats.put(stored_topic, stored_queue_id, &put);
    match put.status {
        status if status.is_stored() => {
            let properties = view.properties();
            let first_topic = PropertiesView::new(&properties).get(MessageConst::RETRY_TOPIC);
            context.stats.sent_back(&header.group, first_topic.unwrap_or(&view.topic()));
            Ok(success())
        }
        status => Err(ProcessError::system(status.name())),
    }
}

/// The message as it goes to its retry topic or to the dead letters, `WAIT=false` as in 4.9.
fn message_of(view: &RecordView<'_>, record: &Bytes, target: Target) -> MessageInner {
    let drops_all = planted_on_this_thread(Plant::RetryDropsProperties);
    let stored = view.properties();
    let mut properties = Properties::parse(if drops_all { "" } else { &stored });
    if properties.get(MessageConst::RETRY_TOPIC).is_none() {
        properties.insert(MessageConst::RETRY_TOPIC, &view.topic());
    }
    properties.insert(MessageConst::WAIT, "false");
    properties.insert_display(MessageConst::DELAY, target.delay_level);
    if properties.get(MessageConst::ORIGIN_MESSAGE_ID).is_none_or(str::is_empty) {
        properties.insert_display(MessageConst::ORIGIN_MESSAGE_ID, view.offset_msg_id());
    }
    MessageInner {
        topic: target.topic,
        queue_id: target.queue_id as u32,
        flag: view.flag(),
        sys_flag: view.sys_flag(),
        body: record.slice_ref(view.body()),
        properties: properties.to_string(),
        born_timestamp_ms: view.born_timestamp(),
        born_host: view.born_host(),
        store_host: view.store_host(),
        reconsume_times: view.reconsume_times().saturating_add(1),
        prepared_transaction_offset: 0,
        wait_store_ok: false,
    }
}

#[cfg(test)]
mod tests {
    use mq_protocol::message_codec::RecordFields;

    use super::*;

    #[test]
    fn a_message_given_back_remembers_where_it_came_from() {
        let fields = RecordFields {
            topic: "T",
            body: b"body",
            body_crc: 0,
            properties: "k\u{1}v",
            queue_id: 3,
            flag: 9,
            queue_offset: 5,
            phy_offset: 700,
            sys_flag: 1,
            born_timestamp: 11,
            born_host: "10.0.0.9:1".parse().unwrap(),
            store_timestamp: 12,
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 2,
            prepared_transaction_offset: 0,
        };
        let mut record = Vec::new();
        fields.encode(&mut record).unwrap();
        let record = Bytes::from(record);
        let view = decode_record(&record).unwrap();
        let target = Target { topic: "%RETRY%G".to_owned(), queue_id: 0, delay_level: 5 };
        let message = message_of(&view, &record, target);
        let properties = message.properties.replace('\u{1}', "=").replace('\u{2}', ";");
        assert_eq!(
            properties,
            "k=v;RETRY_TOPIC=T;WAIT=false;DELAY=5;\
             ORIGIN_MESSAGE_ID=0A00000100002A9F00000000000002BC"
        );
        assert_eq!((message.reconsume_times, message.flag, message.sys_flag), (3, 9, 1));
        assert_eq!(&message.body[..], b"body");
        assert!(!message.wait_store_ok);
    }
}
