//! What a plan may ask for: sizes that a run can hold, names that exist, values that RocketMQ knows.
//!
//! Everything is looked at before anything is allocated, and a complaint names the key, what is allowed,
//! and what was probably meant.

use std::fmt;
use std::net::IpAddr;

use mq_broker::config::{BrokerConfig, Severity, nearest};
use mq_protocol::codes::ResponseCode;
use mq_protocol::properties_file::PropertiesFile;
use mq_store::config::UpstreamSwitch;

use super::Plan;
use super::local_defaults::local_defaults;

/// Something in a plan that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonsense {
    /// The key, with its table: `workload.queues`.
    pub key: String,
    /// What is wrong with it and what is allowed.
    pub text: String,
    /// In which of several tables of one name the key stands, from 0.
    pub entry: usize,
}

impl Nonsense {
    /// A complaint about `key`.
    #[must_use]
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Nonsense { key: key.into(), text: text.into(), entry: 0 }
    }

    /// The same, in the `entry`th of several tables of one name.
    #[must_use]
    pub fn entry(mut self, entry: usize) -> Self {
        self.entry = entry;
        self
    }

    /// `word` is none of `allowed`.
    fn unknown(key: impl Into<String>, word: &str, allowed: &[&str]) -> Self {
        let meant = nearest(word, allowed.iter().copied());
        let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        Nonsense::new(key, format!("{word:?}{meant} (allowed: {})", allowed.join(", ")))
    }

    /// The complaint with the line of `text` that the key stands on, where one does.
    #[must_use]
    pub fn in_text(&self, text: &str) -> String {
        match line_of(text, &self.key, self.entry) {
            Some(line) => format!("line {line}: {self}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl From<String> for Nonsense {
    /// `key: what is wrong`, or a sentence about the whole plan.
    fn from(text: String) -> Self {
        match text.split_once(": ") {
            Some((key, rest)) => Nonsense::new(key, rest),
            None => Nonsense::new("plan", text),
        }
    }
}

/// The line, from 1, on which the last part of `key` is set, below the `entry`th header of its table; of
/// `table N`, and of a key that the table does not have, the line of that header.
fn line_of(text: &str, key: &str, entry: usize) -> Option<usize> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let (table, name) = match key.split_once(' ') {
        Some((table, _)) => (table, ""),
        None => (table, name),
    };
    let mut headers = 0;
    let mut header_line = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let is_table = header.trim_start_matches('[').trim_end_matches(']').trim() == table;
            if header_line.is_some() {
                break;
            }
            headers += usize::from(is_table);
            header_line = (is_table && headers == entry + 1).then_some(index + 1);
        }
        let rest = line.strip_prefix(name).map(str::trim_start);
        let is_inside = header_line.is_some() || (table.is_empty() && headers == 0);
        if is_inside && !name.is_empty() && rest.is_some_and(|rest| rest.starts_with('=')) {
            return Some(index + 1);
        }
    }
    header_line
}

/// Refuses what no run can hold and what nobody knows.
///
/// # Errors
/// The first such key.
pub fn check(plan: &Plan) -> Result<(), Nonsense> {
    sizes(plan)?;
    cluster(plan)?;
    names(plan)
}

/// The most that one run holds, by key.
fn sizes(plan: &Plan) -> Result<(), Nonsense> {
    let cluster = &plan.cluster;
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    within(
        0,
        &[
            ("cluster.namesrv", cluster.namesrv.unwrap_or(0), 16),
            ("cluster.group", count(cluster.groups.len()), 32),
            ("workload", count(plan.workloads.len()), 16),
            ("event", count(plan.events.len()), 10_000),
            ("disturbance", count(plan.disturbances.len()), 32),
        ],
    )?;
    for (index, group) in cluster.groups.iter().enumerate() {
        within(index, &[("cluster.group.slaves", group.slaves, 16)])?;
    }
    let (mut producers, mut consumers, mut messages) = (0_u32, 0_u32, 0_u32);
    for (index, work) in plan.workloads.iter().enumerate() {
        let members = work.all_consumer_groups().into_iter().map(|group| group.consumers);
        producers = producers.saturating_add(work.producers);
        consumers = members.fold(consumers, u32::saturating_add);
        messages = messages.saturating_add(work.messages);
        within(
            index,
            &[
                ("workload.queues", work.queues, 1_024),
                ("workload.producers", producers, 64),
                ("workload.consumers", consumers, 64),
                ("workload.window", work.window, 1_024),
                ("workload.messages", messages, 1_000_000),
                ("workload.rate_per_second", work.rate_per_second, 10_000),
                ("workload.body_bytes", work.body_bytes[1], 4 << 20),
            ],
        )?;
    }
    Ok(())
}

/// Refuses the first value that is above its most.
fn within(entry: usize, bounded: &[(&str, u32, u32)]) -> Result<(), Nonsense> {
    match bounded.iter().find(|(_, value, most)| value > most) {
        Some((key, value, most)) => {
            let text = format!("{value} is more than a run holds (at most {most})");
            Err(Nonsense::new(*key, text).entry(entry))
        }
        None => Ok(()),
    }
}

fn cluster(plan: &Plan) -> Result<(), Nonsense> {
    let [shortest, longest] = plan.cluster.sync_latency;
    if shortest > longest {
        let text = format!("[shortest, longest], and {shortest} is longer than {longest}");
        return Err(Nonsense::new("cluster.sync_latency", text));
    }
    let flushes = ["SYNC_FLUSH", "ASYNC_FLUSH"];
    for (index, group) in plan.cluster.groups.iter().enumerate() {
        if let Some(machine) = group.machines.iter().find(|it| it.parse::<IpAddr>().is_err()) {
            let text = format!("{machine:?} is no address");
            return Err(Nonsense::new("cluster.group.machines", text).entry(index));
        }
        for (key, value, allowed) in [
            (
                "cluster.group.role",
                &group.role,
                &["SYNC_MASTER", "ASYNC_MASTER", super::DLEDGER][..],
            ),
            ("cluster.group.flush", &group.flush, &flushes),
            ("cluster.group.slave_flush", &group.slave_flush, &flushes),
        ] {
            if !allowed.contains(&value.as_str()) {
                return Err(Nonsense::unknown(key, value, allowed).entry(index));
            }
        }
    }
    properties(plan)
}

/// `[cluster.properties]` as a broker reads them; what a broker only warns of is a typo here.
fn properties(plan: &Plan) -> Result<(), Nonsense> {
    let mut file = PropertiesFile::parse(b"brokerName=a").map_err(|it| it.to_string())?;
    for (key, value) in &plan.cluster.properties {
        file.set(key, value);
    }
    let (config, _, findings) = BrokerConfig::parse(&file, &local_defaults("a"));
    if config.acl_enable {
        let key = "cluster.properties.aclEnable";
        return Err(Nonsense::new(key, "no client of a story has an account (allowed: false)"));
    }
    let complaint = findings.into_iter().find(|it| {
        let is_known = plan.cluster.properties.contains_key(&it.key);
        let is_typo = it.severity == Severity::Warning && it.suggestion.is_some();
        is_known && (it.severity == Severity::Error || is_typo)
    });
    let Some(found) = complaint else { return Ok(()) };
    let meant = found.suggestion.map_or_else(String::new, |it| format!("; did you mean {it}?"));
    let allowed = found.allowed.map_or_else(String::new, |it| format!(" (allowed: {it})"));
    let key = format!("cluster.properties.{}", found.key);
    Err(Nonsense::new(key, format!("{}{meant}{allowed}", found.text)))
}

/// Names that are looked up while a run goes on, and would then mean nothing.
fn names(plan: &Plan) -> Result<(), Nonsense> {
    let switches = UpstreamSwitch::names();
    if let Some(name) = plan.upstream.iter().find(|it| !switches.contains(&it.as_str())) {
        return Err(Nonsense::unknown("upstream", name, &switches));
    }
    let counts = countable();
    for (key, bounds) in [("check.least", &plan.check.least), ("check.most", &plan.check.most)] {
        if let Some(name) = bounds.keys().find(|name| !counts.contains(&name.as_str())) {
            return Err(Nonsense::unknown(key, name, &counts));
        }
    }
    Ok(())
}

/// What `least` and `most` may count: figures, statuses of sends and of transactions, and refusals by RocketMQ's names.
fn countable() -> Vec<&'static str> {
    let mut names =
        vec!["lost", "expired", "deleted", "skipped", "passed_over", "duplicated", "readable"];
    names.extend(["redelivered", "redelivery_lost", "dead_letters", "replied"]);
    names.extend(["queue_moves", "needless_moves"]);
    names.push("ONEWAY");
    names.extend(["SEND_OK", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE"]);
    names.extend(["UNKNOW", "ROLLBACK_MESSAGE"]);
    let codes = (1..300).filter_map(ResponseCode::name);
    names.extend(codes.filter(|name| !name.starts_with("SUBSCRIPTION")));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = r#"
title = "t"
holds = "h"
[cluster]
namesrv = 1
[cluster.properties]
haSlaveFallbehindMax = "1000"
[[cluster.group]]
name = "a"
role = "SYNC_MASTER"
flush = "ASYNC_FLUSH"
slaves = 1
[workload]
queues = 4
[check]
promise = "never"
least = { lost = 0 }
"#;

    #[test]
    fn what_cannot_be_meant_is_named_with_line_and_advice() {
        Plan::parse(STORY).unwrap();
        for (from, to, wanted) in [
            ("queues = 4", "queues = 4294967295", "line 14: workload.queues: 4294967295 is more"),
            ("queues = 4", "producers = 100000", "workload.producers"),
            ("slaves = 1", "slaves = 4294967295", "line 12: cluster.group.slaves"),
            (
                "\"SYNC_MASTER\"",
                "\"SYNCMASTER\"",
                "line 10: cluster.group.role: \"SYNCMASTER\"; did you mean SYNC_MASTER?",
            ),
            ("\"ASYNC_FLUSH\"", "\"async\"", "allowed: SYNC_FLUSH, ASYNC_FLUSH"),
            ("haSlaveFallbehindMax", "haSlaveFallBehindMx", "did you mean haSlaveFallbehindMax?"),
            ("\"1000\"", "\"many\"", "line 7: cluster.properties.haSlaveFallbehindMax"),
            (
                "haSlaveFallbehindMax = \"1000\"",
                "aclEnable = \"true\"",
                "line 7: cluster.properties.aclEnable: no client of a story has an account",
            ),
            (
                "{ lost = 0 }",
                "{ losst = 0 }",
                "line 17: check.least: \"losst\"; did you mean lost?",
            ),
            (
                "namesrv = 1",
                "namesrv = 1\nsync_latency = [\"4ms\", \"1ms\"]",
                "line 6: cluster.sync_latency",
            ),
            (
                "holds = \"h\"",
                "holds = \"h\"\nupstream = [\"send-unflush\"]",
                "did you mean send-unflushed?",
            ),
        ] {
            let error = Plan::parse(&STORY.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(wanted), "{wanted:?} not in {error:?}");
        }
    }
}
