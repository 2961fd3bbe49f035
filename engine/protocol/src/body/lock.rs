//! Locks of queues for orderly consumers (41, 42).

use crate::message::MessageQueue;

json_body! {
    /// Body of LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42).
    #[derive(Eq)]
    LockBatchRequestBody {
        /// Client id.
        client_id: String = "clientId",
        /// Consumer group.
        consumer_group: String = "consumerGroup",
        /// Queues to lock or unlock.
        mq_set: Vec<MessageQueue> = "mqSet",
    }

    /// Response to LOCK_BATCH_MQ.
    #[derive(Eq)]
    LockBatchResponseBody {
        /// Queues that the client holds now.
        lock_ok_mq_set: Vec<MessageQueue> = "lockOKMQSet",
    }
}
