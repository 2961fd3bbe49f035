//! [`WorkloadPlan`]: who sends and consumes what. A plan has one, as a table, or several, as an array of
//! tables that run side by side.

use std::fmt;

use mq_store::delay_level::DelayLevels;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use staticfire_judge::duration::Millis;

use super::consumer_group::{ConsumerGroupPlan, is_false};
use super::filter::{Labels, PropertiesPlan};
use super::sends::{BurstPlan, DelayLevelsPlan, RequestPlan, is_one};

/// Consumer group of a workload without a name.
const EXISTING_GROUP: &str = "existing-group";

/// Producers and consumer groups of one topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadPlan {
    /// Its name, with which the names of its processes begin. Only one workload may go without.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The `brokerName` whose queues are used; empty: every group.
    pub group: String,
    /// The topic, created on every master of the groups in use before the first send.
    pub topic: String,
    /// Queues per broker group.
    pub queues: u32,
    /// Producers, each a process on a machine of its own.
    pub producers: u32,
    /// Sends that one producer keeps in flight.
    pub window: u32,
    /// Messages in all.
    pub messages: u32,
    /// Sends started per second and producer.
    pub rate_per_second: u32,
    /// Shortest and longest body in bytes.
    pub body_bytes: [u32; 2],
    /// Members of its own consumer group, each a process on a machine of its own; 0 for none.
    pub consumers: u32,
    /// `sendMsgTimeout`.
    pub send_timeout: Millis,
    /// Share of messages with `WAIT=false`, in percent; they are never counted as acknowledged.
    pub wait_false_percent: u32,
    /// Delay level of every message; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_level: u32,
    /// Of each place in the window messages go one after another, with a key that chooses their queue.
    #[serde(skip_serializing_if = "is_false")]
    pub ordered: bool,
    /// Producers keep an outbox: one that starts anew sends again what was not acknowledged, under the same key.
    #[serde(skip_serializing_if = "is_false")]
    pub outbox: bool,
    /// Every message is sent in a transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionPlan>,
    /// Levels of which each message has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_levels: Option<DelayLevelsPlan>,
    /// Most messages that are sent together; 1: each by itself.
    #[serde(skip_serializing_if = "is_one")]
    pub batch: u32,
    /// Share of messages that are sent one way, in percent; they are never counted as acknowledged.
    #[serde(skip_serializing_if = "is_zero")]
    pub oneway_percent: u32,
    /// Sends are asynchronous ones, of which less is tried again.
    #[serde(rename = "async", skip_serializing_if = "is_false")]
    pub is_async: bool,
    /// Every message asks for a reply, which each consumer group gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_reply: Option<RequestPlan>,
    /// Bodies above are compressed; none where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress_over_bytes: Option<u32>,
    /// From time to time more is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<BurstPlan>,
    /// Tags, of which each message has one; an empty one is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Numbers that are drawn for each message, by the name of the property.
    #[serde(skip_serializing_if = "PropertiesPlan::is_empty")]
    pub properties: PropertiesPlan,
    /// Further consumer groups of the topic.
    #[serde(rename = "consumer_group", skip_serializing_if = "Vec::is_empty")]
    pub consumer_groups: Vec<ConsumerGroupPlan>,
}

/// How local transactions end; what is not rolled back is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransactionPlan {
    /// Share that is rolled back, in percent.
    pub rollback_percent: u32,
    /// Share of which the producer says that it does not know yet, in percent: the broker has to ask.
    pub unknown_percent: u32,
    /// Shortest and longest time that a local transaction takes. Whoever asks meanwhile is told UNKNOW.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts: Option<[Millis; 2]>,
    /// Share of those asked about while they run of which the producer says that they are rolled back, in percent,
    /// and COMMIT all the same when they end: the first word counts.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied_percent: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for WorkloadPlan {
    fn default() -> Self {
        WorkloadPlan {
            name: String::new(),
            group: String::new(),
            topic: "Orders".to_owned(),
            queues: 4,
            producers: 2,
            window: 4,
            messages: 500,
            rate_per_second: 100,
            body_bytes: [64, 512],
            consumers: 1,
            send_timeout: Millis(3_000),
            wait_false_percent: 0,
            delay_level: 0,
            ordered: false,
            outbox: false,
            transaction: None,
            delay_levels: None,
            batch: 1,
            oneway_percent: 0,
            is_async: false,
            request_reply: None,
            compress_over_bytes: None,
            burst: None,
            tags: Vec::new(),
            properties: PropertiesPlan::new(),
            consumer_groups: Vec::new(),
        }
    }
}

impl WorkloadPlan {
    /// Whether it uses the queues of a broker group.
    #[must_use]
    pub fn uses(&self, group: &str) -> bool {
        self.group.is_empty() || self.group == group
    }

    /// Whether a message of it is appended once more before anybody gets it.
    #[must_use]
    pub fn is_appended_again(&self) -> bool {
        self.is_delayed() || self.transaction.is_some()
    }

    /// Whether messages of it are delayed.
    #[must_use]
    pub fn is_delayed(&self) -> bool {
        self.delay_level > 0 || self.delay_levels.is_some()
    }

    /// The delay levels of which each message has one, where brokers have `own`.
    #[must_use]
    pub fn levels(&self, own: &DelayLevels) -> Vec<u32> {
        match &self.delay_levels {
            Some(plan) => plan.levels(own),
            None => vec![self.delay_level],
        }
    }

    /// What its producers write on messages.
    #[must_use]
    pub fn labels(&self) -> Labels<'_> {
        Labels { tags: &self.tags, properties: &self.properties }
    }

    /// Its producer group. Whom a broker asks about a transaction must know the workload's.
    #[must_use]
    pub fn producer_group(&self) -> String {
        match self.transaction {
            Some(_) => format!("{}transactions", self.prefix()),
            None => "producers".to_owned(),
        }
    }

    /// Names of its producers' processes.
    pub fn producer_names(&self) -> impl Iterator<Item = String> {
        (1..=self.producers).map(|n| format!("{}producer-{n}", self.prefix()))
    }

    /// All its consumer groups, its own first.
    #[must_use]
    pub fn all_consumer_groups(&self) -> Vec<ConsumerGroupPlan> {
        let name = if self.name.is_empty() { EXISTING_GROUP } else { &*self.name }.to_owned();
        let own = ConsumerGroupPlan::new(name, self.consumers);
        let own = (self.consumers > 0).then_some(own);
        own.into_iter().chain(self.consumer_groups.iter().cloned()).collect()
    }

    /// Names of the processes of one of its consumer groups.
    pub fn consumer_names(&self, group: &ConsumerGroupPlan) -> impl Iterator<Item = String> {
        let is_own = !self.consumer_groups.contains(group);
        let stem = if is_own { format!("{}consumer", self.prefix()) } else { group.name.clone() };
        (1..=group.consumers).map(move |n| format!("{stem}-{n}"))
    }

    /// Who is to get every message of its topic, with the processes of which one is enough: a consumer group, or,
    /// by broadcasting, each member alone, under the name of its process.
    #[must_use]
    pub fn readers(&self) -> Vec<(String, Vec<String>)> {
        self.all_consumer_groups().iter().flat_map(|group| self.readers_of(group)).collect()
    }

    /// Those of one of its consumer groups.
    #[must_use]
    pub fn readers_of(&self, group: &ConsumerGroupPlan) -> Vec<(String, Vec<String>)> {
        let members: Vec<String> = self.consumer_names(group).collect();
        match group.broadcast {
            true => members.into_iter().map(|it| (it.clone(), vec![it])).collect(),
            false => vec![(group.name.clone(), members)],
        }
    }

    /// Names of the processes of all its clients.
    #[must_use]
    pub fn client_names(&self) -> Vec<String> {
        let groups = self.all_consumer_groups();
        let consumers = groups.iter().flat_map(|group| self.consumer_names(group));
        self.producer_names().chain(consumers).collect()
    }

    /// What the names of its processes begin with.
    fn prefix(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}-", self.name) }
    }
}

/// `[workload]`, or each `[[workload]]`.
pub(super) fn one_or_several<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<WorkloadPlan>, D::Error> {
    deserializer.deserialize_any(OneOrSeveral)
}

struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Vec<WorkloadPlan>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table [workload] or tables [[workload]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        WorkloadPlan::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq))
    }
}

/// The only workload as a table, several as an array of tables.
pub(super) fn as_one_or_several<S: Serializer>(
    workloads: &[WorkloadPlan],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match workloads {
        [only] => only.serialize(serializer),
        several => several.serialize(serializer),
    }
}
