//! [`Director`]: carries out a plan's events in their order, each when it is due, and notes where the
//! copies stood at each fault.

use std::time::Duration;

use staticfire_judge::check::bound::FaultPositions;
use staticfire_judge::ledger::custody::Moment;
use staticfire_world::trace::{ProcessStep, TraceEvent};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::turning_points::{self, Now, Pauses};
use crate::plan::{Action, EventPlan, Trigger};
use crate::run::cluster::Cluster;
use crate::run::workload::Workload;

/// Simulated time within which a trigger must fire.
const TRIGGER_LIMIT: Duration = Duration::from_secs(240);

/// How often a condition that no event announces is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Director<'a> {
    cluster: &'a Cluster,
    work: &'a Workload,
    group: &'a str,
    began: Instant,
    acks_at_previous: u32,
    last_us: u64,
    pauses: Pauses,
    directed: Directed,
}

/// What the verdict needs of the events.
#[derive(Default)]
pub(super) struct Directed {
    /// Where copies stood, per fault that takes one.
    pub(super) positions: Vec<FaultPositions>,
    /// Events that never came due.
    pub(super) vacuous: Vec<String>,
    /// When the first fault struck.
    pub(super) first_fault_us: Option<u64>,
}

impl<'a> Director<'a> {
    pub(super) fn new(cluster: &'a Cluster, work: &'a Workload, group: &'a str) -> Self {
        Director {
            cluster,
            work,
            group,
            began: Instant::now(),
            acks_at_previous: 0,
            last_us: cluster.trace().now_us(),
            pauses: Pauses::default(),
            directed: Directed::default(),
        }
    }

    /// Carries out all events; one that does not come due is noted and left out, with all behind it.
    pub(super) async fn direct(&mut self, events: &[EventPlan]) -> Result<(), String> {
        for (index, event) in events.iter().enumerate() {
            if !self.wait_for(event).await {
                let text = format!("event {} never came due: {:?}", index + 1, event.action);
                self.directed.vacuous.push(text);
                return Ok(());
            }
            self.pauses.note(&event.action, self.cluster.trace().now_us());
            self.note_positions(&event.action);
            self.tell_custody(&event.action);
            self.cluster.act(&event.action).await?;
            self.cluster.ledger().note_damage(self.cluster.trace());
            self.acks_at_previous = self.work.acks().get();
            self.last_us = self.cluster.trace().now_us();
        }
        Ok(())
    }

    /// When the last event was carried out.
    pub(super) fn last_us(&self) -> u64 {
        self.last_us
    }

    pub(super) fn finish(self) -> Directed {
        self.directed
    }

    async fn wait_for(&self, event: &EventPlan) -> bool {
        if let Some(at) = event.at {
            sleep_until(self.began + at.duration()).await;
        }
        if let Some(trigger) = &event.when
            && timeout(TRIGGER_LIMIT, self.trigger(trigger)).await.is_err()
        {
            return false;
        }
        if event.delay.0 > 0 {
            sleep(event.delay.duration()).await;
        }
        true
    }

    async fn trigger(&self, trigger: &Trigger) {
        match trigger {
            Trigger::Previous => {}
            Trigger::Acks(count) => self.acks_reach(*count).await,
            Trigger::AcksSincePrevious(count) => {
                self.acks_reach(self.acks_at_previous + count).await;
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
                while !self.work.is_quiet() || self.work.started() < self.work.plan.messages {
                    sleep(LOOK_INTERVAL).await;
                }
            }
        }
    }

    async fn acks_reach(&self, count: u32) {
        self.work.acks().wait_for(|acks| *acks >= count).await;
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

    /// Tells the ledger which copies the action takes, and which one it makes the group's log.
    fn tell_custody(&self, action: &Action) {
        let trace = self.cluster.trace();
        let at = Moment { ordinal: trace.len() as u64, at_us: trace.now_us() };
        let now = Now { cluster: self.cluster, pauses: &self.pauses, now_us: at.at_us };
        for (turn, processes) in turning_points::turns(self.cluster, action) {
            self.cluster.ledger().turn(turn, &processes, at, &now);
        }
    }

    /// Notes where the copies of the group end, if the action takes one of them.
    fn note_positions(&mut self, action: &Action) {
        let trace = self.cluster.trace();
        self.cluster.ledger().note_damage(trace);
        let at_us = trace.now_us();
        if !action.is_recovery() {
            self.directed.first_fault_us.get_or_insert(at_us);
        }
        let Some(master) = self.cluster.master_of(self.group) else { return };
        let slave = self.cluster.slaves_of(self.group).next();
        let hit = self.hit(action, master.name(), slave.map(|slave| slave.name()));
        if hit == Hit::default() {
            return;
        }
        for slave in self.cluster.slaves_of(self.group) {
            if self.hit(action, master.name(), Some(slave.name())).slave_pages {
                self.cluster.ledger().slave_will_lose_pages(slave.name(), master.name(), at_us);
            }
        }
        // With several slaves the one that is promoted next counts: the first in service.
        let all = self.cluster.ledger().positions(master.name(), slave.map(|slave| slave.name()));
        self.directed.positions.push(FaultPositions {
            at_us,
            ordinal: trace.len() as u64,
            master_synced_to: all.master_synced_to.filter(|_| hit.master_pages),
            master_committed_to: all.master_committed_to.filter(|_| hit.master),
            uncommitted_us_max: all.uncommitted_us_max + self.pauses.total_us(master.name(), at_us),
            slave_received_to: all.slave_received_to.filter(|_| hit.master),
            slave_synced_to: all.slave_synced_to.filter(|_| hit.slave_pages),
        });
    }

    /// Which copies an action takes out of service or out of the page cache.
    fn hit(&self, action: &Action, master: &str, slave: Option<&str>) -> Hit {
        let on_machine_of = |node: &str, broker: &str| {
            self.cluster.node(node).machine().name() == self.cluster.node(broker).machine().name()
        };
        match action {
            Action::Kill { node } => Hit { master: node == master, ..Hit::default() },
            Action::Promote { .. } => Hit { master: true, ..Hit::default() },
            Action::PowerLoss { node, .. } | Action::DestroyDisk { node } => {
                let hits_master = on_machine_of(node, master);
                Hit {
                    master: hits_master,
                    master_pages: hits_master,
                    slave_pages: slave.is_some_and(|slave| on_machine_of(node, slave)),
                }
            }
            Action::PowerLossGroup { group } if group == self.group => {
                Hit { master: true, master_pages: true, slave_pages: true }
            }
            _ => Hit::default(),
        }
    }
}

/// Copies that a fault touches.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Hit {
    /// The master is out of service.
    master: bool,
    /// Its un-synced pages are at stake.
    master_pages: bool,
    /// The slave's un-synced pages are at stake.
    slave_pages: bool,
}
