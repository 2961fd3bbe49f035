//! `updateSubGroup`, `deleteSubGroup`, `getConsumerConfig`.

use std::fmt::Write;

use clap::{ArgAction, Args};
use mq_protocol::body::subscription_group::SubscriptionGroupConfig;
use mq_protocol::message::{dlq_topic, retry_topic};
use mq_protocol::topic_validator::is_legal_group;

use crate::command::{SubCommand, Target, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;

/// Makes a consumer group, or changes it.
#[derive(Args)]
pub(crate) struct UpdateSubGroup {
    #[command(flatten)]
    target: Target,
    /// The consumer group.
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group: String,
    /// Whether it may consume.
    #[arg(short = 's', long = "consumeEnable", action = ArgAction::Set, default_value_t = true)]
    consume_enable: bool,
    /// Kept, and of no effect, as in RocketMQ.
    #[arg(short = 'm', long = "consumeFromMinEnable", action = ArgAction::Set, default_value_t = false)]
    consume_from_min_enable: bool,
    /// Whether its members may consume by broadcasting.
    #[arg(short = 'd', long = "consumeBroadcastEnable", action = ArgAction::Set, default_value_t = false)]
    consume_broadcast_enable: bool,
    /// Queues of its retry topic.
    #[arg(short = 'q', long = "retryQueueNums", default_value_t = 1)]
    retry_queue_nums: i32,
    /// Deliveries before a message becomes a dead letter.
    #[arg(short = 'r', long = "retryMaxTimes", default_value_t = 16)]
    retry_max_times: i32,
    /// Id of the broker that it pulls from.
    #[arg(short = 'i', long = "brokerId", default_value_t = 0)]
    broker_id: i64,
    /// Id of the broker that it pulls from when it lags.
    #[arg(short = 'w', long = "whichBrokerWhenConsumeSlowly", default_value_t = 1)]
    which_broker_when_consume_slowly: i64,
    /// Whether members are told when others come and go.
    #[arg(short = 'a', long = "notifyConsumerIdsChanged", action = ArgAction::Set, default_value_t = true)]
    notify_consumer_ids_changed: bool,
}

impl SubCommand for UpdateSubGroup {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        if !is_legal_group(&self.group) {
            let sentence = format!(
                "{} is no name of a group; allowed: letters, digits, %, |, - and _",
                self.group
            );
            return Err(AdminError::Input(sentence));
        }
        let config = self.config();
        let addrs = self.target.masters(&terminal.admin).await?;
        let create = async |admin: &MqAdminExt, addr: &str| {
            admin.create_and_update_subscription_group_config(addr, &config).await?;
            Ok(format!("create subscription group to {addr} success.\n"))
        };
        terminal.print_each(&addrs, create).await?;
        terminal.print(&format!("{}\n", config_line(&config)))
    }
}

impl UpdateSubGroup {
    fn config(&self) -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            broker_id: self.broker_id,
            consume_broadcast_enable: self.consume_broadcast_enable,
            consume_enable: self.consume_enable,
            consume_from_min_enable: self.consume_from_min_enable,
            group_name: self.group.clone(),
            notify_consumer_ids_changed_enable: self.notify_consumer_ids_changed,
            retry_max_times: self.retry_max_times,
            retry_queue_nums: self.retry_queue_nums,
            which_broker_when_consume_slowly: self.which_broker_when_consume_slowly,
        }
    }
}

/// Names and values of a group, in the order in which RocketMQ shows them.
fn fields(config: &SubscriptionGroupConfig) -> [(&'static str, String); 9] {
    [
        ("groupName", config.group_name.clone()),
        ("consumeEnable", config.consume_enable.to_string()),
        ("consumeFromMinEnable", config.consume_from_min_enable.to_string()),
        ("consumeBroadcastEnable", config.consume_broadcast_enable.to_string()),
        ("retryQueueNums", config.retry_queue_nums.to_string()),
        ("retryMaxTimes", config.retry_max_times.to_string()),
        ("brokerId", config.broker_id.to_string()),
        ("whichBrokerWhenConsumeSlowly", config.which_broker_when_consume_slowly.to_string()),
        ("notifyConsumerIdsChangedEnable", config.notify_consumer_ids_changed_enable.to_string()),
    ]
}

fn config_line(config: &SubscriptionGroupConfig) -> String {
    let fields = fields(config).map(|(name, value)| format!("{name}={value}"));
    format!("SubscriptionGroupConfig [{}]", fields.join(", "))
}

/// Deletes a consumer group.
#[derive(Args)]
pub(crate) struct DeleteSubGroup {
    #[command(flatten)]
    target: Target,
    /// The consumer group.
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group: String,
    /// Whether its offsets go, too.
    #[arg(short = 'r', long = "removeOffset", action = ArgAction::Set, default_value_t = false)]
    remove_offset: bool,
}

impl SubCommand for DeleteSubGroup {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let group = &self.group;
        let addrs = self.target.masters(&terminal.admin).await?;
        let within = self.target.cluster_name.as_ref();
        let within = within.map(|it| format!(" in cluster [{it}]")).unwrap_or_default();
        let delete = async |admin: &MqAdminExt, addr: &str| {
            admin.delete_subscription_group(addr, group, self.remove_offset).await?;
            Ok(format!(
                "delete subscription group [{group}] from broker [{addr}]{within} success.\n"
            ))
        };
        terminal.print_each(&addrs, delete).await?;
        let Some(cluster) = &self.target.cluster_name else { return Ok(()) };
        // Nobody consumes from them any more.
        for topic in [retry_topic(group), dlq_topic(group)] {
            for addr in &addrs {
                terminal.admin.delete_topic_in_broker(addr, &topic).await?;
            }
            terminal.admin.delete_topic_in_name_server(&topic, Some(cluster)).await?;
        }
        Ok(())
    }
}

/// Shows the settings of a consumer group on every master.
#[derive(Args)]
pub(crate) struct GetConsumerConfig {
    /// The consumer group.
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group: String,
}

impl SubCommand for GetConsumerConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let info = terminal.admin.examine_broker_cluster_info().await?;
        let mut found = false;
        let mut brokers: Vec<_> = info.broker_addr_table.values().collect();
        brokers.sort_by(|one, other| one.broker_name.cmp(&other.broker_name));
        for broker in brokers {
            let Some(addr) = broker.master_addr() else { continue };
            let groups = terminal.admin.get_all_subscription_group(addr).await?;
            if let Some(config) = groups.subscription_group_table.get(&self.group) {
                found = true;
                terminal.print(&config_text(&broker.cluster, &broker.broker_name, config))?;
            }
        }
        match found {
            true => Ok(()),
            false => {
                Err(AdminError::Failed(format!("no master has the consumer group {}", self.group)))
            }
        }
    }
}

fn config_text(cluster: &str, broker_name: &str, config: &SubscriptionGroupConfig) -> String {
    let rule = "=".repeat(29);
    let mut out = format!("{rule}{cluster}:{broker_name}{rule}\n");
    for (name, value) in fields(config) {
        let _ = writeln!(out, "{name:<40}=  {value}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_printed_as_it_was_recorded() {
        let config = SubscriptionGroupConfig::new("CGK");
        let text = config_text("C1", "broker-a", &config);
        assert_eq!(text, include_str!("../../fixtures/17-getConsumerConfig.txt"));
        let config = SubscriptionGroupConfig {
            consume_from_min_enable: false,
            consume_broadcast_enable: false,
            ..SubscriptionGroupConfig::new("GAdm")
        };
        let recorded = include_str!("../../fixtures/16-updateSubGroup.txt");
        assert_eq!(config_line(&config), recorded.lines().nth(1).unwrap());
    }
}
