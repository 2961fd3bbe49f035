//! Who runs where: brokers by `brokerIP1`, else by `placement`, members of DLedger groups else where the others look
//! for them, everybody else on a machine of its own; name servers at the addresses of `namesrvAddr`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mq_broker::config::nearest;

use crate::conf::finding::{Finding, FindingKind, Place};
use crate::conf::source::{DirectorySource, PLACEMENT};
use crate::conf::{BrokerConf, Machine, NamesrvConf, dledger};

/// The address of a broker that has no machine yet.
pub(super) const UNPLACED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The machine of all brokers whose `brokerIP1` is a loopback address: clients stand on others.
const LOOPBACK_MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 100, 0, 1));

type Hosts = [(String, IpAddr)];

/// Gives every broker its machine and its resolved name servers.
pub(super) fn place(
    source: &DirectorySource,
    hosts: &Hosts,
    brokers: &mut [BrokerConf],
    findings: &mut Vec<Finding>,
) {
    let placement = read_placement(source, hosts, brokers, findings);
    for broker in brokers.iter_mut() {
        let by_file = placement.get(&broker.stem);
        let written = broker.config.broker_ip1.clone();
        let by_key =
            written.and_then(|host| resolve_key(broker, "brokerIP1", &host, hosts, findings));
        // The second address of a machine may stand there.
        let second =
            broker.config.broker_ip2.as_deref().and_then(|it| resolve(it, hosts, UNPLACED));
        if let (Some(address), Some((line, placed))) = (by_key, by_file)
            && address != *placed
            && second != Some(*placed)
        {
            findings.push(Finding::warning(
                FindingKind::Placement,
                format!("{} stands at its brokerIP1 {address}, not at {placed}", broker.stem),
                vec![
                    broker.place("brokerIP1", ""),
                    Place::of_line(PLACEMENT, *line, &placed.to_string()),
                ],
            ));
        }
        let by_file = by_file.map(|(_, address)| *address);
        if let Some(address) = by_key.or(by_file).or_else(|| among_peers(broker, hosts)) {
            broker.address = address;
        }
    }
    own_machines(brokers, hosts, findings);
    for broker in brokers.iter_mut().filter(|broker| broker.address.is_loopback()) {
        broker.address = LOOPBACK_MACHINE;
    }
    for broker in brokers.iter_mut() {
        resolve_namesrvs(broker, hosts, findings);
        resolve_peers(broker, hosts, findings);
        let placed = placement.get(&broker.stem).map(|(_, address)| *address);
        check_addresses(broker, placed, hosts, findings);
    }
}

/// The name servers of all brokers, by address.
pub(super) fn namesrvs(brokers: &[BrokerConf]) -> Vec<NamesrvConf> {
    let addresses: BTreeSet<SocketAddr> =
        brokers.iter().flat_map(|broker| broker.namesrv_addrs.iter().copied()).collect();
    let name = |(number, address)| NamesrvConf { name: format!("namesrv-{number}"), address };
    (1..).zip(addresses).map(name).collect()
}

/// The machines with their processes, by address; on each one masters come first.
pub(super) fn gather(brokers: &[BrokerConf], namesrvs: &[NamesrvConf]) -> Vec<Machine> {
    let mut machines: BTreeMap<IpAddr, Machine> = BTreeMap::new();
    let machine =
        |address: IpAddr| Machine { address, namesrv_ports: Vec::new(), brokers: Vec::new() };
    for namesrv in namesrvs {
        let address = namesrv.address.ip();
        let at = machines.entry(address).or_insert_with(|| machine(address));
        at.namesrv_ports.push(namesrv.address.port());
    }
    for (index, broker) in brokers.iter().enumerate() {
        let address = broker.address;
        machines.entry(address).or_insert_with(|| machine(address)).brokers.push(index);
    }
    let mut machines: Vec<Machine> = machines.into_values().collect();
    for machine in &mut machines {
        machine.brokers.sort_by_key(|index| brokers[*index].config.broker_id > 0);
    }
    machines
}

/// Stem to line and address.
fn read_placement(
    source: &DirectorySource,
    hosts: &Hosts,
    brokers: &[BrokerConf],
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, (usize, IpAddr)> {
    let mut placement: BTreeMap<String, (usize, IpAddr)> = BTreeMap::new();
    for (line, words) in source.placement_lines() {
        let place = Place::of_line(PLACEMENT, line, &words.join(" "));
        let Some(address) = resolve(words[0], hosts, UNPLACED) else {
            findings.push(unresolvable(words[0], hosts, place));
            continue;
        };
        for stem in &words[1..] {
            if !brokers.iter().any(|broker| broker.stem == *stem) {
                let stems = brokers.iter().map(|broker| broker.stem.as_str());
                let text = format!("there is no {stem}.properties or {stem}.conf");
                findings.push(
                    Finding::error(FindingKind::Placement, text, vec![place.clone()])
                        .suggestion(nearest(stem, stems)),
                );
            } else if let Some((earlier, _)) = placement.get(*stem) {
                let text = format!("{stem} is placed twice, on line {earlier} and on line {line}");
                let finding = Finding::error(FindingKind::Placement, text, vec![place.clone()]);
                findings.push(finding);
            } else {
                placement.insert((*stem).to_owned(), (line, address));
            }
        }
    }
    placement
}

/// Brokers that nothing places get unused addresses, and the run says so.
fn own_machines(brokers: &mut [BrokerConf], hosts: &Hosts, findings: &mut Vec<Finding>) {
    let written = brokers.iter().flat_map(|broker| broker.config.namesrv_addrs.iter());
    let namesrvs = written.filter_map(|address| resolve(host_of(address), hosts, UNPLACED));
    let mut taken: BTreeSet<IpAddr> = namesrvs.collect();
    taken.extend(brokers.iter().map(|broker| broker.address));
    taken.extend(hosts.iter().map(|(_, address)| *address));
    let mut free = (1..=u8::MAX)
        .flat_map(|net| (1..u8::MAX).map(move |host| IpAddr::from([10, 100, net, host])))
        .filter(|address| !taken.contains(address));
    for broker in brokers.iter_mut().filter(|broker| broker.address == UNPLACED) {
        broker.address = free.next().expect("fewer brokers than addresses");
        if !broker.is_sound(&["brokerIP1"]) || !broker.is_sound(&dledger::KEYS) {
            continue;
        }
        let text = format!(
            "{} runs on a machine of its own, {}: neither brokerIP1 nor placement says where",
            broker.stem, broker.address
        );
        let place = Place::of_file(&broker.file_name, "");
        findings.push(Finding::note(FindingKind::OwnMachine, text, vec![place]));
    }
}

fn resolve_namesrvs(broker: &mut BrokerConf, hosts: &Hosts, findings: &mut Vec<Finding>) {
    if broker.config.namesrv_addrs.is_empty() && broker.is_sound(&["namesrvAddr"]) {
        let place = Place::of_file(&broker.file_name, "namesrvAddr is not written");
        findings.push(
            Finding::error(
                FindingKind::NoNameServer,
                format!("{} has no name server", broker.stem),
                vec![place],
            )
            .allowed("namesrvAddr=host:port, several split by ;")
            .upstream("take the variable NAMESRV_ADDR, else register nowhere"),
        );
    }
    for written in broker.config.namesrv_addrs.clone() {
        let port = written.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let address = resolve_key(broker, "namesrvAddr", host_of(&written), hosts, findings);
        if let (Some(address), Some(port)) = (address, port) {
            let address = SocketAddr::new(address, port);
            if !broker.namesrv_addrs.contains(&address) {
                broker.namesrv_addrs.push(address);
            }
        }
    }
}

/// Where the other members of its DLedger group look for a broker.
fn among_peers(broker: &BrokerConf, hosts: &Hosts) -> Option<IpAddr> {
    let dledger = broker.store.dledger.as_ref()?;
    let (_, at) = dledger::peers_of(dledger).find(|(id, _)| *id == dledger.self_id)?;
    resolve(host_of(at), hosts, UNPLACED)
}

/// The members of its DLedger group. A loopback address stays one: it is every reader's own machine.
fn resolve_peers(broker: &mut BrokerConf, hosts: &Hosts, findings: &mut Vec<Finding>) {
    let Some(dledger) = broker.store.dledger.clone() else { return };
    for (id, written) in dledger::peers_of(&dledger) {
        let port = written.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let host = host_of(written);
        let ip = resolve(host, hosts, UNPLACED);
        if ip.is_none() {
            findings.push(unresolvable(host, hosts, broker.place("dLegerPeers", "")));
            broker.bad_keys.push("dLegerPeers".to_owned());
        }
        let address = ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
        let (id, written) = (id.to_owned(), written.to_owned());
        broker.peers.push(dledger::Peer { id, written, address });
    }
}

/// What `brokerIP1`, `brokerIP2` and `haMasterAddress` mean for other machines. `placed` may be a second
/// address of the broker's machine.
fn check_addresses(
    broker: &mut BrokerConf,
    placed: Option<IpAddr>,
    hosts: &Hosts,
    findings: &mut Vec<Finding>,
) {
    if let Some(written) = broker.store.ha_master_address.clone() {
        let port = written.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let host = resolve_key(broker, "haMasterAddress", host_of(&written), hosts, findings);
        broker.told_master = host.zip(port).map(|(host, port)| SocketAddr::new(host, port));
    }
    if broker.config.broker_ip1.as_deref().is_some_and(is_loopback) {
        let text = format!(
            "brokerIP1 is a loopback address: clients on other machines do not reach it; the rows take {} for \
             it",
            broker.address
        );
        let places = vec![broker.place("brokerIP1", "")];
        findings.push(Finding::warning(FindingKind::LoopbackAddress, text, places));
    }
    match broker.config.broker_ip2.clone() {
        // Whoever is sent to a loopback address is sent to itself.
        Some(written) if is_loopback(&written) => broker.elsewhere = Some(LOCALHOST),
        Some(written) => {
            let address = resolve_key(broker, "brokerIP2", &written, hosts, findings);
            broker.elsewhere = address.filter(|it| *it != broker.address && Some(*it) != placed);
        }
        None if broker.config.broker_ip1.is_some() && is_public(broker.address) => {
            let text = "brokerIP1 is a public address while brokerIP2 (replication) is not set: \
                        behind address translation slaves are sent to the machine's inner address";
            let places = vec![broker.place("brokerIP1", "")];
            findings.push(Finding::warning(FindingKind::PublicAddress, text, places));
        }
        None => {}
    }
}

/// Resolves a host that `key` names; on failure an error is added and the key counts as bad.
fn resolve_key(
    broker: &mut BrokerConf,
    key: &str,
    host: &str,
    hosts: &Hosts,
    findings: &mut Vec<Finding>,
) -> Option<IpAddr> {
    let resolved = resolve(host, hosts, broker.address);
    if resolved.is_none() {
        findings.push(unresolvable(host, hosts, broker.place(key, "")));
        broker.bad_keys.push(key.to_owned());
    }
    resolved
}

fn unresolvable(host: &str, hosts: &Hosts, place: Place) -> Finding {
    let text = format!("{host} has no address");
    let finding = Finding::error(FindingKind::UnresolvableHost, text, vec![place])
        .suggestion(nearest(host, hosts.iter().map(|(name, _)| name.as_str())));
    finding.allowed("an address, or a host name of the directory's hosts file")
}

/// An address, a name of `hosts`, or a loopback name, which means `own` where that is known.
fn resolve(host: &str, hosts: &Hosts, own: IpAddr) -> Option<IpAddr> {
    let by_hosts = || hosts.iter().find(|(name, _)| name == host).map(|(_, address)| *address);
    if is_loopback(host) && own != UNPLACED {
        return Some(own);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().ok().or_else(by_hosts).or((host == "localhost").then_some(LOCALHOST))
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Neither private (RFC 1918), shared (RFC 6598), loopback, link-local nor for documentation.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            !(v4.is_private()
                || is_shared
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_unspecified())
        }
        // Nobody translates these.
        IpAddr::V6(_) => false,
    }
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}
