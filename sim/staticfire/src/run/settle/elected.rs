//! A DLedger group has a leader again soon after the last heal.

use staticfire_judge::check::liveness::Expectation;
use tokio::time::sleep;

use super::LOOK_INTERVAL;
use super::out_of_reach::Hope;
use crate::plan::Millis;
use crate::run::cluster::Cluster;

/// Within this time: six seconds until a leader is missed, votes that are split some times, what a new one has to commit and
/// to queue; whoever lost power starts meanwhile, and connections that died with it are given up.
const LEADER_WITHIN: Millis = Millis(45_000);

/// Waits until every DLedger group has a leader.
pub(in crate::run) async fn leaders_rise(
    cluster: &Cluster,
    groups: &[String],
    healed_us: u64,
) -> Vec<Hope> {
    let mut hopes = Vec::new();
    for group in groups.iter().filter(|group| cluster.is_dledger(group)) {
        let deadline_us = healed_us + LEADER_WITHIN.0 * 1_000;
        while cluster.leads_now(group).is_none() && cluster.trace().now_us() <= deadline_us {
            sleep(LOOK_INTERVAL).await;
        }
        let led = cluster.leads_now(group);
        let happened_us = led.map(|(_, since_us)| since_us.max(healed_us));
        let what = format!("somebody leads {group}");
        let within = Some(LEADER_WITHIN);
        let expectation = Expectation { what, within, healed_us, happened_us };
        hopes.push(Hope { expectation, hindered: cluster.why_no_quorum(group) });
    }
    hopes
}
