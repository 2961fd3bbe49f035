//! What a consumer tells about itself (responses to 307 and 309).

use super::OrderedMap;
use super::heartbeat::SubscriptionData;
use crate::message::MessageQueue;

json_enum! {
    /// What came of a message that was consumed directly.
    CmResult {
        /// Consumed.
        #[default]
        CrSuccess = "CR_SUCCESS",
        /// To be delivered again.
        CrLater = "CR_LATER",
        /// Rolled back (orderly consumer).
        CrRollback = "CR_ROLLBACK",
        /// Committed (orderly consumer).
        CrCommit = "CR_COMMIT",
        /// The listener threw.
        CrThrowException = "CR_THROW_EXCEPTION",
        /// The listener returned null.
        CrReturnNull = "CR_RETURN_NULL",
    }
}

json_body! {
    /// Response to CONSUME_MESSAGE_DIRECTLY (309).
    #[derive(Eq)]
    ConsumeMessageDirectlyResult {
        /// Whether offsets are committed by themselves.
        auto_commit: bool = "autoCommit" or true,
        /// What came of it.
        consume_result: CmResult = "consumeResult",
        /// Whether the consumer is orderly.
        order: bool = "order",
        /// Error text.
        remark: Option<String> = "remark",
        /// How long it took, in ms.
        spent_time_mills: i64 = "spentTimeMills",
    }

    /// Response to GET_CONSUMER_RUNNING_INFO (307).
    ConsumerRunningInfo {
        /// Stack traces.
        jstack: Option<String> = "jstack",
        /// State of each queue.
        mq_table: OrderedMap<MessageQueue, ProcessQueueInfo> = "mqTable",
        /// Settings.
        properties: OrderedMap<String, String> = "properties",
        /// Statistics by topic.
        status_table: OrderedMap<String, ConsumeStatus> = "statusTable",
        /// Subscriptions.
        subscription_set: Vec<SubscriptionData> = "subscriptionSet",
    }

    /// State of a queue in a consumer.
    #[derive(Copy, Eq)]
    ProcessQueueInfo {
        /// Messages held.
        cached_msg_count: i32 = "cachedMsgCount",
        /// Queue offset of the last one.
        cached_msg_max_offset: i64 = "cachedMsgMaxOffset",
        /// Queue offset of the first one.
        cached_msg_min_offset: i64 = "cachedMsgMinOffset",
        /// Their size in MiB.
        cached_msg_size_in_mib: i32 = "cachedMsgSizeInMiB",
        /// Next message to consume.
        commit_offset: i64 = "commitOffset",
        /// Whether the queue was given up.
        droped: bool = "droped",
        /// When a message was last consumed, in ms.
        last_consume_timestamp: i64 = "lastConsumeTimestamp",
        /// When the queue was last locked, in ms.
        last_lock_timestamp: i64 = "lastLockTimestamp",
        /// When messages were last pulled, in ms.
        last_pull_timestamp: i64 = "lastPullTimestamp",
        /// Whether the queue is locked.
        locked: bool = "locked",
        /// Messages that are being consumed in order.
        transaction_msg_count: i32 = "transactionMsgCount",
        /// Queue offset of the last one.
        transaction_msg_max_offset: i64 = "transactionMsgMaxOffset",
        /// Queue offset of the first one.
        transaction_msg_min_offset: i64 = "transactionMsgMinOffset",
        /// Attempts to unlock.
        try_unlock_times: i64 = "tryUnlockTimes",
    }

    /// Statistics of a topic in a consumer.
    #[derive(Copy)]
    ConsumeStatus {
        /// Messages consumed in vain.
        consume_failed_msgs: i64 = "consumeFailedMsgs",
        /// Messages consumed in vain per second.
        consume_failed_tps: f64 = "consumeFailedTPS",
        /// Messages consumed per second.
        consume_ok_tps: f64 = "consumeOKTPS",
        /// Mean time of consuming, in ms.
        consume_rt: f64 = "consumeRT",
        /// Mean time of pulling, in ms.
        pull_rt: f64 = "pullRT",
        /// Messages pulled per second.
        pull_tps: f64 = "pullTPS",
    }
}
