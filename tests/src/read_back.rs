//! [`ReadBack`]: everything that a served store holds, held against the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mq_client::{ClientConfig, ClientInstance, PullClient, PullStatus, SessionCredentials};
use mq_env::Env;
use mq_protocol::message::{MessageExt, MessageQueue};

use crate::broker_process::BrokerProcess;
use crate::ledger::{Ack, Ledger, MessageId};

/// The group that reads.
const READERS: &str = "reality-readers";

/// Messages asked for at once.
const PULLED_AT_ONCE: i32 = 32;

/// Time for a broker to start and to be known.
const START_WITHIN: Duration = Duration::from_secs(60);

/// What a store holds, read over the network.
#[derive(Clone, Debug, Default)]
pub struct ReadBack {
    messages: BTreeMap<MessageId, Vec<Place>>,
    /// Messages that nobody can have sent, in words.
    strange: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    topic: String,
    queue_id: i32,
    queue_offset: i64,
}

/// How a store differs from what was promised.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    /// Acknowledged, but not where the acknowledgement says.
    pub lost: Vec<Ack>,
    /// Everything else that cannot be, in words: messages twice, damaged or never sent.
    pub strange: Vec<String>,
}

impl ReadBack {
    /// Reads every queue of `topics`, see [`read_all`].
    pub async fn of(client: &ClientInstance, topics: &BTreeSet<String>) -> Self {
        let mut read_back = ReadBack::default();
        for message in read_all(client, topics).await {
            let MessageExt { queue_id, queue_offset, .. } = message;
            let place = Place { topic: message.message.topic, queue_id, queue_offset };
            match MessageId::of(&message.message.body) {
                Some(id) => read_back.messages.entry(id).or_default().push(place),
                None => read_back.strange.push(format!("not a message of ours: {place:?}")),
            }
        }
        read_back
    }

    /// How many different messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether a message was read.
    #[must_use]
    pub fn contains(&self, message: MessageId) -> bool {
        self.messages.contains_key(&message)
    }

    /// Holds what was read against the ledger.
    #[must_use]
    pub fn compare(&self, ledger: &Ledger) -> Differences {
        let mut found = Differences { strange: self.strange.clone(), lost: Vec::new() };
        for ack in ledger.acks() {
            let Ack { message, topic, queue_id, queue_offset, .. } = ack;
            let is_there = |place: &Place| {
                place.topic == *topic
                    && place.queue_id == *queue_id
                    && place.queue_offset == *queue_offset
            };
            if !self.messages.get(message).is_some_and(|places| places.iter().any(is_there)) {
                found.lost.push(ack.clone());
            }
        }
        for (message, places) in &self.messages {
            if places.len() > 1 {
                found.strange.push(format!("{message:?} is there twice: {places:?}"));
            }
            if !ledger.was_attempted(*message, &places[0].topic) {
                found.strange.push(format!("{message:?} was never sent: {places:?}"));
            }
        }
        found
    }
}

/// Every message of `topics`, queue by queue from its minimum to its end.
///
/// # Panics
/// When a pull fails or does not go on where the one before ended.
pub async fn read_all(client: &ClientInstance, topics: &BTreeSet<String>) -> Vec<MessageExt> {
    let pulls = PullClient::new(client, READERS);
    let mut messages = Vec::new();
    for topic in topics {
        let queues = wait_for_topic(&pulls, topic).await;
        let reads = queues.iter().map(|queue| read_queue(&pulls, queue));
        messages.extend(futures::future::join_all(reads).await.into_iter().flatten());
    }
    messages
}

async fn read_queue(pulls: &PullClient, queue: &MessageQueue) -> Vec<MessageExt> {
    let mut messages = Vec::new();
    let mut offset = pulls.min_offset(queue).await.unwrap().max(0);
    let end = pulls.max_offset(queue).await.unwrap();
    while offset < end {
        let pulled = pulls.pull(queue, offset, PULLED_AT_ONCE).await.unwrap();
        assert_eq!(pulled.pull_status, PullStatus::Found, "{queue:?} at {offset} of {end}");
        for message in pulled.messages {
            assert_eq!(message.queue_offset, offset, "{queue:?} has a hole");
            offset += 1;
            messages.push(message);
        }
    }
    messages
}

/// A line for each place of a message, and one for each strange thing.
impl fmt::Display for ReadBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (MessageId { sender, number }, places) in &self.messages {
            for Place { topic, queue_id, queue_offset } in places {
                writeln!(f, "{sender} {number} {topic} {queue_id} {queue_offset}")?;
            }
        }
        self.strange.iter().try_for_each(|strange| writeln!(f, "strange {strange}"))
    }
}

impl FromStr for ReadBack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut read_back = ReadBack::default();
        for line in text.lines() {
            if let Some(strange) = line.strip_prefix("strange ") {
                read_back.strange.push(strange.to_owned());
                continue;
            }
            // An acknowledgement without place in the log and time.
            let Ack { message, topic, queue_id, queue_offset, .. } =
                format!("{line} 0 0").parse()?;
            let place = Place { topic, queue_id, queue_offset };
            read_back.messages.entry(message).or_default().push(place);
        }
        Ok(read_back)
    }
}

/// A client of the name server at `namesrv_addr`.
#[must_use]
pub fn client_of(namesrv_addr: &str) -> ClientInstance {
    client_with(namesrv_addr, None)
}

/// The same, which signs.
fn client_with(
    namesrv_addr: &str,
    session_credentials: Option<SessionCredentials>,
) -> ClientInstance {
    let namesrv_addrs = vec![namesrv_addr.to_owned()];
    let config = ClientConfig { namesrv_addrs, session_credentials, ..ClientConfig::default() };
    ClientInstance::start(Env::os(), config)
}

/// A client of a broker that has just been started, once that answers.
///
/// # Panics
/// When the broker ends instead.
pub async fn client_of_started(broker: &mut BrokerProcess, namesrv_addr: &str) -> ClientInstance {
    signing_client_of_started(broker, namesrv_addr, None).await
}

/// The same, which signs.
///
/// # Panics
/// As [`client_of_started`].
pub async fn signing_client_of_started(
    broker: &mut BrokerProcess,
    namesrv_addr: &str,
    session_credentials: Option<SessionCredentials>,
) -> ClientInstance {
    let client = client_with(namesrv_addr, session_credentials);
    let pulls = PullClient::new(&client, READERS);
    let mut answers = std::pin::pin!(wait_for_topic(&pulls, "TBW102"));
    while tokio::time::timeout(Duration::from_millis(100), &mut answers).await.is_err() {
        if let Some(status) = broker.ended() {
            panic!("the broker ended: {status}");
        }
    }
    client
}

/// The queues of `topic`, once the broker answers for them.
///
/// # Panics
/// When it does not within a minute.
async fn wait_for_topic(pulls: &PullClient, topic: &str) -> Vec<MessageQueue> {
    let deadline = tokio::time::Instant::now() + START_WITHIN;
    loop {
        let answer = match pulls.fetch_subscribe_message_queues(topic).await {
            Ok(queues) => match pulls.max_offset(&queues[0]).await {
                Ok(_) => return queues,
                Err(error) => error,
            },
            Err(error) => error,
        };
        assert!(tokio::time::Instant::now() < deadline, "topic {topic}: {answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(number: u32, queue_offset: i64) -> Ack {
        let message = MessageId { sender: 1, number };
        let topic = "T".to_owned();
        Ack { message, topic, queue_id: 0, queue_offset, phy_offset: 0, acked_at_ms: 0 }
    }

    fn ledger(acks: &[Ack], attempts: u32) -> Ledger {
        let mut ledger = Ledger::default();
        for number in 0..attempts {
            ledger.attempt(MessageId { sender: 1, number }, "T");
        }
        acks.iter().for_each(|ack| ledger.ack(ack.clone()));
        ledger
    }

    fn store(messages: &[(u32, i64)]) -> ReadBack {
        let mut read_back = ReadBack::default();
        for (number, queue_offset) in messages {
            let place = Place { topic: "T".to_owned(), queue_id: 0, queue_offset: *queue_offset };
            let id = MessageId { sender: 1, number: *number };
            read_back.messages.entry(id).or_default().push(place);
        }
        read_back
    }

    #[test]
    fn what_was_acknowledged_must_be_where_it_was_said_to_be() {
        let ledger = ledger(&[ack(0, 0), ack(1, 1), ack(2, 2)], 4);
        let found = store(&[(0, 0), (1, 2), (3, 3)]).compare(&ledger);
        assert_eq!(found.lost, [ack(1, 1), ack(2, 2)]);
        assert!(found.strange.is_empty(), "{:?}", found.strange);
    }

    #[test]
    fn messages_twice_or_never_sent_are_strange() {
        let ledger = ledger(&[ack(0, 0)], 1);
        let found = store(&[(0, 0), (0, 1), (1, 2)]).compare(&ledger);
        assert!(found.lost.is_empty());
        assert_eq!(found.strange.len(), 2, "{:?}", found.strange);
    }

    #[test]
    fn what_was_read_is_a_text_and_back() {
        let mut before = store(&[(0, 0), (0, 1), (1, 2)]);
        before.strange.push("something strange".to_owned());
        let after: ReadBack = before.to_string().parse().unwrap();
        assert_eq!((after.messages, after.strange), (before.messages, before.strange));
    }
}
