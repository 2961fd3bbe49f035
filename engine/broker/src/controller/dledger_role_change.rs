//! The role of a broker follows that of its DLedger node (RocketMQ 4.9 `DLedgerRoleChangeHandler`).
//!
//! A node that leads, and has committed everything before its term, is the group's master once its queues have all of that;
//! everybody else is a slave. A node that led twice was a slave in between, however short that was: the queue offsets that it
//! gives come from the queues as they are then.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mq_dledger::Term;
use mq_dledger_node::Status;
use mq_env::probe::Event;
use mq_env::task::TaskGroup;
use mq_store::config::BrokerRole;

use super::BrokerController;
use crate::dledger_commit_log::DLedgerCommitLog;

/// Pause before a role that could not be taken on is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs until `ended` is cancelled, and ends no change midway.
pub(super) async fn run(
    controller: Weak<BrokerController>,
    dledger: Arc<DLedgerCommitLog>,
    ended: TaskGroup,
) {
    let mut serving: Option<Term> = None;
    loop {
        let wanted = mq_env::select! {
            () = ended.cancelled() => return,
            status = dledger.node().status().wait_for(|it| term_to_serve(it) != serving) => {
                term_to_serve(&status)
            }
        };
        let Some(controller) = controller.upgrade() else { return };
        if let Some(term) = serving.take() {
            dledger.serve_in(None);
            let term = term.unsigned_abs();
            controller.context.env.probe.emit(&Event::CeasedMaster { term });
            controller.become_slave().await;
        }
        let Some(term) = wanted else { continue };
        dledger.serve_in(Some(term));
        match controller.change(BrokerRole::SyncMaster, 0).await {
            Ok(()) => {
                serving = Some(term);
                let term = term.unsigned_abs();
                controller.context.env.probe.emit(&Event::BecameMaster { term });
            }
            Err(error) => {
                tracing::error!(%error, "the group's leader cannot become a master");
                dledger.serve_in(None);
                drop(controller);
                mq_env::select! {
                    () = ended.cancelled() => return,
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                }
            }
        }
    }
}

/// In which term a node with that status has its broker serve as a master.
fn term_to_serve(status: &Status) -> Option<Term> {
    status.is_ready.then_some(status.term)
}

impl BrokerController {
    async fn become_slave(&self) {
        let broker_id = self.context.config.broker_id;
        if let Err(error) = self.change(BrokerRole::Slave, broker_id).await {
            tracing::error!(%error, "a broker that leads no more cannot become a slave");
        }
    }
}
