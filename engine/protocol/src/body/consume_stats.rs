//! Statistics of topics, queues and groups (responses to 202, 208, 303, 315, 317, 321).

use super::OrderedMap;
use super::heartbeat::SubscriptionData;
use crate::message::MessageQueue;

json_body! {
    /// Response to GET_TOPIC_STATS_INFO (202).
    #[derive(Eq)]
    TopicStatsTable {
        /// Ends of each queue.
        offset_table: OrderedMap<MessageQueue, TopicOffset> = "offsetTable",
    }

    /// Ends of a queue.
    #[derive(Copy, Eq)]
    TopicOffset {
        /// Store time of the last message, in ms.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// Behind the last message.
        max_offset: i64 = "maxOffset",
        /// First message.
        min_offset: i64 = "minOffset",
    }

    /// Response to GET_CONSUME_STATS (208).
    ConsumeStats {
        /// Messages consumed per second.
        consume_tps: f64 = "consumeTps",
        /// Progress in each queue.
        offset_table: OrderedMap<MessageQueue, OffsetWrapper> = "offsetTable",
    }

    /// Progress of a group in a queue.
    #[derive(Copy, Eq)]
    OffsetWrapper {
        /// Behind the last message.
        broker_offset: i64 = "brokerOffset",
        /// Next message to consume.
        consumer_offset: i64 = "consumerOffset",
        /// Store time of the last message consumed, in ms.
        last_timestamp: i64 = "lastTimestamp",
    }

    /// Response to GET_BROKER_CONSUME_STATS (317).
    ConsumeStatsList {
        /// Address of the broker.
        broker_addr: String = "brokerAddr",
        /// Per group, one entry per topic.
        consume_stats_list: Vec<OrderedMap<String, Vec<ConsumeStats>>> = "consumeStatsList",
        /// Messages to be consumed in all.
        total_diff: i64 = "totalDiff",
    }

    /// Response to QUERY_CONSUME_TIME_SPAN (303).
    #[derive(Eq)]
    QueryConsumeTimeSpanBody {
        /// One entry per queue.
        consume_time_span_set: Vec<QueueTimeSpan> = "consumeTimeSpanSet",
    }

    /// Store times in a queue, in ms, each with its text.
    #[derive(Eq)]
    QueueTimeSpan {
        /// Of the last message consumed.
        consume_time_stamp: i64 = "consumeTimeStamp",
        /// `yyyy-MM-dd#HH:mm:ss:SSS`
        consume_time_stamp_str: String = "consumeTimeStampStr",
        /// Between the last message and the last one consumed.
        delay_time: i64 = "delayTime",
        /// Of the last message.
        max_time_stamp: i64 = "maxTimeStamp",
        /// `yyyy-MM-dd#HH:mm:ss:SSS`
        max_time_stamp_str: String = "maxTimeStampStr",
        /// The queue.
        message_queue: MessageQueue = "messageQueue",
        /// Of the first message.
        min_time_stamp: i64 = "minTimeStamp",
        /// `yyyy-MM-dd#HH:mm:ss:SSS`
        min_time_stamp_str: String = "minTimeStampStr",
    }

    /// Response to VIEW_BROKER_STATS_DATA (315).
    #[derive(Copy)]
    BrokerStatsData {
        /// Over the last day.
        stats_day: BrokerStatsItem = "statsDay",
        /// Over the last hour.
        stats_hour: BrokerStatsItem = "statsHour",
        /// Over the last minute.
        stats_minute: BrokerStatsItem = "statsMinute",
    }

    /// One period of a statistic.
    #[derive(Copy)]
    BrokerStatsItem {
        /// Average per time.
        avgpt: f64 = "avgpt",
        /// Sum.
        sum: i64 = "sum",
        /// Per second.
        tps: f64 = "tps",
    }

    /// Response to QUERY_CONSUME_QUEUE (321).
    #[derive(Eq)]
    QueryConsumeQueueResponseBody {
        /// The group's filter as text; "null" without one.
        filter_data: Option<String> = "filterData",
        /// Behind the last unit.
        max_queue_index: i64 = "maxQueueIndex",
        /// First unit.
        min_queue_index: i64 = "minQueueIndex",
        /// Units.
        queue_data: Vec<ConsumeQueueData> = "queueData",
        /// The group's subscription.
        subscription_data: Option<SubscriptionData> = "subscriptionData",
    }

    /// One unit of a ConsumeQueue.
    #[derive(Eq)]
    ConsumeQueueData {
        /// Bit map of the extension.
        bit_map: Option<String> = "bitMap",
        /// Whether the filter matches.
        eval: bool = "eval",
        /// Extension as text.
        extend_data_json: Option<String> = "extendDataJson",
        /// What went wrong.
        msg: Option<String> = "msg",
        /// Physical offset.
        physic_offset: i64 = "physicOffset",
        /// Size of the record in bytes.
        physic_size: i32 = "physicSize",
        /// Tags code.
        tags_code: i64 = "tagsCode",
    }
}
