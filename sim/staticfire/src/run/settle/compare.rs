//! What the disks of a group hold: are the copies equal, and are the queues like a rebuild?

use std::collections::{BTreeMap, BTreeSet};

use staticfire_judge::check::Violation;
use staticfire_judge::check::replicas::{LogCopy, check_logs, check_queues};
use staticfire_judge::ledger::{FoundRecord, LogView, LogWalk};

use super::out_of_reach::why_unequal;
use crate::plan::Plan;
use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;
use crate::run::report::{Finding, Verdict};

/// Whether every running slave of a group holds exactly its master's log, and every running broker
/// of the group has dispatched all of its own.
pub(in crate::run) fn are_replicas_equal(cluster: &Cluster, group: &str) -> bool {
    let Some(master) = cluster.master_of(group) else { return false };
    let view = cluster.ledger().view(master.name());
    let walk = view.walk();
    let running = |broker: &&BrokerProcess| broker.handle().is_running();
    let strangers = strangers(cluster, group);
    let follows = |broker: &&BrokerProcess| !strangers.contains(broker.name());
    let is_equal = master.handle().is_running()
        && view.queued_records(&walk.gaps) == walk.records.len()
        && cluster
            .slaves_of(group)
            .filter(running)
            .filter(follows)
            .all(|slave| is_equal_copy(&view, &walk, &cluster.ledger().view(slave.name())));
    if is_equal && cluster.members_of(group).all(|it| it.handle().is_running()) {
        cluster.note_equal(group);
    }
    is_equal
}

/// The slaves of a group that have nothing in common with its master, because a disk was destroyed and what
/// was left of it leads now: a slave refuses such a log.
pub(in crate::run) fn strangers(cluster: &Cluster, group: &str) -> BTreeSet<String> {
    // An empty member of a DLedger group is filled by the others.
    let may_be = cluster.was_blanked(group) && !cluster.is_dledger(group);
    let Some(master) = cluster.master_of(group).filter(|_| may_be) else {
        return BTreeSet::new();
    };
    let view = cluster.ledger().view(master.name());
    let is_stranger =
        |slave: &&BrokerProcess| !has_common_history(&view, &cluster.ledger().view(slave.name()));
    cluster.slaves_of(group).filter(is_stranger).map(|slave| slave.name().to_owned()).collect()
}

/// Whether the first record of `copy` is one of `view` too; an empty copy has nothing that differs.
fn has_common_history(view: &LogView, copy: &LogView) -> bool {
    let min = view.min().unwrap_or_default();
    let records = copy.walk().records;
    let first = records.iter().find(|record| record.indexed.unit.phy_offset >= min);
    first.is_none_or(|first| {
        let range = first.indexed.unit.phy_offset..first.end_offset();
        view.common_end(copy, range.clone()) == range.end
    })
}

/// Whether `copy` ends where the log of `view` ends, has the same bytes, and is dispatched.
fn is_equal_copy(view: &LogView, walk: &LogWalk, copy: &LogView) -> bool {
    let Some(min) = copy.min() else { return walk.records.is_empty() };
    let is_common = |found: &&FoundRecord| found.indexed.unit.phy_offset >= min;
    let common = walk.records.iter().filter(is_common).count();
    // Where the copy begins earlier, its own records count.
    let records = if min < walk.min { copy.walk().records.len() } else { common };
    // Behind the last record there may be the blank of a full file.
    (copy.ends_at(walk.end) || copy.walk().end == walk.end)
        && view.same_sound_bytes(copy, walk.min.max(min)..walk.end)
        && copy.queued_records(&walk.gaps) == records
}

/// Compares the copies of every group with each other and each with a rebuild. Where a device damaged the
/// queues, or keeps them from being written, a difference is no broken promise, and a finding says so.
pub(in crate::run) fn compare_disks(
    cluster: &Cluster,
    plan: &Plan,
    groups: &[String],
) -> (Vec<Violation>, Vec<Finding>) {
    let running = cluster.brokers().values().filter(|broker| broker.handle().is_running());
    let copies: BTreeMap<&str, Copied> = running
        .map(|broker| {
            let view = cluster.ledger().view(broker.name());
            (broker.name(), Copied::of(view))
        })
        .collect();
    let (mut violations, mut findings) = (Vec::new(), Vec::new());
    for (name, copy) in &copies {
        // Of a DLedger log nothing is queued before it is committed.
        let is_queued = |it: &&FoundRecord| it.end_offset() <= copy.agreed_end;
        let records = copy.walk.records.iter().filter(is_queued);
        let records: Vec<_> = records.map(|r| r.indexed.clone()).collect();
        let gaps = &copy.walk.gaps;
        let unlike = check_queues(name, &records, gaps, &copy.view.queues());
        let why = || cluster.rotten_store(name).or_else(|| cluster.disk_trouble(name));
        match unlike.as_ref().and_then(|_| why()) {
            Some(why) => findings.push(Finding::new(
                Verdict::Undecided,
                format!("the queues of {name} are not what a rebuild gives, because {why}"),
            )),
            None => violations.extend(unlike),
        }
    }
    // Where a slave may refuse to follow (a blank master), nothing is promised of the copies.
    if plan.check.replicas_equal_within.is_none() {
        return (violations, findings);
    }
    for group in groups.iter().filter(|group| why_unequal(cluster, group).is_none()) {
        let Some(master) = cluster.master_of(group) else { continue };
        let Some(original) = copies.get(master.name()) else { continue };
        let strangers = strangers(cluster, group);
        let slaves = cluster.slaves_of(group).map(BrokerProcess::name);
        let slaves = slaves.filter(|slave| !strangers.contains(*slave));
        for (slave, copy) in slaves.filter_map(|name| copies.get_key_value(name)) {
            let expired_to = cluster.ledger().expired_to(slave);
            violations.extend(compare_logs(master.name(), original, slave, copy, expired_to));
        }
    }
    (violations, findings)
}

/// A broker's log on its disk.
struct Copied {
    view: LogView,
    walk: LogWalk,
    /// Up to where it is all of its group's: of a DLedger node its committed end, else its end.
    agreed_end: u64,
}

impl Copied {
    fn of(view: LogView) -> Self {
        let walk = view.walk();
        let agreed_end = if view.has_entries() { view.queued_end(&walk) } else { walk.end };
        Copied { view, walk, agreed_end }
    }
}

/// A slave whose old files have expired begins where it may.
fn compare_logs(
    master: &str,
    one: &Copied,
    slave: &str,
    other: &Copied,
    expired_to: u64,
) -> Option<Violation> {
    let damaged = one.view.damaged_either(&other.view);
    let read_one = |range| one.view.read_without(&damaged, range);
    let read_other = |range| other.view.read_without(&damaged, range);
    // That all members of a DLedger group come to the same end is a matter of time.
    let whole = !one.view.has_entries();
    let min = one.walk.min.max(other.walk.min.min(expired_to));
    let one = LogCopy { name: master, min, max: one.agreed_end, read: &read_one };
    let (min, max) = (other.walk.min, other.agreed_end);
    let other = LogCopy { name: slave, min, max, read: &read_other };
    check_logs(&one, &other, whole)
}
