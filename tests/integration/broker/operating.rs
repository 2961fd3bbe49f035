//! Operators and consumers: resets, offsets and states of clients, a message consumed out of turn.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{ClientConfig, ClientInstance, ConsumeResult, PushConsumer, PushConsumerConfig};
use mq_protocol::body::heartbeat::{ConsumerData, HeartbeatData};
use mq_protocol::body::offset_table::{
    GetConsumerStatusBody, ResetOffsetBody, ResetOffsetBodyForC,
};
use mq_protocol::body::running_info::{
    CmResult, ConsumeMessageDirectlyResult, ConsumerRunningInfo,
};
use mq_protocol::codes::{LanguageCode, RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::client::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader, ResetOffsetRequestHeader,
};
use mq_protocol::header::offset::UpdateConsumerOffsetRequestHeader;
use mq_protocol::header::send_message::SendMessageResponseHeader;
use mq_protocol::message::MessageExt;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessOutcome, ProcessResult, ProcessorTable, RemotingClient, RequestProcessor,
};
use staticfire_world::trace::TraceEvent;
use staticfire_world::world::{MachineConfig, ProcessContext, ProcessHandle, World};
use tokio::time::Instant;

use super::cluster::{
    Broker, Cluster, NAMESRV, heartbeat, new_client, seconds, send_header, send_request,
    subscription,
};
use super::offsets::query;

/// What a member of group G was asked; it answers nothing but where it is.
#[derive(Default)]
struct Asked(Mutex<Vec<RemotingCommand>>);

impl RequestProcessor for Asked {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let code = request.code;
        self.0.lock().unwrap().push(request);
        if code != RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT {
            return Ok(ProcessOutcome::Silent);
        }
        let queue = mq_protocol::message::MessageQueue {
            topic: "T".to_owned(),
            broker_name: "a".to_owned(),
            queue_id: 2,
        };
        let body = GetConsumerStatusBody {
            message_queue_table: [(queue, 7)].into_iter().collect(),
            ..GetConsumerStatusBody::default()
        };
        Ok(RemotingCommand::success(&()).with_body(to_bytes(&body)).into())
    }
}

/// A member of group G, known to the broker.
async fn member(cluster: &Cluster, broker: &Broker, id: &str) -> (RemotingClient, Arc<Asked>) {
    let asked = Arc::<Asked>::default();
    let table = ProcessorTable::default().register_default(asked.clone());
    let client = new_client(&cluster.world, id, table);
    let consumer = ConsumerData {
        group_name: "G".to_owned(),
        subscription_data_set: vec![subscription("T", "*", 5)],
        ..ConsumerData::default()
    };
    let data = HeartbeatData {
        client_id: id.to_owned(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    assert_eq!(heartbeat(&client, broker, &data).await.code, ResponseCode::SUCCESS);
    (client, asked)
}

impl Asked {
    /// The requests of a code.
    fn of(&self, code: i32) -> Vec<RemotingCommand> {
        let asked = self.0.lock().unwrap();
        asked.iter().filter(|request| request.code == code).cloned().collect()
    }
}

fn reset(timestamp: i64, is_force: bool) -> RemotingCommand {
    let header = ResetOffsetRequestHeader {
        topic: "T".to_owned(),
        group: "G".to_owned(),
        timestamp,
        is_force,
    };
    RemotingCommand::request(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &header)
}

/// Commits an offset of group G in T.
async fn commit(cluster: &Cluster, broker: &Broker, queue_id: i32, commit_offset: i64) {
    let header = UpdateConsumerOffsetRequestHeader {
        consumer_group: "G".to_owned(),
        topic: "T".to_owned(),
        queue_id,
        commit_offset,
    };
    let code = RequestCode::UPDATE_CONSUMER_OFFSET;
    assert_eq!(cluster.call(&broker.addr, code, &header).await.code, ResponseCode::SUCCESS);
}

/// The offsets of a reset by queue id.
fn offsets(reply: &RemotingCommand) -> Vec<(i32, i64)> {
    assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
    let body: ResetOffsetBody = from_slice(&reply.body).unwrap();
    let table = body.offset_table.iter();
    table.map(|(queue, offset)| (queue.queue_id, *offset)).collect()
}

#[test]
fn the_members_of_a_group_are_told_where_to_go_on() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        for _ in 0..3 {
            cluster.send(&broker.addr, "T", "before").await;
        }
        seconds(150).await;
        // 4.9 goes to the message whose store time is the nearest.
        let between_ms = broker.process.env().unwrap().clock.now_millis() as i64;
        seconds(50).await;
        for _ in 0..2 {
            cluster.send(&broker.addr, "T", "after").await;
        }
        let ask = async |request| cluster.ask(&broker.addr, request).await;
        let reply = ask(reset(0, true)).await;
        assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
        assert_eq!(reply.remark.as_deref(), Some("THe consumer group <G> not exist"));

        let (_one, first) = member(&cluster, &broker, "c1").await;
        for (queue_id, offset) in [(0, 4), (1, 0), (2, 0), (3, 0)] {
            commit(&cluster, &broker, queue_id, offset).await;
        }
        let (_two, second) = member(&cluster, &broker, "c2").await;
        let rest = [(1, 0), (2, 0), (3, 0)];
        let with_first = |offset| [vec![(0, offset)], rest.to_vec()].concat();
        assert_eq!(offsets(&ask(reset(0, true)).await), with_first(0));
        assert_eq!(offsets(&ask(reset(between_ms, false)).await), with_first(3));
        assert_eq!(offsets(&ask(reset(-1, true)).await), with_first(5));
        assert_eq!(offsets(&ask(reset(-1, false)).await), with_first(4), "only back");
        let cpp = RemotingCommand { language: LanguageCode::Cpp, ..reset(0, true) };
        assert_eq!(offsets(&ask(cpp).await), with_first(0));
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(4), "nothing changes here");

        seconds(1).await;
        for asked in [first, second] {
            let told = asked.of(RequestCode::RESET_CONSUMER_CLIENT_OFFSET);
            assert_eq!(told.len(), 5);
            assert!(told.iter().all(RemotingCommand::is_oneway));
            let header: ResetOffsetRequestHeader = told[0].header().unwrap();
            assert_eq!((&*header.group, &*header.topic, header.is_force), ("G", "T", false));
            let body: ResetOffsetBody = from_slice(&told[1].body).unwrap();
            assert_eq!(body.offset_table.values().copied().collect::<Vec<_>>(), [3, 0, 0, 0]);
            let body: ResetOffsetBodyForC = from_slice(&told[4].body).unwrap();
            assert_eq!((body.offset_table.len(), &*body.offset_table[0].topic), (4, "T"));
        }
    });
}

#[test]
fn who_is_not_there_is_not_asked() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let ask = async |request| {
            let reply = cluster.ask(&broker.addr, request).await;
            (reply.code, reply.remark.unwrap_or_default())
        };
        let (code, remark) = ask(reset(0, true)).await;
        assert_eq!(code, ResponseCode::SYSTEM_ERROR);
        assert!(remark.ends_with("no topic in this broker. topic=T"), "{remark}");
        cluster.send(&broker.addr, "T", "one").await;
        let (gone, asked) = member(&cluster, &broker, "c1").await;
        for queue_id in 0..4 {
            commit(&cluster, &broker, queue_id, 0).await;
        }
        // It never answers.
        let state = GetConsumerRunningInfoRequestHeader {
            consumer_group: "G".to_owned(),
            client_id: "c1".to_owned(),
            jstack_enable: true,
        };
        let running = || RemotingCommand::request(RequestCode::GET_CONSUMER_RUNNING_INFO, &state);
        let begin = Instant::now();
        let (code, remark) = ask(running()).await;
        assert_eq!(code, ResponseCode::CONSUME_MSG_TIMEOUT, "{remark}");
        assert!(remark.starts_with("consumer <G> <c1> Timeout: "), "{remark}");
        assert!((10_000..10_100).contains(&begin.elapsed().as_millis()));
        let passed_on = asked.of(RequestCode::GET_CONSUMER_RUNNING_INFO);
        let header: GetConsumerRunningInfoRequestHeader = passed_on[0].header().unwrap();
        assert_eq!((&*header.client_id, header.jstack_enable), ("c1", true));

        gone.close(&broker.addr);
        seconds(1).await;
        let (code, remark) = ask(reset(0, true)).await;
        assert_eq!(code, ResponseCode::CONSUMER_NOT_ONLINE);
        let offline =
            "Consumer not online, so can not reset offset, Group: G Topic: T Timestamp: 0";
        assert_eq!(remark, offline);
        let not_online =
            (ResponseCode::SYSTEM_ERROR, "The Consumer <G> <c1> not online".to_owned());
        assert_eq!(ask(running()).await, not_online);
        let (code, remark) = ask(status(None)).await;
        assert_eq!(code, ResponseCode::SYSTEM_ERROR);
        assert_eq!(remark, "No Any Consumer online in the consumer group: [G]");
    });
}

fn status(client: Option<&str>) -> RemotingCommand {
    let header = GetConsumerStatusRequestHeader {
        topic: "T".to_owned(),
        group: "G".to_owned(),
        client_addr: client.map(str::to_owned),
    };
    RemotingCommand::request(RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &header)
}

#[test]
fn members_tell_how_far_they_are() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "one").await;
        let _members =
            [member(&cluster, &broker, "c1").await, member(&cluster, &broker, "c2").await];
        let told = async |client| {
            let reply = cluster.ask(&broker.addr, status(client)).await;
            assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
            let body: GetConsumerStatusBody = from_slice(&reply.body).unwrap();
            let offsets = body.consumer_table.iter().map(|(client, table)| {
                let (queue, offset) = table.first().unwrap();
                format!("{client} {} {offset}", queue.queue_id)
            });
            offsets.collect::<Vec<_>>()
        };
        assert_eq!(told(None).await, ["c1 2 7", "c2 2 7"]);
        assert_eq!(told(Some("")).await, ["c1 2 7", "c2 2 7"]);
        assert_eq!(told(Some("c2")).await, ["c2 2 7"]);
        assert!(told(Some("c3")).await.is_empty());
    });
}

/// The bodies that a consumer was given.
type Seen = Arc<Mutex<Vec<String>>>;

/// Runs a consumer of T called `127…@k`.
fn consumer(cluster: &Cluster) -> (ProcessHandle, Seen) {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let machine = cluster.world.add_machine("consumer", MachineConfig::default());
    let process = machine.add_process("consumer", move |context: ProcessContext| {
        let sink = Arc::clone(&sink);
        async move {
            let config = ClientConfig {
                namesrv_addrs: vec![NAMESRV.to_owned()],
                instance_name: "k".to_owned(),
                ..ClientConfig::default()
            };
            let client = ClientInstance::start(context.env.clone(), config);
            let listener = Arc::new(move |messages: &[Arc<MessageExt>]| {
                let body = String::from_utf8(messages[0].message.body.to_vec()).unwrap();
                sink.lock().unwrap().push(body);
                ConsumeResult::Success.into()
            });
            let config = PushConsumerConfig::new("G", "T", "*");
            let consumer = PushConsumer::start(&client, config, listener).await.unwrap();
            context.shutdown.cancelled().await;
            consumer.shutdown().await;
            client.shutdown().await;
        }
    });
    process.start();
    (process, seen)
}

#[test]
fn a_consumer_goes_back_and_on_and_is_looked_at() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let mut sent = Vec::new();
        for body in ["0", "1", "2", "3"] {
            let reply = cluster.ask(&broker.addr, send_request(&send_header("T"), body)).await;
            sent.push(reply.header::<SendMessageResponseHeader>().unwrap().msg_id);
        }
        let (process, seen) = consumer(&cluster);
        let take = || std::mem::take(&mut *seen.lock().unwrap());
        seconds(60).await;
        assert_eq!(take(), ["0", "1", "2", "3"]);
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(4));

        // Back to the beginning.
        offsets(&cluster.ask(&broker.addr, reset(0, true)).await);
        seconds(9).await;
        assert!(take().is_empty(), "the queue rests");
        seconds(2).await;
        assert_eq!(take(), ["0", "1", "2", "3"]);
        seconds(10).await;
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(4));
        let moves = cluster.events(|event| match event {
            TraceEvent::PullOffset { topic, queue_id: 0, offset, .. } if **topic == *"T" => {
                Some(format!("reads from {offset}"))
            }
            TraceEvent::OffsetCommitted { topic, queue_id: 0, offset, .. } if **topic == *"T" => {
                Some(format!("committed {offset}"))
            }
            _ => None,
        });
        let mut moves: Vec<_> = moves;
        moves.dedup();
        let expected = [
            "reads from 0",
            "committed 4",
            "reads from 0",
            "committed 0",
            "reads from 0",
            "committed 4",
        ];
        assert_eq!(moves, expected, "the world hears that the group was moved");

        let client_id = format!("{}@k", cluster.world.machine("consumer").unwrap().ip());
        let state = GetConsumerRunningInfoRequestHeader {
            consumer_group: "G".to_owned(),
            client_id: client_id.clone(),
            jstack_enable: false,
        };
        let code = RequestCode::GET_CONSUMER_RUNNING_INFO;
        let reply = cluster.call(&broker.addr, code, &state).await;
        let info: ConsumerRunningInfo = from_slice(&reply.body).unwrap();
        let commit_offsets: Vec<_> = info.mq_table.values().map(|it| it.commit_offset).collect();
        assert_eq!((info.mq_table.len(), commit_offsets.iter().max()), (5, Some(&4)));

        let direct = ConsumeMessageDirectlyResultRequestHeader {
            consumer_group: "G".to_owned(),
            client_id: Some(client_id),
            msg_id: Some(sent[1].clone()),
            broker_name: None,
        };
        let code = RequestCode::CONSUME_MESSAGE_DIRECTLY;
        let reply = cluster.call(&broker.addr, code, &direct).await;
        assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
        let result: ConsumeMessageDirectlyResult = from_slice(&reply.body).unwrap();
        assert_eq!((result.consume_result, take()), (CmResult::CrSuccess, vec!["1".to_owned()]));
        let nowhere = ConsumeMessageDirectlyResultRequestHeader {
            msg_id: Some("7F00000100002A9F0000000000FFFFFF".to_owned()),
            ..direct
        };
        let reply = cluster.call(&broker.addr, code, &nowhere).await;
        assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
        process.stop(Duration::from_secs(10)).await;
    });
}
