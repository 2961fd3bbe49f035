//! GET_CONSUME_STATS (208): how far a group has come (RocketMQ 4.9 `AdminBrokerProcessor.getConsumeStats`).

use mq_protocol::body::consume_stats::{ConsumeStats, OffsetWrapper};
use mq_protocol::codes::ResponseCode;
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::admin::GetConsumeStatsRequestHeader;
use mq_protocol::message::MessageQueue;
use mq_protocol::remoting_command::RemotingCommand;

use crate::consumer_manager::FoundSubscription;
use crate::context::BrokerContext;

/// Every queue of the group's topics, or of the one that the header names, with the ends of both. A topic to which a
/// live group does not subscribe is left out.
pub(super) fn get_consume_stats(
    context: &BrokerContext,
    header: &GetConsumeStatsRequestHeader,
) -> RemotingCommand {
    let group = &header.consumer_group;
    let named = header.topic.as_ref().filter(|topic| !topic.trim().is_empty());
    let topics = match named {
        Some(topic) => vec![topic.clone()],
        None => context.offsets.topics_of(group),
    };
    let mut stats = ConsumeStats::default();
    for topic in topics {
        let Some(config) = context.topics.select_topic_config(&topic) else { continue };
        let found = context.consumers.find_subscription(group, &topic);
        if matches!(found, FoundSubscription::NoTopic(_)) {
            continue;
        }
        for queue_id in 0..config.read_queue_nums {
            let broker_name = context.config.broker_name.clone();
            let queue = MessageQueue { topic: topic.clone(), broker_name, queue_id };
            stats.offset_table.insert(queue, progress(context, group, &topic, queue_id));
        }
        stats.consume_tps += context.stats.tps_group_get_nums(group, &topic);
    }
    RemotingCommand::response(ResponseCode::SUCCESS, None).with_body(to_bytes(&stats))
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
