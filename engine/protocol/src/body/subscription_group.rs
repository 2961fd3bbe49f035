//! Consumer groups of a broker (file `subscriptionGroup.json`, 200, response to 201).

use super::OrderedMap;
use super::topic_config::DataVersion;

json_body! {
    /// One consumer group.
    #[derive(Eq)]
    SubscriptionGroupConfig {
        /// Broker id that the group is told to pull from.
        broker_id: i64 = "brokerId" or 0,
        /// Whether broadcasting is allowed.
        consume_broadcast_enable: bool = "consumeBroadcastEnable" or true,
        /// Whether the group may consume.
        consume_enable: bool = "consumeEnable" or true,
        /// Unused.
        consume_from_min_enable: bool = "consumeFromMinEnable" or true,
        /// Consumer group.
        group_name: String = "groupName",
        /// Whether members are told when others come and go.
        notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable" or true,
        /// Deliveries before a message becomes a dead letter.
        retry_max_times: i32 = "retryMaxTimes" or 16,
        /// Queues of the retry topic.
        retry_queue_nums: i32 = "retryQueueNums" or 1,
        /// Broker id that the group is told to pull from when it lags.
        which_broker_when_consume_slowly: i64 = "whichBrokerWhenConsumeSlowly" or 1,
    }

    /// The consumer groups of a broker.
    #[derive(Eq)]
    SubscriptionGroupWrapper {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// Groups by name.
        subscription_group_table: OrderedMap<String, SubscriptionGroupConfig> =
            "subscriptionGroupTable",
    }
}

impl SubscriptionGroupConfig {
    /// A group with defaults.
    #[must_use]
    pub fn new(group_name: impl Into<String>) -> Self {
        SubscriptionGroupConfig { group_name: group_name.into(), ..Self::default() }
    }
}
