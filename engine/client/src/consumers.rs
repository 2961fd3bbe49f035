//! [`Consumers`]: the push consumers of a client by group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::push_consumer::ConsumerInner;

/// The push consumers of a client. They belong to their owners.
#[derive(Default)]
pub(crate) struct Consumers {
    by_group: Mutex<BTreeMap<String, Weak<ConsumerInner>>>,
}

impl Consumers {
    /// Adds the consumer of a group.
    pub(crate) fn insert(&self, group: &str, consumer: &Arc<ConsumerInner>) {
        self.by_group().insert(group.to_owned(), Arc::downgrade(consumer));
    }

    /// Takes the consumer of a group away.
    pub(crate) fn remove(&self, group: &str) {
        self.by_group().remove(group);
    }

    /// The consumer of a group.
    pub(crate) fn get(&self, group: &str) -> Option<Arc<ConsumerInner>> {
        self.by_group().get(group).and_then(Weak::upgrade)
    }

    /// Those that are there, in the order of their groups.
    pub(crate) fn all(&self) -> Vec<Arc<ConsumerInner>> {
        self.by_group().values().filter_map(Weak::upgrade).collect()
    }

    fn by_group(&self) -> MutexGuard<'_, BTreeMap<String, Weak<ConsumerInner>>> {
        self.by_group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
