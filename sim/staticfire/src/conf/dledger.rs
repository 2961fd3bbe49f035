//! DLedger groups: who is in one by `dLegerPeers` and `dLegerSelfId`, what the files of its members must agree on, and where
//! members look for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use mq_store::config::DLedgerConfig;

use crate::conf::BrokerConf;
use crate::conf::finding::{Finding, FindingKind, Place};
use crate::conf::group::{self, BrokerGroup, Electors};

/// The keys that say who is in a group.
pub(super) const KEYS: [&str; 5] =
    ["enableDLegerCommitLog", "dLegerGroup", "dLegerPeers", "dLegerSelfId", "preferredLeaderId"];

/// A member as one of `dLegerPeers` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// `n0`.
    pub(super) id: String,
    /// `host:port` as written.
    pub(super) written: String,
    /// Where that is; `None` where nothing resolves the host.
    pub(super) address: Option<SocketAddr>,
}

/// The parts of `dLegerPeers`: ids with `host:port`. What has errors is not here.
pub(super) fn peers_of(dledger: &DLedgerConfig) -> impl Iterator<Item = (&str, &str)> {
    dledger.peers.split(';').filter_map(|peer| peer.trim().split_once('-'))
}

/// Whether a broker is in DLedger mode, and its file sound enough to say in which group.
pub(super) fn is_member(broker: &BrokerConf) -> bool {
    broker.store.dledger.is_some() && broker.is_sound(&KEYS)
}

fn self_id(broker: &BrokerConf) -> &str {
    broker.store.dledger.as_ref().map_or("", |dledger| &dledger.self_id)
}

/// The groups by name. Those that contradict themselves are in none; everything is said of them.
pub(super) fn gather(brokers: &mut [BrokerConf], findings: &mut Vec<Finding>) -> Vec<BrokerGroup> {
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, broker) in brokers.iter().enumerate().filter(|(_, broker)| is_member(broker)) {
        by_name.entry(broker.config.broker_name.clone()).or_default().push(index);
    }
    let mut groups = Vec::new();
    for (name, mut members) in by_name {
        members.sort_by_key(|member| brokers[*member].config.broker_id);
        let before = findings.len();
        agree(&name, &members, brokers, findings);
        if findings.len() > before {
            continue;
        }
        look_for_each_other(&members, brokers, findings);
        // A broken file may be a member's.
        if group::is_complete(brokers) {
            remarks(&name, &members, brokers, findings);
        }
        groups.push(of_members(&name, &members, brokers));
    }
    one_name_each(brokers, findings);
    groups
}

fn of_members(name: &str, members: &[usize], brokers: &[BrokerConf]) -> BrokerGroup {
    let on_machine =
        |address: IpAddr| members.iter().filter(move |it| brokers[**it].address == address);
    let on_one_machine = members.iter().map(|it| on_machine(brokers[*it].address).count()).max();
    // ASYNC_FLUSH is the greater one and the weaker promise: a quorum may be of those that have it.
    let flush = members.iter().map(|it| brokers[*it].store.flush_disk_type).max();
    let flush = flush.unwrap_or_default();
    let electors = Electors { members: members.len(), on_one_machine: on_one_machine.unwrap_or(1) };
    BrokerGroup::of_electors(name, members, electors, flush)
}

/// What the members of a group must not say differently.
fn agree(name: &str, members: &[usize], brokers: &[BrokerConf], findings: &mut Vec<Finding>) {
    let first = &brokers[members[0]];
    let Some(dledger) = &first.store.dledger else { return };
    for (at, member) in members.iter().enumerate().map(|(at, it)| (at, &brokers[*it])) {
        let Some(theirs) = &member.store.dledger else { continue };
        let both = |key: &str| vec![first.place(key, ""), member.place(key, "")];
        if theirs.group != dledger.group {
            let text = format!("{name} is one broker group, and its members have two dLegerGroups");
            let finding = Finding::error(FindingKind::DLedgerGroup, text, both("dLegerGroup"));
            findings.push(finding.allowed("the same on every member, as a rule the brokerName"));
        }
        let named = |of: &DLedgerConfig| -> BTreeSet<(String, String)> {
            peers_of(of).map(|(id, at)| (id.to_owned(), at.to_owned())).collect()
        };
        if named(theirs) != named(dledger) {
            let text = format!(
                "{} and {} of {name} do not have the same dLegerPeers",
                first.stem, member.stem
            );
            let finding = Finding::error(FindingKind::DLedgerPeers, text, both("dLegerPeers"));
            findings.push(
                finding
                    .allowed("n0-host:port;n1-host:port;n2-host:port, the same on every member")
                    .upstream("let each count votes of its own group"),
            );
        }
        let twin = members[..at].iter().map(|it| &brokers[*it]);
        if let Some(twin) = twin.clone().find(|it| self_id(it) == self_id(member)) {
            let text = format!("two members of {name} are {}", self_id(member));
            let places = vec![twin.place("dLegerSelfId", ""), member.place("dLegerSelfId", "")];
            let finding = Finding::error(FindingKind::DLedgerSelfId, text, places);
            findings.push(
                finding
                    .allowed("another one of the ids in dLegerPeers for each file")
                    .upstream("count the votes of both as those of one"),
            );
        }
    }
    let others = brokers.iter().filter(|it| it.config.broker_name == name && !is_member(it));
    for other in others.filter(|it| it.is_sound(&KEYS)) {
        let text = format!("{name} is a DLedger group, and {} is none of its members", other.stem);
        let places = vec![
            other.place("enableDLegerCommitLog", "false"),
            first.place("enableDLegerCommitLog", "false"),
        ];
        let finding = Finding::error(FindingKind::DLedgerGroup, text, places);
        findings.push(finding.allowed("a brokerName of its own, or enableDLegerCommitLog=true"));
    }
    if group::is_complete(brokers) {
        findings.extend(without_file(name, members, brokers));
    }
}

/// The peers that no file describes: a new group begins once all of its members are there.
fn without_file(name: &str, members: &[usize], brokers: &[BrokerConf]) -> Option<Finding> {
    let first = &brokers[members[0]];
    let has_file = |id: &str| members.iter().any(|member| self_id(&brokers[*member]) == id);
    let peers = peers_of(first.store.dledger.as_ref()?);
    let missing: Vec<&str> = peers.map(|(id, _)| id).filter(|id| !has_file(id)).collect();
    if missing.is_empty() {
        return None;
    }
    let text = format!(
        "no file has brokerName={name} and dLegerSelfId={}, and a new group begins once all of its members are \
         there",
        missing.join(" or ")
    );
    let finding =
        Finding::error(FindingKind::DLedgerPeers, text, vec![first.place("dLegerPeers", "")]);
    Some(finding.upstream("begin with a majority"))
}

/// One group of DLedger is one broker group.
fn one_name_each(brokers: &[BrokerConf], findings: &mut Vec<Finding>) {
    let mut names: BTreeMap<&str, &BrokerConf> = BTreeMap::new();
    for broker in brokers.iter().filter(|broker| is_member(broker)) {
        let Some(dledger) = &broker.store.dledger else { continue };
        let first = *names.entry(&dledger.group).or_insert(broker);
        if first.config.broker_name != broker.config.broker_name {
            let text =
                format!("the members of dLegerGroup {} do not have one brokerName", dledger.group);
            let place = |it: &BrokerConf| it.place("brokerName", &it.config.broker_name);
            let places = vec![place(first), place(broker)];
            let finding = Finding::error(FindingKind::DLedgerGroup, text, places);
            findings.push(
                finding
                    .allowed("one brokerName for all members")
                    .upstream("show clients a group for each name"),
            );
        }
    }
}

/// Says where a member is looked for and is not; the rows have everybody look at its machine.
fn look_for_each_other(members: &[usize], brokers: &mut [BrokerConf], findings: &mut Vec<Finding>) {
    let first = &brokers[members[0]];
    let mut there: Vec<(String, SocketAddr)> = Vec::new();
    for member in members.iter().map(|it| &brokers[*it]) {
        let Some(peer) = first.peers.iter().find(|peer| peer.id == self_id(member)) else {
            continue;
        };
        let Some(address) = peer.address else { continue };
        there.push((peer.id.clone(), SocketAddr::new(member.address, address.port())));
        // A loopback address means the machine of whoever reads it, and all may stand there.
        let own = members.iter().all(|it| brokers[*it].address == member.address);
        if address.ip() == member.address || (address.ip().is_loopback() && own) {
            continue;
        }
        let places = vec![first.place("dLegerPeers", ""), Place::of_file(&member.file_name, "")];
        let at = format!("{} is looked for at {}", peer.id, peer.written);
        let elsewhere = brokers.iter().find(|it| it.address == address.ip());
        findings.push(match elsewhere {
            _ if address.ip().is_loopback() => {
                let text =
                    format!("{at}, and the members of {} stand apart", member.config.broker_name);
                Finding::error(FindingKind::DLedgerAddress, text, places)
                    .allowed("an address that the others reach")
            }
            Some(other) => {
                let text = format!(
                    "{at}, the machine of {}, and {} stands at {}",
                    other.stem, member.stem, member.address
                );
                Finding::error(FindingKind::DLedgerAddress, text, places)
                    .allowed("the address of its machine, which brokerIP1 or placement says")
            }
            None => {
                let text = format!(
                    "{at}, and {} stands at {}: taken for another address of that machine",
                    member.stem, member.address
                );
                Finding::warning(FindingKind::DLedgerAddress, text, places)
            }
        });
    }
    let there: Vec<String> = there.iter().map(|(id, address)| format!("{id}-{address}")).collect();
    for member in members {
        brokers[*member].peers_in_rows = there.join(";");
    }
}

/// What is no mistake, and weakens a group.
fn remarks(name: &str, members: &[usize], brokers: &[BrokerConf], findings: &mut Vec<Finding>) {
    let first = &brokers[members[0]];
    let (size, quorum) = (members.len(), members.len() / 2 + 1);
    let text = match size {
        1 => Some(format!("{name} has one member: there is one copy, and nobody else to elect")),
        2 => Some(format!("{name} has two members, and both are its quorum: neither may be away")),
        _ if size % 2 == 0 => Some(format!(
            "{name} has {size} members, {quorum} of which are a quorum: no more may be away than of {}",
            size - 1
        )),
        _ => None,
    };
    let places = vec![first.place("dLegerPeers", "")];
    findings.extend(text.map(|text| Finding::warning(FindingKind::DLedgerSize, text, places)));
    let all = members.iter().map(|member| &brokers[*member]);
    let flushes: BTreeSet<_> = all.clone().map(|it| it.store.flush_disk_type).collect();
    if flushes.len() > 1 {
        let text = format!(
            "{name}: some members run SYNC_FLUSH and some ASYNC_FLUSH, so that the group keeps the promise of \
             ASYNC_FLUSH: whoever leads counts the others as they are"
        );
        let place = |it: &BrokerConf| it.place("flushDiskType", it.store.flush_disk_type.name());
        let places = all.clone().map(place).collect();
        findings.push(Finding::warning(FindingKind::FlushModesDiffer, text, places));
    }
    let mut machines: BTreeMap<IpAddr, Vec<&BrokerConf>> = BTreeMap::new();
    all.for_each(|member| machines.entry(member.address).or_default().push(member));
    for (address, beside) in machines.iter().filter(|(_, beside)| beside.len() > 1) {
        let stems: Vec<&str> = beside.iter().map(|it| &*it.stem).collect();
        let consequence = if size - beside.len() >= quorum {
            "whatever takes it takes all of them at once"
        } else {
            "whoever is left is no quorum without it, and with its disk what a majority voted for is gone: no row \
             destroys one"
        };
        let text = format!("{} of {name} stand on one machine, {address}: {consequence}", {
            stems.join(" and ")
        });
        let places = beside.iter().map(|it| it.place("brokerIP1", &address.to_string())).collect();
        findings.push(Finding::warning(FindingKind::SharedMachine, text, places));
    }
}
