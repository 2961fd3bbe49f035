//! `clusterList`: the brokers of all clusters, and how they are doing.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use mq_protocol::body::tables::KvTable;

use crate::command::{SubCommand, Terminal, all_done};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;

/// Lists clusters and their brokers.
#[derive(Args)]
pub(crate) struct ClusterList {
    /// How much went in and out, yesterday and today.
    #[arg(short = 'm', long = "moreStats")]
    more_stats: bool,
    /// Lists them again every so many seconds.
    #[arg(short = 'i', long = "interval", value_name = "SECONDS")]
    interval: Option<u64>,
}

/// A broker and what it says of itself.
pub(crate) struct BrokerRow {
    cluster: String,
    broker_name: String,
    broker_id: i64,
    addr: String,
    stats: KvTable,
}

impl SubCommand for ClusterList {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        loop {
            let (rows, failures) = ask(&terminal.admin).await?;
            let text = match self.more_stats {
                true => more_stats_text(&rows),
                false => base_info_text(&rows, terminal.time.now_ms()),
            };
            terminal.print(&text)?;
            let Some(interval) = self.interval else { return all_done(failures) };
            for failure in failures {
                terminal.print(&format!("{failure}\n"))?;
            }
            tokio::time::sleep(Duration::from_secs(interval)).await;
            terminal.print("\n")?;
        }
    }
}

/// Every broker that answers, and why the others do not.
async fn ask(admin: &MqAdminExt) -> Result<(Vec<BrokerRow>, Vec<AdminError>), AdminError> {
    let info = admin.examine_broker_cluster_info().await?;
    let mut clusters: Vec<_> = info.cluster_addr_table.iter().collect();
    clusters.sort();
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (cluster, names) in clusters {
        let mut names = names.clone();
        names.sort();
        for broker in names.iter().filter_map(|name| info.broker_addr_table.get(name)) {
            for (broker_id, addr) in &broker.broker_addrs {
                match admin.fetch_broker_runtime_stats(addr).await {
                    Ok(stats) => rows.push(BrokerRow {
                        cluster: cluster.clone(),
                        broker_name: broker.broker_name.clone(),
                        broker_id: *broker_id,
                        addr: addr.clone(),
                        stats,
                    }),
                    Err(error) => failures.push(error),
                }
            }
        }
    }
    Ok((rows, failures))
}

impl BrokerRow {
    fn text(&self, key: &str) -> &str {
        self.stats.table.get(key).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> i64 {
        self.text(key).parse().unwrap_or(0)
    }

    /// The first of three numbers: that of the last ten seconds.
    fn tps(&self, key: &str) -> f64 {
        first_number(self.text(key))
    }

    /// `0.20(0,0ms)`: a rate, what waits for its threads, and for how long.
    fn load(&self, tps_key: &str, pool: &str) -> String {
        let waiting = self.number(&format!("{pool}ThreadPoolQueueSize"));
        let wait_ms = self.number(&format!("{pool}ThreadPoolQueueHeadWaitTimeMills"));
        format!("{:9.2}({waiting},{wait_ms}ms)", self.tps(tps_key))
    }
}

/// The first number of those that a blank splits; 0 without one.
pub(crate) fn first_number(text: &str) -> f64 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

fn base_info_text(rows: &[BrokerRow], now_ms: i64) -> String {
    let mut out = format!(
        "{:<16}  {:<22}  {:<4}  {:<22} {:<16} {:>19} {:>19} {:>10} {:>5} {:>6}\n",
        "#Cluster Name",
        "#Broker Name",
        "#BID",
        "#Addr",
        "#Version",
        "#InTPS(LOAD)",
        "#OutTPS(LOAD)",
        "#PCWait(ms)",
        "#Hour",
        "#SPACE"
    );
    for row in rows {
        let earliest_ms = row.number("earliestMessageTimeStamp");
        let age_ms = if earliest_ms > 0 { now_ms - earliest_ms } else { 0 };
        let hours = format!("{:.2}", age_ms as f64 / 3_600_000.0);
        let space: f64 = row.text("commitLogDiskRatio").parse().unwrap_or(0.0);
        let _ = writeln!(
            out,
            "{:<16}  {:<22}  {:<4}  {:<22} {:<16} {:>19} {:>19} {:>10} {hours:>5} {:>6}",
            row.cluster,
            row.broker_name,
            row.broker_id,
            row.addr,
            row.text("brokerVersionDesc"),
            row.load("putTps", "send"),
            row.load("getTransferedTps", "pull"),
            row.number("pageCacheLockTimeMills"),
            format!("{space:.4}"),
        );
    }
    out
}

fn more_stats_text(rows: &[BrokerRow]) -> String {
    let mut out = format!(
        "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}\n",
        "#Cluster Name",
        "#Broker Name",
        "#InTotalYest",
        "#OutTotalYest",
        "#InTotalToday",
        "#OutTotalToday"
    );
    for row in rows {
        let between = |kind: &str, from: &str, to: &str| {
            row.number(&format!("msg{kind}Total{to}"))
                - row.number(&format!("msg{kind}Total{from}"))
        };
        let yesterday = |kind| between(kind, "YesterdayMorning", "TodayMorning");
        let today = |kind| between(kind, "TodayMorning", "TodayNow");
        let _ = writeln!(
            out,
            "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
            row.cluster,
            row.broker_name,
            yesterday("Put"),
            yesterday("Get"),
            today("Put"),
            today("Get"),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Vec<BrokerRow> {
        let entries = [
            ("brokerVersionDesc", "V4_9_7"),
            ("putTps", "0.1997802417340925 1.7636097431119393 1.0974699902743177"),
            ("getTransferedTps", "0.1997802417340925 2.595501131372288 1.2640056488895404"),
            ("earliestMessageTimeStamp", "1795950946306"),
            ("commitLogDiskRatio", "0.22"),
            ("sendThreadPoolQueueSize", "0"),
            ("msgPutTotalTodayNow", "5446"),
            ("msgGetTotalTodayNow", "2613"),
        ];
        let table = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        vec![BrokerRow {
            cluster: "C1".into(),
            broker_name: "broker-a".into(),
            broker_id: 0,
            addr: "127.0.0.1:10911".into(),
            stats: KvTable { table: table.into_iter().collect() },
        }]
    }

    #[test]
    fn rows_are_those_that_were_recorded() {
        let text = base_info_text(&recorded(), 1_795_950_946_306 + 1_512_000);
        assert_eq!(text, include_str!("../../fixtures/01-clusterList.txt"));
        let text = more_stats_text(&recorded());
        assert_eq!(text, include_str!("../../fixtures/02-clusterList-m.txt"));
    }

    #[test]
    fn what_a_broker_does_not_say_is_nothing() {
        let mut rows = recorded();
        rows[0].stats = KvTable::default();
        let text = base_info_text(&rows, 5);
        let row = text.lines().nth(1).unwrap();
        assert!(row.ends_with("0.00(0,0ms)          0  0.00 0.0000"), "{row}");
        assert_eq!(["  ", "x 1", "2.5 1"].map(first_number), [0.0, 0.0, 2.5]);
    }
}
