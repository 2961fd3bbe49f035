//! What operators ask of a consumer, by way of a broker: to go on elsewhere (220), how far it is (221), its state (307),
//! to consume a message out of turn (309) (RocketMQ 4.9 `MQClientInstance`).

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_protocol::body::OrderedMap;
use mq_protocol::body::offset_table::{MessageQueueForC, ResetOffsetBody, ResetOffsetBodyForC};
use mq_protocol::body::running_info::{
    CmResult, ConsumeMessageDirectlyResult, ConsumeStatus, ConsumerRunningInfo,
};
use mq_protocol::codes::MqVersion;
use mq_protocol::fastjson::from_slice;
use mq_protocol::message::{MessageExt, MessageQueue};
use mq_remoting::ProcessError;
use tokio::time::Instant;

use crate::push_consumer::{ConsumeResult, ConsumerInner, Consumption};

/// The offsets of a reset, in the form for Java clients or in that for C++ clients.
///
/// # Errors
/// When it is neither.
pub(crate) fn offsets_of_reset(body: &[u8]) -> Result<BTreeMap<MessageQueue, i64>, ProcessError> {
    if let Ok(body) = from_slice::<ResetOffsetBodyForC>(body) {
        let entry = |MessageQueueForC { topic, broker_name, queue_id, offset }| {
            (MessageQueue { topic, broker_name, queue_id }, offset)
        };
        return Ok(body.offset_table.into_iter().map(entry).collect());
    }
    let body: ResetOffsetBody = from_slice(body)?;
    Ok(body.offset_table.into_iter().collect())
}

impl ConsumerInner {
    /// Goes on at these offsets in the queues of `topic` that it owns: each is dropped at once, rests while
    /// listeners come to their end, and is taken again at its new offset. Unlike in 4.9, nothing else
    /// waits for that, neither other queues nor other requests.
    pub(crate) fn reset_offset(
        self: &Arc<Self>,
        topic: &str,
        offsets: &BTreeMap<MessageQueue, i64>,
    ) {
        let owned: Vec<_> = {
            let state = self.state();
            let owned = state.process_queues.iter().filter(|(queue, _)| queue.topic == topic);
            owned
                .filter_map(|(queue, process_queue)| {
                    let offset = *offsets.get(queue)?;
                    Some((queue.clone(), Arc::clone(process_queue), offset))
                })
                .collect()
        };
        for (queue, process_queue, offset) in owned {
            tracing::info!(?queue, offset, group = self.config.group, "offset is reset");
            process_queue.drop_queue();
            let inner = Arc::clone(self);
            self.tasks.spawn_until_cancelled("client reset", async move {
                if inner.move_queue(&queue, &process_queue, offset, offset).await {
                    inner.instance.rebalance_soon();
                }
            });
        }
    }

    /// How far it is in the queues of `topic`.
    pub(crate) fn consumer_status(&self, topic: &str) -> OrderedMap<MessageQueue, i64> {
        let state = self.state();
        let owned = state.process_queues.keys().filter(|queue| queue.topic == topic);
        owned.filter_map(|queue| Some((queue.clone(), state.offsets.get(queue)?))).collect()
    }

    /// Its state, without statistics, and without stacks: its tasks have none.
    pub(crate) fn running_info(&self) -> ConsumerRunningInfo {
        let properties = self.properties();
        let state = self.state();
        let queues = state.process_queues.iter().map(|(queue, process_queue)| {
            let commit_offset = state.offsets.get(queue).unwrap_or_default();
            (queue.clone(), process_queue.info(commit_offset))
        });
        ConsumerRunningInfo {
            jstack: None,
            mq_table: queues.collect(),
            properties,
            status_table: state
                .subscriptions
                .keys()
                .map(|topic| (topic.clone(), ConsumeStatus::default()))
                .collect(),
            subscription_set: state.subscriptions.values().cloned().collect(),
        }
    }

    /// The settings that tools show.
    fn properties(&self) -> OrderedMap<String, String> {
        let config = &self.config;
        let data = self.heartbeat_data();
        let name_servers: String =
            self.instance.namesrv_addrs().iter().map(|addr| format!("{addr};")).collect();
        let rows = [
            ("PROP_NAMESERVER_ADDR", name_servers),
            ("PROP_CONSUME_TYPE", data.consume_type.name().to_owned()),
            ("PROP_CLIENT_VERSION", MqVersion::CURRENT_NAME.to_owned()),
            ("PROP_CONSUMEORDERLY", config.consume_orderly.to_string()),
            ("PROP_THREADPOOL_CORE_SIZE", config.consume_thread_max.to_string()),
            ("PROP_CONSUMER_START_TIMESTAMP", self.started_ms.to_string()),
            ("consumerGroup", config.group.clone()),
            ("messageModel", data.message_model.name().to_owned()),
            ("consumeFromWhere", data.consume_from_where.name().to_owned()),
            ("pullBatchSize", config.pull_batch_size.to_string()),
            ("consumeMessageBatchMaxSize", config.consume_message_batch_max_size.to_string()),
            ("maxReconsumeTimes", config.reconsume_times_max.to_string()),
            ("pullThresholdForQueue", config.flow_control.count_max.to_string()),
        ];
        rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Hands a message to the listener, whoever owns its queue; nothing follows from what comes of it.
    pub(crate) async fn consume_message_directly(
        &self,
        message: MessageExt,
    ) -> ConsumeMessageDirectlyResult {
        let message = Arc::new(self.reset_retry_and_namespace(message));
        let begin = Instant::now();
        let result = match (self.listener)(&[message]) {
            Consumption::Done(result) => result,
            Consumption::Later(result) => result.await,
        };
        ConsumeMessageDirectlyResult {
            consume_result: match result {
                ConsumeResult::Success => CmResult::CrSuccess,
                ConsumeResult::ReconsumeLater => CmResult::CrLater,
            },
            spent_time_mills: i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX),
            ..ConsumeMessageDirectlyResult::default()
        }
    }
}
