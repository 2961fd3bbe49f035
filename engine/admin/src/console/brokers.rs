//! The cluster table of RocketMQ's console, and what one broker says of itself.

use futures::future::join;
use mq_protocol::body::topic_route::MASTER_ID;
use mq_protocol::properties_file::PropertyEntry;
use serde::Serialize;

use super::listed::Listed;
use super::refusal::{Refusal, trouble};
use crate::commands::broker::ask_config;
use crate::error::AdminError;
use crate::mq_admin_ext::{BrokerAddr, MqAdminExt, broker_addrs};
use crate::runtime_stats::{Counted, RuntimeStats};

/// Brokers in the table.
const BROKERS_MAX: usize = 200;

/// The name servers, and every broker that they know.
#[derive(Debug, Serialize)]
pub(super) struct ClusterTable {
    at_ms: i64,
    name_servers: Vec<String>,
    brokers: Listed<Row>,
}

/// A row of the cluster table.
#[derive(Debug, Serialize)]
struct Row {
    cluster: String,
    broker: String,
    id: i64,
    role: String,
    address: String,
    /// Absent where the broker does not say.
    #[serde(flatten)]
    figures: Option<Figures>,
    /// `unreachable: …` or `refused: …`
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// What a broker counts: the columns of RocketMQ's console.
#[derive(Debug, PartialEq, Serialize)]
struct Figures {
    version: String,
    produce_tps: f64,
    consume_tps: f64,
    yesterday_produced: i64,
    yesterday_consumed: i64,
    today_produced: i64,
    today_consumed: i64,
}

impl Figures {
    fn of(stats: &RuntimeStats) -> Self {
        Figures {
            version: stats.text("brokerVersionDesc").to_owned(),
            produce_tps: stats.put_tps(),
            consume_tps: stats.get_tps(),
            yesterday_produced: stats.yesterday(Counted::Put),
            yesterday_consumed: stats.yesterday(Counted::Get),
            today_produced: stats.today(Counted::Put),
            today_consumed: stats.today(Counted::Get),
        }
    }
}

/// All brokers, asked side by side.
///
/// # Errors
/// When no name server answers.
pub(super) async fn all(admin: &MqAdminExt) -> Result<ClusterTable, Refusal> {
    let known = broker_addrs(&admin.examine_broker_cluster_info().await?);
    let brokers = Listed::first_of(known, BROKERS_MAX, "brokers");
    let brokers = brokers.asked(|broker| row(admin, broker)).await;
    Ok(ClusterTable {
        at_ms: i64::try_from(admin.env().clock.now_millis()).unwrap_or(i64::MAX),
        name_servers: admin.name_servers().to_vec(),
        brokers,
    })
}

async fn row(admin: &MqAdminExt, broker: BrokerAddr) -> Row {
    let BrokerAddr { cluster, broker_name, broker_id, addr } = broker;
    let (stats, config) =
        join(admin.fetch_broker_runtime_stats(&addr), ask_config(admin, &addr)).await;
    Row {
        cluster,
        broker: broker_name,
        id: broker_id,
        // Who may not read the settings (they may be refused alone) knows the role by the id.
        role: role(broker_id, &config.unwrap_or_default()),
        address: addr,
        trouble: stats.as_ref().err().map(trouble),
        figures: stats.ok().map(|stats| Figures::of(&stats)),
    }
}

/// What a broker is in its group: by its id, which name servers and clients go by, and by its settings.
fn role(broker_id: i64, config: &[PropertyEntry]) -> String {
    let setting = |key: &str| config.iter().find(|it| it.key == key).map(|it| it.value.as_str());
    let is_master = broker_id == MASTER_ID;
    if setting("enableDLegerCommitLog") == Some("true") {
        let role = if is_master { "leader" } else { "follower" };
        let id = setting("dLegerSelfId").unwrap_or("without an id");
        return format!("DLedger {role} ({id})");
    }
    match (is_master, setting("brokerRole")) {
        (true, Some("SYNC_MASTER")) => "master (SYNC_MASTER)".to_owned(),
        (true, Some("ASYNC_MASTER")) => "master (ASYNC_MASTER)".to_owned(),
        (true, _) => "master".to_owned(),
        (false, _) => "slave".to_owned(),
    }
}

/// What a broker says of itself: how it is doing, and its settings.
#[derive(Debug, Serialize)]
pub(super) struct BrokerPage {
    address: String,
    broker: String,
    status: Vec<Pair>,
    settings: Vec<Pair>,
    troubles: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Pair {
    key: String,
    value: String,
}

/// One broker.
///
/// # Errors
/// When no name server answers, or none knows the broker.
pub(super) async fn one(admin: &MqAdminExt, address: &str) -> Result<BrokerPage, Refusal> {
    let broker = known(admin, address).await?;
    let (stats, config) =
        join(admin.fetch_broker_runtime_stats(address), ask_config(admin, address)).await;
    let failures = [stats.as_ref().err(), config.as_ref().err()];
    let troubles = failures.into_iter().flatten().map(trouble).collect();
    let mut status: Vec<Pair> = stats.unwrap_or_default().0.table.into_iter().map(pair).collect();
    status.sort_by(|one, other| one.key.cmp(&other.key));
    let settings = config.unwrap_or_default().into_iter().map(|it| pair((it.key, it.value)));
    Ok(BrokerPage {
        address: broker.addr,
        broker: broker.broker_name,
        status,
        settings: settings.collect(),
        troubles,
    })
}

fn pair((key, value): (String, String)) -> Pair {
    Pair { key, value }
}

/// The broker at `address`: nobody else is asked anything, whatever a browser says.
///
/// # Errors
/// When no name server answers, or none knows the broker.
pub(super) async fn known(admin: &MqAdminExt, address: &str) -> Result<BrokerAddr, Refusal> {
    let all = broker_addrs(&admin.examine_broker_cluster_info().await?);
    all.into_iter().find(|it| it.addr == address).ok_or_else(|| unknown(address).into())
}

fn unknown(address: &str) -> AdminError {
    AdminError::Failed(format!("the name server knows no broker at {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::broker::properties;

    #[test]
    fn roles_are_those_of_ids_and_settings() {
        let role = |id, text: &str| role(id, &properties("a", text).unwrap());
        assert_eq!(role(0, "brokerRole=SYNC_MASTER\n"), "master (SYNC_MASTER)");
        assert_eq!((role(0, ""), role(1, "brokerRole=SLAVE\n")), ("master".into(), "slave".into()));
        let group = "enableDLegerCommitLog=true\ndLegerSelfId=n1\nbrokerRole=SLAVE\n";
        assert_eq!(role(0, group), "DLedger leader (n1)");
        assert_eq!(role(2, group), "DLedger follower (n1)");
    }

    #[test]
    fn a_broker_that_says_nothing_has_no_figures() {
        let row = Row {
            cluster: "C".into(),
            broker: "a".into(),
            id: 0,
            role: "master".into(),
            address: "h:1".into(),
            figures: None,
            trouble: Some("unreachable: h:1".into()),
        };
        let json = serde_json::to_value(&row).unwrap();
        assert!(json.get("version").is_none() && json["trouble"] == "unreachable: h:1", "{json}");
        let row =
            Row { figures: Some(Figures::of(&RuntimeStats::default())), trouble: None, ..row };
        let json = serde_json::to_value(&row).unwrap();
        assert!(json["produce_tps"] == 0.0 && json.get("trouble").is_none(), "{json}");
    }
}
