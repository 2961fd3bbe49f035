//! `exportMetrics`: how the brokers of a cluster are doing, as a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use mq_protocol::body::export::{
    BrokerMetrics, DiskRatio, MetricsExport, RuntimeEnv, RuntimeQuota, RuntimeVersion, TotalMetrics,
};
use mq_protocol::codes::MqVersion;
use mq_protocol::topic_validator::{RMQ_SYS_SCHEDULE_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC};

use super::broker::properties;
use super::export::{DIRECTORY, user_groups, user_topics, write_export};
use super::stats::day_sum;
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::runtime_stats::{Counted, RuntimeStats};

/// Writes how the masters of a cluster are doing to metrics.json.
#[derive(Args)]
pub(crate) struct ExportMetrics {
    /// The cluster.
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster: String,
    /// The directory of the file.
    #[arg(short = 'f', long = "filePath", value_name = "DIRECTORY", default_value = DIRECTORY)]
    directory: PathBuf,
}

impl SubCommand for ExportMetrics {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let admin = terminal.admin.clone();
        let mut evaluate_report = BTreeMap::new();
        for broker in admin.brokers_of_cluster(&self.cluster).await? {
            let Some(addr) = broker.master_addr() else { continue };
            evaluate_report.insert(broker.broker_name.clone(), metrics(&admin, addr).await?);
        }
        let total_data = totals(&evaluate_report);
        let export = MetricsExport { evaluate_report, total_data };
        write_export(terminal, &self.directory.join("metrics.json"), &export)
    }
}

async fn metrics(admin: &MqAdminExt, addr: &str) -> Result<BrokerMetrics, AdminError> {
    let stats = admin.fetch_broker_runtime_stats(addr).await?;
    let config = properties(addr, &admin.get_broker_config(addr).await?)?;
    let cpu_num = config.into_iter().find(|it| it.key == "clientCallbackExecutorThreads");
    let topics = user_topics(admin, addr, false).await?;
    let groups = user_groups(admin, addr).await?;
    let transactions = put_stats(admin, addr, RMQ_SYS_TRANS_HALF_TOPIC).await;
    let delayed = put_stats(admin, addr, RMQ_SYS_SCHEDULE_TOPIC).await;
    Ok(BrokerMetrics {
        runtime_env: RuntimeEnv {
            cpu_num: cpu_num.map(|it| it.value),
            total_mem_kbytes: stats.0.table.get("totalMemKBytes").cloned(),
        },
        runtime_quota: RuntimeQuota {
            topic_size: i32::try_from(topics.len()).unwrap_or(i32::MAX),
            group_size: i32::try_from(groups.len()).unwrap_or(i32::MAX),
            ..quota(&stats, transactions, delayed)
        },
        runtime_version: RuntimeVersion {
            client_info: client_info(admin, groups.keys()).await,
            rocketmq_version: MqVersion::CURRENT_NAME.to_owned(),
        },
    })
}

/// Messages put into a topic: per second, and in a day. A broker that counts none has none.
async fn put_stats(admin: &MqAdminExt, addr: &str, topic: &str) -> (f64, i64) {
    let stats = admin.view_broker_stats_data(addr, "TOPIC_PUT_NUMS", topic).await;
    stats.map_or((0.0, 0), |stats| (stats.stats_minute.tps, day_sum(&stats)))
}

/// What consumers run, each kind once.
async fn client_info(admin: &MqAdminExt, groups: impl Iterator<Item = &String>) -> Vec<String> {
    let mut kinds = BTreeSet::new();
    for group in groups {
        // A group without members runs nothing.
        let members = admin.examine_consumer_connection_info(group, None).await.unwrap_or_default();
        let kind = |language: &str, version| format!("{language}%{}", MqVersion::name(version));
        kinds.extend(members.connection_set.iter().map(|it| kind(&it.language, it.version)));
    }
    kinds.into_iter().collect()
}

fn quota(stats: &RuntimeStats, transactions: (f64, i64), delayed: (f64, i64)) -> RuntimeQuota {
    let text = |key: &str| stats.0.table.get(key).cloned();
    let one_day_num = [
        ("normalOneDayInNum", stats.yesterday(Counted::Put)),
        ("normalOneDayOutNum", stats.yesterday(Counted::Get)),
        ("transOneDayInNum", transactions.1),
        ("scheduleOneDayInNum", delayed.1),
    ];
    let tps = [
        ("normalInTps", stats.put_tps()),
        ("normalOutTps", stats.get_tps()),
        ("transInTps", transactions.0),
        ("scheduleInTps", delayed.0),
    ];
    RuntimeQuota {
        disk_ratio: DiskRatio {
            commit_log_disk_ratio: text("commitLogDiskRatio"),
            consume_queue_disk_ratio: text("consumeQueueDiskRatio"),
        },
        message_average_size: text("putMessageAverageSize"),
        one_day_num: one_day_num.map(|(name, number)| (name.to_owned(), number)).into(),
        tps: tps.map(|(name, tps)| (name.to_owned(), tps)).into(),
        ..RuntimeQuota::default()
    }
}

/// Sums; those of rates are called `totalNormalInTps`, and so on.
fn totals(brokers: &BTreeMap<String, BrokerMetrics>) -> TotalMetrics {
    let mut totals = TotalMetrics::default();
    for RuntimeQuota { one_day_num, tps, .. } in brokers.values().map(|it| &it.runtime_quota) {
        for (name, number) in one_day_num {
            *totals.total_one_day_num.entry(name.clone()).or_default() += number;
        }
        for (name, tps) in tps {
            let (first, rest) = name.split_at(1);
            let name = format!("total{}{rest}", first.to_uppercase());
            *totals.total_tps.entry(name).or_default() += tps;
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::tables::KvTable;

    use super::*;

    #[test]
    fn figures_of_brokers_are_added_up() {
        let table = [
            ("putTps", "1.5 2.0 3.0"),
            ("msgPutTotalTodayMorning", "10"),
            ("msgPutTotalYesterdayMorning", "4"),
        ];
        let table = table.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let stats = RuntimeStats(KvTable { table });
        let quota = quota(&stats, (0.5, 2), (0.0, 0));
        let metrics = BrokerMetrics { runtime_quota: quota, ..BrokerMetrics::default() };
        let brokers = ["a", "b"].map(|name| (name.to_owned(), metrics.clone())).into();
        let totals = totals(&brokers);
        assert_eq!(totals.total_tps["totalNormalInTps"], 3.0);
        assert_eq!(totals.total_tps["totalTransInTps"], 1.0);
        assert_eq!(totals.total_one_day_num["normalOneDayInNum"], 12);
        assert_eq!(totals.total_one_day_num["transOneDayInNum"], 4);
    }
}
