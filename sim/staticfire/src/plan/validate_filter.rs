//! What contradicts itself in tags, properties and filters: names that no message has, and filters that let nothing
//! pass of what is sent.

use std::collections::BTreeSet;

use mq_broker::config::nearest;
use mq_filter::Expression;
use mq_protocol::message::{MessageConst, Properties};

use super::bounds::Nonsense;
use super::expand::expand;
use super::validate::known;
use super::{ConsumerGroupPlan, Filter, FilterPlan, Plan, WorkloadPlan};

/// Most tags, and most properties, of a workload.
const LABELS_MAX: usize = 100;

/// Longest tag in bytes.
const TAG_BYTES_MAX: usize = 255;

/// Greatest amount of a number.
const NUMBER_MAX: u64 = 1_000_000_000;

/// So many drawn messages are held against a filter.
const SAMPLE: u32 = 1_000;

/// Lets brokers serve subscriptions by properties.
const ENABLE_PROPERTY_FILTER: &str = "enablePropertyFilter";

/// Refuses what cannot be meant.
///
/// # Errors
/// The first such key.
pub(super) fn check(plan: &Plan) -> Result<(), Nonsense> {
    let mut entry = 0;
    for (index, work) in plan.workloads.iter().enumerate() {
        labels(work).map_err(|nonsense| nonsense.entry(index))?;
        for group in &work.consumer_groups {
            filter(plan, work, group).map_err(|text| {
                Nonsense::new("workload.consumer_group.filter", text).entry(entry)
            })?;
            entry += 1;
        }
    }
    Ok(())
}

fn labels(work: &WorkloadPlan) -> Result<(), Nonsense> {
    let complain = |key: &str, text: String| Err(Nonsense::new(format!("workload.{key}"), text));
    for (key, count) in [("tags", work.tags.len()), ("properties", work.properties.len())] {
        if count > LABELS_MAX {
            return complain(key, format!("{count} of them are too many (at most {LABELS_MAX})"));
        }
    }
    if let Some(tag) = work.tags.iter().find(|tag| !is_tag(tag)) {
        let text = format!(
            "{tag:?} is no tag that could be subscribed to (no ||, * or control characters, no blanks at its ends, at \
             most {TAG_BYTES_MAX} bytes; \"\" for none)"
        );
        return complain("tags", text);
    }
    for (name, [least, greatest]) in &work.properties {
        if !is_property(name) {
            let text = format!(
                "{name:?} cannot be asked for in SQL92 (a small letter, then letters, digits and _; no keyword)"
            );
            return complain("properties", text);
        }
        if least > greatest || least.unsigned_abs().max(greatest.unsigned_abs()) > NUMBER_MAX {
            let text = format!("{name}: [least, greatest], within {NUMBER_MAX} of 0");
            return complain("properties", text);
        }
    }
    Ok(())
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_BYTES_MAX
        && tag.trim() == tag
        && tag != "*"
        && !tag.contains("||")
        && !tag.contains(char::is_control)
}

/// RocketMQ's own properties begin with a capital letter or an underscore.
fn is_property(name: &str) -> bool {
    let is_word = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    let compiled = Expression::compile(&format!("{name} = 1"));
    is_word
        && name.len() <= TAG_BYTES_MAX
        && name.starts_with(|it: char| it.is_ascii_lowercase())
        && compiled.is_ok_and(|it| it.property_names().eq([name]))
}

/// A filter that the members of a group are to have from an event on. Who polls, and who gets everything by
/// broadcasting, keeps the one that it has.
pub(super) fn subscribe(plan: &Plan, name: &str, filter: &FilterPlan) -> Result<(), String> {
    let groups: Vec<_> = plan
        .workloads
        .iter()
        .flat_map(|work| work.all_consumer_groups().into_iter().map(move |it| (work, it)))
        .collect();
    let names: BTreeSet<String> = groups.iter().map(|(_, it)| it.name.clone()).collect();
    known(&names, name, "consumer group is called").map_err(|text| format!("group: {text}"))?;
    let mut of_name = groups.into_iter().filter(|(_, it)| it.name == name);
    let Some((work, group)) = of_name.next().filter(|_| of_name.next().is_none()) else {
        return Err(format!("group: {name} has several topics: change one that has one"));
    };
    if group.broadcast || group.lite_pull || group.consumers == 0 {
        return Err(format!("group: {name} broadcasts, polls, or has no member"));
    }
    let group = ConsumerGroupPlan { filter: Some(filter.clone()), ..group };
    self::filter(plan, work, &group).map_err(|text| format!("filter: {text}"))
}

fn filter(plan: &Plan, work: &WorkloadPlan, group: &ConsumerGroupPlan) -> Result<(), String> {
    let Some(filter) = &group.filter else { return Ok(()) };
    // Others may send to the topic as well.
    let senders = || plan.workloads.iter().filter(|it| it.topic == work.topic);
    let compiled = filter.compile()?;
    names_what_is_sent(plan, filter, &compiled, &senders().collect::<Vec<_>>())?;
    let passes = |number: u32| {
        senders().any(|work| {
            let mut properties = Properties::new();
            work.labels().write(0, number, &mut properties);
            compiled.passes(&properties.to_string())
        })
    };
    match (0..SAMPLE).any(passes) {
        true => Ok(()),
        false => Err(format!("of {SAMPLE} messages that were drawn it lets none pass")),
    }
}

fn names_what_is_sent(
    plan: &Plan,
    filter: &FilterPlan,
    compiled: &Filter,
    senders: &[&WorkloadPlan],
) -> Result<(), String> {
    let senders = || senders.iter().copied();
    match compiled {
        Filter::Tags(tags) => {
            let sent = senders().flat_map(|it| &it.tags).filter(|tag| !tag.is_empty());
            let sent: BTreeSet<&str> = sent.map(String::as_str).collect();
            match tags.iter().find(|tag| !sent.contains(tag.as_str())) {
                Some(tag) => Err(unknown("tag", "workload.tags", tag, &sent)),
                None => Ok(()),
            }
        }
        Filter::Sql(expression) => {
            let written = senders().flat_map(|it| it.properties.keys()).map(String::as_str);
            let written: BTreeSet<&str> = written.chain([MessageConst::TAGS]).collect();
            let mut named = expression.property_names();
            if let Some(name) = named.find(|name| !written.contains(name)) {
                return Err(unknown("property", "workload.properties", name, &written));
            }
            is_served(plan, filter)
        }
    }
}

fn unknown(what: &str, key: &str, name: &str, known: &BTreeSet<&str>) -> String {
    let meant = nearest(name, known.iter().copied());
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    let known: Vec<&str> = known.iter().copied().collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("no message has the {what} {name:?}{meant} (there are, by {key}: {known})")
}

/// Whether every broker serves subscriptions by properties.
fn is_served(plan: &Plan, filter: &FilterPlan) -> Result<(), String> {
    let FilterPlan::Sql { sql } = filter else { return Ok(()) };
    let cluster = expand(&plan.cluster);
    let is_off = |it: &&super::BrokerPlan| {
        it.properties.get(ENABLE_PROPERTY_FILTER).is_none_or(|it| it.trim() != "true")
    };
    match cluster.brokers.iter().find(is_off) {
        Some(broker) => Err(format!(
            "{} refuses {sql:?} (set {ENABLE_PROPERTY_FILTER} = \"true\" in [cluster.properties])",
            broker.name
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::Plan;

    const STORY: &str = r#"
title = "t"
holds = "h"
[cluster]
namesrv = 1
[cluster.properties]
enablePropertyFilter = "true"
[[cluster.group]]
name = "a"
role = "ASYNC_MASTER"
flush = "ASYNC_FLUSH"
[workload]
tags = ["Aa", "BB", ""]
properties = { price = [0, 100] }
[[workload.consumer_group]]
name = "one"
filter = "Aa || BB"
[[workload.consumer_group]]
name = "two"
filter = { sql = "price > 50 AND TAGS IS NULL" }
[check]
promise = "owed"
"#;

    #[test]
    fn filters_that_no_message_could_pass_are_refused_with_line_and_advice() {
        let plan = Plan::parse(STORY).unwrap();
        assert_eq!(Plan::parse(&plan.to_toml()), Ok(plan));
        for (from, to, wanted) in [
            (
                "Aa || BB\"",
                "Ab\"",
                "line 17: workload.consumer_group.filter: no message has the tag \"Ab\"; did",
            ),
            ("Aa || BB\"", "Aa || \"", "names an empty tag"),
            (
                "price > 50",
                "prize > 50",
                "line 20: workload.consumer_group.filter: no message has the property",
            ),
            ("price > 50", "price >", "line 20: workload.consumer_group.filter: \"price > AND"),
            (
                "{ sql = \"price > 50 AND TAGS IS NULL\" }",
                "{ sgl = \"price\" }",
                "a filter is tags",
            ),
            ("{ sql = \"price > 50 AND TAGS IS NULL\" }", "7", "a filter is tags"),
            ("enablePropertyFilter = \"true\"", "", "set enablePropertyFilter = \"true\""),
            ("price > 50", "price > 500", "of 1000 messages that were drawn it lets none pass"),
            ("\"BB\"", "\"B||B\"", "line 13: workload.tags: \"B||B\" is no tag"),
            ("\"BB\"", "\"*\"", "line 13: workload.tags"),
            ("price = [0", "KEYS = [0", "line 14: workload.properties: \"KEYS\" cannot"),
            ("price = [0", "and = [0", "line 14: workload.properties: \"and\" cannot"),
            ("[0, 100]", "[100, 0]", "line 14: workload.properties: price: [least, greatest]"),
        ] {
            let error = Plan::parse(&STORY.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(wanted), "{wanted:?} not in {error:?}");
        }
    }
}
