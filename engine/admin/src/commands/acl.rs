//! `updateAclConfig`, `deleteAclConfig`, `clusterAclConfigVersion`, `updateGlobalWhiteAddr`, `getAclConfig`: the access
//! control of brokers.

use std::fmt::Write;

use clap::{ArgAction, Args};
use mq_protocol::body::OrderedMap;
use mq_protocol::body::acl::GetBrokerClusterAclConfigResponseBody;
use mq_protocol::body::topic_config::DataVersion;
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::acl::{
    CreateAccessConfigRequestHeader, GetBrokerAclConfigResponseHeader,
    UpdateGlobalWhiteAddrsConfigRequestHeader,
};

use crate::command::{SubCommand, Target, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::text::{LocalTime, WITH_SECONDS, or_null};

/// Makes an account, or changes it, on a broker or on all brokers of a cluster.
#[derive(Args)]
pub(crate) struct UpdateAclConfig {
    #[command(flatten)]
    target: Target,
    /// The account's name.
    #[arg(short = 'a', long = "accessKey", value_name = "KEY")]
    access_key: String,
    /// What proves it, seven characters at least.
    #[arg(short = 's', long = "secretKey", value_name = "SECRET")]
    secret_key: String,
    /// Addresses from which its requests need no signature.
    #[arg(short = 'w', long = "whiteRemoteAddress", value_name = "PATTERN")]
    white_remote_address: Option<String>,
    /// What it may do with topics that are not named.
    #[arg(short = 'i', long = "defaultTopicPerm", value_name = "PERM")]
    default_topic_perm: Option<String>,
    /// What it may do as groups that are not named.
    #[arg(short = 'u', long = "defaultGroupPerm", value_name = "PERM")]
    default_group_perm: Option<String>,
    /// TOPIC=PERM, several split by commas.
    #[arg(short = 't', long = "topicPerms", value_name = "PERMS")]
    topic_perms: Option<String>,
    /// GROUP=PERM, several split by commas.
    #[arg(short = 'g', long = "groupPerms", value_name = "PERMS")]
    group_perms: Option<String>,
    /// Whether it may administer.
    #[arg(short = 'm', long = "admin", action = ArgAction::Set, default_value_t = false)]
    admin: bool,
}

impl SubCommand for UpdateAclConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let header = CreateAccessConfigRequestHeader {
            access_key: Some(self.access_key.clone()),
            secret_key: Some(self.secret_key.clone()),
            white_remote_address: self.white_remote_address.clone(),
            admin: self.admin,
            default_topic_perm: self.default_topic_perm.clone(),
            default_group_perm: self.default_group_perm.clone(),
            topic_perms: self.topic_perms.clone(),
            group_perms: self.group_perms.clone(),
        };
        let addrs = self.target.brokers(&terminal.admin).await?;
        let update = async |admin: &MqAdminExt, addr: &str| {
            admin.create_and_update_plain_access_config(addr, &header).await?;
            Ok(format!("create or update plain access config to {addr} success.\n"))
        };
        terminal.print_each(&addrs, update).await?;
        terminal.print(&format!("{}\n", account_line(&header)))
    }
}

/// `PlainAccessConfig.toString`, which leaves the secret out.
fn account_line(account: &CreateAccessConfigRequestHeader) -> String {
    let text = |value: &Option<String>| match value {
        Some(value) => format!("'{value}'"),
        None => "null".to_owned(),
    };
    let list = |perms: &Option<String>| {
        or_null(
            perms
                .as_ref()
                .map(|perms| format!("[{}]", perms.split(',').collect::<Vec<_>>().join(", "))),
        )
    };
    format!(
        "PlainAccessConfig{{accessKey={}, whiteRemoteAddress={}, admin={}, defaultTopicPerm={}, \
         defaultGroupPerm={}, topicPerms={}, groupPerms={}}}",
        text(&account.access_key),
        text(&account.white_remote_address),
        account.admin,
        text(&account.default_topic_perm),
        text(&account.default_group_perm),
        list(&account.topic_perms),
        list(&account.group_perms),
    )
}

/// Deletes an account on a broker, or on all brokers of a cluster.
#[derive(Args)]
pub(crate) struct DeleteAclConfig {
    #[command(flatten)]
    target: Target,
    /// The account's name.
    #[arg(short = 'a', long = "accessKey", value_name = "KEY")]
    access_key: String,
}

impl SubCommand for DeleteAclConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = self.target.brokers(&terminal.admin).await?;
        let delete = async |admin: &MqAdminExt, addr: &str| {
            admin.delete_plain_access_config(addr, &self.access_key).await?;
            Ok(format!("delete plain access config account from {addr} success.\n"))
        };
        terminal.print_each(&addrs, delete).await?;
        terminal.print(&format!("account's accesskey is:{}\n", self.access_key))
    }
}

/// Shows when files of accounts were changed last.
#[derive(Args)]
pub(crate) struct ClusterAclConfigVersion {
    #[command(flatten)]
    target: Target,
}

impl SubCommand for ClusterAclConfigVersion {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = self.target.masters(&terminal.admin).await?;
        let time = terminal.time.clone();
        terminal.print(&version_row([
            "#Cluster Name",
            "#Broker Name",
            "#Broker Addr",
            "#AclFilePath",
            "#AclConfigVersionNum",
            "#AclLastUpdateTime",
        ]))?;
        let ask = async |admin: &MqAdminExt, addr: &str| {
            let header = admin.examine_broker_cluster_acl_version_info(addr).await?;
            versions_text(&header, &time)
        };
        terminal.print_each(&addrs, ask).await?;
        let whose = if self.target.cluster_name.is_some() { "cluster" } else { "broker" };
        terminal.print(&format!("get {whose}'s plain access config version success.\n"))
    }
}

fn version_row(cells: [&str; 6]) -> String {
    let [cluster, broker, addr, path, version, time] = cells;
    format!("{cluster:<16}  {broker:<22}  {addr:<22}  {path:<20}  {version:<22}  {time:<22}\n")
}

/// A row for each file.
fn versions_text(
    header: &GetBrokerAclConfigResponseHeader,
    time: &LocalTime,
) -> Result<String, AdminError> {
    let versions: OrderedMap<String, DataVersion> =
        from_slice(header.all_acl_file_version.as_bytes())
            .map_err(|error| AdminError::bad_answer(&header.broker_addr, &error))?;
    let row = |(path, version): (&String, &DataVersion)| {
        let changed = time.text(version.timestamp, WITH_SECONDS);
        let (cluster, broker) = (&header.cluster_name, &header.broker_name);
        let counter = version.counter.to_string();
        version_row([cluster, broker, &header.broker_addr, path, &counter, &changed])
    };
    Ok(versions.iter().map(row).collect())
}

/// Replaces the addresses whose requests need no signature, on a broker or on all brokers of a cluster.
#[derive(Args)]
pub(crate) struct UpdateGlobalWhiteAddr {
    #[command(flatten)]
    target: Target,
    /// Patterns as 10.0.0.*, several split by commas.
    #[arg(short = 'g', long = "globalWhiteRemoteAddresses", value_name = "PATTERNS")]
    addresses: String,
    /// The file on the broker; without one, its default file.
    #[arg(short = 'p', long = "aclFileFullPath", value_name = "FILE")]
    file: Option<String>,
}

impl SubCommand for UpdateGlobalWhiteAddr {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let header = UpdateGlobalWhiteAddrsConfigRequestHeader {
            global_white_addrs: self.addresses.clone(),
            acl_file_full_path: self.file.clone(),
        };
        let addrs = self.target.brokers(&terminal.admin).await?;
        let update = async |admin: &MqAdminExt, addr: &str| {
            admin.update_global_white_addr_config(addr, &header).await?;
            Ok(format!("update global white remote addresses to {addr} success.\n"))
        };
        terminal.print_each(&addrs, update).await
    }
}

/// Shows the accounts of a broker, or of all masters of a cluster.
#[derive(Args)]
pub(crate) struct GetAclConfig {
    #[command(flatten)]
    target: Target,
}

impl SubCommand for GetAclConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = self.target.masters(&terminal.admin).await?;
        let ask = async |admin: &MqAdminExt, addr: &str| {
            Ok(accounts_text(&admin.examine_broker_cluster_acl_config(addr).await?))
        };
        terminal.print_each(&addrs, ask).await
    }
}

fn accounts_text(config: &GetBrokerClusterAclConfigResponseBody) -> String {
    let list = |items: &[String]| format!("[{}]", items.join(", "));
    let white = list(&config.global_white_addrs);
    let mut out = format!("\n{:<20}: {white}\n\naccounts:\n", "globalWhiteRemoteAddresses");
    for it in &config.plain_access_configs {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let perms = |value: &Option<Vec<String>>| value.as_deref().map(list).unwrap_or_default();
        for (name, value) in [
            ("accessKey", it.access_key.clone()),
            ("secretKey", it.secret_key.clone()),
            ("whiteRemoteAddress", text(&it.white_remote_address)),
            ("admin", it.admin.to_string()),
            ("defaultTopicPerm", text(&it.default_topic_perm)),
            ("defaultGroupPerm", text(&it.default_group_perm)),
            ("topicPerms", perms(&it.topic_perms)),
            ("groupPerms", perms(&it.group_perms)),
        ] {
            let _ = writeln!(out, "  {name:<18}: {value}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::acl::PlainAccessConfig;

    use super::*;
    use crate::text::tests::utc;

    #[test]
    fn an_account_is_printed_without_its_secret() {
        let account = CreateAccessConfigRequestHeader {
            access_key: Some("admuser".into()),
            secret_key: Some("12345678".into()),
            topic_perms: Some("a=PUB,b=SUB".into()),
            ..CreateAccessConfigRequestHeader::default()
        };
        assert_eq!(
            account_line(&account),
            "PlainAccessConfig{accessKey='admuser', whiteRemoteAddress=null, admin=false, \
             defaultTopicPerm=null, defaultGroupPerm=null, topicPerms=[a=PUB, b=SUB], \
             groupPerms=null}"
        );
    }

    #[test]
    fn files_have_a_row_each() {
        let header = GetBrokerAclConfigResponseHeader {
            version: String::new(),
            all_acl_file_version: r#"{"/mq/a.yml":{"counter":2,"timestamp":1795952542000}}"#.into(),
            broker_name: "broker-a".into(),
            broker_addr: "127.0.0.1:10911".into(),
            cluster_name: "C1".into(),
        };
        let text = versions_text(&header, &utc()).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        let [addr, path, date] = ["127.0.0.1:10911", "/mq/a.yml", "2026-11-29"];
        assert_eq!(words, ["C1", "broker-a", addr, path, "2", date, "11:42:22"]);
        let header =
            GetBrokerAclConfigResponseHeader { all_acl_file_version: "[".into(), ..header };
        assert!(versions_text(&header, &utc()).unwrap_err().to_string().contains(addr));
    }

    #[test]
    fn accounts_are_listed() {
        let config = GetBrokerClusterAclConfigResponseBody {
            global_white_addrs: vec!["10.0.0.1".into(), "10.0.0.2".into()],
            plain_access_configs: vec![PlainAccessConfig {
                access_key: "k".into(),
                topic_perms: Some(vec!["a=PUB".into()]),
                ..PlainAccessConfig::default()
            }],
        };
        let text = accounts_text(&config);
        assert!(text.starts_with("\nglobalWhiteRemoteAddresses: [10.0.0.1, 10.0.0.2]\n\n"));
        assert!(text.contains("  accessKey         : k\n") && text.contains(": [a=PUB]\n"));
    }
}
