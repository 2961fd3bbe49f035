//! Clients and brokers about groups: 35, 38, 40, 220, 221, 307, 309.

custom_header! {
    /// Header of UNREGISTER_CLIENT (35).
    UnregisterClientRequestHeader {
        /// Client id.
        client_id: Option<String> = "clientID",
        /// Producer group to leave.
        producer_group: Option<String> = "producerGroup",
        /// Consumer group to leave.
        consumer_group: Option<String> = "consumerGroup",
    }

    /// Header of requests about one consumer group: GET_CONSUMER_LIST_BY_GROUP (38),
    /// NOTIFY_CONSUMER_IDS_CHANGED (40), GET_CONSUMER_CONNECTION_LIST (203).
    ConsumerGroupRequestHeader {
        /// Consumer group.
        consumer_group: String = "consumerGroup",
    }

    /// Header of RESET_CONSUMER_CLIENT_OFFSET (220) and INVOKE_BROKER_TO_RESET_OFFSET (222).
    ResetOffsetRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Consumer group.
        group: String = "group",
        /// Store time to go to, in ms; −1 is the end.
        timestamp: i64 = "timestamp",
        /// Whether offsets may move forwards.
        is_force: bool = "isForce",
    }

    /// Header of GET_CONSUMER_STATUS_FROM_CLIENT (221) and INVOKE_BROKER_TO_GET_CONSUMER_STATUS
    /// (223).
    GetConsumerStatusRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Consumer group.
        group: String = "group",
        /// Client id to ask; all clients of the group without one.
        client_addr: Option<String> = "clientAddr",
    }

    /// Header of GET_CONSUMER_RUNNING_INFO (307).
    GetConsumerRunningInfoRequestHeader {
        /// Consumer group.
        consumer_group: String = "consumerGroup",
        /// Client id.
        client_id: String = "clientId",
        /// Whether to add stack traces.
        jstack_enable: bool = "jstackEnable" or false,
    }

    /// Header of CONSUME_MESSAGE_DIRECTLY (309).
    ConsumeMessageDirectlyResultRequestHeader {
        /// Consumer group.
        consumer_group: String = "consumerGroup",
        /// Client id.
        client_id: Option<String> = "clientId",
        /// Offset message id.
        msg_id: Option<String> = "msgId",
        /// Added by the broker that forwards the request.
        broker_name: Option<String> = "brokerName",
    }
}
