//! How a read becomes the response to a pull (RocketMQ 4.9 `PullMessageProcessor`).

use bytes::{BufMut, BytesMut};
use mq_protocol::body::subscription_group::SubscriptionGroupConfig;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::remoting_command::RemotingCommand;
use mq_store::{GetMessageResult, GetMessageStatus};

/// What decides besides the read.
pub(super) struct PullRules<'a> {
    pub(super) group: &'a SubscriptionGroupConfig,
    /// `slaveReadEnable`.
    pub(super) slave_read_enable: bool,
    /// Whether this broker is a slave that leaves consumers' offsets alone.
    pub(super) keeps_offsets: bool,
}

/// The response to a pull that read `result`.
pub(super) fn pull_response(
    header: &PullMessageRequestHeader,
    result: &GetMessageResult,
    rules: &PullRules<'_>,
) -> RemotingCommand {
    let mut code = code_of(result.status, header.queue_offset);
    let mut suggest_which_broker_id = match (rules.slave_read_enable, result) {
        (false, _) => MASTER_ID,
        (true, GetMessageResult { suggest_pulling_from_slave: true, .. }) => {
            rules.group.which_broker_when_consume_slowly
        }
        (true, _) => rules.group.broker_id,
    };
    if code == ResponseCode::PULL_OFFSET_MOVED && rules.keeps_offsets {
        code = ResponseCode::PULL_RETRY_IMMEDIATELY;
        suggest_which_broker_id = rules.group.broker_id;
    }
    let mut response = RemotingCommand::response(code, Some(name_of(result.status).to_owned()));
    response.ext_fields.reserve(4, 128);
    response = response.with_header(&PullMessageResponseHeader {
        suggest_which_broker_id,
        next_begin_offset: result.next_begin_offset as i64,
        min_offset: result.min_offset as i64,
        max_offset: result.max_offset as i64,
    });
    if code == ResponseCode::SUCCESS {
        let mut body = BytesMut::with_capacity(result.buffer_total_bytes);
        for message in &result.messages {
            body.put_slice(message);
        }
        response.body = body.freeze();
    }
    response
}

fn code_of(status: GetMessageStatus, asked_offset: i64) -> i32 {
    match status {
        GetMessageStatus::Found => ResponseCode::SUCCESS,
        GetMessageStatus::MessageWasRemoving | GetMessageStatus::NoMatchedMessage => {
            ResponseCode::PULL_RETRY_IMMEDIATELY
        }
        GetMessageStatus::NoMatchedLogicQueue | GetMessageStatus::NoMessageInQueue
            if asked_offset == 0 =>
        {
            ResponseCode::PULL_NOT_FOUND
        }
        GetMessageStatus::OffsetFoundNull | GetMessageStatus::OffsetOverflowOne => {
            ResponseCode::PULL_NOT_FOUND
        }
        GetMessageStatus::NoMatchedLogicQueue
        | GetMessageStatus::NoMessageInQueue
        | GetMessageStatus::OffsetOverflowBadly
        | GetMessageStatus::OffsetTooSmall => ResponseCode::PULL_OFFSET_MOVED,
    }
}

/// Java's spelling, the remark of every response.
fn name_of(status: GetMessageStatus) -> &'static str {
    match status {
        GetMessageStatus::Found => "FOUND",
        GetMessageStatus::NoMatchedMessage => "NO_MATCHED_MESSAGE",
        GetMessageStatus::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
        GetMessageStatus::OffsetFoundNull => "OFFSET_FOUND_NULL",
        GetMessageStatus::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
        GetMessageStatus::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
        GetMessageStatus::OffsetTooSmall => "OFFSET_TOO_SMALL",
        GetMessageStatus::NoMatchedLogicQueue => "NO_MATCHED_LOGIC_QUEUE",
        GetMessageStatus::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code, suggested broker id and next offset of a read with `status` at `asked`.
    fn judged(
        status: GetMessageStatus,
        asked: i64,
        lags: bool,
        slave_read_enable: bool,
        keeps_offsets: bool,
    ) -> (i32, i64, i64) {
        let header = PullMessageRequestHeader { queue_offset: asked, ..Default::default() };
        let result = GetMessageResult {
            status,
            next_begin_offset: 7,
            min_offset: 1,
            max_offset: 9,
            messages: Vec::new(),
            buffer_total_bytes: 0,
            suggest_pulling_from_slave: lags,
        };
        let group = SubscriptionGroupConfig {
            broker_id: 2,
            which_broker_when_consume_slowly: 3,
            ..SubscriptionGroupConfig::new("G")
        };
        let rules = PullRules { group: &group, slave_read_enable, keeps_offsets };
        let response = pull_response(&header, &result, &rules);
        assert_eq!(response.remark.as_deref(), Some(name_of(status)));
        let header: PullMessageResponseHeader = response.header().unwrap();
        assert_eq!((header.min_offset, header.max_offset), (1, 9));
        (response.code, header.suggest_which_broker_id, header.next_begin_offset)
    }

    #[test]
    fn every_status_has_its_code() {
        use GetMessageStatus as Status;
        let code = |status, asked| judged(status, asked, false, false, false);
        assert_eq!(code(Status::Found, 5), (0, 0, 7));
        assert_eq!(code(Status::NoMatchedMessage, 5), (20, 0, 7));
        assert_eq!(code(Status::MessageWasRemoving, 5), (20, 0, 7));
        assert_eq!(code(Status::OffsetFoundNull, 5), (19, 0, 7));
        assert_eq!(code(Status::OffsetOverflowOne, 5), (19, 0, 7));
        assert_eq!(code(Status::OffsetOverflowBadly, 5), (21, 0, 7));
        assert_eq!(code(Status::OffsetTooSmall, 5), (21, 0, 7));
        for nothing in [Status::NoMatchedLogicQueue, Status::NoMessageInQueue] {
            assert_eq!((code(nothing, 0).0, code(nothing, 5).0), (19, 21));
        }
    }

    #[test]
    fn a_lagging_reader_is_sent_to_the_slave_where_that_is_allowed() {
        let suggested = |lags, enabled| judged(GetMessageStatus::Found, 5, lags, enabled, false).1;
        assert_eq!(suggested(true, false), 0);
        assert_eq!(suggested(true, true), 3);
        assert_eq!(suggested(false, true), 2);
    }

    #[test]
    fn a_slave_moves_nobodys_offset() {
        let judged = judged(GetMessageStatus::OffsetTooSmall, 5, false, false, true);
        assert_eq!(judged, (20, 2, 7));
    }
}
