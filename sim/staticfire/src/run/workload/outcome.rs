//! What becomes of a send, as the history keeps it.

use std::sync::Arc;

use mq_client::{ClientError, SendError, SendResult, SendStatus};
use mq_protocol::codes::ResponseCode;
use mq_protocol::message::OffsetMessageId;
use mq_store::delay_level::SCHEDULE_TOPIC;
use staticfire_judge::history::{Outcome, Place, QueueKey, SendOp};
use staticfire_world::trace::Name;

use super::Workload;
use super::draft::DraftKind;

/// Status of a message with the guarantee of its mode.
pub(super) const SEND_OK: &str = "SEND_OK";

/// Status of a message that was sent one way.
const ONEWAY: &str = "ONEWAY";

/// A message that a broker stored, with whatever guarantee.
pub(super) fn stored(work: &Workload, kind: DraftKind, result: &SendResult) -> SendOp {
    stored_at(work, kind, result, 0, &result.offset_msg_id)
}

/// The messages of a batch that a broker stored: one behind the other, as the result says of the first.
pub(super) fn stored_batch(
    work: &Workload,
    kinds: &[DraftKind],
    result: &SendResult,
) -> Vec<SendOp> {
    let mut ids = result.offset_msg_id.split(',');
    let kinds = kinds.iter().enumerate();
    kinds
        .map(|(index, kind)| {
            stored_at(work, *kind, result, index as u64, ids.next().unwrap_or_default())
        })
        .collect()
}

/// One that a broker calls `offset_msg_id`, so many places behind the offset that it tells.
fn stored_at(
    work: &Workload,
    kind: DraftKind,
    result: &SendResult,
    behind: u64,
    offset_msg_id: &str,
) -> SendOp {
    let trace = work.traffic.trace();
    let status = trace.name(status_name(result.send_status));
    let acked = result.send_status == SendStatus::SendOk && kind.wait;
    let group = trace.name(&result.message_queue.broker_name);
    let phy_offset = offset_msg_id.parse().map_or(0, |id: OffsetMessageId| id.phy_offset);
    // The offset that a broker tells of a delayed message belongs to where it waits.
    let (topic, queue_id) = match kind.delay_level {
        0 => (Name::clone(&work.topic), result.message_queue.queue_id.unsigned_abs()),
        level => (trace.name(SCHEDULE_TOPIC), level - 1),
    };
    let place = Place {
        queue: QueueKey { group: Name::clone(&group), topic, queue_id },
        queue_offset: result.queue_offset.unsigned_abs() + behind,
        phy_offset: phy_offset.unsigned_abs(),
    };
    let outcome = if acked { Outcome::Acked } else { Outcome::Unknown(Arc::clone(&status)) };
    blank_op(work, outcome, status, Some((group, place)), result.attempts)
}

/// A message, or a batch of them, of which no attempt was acknowledged.
pub(super) fn failed(work: &Workload, error: &SendError) -> SendOp {
    let trace = work.traffic.trace();
    let text = trace.name(&error.cause.to_string());
    let status = match &error.cause {
        ClientError::Broker { code, .. } => ResponseCode::name(*code).map(|name| trace.name(name)),
        _ => None,
    };
    let status = status.unwrap_or_else(|| Arc::clone(&text));
    let outcome = if error.maybe_stored { Outcome::Unknown(text) } else { Outcome::Rejected(text) };
    blank_op(work, outcome, status, None, error.attempts)
}

/// A message that was sent one way.
pub(super) fn sent_oneway(work: &Workload, sent: Result<(), ClientError>) -> SendOp {
    match sent {
        Ok(()) => {
            let status = work.traffic.trace().name(ONEWAY);
            blank_op(work, Outcome::Unknown(Arc::clone(&status)), status, None, 1)
        }
        Err(cause) => failed(work, &SendError::not_sent(cause)),
    }
}

fn blank_op(
    work: &Workload,
    outcome: Outcome,
    status: Name,
    stored: Option<(Name, Place)>,
    attempts: u32,
) -> SendOp {
    let (number, started_us, ended_us, ordinal) = (0, 0, 0, 0);
    let topic = Name::clone(&work.topic);
    let (group, place) = stored.unzip();
    let attempts = Some(attempts);
    let sharding_key = None;
    SendOp {
        number,
        topic,
        started_us,
        ended_us,
        ordinal,
        outcome,
        status,
        group,
        place,
        attempts,
        sharding_key,
    }
}

/// The status in RocketMQ's spelling.
fn status_name(status: SendStatus) -> &'static str {
    match status {
        SendStatus::SendOk => SEND_OK,
        SendStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
        SendStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
        SendStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
    }
}
