//! [`BrokerLimits`]: how much a broker keeps for its peers.

/// Bounds of what peers make a broker keep. RocketMQ 4.9 has none of them; whoever meets one is refused
/// with a code of 4.9 and a remark that names the key.
#[derive(Clone, Debug)]
pub struct BrokerLimits {
    /// `maxHeldPullNums`: pulls that wait for messages. One with many tags counts more than once.
    pub held_pull_nums: usize,
    /// `maxHeldPullNumsPerChannel`: of these, those of one connection.
    pub held_pull_nums_per_channel: usize,
    /// `maxSuspendTimeoutMillis`: a pull waits no longer, whatever it asks for.
    pub suspend_timeout_ms: u64,
    /// `maxWaitingSendNums`: stored messages whose senders wait for the sync or for a slave.
    pub waiting_send_nums: usize,
    /// `maxWaitingSendBytes`: messages that wait for their topic to be written before they are stored.
    pub waiting_send_bytes: usize,
    /// `maxTopicNums`: topics, retry topics and dead letters included.
    pub topic_nums: usize,
    /// `maxQueueNumsPerTopic`: queues of one topic, to read or to write.
    pub queue_nums_per_topic: usize,
    /// `maxQueueNums`: queues of all topics.
    pub queue_nums: usize,
    /// `maxSubscriptionGroupNums`: consumer groups in `subscriptionGroup.json`.
    pub subscription_group_nums: usize,
    /// `maxConsumerOffsetNums`: offsets, one per group and queue.
    pub consumer_offset_nums: usize,
    /// `maxQueueLockNums`: queues locked by orderly consumers, counted per group.
    pub queue_lock_nums: usize,
    /// `maxClientGroupNums`: groups with live producers; and as many with live consumers.
    pub client_group_nums: usize,
    /// `maxClientNumsPerGroup`: connections of one group.
    pub client_nums_per_group: usize,
    /// `maxSubscriptionNums`: what live consumers subscribe to: topics, and tags of them.
    pub subscription_nums: usize,
    /// `maxTagNumsPerSubscription`: tags of one subscription.
    pub tag_nums_per_subscription: usize,
    /// `maxStatsItemNums`: topics, queues and groups whose messages are counted, per topic each.
    pub stats_item_nums: usize,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        BrokerLimits {
            held_pull_nums: 300_000,
            held_pull_nums_per_channel: 20_000,
            suspend_timeout_ms: 300_000,
            waiting_send_nums: 100_000,
            waiting_send_bytes: 268_435_456,
            topic_nums: 100_000,
            queue_nums_per_topic: 16_384,
            queue_nums: 1_000_000,
            subscription_group_nums: 50_000,
            consumer_offset_nums: 1_000_000,
            queue_lock_nums: 500_000,
            client_group_nums: 100_000,
            client_nums_per_group: 20_000,
            subscription_nums: 2_000_000,
            tag_nums_per_subscription: 10_000,
            stats_item_nums: 100_000,
        }
    }
}
