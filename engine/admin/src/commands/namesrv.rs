//! What name servers keep: `updateKvConfig`, `deleteKvConfig`, `updateOrderConf`, `getNamesrvConfig`,
//! `updateNamesrvConfig`, `wipeWritePerm`, `addWritePerm`.

use clap::{Args, ValueEnum};
use mq_protocol::codes::ResponseCode;

use super::broker::{config_text, properties, property_line};
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::{MqAdminExt, NAMESPACE_ORDER_TOPIC_CONFIG};

/// Sets a value on every name server.
#[derive(Args)]
pub(crate) struct UpdateKvConfig {
    /// The namespace.
    #[arg(short = 's', long = "namespace")]
    namespace: String,
    /// The key.
    #[arg(short = 'k', long = "key")]
    key: String,
    /// Its value.
    #[arg(short = 'v', long = "value", allow_hyphen_values = true)]
    value: String,
}

impl SubCommand for UpdateKvConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        terminal.admin.put_kv_config(&self.namespace, &self.key, &self.value).await?;
        terminal.print(KV_PUT)
    }
}

const KV_PUT: &str = "create or update kv config to namespace success.\n";
const KV_DELETED: &str = "delete kv config from namespace success.\n";

/// Removes a value from every name server.
#[derive(Args)]
pub(crate) struct DeleteKvConfig {
    /// The namespace.
    #[arg(short = 's', long = "namespace")]
    namespace: String,
    /// The key.
    #[arg(short = 'k', long = "key")]
    key: String,
}

impl SubCommand for DeleteKvConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        terminal.admin.delete_kv_config(&self.namespace, &self.key).await?;
        terminal.print(KV_DELETED)
    }
}

/// Shows, sets or removes how many queues of an ordered topic each broker has.
#[derive(Args)]
pub(crate) struct UpdateOrderConf {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// What is done.
    #[arg(short = 'm', long = "method")]
    method: Method,
    /// BROKER:QUEUES, several split by `;`.
    #[arg(short = 'v', long = "orderConf", value_name = "CONF", required_if_eq("method", "put"))]
    order_conf: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    Put,
    Get,
    Delete,
}

impl SubCommand for UpdateOrderConf {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let (topic, admin) = (&self.topic, terminal.admin.clone());
        let text = match self.method {
            Method::Get => {
                let conf = admin.get_kv_config(NAMESPACE_ORDER_TOPIC_CONFIG, topic).await?;
                order_conf_text(topic, &conf)
            }
            Method::Put => {
                let conf = self.order_conf.as_deref().unwrap_or_default();
                check_order_conf(conf)?;
                put_order_conf(&admin, topic, conf).await?;
                format!("update orderConf success. topic=[{topic}], orderConf=[{conf}]\n")
            }
            Method::Delete => {
                delete_order_conf(&admin, topic).await?;
                format!("delete orderConf success. topic=[{topic}]\n")
            }
        };
        terminal.print(&text)
    }
}

/// With the blank at its end that RocketMQ prints.
fn order_conf_text(topic: &str, conf: &str) -> String {
    format!("get orderConf success. topic=[{topic}], orderConf=[{conf}] \n")
}

fn check_order_conf(conf: &str) -> Result<(), AdminError> {
    let is_good = |part: &str| {
        let parts = part.split_once(':');
        parts.is_some_and(|(name, queues)| !name.is_empty() && queues.parse::<u32>().is_ok())
    };
    match conf.split(';').all(is_good) {
        true => Ok(()),
        false => Err(AdminError::Input(format!(
            "{conf} does not say how many queues brokers have; allowed: BROKER:QUEUES, several split by ;"
        ))),
    }
}

/// Tells the name servers the whole configuration of an ordered topic.
pub(crate) async fn put_order_conf(
    admin: &MqAdminExt,
    topic: &str,
    conf: &str,
) -> Result<(), AdminError> {
    admin.put_kv_config(NAMESPACE_ORDER_TOPIC_CONFIG, topic, conf).await
}

/// Has the name servers forget it.
pub(crate) async fn delete_order_conf(admin: &MqAdminExt, topic: &str) -> Result<(), AdminError> {
    admin.delete_kv_config(NAMESPACE_ORDER_TOPIC_CONFIG, topic).await
}

/// The configuration that the name servers have, with the broker of `conf` replaced or added.
pub(crate) async fn order_conf_with(
    admin: &MqAdminExt,
    topic: &str,
    conf: &str,
) -> Result<String, AdminError> {
    match admin.get_kv_config(NAMESPACE_ORDER_TOPIC_CONFIG, topic).await {
        Ok(known) => Ok(merged_order_conf(&known, conf)),
        Err(error) if error.response_code() == Some(ResponseCode::QUERY_NOT_FOUND) => {
            Ok(conf.to_owned())
        }
        Err(error) => Err(error),
    }
}

fn merged_order_conf(known: &str, conf: &str) -> String {
    let name = |part: &str| part.split(':').next().unwrap_or_default().to_owned();
    let others = known.split(';').filter(|part| !part.is_empty() && name(part) != name(conf));
    others.chain([conf]).collect::<Vec<_>>().join(";")
}

/// Shows the settings of name servers.
#[derive(Args)]
pub(crate) struct GetNamesrvConfig {}

impl SubCommand for GetNamesrvConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = some_name_servers(terminal)?;
        let ask = async |admin: &MqAdminExt, addr: &str| {
            let text = admin.get_name_server_config(addr).await?;
            Ok(config_text(addr, &properties(addr, &text)?))
        };
        terminal.print_each(&addrs, ask).await
    }
}

/// Changes a setting of name servers.
#[derive(Args)]
pub(crate) struct UpdateNamesrvConfig {
    /// The key.
    #[arg(short = 'k', long = "key")]
    key: String,
    /// Its value.
    #[arg(short = 'v', long = "value", allow_hyphen_values = true)]
    value: String,
}

impl SubCommand for UpdateNamesrvConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = some_name_servers(terminal)?;
        let UpdateNamesrvConfig { key, value } = self;
        for addr in &addrs {
            terminal.admin.update_name_server_config(addr, property_line(key, value)?).await?;
        }
        terminal.print(&updated_text(&addrs, key, value))
    }
}

fn updated_text(addrs: &[String], key: &str, value: &str) -> String {
    format!("update name server config success![{}]\n{key} : {value}\n", addrs.join(", "))
}

/// Takes the right to write from a broker at every name server: producers go elsewhere.
#[derive(Args)]
pub(crate) struct WipeWritePerm {
    /// The broker's name.
    #[arg(short = 'b', long = "brokerName", value_name = "NAME")]
    broker_name: String,
}

/// Gives it back.
#[derive(Args)]
pub(crate) struct AddWritePerm {
    /// The broker's name.
    #[arg(short = 'b', long = "brokerName", value_name = "NAME")]
    broker_name: String,
}

impl SubCommand for WipeWritePerm {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let (addrs, name) = (some_name_servers(terminal)?, &self.broker_name);
        let ask = async |admin: &MqAdminExt, addr: &str| {
            let topics = admin.wipe_write_perm_of_broker(addr, name).await?;
            Ok(write_perm_text("wipe", name, addr, topics))
        };
        terminal.print_each(&addrs, ask).await
    }
}

impl SubCommand for AddWritePerm {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let (addrs, name) = (some_name_servers(terminal)?, &self.broker_name);
        let ask = async |admin: &MqAdminExt, addr: &str| {
            let topics = admin.add_write_perm_of_broker(addr, name).await?;
            Ok(write_perm_text("add", name, addr, topics))
        };
        terminal.print_each(&addrs, ask).await
    }
}

fn write_perm_text(verb: &str, broker_name: &str, addr: &str, topics: i32) -> String {
    format!("{verb} write perm of broker[{broker_name}] in name server[{addr}] OK, {topics}\n")
}

/// The name servers, of which there is one at least.
fn some_name_servers(terminal: &Terminal<'_>) -> Result<Vec<String>, AdminError> {
    match terminal.admin.name_servers() {
        [] => Err(AdminError::NoNameServer),
        addrs => Ok(addrs.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: &str = "127.0.0.1:9876";

    #[test]
    fn sentences_are_those_that_were_recorded() {
        let text = order_conf_text("TAdmO", "broker-a:4");
        assert_eq!(text, include_str!("../../fixtures/14-updateOrderConf.txt"));
        let text = updated_text(&[ADDR.into()], "orderMessageEnable", "true");
        assert_eq!(text, include_str!("../../fixtures/49-updateNamesrvConfig.txt"));
        let text = write_perm_text("wipe", "broker-a", ADDR, 176);
        assert_eq!(text, include_str!("../../fixtures/50-wipeWritePerm.txt"));
        let text = write_perm_text("add", "broker-a", ADDR, 176);
        assert_eq!(text, include_str!("../../fixtures/52-addWritePerm.txt"));
        assert_eq!(KV_PUT, include_str!("../../fixtures/60-updateKvConfig.txt"));
        assert_eq!(KV_DELETED, include_str!("../../fixtures/61-deleteKvConfig.txt"));
    }

    #[test]
    fn settings_are_printed_as_they_were_recorded() {
        let text = "serverSocketBacklog=1024\nkvConfigPath=/data/uh/namesrv/kvConfig.json\n";
        let text = config_text(ADDR, &properties(ADDR, text).unwrap());
        assert_eq!(text, include_str!("../../fixtures/48-getNamesrvConfig.txt"));
    }

    #[test]
    fn one_broker_is_replaced_in_an_order_configuration() {
        assert_eq!(merged_order_conf("a:4;b:8", "b:2"), "a:4;b:2");
        assert_eq!(merged_order_conf("a:4;b:8", "c:2"), "a:4;b:8;c:2");
        assert_eq!(merged_order_conf("", "c:2"), "c:2");
        assert!(check_order_conf("a:4;b:8").is_ok());
        for bad in ["", "a", "a:", ":4", "a:4;", "a:x"] {
            assert!(check_order_conf(bad).unwrap_err().is_input(), "{bad}");
        }
    }
}
