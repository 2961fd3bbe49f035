//! RESUME_CHECK_HALF_MESSAGE (323): producers are asked about a half message anew that was given up (RocketMQ 4.9
//! `AdminBrokerProcessor.resumeCheckHalfMessage`).

use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::transaction::ResumeCheckHalfMessageRequestHeader;
use mq_protocol::message::{MessageConst, OffsetMessageId, Properties};
use mq_protocol::message_codec::{RecordView, decode_record};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::topic_validator::{RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC};
use mq_remoting::{ProcessError, ProcessOutcome, ProcessResult};
use mq_store::MessageInner;

use super::check_master;
use crate::context::BrokerContext;
use crate::transaction_ends::Stage;

/// What 4.9 says of whatever goes wrong before the message is stored.
const EXCEPTION: &str =
    "Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC.";
const FAILED: &str = "Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed.";

/// Answers 323. One that was given up is stored as a half message once more; one that nobody has ended yet stays, and is
/// asked about from the beginning. Of others, which 4.9 makes half messages of as well, there is nothing to ask: a
/// transaction that has ended would end a second time.
pub(super) fn resume_check(
    context: &Arc<BrokerContext>,
    header: &ResumeCheckHalfMessageRequestHeader,
) -> ProcessResult {
    check_master(context)?;
    let id = header.msg_id.as_deref().and_then(|id| id.parse::<OffsetMessageId>().ok());
    let phy_offset = id.and_then(|id| u64::try_from(id.phy_offset).ok());
    let record = phy_offset.and_then(|it| context.store.look_message_by_offset(it));
    let record = Bytes::from_owner(record.ok_or_else(|| ProcessError::system(EXCEPTION))?);
    let context = Arc::clone(context);
    Ok(ProcessOutcome::later(async move {
        let view = decode_record(&record).map_err(|_| ProcessError::system(EXCEPTION))?;
        match &*view.topic() {
            RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC => put_back(&context, &view, &record).await?,
            RMQ_SYS_TRANS_HALF_TOPIC => begin_anew(&context, &view).await?,
            topic => {
                let why = format!("{EXCEPTION} It is a message of {topic}.");
                return Err(ProcessError::system(why));
            }
        }
        Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
    }))
}

async fn put_back(
    context: &BrokerContext,
    given_up: &RecordView<'_>,
    record: &Bytes,
) -> Result<(), ProcessError> {
    let put = context.store.put_message(&half_again(given_up, record)).await;
    context.stats.put(RMQ_SYS_TRANS_HALF_TOPIC, 0, &put);
    if put.status.is_stored() { Ok(()) } else { Err(ProcessError::system(FAILED)) }
}

async fn begin_anew(context: &BrokerContext, half: &RecordView<'_>) -> Result<(), ProcessError> {
    context.transaction_ends.catch_up(context).await;
    let offset = u64::try_from(half.queue_offset()).ok();
    if offset.is_none_or(|offset| context.transaction_ends.stage(offset) != Stage::Open) {
        return Err(ProcessError::system(format!("{FAILED} Its transaction has ended.")));
    }
    context.transaction_questions.note(half, 0);
    Ok(())
}

/// The half message as it was, asked about never.
fn half_again(given_up: &RecordView<'_>, record: &Bytes) -> MessageInner {
    let mut properties = Properties::parse(&given_up.properties());
    properties.insert_display(MessageConst::TRANSACTION_CHECK_TIMES, 0);
    MessageInner {
        topic: RMQ_SYS_TRANS_HALF_TOPIC.to_owned(),
        queue_id: 0,
        flag: given_up.flag(),
        sys_flag: given_up.sys_flag(),
        body: record.slice_ref(given_up.body()),
        properties: properties.to_string(),
        born_timestamp_ms: given_up.born_timestamp(),
        born_host: given_up.born_host(),
        store_host: given_up.store_host(),
        reconsume_times: given_up.reconsume_times(),
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}
