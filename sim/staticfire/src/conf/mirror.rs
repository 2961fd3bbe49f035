//! Groups that are mirror images: what happens to one happens to the other under other names and addresses,
//! so that the runs of one tell of both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::conf::ClusterConf;
use crate::plan::expand::group_of;
use crate::plan::{BrokerPlan, ClusterPlan};

/// For each group of `cluster` that mirrors an earlier one: its name and that one's, which mirrors none.
#[must_use]
pub fn images(cluster: &ClusterConf) -> BTreeMap<String, String> {
    let plan = cluster.plan();
    let mut images = BTreeMap::new();
    let mut originals: Vec<usize> = Vec::new();
    for (index, group) in cluster.groups.iter().enumerate() {
        let members = members(cluster, index);
        let of = |original: &&usize| mirrors(&plan, &self::members(cluster, **original), &members);
        match originals.iter().find(of) {
            Some(original) => {
                images.insert(group.name.clone(), cluster.groups[*original].name.clone());
            }
            None => originals.push(index),
        }
    }
    images
}

/// Processes of a group, the master's first, slaves by id, members of a DLedger group by theirs; empty if some of them are not in the plan.
fn members(cluster: &ClusterConf, index: usize) -> Vec<&str> {
    let group = &cluster.groups[index];
    if !group.cut_off.is_empty() {
        return Vec::new();
    }
    group.members().map(|broker| &*cluster.brokers[broker].stem).collect()
}

/// Whether the cluster stays what it is when the brokers of two groups change places, one by one.
fn mirrors(plan: &ClusterPlan, one: &[&str], other: &[&str]) -> bool {
    if one.is_empty() || one.len() != other.len() {
        return false;
    }
    let by_name: BTreeMap<&str, &BrokerPlan> =
        plan.brokers.iter().map(|broker| (&*broker.name, broker)).collect();
    let mut swap = Swap::default();
    for (one, other) in one.iter().zip(other) {
        let (Some(one), Some(other)) = (by_name.get(one), by_name.get(other)) else { return false };
        if !swap.add(one, other) {
            return false;
        }
    }
    let stays = |broker: &BrokerPlan| {
        let partner = swap.partners.get(&broker.name).map_or(&*broker.name, String::as_str);
        let swapped: BTreeMap<_, _> = broker
            .properties
            .iter()
            .map(|(key, value)| (key.as_str(), swap.value(key, value)))
            .collect();
        let there = by_name[partner];
        let present = there.properties.iter();
        let present: BTreeMap<_, _> =
            present.map(|(key, value)| (key.as_str(), in_any_order(value))).collect();
        swap.address(&broker.address) == there.address && swapped == present
    };
    let namesrvs: BTreeSet<(&str, u16)> =
        plan.namesrvs.iter().map(|it| (&*it.address, it.port)).collect();
    let swapped = plan.namesrvs.iter().map(|it| (swap.address(&it.address), it.port)).collect();
    plan.brokers.iter().all(stays) && namesrvs == swapped
}

/// Brokers, groups and addresses that change places.
#[derive(Default)]
struct Swap {
    partners: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    addresses: BTreeMap<String, String>,
}

impl Swap {
    /// Lets two brokers change places; `false`: the one's machine has another partner already.
    fn add(&mut self, one: &BrokerPlan, other: &BrokerPlan) -> bool {
        pair(&mut self.partners, &one.name, &other.name)
            && pair(&mut self.names, group_of(&one.properties), group_of(&other.properties))
            && pair(&mut self.addresses, &one.address, &other.address)
    }

    fn address<'a>(&'a self, address: &'a str) -> &'a str {
        self.addresses.get(address).map_or(address, String::as_str)
    }

    /// The value of a property with names and addresses swapped, its parts in any order.
    fn value(&self, key: &str, value: &str) -> String {
        if key == "brokerName" || key == "dLegerGroup" {
            return self.names.get(value).cloned().unwrap_or_else(|| value.to_owned());
        }
        let parts: Vec<String> = value.split(';').map(|part| self.part(part)).collect();
        in_any_order(&parts.join(";"))
    }

    fn part(&self, part: &str) -> String {
        // A member of a DLedger group: `n0-10.0.0.1:40911`.
        if let Some((id, address)) = part.split_once('-')
            && address.parse::<SocketAddr>().is_ok()
        {
            return format!("{id}-{}", self.part(address));
        }
        if let Ok(address) = part.parse::<SocketAddr>() {
            let swapped: Option<IpAddr> = self.address(&address.ip().to_string()).parse().ok();
            return swapped.map_or_else(
                || part.to_owned(),
                |swapped| SocketAddr::new(swapped, address.port()).to_string(),
            );
        }
        self.address(part).to_owned()
    }
}

/// `one` and `other` stand for each other; `false`: one of them stands for somebody else.
fn pair(pairs: &mut BTreeMap<String, String>, one: &str, other: &str) -> bool {
    let mut stands_for = |a: &str, b: &str| {
        let known = pairs.entry(a.to_owned()).or_insert_with(|| b.to_owned());
        known == b
    };
    stands_for(one, other) && stands_for(other, one)
}

/// Clients and brokers ask one name server after another: a list means the same in any order.
fn in_any_order(list: &str) -> String {
    let mut parts: Vec<&str> = list.split(';').collect();
    parts.sort_unstable();
    parts.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::DirectorySource;

    const MASTER: &str =
        "brokerId=0\nbrokerRole=SYNC_MASTER\nnamesrvAddr=10.0.0.1:9876;10.0.0.3:9876\n";
    const SLAVE: &str = "brokerId=1\nbrokerRole=SLAVE\nnamesrvAddr=10.0.0.1:9876;10.0.0.3:9876\n";

    /// What a broker needs on another one's machine.
    const BESIDE: &str = "listenPort=11911\nstorePathRootDir=/beside\n";

    /// Two masters on the machines of the name servers, a slave each elsewhere; `edit` changes the files.
    fn images_of(edit: impl Fn(&str, &str) -> String) -> BTreeMap<String, String> {
        let files = [
            ("a", MASTER, "brokerName=broker-a\nbrokerIP1=10.0.0.1\n"),
            ("a-s", SLAVE, "brokerName=broker-a\nbrokerIP1=10.0.0.2\n"),
            ("b", MASTER, "brokerName=broker-b\nbrokerIP1=10.0.0.3\n"),
            ("b-s", SLAVE, "brokerName=broker-b\nbrokerIP1=10.0.0.4\n"),
        ];
        let mut source = DirectorySource::default();
        for (stem, common, own) in files {
            let text = edit(stem, &format!("{common}{own}"));
            source.properties.push((format!("{stem}.properties"), text.into_bytes()));
        }
        images(&ClusterConf::check(&source, &[]).unwrap())
    }

    #[test]
    fn groups_that_differ_in_names_and_addresses_alone_are_images() {
        let image = BTreeMap::from([("broker-b".to_owned(), "broker-a".to_owned())]);
        assert_eq!(images_of(|_, text| text.to_owned()), image);
        // Slaves that keep each other's master company are as good as slaves apart.
        let crossed = |stem: &str, text: &str| match stem {
            "a-s" => text.replace("10.0.0.2\n", "10.0.0.3\n") + BESIDE,
            "b-s" => text.replace("10.0.0.4\n", "10.0.0.1\n") + BESIDE,
            _ => text.to_owned(),
        };
        assert_eq!(images_of(crossed), image);
    }

    #[test]
    fn whatever_else_differs_needs_runs_of_its_own() {
        let none = BTreeMap::new();
        for (stem, line) in [
            ("b", "flushDiskType=SYNC_FLUSH\n"),
            ("b-s", "flushDiskType=SYNC_FLUSH\n"),
            ("a", "maxMessageSize=65536\n"),
            ("b-s", "haMasterAddress=10.0.0.3:10912\n"),
        ] {
            let edit = |broker: &str, text: &str| match broker == stem {
                true => format!("{text}{line}"),
                false => text.to_owned(),
            };
            assert_eq!(images_of(edit), none, "{stem}: {line}");
        }
        // One slave stands beside its master, or one master away from the name servers.
        for (stem, from, to) in [
            ("b-s", "10.0.0.4\n", &*format!("10.0.0.3\n{BESIDE}")),
            ("b", "IP1=10.0.0.3", "IP1=10.0.0.5"),
        ] {
            let edit = |broker: &str, text: &str| match broker == stem {
                true => text.replace(from, to),
                false => text.to_owned(),
            };
            assert_eq!(images_of(edit), none, "{stem}: {to}");
        }
    }
}
