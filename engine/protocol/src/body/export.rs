//! The files that `mqadmin` exports: `metadata.json`, `configs.json`, `metrics.json`.

use std::collections::BTreeMap;

use super::subscription_group::SubscriptionGroupConfig;
use super::topic_config::TopicConfig;

json_body! {
    /// File `metadata.json`, and `topic.json` and `subscriptionGroup.json`, which have one of its tables.
    #[derive(Eq)]
    MetadataExport {
        /// When it was made, in ms.
        export_time: i64 = "exportTime",
        /// Groups by name; retry queues of all masters added up.
        subscription_group_table: Option<BTreeMap<String, SubscriptionGroupConfig>> =
            "subscriptionGroupTable",
        /// Topics by name; queues of all masters added up.
        topic_config_table: Option<BTreeMap<String, TopicConfig>> = "topicConfigTable",
    }

    /// File `configs.json`.
    #[derive(Eq)]
    ConfigsExport {
        /// Settings per broker name.
        broker_configs: BTreeMap<String, BTreeMap<String, String>> = "brokerConfigs",
        /// How large the cluster is.
        cluster_scale: ClusterScale = "clusterScale",
    }

    /// How large a cluster is.
    #[derive(Copy, Eq)]
    ClusterScale {
        /// Masters.
        master_broker_size: i32 = "masterBrokerSize",
        /// Name servers that the tool was told of.
        namesrv_size: i32 = "namesrvSize",
        /// Slaves.
        slave_broker_size: i32 = "slaveBrokerSize",
    }

    /// File `metrics.json`.
    MetricsExport {
        /// How brokers are doing, by name.
        evaluate_report: BTreeMap<String, BrokerMetrics> = "evaluateReport",
        /// Sums over them.
        total_data: TotalMetrics = "totalData",
    }

    /// How a broker is doing.
    BrokerMetrics {
        /// The machine.
        runtime_env: RuntimeEnv = "runtimeEnv",
        /// What it is used for.
        runtime_quota: RuntimeQuota = "runtimeQuota",
        /// What runs there.
        runtime_version: RuntimeVersion = "runtimeVersion",
    }

    /// A broker's machine.
    #[derive(Eq)]
    RuntimeEnv {
        /// Processors.
        cpu_num: Option<String> = "cpuNum",
        /// Memory in KiB.
        total_mem_kbytes: Option<String> = "totalMemKBytes",
    }

    /// What a broker is used for.
    RuntimeQuota {
        /// How full the disks are.
        disk_ratio: DiskRatio = "diskRatio",
        /// Consumer groups.
        group_size: i32 = "groupSize",
        /// Mean size of a record in bytes.
        message_average_size: Option<String> = "messageAverageSize",
        /// Messages of yesterday, and of a day in transactions and with a delay.
        one_day_num: BTreeMap<String, i64> = "oneDayNum",
        /// Topics.
        topic_size: i32 = "topicSize",
        /// Messages per second.
        tps: BTreeMap<String, f64> = "tps",
    }

    /// How full a broker's disks are, from 0 to 1.
    #[derive(Eq)]
    DiskRatio {
        /// That of the CommitLog.
        commit_log_disk_ratio: Option<String> = "commitLogDiskRatio",
        /// That of the ConsumeQueues.
        consume_queue_disk_ratio: Option<String> = "consumeQueueDiskRatio",
    }

    /// What runs at a broker.
    #[derive(Eq)]
    RuntimeVersion {
        /// `LANGUAGE%VERSION` of its consumers.
        client_info: Vec<String> = "clientInfo",
        /// The tool's.
        rocketmq_version: String = "rocketmqVersion",
    }

    /// Sums over brokers.
    TotalMetrics {
        /// Messages of a day.
        total_one_day_num: BTreeMap<String, i64> = "totalOneDayNum",
        /// Messages per second.
        total_tps: BTreeMap<String, f64> = "totalTps",
    }
}
