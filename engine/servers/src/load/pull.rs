//! Messages that are pulled from a log that is there, one pull of each queue at a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mq_env::Env;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::frame;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use tokio::time::Instant;

use super::LoadError;
use super::connection::{Slots, Step, Window, drive_all, opaque};
use super::reply::Reply;
use super::report::Report;

/// No log takes longer.
const LONGEST: Duration = Duration::from_secs(600);

/// What is pulled.
#[derive(Clone, Debug)]
pub struct PullLoad {
    /// Topic.
    pub topic: String,
    /// Its queues.
    pub queues: i32,
    /// Connections, which share the queues.
    pub connections: usize,
    /// Messages of a pull at most.
    pub batch: i32,
}

/// Pulls every queue from its beginning to its end, from the broker at `addr`.
///
/// # Errors
/// When a connection breaks or its answers make no sense, a refusal included.
pub async fn pull(env: &Env, addr: &str, load: &PullLoad) -> Result<Report, LoadError> {
    let begin = Instant::now();
    let window = Window { counts_from: begin, until: begin + LONGEST };
    let connections = load.connections.clamp(1, load.queues.max(1) as usize);
    let of_connection = |connection: usize| Pulls {
        load: load.clone(),
        queues: (0..load.queues).skip(connection).step_by(connections).collect(),
    };
    let tally = drive_all(env, addr, (0..connections).map(of_connection), window).await?;
    let ends = [ResponseCode::PULL_NOT_FOUND, ResponseCode::PULL_OFFSET_MOVED];
    Ok(Report::new(&tally, begin.elapsed(), &ends))
}

/// A connection's pulls; each slot is a queue.
struct Pulls {
    load: PullLoad,
    queues: Vec<i32>,
}

impl Slots for Pulls {
    fn count(&self) -> usize {
        self.queues.len()
    }

    fn first(&self, slot: usize) -> Bytes {
        frame(&self.load, self.queues[slot], slot, 0)
    }

    fn answered(&mut self, slot: usize, reply: &Reply, code: i64) -> Result<Step, String> {
        let next = reply.number("\"nextBeginOffset\":").unwrap_or(0);
        let go_on = |messages| {
            let next = frame(&self.load, self.queues[slot], slot, next);
            Ok(Step { messages, next: Some(next) })
        };
        let of = |it: i32| i64::from(it);
        match code {
            code if code == of(ResponseCode::SUCCESS) => go_on(records(reply.body())),
            // The queue begins later than at 0.
            code if code == of(ResponseCode::PULL_OFFSET_MOVED) => go_on(0),
            code if code == of(ResponseCode::PULL_NOT_FOUND) => {
                Ok(Step { messages: 0, next: None })
            }
            code => Err(format!("answers a pull with code {code}")),
        }
    }
}

/// Records in a body of them: each begins with its size.
fn records(mut body: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(size) = body.first_chunk::<4>() {
        let size = (u32::from_be_bytes(*size) as usize).clamp(4, body.len());
        body = &body[size..];
        count += 1;
    }
    count
}

fn frame(load: &PullLoad, queue_id: i32, slot: usize, queue_offset: i64) -> Bytes {
    let header = PullMessageRequestHeader {
        consumer_group: "mqload".to_owned(),
        topic: load.topic.clone(),
        queue_id,
        queue_offset,
        max_msg_nums: load.batch,
        sys_flag: PullSysFlag::SUBSCRIPTION,
        subscription: Some("*".to_owned()),
        ..PullMessageRequestHeader::default()
    };
    let mut request = RemotingCommand::request(RequestCode::PULL_MESSAGE, &header);
    request.opaque = opaque(slot);
    let mut bytes = BytesMut::new();
    frame::encode(&request, &mut bytes);
    bytes.freeze()
}
