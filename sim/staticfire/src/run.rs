//! [`run`]: one plan, one seed, one verdict.
//!
//! A run has five acts: the cluster comes up and replicates; the workload starts and the plan's events
//! strike; after the last one life must go on; the clients fall silent and the existing group
//! drains; a fresh group reads everything back, and the disks are compared.
//!
//! Modules in reading order: [`stage`] (where a story is told), [`program`] (what its processes run),
//! [`cluster`] (machines and processes, and what is done to them), [`traffic`] and [`workload`] (the
//! clients), `watching` (what the trace tells of them), `director` (the plan's events), `disturber` (what is drawn
//! beside them), `settle` (the quiet acts), `verdict`, [`report`].

pub mod cluster;
mod director;
mod disturber;
pub mod error;
pub mod program;
pub mod report;
mod settle;
pub mod stage;
pub mod traffic;
mod verdict;
mod watching;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use staticfire_judge::biography::Keepers;
use staticfire_judge::check::bound::FaultPositions;
use staticfire_judge::check::leadership::Tenancy;
use staticfire_judge::check::liveness::Expectation;
use staticfire_judge::check::offsets::Committed;
use staticfire_judge::check::{Checker, Violation};
use staticfire_judge::forensics::{Fate, may_cite};
use staticfire_judge::history::History;
use staticfire_judge::ledger::Ledger;
use staticfire_judge::timeline::Timeline;
use staticfire_world::net::LinkProfile;
use staticfire_world::trace::{Keeps, Trace};
use staticfire_world::world::{Run, World, WorldConfig, WorldStats};

use crate::plan::{FilterPlan, Plan, WorkloadPlan};
use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;
use crate::run::report::{Finding, RunReport, Verdict};
use crate::run::settle::CutOff;
use crate::run::stage::Stage;
use crate::run::traffic::Traffic;
use crate::run::verdict::DeletedInLog;
use crate::run::watching::Watched;
use crate::run::workload::Workload;
use crate::run::workload::read_back::Unread;

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
    /// Why messages came more than once, a line for each cause.
    pub duplicates: Vec<String>,
    /// What happened, as far as it was kept.
    pub trace: Trace,
    /// What it cost.
    pub stats: WorldStats,
    /// What the judge knew, where the story was told to its end.
    pub told: Option<Told>,
}

/// What the judge knew of a run, for whoever asks for more.
#[derive(Debug)]
pub struct Told {
    /// What the clients saw.
    pub history: History,
    /// What the disks hold.
    pub ledger: Ledger,
    /// Who kept which log.
    pub keepers: Vec<Keepers>,
    /// Who lived when, and what troubled them.
    pub timeline: Timeline,
    /// When the story of the consumers ended, simulated microseconds.
    pub until_us: u64,
}

/// The clients of a run.
pub struct Clients {
    /// What they share.
    pub traffic: Arc<Traffic>,
    /// The workloads, in the order of the plan.
    pub works: Vec<Arc<Workload>>,
}

impl Clients {
    /// The clients of a plan on its cluster; starts nothing.
    #[must_use]
    pub fn of(plan: &Plan, cluster: &Cluster, seed: u64) -> Self {
        let trace = cluster.trace();
        let messages = plan.messages();
        let switches = plan.upstream.iter().filter_map(|name| name.parse().ok());
        let traffic = Traffic::new(cluster.namesrv_addrs(), messages, seed, trace.clone());
        let mut traffic = traffic.with_upstream(switches);
        plan.workloads.iter().for_each(|work| select(&mut traffic, plan, work));
        let traffic = Arc::new(traffic);
        cluster.meet(&traffic);
        let works = plan.workloads.iter().enumerate();
        let works = works.map(|(index, _)| Workload::new(plan, index, &traffic));
        let works: Vec<_> = works.map(Arc::new).collect();
        for work in &works {
            let topic = trace.name(&work.plan.topic);
            for (reader, _) in work.plan.readers() {
                let subscribed = &mut traffic.history().subscriptions;
                subscribed.entry(trace.name(&reader)).or_default().push(Arc::clone(&topic));
            }
        }
        Clients { traffic, works }
    }
}

/// Lets readers of a workload with a filter be owed only what that lets pass, or what one of several does.
fn select(traffic: &mut Traffic, plan: &Plan, work: &WorkloadPlan) {
    for group in work.all_consumer_groups() {
        if plan.changes_filter(&group.name) {
            traffic.let_change(&work.topic, &group.name, group.filter);
            continue;
        }
        // Plans with others are refused.
        let Some(Ok(filter)) = group.filter.as_ref().map(FilterPlan::compile) else { continue };
        for (reader, _) in work.readers_of(&group) {
            traffic.select(&work.topic, &reader, filter.clone());
        }
    }
}

/// What a story left behind, for the verdict.
pub struct Story {
    ledger: Ledger,
    history: History,
    committed: Committed,
    /// The broker groups that workloads used, the one under test first.
    groups: Vec<GroupStory>,
    expectations: Vec<Expectation>,
    violations: Vec<Violation>,
    /// Why the run proves less than it was to.
    shortfalls: Vec<Finding>,
    /// Consumer groups that are cut off from broker groups, as the story left them.
    cut_off: CutOff,
    /// What is known of consumption beside the history.
    watched: Watched,
    /// Who served DLedger groups as their masters.
    tenancies: Vec<Tenancy>,
    /// Faults of disturbances, by their place in the trace: none of them alone has to bite.
    drawn_faults: BTreeSet<usize>,
    first_fault_us: Option<u64>,
    started: u32,
}

/// What a story left behind of one broker group.
struct GroupStory {
    name: String,
    faults: Vec<FaultPositions>,
    /// Numbers that the present master's disk holds.
    stored: BTreeSet<u32>,
    /// Process that is master at the end, and the one that was at the start.
    master_now: String,
    master_then: String,
    /// The others that keep a copy of the log.
    replicas: Vec<String>,
    /// The processes whose log was the group's at any time.
    leaders: Vec<String>,
    /// Machines that keep a copy of the log.
    machines: Vec<String>,
    mode: String,
    /// A SYNC_MASTER without a slave from the start.
    no_second_copy: bool,
    /// What it says of topics that were deleted.
    deleted: DeletedInLog,
    /// Why nobody can read it, as the story left it.
    unread: Option<String>,
    /// Why it delivers nothing that is due, as the story left it.
    nothing_is_due: Option<String>,
}

impl GroupStory {
    /// Whether a process keeps a copy of the log.
    fn has(&self, process: &str) -> bool {
        process == self.master_then || self.replicas.iter().any(|replica| replica == process)
    }

    fn keepers(&self) -> Keepers {
        Keepers {
            group: self.name.clone(),
            processes: self.replicas.iter().chain([&self.master_then]).cloned().collect(),
            machines: self.machines.clone(),
        }
    }
}

/// A broker group at the start.
struct Beginning {
    name: String,
    master_then: String,
    mode: String,
    no_second_copy: bool,
}

impl Beginning {
    fn of(cluster: &Cluster, name: &str) -> Result<Self, Finding> {
        let needs_copies = |master: &BrokerProcess| master.acks().waits_for_copies();
        let needs_copies = cluster.master_of(name).is_some_and(needs_copies);
        Ok(Beginning {
            name: name.to_owned(),
            master_then: master_name(cluster, name)?,
            mode: verdict::mode(cluster, name),
            no_second_copy: needs_copies && cluster.slaves_of(name).next().is_none(),
        })
    }

    fn end(
        self,
        cluster: &Cluster,
        clients: &Clients,
        unread: &BTreeMap<String, String>,
    ) -> Result<GroupStory, Finding> {
        let Beginning { name, master_then, mode, no_second_copy } = self;
        let none = || {
            let text =
                format!("{name} has no master when the story ends: nobody can read what it holds");
            Finding::new(Verdict::Undecided, text)
        };
        let master_now = cluster.master_of(&name).ok_or_else(none)?.name().to_owned();
        let topics = settle::topics(clients);
        let stored = settle::stored_places(cluster.ledger(), &name, &master_now, &topics);
        let walk = cluster.ledger().view(&master_now).walk();
        let deleted =
            DeletedInLog { min: walk.min, deletions: walk.deletions, records: walk.deleted };
        let members: Vec<&BrokerProcess> = cluster.members_of(&name).collect();
        let replicas = members.iter().map(|broker| broker.name().to_owned());
        let leaders = members.iter().map(|it| it.name()).filter(|name| cluster.has_led(name));
        Ok(GroupStory {
            faults: cluster.positions(&name),
            stored: stored.into_values().collect(),
            deleted,
            replicas: replicas.filter(|it| *it != master_then).collect(),
            leaders: leaders.map(str::to_owned).collect(),
            machines: members.iter().map(|it| it.machine().name().to_string()).collect(),
            unread: unread.get(&name).cloned(),
            nothing_is_due: settle::why_nothing_is_due(cluster, &name),
            name,
            master_now,
            master_then,
            mode,
            no_second_copy,
        })
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

/// Runs a plan in our own world. `repro` is the command that runs the same again. The trace keeps what chains
/// of lost messages may cite.
#[must_use]
pub fn run(plan: &Plan, seed: u64, repro: &str) -> RunOutcome {
    run_keeping(plan, seed, repro, may_cite)
}

/// The same with a trace that keeps everything.
#[must_use]
pub fn run_traced(plan: &Plan, seed: u64, repro: &str) -> RunOutcome {
    run_keeping(plan, seed, repro, |_| true)
}

fn run_keeping(plan: &Plan, seed: u64, repro: &str, trace_keeps: Keeps) -> RunOutcome {
    run_on(plan, seed, repro, |config, script| {
        let config = WorldConfig { trace_keeps, ..config };
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
    program::plant_on_this_thread(&plan.plants);
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
    let levels = plan.delay_levels();
    let delays = plan.workloads.iter().flat_map(|work| work.levels(&levels));
    let delays = delays.filter(|level| *level > 0);
    let delays = delays.map(|level| levels.deliver_time_ms(level as usize, 0));
    let groups = plan.workloads.iter().flat_map(WorkloadPlan::all_consumer_groups);
    let redeliveries = groups.map(|group| group.redeliveries_max()).max().unwrap_or(0);
    let longest_ms = levels.delays_ms().iter().copied().max().unwrap_or_default();
    let redelivery_ms = longest_ms.saturating_mul(u64::from(redeliveries));
    let delay_ms = delays.max().unwrap_or_default().saturating_add(redelivery_ms);
    let events = plan.events.iter().map(|event| event.at.map_or(0, |at| at.0) + event.delay.0);
    let disturbed = plan.disturbances.iter().map(|it| it.until.0).max().unwrap_or(0);
    events.fold(delay_ms.saturating_add(disturbed), u64::saturating_add)
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
    let cluster = Cluster::build(stage, plan, &ledger)?;
    let clients = Clients::of(plan, &cluster, seed);
    let groups = groups_in_use(&clients, &cluster);
    for group in &groups {
        let elected = cluster.members_of(group).filter(|broker| broker.is_dledger());
        for master in cluster.masters_of(group).take(1).chain(elected) {
            master.lets_clients_in()?;
        }
    }

    cluster.start();
    settle::come_up(&cluster, &clients, &groups).await?;
    let beginnings = groups.iter().map(|group| Beginning::of(&cluster, group));
    let beginnings = beginnings.collect::<Result<Vec<_>, _>>()?;

    clients.works.iter().for_each(|work| cluster.start_producers(work));
    let director = director::Director::new(&cluster, &clients, plan, &groups[0], seed);
    let directed = director.direct().await?;
    let healed_us = directed.last_us;
    // A story of events says what its operator does.
    let is_drawn = !plan.disturbances.is_empty();
    let blank = groups.iter().filter(|group| is_drawn && cluster.leads_blank(group)).cloned();
    settle::make_anew(&cluster, &clients, &blank.collect::<Vec<_>>()).await?;
    let mut hopes = settle::leaders_rise(&cluster, &groups, healed_us).await;
    hopes.extend(settle::life_goes_on(&cluster, &clients, plan, &groups, healed_us).await);
    let ran_out = clients.traffic.ran_out();
    settle::fall_silent(&cluster, &clients).await;
    hopes.extend(settle::replicas_meet(&cluster, plan, &groups, healed_us).await);
    let watched = settle::owners_settle(&cluster, &clients, plan).await;
    let cut_off = settle::cut_off(&cluster, &clients, &groups);
    let found = settle::read_back(&cluster, &clients, &groups).await;
    cluster.note_disk_bites();
    ledger.note_damage(&trace);

    let shortfall = |why| Finding::new(Verdict::Vacuous, why);
    let mut shortfalls: Vec<Finding> = directed.vacuous.into_iter().map(shortfall).collect();
    // What is drawn besides may have kept an operator from it.
    let idle = if is_drawn { Verdict::Kept } else { Verdict::Vacuous };
    let without_effect = cluster.without_effect();
    shortfalls.extend(without_effect.into_iter().map(|text| Finding::new(idle, text)));
    shortfalls.extend(cluster.late().into_iter().map(|text| Finding::new(Verdict::Kept, text)));
    let (mut expectations, hindered) = settle::tell_hopes(hopes);
    shortfalls.extend(hindered);
    let mute = settle::mute_groups(&cluster, &clients, &groups);
    // Where a plan asks for no acknowledgement, their absence is the story.
    for (group, status) in mute.iter().filter(|_| plan.check.sends_within.is_some()) {
        let text =
            format!("{group} acknowledged nothing even before the first fault, but {status}");
        shortfalls.push(shortfall(text));
    }
    if let Some(sends) = ran_out {
        // Whether sends would be acknowledged again cannot be told without sends.
        expectations.retain(|it| it.happened_us.is_some());
        let text = format!(
            "the producers stopped after {sends} sends, the most of a run, before the story was over; \
             fewer sends a second (workload.rate_per_second) last longer"
        );
        shortfalls.push(Finding::new(Verdict::Undecided, text));
    }
    let unread = settle::unread(&cluster, &clients, &groups);
    let mut violations = Vec::new();
    let committed = match found {
        Ok(found) => {
            let is_read = |it: &&Unread| !unread.contains_key(&*it.queue.group);
            let denied = found.unread.iter().filter(is_read);
            violations.extend(denied.map(|it| Violation::new(Checker::Served, it.to_string())));
            clients.traffic.history().read_back = found.queues;
            found.committed
        }
        Err(error) => {
            let text = format!("the fresh group cannot read the queues: {error}");
            if unread.is_empty() {
                violations.push(Violation::new(Checker::Liveness, text));
            }
            Committed::new()
        }
    };
    shortfalls.extend(settle::leave_open(&cluster, &clients, &groups));
    let compared = settle::compare_disks(&cluster, plan, &groups);
    for (found, excused) in [compared, settle::fallen(&cluster)] {
        violations.extend(found);
        shortfalls.extend(excused);
    }
    let groups = beginnings.into_iter().map(|it| it.end(&cluster, &clients, &unread));
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    let history = std::mem::take(&mut *clients.traffic.history());
    Ok(Story {
        ledger,
        history,
        committed,
        groups,
        expectations,
        violations,
        shortfalls,
        cut_off,
        watched,
        tenancies: cluster.tenancies(),
        drawn_faults: directed.drawn_faults,
        first_fault_us: cluster.first_fault_us(),
        started: clients.traffic.started(),
    })
}

/// The broker groups that workloads use and whose promises are judged, the first workload's first.
fn groups_in_use(clients: &Clients, cluster: &Cluster) -> Vec<String> {
    let is_master = |broker: &&BrokerProcess| broker.is_master() || broker.is_dledger();
    let masters = cluster.brokers().values().filter(is_master);
    let is_used = |group: &String| clients.works.iter().any(|work| work.uses(group));
    let mut groups: Vec<String> = Vec::new();
    for group in masters.map(BrokerProcess::group).filter(is_used) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    if let Some(place) = groups.iter().position(|group| *group == clients.works[0].plan.group) {
        groups.swap(0, place);
    }
    groups
}

fn master_name(cluster: &Cluster, group: &str) -> Result<String, Finding> {
    let none = || Finding::new(Verdict::BadInput, format!("{group} has no master"));
    let master = cluster.master_of(group).ok_or_else(none)?;
    Ok(master.name().to_owned())
}

#[cfg(test)]
mod tests;
