//! What tools ask of brokers.

use crate::sys_flag::PermName;
use crate::topic_validator::AUTO_CREATE_TOPIC_KEY_TOPIC;

custom_header! {
    /// Header of UPDATE_AND_CREATE_TOPIC (17).
    CreateTopicRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Topic after whose pattern it is made.
        default_topic: String = "defaultTopic",
        /// Queues to read.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues to write.
        write_queue_nums: i32 = "writeQueueNums",
        /// [`PermName`] bits.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: String = "topicFilterType",
        /// Unit bits.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether it is an ordered topic.
        order: bool = "order" or false,
    }

    /// Header of requests about one topic: GET_TOPIC_STATS_INFO (202),
    /// QUERY_TOPIC_CONSUME_BY_WHO (300).
    TopicRequestHeader {
        /// Topic.
        topic: String = "topic",
    }

    /// Header of GET_PRODUCER_CONNECTION_LIST (204).
    GetProducerConnectionListRequestHeader {
        /// Producer group.
        producer_group: String = "producerGroup",
    }

    /// Header of DELETE_SUBSCRIPTIONGROUP (207).
    DeleteSubscriptionGroupRequestHeader {
        /// Consumer group.
        group_name: String = "groupName",
        /// Whether its offsets go, too.
        remove_offset: bool = "removeOffset" or false,
    }

    /// Header of GET_CONSUME_STATS (208).
    GetConsumeStatsRequestHeader {
        /// Consumer group.
        consumer_group: String = "consumerGroup",
        /// Topic; all topics of the group without one.
        topic: Option<String> = "topic",
    }

    /// Header of QUERY_CONSUME_TIME_SPAN (303).
    QueryConsumeTimeSpanRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Consumer group.
        group: String = "group",
    }

    /// Header of QUERY_CORRECTION_OFFSET (308).
    QueryCorrectionOffsetRequestHeader {
        /// Groups to leave out, separated by commas.
        filter_groups: Option<String> = "filterGroups",
        /// Group to compare with.
        compare_group: String = "compareGroup",
        /// Topic.
        topic: String = "topic",
    }

    /// Header of CLONE_GROUP_OFFSET (314).
    CloneGroupOffsetRequestHeader {
        /// Group to copy from.
        src_group: String = "srcGroup",
        /// Group to copy to.
        dest_group: String = "destGroup",
        /// Topic.
        topic: Option<String> = "topic",
        /// Whether the source group has to be offline.
        offline: bool = "offline" or false,
    }

    /// Header of VIEW_BROKER_STATS_DATA (315).
    ViewBrokerStatsDataRequestHeader {
        /// Kind of statistic.
        stats_name: String = "statsName",
        /// Key within the kind.
        stats_key: String = "statsKey",
    }

    /// Header of GET_BROKER_CONSUME_STATS (317).
    GetConsumeStatsInBrokerHeader {
        /// Only ordered topics.
        is_order: bool = "isOrder" or false,
    }

    /// Header of the response to GET_BROKER_CONFIG (26).
    GetBrokerConfigResponseHeader {
        /// The configuration's `DataVersion` as JSON.
        version: String = "version",
    }
}

impl CreateTopicRequestHeader {
    /// A topic of so many queues to read and to write, as tools make it.
    #[must_use]
    pub fn new(topic: &str, queue_nums: i32) -> Self {
        CreateTopicRequestHeader {
            topic: topic.to_owned(),
            default_topic: AUTO_CREATE_TOPIC_KEY_TOPIC.to_owned(),
            read_queue_nums: queue_nums,
            write_queue_nums: queue_nums,
            perm: PermName::READ_WRITE,
            topic_filter_type: "SINGLE_TAG".to_owned(),
            ..CreateTopicRequestHeader::default()
        }
    }
}
