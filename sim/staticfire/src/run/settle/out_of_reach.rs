//! What may not be expected of a cluster that its story left broken: a master that was killed for good is read
//! by nobody, and its messages are not lost for that.

use std::collections::BTreeMap;

use staticfire_judge::check::liveness::{self, Expectation};
use staticfire_world::trace::Name;

use crate::run::Clients;
use crate::run::cluster::Cluster;
use crate::run::report::{Finding, Verdict};
use crate::run::workload::Workload;

/// An expectation, and what the story left broken that it rests on.
pub(in crate::run) struct Hope {
    pub(super) expectation: Expectation,
    pub(super) hindered: Option<String>,
}

/// The expectations that may be held; of those that something hinders and that were not met, why.
pub(in crate::run) fn tell_hopes(hopes: Vec<Hope>) -> (Vec<Expectation>, Vec<Finding>) {
    let (mut expectations, mut findings) = (Vec::new(), Vec::new());
    for Hope { expectation, hindered } in hopes {
        match hindered.filter(|_| liveness::check(&expectation).is_some()) {
            Some(why) => {
                let text = format!("{}: not to be expected, because {why}", expectation.what);
                findings.push(Finding::new(Verdict::Undecided, text));
            }
            None => expectations.push(expectation),
        }
    }
    (expectations, findings)
}

/// The broker groups that nobody can read as the story left them, each with the reason.
pub(in crate::run) fn unread(
    cluster: &Cluster,
    clients: &Clients,
    groups: &[String],
) -> BTreeMap<String, String> {
    let reasons =
        groups.iter().filter_map(|it| Some((it.clone(), why_unread(cluster, clients, it)?)));
    reasons.collect()
}

/// Why nobody can read what producers sent to a broker group. What is delivered later, or once its transaction is
/// committed, is appended again first.
fn why_unread(cluster: &Cluster, clients: &Clients, group: &str) -> Option<String> {
    let master = cluster.master_of(group)?.name();
    let appends =
        clients.works.iter().any(|work| work.uses(group) && work.plan.is_appended_again());
    let trouble = || cluster.disk_trouble(master).or_else(|| cluster.stopped_clock(master));
    let trouble = || trouble().filter(|_| appends);
    why_not_served(cluster, group).or_else(trouble)
}

/// Why the master of a broker group delivers nothing that is due: it cannot store it, or its clock does not come there.
pub(in crate::run) fn why_nothing_is_due(cluster: &Cluster, group: &str) -> Option<String> {
    let master = cluster.master_of(group)?.name();
    why_not_served(cluster, group)
        .or_else(|| cluster.disk_trouble(master))
        .or_else(|| cluster.stopped_clock(master))
}

/// Why the master of a broker group serves nobody, or not what it holds.
fn why_not_served(cluster: &Cluster, group: &str) -> Option<String> {
    let master = cluster.master_of(group)?.name();
    why_not_found(cluster, group, master)
        .or_else(|| cluster.stalled_disk(master))
        .or_else(|| cluster.rotten_queues(master))
}

/// Why clients do not come to the master of a broker group, and to it alone.
fn why_not_found(cluster: &Cluster, group: &str, master: &str) -> Option<String> {
    // Where members elect another one, it is no reason that the last one is away.
    if cluster.is_dledger(group) && cluster.leads_now(group).is_none() {
        return cluster.why_no_quorum(group);
    }
    let unrouted = cluster.why_away(master).or_else(|| cluster.why_unrouted(master));
    unrouted.or_else(|| two_masters(cluster, group))
}

/// Says if two brokers of a group run as its master. Who sends to which of them, and who reads which, is
/// chance.
fn two_masters(cluster: &Cluster, group: &str) -> Option<String> {
    let mut running = cluster.masters_of(group).filter(|it| it.handle().is_running());
    let (one, other) = (running.next()?.name(), running.next()?.name());
    Some(format!("{one} and {other} both run as its master"))
}

/// Why a client that is at work does not reach a master.
fn why_apart(cluster: &Cluster, client: &str, master: &str) -> Option<String> {
    cluster.why_cut_off(client, master).or_else(|| cluster.why_no_route(client))
}

/// Why sends of a workload to a broker group are not acknowledged.
pub(super) fn why_no_acks(cluster: &Cluster, work: &Workload, group: &str) -> Option<String> {
    let master = cluster.master_of(group)?;
    let name = master.name();
    let of_producer = |it: String| cluster.why_away(&it).or_else(|| why_apart(cluster, &it, name));
    let producers: Option<Vec<String>> = work.plan.producer_names().map(of_producer).collect();
    why_not_found(cluster, group, name)
        .or_else(|| cluster.disk_trouble(name))
        .or_else(|| producers?.into_iter().next())
        .or_else(|| why_no_copies(cluster, group, name, master.acks().other_copies))
}

/// Why a master has fewer slaves that can take a copy than it needs.
fn why_no_copies(cluster: &Cluster, group: &str, master: &str, needed: usize) -> Option<String> {
    let slaves = cluster.slaves_of(group).map(|it| why_not_equal(cluster, master, it.name()));
    let (sound, hindered): (Vec<_>, Vec<_>) = slaves.partition(Option::is_none);
    if sound.len() >= needed { None } else { hindered.into_iter().flatten().next() }
}

/// Why a slave does not become equal to its master.
fn why_not_equal(cluster: &Cluster, master: &str, slave: &str) -> Option<String> {
    cluster
        .why_away(slave)
        .or_else(|| cluster.why_cut_off(master, slave))
        .or_else(|| cluster.disk_trouble(slave))
        .or_else(|| cluster.rotten_queues(slave))
        .or_else(|| cluster.why_no_route(slave))
}

/// Why the replicas of a broker group do not become equal. Brokers that do not run are not compared.
pub(super) fn why_unequal(cluster: &Cluster, group: &str) -> Option<String> {
    let master = cluster.master_of(group)?.name();
    let running = cluster.slaves_of(group).filter(|it| it.handle().is_running());
    let mut slaves = running.map(|it| why_not_equal(cluster, master, it.name()));
    why_not_served(cluster, group)
        .or_else(|| cluster.disk_trouble(master))
        .or_else(|| slaves.find_map(|it| it))
}

/// Why consumer groups are not given what broker groups hold, by both.
pub(in crate::run) type CutOff = BTreeMap<(Name, Name), Absence>;

/// Why a consumer group is not given something.
pub(in crate::run) enum Absence {
    /// None of its consumers is left: what there is waits for one.
    NobodyLeft(String),
    /// Some of them cannot come where it is, and may keep the others from it.
    Unreached(String),
}

/// The consumer groups of the story that are cut off from what `groups` hold when it ends.
pub(in crate::run) fn cut_off(cluster: &Cluster, clients: &Clients, groups: &[String]) -> CutOff {
    let trace = cluster.trace();
    let mut cut_off = CutOff::new();
    for work in &clients.works {
        for (reader, members) in work.plan.readers() {
            for group in groups.iter().filter(|group| work.uses(group)) {
                if let Some(absence) = why_not_given(cluster, &members, group) {
                    cut_off.insert((trace.name(&reader), trace.name(group)), absence);
                }
            }
        }
    }
    cut_off
}

fn why_not_given(cluster: &Cluster, members: &[String], group: &str) -> Option<Absence> {
    let away: Option<Vec<String>> = members.iter().map(|it| cluster.why_away(it)).collect();
    if let Some(away) = away {
        return away.into_iter().next().map(Absence::NobodyLeft);
    }
    let master = cluster.master_of(group)?.name();
    let mut at_work = members.iter().filter(|it| cluster.is_at_work(it));
    let unreached = at_work.find_map(|it| why_apart(cluster, it, master));
    unreached
        .or_else(|| cluster.why_unrouted(master))
        .or_else(|| two_masters(cluster, group))
        .or_else(|| cluster.rotten_queues(master))
        .map(Absence::Unreached)
}
