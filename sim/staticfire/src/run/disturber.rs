//! [`Disturber`]: carries out a disturbance, strike after strike as its seed draws them.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::plan::{
    Action, DiskTrouble, DisturbancePlan, Fall, FlushErrorPages, Millis, Remedy, Trouble,
};
use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;
use crate::run::error::StandError;

/// Latencies of a disk that is slow for a while, milliseconds.
const SLOW_SYNC_MS: std::ops::RangeInclusive<u64> = 20..=400;

/// See the module.
pub(super) struct Disturber<'a> {
    cluster: &'a Cluster,
    plan: &'a DisturbancePlan,
    began: Instant,
    draw: ChaCha8Rng,
    /// Its faults, by their place in the trace.
    faults: BTreeSet<usize>,
}

/// What takes the effect of a strike away.
enum Mend {
    /// Nothing has to.
    Nothing,
    /// These, one after the other.
    Acts(Vec<Action>),
    /// The same, but for processes that an operator has fenced meanwhile.
    Again(Vec<Action>),
    /// The process is started again, if nobody else did.
    Start(String),
    /// A group has lost its master.
    Master { group: String, node: String, remedy: Remedy },
}

impl<'a> Disturber<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        plan: &'a DisturbancePlan,
        began: Instant,
        draw: ChaCha8Rng,
    ) -> Self {
        Disturber { cluster, plan, began, draw, faults: BTreeSet::new() }
    }

    /// Its faults, by their place in the trace.
    pub(super) fn faults(&self) -> &BTreeSet<usize> {
        &self.faults
    }

    /// Strikes until its time or its budget is over. When it returns, its last strike is mended.
    ///
    /// # Errors
    /// What an action says that cannot be carried out.
    pub(super) async fn disturb(&mut self) -> Result<(), StandError> {
        sleep_until(self.began + self.plan.from.duration()).await;
        for _ in 0..self.plan.budget {
            let every = self.between(self.plan.every);
            sleep(every).await;
            if self.began.elapsed() > self.plan.until.duration() {
                break;
            }
            if let Some((strike, mend)) = self.strike() {
                self.strike_once(&strike, mend).await?;
            }
        }
        Ok(())
    }

    async fn strike_once(&mut self, strike: &Action, mend: Mend) -> Result<(), StandError> {
        let before = self.cluster.trace().faults().len();
        // A fault begins before anything is waited for.
        self.cluster.act(strike).await?;
        if !strike.is_recovery() {
            self.faults.extend(before..self.cluster.trace().faults().len());
        }
        let lasts = self.between(self.plan.lasts);
        sleep(lasts).await;
        self.mend(mend).await
    }

    async fn mend(&mut self, mend: Mend) -> Result<(), StandError> {
        match mend {
            Mend::Nothing => {}
            Mend::Acts(actions) => {
                for action in actions {
                    self.cluster.act(&action).await?;
                }
            }
            Mend::Again(actions) => {
                let is_fenced = |action: &&Action| {
                    action.nodes().iter().any(|node| self.cluster.is_fenced(node))
                };
                for action in actions.iter().filter(|it| !is_fenced(it)) {
                    self.cluster.act(action).await?;
                }
            }
            Mend::Start(node) => self.start(node).await?,
            Mend::Master { group, node, remedy } => self.remedy(&group, node, remedy).await?,
        }
        Ok(())
    }

    /// Starts a process, unless somebody else did, or an operator has fenced it meanwhile.
    async fn start(&self, node: String) -> Result<(), StandError> {
        if self.cluster.node(&node).is_running() || self.cluster.is_fenced(&node) {
            return Ok(());
        }
        self.cluster.act(&Action::Restart { node, salvage: false }).await
    }

    /// What an operator does about a group whose master fell, if it is still so.
    async fn remedy(
        &mut self,
        group: &str,
        node: String,
        remedy: Remedy,
    ) -> Result<(), StandError> {
        let is_still_master = self.cluster.master_of(group).is_some_and(|it| it.name() == node);
        if !is_still_master || self.cluster.node(&node).is_running() {
            return self.start(node).await;
        }
        let slaves: Vec<String> =
            self.cluster.slaves_of(group).map(|slave| slave.name().to_owned()).collect();
        let promotion = match remedy {
            _ if slaves.is_empty() => None,
            Remedy::Restart => None,
            Remedy::PromoteMostAdvanced => {
                Some(Action::PromoteMostAdvanced { group: group.to_owned() })
            }
            Remedy::PromoteAny => Some(Action::Promote { node: self.one_of(&slaves) }),
        };
        let Some(promotion) = promotion else { return self.start(node).await };
        self.cluster.act(&promotion).await?;
        let lasts = self.between(self.plan.lasts);
        sleep(lasts).await;
        self.cluster.act(&Action::RejoinAsSlave { node }).await
    }

    /// The next strike; `None` where there is nothing to strike now.
    fn strike(&mut self) -> Option<(Action, Mend)> {
        match &self.plan.trouble {
            Trouble::Attrition { group, faults, operator } => {
                let fault = self.one_of(faults);
                let remedy = match &operator[..] {
                    [] => Remedy::Restart,
                    remedies => self.one_of(remedies),
                };
                self.broker_falls(group, fault, remedy)
            }
            Trouble::ClientAttrition { nodes, faults } => {
                let running = nodes.iter().filter(|it| self.cluster.node(it).is_running());
                let running: Vec<String> = running.cloned().collect();
                let node = (!running.is_empty()).then(|| self.one_of(&running))?;
                let fault = self.one_of(faults);
                Some((falls(fault, &node), rises(fault, node)))
            }
            Trouble::Clogging { nodes, latency } => self.link_clogs(nodes, *latency),
            Trouble::FailingDisks { group, faults } => {
                let fault = self.one_of(faults);
                let broker = self.running_broker(group)?;
                Some(self.disk_fails(fault, broker))
            }
        }
    }

    fn broker_falls(&mut self, group: &str, fault: Fall, remedy: Remedy) -> Option<(Action, Mend)> {
        let node = self.running_broker(group)?;
        let is_master = self.cluster.brokers()[&node].is_master();
        let strike = falls(fault, &node);
        if !is_master || matches!(fault, Fall::Pause | Fall::Restart) {
            return Some((strike, rises(fault, node)));
        }
        // A blank master in place would have slaves that rightly refuse to follow it.
        let remedy = match (fault, remedy) {
            (Fall::DestroyDisk, Remedy::Restart) => Remedy::PromoteMostAdvanced,
            (_, remedy) => remedy,
        };
        Some((strike, Mend::Master { group: group.to_owned(), node, remedy }))
    }

    fn link_clogs(&mut self, nodes: &[String], latency: [Millis; 2]) -> Option<(Action, Mend)> {
        let one = self.one_of(nodes);
        let is_talked_to =
            |it: &&String| self.cluster.is_server(&one) || self.cluster.is_server(it);
        let others: Vec<String> = nodes.iter().filter(is_talked_to).cloned().collect();
        let other = self.one_of(if others.is_empty() { nodes } else { &others });
        let machine = |node: &str| self.cluster.node(node).machine().ip();
        if machine(&one) == machine(&other) {
            return None;
        }
        let between = [one, other];
        let latency = Millis(self.draw.random_range(latency[0].0..=latency[1].0));
        let heal = Mend::Acts(vec![Action::Heal { between: between.clone() }]);
        let one_way = self.draw.random_bool(0.3);
        Some(match latency {
            Millis(0) => (Action::Partition { between, one_way }, heal),
            latency => (Action::SlowLink { between, latency }, heal),
        })
    }

    fn disk_fails(&mut self, fault: DiskTrouble, node: String) -> (Action, Mend) {
        let calm = Action::Calm { node: node.clone() };
        // Whatever else stands on the machine felt it, too.
        let machine = self.cluster.node(&node).machine();
        let restarts = self.cluster.beside(&*machine).into_iter();
        let restarts = restarts.map(|node| Action::Restart { node, salvage: false });
        let again = [calm.clone()].into_iter().chain(restarts).collect();
        match fault {
            DiskTrouble::Slow => {
                let sync = Millis(self.draw.random_range(SLOW_SYNC_MS));
                (Action::SlowDisk { node, sync }, Mend::Acts(vec![calm]))
            }
            DiskTrouble::Hang => (Action::HangDisk { node }, Mend::Acts(vec![calm])),
            DiskTrouble::Full => (Action::FillDisk { node, free_bytes: 0 }, Mend::Acts(vec![calm])),
            DiskTrouble::NoDescriptors => (Action::OutOfDescriptors { node }, Mend::Again(again)),
            // After a failed sync a store waits for a start.
            DiskTrouble::SyncError => {
                let mode = match self.draw.random_bool(0.5) {
                    true => FlushErrorPages::Clean,
                    false => FlushErrorPages::KeptDirty,
                };
                let strike = Action::FlushError { node, count: 1, mode };
                (strike, Mend::Again(again))
            }
        }
    }

    /// Any broker of a group that runs.
    fn running_broker(&mut self, group: &str) -> Option<String> {
        let running = self.cluster.members_of(group).filter(|it| it.handle().is_running());
        let running: Vec<String> = running.map(BrokerProcess::name).map(str::to_owned).collect();
        (!running.is_empty()).then(|| self.one_of(&running))
    }

    fn between(&mut self, [shortest, longest]: [Millis; 2]) -> Duration {
        Duration::from_millis(self.draw.random_range(shortest.0..=longest.0))
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.draw.random_range(0..all.len())].clone()
    }
}

/// The action by which a process falls.
fn falls(fault: Fall, node: &str) -> Action {
    let node = node.to_owned();
    match fault {
        Fall::Kill => Action::Kill { node },
        Fall::PowerLoss => Action::PowerLoss { node, worst: false },
        Fall::DestroyDisk => Action::DestroyDisk { node },
        Fall::Pause => Action::Pause { node },
        Fall::Restart => Action::Restart { node, salvage: false },
    }
}

/// What brings it back.
fn rises(fault: Fall, node: String) -> Mend {
    match fault {
        Fall::Restart => Mend::Nothing,
        Fall::Pause => Mend::Acts(vec![Action::Resume { node }]),
        Fall::Kill | Fall::PowerLoss | Fall::DestroyDisk => Mend::Start(node),
    }
}
