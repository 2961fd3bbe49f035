//! `topicList`, `topicRoute`, `topicStatus`, `topicClusterList`, `allocateMQ`: where topics are.

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::Args;
use mq_client::AllocateMessageQueueStrategy;
use mq_protocol::body::OrderedMap;
use mq_protocol::body::consume_stats::TopicOffset;
use mq_protocol::body::topic_route::TopicRouteData;
use mq_protocol::fastjson::{Json, JsonStyle, JsonWriter};
use mq_protocol::message::{DLQ_GROUP_TOPIC_PREFIX, MessageQueue, RETRY_GROUP_TOPIC_PREFIX};

use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::text::{LocalTime, WITH_MS, front};

/// Lists all topics.
#[derive(Args)]
pub(crate) struct TopicList {
    /// With their clusters and consumer groups, but for retry topics and dead letters.
    #[arg(short = 'c', long = "clusterModel")]
    cluster_model: bool,
}

impl SubCommand for TopicList {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let topics = terminal.admin.fetch_all_topic_list().await?;
        if !self.cluster_model {
            return terminal.print(&topics.iter().map(|it| format!("{it}\n")).collect::<String>());
        }
        terminal.print(&cluster_model_header())?;
        let info = terminal.admin.examine_broker_cluster_info().await?;
        for topic in topics {
            let is_groups = topic.starts_with(RETRY_GROUP_TOPIC_PREFIX)
                || topic.starts_with(DLQ_GROUP_TOPIC_PREFIX);
            if is_groups {
                continue;
            }
            // A topic that goes while the list is made has no route; the list goes on.
            let route = terminal.admin.examine_topic_route_info(&topic).await.unwrap_or_default();
            let broker = route.broker_datas.first().map(|it| it.broker_name.clone());
            let mut clusters = info.cluster_addr_table.iter();
            let cluster = clusters.find(|(_, names)| broker.iter().any(|it| names.contains(it)));
            let cluster = cluster.map_or("", |(name, _)| name.as_str());
            let groups =
                terminal.admin.query_topic_consume_by_who(&topic).await.unwrap_or_default();
            terminal.print(&cluster_model_rows(cluster, &topic, &groups))?;
        }
        Ok(())
    }
}

fn cluster_model_header() -> String {
    format!("{:<20}  {:<48}  {:<48}\n", "#Cluster Name", "#Topic", "#Consumer Group")
}

/// A row for each group, or one without.
fn cluster_model_rows(cluster: &str, topic: &str, groups: &[String]) -> String {
    let row = |group: &str| {
        format!("{:<20}  {:<64}  {:<64}\n", front(cluster, 20), front(topic, 64), front(group, 64))
    };
    match groups {
        [] => row(""),
        groups => groups.iter().map(|group| row(group)).collect(),
    }
}

/// Shows the route of a topic.
#[derive(Args)]
pub(crate) struct TopicRoute {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// As a table.
    #[arg(short = 'l', long = "list")]
    list: bool,
}

impl SubCommand for TopicRoute {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let route = terminal.admin.examine_topic_route_info(&self.topic).await?;
        terminal.print(&match self.list {
            true => route_table(&route),
            false => format!("{}\n", pretty_json(&route)),
        })
    }
}

/// JSON as people read it.
pub(crate) fn pretty_json(value: &impl Json) -> String {
    let mut writer = JsonWriter::new(JsonStyle::Pretty);
    value.write(&mut writer);
    String::from_utf8_lossy(&writer.finish()).into_owned()
}

fn route_table(route: &TopicRouteData) -> String {
    let row = |cells: [&str; 6]| {
        let [cluster, broker, addrs, read, write, perm] = cells;
        format!("{cluster:<45} {broker:<32} {addrs:<50} {read:<10} {write:<11} {perm:<5}\n")
    };
    let mut out =
        row(["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"]);
    let (mut reads, mut writes) = (0, 0);
    let mut queues: Vec<_> = route.queue_datas.iter().collect();
    queues.sort_by(|one, other| one.broker_name.cmp(&other.broker_name));
    for queue in &queues {
        let mut brokers = route.broker_datas.iter();
        let broker = brokers.find(|broker| broker.broker_name == queue.broker_name);
        let addrs = broker.map(|broker| {
            let addrs = broker.broker_addrs.iter().map(|(id, addr)| format!("{id}={addr}"));
            format!("{{{}}}", addrs.collect::<Vec<_>>().join(", "))
        });
        out += &row([
            broker.map_or("", |broker| &broker.cluster),
            &queue.broker_name,
            &addrs.unwrap_or_default(),
            &queue.read_queue_nums.to_string(),
            &queue.write_queue_nums.to_string(),
            &queue.perm.to_string(),
        ]);
        reads += queue.read_queue_nums;
        writes += queue.write_queue_nums;
    }
    let _ = writeln!(out, "{}", "-".repeat(158));
    let count = queues.len().to_string();
    out + &row(["Total:", &count, "", &reads.to_string(), &writes.to_string(), ""])
}

/// Shows the ends of a topic's queues.
#[derive(Args)]
pub(crate) struct TopicStatus {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
}

impl SubCommand for TopicStatus {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let queues = terminal.admin.examine_topic_stats(&self.topic).await?;
        let text = status_text(&queues, &terminal.time);
        terminal.print(&text)
    }
}

fn status_text(queues: &OrderedMap<MessageQueue, TopicOffset>, time: &LocalTime) -> String {
    let mut out = format!(
        "{:<32}  {:<4}  {:<20}  {:<20}    {}\n",
        "#Broker Name", "#QID", "#Min Offset", "#Max Offset", "#Last Updated"
    );
    for (queue, ends) in queues {
        let last_updated = match ends.last_update_timestamp {
            at_ms if at_ms > 0 => time.text(at_ms, WITH_MS),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "{:<32}  {:<4}  {:<20}  {:<20}    {last_updated}",
            front(&queue.broker_name, 32),
            queue.queue_id,
            ends.min_offset,
            ends.max_offset,
        );
    }
    out
}

/// Lists the clusters that have a topic.
#[derive(Args)]
pub(crate) struct TopicClusterList {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
}

impl SubCommand for TopicClusterList {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let route = terminal.admin.examine_topic_route_info(&self.topic).await?;
        let clusters: BTreeSet<&str> =
            route.broker_datas.iter().map(|broker| broker.cluster.as_str()).collect();
        let lines: String = clusters.iter().map(|cluster| format!("{cluster}\n")).collect();
        terminal.print(&lines)
    }
}

/// Shows which queues of a topic consumers at these addresses would get.
#[derive(Args)]
pub(crate) struct AllocateMq {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The consumers, split by commas.
    #[arg(short = 'i', long = "ipList", value_name = "ADDRESSES", value_delimiter = ',')]
    ip_list: Vec<String>,
}

impl SubCommand for AllocateMq {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let queues =
            terminal.admin.pull_client().fetch_subscribe_message_queues(&self.topic).await?;
        terminal.print(&format!("{}\n", allocation_text(&queues, &self.ip_list)?))
    }
}

/// As consumers at `ids` would share the queues by the strategy that they have unless told otherwise.
fn allocation_text(queues: &[MessageQueue], ids: &[String]) -> Result<String, AdminError> {
    let (mut queues, mut members) = (queues.to_vec(), ids.to_vec());
    queues.sort();
    members.sort();
    let mut result = OrderedMap::default();
    for id in ids {
        let strategy = AllocateMessageQueueStrategy::Averagely;
        let share = strategy.allocate(id, &queues, &members);
        let share = share.map_err(|error| AdminError::Failed(error.to_string()))?;
        result.insert(id.clone(), share);
    }
    let mut writer = JsonWriter::new(JsonStyle::Compact);
    writer.object(|members| members.property("result", &result));
    Ok(String::from_utf8_lossy(&writer.finish()).into_owned())
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::topic_route::{BrokerData, QueueData};

    use super::*;
    use crate::text::tests::utc;

    fn route() -> TopicRouteData {
        TopicRouteData {
            broker_datas: vec![BrokerData {
                broker_addrs: [(0, "127.0.0.1:10911".to_owned())].into(),
                broker_name: "broker-a".into(),
                cluster: "C1".into(),
            }],
            queue_datas: vec![QueueData {
                broker_name: "broker-a".into(),
                perm: 6,
                read_queue_nums: 4,
                topic_sys_flag: 0,
                write_queue_nums: 4,
            }],
            ..TopicRouteData::default()
        }
    }

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { topic: "TK".into(), broker_name: "broker-a".into(), queue_id }
    }

    #[test]
    fn routes_are_those_that_were_recorded() {
        let json = format!("{}\n", pretty_json(&route()));
        assert_eq!(json, include_str!("../../fixtures/06-topicRoute.txt"));
        assert_eq!(route_table(&route()), include_str!("../../fixtures/07-topicRoute-l.txt"));
    }

    #[test]
    fn a_status_is_the_one_that_was_recorded() {
        let last_updated =
            [1_795_952_466_696, 1_795_952_471_709, 1_795_952_476_715, 1_795_952_481_799];
        let ends =
            |at_ms| TopicOffset { last_update_timestamp: at_ms, max_offset: 28, min_offset: 0 };
        let queues = (0..).zip(last_updated).map(|(id, at_ms)| (queue(id), ends(at_ms)));
        let text = status_text(&queues.collect(), &utc());
        assert_eq!(text, include_str!("../../fixtures/08-topicStatus.txt"));
        let empty = [(queue(0), ends(0))].into_iter().collect();
        assert!(status_text(&empty, &utc()).ends_with("28                      \n"));
    }

    #[test]
    fn a_list_by_cluster_has_a_row_for_each_group() {
        let rows = cluster_model_header()
            + &cluster_model_rows("C1", "TTagr1", &["CGtfr1".into()])
            + &cluster_model_rows("C1", "BenchmarkTest", &[]);
        assert_eq!(rows, include_str!("../../fixtures/05-topicList-c.txt"));
        let groups = ["a".to_owned(), "b".to_owned()];
        assert_eq!(cluster_model_rows("", "T", &groups).lines().count(), 2);
    }

    #[test]
    fn queues_are_shared_as_consumers_would() {
        let queues = [3, 1, 0, 2].map(queue);
        let text = allocation_text(&queues, &["ip2".into(), "ip1".into()]).unwrap();
        let recorded: Vec<_> =
            include_str!("../../fixtures/63-allocateMQ.txt").trim().split("],").collect();
        let shares: Vec<_> = text.split("],").collect();
        for (share, recorded) in shares.iter().zip(recorded) {
            let mut parts: [Vec<_>; 2] =
                [share, recorded].map(|it| it.split(['{', '}', '[', ']']).collect());
            parts.iter_mut().for_each(|parts| parts.sort_unstable());
            assert_eq!(parts[0], parts[1]);
        }
    }
}
