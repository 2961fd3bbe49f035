//! Messages that are sent, as many at a time as are wanted.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mq_env::Env;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::frame;
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use tokio::time::Instant;

use super::LoadError;
use super::connection::{Slots, Step, Window, drive_all, opaque};
use super::reply::Reply;
use super::report::Report;

/// What is sent, and for how long.
#[derive(Clone, Debug)]
pub struct SendLoad {
    /// Topic; it is there already.
    pub topic: String,
    /// Connections.
    pub connections: usize,
    /// Sends of each connection that are under way at any time.
    pub in_flight: usize,
    /// Bytes of each body.
    pub body_bytes: usize,
    /// Queues over which the sends of a connection go by turns.
    pub queues: i32,
    /// Time before anything counts.
    pub warm_up: Duration,
    /// Time that counts.
    pub measured: Duration,
}

/// Sends to the broker at `addr`.
///
/// # Errors
/// When a connection breaks or its answers make no sense. Refusals are no error: the report counts them.
pub async fn send(env: &Env, addr: &str, load: &SendLoad) -> Result<Report, LoadError> {
    let counts_from = Instant::now() + load.warm_up;
    let window = Window { counts_from, until: counts_from + load.measured };
    let born_timestamp = env.clock.now_millis() as i64;
    let connections = (0..load.connections).map(|connection| Sends {
        frames: (0..load.in_flight)
            .map(|slot| frame(load, connection, slot, born_timestamp))
            .collect(),
    });
    let tally = drive_all(env, addr, connections, window).await?;
    Ok(Report::new(&tally, load.measured, &[]))
}

/// A connection's sends; each slot sends one and the same message again and again.
struct Sends {
    frames: Vec<Bytes>,
}

impl Slots for Sends {
    fn count(&self) -> usize {
        self.frames.len()
    }

    fn first(&self, slot: usize) -> Bytes {
        self.frames[slot].clone()
    }

    fn answered(&mut self, slot: usize, _: &Reply, code: i64) -> Result<Step, String> {
        let messages = u64::from(code == i64::from(ResponseCode::SUCCESS));
        Ok(Step { messages, next: Some(self.frames[slot].clone()) })
    }
}

fn frame(load: &SendLoad, connection: usize, slot: usize, born_timestamp: i64) -> Bytes {
    let header = SendMessageRequestHeader {
        producer_group: "mqload".to_owned(),
        topic: load.topic.clone(),
        default_topic: "TBW102".to_owned(),
        default_topic_queue_nums: load.queues,
        queue_id: ((connection * load.in_flight + slot) % load.queues.max(1) as usize) as i32,
        born_timestamp,
        properties: Some("WAIT\u{1}true\u{2}".to_owned()),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        batch: Some(false),
        ..SendMessageRequestHeader::default()
    };
    let mut request = RemotingCommand::request(RequestCode::SEND_MESSAGE_V2, &());
    header.encode_for(RequestCode::SEND_MESSAGE_V2, &mut request.ext_fields);
    request.opaque = opaque(slot);
    request.body = vec![b'x'; load.body_bytes].into();
    let mut bytes = BytesMut::new();
    frame::encode(&request, &mut bytes);
    bytes.freeze()
}
