//! What contradicts itself in a plan: names that mean nothing, waits that never end, promises without a
//! bound.

use std::collections::{BTreeMap, BTreeSet};

use mq_broker::config::nearest;
use staticfire_judge::check::Checker;
use staticfire_judge::check::bound::Bound;
use staticfire_judge::duration::Millis;

use super::bounds::Nonsense;
use super::consumer_group::is_times_max;
use super::disturbance::{DisturbancePlan, Trouble};
use super::event::{Awaited, EventPlan, START, Trigger};
use super::expand::{expand, group_of, is_master};
use super::validate_dledger::Elected;
use super::{
    Action, ConsumerGroupPlan, FilterPlan, Plan, Promise, WorkloadPlan, validate_filter,
    validate_sends,
};

/// A disturbance is over by then.
const LATEST: Millis = Millis(24 * 3_600_000);

/// Refuses what cannot be meant.
///
/// # Errors
/// The first such key.
pub(super) fn check(plan: &Plan) -> Result<(), Nonsense> {
    let names = Names::of(plan)?;
    workloads(plan, &names)?;
    for (index, event) in plan.events.iter().enumerate() {
        let checked = names.event(plan, index, event);
        checked.map_err(|text| Nonsense::new(format!("event {}", index + 1), text).entry(index))?;
    }
    for (index, disturbance) in plan.disturbances.iter().enumerate() {
        let place = || format!("disturbance {}", index + 1);
        let checked = names.disturbance(disturbance);
        checked.map_err(|text| Nonsense::new(place(), text).entry(index))?;
    }
    waits_end(plan)?;
    promise(plan)
}

/// What a plan may name.
struct Names {
    brokers: BTreeSet<String>,
    elected: Elected,
    groups: BTreeSet<String>,
    /// Every process, and what the present text calls it.
    processes: BTreeSet<String>,
    /// The same, and seats in DLedger groups: what events may strike.
    nodes: BTreeSet<String>,
    /// Events and disturbances.
    happenings: BTreeSet<String>,
}

impl Names {
    fn of(plan: &Plan) -> Result<Self, Nonsense> {
        let cluster = expand(&plan.cluster);
        let complain = |text: &str| Err(Nonsense::new("cluster", text));
        if cluster.namesrvs.is_empty() {
            return complain("no name server (set cluster.namesrv)");
        }
        if !cluster.brokers.iter().any(is_master) {
            return complain("no broker with brokerId=0 (add a [[cluster.group]])");
        }
        let brokers: Vec<String> = cluster.brokers.iter().map(|it| it.name.clone()).collect();
        let servers = cluster.namesrvs.iter().map(|it| it.name.clone()).chain(brokers.clone());
        let clients = plan.workloads.iter().flat_map(WorkloadPlan::client_names);
        let mut processes = BTreeSet::new();
        for name in servers.chain(clients).chain(["operator".to_owned(), "reader".to_owned()]) {
            if let Some(twice) = processes.replace(name) {
                return complain(&format!("two processes are called {twice:?}"));
            }
        }
        let groups = cluster.brokers.iter().map(|it| group_of(&it.properties).to_owned()).collect();
        let happenings = happenings(plan)?;
        let elected = Elected::of(plan, &cluster)?;
        let nodes = processes.iter().cloned().chain(elected.seats()).collect();
        let brokers = brokers.into_iter().collect();
        Ok(Names { elected, brokers, groups, processes, nodes, happenings })
    }

    fn is_process(&self, name: &str) -> Result<(), String> {
        known(&self.processes, name, "process is called")
    }

    fn is_group(&self, name: &str) -> Result<(), String> {
        known(&self.groups, name, "broker group")
    }

    fn event(&self, plan: &Plan, index: usize, event: &EventPlan) -> Result<(), String> {
        if event.at.is_some() == (event.when.is_some() || event.after.is_some()) {
            return Err("give either `at` or `when` (or `after`)".to_owned());
        }
        let is_relative =
            matches!(event.when, Some(Trigger::Previous | Trigger::AcksSincePrevious(_)));
        if index == 0 && is_relative && event.after.is_none() {
            return Err("no event comes before it".to_owned());
        }
        if let Some(after) = event.after.as_ref().filter(|it| *it != START) {
            known(&self.happenings, after, "event or disturbance is called")?;
        }
        match &event.when {
            Some(Trigger::Recovering(node) | Trigger::SlaveConnected(node)) => {
                self.is_process(node)?;
            }
            Some(Trigger::Replicated(group)) => self.is_group(group)?,
            _ => {}
        }
        let is_node = |node| known(&self.nodes, node, "process is called");
        event.action.nodes().into_iter().try_for_each(is_node)?;
        event.action.group().map_or(Ok(()), |group| self.is_group(group))?;
        self.elected.check(event)?;
        match &event.action {
            Action::Promote { node } | Action::RejoinAsSlave { node }
                if !self.brokers.contains(node) =>
            {
                Err(format!("{node:?} is no broker"))
            }
            Action::PromoteMostAdvanced { group }
                if plan.cluster.groups.iter().any(|it| it.name == *group && it.slaves == 0) =>
            {
                Err(format!("{group} has no slave that could be promoted"))
            }
            Action::FillDisk { free_bytes, .. } if *free_bytes >= plan.cluster.disk_bytes => {
                Err(format!("free_bytes: the disk has only {}", plan.cluster.disk_bytes))
            }
            action => super::operation::check(plan, action),
        }
    }

    fn disturbance(&self, plan: &DisturbancePlan) -> Result<(), String> {
        for (key, [shortest, longest]) in [("every", plan.every), ("lasts", plan.lasts)] {
            if shortest > longest {
                return Err(format!("{key}: [shortest, longest], and {shortest} is longer"));
            }
        }
        if plan.from > plan.until || plan.until > LATEST {
            return Err(format!("until: between `from` and {LATEST}"));
        }
        if !(1..=10_000).contains(&plan.budget) {
            return Err("budget: 1 to 10000".to_owned());
        }
        let is_empty = match &plan.trouble {
            Trouble::Attrition { faults, .. } => faults.is_empty(),
            Trouble::ClientAttrition { nodes, faults } => nodes.is_empty() || faults.is_empty(),
            Trouble::Clogging { nodes, .. } => nodes.len() < 2,
            Trouble::FailingDisks { faults, .. } => faults.is_empty(),
        };
        if is_empty {
            return Err("do: it has nothing to strike, or nothing to strike with".to_owned());
        }
        match &plan.trouble {
            Trouble::Attrition { group, .. } | Trouble::FailingDisks { group, .. } => {
                self.is_group(group)
            }
            Trouble::ClientAttrition { nodes, .. } | Trouble::Clogging { nodes, .. } => {
                nodes.iter().try_for_each(|node| self.is_process(node))
            }
        }
    }
}

/// Refuses a name that nothing has.
pub(super) fn known(names: &BTreeSet<String>, name: &str, what: &str) -> Result<(), String> {
    if names.contains(name) {
        return Ok(());
    }
    let meant = nearest(name, names.iter().map(String::as_str));
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    Err(format!("no {what} {name:?}{meant}"))
}

/// The names of events and disturbances.
fn happenings(plan: &Plan) -> Result<BTreeSet<String>, Nonsense> {
    let mut names = BTreeSet::new();
    let events = plan.events.iter().map(|it| &it.name).enumerate().map(|it| ("event", it));
    let others = plan.disturbances.iter().map(|it| &it.name).enumerate();
    let all = events.chain(others.map(|it| ("disturbance", it)));
    for (table, (index, name)) in all.filter(|(_, (_, name))| !name.is_empty()) {
        if name == START || !names.insert(name.clone()) {
            let text = format!("name: {name:?} is taken");
            return Err(Nonsense::new(format!("{table} {}", index + 1), text).entry(index));
        }
    }
    Ok(names)
}

/// No event waits for itself, by way of others.
fn waits_end(plan: &Plan) -> Result<(), Nonsense> {
    let events = plan.events.iter().enumerate();
    let by_name: BTreeMap<&str, usize> = events.clone().map(|(at, it)| (&*it.name, at)).collect();
    let awaited = |(index, event): (usize, &EventPlan)| match event.awaits(index) {
        Awaited::Nothing => None,
        Awaited::Event(before) => Some(before),
        // A disturbance waits for nothing.
        Awaited::Named(name) => by_name.get(name).copied(),
    };
    let awaited: Vec<Option<usize>> = events.map(awaited).collect();
    let mut waiting = vec![0_usize; awaited.len()];
    awaited.iter().flatten().for_each(|before| waiting[*before] += 1);
    // Events for which nobody waits are in no circle, and then neither is what only they wait for.
    let mut free: Vec<usize> = (0..awaited.len()).filter(|index| waiting[*index] == 0).collect();
    while let Some(before) = free.pop().map(|index| awaited[index]) {
        let Some(before) = before else { continue };
        waiting[before] -= 1;
        if waiting[before] == 0 {
            free.push(before);
        }
    }
    match waiting.iter().position(|waiting| *waiting > 0) {
        Some(index) => {
            let nonsense =
                Nonsense::new(format!("event {}", index + 1), "after: it waits for itself");
            Err(nonsense.entry(index))
        }
        None => Ok(()),
    }
}

fn workloads(plan: &Plan, names: &Names) -> Result<(), Nonsense> {
    let mut groups = BTreeSet::new();
    for (index, work) in plan.workloads.iter().enumerate() {
        workload(work, names).map_err(|nonsense| nonsense.entry(index))?;
        for (entry, group) in work.consumer_groups.iter().enumerate() {
            let before = plan.workloads[..index].iter().map(|it| it.consumer_groups.len());
            let entry = entry + before.sum::<usize>();
            consumer_group(group).map_err(|nonsense| nonsense.entry(entry))?;
        }
        for group in work.all_consumer_groups() {
            if !groups.insert(group.name.clone()) {
                let text = format!("there are two consumer groups {:?}", group.name);
                return Err(Nonsense::new("workload.name", text).entry(index));
            }
        }
    }
    if plan.workloads.is_empty() {
        return Err(Nonsense::new("workload", "there is none"));
    }
    validate_sends::check(plan)?;
    validate_filter::check(plan)
}

fn workload(work: &WorkloadPlan, names: &Names) -> Result<(), Nonsense> {
    let positive = [
        ("queues", work.queues),
        ("producers", work.producers),
        ("window", work.window),
        ("messages", work.messages),
        ("rate_per_second", work.rate_per_second),
    ];
    let complain = |key: &str, text: &str| Err(Nonsense::new(format!("workload.{key}"), text));
    if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return complain(key, "must be at least 1");
    }
    if work.body_bytes[0] > work.body_bytes[1] || work.body_bytes[0] < 16 {
        return complain("body_bytes", "[shortest, longest], at least 16");
    }
    if work.wait_false_percent > 100 {
        return complain("wait_false_percent", "at most 100");
    }
    if work.delay_level > 18 {
        return complain("delay_level", "0 (none) to 18");
    }
    if let Some(transaction) = work.transaction {
        if transaction.rollback_percent > 100 || transaction.unknown_percent > 100 {
            return complain("transaction", "at most 100 percent each");
        }
        if transaction.denied_percent > 100
            || transaction.denied_percent > 0 && transaction.lasts.is_none()
        {
            let text =
                "denied_percent: at most 100, of local transactions that take time (`lasts`)";
            return complain("transaction", text);
        }
        if transaction.lasts.is_some_and(|[least, most]| least.0 > most.0 || most.0 > 600_000) {
            let text = "lasts: the shortest and the longest time, at most 10m";
            return complain("transaction", text);
        }
        if work.delay_level > 0 || work.wait_false_percent > 0 {
            let text = "neither with delay_level nor with wait_false_percent: RocketMQ drops the delay, and \
                        a half message that waits for nothing is no promise";
            return complain("transaction", text);
        }
    }
    if work.ordered && (work.transaction.is_some() || work.delay_level > 0) {
        return complain(
            "ordered",
            "neither with transaction nor with delay_level: they lose the order",
        );
    }
    if work.outbox && (work.transaction.is_some() || work.ordered) {
        let text = "neither with transaction, which is asked about instead, nor with ordered: what is sent again \
                    comes behind its successors";
        return complain("outbox", text);
    }
    if work.outbox && (work.oneway_percent > 0 || work.request_reply.is_some()) {
        let text = "neither with oneway_percent, whose outcome nobody ever knows, nor with request_reply: who asked is \
                    gone";
        return complain("outbox", text);
    }
    if work.topic.is_empty() || work.topic.starts_with(['%', ' ']) {
        return complain("topic", "a name as RocketMQ allows it");
    }
    if !work.group.is_empty() {
        names.is_group(&work.group).map_err(|text| Nonsense::new("workload.group", text))?;
    }
    Ok(())
}

fn consumer_group(group: &ConsumerGroupPlan) -> Result<(), Nonsense> {
    let complain =
        |key: &str, text: &str| Err(Nonsense::new(format!("workload.consumer_group.{key}"), text));
    if group.fails.is_some_and(|fails| fails.percent > 100) {
        return complain("fails", "at most 100 percent");
    }
    if group.fails.is_some_and(|fails| fails.percent == 0 || fails.times == 0) {
        return complain("fails", "percent and times must be at least 1, or leave it out");
    }
    if group.broadcast && (group.fails.is_some() || group.orderly) {
        let text =
            "neither with fails, as what a listener gives back is dropped then, nor with orderly";
        return complain("broadcast", text);
    }
    if !group.auto_commit && !group.lite_pull {
        return complain(
            "auto_commit",
            "only with lite_pull: others commit what their listeners are done with",
        );
    }
    if group.lite_pull {
        polls(group)?;
    }
    if group.max_reconsume_times > 1_000 {
        return complain("max_reconsume_times", "at most 1000");
    }
    Ok(())
}

/// What members that poll have no part in.
fn polls(group: &ConsumerGroupPlan) -> Result<(), Nonsense> {
    let is_sql = matches!(group.filter, Some(FilterPlan::Sql { .. }));
    let has_times_max = !is_times_max(&group.max_reconsume_times);
    let others = [
        ("fails: who polls gives nothing back", group.fails.is_some()),
        ("max_reconsume_times: who polls gives nothing back", has_times_max),
        ("orderly: there is no listener", group.orderly),
        ("idempotent: the kit stands before listeners", group.idempotent),
        ("broadcast: its members share the queues", group.broadcast),
        ("a filter by sql: it subscribes to tags", is_sql),
    ];
    validate_sends::excluded("lite_pull", &others)
        .map_err(|(key, text)| Nonsense::new(format!("workload.consumer_group.{key}"), text))
}

fn promise(plan: &Plan) -> Result<(), Nonsense> {
    let check = &plan.check;
    let complain = |key: &str, text: &str| Err(Nonsense::new(key, text));
    let bound = check.bound.parse::<Bound>().map_err(Nonsense::from)?;
    match check.promise {
        Promise::May if bound.is_empty() => {
            return complain("check.promise", "a `may` promise needs a bound");
        }
        Promise::Never | Promise::Owed if !bound.is_empty() => {
            return complain("check.bound", "only a `may` promise has a bound");
        }
        _ => {}
    }
    if check.breaks.is_empty() && check.may_break.is_empty() {
        return Ok(());
    }
    if plan.upstream.is_empty() && plan.plants.is_empty() {
        return complain("check.breaks", "only what `upstream` switches on may break");
    }
    let always = [Checker::Panic, Checker::Counts, Checker::NoPhantom];
    let mut broken = check.breaks.iter().chain(&check.may_break);
    match broken.find(|checker| always.contains(checker)) {
        Some(checker) => complain("check.breaks", &format!("{checker} must hold in every story")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::expand::tests::STORY;

    #[test]
    fn a_group_without_slaves_promotes_none() {
        let text = "title = \"t\"\nholds = \"h\"\n[cluster]\nnamesrv = 1\n[[cluster.group]]\nname = \"a\"\n\
                    role = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\n[workload]\n[[event]]\nat = \"3s\"\n\
                    do = { promote_most_advanced = { group = \"a\" } }\n[check]\npromise = \"owed\"\n";
        let error = Plan::parse(text).unwrap_err().to_string();
        assert_eq!(error, "line 10: event 1: a has no slave that could be promoted");
    }

    #[test]
    fn contradictions_are_named() {
        for (from, to, text) in [
            ("namesrv = 2", "namesrv = 0", "no name server"),
            ("at = \"3s\"", "at = \"3s\"\nwhen = \"previous\"", "either `at` or `when`"),
            ("[\"a\", \"a-s\"]", "[\"a\", \"b\"]", "no process is called \"b\""),
            ("promise = \"never\"", "promise = \"may\"", "needs a bound"),
            (
                "promise = \"never\"",
                "promise = \"never\"\nbound = \"lag\"",
                "only a `may` promise has a bound",
            ),
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
            ("[\"a\", \"a-s\"]", "[\"a\", \"a-z\"]", "did you mean a-s?"),
            ("at = \"3s\"", "after = \"luck\"", "no event or disturbance is called \"luck\""),
            ("at = \"3s\"", "name = \"x\"\nafter = \"x\"", "line 11: event 1: after: it waits"),
            ("at = \"3s\"", "name = \"start\"\nat = \"3s\"", "\"start\" is taken"),
            (
                "[check]",
                "[[disturbance]]\nuntil = \"3s\"\ndo = { clogging = { nodes = [\"a\"], \
                 latency = [\"1ms\", \"2ms\"] } }\n[check]",
                "line 18: disturbance 1: do: it has nothing to strike",
            ),
            (
                "[check]",
                "[[workload]]\nname = \"x\"\n[[workload]]\nname = \"y\"\nqueues = 0\n[check]",
                "line 22: workload.queues",
            ),
            (
                "[check]",
                "[[workload]]\n[[workload]]\n[check]",
                "two processes are called \"producer-1\"",
            ),
            (
                "[check]",
                "[workload]\ndelay_level = 1\ntransaction = {}\n[check]",
                "line 20: workload.transaction: neither with delay_level",
            ),
            (
                "[check]",
                "[workload]\ntransaction = { rollback_percent = 101 }\n[check]",
                "at most 100 percent each",
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
