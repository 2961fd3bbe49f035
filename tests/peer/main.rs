//! A client of ours as a process, for tests that kill one or hold it beside another: the twin of
//! `tests/reality/java/Peer.java`, which is Apache RocketMQ's, with the same command line (a mode, then
//! `name=value`) and the same lines on standard output. It leaves in order when its standard input ends.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::print_stdout, reason = "what happens to the client is read by the test")]

mod figures;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use mq_client::{
    ClientConfig, ClientInstance, ConsumeResult, LocalTransactionState, MessageSelector, Producer,
    ProducerConfig, PushConsumer, PushConsumerConfig, SelectMessageQueueByHash, SendResult,
    SendStatus, SessionCredentials, TransactionListener, TransactionProducer, create_reply_message,
};
use mq_env::{BoxFuture, Env};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::message::{Message, MessageConst, MessageExt};
use mq_tls::TlsSettings;

/// How often it looks at what it owns.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// Time for a send, and for the reply to a request.
const SEND_WITHIN: Duration = Duration::from_secs(10);
const REPLY_WITHIN: Duration = Duration::from_secs(20);

/// The `name=value` of the command line.
struct Args(BTreeMap<String, String>);

impl Args {
    fn maybe(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn get(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("{name} is missing"))
    }

    fn number(&self, name: &str, otherwise: i32) -> i32 {
        self.maybe(name).map_or(otherwise, |value| value.parse().unwrap())
    }

    fn is(&self, name: &str) -> bool {
        self.maybe(name) == Some("true")
    }

    /// A client whose name ends with `suffix`.
    fn client(&self, suffix: &str) -> ClientInstance {
        let config = ClientConfig {
            namesrv_addrs: vec![self.get("namesrv").to_owned()],
            instance_name: format!("{}{suffix}", self.get("instance")),
            session_credentials: self.maybe("access_key").map(|access_key| SessionCredentials {
                access_key: access_key.to_owned(),
                secret_key: self.get("secret_key").to_owned(),
                security_token: None,
            }),
            ..ClientConfig::default()
        };
        ClientInstance::start(self.env(), config)
    }

    /// Its connections are encrypted with `tls=true`.
    fn env(&self) -> Env {
        let settings = TlsSettings { client_enable: self.is("tls"), ..TlsSettings::default() };
        mq_tls::encrypted(&Env::os(), settings).unwrap()
    }

    fn consumer_config(&self) -> PushConsumerConfig {
        let selector = match self.maybe("sql") {
            Some(sql) => MessageSelector::BySql(sql.to_owned()),
            None => MessageSelector::ByTag(self.maybe("tags").unwrap_or("*").to_owned()),
        };
        PushConsumerConfig {
            consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
            reconsume_times_max: self.number("max", -1),
            consume_orderly: self.is("orderly"),
            ..PushConsumerConfig::new(self.get("group"), self.get("topic"), selector)
        }
    }

    fn producer_config(&self, suffix: &str) -> ProducerConfig {
        let group = format!("{}{suffix}", self.get("group"));
        ProducerConfig { send_msg_timeout: SEND_WITHIN, ..ProducerConfig::new(group) }
    }

    /// Message number `number` of those that are sent.
    fn message(&self, number: i32) -> Message {
        let pad = "x".repeat(usize::try_from(self.number("pad", 0)).unwrap());
        let body = format!("{}{number}{pad}", self.get("prefix"));
        let mut message = Message::new(self.get("topic"), body);
        message.properties.insert(MessageConst::TAGS, &format!("Tag{}", number % 2));
        message.properties.insert(MessageConst::KEYS, &format!("key{number}"));
        message.properties.insert_display("number", number);
        message
    }
}

/// A line: its word, when it is said, and what follows.
fn say(word: &str, fields: &[&dyn Display]) {
    let fields: String = fields.iter().map(|field| format!("\t{field}")).collect();
    println!("{word}\t{}{fields}", Env::os().clock.now_millis());
}

fn say_sent(sent: &SendResult, body: &str) {
    let SendResult { msg_id, offset_msg_id, message_queue, queue_offset, .. } = sent;
    let status = match sent.send_status {
        SendStatus::SendOk => "SEND_OK",
        _ => "not SEND_OK",
    };
    say("sent", &[&status, msg_id, offset_msg_id, &message_queue.queue_id, queue_offset, &body]);
}

fn body(message: &Message) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut words = std::env::args().skip(1);
    let mode = words.next().unwrap();
    let pair = |word: String| {
        let (name, value) = word.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    let args = Args(words.map(pair).collect());
    match mode.as_str() {
        "consume" => consume(&args).await,
        "send" => send(&args).await,
        "transact" => transact(&args).await,
        "request" => request(&args).await,
        "drain" => figures::drain(&args).await,
        "latency" => figures::latency(&args).await,
        "members" => figures::members(&args).await,
        _ => panic!("no mode {mode}"),
    }
}

/// Waits until standard input ends.
#[expect(clippy::disallowed_methods, reason = "a thread for what blocks, outside of any engine")]
async fn end() {
    let read = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(read).await.unwrap().unwrap();
}

/// Consumes, and says what it is given and which queues it owns.
async fn consume(args: &Args) {
    let client = args.client("");
    let replies =
        args.is("reply").then(|| Producer::new(&client, args.producer_config("-replies")));
    let fail = args.number("fail", 0);
    let listener = move |messages: &[Arc<MessageExt>]| match (take(messages, fail), &replies) {
        (result, None) => result.into(),
        (result, Some(replies)) => {
            let (replies, messages) = (replies.clone(), messages.to_vec());
            mq_client::Consumption::Later(Box::pin(async move {
                for message in &messages {
                    let reply = format!("re: {}", body(&message.message));
                    let reply = create_reply_message(&message.message, reply).unwrap();
                    if let Err(error) = replies.send(reply).await {
                        say("failed", &[&error]);
                    }
                }
                result
            }))
        }
    };
    let consumer = PushConsumer::start(&client, args.consumer_config(), Arc::new(listener)).await;
    let consumer = consumer.unwrap();
    say("ready", &[]);
    let mut ended = std::pin::pin!(end());
    let mut before = String::new();
    while tokio::time::timeout(SAMPLE_EVERY, &mut ended).await.is_err() {
        let now = owned(&consumer, args.get("topic")).join(",");
        if now != before {
            say("owns", &[&now]);
            before = now;
        }
    }
    consumer.shutdown().await;
    client.shutdown().await;
    say("owns", &[&""]);
    say("left", &[]);
}

/// Says what came. Whether it is consumed: a message fails until it was given back so often.
fn take(messages: &[Arc<MessageExt>], fail: i32) -> ConsumeResult {
    let mut result = ConsumeResult::Success;
    for message in messages {
        let MessageExt { queue_id, queue_offset, reconsume_times, .. } = &**message;
        let Message { topic, properties, .. } = &message.message;
        let body = body(&message.message);
        say("got", &[topic, queue_id, queue_offset, reconsume_times, &body, properties]);
        if *reconsume_times < fail {
            result = ConsumeResult::ReconsumeLater;
        }
    }
    result
}

/// The queues of the subscribed topic that a consumer owns, sorted.
fn owned(consumer: &PushConsumer, topic: &str) -> Vec<String> {
    let owned = consumer.owned_queues().into_iter().map(|(queue, _)| queue);
    let owned = owned.filter(|queue| queue.topic == topic);
    let mut owned: Vec<_> =
        owned.map(|queue| format!("{}/{}", queue.broker_name, queue.queue_id)).collect();
    owned.sort();
    owned
}

/// Sends one by one, as a batch, or by the hash of a key.
async fn send(args: &Args) {
    let client = args.client("-producer");
    let producer = Producer::new(&client, args.producer_config(""));
    let messages = (0..args.number("count", 1)).map(|number| (number, args.message(number)));
    if args.is("batch") {
        let batch = messages.map(|(_, message)| message).collect();
        say_sent(&producer.send_batch(batch).await.unwrap(), args.get("prefix"));
    } else {
        for (number, message) in messages {
            let text = body(&message).to_owned();
            let sent = match args.maybe("keys") {
                Some(keys) => {
                    let key = format!("order{}", number % keys.parse::<i32>().unwrap());
                    let by = SelectMessageQueueByHash;
                    producer.send_with_selector(message, &by, key.as_str()).await
                }
                None => producer.send(message).await,
            };
            match sent {
                // Who has an account may have the wrong one.
                Err(error) if args.maybe("access_key").is_some() => say("refused", &[&error]),
                sent => say_sent(&sent.unwrap(), &text),
            }
        }
    }
    client.shutdown().await;
    say("left", &[]);
}

/// Ends transactions as the bodies of their messages say, and answers the broker's questions.
struct Transactions {
    answer: LocalTransactionState,
}

impl TransactionListener for Transactions {
    fn execute_local_transaction(
        &self,
        message: &Message,
    ) -> BoxFuture<'static, LocalTransactionState> {
        let state = state(body(message));
        Box::pin(async move { state })
    }

    fn check_local_transaction(
        &self,
        message: &MessageExt,
    ) -> BoxFuture<'static, LocalTransactionState> {
        let properties = &message.message.properties;
        let id = properties.get(MessageConst::UNIQ_KEY).unwrap_or_default();
        say("checked", &[&body(&message.message), &id, &id, properties]);
        let answer = self.answer;
        Box::pin(async move { answer })
    }
}

fn state(text: &str) -> LocalTransactionState {
    if text.starts_with("commit") {
        LocalTransactionState::CommitMessage
    } else if text.starts_with("rollback") {
        LocalTransactionState::RollbackMessage
    } else {
        LocalTransactionState::Unknow
    }
}

/// Sends messages in transactions, and stays for the broker's questions.
async fn transact(args: &Args) {
    let client = args.client("-producer");
    let listener = Arc::new(Transactions { answer: state(args.get("check")) });
    let producer = TransactionProducer::new(&client, args.producer_config(""), listener);
    for body in args.get("bodies").split(',') {
        let message = Message::new(args.get("topic"), body.to_owned());
        let sent = producer.send_message_in_transaction(message).await.unwrap();
        say_sent(&sent.send_result, body);
    }
    say("ready", &[]);
    end().await;
    client.shutdown().await;
    say("left", &[]);
}

/// Sends requests and says what is replied.
async fn request(args: &Args) {
    let client = args.client("-producer");
    let producer = Producer::new(&client, args.producer_config(""));
    for number in 0..args.number("count", 1) {
        let reply = producer.request(args.message(number), REPLY_WITHIN).await.unwrap();
        say("replied", &[&body(&reply.message)]);
    }
    client.shutdown().await;
    say("left", &[]);
}
