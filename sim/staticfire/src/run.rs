//! [`run`]: one plan, one seed, one verdict.
//!
//! A run has five acts: the cluster comes up and replicates; the workload starts and the plan's events
//! strike; after the last one life must go on; the clients fall silent and the existing group
//! drains; a fresh group reads everything back, and the disks are compared.
//!
//! Modules in reading order: [`stage`] (where a story is told), [`program`] (what its processes run),
//! [`cluster`] (machines and processes, and what is done to them), [`workload`] (the clients), `director`
//! (the plan's events), `settle` (the quiet acts), `verdict`, [`report`].

pub mod cluster;
mod director;
pub mod program;
pub mod report;
mod settle;
pub mod stage;
mod turning_points;
mod verdict;
pub mod workload;

use std::rc::Rc;
use std::sync::Arc;

use staticfire_judge::check::bound::FaultPositions;
use staticfire_judge::check::liveness::Expectation;
use staticfire_judge::check::offsets::Committed;
use staticfire_judge::check::{Checker, Violation};
use staticfire_judge::forensics::Fate;
use staticfire_judge::history::History;
use staticfire_judge::ledger::Ledger;
use staticfire_world::net::LinkProfile;
use staticfire_world::trace::Trace;
use staticfire_world::world::{Run, World, WorldConfig, WorldStats};

use crate::plan::Plan;
use crate::run::cluster::Cluster;
use crate::run::report::{Finding, RunReport, Verdict};
use crate::run::stage::Stage;
use crate::run::workload::Workload;

/// Simulated time after which a story counts as stuck, beside what its events wait by the clock.
const STORY_LIMIT_MS: u64 = 3_600_000;

/// Everything a run gave.
#[derive(Debug)]
pub struct RunOutcome {
    /// The verdict as tables and JSON show it.
    pub report: RunReport,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// The chain of each lost message, in the order of the report's keys.
    pub fates: Vec<Fate>,
    /// All that happened.
    pub trace: Trace,
    /// What it cost.
    pub stats: WorldStats,
}

/// What a story left behind, for the verdict.
pub struct Story {
    ledger: Ledger,
    group: String,
    history: History,
    committed: Committed,
    faults: Vec<FaultPositions>,
    expectations: Vec<Expectation>,
    violations: Vec<Violation>,
    /// Why the run proves less than it was to.
    shortfalls: Vec<Finding>,
    /// Numbers that the present master's disk holds.
    stored: std::collections::BTreeSet<u32>,
    /// Process that is master at the end, and the one that was at the start.
    master_now: String,
    master_then: String,
    replicas: Vec<String>,
    /// Machines that keep a copy of the group's log.
    machines: Vec<String>,
    first_fault_us: Option<u64>,
    mode: String,
    started: u32,
    no_second_copy: bool,
}

impl Story {
    /// Whether a process keeps a copy of the log of the group under test.
    fn is_of_group(&self, process: &str) -> bool {
        process == self.master_then || self.replicas.iter().any(|replica| replica == process)
    }
}

/// The acts of one plan under one seed, to be told on a stage.
pub struct Script<'a> {
    plan: &'a Plan,
    seed: u64,
}

impl Script<'_> {
    /// Tells them.
    ///
    /// # Errors
    /// What the stage refuses, or why the cluster did not come up.
    pub async fn tell(self, stage: Rc<dyn Stage>) -> Result<Story, Finding> {
        tell(&stage, self.plan, self.seed).await
    }
}

/// Runs a plan in our own world. `repro` is the command that runs the same again.
#[must_use]
pub fn run(plan: &Plan, seed: u64, repro: &str) -> RunOutcome {
    run_on(plan, seed, repro, |config, script| {
        World::run(config, seed, async move |world| script.tell(Rc::new(world)).await)
    })
}

/// Runs a plan on the stage that `raise` sets up, as far as it can, the way the configuration says, and
/// on which it then lets the script be told. Same machines, acts and verdict; a plan that the stage
/// refuses is [bad input](report::Verdict::BadInput).
pub fn run_on<'a>(
    plan: &'a Plan,
    seed: u64,
    repro: &str,
    raise: impl FnOnce(WorldConfig, Script<'a>) -> Run<Result<Story, Finding>>,
) -> RunOutcome {
    let clock = wall_clock();
    conclude(plan, repro, raise(world_config(plan), Script { plan, seed }), clock)
}

fn world_config(plan: &Plan) -> WorldConfig {
    let mut config = WorldConfig {
        limit_ms: STORY_LIMIT_MS.saturating_add(lasts_ms(plan)),
        writeback_interval_ms: plan.cluster.writeback_interval.0,
        ..WorldConfig::default()
    };
    config.net.link = LinkProfile::latency(plan.cluster.link_latency.0);
    config
}

/// What the events of a plan, and its messages, wait for by the clock.
fn lasts_ms(plan: &Plan) -> u64 {
    let delay_ms = u64::try_from(plan.workload.delay().as_millis()).unwrap_or(u64::MAX);
    let events = plan.events.iter().map(|event| event.at.map_or(0, |at| at.0) + event.delay.0);
    events.fold(delay_ms, u64::saturating_add)
}

#[expect(clippy::disallowed_methods, reason = "what a run costs, outside the world")]
fn conclude(
    plan: &Plan,
    repro: &str,
    run: Run<Result<Story, Finding>>,
    clock: std::time::Instant,
) -> RunOutcome {
    let wall_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    let panics =
        run.failures.iter().map(|failure| Violation::new(Checker::Panic, failure.to_string()));
    let violations: Vec<Violation> = panics.collect();
    let story = match run.value {
        Ok(told) => told,
        Err(stopped) => Err(Finding::new(Verdict::Undecided, stopped.to_string())),
    };
    verdict::judge(plan, run.seed, repro, story, violations, &run.trace, run.stats, wall_ms)
}

/// The real clock, for the one field of a report that says what a run cost.
#[expect(clippy::disallowed_methods, reason = "outside the world")]
fn wall_clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// The five acts.
async fn tell(stage: &Rc<dyn Stage>, plan: &Plan, seed: u64) -> Result<Story, Finding> {
    let trace = stage.trace().clone();
    let ledger = Ledger::watching(&trace);
    let bad_input = |why| Finding::new(Verdict::BadInput, why);
    let cluster = Cluster::build(stage, plan, &ledger).map_err(bad_input)?;
    let group = group_under_test(plan, &cluster);
    let work = Workload::new(plan.workload.clone(), cluster.namesrv_addrs(), seed, trace.clone());
    let work = Arc::new(work);

    cluster.start();
    turning_points::first_leaders(&cluster);
    let came_up = settle::come_up(&cluster, &work, &group).await;
    came_up.map_err(|why| Finding::new(Verdict::Undecided, why))?;
    let master_then = master_name(&cluster, &group)?;
    let mode = verdict::mode(&cluster, &group);
    let no_second_copy = cluster.master_of(&group).is_some_and(|master| master.is_sync_master())
        && cluster.slaves_of(&group).next().is_none();

    cluster.start_producers(&work);
    let mut director = director::Director::new(&cluster, &work, &group);
    director.direct(&plan.events).await.map_err(bad_input)?;
    let healed_us = director.last_us();
    let mut expectations = settle::life_goes_on(&cluster, &work, plan, &group, healed_us).await;
    let ran_out = work.ran_out();
    settle::fall_silent(&work).await;
    expectations.extend(settle::replicas_meet(&cluster, plan, &group, healed_us).await);
    let found = settle::read_back(&cluster, &work, &group).await;
    cluster.note_disk_bites();
    ledger.note_damage(&trace);

    let director::Directed { positions, vacuous, first_fault_us } = director.finish();
    let shortfall = |why| Finding::new(Verdict::Vacuous, why);
    let mut shortfalls: Vec<Finding> = vacuous.into_iter().map(shortfall).collect();
    if let Some(sends) = ran_out {
        // Whether sends would be acknowledged again cannot be told without sends.
        expectations.retain(|it| it.happened_us.is_some());
        let text = format!(
            "the producers stopped after {sends} sends, the most of a run, before the story was over; \
             fewer sends a second (workload.rate_per_second) last longer"
        );
        shortfalls.push(Finding::new(Verdict::Undecided, text));
    }
    let mut violations = Vec::new();
    let committed = match found {
        Ok(found) => {
            work.history().read_back = found.queues;
            found.committed
        }
        Err(error) => {
            let text = format!("the fresh group cannot read the queues: {error}");
            violations.push(Violation::new(Checker::Liveness, text));
            Committed::new()
        }
    };
    violations.extend(settle::compare_disks(&cluster, plan, &group));
    let master_now = master_name(&cluster, &group)?;
    let stored = settle::stored_numbers(&ledger, &master_now, &plan.workload.topic);
    let brokers = || cluster.brokers().values().filter(|broker| broker.group() == group);
    let machines = brokers().map(|broker| broker.machine().name().to_string()).collect();
    let replicas = brokers().map(|broker| broker.name().to_owned());
    let replicas = replicas.filter(|name| *name != master_then).collect();
    let history = std::mem::take(&mut *work.history());
    Ok(Story {
        ledger,
        group,
        history,
        committed,
        faults: positions,
        expectations,
        violations,
        shortfalls,
        stored,
        master_now,
        master_then,
        replicas,
        machines,
        first_fault_us,
        mode,
        started: work.started(),
        no_second_copy,
    })
}

/// The group whose promise is judged: the workload's, else the first.
fn group_under_test(plan: &Plan, cluster: &Cluster) -> String {
    if !plan.workload.group.is_empty() {
        return plan.workload.group.clone();
    }
    let mut masters = cluster.brokers().values().filter(|broker| broker.is_master());
    masters.next().map_or_else(String::new, |broker| broker.group())
}

fn master_name(cluster: &Cluster, group: &str) -> Result<String, Finding> {
    let none = || Finding::new(Verdict::BadInput, format!("{group} has no master"));
    let master = cluster.master_of(group).ok_or_else(none)?;
    Ok(master.name().to_owned())
}

#[cfg(test)]
mod tests;
