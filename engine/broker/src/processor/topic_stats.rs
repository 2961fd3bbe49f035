//! What topics hold: the ends of their queues (202), the times of their messages (303), who consumes them (300), which are
//! the system's (305), and what was counted of them (315) (RocketMQ 4.9 `AdminBrokerProcessor`).

use mq_protocol::body::cluster::{GroupList, TopicList};
use mq_protocol::body::consume_stats::{
    BrokerStatsData, QueryConsumeTimeSpanBody, QueueTimeSpan, TopicOffset, TopicStatsTable,
};
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::admin::{
    QueryConsumeTimeSpanRequestHeader, TopicRequestHeader, ViewBrokerStatsDataRequestHeader,
};
use mq_protocol::message::MessageQueue;
use mq_remoting::ProcessError;
use mq_store::human_time;

use crate::context::BrokerContext;
use crate::now_ms;

/// Answers 202.
pub(super) fn topic_stats(
    context: &BrokerContext,
    header: &TopicRequestHeader,
) -> Result<TopicStatsTable, ProcessError> {
    let topic = &header.topic;
    let store = &context.store;
    let queues = queues_to_write(context, topic)?;
    let ends = |queue_id: u32| {
        let end = store.max_offset_in_queue(topic, queue_id);
        let last = end.checked_sub(1);
        let last_ms = last.and_then(|it| store.message_store_timestamp(topic, queue_id, it));
        TopicOffset {
            last_update_timestamp: last_ms.map_or(0, |stored_ms| stored_ms as i64),
            max_offset: end as i64,
            min_offset: store.min_offset_in_queue(topic, queue_id) as i64,
        }
    };
    let offset_table = queues.map(|queue_id| (queue(context, topic, queue_id), ends(queue_id)));
    Ok(TopicStatsTable { offset_table: offset_table.collect() })
}

/// Answers 303.
pub(super) fn time_span(
    context: &BrokerContext,
    header: &QueryConsumeTimeSpanRequestHeader,
) -> Result<QueryConsumeTimeSpanBody, ProcessError> {
    let QueryConsumeTimeSpanRequestHeader { topic, group } = header;
    let queues = queues_to_write(context, topic)?;
    let spans = queues.map(|queue_id| queue_time_span(context, topic, group, queue_id));
    Ok(QueryConsumeTimeSpanBody { consume_time_span_set: spans.collect() })
}

/// The times of a queue; −1 where there is no message. What a group without an offset has to wait for is the first
/// message: RocketMQ 4.9 takes the age of none for it, which is today's date.
fn queue_time_span(
    context: &BrokerContext,
    topic: &str,
    group: &str,
    queue_id: u32,
) -> QueueTimeSpan {
    let store = &context.store;
    let stored_ms = |offset: Option<u64>| {
        let stored_ms = offset.and_then(|it| store.message_store_timestamp(topic, queue_id, it));
        stored_ms.map_or(-1, |stored_ms| stored_ms as i64)
    };
    let (min, end) =
        (store.min_offset_in_queue(topic, queue_id), store.max_offset_in_queue(topic, queue_id));
    let min_time_stamp = if min < end { stored_ms(Some(min)) } else { -1 };
    let max_time_stamp = stored_ms(end.checked_sub(1));
    let consumed = context.offsets.query_offset(group, topic, queue_id as i32);
    let consumed = consumed.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0);
    let consume_time_stamp = match consumed {
        Some(consumed) => stored_ms(Some(consumed - 1)),
        None => min_time_stamp,
    };
    let next = consumed.unwrap_or(0).max(min);
    let next_ms = if next < end { stored_ms(Some(next)) } else { -1 };
    let delay_time =
        if next_ms < 0 { 0 } else { now_ms(&*context.env.clock).saturating_sub(next_ms) };
    let words = |at_ms| human_time(&*context.env.clock, at_ms);
    QueueTimeSpan {
        consume_time_stamp,
        consume_time_stamp_str: words(consume_time_stamp),
        delay_time,
        max_time_stamp,
        max_time_stamp_str: words(max_time_stamp),
        message_queue: queue(context, topic, queue_id),
        min_time_stamp,
        min_time_stamp_str: words(min_time_stamp),
    }
}

/// Answers 300: who subscribes now, and who has consumed.
pub(super) fn who_consumes(context: &BrokerContext, header: &TopicRequestHeader) -> GroupList {
    let mut groups = context.consumers.groups_of_topic(&header.topic);
    groups.extend(context.offsets.groups_of(&header.topic));
    GroupList { group_list: groups.into_iter().collect() }
}

/// Answers 305.
pub(super) fn system_topics(context: &BrokerContext) -> TopicList {
    let topic_list = context.topics.system_topics().into_iter().collect();
    TopicList { broker_addr: None, topic_list }
}

/// Answers 315.
pub(super) fn view_stats(
    context: &BrokerContext,
    header: &ViewBrokerStatsDataRequestHeader,
) -> Result<BrokerStatsData, ProcessError> {
    let ViewBrokerStatsDataRequestHeader { stats_name, stats_key } = header;
    let unknown =
        || ProcessError::system(format!("The stats <{stats_name}> <{stats_key}> not exist"));
    context.stats.view(stats_name, stats_key).ok_or_else(unknown)
}

/// The queues of a topic to which is written.
fn queues_to_write(
    context: &BrokerContext,
    topic: &str,
) -> Result<std::ops::Range<u32>, ProcessError> {
    let Some(config) = context.topics.select_topic_config(topic) else {
        let remark = format!("topic[{topic}] not exist");
        return Err(ProcessError::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    Ok(0..u32::try_from(config.write_queue_nums).unwrap_or(0))
}

fn queue(context: &BrokerContext, topic: &str, queue_id: u32) -> MessageQueue {
    let broker_name = context.config.broker_name.clone();
    MessageQueue { topic: topic.to_owned(), broker_name, queue_id: queue_id as i32 }
}
