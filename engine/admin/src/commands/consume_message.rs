//! `consumeMessage`: the oldest messages of a topic or a queue, without moving anybody's offset.

use clap::Args;
use mq_client::{PullClient, PullStatus};
use mq_protocol::message::MessageQueue;

use super::message_text::{Charset, message_line, pulled_messages, queue_text};
use super::print_msg::ended_text;
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;

/// Prints the oldest messages of a topic, or of a queue. No offset is moved.
#[derive(Args)]
pub(crate) struct ConsumeMessage {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The broker's name.
    #[arg(short = 'b', long = "brokerName", value_name = "NAME", requires = "queue_id")]
    broker_name: Option<String>,
    /// The queue.
    #[arg(short = 'i', long = "queueId", value_name = "ID", requires = "broker_name")]
    queue_id: Option<i32>,
    /// The offset within the queue to begin at.
    #[arg(short = 'o', long = "offset", requires = "queue_id")]
    offset: Option<i64>,
    /// The group in whose name queues are read.
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    group: Option<String>,
    /// From this store time on: milliseconds since 1970, or yyyy-MM-dd#HH:mm:ss:SSS.
    #[arg(short = 's', long = "beginTimestamp", value_name = "TIME")]
    begin: Option<String>,
    /// Up to this store time.
    #[arg(short = 'e', long = "endTimestamp", value_name = "TIME")]
    end: Option<String>,
    /// At most so many messages.
    #[arg(short = 'c', long = "MessageNumber", value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(i64).range(1..))]
    count: i64,
}

impl SubCommand for ConsumeMessage {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let pull_client = match &self.group {
            Some(group) => terminal.admin.pull_client_of(group),
            None => terminal.admin.pull_client(),
        };
        let (begin_ms, end_ms) = self.times(terminal)?;
        let Some((broker_name, queue_id)) = self.broker_name.as_ref().zip(self.queue_id) else {
            return self.of_topic(terminal, &pull_client, (begin_ms, end_ms)).await;
        };
        let queue =
            MessageQueue { topic: self.topic.clone(), broker_name: broker_name.clone(), queue_id };
        let (min, mut max) = range(&pull_client, &queue, (begin_ms, end_ms)).await?;
        let offset = self.offset.unwrap_or(0);
        if offset > max {
            let text = format!("{} no matched msg, offset={offset}\n", queue_text(&queue));
            return terminal.print(&text);
        }
        let min = min.max(offset);
        if max - min > self.count {
            // The word is RocketMQ's.
            terminal.print(&format!("The oldler {} message will be provided\n", self.count))?;
            max = min + self.count - 1;
        }
        print_queue(terminal, &pull_client, &queue, min, max).await
    }
}

impl ConsumeMessage {
    fn times(&self, terminal: &Terminal<'_>) -> Result<(Option<i64>, Option<i64>), AdminError> {
        let now_ms = terminal.time.now_ms();
        let at = |time: &Option<String>| {
            let at_ms = time.as_ref().map(|time| terminal.time.parse(time)).transpose()?;
            match (at_ms, time) {
                (Some(at_ms), Some(time)) if at_ms > now_ms => {
                    Err(AdminError::Input(format!("{time} is later than now")))
                }
                _ => Ok(at_ms),
            }
        };
        match (at(&self.begin)?, at(&self.end)?) {
            (Some(begin_ms), Some(end_ms)) if begin_ms > end_ms => {
                Err(AdminError::Input("the end (-e) is before the begin (-s)".to_owned()))
            }
            times => Ok(times),
        }
    }

    async fn of_topic(
        &self,
        terminal: &mut Terminal<'_>,
        pull_client: &PullClient,
        times: (Option<i64>, Option<i64>),
    ) -> Result<(), AdminError> {
        let mut left = self.count;
        for queue in pull_client.fetch_subscribe_message_queues(&self.topic).await? {
            if left <= 0 {
                break;
            }
            let (min, mut max) = range(pull_client, &queue, times).await?;
            if max - min > left {
                let id = queue.queue_id;
                let text = format!("The older {left} message of the {id} queue will be provided\n");
                terminal.print(&text)?;
                max = min + left - 1;
                left = 0;
            } else {
                left -= max - min;
            }
            print_queue(terminal, pull_client, &queue, min, max).await?;
        }
        Ok(())
    }
}

/// First offset, and the one behind the last.
async fn range(
    pull_client: &PullClient,
    queue: &MessageQueue,
    (begin_ms, end_ms): (Option<i64>, Option<i64>),
) -> Result<(i64, i64), AdminError> {
    let min = match begin_ms {
        Some(at_ms) => pull_client.search_offset(queue, at_ms).await?,
        None => pull_client.min_offset(queue).await?,
    };
    let max = match end_ms {
        Some(at_ms) => pull_client.search_offset(queue, at_ms).await?,
        None => pull_client.max_offset(queue).await?,
    };
    Ok((min.max(0), max))
}

/// From `min` to `max`, both included.
async fn print_queue(
    terminal: &mut Terminal<'_>,
    pull_client: &PullClient,
    queue: &MessageQueue,
    min: i64,
    max: i64,
) -> Result<(), AdminError> {
    let mut offset = min;
    while offset <= max {
        let count = i32::try_from(max - offset + 1).unwrap_or(i32::MAX);
        let pulled = pull_client.pull(queue, offset, count).await?;
        let (status, next) = (pulled.pull_status, pulled.next_begin_offset);
        match status {
            PullStatus::Found => {
                let messages = pulled_messages(pulled);
                let within = messages.iter().filter(|it| it.queue_offset <= max);
                let lines = within.map(|it| message_line(it, Some(Charset::Utf8)));
                terminal.print(&format!("Consume ok\n{}", lines.collect::<String>()))?;
            }
            _ => terminal.print(&ended_text(queue, status, next))?,
        }
        let goes_on = matches!(status, PullStatus::Found | PullStatus::NoMatchedMsg);
        if !goes_on || next <= offset {
            break;
        }
        offset = next;
    }
    Ok(())
}
