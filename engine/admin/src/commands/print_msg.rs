//! `printMsg`, `printMsgByQueue`: all messages of a topic, or of a queue.

use std::collections::BTreeMap;

use clap::{ArgAction, Args};
use mq_client::{ClientError, PullClient, PullStatus};
use mq_protocol::message::{MessageExt, MessageQueue};

use super::message_text::{Charset, message_line, pulled_messages, queue_text};
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;

/// Messages of a pull.
const PULLED_MAX: i32 = 32;

/// Below the messages of a queue.
const RULE: &str = "--------------------------------------------------------\n";

/// What of a queue is printed.
#[derive(Args)]
struct Selection {
    /// Charset of bodies.
    #[arg(short = 'c', long = "charsetName", value_name = "CHARSET", default_value = "UTF-8")]
    charset: String,
    /// Only what a subscription by tags lets pass, as `TagA || TagB`.
    #[arg(short = 's', long = "subExpression", value_name = "EXPRESSION", default_value = "*")]
    sub_expression: String,
    /// From this store time on: milliseconds since 1970, or yyyy-MM-dd#HH:mm:ss:SSS.
    #[arg(short = 'b', long = "beginTimestamp", value_name = "TIME")]
    begin: Option<String>,
    /// Up to before this store time.
    #[arg(short = 'e', long = "endTimestamp", value_name = "TIME")]
    end: Option<String>,
}

/// Prints the messages of a topic, queue by queue.
#[derive(Args)]
pub(crate) struct PrintMsg {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    #[command(flatten)]
    selection: Selection,
    /// Whether bodies are printed.
    #[arg(short = 'd', long = "printBody", action = ArgAction::Set, default_value_t = true)]
    print_body: bool,
}

/// Prints the messages of a queue, or counts them by tag.
#[derive(Args)]
pub(crate) struct PrintMsgByQueue {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The broker's name.
    #[arg(short = 'a', long = "brokerName", value_name = "NAME")]
    broker_name: String,
    /// The queue.
    #[arg(short = 'i', long = "queueId", value_name = "ID")]
    queue_id: i32,
    #[command(flatten)]
    selection: Selection,
    /// Whether messages are printed.
    #[arg(short = 'p', long = "printMsg", action = ArgAction::Set, default_value_t = false)]
    print_msg: bool,
    /// Whether bodies are printed.
    #[arg(short = 'd', long = "printBody", action = ArgAction::Set, default_value_t = false)]
    print_body: bool,
    /// Whether messages are counted by tag.
    #[arg(short = 'f', long = "calculate", action = ArgAction::Set, default_value_t = false)]
    calculate: bool,
}

impl Selection {
    fn pull_client(&self, terminal: &Terminal<'_>) -> PullClient {
        terminal.admin.pull_client().with_subscription(&self.sub_expression)
    }

    async fn range(
        &self,
        terminal: &Terminal<'_>,
        queue: &MessageQueue,
    ) -> Result<(i64, i64), AdminError> {
        let at_ms =
            |time: &Option<String>| time.as_ref().map(|time| terminal.time.parse(time)).transpose();
        let (begin_ms, end_ms) = (at_ms(&self.begin)?, at_ms(&self.end)?);
        Ok(offset_range(&terminal.admin.pull_client(), queue, begin_ms, end_ms).await?)
    }
}

/// First offset of what a queue has of a time, from `begin_ms` to before `end_ms`, and the one behind the last.
pub(crate) async fn offset_range(
    pull_client: &PullClient,
    queue: &MessageQueue,
    begin_ms: Option<i64>,
    end_ms: Option<i64>,
) -> Result<(i64, i64), ClientError> {
    let begin = match begin_ms {
        Some(at_ms) => pull_client.search_offset(queue, at_ms).await?,
        None => pull_client.min_offset(queue).await?,
    };
    let end = match end_ms {
        Some(at_ms) => pull_client.search_offset(queue, at_ms).await?,
        None => pull_client.max_offset(queue).await?,
    };
    Ok((begin.max(0), end))
}

impl SubCommand for PrintMsg {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let charset = Charset::named(&self.selection.charset)?;
        let body = self.print_body.then_some(charset);
        let pull_client = self.selection.pull_client(terminal);
        for queue in pull_client.fetch_subscribe_message_queues(&self.topic).await? {
            let (begin, end) = self.selection.range(terminal, &queue).await?;
            terminal
                .print(&format!("minOffset={begin}, maxOffset={end}, {}\n", queue_text(&queue)))?;
            let mut offset = begin;
            while offset < end {
                let pulled = pull_client.pull(&queue, offset, PULLED_MAX).await?;
                let (status, next) = (pulled.pull_status, pulled.next_begin_offset);
                terminal.print(&lines(&pulled_messages(pulled), offset..end, body))?;
                if status != PullStatus::Found {
                    terminal.print(&ended_text(&queue, status, next))?;
                }
                if next <= offset || !matches!(status, PullStatus::Found | PullStatus::NoMatchedMsg)
                {
                    break;
                }
                offset = next;
            }
            terminal.print(RULE)?;
        }
        Ok(())
    }
}

/// A pull may give more than was asked for.
fn lines(messages: &[MessageExt], range: std::ops::Range<i64>, body: Option<Charset>) -> String {
    let within = messages.iter().filter(|message| range.contains(&message.queue_offset));
    within.map(|message| message_line(message, body)).collect()
}

/// Why a pull gave nothing.
pub(super) fn ended_text(queue: &MessageQueue, status: PullStatus, offset: i64) -> String {
    let (what, status) = match status {
        PullStatus::Found => ("print msg finished", "FOUND"),
        PullStatus::NoMatchedMsg => ("no matched msg", "NO_MATCHED_MSG"),
        PullStatus::NoNewMsg => ("print msg finished", "NO_NEW_MSG"),
        PullStatus::OffsetIllegal => ("print msg finished", "OFFSET_ILLEGAL"),
    };
    format!("{} {what}. status={status}, offset={offset}\n", queue_text(queue))
}

impl SubCommand for PrintMsgByQueue {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let charset = Charset::named(&self.selection.charset)?;
        let body = self.print_body.then_some(charset);
        let queue = MessageQueue {
            topic: self.topic.clone(),
            broker_name: self.broker_name.clone(),
            queue_id: self.queue_id,
        };
        let pull_client = self.selection.pull_client(terminal);
        let (mut offset, end) = self.selection.range(terminal, &queue).await?;
        let mut tags = BTreeMap::<String, u64>::new();
        while offset < end {
            let pulled = pull_client.pull(&queue, offset, PULLED_MAX).await?;
            let (status, next) = (pulled.pull_status, pulled.next_begin_offset);
            let messages = pulled_messages(pulled);
            if self.print_msg {
                terminal.print(&lines(&messages, offset..end, body))?;
            }
            let tagged = messages.iter().filter_map(|message| message.message.tags());
            tagged.for_each(|tag| *tags.entry(tag.to_owned()).or_default() += 1);
            if next <= offset || !matches!(status, PullStatus::Found | PullStatus::NoMatchedMsg) {
                break;
            }
            offset = next;
        }
        if self.calculate { terminal.print(&tags_text(tags)) } else { Ok(()) }
    }
}

/// The most frequent first.
fn tags_text(tags: BTreeMap<String, u64>) -> String {
    let mut tags: Vec<_> = tags.into_iter().collect();
    tags.sort_by(|(_, one), (_, other)| other.cmp(one));
    tags.iter().map(|(tag, count)| format!("Tag: {tag:<30} Count: {count}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_named_as_they_were_recorded() {
        let queue =
            MessageQueue { topic: "TK".into(), broker_name: "broker-a".into(), queue_id: 1 };
        let recorded = include_str!("../../fixtures/39-printMsg.txt");
        let text = format!("minOffset=0, maxOffset=37, {}\n{RULE}", queue_text(&queue));
        assert_eq!(text, recorded);
        let text = ended_text(&queue, PullStatus::NoNewMsg, 5);
        assert!(text.ends_with("] print msg finished. status=NO_NEW_MSG, offset=5\n"), "{text}");
    }

    #[test]
    fn tags_are_counted() {
        let tags = [("a", 1), ("b", 3)].map(|(tag, count)| (tag.to_owned(), count)).into();
        let text = tags_text(tags);
        let counts: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(counts, ["Tag: b Count: 3", "Tag: a Count: 1"]);
    }
}
