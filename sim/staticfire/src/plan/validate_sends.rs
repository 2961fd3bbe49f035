//! What contradicts itself in the ways in which producers send.

use mq_store::delay_level::DelayLevels;

use super::bounds::Nonsense;
use super::expand::expand;
use super::{Plan, WorkloadPlan};

/// Most messages of a batch.
const BATCH_MAX: u32 = 1_000;

/// Most sends that a producer starts in a second.
const RATE_MAX: u32 = 10_000;

/// Shortest body that can be told from others.
const BODY_BYTES_MIN: u32 = 16;

/// `maxMessageSize` of brokers that name none, and of producers.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// Longest wait for a reply, in milliseconds.
const REQUEST_MS_MAX: u64 = 3_600_000;

/// Refuses what cannot be meant.
///
/// # Errors
/// The first such key.
pub(super) fn check(plan: &Plan) -> Result<(), Nonsense> {
    let levels = plan.delay_levels();
    for (index, work) in plan.workloads.iter().enumerate() {
        let checked = batch(plan, work)
            .and_then(|()| delays(work, &levels))
            .and_then(|()| oneway(work))
            .and_then(|()| asynchronous(work))
            .and_then(|()| request(work))
            .and_then(|()| compressed(work))
            .and_then(|()| burst(work));
        checked
            .map_err(|(key, text)| Nonsense::new(format!("workload.{key}"), text).entry(index))?;
    }
    Ok(())
}

pub(super) type Checked = Result<(), (&'static str, String)>;

fn complain(key: &'static str, text: impl Into<String>) -> Checked {
    Err((key, text.into()))
}

fn batch(plan: &Plan, work: &WorkloadPlan) -> Checked {
    if !(1..=BATCH_MAX).contains(&work.batch) {
        return complain("batch", format!("1 (no batches) to {BATCH_MAX}"));
    }
    if work.batch == 1 {
        return Ok(());
    }
    if work.is_delayed() {
        let text =
            "not with delay_level or delay_levels: RocketMQ refuses batches with delayed messages";
        return complain("batch", text);
    }
    if work.transaction.is_some() {
        return complain(
            "batch",
            "not with transaction: a message of a transaction is in no batch",
        );
    }
    let longest = u64::from(work.body_bytes[1]);
    let room = plan.batch_bytes_max();
    if longest > room / 2 {
        let text = format!(
            "bodies of {longest} bytes leave no room for a second message in a batch of {room} bytes (make body_bytes \
             smaller, or maxMessageSize and mappedFileSizeCommitLog larger)"
        );
        return complain("batch", text);
    }
    Ok(())
}

fn delays(work: &WorkloadPlan, own: &DelayLevels) -> Checked {
    let Some(plan) = &work.delay_levels else { return Ok(()) };
    let levels = plan.levels(own);
    let highest = u32::try_from(own.max_level()).unwrap_or(u32::MAX);
    if levels.is_empty() || levels.len() > 1_000 {
        return complain("delay_levels", "one level at least, and at most 1000");
    }
    if let Some(level) = levels.iter().find(|level| **level > highest) {
        let text = format!(
            "{level} is no level of the brokers' (0 for none, 1 to {highest}; messageDelayLevel in [cluster.properties])"
        );
        return complain("delay_levels", text);
    }
    if levels.iter().all(|level| *level == 0) {
        return complain("delay_levels", "all of them are 0, which is no delay: leave it out");
    }
    if work.delay_level > 0 {
        return complain("delay_levels", "not with delay_level, which is one level for all");
    }
    if work.transaction.is_some() {
        return complain("delay_levels", "not with transaction: RocketMQ drops the delay");
    }
    if work.ordered {
        return complain("delay_levels", "not with ordered: delays lose the order");
    }
    Ok(())
}

fn oneway(work: &WorkloadPlan) -> Checked {
    if work.oneway_percent > 100 {
        return complain("oneway_percent", "at most 100");
    }
    if work.oneway_percent == 0 {
        return Ok(());
    }
    let others = [
        ("transaction, whose half message must be acknowledged", work.transaction.is_some()),
        ("batch, which is always answered", work.batch > 1),
        ("ordered, as nobody knows when the next one may follow", work.ordered),
        ("request_reply, which waits for an answer", work.request_reply.is_some()),
    ];
    excluded("oneway_percent", &others)
}

fn asynchronous(work: &WorkloadPlan) -> Checked {
    if !work.is_async {
        return Ok(());
    }
    let others = [
        ("transaction, whose half message is sent synchronously", work.transaction.is_some()),
        ("batch, which the client library sends synchronously", work.batch > 1),
        ("ordered, as a queue is chosen for synchronous sends alone", work.ordered),
        ("request_reply, which is asynchronous by itself", work.request_reply.is_some()),
    ];
    excluded("async", &others)
}

fn request(work: &WorkloadPlan) -> Checked {
    let Some(request) = work.request_reply else { return Ok(()) };
    if !(1..=REQUEST_MS_MAX).contains(&request.timeout.0) {
        return complain("request_reply", "timeout: 1ms to 1h");
    }
    if work.all_consumer_groups().iter().all(|group| group.consumers == 0) {
        return complain(
            "request_reply",
            "nobody is there to reply (consumers, or a consumer_group)",
        );
    }
    let others = [
        ("transaction: a half message is no request", work.transaction.is_some()),
        ("batch: a request travels alone", work.batch > 1),
        ("ordered: requests choose no queue", work.ordered),
        ("delay_level or delay_levels: its producer would wait in vain", work.is_delayed()),
        ("wait_false_percent: a request is acknowledged, too", work.wait_false_percent > 0),
    ];
    excluded("request_reply", &others)
}

fn compressed(work: &WorkloadPlan) -> Checked {
    if work.compress_over_bytes.is_some() && work.batch > 1 {
        return complain("compress_over_bytes", "not with batch: batches are never compressed");
    }
    if work.compress_over_bytes.is_some_and(|over| over >= work.body_bytes[1]) {
        let text = format!("no body is longer (body_bytes: at most {})", work.body_bytes[1]);
        return complain("compress_over_bytes", text);
    }
    Ok(())
}

fn burst(work: &WorkloadPlan) -> Checked {
    let Some(burst) = work.burst else { return Ok(()) };
    if burst.lasts.0 == 0 || burst.lasts >= burst.every {
        return complain("burst", "lasts: at least 1ms, and shorter than every");
    }
    if burst.every.0 > 24 * 3_600_000 {
        return complain("burst", "every: at most 24h");
    }
    if !(work.rate_per_second + 1..=RATE_MAX).contains(&burst.rate_per_second) {
        let text = format!("rate_per_second: above the workload's, and at most {RATE_MAX}");
        return complain("burst", text);
    }
    Ok(())
}

/// Refuses the first of `others` that there is.
pub(super) fn excluded(key: &'static str, others: &[(&str, bool)]) -> Checked {
    match others.iter().find(|(_, is_there)| *is_there) {
        Some((why, _)) => complain(key, format!("not with {why}")),
        None => Ok(()),
    }
}

impl Plan {
    /// What a batch may have at most, in bytes: no more than producers and brokers take, and than fits into a CommitLog
    /// file with what is stored beside it.
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        let cluster = expand(&self.cluster);
        let bounds = cluster.brokers.iter().flat_map(|broker| {
            let number = |key: &str| broker.properties.get(key)?.trim().parse::<u64>().ok();
            let file = number("mappedFileSizeCommitLog").map(|bytes| bytes / 2);
            number("maxMessageSize").into_iter().chain(file)
        });
        bounds.fold(MESSAGE_BYTES_MAX, u64::min).max(u64::from(BODY_BYTES_MIN))
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
[[cluster.group]]
name = "a"
role = "ASYNC_MASTER"
flush = "ASYNC_FLUSH"
[workload]
messages = 10
[check]
promise = "owed"
"#;

    fn parsed(keys: &str) -> Result<Plan, String> {
        Plan::parse(&STORY.replacen("messages = 10", &format!("{keys}\nmessages = 10"), 1))
    }

    #[test]
    fn every_kind_survives_its_file() {
        for keys in [
            "batch = 7\nordered = true\nwait_false_percent = 10",
            "delay_levels = \"every\"\noneway_percent = 100",
            "delay_levels = [0, 18]\nasync = true",
            "request_reply = {}\ncompress_over_bytes = 100",
            "burst = { every = \"3s\", lasts = \"1s\", rate_per_second = 200 }\ntransaction = {}",
            "tags = [\"A\"]\ntransaction = {}",
            "[[workload.consumer_group]]\nname = \"g\"\nlite_pull = true\nauto_commit = false\n[workload]",
        ] {
            let keys = keys.trim_end_matches("\n[workload]");
            let text = match keys.starts_with('[') {
                true => STORY.replacen("[check]", &format!("{keys}\n[check]"), 1),
                false => STORY.replacen("messages = 10", &format!("{keys}\nmessages = 10"), 1),
            };
            let plan = Plan::parse(&text).unwrap();
            assert_eq!(Plan::parse(&plan.to_toml()), Ok(plan), "{keys}");
        }
    }

    #[test]
    fn ways_to_send_that_exclude_each_other_are_refused_with_line_and_reason() {
        for (keys, wanted) in [
            ("batch = 0", "line 11: workload.batch: 1 (no batches) to 1000"),
            ("batch = 2\ndelay_level = 1", "workload.batch: not with delay_level"),
            ("batch = 2\ndelay_levels = [1]", "workload.batch: not with delay_level"),
            ("batch = 2\ntransaction = {}", "workload.batch: not with transaction"),
            ("batch = 2\nbody_bytes = [64, 3000000]", "leave no room for a second message"),
            ("batch = 2\ncompress_over_bytes = 64", "workload.compress_over_bytes: not with batch"),
            (
                "compress_over_bytes = 512",
                "line 11: workload.compress_over_bytes: no body is longer",
            ),
            ("delay_levels = []", "line 11: workload.delay_levels: one level at least"),
            ("delay_levels = [0]", "leave it out"),
            ("delay_levels = [19]", "19 is no level of the brokers' (0 for none, 1 to 18"),
            ("delay_levels = \"all\"", "or \"every\""),
            ("delay_levels = [1]\ndelay_level = 1", "workload.delay_levels: not with delay_level"),
            ("delay_levels = [1]\ntransaction = {}", "RocketMQ drops the delay"),
            ("delay_levels = [1]\nordered = true", "workload.delay_levels: not with ordered"),
            ("oneway_percent = 101", "line 11: workload.oneway_percent: at most 100"),
            ("oneway_percent = 1\nordered = true", "workload.oneway_percent: not with ordered"),
            ("oneway_percent = 1\nbatch = 2", "workload.oneway_percent: not with batch"),
            ("oneway_percent = 1\nrequest_reply = {}", "workload.oneway_percent: not with request"),
            ("async = true\ntransaction = {}", "line 11: workload.async: not with transaction"),
            ("async = true\nordered = true", "workload.async: not with ordered"),
            ("request_reply = {}\ndelay_level = 1", "workload.request_reply: not with delay_level"),
            ("request_reply = {}\nbatch = 2", "workload.request_reply: not with batch"),
            ("request_reply = {}\nconsumers = 0", "nobody is there to reply"),
            ("request_reply = { timeout = \"0ms\" }", "timeout: 1ms to 1h"),
            ("request_reply = { after = 1 }", "unknown field `after`"),
            (
                "burst = { every = \"1s\", lasts = \"1s\", rate_per_second = 200 }",
                "line 11: workload.burst: lasts",
            ),
            (
                "burst = { every = \"3s\", lasts = \"1s\", rate_per_second = 100 }",
                "above the workload's",
            ),
        ] {
            let error = parsed(keys).unwrap_err();
            assert!(error.contains(wanted), "{wanted:?} not in {error:?}");
        }
    }

    #[test]
    fn members_that_poll_have_no_part_in_what_listeners_do() {
        for (keys, wanted) in [
            (
                "lite_pull = true\norderly = true",
                "line 14: workload.consumer_group.lite_pull: not with orderly",
            ),
            ("lite_pull = true\nidempotent = true", "not with idempotent"),
            ("lite_pull = true\nbroadcast = true", "not with broadcast"),
            ("lite_pull = true\nmax_reconsume_times = 3", "not with max_reconsume_times"),
            ("lite_pull = true\nfails = { percent = 1, times = 1 }", "not with fails"),
            (
                "auto_commit = false",
                "line 14: workload.consumer_group.auto_commit: only with lite_pull",
            ),
        ] {
            let group = format!("[[workload.consumer_group]]\nname = \"g\"\n{keys}\n[check]");
            let error = Plan::parse(&STORY.replacen("[check]", &group, 1)).unwrap_err();
            assert!(error.contains(wanted), "{wanted:?} not in {error:?}");
        }
    }
}
