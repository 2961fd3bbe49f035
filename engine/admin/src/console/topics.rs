//! Topics: which there are, where their queues are, and how far these go.

use futures::future::join;
use mq_protocol::body::OrderedMap;
use mq_protocol::body::topic_route::{BrokerData, TopicRouteData};
use mq_protocol::message::{DLQ_GROUP_TOPIC_PREFIX, RETRY_GROUP_TOPIC_PREFIX};
use mq_protocol::topic_validator::is_system_topic;
use serde::Serialize;

use super::listed::Listed;
use super::refusal::{Refusal, trouble};
use super::{Query, side_by_side};
use crate::mq_admin_ext::{MqAdminExt, select_broker_addrs};
use crate::text::perm_text;

/// Topics on a page.
const TOPICS_A_PAGE: usize = 50;

/// Queues of a topic.
pub(super) const QUEUES_MAX: usize = 512;

/// Groups of a topic.
const GROUPS_MAX: usize = 100;

/// What the topics of a cluster are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Retry,
    DeadLetters,
    System,
}

impl Kind {
    fn of(topic: &str) -> Self {
        match topic {
            _ if topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) => Kind::Retry,
            _ if topic.starts_with(DLQ_GROUP_TOPIC_PREFIX) => Kind::DeadLetters,
            _ if is_system_topic(topic) => Kind::System,
            _ => Kind::Normal,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Normal => "normal",
            Kind::Retry => "retry",
            Kind::DeadLetters => "dead letters",
            Kind::System => "system",
        }
    }
}

/// A topic in the list.
#[derive(Debug, Serialize)]
pub(super) struct TopicRow {
    topic: String,
    kind: &'static str,
    brokers: Vec<String>,
    read_queues: i64,
    write_queues: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// A page of the topics that a filter lets pass, those that people made first.
///
/// # Errors
/// When no name server answers.
pub(super) async fn all(admin: &MqAdminExt, query: Query<'_>) -> Result<Listed<TopicRow>, Refusal> {
    let page = query.page()?;
    let mut topics = admin.fetch_all_topic_list().await?;
    topics.retain(|topic| query.lets_pass(topic));
    topics.sort_by_cached_key(|topic| (Kind::of(topic) as u8, topic.clone()));
    let topics = Listed::page_of(topics, page, TOPICS_A_PAGE, "topics");
    Ok(topics.asked(|topic| row(admin, topic)).await)
}

async fn row(admin: &MqAdminExt, topic: String) -> TopicRow {
    // A topic that goes while the list is made has no route.
    let route = admin.examine_topic_route_info(&topic).await;
    let trouble = route.as_ref().err().map(ToString::to_string);
    let queues = route.unwrap_or_default().queue_datas;
    TopicRow {
        kind: Kind::of(&topic).name(),
        topic,
        brokers: queues.iter().map(|it| it.broker_name.clone()).collect(),
        read_queues: queues.iter().map(|it| i64::from(it.read_queue_nums)).sum(),
        write_queues: queues.iter().map(|it| i64::from(it.write_queue_nums)).sum(),
        trouble,
    }
}

/// A topic: its route, its queues, and who consumes it.
#[derive(Debug, Serialize)]
pub(super) struct TopicPage {
    topic: String,
    kind: &'static str,
    route: Vec<RouteRow>,
    queues: Listed<QueueRow>,
    groups: Listed<String>,
    /// What is missing above, and why.
    troubles: Vec<String>,
}

/// The queues of a topic at one broker name.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct RouteRow {
    cluster: String,
    broker: String,
    /// `0=…` and so on.
    addresses: Vec<String>,
    read_queues: i32,
    write_queues: i32,
    permission: String,
}

#[derive(Debug, Serialize)]
struct QueueRow {
    broker: String,
    queue: i32,
    min_offset: i64,
    max_offset: i64,
    /// Store time of the last message; absent without one.
    last_stored_ms: Option<i64>,
}

/// One topic.
///
/// # Errors
/// When no name server answers, or none knows the topic.
pub(super) async fn one(admin: &MqAdminExt, topic: &str) -> Result<TopicPage, Refusal> {
    let route = admin.examine_topic_route_info(topic).await?;
    let ask = |addr: String| async move {
        join(admin.topic_stats_of(&addr, topic), admin.consume_by_who_of(&addr, topic)).await
    };
    let answers = side_by_side(select_broker_addrs(&route), ask).await;
    let (mut ends, mut groups) = (OrderedMap::default(), OrderedMap::default());
    let mut troubles = Vec::new();
    for (stats, known) in answers {
        let failures = [stats.as_ref().err(), known.as_ref().err()];
        // A broker that does not answer at all is one trouble.
        troubles.extend(failures.into_iter().flatten().next().map(trouble));
        ends.extend(stats.unwrap_or_default());
        groups.extend(known.unwrap_or_default().into_iter().map(|group| (group, ())));
    }
    ends.sort_keys();
    groups.sort_keys();
    let queues = ends.into_iter().map(|(queue, ends)| QueueRow {
        broker: queue.broker_name,
        queue: queue.queue_id,
        min_offset: ends.min_offset,
        max_offset: ends.max_offset,
        last_stored_ms: Some(ends.last_update_timestamp).filter(|at_ms| *at_ms > 0),
    });
    Ok(TopicPage {
        topic: topic.to_owned(),
        kind: Kind::of(topic).name(),
        route: route_rows(&route),
        queues: Listed::first_of(queues.collect(), QUEUES_MAX, "queues"),
        groups: Listed::first_of(groups.into_keys().collect(), GROUPS_MAX, "groups"),
        troubles,
    })
}

fn route_rows(route: &TopicRouteData) -> Vec<RouteRow> {
    let mut queues: Vec<_> = route.queue_datas.iter().collect();
    queues.sort_by(|one, other| one.broker_name.cmp(&other.broker_name));
    let row = |queue: &&mq_protocol::body::topic_route::QueueData| {
        let mut brokers = route.broker_datas.iter();
        let broker = brokers.find(|it| it.broker_name == queue.broker_name);
        let broker = broker.cloned().unwrap_or_else(BrokerData::default);
        let addrs = broker.broker_addrs.iter().map(|(id, addr)| format!("{id}={addr}"));
        RouteRow {
            addresses: addrs.collect(),
            cluster: broker.cluster,
            broker: queue.broker_name.clone(),
            read_queues: queue.read_queue_nums,
            write_queues: queue.write_queue_nums,
            permission: perm_text(queue.perm),
        }
    };
    queues.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_sorted_by_what_they_are_for() {
        let mut topics = ["TBW102", "%DLQ%G", "b", "%RETRY%G", "a"];
        topics.sort_by_key(|topic| (Kind::of(topic) as u8, *topic));
        assert_eq!(topics, ["a", "b", "%RETRY%G", "%DLQ%G", "TBW102"]);
        assert_eq!(Kind::of("<script>").name(), "normal");
    }
}
