//! Messages as RocketMQ's tools print them.

use std::fmt::Write;

use mq_client::{PullResult, SendResult, SendStatus};
use mq_protocol::message::{Message, MessageConst, MessageExt, MessageQueue, Properties};

use crate::error::AdminError;
use crate::text::{LocalTime, WITH_MS, java_map, or_null};

/// How bodies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    Latin1,
}

impl Charset {
    /// The charset that an argument names.
    pub(super) fn named(name: &str) -> Result<Self, AdminError> {
        match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Ok(Charset::Utf8),
            "ISO-8859-1" | "US-ASCII" => Ok(Charset::Latin1),
            _ => Err(AdminError::Input(format!(
                "the charset {name} is not known here; allowed: UTF-8, ISO-8859-1, US-ASCII"
            ))),
        }
    }

    fn read(self, body: &[u8]) -> String {
        match self {
            Charset::Utf8 => String::from_utf8_lossy(body).into_owned(),
            Charset::Latin1 => body.iter().map(|byte| char::from(*byte)).collect(),
        }
    }
}

/// The messages of a pull, each with the ends of its queue, as Java's client has them (RocketMQ 4.9
/// `PullAPIWrapper.processPullResult`) and prints them.
pub(super) fn pulled_messages(pulled: PullResult) -> Vec<MessageExt> {
    let PullResult { min_offset, max_offset, mut messages, .. } = pulled;
    for message in &mut messages {
        let mut properties = Properties::new();
        properties.insert_display(MessageConst::MIN_OFFSET, min_offset);
        properties.insert_display(MessageConst::MAX_OFFSET, max_offset);
        for (name, value) in message.message.properties.iter() {
            properties.insert(name, value);
        }
        message.message.properties = properties;
    }
    messages
}

/// `MSGID: … MessageExt […] BODY: …`, a line.
pub(super) fn message_line(message: &MessageExt, body: Option<Charset>) -> String {
    let body = match body {
        Some(charset) => charset.read(&message.message.body),
        None => "NOT PRINT BODY".to_owned(),
    };
    format!("MSGID: {} {} BODY: {body}\n", message.msg_id(), message_ext_text(message))
}

/// `MessageExt.toString`
fn message_ext_text(it: &MessageExt) -> String {
    let MessageExt { broker_name, queue_id, store_size, queue_offset, sys_flag, .. } = it;
    let MessageExt { born_timestamp, born_host, store_timestamp, store_host, .. } = it;
    let MessageExt { phy_offset, body_crc, reconsume_times, .. } = it;
    let (prepared, msg_id) = (it.prepared_transaction_offset, it.offset_msg_id());
    let message = message_text(&it.message);
    format!(
        "MessageExt [brokerName={broker_name}, queueId={queue_id}, storeSize={store_size}, \
         queueOffset={queue_offset}, sysFlag={sys_flag}, bornTimestamp={born_timestamp}, \
         bornHost=/{born_host}, storeTimestamp={store_timestamp}, storeHost=/{store_host}, \
         msgId={msg_id}, commitLogOffset={phy_offset}, bodyCRC={body_crc}, \
         reconsumeTimes={reconsume_times}, preparedTransactionOffset={prepared}, \
         toString()={message}]"
    )
}

/// `Message.toString`
fn message_text(message: &Message) -> String {
    let Message { topic, flag, properties, body } = message;
    let properties = java_map(properties.iter());
    let mut bytes = String::new();
    for (index, byte) in body.iter().enumerate() {
        // Java's bytes have a sign.
        let _ = write!(bytes, "{}{}", if index > 0 { ", " } else { "" }, *byte as i8);
    }
    format!(
        "Message{{topic='{topic}', flag={flag}, properties={properties}, body=[{bytes}], \
         transactionId='null'}}"
    )
}

/// `MessageQueue.toString`
pub(super) fn queue_text(queue: &MessageQueue) -> String {
    let MessageQueue { topic, broker_name, queue_id } = queue;
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}

/// `SendResult.toString`
pub(super) fn send_result_text(result: &SendResult) -> String {
    let SendResult { msg_id, offset_msg_id, queue_offset, .. } = result;
    let (status, queue) = (send_status_name(result.send_status), queue_text(&result.message_queue));
    format!(
        "SendResult [sendStatus={status}, msgId={msg_id}, offsetMsgId={offset_msg_id}, \
         messageQueue={queue}, queueOffset={queue_offset}]"
    )
}

/// The name that Java has for it.
pub(super) fn send_status_name(status: SendStatus) -> &'static str {
    match status {
        SendStatus::SendOk => "SEND_OK",
        SendStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
        SendStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
        SendStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
    }
}

/// A message in a line for each of its parts; the id of its place where `with_id`.
pub(super) fn details(
    message: &MessageExt,
    body_path: &str,
    with_id: bool,
    time: &LocalTime,
) -> String {
    let properties = &message.message.properties;
    let property = |name| format!("[{}]", or_null(properties.get(name)));
    let lines = [
        ("OffsetID:", message.offset_msg_id().to_string()),
        ("Topic:", message.message.topic.clone()),
        ("Tags:", property(MessageConst::TAGS)),
        ("Keys:", property(MessageConst::KEYS)),
        ("Queue ID:", message.queue_id.to_string()),
        ("Queue Offset:", message.queue_offset.to_string()),
        ("CommitLog Offset:", message.phy_offset.to_string()),
        ("Reconsume Times:", message.reconsume_times.to_string()),
        ("Born Timestamp:", time.text(message.born_timestamp, WITH_MS)),
        ("Store Timestamp:", time.text(message.store_timestamp, WITH_MS)),
        ("Born Host:", message.born_host.to_string()),
        ("Store Host:", message.store_host.to_string()),
        ("System Flag:", message.sys_flag.to_string()),
        ("Properties:", java_map(properties.iter())),
        ("Message Body Path:", body_path.to_owned()),
    ];
    let lines = lines.iter().skip(usize::from(!with_id));
    lines.map(|(name, value)| format!("{name:<20} {value}\n")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use mq_client::PullStatus;

    use super::*;
    use crate::text::tests::utc;

    /// The message whose details were recorded.
    pub(crate) fn recorded() -> MessageExt {
        let mut message = Message::new("TK", "body0");
        for (name, value) in [
            ("KEYS", "key99"),
            ("UNIQ_KEY", "7F00000149144E0E2F2A92B351D80063"),
            ("CLUSTER", "C1"),
            ("TAGS", "TagB"),
        ] {
            message.properties.insert(name, value);
        }
        MessageExt {
            message,
            broker_name: "broker-a".into(),
            queue_id: 3,
            store_size: 170,
            queue_offset: 24,
            sys_flag: 0,
            born_timestamp: 1_795_952_425_432,
            born_host: "127.0.0.1:56066".parse().unwrap(),
            store_timestamp: 1_795_952_425_435,
            store_host: "127.0.0.1:10911".parse().unwrap(),
            phy_offset: 11_200_848,
            body_crc: 1_366_271_370,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
        }
    }

    #[test]
    fn details_are_those_that_were_recorded() {
        let path = "/data/rocketmq/msgbodys/7F00000149144E0E2F2A92B351D80063";
        let head = |text: &str| text.split("\n\n\n").next().unwrap().to_owned() + "\n";
        let text = details(&recorded(), path, true, &utc());
        assert_eq!(text, head(include_str!("../../fixtures/27-queryMsgById.txt")));
        let text = details(&recorded(), path, false, &utc());
        assert_eq!(text, head(include_str!("../../fixtures/30-queryMsgByUniqueKey.txt")));
    }

    #[test]
    fn lines_are_those_that_were_recorded() {
        let mut message = recorded();
        message.message.properties = Default::default();
        for (name, value) in [
            ("KEYS", "key0"),
            ("UNIQ_KEY", "7F00000149144E0E2F2A92B34A680000"),
            ("CLUSTER", "C1"),
            ("TAGS", "TagA"),
        ] {
            message.message.properties.insert(name, value);
        }
        (message.queue_id, message.queue_offset) = (0, 0);
        (message.born_timestamp, message.store_timestamp) = (1_795_952_423_529, 1_795_952_423_561);
        message.phy_offset = 11_183_840;
        let pulled = PullResult {
            pull_status: PullStatus::Found,
            next_begin_offset: 1,
            min_offset: 0,
            max_offset: 37,
            suggest_which_broker_id: 0,
            messages: vec![message],
        };
        let message = pulled_messages(pulled).remove(0);
        let line = message_line(&message, Some(Charset::Utf8));
        assert_eq!(line, include_str!("../../fixtures/40-printMsgByQueue.txt"));
        assert!(message_line(&message, None).ends_with(" BODY: NOT PRINT BODY\n"));
    }

    #[test]
    fn bodies_are_read_in_their_charset() {
        let read = |name: &str| Charset::named(name).map(|charset| charset.read(b"\xe4"));
        assert_eq!(read("utf-8").unwrap(), "\u{fffd}");
        assert_eq!(read("iso-8859-1").unwrap(), "ä");
        assert!(read("GBK").unwrap_err().is_input());
        assert!(message_text(&Message::new("T", vec![0xff])).contains("body=[-1]"));
    }
}
