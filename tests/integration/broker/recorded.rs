//! What RocketMQ 4.9.7 answered to requests made by hand, and what we answer to the same bytes.

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, seconds};
use crate::vectors::fixture::{Row, rows};

/// Requests of which the answer comes with later parts of the broker.
const NOT_SERVED_YET: [i32; 6] = [
    RequestCode::END_TRANSACTION,
    RequestCode::GET_TOPIC_STATS_INFO,
    RequestCode::GET_CONSUMER_CONNECTION_LIST,
    RequestCode::GET_PRODUCER_CONNECTION_LIST,
    RequestCode::VIEW_BROKER_STATS_DATA,
    RequestCode::DELETE_TOPIC_IN_BROKER,
];

/// Requests and responses of one scenario's connections to brokers, in order.
fn exchanges(scenario: &str) -> Vec<(Row, RemotingCommand)> {
    let rows: Vec<Row> = rows()
        .into_iter()
        .filter(|row| row.scenario == scenario && !row.conn.contains("namesrv"))
        .collect();
    let reply = |request: &Row| {
        let mut replies = rows.iter().filter(|row| row.is_response() && row.conn == request.conn);
        replies.find(|row| row.opaque == request.opaque).map(Row::command)
    };
    let replies: Vec<_> = rows.iter().map(|row| (!row.is_response()).then(|| reply(row))).collect();
    let answered = rows.into_iter().zip(replies);
    answered.filter_map(|(row, reply)| Some((row, reply??))).collect()
}

/// What of a response does not depend on places in the log or on ports.
fn essence(response: &RemotingCommand) -> String {
    let mut fields: Vec<_> = response
        .ext_fields
        .iter()
        .map(|(key, value)| match key {
            "msgId" | "version" => key.to_owned(),
            _ => format!("{key}={value}"),
        })
        .collect();
    fields.sort();
    let remark = response.remark.as_deref().unwrap_or("-");
    // Ports of clients and shares of disks.
    let cut = ["Producer: ", "consumer:[", "[CL:"].iter().find_map(|mark| remark.find(mark));
    let remark = &remark[..cut.unwrap_or(remark.len())];
    let fields = if response.ext_fields.is_present() { fields.join(" ") } else { "no".to_owned() };
    format!("{} | {remark} | {fields} | body {}", response.code, !response.body.is_empty())
}

async fn compare(cluster: &Cluster, broker: &Broker, scenario: &str, passed_over: &[i32]) {
    let mut differences = Vec::new();
    let mut compared = 0;
    for (row, recorded) in exchanges(scenario) {
        if NOT_SERVED_YET.contains(&row.code) || passed_over.contains(&row.opaque) {
            continue;
        }
        let addr = if row.conn.ends_with("fast") { &broker.fast_addr } else { &broker.addr };
        let answer = cluster.ask(addr, row.command()).await;
        compared += 1;
        let (recorded, ours) = (essence(&recorded), essence(&answer));
        if recorded != ours {
            differences.push(format!("{}\n  4.9.7 {recorded}\n  ours  {ours}", row.label()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 4, "{scenario}: {compared}");
}

async fn create_topic(cluster: &Cluster, broker: &Broker, topic: &str) {
    let header = CreateTopicRequestHeader {
        topic: topic.to_owned(),
        default_topic: "TBW102".to_owned(),
        read_queue_nums: 4,
        write_queue_nums: 4,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".to_owned(),
        ..CreateTopicRequestHeader::default()
    };
    let code = RequestCode::UPDATE_AND_CREATE_TOPIC;
    assert_eq!(cluster.call(&broker.addr, code, &header).await.code, ResponseCode::SUCCESS);
}

#[test]
fn requests_made_by_hand() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.enable_property_filter = true).await;
        create_topic(&cluster, &broker, "WireErr").await;
        // Java shows its exceptions for a missing and a malformed field (9, 10) and for an SQL92 expression
        // (41), and takes one that does not compile for one that wants everything (15).
        compare(&cluster, &broker, "errors-raw", &[9, 10, 15, 41]).await;
    });
}

#[test]
fn sends_that_are_refused() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        create_topic(&cluster, &broker, "WireErr").await;
        // The queue of the last one is drawn.
        compare(&cluster, &broker, "errors-producer", &[14]).await;
    });
}

#[test]
fn requests_to_a_slave() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        create_topic(&cluster, &master, "WireTopic").await;
        for _ in 0..272 {
            cluster.send(&master.addr, "WireTopic", "body").await;
        }
        let slave = cluster.slave().await;
        seconds(15).await;
        compare(&cluster, &slave, "slave-requests", &[]).await;
    });
}

/// What a Java consumer with an SQL92 subscription asked, and its producer before.
#[test]
fn a_java_consumer_that_filters_by_properties() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.enable_property_filter = true).await;
        create_topic(&cluster, &broker, "SqlTopic").await;
        compare(&cluster, &broker, "java-push-sql92", &[]).await;
    });
}
