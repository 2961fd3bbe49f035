//! `updateTopic`, `updateTopicPerm`, `deleteTopic`.

use clap::{ArgAction, Args};
use mq_protocol::body::topic_config::TopicConfig;
use mq_protocol::sys_flag::TopicSysFlag;
use mq_protocol::topic_validator::validate_topic;

use super::namesrv::{delete_order_conf, order_conf_with, put_order_conf};
use crate::command::{SubCommand, Target, Terminal, all_done};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::text::perm_text;

/// Makes a topic, or changes it.
#[derive(Args)]
pub(crate) struct UpdateTopic {
    #[command(flatten)]
    target: Target,
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// Queues to read.
    #[arg(short = 'r', long = "readQueueNums", default_value_t = 8, value_parser = clap::value_parser!(i32).range(0..))]
    read_queue_nums: i32,
    /// Queues to write.
    #[arg(short = 'w', long = "writeQueueNums", default_value_t = 8, value_parser = clap::value_parser!(i32).range(0..))]
    write_queue_nums: i32,
    /// What may be done with it: 2 write, 4 read, 6 both.
    #[arg(short = 'p', long = "perm", default_value_t = 6, value_parser = clap::value_parser!(i32).range(0..8))]
    perm: i32,
    /// Whether its messages are consumed in order across the cluster.
    #[arg(short = 'o', long = "order", action = ArgAction::Set, default_value_t = false)]
    order: bool,
    /// Whether it belongs to a unit.
    #[arg(short = 'u', long = "unit", action = ArgAction::Set, default_value_t = false)]
    unit: bool,
    /// Whether units subscribe to it.
    #[arg(short = 's', long = "hasUnitSub", action = ArgAction::Set, default_value_t = false)]
    has_unit_sub: bool,
}

impl SubCommand for UpdateTopic {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        validate_topic(&self.topic).map_err(|why| AdminError::Input(why.to_owned()))?;
        let config = self.config();
        let addrs = self.target.masters(&terminal.admin).await?;
        let create = async |admin: &MqAdminExt, addr: &str| {
            admin.create_and_update_topic_config(addr, &config).await?;
            Ok(format!("create topic to {addr} success.\n"))
        };
        terminal.print_each(&addrs, create).await?;
        if self.order {
            self.put_order_conf(terminal, &addrs).await?;
        }
        terminal.print(&format!("{}\n", config_text(&config)))
    }
}

impl UpdateTopic {
    fn config(&self) -> TopicConfig {
        let flag = |is_set, bit| if is_set { bit } else { 0 };
        TopicConfig {
            order: self.order,
            perm: self.perm,
            read_queue_nums: self.read_queue_nums,
            topic_name: self.topic.clone(),
            topic_sys_flag: flag(self.unit, TopicSysFlag::UNIT)
                | flag(self.has_unit_sub, TopicSysFlag::UNIT_SUB),
            write_queue_nums: self.write_queue_nums,
            ..TopicConfig::default()
        }
    }

    /// Tells the name servers how many queues each broker has: those of a cluster are all, one broker is one more.
    async fn put_order_conf(
        &self,
        terminal: &mut Terminal<'_>,
        addrs: &[String],
    ) -> Result<(), AdminError> {
        let mut conf = Vec::new();
        for addr in addrs {
            let name = terminal.admin.fetch_broker_name_by_addr(addr).await?;
            conf.push(format!("{name}:{}", self.write_queue_nums));
        }
        let conf = conf.join(";");
        let whose = match self.target.cluster_name {
            Some(_) => {
                put_order_conf(&terminal.admin, &self.topic, &conf).await?;
                "cluster"
            }
            None => {
                let merged = order_conf_with(&terminal.admin, &self.topic, &conf).await?;
                put_order_conf(&terminal.admin, &self.topic, &merged).await?;
                "broker"
            }
        };
        let order = self.order;
        terminal.print(&format!("set {whose} orderConf. isOrder={order}, orderConf=[{conf}]"))
    }
}

/// As RocketMQ prints a topic (`TopicConfig.toString`).
fn config_text(config: &TopicConfig) -> String {
    let TopicConfig { topic_name, read_queue_nums, write_queue_nums, .. } = config;
    let (perm, filter_type) = (perm_text(config.perm), config.topic_filter_type.name());
    let (sys_flag, order) = (config.topic_sys_flag, config.order);
    format!(
        "TopicConfig [topicName={topic_name}, readQueueNums={read_queue_nums}, \
         writeQueueNums={write_queue_nums}, perm={perm}, topicFilterType={filter_type}, \
         topicSysFlag={sys_flag}, order={order}]"
    )
}

/// Changes what may be done with a topic.
#[derive(Args)]
pub(crate) struct UpdateTopicPerm {
    #[command(flatten)]
    target: Target,
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// 2 write, 4 read, 6 both.
    #[arg(short = 'p', long = "perm", value_parser = clap::value_parser!(i32).range(0..8))]
    perm: i32,
}

impl SubCommand for UpdateTopicPerm {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = self.target.masters(&terminal.admin).await?;
        let update = async |admin: &MqAdminExt, addr: &str| {
            let mut config = admin.examine_topic_config(addr, &self.topic).await?;
            let before = std::mem::replace(&mut config.perm, self.perm);
            if before == self.perm {
                return Ok(format!("new perm equals to the old one in {addr}!\n"));
            }
            admin.create_and_update_topic_config(addr, &config).await?;
            Ok(perm_text_of(before, addr, &config))
        };
        terminal.print_each(&addrs, update).await
    }
}

fn perm_text_of(before: i32, addr: &str, config: &TopicConfig) -> String {
    let now = config.perm;
    format!(
        "update topic perm from {before} to {now} in {addr} success.\n{}.\n",
        config_text(config)
    )
}

/// Deletes a topic on every master of a cluster, and at the name servers.
#[derive(Args)]
pub(crate) struct DeleteTopic {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The cluster.
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster: String,
}

impl SubCommand for DeleteTopic {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let DeleteTopic { topic, cluster } = self;
        let mut failures = Vec::new();
        for addr in terminal.admin.masters_of_cluster(cluster).await? {
            failures.extend(terminal.admin.delete_topic_in_broker(&addr, topic).await.err());
        }
        // A broker that still has it would have it come back.
        all_done(failures)?;
        terminal.print(&format!("delete topic [{topic}] from cluster [{cluster}] success.\n"))?;
        terminal.admin.delete_topic_in_name_server(topic, Some(cluster)).await?;
        terminal.print(&format!("delete topic [{topic}] from NameServer success.\n"))?;
        delete_order_conf(&terminal.admin, topic).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_printed_as_it_was_recorded() {
        let mut config = TopicConfig::new("TAdm", 4, 6);
        let line = |text: &str| text.lines().nth(1).unwrap().to_owned();
        let recorded = include_str!("../../fixtures/10-updateTopic.txt");
        assert_eq!(config_text(&config), line(recorded));
        config.perm = 4;
        let text = perm_text_of(6, "127.0.0.1:10911", &config);
        assert_eq!(text, include_str!("../../fixtures/13-updateTopicPerm.txt"));
    }
}
