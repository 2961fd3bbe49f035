//! [`BrokerMetrics`]: the figures of a broker at a moment, for whoever watches it.
//!
//! Nothing is kept for it but what the broker counts anyway: it is put together when it is asked for. What grows with
//! topics and groups is bounded ([`Top`]).

use std::net::SocketAddr;

use mq_dledger::{Role, Term};
use mq_remoting::{ServerLoad, Used};
use mq_store::config::BrokerRole;
use mq_store::stats::{GetTotals, LatencyCounts, PutTotals};
use mq_store::used_percent;

use crate::broker_stats_manager::Passed;
use crate::context::BrokerContext;
use crate::lock;

/// Topics, or topics with groups, that are told one by one.
pub const SERIES_MAX: usize = 1_000;

/// The figures.
#[derive(Clone, Debug)]
pub struct BrokerMetrics {
    /// The role.
    pub role: BrokerRole,
    /// The id by which it goes.
    pub broker_id: i64,
    /// In DLedger mode what its node is.
    pub dledger: Option<DLedgerMetrics>,
    /// What puts came to.
    pub puts: PutTotals,
    /// What reads came to.
    pub gets: GetTotals,
    /// How long puts took up to their answers.
    pub put_latency: LatencyCounts,
    /// How long syncs of the CommitLog took.
    pub flush_latency: LatencyCounts,
    /// How long puts of a SYNC_MASTER waited for a slave.
    pub transfer_latency: LatencyCounts,
    /// The CommitLog.
    pub log: LogMetrics,
    /// The connected slaves.
    pub slaves: Vec<SlaveMetrics>,
    /// Whether a slave follows its master.
    pub is_following: bool,
    /// Messages that groups have not consumed.
    pub lags: Top<ConsumerLag>,
    /// What was stored, by topic.
    pub stored: Top<TopicFlow>,
    /// What was handed out, by topic and group.
    pub handed_out: Top<GroupFlow>,
    /// How much there is of each bounded thing, by name.
    pub resources: Vec<(&'static str, Used)>,
    /// The name servers, and whether the last registration was taken.
    pub name_servers: Vec<(String, bool)>,
    /// Used share of the CommitLog's file system, where it can be told.
    pub disk_used_percent: Option<u64>,
    /// Whether the store takes messages.
    pub is_writeable: bool,
}

/// What a DLedger node is.
#[derive(Clone, Debug)]
pub struct DLedgerMetrics {
    /// `dLegerSelfId`.
    pub self_id: String,
    /// LEADER, FOLLOWER, CANDIDATE or UNKNOWN.
    pub role: &'static str,
    /// The term.
    pub term: Term,
    /// Who leads it, when that is known.
    pub leader_id: Option<String>,
}

/// Ends of the CommitLog, as physical offsets.
#[derive(Clone, Copy, Debug)]
pub struct LogMetrics {
    /// Where it begins.
    pub min_offset: u64,
    /// Where it ends.
    pub max_offset: u64,
    /// Everything below is synced.
    pub flushed_offset: u64,
    /// Bytes that are in no ConsumeQueue yet.
    pub dispatch_behind_bytes: u64,
}

/// A connected slave.
#[derive(Clone, Debug)]
pub struct SlaveMetrics {
    /// Its address.
    pub address: SocketAddr,
    /// What it lacks of this broker's log; nothing before its first report.
    pub behind_bytes: Option<u64>,
}

/// How far a group is behind in a topic, as `mqadmin consumerProgress` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerLag {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Messages in all queues.
    pub messages: u64,
}

/// What was stored of a topic since the broker began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFlow {
    /// The topic.
    pub topic: String,
    /// Messages.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// What was handed out of a topic to a group since the broker began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFlow {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Messages.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// The greatest of many, in the order in which they came, and how many there are besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top<T> {
    /// [`SERIES_MAX`] at most.
    pub shown: Vec<T>,
    /// How many are not shown.
    pub rest_count: usize,
    /// What they come to.
    pub rest_sum: u64,
}

impl<T> Top<T> {
    fn of(all: Vec<T>, max: usize, weight: impl Fn(&T) -> u64) -> Self {
        let mut ranked: Vec<(usize, T)> = all.into_iter().enumerate().collect();
        // The sort is stable: of equals those stay that came first.
        ranked.sort_by_key(|(_, it)| std::cmp::Reverse(weight(it)));
        let rest = ranked.split_off(ranked.len().min(max));
        ranked.sort_by_key(|(place, _)| *place);
        Top {
            shown: ranked.into_iter().map(|(_, it)| it).collect(),
            rest_count: rest.len(),
            rest_sum: rest.iter().map(|(_, it)| weight(it)).sum(),
        }
    }
}

/// The figures of now.
pub(crate) fn metrics(context: &BrokerContext, load: &ServerLoad) -> BrokerMetrics {
    let (store, ha) = (&context.store, &context.ha);
    let log = log(context);
    BrokerMetrics {
        role: context.role(),
        broker_id: context.outer_api.broker_id(),
        dledger: dledger(context),
        puts: store.stats().put_totals(),
        gets: store.stats().get_totals(),
        put_latency: store.stats().put_latency(),
        flush_latency: store.commit_log().flush_latency(),
        transfer_latency: ha.transfer_latency(),
        log,
        slaves: slaves(context, log.max_offset),
        is_following: context.is_following(),
        lags: Top::of(lags(context), SERIES_MAX, |lag| lag.messages),
        stored: Top::of(stored(context), SERIES_MAX, |flow| flow.messages),
        handed_out: Top::of(handed_out(context), SERIES_MAX, |flow| flow.messages),
        resources: resources(context, load),
        name_servers: lock(&context.registrations)
            .iter()
            .map(|(addr, outcome)| (addr.clone(), outcome.is_ok()))
            .collect(),
        disk_used_percent: used_percent(&*context.env.disk, &store.config().commit_log_dir())
            .or_else(|| used_percent(&*context.env.disk, &store.config().store_path_root_dir)),
        is_writeable: store.is_writeable(),
    }
}

fn dledger(context: &BrokerContext) -> Option<DLedgerMetrics> {
    let node = context.dledger.as_ref()?.node();
    let status = node.status().get();
    let role = match status.role {
        Role::Leader => "LEADER",
        Role::Follower => "FOLLOWER",
        Role::Candidate => "CANDIDATE",
        Role::Unknown => "UNKNOWN",
    };
    let self_id = node.self_id().to_owned();
    Some(DLedgerMetrics { self_id, role, term: status.term, leader_id: status.leader_id })
}

fn log(context: &BrokerContext) -> LogMetrics {
    let log = context.store.commit_log();
    // In this order: each may move on meanwhile.
    let flushed_offset = log.flushed_offset();
    LogMetrics {
        min_offset: log.min_offset(),
        flushed_offset,
        dispatch_behind_bytes: context.store.dispatch_behind_bytes(),
        max_offset: log.max_offset(),
    }
}

fn slaves(context: &BrokerContext, max_offset: u64) -> Vec<SlaveMetrics> {
    let slaves = context.ha.slaves().into_iter().map(|slave| SlaveMetrics {
        address: slave.address,
        behind_bytes: slave.push_ack_offset.map(|ack| max_offset.saturating_sub(ack)),
    });
    slaves.collect()
}

fn lags(context: &BrokerContext) -> Vec<ConsumerLag> {
    let all = context.offsets.topics_and_groups().into_iter().filter_map(|(topic, group)| {
        let config = context.topics.select_topic_config(&topic)?;
        if context.consumers.has_left(&group, &topic) {
            return None;
        }
        let offsets = context.offsets.offsets_of(&group, &topic);
        let behind = (0..config.read_queue_nums).map(|queue_id| {
            let offset = offsets.get(&queue_id).copied().unwrap_or_default().max(0);
            u64::try_from(context.max_offset(&topic, queue_id) - offset).unwrap_or_default()
        });
        Some(ConsumerLag { messages: behind.sum(), topic, group })
    });
    all.collect()
}

fn stored(context: &BrokerContext) -> Vec<TopicFlow> {
    let flows = context.stats.stored().into_iter();
    flows
        .map(|(topic, Passed { messages, bytes, .. })| TopicFlow { topic, messages, bytes })
        .collect()
}

fn handed_out(context: &BrokerContext) -> Vec<GroupFlow> {
    let flow = |(topic, group, Passed { messages, bytes, .. })| GroupFlow {
        topic,
        group,
        messages,
        bytes,
    };
    context.stats.handed_out().into_iter().map(flow).collect()
}

fn resources(context: &BrokerContext, load: &ServerLoad) -> Vec<(&'static str, Used)> {
    let [waiting_sends, waiting_send_bytes] = context.waiting_sends.used();
    let queues = &context.work_queues;
    let topics = Used { count: context.topics.topic_nums(), max: context.config.limits.topic_nums };
    vec![
        ("connections", load.connections),
        ("end_transaction_queue", queues.end_transactions.used()),
        ("held_pulls", context.pull_hold.used()),
        ("out_bytes", load.out_bytes),
        ("partial_frame_bytes", load.partial_frame_bytes),
        ("send_queue", queues.sends.used()),
        ("topics", topics),
        ("waiting_send_bytes", waiting_send_bytes),
        ("waiting_sends", waiting_sends),
    ]
}

/// Why the broker had better be started anew.
pub(crate) fn ailments(context: &BrokerContext) -> Vec<String> {
    context.store.sync_failure().map(str::to_owned).into_iter().collect()
}

/// Why clients should not count on the broker; nothing while it serves.
pub(crate) fn hindrances(context: &BrokerContext) -> Vec<String> {
    let mut reasons = ailments(context);
    let registrations = lock(&context.registrations);
    let failed = registrations.iter().filter_map(|(addr, outcome)| {
        Some(format!("not registered at {addr}: {}", outcome.as_ref().err()?))
    });
    if registrations.values().all(Result::is_err) {
        reasons.extend(failed);
    }
    drop(registrations);
    // A slave without its master serves what it has: that is what it is for.
    reasons.extend(context.ha.refusal());
    if let Some(DLedgerMetrics { role: "CANDIDATE" | "UNKNOWN", term, .. }) = dledger(context) {
        reasons.push(format!(
            "the DLedger group has no leader that this member knows of (term {term})"
        ));
    }
    if !context.is_slave() && !context.store.is_writeable() && reasons.is_empty() {
        reasons.push("the store takes no messages: its disk is too full".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_shown_and_the_rest_is_summed() {
        let all = vec![("a", 1), ("b", 5), ("c", 5), ("d", 7), ("e", 5)];
        let top = Top::of(all.clone(), 3, |(_, weight)| *weight);
        assert_eq!(
            top,
            Top { shown: vec![("b", 5), ("c", 5), ("d", 7)], rest_count: 2, rest_sum: 6 }
        );
        assert_eq!(Top::of(all.clone(), 9, |_| 1), Top { shown: all, rest_count: 0, rest_sum: 0 });
    }
}
