//! This engine's own keys: how much a broker keeps for its peers. RocketMQ 4.9 keeps whatever it is sent.
//! No honest cluster meets a default; see [`BrokerLimits`](crate::config::BrokerLimits).

use super::{LONG_COUNT, SIZE, row};
use crate::config::Settings;
use crate::config::key::KeyStatus::Obeyed;
use crate::config::key::{ConfigKey, Field};

/// The limits, in the order of their struct.
pub(super) static LIMITS: [ConfigKey; 16] = [
    limit("maxHeldPullNums", "300000", |s| &mut s.broker.limits.held_pull_nums),
    limit("maxHeldPullNumsPerChannel", "20000", |s| {
        &mut s.broker.limits.held_pull_nums_per_channel
    }),
    row(
        "maxSuspendTimeoutMillis",
        LONG_COUNT,
        "300000",
        Obeyed(Field::U64(|s| &mut s.broker.limits.suspend_timeout_ms)),
    ),
    limit("maxWaitingSendNums", "100000", |s| &mut s.broker.limits.waiting_send_nums),
    limit("maxWaitingSendBytes", "268435456", |s| &mut s.broker.limits.waiting_send_bytes),
    limit("maxTopicNums", "100000", |s| &mut s.broker.limits.topic_nums),
    limit("maxQueueNumsPerTopic", "16384", |s| &mut s.broker.limits.queue_nums_per_topic),
    limit("maxQueueNums", "1000000", |s| &mut s.broker.limits.queue_nums),
    limit("maxSubscriptionGroupNums", "50000", |s| &mut s.broker.limits.subscription_group_nums),
    limit("maxConsumerOffsetNums", "1000000", |s| &mut s.broker.limits.consumer_offset_nums),
    limit("maxQueueLockNums", "500000", |s| &mut s.broker.limits.queue_lock_nums),
    limit("maxClientGroupNums", "100000", |s| &mut s.broker.limits.client_group_nums),
    limit("maxClientNumsPerGroup", "20000", |s| &mut s.broker.limits.client_nums_per_group),
    limit("maxSubscriptionNums", "2000000", |s| &mut s.broker.limits.subscription_nums),
    limit("maxTagNumsPerSubscription", "10000", |s| &mut s.broker.limits.tag_nums_per_subscription),
    limit("maxStatsItemNums", "100000", |s| &mut s.broker.limits.stats_item_nums),
];

const fn limit(
    name: &'static str,
    default: &'static str,
    field: fn(&mut Settings) -> &mut usize,
) -> ConfigKey {
    row(name, SIZE, default, Obeyed(Field::Usize(field)))
}
