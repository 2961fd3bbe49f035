//! How far groups have come: one (208), all of them (317) (RocketMQ 4.9 `AdminBrokerProcessor.getConsumeStats`,
//! `fetchAllConsumeStatsInBroker`).

use mq_protocol::body::consume_stats::{ConsumeStats, ConsumeStatsList, OffsetWrapper};
use mq_protocol::header::admin::{GetConsumeStatsInBrokerHeader, GetConsumeStatsRequestHeader};
use mq_protocol::message::MessageQueue;

use crate::context::BrokerContext;

/// Answers 208: every queue of the group's topics, or of the one that the header names, with the ends of both. A topic to
/// which a live group does not subscribe is left out.
pub(super) fn consume_stats(
    context: &BrokerContext,
    header: &GetConsumeStatsRequestHeader,
) -> ConsumeStats {
    let group = &header.consumer_group;
    let named = header.topic.as_ref().filter(|topic| !topic.trim().is_empty());
    let topics = match named {
        Some(topic) => vec![topic.clone()],
        None => context.offsets.topics_of(group),
    };
    let mut stats = ConsumeStats::default();
    for topic in topics {
        let Some(config) = context.topics.select_topic_config(&topic) else { continue };
        if !context.consumers.has_left(group, &topic) {
            add_topic(context, group, &topic, config.read_queue_nums, &mut stats);
        }
    }
    stats
}

/// Answers 317: every group with each of its topics, or those alone that are ordered.
pub(super) fn broker_consume_stats(
    context: &BrokerContext,
    header: &GetConsumeStatsInBrokerHeader,
) -> ConsumeStatsList {
    let broker_addr = context.outer_api.identity().broker_addr.clone();
    let mut list = ConsumeStatsList { broker_addr, ..ConsumeStatsList::default() };
    for group in context.groups.names() {
        let mut of_group = Vec::new();
        for topic in context.offsets.topics_of(&group) {
            let Some(config) = context.topics.select_topic_config(&topic) else { continue };
            let is_left_out = header.is_order && !config.order;
            if is_left_out || context.consumers.has_left(&group, &topic) {
                continue;
            }
            let mut stats = ConsumeStats::default();
            add_topic(context, &group, &topic, config.write_queue_nums, &mut stats);
            let behind =
                stats.offset_table.values().map(|it| it.broker_offset - it.consumer_offset);
            list.total_diff += behind.sum::<i64>();
            of_group.push(stats);
        }
        list.consume_stats_list.push([(group, of_group)].into_iter().collect());
    }
    list
}

fn add_topic(
    context: &BrokerContext,
    group: &str,
    topic: &str,
    queue_nums: i32,
    stats: &mut ConsumeStats,
) {
    for queue_id in 0..queue_nums {
        let broker_name = context.config.broker_name.clone();
        let queue = MessageQueue { topic: topic.to_owned(), broker_name, queue_id };
        stats.offset_table.insert(queue, progress(context, group, topic, queue_id));
    }
    stats.consume_tps += context.stats.tps_group_get_nums(group, topic);
}

fn progress(context: &BrokerContext, group: &str, topic: &str, queue_id: i32) -> OffsetWrapper {
    let consumer_offset = context.offsets.query_offset(group, topic, queue_id).unwrap_or(0).max(0);
    let consumed = u64::try_from(consumer_offset - 1).ok();
    let last_timestamp = consumed.and_then(|consumed| {
        let queue_id = u32::try_from(queue_id).ok()?;
        context.store.message_store_timestamp(topic, queue_id, consumed)
    });
    OffsetWrapper {
        broker_offset: context.max_offset(topic, queue_id),
        consumer_offset,
        last_timestamp: last_timestamp.map_or(0, |stored_ms| stored_ms as i64),
    }
}
