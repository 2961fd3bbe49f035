//! `startMonitoring`: looks at all groups again and again, and says what is wrong.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use mq_protocol::message::RETRY_GROUP_TOPIC_PREFIX;

use super::consumer::{diff, in_order};
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;

/// Watches how many messages wait for each group, and says so where there are many.
#[derive(Args)]
pub(crate) struct StartMonitoring {
    /// Seconds between rounds.
    #[arg(short = 'i', long = "interval", value_name = "SECONDS", default_value_t = 60)]
    interval: u64,
    /// So many waiting messages of a topic are told.
    #[arg(short = 'l', long = "level", value_name = "COUNT", default_value_t = 100_000)]
    level: i64,
}

/// What waits for a group in a topic (RocketMQ 4.9 `UndoneMsgs`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct UndoneMsgs {
    group: String,
    topic: String,
    total: i64,
    /// In the queue that has most.
    single_queue: i64,
}

impl SubCommand for StartMonitoring {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        loop {
            // A cluster that cannot be asked is what a monitor is there to tell; it goes on.
            let text = match round(&terminal.admin).await {
                Ok(undone) => undone_text(&undone, self.level),
                Err(error) => format!("{error}\n"),
            };
            terminal.print(&text)?;
            tokio::time::sleep(Duration::from_secs(self.interval)).await;
        }
    }
}

async fn round(admin: &MqAdminExt) -> Result<Vec<UndoneMsgs>, AdminError> {
    let mut all = Vec::new();
    for topic in admin.fetch_all_topic_list().await? {
        let Some(group) = topic.strip_prefix(RETRY_GROUP_TOPIC_PREFIX) else { continue };
        // A group without offsets has nothing to be behind with.
        let Ok(stats) = admin.examine_consume_stats(group, None).await else { continue };
        let queues = in_order(&stats);
        for queues in queues.chunk_by(|(one, _), (other, _)| one.topic == other.topic) {
            let diffs = queues.iter().map(|(_, offset)| diff(offset).max(0));
            all.push(UndoneMsgs {
                group: group.to_owned(),
                topic: queues[0].0.topic.clone(),
                total: diffs.clone().sum(),
                single_queue: diffs.max().unwrap_or(0),
            });
        }
    }
    Ok(all)
}

fn undone_text(undone: &[UndoneMsgs], level: i64) -> String {
    let mut out = String::new();
    for UndoneMsgs { group, topic, total, single_queue } in undone {
        if *total >= level {
            let _ = writeln!(
                out,
                "[NOTIFY] consumerGroup={group}, topic={topic}, undoneMsgsTotal={total}, \
                 undoneMsgsSingleMQ={single_queue}"
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_the_level_is_told() {
        let undone = |total| UndoneMsgs {
            group: "G".into(),
            topic: "T".into(),
            total,
            single_queue: total / 2,
        };
        let text = undone_text(&[undone(9), undone(10)], 10);
        assert_eq!(
            text,
            "[NOTIFY] consumerGroup=G, topic=T, undoneMsgsTotal=10, undoneMsgsSingleMQ=5\n"
        );
    }
}
