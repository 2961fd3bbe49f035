//! How a put becomes the response to a send (RocketMQ 4.9
//! `SendMessageProcessor.handlePutMessageResult`).

use mq_protocol::codes::ResponseCode;
use mq_protocol::header::send_message::SendMessageResponseHeader;
use mq_protocol::message::{MessageConst, OffsetMessageId};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::ProcessError;
use mq_store::{AppendMessageResult, PutMessageResult, PutMessageStatus, used_percent};

use crate::config::BrokerConfig;
use crate::context::BrokerContext;

/// The response to a send that was put with `result`.
pub(super) fn send_response(
    context: &BrokerContext,
    queue_id: i32,
    result: PutMessageResult,
) -> RemotingCommand {
    let (code, remark) = code_of(context, result.status);
    let mut response = RemotingCommand::response(code, remark);
    response.ext_fields.reserve(5, 160);
    if let Some(header) = place(context, queue_id, &result) {
        response = response.with_header(&header);
    }
    with_trace_fields(&context.live(), response)
}

/// The response to a reply: what became of it is said by `pushed`, with a remark if it failed; where it was
/// stored, if it was, is there all the same.
pub(super) fn reply_response(
    context: &BrokerContext,
    queue_id: i32,
    pushed: Result<(), String>,
    stored: Option<&PutMessageResult>,
) -> RemotingCommand {
    // 4.9 has these where nothing is stored, so that clients can read the response.
    let nowhere = SendMessageResponseHeader {
        msg_id: "0".to_owned(),
        queue_id,
        queue_offset: 0,
        transaction_id: None,
    };
    let nowhere = pushed.is_ok().then_some(nowhere);
    let code = if pushed.is_ok() { ResponseCode::SUCCESS } else { ResponseCode::SYSTEM_ERROR };
    let mut response = RemotingCommand::response(code, pushed.err());
    if let Some(header) = stored.and_then(|it| place(context, queue_id, it)).or(nowhere) {
        response = response.with_header(&header);
    }
    with_trace_fields(&context.live(), response)
}

/// Where a message lies, if it is stored.
fn place(
    context: &BrokerContext,
    queue_id: i32,
    result: &PutMessageResult,
) -> Option<SendMessageResponseHeader> {
    let append = result.append.as_ref().filter(|_| result.status.is_stored())?;
    Some(SendMessageResponseHeader {
        msg_id: msg_id(context, append),
        queue_id,
        queue_offset: append.queue_offset as i64,
        transaction_id: None,
    })
}

/// The response to a send that is refused. It names the region like every other.
pub(super) fn refusal(config: &BrokerConfig, error: ProcessError) -> RemotingCommand {
    with_trace_fields(config, error.into())
}

fn with_trace_fields(config: &BrokerConfig, mut response: RemotingCommand) -> RemotingCommand {
    response.ext_fields.insert(MessageConst::MSG_REGION, &config.region_id);
    let trace_on = if config.trace_on { "true" } else { "false" };
    response.ext_fields.insert(MessageConst::TRACE_ON, trace_on);
    response
}

/// Offset message ids of what was stored, joined by commas.
fn msg_id(context: &BrokerContext, append: &AppendMessageResult) -> String {
    let store_host = context.store_host;
    let mut ids = String::new();
    for phy_offset in append.phy_offsets() {
        if !ids.is_empty() {
            ids.push(',');
        }
        let id = OffsetMessageId { store_host, phy_offset: phy_offset as i64 };
        ids.push_str(&id.to_string());
    }
    ids
}

fn code_of(context: &BrokerContext, status: PutMessageStatus) -> (i32, Option<String>) {
    let (code, remark) = match status {
        PutMessageStatus::PutOk => return (ResponseCode::SUCCESS, None),
        PutMessageStatus::FlushDiskTimeout => return (ResponseCode::FLUSH_DISK_TIMEOUT, None),
        PutMessageStatus::FlushSlaveTimeout => return (ResponseCode::FLUSH_SLAVE_TIMEOUT, None),
        PutMessageStatus::SlaveNotAvailable => return (ResponseCode::SLAVE_NOT_AVAILABLE, None),
        PutMessageStatus::ServiceNotAvailable => {
            (ResponseCode::SERVICE_NOT_AVAILABLE, service_not_available(context))
        }
        PutMessageStatus::CreateMappedFileFailed => (
            ResponseCode::SYSTEM_ERROR,
            "create mapped file failed, server is busy or broken.".to_owned(),
        ),
        PutMessageStatus::MessageIllegal | PutMessageStatus::PropertiesSizeExceeded => {
            (ResponseCode::MESSAGE_ILLEGAL, message_illegal(context))
        }
        PutMessageStatus::OsPageCacheBusy => (
            ResponseCode::SYSTEM_ERROR,
            "[PC_SYNCHRONIZED]broker busy, start flow control for a while".to_owned(),
        ),
        PutMessageStatus::UnknownError => (ResponseCode::SYSTEM_ERROR, "UNKNOWN_ERROR".to_owned()),
    };
    (code, Some(remark))
}

fn message_illegal(context: &BrokerContext) -> String {
    format!(
        "the message is illegal, maybe msg body or properties length not matched. msg body length \
         limit {}B, msg properties length limit 32KB.",
        context.store.live_config().max_message_size
    )
}

/// What a broker says that takes no messages.
pub(super) fn service_not_available(context: &BrokerContext) -> String {
    if let Some(sentence) = context.store.sync_failure() {
        return sentence.to_owned();
    }
    let config = context.store.config();
    let root = &config.store_path_root_dir;
    let dirs = [config.commit_log_dir(), root.join("consumequeue"), root.join("index")];
    let used = dirs.map(|dir| {
        used_percent(&*context.env.disk, &dir).map_or(-1.0, |percent| percent as f64 / 100.0)
    });
    let [log, queues, index] = used;
    format!(
        "service not available now. It may be caused by one of the following reasons: the broker's \
         disk is full [CL: {log:5.2} CQ: {queues:5.2} INDEX: {index:5.2}], messages are put to the \
         slave, message store has been shut down, etc."
    )
}
