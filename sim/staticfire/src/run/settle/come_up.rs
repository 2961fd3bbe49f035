//! The first act: topics, consumer groups and a past are made, and the groups replicate.

use std::time::Duration;

use mq_client::{ClientConfig, ClientInstance, Producer, ProducerConfig};
use mq_env::Env;
use mq_protocol::body::subscription_group::SubscriptionGroupConfig;
use mq_protocol::codes::RequestCode;
use mq_protocol::fastjson::to_bytes;
use mq_protocol::message::Message;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use tokio::time::sleep;

use super::{LOOK_INTERVAL, are_replicas_equal};
use crate::run::Clients;
use crate::run::cluster::Cluster;
use crate::run::cluster::operator::{create_topic, insist};
use crate::run::error::StandError;
use crate::run::traffic::FRESH_GROUP;

/// Time for a slave to copy topics and groups: it asks every ten seconds.
const METADATA_SYNC: Duration = Duration::from_secs(15);

/// Who leads is looked at every second for a preferred one that has caught up.
const LEADER_SETTLES: Duration = Duration::from_secs(5);

/// What the groups' past consists of.
const HISTORY_TOPIC: &str = "History";
const HISTORY_MESSAGES: u32 = 24;

/// Queues of a topic that a broker makes for a send (`defaultTopicQueueNums` of a producer).
const DEFAULT_TOPIC_QUEUE_NUMS: u32 = 4;

/// What an operator makes on one master.
struct Order {
    address: String,
    /// Topics with their queues.
    topics: Vec<(String, u32)>,
    consumer_groups: Vec<String>,
}

/// Starts the operator and the consumers, and waits until the groups replicate.
///
/// # Errors
/// What did not come up, in one sentence.
pub(in crate::run) async fn come_up(
    cluster: &Cluster,
    clients: &Clients,
    groups: &[String],
) -> Result<(), StandError> {
    leaders_settle(cluster, groups).await?;
    let orders: Vec<Order> = groups.iter().filter_map(|it| order(cluster, clients, it)).collect();
    let operator = cluster.add_client("operator", |context| async move {
        context.shutdown.cancelled().await;
    });
    operator.start();
    let namesrv_addrs = clients.traffic.namesrv_addrs.clone();
    let created = operator.run(move |env| async move {
        carry_out_all(&env, &orders).await?;
        write_history(env, namesrv_addrs).await
    });
    created.await.map_err(|_| StandError::ProcessGone("operator"))??;
    clients.works.iter().for_each(|work| cluster.start_consumers(work));
    sleep(METADATA_SYNC).await;
    for _ in 0..600 {
        if groups.iter().all(|group| are_replicas_equal(cluster, group)) {
            return Ok(());
        }
        sleep(LOOK_INTERVAL).await;
    }
    let late = groups.iter().find(|group| !are_replicas_equal(cluster, group));
    Err(StandError::NotReplicated(late.cloned().unwrap_or_default()))
}

/// Waits until every DLedger group has a leader that has led for a while: a preferred one takes over first.
async fn leaders_settle(cluster: &Cluster, groups: &[String]) -> Result<(), StandError> {
    let settled = |group: &&String| {
        let since_us = cluster.leads_now(group).map(|(_, since_us)| since_us);
        let settle_us = LEADER_SETTLES.as_micros() as u64;
        since_us.is_some_and(|since_us| cluster.trace().now_us() >= since_us + settle_us)
    };
    for group in groups.iter().filter(|group| cluster.is_dledger(group)) {
        let mut looks = 0;
        while !settled(&group) {
            if looks == 600 {
                return Err(StandError::NoLeader(group.clone()));
            }
            looks += 1;
            sleep(LOOK_INTERVAL).await;
        }
    }
    Ok(())
}

/// Makes topics and consumer groups anew on the masters of `groups`, which lost all of theirs with their
/// disks, as an operator does.
///
/// # Errors
/// What could not be made.
pub(in crate::run) async fn make_anew(
    cluster: &Cluster,
    clients: &Clients,
    groups: &[String],
) -> Result<(), StandError> {
    let mut orders: Vec<Order> =
        groups.iter().filter_map(|it| order(cluster, clients, it)).collect();
    // Brokers may have made a topic meanwhile, for a send; whoever takes queues away hides what is in them.
    for (_, queues) in orders.iter_mut().flat_map(|order| &mut order.topics) {
        *queues = (*queues).max(DEFAULT_TOPIC_QUEUE_NUMS);
    }
    if orders.is_empty() {
        return Ok(());
    }
    let operator = cluster.node("operator");
    let made = operator.run(move |env| async move { carry_out_all(&env, &orders).await });
    made.await.map_err(|_| StandError::ProcessGone("operator"))?
}

async fn carry_out_all(env: &Env, orders: &[Order]) -> Result<(), StandError> {
    let remoting = RemotingClientConfig::default();
    let client = RemotingClient::new(env.clone(), remoting, ProcessorTable::default());
    for order in orders {
        carry_out(&client, order).await?;
    }
    client.shutdown().await;
    Ok(())
}

/// What is to be made on the master of a group.
fn order(cluster: &Cluster, clients: &Clients, group: &str) -> Option<Order> {
    let works: Vec<_> = clients.works.iter().filter(|work| work.uses(group)).collect();
    let topics = works.iter().filter_map(|work| {
        let topic = &work.plan.topic;
        Some((topic.clone(), cluster.queues_of(topic)?))
    });
    let history = (HISTORY_TOPIC.to_owned(), 1);
    let consumer_groups = works.iter().flat_map(|work| work.plan.all_consumer_groups());
    let consumer_groups = consumer_groups.map(|it| it.name).chain([FRESH_GROUP.to_owned()]);
    Some(Order {
        address: cluster.master_of(group)?.address(),
        topics: topics.chain([history]).collect(),
        consumer_groups: consumer_groups.collect(),
    })
}

async fn carry_out(client: &RemotingClient, order: &Order) -> Result<(), StandError> {
    let Order { address, topics, consumer_groups } = order;
    for (topic, queues) in topics {
        create_topic(client, address, topic, *queues).await?;
    }
    for group in consumer_groups {
        create_group(client, address, group).await?;
    }
    Ok(())
}

/// Gives every group a past: a log that begins with the story's first message could lose even what
/// master and slave have in common, which no real cluster does.
async fn write_history(env: Env, namesrv_addrs: Vec<String>) -> Result<(), StandError> {
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
        let sent = producer.send(message).await;
        sent.map_err(|error| StandError::History(error.to_string()))?;
    }
    client.shutdown().await;
    Ok(())
}

/// Creates a consumer group as an operator does: not every broker lets groups create themselves.
async fn create_group(
    client: &RemotingClient,
    address: &str,
    group: &str,
) -> Result<(), StandError> {
    let body = to_bytes(&SubscriptionGroupConfig::new(group));
    let code = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
    let request = || RemotingCommand::request(code, &()).with_body(body.clone());
    insist(client, address, &format!("group {group}"), request).await
}
