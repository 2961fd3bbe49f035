//! Requests and their replies: what a producer asks, what consumers answer.

use std::time::Duration;

use mq_client::{ClientError, Producer, RequestError, SendError, create_reply_message};
use mq_protocol::message::{Message, MessageConst, MessageExt};
use staticfire_judge::history::{Answer, Reply, SendOp, message_number};
use staticfire_world::trace::Name;

use super::Workload;
use super::draft::DraftKind;
use super::outcome::{failed, stored};

/// What an operation is called by which a producer is given a reply, and one by which a consumer gives one.
const REPLIED: &str = "replied";
const ANSWERED: &str = "answered";

/// Sends a request and notes its reply.
pub(super) async fn ask(
    producer: &Producer,
    name: &Name,
    work: &Workload,
    kind: DraftKind,
    message: Message,
    timeout: Duration,
) -> SendOp {
    let began_us = work.traffic.trace().now_us();
    let outcome = match producer.request_outcome(message, timeout).await {
        Ok(outcome) => outcome,
        Err(RequestError::Send(error)) => return failed(work, &error),
        Err(error) => {
            let cause = ClientError::IllegalMessage(error.to_string());
            return failed(work, &SendError { cause, attempts: 0, maybe_stored: false });
        }
    };
    match &outcome.reply {
        Some(reply) => note_reply(name, work, kind.number, reply),
        None => {
            let deadline_us = began_us + u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
            work.traffic.history().unanswered.insert(kind.number, deadline_us);
        }
    }
    outcome.sent.map_or_else(|error| failed(work, &error), |result| stored(work, kind, &result))
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
