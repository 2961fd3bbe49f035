//! A member of a DLedger group that knows no leader says so, for the operator: as slaves do that have no master.

use std::sync::Arc;
use std::time::Duration;

use mq_dledger::{Role, Term};
use mq_dledger_node::Status;
use mq_env::watched::Watched;
use tokio::time::{Instant, timeout};

use crate::dledger_commit_log::DLedgerCommitLog;

/// How long that lasts before it is worth a warning,
const FIRST_WARNING: Duration = Duration::from_secs(20);
/// and how long before it is worth another one.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// Watches until it is dropped.
pub(super) async fn run(dledger: Arc<DLedgerCommitLog>) {
    watch(dledger.node().status(), |since, term| {
        let seconds = since.elapsed().as_secs();
        tracing::warn!(
            "this member of the DLedger group has known no leader for {seconds} s (term {term}): a majority of dLegerPeers \
             has to be there and to reach each other"
        );
    })
    .await;
}

async fn watch(status: &Watched<Status>, say: impl Fn(Instant, Term)) {
    loop {
        status.wait_for(|status| !knows_leader(status)).await;
        let (since, mut after) = (Instant::now(), FIRST_WARNING);
        while timeout(after, status.wait_for(knows_leader)).await.is_err() {
            say(since, status.read(|status| status.term));
            after = WARNING_INTERVAL;
        }
    }
}

fn knows_leader(status: &Status) -> bool {
    matches!(status.role, Role::Leader | Role::Follower)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn status(role: Role) -> Status {
        Status { role, term: 7, leader_id: None, is_ready: false }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_said_soon_and_again_and_only_while_it_lasts() {
        let watched = Watched::new(status(Role::Unknown));
        let said = Mutex::new(Vec::new());
        let story = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            watched.set(status(Role::Candidate));
            tokio::time::sleep(Duration::from_secs(71)).await;
            for role in [Role::Follower, Role::Candidate, Role::Leader] {
                watched.set(status(role));
                tokio::time::sleep(Duration::from_secs(19)).await;
            }
        };
        mq_env::select! {
            () = story => {}
            () = watch(&watched, |since, term| said.lock().unwrap().push((since.elapsed().as_secs(), term))) => {}
        }
        assert_eq!(*said.lock().unwrap(), [(20, 7), (50, 7), (80, 7)]);
    }
}
