//! Request and reply: a message whose sender waits for an answer (RocketMQ 4.9
//! `DefaultMQProducer.request`, `MessageUtil`).
//!
//! A request is an ordinary message that names its client and a correlation id. Whoever consumes it sends
//! [`create_reply_message`] by a producer of its own, to a broker of the same cluster, which pushes it to the
//! client that waits. Nothing is promised of a reply: whoever got none asks again or gives up.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mq_protocol::header::send_message::ReplyMessageRequestHeader;
use mq_protocol::message::{Message, MessageConst, MessageExt, Properties, reply_topic};
use mq_protocol::message_codec::decompress_body;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessError};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::api::SendResult;
use crate::error::{ClientError, RequestError, SendError};
use crate::producer::{CommunicationMode, Outgoing, Producer};

/// `MSG_TYPE` of replies.
const REPLY_MESSAGE_FLAG: &str = "reply";

/// Requests of one client that may wait for a reply: as many as sends may be in flight.
const WAITING_REQUESTS_MAX: usize = 65_535;

/// The reply to `request`, which was consumed: it goes to the reply topic of the cluster that stored the
/// request.
///
/// # Errors
/// When the message does not say which cluster that is, because it was not consumed.
pub fn create_reply_message(
    request: &Message,
    body: impl Into<Bytes>,
) -> Result<Message, ClientError> {
    let Some(cluster) = request.properties.get(MessageConst::CLUSTER) else {
        let text = "create reply message fail, requestMessage error, property[CLUSTER] is null.";
        return Err(ClientError::IllegalMessage(text.to_owned()));
    };
    let mut reply = Message::new(reply_topic(cluster), body);
    reply.properties.insert(MessageConst::MSG_TYPE, REPLY_MESSAGE_FLAG);
    for name in [MessageConst::CORRELATION_ID, MessageConst::REPLY_TO_CLIENT, MessageConst::TTL] {
        if let Some(value) = request.properties.get(name) {
            reply.properties.insert(name, value);
        }
    }
    Ok(reply)
}

/// Whether the message answers a request.
pub(crate) fn is_reply(properties: &Properties) -> bool {
    properties.get(MessageConst::MSG_TYPE) == Some(REPLY_MESSAGE_FLAG)
}

/// What became of a request that was sent.
pub struct RequestOutcome {
    /// Where it was stored, or why it was not acknowledged.
    pub sent: Result<SendResult, SendError>,
    /// Its reply, which may not be here yet.
    pub reply: RequestResponseFuture,
}

/// The reply to a request that was sent (RocketMQ 4.9 `RequestResponseFuture`). Whoever drops it wants none.
pub struct RequestResponseFuture {
    waiting: WaitingRequest,
    deadline: Instant,
}

impl RequestResponseFuture {
    /// Waits for the reply, until the request's time is over; `None` if it came to none by then. For one to a request
    /// that was not acknowledged nobody waits, but it may have come before.
    pub async fn wait_response_message(self) -> Option<MessageExt> {
        // What is here is taken even when the time is over.
        tokio::time::timeout_at(self.deadline, self.waiting.reply()).await.ok().flatten()
    }
}

/// A request that is ready to be sent.
struct Request {
    outgoing: Outgoing,
    waiting: WaitingRequest,
    deadline: Instant,
}

impl Producer {
    /// Sends a request, as [`Producer::send_async`] does, and waits for its reply: `timeout` in all.
    ///
    /// # Errors
    /// When the request was not acknowledged, when no reply came in time, or when too many requests of the
    /// client wait already. A request without a reply may have been consumed all the same.
    pub async fn request(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<MessageExt, RequestError> {
        let Request { outgoing, waiting, deadline } = self.prepare(message, timeout).await?;
        let mut reply = pin!(waiting.reply());
        // The reply may be here before the acknowledgement.
        mq_env::select! {
            reply = &mut reply => return reply.ok_or(RequestError::Timeout { timeout }),
            sent = self.send_default(&outgoing, deadline, CommunicationMode::Async) => {
                sent.map_err(RequestError::Send)?;
            }
        }
        let reply = tokio::time::timeout_at(deadline, reply).await;
        reply.ok().flatten().ok_or(RequestError::Timeout { timeout })
    }

    /// The same, but first it waits for the acknowledgement, and hands on who waits for the reply.
    ///
    /// # Errors
    /// When nothing was sent.
    pub async fn request_outcome(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<RequestOutcome, RequestError> {
        let Request { outgoing, waiting, deadline } = self.prepare(message, timeout).await?;
        let sent = self.send_default(&outgoing, deadline, CommunicationMode::Async).await;
        let deadline = if sent.is_ok() { deadline } else { Instant::now() };
        Ok(RequestOutcome { sent, reply: RequestResponseFuture { waiting, deadline } })
    }

    async fn prepare(
        &self,
        mut message: Message,
        timeout: Duration,
    ) -> Result<Request, RequestError> {
        let deadline = Instant::now() + timeout;
        let instance = self.instance();
        let waiting = instance.request_futures().register()?;
        let properties = &mut message.properties;
        properties.insert(MessageConst::CORRELATION_ID, &waiting.correlation_id);
        properties.insert(MessageConst::REPLY_TO_CLIENT, instance.client_id());
        properties.insert_display(MessageConst::TTL, timeout.as_millis());
        let outgoing = self.outgoing(message).map_err(refused)?;
        self.be_known(&outgoing.topic, deadline).await?;
        Ok(Request { outgoing, waiting, deadline })
    }

    /// Before the first request to a topic, lets its brokers know of this client: they could not push a
    /// reply to it.
    async fn be_known(&self, topic: &str, deadline: Instant) -> Result<(), RequestError> {
        let instance = self.instance();
        if instance.with_routes(|routes| routes.subscribe_queues(topic).is_some()) {
            return Ok(());
        }
        let becoming_known = async {
            self.find_publish_queues(topic).await?;
            instance.send_heartbeat_to_all_brokers().await;
            Ok(())
        };
        let known = tokio::time::timeout_at(deadline, becoming_known).await;
        known.unwrap_or(Err(ClientError::CallTimeout)).map_err(refused)
    }
}

fn refused(cause: ClientError) -> RequestError {
    RequestError::Send(SendError::not_sent(cause))
}

/// The requests of a client that wait for their replies (RocketMQ 4.9 `RequestFutureHolder`, which all
/// clients of a process share).
pub(crate) struct RequestFutures {
    state: Mutex<State>,
}

struct State {
    /// By correlation id.
    waiting: BTreeMap<String, oneshot::Sender<MessageExt>>,
    rng: ChaCha8Rng,
}

/// A request that waits for its reply, until it is dropped.
struct WaitingRequest {
    futures: Arc<RequestFutures>,
    correlation_id: String,
    reply: oneshot::Receiver<MessageExt>,
}

impl RequestFutures {
    /// Nobody waits. `rng` makes correlation ids.
    pub(crate) fn new(rng: ChaCha8Rng) -> Self {
        RequestFutures { state: Mutex::new(State { waiting: BTreeMap::new(), rng }) }
    }

    fn register(self: &Arc<Self>) -> Result<WaitingRequest, RequestError> {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_REQUESTS_MAX {
            return Err(RequestError::TooMany(WAITING_REQUESTS_MAX));
        }
        let correlation_id = random_uuid(&mut state.rng);
        let (sender, reply) = oneshot::channel();
        state.waiting.insert(correlation_id.clone(), sender);
        Ok(WaitingRequest { futures: Arc::clone(self), correlation_id, reply })
    }

    /// Takes in a reply that a broker pushes (326) at `now_ms`. One that nobody waits for any more is
    /// dropped: the broker could do nothing about it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn take_reply(
        &self,
        channel: &Channel,
        request: RemotingCommand,
        now_ms: u64,
    ) -> Result<(), ProcessError> {
        let reply = pushed_message(channel, request, now_ms)?;
        let id = reply.message.properties.get(MessageConst::CORRELATION_ID).unwrap_or_default();
        match self.state().waiting.remove(id) {
            // Who waited may have gone just now.
            Some(waiting) => drop(waiting.send(reply)),
            None => {
                tracing::info!(correlation_id = id, from = %reply.born_host, "a reply is too late");
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingRequest {
    /// The reply; `None` if there will be none.
    async fn reply(mut self) -> Option<MessageExt> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        self.futures.state().waiting.remove(&self.correlation_id);
    }
}

/// A message that came as a request instead of a record.
fn pushed_message(
    channel: &Channel,
    request: RemotingCommand,
    now_ms: u64,
) -> Result<MessageExt, ProcessError> {
    let header: ReplyMessageRequestHeader = request.header()?;
    let mut properties = Properties::parse(header.properties.as_deref().unwrap_or_default());
    properties.insert_display(MessageConst::ARRIVE_TIME, now_ms);
    let host = |text: &str| text.parse().unwrap_or_else(|_| channel.peer_addr());
    // As with records, what does not decompress stays as it is.
    let plain = decompress_body(header.sys_flag, &request.body).ok().flatten();
    Ok(MessageExt {
        message: Message {
            topic: header.topic,
            flag: header.flag,
            properties,
            body: plain.unwrap_or(request.body),
        },
        broker_name: String::new(),
        queue_id: header.queue_id,
        store_size: 0,
        queue_offset: 0,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        born_host: host(&header.born_host),
        store_timestamp: header.store_timestamp,
        store_host: host(&header.store_host),
        phy_offset: 0,
        body_crc: 0,
        reconsume_times: header.reconsume_times.unwrap_or(0),
        prepared_transaction_offset: 0,
    })
}

/// A random UUID (version 4) as Java writes it.
fn random_uuid(rng: &mut impl Rng) -> String {
    let version = (rng.random::<u128>() & !(0xf << 76)) | (4 << 76);
    let variant = (version & !(0b11 << 62)) | (0b10 << 62);
    let hex = format!("{variant:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn correlation_ids_are_uuids() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (one, other) = (random_uuid(&mut rng), random_uuid(&mut rng));
        assert_ne!(one, other);
        for id in [one, other] {
            let lens: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(lens, [8, 4, 4, 4, 12], "{id}");
            assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "{id}");
        }
    }

    #[test]
    fn a_reply_goes_where_its_request_came_from() {
        let mut request = Message::new("T", "ping");
        assert!(create_reply_message(&request, "pong").is_err());
        for (name, value) in [
            ("CLUSTER", "C"),
            ("REPLY_TO_CLIENT", "10.0.0.1@c"),
            ("TTL", "500"),
            ("CORRELATION_ID", "id"),
            ("TAGS", "a"),
        ] {
            request.properties.insert(name, value);
        }
        let reply = create_reply_message(&request, "pong").unwrap();
        assert_eq!(reply.topic, "C_REPLY_TOPIC");
        assert!(is_reply(&reply.properties) && !is_reply(&request.properties));
        let text = reply.properties.to_string().replace('\u{1}', "=").replace('\u{2}', ";");
        assert_eq!(text, "MSG_TYPE=reply;CORRELATION_ID=id;REPLY_TO_CLIENT=10.0.0.1@c;TTL=500");
    }

    #[test]
    fn whoever_waits_no_more_is_forgotten() {
        let futures = Arc::new(RequestFutures::new(ChaCha8Rng::seed_from_u64(1)));
        let waiting = futures.register().unwrap();
        assert_eq!(futures.state().waiting.len(), 1);
        drop(waiting);
        assert!(futures.state().waiting.is_empty());
        let all: Vec<_> = (0..WAITING_REQUESTS_MAX).map(|_| futures.register().unwrap()).collect();
        assert!(matches!(futures.register(), Err(RequestError::TooMany(_))));
        drop(all);
        assert!(futures.register().is_ok());
    }
}
