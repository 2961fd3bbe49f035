//! `consumerStatus`: what the members of a group tell of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use mq_env::disk::Disk;
use mq_protocol::body::running_info::{ConsumeStatus, ConsumerRunningInfo, ProcessQueueInfo};
use mq_protocol::codes::MqVersion;
use mq_protocol::message::MessageQueue;

use crate::command::{SubCommand, Terminal, all_done};
use crate::error::AdminError;
use crate::text::LocalTime;

/// Shows the state of a group's members: of one here, of all of them in files below a directory that is named
/// by the time.
#[derive(Args)]
pub(crate) struct ConsumerStatus {
    /// The consumer group.
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    group: String,
    /// The member; without one, all of them.
    #[arg(short = 'i', long = "clientId", value_name = "ID")]
    client_id: Option<String>,
    /// The broker that is asked for the members.
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDRESS")]
    broker_addr: Option<String>,
    /// With the stacks of their threads.
    #[arg(short = 's', long = "jstack")]
    jstack: bool,
}

/// `yyyyMMddHHmmssSSS`
const DIGITS: &str = "%Y%m%d%H%M%S%3f";

impl SubCommand for ConsumerStatus {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let (admin, group) = (terminal.admin.clone(), &self.group);
        if let Some(client_id) = &self.client_id {
            let info = admin.get_consumer_running_info(group, client_id, self.jstack).await?;
            let text = info_text(&info, &terminal.time);
            return terminal.print(&text);
        }
        let addr = self.broker_addr.as_deref();
        let members = admin.examine_consumer_connection_info(group, addr).await?;
        terminal.print(&format!(
            "{:<10} {:<40} {:<20} {}\n",
            "#Index", "#ClientId", "#Version", "#ConsumerRunningInfoFile"
        ))?;
        let directory = terminal.time.now_ms().to_string();
        let (mut infos, mut failures) = (BTreeMap::new(), Vec::new());
        for member in members.connection_set {
            let asked = admin.get_consumer_running_info(group, &member.client_id, self.jstack);
            let info = match asked.await {
                Ok(info) => info,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            let path = Path::new(&directory).join(file_name(&member.client_id));
            write_file(&*admin.env().disk, &path, info_text(&info, &terminal.time).as_bytes())?;
            infos.insert(member.client_id.clone(), info);
            terminal.print(&member_row(infos.len(), &member.client_id, member.version, &path))?;
        }
        if !infos.is_empty() {
            terminal.print(&judgement(&infos))?;
        }
        all_done(failures)
    }
}

fn member_row(index: usize, client_id: &str, version: i32, path: &Path) -> String {
    format!("{index:<10} {client_id:<40} {:<20} {}\n", MqVersion::name(version), path.display())
}

/// What peers call themselves is no path.
pub(crate) fn file_name(name: &str) -> PathBuf {
    let safe = name.replace(['/', '\\', '\0'], "_");
    PathBuf::from(if safe.trim_start_matches('.').is_empty() { "_" } else { &safe })
}

/// Writes a file and the directories that lead to it.
pub(crate) fn write_file(disk: &dyn Disk, path: &Path, data: &[u8]) -> Result<(), AdminError> {
    let written = path.parent().map_or(Ok(()), |dir| match dir.as_os_str().is_empty() {
        true => Ok(()),
        false => disk.create_dir_all(dir),
    });
    written.and_then(|()| disk.write(path, data)).map_err(|error| AdminError::file(path, &error))
}

/// Whether the members agree: on what they subscribe to, and on whose the queues are.
fn judgement(infos: &BTreeMap<String, ConsumerRunningInfo>) -> String {
    let subscriptions = infos.values().map(|info| {
        let set = info.subscription_set.iter();
        set.map(|it| (it.topic.as_str(), it.sub_string.as_str())).collect::<BTreeSet<_>>()
    });
    if subscriptions.collect::<BTreeSet<_>>().len() > 1 {
        return "\n\nWARN: Different subscription in the same group of consumer!!!\n".to_owned();
    }
    let mut owned = BTreeSet::new();
    let mut queues = infos.values().flat_map(|info| info.mq_table.keys());
    let is_shared = queues.all(|queue| owned.insert(queue));
    let rebalance = if is_shared { "OK" } else { "Failed" };
    format!("\n\nSame subscription in the same group of consumer\n\nRebalance {rebalance}\n")
}

/// As RocketMQ lays out what a member tells (`ConsumerRunningInfo.formatString`).
fn info_text(info: &ConsumerRunningInfo, time: &LocalTime) -> String {
    let mut out = "#Consumer Properties#\n".to_owned();
    for (name, value) in &info.properties {
        let _ = writeln!(out, "{name:<40}: {value}");
    }
    out += "\n\n#Consumer Subscription#\n";
    for (number, it) in (1..).zip(&info.subscription_set) {
        let _ = writeln!(
            out,
            "{number:03} Topic: {:<40} ClassFilter: {:<8} SubExpression: {}",
            it.topic, it.class_filter_mode, it.sub_string
        );
    }
    let mut queues: Vec<_> = info.mq_table.iter().collect();
    queues.sort_by_key(|(queue, _)| *queue);
    out += "\n\n#Consumer Offset#\n";
    out += &queue_header("#Consumer Offset");
    for (MessageQueue { topic, broker_name, queue_id }, state) in &queues {
        let offset = state.commit_offset;
        let _ = writeln!(out, "{topic:<32}  {broker_name:<32}  {queue_id:<4}  {offset:<20}");
    }
    out += "\n\n#Consumer MQ Detail#\n";
    out += &queue_header("#ProcessQueueInfo");
    for (MessageQueue { topic, broker_name, queue_id }, state) in &queues {
        let state = state_text(state, time);
        let _ = writeln!(out, "{topic:<64}  {broker_name:<32}  {queue_id:<4}  {state}");
    }
    out += "\n\n#Consumer RT&TPS#\n";
    out += &rates_text(info);
    if let Some(jstack) = &info.jstack {
        let _ = write!(out, "\n\n#Consumer jstack#\n{jstack}");
    }
    out
}

fn queue_header(last: &str) -> String {
    format!("{:<64}  {:<32}  {:<4}  {last:<20}\n", "#Topic", "#Broker Name", "#QID")
}

fn rates_text(info: &ConsumerRunningInfo) -> String {
    let mut out = format!(
        "{:<64}  {:>14} {:>14} {:>14} {:>14} {:>18} {:>25}\n",
        "#Topic",
        "#Pull RT",
        "#Pull TPS",
        "#Consume RT",
        "#ConsumeOK TPS",
        "#ConsumeFailed TPS",
        "#ConsumeFailedMsgsInHour"
    );
    let mut topics: Vec<_> = info.status_table.iter().collect();
    topics.sort_by_key(|(topic, _)| *topic);
    for (topic, status) in topics {
        let ConsumeStatus { pull_rt, pull_tps, consume_rt, consume_ok_tps, .. } = status;
        let (failed_tps, failed) = (status.consume_failed_tps, status.consume_failed_msgs);
        let _ = writeln!(
            out,
            "{topic:<32}  {pull_rt:14.2} {pull_tps:14.2} {consume_rt:14.2} {consume_ok_tps:14.2} \
             {failed_tps:18.2} {failed:25}"
        );
    }
    out
}

/// `ProcessQueueInfo.toString`
fn state_text(state: &ProcessQueueInfo, time: &LocalTime) -> String {
    let at = |at_ms| time.text(at_ms, DIGITS);
    let fields = [
        ("commitOffset", state.commit_offset.to_string()),
        ("cachedMsgMinOffset", state.cached_msg_min_offset.to_string()),
        ("cachedMsgMaxOffset", state.cached_msg_max_offset.to_string()),
        ("cachedMsgCount", state.cached_msg_count.to_string()),
        ("cachedMsgSizeInMiB", state.cached_msg_size_in_mib.to_string()),
        ("transactionMsgMinOffset", state.transaction_msg_min_offset.to_string()),
        ("transactionMsgMaxOffset", state.transaction_msg_max_offset.to_string()),
        ("transactionMsgCount", state.transaction_msg_count.to_string()),
        ("locked", state.locked.to_string()),
        ("tryUnlockTimes", state.try_unlock_times.to_string()),
        ("lastLockTimestamp", at(state.last_lock_timestamp)),
        ("droped", state.droped.to_string()),
        ("lastPullTimestamp", at(state.last_pull_timestamp)),
        ("lastConsumeTimestamp", at(state.last_consume_timestamp)),
    ];
    let fields = fields.map(|(name, value)| format!("{name}={value}"));
    format!("ProcessQueueInfo [{}]", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::heartbeat::SubscriptionData;

    use super::*;
    use crate::text::tests::utc;

    fn queue(topic: &str, queue_id: i32) -> MessageQueue {
        MessageQueue { topic: topic.into(), broker_name: "broker-a".into(), queue_id }
    }

    fn recorded() -> ConsumerRunningInfo {
        let state = |commit_offset, [lock, pull, consume]: [i64; 3]| ProcessQueueInfo {
            commit_offset,
            locked: true,
            last_lock_timestamp: lock,
            last_pull_timestamp: pull,
            last_consume_timestamp: consume,
            ..ProcessQueueInfo::default()
        };
        let subscribed = |topic| SubscriptionData::by_tags(topic, "*", 1).unwrap();
        let retry = state(0, [1_795_952_445_599, 1_795_952_580_518, 1_795_952_445_599]);
        let first = state(34, [1_795_952_425_529, 1_795_952_587_365, 1_795_952_587_365]);
        let status = ConsumeStatus {
            consume_failed_msgs: 0,
            pull_rt: 1662.17,
            pull_tps: 0.2,
            consume_ok_tps: 0.2,
            ..ConsumeStatus::default()
        };
        ConsumerRunningInfo {
            jstack: Some("TID: 1 STATE: WAITING\n".into()),
            mq_table: [(queue("TK", 0), first), (queue("%RETRY%CGK", 0), retry)].into(),
            properties: [("consumerGroup".to_owned(), "CGK".to_owned())].into(),
            status_table: [
                ("TK".to_owned(), status),
                ("%RETRY%CGK".to_owned(), ConsumeStatus::default()),
            ]
            .into(),
            subscription_set: vec![subscribed("%RETRY%CGK"), subscribed("TK")],
        }
    }

    #[test]
    fn a_member_is_printed_as_it_was_recorded() {
        let text = info_text(&recorded(), &utc());
        assert_eq!(text, include_str!("../../fixtures/26-consumerStatus-i.txt"));
    }

    #[test]
    fn members_are_printed_as_they_were_recorded() {
        let infos = [("127.0.0.1@kc".to_owned(), recorded())].into();
        let path = Path::new("1795952580675").join(file_name("127.0.0.1@kc"));
        let text = format!(
            "{:<10} {:<40} {:<20} {}\n",
            "#Index", "#ClientId", "#Version", "#ConsumerRunningInfoFile"
        ) + &member_row(1, "127.0.0.1@kc", 407, &path)
            + &judgement(&infos);
        assert_eq!(text, include_str!("../../fixtures/25-consumerStatus.txt"));
    }

    #[test]
    fn members_that_disagree_are_told() {
        let other = ConsumerRunningInfo {
            mq_table: [(queue("TK", 0), ProcessQueueInfo::default())].into(),
            ..recorded()
        };
        let infos = [("a".to_owned(), recorded()), ("b".to_owned(), other.clone())];
        assert!(judgement(&infos.clone().into()).ends_with("Rebalance Failed\n"));
        let mut other = other;
        other.subscription_set.pop();
        let infos = [infos[0].clone(), ("b".to_owned(), other)];
        assert!(judgement(&infos.into()).contains("WARN: Different subscription"));
    }

    #[test]
    fn a_client_id_is_no_path() {
        let names = ["../../etc/x", "..", "", "127.0.0.1@kc"].map(file_name);
        assert_eq!(names, [".._.._etc_x", "_", "_", "127.0.0.1@kc"].map(PathBuf::from));
    }
}
