//! What the clients of a run saw: sends with their outcomes, deliveries, read-back.
//!
//! A message is known by its number in the workload; its key and body follow from the number and
//! the seed, so that what comes back can be compared with what was sent without keeping it.

mod message;
mod operations;
mod subscribed;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::watch::Watch;

pub use message::{
    DELETION_NUMBER, drawn, drawn_percent, fill_body, message_key, message_number, repeat_words,
};
pub use operations::{OffsetReset, TopicDeletion};
pub use subscribed::Subscribed;

/// A queue of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueKey {
    /// `brokerName`.
    pub group: Arc<str>,
    /// Topic.
    pub topic: Arc<str>,
    /// Queue id.
    pub queue_id: u32,
}

impl QueueKey {
    /// Whether it is a topic's own: no consumer group's retry queue and none of its dead letters.
    #[must_use]
    pub fn is_of_topic(&self) -> bool {
        !self.topic.starts_with('%')
    }
}

impl fmt::Display for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} queue {}", self.group, self.topic, self.queue_id)
    }
}

/// What became of a send, as the producer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// SEND_OK for a message with WAIT=true.
    Acked,
    /// Stored as a half message, to be forgotten: its local transaction was rolled back.
    RolledBack,
    /// The broker refused it before storing anything.
    Rejected(Arc<str>),
    /// A status or error that leaves it open (FLUSH_DISK_TIMEOUT, FLUSH_SLAVE_TIMEOUT,
    /// SLAVE_NOT_AVAILABLE, time-outs, broken connections, SEND_OK with WAIT=false).
    Unknown(Arc<str>),
}

/// Where a broker said it put a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The queue.
    pub queue: QueueKey,
    /// Index in the queue.
    pub queue_offset: u64,
    /// Physical CommitLog offset, from the offset message id.
    pub phy_offset: u64,
}

/// One send, from its start to its outcome (retries of the client included).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendOp {
    /// The message's number.
    pub number: u32,
    /// The topic it was sent to.
    pub topic: Arc<str>,
    /// Simulated microseconds at the start.
    pub started_us: u64,
    /// Simulated microseconds at the outcome.
    pub ended_us: u64,
    /// Ordinal of the trace event of the outcome.
    pub ordinal: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// The send status or error in RocketMQ's words.
    pub status: Arc<str>,
    /// The `brokerName` the last attempt went to, where known.
    pub group: Option<Arc<str>>,
    /// Where it was put, for statuses that carry a place.
    pub place: Option<Place>,
    /// How often it was sent; `None` where nobody was left to tell.
    pub attempts: Option<u32>,
    /// What orders it among others: sends with one key come one after the other.
    pub sharding_key: Option<Arc<str>>,
}

impl SendOp {
    /// Whether it was acknowledged.
    #[must_use]
    pub fn is_acked(&self) -> bool {
        self.outcome == Outcome::Acked
    }

    /// Whether it was put there. Of what is delayed, or sent in a transaction, that is where it waits.
    #[must_use]
    pub fn was_put_at(&self, queue: &QueueKey, queue_offset: u64) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|it| it.queue == *queue && it.queue_offset == queue_offset)
    }
}

/// What became of a local transaction, as the database beside the cluster says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalTransaction {
    /// Its producer may still run it.
    Running,
    /// Committed.
    Committed {
        /// Ordinal of the trace event.
        ordinal: u64,
    },
    /// Rolled back, or never to be run.
    RolledBack,
}

/// When a producer had the answer of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Simulated microseconds.
    pub at_us: u64,
    /// Ordinal of the trace event that follows.
    pub ordinal: u64,
}

/// A reply that a producer got for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub number: u32,
    /// The producer.
    pub producer: Arc<str>,
    /// The number of the request that the reply says it answers.
    pub answers: Option<u32>,
    /// The producer that it says has asked.
    pub asker: Arc<str>,
    /// The consumer that it says has answered.
    pub consumer: Arc<str>,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// A reply that a consumer gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request's number.
    pub number: u32,
    /// The consumer.
    pub consumer: Arc<str>,
    /// Simulated microseconds at which its send ended.
    pub ended_us: u64,
    /// Whether a broker acknowledged it.
    pub is_acked: bool,
}

/// One message handed to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message's number; `None` for a key that nobody sent.
    pub number: Option<u32>,
    /// The key as delivered.
    pub key: Arc<str>,
    /// Whether the body is the one sent under that key.
    pub body_intact: bool,
    /// The consumer that it was handed to.
    pub consumer: Arc<str>,
    /// The consumer group that it was handed to.
    pub consumer_group: Arc<str>,
    /// The queue it came from.
    pub queue: QueueKey,
    /// Index in the queue.
    pub queue_offset: u64,
    /// First byte of its record, as the message says.
    pub phy_offset: u64,
    /// Simulated microseconds.
    pub at_us: u64,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// A listener could not consume a message and gave it back, to be delivered again (`RECONSUME_LATER`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenBack {
    /// The message's number.
    pub number: u32,
    /// The consumer that gave it back.
    pub consumer: Arc<str>,
    /// Its group.
    pub consumer_group: Arc<str>,
    /// The broker group of the queue that it came from.
    pub group: Arc<str>,
    /// Ordinal of the trace event of the delivery.
    pub delivered: u64,
    /// Whether it had been delivered again as often as the group wants: it becomes a dead letter.
    pub is_last: bool,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// A listener that consumes in order was done with a delivery, well or in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Ordinal of the trace event.
    pub ordinal: u64,
    /// Whether the next message may follow: it was consumed, or becomes a dead letter.
    pub is_done: bool,
}

/// From here on a consumer reads a queue: it took it, or its broker told it that it stood outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullOffset {
    /// The consumer.
    pub consumer: Arc<str>,
    /// Its group.
    pub consumer_group: Arc<str>,
    /// The queue.
    pub queue: QueueKey,
    /// Index in the queue.
    pub queue_offset: u64,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// A consumer group at a queue.
pub type GroupQueue = (Arc<str>, QueueKey);

/// Something that a broker took for, or gave as, the place where a consumer group stands in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// Which of both.
    pub step: OffsetStep,
    /// The queue offset of the next message that the group wants.
    pub queue_offset: u64,
    /// Simulated microseconds.
    pub at_us: u64,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// What a broker did with a consumer group's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetStep {
    /// It accepted it as committed.
    Committed,
    /// It told it to a member of the group.
    Told,
}

/// A queue as a fresh consumer group found it, minimum to maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueReading {
    /// Minimum offset as the broker says.
    pub min_offset: u64,
    /// Maximum offset (exclusive end) as the broker says.
    pub max_offset: u64,
    /// What was read, in order.
    pub messages: Vec<Delivery>,
}

impl QueueReading {
    /// What was read at a queue offset.
    #[must_use]
    pub fn at(&self, queue_offset: u64) -> Option<&Delivery> {
        let place = self.messages.binary_search_by_key(&queue_offset, |it| it.queue_offset);
        place.ok().map(|index| &self.messages[index])
    }
}

/// All that the clients of one run saw.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Sends by the time of their outcome.
    pub sends: Vec<SendOp>,
    /// Deliveries to the consumer groups of the story.
    pub deliveries: Vec<Delivery>,
    /// Deliveries, by ordinal, whose listeners never ended: their processes did. Nobody consumed what these were given.
    pub cut_short: BTreeSet<u64>,
    /// How often the effect of a message was had behind the idempotence kit, by consumer group and number.
    pub effects: BTreeMap<(Arc<str>, u32), u32>,
    /// The readers behind the kit: consumer groups, or members of those to whom all is broadcast.
    pub behind_kit: BTreeSet<Arc<str>>,
    /// What listeners gave back, in the order of the trace.
    pub given_back: Vec<GivenBack>,
    /// How listeners of groups that consume in order ended, by the ordinal of the delivery.
    pub consumed: BTreeMap<u64, Consumed>,
    /// Where consumers of the story were set, in the order of the trace.
    pub pull_offsets: Vec<PullOffset>,
    /// Where operators had groups go on, in the order of the trace.
    pub offset_resets: Vec<OffsetReset>,
    /// Topics that operators had deleted, by broker group, in the order of the trace.
    pub deletions: Vec<TopicDeletion>,
    /// Ordinals of the trace events at which producers that started anew sent a message of their outbox again, by
    /// number.
    pub sent_anew: BTreeMap<u32, Vec<u64>>,
    /// What brokers took for, and gave as, the offsets of consumer groups, by group and queue, in the order of
    /// the trace. Of one offset that was committed again and again the last time is kept.
    pub group_offsets: BTreeMap<GroupQueue, Vec<GroupOffset>>,
    /// The queues as a fresh group read them after the end of the story, those of retry topics and of dead letters
    /// of groups whose listeners fail included.
    pub read_back: BTreeMap<QueueKey, QueueReading>,
    /// The local transactions of messages that were sent in one, by number.
    pub transactions: BTreeMap<u32, LocalTransaction>,
    /// When producers heard that their half messages are stored, by number: such a send ends only with its local
    /// transaction, which may take its time.
    pub halves_answered: BTreeMap<u32, Answered>,
    /// Replies that producers got.
    pub replies: Vec<Reply>,
    /// Replies that consumers gave.
    pub answers: Vec<Answer>,
    /// Requests that were sent and got no reply, with the simulated microseconds at which nobody waited any more.
    pub unanswered: BTreeMap<u32, u64>,
    /// The topics that each consumer group of the story subscribes to.
    pub subscriptions: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// What consumer groups do not ask for of these topics: numbers of messages that their filters do not let pass. Only
    /// groups with a filter have an entry.
    pub unwanted: BTreeMap<Arc<str>, BTreeSet<u32>>,
    /// What consumer groups subscribed to that changed their filter, one after the other. What any of these that may
    /// have held does not let pass is [`unwanted`](History::unwanted), too.
    pub changed_filters: BTreeMap<Arc<str>, Vec<Subscribed>>,
    /// What is known of consumption besides.
    pub watch: Watch,
}

impl History {
    /// The acknowledged sends.
    pub fn acked(&self) -> impl Iterator<Item = &SendOp> {
        self.sends.iter().filter(|send| send.is_acked())
    }

    /// When the producer of a send had the answer that says where the message lies. What is acknowledged at that place
    /// later is another one.
    #[must_use]
    pub fn answered(&self, send: &SendOp) -> Answered {
        let SendOp { number, ended_us, ordinal, .. } = *send;
        let half = self.halves_answered.get(&number).copied();
        half.unwrap_or(Answered { at_us: ended_us, ordinal })
    }

    /// The deliveries whose listeners ended, well or in vain.
    pub fn ended(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter(|it| !self.cut_short.contains(&it.ordinal))
    }

    /// The deliveries whose listeners ended well.
    pub fn consumed(&self) -> impl Iterator<Item = &Delivery> {
        let failed: BTreeSet<u64> = self.given_back.iter().map(|it| it.delivered).collect();
        self.ended().filter(move |it| !failed.contains(&it.ordinal))
    }

    /// Adds to [`group_offsets`](History::group_offsets).
    pub fn note_group_offset(&mut self, place: GroupQueue, offset: GroupOffset) {
        let offsets = self.group_offsets.entry(place).or_default();
        let said = |it: &GroupOffset| (it.step, it.queue_offset);
        let is_told = offset.step == OffsetStep::Told;
        match offsets.last_mut() {
            Some(last) if !is_told && said(last) == said(&offset) => *last = offset,
            _ => offsets.push(offset),
        }
    }

    /// The consumer groups that are owed what is sent to `topic`.
    pub fn subscribers<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        let subscribes = |topics: &[Arc<str>]| topics.iter().any(|it| **it == *topic);
        let groups = self.subscriptions.iter().filter(move |(_, topics)| subscribes(topics));
        groups.map(|(group, _)| group)
    }

    /// Whether the subscription of a consumer group lets a message pass.
    #[must_use]
    pub fn wants(&self, group: &str, number: u32) -> bool {
        self.unwanted.get(group).is_none_or(|unwanted| !unwanted.contains(&number))
    }

    /// How many sends ended with an outcome that leaves it open.
    #[must_use]
    pub fn unknown_count(&self) -> usize {
        self.sends.iter().filter(|send| matches!(send.outcome, Outcome::Unknown(_))).count()
    }

    /// How often each send status occurred.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<Arc<str>, u32> {
        let mut counts = BTreeMap::new();
        for send in &self.sends {
            *counts.entry(Arc::clone(&send.status)).or_insert(0) += 1;
        }
        counts
    }
}

/// For doctored histories: a delivery of message `number` of queue 0 of topic T of group a to its only consumer.
#[cfg(test)]
pub(crate) fn a_delivery(number: u32, queue_offset: u64) -> Delivery {
    Delivery {
        number: Some(number),
        key: message_key(number).into(),
        body_intact: true,
        consumer: "c".into(),
        consumer_group: "g".into(),
        queue: QueueKey { group: "a".into(), topic: "T".into(), queue_id: 0 },
        queue_offset,
        phy_offset: queue_offset * 100,
        at_us: 0,
        ordinal: 5,
    }
}

/// For doctored histories: the acknowledged send of that message, which was put where [`a_delivery`] comes from.
#[cfg(test)]
pub(crate) fn a_send(number: u32, queue_offset: u64) -> SendOp {
    let Delivery { queue, phy_offset, .. } = a_delivery(number, queue_offset);
    SendOp {
        number,
        topic: "T".into(),
        started_us: 0,
        ended_us: 0,
        ordinal: 1,
        outcome: Outcome::Acked,
        status: "SEND_OK".into(),
        group: Some("a".into()),
        place: Some(Place { queue, queue_offset, phy_offset }),
        attempts: Some(1),
        sharding_key: None,
    }
}
