//! Dead letters: what groups have given up, and how one of them is consumed after all.

use std::time::Duration;

use mq_protocol::message::{DLQ_GROUP_TOPIC_PREFIX, dlq_topic};
use serde::{Deserialize, Serialize};

use super::groups::page_of_groups;
use super::listed::Listed;
use super::messages::{MessagePage, Span, newest};
use super::refusal::{Refusal, trouble};
use super::{Query, brokers};
use crate::mq_admin_ext::{MqAdminExt, is_not_online};

/// Groups on a page.
const GROUPS_A_PAGE: usize = 50;

/// How long a member may take to consume a message; within [`super::ANSWER_MAX`].
const CONSUMED_WITHIN: Duration = Duration::from_secs(10);

/// A group that has given up messages.
#[derive(Debug, Serialize)]
pub(super) struct DeadGroup {
    group: String,
    /// How many are there still; absent where a broker does not say.
    letters: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// A page of the groups that have given up messages.
///
/// # Errors
/// When no name server answers.
pub(super) async fn groups(
    admin: &MqAdminExt,
    query: Query<'_>,
) -> Result<Listed<DeadGroup>, Refusal> {
    let groups = page_of_groups(admin, query, DLQ_GROUP_TOPIC_PREFIX, GROUPS_A_PAGE).await?;
    Ok(groups.asked(|group| row(admin, group)).await)
}

async fn row(admin: &MqAdminExt, group: String) -> DeadGroup {
    let ends = admin.examine_topic_stats(&dlq_topic(&group)).await;
    let trouble = ends.as_ref().err().map(trouble);
    let letters = ends.ok().map(|ends| {
        let lengths = ends.values().map(|it| it.max_offset.saturating_sub(it.min_offset));
        lengths.fold(0, i64::saturating_add)
    });
    DeadGroup { group, letters, trouble }
}

/// A page of the letters of a group, the newest first.
///
/// # Errors
/// When the group has never given up a message, or no name server answers.
pub(super) async fn of(
    admin: &MqAdminExt,
    group: &str,
    page: usize,
) -> Result<MessagePage, Refusal> {
    newest(admin, &dlq_topic(group), Span::default(), page).await
}

/// Which letter is to be consumed, and by whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resend {
    group: String,
    /// The broker that has it.
    address: String,
    /// Where it is in the CommitLog.
    offset: i64,
    /// The member; without one, the first that is online.
    client_id: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Resent {
    client_id: String,
    /// `CR_SUCCESS`, or what else the listener said.
    result: &'static str,
    remark: Option<String>,
    spent_ms: i64,
}

/// Has a member of the group consume a dead letter (309), as RocketMQ's console does. The letter stays where it is.
///
/// # Errors
/// When the request makes no sense, the place holds no letter of the group, nobody of it is online, or a broker or the
/// member does not answer.
pub(super) async fn resend(admin: &MqAdminExt, body: &[u8]) -> Result<Resent, Refusal> {
    let asked: Resend = serde_json::from_slice(body).map_err(|error| {
        Refusal::Input(format!(
            "a body like {{\"group\":…,\"address\":…,\"offset\":…}} is allowed: {error}"
        ))
    })?;
    let Resend { group, address, offset, client_id } = asked;
    let broker = brokers::known(admin, &address).await?;
    let message = admin.view_message_at(&broker.addr, offset).await?;
    if message.message.topic != dlq_topic(&group) {
        let sentence = format!("{address} has no dead letter of the group {group} at {offset}");
        return Err(Refusal::NotFound(sentence));
    }
    let client_id = match client_id {
        Some(client_id) => client_id,
        None => first_member(admin, &group).await?,
    };
    let admin = admin.with_timeout(CONSUMED_WITHIN);
    let result = admin.consume_message_directly(&group, &client_id, &message).await?;
    Ok(Resent {
        client_id,
        result: result.consume_result.name(),
        remark: result.remark,
        spent_ms: result.spent_time_mills,
    })
}

async fn first_member(admin: &MqAdminExt, group: &str) -> Result<String, Refusal> {
    let nobody = || {
        Refusal::NotFound(format!(
            "nobody of the group {group} is online; start a member, which is to consume the letter"
        ))
    };
    match admin.examine_consumer_connection_info(group, None).await {
        Ok(members) => {
            let mut members = members.connection_set.into_iter();
            members.next().map(|member| member.client_id).ok_or_else(nobody)
        }
        Err(error) if is_not_online(&error) => Err(nobody()),
        Err(error) => Err(error.into()),
    }
}
