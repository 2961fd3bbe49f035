//! The fresh group: it reads every queue of every topic from minimum to maximum, over the network, and asks
//! how far the groups of the story have committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mq_client::{ClientError, PullClient, PullStatus};
use mq_env::Env;
use mq_protocol::message::{MessageQueue, dlq_topic, retry_topic};
use staticfire_judge::check::offsets::Committed;
use staticfire_judge::history::{QueueKey, QueueReading};
use staticfire_world::trace::Name;
use tokio::time::sleep;

use super::super::traffic::{FRESH_GROUP, Traffic};
use crate::run::error::StandError;

/// Attempts at a request that fails, a second apart.
const ATTEMPTS: u32 = 90;

/// Attempts at the route of a topic that was deleted, which may be gone for good, or be told of again with the next
/// registration (30 s).
const DELETED_ATTEMPTS: u32 = 45;

/// Messages asked for at a time.
const PULL_COUNT: i32 = 32;

/// What the fresh group found.
#[derive(Clone, Debug, Default)]
pub struct ReadBack {
    /// The queues.
    pub queues: BTreeMap<QueueKey, QueueReading>,
    /// Committed offsets of the groups of the story.
    pub committed: Committed,
    /// Queues that could not be read.
    pub unread: Vec<Unread>,
}

/// A queue that could not be read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// The queue.
    pub queue: QueueKey,
    /// What its broker said last.
    pub why: StandError,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.queue, self.why)
    }
}

/// What the fresh group is to read.
pub struct Assignment {
    /// The topics of the workloads.
    pub topics: BTreeSet<Name>,
    /// Topics that were deleted: they are read where they are there again.
    pub deleted: BTreeSet<Name>,
    /// The topics that each consumer group of the story subscribes to.
    pub subscriptions: BTreeMap<Name, Vec<Name>>,
    /// The consumer groups whose retry topics and dead letters are read as well.
    pub failing: Vec<Name>,
}

/// Reads the topics of all subscriptions back in the process of `env`, called `name`.
///
/// # Errors
/// The request that kept failing.
pub async fn run(
    env: Env,
    name: Name,
    traffic: Arc<Traffic>,
    assignment: Assignment,
) -> Result<ReadBack, StandError> {
    let client = traffic.client(&env, &name);
    let pull = PullClient::new(&client, FRESH_GROUP);
    let fresh_group = traffic.trace().name(FRESH_GROUP);
    let reader = Reader {
        pull,
        name,
        fresh_group,
        traffic,
        subscriptions: assignment.subscriptions.clone(),
    };
    let Assignment { topics, deleted, failing, .. } = &assignment;
    let found = reader.read_all(topics, deleted, failing).await;
    client.shutdown().await;
    found
}

struct Reader {
    pull: PullClient,
    name: Name,
    fresh_group: Name,
    traffic: Arc<Traffic>,
    subscriptions: BTreeMap<Name, Vec<Name>>,
}

impl Reader {
    async fn read_all(
        &self,
        topics: &BTreeSet<Name>,
        deleted: &BTreeSet<Name>,
        failing: &[Name],
    ) -> Result<ReadBack, StandError> {
        let mut found = ReadBack::default();
        for topic in topics {
            let queues =
                retry(async || self.pull.fetch_subscribe_message_queues(topic).await).await?;
            self.read_queues(topic, queues, &mut found).await;
        }
        for topic in deleted {
            let fetch = async || self.pull.fetch_subscribe_message_queues(topic).await;
            let queues = retry_some(DELETED_ATTEMPTS, fetch).await;
            self.read_queues(topic, queues.unwrap_or_default(), &mut found).await;
        }
        for group in failing {
            for topic in [retry_topic(group), dlq_topic(group)] {
                let topic = self.traffic.trace().name(&topic);
                // Nobody makes them before they are needed.
                let queues = self.pull.fetch_subscribe_message_queues(&topic).await;
                self.read_queues(&topic, queues.unwrap_or_default(), &mut found).await;
            }
        }
        Ok(found)
    }

    async fn read_queues(&self, topic: &Name, queues: Vec<MessageQueue>, found: &mut ReadBack) {
        for queue in queues {
            if let Err(why) = self.read_one(topic, &queue, found).await {
                found.unread.push(Unread { queue: self.key(topic, &queue), why });
            }
        }
    }

    /// Reads a queue, and how far its subscribers are.
    async fn read_one(
        &self,
        topic: &Name,
        queue: &MessageQueue,
        found: &mut ReadBack,
    ) -> Result<(), StandError> {
        let key = self.key(topic, queue);
        found.queues.insert(key.clone(), self.read_queue(queue).await?);
        let is_own = |group: &Name| **topic == *retry_topic(group);
        let subscribes = |it: &(&Name, &Vec<Name>)| it.1.contains(topic) || is_own(it.0);
        for (group, _) in self.subscriptions.iter().filter(subscribes) {
            let committed = retry(async || self.pull.query_offset(group, queue).await);
            if let Some(offset) = committed.await? {
                found.committed.insert((Name::clone(group), key.clone()), offset.unsigned_abs());
            }
        }
        Ok(())
    }

    fn key(&self, topic: &Name, queue: &MessageQueue) -> QueueKey {
        QueueKey {
            group: self.traffic.trace().name(&queue.broker_name),
            topic: Name::clone(topic),
            queue_id: queue.queue_id.unsigned_abs(),
        }
    }

    async fn read_queue(&self, queue: &MessageQueue) -> Result<QueueReading, StandError> {
        let min = retry(async || self.pull.min_offset(queue).await).await?.max(0);
        let max = retry(async || self.pull.max_offset(queue).await).await?;
        let mut reading = QueueReading {
            min_offset: min.unsigned_abs(),
            max_offset: max.unsigned_abs(),
            messages: Vec::new(),
        };
        let mut offset = min;
        while offset < max {
            let result = retry(async || self.pull.pull(queue, offset, PULL_COUNT).await).await?;
            if result.pull_status != PullStatus::Found || result.next_begin_offset <= offset {
                break;
            }
            for message in result.messages.iter().filter(|message| message.queue_offset < max) {
                let delivery = self.traffic.delivery(&self.name, &self.fresh_group, message);
                reading.messages.push(delivery);
            }
            offset = result.next_begin_offset;
        }
        Ok(reading)
    }
}

/// Repeats a request while it fails.
async fn retry<T>(request: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, StandError> {
    retry_some(ATTEMPTS, request).await
}

/// Repeats a request while it fails, at most so many times.
async fn retry_some<T>(
    attempts: u32,
    request: impl AsyncFn() -> Result<T, ClientError>,
) -> Result<T, StandError> {
    let mut last = String::new();
    for _ in 0..attempts {
        match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err(StandError::Unread(last))
}
