//! Offsets of several groups: which a slow group should be set to (308), and those of one for another (314) (RocketMQ 4.9
//! `AdminBrokerProcessor.queryCorrectionOffset`, `cloneGroupOffset`).

use std::collections::BTreeSet;
use std::sync::Arc;

use mq_protocol::body::offset_table::QueryCorrectionOffsetBody;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::admin::{
    CloneGroupOffsetRequestHeader, QueryCorrectionOffsetRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessOutcome, ProcessResult};

use crate::context::BrokerContext;

/// Answers 308: in each queue the smallest offset that a group of the topic has, and the greatest number there is where
/// the group that is compared lies before it, or where there is no other.
pub(super) fn correction_offsets(
    context: &BrokerContext,
    header: &QueryCorrectionOffsetRequestHeader,
) -> QueryCorrectionOffsetBody {
    let QueryCorrectionOffsetRequestHeader { filter_groups, compare_group, topic } = header;
    let left_out: BTreeSet<&str> = filter_groups.iter().flat_map(|it| it.split(',')).collect();
    let queue_min = |queue_id| {
        let queue_id = u32::try_from(queue_id).ok();
        queue_id.map_or(0, |it| context.store.min_offset_in_queue(topic, it) as i64)
    };
    let mut correction_offsets = context.offsets.min_offsets(topic, &left_out, queue_min);
    for (queue_id, compared) in context.offsets.offsets_of(compare_group, topic) {
        let smallest = correction_offsets.entry(queue_id).or_insert(i64::MAX);
        if *smallest > compared {
            *smallest = i64::MAX;
        }
    }
    QueryCorrectionOffsetBody { correction_offsets }
}

/// Answers 314. Without a topic all of the source's are cloned, of which 4.9 clones none; access control is asked for each.
pub(super) fn clone_group_offset(
    context: &Arc<BrokerContext>,
    channel: &Channel,
    request: &RemotingCommand,
) -> ProcessResult {
    let CloneGroupOffsetRequestHeader { src_group, dest_group, topic, offline } =
        request.header()?;
    let topics = match topic.filter(|topic| !topic.trim().is_empty()) {
        Some(topic) => vec![topic],
        None => context.offsets.topics_of(&src_group),
    };
    if let Some(acl) = &context.acl {
        topics.iter().try_for_each(|topic| acl.check_read(channel, request, topic))?;
    }
    for topic in topics {
        let is_over = !offline && context.consumers.has_left(&src_group, &topic);
        if context.topics.select_topic_config(&topic).is_none() || is_over {
            tracing::warn!(src_group, topic, "no offsets to be cloned");
            continue;
        }
        context.offsets.clone_offsets(&src_group, &dest_group, &topic)?;
    }
    let context = Arc::clone(context);
    Ok(ProcessOutcome::later(async move {
        context.offsets.persist().await?;
        Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
    }))
}
