//! [`EndTransactionProcessor`]: a producer commits or rolls back (37) (RocketMQ 4.9
//! `EndTransactionProcessor`).

use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::transaction::EndTransactionRequestHeader;
use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::{RecordView, decode_record};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::MessageSysFlag;
use mq_protocol::topic_validator::RMQ_SYS_TRANS_HALF_TOPIC;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};
use mq_store::PutMessageStatus;
use mq_store::config::UpstreamSwitch;
use mq_store::plant::{Plant, planted_on_this_thread};

use crate::context::BrokerContext;
use crate::transaction_ends::write_op;
use crate::transactional_message::committed_message;

/// Answers 37.
pub(super) struct EndTransactionProcessor {
    context: Arc<BrokerContext>,
}

impl EndTransactionProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        EndTransactionProcessor { context }
    }
}

impl RequestProcessor for EndTransactionProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let header: EndTransactionRequestHeader = request.header()?;
        if self.context.is_slave() {
            return Ok(RemotingCommand::response(ResponseCode::SLAVE_NOT_AVAILABLE, None).into());
        }
        let is_commit = match header.commit_or_rollback {
            MessageSysFlag::TRANSACTION_COMMIT => true,
            MessageSysFlag::TRANSACTION_ROLLBACK => false,
            // The producer does not know: it is asked again.
            _ => return Ok(ProcessOutcome::Silent),
        };
        self.context.waiting_sends.check()?;
        let (context, channel) = (Arc::clone(&self.context), channel.clone());
        Ok(ProcessOutcome::later(async move {
            end_transaction(&context, &channel, &header, is_commit).await.map(Some)
        }))
    }
}

/// Commits: the message first, then the op message. Rolls back: the op message alone.
async fn end_transaction(
    context: &BrokerContext,
    channel: &Channel,
    header: &EndTransactionRequestHeader,
    is_commit: bool,
) -> Result<RemotingCommand, ProcessError> {
    let not_found = || ProcessError::system("Find prepared transaction message failed");
    let turn = context.work_queues.end_transactions.turn(|| false).await?;
    let record = u64::try_from(header.commit_log_offset)
        .ok()
        .and_then(|offset| context.store.look_message_by_offset(offset));
    let record = Bytes::from_owner(record.ok_or_else(not_found)?);
    let half = decode_record(&record)?;
    if half.topic() != RMQ_SYS_TRANS_HALF_TOPIC {
        return Err(not_found());
    }
    check_prepare_message(&half, header)?;
    let ends = &context.transaction_ends;
    let counts_every_end = context.store.config().upstream(UpstreamSwitch::PutBackHalfMessages);
    ends.catch_up(context).await;
    let ending = u64::try_from(half.queue_offset()).ok().and_then(|it| ends.begin(it));
    if ending.is_none() && !counts_every_end {
        // The producer's own end and its answer to a question may both come, and differ.
        let (offset, id) = (header.tran_state_table_offset, &header.msg_id);
        tracing::info!(offset, id, is_commit, "a transaction that has ended ends once");
        return Ok(RemotingCommand::response(ResponseCode::SUCCESS, None));
    }
    let op_too_early = match planted_on_this_thread(Plant::OpBeforeMessage) {
        true => write_op(context, &half).await,
        false => None,
    };
    if is_commit {
        let message = committed_message(&half, &record).ok_or_else(not_found)?;
        if counts_every_end || !ends.was_committed(&context.store, &half, &message) {
            context.make_readable(&message.topic, message.queue_id).await;
            // A stored message is committed, whatever is still open: what it lacks the check repairs.
            let put = context.store.put_message(&message);
            drop(turn);
            let put = context.waiting_sends.wait(channel, put).await;
            let (topic, queue_id) = context.stored_under(&message);
            context.stats.put(topic, queue_id, &put);
            if put.append.is_none() && !planted_on_this_thread(Plant::RefusedCommitIsAnEnd) {
                return Err(refusal(put.status));
            }
        }
    }
    let op_offset = match op_too_early {
        None => write_op(context, &half).await,
        written => written,
    };
    // A rollback that is not written down is asked about again.
    if let Some(ending) = ending.filter(|_| is_commit || op_offset.is_some()) {
        ending.done(op_offset);
    }
    Ok(RemotingCommand::response(ResponseCode::SUCCESS, None))
}

/// Whether the half message is the one that the producer speaks of.
fn check_prepare_message(
    half: &RecordView<'_>,
    header: &EndTransactionRequestHeader,
) -> Result<(), ProcessError> {
    let properties = half.properties();
    let group = PropertiesView::new(&properties).get(MessageConst::PGROUP);
    if group != Some(&header.producer_group) {
        return Err(ProcessError::system("The producer group wrong"));
    }
    if half.queue_offset() != header.tran_state_table_offset {
        return Err(ProcessError::system("The transaction state table offset wrong"));
    }
    Ok(())
}

/// Why a commit stored nothing, in Java's words.
fn refusal(status: PutMessageStatus) -> ProcessError {
    match status {
        PutMessageStatus::CreateMappedFileFailed => {
            ProcessError::system("Create mapped file failed.")
        }
        PutMessageStatus::MessageIllegal | PutMessageStatus::PropertiesSizeExceeded => {
            let remark = "The message is illegal, maybe msg body or properties length not matched. \
                          msg body length limit 128k, msg properties length limit 32k.";
            ProcessError::new(ResponseCode::MESSAGE_ILLEGAL, remark)
        }
        PutMessageStatus::ServiceNotAvailable => {
            let remark = "Service not available now.";
            ProcessError::new(ResponseCode::SERVICE_NOT_AVAILABLE, remark)
        }
        PutMessageStatus::OsPageCacheBusy => {
            ProcessError::system("OS page cache busy, please try another machine")
        }
        status => ProcessError::system(status.name()),
    }
}
