//! [`FakeCluster`]: name servers and brokers that do as they are told and remember what they were asked.
//!
//! The brokers of one name share one store. Every request leaves a line in the log.

mod server;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mq_client::{ClientConfig, ClientInstance};
use mq_env::Env;
use mq_protocol::body::topic_route::{BrokerData, QueueData, TopicRouteData};
use mq_protocol::message::MessageQueue;
use mq_protocol::message_codec::RecordFields;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::upstream::UpstreamSwitch;
use mq_remoting::{Channel, ProcessorTable, RemotingServer, RemotingServerConfig};
use tokio::sync::Notify;

use crate::memory_net::memory_env;

use server::FakeServer;

pub(crate) const NAMESRV: &str = "10.0.0.10:9876";

/// Masters of brokers `a` and `b`, and the slave of `a`.
pub(crate) const MASTER_A: &str = "10.0.1.1:10911";
pub(crate) const MASTER_B: &str = "10.0.1.2:10911";
pub(crate) const SLAVE_A: &str = "10.0.1.3:10911";

/// How a broker answers a request for once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// With this code (a stored message, if that is what the code means).
    Code(i32),
    /// Not at all.
    Silence,
    /// As if nothing were told, this much later.
    Late(Duration),
}

pub(crate) struct FakeCluster {
    pub(crate) env: Env,
    shared: Arc<Shared>,
    servers: BTreeMap<String, RemotingServer>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    appended: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) routes: BTreeMap<String, TopicRouteData>,
    /// Answers to come, by address and request code.
    pub(crate) answers: BTreeMap<(&'static str, i32), VecDeque<Answer>>,
    /// What brokers suggest in answers to pulls.
    pub(crate) suggested_broker_id: i64,
    /// The minimum offset of every queue.
    pub(crate) min_offset: i64,
    /// Committed offsets by group, topic, broker name and queue.
    pub(crate) offsets: BTreeMap<(String, String, String, i32), i64>,
    /// Who holds the lock of a queue, whatever the group.
    pub(crate) locks: BTreeMap<MessageQueue, String>,
    pub(crate) log: Vec<String>,
    /// Every request that sends messages.
    pub(crate) sends: Vec<RemotingCommand>,
    records: BTreeMap<(String, String, i32), Vec<Bytes>>,
    members: BTreeMap<String, BTreeMap<String, Channel>>,
    pub(crate) producers: BTreeMap<String, Channel>,
}

impl FakeCluster {
    /// A name server that knows no topic, and the brokers named above.
    pub(crate) async fn start() -> Self {
        let mut cluster =
            FakeCluster { env: memory_env(), shared: Arc::default(), servers: BTreeMap::new() };
        for (addr, broker_name) in
            [(NAMESRV, "namesrv"), (MASTER_A, "a"), (MASTER_B, "b"), (SLAVE_A, "a")]
        {
            cluster.serve(addr, broker_name).await;
        }
        cluster
    }

    async fn serve(&mut self, addr: &'static str, broker_name: &'static str) {
        let shared = Arc::clone(&self.shared);
        let table = ProcessorTable::default().register_default(Arc::new(FakeServer {
            shared,
            addr,
            broker_name,
        }));
        let endpoints = vec![(addr.parse::<SocketAddr>().unwrap(), Arc::new(table))];
        let config = RemotingServerConfig::default();
        let server =
            RemotingServer::start(self.env.clone(), config, endpoints, None).await.unwrap();
        self.servers.insert(addr.to_owned(), server);
    }

    /// Stops the server at `addr`.
    pub(crate) async fn stop(&self, addr: &str) {
        self.servers[addr].shutdown().await;
    }

    /// A client of [`NAMESRV`].
    pub(crate) fn client(&self, instance_name: &str) -> ClientInstance {
        self.client_with(instance_name, &[])
    }

    /// The same with behaviours of upstream's.
    pub(crate) fn client_with(
        &self,
        instance_name: &str,
        upstream: &[UpstreamSwitch],
    ) -> ClientInstance {
        let config = ClientConfig {
            namesrv_addrs: vec![NAMESRV.to_owned()],
            instance_name: instance_name.to_owned(),
            upstream: upstream.iter().copied().collect(),
            ..ClientConfig::default()
        };
        ClientInstance::start(self.env.clone(), config)
    }

    /// Lets the name server know `topic` with `queues` queues on each of `brokers`, which are `a`, `b`,
    /// `a+slave` or `a-slave` (without its master).
    pub(crate) fn route(&self, topic: &str, brokers: &[&str], queues: i32) {
        let (mut broker_datas, mut queue_datas) = (Vec::new(), Vec::new());
        for broker in brokers {
            let addrs: &[(i64, &str)] = match *broker {
                "a" => &[(0, MASTER_A)],
                "b" => &[(0, MASTER_B)],
                "a+slave" => &[(0, MASTER_A), (1, SLAVE_A)],
                "a-slave" => &[(1, SLAVE_A)],
                other => panic!("no such broker: {other}"),
            };
            let broker_name = broker[..1].to_owned();
            broker_datas.push(BrokerData {
                broker_addrs: addrs.iter().map(|(id, addr)| (*id, addr.to_string())).collect(),
                broker_name: broker_name.clone(),
                cluster: "C".to_owned(),
            });
            queue_datas.push(QueueData {
                broker_name,
                perm: 6,
                read_queue_nums: queues,
                topic_sys_flag: 0,
                write_queue_nums: queues,
            });
        }
        let route = TopicRouteData { broker_datas, queue_datas, ..TopicRouteData::default() };
        self.state().routes.insert(topic.to_owned(), route);
    }

    /// The next answers of the server at `addr` to requests of `code`.
    pub(crate) fn answer(&self, addr: &'static str, code: i32, answers: &[Answer]) {
        self.state().answers.entry((addr, code)).or_default().extend(answers);
    }

    /// Stores a message.
    pub(crate) fn append(&self, broker_name: &str, queue_id: i32, topic: &str, body: &str) {
        self.append_tagged(broker_name, queue_id, topic, body, "");
    }

    /// Takes from a queue what lies behind its first `len` messages, as a cut of the log does.
    pub(crate) fn cut(&self, broker_name: &str, queue_id: i32, topic: &str, len: usize) {
        let key = (broker_name.to_owned(), topic.to_owned(), queue_id);
        self.state().records.entry(key).or_default().truncate(len);
    }

    /// Stores a message with a properties string.
    pub(crate) fn append_tagged(
        &self,
        broker_name: &str,
        queue_id: i32,
        topic: &str,
        body: &str,
        properties: &str,
    ) {
        self.shared.append(broker_name, queue_id, topic, body.as_bytes(), properties);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// The record at an offset of a queue.
    pub(crate) fn record(
        &self,
        broker_name: &str,
        queue_id: i32,
        topic: &str,
        offset: usize,
    ) -> Bytes {
        let key = (broker_name.to_owned(), topic.to_owned(), queue_id);
        self.state().records[&key][offset].clone()
    }

    /// The connection of the client that told of a producer group last.
    pub(crate) fn producer_channel(&self, group: &str) -> Channel {
        self.state().producers[group].clone()
    }

    /// Sends a request to the client that told of a producer group last.
    pub(crate) fn ask_producer(&self, group: &str, request: RemotingCommand) {
        self.producer_channel(group).oneway(request).unwrap();
    }

    /// The lines logged since the last call that begin with `prefix`; the others are forgotten.
    pub(crate) fn take_log(&self, prefix: &str) -> Vec<String> {
        let log = std::mem::take(&mut self.state().log);
        log.into_iter().filter(|line| line.starts_with(prefix)).collect()
    }

    /// The committed offset of a queue of topic `T` on broker `a`.
    pub(crate) fn offset(&self, group: &str, queue_id: i32) -> Option<i64> {
        let key = (group.to_owned(), "T".to_owned(), "a".to_owned(), queue_id);
        self.state().offsets.get(&key).copied()
    }
}

impl Shared {
    fn append(
        &self,
        broker: &str,
        queue_id: i32,
        topic: &str,
        body: &[u8],
        properties: &str,
    ) -> i64 {
        let mut state = self.state.lock().unwrap();
        let phy_offset = state.records.values().flatten().map(|record| record.len() as i64).sum();
        let key = (broker.to_owned(), topic.to_owned(), queue_id);
        let queue = state.records.entry(key).or_default();
        let queue_offset = queue.len() as i64;
        let host = MASTER_A.parse().unwrap();
        let fields = RecordFields {
            body_crc: 0,
            queue_id,
            queue_offset,
            phy_offset,
            properties,
            ..RecordFields::plain(topic, body, host, 0)
        };
        let mut record = BytesMut::new();
        fields.encode(&mut record).unwrap();
        queue.push(record.freeze());
        self.appended.notify_waiters();
        queue_offset
    }
}
