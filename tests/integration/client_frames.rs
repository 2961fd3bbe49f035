//! What our clients send, and what Java's sent for the same: field by field, the bodies byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    ClientConfig, ClientInstance, LitePullConsumer, LitePullConsumerConfig, Producer,
    ProducerConfig, SessionCredentials,
};
use mq_protocol::acl::{ACCESS_KEY, SIGNATURE, signature};
use mq_protocol::body::topic_route::{BrokerData, QueueData, TopicRouteData};
use mq_protocol::codes::RequestCode;
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::offset::QueryConsumerOffsetResponseHeader;
use mq_protocol::header::send_message::{SendMessageRequestHeader, SendMessageResponseHeader};
use mq_protocol::message::{Message, MessageQueue, Properties};
use mq_protocol::message_codec::decode_batch;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessOutcome, ProcessResult, ProcessorTable, RemotingServer, RemotingServerConfig,
    RequestProcessor,
};
use staticfire_world::world::{MachineConfig, ProcessContext, World, WorldHandle};

use crate::vectors::fixture::{Row, rows};

const PORT: u16 = 9876;

/// A name server and a broker in one, which keeps what it is asked.
#[derive(Default)]
struct Peer {
    asked: Mutex<Vec<RemotingCommand>>,
}

struct Answering {
    peer: Arc<Peer>,
    addr: SocketAddr,
}

impl RequestProcessor for Answering {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let code = request.code;
        self.peer.asked.lock().unwrap().push(request);
        let response = match code {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => {
                RemotingCommand::success(&()).with_body(to_bytes(&self.route()))
            }
            RequestCode::PULL_MESSAGE => return Ok(ProcessOutcome::Silent),
            RequestCode::QUERY_CONSUMER_OFFSET => {
                RemotingCommand::success(&QueryConsumerOffsetResponseHeader { offset: 0 })
            }
            code if is_send(code) => {
                RemotingCommand::success(&SendMessageResponseHeader::default())
            }
            _ => RemotingCommand::success(&()),
        };
        Ok(response.into())
    }
}

impl Answering {
    fn route(&self) -> TopicRouteData {
        TopicRouteData {
            broker_datas: vec![BrokerData {
                broker_addrs: BTreeMap::from([(0, self.addr.to_string())]),
                broker_name: "broker-a".to_owned(),
                cluster: "DefaultCluster".to_owned(),
            }],
            queue_datas: vec![QueueData {
                broker_name: "broker-a".to_owned(),
                perm: 6,
                read_queue_nums: 4,
                topic_sys_flag: 0,
                write_queue_nums: 4,
            }],
            ..TopicRouteData::default()
        }
    }
}

fn is_send(code: i32) -> bool {
    matches!(
        code,
        RequestCode::SEND_MESSAGE_V2
            | RequestCode::SEND_BATCH_MESSAGE
            | RequestCode::SEND_REPLY_MESSAGE_V2
    )
}

/// A peer, and a client whose settings `edit` changes.
fn start(world: &WorldHandle, edit: impl FnOnce(&mut ClientConfig)) -> (Arc<Peer>, ClientInstance) {
    let machine = world.add_machine("peer", MachineConfig::default());
    let peer = Arc::<Peer>::default();
    let addr = SocketAddr::new(machine.ip(), PORT);
    let answering = Arc::new(Answering { peer: Arc::clone(&peer), addr });
    let process = machine.add_process("peer", move |context: ProcessContext| {
        let table = ProcessorTable::default().register_default(answering.clone());
        async move {
            let endpoints = vec![(addr, Arc::new(table))];
            let config = RemotingServerConfig::default();
            let server = RemotingServer::start(context.env, config, endpoints, None).await.unwrap();
            context.shutdown.cancelled().await;
            server.shutdown().await;
        }
    });
    process.start();
    let machine = world.add_machine("client", MachineConfig::default());
    let process = machine.add_process("client", |context: ProcessContext| async move {
        context.shutdown.cancelled().await;
    });
    process.start();
    let mut config = ClientConfig {
        namesrv_addrs: vec![addr.to_string()],
        instance_name: "lite2".to_owned(),
        ..ClientConfig::default()
    };
    edit(&mut config);
    (peer, ClientInstance::start(process.env().unwrap(), config))
}

/// A request without what says who sent it and in which turn, and without the fields of `leave_out`.
fn essence(request: &RemotingCommand, leave_out: &[&str]) -> String {
    let fields = request.ext_fields.iter().filter(|(name, _)| !leave_out.contains(name));
    let fields: BTreeSet<_> = fields.collect();
    format!("{} {} {fields:?} {:?}", request.code, request.is_oneway(), request.body)
}

fn java_requests(scenario: &str, is_wanted: impl Fn(i32) -> bool) -> Vec<RemotingCommand> {
    let rows = rows().into_iter();
    let wanted = |row: &Row| row.scenario == scenario && !row.is_response() && is_wanted(row.code);
    rows.filter(wanted).map(|row| row.command()).collect()
}

/// Sends what Java sent.
async fn send_again(client: &ClientInstance, java: &RemotingCommand) {
    let header: SendMessageRequestHeader = java.header().unwrap();
    let producer = Producer::new(client, ProducerConfig::new(header.producer_group.clone()));
    let queue = MessageQueue {
        topic: header.topic.clone(),
        broker_name: "broker-a".to_owned(),
        queue_id: header.queue_id,
    };
    let message = |flag, properties: &str, body: Vec<u8>| Message {
        topic: header.topic.clone(),
        flag,
        properties: Properties::parse(properties),
        body: body.into(),
    };
    if java.code == RequestCode::SEND_BATCH_MESSAGE {
        let entries = decode_batch(&java.body).unwrap().into_iter();
        let messages = entries.map(|it| message(it.flag, it.properties, it.body.to_vec()));
        producer.send_batch_to(messages.collect(), &queue).await.unwrap();
        return;
    }
    let properties = header.properties.as_deref().unwrap_or_default();
    let message = message(header.flag, properties, java.body.to_vec());
    if java.is_oneway() {
        producer.send_oneway(message).await.unwrap();
    } else {
        producer.send_to(message, &queue).await.unwrap();
    }
}

#[test]
fn sends_of_java_producers() {
    World::test(1, async |world| {
        let credentials = SessionCredentials {
            access_key: "RocketMQ".to_owned(),
            secret_key: "12345678".to_owned(),
            security_token: None,
        };
        let (peer, client) = start(&world, |config| config.session_credentials = Some(credentials));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut compared = BTreeMap::<i32, usize>::new();
        for scenario in ["java-producer", "java-request-reply", "java-transaction", "java-acl"] {
            for java in java_requests(scenario, is_send) {
                send_again(&client, &java).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                let asked = std::mem::take(&mut *peer.asked.lock().unwrap());
                let ours = asked.into_iter().find(|request| is_send(request.code)).unwrap();
                let signed = signature(&ours.ext_fields, &ours.body, "12345678");
                assert_eq!(ours.ext_fields.get(SIGNATURE), Some(&*signed));
                // When it was made is signed. The queue of a one-way send is the next in turn.
                let mut leave_out = vec!["g", SIGNATURE];
                if java.is_oneway() {
                    leave_out.push("e");
                }
                if scenario != "java-acl" {
                    leave_out.push(ACCESS_KEY);
                }
                assert_eq!(essence(&ours, &leave_out), essence(&java, &leave_out), "{scenario}");
                *compared.entry(java.code).or_default() += 1;
            }
        }
        assert_eq!(compared, BTreeMap::from([(310, 44), (320, 4), (325, 6)]));
    });
}

#[test]
fn requests_of_a_java_lite_pull_consumer() {
    World::test(2, async |world| {
        let (peer, client) = start(&world, |config| config.enable_stream_request_type = true);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let config = LitePullConsumerConfig::new("CG_lite_as");
        let consumer = LitePullConsumer::new(&client, config);
        let queues = consumer.fetch_message_queues("WireTopic").await.unwrap();
        consumer.assign(&queues).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = std::mem::take(&mut *peer.asked.lock().unwrap());
        let ours = |code| {
            let requests = asked.iter().filter(move |request| request.code == code);
            requests.map(|request| essence(request, &[])).collect::<BTreeSet<_>>()
        };
        let pulls = java_requests("java-litepull", |code| code == RequestCode::PULL_MESSAGE);
        let of_group = pulls.iter().filter(|it| {
            let field = |name| it.ext_fields.get(name);
            field("consumerGroup") == Some("CG_lite_as") && field("queueOffset") == Some("0")
        });
        let pulls: BTreeSet<_> = of_group.map(|it| essence(it, &[])).collect();
        assert_eq!((ours(RequestCode::PULL_MESSAGE), pulls.len()), (pulls, 4));

        let beats = java_requests("java-litepull", |code| code == RequestCode::HEART_BEAT);
        let assigned = essence(beats.last().unwrap(), &[]);
        let assigned = assigned.replace("127.0.0.1@lite2@STREAM", client.client_id());
        assert!(ours(RequestCode::HEART_BEAT).contains(&assigned), "{assigned}");
    });
}
