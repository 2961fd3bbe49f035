//! [`ConfRow`]: a row of the expected matrix on a group of a directory's cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mq_store::config::{BrokerRole, FlushDiskType, StoreConfig};
use staticfire_judge::check::Checker;

use crate::conf::{
    BrokerConf, BrokerGroup, Cast, ClusterConf, Electors, Finding, Overlay, promise,
};
use crate::plan::{
    Action, BrokerPlan, ClusterPlan, EventPlan, Millis, Plan, Seat, Trigger, WorkloadPlan,
};
use crate::stories::elected::Electorate;
use crate::stories::matrix_rows::{FaultStep, MatrixRow, Ours};
use crate::stories::rows;
use crate::stories::story::Roles;

/// Time after the last recovery within which sends to a directory's cluster are acknowledged again.
const SENDS_WITHIN: Millis = Millis(120_000);

/// Dirty pages that a workload surely has within a second.
const FEW_PAGES: usize = 8;

/// How long a story waits for a sync at most, milliseconds.
const SYNC_WAIT_MAX_MS: u64 = 150_000;

/// A workload ends after this many times its messages.
const SENDS_PER_MESSAGE: u32 = 20;

/// Longer than the rest of a story takes, seconds.
const STORY_S: u64 = 120;

/// A row of the expected matrix on a group of a directory's cluster.
#[derive(Clone, Debug)]
pub struct ConfRow {
    /// The directory.
    pub dir: PathBuf,
    /// What `--set` changed in its files.
    pub overlays: Arc<[Overlay]>,
    /// The cluster [around the group](ClusterConf::plan_around).
    pub cluster: Arc<ClusterPlan>,
    /// `brokerName` of the group under fault.
    pub group: String,
    /// Process of its master; of a DLedger group the [seat](Seat) of whoever leads.
    pub master: String,
    /// Process of the slave that faults of a slave strike.
    pub slave: Option<String>,
    /// Set of a DLedger group.
    pub electors: Option<Electors>,
    /// Process of the slave that is promoted; of several that nothing has struck, the most advanced one is.
    pub promoted: Option<String>,
    /// The other slaves.
    others: Vec<Other>,
    /// The slaves stand on the master's machine, all of them.
    pub on_one_machine: bool,
    /// Processes of slaves that do not find their master; they are not in the plan.
    pub cut_off: Vec<String>,
    /// How much longer than usual a sync of the master, and of the slave, is waited for.
    sync_wait: [Millis; 2],
    /// The master is a SYNC_MASTER without a slave: it stores, and acknowledges nothing.
    pub is_sync_alone: bool,
    /// The mode in which the directory's groups are run, if not in their own.
    pub cast: Option<Cast>,
    /// The row.
    pub row: MatrixRow,
}

/// A slave beside the one that is struck.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    process: String,
    /// It stands on the master's machine: no link between them can fail.
    beside_master: bool,
}

impl ConfRow {
    /// Every row that fits a group of the cluster in `dir`, group by group.
    #[must_use]
    pub fn all(dir: &Path, overlays: &[Overlay], cluster: &ClusterConf) -> Vec<ConfRow> {
        let overlays: Arc<[Overlay]> = overlays.into();
        let rows_of = |group| {
            let (plan, overlays) = (Arc::new(cluster.plan_around(group)), Arc::clone(&overlays));
            group.rows().into_iter().map(move |row| ConfRow {
                dir: dir.to_owned(),
                overlays: Arc::clone(&overlays),
                cluster: Arc::clone(&plan),
                ..ConfRow::of(cluster, group, row)
            })
        };
        cluster.groups.iter().flat_map(rows_of).collect()
    }

    /// The same in another mode.
    ///
    /// # Errors
    /// As [`Cast::of`].
    pub fn all_cast(
        dir: &Path,
        overlays: &[Overlay],
        cluster: &ClusterConf,
        cast: Cast,
    ) -> Result<Vec<ConfRow>, Vec<Finding>> {
        let rows = ConfRow::all(dir, overlays, &cast.of(cluster)?);
        Ok(rows.into_iter().map(|row| ConfRow { cast: Some(cast), ..row }).collect())
    }

    /// A row of a group, without its cluster's plan.
    fn of(cluster: &ClusterConf, group: &BrokerGroup, row: MatrixRow) -> ConfRow {
        if let Some(electors) = group.electors {
            return ConfRow::of_electors(group, electors, row);
        }
        let master = cluster.master(group);
        let is_beside = |slave: &BrokerConf| slave.address == master.address;
        // What takes the master takes whoever stands on its machine: a slave elsewhere comes first.
        let mut slaves: Vec<&BrokerConf> = cluster.slaves(group).collect();
        slaves.sort_by_key(|slave| is_beside(slave));
        let struck = slaves.first();
        let is_struck = promise::strikes_slave(&row);
        // Whoever has a slave that nothing struck promotes that one.
        let promoted =
            slaves.get(1).filter(|slave| is_struck && !is_beside(slave)).or(slaves.first());
        let stem = |slave: &&BrokerConf| slave.stem.clone();
        ConfRow {
            dir: PathBuf::new(),
            overlays: Arc::default(),
            cluster: Arc::default(),
            group: group.name.clone(),
            master: master.stem.clone(),
            slave: struck.map(stem),
            electors: None,
            promoted: promoted.map(stem),
            others: slaves
                .iter()
                .skip(1)
                .map(|slave| Other { process: stem(slave), beside_master: is_beside(slave) })
                .collect(),
            on_one_machine: struck.is_some_and(|slave| is_beside(slave)),
            cut_off: group.cut_off.iter().map(|it| cluster.brokers[*it].stem.clone()).collect(),
            sync_wait: [
                sync_wait(&master.store),
                struck.map_or(Millis(0), |slave| sync_wait(&slave.store)),
            ],
            is_sync_alone: group.slaves.is_empty()
                && master.store.broker_role == BrokerRole::SyncMaster,
            cast: None,
            row,
        }
    }

    /// The same of a DLedger group.
    fn of_electors(group: &BrokerGroup, electors: Electors, row: MatrixRow) -> ConfRow {
        ConfRow {
            dir: PathBuf::new(),
            overlays: Arc::default(),
            cluster: Arc::default(),
            group: group.name.clone(),
            master: Seat { group: group.name.clone(), place: 0 }.to_string(),
            slave: None,
            electors: Some(electors),
            promoted: None,
            others: Vec::new(),
            on_one_machine: false,
            cut_off: Vec::new(),
            sync_wait: [Millis(0); 2],
            is_sync_alone: false,
            cast: None,
            row,
        }
    }

    /// `GROUP/FAULT/RECOVERY`, or `GROUP@MODE/FAULT/RECOVERY` in another mode than its own.
    #[must_use]
    pub fn place(&self) -> String {
        let cast = self.cast.map_or_else(String::new, |cast| format!("@{cast}"));
        format!("{}{cast}/{}/{}", self.group, self.row.fault_name(), self.row.recovery)
    }

    /// Whose log the promise rests on, if it rests on one alone.
    #[must_use]
    pub fn debtor(&self) -> Option<&str> {
        let promoted = self.promoted.as_deref().filter(|_| self.row.ours == Ours::Owed)?;
        Some(if self.promotes_most_advanced() { "the promoted one" } else { promoted })
    }

    /// Messages of one run.
    #[must_use]
    pub fn messages(&self) -> u32 {
        WorkloadPlan::default().messages
    }

    /// The plan of one seed.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        // A comparison is about how long an election takes.
        let is_patient = self.cast.is_some();
        let elected = self.electors.map(|electors| electors.electorate(&self.group));
        let roles = Roles {
            elected: elected.map(|electorate| Electorate { is_patient, ..electorate }),
            ..Roles::of(&self.group, &self.master, self.slave.as_deref())
        };
        let mut cluster = ClusterPlan::clone(&self.cluster);
        if self.row.ours == Ours::All {
            cluster.brokers.iter_mut().for_each(begin_anew);
        }
        let mut plan = rows::plan_on(cluster, self.workload(), &self.row, roles, seed);
        plan.title = self.place();
        plan.events = plan.events.into_iter().flat_map(|event| self.on_this_group(event)).collect();
        self.restart_what_shares_the_disk(&mut plan.events);
        if let Some(debtor) = self.debtor() {
            plan.holds = format!("nothing is lost that {debtor} owes");
        }
        // Name servers share machines with brokers. A client that lost its name server asks the next
        // one at its second poll, 30 s later each, plus time-outs.
        plan.check.sends_within = plan.check.sends_within.map(|_| SENDS_WITHIN);
        if self.row.ours == Ours::All && self.on_one_machine {
            // The topics went with the last disk: clients that knew another master find nothing to send to
            // until somebody makes them again.
            plan.check.may_break.push(Checker::Liveness);
        }
        if self.is_sync_alone {
            plan.check.sends_within = None;
            plan.events.iter_mut().enumerate().for_each(without_acks);
        }
        plan
    }

    /// The workload: slow enough to last as long as a slow sync is waited for.
    fn workload(&self) -> WorkloadPlan {
        let mut workload = WorkloadPlan::default();
        let waits_ms = self.sync_wait.map(|wait| wait.0).into_iter().max().unwrap_or_default();
        let is_error =
            self.has(FaultStep::FlushErrorMaster) || self.has(FaultStep::FlushErrorSlave);
        if is_error && waits_ms > 0 {
            let lasts_s = waits_ms / 1_000 + STORY_S;
            let sends = u64::from(workload.messages * SENDS_PER_MESSAGE / workload.producers);
            let rate = u32::try_from(sends / lasts_s).unwrap_or(u32::MAX);
            workload.rate_per_second = workload.rate_per_second.min(rate.max(1));
        }
        workload
    }

    /// An event of a story about one slave, for all slaves of the group.
    fn on_this_group(&self, mut event: EventPlan) -> Vec<EventPlan> {
        let is_link = matches!(
            event.action,
            Action::Partition { .. } | Action::Heal { .. } | Action::SlowLink { .. }
        );
        if is_link && self.on_one_machine {
            return Vec::new();
        }
        let others: Vec<&Other> = match &event.action {
            _ if is_link => self.others.iter().filter(|other| !other.beside_master).collect(),
            Action::Calm { node } if self.is_slave(node) && self.has(FaultStep::LagSlave) => {
                self.others.iter().filter(|other| !other.beside_master).collect()
            }
            Action::Restart { node, .. }
                if self.is_slave(node) && self.has(FaultStep::PowerAll) =>
            {
                self.others.iter().collect()
            }
            _ => Vec::new(),
        };
        if matches!(event.action, Action::Promote { .. }) && self.promotes_most_advanced() {
            event.action = Action::PromoteMostAdvanced { group: self.group.clone() };
        }
        match (&mut event.action, &self.promoted) {
            (Action::Promote { node }, Some(promoted)) => promoted.clone_into(node),
            // A calm before the next step takes back a sync error that did not come: give it time.
            (Action::Calm { node }, _) if *node == self.master => {
                event.delay.0 += self.sync_wait[0].0
            }
            (Action::Calm { .. }, _) if self.has(FaultStep::FlushErrorSlave) => {
                event.delay.0 += self.sync_wait[1].0;
            }
            _ => {}
        }
        let at_once = others.into_iter().map(|other| {
            let action = self.for_other(event.action.clone(), &other.process);
            EventPlan::when(Trigger::Previous, action)
        });
        let more: Vec<EventPlan> = at_once.collect();
        std::iter::once(event).chain(more).collect()
    }

    /// The action on the struck slave, done to another.
    fn for_other(&self, mut action: Action, other: &str) -> Action {
        match &mut action {
            Action::Partition { between: [_, slave], .. }
            | Action::Heal { between: [_, slave] }
            | Action::SlowLink { between: [_, slave], .. }
            | Action::Calm { node: slave }
            | Action::Restart { node: slave, .. } => other.clone_into(slave),
            _ => {}
        }
        action
    }

    /// A sync error strikes whichever broker of the machine syncs next: whoever looks after one of them
    /// restarts all.
    fn restart_what_shares_the_disk(&self, events: &mut Vec<EventPlan>) {
        let Some(EventPlan { action: Action::Restart { node, .. }, .. }) = events.last() else {
            return;
        };
        let is_hit = self.has(FaultStep::FlushErrorMaster)
            || self.has(FaultStep::FlushErrorSlave) && self.on_one_machine;
        // Power that comes back starts them all.
        let is_hit = is_hit && !self.has(FaultStep::PowerMaster);
        let slave = self.slave.iter().filter(|_| self.on_one_machine);
        let beside = self.others.iter().filter(|it| it.beside_master).map(|it| &it.process);
        let members = slave.chain(beside).chain([&self.master]);
        let others = members.filter(|member| is_hit && *member != node).cloned();
        let restart = |node| {
            let action = Action::Restart { node, salvage: false };
            EventPlan::when(Trigger::Previous, action).delayed(Millis(500))
        };
        let restarts: Vec<EventPlan> = others.map(restart).collect();
        events.extend(restarts);
    }

    /// Whether the operator looks which slave has most of the log, rather than taking the one that nothing struck.
    #[must_use]
    pub fn promotes_most_advanced(&self) -> bool {
        !self.others.is_empty() && !promise::strikes_slave(&self.row)
    }

    fn is_slave(&self, node: &str) -> bool {
        self.slave.as_deref() == Some(node)
    }

    fn has(&self, step: FaultStep) -> bool {
        self.row.fault.contains(&step)
    }
}

/// On a blank disk topics and groups are made again, by an operator where brokers do not make them. Here
/// brokers do.
fn begin_anew(broker: &mut BrokerPlan) {
    for key in ["autoCreateTopicEnable", "autoCreateSubscriptionGroup"] {
        if let Some(makes) = broker.properties.get_mut(key) {
            "true".clone_into(makes);
        }
    }
}

/// How much longer than stories wait anyway the next sync of a log may take.
fn sync_wait(store: &StoreConfig) -> Millis {
    let interval_ms = store.flush_interval_commit_log_ms;
    let thorough_ms = store.flush_commit_log_thorough_interval_ms;
    if store.flush_disk_type == FlushDiskType::SyncFlush {
        return Millis(0);
    }
    let few = store.flush_commit_log_least_pages <= FEW_PAGES;
    let due_ms = if few { interval_ms } else { interval_ms.saturating_add(thorough_ms) };
    // Stories wait for 600 ms at least, and the usual interval is 500 ms.
    Millis(due_ms.saturating_sub(500).min(SYNC_WAIT_MAX_MS))
}

/// Lets time trigger what acknowledgements would: there are none. Only the first event may come by the clock:
/// the others wait for the one before them.
fn without_acks((index, event): (usize, &mut EventPlan)) {
    match event.when.take() {
        Some(Trigger::Acks(count) | Trigger::UnreplicatedAckAfter(count)) if index == 0 => {
            event.at = Some(Millis(u64::from(count) * 10));
        }
        Some(Trigger::Acks(count) | Trigger::UnreplicatedAckAfter(count)) => {
            event.when = Some(Trigger::Previous);
            event.delay = Millis(u64::from(count) * 10);
        }
        Some(Trigger::AcksSincePrevious(count)) => {
            event.when = Some(Trigger::Previous);
            event.delay = Millis(u64::from(count) * 10);
        }
        other => event.when = other,
    }
}
