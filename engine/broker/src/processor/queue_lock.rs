//! [`QueueLockProcessor`]: locks of queues for orderly consumers, LOCK_BATCH_MQ (41) and
//! UNLOCK_BATCH_MQ (42) (RocketMQ 4.9 `AdminBrokerProcessor`).

use std::sync::Arc;

use mq_protocol::body::lock::{LockBatchRequestBody, LockBatchResponseBody};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::message::MessageQueue;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessResult, RequestProcessor};
use tokio::time::Instant;

use super::client_manage::check_client_id;
use crate::context::BrokerContext;

/// Answers 41 and 42.
pub(super) struct QueueLockProcessor {
    context: Arc<BrokerContext>,
}

impl QueueLockProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        QueueLockProcessor { context }
    }
}

impl RequestProcessor for QueueLockProcessor {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let mut body: LockBatchRequestBody = from_slice(&request.body)?;
        let (locks, group) = (&self.context.rebalance_locks, &body.consumer_group);
        let response = RemotingCommand::response(ResponseCode::SUCCESS, None);
        if request.code == RequestCode::UNLOCK_BATCH_MQ {
            locks.unlock_batch(group, &body.mq_set, &body.client_id);
            return Ok(response.into());
        }
        check_client_id(&body.client_id)?;
        self.retain_lockable(group, &mut body.mq_set);
        let lock_ok_mq_set =
            locks.try_lock_batch(group, body.mq_set, &body.client_id, Instant::now())?;
        Ok(response.with_body(to_bytes(&LockBatchResponseBody { lock_ok_mq_set })).into())
    }
}

impl QueueLockProcessor {
    /// Nobody gets the lock of a queue that is not here. RocketMQ 4.9 gives locks of whatever is named.
    fn retain_lockable(&self, group: &str, queues: &mut Vec<MessageQueue>) {
        let context = &self.context;
        if !context.groups.contains(group) {
            queues.clear();
        }
        queues.retain(|queue| {
            queue.broker_name == context.config.broker_name
                && context.has_queue(&queue.topic, queue.queue_id) == Some(true)
        });
    }
}
