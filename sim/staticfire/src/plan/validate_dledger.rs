//! What contradicts itself about DLedger groups: their members elect who is the master, and no operator does.

use std::collections::BTreeMap;

use super::bounds::Nonsense;
use super::event::{EventPlan, Trigger};
use super::expand::{group_of, is_dledger};
use super::{Action, ClusterPlan, Plan, Seat};

/// Slaves of a group of three and of one of five: an even number of members stands no more than one fewer does.
const SLAVES: [u32; 2] = [2, 4];

/// The DLedger groups by name, with the processes of their members.
pub(super) struct Elected(BTreeMap<String, Vec<String>>);

impl Elected {
    /// Those of a plan, whose long form is `cluster`.
    ///
    /// # Errors
    /// A group whose size makes no sense.
    pub(super) fn of(plan: &Plan, cluster: &ClusterPlan) -> Result<Self, Nonsense> {
        let mut groups = plan.cluster.groups.iter().enumerate();
        let strange =
            |group: &super::GroupPlan| group.is_dledger() && !SLAVES.contains(&group.slaves);
        if let Some((index, group)) = groups.find(|(_, group)| strange(group)) {
            let (name, members) = (&group.name, group.slaves + 1);
            let text = format!(
                "{name} has {members} members, and a DLedger group has 3 or 5 (slaves = 2, slaves = 4)"
            );
            return Err(Nonsense::new("cluster.group.slaves", text).entry(index));
        }
        let mut elected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for broker in cluster.brokers.iter().filter(|broker| is_dledger(broker)) {
            let members = elected.entry(group_of(&broker.properties).to_owned()).or_default();
            members.push(broker.name.clone());
        }
        Ok(Elected(elected))
    }

    /// What events may call the members by: who leads is not known before a run.
    pub(super) fn seats(&self) -> impl Iterator<Item = String> {
        let seats = self.0.iter().flat_map(|(group, members)| Seat::all(group, members.len()));
        seats.map(|seat| seat.to_string())
    }

    /// Whether a group or a process is one of them, by any name.
    fn has(&self, name: &str) -> bool {
        let is_member = || self.0.values().flatten().any(|it| it == name);
        self.0.contains_key(name) || is_member() || self.seats().any(|it| it == name)
    }

    /// Refuses an event that only masters and slaves of an operator know.
    ///
    /// # Errors
    /// What to do instead.
    pub(super) fn check(&self, event: &EventPlan) -> Result<(), String> {
        let changed = match &event.action {
            Action::Promote { node } | Action::RejoinAsSlave { node } => Some(node),
            Action::PromoteMostAdvanced { group } => Some(group),
            _ => None,
        };
        if let Some(name) = changed.filter(|name| self.has(name)) {
            return Err(format!(
                "{}: {name} is in DLedger mode, where members elect who is the master (preferredLeaderId in \
                 [cluster.properties] says who is to be)",
                event.action.name()
            ));
        }
        match &event.when {
            Some(Trigger::SlaveConnected(node)) if self.has(node) => {
                Err(format!("slave_connected: {node} is in DLedger mode and has no HA connection"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = r#"
title = "t"
holds = "h"
[cluster]
namesrv = 1
[[cluster.group]]
name = "a"
role = "DLEDGER"
flush = "SYNC_FLUSH"
slaves = 2
[[event]]
at = "3s"
do = { kill = { node = "a-s2" } }
[check]
promise = "owed"
"#;

    #[test]
    fn a_group_gets_its_keys_and_no_roles() {
        let plan = Plan::parse(STORY).unwrap();
        let cluster = super::super::expand::expand(&plan.cluster);
        let [first, _, last] = &cluster.brokers[..] else { panic!("three brokers") };
        let peers = "n0-10.0.1.1:40911;n1-10.0.1.2:40911;n2-10.0.1.3:40911";
        assert_eq!(first.properties["dLegerPeers"], peers);
        assert_eq!((&*last.name, &*last.properties["dLegerSelfId"]), ("a-s2", "n2"));
        assert_eq!(last.properties["flushDiskType"], "SYNC_FLUSH");
        assert_eq!(last.properties.get("brokerRole"), None);
        assert_eq!(Plan::parse(&plan.to_toml()).unwrap(), plan);
    }

    #[test]
    fn members_of_one_machine_listen_at_ports_of_their_own() {
        let shared = "slaves = 2\nmachines = [\"10.9.9.9\", \"10.9.9.9\"]";
        let plan = Plan::parse(&STORY.replacen("slaves = 2", shared, 1)).unwrap();
        let cluster = super::super::expand::expand(&plan.cluster);
        let peers = "n0-10.9.9.9:40911;n1-10.9.9.9:40921;n2-10.0.1.3:40911";
        assert_eq!(cluster.brokers[0].properties["dLegerPeers"], peers);
    }

    #[test]
    fn what_no_elected_master_knows_is_refused() {
        for (from, to, text) in [
            (
                "slaves = 2",
                "slaves = 1",
                "line 10: cluster.group.slaves: a has 2 members, and a DLedger",
            ),
            ("slaves = 2", "slaves = 3", "a has 4 members"),
            (
                "kill = { node = \"a-s2\" }",
                "promote = { node = \"a-s\" }",
                "promote: a-s is in DLedger",
            ),
            (
                "kill = { node = \"a-s2\" }",
                "promote_most_advanced = { group = \"a\" }",
                "preferredLeaderId",
            ),
            (
                "kill = { node = \"a-s2\" }",
                "rejoin_as_slave = { node = \"a\" }",
                "rejoin_as_slave: a is in DLedger",
            ),
            (
                "kill = { node = \"a-s2\" }",
                "promote = { node = \"follower of a\" }",
                "promote: follower of a is in DLedger",
            ),
            (
                "kill = { node = \"a-s2\" }",
                "kill = { node = \"follower 3 of a\" }",
                "did you mean follower 2 of a?",
            ),
            ("at = \"3s\"", "when = { slave_connected = \"a-s\" }", "no HA connection"),
        ] {
            let error = Plan::parse(&STORY.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(text), "{text:?} not in {error:?}");
        }
        Plan::parse(&STORY.replacen("slaves = 2", "slaves = 4", 1)).unwrap();
        Plan::parse(&STORY.replacen("\"a-s2\"", "\"leader of a\"", 1)).unwrap();
    }
}
