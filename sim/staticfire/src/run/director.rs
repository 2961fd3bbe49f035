//! [`Director`]: carries out a plan's events, each when it is due, and the disturbances beside them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{try_join, try_join_all};
use mq_env::rng::Rng;
use mq_env::watched::Watched;
use staticfire_world::trace::{ProcessStep, TraceEvent};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::disturber::Disturber;
use super::traffic::Acks;
use crate::plan::{Awaited, EventPlan, Plan, Trigger};
use crate::run::Clients;
use crate::run::cluster::Cluster;
use crate::run::error::StandError;

/// Simulated time within which a trigger must fire.
const TRIGGER_LIMIT: Duration = Duration::from_secs(240);

/// How often a condition that no event announces is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Director<'a> {
    cluster: &'a Cluster,
    clients: &'a Clients,
    plan: &'a Plan,
    /// The group of triggers that name none.
    group: &'a str,
    seed: u64,
    began: Instant,
    /// By place in the plan, and by name of those that have one.
    events: Vec<Watched<Option<Over>>>,
    named: BTreeMap<&'a str, Watched<Option<Over>>>,
    directed: RefCell<Directed>,
}

/// How an event or a disturbance came to its end.
#[derive(Clone, Copy)]
struct Over {
    /// Whether it was carried out; what waits for one that was not, waits in vain.
    has_come: bool,
    acks: u32,
}

/// What the verdict needs of the events.
#[derive(Default)]
pub(super) struct Directed {
    /// Events that never came due.
    pub(super) vacuous: Vec<String>,
    /// When the last thing was done.
    pub(super) last_us: u64,
    /// Faults of disturbances, by their place in the trace.
    pub(super) drawn_faults: BTreeSet<usize>,
}

impl<'a> Director<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        clients: &'a Clients,
        plan: &'a Plan,
        group: &'a str,
        seed: u64,
    ) -> Self {
        let events: Vec<_> = plan.events.iter().map(|_| Watched::default()).collect();
        let names = plan.events.iter().map(|it| &*it.name).zip(events.iter().cloned());
        let others = plan.disturbances.iter().map(|it| (&*it.name, Watched::default()));
        let named = names.chain(others).filter(|(name, _)| !name.is_empty()).collect();
        let last_us = cluster.trace().now_us();
        let directed = RefCell::new(Directed { last_us, ..Directed::default() });
        let began = Instant::now();
        Director { cluster, clients, plan, group, seed, began, events, named, directed }
    }

    /// Carries out all events and disturbances, side by side as far as none waits for another.
    ///
    /// # Errors
    /// What an action says that cannot be carried out.
    pub(super) async fn direct(self) -> Result<Directed, StandError> {
        let events = try_join_all((0..self.plan.events.len()).map(|index| self.event(index)));
        let others =
            try_join_all((0..self.plan.disturbances.len()).map(|index| self.disturbance(index)));
        try_join(events, others).await?;
        if !self.plan.disturbances.is_empty() {
            self.cluster.set_right().await?;
            self.directed.borrow_mut().last_us = self.cluster.trace().now_us();
        }
        Ok(self.directed.into_inner())
    }

    async fn event(&self, index: usize) -> Result<(), StandError> {
        let event = &self.plan.events[index];
        let has_come = self.comes_due(index).await;
        if has_come {
            self.cluster.act(&event.action).await?;
            self.directed.borrow_mut().last_us = self.cluster.trace().now_us();
        }
        self.is_over(&self.events[index], has_come);
        Ok(())
    }

    /// Waits until an event is due; whether it ever is. Of a chain of events only the first that is not is
    /// worth a word.
    async fn comes_due(&self, index: usize) -> bool {
        let event = &self.plan.events[index];
        let acks_before = match self.predecessor(index, event) {
            Some(predecessor) => {
                let over = predecessor.wait_for(Option::is_some).await;
                match over.filter(|over| over.has_come) {
                    Some(over) => over.acks,
                    None => return false,
                }
            }
            None => 0,
        };
        if let Some(at) = event.at {
            sleep_until(self.began + at.duration()).await;
        }
        if let Some(trigger) = &event.when
            && timeout(TRIGGER_LIMIT, self.trigger(trigger, acks_before)).await.is_err()
        {
            let text = format!("event {} never came due: {:?}", index + 1, event.action);
            let mut directed = self.directed.borrow_mut();
            directed.vacuous.push(text);
            // Nobody looked for life while this was waited for.
            directed.last_us = self.cluster.trace().now_us();
            return false;
        }
        if event.delay.0 > 0 {
            sleep(event.delay.duration()).await;
        }
        true
    }

    /// What an event waits for before it looks at its trigger.
    fn predecessor(&self, index: usize, event: &EventPlan) -> Option<&Watched<Option<Over>>> {
        match event.awaits(index) {
            Awaited::Nothing => None,
            Awaited::Event(before) => Some(&self.events[before]),
            Awaited::Named(name) => self.named.get(name),
        }
    }

    async fn disturbance(&self, index: usize) -> Result<(), StandError> {
        let plan = &self.plan.disturbances[index];
        let stream = Rng::from_seed(self.seed).child(&format!("disturbance {index}"));
        let draw = stream.stream("strikes");
        let mut disturber = Disturber::new(self.cluster, plan, self.began, draw);
        disturber.disturb().await?;
        let mut directed = self.directed.borrow_mut();
        directed.drawn_faults.extend(disturber.faults());
        if !disturber.faults().is_empty() {
            directed.last_us = self.cluster.trace().now_us();
        }
        drop(directed);
        if let Some(over) = self.named.get(&*plan.name) {
            self.is_over(over, true);
        }
        Ok(())
    }

    fn is_over(&self, over: &Watched<Option<Over>>, has_come: bool) {
        let acks = self.clients.traffic.acks().read(|acks| acks.all);
        over.set(Some(Over { has_come, acks }));
    }

    async fn trigger(&self, trigger: &Trigger, acks_before: u32) {
        match trigger {
            Trigger::Previous => {}
            Trigger::Acks(count) => self.acks_reach(*count).await,
            Trigger::AcksSincePrevious(count) => {
                self.acks_reach(acks_before.saturating_add(*count)).await;
            }
            Trigger::UnreplicatedAckAfter(count) => {
                self.acks_reach(*count).await;
                let (ledger, group) = (self.cluster.ledger().clone(), self.group.to_owned());
                let trace = self.cluster.trace();
                // A SYNC_MASTER never gives such an acknowledgement: strike a little later then.
                let unreplicated =
                    trace.on(move |record| ledger.is_unreplicated_ack(&group, record));
                let _ = timeout(Duration::from_secs(2), unreplicated).await;
            }
            Trigger::Recovering(node) => {
                let node = self.cluster.trace().name(node);
                let started = TraceEvent::Process(ProcessStep::Started);
                let already = self.cluster.node(&node).is_running();
                let trace = self.cluster.trace();
                if !already {
                    trace.on(move |record| record.source == node && record.event == started).await;
                }
                // A few milliseconds into its start.
                sleep(Duration::from_millis(3)).await;
            }
            Trigger::SlaveConnected(node) => self.slave_follows(node).await,
            Trigger::Replicated(group) => {
                while !super::settle::are_replicas_equal(self.cluster, group) {
                    sleep(LOOK_INTERVAL).await;
                }
            }
            Trigger::SendsDone => {
                while !self.clients.works.iter().all(|work| work.is_done()) {
                    sleep(LOOK_INTERVAL).await;
                }
            }
        }
    }

    async fn acks_reach(&self, count: u32) {
        self.clients.traffic.acks().wait_for(|acks: &Acks| acks.all >= count).await;
    }

    /// The slave receives something: it is connected and follows.
    async fn slave_follows(&self, node: &str) {
        let trace = self.cluster.trace();
        let node = trace.name(node);
        let receives = |record: &staticfire_world::trace::TraceRecord| {
            matches!(record.event, TraceEvent::HaReceived { .. })
        };
        trace.on(move |record| record.source == node && receives(record)).await;
    }
}
