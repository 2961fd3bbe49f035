//! From the short form of a plan to machines and processes, and what contradicts itself in one.

use std::collections::{BTreeMap, BTreeSet};

use staticfire_judge::check::Checker;
use staticfire_judge::check::bound::Bound;

use super::event::{Action, Trigger};
use super::{BrokerPlan, ClusterPlan, NamesrvPlan, Plan, Promise};

/// Port of a name server of the short form.
const NAMESRV_PORT: u16 = 9876;

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
    for (index, group) in (1..).zip(&cluster.groups) {
        for id in 0..=group.slaves {
            let mut properties = cluster.properties.clone();
            let (role, flush) = if id == 0 {
                (&*group.role, &*group.flush)
            } else {
                ("SLAVE", &*group.slave_flush)
            };
            for (key, value) in [
                ("brokerName", group.name.clone()),
                ("brokerId", id.to_string()),
                ("brokerRole", role.to_owned()),
                ("flushDiskType", flush.to_owned()),
                ("namesrvAddr", namesrv_addr.clone()),
                ("storePathRootDir", "/store".to_owned()),
            ] {
                properties.insert(key.to_owned(), value);
            }
            for (key, value) in SMALL_INDEX {
                properties.entry(key.to_owned()).or_insert_with(|| value.to_owned());
            }
            long.brokers.push(BrokerPlan {
                name: process_name(&group.name, id),
                address: format!("10.0.{index}.{}", id + 1),
                properties,
            });
        }
    }
    long
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

/// Refuses what cannot be meant.
///
/// # Errors
/// One sentence that names the key.
pub fn validate(plan: &Plan) -> Result<(), String> {
    let cluster = expand(&plan.cluster);
    if cluster.namesrvs.is_empty() {
        return Err("cluster: no name server (set cluster.namesrv)".to_owned());
    }
    if !cluster.brokers.iter().any(is_master) {
        return Err("cluster: no broker with brokerId=0 (add a [[cluster.group]])".to_owned());
    }
    let mut names = BTreeSet::new();
    let all =
        cluster.namesrvs.iter().map(|n| &n.name).chain(cluster.brokers.iter().map(|b| &b.name));
    for name in all {
        if !names.insert(name.as_str()) {
            return Err(format!("cluster: two processes are called {name:?}"));
        }
    }
    let groups: BTreeSet<_> = cluster.brokers.iter().map(|b| group_of(&b.properties)).collect();
    if !plan.workload.group.is_empty() && !groups.contains(plan.workload.group.as_str()) {
        return Err(format!("workload.group: no broker group {:?}", plan.workload.group));
    }
    validate_workload(plan)?;
    validate_check(plan)?;
    let clients = client_names(plan);
    for (index, event) in plan.events.iter().enumerate() {
        let place = format!("event {}", index + 1);
        if event.at.is_some() == event.when.is_some() {
            return Err(format!("{place}: give either `at` or `when`"));
        }
        if index == 0
            && matches!(event.when, Some(Trigger::Previous | Trigger::AcksSincePrevious(_)))
        {
            return Err(format!("{place}: no event comes before it"));
        }
        let awaited = match &event.when {
            Some(Trigger::Recovering(node) | Trigger::SlaveConnected(node)) => Some(node.as_str()),
            _ => None,
        };
        for node in nodes_of(&event.action).into_iter().chain(awaited) {
            if !names.contains(node) && !clients.iter().any(|client| client == node) {
                return Err(format!("{place}: no process is called {node:?}"));
            }
        }
        if let Action::FillDisk { free_bytes, .. } = &event.action
            && *free_bytes >= plan.cluster.disk_bytes
        {
            let disk_bytes = plan.cluster.disk_bytes;
            return Err(format!("{place}: free_bytes: the disk has only {disk_bytes}"));
        }
        let group = match (&event.action, &event.when) {
            (Action::PowerLossGroup { group }, _) | (_, Some(Trigger::Replicated(group))) => group,
            _ => continue,
        };
        if !groups.contains(group.as_str()) {
            return Err(format!("{place}: no broker group {group:?}"));
        }
    }
    let brokers: BTreeSet<_> = cluster.brokers.iter().map(|broker| &broker.name).collect();
    for (index, event) in plan.events.iter().enumerate() {
        if let Action::Promote { node } | Action::RejoinAsSlave { node } = &event.action
            && !brokers.contains(node)
        {
            return Err(format!("event {}: {node:?} is no broker", index + 1));
        }
    }
    let bound: Bound = plan.check.bound.parse()?;
    match plan.check.promise {
        Promise::May if bound.is_empty() => Err("check: a `may` promise needs a bound".to_owned()),
        Promise::Never if !bound.is_empty() => {
            Err("check: a `never` promise has no bound".to_owned())
        }
        Promise::Owed if !bound.is_empty() => {
            Err("check: an `owed` promise has no bound".to_owned())
        }
        _ => Ok(()),
    }
}

fn validate_workload(plan: &Plan) -> Result<(), String> {
    let work = &plan.workload;
    let positive = [
        ("queues", work.queues),
        ("producers", work.producers),
        ("window", work.window),
        ("messages", work.messages),
        ("rate_per_second", work.rate_per_second),
    ];
    if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(format!("workload.{key}: must be at least 1"));
    }
    if work.body_bytes[0] > work.body_bytes[1] || work.body_bytes[0] < 16 {
        return Err("workload.body_bytes: [shortest, longest], at least 16".to_owned());
    }
    if work.wait_false_percent > 100 {
        return Err("workload.wait_false_percent: at most 100".to_owned());
    }
    if work.delay_level > 18 {
        return Err("workload.delay_level: 0 (none) to 18".to_owned());
    }
    Ok(())
}

/// What the sentence of a check cannot mean.
fn validate_check(plan: &Plan) -> Result<(), String> {
    let check = &plan.check;
    if check.breaks.is_empty() && check.may_break.is_empty() {
        return Ok(());
    }
    if plan.upstream.is_empty() && plan.plants.is_empty() {
        return Err("check.breaks: only what `upstream` switches on may break".to_owned());
    }
    let always = [Checker::Panic, Checker::Counts, Checker::NoPhantom];
    let mut broken = check.breaks.iter().chain(&check.may_break);
    match broken.find(|checker| always.contains(checker)) {
        Some(checker) => Err(format!("check.breaks: {checker} must hold in every story")),
        None => Ok(()),
    }
}

/// The client processes of a run.
fn client_names(plan: &Plan) -> Vec<String> {
    let producers = (1..=plan.workload.producers).map(|n| format!("producer-{n}"));
    let consumers = (1..=plan.workload.consumers).map(|n| format!("consumer-{n}"));
    producers.chain(consumers).chain(["operator".to_owned()]).collect()
}

/// Whether a broker's properties make it a master.
fn is_master(broker: &BrokerPlan) -> bool {
    broker.properties.get("brokerId").is_none_or(|id| id == "0")
}

/// The `brokerName` of a broker.
fn group_of(properties: &BTreeMap<String, String>) -> &str {
    properties.get("brokerName").map_or("", String::as_str)
}

/// The processes an action names.
fn nodes_of(action: &Action) -> Vec<&str> {
    match action {
        Action::Kill { node }
        | Action::PowerLoss { node, .. }
        | Action::DestroyDisk { node }
        | Action::Pause { node }
        | Action::Resume { node }
        | Action::Restart { node, .. }
        | Action::Promote { node }
        | Action::RejoinAsSlave { node }
        | Action::SlowDisk { node, .. }
        | Action::HangDisk { node }
        | Action::FillDisk { node, .. }
        | Action::FlushError { node, .. }
        | Action::LostWrite { node, .. }
        | Action::MisdirectedWrite { node, .. }
        | Action::ReadError { node, .. }
        | Action::OutOfDescriptors { node }
        | Action::Rot { node, .. }
        | Action::Calm { node } => vec![node],
        Action::Partition { between, .. }
        | Action::Heal { between }
        | Action::SlowLink { between, .. } => between.iter().map(String::as_str).collect(),
        Action::PowerLossGroup { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = r#"
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
    fn contradictions_are_named() {
        for (from, to, text) in [
            ("namesrv = 2", "namesrv = 0", "no name server"),
            ("at = \"3s\"", "at = \"3s\"\nwhen = \"previous\"", "either `at` or `when`"),
            ("[\"a\", \"a-s\"]", "[\"a\", \"b\"]", "no process is called \"b\""),
            ("promise = \"never\"", "promise = \"may\"", "needs a bound"),
            ("promise = \"never\"", "promise = \"never\"\nbound = \"lag\"", "has no bound"),
            ("promise = \"never\"", "promise = \"may\"\nbound = \"luck\"", "luck"),
            ("promise = \"never\"", "promise = \"never\"\nbreaks = [\"replicas\"]", "may break"),
            (
                "{ partition = { between = [\"a\", \"a-s\"] } }",
                "{ promote = { node = \"consumer-1\" } }",
                "no broker",
            ),
            ("at = \"3s\"", "when = { recovering = \"b\" }", "no process is called \"b\""),
            ("at = \"3s\"", "when = { replicated = \"b\" }", "no broker group \"b\""),
            (
                "{ partition = { between = [\"a\", \"a-s\"] } }",
                "{ fill_disk = { node = \"a\", free_bytes = 1099511627776 } }",
                "free_bytes: the disk has only",
            ),
            ("slaves = 1", "slaves = 1\nslavs = 2", "slavs"),
            ("at = \"3s\"", "at = \"3\"", "no duration"),
        ] {
            let error = Plan::parse(&STORY.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(text), "{text:?} not in {error:?}");
        }
    }

    #[test]
    fn nonsense_of_a_disk_fault_is_named_with_its_line() {
        let action = "{ partition = { between = [\"a\", \"a-s\"] } }";
        for (nonsense, text) in [
            (
                "{ read_error = { node = \"a\", file = \"log\", count = 1 } }",
                "unknown variant `log`",
            ),
            ("{ rot = { node = \"a\", file = \"commitlog\", bits = 0 } }", "must be at least 1"),
            ("{ lost_write = { node = \"a\", count = 0 } }", "must be at least 1"),
            ("{ flush_error = { node = \"a\", count = 1, mode = \"late\" } }", "`kept_dirty`"),
            ("{ hang_disk = { node = \"a\", count = 1 } }", "available keys: node"),
        ] {
            let error = Plan::parse(&STORY.replacen(action, nonsense, 1)).unwrap_err();
            assert!(error.contains(text), "{text:?} not in {error:?}");
            assert!(error.contains("line 13"), "no line in {error:?}");
        }
    }
}
