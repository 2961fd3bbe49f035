//! From the short form of a plan to machines and processes.

use std::collections::BTreeMap;

use super::{BrokerPlan, ClusterPlan, GroupPlan, NamesrvPlan};

/// Port of a name server of the short form.
const NAMESRV_PORT: u16 = 9876;

/// `listenPort` of the first broker of the short form on a machine; those beside it listen above.
const BROKER_PORT: u32 = 10_911;

/// Port at which the first member of a DLedger group on a machine listens to the others.
const PEER_PORT: u32 = 40_911;

/// Ports that one broker takes at most, from [`BROKER_PORT`] on.
const PORTS_PER_BROKER: u32 = 10;

/// Size of index files where the plan names none. Those of 4.9 (420 MB) never fill in a story, and
/// their keys scatter over 20 MB of slots, which costs each run a fifth of its time.
const SMALL_INDEX: [(&str, &str); 2] = [("maxHashSlotNum", "4096"), ("maxIndexNum", "16384")];

/// The cluster in its long form: `groups` became `brokers`, `namesrv` became `namesrvs`.
#[must_use]
pub fn expand(cluster: &ClusterPlan) -> ClusterPlan {
    let mut long = cluster.clone();
    long.groups.clear();
    long.properties.clear();
    for n in 1..=long.namesrv.take().unwrap_or(0) {
        long.namesrvs.push(NamesrvPlan {
            name: format!("namesrv-{n}"),
            address: format!("10.0.0.{n}"),
            port: NAMESRV_PORT,
        });
    }
    let namesrv_addr = namesrv_addr(&long.namesrvs);
    let mut neighbours: BTreeMap<String, u32> = BTreeMap::new();
    for (index, group) in (1..).zip(&cluster.groups) {
        let seats: Vec<Seat> =
            (0..=group.slaves).map(|id| Seat::of(group, index, id, &mut neighbours)).collect();
        let peers = dledger_peers(&seats);
        for seat in seats {
            let mut properties = cluster.properties.clone();
            properties.insert("namesrvAddr".to_owned(), namesrv_addr.clone());
            properties.extend(match group.is_dledger() {
                true => dledger_entries(group, &seat, &peers),
                false => entries(group, &seat),
            });
            make_index_small(&mut properties);
            long.brokers.push(BrokerPlan {
                name: process_name(&group.name, seat.id),
                address: seat.address,
                properties,
            });
        }
    }
    long
}

/// Where a broker of a group is.
struct Seat {
    /// Its number in the group.
    id: u32,
    address: String,
    /// Its number on its machine.
    place: u32,
}

impl Seat {
    fn of(group: &GroupPlan, index: u32, id: u32, neighbours: &mut BTreeMap<String, u32>) -> Self {
        let own = || format!("10.0.{index}.{}", id + 1);
        let address = group.machines.get(id as usize).cloned().unwrap_or_else(own);
        let taken = neighbours.entry(address.clone()).or_default();
        let place = *taken;
        *taken += 1;
        Seat { id, address, place }
    }

    fn peer_port(&self) -> u32 {
        PEER_PORT + self.place * PORTS_PER_BROKER
    }
}

/// Lets index files be small, unless `properties` name a size.
pub(crate) fn make_index_small(properties: &mut BTreeMap<String, String>) {
    for (key, value) in SMALL_INDEX {
        properties.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// `dLegerPeers` of a group.
fn dledger_peers(seats: &[Seat]) -> String {
    let peer = |seat: &Seat| format!("n{}-{}:{}", seat.id, seat.address, seat.peer_port());
    seats.iter().map(peer).collect::<Vec<_>>().join(";")
}

/// The entries of a member of a DLedger group: nobody says who is the master.
fn dledger_entries(group: &GroupPlan, seat: &Seat, peers: &str) -> Vec<(String, String)> {
    let entries = [
        ("brokerName", group.name.clone()),
        ("flushDiskType", group.flush.clone()),
        ("enableDLegerCommitLog", "true".to_owned()),
        ("dLegerGroup", group.name.clone()),
        ("dLegerPeers", peers.to_owned()),
        ("dLegerSelfId", format!("n{}", seat.id)),
    ];
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
    entries.chain(place_entries(group, seat)).collect()
}

/// The entries of a broker of a group.
fn entries(group: &GroupPlan, seat: &Seat) -> Vec<(String, String)> {
    let id = seat.id;
    let (role, flush) = match id {
        0 => (&*group.role, &*group.flush),
        _ => ("SLAVE", &*group.slave_flush),
    };
    let entries = [
        ("brokerName", group.name.clone()),
        ("brokerId", id.to_string()),
        ("brokerRole", role.to_owned()),
        ("flushDiskType", flush.to_owned()),
    ];
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
    entries.chain(place_entries(group, seat)).collect()
}

/// Where a broker listens and stores. A machine of its own is what the defaults are made for.
fn place_entries(group: &GroupPlan, seat: &Seat) -> Vec<(String, String)> {
    let store = ("storePathRootDir".to_owned(), "/store".to_owned());
    if seat.place == 0 {
        return vec![store];
    }
    let port = BROKER_PORT + seat.place * PORTS_PER_BROKER;
    vec![
        ("listenPort".to_owned(), port.to_string()),
        ("haListenPort".to_owned(), (port + 1).to_string()),
        (store.0, format!("/store-{}", process_name(&group.name, seat.id))),
    ]
}

fn namesrv_addr(namesrvs: &[NamesrvPlan]) -> String {
    let addresses: Vec<_> = namesrvs.iter().map(|n| format!("{}:{}", n.address, n.port)).collect();
    addresses.join(";")
}

/// Process name of a short-form broker: `a`, `a-s`, `a-s2`, …
fn process_name(group: &str, id: u32) -> String {
    match id {
        0 => group.to_owned(),
        1 => format!("{group}-s"),
        n => format!("{group}-s{n}"),
    }
}

/// Whether a broker's properties make it a member of a DLedger group.
pub(super) fn is_dledger(broker: &BrokerPlan) -> bool {
    broker.properties.get("enableDLegerCommitLog").is_some_and(|it| it.trim() == "true")
}

/// Whether a broker's properties make it a master, or let a group make it one.
pub(super) fn is_master(broker: &BrokerPlan) -> bool {
    broker.properties.get("brokerId").is_none_or(|id| id == "0")
}

/// The `brokerName` of a broker.
pub(crate) fn group_of(properties: &BTreeMap<String, String>) -> &str {
    properties.get("brokerName").map_or("", String::as_str)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::Plan;

    pub(in crate::plan) const STORY: &str = r#"
title = "sync master, slave cut off"
holds = "no acknowledged message is lost"
[cluster]
namesrv = 2
[[cluster.group]]
name = "a"
role = "SYNC_MASTER"
flush = "ASYNC_FLUSH"
slaves = 1
[[event]]
at = "3s"
do = { partition = { between = ["a", "a-s"] } }
[[event]]
when = "previous"
delay = "5s"
do = { heal = { between = ["a", "a-s"] } }
[check]
promise = "never"
"#;

    #[test]
    fn a_story_expands_to_processes() {
        let plan = Plan::parse(STORY).unwrap();
        let cluster = expand(&plan.cluster);
        let names: Vec<_> = cluster.brokers.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names, ["a", "a-s"]);
        assert_eq!(cluster.brokers[1].properties["brokerRole"], "SLAVE");
        assert_eq!(cluster.brokers[1].properties["namesrvAddr"], "10.0.0.1:9876;10.0.0.2:9876");
        assert_eq!(Plan::parse(&plan.to_toml()).unwrap(), plan);
    }

    #[test]
    fn brokers_on_one_machine_get_ports_and_stores_of_their_own() {
        let shared = "slaves = 1\nmachines = [\"10.9.9.9\", \"10.9.9.9\"]";
        let plan = Plan::parse(&STORY.replacen("slaves = 1", shared, 1)).unwrap();
        let cluster = expand(&plan.cluster);
        let [master, slave] = &cluster.brokers[..] else { panic!("two brokers") };
        assert_eq!((&*master.address, &*slave.address), ("10.9.9.9", "10.9.9.9"));
        assert_eq!(master.properties.get("listenPort"), None);
        assert_eq!(slave.properties["listenPort"], "10921");
        assert_ne!(master.properties["storePathRootDir"], slave.properties["storePathRootDir"]);
    }
}
