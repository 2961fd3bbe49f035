//! Consumer groups: which there are, who their members are, and how far they lag.

use futures::future::join;
use mq_protocol::body::connection::ConsumerConnection;
use mq_protocol::body::consume_stats::ConsumeStats;
use mq_protocol::codes::MqVersion;
use mq_protocol::message::RETRY_GROUP_TOPIC_PREFIX;
use serde::Serialize;

use super::listed::Listed;
use super::refusal::{Refusal, trouble};
use super::topics::QUEUES_MAX;
use super::{Query, side_by_side};
use crate::commands::consumer::{diff, in_order, kind_of, total_diff};
use crate::error::AdminError;
use crate::mq_admin_ext::{MqAdminExt, is_not_online};

/// Groups on a page: each costs two requests to every broker that has it.
const GROUPS_A_PAGE: usize = 20;

/// Members of a group.
const MEMBERS_MAX: usize = 200;

/// A group in the list.
#[derive(Debug, Serialize)]
pub(super) struct GroupRow {
    group: String,
    members: usize,
    /// Of the oldest member, or `OFFLINE`.
    version: String,
    consume_type: &'static str,
    model: &'static str,
    consume_tps: f64,
    /// Messages that it has not consumed.
    lag: i64,
    troubles: Vec<String>,
}

/// A page of the groups that a filter lets pass: those that have a retry topic, as all that were online have.
///
/// # Errors
/// When no name server answers.
pub(super) async fn all(admin: &MqAdminExt, query: Query<'_>) -> Result<Listed<GroupRow>, Refusal> {
    let groups = page_of_groups(admin, query, RETRY_GROUP_TOPIC_PREFIX, GROUPS_A_PAGE).await?;
    Ok(groups.asked(|group| row(admin, group)).await)
}

/// A page of the groups that a filter lets pass and that have a topic of their own behind `prefix`.
///
/// # Errors
/// When no name server answers.
pub(super) async fn page_of_groups(
    admin: &MqAdminExt,
    query: Query<'_>,
    prefix: &str,
    page_size: usize,
) -> Result<Listed<String>, Refusal> {
    let page = query.page()?;
    let topics = admin.fetch_all_topic_list().await?;
    let groups = topics.iter().filter_map(|topic| topic.strip_prefix(prefix));
    let mut groups: Vec<_> =
        groups.filter(|group| query.lets_pass(group)).map(str::to_owned).collect();
    groups.sort();
    Ok(Listed::page_of(groups, page, page_size, "groups"))
}

async fn row(admin: &MqAdminExt, group: String) -> GroupRow {
    let known = match Known::ask(admin, &group).await {
        Ok(known) => known,
        Err(error) => Known { troubles: vec![error.to_string()], ..Known::default() },
    };
    let (version, consume_type, model) = kind_of(&known.members);
    GroupRow {
        group,
        members: known.members.connection_set.len(),
        version,
        consume_type,
        model,
        consume_tps: known.stats.consume_tps,
        lag: total_diff(&known.stats),
        troubles: known.troubles,
    }
}

/// What the brokers of a group know of it, and why the others say nothing.
#[derive(Default)]
struct Known {
    stats: ConsumeStats,
    members: ConsumerConnection,
    troubles: Vec<String>,
}

impl Known {
    /// Asks all brokers of the group side by side.
    ///
    /// # Errors
    /// When the group's retry topic has no route.
    async fn ask(admin: &MqAdminExt, group: &str) -> Result<Known, AdminError> {
        let ask = |addr: String| async move {
            let stats = admin.consume_stats_of(&addr, group, None);
            join(stats, admin.consumer_connections_of(&addr, group)).await
        };
        let answers = side_by_side(admin.addrs_of_group(group).await?, ask).await;
        let mut known = Known::default();
        for (stats, members) in answers {
            // Who has no member online is in no trouble.
            let offline = members.as_ref().err().filter(|it| !is_not_online(it));
            known.troubles.extend(stats.as_ref().err().or(offline).map(trouble));
            known.add_stats(stats.unwrap_or_default());
            known.add_members(members.unwrap_or_default());
        }
        Ok(known)
    }

    fn add_stats(&mut self, stats: ConsumeStats) {
        self.stats.consume_tps += stats.consume_tps;
        self.stats.offset_table.extend(stats.offset_table);
    }

    /// A member is connected to each broker, and is one member.
    fn add_members(&mut self, mut more: ConsumerConnection) {
        if self.members.connection_set.is_empty() {
            self.members = more;
            return;
        }
        let members = &mut self.members.connection_set;
        more.connection_set
            .retain(|it| members.iter().all(|known| known.client_id != it.client_id));
        members.append(&mut more.connection_set);
        self.members.subscription_table.extend(more.subscription_table);
    }
}

/// A group: members, subscriptions, and how far it is in each queue.
#[derive(Debug, Serialize)]
pub(super) struct GroupPage {
    group: String,
    version: String,
    consume_type: &'static str,
    model: &'static str,
    consume_tps: f64,
    lag: i64,
    members: Listed<MemberRow>,
    subscriptions: Listed<SubscriptionRow>,
    queues: Listed<LagRow>,
    /// What is missing above, and why.
    troubles: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MemberRow {
    client_id: String,
    address: String,
    language: String,
    version: String,
}

#[derive(Debug, Serialize)]
struct SubscriptionRow {
    topic: String,
    expression: String,
}

#[derive(Debug, Serialize)]
struct LagRow {
    topic: String,
    broker: String,
    queue: i32,
    broker_offset: i64,
    consumer_offset: i64,
    lag: i64,
    /// Store time of the last message that it consumed; absent without one.
    last_consumed_ms: Option<i64>,
}

/// One group.
///
/// # Errors
/// When no name server answers, or none knows the group's retry topic.
pub(super) async fn one(admin: &MqAdminExt, group: &str) -> Result<GroupPage, Refusal> {
    let Known { stats, members, troubles } = Known::ask(admin, group).await?;
    let (version, consume_type, model) = kind_of(&members);
    let queues = in_order(&stats).into_iter().map(|(queue, offset)| LagRow {
        topic: queue.topic.clone(),
        broker: queue.broker_name.clone(),
        queue: queue.queue_id,
        broker_offset: offset.broker_offset,
        consumer_offset: offset.consumer_offset,
        lag: diff(offset),
        last_consumed_ms: Some(offset.last_timestamp).filter(|at_ms| *at_ms > 0),
    });
    let subscriptions = members
        .subscription_table
        .values()
        .map(|it| SubscriptionRow { topic: it.topic.clone(), expression: it.sub_string.clone() });
    let subscriptions = subscriptions.collect();
    let member_rows = members.connection_set.iter().map(|it| MemberRow {
        client_id: it.client_id.clone(),
        address: it.client_addr.clone(),
        language: it.language.clone(),
        version: MqVersion::name(it.version),
    });
    Ok(GroupPage {
        group: group.to_owned(),
        version,
        consume_type,
        model,
        consume_tps: stats.consume_tps,
        lag: total_diff(&stats),
        members: Listed::first_of(member_rows.collect(), MEMBERS_MAX, "members"),
        subscriptions: Listed::first_of(subscriptions, MEMBERS_MAX, "subscriptions"),
        queues: Listed::first_of(queues.collect(), QUEUES_MAX, "queues"),
        troubles,
    })
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::connection::Connection;

    use super::*;

    #[test]
    fn a_member_at_two_brokers_is_one() {
        let members = |ids: &[&str]| ConsumerConnection {
            connection_set: ids
                .iter()
                .map(|id| Connection { client_id: (*id).into(), ..Connection::default() })
                .collect(),
            ..ConsumerConnection::default()
        };
        let mut known = Known::default();
        for ids in [&["a"][..], &["b", "a"], &[]] {
            known.add_members(members(ids));
        }
        let ids: Vec<_> = known.members.connection_set.iter().map(|it| &*it.client_id).collect();
        assert_eq!(ids, ["a", "b"]);
    }
}
