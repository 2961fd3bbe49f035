//! The servers of a [`FakeCluster`](super::FakeCluster): one request, one function.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use mq_protocol::body::heartbeat::{GetConsumerListByGroupResponseBody, HeartbeatData};
use mq_protocol::body::lock::{LockBatchRequestBody, LockBatchResponseBody};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::CustomHeader;
use mq_protocol::header::client::{ConsumerGroupRequestHeader, UnregisterClientRequestHeader};
use mq_protocol::header::namesrv::GetRouteInfoRequestHeader;
use mq_protocol::header::offset::{
    OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueryConsumerOffsetResponseHeader,
    QueueRequestHeader, SearchOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::header::send_message::{
    ConsumerSendMsgBackRequestHeader, SendMessageRequestHeader, SendMessageResponseHeader,
};
use mq_protocol::header::transaction::EndTransactionRequestHeader;
use mq_protocol::message::{MessageConst, OffsetMessageId, PropertiesView};
use mq_protocol::message_codec::decode_batch;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};

use super::{Answer, Shared, State};

#[derive(Clone)]
pub(super) struct FakeServer {
    pub(super) shared: Arc<Shared>,
    pub(super) addr: &'static str,
    pub(super) broker_name: &'static str,
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
                if is_send(request.code) {
                    self.state().sends.push(request);
                }
                Ok(ProcessOutcome::Silent)
            }
            Some(Answer::Code(code)) if !is_send(request.code) => {
                self.log(format!("{} {} answered {code}", request.code, self.addr));
                Err(ProcessError::new(code, "as told"))
            }
            Some(Answer::Code(code)) => self.send_message(&request, code),
            Some(Answer::Late(by)) => {
                let (server, channel) = (self.clone(), channel.clone());
                Ok(ProcessOutcome::later(async move {
                    tokio::time::sleep(by).await;
                    match server.answer(&channel, &request)? {
                        ProcessOutcome::Reply(reply) => Ok(Some(reply)),
                        ProcessOutcome::Later(reply) => reply.await,
                        ProcessOutcome::Silent => Ok(None),
                    }
                }))
            }
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
            code if is_send(code) => self.send_message(request, ResponseCode::SUCCESS),
            RequestCode::PULL_MESSAGE => self.pull_message(request),
            RequestCode::QUERY_CONSUMER_OFFSET => self.query_offset(request),
            RequestCode::UPDATE_CONSUMER_OFFSET => self.update_offset(request),
            RequestCode::GET_MAX_OFFSET | RequestCode::GET_MIN_OFFSET => self.bound(request),
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => self.search_offset(request),
            RequestCode::END_TRANSACTION => self.end_transaction(request),
            RequestCode::CONSUMER_SEND_MSG_BACK => self.send_back(request),
            RequestCode::LOCK_BATCH_MQ => self.lock_queues(request),
            RequestCode::UNLOCK_BATCH_MQ => self.unlock_queues(request),
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
        let messages = messages_of(request, &header);
        let uniq_key = |(_, properties): &(Bytes, String)| {
            PropertiesView::new(properties)
                .get(MessageConst::UNIQ_KEY)
                .unwrap_or_default()
                .to_owned()
        };
        let uniq_keys: Vec<_> = messages.iter().map(uniq_key).collect();
        let (queue_id, topic, uniq_keys) = (header.queue_id, &header.topic, uniq_keys.join(","));
        let flag =
            if header.sys_flag == 0 { String::new() } else { format!(" flag {}", header.sys_flag) };
        let limit = header.max_reconsume_times.unwrap_or(i32::MAX);
        let topic = match header.reconsume_times.unwrap_or(0) < limit {
            true => topic.clone(),
            false => topic.replace("%RETRY%", "%DLQ%"),
        };
        let kind = request.code;
        self.log(format!("{kind} {}-{queue_id} {topic} {uniq_keys}{flag}", self.broker_name));
        self.state().sends.push(request.clone());
        let stored = matches!(code, 0 | 10 | 11 | 12);
        if !stored {
            return Err(ProcessError::new(code, "as told"));
        }
        let store_host = self.addr.parse().unwrap();
        let mut queue_offsets = Vec::new();
        for (body, properties) in &messages {
            let name = self.broker_name;
            queue_offsets.push(self.shared.append(name, queue_id, &topic, body, properties));
        }
        let id = |offset: &i64| OffsetMessageId { store_host, phy_offset: 1_000 + offset };
        let ids: Vec<_> = queue_offsets.iter().map(|offset| id(offset).to_string()).collect();
        let header = SendMessageResponseHeader {
            msg_id: ids.join(","),
            queue_id,
            queue_offset: queue_offsets[0],
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

    /// All queues have one message that was stored before any time that is sought.
    fn search_offset(&self, request: &RemotingCommand) -> ProcessResult {
        let header: SearchOffsetRequestHeader = request.header()?;
        self.log(format!("29 {}-{} at {}", header.topic, header.queue_id, header.timestamp));
        Ok(success(&OffsetResponseHeader { offset: 1 }).into())
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

    fn lock_queues(&self, request: &RemotingCommand) -> ProcessResult {
        let body: LockBatchRequestBody = from_slice(&request.body)?;
        let mut locked = body.mq_set.clone();
        {
            let mut state = self.state();
            locked.retain(|queue| {
                let holder = state.locks.entry(queue.clone()).or_insert(body.client_id.clone());
                *holder == body.client_id
            });
        }
        self.log(format!("41 {} {} of {}", self.addr, locked.len(), body.mq_set.len()));
        let body = LockBatchResponseBody { lock_ok_mq_set: locked };
        Ok(success(&()).with_body(to_bytes(&body)).into())
    }

    fn unlock_queues(&self, request: &RemotingCommand) -> ProcessResult {
        let body: LockBatchRequestBody = from_slice(&request.body)?;
        let ids: Vec<_> = body.mq_set.iter().map(|queue| queue.queue_id.to_string()).collect();
        self.log(format!("42 {} {}", self.addr, ids.join(" ")));
        let mut state = self.state();
        for queue in &body.mq_set {
            if state.locks.get(queue) == Some(&body.client_id) {
                state.locks.remove(queue);
            }
        }
        Ok(success(&()).into())
    }

    fn log(&self, line: String) {
        self.state().log.push(line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
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

/// Bodies and properties of what is sent.
fn messages_of(
    request: &RemotingCommand,
    header: &SendMessageRequestHeader,
) -> Vec<(Bytes, String)> {
    if request.code == RequestCode::SEND_BATCH_MESSAGE {
        let entries = decode_batch(&request.body).unwrap().into_iter();
        return entries.map(|it| (it.body.to_vec().into(), it.properties.to_owned())).collect();
    }
    vec![(request.body.clone(), header.properties.clone().unwrap_or_default())]
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
