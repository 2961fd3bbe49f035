//! `MqClientApi`: the requests of a client as functions (RocketMQ 4.9 `MQClientAPIImpl`).

use std::time::Duration;

use bytes::Bytes;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::heartbeat::{CheckClientRequestBody, GetConsumerListByGroupResponseBody};
use mq_protocol::body::lock::{LockBatchRequestBody, LockBatchResponseBody};
use mq_protocol::body::topic_route::TopicRouteData;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{Json, from_slice, to_bytes};
use mq_protocol::header::CustomHeader;
use mq_protocol::header::client::{ConsumerGroupRequestHeader, UnregisterClientRequestHeader};
use mq_protocol::header::namesrv::GetRouteInfoRequestHeader;
use mq_protocol::header::offset::{
    OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueryConsumerOffsetResponseHeader,
    QueueRequestHeader, SearchOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::header::send_message::{
    ConsumerSendMsgBackRequestHeader, SendMessageResponseHeader,
};
use mq_protocol::header::transaction::EndTransactionRequestHeader;
use mq_protocol::message::{MessageExt, MessageQueue};
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::RemotingClient;

use crate::error::ClientError;
use crate::name_servers::NameServers;

/// Time allowed for requests of the administrative kind (`mqClientApiTimeout`).
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(3);

/// Time allowed for sending back and for reading offsets.
pub(crate) const LONG_API_TIMEOUT: Duration = Duration::from_secs(5);

/// Typed requests over the connections of one client instance.
pub(crate) struct MqClientApi {
    remoting: RemotingClient,
    name_servers: NameServers,
}

/// How a stored message was stored. Only [`SendStatus::SendOk`] says that the broker's mode was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// Stored as the broker's flush and replication mode promise.
    SendOk,
    /// Stored, but the sync of the disk did not end in time.
    FlushDiskTimeout,
    /// Stored, but no slave confirmed in time.
    FlushSlaveTimeout,
    /// Stored, but no slave was there to confirm.
    SlaveNotAvailable,
}

/// Where a message was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendResult {
    /// How it was stored.
    pub send_status: SendStatus,
    /// The message's `UNIQ_KEY`; of a batch, all of them joined by commas.
    pub msg_id: String,
    /// The broker's id of it: address and CommitLog offset; of a batch, all of them joined by commas.
    pub offset_msg_id: String,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Its index in the queue; of a batch, that of the first message.
    pub queue_offset: i64,
    /// How many attempts were made, this one included.
    pub attempts: u32,
}

/// What a pull found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// Messages.
    Found,
    /// Nothing behind the offset (code 19).
    NoNewMsg,
    /// Nothing that matches the subscription (code 20).
    NoMatchedMsg,
    /// The offset is outside of the queue (code 21).
    OffsetIllegal,
}

/// The answer to a pull. All offsets are queue offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullResult {
    /// What was found.
    pub pull_status: PullStatus,
    /// Where to go on.
    pub next_begin_offset: i64,
    /// First offset of the queue.
    pub min_offset: i64,
    /// Offset behind the last message of the queue.
    pub max_offset: i64,
    /// The broker id to ask next time.
    pub suggest_which_broker_id: i64,
    /// The messages, with the name of their broker.
    pub messages: Vec<MessageExt>,
}

impl MqClientApi {
    pub(crate) fn new(remoting: RemotingClient, name_servers: NameServers) -> Self {
        MqClientApi { remoting, name_servers }
    }

    /// The connections.
    pub(crate) fn remoting(&self) -> &RemotingClient {
        &self.remoting
    }

    /// The route of a topic, `None` if the name server knows of none.
    pub(crate) async fn get_topic_route_info(
        &self,
        topic: &str,
    ) -> Result<Option<TopicRouteData>, ClientError> {
        let header =
            GetRouteInfoRequestHeader { topic: topic.to_owned(), accept_standard_json_only: None };
        let request = RemotingCommand::request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &header);
        let (addr, response) =
            self.name_servers.invoke(&self.remoting, request, API_TIMEOUT).await?;
        match response.code {
            ResponseCode::SUCCESS => read_body(&addr, &response).map(Some),
            ResponseCode::TOPIC_NOT_EXIST => Ok(None),
            _ => Err(broker_error(&addr, response)),
        }
    }

    /// Tells a broker of this client; gives the broker's version.
    pub(crate) async fn send_heartbeat(&self, addr: &str, body: Bytes) -> Result<i32, ClientError> {
        let request = RemotingCommand::request(RequestCode::HEART_BEAT, &()).with_body(body);
        Ok(self.invoke(addr, request, API_TIMEOUT).await?.version)
    }

    /// Asks a broker whether it would serve a subscription that is not by tags.
    pub(crate) async fn check_client_in_broker(
        &self,
        addr: &str,
        body: &CheckClientRequestBody,
    ) -> Result<(), ClientError> {
        let request = RemotingCommand::request(RequestCode::CHECK_CLIENT_CONFIG, &());
        self.invoke(addr, request.with_body(to_bytes(body)), API_TIMEOUT).await.map(drop)
    }

    /// Takes back what the heartbeats told of a producer or consumer group.
    pub(crate) async fn unregister_client(
        &self,
        addr: &str,
        header: &UnregisterClientRequestHeader,
    ) -> Result<(), ClientError> {
        let request = RemotingCommand::request(RequestCode::UNREGISTER_CLIENT, header);
        self.invoke(addr, request, API_TIMEOUT).await.map(drop)
    }

    /// The client ids of a group's members that the broker knows.
    pub(crate) async fn get_consumer_id_list_by_group(
        &self,
        addr: &str,
        consumer_group: &str,
    ) -> Result<Vec<String>, ClientError> {
        let header = ConsumerGroupRequestHeader { consumer_group: consumer_group.to_owned() };
        let request = RemotingCommand::request(RequestCode::GET_CONSUMER_LIST_BY_GROUP, &header);
        let response = self.invoke(addr, request, API_TIMEOUT).await?;
        let body: GetConsumerListByGroupResponseBody = read_body(addr, &response)?;
        Ok(body.consumer_id_list)
    }

    /// Sends a message or several, as `request` says. A timeout closes the connection, if that is wanted.
    pub(crate) async fn send_message(
        &self,
        addr: &str,
        request: RemotingCommand,
        timeout: Duration,
        closes: bool,
    ) -> Result<(SendStatus, SendMessageResponseHeader), ClientError> {
        let response = match closes {
            true => self.remoting.invoke(addr, request, timeout).await?,
            false => self.remoting.invoke_async(addr, request, timeout).await?,
        };
        let send_status = match response.code {
            ResponseCode::SUCCESS => SendStatus::SendOk,
            ResponseCode::FLUSH_DISK_TIMEOUT => SendStatus::FlushDiskTimeout,
            ResponseCode::FLUSH_SLAVE_TIMEOUT
                if planted_on_this_thread(Plant::SlaveTimeoutIsSendOk) =>
            {
                SendStatus::SendOk
            }
            ResponseCode::FLUSH_SLAVE_TIMEOUT => SendStatus::FlushSlaveTimeout,
            ResponseCode::SLAVE_NOT_AVAILABLE => SendStatus::SlaveNotAvailable,
            _ => return Err(broker_error(addr, response)),
        };
        Ok((send_status, read_header(addr, &response)?))
    }

    /// Tells a broker what becomes of a half message; it does not answer.
    pub(crate) fn end_transaction_oneway(
        &self,
        addr: &str,
        header: &EndTransactionRequestHeader,
    ) -> Result<(), ClientError> {
        let request = RemotingCommand::request(RequestCode::END_TRANSACTION, header);
        Ok(self.remoting.invoke_oneway(addr, request)?)
    }

    /// Sends a message without waiting for an answer.
    pub(crate) fn send_message_oneway(
        &self,
        addr: &str,
        request: RemotingCommand,
    ) -> Result<(), ClientError> {
        Ok(self.remoting.invoke_oneway(addr, request)?)
    }

    /// Pulls messages. A timeout leaves the connection open: the broker may hold pulls.
    pub(crate) async fn pull_message(
        &self,
        addr: &str,
        broker_name: &str,
        header: &PullMessageRequestHeader,
        timeout: Duration,
    ) -> Result<PullResult, ClientError> {
        let request = RemotingCommand::request(RequestCode::PULL_MESSAGE, header);
        let response = self.remoting.invoke_async(addr, request, timeout).await?;
        let pull_status = match response.code {
            ResponseCode::SUCCESS => PullStatus::Found,
            ResponseCode::PULL_NOT_FOUND => PullStatus::NoNewMsg,
            ResponseCode::PULL_RETRY_IMMEDIATELY => PullStatus::NoMatchedMsg,
            ResponseCode::PULL_OFFSET_MOVED => PullStatus::OffsetIllegal,
            _ => return Err(broker_error(addr, response)),
        };
        let header: PullMessageResponseHeader = read_header(addr, &response)?;
        let mut messages = decode_messages(&response.body);
        for message in &mut messages {
            message.broker_name = broker_name.to_owned();
        }
        Ok(PullResult {
            pull_status,
            next_begin_offset: header.next_begin_offset,
            min_offset: header.min_offset,
            max_offset: header.max_offset,
            suggest_which_broker_id: header.suggest_which_broker_id,
            messages,
        })
    }

    /// The committed offset of a group, `None` if the broker says that there is none.
    pub(crate) async fn query_consumer_offset(
        &self,
        addr: &str,
        header: &QueryConsumerOffsetRequestHeader,
    ) -> Result<Option<i64>, ClientError> {
        let request = RemotingCommand::request(RequestCode::QUERY_CONSUMER_OFFSET, header);
        let response = self.remoting.invoke(addr, request, LONG_API_TIMEOUT).await?;
        match response.code {
            ResponseCode::SUCCESS => {
                let header: QueryConsumerOffsetResponseHeader = read_header(addr, &response)?;
                Ok(Some(header.offset))
            }
            ResponseCode::QUERY_NOT_FOUND => Ok(None),
            _ => Err(broker_error(addr, response)),
        }
    }

    /// Commits an offset without waiting for an answer.
    pub(crate) fn update_consumer_offset_oneway(
        &self,
        addr: &str,
        header: &UpdateConsumerOffsetRequestHeader,
    ) -> Result<(), ClientError> {
        let request = RemotingCommand::request(RequestCode::UPDATE_CONSUMER_OFFSET, header);
        Ok(self.remoting.invoke_oneway(addr, request)?)
    }

    /// The maximum ([`RequestCode::GET_MAX_OFFSET`]) or minimum ([`RequestCode::GET_MIN_OFFSET`]) offset of
    /// a queue.
    pub(crate) async fn queue_offset(
        &self,
        addr: &str,
        code: i32,
        queue: &MessageQueue,
    ) -> Result<i64, ClientError> {
        let header = QueueRequestHeader { topic: queue.topic.clone(), queue_id: queue.queue_id };
        let response =
            self.invoke(addr, RemotingCommand::request(code, &header), API_TIMEOUT).await?;
        let header: OffsetResponseHeader = read_header(addr, &response)?;
        Ok(header.offset)
    }

    /// The offset of the first message of a queue that was stored at `timestamp_ms` or later.
    pub(crate) async fn search_offset(
        &self,
        addr: &str,
        queue: &MessageQueue,
        timestamp_ms: i64,
    ) -> Result<i64, ClientError> {
        let header = SearchOffsetRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            timestamp: timestamp_ms,
        };
        let code = RequestCode::SEARCH_OFFSET_BY_TIMESTAMP;
        let response =
            self.invoke(addr, RemotingCommand::request(code, &header), API_TIMEOUT).await?;
        let header: OffsetResponseHeader = read_header(addr, &response)?;
        Ok(header.offset)
    }

    /// Locks queues for a client, or renews its locks; gives those that it holds now.
    pub(crate) async fn lock_batch_mq(
        &self,
        addr: &str,
        body: &LockBatchRequestBody,
        timeout: Duration,
    ) -> Result<Vec<MessageQueue>, ClientError> {
        let request = RemotingCommand::request(RequestCode::LOCK_BATCH_MQ, &());
        let response = self.invoke(addr, request.with_body(to_bytes(body)), timeout).await?;
        let body: LockBatchResponseBody = read_body(addr, &response)?;
        Ok(body.lock_ok_mq_set)
    }

    /// Releases queues.
    pub(crate) async fn unlock_batch_mq(
        &self,
        addr: &str,
        body: &LockBatchRequestBody,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let request = RemotingCommand::request(RequestCode::UNLOCK_BATCH_MQ, &());
        self.invoke(addr, request.with_body(to_bytes(body)), timeout).await.map(drop)
    }

    /// Releases queues without waiting for an answer.
    pub(crate) fn unlock_batch_mq_oneway(
        &self,
        addr: &str,
        body: &LockBatchRequestBody,
    ) -> Result<(), ClientError> {
        let request = RemotingCommand::request(RequestCode::UNLOCK_BATCH_MQ, &());
        Ok(self.remoting.invoke_oneway(addr, request.with_body(to_bytes(body)))?)
    }

    /// Lets the broker redeliver a message later, or make it a dead letter.
    pub(crate) async fn consumer_send_message_back(
        &self,
        addr: &str,
        header: &ConsumerSendMsgBackRequestHeader,
    ) -> Result<(), ClientError> {
        let request = RemotingCommand::request(RequestCode::CONSUMER_SEND_MSG_BACK, header);
        self.invoke(addr, request, LONG_API_TIMEOUT).await.map(drop)
    }

    /// As [`MqClientApi::invoke`], of the name server that is asked; its address comes first.
    pub(crate) async fn invoke_name_server(
        &self,
        request: RemotingCommand,
        timeout: Duration,
    ) -> Result<(String, RemotingCommand), ClientError> {
        let (addr, response) = self.name_servers.invoke(&self.remoting, request, timeout).await?;
        match response.code {
            ResponseCode::SUCCESS => Ok((addr, response)),
            _ => Err(broker_error(&addr, response)),
        }
    }

    /// Sends a request to which every code but SUCCESS is an error.
    pub(crate) async fn invoke(
        &self,
        addr: &str,
        request: RemotingCommand,
        timeout: Duration,
    ) -> Result<RemotingCommand, ClientError> {
        let response = self.remoting.invoke(addr, request, timeout).await?;
        match response.code {
            ResponseCode::SUCCESS => Ok(response),
            _ => Err(broker_error(addr, response)),
        }
    }
}

fn read_header<H: CustomHeader>(addr: &str, response: &RemotingCommand) -> Result<H, ClientError> {
    response.header().map_err(|error| ClientError::bad_answer(addr, &error))
}

fn read_body<B: Json>(addr: &str, response: &RemotingCommand) -> Result<B, ClientError> {
    from_slice(&response.body).map_err(|error| ClientError::bad_answer(addr, &error))
}

fn broker_error(addr: &str, response: RemotingCommand) -> ClientError {
    ClientError::Broker {
        addr: addr.to_owned(),
        code: response.code,
        remark: response.remark.unwrap_or_default(),
    }
}
