//! What tests of push consumers share: a listener that remembers, and how a consumer is started.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    ClientInstance, ConsumeResult, Consumption, MessageListener, PushConsumer, PushConsumerConfig,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What a listener saw: bodies in order.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// A listener that answers what `answer` says of the body.
    pub(crate) fn listener(
        &self,
        answer: impl Fn(&str) -> Consumption + Send + Sync + 'static,
    ) -> MessageListener {
        let seen = self.clone();
        Arc::new(move |messages| {
            let body = std::str::from_utf8(&messages[0].message.body).unwrap();
            seen.0.lock().unwrap().push(body.to_owned());
            answer(body)
        })
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The bodies sorted and joined: queues are consumed in no particular order.
    pub(crate) fn digits(&self) -> String {
        let mut bodies = self.take();
        bodies.sort();
        bodies.concat()
    }
}

pub(crate) fn config() -> PushConsumerConfig {
    PushConsumerConfig::new("G", "T", "*")
}

pub(crate) fn success(_: &str) -> Consumption {
    ConsumeResult::Success.into()
}

pub(crate) async fn consumer(
    client: &ClientInstance,
    config: PushConsumerConfig,
    listener: MessageListener,
) -> PushConsumer {
    let consumer = PushConsumer::start(client, config, listener).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    consumer
}

pub(crate) fn owned(consumer: &PushConsumer) -> Vec<i32> {
    consumer.owned_queues().iter().map(|(queue, _)| queue.queue_id).collect()
}
