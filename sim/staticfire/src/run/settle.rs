//! The quiet acts: coming up, life after the last event, silence, and what is read back and compared.

mod come_up;
mod compare;
mod drain;
mod elected;
mod fallen;
mod left_open;
mod out_of_reach;
mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{join, join_all};
use staticfire_judge::check::liveness::Expectation;
use staticfire_judge::history::SendOp;
use staticfire_world::trace::Name;
use tokio::time::{sleep, timeout};

use crate::plan::{Millis, Plan};
use crate::run::Clients;
use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;
use crate::run::traffic::Acks;
use crate::run::workload::Workload;

pub(super) use come_up::{come_up, make_anew};
pub(super) use compare::{are_replicas_equal, compare_disks, strangers};
pub(super) use drain::{read_back, stored_places};
pub(super) use elected::leaders_rise;
pub(super) use fallen::fallen;
pub(super) use left_open::leave_open;
pub(super) use out_of_reach::{Absence, CutOff, cut_off, tell_hopes, unread, why_nothing_is_due};

pub(super) use owners::owners_settle;

use out_of_reach::{Hope, why_no_acks, why_unequal};

/// How often a condition that no event announces is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Acknowledgements after the last event that prove that life goes on.
const ACKS_OF_LIFE: u32 = 20;

/// Within this time a message that is due is delivered.
const DELIVERY: Duration = Duration::from_secs(2);

/// Waits for acknowledgements after the last event, and for the story's share of messages.
pub(super) async fn life_goes_on(
    cluster: &Cluster,
    clients: &Clients,
    plan: &Plan,
    groups: &[String],
    healed_us: u64,
) -> Vec<Hope> {
    let acks = clients.traffic.acks();
    let before = acks.get();
    let limit = plan.check.sends_within.unwrap_or(Millis(5_000)).duration();
    let is_only = clients.works.len() == 1;
    let of_works = clients.works.iter().map(|work| {
        let (before, index) = (before.clone(), work.index());
        let more = move |now: &Acks| now.of_workload(index) > before.of_workload(index);
        let what = match is_only {
            true => format!("sends to {}", groups[0]),
            false => format!("sends to topic {}", work.plan.topic),
        };
        resumes(cluster, clients, limit, what, more)
    });
    // With several groups each has to be of use again, if it can be.
    let silent = silent_groups(cluster, clients, groups);
    // Keys may all choose queues of the others.
    // Of a topic that was deleted the first broker has it again that somebody sends to.
    let is_everywhere =
        |work: &Workload| !work.plan.ordered && !cluster.was_deleted(&work.plan.topic);
    let is_chosen =
        |group: &str| clients.works.iter().any(|it| it.uses(group) && is_everywhere(it));
    let may = |group: &&String| {
        !silent.contains(*group) && is_chosen(group) && can_acknowledge(cluster, group)
    };
    let able: Vec<&String> = groups.iter().filter(|it| groups.len() > 1 && may(it)).collect();
    let of_groups = able.iter().map(|group| {
        let (before, name) = (before.clone(), group.to_string());
        let more = move |now: &Acks| now.of_group(&name) > before.of_group(&name);
        resumes(cluster, clients, limit, format!("sends to {group}"), more)
    });
    let (of_works, of_groups) = join(join_all(of_works), join_all(of_groups)).await;
    let resumed: Vec<&Workload> = clients
        .works
        .iter()
        .zip(&of_works)
        .filter_map(|(work, it)| it.1.is_some().then_some(&**work))
        .collect();
    join_all(resumed.into_iter().map(|work| go_on(clients, work, &before))).await;
    // Without a fault this is the first time that any send has an outcome.
    let silent = silent_groups(cluster, clients, groups);
    let hope = |(what, happened_us), is_demanded, hindered| {
        let within = plan.check.sends_within.filter(|_| is_demanded);
        let what = format!("{what} are acknowledged again");
        Hope { expectation: Expectation { what, within, healed_us, happened_us }, hindered }
    };
    let of_works = clients.works.iter().zip(of_works).map(|(work, it)| {
        let used = groups.iter().filter(|group| work.uses(group));
        let mut speak = used.clone().map(|group| !silent.contains(group));
        let is_demanded = if work.plan.ordered { speak.all(|it| it) } else { speak.any(|it| it) };
        let hindered = used.map(|group| why_no_acks(cluster, work, group));
        hope(it, is_demanded, why_none(hindered, work.plan.ordered))
    });
    let of_groups = able.into_iter().zip(of_groups).map(|(group, it)| {
        let mut users = clients.works.iter().filter(|work| work.uses(group));
        let hindered = users.find_map(|work| why_no_acks(cluster, work, group));
        hope(it, !silent.contains(group), hindered)
    });
    of_works.chain(of_groups).collect()
}

/// Why nothing is acknowledged that goes to groups of which each has a reason, or none. Whose keys choose the queues
/// may have all of them in one group.
fn why_none(reasons: impl Iterator<Item = Option<String>>, is_ordered: bool) -> Option<String> {
    if is_ordered {
        return reasons.flatten().next();
    }
    let all: Option<Vec<String>> = reasons.collect();
    all?.into_iter().next()
}

/// The groups of which no acknowledgement can be demanded.
fn silent_groups(cluster: &Cluster, clients: &Clients, groups: &[String]) -> BTreeSet<String> {
    let mute = mute_groups(cluster, clients, groups);
    let is_silent = |group: &&String| is_estranged(cluster, group) || mute.contains_key(&***group);
    groups.iter().filter(is_silent).cloned().collect()
}

/// When an acknowledgement of some kind came, within a time.
async fn resumes(
    cluster: &Cluster,
    clients: &Clients,
    limit: Duration,
    what: String,
    more: impl Fn(&Acks) -> bool,
) -> (String, Option<u64>) {
    let happened = timeout(limit, clients.traffic.acks().wait_for(more)).await.is_ok();
    (what, happened.then(|| cluster.trace().now_us()))
}

/// Lets a workload whose sends are acknowledged prove that it lives, and send its share.
async fn go_on(clients: &Clients, work: &Workload, before: &Acks) {
    let index = work.index();
    let wanted = before.of_workload(index) + ACKS_OF_LIFE;
    let acks = clients.traffic.acks();
    let enough = acks.wait_for(|acks| acks.of_workload(index) >= wanted);
    let _ = timeout(Duration::from_secs(60), enough).await;
    while work.started() < work.plan.messages {
        let known = work.started();
        sleep(Duration::from_secs(2)).await;
        if work.started() == known {
            break;
        }
    }
}

/// The groups that were sent messages before the first fault and never acknowledged one, each with the last
/// status that was given instead: settings, theirs or the producers', are why, and no fault.
pub(super) fn mute_groups(
    cluster: &Cluster,
    clients: &Clients,
    groups: &[String],
) -> BTreeMap<Name, Name> {
    let acks = clients.traffic.acks().get();
    let silent = groups.iter().filter(|group| acks.of_group(group) == 0);
    let first_fault_us = cluster.first_fault_us().unwrap_or(u64::MAX);
    let history = clients.traffic.history();
    let sent = history.sends.iter().filter(|send| send.ended_us < first_fault_us).rev();
    // Of a send that nobody answered it is not known whom it went to.
    let went_to = |send: &SendOp, group: &str| match &send.group {
        Some(to) => **to == *group,
        None => acks.all == 0,
    };
    let last = silent.filter_map(|group| {
        let last = sent.clone().find(|send| went_to(send, group))?;
        Some((cluster.trace().name(group), Name::clone(&last.status)))
    });
    last.collect()
}

/// Whether a group has a SYNC_MASTER that every slave refuses to follow, for good.
fn is_estranged(cluster: &Cluster, group: &str) -> bool {
    let strangers = strangers(cluster, group);
    let needs_copies = |master: &BrokerProcess| master.acks().waits_for_copies();
    cluster.master_of(group).is_some_and(needs_copies)
        && !strangers.is_empty()
        && cluster.slaves_of(group).all(|slave| strangers.contains(slave.name()))
}

/// Whether a group has a master that may say SEND_OK.
fn can_acknowledge(cluster: &Cluster, group: &str) -> bool {
    let running = |broker: &BrokerProcess| broker.handle().is_running();
    let master = cluster.master_of(group).filter(|master| running(master));
    let has_copies = || cluster.slaves_of(group).filter(|slave| running(slave)).count();
    master.is_some_and(|master| master.acks().other_copies <= has_copies())
}

/// Within this time a client knows a new master, a broker the groups of a client, and nobody is asked any more
/// who vanished without a word (two minutes, looked at every ten seconds).
const ACQUAINTANCE: Duration = Duration::from_secs(135);

/// Stops the producers and waits until every send has an outcome, nobody waits for a reply, every delayed message was
/// due, and brokers have asked about every half message that nobody ended.
pub(super) async fn fall_silent(cluster: &Cluster, clients: &Clients) {
    clients.works.iter().for_each(|work| work.stop_sending());
    while !clients.works.iter().all(|work| work.is_quiet()) {
        sleep(LOOK_INTERVAL).await;
    }
    let levels = clients.works.iter().flat_map(|work| &work.levels).filter(|level| **level > 0);
    let delays = levels.flat_map(|level| {
        let brokers = cluster.brokers().values();
        brokers.map(move |it| cluster.by_its_clock(it.name(), it.delay(*level)))
    });
    if let Some(delay) = delays.max() {
        sleep(delay + DELIVERY).await;
    }
    if clients.works.iter().any(|work| work.plan.transaction.is_some()) {
        let brokers = cluster.brokers().values();
        let patience = brokers.map(|it| cluster.by_its_clock(it.name(), it.transaction_patience()));
        sleep(ACQUAINTANCE + patience.max().unwrap_or_default() + DELIVERY).await;
    }
}

/// Waits until the replicas of every group are equal.
pub(super) async fn replicas_meet(
    cluster: &Cluster,
    plan: &Plan,
    groups: &[String],
    healed_us: u64,
) -> Vec<Hope> {
    let Some(within) = plan.check.replicas_equal_within else { return Vec::new() };
    let trace = cluster.trace();
    // Sends went on after the heal: the deadline counts from the silence, or the heal if later.
    let healed_us = trace.now_us().max(healed_us);
    let deadline_us = healed_us + within.0 * 1_000;
    let mut met: BTreeMap<&String, u64> = BTreeMap::new();
    while trace.now_us() <= deadline_us {
        for group in groups {
            if !met.contains_key(group) && are_replicas_equal(cluster, group) {
                met.insert(group, trace.now_us());
            }
        }
        if met.len() == groups.len() {
            break;
        }
        sleep(LOOK_INTERVAL).await;
    }
    let hope = |group: &String| {
        let what = format!("the replicas of {group} are equal and dispatched");
        let happened_us = met.get(group).copied();
        let expectation = Expectation { what, within: Some(within), healed_us, happened_us };
        Hope { expectation, hindered: why_unequal(cluster, group) }
    };
    groups.iter().map(hope).collect()
}

/// The topics of the workloads.
pub(super) fn topics(clients: &Clients) -> BTreeSet<Name> {
    clients.works.iter().map(|work| clients.traffic.trace().name(&work.plan.topic)).collect()
}
