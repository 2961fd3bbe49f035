//! `exportMetadata`, `exportConfigs`: topics, groups and settings of a cluster as files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use mq_protocol::body::export::{ClusterScale, ConfigsExport, MetadataExport};
use mq_protocol::body::subscription_group::SubscriptionGroupConfig;
use mq_protocol::body::topic_config::TopicConfig;
use mq_protocol::fastjson::Json;
use mq_protocol::message::{DLQ_GROUP_TOPIC_PREFIX, RETRY_GROUP_TOPIC_PREFIX};
use mq_protocol::topic_validator::{SYSTEM_GROUP_PREFIX, SYSTEM_GROUPS, is_system_topic};

use super::broker::properties;
use super::running_info::write_file;
use super::topic::pretty_json;
use crate::command::{SubCommand, Target, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;

/// Where files go unless told otherwise, as in RocketMQ.
pub(super) const DIRECTORY: &str = "/tmp/rocketmq/export";

/// Settings that tell clusters apart.
const EXPORTED_KEYS: [&str; 16] = [
    "autoCreateSubscriptionGroup",
    "autoCreateTopicEnable",
    "brokerClusterName",
    "brokerId",
    "brokerName",
    "brokerRole",
    "fileReservedTime",
    "filterServerNums",
    "flushDiskType",
    "maxMessageSize",
    "messageDelayLevel",
    "msgTraceTopicName",
    "slaveReadEnable",
    "traceOn",
    "traceTopicEnable",
    "useTLS",
];

/// Writes the topics and groups of a broker or a cluster to a file.
#[derive(Args)]
pub(crate) struct ExportMetadata {
    #[command(flatten)]
    target: Target,
    /// The directory of the file.
    #[arg(short = 'f', long = "filePath", value_name = "DIRECTORY", default_value = DIRECTORY)]
    directory: PathBuf,
    /// Topics only, to topic.json.
    #[arg(short = 't', long = "topic", conflicts_with = "subscription_group")]
    topic: bool,
    /// Groups only, to subscriptionGroup.json.
    #[arg(short = 'g', long = "subscriptionGroup")]
    subscription_group: bool,
    /// With retry topics and dead letters.
    #[arg(short = 's', long = "specialTopic")]
    special_topic: bool,
}

impl SubCommand for ExportMetadata {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let mut export = MetadataExport { export_time: terminal.time.now_ms(), ..<_>::default() };
        let (mut all_topics, mut all_groups) = (BTreeMap::new(), BTreeMap::new());
        for addr in self.target.masters(&terminal.admin).await? {
            let topics = user_topics(&terminal.admin, &addr, self.special_topic).await?;
            merge(&mut all_topics, topics, add_queues);
            let groups = user_groups(&terminal.admin, &addr).await?;
            merge(&mut all_groups, groups, |known, more| {
                known.retry_queue_nums += more.retry_queue_nums;
            });
        }
        export.topic_config_table = (!self.subscription_group).then_some(all_topics);
        export.subscription_group_table = (!self.topic).then_some(all_groups);
        let name = match (self.topic, self.subscription_group) {
            (true, _) => "topic.json",
            (_, true) => "subscriptionGroup.json",
            _ => "metadata.json",
        };
        write_export(terminal, &self.directory.join(name), &export)
    }
}

/// Writes a file of JSON, and says so.
pub(super) fn write_export(
    terminal: &mut Terminal<'_>,
    path: &Path,
    export: &impl Json,
) -> Result<(), AdminError> {
    write_file(&*terminal.admin.env().disk, path, pretty_json(export).as_bytes())?;
    terminal.print(&exported_text(path))
}

fn exported_text(path: &Path) -> String {
    format!("export {} success\n", path.display())
}

/// Adds one broker's entries to those of the others.
fn merge<V>(all: &mut BTreeMap<String, V>, more: BTreeMap<String, V>, add: impl Fn(&mut V, &V)) {
    for (name, value) in more {
        match all.get_mut(&name) {
            Some(known) => add(known, &value),
            None => {
                all.insert(name, value);
            }
        }
    }
}

fn add_queues(known: &mut TopicConfig, more: &TopicConfig) {
    known.read_queue_nums += more.read_queue_nums;
    known.write_queue_nums += more.write_queue_nums;
}

/// The topics of a broker that people made; retry topics and dead letters where `special`.
pub(super) async fn user_topics(
    admin: &MqAdminExt,
    addr: &str,
    special: bool,
) -> Result<BTreeMap<String, TopicConfig>, AdminError> {
    let info = admin.examine_broker_cluster_info().await?;
    // Clusters and brokers have topics of their names.
    let is_name = |topic: &String| {
        info.cluster_addr_table.contains_key(topic) || info.broker_addr_table.contains_key(topic)
    };
    let is_special = |topic: &String| {
        topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) || topic.starts_with(DLQ_GROUP_TOPIC_PREFIX)
    };
    let all = admin.get_all_topic_config(addr).await?.topic_config_table.into_iter();
    let users = all.filter(|(topic, _)| !is_system_topic(topic) && !is_name(topic));
    Ok(users.filter(|(topic, _)| special || !is_special(topic)).collect())
}

/// The groups of a broker that people made.
pub(super) async fn user_groups(
    admin: &MqAdminExt,
    addr: &str,
) -> Result<BTreeMap<String, SubscriptionGroupConfig>, AdminError> {
    let all = admin.get_all_subscription_group(addr).await?.subscription_group_table;
    let is_system =
        |group: &str| group.starts_with(SYSTEM_GROUP_PREFIX) || SYSTEM_GROUPS.contains(&group);
    Ok(all.into_iter().filter(|(group, _)| !is_system(group)).collect())
}

/// Writes what tells a cluster from others to configs.json.
#[derive(Args)]
pub(crate) struct ExportConfigs {
    /// The cluster.
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster: String,
    /// The directory of the file.
    #[arg(short = 'f', long = "filePath", value_name = "DIRECTORY", default_value = DIRECTORY)]
    directory: PathBuf,
}

impl SubCommand for ExportConfigs {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let admin = terminal.admin.clone();
        let namesrv_size = i32::try_from(admin.name_servers().len()).unwrap_or(i32::MAX);
        let mut scale = ClusterScale { namesrv_size, ..ClusterScale::default() };
        let mut broker_configs = BTreeMap::new();
        for broker in admin.brokers_of_cluster(&self.cluster).await? {
            let Some(addr) = broker.master_addr() else { continue };
            scale.master_broker_size += 1;
            scale.slave_broker_size += i32::try_from(broker.broker_addrs.len() - 1).unwrap_or(0);
            let config = properties(addr, &admin.get_broker_config(addr).await?)?;
            let exported = config.into_iter().filter(|it| EXPORTED_KEYS.contains(&&*it.key));
            let exported = exported.map(|it| (it.key, it.value)).collect();
            broker_configs.insert(broker.broker_name, exported);
        }
        let export = ConfigsExport { broker_configs, cluster_scale: scale };
        write_export(terminal, &self.directory.join("configs.json"), &export)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_several_brokers_are_added_up() {
        let topic = |queues| [("T".to_owned(), TopicConfig::new("T", queues, 6))].into();
        let mut all = BTreeMap::new();
        merge(&mut all, topic(4), add_queues);
        merge(&mut all, topic(2), add_queues);
        assert_eq!((all["T"].read_queue_nums, all["T"].write_queue_nums), (6, 6));
    }

    #[test]
    fn what_was_exported_is_said_as_it_was_recorded() {
        let text = |name| exported_text(&Path::new("/data/run/exp").join(name));
        let recorded = include_str!("../../fixtures/72-exportMetadata.txt");
        assert_eq!(text("metadata.json"), recorded);
        assert_eq!(text("configs.json"), recorded.replace("metadata", "configs"));
    }

    #[test]
    fn tables_that_were_not_asked_for_are_not_there() {
        let export = MetadataExport {
            export_time: 1,
            topic_config_table: Some(BTreeMap::new()),
            ..MetadataExport::default()
        };
        assert_eq!(pretty_json(&export), "{\n\t\"exportTime\":1,\n\t\"topicConfigTable\":{}\n}");
    }
}
