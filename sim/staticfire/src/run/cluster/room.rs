//! What a broker must have room for, so that a story can be told on it: limits below that keep its clients
//! away, and what it does with their messages cannot be seen.

use mq_broker::config::BrokerConfig;

use crate::plan::Plan;
use crate::run::error::StandError;

/// A key, what it is set to, and what a story takes at least.
type Room = (&'static str, usize, usize);

/// Whether the broker of process `name` has room for the clients of `plan` and its `brokers`.
///
/// # Errors
/// The first key that is set too low.
pub(super) fn check(
    name: &str,
    broker: &BrokerConfig,
    plan: &Plan,
    brokers: usize,
) -> Result<(), StandError> {
    let narrow = rooms(broker, plan, brokers).into_iter().find(|(_, value, needed)| value < needed);
    narrow.map_or(Ok(()), |(key, value, needed)| {
        Err(StandError::TooNarrow { process: name.to_owned(), key, value, needed })
    })
}

fn rooms(broker: &BrokerConfig, plan: &Plan, brokers: usize) -> [Room; 5] {
    let groups: Vec<_> = plan.workloads.iter().flat_map(|it| it.all_consumer_groups()).collect();
    let clients: usize = plan.workloads.iter().map(|it| it.client_names().len()).sum();
    let members = groups.iter().map(|it| it.consumers as usize).max().unwrap_or_default();
    let queues: usize = plan.workloads.iter().map(|it| it.queues as usize).sum();
    // Beside the story's own clients an operator, the history's producer and a reader come. Connections of
    // those who vanished stay for two minutes; a group subscribes to its retry topic, too.
    [
        ("serverConnectionsMax", broker.server.connections_max, 16 + 4 * (clients + brokers)),
        (
            "serverChannelRequestsInWorkMax",
            broker.server.channel_requests_in_work_max,
            16 + 2 * queues,
        ),
        ("maxClientGroupNums", broker.limits.client_group_nums, 8 + groups.len()),
        ("maxClientNumsPerGroup", broker.limits.client_nums_per_group, 2 + members),
        ("maxSubscriptionNums", broker.limits.subscription_nums, 8 + 2 * groups.len()),
    ]
}
