//! Transactional messages as they are stored (RocketMQ 4.9 `TransactionalMessageBridge`,
//! `TransactionalMessageUtil`).
//!
//! A half message waits under `RMQ_SYS_TRANS_HALF_TOPIC`, where no consumer of its own topic sees it. A
//! commit stores the message again, under its own topic. Either end then writes an op message,
//! whose body names the half message that is done with: in this order, so that a crash in between
//! repeats a committed message instead of losing it.

use bytes::Bytes;
use mq_protocol::message::{MessageConst, Properties, PropertiesView};
use mq_protocol::message_codec::RecordView;
use mq_protocol::sys_flag::MessageSysFlag;
use mq_protocol::topic_validator::{RMQ_SYS_TRANS_HALF_TOPIC, RMQ_SYS_TRANS_OP_HALF_TOPIC};
use mq_store::MessageInner;

use crate::real_message::real_message;

/// Queues of either topic.
pub(crate) const TRANSACTION_QUEUE_NUMS: i32 = 1;

/// What an op message says by its tag: the half message is done with (Java `REMOVETAG`).
const REMOVE_TAG: &str = "d";

/// Properties of an op message, in Java's order.
const OP_PROPERTIES: &str = "WAIT\u{1}true\u{2}TAGS\u{1}";

/// Whether properties make a message a half message. A retry that waits for its delay is none.
pub(crate) fn is_half_message(properties: PropertiesView<'_>, reconsume_times: i32) -> bool {
    let is_marked = properties
        .get(MessageConst::TRAN_MSG)
        .is_some_and(|mark| mark.eq_ignore_ascii_case("true"));
    let delay_level = || properties.get(MessageConst::DELAY).and_then(|it| it.parse::<i32>().ok());
    is_marked && !(reconsume_times > 0 && delay_level().unwrap_or(0) > 0)
}

/// A message of a transaction as it waits for the end. It has no delay: clients give it none, and 4.9
/// drops a half message that comes back from one.
pub(crate) fn half_message(message: MessageInner) -> MessageInner {
    let mut properties = Properties::parse(&message.properties);
    properties.remove(MessageConst::DELAY);
    properties.insert(MessageConst::REAL_TOPIC, &message.topic);
    properties.insert_display(MessageConst::REAL_QID, message.queue_id);
    MessageInner {
        topic: RMQ_SYS_TRANS_HALF_TOPIC.to_owned(),
        queue_id: 0,
        sys_flag: MessageSysFlag::with_transaction_type(
            message.sys_flag,
            MessageSysFlag::TRANSACTION_NOT,
        ),
        properties: properties.to_string(),
        ..message
    }
}

/// The message of a half message, which lies in `record`, as a commit stores it: everything as it
/// was, the marks of the half message included, but topic and queue. `None` when it names neither.
pub(crate) fn committed_message(half: &RecordView<'_>, record: &Bytes) -> Option<MessageInner> {
    let message = real_message(half, record)?;
    let commit = MessageSysFlag::TRANSACTION_COMMIT;
    Some(MessageInner {
        wait_store_ok: is_wait_store_ok(PropertiesView::new(&message.properties)),
        sys_flag: MessageSysFlag::with_transaction_type(half.sys_flag(), commit),
        prepared_transaction_offset: half.phy_offset(),
        ..message
    })
}

/// The op message that ends a half message.
pub(crate) fn op_message(
    half: &RecordView<'_>,
    now_ms: i64,
    store_host: std::net::SocketAddr,
) -> MessageInner {
    MessageInner {
        topic: RMQ_SYS_TRANS_OP_HALF_TOPIC.to_owned(),
        queue_id: half.queue_id() as u32,
        flag: 0,
        sys_flag: 0,
        body: half.queue_offset().to_string().into(),
        properties: format!("{OP_PROPERTIES}{REMOVE_TAG}"),
        born_timestamp_ms: now_ms,
        born_host: store_host,
        store_host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: false,
    }
}

/// Whether whoever stores the message waits for the sync and the slave.
pub(crate) fn is_wait_store_ok(properties: PropertiesView<'_>) -> bool {
    properties.get(MessageConst::WAIT).is_none_or(|wait| wait.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_message_is_marked_unless_it_is_being_retried() {
        let marked = "TRAN_MSG\u{1}true\u{2}DELAY\u{1}1";
        assert!(is_half_message(PropertiesView::new(marked), 0));
        assert!(!is_half_message(PropertiesView::new(marked), 1));
        assert!(!is_half_message(PropertiesView::new("TRAN_MSG\u{1}no"), 0));
    }

    #[test]
    fn stored_unless_told_otherwise_means_as_durable_as_the_mode() {
        assert!(is_wait_store_ok(PropertiesView::new("")));
        assert!(is_wait_store_ok(PropertiesView::new("WAIT\u{1}TRUE")));
        assert!(!is_wait_store_ok(PropertiesView::new("WAIT\u{1}false")));
    }
}
