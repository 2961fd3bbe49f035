//! Looking messages up by key (12) and by position (33), and units of a queue (321).

/// Ext field of QUERY_MESSAGE: "true" when the key is a `UNIQ_KEY`. 4.9's clients sign it, and its servers leave it out.
pub const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";

custom_header! {
    /// Header of QUERY_MESSAGE (12).
    QueryMessageRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Index key.
        key: String = "key",
        /// At most this many messages.
        max_num: i32 = "maxNum",
        /// Earliest store time, in ms.
        begin_timestamp: i64 = "beginTimestamp",
        /// Latest store time, in ms.
        end_timestamp: i64 = "endTimestamp",
    }

    /// Header of the response to QUERY_MESSAGE.
    QueryMessageResponseHeader {
        /// Store time of the last message indexed, in ms.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Its physical offset.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }

    /// Header of VIEW_MESSAGE_BY_ID (33).
    ViewMessageRequestHeader {
        /// Physical offset.
        offset: i64 = "offset",
    }

    /// Header of QUERY_CONSUME_QUEUE (321).
    QueryConsumeQueueRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// First queue offset.
        index: i64 = "index",
        /// At most this many units.
        count: i32 = "count",
        /// Group whose subscription filters.
        consumer_group: Option<String> = "consumerGroup",
    }
}
