//! Pulling (11, and 361 of 5.x lite pull consumers).

custom_header! {
    /// Header of PULL_MESSAGE.
    PullMessageRequestHeader {
        /// Consumer group.
        consumer_group: String = "consumerGroup",
        /// Topic.
        topic: String = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Queue offset to read from.
        queue_offset: i64 = "queueOffset",
        /// At most this many messages.
        max_msg_nums: i32 = "maxMsgNums",
        /// [`PullSysFlag`](crate::sys_flag::PullSysFlag) bits.
        sys_flag: i32 = "sysFlag",
        /// Offset to commit, if the flag says so.
        commit_offset: i64 = "commitOffset",
        /// How long the broker may hold the request, in ms, if the flag says so.
        suspend_timeout_ms: i64 = "suspendTimeoutMillis",
        /// Subscription expression, if the flag says so.
        subscription: Option<String> = "subscription",
        /// Version of the subscription (ms).
        sub_version: i64 = "subVersion",
        /// `TAG` (also if absent or empty) or `SQL92`.
        expression_type: Option<String> = "expressionType",
        /// Broker name, from clients of 4.9.5 on.
        broker_name: Option<String> = "bname",
    }

    /// Header of the response to PULL_MESSAGE; clients want all four fields on every code.
    PullMessageResponseHeader {
        /// Broker id to pull from next time.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Queue offset to go on from.
        next_begin_offset: i64 = "nextBeginOffset",
        /// First queue offset that is there.
        min_offset: i64 = "minOffset",
        /// Queue offset behind the last message.
        max_offset: i64 = "maxOffset",
    }
}
