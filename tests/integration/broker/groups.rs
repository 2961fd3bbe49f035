//! Clients: heartbeats, who is told of whom, and who is forgotten.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_protocol::body::heartbeat::{
    ConsumerData, GetConsumerListByGroupResponseBody, HeartbeatData, ProducerData,
};
use mq_protocol::body::lock::{LockBatchRequestBody, LockBatchResponseBody};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::client::{ConsumerGroupRequestHeader, UnregisterClientRequestHeader};
use mq_protocol::header::offset::UpdateConsumerOffsetRequestHeader;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::message::MessageQueue;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use mq_remoting::{
    Channel, ProcessOutcome, ProcessResult, ProcessorTable, RemotingClient, RequestProcessor,
};
use staticfire_world::world::{World, WorldHandle};

use super::cluster::{Broker, Cluster, heartbeat, new_client, pull_header, seconds, subscription};
use super::offsets::query;

/// A consumer, and how often it was told that its group changed.
struct Member {
    client: RemotingClient,
    client_id: &'static str,
    told: Arc<Mutex<u32>>,
}

struct Told(Arc<Mutex<u32>>);

impl RequestProcessor for Told {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        assert_eq!(request.code, RequestCode::NOTIFY_CONSUMER_IDS_CHANGED);
        assert!(request.is_oneway());
        let header: ConsumerGroupRequestHeader = request.header()?;
        assert_eq!(header.consumer_group, "G");
        *self.0.lock().unwrap() += 1;
        Ok(ProcessOutcome::Silent)
    }
}

impl Member {
    fn new(world: &WorldHandle, client_id: &'static str) -> Self {
        let told = Arc::default();
        let table = ProcessorTable::default().register_default(Arc::new(Told(Arc::clone(&told))));
        Member { client: new_client(world, client_id, table), client_id, told }
    }

    async fn heartbeat(&self, broker: &Broker) {
        let consumer = ConsumerData {
            group_name: "G".to_owned(),
            subscription_data_set: vec![subscription("T", "*", 5)],
            ..ConsumerData::default()
        };
        let body = HeartbeatData {
            client_id: self.client_id.to_owned(),
            consumer_data_set: vec![consumer],
            producer_data_set: vec![ProducerData { group_name: "P".to_owned() }],
        };
        let reply = heartbeat(&self.client, broker, &body).await;
        assert_eq!(reply.code, ResponseCode::SUCCESS);
    }

    /// How often it was told since it was last asked.
    async fn told(&self) -> u32 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

async fn members(cluster: &Cluster, broker: &Broker) -> Vec<String> {
    let header = ConsumerGroupRequestHeader { consumer_group: "G".to_owned() };
    let code = RequestCode::GET_CONSUMER_LIST_BY_GROUP;
    let response = cluster.call(&broker.addr, code, &header).await;
    if response.code != ResponseCode::SUCCESS {
        return Vec::new();
    }
    let body: GetConsumerListByGroupResponseBody = from_slice(&response.body).unwrap();
    body.consumer_id_list
}

#[test]
fn members_of_a_group_hear_of_each_other() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        let [one, two] = ["one", "two"].map(|name| Member::new(&world, name));
        one.heartbeat(&broker).await;
        assert_eq!(one.told().await, 1);
        one.heartbeat(&broker).await;
        assert_eq!(one.told().await, 0);
        two.heartbeat(&broker).await;
        assert_eq!((one.told().await, two.told().await), (1, 1));
        assert_eq!(members(&cluster, &broker).await, ["one", "two"]);
        // The first heartbeat made the group and its retry topic.
        let retry = pull_header("G", "%RETRY%G", 0);
        let retry = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &retry).await;
        assert_eq!(retry.code, ResponseCode::PULL_NOT_FOUND);

        two.client.close(&broker.addr);
        assert_eq!((one.told().await, two.told().await), (1, 0));
        assert_eq!(members(&cluster, &broker).await, ["one"]);
        let header = UnregisterClientRequestHeader {
            client_id: Some("one".to_owned()),
            producer_group: Some("P".to_owned()),
            consumer_group: Some("G".to_owned()),
        };
        let request = RemotingCommand::request(RequestCode::UNREGISTER_CLIENT, &header);
        one.client.invoke(&broker.addr, request, Duration::from_secs(3)).await.unwrap();
        assert!(members(&cluster, &broker).await.is_empty());
    });
}

#[test]
fn a_client_without_heartbeats_is_forgotten_and_its_connection_closed() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        let [silent, lively] = ["silent", "lively"].map(|name| Member::new(&world, name));
        silent.heartbeat(&broker).await;
        for _ in 0..11 {
            lively.heartbeat(&broker).await;
            // Whatever it asks, only heartbeats count.
            let request = RemotingCommand::request(RequestCode::GET_ALL_TOPIC_CONFIG, &());
            silent.client.invoke(&broker.addr, request, Duration::from_secs(3)).await.unwrap();
            seconds(10).await;
        }
        assert_eq!(members(&cluster, &broker).await.len(), 2);
        lively.told().await;
        lively.heartbeat(&broker).await;
        seconds(11).await;
        assert_eq!(members(&cluster, &broker).await, ["lively"]);
        assert!(!silent.client.is_connected(&broker.addr));
        assert_eq!(lively.told().await, 1);
    });
}

#[test]
fn the_registered_subscription_decides_what_a_pull_gets() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "body").await;
        let mut header = pull_header("G", "T", 0);
        header.sys_flag = 0;
        let pull = async |header: &_| {
            cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, header).await.code
        };
        assert_eq!(pull(&header).await, ResponseCode::SUBSCRIPTION_NOT_EXIST);
        let member = Member::new(&world, "one");
        member.heartbeat(&broker).await;
        header.sub_version = 5;
        assert_eq!(pull(&header).await, ResponseCode::SUCCESS);
        header.sub_version = 6;
        assert_eq!(pull(&header).await, ResponseCode::SUBSCRIPTION_NOT_LATEST);
        header.topic = "SELF_TEST_TOPIC".to_owned();
        assert_eq!(pull(&header).await, ResponseCode::SUBSCRIPTION_NOT_EXIST);
    });
}

#[test]
fn a_queue_is_locked_for_one_client() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        // Topic and group are there before their queues are locked.
        cluster.send(&broker.addr, "T", "body").await;
        cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &pull_header("G", "T", 0)).await;
        let queue = |queue_id| MessageQueue {
            topic: "T".to_owned(),
            broker_name: "a".to_owned(),
            queue_id,
        };
        let ask = async |code, client_id: &str, queues: &[i32]| {
            let body = LockBatchRequestBody {
                client_id: client_id.to_owned(),
                consumer_group: "G".to_owned(),
                mq_set: queues.iter().map(|id| queue(*id)).collect(),
            };
            let request = RemotingCommand::request(code, &()).with_body(to_bytes(&body));
            cluster.ask(&broker.addr, request).await
        };
        let lock = async |client_id: &str, queues: &[i32]| -> Vec<MessageQueue> {
            let response = ask(RequestCode::LOCK_BATCH_MQ, client_id, queues).await;
            from_slice::<LockBatchResponseBody>(&response.body).unwrap().lock_ok_mq_set
        };
        assert_eq!(lock("one", &[0, 1]).await, [queue(0), queue(1)]);
        assert_eq!(lock("two", &[0, 2]).await, [queue(2)]);
        ask(RequestCode::UNLOCK_BATCH_MQ, "one", &[0]).await;
        assert_eq!(lock("two", &[0, 1]).await, [queue(0)]);
        seconds(61).await;
        assert_eq!(lock("two", &[1]).await, [queue(1)]);
    });
}

/// Commits by request (15) and by pull, of a member without the lock and of one that has it.
#[test]
fn a_locked_queue_takes_commits_of_its_holder_alone() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        for _ in 0..9 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        let [holder, other] = ["holder", "other"].map(|name| Member::new(&world, name));
        holder.heartbeat(&broker).await;
        other.heartbeat(&broker).await;
        let ask = async |client: &RemotingClient, request| {
            client.invoke(&broker.addr, request, Duration::from_secs(3)).await.unwrap()
        };
        let commit = async |client: &RemotingClient, commit_offset| {
            let header = UpdateConsumerOffsetRequestHeader {
                consumer_group: "G".to_owned(),
                topic: "T".to_owned(),
                queue_id: 0,
                commit_offset,
            };
            let code = RequestCode::UPDATE_CONSUMER_OFFSET;
            ask(client, RemotingCommand::request(code, &header)).await.code
        };
        let pull_and_commit = async |client: &RemotingClient, commit_offset| {
            let header = PullMessageRequestHeader {
                sys_flag: PullSysFlag::COMMIT_OFFSET,
                commit_offset,
                ..pull_header("G", "T", 0)
            };
            ask(client, RemotingCommand::request(RequestCode::PULL_MESSAGE, &header)).await.code
        };
        assert_eq!(commit(&other.client, 1).await, ResponseCode::SUCCESS, "nobody has the lock");
        let queue =
            MessageQueue { topic: "T".to_owned(), broker_name: "a".to_owned(), queue_id: 0 };
        let lock = LockBatchRequestBody {
            client_id: "holder".to_owned(),
            consumer_group: "G".to_owned(),
            mq_set: vec![queue],
        };
        let lock =
            RemotingCommand::request(RequestCode::LOCK_BATCH_MQ, &()).with_body(to_bytes(&lock));
        ask(&holder.client, lock).await;
        assert_eq!(commit(&other.client, 2).await, ResponseCode::SYSTEM_ERROR);
        // The pull itself is served.
        assert_eq!(pull_and_commit(&other.client, 3).await, ResponseCode::SUCCESS);
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(1));
        assert_eq!(pull_and_commit(&holder.client, 4).await, ResponseCode::SUCCESS);
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(4));
        assert_eq!(commit(&holder.client, 5).await, ResponseCode::SUCCESS);
        // An operator's tool has no heartbeats.
        assert_eq!(commit(&cluster.client, 6).await, ResponseCode::SUCCESS);
        seconds(61).await;
        assert_eq!(commit(&other.client, 7).await, ResponseCode::SUCCESS, "the lock is over");
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(7));
    });
}
