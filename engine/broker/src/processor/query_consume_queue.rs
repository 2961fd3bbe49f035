//! QUERY_CONSUME_QUEUE (321): the units of a queue as they lie there (RocketMQ 4.9 `AdminBrokerProcessor.queryConsumeQueue`).

use mq_protocol::body::consume_stats::{ConsumeQueueData, QueryConsumeQueueResponseBody};
use mq_protocol::codes::ResponseCode;
use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::query_message::QueryConsumeQueueRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::ProcessError;
use mq_store::ConsumeQueue;

use super::created_by_java;
use crate::context::BrokerContext;

/// No answer has more units; 4.9 has no such bound but the queue's file.
const UNITS_MAX: usize = 10_000;

/// Answers 321.
pub(super) fn query_consume_queue(
    context: &BrokerContext,
    header: &QueryConsumeQueueRequestHeader,
) -> Result<RemotingCommand, ProcessError> {
    let QueryConsumeQueueRequestHeader { topic, queue_id, index, .. } = header;
    let found = u32::try_from(*queue_id).ok();
    let found = found.and_then(|queue_id| context.store.consume_queues().find(topic, queue_id));
    let Some(queue) = found else {
        return Err(ProcessError::system(format!("{queue_id}@{topic} is not exist!")));
    };
    let Some(queue_data) = units(&queue, *index, header.count) else {
        // 4.9 calls that a success, without a body.
        let remark = format!("Index {index} of {queue_id}@{topic} is not exist!");
        return Ok(RemotingCommand::response(ResponseCode::SUCCESS, Some(remark)));
    };
    let mut body = QueryConsumeQueueResponseBody {
        max_queue_index: queue.max_offset_in_queue() as i64,
        min_queue_index: queue.min_offset_in_queue() as i64,
        queue_data,
        ..QueryConsumeQueueResponseBody::default()
    };
    if let Some(group) = &header.consumer_group {
        let said = context.consumers.said(group, topic);
        body.filter_data = Some(match said {
            // Compiled expressions are in no table here, as those of tags are in none in 4.9.
            Some(_) => "null".to_owned(),
            None => format!("{group}@{topic} is not online!"),
        });
        body.subscription_data = said.map(|said| (*said).clone());
    }
    Ok(created_by_java(ResponseCode::SUCCESS).with_body(to_bytes(&body)))
}

/// Units from `index` on in its file; `None` where there are none.
fn units(queue: &ConsumeQueue, index: i64, count: i32) -> Option<Vec<ConsumeQueueData>> {
    let bytes = queue.units_from(u64::try_from(index).ok()?)?;
    let count = usize::try_from(count).unwrap_or(0).min(UNITS_MAX);
    let units = bytes.chunks_exact(CQ_STORE_UNIT_BYTES).take(count);
    Some(units.filter_map(ConsumeQueueUnit::decode).map(|unit| unit_data(&unit)).collect())
}

fn unit_data(unit: &ConsumeQueueUnit) -> ConsumeQueueData {
    ConsumeQueueData {
        physic_offset: unit.phy_offset,
        physic_size: unit.size,
        tags_code: unit.tags_code,
        ..ConsumeQueueData::default()
    }
}
