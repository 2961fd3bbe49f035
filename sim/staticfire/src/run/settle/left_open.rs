//! Transactions that nobody can end any more: what was committed and never arrived is no acknowledged message
//! then, and the run says why it cannot tell.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use mq_broker::RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC;
use staticfire_judge::history::{History, Outcome, SendOp};
use staticfire_world::trace::Name;

use super::stored_places;
use crate::run::Clients;
use crate::run::cluster::Cluster;
use crate::run::report::{Finding, Verdict};

/// Takes the acknowledgement from committed messages that nobody got: those of workloads of which no producer
/// is left to be asked, and those that brokers have given up. Gives a finding for each reason there is.
pub(in crate::run) fn leave_open(
    cluster: &Cluster,
    clients: &Clients,
    groups: &[String],
) -> Vec<Finding> {
    let mut transactional =
        clients.works.iter().filter(|work| work.plan.transaction.is_some()).peekable();
    if transactional.peek().is_none() {
        return Vec::new();
    }
    let answers = |name: String| cluster.can_be_asked(&name);
    let mut findings = Vec::new();
    for work in transactional.filter(|work| !work.plan.producer_names().any(answers)) {
        let topic = &work.plan.topic;
        let text = format!("no producer is left that could be asked about transactions of {topic}");
        findings.push(Finding::new(Verdict::Undecided, text));
        open(clients, |send| *send.topic == **topic);
    }
    // The logs are walked only where something is missing.
    let given_up = LazyCell::new(|| given_up(cluster, clients, groups));
    if open(clients, |send| given_up.contains(&send.number)) > 0 {
        let text = "brokers gave committed messages up, after so many questions as they may ask \
                    (transactionCheckMax), or because their file was about to be removed";
        findings.push(Finding::new(Verdict::Undecided, text));
    }
    findings
}

/// Numbers of messages that masters gave up.
fn given_up(cluster: &Cluster, clients: &Clients, groups: &[String]) -> BTreeSet<u32> {
    let topics = BTreeSet::from([clients.traffic.trace().name(RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC)]);
    let masters = groups.iter().filter_map(|group| Some((group, cluster.master_of(group)?)));
    masters
        .flat_map(|(group, master)| {
            stored_places(cluster.ledger(), group, master.name(), &topics).into_values()
        })
        .collect()
}

/// Lets the acknowledged messages that nobody read back and that `is_open` be open; how many there are.
fn open(clients: &Clients, is_open: impl Fn(&SendOp) -> bool) -> usize {
    let why = clients.traffic.trace().name("TRANSACTION_OPEN");
    let mut history = clients.traffic.history();
    let History { sends, read_back, .. } = &mut *history;
    let read = read_back.values().flat_map(|queue| &queue.messages);
    let read: BTreeSet<u32> = read.filter_map(|message| message.number).collect();
    let lost = sends.iter_mut().filter(|send| {
        send.outcome == Outcome::Acked && !read.contains(&send.number) && is_open(send)
    });
    lost.map(|send| send.outcome = Outcome::Unknown(Name::clone(&why))).count()
}
