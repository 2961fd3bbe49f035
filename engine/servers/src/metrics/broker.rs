//! The figures of a broker. Where RocketMQ 5 has the same figure, its name is RocketMQ 5's.

use mq_broker::BrokerController;
use mq_broker::metrics::{BrokerMetrics, DLedgerMetrics, LogMetrics};
use mq_store::config::BrokerRole;

use super::{Family, Labels};

/// All of them.
#[must_use]
pub fn families(broker: &BrokerController) -> Vec<Family> {
    let metrics = broker.metrics();
    let mut families = vec![role(broker, &metrics)];
    families.extend(metrics.dledger.iter().flat_map(dledger));
    families.extend(store(&metrics));
    families.extend(log(&metrics.log));
    families.extend(replication(&metrics));
    families.extend(topics_and_groups(&metrics));
    families.extend(Family::resources(&metrics.resources));
    families.push(Family::gauges(
        "rocketmq_name_server_registered",
        "Whether the last registration at a name server was taken.",
        metrics.name_servers.iter().map(|(addr, is_registered)| {
            (vec![("address", addr.clone())], f64::from(u8::from(*is_registered)))
        }),
    ));
    families
}

fn role(broker: &BrokerController, metrics: &BrokerMetrics) -> Family {
    let config = broker.config();
    let labels: Labels = vec![
        ("cluster", config.broker_cluster_name.clone()),
        ("broker_name", config.broker_name.clone()),
        ("broker_id", metrics.broker_id.to_string()),
        ("role", metrics.role.name().to_owned()),
    ];
    Family::gauges("rocketmq_broker_role", "1, with what the broker is.", [(labels, 1.0)])
}

fn dledger(node: &DLedgerMetrics) -> [Family; 2] {
    let labels = vec![
        ("self_id", node.self_id.clone()),
        ("role", node.role.to_owned()),
        ("leader_id", node.leader_id.clone().unwrap_or_default()),
    ];
    [
        Family::gauges("rocketmq_dledger_role", "1, with what the node is.", [(labels, 1.0)]),
        Family::gauge(
            "rocketmq_dledger_term",
            "The term of the node.",
            u64::try_from(node.term).unwrap_or_default(),
        ),
    ]
}

fn store(metrics: &BrokerMetrics) -> Vec<Family> {
    let BrokerMetrics { puts, gets, .. } = metrics;
    let mut families = vec![
        Family::counter("rocketmq_store_put_messages", "Messages stored.", puts.messages),
        Family::counter("rocketmq_store_put_bytes", "Bytes of their records.", puts.bytes),
        Family::counter("rocketmq_store_put_failed", "Puts that stored nothing.", puts.failed),
        Family::counter("rocketmq_store_get_found", "Reads that found messages.", gets.found),
        Family::counter("rocketmq_store_get_missed", "Reads that found none.", gets.missed),
        Family::counter("rocketmq_store_get_messages", "Messages handed out.", gets.transferred),
        Family::latency(
            "rocketmq_store_put_latency_seconds",
            "From a put to its answer, what it waits for included.",
            metrics.put_latency,
        ),
        Family::latency(
            "rocketmq_store_flush_latency_seconds",
            "Syncs of the CommitLog.",
            metrics.flush_latency,
        ),
        Family::gauge(
            "rocketmq_store_writeable",
            "Whether the store takes messages.",
            metrics.is_writeable.into(),
        ),
    ];
    families.extend(metrics.disk_used_percent.map(|percent| {
        Family::gauge(
            "rocketmq_store_disk_used_percent",
            "Used share of the CommitLog's file system.",
            percent,
        )
    }));
    families
}

fn log(log: &LogMetrics) -> [Family; 5] {
    let flush_behind_bytes = log.max_offset.saturating_sub(log.flushed_offset);
    [
        Family::gauge("rocketmq_commitlog_min_offset", "Where the log begins.", log.min_offset),
        Family::gauge("rocketmq_commitlog_max_offset", "Where it ends.", log.max_offset),
        Family::gauge(
            "rocketmq_commitlog_flushed_offset",
            "Everything below is synced.",
            log.flushed_offset,
        ),
        Family::gauge(
            "rocketmq_storage_flush_behind_bytes",
            "Bytes that are not synced.",
            flush_behind_bytes,
        ),
        Family::gauge(
            "rocketmq_storage_dispatch_behind_bytes",
            "Bytes that are in no ConsumeQueue yet.",
            log.dispatch_behind_bytes,
        ),
    ]
}

fn replication(metrics: &BrokerMetrics) -> Vec<Family> {
    let of_slave = metrics.role == BrokerRole::Slave;
    let behind = metrics.slaves.iter().filter_map(|slave| {
        Some((vec![("slave", slave.address.to_string())], slave.behind_bytes? as f64))
    });
    let mut families = vec![
        Family::latency(
            "rocketmq_replication_latency_seconds",
            "How long puts of a SYNC_MASTER waited for a slave that confirmed them in time.",
            metrics.transfer_latency,
        ),
        Family::gauge("rocketmq_slaves", "Connected slaves.", metrics.slaves.len() as u64),
        Family::gauges(
            "rocketmq_slave_behind_bytes",
            "What a connected slave has not confirmed of the log.",
            behind,
        ),
    ];
    families.extend(of_slave.then(|| {
        let is_following = metrics.is_following.into();
        Family::gauge(
            "rocketmq_slave_following",
            "Whether this slave follows a master.",
            is_following,
        )
    }));
    families
}

fn topics_and_groups(metrics: &BrokerMetrics) -> Vec<Family> {
    let BrokerMetrics { lags, stored, handed_out, .. } = metrics;
    let of_group = |topic: &String, group: &String| -> Labels {
        vec![("topic", topic.clone()), ("consumer_group", group.clone())]
    };
    let of_topic = |topic: &String| -> Labels { vec![("topic", topic.clone())] };
    let left_out = |family: &str, count: usize| (vec![("family", family.to_owned())], count as f64);
    vec![
        Family::counters(
            "rocketmq_messages_in",
            "Messages stored, by topic.",
            stored.shown.iter().map(|it| (of_topic(&it.topic), it.messages)),
        ),
        Family::counters(
            "rocketmq_throughput_in",
            "Bytes of their records.",
            stored.shown.iter().map(|it| (of_topic(&it.topic), it.bytes)),
        ),
        Family::counters(
            "rocketmq_messages_out",
            "Messages handed out, by topic and group.",
            handed_out.shown.iter().map(|it| (of_group(&it.topic, &it.group), it.messages)),
        ),
        Family::counters(
            "rocketmq_throughput_out",
            "Bytes of their records.",
            handed_out.shown.iter().map(|it| (of_group(&it.topic, &it.group), it.bytes)),
        ),
        Family::gauges(
            "rocketmq_consumer_lag_messages",
            "Messages that a group has not consumed, as mqadmin consumerProgress says it.",
            lags.shown.iter().map(|it| (of_group(&it.topic, &it.group), it.messages as f64)),
        ),
        Family::gauge(
            "rocketmq_consumer_lag_rest_messages",
            "The same of topics and groups that are not told one by one.",
            lags.rest_sum,
        ),
        Family::gauges(
            "rocketmq_series_left_out",
            "Topics and groups that are not told one by one: those with the smallest figures.",
            [
                left_out("rocketmq_messages_in", stored.rest_count),
                left_out("rocketmq_messages_out", handed_out.rest_count),
                left_out("rocketmq_consumer_lag_messages", lags.rest_count),
            ],
        ),
    ]
}
