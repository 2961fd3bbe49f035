//! `queryMsgById`, `queryMsgByKey`, `queryMsgByUniqueKey`, `queryMsgByOffset`, `decodeMessageId`: single messages.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use mq_client::PullStatus;
use mq_protocol::body::running_info::ConsumeMessageDirectlyResult;
use mq_protocol::message::{Message, MessageConst, MessageExt, MessageQueue, OffsetMessageId};

use super::message_text::{details, pulled_messages, send_result_text};
use super::running_info::{file_name, write_file};
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MessageTrack;
use crate::text::or_null;

/// Where bodies are written to, as by RocketMQ.
const BODIES: &str = "/tmp/rocketmq/msgbodys";

/// Messages that a key is looked up for, at most.
pub(crate) const KEY_MAX_NUM: i32 = 64;
pub(crate) const UNIQUE_KEY_MAX_NUM: i32 = 32;

/// Shows the message at a place, has a consumer consume it, or sends it again.
#[derive(Args)]
pub(crate) struct QueryMsgById {
    /// The ids of places (`offsetMsgId`), split by commas.
    #[arg(short = 'i', long = "msgId", value_name = "IDS", value_delimiter = ',')]
    msg_ids: Vec<String>,
    /// The group of the consumer.
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", requires = "client_id")]
    group: Option<String>,
    /// The consumer that is to consume it.
    #[arg(short = 'd', long = "clientId", value_name = "ID", requires = "group")]
    client_id: Option<String>,
    /// Whether it is sent again.
    #[arg(short = 's', long = "sendMessage", action = ArgAction::Set, default_value_t = false)]
    send_message: bool,
    /// Accepted as in RocketMQ, where it makes a part of the sender's id.
    #[arg(short = 'u', long = "unitName", value_name = "UNIT")]
    unit_name: Option<String>,
}

impl SubCommand for QueryMsgById {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        for id in &self.msg_ids {
            let message = terminal.admin.view_message(&offset_id(id)?).await?;
            match (&self.group, &self.client_id) {
                (Some(group), Some(client_id)) => {
                    push(terminal, group, client_id, &message).await?;
                }
                _ if self.send_message => resend(terminal, id, message).await?,
                _ => show(terminal, &message, true).await?,
            }
        }
        Ok(())
    }
}

fn offset_id(text: &str) -> Result<OffsetMessageId, AdminError> {
    text.trim().parse().map_err(|_| {
        AdminError::Input(format!(
            "{text} is no id of a place (32 or 56 hexadecimal digits of address and offset); \
             messages are found by their UNIQ_KEY with queryMsgByUniqueKey"
        ))
    })
}

async fn push(
    terminal: &mut Terminal<'_>,
    group: &str,
    client_id: &str,
    message: &MessageExt,
) -> Result<(), AdminError> {
    let result = terminal.admin.consume_message_directly(group, client_id, message).await?;
    terminal.print(&format!("{}\n", direct_result_text(&result)))
}

fn direct_result_text(result: &ConsumeMessageDirectlyResult) -> String {
    let ConsumeMessageDirectlyResult { order, auto_commit, spent_time_mills, .. } = result;
    let (result, remark) = (result.consume_result.name(), or_null(result.remark.as_deref()));
    format!(
        "ConsumeMessageDirectlyResult [order={order}, autoCommit={auto_commit}, \
         consumeResult={result}, remark={remark}, spentTimeMills={spent_time_mills}]"
    )
}

/// Sends what its producer sent; the broker's own properties stay behind.
async fn resend(
    terminal: &mut Terminal<'_>,
    id: &str,
    message: MessageExt,
) -> Result<(), AdminError> {
    terminal.print(&format!("prepare resend msg. originalMsgId={id}\n"))?;
    let mut again = Message::new(message.message.topic, message.message.body);
    again.flag = message.message.flag;
    for (name, value) in message.message.properties.iter() {
        if ![MessageConst::UNIQ_KEY, MessageConst::CLUSTER].contains(&name) {
            again.properties.insert(name, value);
        }
    }
    let result = terminal.admin.producer("ReSendMsgById").send(again).await?;
    terminal.print(&format!("{}\n", send_result_text(&result)))
}

/// Prints a message, keeps its body in a file, and tells who has consumed it.
async fn show(
    terminal: &mut Terminal<'_>,
    message: &MessageExt,
    with_id: bool,
) -> Result<(), AdminError> {
    let path = body_path(&message.msg_id());
    write_file(&*terminal.admin.env().disk, &path, &message.message.body)?;
    let text = details(message, &path.display().to_string(), with_id, &terminal.time);
    terminal.print(&text)?;
    let tracks = terminal.admin.message_track_detail(message).await?;
    terminal.print(&tracks_text(&tracks))
}

fn body_path(msg_id: &str) -> PathBuf {
    Path::new(BODIES).join(file_name(msg_id))
}

/// Without anything between them, as RocketMQ prints them.
fn tracks_text(tracks: &[MessageTrack]) -> String {
    match tracks {
        [] => "\n\nWARN: No Consumer\n".to_owned(),
        tracks => format!("\n\n{}\n", tracks.iter().map(ToString::to_string).collect::<String>()),
    }
}

/// Lists the messages that have an index key.
#[derive(Args)]
pub(crate) struct QueryMsgByKey {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The key.
    #[arg(short = 'k', long = "msgKey", value_name = "KEY")]
    key: String,
}

impl SubCommand for QueryMsgByKey {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let QueryMsgByKey { topic, key } = self;
        let found = terminal.admin.query_message(topic, key, KEY_MAX_NUM, false).await?;
        if found.is_empty() {
            return Err(not_found(topic, key));
        }
        terminal.print(&key_text(&found))
    }
}

fn not_found(topic: &str, key: &str) -> AdminError {
    AdminError::Failed(format!("no message of the topic {topic} has the key {key}"))
}

fn key_text(messages: &[MessageExt]) -> String {
    let header = format!("{:<50} {:>4} {:>40}\n", "#Message ID", "#QID", "#Offset");
    let row = |it: &MessageExt| {
        format!("{:<50} {:>4} {:>40}\n", it.msg_id(), it.queue_id, it.queue_offset)
    };
    header + &messages.iter().map(row).collect::<String>()
}

/// Shows the message with a `UNIQ_KEY`, or has a consumer consume it.
#[derive(Args)]
pub(crate) struct QueryMsgByUniqueKey {
    /// The `UNIQ_KEY`.
    #[arg(short = 'i', long = "msgId", value_name = "ID")]
    msg_id: String,
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The group of the consumer.
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", requires = "client_id")]
    group: Option<String>,
    /// The consumer that is to consume it.
    #[arg(short = 'd', long = "clientId", value_name = "ID", requires = "group")]
    client_id: Option<String>,
    /// Shows all that have it, 32 at most: the message may have been stored more than once.
    #[arg(short = 'a', long = "showAll")]
    show_all: bool,
}

impl SubCommand for QueryMsgByUniqueKey {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let (topic, key) = (&self.topic, &self.msg_id);
        let max_num = UNIQUE_KEY_MAX_NUM;
        let mut found = terminal.admin.query_message(topic, key, max_num, true).await?;
        found.sort_by_key(|message| message.store_timestamp);
        let Some(first) = found.first() else { return Err(not_found(topic, key)) };
        if let (Some(group), Some(client_id)) = (&self.group, &self.client_id) {
            return push(terminal, group, client_id, first).await;
        }
        let shown = if self.show_all { found.len() } else { 1 };
        for message in &found[..shown] {
            show(terminal, message, false).await?;
        }
        Ok(())
    }
}

/// Shows the message at an offset of a queue.
#[derive(Args)]
pub(crate) struct QueryMsgByOffset {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The broker's name.
    #[arg(short = 'b', long = "brokerName", value_name = "NAME")]
    broker_name: String,
    /// The queue.
    #[arg(short = 'i', long = "queueId", value_name = "ID")]
    queue_id: i32,
    /// The offset within the queue.
    #[arg(short = 'o', long = "offset")]
    offset: i64,
}

impl SubCommand for QueryMsgByOffset {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let queue = MessageQueue {
            topic: self.topic.clone(),
            broker_name: self.broker_name.clone(),
            queue_id: self.queue_id,
        };
        let pulled = terminal.admin.pull_client().pull(&queue, self.offset, 1).await?;
        let (status, min, max) = (pulled.pull_status, pulled.min_offset, pulled.max_offset);
        match pulled_messages(pulled).first() {
            Some(message) if status == PullStatus::Found => show(terminal, message, true).await,
            _ => Err(AdminError::Failed(format!(
                "the queue has no message at the offset {}; it has those from {min} to before {max}",
                self.offset
            ))),
        }
    }
}

/// Says which broker stored a message and where, by the id of its place.
#[derive(Args)]
pub(crate) struct DecodeMessageId {
    /// The ids, split by commas.
    #[arg(short = 'i', long = "messageId", value_name = "IDS", value_delimiter = ',')]
    msg_ids: Vec<String>,
}

impl SubCommand for DecodeMessageId {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        for text in &self.msg_ids {
            let id = offset_id(text)?;
            let (ip, port) = (id.store_host.ip(), id.store_host.port());
            terminal.print(&format!("ip={ip}\nport={port}\noffset={}\n", id.phy_offset))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::running_info::CmResult;

    use super::super::message_text::tests::recorded;
    use super::*;
    use crate::mq_admin_ext::TrackType;

    #[test]
    fn tracks_are_printed_as_they_were_recorded() {
        let track = |group: &str, track_type, desc: Option<&str>| MessageTrack {
            consumer_group: group.into(),
            track_type,
            exception_desc: desc.map(str::to_owned),
        };
        let offline = "CODE:206 DESC:the consumer group[CGOFF] not online";
        let tracks = [
            track("CGK", TrackType::Consumed, None),
            track("CGOFF", TrackType::NotOnline, Some(offline)),
        ];
        let recorded = include_str!("../../fixtures/27-queryMsgById.txt");
        assert!(recorded.ends_with(&tracks_text(&tracks)), "{}", tracks_text(&tracks));
        assert_eq!(tracks_text(&[]), "\n\nWARN: No Consumer\n");
    }

    #[test]
    fn keys_and_results_are_printed_as_they_were_recorded() {
        assert_eq!(key_text(&[recorded()]), include_str!("../../fixtures/29-queryMsgByKey.txt"));
        let result = ConsumeMessageDirectlyResult {
            consume_result: CmResult::CrSuccess,
            ..ConsumeMessageDirectlyResult::default()
        };
        let text = format!("{}\n", direct_result_text(&result));
        assert_eq!(text, include_str!("../../fixtures/28-queryMsgById-push.txt"));
    }

    #[test]
    fn ids_are_told_apart() {
        assert!(offset_id("7F00000100002A9F0000000000AAE950").is_ok());
        let error = offset_id("7F00000149144E0E2F2A92B351D80063").unwrap_err();
        assert!(error.is_input() && error.to_string().contains("queryMsgByUniqueKey"));
        let body_path = body_path("../../x");
        assert_eq!(body_path, Path::new("/tmp/rocketmq/msgbodys/.._.._x"));
    }
}
