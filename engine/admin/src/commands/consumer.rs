//! `consumerProgress`: how far consumer groups are.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{ArgAction, Args};
use mq_protocol::body::connection::ConsumerConnection;
use mq_protocol::body::consume_stats::{ConsumeStats, OffsetWrapper};
use mq_protocol::body::heartbeat::ConsumeType;
use mq_protocol::codes::MqVersion;
use mq_protocol::message::{MessageQueue, RETRY_GROUP_TOPIC_PREFIX};

use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::text::{LocalTime, WITH_SECONDS, front};

/// Shows how far a consumer group is in each queue, or all groups in a line each.
#[derive(Args)]
pub(crate) struct ConsumerProgress {
    /// The consumer group; without one, every group that has a retry topic.
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group: Option<String>,
    /// Only this topic of the group's.
    #[arg(short = 't', long = "topicName", value_name = "TOPIC", requires = "group")]
    topic: Option<String>,
    /// Whether the address of the member that has each queue is shown.
    #[arg(short = 's', long = "showClientIP", action = ArgAction::Set, default_value_t = false, requires = "group")]
    show_client_ip: bool,
}

impl SubCommand for ConsumerProgress {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        match &self.group {
            Some(group) => self.one(terminal, group).await,
            None => all(terminal).await,
        }
    }
}

/// The addresses of the members that have queues.
type Owners = BTreeMap<MessageQueue, String>;

impl ConsumerProgress {
    async fn one(&self, terminal: &mut Terminal<'_>, group: &str) -> Result<(), AdminError> {
        let admin = &terminal.admin;
        let stats = admin.examine_consume_stats(group, self.topic.as_deref()).await?;
        let owners = match self.show_client_ip {
            true => Some(owners(admin, group).await?),
            false => None,
        };
        let text = progress_text(&stats, owners.as_ref(), &terminal.time);
        terminal.print(&text)
    }
}

/// Whose queues they are, as the members say themselves; one that does not answer has none.
async fn owners(admin: &MqAdminExt, group: &str) -> Result<Owners, AdminError> {
    let mut owners = Owners::new();
    let members = admin.examine_consumer_connection_info(group, None).await?;
    for member in members.connection_set {
        let info = admin.get_consumer_running_info(group, &member.client_id, false).await;
        let ip = member.client_id.split('@').next().unwrap_or_default();
        let queues = info.map(|info| info.mq_table).unwrap_or_default();
        owners.extend(queues.into_keys().map(|queue| (queue, ip.to_owned())));
    }
    Ok(owners)
}

/// Messages that are to be consumed in all.
pub(crate) fn total_diff(stats: &ConsumeStats) -> i64 {
    stats.offset_table.values().map(diff).fold(0, i64::saturating_add)
}

/// Messages between a group's offset and a queue's end; a broker may say any two numbers.
pub(crate) fn diff(offset: &OffsetWrapper) -> i64 {
    offset.broker_offset.saturating_sub(offset.consumer_offset)
}

/// The queues of a table in their order.
pub(crate) fn in_order(stats: &ConsumeStats) -> Vec<(&MessageQueue, &OffsetWrapper)> {
    let mut queues: Vec<_> = stats.offset_table.iter().collect();
    queues.sort_by_key(|(queue, _)| *queue);
    queues
}

fn progress_text(stats: &ConsumeStats, owners: Option<&Owners>, time: &LocalTime) -> String {
    let client_ip = |text: &str| match owners {
        Some(_) => format!("{text:<20} "),
        None => String::new(),
    };
    let mut out = format!(
        "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{:<20}  {}\n",
        "#Topic",
        "#Broker Name",
        "#QID",
        "#Broker Offset",
        "#Consumer Offset",
        client_ip("#Client IP"),
        "#Diff",
        "#LastTime"
    );
    for (queue, offset) in in_order(stats) {
        let last_time = match offset.last_timestamp {
            0 => "N/A".to_owned(),
            at_ms => time.text(at_ms, WITH_SECONDS),
        };
        let owner = owners.and_then(|owners| owners.get(queue)).map_or("N/A", String::as_str);
        let _ = writeln!(
            out,
            "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{:<20}  {last_time}",
            front(&queue.topic, 64),
            front(&queue.broker_name, 32),
            queue.queue_id,
            offset.broker_offset,
            offset.consumer_offset,
            client_ip(owner),
            diff(offset),
        );
    }
    let (tps, total) = (stats.consume_tps, total_diff(stats));
    let _ = write!(out, "\nConsume TPS: {tps:.2}\nDiff Total: {total}\n");
    out
}

async fn all(terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
    terminal.print(&summary_header())?;
    for topic in terminal.admin.fetch_all_topic_list().await? {
        let Some(group) = topic.strip_prefix(RETRY_GROUP_TOPIC_PREFIX) else { continue };
        // A group without offsets has consumed nothing, and one without members is offline.
        let stats = terminal.admin.examine_consume_stats(group, None).await.unwrap_or_default();
        let members = terminal.admin.examine_consumer_connection_info(group, None).await;
        terminal.print(&summary_row(group, &stats, &members.unwrap_or_default()))?;
    }
    Ok(())
}

fn summary_header() -> String {
    format!(
        "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  {}\n",
        "#Group", "#Count", "#Version", "#Type", "#Model", "#TPS", "#Diff Total"
    )
}

/// What the members of a group are: the oldest version among them, PUSH or PULL, CLUSTERING or BROADCASTING; the
/// last two are empty where nobody is.
pub(crate) fn kind_of(members: &ConsumerConnection) -> (String, &'static str, &'static str) {
    let oldest = members.connection_set.iter().map(|member| member.version).min();
    let Some(oldest) = oldest else { return ("OFFLINE".to_owned(), "", "") };
    let consume_type = match members.consume_type {
        ConsumeType::ConsumeActively => "PULL",
        ConsumeType::ConsumePassively => "PUSH",
    };
    (MqVersion::name(oldest), consume_type, members.message_model.name())
}

fn summary_row(group: &str, stats: &ConsumeStats, members: &ConsumerConnection) -> String {
    let count = members.connection_set.len();
    let (version, consume_type, model) = kind_of(members);
    format!(
        "{:<64}  {count:<6}  {version:<24} {consume_type:<5}  {model:<14}  {:<7}  {}\n",
        front(group, 64),
        stats.consume_tps as i64,
        total_diff(stats)
    )
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::connection::Connection;

    use super::*;
    use crate::text::tests::utc;

    fn recorded() -> ConsumeStats {
        let row = |topic: &str, queue_id, broker_offset, consumer_offset, last_timestamp| {
            let queue =
                MessageQueue { topic: topic.into(), broker_name: "broker-a".into(), queue_id };
            (queue, OffsetWrapper { broker_offset, consumer_offset, last_timestamp })
        };
        let offset_table = [
            row("TK", 3, 31, 31, 1_795_952_542_000),
            row("TK", 1, 32, 31, 1_795_952_531_000),
            row("TK", 0, 32, 32, 1_795_952_547_000),
            row("TK", 2, 31, 31, 1_795_952_536_000),
            row("%RETRY%CGK", 0, 0, 0, 0),
        ];
        ConsumeStats { consume_tps: 0.1832, offset_table: offset_table.into() }
    }

    #[test]
    fn a_group_is_printed_as_it_was_recorded() {
        let text = progress_text(&recorded(), None, &utc());
        assert_eq!(text, include_str!("../../fixtures/20-consumerProgress-g.txt"));
    }

    #[test]
    fn owners_have_a_column_where_they_are_asked_for() {
        let queue = recorded().offset_table.keys().next().unwrap().clone();
        let owners = [(queue, "10.0.0.1".to_owned())].into();
        let text = progress_text(&recorded(), Some(&owners), &utc());
        let owner = |line: usize| text.lines().nth(line).unwrap().split_whitespace().rev().nth(3);
        assert_eq!(text.lines().next().unwrap().split("  ").filter(|it| !it.is_empty()).count(), 8);
        assert_eq!((owner(5), owner(4)), (Some("10.0.0.1"), Some("N/A")));
    }

    #[test]
    fn all_groups_are_printed_as_they_were_recorded() {
        let member = Connection { version: MqVersion::V4_9_7, ..Connection::default() };
        let members =
            ConsumerConnection { connection_set: vec![member], ..ConsumerConnection::default() };
        let text = summary_header()
            + &summary_row("nCGcr2", &ConsumeStats::default(), &ConsumerConnection::default())
            + &summary_row("CGK", &recorded(), &members);
        assert_eq!(text, include_str!("../../fixtures/19-consumerProgress.txt"));
    }
}
