//! `clusterList`: the brokers of all clusters, and how they are doing.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use futures::future::join_all;

use crate::command::{SubCommand, Terminal, all_done};
use crate::error::AdminError;
use crate::mq_admin_ext::{BrokerAddr, MqAdminExt, broker_addrs};
use crate::runtime_stats::{Counted, RuntimeStats};

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

/// A broker that has answered.
struct Row {
    broker: BrokerAddr,
    stats: RuntimeStats,
}

/// Every broker that answers, and why the others do not.
async fn ask(admin: &MqAdminExt) -> Result<(Vec<Row>, Vec<AdminError>), AdminError> {
    let brokers = admin.examine_broker_cluster_info().await.map(|info| broker_addrs(&info))?;
    let asked = brokers.iter().map(|broker| admin.fetch_broker_runtime_stats(&broker.addr));
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (broker, answer) in brokers.iter().zip(join_all(asked).await) {
        match answer {
            Ok(stats) => rows.push(Row { broker: broker.clone(), stats }),
            Err(error) => failures.push(error),
        }
    }
    Ok((rows, failures))
}

/// `0.20(0,0ms)`: a rate, what waits for its threads, and for how long.
fn load(stats: &RuntimeStats, tps: f64, pool: &str) -> String {
    let waiting = stats.number(&format!("{pool}ThreadPoolQueueSize"));
    let wait_ms = stats.number(&format!("{pool}ThreadPoolQueueHeadWaitTimeMills"));
    format!("{tps:9.2}({waiting},{wait_ms}ms)")
}

fn base_info_text(rows: &[Row], now_ms: i64) -> String {
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
    for Row { broker, stats } in rows {
        let earliest_ms = stats.number("earliestMessageTimeStamp");
        let age_ms = if earliest_ms > 0 { now_ms - earliest_ms } else { 0 };
        let hours = format!("{:.2}", age_ms as f64 / 3_600_000.0);
        let space: f64 = stats.text("commitLogDiskRatio").parse().unwrap_or(0.0);
        let _ = writeln!(
            out,
            "{:<16}  {:<22}  {:<4}  {:<22} {:<16} {:>19} {:>19} {:>10} {hours:>5} {:>6}",
            broker.cluster,
            broker.broker_name,
            broker.broker_id,
            broker.addr,
            stats.text("brokerVersionDesc"),
            load(stats, stats.put_tps(), "send"),
            load(stats, stats.get_tps(), "pull"),
            stats.number("pageCacheLockTimeMills"),
            format!("{space:.4}"),
        );
    }
    out
}

fn more_stats_text(rows: &[Row]) -> String {
    let mut out = format!(
        "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}\n",
        "#Cluster Name",
        "#Broker Name",
        "#InTotalYest",
        "#OutTotalYest",
        "#InTotalToday",
        "#OutTotalToday"
    );
    for Row { broker, stats } in rows {
        let _ = writeln!(
            out,
            "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
            broker.cluster,
            broker.broker_name,
            stats.yesterday(Counted::Put),
            stats.yesterday(Counted::Get),
            stats.today(Counted::Put),
            stats.today(Counted::Get),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::tables::KvTable;

    use super::*;

    fn recorded() -> Vec<Row> {
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
        let broker = BrokerAddr {
            cluster: "C1".into(),
            broker_name: "broker-a".into(),
            broker_id: 0,
            addr: "127.0.0.1:10911".into(),
        };
        vec![Row { broker, stats: RuntimeStats(KvTable { table: table.into_iter().collect() }) }]
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
        rows[0].stats = RuntimeStats::default();
        let text = base_info_text(&rows, 5);
        let row = text.lines().nth(1).unwrap();
        assert!(row.ends_with("0.00(0,0ms)          0  0.00 0.0000"), "{row}");
    }
}
