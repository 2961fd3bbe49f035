//! Messages that are not to be seen yet: delayed ones, and half messages of transactions. One broker takes
//! them, the next one over the same directory delivers them.

use std::collections::BTreeSet;
use std::time::Duration;

use mq_client::{ClientInstance, Producer, SendResult, SendStatus};
use mq_env::Env;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::transaction::EndTransactionRequestHeader;
use mq_protocol::message::{Message, MessageConst, MessageExt, OffsetMessageId};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::MessageSysFlag;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_tests::read_back::read_all;
use mq_tests::senders::producer_config;

/// Delayed messages go here, half messages there.
const TOPICS: [&str; 2] = ["Delayed", "Transacted"];

/// A delay level with its delay.
type Level = (&'static str, Duration);
const SOON: Level = ("1", Duration::from_secs(1));
const LATER: Level = ("2", Duration::from_secs(5));

/// Delayed messages that the first broker delivers.
const DELIVERED: usize = 4;
/// Delayed messages that wait when it ends, in both levels together.
const WAITING: usize = 8;

/// The name of a message.
const NAME: &str = "name";

/// How long a broker may take to show what it has.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// Half messages that were sent, each with its end.
pub(crate) struct Halves {
    remoting: RemotingClient,
    addr: String,
    open: SendResult,
}

/// Has a broker deliver some delayed messages and keep others, commit a half message, roll one back and
/// keep two.
pub(crate) async fn send(client: &ClientInstance, addr: &str) -> Halves {
    let producer = Producer::new(client, producer_config());
    for number in 0..DELIVERED {
        send_delayed(&producer, number, SOON).await;
    }
    wait_for(client, TOPICS[0], DELIVERED).await;

    let config = RemotingClientConfig::default();
    let remoting = RemotingClient::new(Env::os(), config, ProcessorTable::default());
    let mut halves = Vec::new();
    for name in ["committed", "rolled back", "committed by the next", "never ended"] {
        halves.push(send_half(&producer, name).await);
    }
    let open = halves[2].clone();
    let halves_sent = Halves { remoting, addr: addr.to_owned(), open };
    halves_sent.end(&halves[0], MessageSysFlag::TRANSACTION_COMMIT).await;
    halves_sent.end(&halves[1], MessageSysFlag::TRANSACTION_ROLLBACK).await;
    wait_for(client, TOPICS[1], 1).await;

    for number in DELIVERED..DELIVERED + WAITING {
        send_delayed(&producer, number, if number % 2 == 0 { SOON } else { LATER }).await;
    }
    halves_sent
}

/// Has the next broker show what was committed, take the commit that is left, and deliver what waits, once
/// each if it knows what was `delivered_once`. What it then has.
pub(crate) async fn take_over(
    client: &ClientInstance,
    halves: &Halves,
    delivered_once: bool,
) -> Vec<MessageExt> {
    assert_eq!(names(&wait_for(client, TOPICS[1], 1).await), ["committed"]);
    halves.end(&halves.open, MessageSysFlag::TRANSACTION_COMMIT).await;
    let transacted = wait_for(client, TOPICS[1], 2).await;
    let known: BTreeSet<_> = names(&transacted).into_iter().collect();
    assert_eq!(known, BTreeSet::from(["committed", "committed by the next"]));
    for message in &transacted {
        let expected = names(std::slice::from_ref(message))[0].as_bytes();
        assert_eq!(&message.message.body[..], expected);
        assert_eq!(message.sys_flag, MessageSysFlag::TRANSACTION_COMMIT);
    }

    let delayed = wait_for(client, TOPICS[0], DELIVERED + WAITING).await;
    assert!(!delivered_once || delayed.len() == DELIVERED + WAITING, "{:?}", names(&delayed));
    for message in &delayed {
        let level = message.message.properties.get(MessageConst::DELAY);
        let delay = if level == Some(SOON.0) { SOON.1 } else { LATER.1 };
        let waited_ms = message.store_timestamp - message.born_timestamp;
        assert!(waited_ms >= delay.as_millis() as i64, "{waited_ms} ms, {message:?}");
    }
    all(client).await
}

/// Everything that can be seen.
pub(crate) async fn all(client: &ClientInstance) -> Vec<MessageExt> {
    read_all(client, &TOPICS.map(str::to_owned).into()).await
}

impl Halves {
    /// Commits a half message or rolls it back.
    async fn end(&self, half: &SendResult, commit_or_rollback: i32) {
        let id: OffsetMessageId = half.offset_msg_id.parse().unwrap();
        let header = EndTransactionRequestHeader {
            producer_group: producer_config().group,
            tran_state_table_offset: half.queue_offset,
            commit_log_offset: id.phy_offset,
            commit_or_rollback,
            msg_id: half.msg_id.clone(),
            ..EndTransactionRequestHeader::default()
        };
        let request = RemotingCommand::request(RequestCode::END_TRANSACTION, &header);
        let reply = self.remoting.invoke(&self.addr, request, Duration::from_secs(10)).await;
        let reply = reply.unwrap();
        assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
    }
}

async fn send_delayed(producer: &Producer, number: usize, (level, _): Level) {
    let mut message = named(TOPICS[0], &format!("delayed {number}"));
    message.properties.insert(MessageConst::DELAY, level);
    assert_eq!(producer.send(message).await.unwrap().send_status, SendStatus::SendOk);
}

async fn send_half(producer: &Producer, name: &str) -> SendResult {
    let mut message = named(TOPICS[1], name);
    message.properties.insert(MessageConst::TRAN_MSG, "true");
    message.properties.insert(MessageConst::PGROUP, &producer_config().group);
    producer.send(message).await.unwrap()
}

fn named(topic: &str, name: &str) -> Message {
    let mut message = Message::new(topic, name.as_bytes().to_vec());
    message.properties.insert(NAME, name);
    message
}

fn names(messages: &[MessageExt]) -> Vec<&str> {
    messages.iter().map(|message| message.message.properties.get(NAME).unwrap()).collect()
}

/// The messages of a topic, once there are so many of different names.
async fn wait_for(client: &ClientInstance, topic: &str, count: usize) -> Vec<MessageExt> {
    let shown = async {
        loop {
            let messages = read_all(client, &BTreeSet::from([topic.to_owned()])).await;
            if names(&messages).into_iter().collect::<BTreeSet<_>>().len() >= count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let shown = tokio::time::timeout(SHOWN_WITHIN, shown).await;
    shown.unwrap_or_else(|_| panic!("{topic} has fewer than {count} messages"))
}
