//! [`FakeCluster`]: name servers and brokers that do as they are told and remember what they were asked.
//!
//! The brokers of one name share one store. Every request leaves a line in the log.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use mq_client::{ClientConfig, ClientInstance};
use mq_env::Env;
use mq_protocol::body::heartbeat::{GetConsumerListByGroupResponseBody, HeartbeatData};
use mq_protocol::body::topic_route::{BrokerData, QueueData, TopicRouteData};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::CustomHeader;
use mq_protocol::header::client::{ConsumerGroupRequestHeader, UnregisterClientRequestHeader};
use mq_protocol::header::namesrv::GetRouteInfoRequestHeader;
use mq_protocol::header::offset::{
    OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueryConsumerOffsetResponseHeader,
    QueueRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::header::send_message::{
    ConsumerSendMsgBackRequestHeader, SendMessageRequestHeader, SendMessageResponseHeader,
};
use mq_protocol::header::transaction::EndTransactionRequestHeader;
use mq_protocol::message::{MessageConst, OffsetMessageId, PropertiesView};
use mq_protocol::message_codec::RecordFields;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use mq_remoting::{
    Channel, ProcessError, ProcessOutcome, ProcessResult, ProcessorTable, RemotingServer,
    RemotingServerConfig, RequestProcessor,
};
use tokio::sync::Notify;

use crate::memory_net::memory_env;

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
    pub(crate) log: Vec<String>,
    records: BTreeMap<(String, String, i32), Vec<Bytes>>,
    members: BTreeMap<String, BTreeMap<String, Channel>>,
    producers: BTreeMap<String, Channel>,
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
        let config = ClientConfig {
            namesrv_addrs: vec![NAMESRV.to_owned()],
            instance_name: instance_name.to_owned(),
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

    /// The record at an offset of a queue of topic `T`.
    pub(crate) fn record(&self, broker_name: &str, queue_id: i32, offset: usize) -> Bytes {
        let key = (broker_name.to_owned(), "T".to_owned(), queue_id);
        self.state().records[&key][offset].clone()
    }

    /// Sends a request to the client that told of a producer group last.
    pub(crate) fn ask_producer(&self, group: &str, request: RemotingCommand) {
        self.state().producers[group].oneway(request).unwrap();
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
            flag: 0,
            queue_offset,
            phy_offset,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            topic,
            properties,
        };
        let mut record = BytesMut::new();
        fields.encode(&mut record).unwrap();
        queue.push(record.freeze());
        self.appended.notify_waiters();
        queue_offset
    }
}

struct FakeServer {
    shared: Arc<Shared>,
    addr: &'static str,
    broker_name: &'static str,
}

impl RequestProcessor for FakeServer {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let answer = {
            let mut state = self.state();
            let mut answers = state.answers.get_mut(&(self.addr, request.code));
            answers.as_mut().and_then(|answers| answers.pop_front())
        };
        match answer {
            Some(Answer::Silence) => {
                self.log(format!("{} {} ignored", request.code, self.addr));
                Ok(ProcessOutcome::Silent)
            }
            Some(Answer::Code(code)) if request.code != RequestCode::SEND_MESSAGE_V2 => {
                self.log(format!("{} {} answered {code}", request.code, self.addr));
                Err(ProcessError::new(code, "as told"))
            }
            Some(Answer::Code(code)) => self.send_message(&request, code),
            None => self.answer(channel, &request),
        }
    }
}

impl FakeServer {
    fn answer(&self, channel: &Channel, request: &RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => self.route(request),
            RequestCode::HEART_BEAT => self.heartbeat(channel, request),
            RequestCode::UNREGISTER_CLIENT => self.unregister(request),
            RequestCode::GET_CONSUMER_LIST_BY_GROUP => self.consumer_list(request),
            RequestCode::SEND_MESSAGE_V2 => self.send_message(request, ResponseCode::SUCCESS),
            RequestCode::PULL_MESSAGE => self.pull_message(request),
            RequestCode::QUERY_CONSUMER_OFFSET => self.query_offset(request),
            RequestCode::UPDATE_CONSUMER_OFFSET => self.update_offset(request),
            RequestCode::GET_MAX_OFFSET | RequestCode::GET_MIN_OFFSET => self.bound(request),
            RequestCode::END_TRANSACTION => self.end_transaction(request),
            RequestCode::CONSUMER_SEND_MSG_BACK => self.send_back(request),
            code => panic!("the fake does not serve {code}"),
        }
    }

    fn route(&self, request: &RemotingCommand) -> ProcessResult {
        let header: GetRouteInfoRequestHeader = request.header()?;
        self.log(format!("105 {}", header.topic));
        match self.state().routes.get(&header.topic) {
            Some(route) => Ok(success(&()).with_body(to_bytes(route)).into()),
            None => Err(ProcessError::new(ResponseCode::TOPIC_NOT_EXIST, "no such topic")),
        }
    }

    fn heartbeat(&self, channel: &Channel, request: &RemotingCommand) -> ProcessResult {
        let data: HeartbeatData = from_slice(&request.body)?;
        let groups: Vec<_> = data
            .producer_data_set
            .iter()
            .map(|producer| &producer.group_name)
            .chain(data.consumer_data_set.iter().map(|consumer| &consumer.group_name))
            .map(String::as_str)
            .collect();
        self.log(format!("34 {} {} {}", self.addr, data.client_id, groups.join(" ")));
        let mut state = self.state();
        for producer in &data.producer_data_set {
            state.producers.insert(producer.group_name.clone(), channel.clone());
        }
        let mut to_notify = Vec::new();
        for consumer in &data.consumer_data_set {
            let members = state.members.entry(consumer.group_name.clone()).or_default();
            if members.insert(data.client_id.clone(), channel.clone()).is_none() {
                to_notify.extend(members.values().cloned());
            }
        }
        drop(state);
        notify(&to_notify);
        Ok(success(&()).into())
    }

    fn unregister(&self, request: &RemotingCommand) -> ProcessResult {
        let header: UnregisterClientRequestHeader = request.header()?;
        let group = header.consumer_group.clone().or(header.producer_group).unwrap_or_default();
        self.log(format!("35 {} {group}", self.addr));
        let mut to_notify = Vec::new();
        if let Some(members) = self.state().members.get_mut(&group) {
            members.remove(&header.client_id.unwrap_or_default());
            to_notify.extend(members.values().cloned());
        }
        notify(&to_notify);
        Ok(success(&()).into())
    }

    fn consumer_list(&self, request: &RemotingCommand) -> ProcessResult {
        let header: ConsumerGroupRequestHeader = request.header()?;
        self.log(format!("38 {}", self.addr));
        let state = self.state();
        let members = state.members.get(&header.consumer_group);
        let consumer_id_list = members.iter().flat_map(|m| m.keys().cloned()).collect();
        let body = GetConsumerListByGroupResponseBody { consumer_id_list };
        Ok(success(&()).with_body(to_bytes(&body)).into())
    }

    fn send_message(&self, request: &RemotingCommand, code: i32) -> ProcessResult {
        let header: SendMessageRequestHeader = request.header()?;
        let properties = header.properties.unwrap_or_default();
        let uniq_key = PropertiesView::new(&properties).get(MessageConst::UNIQ_KEY);
        let queue_id = header.queue_id;
        let uniq_key = uniq_key.unwrap_or_default();
        let flag =
            if header.sys_flag == 0 { String::new() } else { format!(" flag {}", header.sys_flag) };
        let topic = &header.topic;
        self.log(format!("310 {}-{queue_id} {topic} {uniq_key}{flag}", self.broker_name));
        let stored = matches!(code, 0 | 10 | 11 | 12);
        if !stored {
            return Err(ProcessError::new(code, "as told"));
        }
        let queue_offset = self.shared.append(
            self.broker_name,
            queue_id,
            &header.topic,
            &request.body,
            &properties,
        );
        let store_host = self.addr.parse().unwrap();
        let id = OffsetMessageId { store_host, phy_offset: 1_000 + queue_offset };
        let header = SendMessageResponseHeader {
            msg_id: id.to_string(),
            queue_id,
            queue_offset,
            transaction_id: None,
        };
        Ok(RemotingCommand::response(code, None).with_header(&header).into())
    }

    fn end_transaction(&self, request: &RemotingCommand) -> ProcessResult {
        let header: EndTransactionRequestHeader = request.header()?;
        let EndTransactionRequestHeader { commit_or_rollback, from_transaction_check, .. } = header;
        let (half, at) = (header.tran_state_table_offset, header.commit_log_offset);
        let group = &header.producer_group;
        let from = if from_transaction_check { "asked" } else { "told" };
        self.log(format!("37 {} {group} {half} at {at}: {commit_or_rollback} {from}", self.addr));
        Ok(ProcessOutcome::Silent)
    }

    fn pull_message(&self, request: &RemotingCommand) -> ProcessResult {
        let header: PullMessageRequestHeader = request.header()?;
        let commit = match PullSysFlag::has(header.sys_flag, PullSysFlag::COMMIT_OFFSET) {
            true => format!(" commit {}", header.commit_offset),
            false => String::new(),
        };
        let (topic, queue_id, offset) = (&header.topic, header.queue_id, header.queue_offset);
        self.log(format!("11 {} {topic}-{queue_id} from {offset}{commit}", self.addr));
        let (shared, broker_name) = (Arc::clone(&self.shared), self.broker_name);
        Ok(ProcessOutcome::later(async move {
            let may_hold = PullSysFlag::has(header.sys_flag, PullSysFlag::SUSPEND);
            let hold = Duration::from_millis(header.suspend_timeout_ms as u64);
            let deadline = tokio::time::Instant::now() + hold;
            loop {
                let appended = shared.appended.notified();
                let reply = pull_reply(&shared.state.lock().unwrap(), broker_name, &header);
                if reply.code != ResponseCode::PULL_NOT_FOUND || !may_hold {
                    return Ok(Some(reply));
                }
                if tokio::time::timeout_at(deadline, appended).await.is_err() {
                    return Ok(Some(reply));
                }
            }
        }))
    }

    fn query_offset(&self, request: &RemotingCommand) -> ProcessResult {
        let header: QueryConsumerOffsetRequestHeader = request.header()?;
        let key =
            (header.consumer_group, header.topic, self.broker_name.to_owned(), header.queue_id);
        match self.state().offsets.get(&key) {
            Some(&offset) => Ok(success(&QueryConsumerOffsetResponseHeader { offset }).into()),
            None => Err(ProcessError::new(ResponseCode::QUERY_NOT_FOUND, "none")),
        }
    }

    fn update_offset(&self, request: &RemotingCommand) -> ProcessResult {
        let header: UpdateConsumerOffsetRequestHeader = request.header()?;
        let (queue_id, offset) = (header.queue_id, header.commit_offset);
        self.log(format!("15 {} {}-{queue_id} {offset}", self.addr, header.topic));
        let key = (header.consumer_group, header.topic, self.broker_name.to_owned(), queue_id);
        self.state().offsets.insert(key, offset);
        Ok(success(&()).into())
    }

    fn bound(&self, request: &RemotingCommand) -> ProcessResult {
        let header: QueueRequestHeader = request.header()?;
        let state = self.state();
        let key = (self.broker_name.to_owned(), header.topic, header.queue_id);
        let offset = match request.code {
            RequestCode::GET_MIN_OFFSET => state.min_offset,
            _ => state.records.get(&key).map_or(0, Vec::len) as i64,
        };
        Ok(success(&OffsetResponseHeader { offset }).into())
    }

    fn send_back(&self, request: &RemotingCommand) -> ProcessResult {
        let header: ConsumerSendMsgBackRequestHeader = request.header()?;
        self.log(format!(
            "36 {} {} at {} level {} max {:?}",
            self.addr,
            header.origin_topic.unwrap_or_default(),
            header.offset,
            header.delay_level,
            header.max_reconsume_times,
        ));
        Ok(success(&()).into())
    }

    fn log(&self, line: String) {
        self.state().log.push(line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

fn pull_reply(
    state: &State,
    broker_name: &str,
    header: &PullMessageRequestHeader,
) -> RemotingCommand {
    let key = (broker_name.to_owned(), header.topic.clone(), header.queue_id);
    let records = state.records.get(&key).map_or(&[][..], Vec::as_slice);
    let (min, max, from) = (state.min_offset, records.len() as i64, header.queue_offset);
    let (code, next) = match from {
        from if from < min => (ResponseCode::PULL_OFFSET_MOVED, min),
        from if from > max => (ResponseCode::PULL_OFFSET_MOVED, max),
        from if from == max => (ResponseCode::PULL_NOT_FOUND, max),
        from => (ResponseCode::SUCCESS, max.min(from + i64::from(header.max_msg_nums))),
    };
    let mut body = BytesMut::new();
    if code == ResponseCode::SUCCESS {
        records[from as usize..next as usize].iter().for_each(|record| body.put_slice(record));
    }
    let header = PullMessageResponseHeader {
        suggest_which_broker_id: state.suggested_broker_id,
        next_begin_offset: next,
        min_offset: min,
        max_offset: max,
    };
    RemotingCommand::response(code, None).with_header(&header).with_body(body.freeze())
}

fn notify(channels: &[Channel]) {
    for channel in channels {
        let code = RequestCode::NOTIFY_CONSUMER_IDS_CHANGED;
        let header = ConsumerGroupRequestHeader { consumer_group: "G".to_owned() };
        let _ = channel.oneway(RemotingCommand::request(code, &header));
    }
}

fn success(header: &impl CustomHeader) -> RemotingCommand {
    RemotingCommand::success(header)
}
