//! What must agree between files: ports and directories of one machine, masters and their slaves.

use std::path::{Component, Path, PathBuf};

use mq_store::config::BrokerRole;

use crate::conf::finding::{Finding, FindingKind, Place};
use crate::conf::group::{self, BrokerGroup};
use crate::conf::{BrokerConf, Machine, paths};

/// Checks everything that takes more than one file.
pub(super) fn check(
    brokers: &[BrokerConf],
    groups: &[BrokerGroup],
    machines: &[Machine],
    findings: &mut Vec<Finding>,
) {
    for machine in machines {
        check_ports(machine, brokers, findings);
        check_store_paths(machine, brokers, findings);
    }
    for group in groups.iter().filter(|group| group.electors.is_none()) {
        check_group(group, brokers, findings);
    }
    if group::is_complete(brokers) {
        check_namesrvs(brokers, groups, findings);
    }
}

/// A client that asks a name server learns of the masters that register with it, and of no other.
fn check_namesrvs(brokers: &[BrokerConf], groups: &[BrokerGroup], findings: &mut Vec<Finding>) {
    let masters: Vec<&BrokerConf> = group::masters(groups).map(|it| &brokers[it]).collect();
    for (index, broker) in brokers.iter().enumerate() {
        for address in &broker.namesrv_addrs {
            let knows = |master: &&&BrokerConf| master.namesrv_addrs.contains(address);
            let unknown: Vec<&str> =
                masters.iter().filter(|it| !knows(it)).map(|it| it.stem.as_str()).collect();
            let is_said = brokers[..index].iter().any(|it| it.namesrv_addrs.contains(address));
            let is_bad = masters.iter().any(|master| !master.is_sound(&["namesrvAddr"]));
            if unknown.is_empty() || is_said || is_bad {
                continue;
            }
            let text = format!(
                "{} {} not register with {address}: clients that ask this name server do not find {}",
                unknown.join(" and "),
                if unknown.len() == 1 { "does" } else { "do" },
                if unknown.len() == 1 { "it" } else { "them" }
            );
            let places = vec![broker.place("namesrvAddr", "")];
            findings.push(Finding::warning(FindingKind::UnknownMaster, text, places));
        }
    }
}

/// A port that a process listens on, and why.
struct Listener {
    port: u16,
    place: Place,
}

fn check_ports(machine: &Machine, brokers: &[BrokerConf], findings: &mut Vec<Finding>) {
    let of_machine = machine.brokers.iter().map(|index| &brokers[*index]);
    let sound = of_machine.filter(|broker| broker.is_sound(&["listenPort"]));
    let mut processes: Vec<Vec<Listener>> = sound.map(broker_listeners).collect();
    for port in &machine.namesrv_ports {
        let names_it = |broker: &&BrokerConf| {
            broker.namesrv_addrs.iter().any(|n| (n.ip(), n.port()) == (machine.address, *port))
        };
        if let Some(broker) = brokers.iter().find(names_it) {
            let place = broker.place("namesrvAddr", "").so("a name server listens on it");
            processes.push(vec![Listener { port: *port, place }]);
        }
    }
    for (index, process) in processes.iter().enumerate() {
        findings.extend(own_collision(process, machine));
        for other in &processes[..index] {
            findings.extend(port_collision(other, process, machine));
        }
    }
}

/// `listenPort` first: where two brokers share all ports, that is the one to speak of.
fn broker_listeners(broker: &BrokerConf) -> Vec<Listener> {
    let listen = broker.config.listen_port;
    let place = || broker.place("listenPort", &listen.to_string());
    let (vip, ha) = (broker.config.vip_port(), broker.store.ha_listen_port);
    if let Some((port, peers)) = dledger_listener(broker) {
        let vip_place = place().so(&format!("the VIP channel listens on listenPort - 2 = {vip}"));
        return vec![
            Listener { port: listen, place: place() },
            Listener { port: vip, place: vip_place },
            Listener { port, place: peers },
        ];
    }
    let vip_place = place().so(&format!("the VIP channel listens on listenPort - 2 = {vip}"));
    let ha_place = place().so(&format!("HA listens on listenPort + 1 = {ha}"));
    vec![
        Listener { port: listen, place: place() },
        Listener { port: vip, place: vip_place },
        Listener { port: ha, place: ha_place },
    ]
}

/// Where a broker in DLedger mode listens to the others, instead of to slaves.
fn dledger_listener(broker: &BrokerConf) -> Option<(u16, Place)> {
    let self_id = &broker.store.dledger.as_ref()?.self_id;
    let peer = broker.peers.iter().find(|peer| peer.id == *self_id)?;
    let port = peer.address?.port();
    let place = broker.place("dLegerPeers", "").so(&format!("{self_id} listens on {port}"));
    Some((port, place))
}

/// A port that one broker takes twice.
fn own_collision(listeners: &[Listener], machine: &Machine) -> Option<Finding> {
    let taken = |(at, it): (usize, &Listener)| {
        let earlier = listeners[..at].iter().find(|earlier| earlier.port == it.port)?;
        Some(vec![earlier.place.clone(), it.place.clone()])
    };
    let places = listeners.iter().enumerate().find_map(taken)?;
    let port = listeners.iter().find(|it| it.place == places[0])?.port;
    let text = format!("port {port} is taken twice on {}", machine.address);
    Some(Finding::error(FindingKind::PortCollision, text, places))
}

fn port_collision(one: &[Listener], other: &[Listener], machine: &Machine) -> Option<Finding> {
    let shared: Vec<(&Listener, &Listener)> = one
        .iter()
        .filter_map(|mine| Some((mine, other.iter().find(|theirs| theirs.port == mine.port)?)))
        .collect();
    let (mine, theirs) = shared.first()?;
    let address = machine.address;
    let text = if shared.len() == 1 {
        format!("port {} is taken twice on {address}", mine.port)
    } else {
        let mut ports: Vec<u16> = shared.iter().map(|(mine, _)| mine.port).collect();
        ports.sort_unstable();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        format!("ports {} are taken twice on {address}", ports.join(", "))
    };
    let places = vec![mine.place.clone(), theirs.place.clone()];
    Some(Finding::error(FindingKind::PortCollision, text, places))
}

/// A directory that a store writes to, and the key that says so.
struct StoreDir {
    path: PathBuf,
    place: Place,
}

fn check_store_paths(machine: &Machine, brokers: &[BrokerConf], findings: &mut Vec<Finding>) {
    let of_machine = machine.brokers.iter().map(|index| &brokers[*index]);
    let sound = of_machine.filter(|b| b.is_sound(&["storePathRootDir", "storePathCommitLog"]));
    let stores: Vec<[StoreDir; 2]> = sound.map(store_dirs).collect();
    for (index, store) in stores.iter().enumerate() {
        for other in &stores[..index] {
            let mut pairs = other.iter().flat_map(|theirs| store.iter().map(move |s| (theirs, s)));
            findings.extend(pairs.find_map(|(one, two)| store_path_collision(one, two, machine)));
        }
    }
}

fn store_dirs(broker: &BrokerConf) -> [StoreDir; 2] {
    let (root, log) = (&broker.store.store_path_root_dir, broker.store.commit_log_dir());
    let root_place = broker.place("storePathRootDir", &root.display().to_string());
    let log_place = broker.place(paths::log_key(broker), &log.display().to_string());
    [
        StoreDir { path: normal(root), place: root_place },
        StoreDir { path: normal(&log), place: log_place },
    ]
}

fn store_path_collision(one: &StoreDir, two: &StoreDir, machine: &Machine) -> Option<Finding> {
    let (path, address) = (one.path.display(), machine.address);
    let text = if one.path == two.path {
        format!("two brokers store in {path} on {address}")
    } else if two.path.starts_with(&one.path) {
        format!("{} lies inside {path} on {address}", two.path.display())
    } else if one.path.starts_with(&two.path) {
        format!("{path} lies inside {} on {address}", two.path.display())
    } else {
        return None;
    };
    let places = vec![one.place.clone(), two.place.clone()];
    Some(
        Finding::error(FindingKind::StorePathCollision, text, places)
            .allowed("a storePathRootDir for each broker, none inside another"),
    )
}

/// The path without `.` and `..`, as far as that is possible without looking at the disk.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

fn check_group(group: &BrokerGroup, brokers: &[BrokerConf], findings: &mut Vec<Finding>) {
    let master = &brokers[group.master];
    let role = master.store.broker_role;
    let has_no_slave =
        group.slaves.is_empty() && group.cut_off.is_empty() && group::is_complete(brokers);
    if role == BrokerRole::SyncMaster && has_no_slave {
        let text = format!(
            "{} is SYNC_MASTER without a slave: every send is stored and answered with \
             SLAVE_NOT_AVAILABLE, none with SEND_OK",
            group.name
        );
        let places = vec![master.place("brokerRole", role.name())];
        findings.push(Finding::warning(FindingKind::SyncMasterWithoutSlave, text, places));
    }
    for slave in group.slaves.iter().map(|slave| &brokers[*slave]) {
        findings.extend(flush_modes(group, master, slave));
        findings.extend(shared_machine(master, slave));
    }
}

fn flush_modes(group: &BrokerGroup, master: &BrokerConf, slave: &BrokerConf) -> Option<Finding> {
    let sound = |broker: &BrokerConf| broker.is_sound(&["flushDiskType"]);
    let (ours, theirs) = (master.store.flush_disk_type, slave.store.flush_disk_type);
    if ours == theirs || !sound(master) || !sound(slave) {
        return None;
    }
    let text = format!(
        "{}: the master runs {}, its slave {}; a promoted slave keeps the promise of {}",
        group.name,
        ours.name(),
        theirs.name(),
        theirs.name()
    );
    let place =
        |broker: &BrokerConf| broker.place("flushDiskType", broker.store.flush_disk_type.name());
    Some(Finding::warning(FindingKind::FlushModesDiffer, text, vec![place(master), place(slave)]))
}

/// Two copies on one machine are one copy for whatever takes the machine.
fn shared_machine(master: &BrokerConf, slave: &BrokerConf) -> Option<Finding> {
    if master.address != slave.address {
        return None;
    }
    let text = format!(
        "{} and its master {} stand on one machine, {}: one disk and one power supply for both copies, so \
         whatever takes one takes the other",
        slave.stem, master.stem, slave.address
    );
    let default = slave.address.to_string();
    let places = vec![slave.place("brokerIP1", &default), master.place("brokerIP1", &default)];
    Some(Finding::warning(FindingKind::SharedMachine, text, places))
}
