//! Requests and their replies: what a producer asks, what consumers answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mq_client::{
    ClientError, Producer, RequestError, RequestOutcome, RequestResponseFuture, SendError,
    create_reply_message,
};
use mq_protocol::message::{Message, MessageConst, MessageExt};
use staticfire_judge::history::{Answer, Reply, SendOp, message_number};
use staticfire_world::trace::Name;

use super::Workload;
use super::draft::DraftKind;
use super::outcome::{failed, stored};

/// What an operation is called by which a producer is given a reply, and one by which a consumer gives one.
const REPLIED: &str = "replied";
const ANSWERED: &str = "answered";

/// A request that was sent, and whose reply may come.
pub(super) struct Asked {
    number: u32,
    reply: RequestResponseFuture,
    _asking: Asking,
}

/// That a producer waits for a reply: until it is dropped.
struct Asking(Arc<Workload>);

impl Asking {
    fn new(work: &Arc<Workload>) -> Self {
        work.asking.fetch_add(1, Ordering::Relaxed);
        Asking(Arc::clone(work))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request; what became of it, and who waits for its reply, which may last much longer.
pub(super) async fn ask(
    producer: &Producer,
    work: &Arc<Workload>,
    kind: DraftKind,
    message: Message,
    timeout: Duration,
) -> (SendOp, Option<Asked>) {
    let RequestOutcome { sent, reply } = match producer.request_outcome(message, timeout).await {
        Ok(outcome) => outcome,
        Err(RequestError::Send(error)) => return (failed(work, &error), None),
        Err(error) => {
            let cause = ClientError::IllegalMessage(error.to_string());
            return (failed(work, &SendError::not_sent(cause)), None);
        }
    };
    let asked = Asked { number: kind.number, reply, _asking: Asking::new(work) };
    let op = sent.map_or_else(|error| failed(work, &error), |result| stored(work, kind, &result));
    (op, Some(asked))
}

impl Asked {
    /// Waits for the reply, and notes it, or until when there was none.
    pub(super) async fn note(self, name: &Name, work: &Workload) {
        let Asked { number, reply, _asking } = self;
        match reply.wait_response_message().await {
            Some(reply) => note_reply(name, work, number, &reply),
            None => {
                let until_us = work.traffic.trace().now_us();
                work.traffic.history().unanswered.insert(number, until_us);
            }
        }
    }
}

fn note_reply(producer: &Name, work: &Workload, number: u32, reply: &MessageExt) {
    let trace = work.traffic.trace();
    let text = String::from_utf8_lossy(&reply.message.body);
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (key, asker, consumer) = (word(), word(), word());
    let noted = Reply {
        number,
        producer: Name::clone(producer),
        answers: message_number(key),
        asker: trace.name(asker),
        consumer: trace.name(consumer),
        ordinal: trace.op(producer, u64::from(number), REPLIED),
    };
    work.traffic.history().replies.push(noted);
}

/// Gives the reply to a message, if it is a request: what it answers, who asked, who answers.
pub(super) async fn answer(
    producer: &Producer,
    consumer: &Name,
    work: &Workload,
    request: &MessageExt,
) {
    let properties = &request.message.properties;
    let key = request.message.keys().next().unwrap_or_default();
    let (Some(number), Some(client_id)) =
        (message_number(key), properties.get(MessageConst::REPLY_TO_CLIENT))
    else {
        return;
    };
    let asker = client_id.split_once('@').map_or(client_id, |(_, name)| name);
    let body = format!("{key} {asker} {consumer}");
    let Ok(reply) = create_reply_message(&request.message, body) else { return };
    // Nothing is promised of a reply: whoever gives it does not try for ever.
    let is_acked = producer.send(reply).await.is_ok();
    let trace = work.traffic.trace();
    trace.op(consumer, u64::from(number), ANSWERED);
    let answer =
        Answer { number, consumer: Name::clone(consumer), ended_us: trace.now_us(), is_acked };
    work.traffic.history().answers.push(answer);
}
