//! [`Consumers`]: the consumers of a client by group (RocketMQ 4.9 `MQClientInstance.consumerTable`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::consumer_inner::MqConsumerInner;
use crate::push_consumer::ConsumerInner;

/// The consumers of a client. They belong to their owners.
#[derive(Default)]
pub(crate) struct Consumers {
    by_group: Mutex<BTreeMap<String, Weak<dyn MqConsumerInner>>>,
}

impl Consumers {
    /// Adds the consumer of a group.
    pub(crate) fn insert(&self, group: &str, consumer: Weak<dyn MqConsumerInner>) {
        self.by_group().insert(group.to_owned(), consumer);
    }

    /// Takes the consumer of a group away.
    pub(crate) fn remove(&self, group: &str) {
        self.by_group().remove(group);
    }

    /// The consumer of a group, if it is a push consumer.
    pub(crate) fn get_push(&self, group: &str) -> Option<Arc<ConsumerInner>> {
        let consumer = self.by_group().get(group).and_then(Weak::upgrade);
        consumer.and_then(MqConsumerInner::into_push)
    }

    /// Those that are there, in the order of their groups.
    pub(crate) fn all(&self) -> Vec<Arc<dyn MqConsumerInner>> {
        self.by_group().values().filter_map(Weak::upgrade).collect()
    }

    fn by_group(&self) -> MutexGuard<'_, BTreeMap<String, Weak<dyn MqConsumerInner>>> {
        self.by_group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
