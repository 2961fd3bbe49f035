//! [`Traffic`]: what all clients of a run share. They use the real client library, and tell the history
//! what they saw.

mod changing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mq_client::{ClientConfig, ClientInstance};
use mq_env::Env;
use mq_env::watched::Watched;
use mq_protocol::message::{MessageConst, MessageExt, Properties, retry_topic};
use mq_protocol::upstream::UpstreamSwitch;
use staticfire_judge::forensics::DELIVERED;
use staticfire_judge::history::{
    Delivery, History, Outcome, QueueKey, SendOp, fill_body, message_number, repeat_words,
};
use staticfire_world::trace::{Name, Trace};

use super::watching;
use crate::lock;
use crate::plan::{Filter, FilterPlan};

pub use changing::{Changing, Wanted};

/// Consumer group that reads everything back at the end.
pub const FRESH_GROUP: &str = "fresh-group";

/// Most sends of a run that is short.
const SENDS_MAX: u32 = 100_000;

/// Acknowledgements so far.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    /// Of all workloads.
    pub all: u32,
    /// By workload, in the order of the plan.
    pub by_workload: Vec<u32>,
    /// By broker group.
    pub by_group: BTreeMap<Name, u32>,
}

/// What the clients of a run share.
pub struct Traffic {
    /// `host:port` of the name servers.
    pub namesrv_addrs: Vec<String>,
    /// Upstream behaviours of clients.
    upstream: BTreeSet<UpstreamSwitch>,
    /// Seed of the bodies.
    pub seed: u64,
    trace: Trace,
    history: Arc<Mutex<History>>,
    /// Numbers of messages are unique in a run.
    next_number: AtomicU32,
    sends_max: u32,
    acks: Watched<Acks>,
    selections: Vec<Selection>,
    /// Groups whose members are to want something else later, by name.
    changing: BTreeMap<String, Changing>,
}

/// What somebody who is to get the messages of a topic wants of them.
struct Selection {
    topic: String,
    reader: Name,
    filter: Filter,
}

impl Traffic {
    /// Of clients that know `namesrv_addrs` and together want to send `messages`.
    #[must_use]
    pub fn new(namesrv_addrs: Vec<String>, messages: u32, seed: u64, trace: Trace) -> Self {
        let history = Arc::default();
        watching::watch(&trace, &history);
        Traffic {
            namesrv_addrs,
            upstream: BTreeSet::new(),
            seed,
            trace,
            history,
            next_number: AtomicU32::new(0),
            // Far more than a story needs: a run has to fit into memory.
            sends_max: messages.saturating_mul(20).max(SENDS_MAX),
            acks: Watched::default(),
            selections: Vec::new(),
            changing: BTreeMap::new(),
        }
    }

    /// Lets `reader` be owed only what `filter` lets pass of a topic.
    pub fn select(&mut self, topic: &str, reader: &str, filter: Filter) {
        let reader = self.trace.name(reader);
        self.selections.push(Selection { topic: topic.to_owned(), reader, filter });
    }

    /// Lets the members of a group be told later to want something else than `filter` of a topic.
    pub fn let_change(&mut self, topic: &str, group: &str, filter: Option<FilterPlan>) {
        let name = self.trace.name(group);
        let changing = Changing::new(topic, name, filter, &mut lock(&self.history));
        self.changing.insert(group.to_owned(), changing);
    }

    /// A group whose members are told so.
    #[must_use]
    pub fn changing(&self, group: &str) -> Option<&Changing> {
        self.changing.get(group)
    }

    /// Notes who does not want a message that is sent to `topic` with these properties.
    pub(super) fn note_unwanted(&self, topic: &str, number: u32, properties: &Properties) {
        let mut asked = self.selections.iter().filter(|it| it.topic == *topic).peekable();
        let mut changing = self.changing.values().filter(|it| it.topic == *topic).peekable();
        if asked.peek().is_none() && changing.peek().is_none() {
            return;
        }
        let properties = properties.to_string();
        let refusing = asked.filter(|it| !it.filter.passes(&properties));
        let mut history = self.history();
        for Selection { reader, .. } in refusing {
            history.unwanted.entry(Name::clone(reader)).or_default().insert(number);
        }
        let now_us = self.trace.now_us();
        changing.for_each(|it| it.sent(number, &properties, now_us, &mut history));
    }

    /// With upstream behaviours of clients.
    #[must_use]
    pub fn with_upstream(mut self, switches: impl Iterator<Item = UpstreamSwitch>) -> Self {
        self.upstream.extend(switches);
        self
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What the clients saw so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    /// Acknowledgements, as they come.
    #[must_use]
    pub fn acks(&self) -> Watched<Acks> {
        self.acks.clone()
    }

    /// Number of sends started.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.next_number.load(Ordering::Relaxed)
    }

    /// How many sends there were, if producers would have gone on and were not let.
    #[must_use]
    pub fn ran_out(&self) -> Option<u32> {
        let started = self.started();
        (started >= self.sends_max).then_some(started)
    }

    /// The number of the next message to send, while there is one.
    pub(super) fn take_number(&self) -> Option<u32> {
        let is_left = self.started() < self.sends_max;
        is_left.then(|| self.next_number.fetch_add(1, Ordering::Relaxed))
    }

    /// A client of this run.
    pub(super) fn client(&self, env: &Env, instance_name: &str) -> ClientInstance {
        let config = ClientConfig {
            namesrv_addrs: self.namesrv_addrs.clone(),
            instance_name: instance_name.to_owned(),
            upstream: self.upstream.clone(),
            ..ClientConfig::default()
        };
        ClientInstance::start(env.clone(), config)
    }

    /// Records the outcome of a send of the `workload`th workload.
    pub(super) fn send_ended(&self, producer: &Name, workload: usize, mut op: SendOp) {
        let text = match &op.outcome {
            Outcome::Acked | Outcome::RolledBack => &op.status,
            Outcome::Rejected(text) | Outcome::Unknown(text) => text,
        };
        op.ordinal = self.trace.op(producer, u64::from(op.number), text);
        let acked = op.outcome == Outcome::Acked;
        let group = op.group.clone();
        self.history().sends.push(op);
        if acked {
            self.acks.modify(|acks| acks.count(workload, group));
        }
    }

    /// A delivery as the history keeps it.
    pub(super) fn delivery(
        &self,
        source: &Name,
        consumer_group: &Name,
        message: &MessageExt,
    ) -> Delivery {
        let key = message.message.keys().next().unwrap_or_default();
        let number = message_number(key).filter(|number| *number < self.started());
        let body_intact = number.is_some_and(|number| {
            let mut sent = Vec::new();
            fill_body(self.seed, number, message.message.body.len(), &mut sent);
            let body = &message.message.body;
            // Bodies of workloads that compress them are made for it.
            *body == sent || {
                repeat_words(&mut sent);
                *body == sent
            }
        });
        let ordinal = self.trace.op(source, u64::from(number.unwrap_or(u32::MAX)), DELIVERED);
        if let Some(times) = u32::try_from(message.reconsume_times).ok().filter(|it| *it > 0) {
            self.history().watch.reconsume_times.insert(ordinal, times);
        }
        let topic = match came_again(message) {
            true => self.trace.name(&retry_topic(consumer_group)),
            false => self.trace.name(&message.message.topic),
        };
        Delivery {
            number,
            key: Arc::from(key),
            body_intact,
            consumer: Name::clone(source),
            consumer_group: Name::clone(consumer_group),
            queue: QueueKey {
                group: self.trace.name(&message.broker_name),
                topic,
                queue_id: message.queue_id.unsigned_abs(),
            },
            queue_offset: message.queue_offset.unsigned_abs(),
            phy_offset: message.phy_offset.unsigned_abs(),
            at_us: self.trace.now_us(),
            ordinal,
        }
    }
}

/// Whether a message came by its group's retry topic: its consumer gives it its own topic back, and leaves it the
/// queue and the offset that it had there.
fn came_again(message: &MessageExt) -> bool {
    let own_topic = message.message.properties.get(MessageConst::RETRY_TOPIC);
    own_topic == Some(&*message.message.topic)
}

impl Acks {
    fn count(&mut self, workload: usize, group: Option<Name>) {
        self.all += 1;
        if self.by_workload.len() <= workload {
            self.by_workload.resize(workload + 1, 0);
        }
        self.by_workload[workload] += 1;
        if let Some(group) = group {
            *self.by_group.entry(group).or_default() += 1;
        }
    }

    /// Of the `workload`th workload.
    #[must_use]
    pub fn of_workload(&self, workload: usize) -> u32 {
        self.by_workload.get(workload).copied().unwrap_or_default()
    }

    /// Of a broker group.
    #[must_use]
    pub fn of_group(&self, group: &str) -> u32 {
        self.by_group.get(group).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use mq_protocol::message::Message;
    use staticfire_judge::history::message_key;
    use staticfire_world::clock::WorldTime;

    use super::*;

    #[test]
    fn a_delivery_is_what_was_sent_only_with_the_body_of_its_number() {
        let traffic = Traffic::new(Vec::new(), 1, 7, Trace::new(WorldTime::default()));
        for _ in 0..2 {
            traffic.take_number();
        }
        let delivered = |number: u32, seed: u64, body_of: u32| {
            let mut body = Vec::new();
            fill_body(seed, body_of, 64, &mut body);
            let mut message = Message::new("T", body);
            message.properties.insert(MessageConst::KEYS, &message_key(number));
            let host = ([10, 0, 0, 1], 1).into();
            let message = MessageExt {
                message,
                broker_name: "a".to_owned(),
                queue_id: 0,
                store_size: 0,
                queue_offset: 0,
                sys_flag: 0,
                born_timestamp: 1,
                born_host: host,
                store_timestamp: 1,
                store_host: host,
                phy_offset: 0,
                body_crc: 0,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
            };
            let name = traffic.trace().name("consumer-1");
            let delivery = traffic.delivery(&name, &name, &message);
            (delivery.number, delivery.body_intact)
        };
        assert_eq!(delivered(1, 7, 1), (Some(1), true));
        assert_eq!(delivered(1, 7, 0), (Some(1), false), "the body of another message");
        assert_eq!(delivered(1, 8, 1), (Some(1), false), "the body of another run");
        assert_eq!(delivered(2, 7, 2), (None, false), "nobody has sent that yet");
    }
}
