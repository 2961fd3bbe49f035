//! [`MqConsumerInner`]: what a client instance wants of the consumers on it (RocketMQ 4.9
//! `MQConsumerInner`).

use std::sync::Arc;

use mq_env::BoxFuture;
use mq_protocol::body::heartbeat::ConsumerData;

use crate::push_consumer::ConsumerInner;

/// A consumer as its instance sees it.
pub(crate) trait MqConsumerInner: Send + Sync {
    /// What heartbeats say of it.
    fn heartbeat_data(&self) -> ConsumerData;

    /// The topics whose routes it needs.
    fn topics(&self) -> Vec<String>;

    /// Takes and gives up queues.
    fn do_rebalance(self: Arc<Self>) -> BoxFuture<'static, ()>;

    /// Commits its offsets.
    fn persist_offsets(self: Arc<Self>) -> BoxFuture<'static, ()>;

    /// The push consumer that it is: operators ask only those to go on elsewhere or to consume out of turn.
    fn into_push(self: Arc<Self>) -> Option<Arc<ConsumerInner>> {
        None
    }
}

impl MqConsumerInner for ConsumerInner {
    fn heartbeat_data(&self) -> ConsumerData {
        ConsumerInner::heartbeat_data(self)
    }

    fn topics(&self) -> Vec<String> {
        ConsumerInner::topics(self)
    }

    fn do_rebalance(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { ConsumerInner::do_rebalance(&self).await })
    }

    fn persist_offsets(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { ConsumerInner::persist_offsets(&self).await })
    }

    fn into_push(self: Arc<Self>) -> Option<Arc<ConsumerInner>> {
        Some(self)
    }
}
