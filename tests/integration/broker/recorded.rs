//! What RocketMQ 4.9.7 answered to requests made by hand, and what we answer to the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use mq_protocol::body::heartbeat::{HeartbeatData, ProducerData};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::message::Properties;
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessResult, ProcessorTable, RequestProcessor};
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, heartbeat, new_client, pull_header, seconds};
use crate::vectors::fixture::{Row, rows};

/// Requests of which the answer comes with later parts of the broker.
const NOT_SERVED_YET: [i32; 2] =
    [RequestCode::END_TRANSACTION, RequestCode::DELETE_TOPIC_IN_BROKER];

/// Requests and responses of one scenario's connections to brokers, in order.
pub(super) fn exchanges(scenario: &str) -> Vec<(Row, RemotingCommand)> {
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

#[test]
fn requests_made_by_hand() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.enable_property_filter = true).await;
        cluster.create_topic(&broker, "WireErr").await;
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
        cluster.create_topic(&broker, "WireErr").await;
        // The queue of the last one is drawn.
        compare(&cluster, &broker, "errors-producer", &[14]).await;
    });
}

#[test]
fn requests_to_a_slave() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        cluster.create_topic(&master, "WireTopic").await;
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
        cluster.create_topic(&broker, "SqlTopic").await;
        compare(&cluster, &broker, "java-push-sql92", &[]).await;
    });
}

/// A client that confirms what it is asked, and keeps it.
#[derive(Default)]
struct Confirming {
    asked: Mutex<Vec<RemotingCommand>>,
}

impl RequestProcessor for Confirming {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        self.asked.lock().unwrap().push(request);
        Ok(RemotingCommand::response(ResponseCode::SUCCESS, None).into())
    }
}

/// What of a pushed reply does not depend on addresses and time, its properties in order.
fn pushed_essence(request: &RemotingCommand) -> String {
    let fields = request.ext_fields.iter().map(|(key, value)| match key {
        "bornHost" | "storeHost" | "storeTimestamp" => key.to_owned(),
        "properties" => {
            let properties = Properties::parse(value);
            let properties: BTreeMap<_, _> = properties.iter().collect();
            let timed = properties.keys().map(|name| match *name {
                "PUSH_REPLY_TIME" => (*name).to_owned(),
                name => format!("{name}:{}", properties[name]),
            });
            timed.collect::<Vec<_>>().join(" ")
        }
        _ => format!("{key}={value}"),
    });
    let fields: BTreeSet<_> = fields.collect();
    format!("{} {:?} {fields:?} {:?}", request.code, request.remark, request.body)
}

#[test]
fn replies_of_java_clients() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        let requester = Arc::new(Confirming::default());
        let table = ProcessorTable::default().register_default(requester.clone());
        let client = new_client(&world, "requester", table);
        let data = HeartbeatData {
            client_id: "127.0.0.1@inst-PG_request".to_owned(),
            producer_data_set: vec![ProducerData { group_name: "PG_request".to_owned() }],
            consumer_data_set: Vec::new(),
        };
        heartbeat(&client, &broker, &data).await;
        let replies = exchanges("java-request-reply").into_iter();
        let replies = replies.filter(|(row, _)| row.code == RequestCode::SEND_REPLY_MESSAGE_V2);
        let mut compared = 0;
        for (row, recorded) in replies {
            let answer = cluster.ask(&broker.addr, row.command()).await;
            assert_eq!(essence(&answer), essence(&recorded), "{}", row.label());
            compared += 1;
        }
        assert_eq!(compared, 6);
        let pushed: Vec<_> = requester.asked.lock().unwrap().iter().map(pushed_essence).collect();
        let is_push = |row: &Row| row.code == RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT;
        let recorded = rows().into_iter().filter(|row| is_push(row) && !row.is_response());
        let recorded: Vec<_> = recorded.map(|row| pushed_essence(&row.command())).collect();
        assert_eq!((&pushed, pushed.len()), (&recorded, 3));

        let pull = pull_header("reader", "DefaultCluster_REPLY_TOPIC", 0);
        let stored = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &pull).await;
        let stored = decode_messages(&stored.body);
        // 4.9 stores the properties as they came, and so many bytes of them.
        let sizes: Vec<_> = stored.iter().map(|message| message.store_size).collect();
        assert_eq!(sizes, [186, 186, 186, 289, 290, 290]);
    });
}
