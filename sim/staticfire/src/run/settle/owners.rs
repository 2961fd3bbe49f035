//! Every queue of a consumer group is to have one owner before the story ends.

use std::time::Duration;

use staticfire_judge::check::ownership;
use tokio::time::sleep;

use crate::plan::Plan;
use crate::run::Clients;
use crate::run::cluster::Cluster;
use crate::run::watching::Watched;

/// How often it is looked at.
const OWNERS_INTERVAL: Duration = Duration::from_secs(5);

/// Looks at most. None of the troubles that a queue may have to wait for is felt for longer, once it is over.
const LOOKS_MAX: u32 = 120;

/// Waits as long as a queue has no owner, or two, that may yet be excused: until nothing is in the way any more. Does
/// not wait for what lasts.
pub(in crate::run) async fn owners_settle(
    cluster: &Cluster,
    clients: &Clients,
    plan: &Plan,
) -> Watched {
    for _ in 0..LOOKS_MAX {
        let watched = Watched::of(cluster, clients, plan);
        let judged = ownership::judge(&clients.traffic.history(), &watched.ownership);
        let Some(open_us) = judged.open_until_us else { return watched };
        let left = Duration::from_micros(open_us.saturating_sub(watched.ownership.until_us));
        // One that is due at this very moment is judged a moment later.
        sleep(OWNERS_INTERVAL.min(left) + Duration::from_millis(1)).await;
    }
    Watched::of(cluster, clients, plan)
}
