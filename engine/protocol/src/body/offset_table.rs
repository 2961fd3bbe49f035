//! Tables of offsets: of groups (43), of delay levels (45), of a client, and for resetting (220 to 223).

use std::collections::BTreeMap;

use super::OrderedMap;
use crate::message::MessageQueue;

json_body! {
    /// File `consumerOffset.json`, response to GET_ALL_CONSUMER_OFFSET (43).
    #[derive(Eq)]
    ConsumerOffsetSerializeWrapper {
        /// Queue offset per queue per `topic@group`.
        offset_table: OrderedMap<String, BTreeMap<i32, i64>> = "offsetTable",
    }

    /// File `delayOffset.json`, response to GET_ALL_DELAY_OFFSET (45).
    #[derive(Eq)]
    DelayOffsetSerializeWrapper {
        /// Queue offset per delay level.
        offset_table: BTreeMap<i32, i64> = "offsetTable",
    }

    /// File `transactionChecks.json`, which RocketMQ does not know: how often producers were asked about each half
    /// message that nobody has ended.
    #[derive(Eq)]
    TransactionChecksWrapper {
        /// By queue offset, ascending.
        asked: Vec<AskedHalfMessage> = "asked",
    }

    /// A half message that producers were asked about.
    #[derive(Copy, Eq)]
    AskedHalfMessage {
        /// Queue offset, which another one may have after a truncation.
        queue_offset: i64 = "queueOffset",
        /// When it was stored, in ms.
        store_timestamp: i64 = "storeTimestamp",
        /// How often.
        times: i32 = "times",
    }

    /// File `offsets.json` of a client that consumes by broadcasting.
    #[derive(Eq)]
    OffsetSerializeWrapper {
        /// Queue offset per queue.
        offset_table: OrderedMap<MessageQueue, i64> = "offsetTable",
    }

    /// Body of RESET_CONSUMER_CLIENT_OFFSET (220), response to INVOKE_BROKER_TO_RESET_OFFSET
    /// (222).
    #[derive(Eq)]
    ResetOffsetBody {
        /// Queue offset per queue.
        offset_table: OrderedMap<MessageQueue, i64> = "offsetTable",
    }

    /// Body of RESET_CONSUMER_CLIENT_OFFSET for C++ clients.
    #[derive(Eq)]
    ResetOffsetBodyForC {
        /// Queue offsets.
        offset_table: Vec<MessageQueueForC> = "offsetTable",
    }

    /// A queue with an offset, for C++ clients.
    #[derive(Eq)]
    MessageQueueForC {
        /// Broker name.
        broker_name: String = "brokerName",
        /// Queue offset.
        offset: i64 = "offset",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Topic.
        topic: String = "topic",
    }

    /// Responses to GET_CONSUMER_STATUS_FROM_CLIENT (221: the queues of one client) and
    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223: the clients of a group).
    #[derive(Eq)]
    GetConsumerStatusBody {
        /// Queue offset per queue per client id (223).
        consumer_table: OrderedMap<String, OrderedMap<MessageQueue, i64>> = "consumerTable",
        /// Queue offset per queue (221).
        message_queue_table: OrderedMap<MessageQueue, i64> = "messageQueueTable",
    }

    /// Response to QUERY_CORRECTION_OFFSET (308).
    #[derive(Eq)]
    QueryCorrectionOffsetBody {
        /// Queue offset per queue.
        correction_offsets: BTreeMap<i32, i64> = "correctionOffsets",
    }
}
