//! The quiet acts: coming up, life after the last event, silence, and the comparison of what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mq_client::{ClientConfig, ClientInstance, Producer, ProducerConfig};
use mq_env::Env;
use mq_protocol::body::subscription_group::SubscriptionGroupConfig;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::message::Message;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use staticfire_judge::check::Violation;
use staticfire_judge::check::liveness::Expectation;
use staticfire_judge::check::replicas::{LogCopy, check_logs, check_queues};
use staticfire_judge::ledger::{FoundRecord, Ledger, LogView, LogWalk};
use tokio::time::{Instant, sleep};

use crate::plan::{Millis, Plan};
use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;
use crate::run::workload::read_back::{self, ReadBack};
use crate::run::workload::{EXISTING_GROUP, FRESH_GROUP, Workload};

/// How often a condition that no event announces is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Time for a slave to copy topics and groups: it asks every ten seconds.
const METADATA_SYNC: Duration = Duration::from_secs(15);

/// Acknowledgements after the last event that prove that life goes on.
const ACKS_OF_LIFE: u32 = 20;

/// What the groups' past consists of.
const HISTORY_TOPIC: &str = "History";
const HISTORY_MESSAGES: u32 = 24;

/// Longest wait for the existing group to be given everything: the queues of a consumer that vanished are
/// given to others when the broker has not heard of it for two minutes, and when they rebalance next.
const DRAIN_LIMIT: Duration = Duration::from_secs(240);

/// Longest wait where nothing is missing but what the group may never get: its position comes back to where
/// the log ends.
const REBALANCE_LIMIT: Duration = Duration::from_secs(90);

/// How often it is looked at.
const DRAIN_INTERVAL: Duration = Duration::from_secs(3);

/// Within this time a message that is due is delivered.
const DELIVERY: Duration = Duration::from_secs(2);

/// Within this time the last commits have reached the broker.
const COMMIT_INTERVAL: Duration = Duration::from_secs(6);

/// Starts everything but the producers and waits until the group replicates.
pub(super) async fn come_up(
    cluster: &Cluster,
    work: &Arc<Workload>,
    group: &str,
) -> Result<(), String> {
    let masters = cluster.brokers().values().filter(|broker| broker.is_master());
    let wanted: Vec<String> = masters
        .filter(|broker| work.plan.group.is_empty() || broker.group() == group)
        .map(BrokerProcess::address)
        .collect();
    let operator = cluster.add_client("operator", |context| async move {
        context.shutdown.cancelled().await;
    });
    operator.start();
    let (topic, queues) = (work.plan.topic.clone(), work.plan.queues);
    let namesrv_addrs = work.namesrv_addrs.clone();
    let created = operator.run(move |env| async move {
        let remoting = RemotingClientConfig::default();
        let client = RemotingClient::new(env.clone(), remoting, ProcessorTable::default());
        for address in wanted {
            create_topic(&client, &address, &topic, queues).await?;
            create_topic(&client, &address, HISTORY_TOPIC, 1).await?;
            for group in [EXISTING_GROUP, FRESH_GROUP] {
                create_group(&client, &address, group).await?;
            }
        }
        client.shutdown().await;
        write_history(env, namesrv_addrs).await
    });
    created.await.map_err(|_| "the operator's process ended".to_owned())??;
    cluster.start_consumers(work);
    sleep(METADATA_SYNC).await;
    for _ in 0..600 {
        if are_replicas_equal(cluster, group) {
            return Ok(());
        }
        sleep(LOOK_INTERVAL).await;
    }
    Err(format!("the slaves of {group} did not catch up before the workload"))
}

/// Gives every group a past: a log that begins with the story's first message could lose even what
/// master and slave have in common, which no real cluster does.
async fn write_history(env: Env, namesrv_addrs: Vec<String>) -> Result<(), String> {
    let config = ClientConfig {
        namesrv_addrs,
        instance_name: "operator".to_owned(),
        ..ClientConfig::default()
    };
    let client = ClientInstance::start(env, config);
    let mut config = ProducerConfig::new("operators");
    config.send_msg_timeout = Duration::from_secs(10);
    let producer = Producer::new(&client, config);
    for _ in 0..HISTORY_MESSAGES {
        let message = Message::new(HISTORY_TOPIC, vec![b'h'; 256]);
        // Stored is enough: a SYNC_MASTER whose slave is still coming up has another status.
        producer.send(message).await.map_err(|error| format!("history: {error}"))?;
    }
    client.shutdown().await;
    Ok(())
}

/// Creates the topic as an operator does, trying until the broker is up.
async fn create_topic(
    client: &RemotingClient,
    address: &str,
    topic: &str,
    queues: u32,
) -> Result<(), String> {
    let queue_nums = i32::try_from(queues).unwrap_or(i32::MAX);
    let header = CreateTopicRequestHeader {
        topic: topic.to_owned(),
        default_topic: "TBW102".to_owned(),
        read_queue_nums: queue_nums,
        write_queue_nums: queue_nums,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".to_owned(),
        ..CreateTopicRequestHeader::default()
    };
    let request = || RemotingCommand::request(RequestCode::UPDATE_AND_CREATE_TOPIC, &header);
    let created = order(client, address, request).await;
    created.map_err(|last| format!("topic {topic} cannot be created at {address}: {last}"))
}

/// Creates a consumer group as an operator does: not every broker lets groups create themselves.
async fn create_group(client: &RemotingClient, address: &str, group: &str) -> Result<(), String> {
    let body = to_bytes(&SubscriptionGroupConfig::new(group));
    let code = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
    let request = || RemotingCommand::request(code, &()).with_body(body.clone());
    let created = order(client, address, request).await;
    created.map_err(|last| format!("group {group} cannot be created at {address}: {last}"))
}

/// Sends a request until the broker is up and carries it out; the last refusal if it does not.
async fn order(
    client: &RemotingClient,
    address: &str,
    request: impl Fn() -> RemotingCommand,
) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..60 {
        match client.invoke(address, request(), Duration::from_secs(3)).await {
            Ok(response) if response.code == ResponseCode::SUCCESS => return Ok(()),
            Ok(response) => last = format!("code {}: {:?}", response.code, response.remark),
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err(last)
}

/// Waits for acknowledgements after the last event, and for the story's share of messages.
pub(super) async fn life_goes_on(
    cluster: &Cluster,
    work: &Workload,
    plan: &Plan,
    group: &str,
    healed_us: u64,
) -> Vec<Expectation> {
    let trace = cluster.trace();
    let acks = work.acks();
    let before = acks.get();
    let limit = plan.check.sends_within.unwrap_or(Millis(5_000)).duration();
    let first = tokio::time::timeout(limit, acks.wait_for(|acks| *acks > before)).await.is_ok();
    let happened_us = first.then(|| trace.now_us());
    if happened_us.is_some() {
        let enough = acks.wait_for(|acks| *acks >= before + ACKS_OF_LIFE);
        let _ = tokio::time::timeout(Duration::from_secs(60), enough).await;
        while work.started() < plan.workload.messages {
            let known = work.started();
            sleep(Duration::from_secs(2)).await;
            if work.started() == known {
                break;
            }
        }
    }
    vec![Expectation {
        what: format!("sends to {group} are acknowledged again"),
        within: plan.check.sends_within,
        healed_us,
        happened_us,
    }]
}

/// Stops the producers and waits until every send has an outcome, and every delayed message was due.
pub(super) async fn fall_silent(work: &Workload) {
    work.stop_sending();
    while !work.is_quiet() {
        sleep(LOOK_INTERVAL).await;
    }
    if work.plan.delay_level > 0 {
        sleep(work.plan.delay() + DELIVERY).await;
    }
}

/// Waits until the replicas of the group are equal.
pub(super) async fn replicas_meet(
    cluster: &Cluster,
    plan: &Plan,
    group: &str,
    healed_us: u64,
) -> Vec<Expectation> {
    let Some(within) = plan.check.replicas_equal_within else { return Vec::new() };
    let trace = cluster.trace();
    // Sends went on after the heal: the deadline counts from the silence, or the heal if later.
    let silent_us = trace.now_us();
    let deadline_us = silent_us.max(healed_us) + within.0 * 1_000;
    let mut happened_us = None;
    while trace.now_us() <= deadline_us {
        if are_replicas_equal(cluster, group) {
            happened_us = Some(trace.now_us());
            break;
        }
        sleep(LOOK_INTERVAL).await;
    }
    vec![Expectation {
        what: format!("the replicas of {group} are equal and dispatched"),
        within: Some(within),
        healed_us: silent_us.max(healed_us),
        happened_us,
    }]
}

/// Whether every running slave of a group holds exactly its master's log, and every running broker
/// of the group has dispatched all of its own.
pub(super) fn are_replicas_equal(cluster: &Cluster, group: &str) -> bool {
    let Some(master) = cluster.master_of(group) else { return false };
    let view = cluster.ledger().view(master.name());
    let walk = view.walk();
    let running = |broker: &&BrokerProcess| broker.handle().is_running();
    master.handle().is_running()
        && view.queued_records(&walk.gaps) == walk.records.len()
        && cluster
            .slaves_of(group)
            .filter(running)
            .all(|slave| is_equal_copy(&view, &walk, &cluster.ledger().view(slave.name())))
}

/// Whether `copy` ends where the log of `view` ends, has the same bytes, and is dispatched.
fn is_equal_copy(view: &LogView, walk: &LogWalk, copy: &LogView) -> bool {
    let Some(min) = copy.min() else { return walk.records.is_empty() };
    let is_common = |found: &&FoundRecord| found.indexed.unit.phy_offset >= min;
    let common = walk.records.iter().filter(is_common).count();
    // Where the copy begins earlier, its own records count.
    let records = if min < walk.min { copy.walk().records.len() } else { common };
    // Behind the last record there may be the blank of a full file.
    (copy.ends_at(walk.end) || copy.walk().end == walk.end)
        && view.same_sound_bytes(copy, walk.min.max(min)..walk.end)
        && copy.queued_records(&walk.gaps) == records
}

/// Waits until the existing group was given what the master holds, then lets the fresh group read.
pub(super) async fn read_back(
    cluster: &Cluster,
    work: &Arc<Workload>,
    group: &str,
) -> Result<ReadBack, String> {
    let reader = cluster.add_client("reader", |context| async move {
        context.shutdown.cancelled().await;
    });
    reader.start();
    let stored = match cluster.master_of(group) {
        Some(master) => stored_places(cluster.ledger(), master.name(), &work.plan.topic),
        None => BTreeMap::new(),
    };
    let began = Instant::now();
    loop {
        let limit = match is_given(work, group, &stored) {
            Given::All => break,
            Given::AllOwed => REBALANCE_LIMIT,
            Given::Some => DRAIN_LIMIT,
        };
        if began.elapsed() >= limit {
            break;
        }
        sleep(DRAIN_INTERVAL).await;
    }
    sleep(COMMIT_INTERVAL).await;
    read_once(&*reader, work).await
}

async fn read_once(
    reader: &dyn crate::run::stage::Process,
    work: &Arc<Workload>,
) -> Result<ReadBack, String> {
    let (work, name) = (Arc::clone(work), Arc::clone(reader.name()));
    let reading = reader.run(move |env| read_back::run(env, name, work)).await;
    reading.map_err(|_| "the reader's process ended".to_owned())?
}

/// How much of what is stored a group was given.
enum Given {
    /// All of it.
    All,
    /// All but what lies where it had been before.
    AllOwed,
    /// Something is missing.
    Some,
}

/// How much of what is stored the existing group was given.
fn is_given(work: &Workload, group: &str, stored: &BTreeMap<(u32, u64), u32>) -> Given {
    let history = work.history();
    let given: BTreeSet<u32> = history.deliveries.iter().filter_map(|d| d.number).collect();
    let mut beyond: BTreeMap<u32, u64> = BTreeMap::new();
    for delivery in history.deliveries.iter().filter(|delivery| *delivery.group == *group) {
        let place = (delivery.queue_id, delivery.queue_offset);
        if stored.get(&place) != delivery.number.as_ref() {
            let highest = beyond.entry(delivery.queue_id).or_default();
            *highest = (*highest).max(delivery.queue_offset);
        }
    }
    let is_passed = |(queue_id, queue_offset): &(u32, u64)| {
        beyond.get(queue_id).is_some_and(|beyond| queue_offset <= beyond)
    };
    let mut missing = stored.iter().filter(|(_, number)| !given.contains(number)).peekable();
    if missing.peek().is_none() {
        return Given::All;
    }
    if missing.all(|(place, _)| is_passed(place)) { Given::AllOwed } else { Given::Some }
}

/// Numbers of the workload's messages that a broker's disk holds, by queue and queue offset.
fn stored_places(ledger: &Ledger, broker: &str, topic: &str) -> BTreeMap<(u32, u64), u32> {
    let walk = ledger.view(broker).walk();
    let of_topic = walk.records.iter().filter(|record| &*record.indexed.topic == topic);
    let place = |record: &FoundRecord| (record.indexed.queue_id, record.indexed.queue_offset);
    of_topic.filter_map(|record| Some((place(record), record.number?))).collect()
}

/// Numbers of the workload's messages that a broker's disk holds.
pub(super) fn stored_numbers(ledger: &Ledger, broker: &str, topic: &str) -> BTreeSet<u32> {
    stored_places(ledger, broker, topic).into_values().collect()
}

/// Compares the copies of every group with each other and each with a rebuild.
pub(super) fn compare_disks(cluster: &Cluster, plan: &Plan, group: &str) -> Vec<Violation> {
    let running = cluster.brokers().values().filter(|broker| broker.handle().is_running());
    let copies: BTreeMap<&str, Copied> = running
        .map(|broker| {
            let view = cluster.ledger().view(broker.name());
            (broker.name(), Copied { walk: view.walk(), view })
        })
        .collect();
    let mut violations = Vec::new();
    for (name, copy) in &copies {
        let records: Vec<_> = copy.walk.records.iter().map(|r| r.indexed.clone()).collect();
        let gaps = &copy.walk.gaps;
        violations.extend(check_queues(name, &records, gaps, &copy.view.queues()));
    }
    // Where a slave may refuse to follow (a blank master), nothing is promised of the copies.
    if plan.check.replicas_equal_within.is_none() {
        return violations;
    }
    let Some(master) = cluster.master_of(group) else { return violations };
    let Some(original) = copies.get(master.name()) else { return violations };
    for slave in cluster.slaves_of(group) {
        if let Some(copy) = copies.get(slave.name()) {
            let expired_to = cluster.ledger().expired_to(slave.name());
            violations.extend(compare_logs(
                master.name(),
                original,
                slave.name(),
                copy,
                expired_to,
            ));
        }
    }
    violations
}

/// A broker's log on its disk.
struct Copied {
    view: LogView,
    walk: LogWalk,
}

/// A slave whose old files have expired begins where it may.
fn compare_logs(
    master: &str,
    one: &Copied,
    slave: &str,
    other: &Copied,
    expired_to: u64,
) -> Option<Violation> {
    let damaged = one.view.damaged_either(&other.view);
    let read_one = |range| one.view.read_without(&damaged, range);
    let read_other = |range| other.view.read_without(&damaged, range);
    let copy = |name, walk: &LogWalk| (name, walk.min, walk.end);
    let (name, min, max) = copy(master, &one.walk);
    let min = min.max(other.walk.min.min(expired_to));
    let one = LogCopy { name, min, max, read: &read_one };
    let (name, min, max) = copy(slave, &other.walk);
    let other = LogCopy { name, min, max, read: &read_other };
    check_logs(&one, &other, true)
}
