//! Which slave finds its master: where `brokerIP2`, `haMasterAddress` and the name servers send it.

use std::net::{IpAddr, SocketAddr};

use mq_store::config::BrokerRole;

use crate::conf::BrokerConf;
use crate::conf::finding::{Finding, FindingKind, Place};
use crate::conf::group::BrokerGroup;

/// Why a slave does not find its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Astray {
    /// Its `haMasterAddress` is not where its master listens.
    Told(SocketAddr),
    /// Its master's `brokerIP2` is not its master's machine.
    Sent(IpAddr),
    /// They have no name server in common.
    NoCommonNameServer,
}

/// Whether `slave` can find `master`, or what sends it astray.
pub(super) fn finds(slave: &BrokerConf, master: &BrokerConf) -> bool {
    astray(slave, master).is_none()
}

fn astray(slave: &BrokerConf, master: &BrokerConf) -> Option<Astray> {
    if let Some(told) = slave.told_master {
        let is_master = told.ip() == master.address && told.port() == master.store.ha_listen_port;
        return (!is_master).then_some(Astray::Told(told));
    }
    let (ours, theirs) = (&master.namesrv_addrs, &slave.namesrv_addrs);
    let is_known = !ours.is_empty() && !theirs.is_empty();
    if is_known && !ours.iter().any(|address| theirs.contains(address)) {
        return Some(Astray::NoCommonNameServer);
    }
    // A loopback address leads to the slave's own machine.
    let sent = master.elsewhere.filter(|it| !it.is_loopback() || slave.address != master.address);
    sent.map(Astray::Sent)
}

/// Says of every group which slaves do not find their master, and of every broker what its `brokerIP2`
/// means.
pub(super) fn check(brokers: &[BrokerConf], groups: &[BrokerGroup], findings: &mut Vec<Finding>) {
    // Members of a DLedger group have no HA connections.
    for group in groups.iter().filter(|group| group.electors.is_none()) {
        let master = &brokers[group.master];
        for slave in group.cut_off.iter().map(|slave| &brokers[*slave]) {
            findings.extend(astray(slave, master).map(|how| of_slave(how, slave, master, brokers)));
        }
        if let Some(sent) = master.elsewhere.filter(|_| group.cut_off.is_empty()) {
            let text = format!("slaves would be sent to {sent}, which is {}", whose(sent, brokers));
            let places = vec![master.place("brokerIP2", "")];
            findings.push(Finding::note(FindingKind::SecondAddress, text, places));
        }
        for slave in group.slaves.iter().chain(&group.cut_off).map(|slave| &brokers[*slave]) {
            findings.extend(slave.elsewhere.map(|sent| of_promoted(slave, sent, brokers)));
        }
    }
}

fn of_slave(
    astray: Astray,
    slave: &BrokerConf,
    master: &BrokerConf,
    brokers: &[BrokerConf],
) -> Finding {
    let (text, places) = match astray {
        Astray::NoCommonNameServer => {
            let text =
                format!("{} and its master register with different name servers", slave.stem);
            let places = vec![slave.place("namesrvAddr", ""), master.place("namesrvAddr", "")];
            return Finding::warning(FindingKind::NoCommonNameServer, text, places)
                .upstream("replicate nothing, without a word");
        }
        Astray::Told(told) => (
            format!(
                "the slave looks for its master at {told}, and {} listens at {}: {}",
                master.stem,
                SocketAddr::new(master.address, master.store.ha_listen_port),
                consequence(master)
            ),
            vec![slave.place("haMasterAddress", "")],
        ),
        Astray::Sent(sent) => (
            format!(
                "the slave is sent to {sent}, which is {}: {}{}",
                whose(sent, brokers),
                consequence(master),
                way_out(sent, master, brokers)
            ),
            vec![master.place("brokerIP2", ""), Place::of_file(&slave.file_name, "")],
        ),
    };
    Finding::warning(FindingKind::OutOfReach, text, places)
}

/// What a slave that will once be a master would do to its slaves.
fn of_promoted(slave: &BrokerConf, sent: IpAddr, brokers: &[BrokerConf]) -> Finding {
    let text = format!(
        "once {} is a master, its slaves are sent to {sent}, which is {}, and replicate nothing; the rows \
         have them sent to {}",
        slave.stem,
        whose(sent, brokers),
        slave.address
    );
    Finding::warning(FindingKind::SecondAddress, text, vec![slave.place("brokerIP2", "")])
}

fn whose(sent: IpAddr, brokers: &[BrokerConf]) -> String {
    if sent.is_loopback() {
        return "the slave's own machine".to_owned();
    }
    match brokers.iter().find(|broker| broker.address == sent) {
        Some(broker) => format!("the machine of {}", broker.stem),
        None => "no machine of this cluster".to_owned(),
    }
}

fn consequence(master: &BrokerConf) -> &'static str {
    match master.store.broker_role {
        BrokerRole::SyncMaster => "it would replicate nothing, every send SLAVE_NOT_AVAILABLE",
        BrokerRole::AsyncMaster | BrokerRole::Slave => "it would replicate nothing",
    }
}

/// How to say that a machine has a second address.
fn way_out(sent: IpAddr, master: &BrokerConf, brokers: &[BrokerConf]) -> String {
    if sent.is_loopback() || brokers.iter().any(|broker| broker.address == sent) {
        return String::new();
    }
    format!(
        " (if the machine of {0} has this address, too: a line \"{sent} {0}\" in placement)",
        master.stem
    )
}
