//! The fresh group: it reads every queue of the topic from minimum to maximum, over the network, and
//! asks how far the existing group has committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mq_client::{ClientError, ClientInstance, PullClient, PullStatus};
use mq_env::Env;
use mq_protocol::message::MessageQueue;
use staticfire_judge::check::offsets::{Committed, QueueKey};
use staticfire_judge::history::QueueReading;
use staticfire_world::trace::Name;
use tokio::time::sleep;

use super::{EXISTING_GROUP, FRESH_GROUP, Workload};

/// Attempts at a request that fails, a second apart.
const ATTEMPTS: u32 = 90;

/// Messages asked for at a time.
const PULL_COUNT: i32 = 32;

/// What the fresh group found.
#[derive(Clone, Debug, Default)]
pub struct ReadBack {
    /// The queues.
    pub queues: BTreeMap<QueueKey, QueueReading>,
    /// Committed offsets of the existing group.
    pub committed: Committed,
}

/// Reads everything back in the process of `env`, called `name`.
///
/// # Errors
/// The request that kept failing.
pub async fn run(env: Env, name: Name, work: Arc<Workload>) -> Result<ReadBack, String> {
    let client = work.client(&env, &name);
    let reader = Reader { pull: PullClient::new(&client, FRESH_GROUP), name, work };
    let found = reader.read_all().await;
    client.shutdown().await;
    found
}

/// Waits until the topic is known, in the process of `env`.
pub async fn topic_queues(
    client: &ClientInstance,
    topic: &str,
) -> Result<Vec<MessageQueue>, String> {
    let pull = PullClient::new(client, FRESH_GROUP);
    retry(async || pull.fetch_subscribe_message_queues(topic).await).await
}

struct Reader {
    pull: PullClient,
    name: Name,
    work: Arc<Workload>,
}

impl Reader {
    async fn read_all(&self) -> Result<ReadBack, String> {
        let mut found = ReadBack::default();
        let topic = &self.work.plan.topic;
        let queues = retry(async || self.pull.fetch_subscribe_message_queues(topic).await).await?;
        for queue in queues {
            let key = (Arc::from(&*queue.broker_name), queue.queue_id.unsigned_abs());
            found.queues.insert(key.clone(), self.read_queue(&queue).await?);
            let committed = retry(async || self.pull.query_offset(EXISTING_GROUP, &queue).await);
            if let Some(offset) = committed.await? {
                found.committed.insert(key, offset.unsigned_abs());
            }
        }
        Ok(found)
    }

    async fn read_queue(&self, queue: &MessageQueue) -> Result<QueueReading, String> {
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
                reading.messages.push(self.work.delivery(&self.name, message));
            }
            offset = result.next_begin_offset;
        }
        Ok(reading)
    }
}

/// Repeats a request while it fails.
async fn retry<T>(request: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, String> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err(last)
}
