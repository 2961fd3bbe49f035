//! Consumer offsets (14, 15) and offsets of queues (29 to 32).

custom_header! {
    /// Header of QUERY_CONSUMER_OFFSET (14).
    QueryConsumerOffsetRequestHeader {
        /// Consumer group.
        consumer_group: String = "consumerGroup",
        /// Topic.
        topic: String = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
    }

    /// Header of the response to QUERY_CONSUMER_OFFSET.
    QueryConsumerOffsetResponseHeader {
        /// The group's queue offset.
        offset: i64 = "offset",
    }

    /// Header of UPDATE_CONSUMER_OFFSET (15).
    UpdateConsumerOffsetRequestHeader {
        /// Consumer group.
        consumer_group: String = "consumerGroup",
        /// Topic.
        topic: String = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Queue offset of the next message to consume.
        commit_offset: i64 = "commitOffset",
    }

    /// Header of SEARCH_OFFSET_BY_TIMESTAMP (29).
    SearchOffsetRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Store time sought, in ms.
        timestamp: i64 = "timestamp",
    }

    /// Header of GET_MAX_OFFSET (30), GET_MIN_OFFSET (31) and GET_EARLIEST_MSG_STORETIME (32).
    QueueRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
    }

    /// Header of the responses to 29, 30 and 31.
    OffsetResponseHeader {
        /// Queue offset.
        offset: i64 = "offset",
    }

    /// Header of the response to GET_EARLIEST_MSG_STORETIME.
    GetEarliestMsgStoretimeResponseHeader {
        /// Store time of the first message, in ms; −1 if there is none.
        timestamp: i64 = "timestamp",
    }
}
