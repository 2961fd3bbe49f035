//! `brokerStatus`, `getBrokerConfig`, `updateBrokerConfig`, `haStatus`.

use std::fmt::Write;

use clap::Args;
use mq_protocol::body::topic_route::{BrokerData, MASTER_ID};
use mq_protocol::properties_file::{PropertiesFile, PropertyEntry, with_values};

use crate::command::{SubCommand, Target, Terminal, all_done};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::runtime_stats::RuntimeStats;

/// Shows how a broker, or every broker of a cluster, is doing.
#[derive(Args)]
pub(crate) struct BrokerStatus {
    #[command(flatten)]
    target: Target,
}

impl SubCommand for BrokerStatus {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = self.target.brokers(&terminal.admin).await?;
        let names_it = self.target.cluster_name.is_some();
        let ask = async |admin: &MqAdminExt, addr: &str| {
            let stats = admin.fetch_broker_runtime_stats(addr).await?;
            Ok(status_text(names_it.then_some(addr), &stats))
        };
        terminal.print_each(&addrs, ask).await
    }
}

/// `addr` where several brokers are shown.
fn status_text(addr: Option<&str>, stats: &RuntimeStats) -> String {
    let mut entries: Vec<_> = stats.0.table.iter().collect();
    entries.sort();
    let addr = addr.map(|addr| format!("{addr:<24} ")).unwrap_or_default();
    entries.iter().map(|(key, value)| format!("{addr}{key:<32}: {value}\n")).collect()
}

/// Shows the settings of a broker, or of every broker of a cluster.
#[derive(Args)]
pub(crate) struct GetBrokerConfig {
    #[command(flatten)]
    target: Target,
}

impl SubCommand for GetBrokerConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let titles = match (&self.target.broker_addr, &self.target.cluster_name) {
            (None, Some(cluster)) => titles(&terminal.admin.brokers_of_cluster(cluster).await?),
            (addr, _) => addr.iter().map(|addr| (addr.clone(), addr.clone())).collect(),
        };
        let mut failures = Vec::new();
        for (title, addr) in titles {
            let asked = ask_config(&terminal.admin, &addr).await;
            match asked {
                // Java leaves an empty line behind each broker.
                Ok(entries) => terminal.print(&format!("{}\n", config_text(&title, &entries)))?,
                Err(error) => failures.push(error),
            }
        }
        all_done(failures)
    }
}

/// What stands above the settings of each broker of a cluster, and its address.
fn titles(brokers: &[BrokerData]) -> Vec<(String, String)> {
    let titles = |broker: &BrokerData| {
        let master = broker.master_addr().unwrap_or("none").to_owned();
        let titled = move |(id, addr): (&i64, &String)| {
            let title = match *id {
                MASTER_ID => format!("Master: {addr}"),
                _ => format!("My Master: {master}=====Slave: {addr}"),
            };
            (title, addr.clone())
        };
        broker.broker_addrs.iter().map(titled).collect::<Vec<_>>()
    };
    brokers.iter().flat_map(titles).collect()
}

/// The settings of the broker at `addr`.
pub(crate) async fn ask_config(
    admin: &MqAdminExt,
    addr: &str,
) -> Result<Vec<PropertyEntry>, AdminError> {
    let text = admin.get_broker_config(addr).await?;
    properties(addr, &text)
}

/// The entries of a text that the server at `addr` sent.
pub(crate) fn properties(addr: &str, text: &str) -> Result<Vec<PropertyEntry>, AdminError> {
    let file = PropertiesFile::parse(text.as_bytes())
        .map_err(|error| AdminError::bad_answer(addr, &error))?;
    Ok(file.entries().to_vec())
}

/// Settings below a title.
pub(crate) fn config_text(title: &str, entries: &[PropertyEntry]) -> String {
    let mut out = format!("============{title}============\n");
    for PropertyEntry { key, value, .. } in entries {
        let _ = writeln!(out, "{key:<50}=  {value}");
    }
    out
}

/// Changes a setting of a broker, or of every master of a cluster.
#[derive(Args)]
pub(crate) struct UpdateBrokerConfig {
    #[command(flatten)]
    target: Target,
    /// The key.
    #[arg(short = 'k', long = "key")]
    key: String,
    /// Its value.
    #[arg(short = 'v', long = "value", allow_hyphen_values = true)]
    value: String,
}

impl SubCommand for UpdateBrokerConfig {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addrs = self.target.masters(&terminal.admin).await?;
        let properties = property_line(&self.key, &self.value)?;
        let ask = async |admin: &MqAdminExt, addr: &str| {
            admin.update_broker_config(addr, properties.clone()).await?;
            Ok(format!("update broker config success, {addr}\n"))
        };
        terminal.print_each(&addrs, ask).await
    }
}

/// A line of a `.properties` file.
pub(crate) fn property_line(key: &str, value: &str) -> Result<String, AdminError> {
    let line = with_values(b"", &[(key.to_owned(), value.to_owned())]);
    let line = line.map_err(|error| AdminError::Input(error.to_string()))?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Shows how far slaves are behind their masters (RocketMQ has it from 5.0 on; this one asks what 4.9 answers).
#[derive(Args)]
pub(crate) struct HaStatus {
    #[command(flatten)]
    target: Target,
}

/// How far a copy of the log is.
struct LogEnd {
    broker_name: String,
    broker_id: i64,
    addr: String,
    /// Bytes.
    max_offset: i64,
}

impl SubCommand for HaStatus {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let (mut ends, mut failures) = (Vec::new(), Vec::new());
        for broker in self.brokers(&terminal.admin).await? {
            for (broker_id, addr) in &broker.broker_addrs {
                match terminal.admin.fetch_broker_runtime_stats(addr).await {
                    Ok(stats) => ends.push(LogEnd {
                        broker_name: broker.broker_name.clone(),
                        broker_id: *broker_id,
                        addr: addr.clone(),
                        max_offset: log_end(addr, &stats)?,
                    }),
                    Err(error) => failures.push(error),
                }
            }
        }
        terminal.print(&ha_text(&ends))?;
        all_done(failures)
    }
}

impl HaStatus {
    async fn brokers(&self, admin: &MqAdminExt) -> Result<Vec<BrokerData>, AdminError> {
        let Some(addr) = &self.target.broker_addr else {
            let cluster = self.target.cluster_name.as_deref().unwrap_or_default();
            return admin.brokers_of_cluster(cluster).await;
        };
        let name = admin.fetch_broker_name_by_addr(addr).await?;
        let info = admin.examine_broker_cluster_info().await?;
        Ok(info.broker_addr_table.get(&name).cloned().into_iter().collect())
    }
}

fn log_end(addr: &str, stats: &RuntimeStats) -> Result<i64, AdminError> {
    let end = stats.text("commitLogMaxOffset").parse().ok();
    end.ok_or_else(|| AdminError::Failed(format!("{addr} does not say where its log ends")))
}

fn ha_text(ends: &[LogEnd]) -> String {
    let mut out = format!(
        "{:<32}  {:<4}  {:<22}  {:<24}  {}\n",
        "#Broker Name", "#BID", "#Addr", "#CommitLogMaxOffset", "#Diff"
    );
    for end in ends {
        let mut masters = ends.iter().filter(|it| it.broker_id == MASTER_ID);
        let master = masters.find(|it| it.broker_name == end.broker_name);
        let diff = master.map(|master| master.max_offset - end.max_offset);
        let diff = diff.map_or_else(|| "no master".to_owned(), |diff| diff.to_string());
        let LogEnd { broker_name, broker_id, addr, max_offset } = end;
        let _ = writeln!(
            out,
            "{broker_name:<32}  {broker_id:<4}  {addr:<22}  {max_offset:<24}  {diff}"
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::tables::KvTable;

    use super::*;

    #[test]
    fn a_status_is_sorted_by_key() {
        let recorded = include_str!("../../fixtures/03-brokerStatus.txt");
        let entries = recorded.lines().map(|line| {
            let (key, value) = line.split_once(": ").unwrap();
            (key.trim_end().to_owned(), value.to_owned())
        });
        let stats = RuntimeStats(KvTable { table: entries.rev().collect() });
        assert_eq!(status_text(None, &stats), recorded);
        let text = status_text(Some("127.0.0.1:10911"), &stats);
        assert!(text.starts_with("127.0.0.1:10911          EndTransactionQueueSize "), "{text}");
    }

    #[test]
    fn settings_stand_below_their_broker() {
        let text = "shortPollingTimeMills=1000\nmessageStorePlugIn=\n";
        let entries = properties("a", text).unwrap();
        assert_eq!(
            config_text("127.0.0.1:10911", &entries),
            include_str!("../../fixtures/45-getBrokerConfig.txt")
        );
        let brokers = [BrokerData {
            broker_addrs: [(0, "m:1".to_owned()), (1, "s:1".to_owned())].into(),
            ..BrokerData::default()
        }];
        let titles: Vec<_> = titles(&brokers).into_iter().map(|(title, _)| title).collect();
        assert_eq!(titles, ["Master: m:1", "My Master: m:1=====Slave: s:1"]);
    }

    #[test]
    fn a_slave_is_behind_its_master() {
        let end = |broker_name: &str, broker_id, max_offset| LogEnd {
            broker_name: broker_name.into(),
            broker_id,
            addr: "h:1".into(),
            max_offset,
        };
        let text = ha_text(&[end("a", 0, 10), end("a", 1, 7), end("b", 1, 7)]);
        let diffs: Vec<_> = text.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
        assert_eq!(diffs, ["#Diff", "0", "3", "no master"]);
    }
}
