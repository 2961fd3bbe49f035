//! What operators do besides starting and stopping processes, and what clocks do: where a group goes on
//! ([`ResetTo`]), how far a clock is set ([`ClockStep`]), and which of such events cannot be meant.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use staticfire_judge::duration::Millis;

use super::validate::known;
use super::validate_filter;
use super::{Action, Plan, WorkloadPlan};

/// Where a consumer group goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// With the first message of each queue.
    Earliest,
    /// Behind the last one.
    Latest,
    /// With what was stored this long before, by the operator's clock.
    Before(Millis),
}

impl fmt::Display for ResetTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResetTo::Earliest => f.write_str("earliest"),
            ResetTo::Latest => f.write_str("latest"),
            ResetTo::Before(before) => before.fmt(f),
        }
    }
}

impl FromStr for ResetTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(ResetTo::Earliest),
            "latest" => Ok(ResetTo::Latest),
            _ => text.parse().map(ResetTo::Before).map_err(|_| {
                format!(
                    "to: {text:?} (allowed: earliest, latest, or how long before: 250ms, 3s, 2m)"
                )
            }),
        }
    }
}

/// How far a clock is set, forwards or, of a negative number, backwards: `90s`, `-2h`, `3d`, `-10y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// Milliseconds.
    pub by_ms: i64,
}

/// Units of steps with their milliseconds, the longest first; a year is 365 days.
const UNITS: [(&str, i64); 6] = [
    ("y", 365 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A clock shows a time within a hundred years.
const STEP_MAX_MS: i64 = 100 * 365 * 86_400_000;

impl fmt::Display for ClockStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, i64)| self.by_ms % unit == 0;
        let (name, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[5]);
        write!(f, "{}{name}", self.by_ms / unit)
    }
}

impl FromStr for ClockStep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let complain = || format!("by: {text:?} (write 250ms, 90s, -2m, 3h, -1d or 10y)");
        let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
        let unit = UNITS.iter().find(|(name, _)| *name == &text[digits.len()..]);
        let count = digits.parse::<i64>().map_err(|_| complain())?;
        let by_ms = unit.and_then(|(_, unit)| count.checked_mul(*unit)).ok_or_else(complain)?;
        if by_ms == 0 || by_ms.abs() > STEP_MAX_MS {
            return Err(format!("by: {text:?} (at least 1ms, at most 100y, either way)"));
        }
        Ok(ClockStep { by_ms })
    }
}

/// Serde by way of [`FromStr`] and [`fmt::Display`].
macro_rules! as_text {
    ($($type:ty),+) => {
        $(impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        })+
    };
}

as_text!(ResetTo, ClockStep);

/// Refuses an operation that cannot be meant.
///
/// # Errors
/// Key, and what is allowed.
pub(super) fn check(plan: &Plan, action: &Action) -> Result<(), String> {
    match action {
        Action::Start { node } => start(plan, node),
        Action::ResetOffset { group, topic, .. } => reset(plan, group, topic),
        Action::ClockDrift { ppm, .. } if *ppm == 0 || ppm.abs() > 1_000_000 => Err(format!(
            "ppm: {ppm} (-1000000, which stands still, to 1000000, and not 0: `calm` ends a drift)"
        )),
        Action::CreateTopic { topic, queues, new } => create(plan, topic, *queues, *new),
        Action::DeleteTopic { topic } => known_topic(plan, topic),
        Action::DeleteGroup { group } => delete_group(plan, group),
        Action::Subscribe { group, filter } => validate_filter::subscribe(plan, group, filter),
        _ => Ok(()),
    }
}

/// Only clients can be away from the start, and come once.
fn start(plan: &Plan, node: &str) -> Result<(), String> {
    let clients: BTreeSet<String> =
        plan.workloads.iter().flat_map(WorkloadPlan::client_names).collect();
    if !clients.contains(node) {
        return Err(format!(
            "node: {node:?} is no client of a workload; `restart` starts whatever was there before"
        ));
    }
    let starts =
        plan.events.iter().filter(|it| it.action == Action::Start { node: node.to_owned() });
    if starts.count() > 1 {
        let text = "is away until `start`, which comes once; `restart` starts what was stopped";
        return Err(format!("node: {node:?} {text}"));
    }
    Ok(())
}

fn reset(plan: &Plan, group: &str, topic: &str) -> Result<(), String> {
    let groups = plan.workloads.iter().flat_map(|work| {
        work.all_consumer_groups().into_iter().map(move |group| (group, &work.topic))
    });
    let groups: Vec<_> = groups.collect();
    let names: BTreeSet<String> = groups.iter().map(|(it, _)| it.name.clone()).collect();
    known(&names, group, "consumer group is called").map_err(|text| format!("group: {text}"))?;
    let named = || groups.iter().filter(|(it, _)| it.name == group);
    if named().any(|(it, _)| it.broadcast) {
        return Err(format!(
            "group: members of {group} get everything by broadcasting, and keep their offsets themselves"
        ));
    }
    let topics: BTreeSet<String> = named().map(|(_, topic)| (*topic).clone()).collect();
    known(&topics, topic, &format!("topic of {group} is called"))
        .map_err(|text| format!("topic: {text}"))
}

/// A group whose listeners fail would be told of everything in its retry topic again.
fn delete_group(plan: &Plan, group: &str) -> Result<(), String> {
    let groups = plan.workloads.iter().flat_map(WorkloadPlan::all_consumer_groups);
    let groups: Vec<_> = groups.collect();
    let names: BTreeSet<String> = groups.iter().map(|it| it.name.clone()).collect();
    known(&names, group, "consumer group is called").map_err(|text| format!("group: {text}"))?;
    let mut named = groups.iter().filter(|it| it.name == group);
    match named.find(|it| it.broadcast || it.fails.is_some() || it.idempotent) {
        None => Ok(()),
        Some(_) => Err(format!(
            "group: {group} broadcasts, fails or is idempotent: delete a group that does none of it"
        )),
    }
}

fn known_topic(plan: &Plan, topic: &str) -> Result<(), String> {
    let topics: BTreeSet<String> = plan.workloads.iter().map(|it| it.topic.clone()).collect();
    known(&topics, topic, "workload has a topic").map_err(|text| format!("topic: {text}"))
}

/// Queues are never taken away, but for a topic that is deleted: what lies in them would be hidden.
fn create(plan: &Plan, topic: &str, queues: u32, new: bool) -> Result<(), String> {
    known_topic(plan, topic)?;
    let used = plan.workloads.iter().filter(|it| it.topic == topic).map(|it| it.queues).max();
    let used = used.unwrap_or_default();
    let made = plan.events.iter().filter_map(|it| match &it.action {
        Action::CreateTopic { topic: other, queues, new } if other == topic => {
            Some((*queues, *new))
        }
        _ => None,
    });
    let made: Vec<(u32, bool)> = made.collect();
    if made.iter().filter(|(_, new)| *new).count() > 1 {
        return Err(format!("new: {topic} is not there until the one event that makes it"));
    }
    // Without one that makes it, the topic is there with the queues of its workload.
    let grows_from = made.iter().find(|(_, new)| *new).map_or(used, |(queues, _)| *queues);
    let is_deleted = plan.deletes(topic);
    if queues > 1_024 || queues == 0 || (!new && !is_deleted && queues <= grows_from) {
        return Err(format!(
            "queues: {queues} ({} to 1024: queues are not taken away; a topic that is not there before: `new = true`)",
            if new { 1 } else { grows_from + 1 }
        ));
    }
    let auto = plan.cluster.properties.get("autoCreateTopicEnable");
    if new && auto.is_none_or(|it| it.trim() != "false") {
        return Err(format!(
            "new: the first send makes {topic}, unless [cluster.properties] has autoCreateTopicEnable = \"false\""
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::expand::tests::STORY;

    #[test]
    fn steps_of_clocks_read_and_print() {
        for (text, by_ms) in
            [("250ms", 250), ("-90s", -90_000), ("2h", 7_200_000), ("-3d", -259_200_000)]
        {
            assert_eq!(text.parse(), Ok(ClockStep { by_ms }));
            assert_eq!(ClockStep { by_ms }.to_string(), text);
        }
        assert_eq!("365d".parse::<ClockStep>().unwrap().to_string(), "1y");
        for bad in ["", "3", "h", "0s", "101y", "1.5h", "--1s", "9999999999999999999y"] {
            assert!(bad.parse::<ClockStep>().is_err(), "{bad}");
        }
        for (text, to) in
            [("earliest", ResetTo::Earliest), ("30s", ResetTo::Before(Millis(30_000)))]
        {
            assert_eq!((text.parse(), to.to_string()), (Ok(to), text.to_owned()));
        }
        assert!("-1".parse::<ResetTo>().unwrap_err().contains("allowed: earliest, latest"));
    }

    #[test]
    fn operations_that_cannot_be_meant_are_named() {
        let told = |action: &str| {
            let text = format!("{STORY}\n[[event]]\nat = \"1s\"\ndo = {{ {action} }}\n");
            Plan::parse(&text).map(drop)
        };
        for good in [
            "start = { node = \"consumer-1\" }",
            "stop = { node = \"a\" }",
            "reset_offset = { group = \"existing-group\", topic = \"Orders\", to = \"2m\" }",
            "clock_jump = { node = \"a\", by = \"-10y\" }",
            "clock_drift = { node = \"a\", ppm = -1000000 }",
            "create_topic = { topic = \"Orders\", queues = 8 }",
            "delete_topic = { topic = \"Orders\" }",
            "delete_group = { group = \"existing-group\" }",
        ] {
            assert_eq!(told(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("start = { node = \"a\" }", "\"a\" is no client of a workload"),
            ("stop = { node = \"consumer-9\" }", "did you mean consumer-1?"),
            (
                "reset_offset = { group = \"existing\", topic = \"Orders\", to = \"latest\" }",
                "group: no consumer group is called \"existing\"",
            ),
            (
                "reset_offset = { group = \"existing-group\", topic = \"Order\", to = \"latest\" }",
                "did you mean Orders?",
            ),
            (
                "reset_offset = { group = \"existing-group\", topic = \"Orders\", to = \"now\" }",
                "to: \"now\" (allowed: earliest, latest",
            ),
            ("clock_jump = { node = \"a\", by = \"0s\" }", "at least 1ms, at most 100y"),
            ("clock_drift = { node = \"a\", ppm = 2000000 }", "ppm: 2000000 (-1000000"),
            ("create_topic = { topic = \"Orders\", queues = 4 }", "queues: 4 (5 to 1024"),
            ("delete_topic = { topic = \"Order\" }", "did you mean Orders?"),
            (
                "create_topic = { topic = \"Orders\", queues = 4, new = true }",
                "autoCreateTopicEnable",
            ),
        ] {
            let error = told(bad).unwrap_err();
            assert!(error.contains(why) && error.contains("line "), "{why:?} not in {error:?}");
        }
    }
}
