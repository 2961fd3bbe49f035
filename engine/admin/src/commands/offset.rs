//! `resetOffsetByTime`, `resetOffsetByTimeOld`, `skipAccumulatedMessage`, `cloneGroupOffset`, `getConsumerStatus`:
//! where groups go on.

use std::fmt::Write;

use clap::{ArgAction, Args};
use mq_protocol::body::OrderedMap;
use mq_protocol::body::consume_stats::OffsetWrapper;
use mq_protocol::body::offset_table::GetConsumerStatusBody;
use mq_protocol::header::admin::CloneGroupOffsetRequestHeader;
use mq_protocol::message::MessageQueue;

use super::consumer::in_order;
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::{MqAdminExt, is_not_online};
use crate::text::{LocalTime, front};

/// The end of a queue, as a store time.
const END: i64 = -1;

/// Has a group go on at the first messages that were stored at a time or later.
#[derive(Args)]
pub(crate) struct ResetOffsetByTime {
    #[command(flatten)]
    whose: GroupAndTopic,
    #[command(flatten)]
    place: Place,
    /// Accepted as in RocketMQ: brokers know by themselves which members are in C++.
    #[arg(short = 'c', long = "cplus")]
    cplus: bool,
}

/// Sets the offsets of a group whose members are not running.
#[derive(Args)]
pub(crate) struct ResetOffsetByTimeOld {
    #[command(flatten)]
    whose: GroupAndTopic,
    #[command(flatten)]
    place: Place,
}

/// Has a group go on behind the last message of each queue.
#[derive(Args)]
pub(crate) struct SkipAccumulatedMessage {
    #[command(flatten)]
    whose: GroupAndTopic,
    /// Whether offsets may move forwards, without which nothing is skipped.
    #[arg(short = 'f', long = "force", action = ArgAction::Set, default_value_t = true)]
    force: bool,
}

/// Where a group is sent.
#[derive(Args)]
struct Place {
    /// `now` (behind the last message), milliseconds since 1970, or yyyy-MM-dd#HH:mm:ss:SSS.
    #[arg(short = 's', long = "timestamp", value_name = "TIME", allow_hyphen_values = true)]
    timestamp: String,
    /// Whether offsets may move forwards, too.
    #[arg(short = 'f', long = "force", action = ArgAction::Set, default_value_t = true)]
    force: bool,
}

#[derive(Args)]
struct GroupAndTopic {
    /// The consumer group.
    #[arg(short = 'g', long = "group")]
    group: String,
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
}

/// What became of a group's offset in a queue (RocketMQ 4.9 `RollbackStats`).
struct RollbackStats {
    broker_name: String,
    queue_id: i32,
    broker_offset: i64,
    consumer_offset: i64,
    timestamp_offset: i64,
    rollback_offset: i64,
}

impl SubCommand for ResetOffsetByTime {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let GroupAndTopic { group, topic } = &self.whose;
        let Place { timestamp, force } = &self.place;
        let at_ms = given_time(timestamp, &terminal.time)?;
        let admin = terminal.admin.clone();
        let title = |who| title(who, &self.whose, *force, timestamp, at_ms);
        let text = match admin.reset_offset_by_timestamp(group, topic, at_ms, *force).await {
            Ok(offsets) => title("group") + &offsets_text(&offsets),
            Err(error) if is_not_online(&error) => {
                let stats = reset_old(&admin, &self.whose, at_ms, *force).await?;
                title("consumerGroup") + &rollback_text(&stats)
            }
            Err(error) => return Err(error),
        };
        terminal.print(&text)
    }
}

impl SubCommand for ResetOffsetByTimeOld {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let Place { timestamp, force } = &self.place;
        let at_ms = given_time(timestamp, &terminal.time)?;
        let stats = reset_old(&terminal.admin, &self.whose, at_ms, *force).await?;
        let title = title("consumerGroup", &self.whose, *force, timestamp, at_ms);
        terminal.print(&(title + &rollback_text(&stats)))
    }
}

impl SubCommand for SkipAccumulatedMessage {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let GroupAndTopic { group, topic } = &self.whose;
        let admin = terminal.admin.clone();
        let text = match admin.reset_offset_by_timestamp(group, topic, END, self.force).await {
            Ok(offsets) => offsets_text(&offsets),
            Err(error) if is_not_online(&error) => {
                rollback_text(&reset_old(&admin, &self.whose, END, self.force).await?)
            }
            Err(error) => return Err(error),
        };
        terminal.print(&text)
    }
}

fn given_time(text: &str, time: &LocalTime) -> Result<i64, AdminError> {
    if text == "now" { Ok(END) } else { time.parse(text) }
}

/// Sets the offsets that brokers have of a group, queue by queue: 208, 29 or 30, 15.
async fn reset_old(
    admin: &MqAdminExt,
    whose: &GroupAndTopic,
    at_ms: i64,
    force: bool,
) -> Result<Vec<RollbackStats>, AdminError> {
    let GroupAndTopic { group, topic } = whose;
    let route = admin.examine_topic_route_info(topic).await?;
    let mut done = Vec::new();
    for broker in &route.broker_datas {
        let Some(addr) = broker.master_addr() else {
            let sentence = format!("the broker {} has no master to be told", broker.broker_name);
            return Err(AdminError::Failed(sentence));
        };
        let stats = admin.consume_stats_of(addr, group, Some(topic)).await?;
        for (queue, offset) in in_order(&stats) {
            done.push(reset_queue(admin, addr, group, (queue, offset), at_ms, force).await?);
        }
    }
    Ok(done)
}

async fn reset_queue(
    admin: &MqAdminExt,
    addr: &str,
    group: &str,
    (queue, offset): (&MessageQueue, &OffsetWrapper),
    at_ms: i64,
    force: bool,
) -> Result<RollbackStats, AdminError> {
    let pull_client = admin.pull_client();
    let timestamp_offset = match at_ms {
        END => pull_client.max_offset(queue).await?,
        at_ms => pull_client.search_offset(queue, at_ms).await?,
    };
    let moves = force || timestamp_offset <= offset.consumer_offset;
    if moves {
        admin.update_consume_offset(addr, group, queue, timestamp_offset).await?;
    }
    Ok(RollbackStats {
        broker_name: queue.broker_name.clone(),
        queue_id: queue.queue_id,
        broker_offset: offset.broker_offset,
        consumer_offset: offset.consumer_offset,
        timestamp_offset,
        rollback_offset: if moves { timestamp_offset } else { offset.consumer_offset },
    })
}

/// What is done, in a line; RocketMQ names the group otherwise when it is offline.
fn title(who: &str, whose: &GroupAndTopic, force: bool, timestamp: &str, at_ms: i64) -> String {
    let GroupAndTopic { group, topic } = whose;
    format!(
        "rollback consumer offset by specified {who}[{group}], topic[{topic}], force[{force}], \
         timestamp(string)[{timestamp}], timestamp(long)[{at_ms}]\n"
    )
}

fn offsets_text(offsets: &OrderedMap<MessageQueue, i64>) -> String {
    let mut out = format!("{:<40}  {:<40}  {:<40}\n", "#brokerName", "#queueId", "#offset");
    for (queue, offset) in offsets {
        let name = front(&queue.broker_name, 32);
        let _ = writeln!(out, "{name:<40}  {:<40}  {offset:<40}", queue.queue_id);
    }
    out
}

fn rollback_text(stats: &[RollbackStats]) -> String {
    let row = |cells: [&str; 6]| {
        let cells = cells.map(|cell| format!("{cell:<20}"));
        format!("{}\n", cells.join("  "))
    };
    let mut out = row([
        "#brokerName",
        "#queueId",
        "#brokerOffset",
        "#consumerOffset",
        "#timestampOffset",
        "#rollbackOffset",
    ]);
    for it in stats {
        out += &row([
            front(&it.broker_name, 32),
            &it.queue_id.to_string(),
            &it.broker_offset.to_string(),
            &it.consumer_offset.to_string(),
            &it.timestamp_offset.to_string(),
            &it.rollback_offset.to_string(),
        ]);
    }
    out
}

/// Gives a group the offsets of another one.
#[derive(Args)]
pub(crate) struct CloneGroupOffset {
    /// The group to copy from.
    #[arg(short = 's', long = "srcGroup", value_name = "GROUP")]
    src_group: String,
    /// The group to copy to.
    #[arg(short = 'd', long = "destGroup", value_name = "GROUP")]
    dest_group: String,
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// Whether the group to copy from has to be offline.
    #[arg(short = 'o', long = "offline", action = ArgAction::Set, default_value_t = false)]
    offline: bool,
}

impl SubCommand for CloneGroupOffset {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let CloneGroupOffset { src_group, dest_group, topic, offline } = self;
        let header = CloneGroupOffsetRequestHeader {
            src_group: src_group.clone(),
            dest_group: dest_group.clone(),
            topic: Some(topic.clone()),
            offline: *offline,
        };
        terminal.admin.clone_group_offset(&header).await?;
        terminal.print(&cloned_text(src_group, dest_group, topic))
    }
}

fn cloned_text(src_group: &str, dest_group: &str, topic: &str) -> String {
    format!(
        "clone group offset success. srcGroup[{src_group}], destGroup=[{dest_group}], \
         topic[{topic}]\n"
    )
}

/// Shows how far the members of a group are by their own account.
#[derive(Args)]
pub(crate) struct GetConsumerStatus {
    #[command(flatten)]
    whose: GroupAndTopic,
    /// The member; without one, all of them.
    #[arg(short = 'i', long = "originClientId", value_name = "ID")]
    client_id: Option<String>,
}

impl SubCommand for GetConsumerStatus {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let GroupAndTopic { group, topic } = &self.whose;
        let client_id = self.client_id.as_deref();
        let status = terminal.admin.get_consume_status(group, topic, client_id).await?;
        let title = format!(
            "get consumer status from client. group={group}, topic={topic}, originClientId={}\n",
            client_id.unwrap_or_default()
        );
        terminal.print(&(title + &status_text(&status)))
    }
}

fn status_text(status: &GetConsumerStatusBody) -> String {
    let mut out = format!(
        "{:<50}  {:<15}  {:<15}  {:<20}\n",
        "#clientId", "#brokerName", "#queueId", "#offset"
    );
    for (client_id, queues) in &status.consumer_table {
        for (queue, offset) in queues {
            let _ = writeln!(
                out,
                "{:<50}  {:<15}  {:<15}  {offset:<20}",
                front(client_id, 50),
                queue.broker_name,
                queue.queue_id
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(group: &str) -> GroupAndTopic {
        GroupAndTopic { group: group.into(), topic: "TK".into() }
    }

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { topic: "TK".into(), broker_name: "broker-a".into(), queue_id }
    }

    #[test]
    fn a_reset_is_printed_as_it_was_recorded() {
        let offsets = [1, 0, 3, 2].map(|id| (queue(id), 0)).into();
        let text = title("group", &whose("CGK"), true, "0", 0) + &offsets_text(&offsets);
        assert_eq!(text, include_str!("../../fixtures/34-resetOffsetByTime.txt"));
    }

    #[test]
    fn a_reset_of_who_is_offline_is_printed_as_it_was_recorded() {
        let stats = [(1, 36, 13), (0, 36, 13), (3, 35, 12), (2, 36, 12)];
        let stats = stats.map(|(queue_id, broker_offset, consumer_offset)| RollbackStats {
            broker_name: "broker-a".into(),
            queue_id,
            broker_offset,
            consumer_offset,
            timestamp_offset: 0,
            rollback_offset: 0,
        });
        let text = title("consumerGroup", &whose("CGOFF"), true, "0", 0) + &rollback_text(&stats);
        assert_eq!(text, include_str!("../../fixtures/35-resetOffsetByTime-offline.txt"));
    }

    #[test]
    fn what_was_cloned_is_printed_as_it_was_recorded() {
        let recorded = include_str!("../../fixtures/38-cloneGroupOffset.txt");
        assert_eq!(cloned_text("CGOFF", "CGNEW", "TK"), recorded);
    }

    #[test]
    fn members_have_a_row_for_each_queue() {
        let queues = [(queue(0), 5), (queue(1), 6)].into();
        let status = GetConsumerStatusBody {
            consumer_table: [("127.0.0.1@kc".to_owned(), queues)].into(),
            ..GetConsumerStatusBody::default()
        };
        let text = status_text(&status);
        let words: Vec<_> = text.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(words, ["127.0.0.1@kc", "broker-a", "1", "6"]);
    }
}
