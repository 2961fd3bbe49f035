//! `brokerConsumeStats`, `statsAll`: what is consumed, and what waits.

use std::fmt::Write;
use std::time::Duration;

use clap::{ArgAction, Args};
use mq_protocol::body::consume_stats::{BrokerStatsData, ConsumeStatsList};
use mq_protocol::body::topic_route::TopicRouteData;
use mq_protocol::message::{DLQ_GROUP_TOPIC_PREFIX, RETRY_GROUP_TOPIC_PREFIX};

use super::consumer::{diff, in_order, total_diff};
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::{MqAdminExt, masters};
use crate::text::{LocalTime, WITH_SECONDS, front};

/// Shows how far all groups of a broker are.
#[derive(Args)]
pub(crate) struct BrokerConsumeStats {
    /// The broker.
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDRESS")]
    broker_addr: String,
    /// Time allowed.
    #[arg(short = 't', long = "timeoutMillis", value_name = "MS", default_value_t = 50_000)]
    timeout_ms: u64,
    /// Leaves out queues in which less than so many messages wait.
    #[arg(short = 'l', long = "level", value_name = "COUNT", default_value_t = 0)]
    level: i64,
    /// Only topics that are consumed in order.
    #[arg(short = 'o', long = "order", action = ArgAction::Set, default_value_t = false)]
    order: bool,
}

impl SubCommand for BrokerConsumeStats {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let admin = terminal.admin.with_timeout(Duration::from_millis(self.timeout_ms));
        let list = admin.fetch_consume_stats_in_broker(&self.broker_addr, self.order).await?;
        let text = broker_text(&list, self.level, &terminal.time);
        terminal.print(&text)
    }
}

fn broker_text(list: &ConsumeStatsList, level: i64, time: &LocalTime) -> String {
    let mut out = format!(
        "{:<64}  {:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20}  {}\n",
        "#Topic",
        "#Group",
        "#Broker Name",
        "#QID",
        "#Broker Offset",
        "#Consumer Offset",
        "#Diff",
        "#LastTime"
    );
    let groups = list.consume_stats_list.iter().flatten();
    let stats = groups.flat_map(|(group, topics)| topics.iter().map(move |it| (group, it)));
    for (group, stats) in stats {
        for (queue, offset) in in_order(stats) {
            // What was never consumed has no time, and is left out, as in RocketMQ.
            if diff(offset) < level || offset.last_timestamp <= 0 {
                continue;
            }
            let _ = writeln!(
                out,
                "{:<64}  {group:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20}  {}",
                front(&queue.topic, 64),
                front(&queue.broker_name, 32),
                queue.queue_id,
                offset.broker_offset,
                offset.consumer_offset,
                diff(offset),
                time.text(offset.last_timestamp, WITH_SECONDS),
            );
        }
    }
    let _ = write!(out, "\nDiff Total: {}\n", list.total_diff);
    out
}

/// Shows what went into topics and out to groups, within the last minute and the last day.
#[derive(Args)]
pub(crate) struct StatsAll {
    /// Only topics that something went into or out of today.
    #[arg(short = 'a', long = "activeTopic")]
    active_topic: bool,
    /// Only this topic.
    #[arg(short = 't', long = "topic")]
    topic: Option<String>,
}

/// A rate and a count.
#[derive(Clone, Copy, Default)]
struct Flow {
    /// Messages per second, in the last minute.
    tps: f64,
    /// Messages in the last day.
    day: i64,
}

/// What went to a group, and what waits for it.
struct GroupFlow {
    group: String,
    out: Flow,
    accumulation: i64,
}

impl SubCommand for StatsAll {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let topics = terminal.admin.fetch_all_topic_list().await?;
        terminal.print(&all_header())?;
        let is_wanted = |topic: &&String| match &self.topic {
            Some(wanted) => *topic == wanted,
            None => ![RETRY_GROUP_TOPIC_PREFIX, DLQ_GROUP_TOPIC_PREFIX]
                .iter()
                .any(|prefix| topic.starts_with(prefix)),
        };
        for topic in topics.iter().filter(is_wanted) {
            // A topic that goes while the list is made is left out.
            let Ok((into, groups)) = flows(&terminal.admin, topic).await else { continue };
            terminal.print(&topic_rows(topic, into, &groups, self.active_topic))?;
        }
        Ok(())
    }
}

async fn flows(admin: &MqAdminExt, topic: &str) -> Result<(Flow, Vec<GroupFlow>), AdminError> {
    let route = admin.examine_topic_route_info(topic).await?;
    let into = flow(admin, &route, "TOPIC_PUT_NUMS", topic).await;
    let mut groups = Vec::new();
    for group in admin.query_topic_consume_by_who(topic).await? {
        let out = flow(admin, &route, "GROUP_GET_NUMS", &format!("{topic}@{group}")).await;
        let stats = admin.examine_consume_stats(&group, Some(topic)).await;
        let accumulation = stats.map_or(0, |stats| total_diff(&stats).max(0));
        groups.push(GroupFlow { group, out, accumulation });
    }
    Ok((into, groups))
}

/// Over all masters; one that counts nothing under the key has nothing.
async fn flow(admin: &MqAdminExt, route: &TopicRouteData, name: &str, key: &str) -> Flow {
    let mut sum = Flow::default();
    for addr in masters(&route.broker_datas) {
        if let Ok(stats) = admin.view_broker_stats_data(addr, name, key).await {
            sum.tps += stats.stats_minute.tps;
            sum.day += day_sum(&stats);
        }
    }
    sum
}

/// The sum of the last day, or as much of it as was counted.
pub(crate) fn day_sum(stats: &BrokerStatsData) -> i64 {
    let periods = [stats.stats_day, stats.stats_hour, stats.stats_minute];
    periods.iter().map(|period| period.sum).find(|sum| *sum != 0).unwrap_or(0)
}

fn all_header() -> String {
    format!(
        "{:<64}  {:<64} {:>12} {:>11} {:>11} {:>14} {:>14}\n",
        "#Topic",
        "#Consumer Group",
        "#Accumulation",
        "#InTPS",
        "#OutTPS",
        "#InMsg24Hour",
        "#OutMsg24Hour"
    )
}

fn topic_rows(topic: &str, into: Flow, groups: &[GroupFlow], only_active: bool) -> String {
    let topic = front(topic, 64);
    let Flow { tps, day } = into;
    if groups.is_empty() && (!only_active || day > 0) {
        return format!(
            "{topic:<64}  {:<64} {:>12} {tps:>11.2} {:>11} {day:>14} {:>14}\n",
            "", 0, "", "NO_CONSUMER"
        );
    }
    let shown = groups.iter().filter(|group| !only_active || day > 0 || group.out.day > 0);
    let rows = shown.map(|GroupFlow { group, out, accumulation }| {
        format!(
            "{topic:<64}  {:<64} {accumulation:>12} {tps:>11.2} {:>11.2} {day:>14} {:>14}\n",
            front(group, 64),
            out.tps,
            out.day
        )
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::consume_stats::{BrokerStatsItem, ConsumeStats, OffsetWrapper};
    use mq_protocol::message::MessageQueue;

    use super::*;
    use crate::text::tests::utc;

    #[test]
    fn groups_of_a_broker_are_printed_as_they_were_recorded() {
        let row = |queue_id, broker_offset, consumer_offset, last_timestamp| {
            let queue =
                MessageQueue { topic: "TTagr1".into(), broker_name: "broker-a".into(), queue_id };
            (queue, OffsetWrapper { broker_offset, consumer_offset, last_timestamp })
        };
        let rows = [
            row(1, 7, 7, 1_795_951_046_000),
            row(0, 7, 6, 1_795_951_045_000),
            row(2, 8, 8, 1_795_951_046_000),
            row(4, 8, 0, 0),
            row(3, 8, 7, 1_795_951_046_000),
        ];
        let stats = ConsumeStats { offset_table: rows.into(), ..ConsumeStats::default() };
        let list = ConsumeStatsList {
            broker_addr: "127.0.0.1:10911".into(),
            consume_stats_list: vec![[("CGtfr1".to_owned(), vec![stats])].into()],
            total_diff: 261,
        };
        let recorded = include_str!("../../fixtures/44-brokerConsumeStats.txt");
        assert_eq!(broker_text(&list, 0, &utc()), recorded);
        assert_eq!(broker_text(&list, 1, &utc()).lines().count(), recorded.lines().count() - 2);
    }

    #[test]
    fn topics_are_printed_as_they_were_recorded() {
        let flow = |tps, day| Flow { tps, day };
        let group = |group: &str, accumulation, out| GroupFlow {
            group: group.to_owned(),
            out,
            accumulation,
        };
        let groups = [
            group("CGK", 0, flow(0.18, 301)),
            group("CGOFF", 20, flow(0.0, 50)),
            group("CGNEW", 0, flow(0.0, 0)),
        ];
        let text = all_header() + &topic_rows("TK", flow(0.18, 158), &groups, false);
        assert_eq!(text, include_str!("../../fixtures/57-statsAll.txt"));
        assert!(topic_rows("T", flow(0.0, 0), &[], false).ends_with("   NO_CONSUMER\n"));
        assert_eq!(topic_rows("T", flow(0.0, 0), &[], true), "");
        let text = topic_rows("T", flow(0.0, 0), &groups, true);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_day_is_as_long_as_was_counted() {
        let item = |sum| BrokerStatsItem { sum, ..BrokerStatsItem::default() };
        let stats = |day, hour, minute| BrokerStatsData {
            stats_day: item(day),
            stats_hour: item(hour),
            stats_minute: item(minute),
        };
        let sums = [stats(3, 2, 1), stats(0, 2, 1), stats(0, 0, 1), stats(0, 0, 0)];
        assert_eq!(sums.map(|it| day_sum(&it)), [3, 2, 1, 0]);
    }
}
