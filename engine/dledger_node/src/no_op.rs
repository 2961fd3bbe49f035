//! The entry that a new leader writes: with it, everything it inherited is committed.
//!
//! It is a message like every other entry, so that whoever walks the log finds nothing else: one of a rolled back
//! transaction, which is in no queue, without keys, which is in no index.

use std::net::SocketAddr;

use mq_protocol::message_codec::{RecordFields, decode_record};
use mq_protocol::sys_flag::MessageSysFlag;

/// Nobody can send to it, and nobody reads it.
const NO_OP_TOPIC: &str = "RMQ_SYS_DLEDGER_NO_OP";

/// Whether an entry with that body is one that a leader of ours wrote when he was elected; Java's write none.
#[must_use]
pub fn is_no_op(body: &[u8]) -> bool {
    decode_record(body).is_ok_and(|record| record.topic_bytes() == NO_OP_TOPIC.as_bytes())
}

/// Its body: a record, always of the same length.
pub(crate) fn no_op_body(store_host: SocketAddr, now_ms: u64) -> Vec<u8> {
    let plain = RecordFields::plain(NO_OP_TOPIC, b"no-op", store_host, now_ms as i64);
    let fields = RecordFields { sys_flag: MessageSysFlag::TRANSACTION_ROLLBACK, ..plain };
    let mut body = Vec::new();
    let encoded = fields.encode(&mut body);
    assert!(encoded.is_ok(), "a short topic and a short body make a record");
    body
}
