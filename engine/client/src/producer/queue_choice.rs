//! [`QueueChoice`]: which queue of a topic is next (RocketMQ 4.9 `TopicPublishInfo.selectOneMessageQueue`,
//! `MQFaultStrategy.selectOneMessageQueue`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_protocol::message::MessageQueue;
use rand::Rng;

use crate::instance::ClientInstance;
use crate::latency_fault::LatencyFaults;

/// Where the choice of queues stands.
pub(super) struct QueueChoice {
    state: Mutex<State>,
}

struct State {
    /// By topic.
    which_queue: BTreeMap<String, usize>,
    /// Which brokers are left alone (`sendLatencyFaultEnable`).
    latency_faults: Option<LatencyFaults>,
}

impl QueueChoice {
    pub(super) fn new(instance: &ClientInstance, send_latency_fault_enable: bool) -> Self {
        let latency_faults = send_latency_fault_enable.then(|| {
            let mut rng = instance.random_stream("latency fault");
            LatencyFaults::new(rng.random_range(0..usize::from(u16::MAX)))
        });
        let state = State { which_queue: BTreeMap::new(), latency_faults };
        QueueChoice { state: Mutex::new(state) }
    }

    /// The next queue of a topic in turn, by what is known of the brokers' latency or else not that of
    /// `last_broker`, if there is such a one.
    pub(super) fn select_one_message_queue(
        &self,
        instance: &ClientInstance,
        topic: &str,
        queues: &[MessageQueue],
        last_broker: Option<&str>,
    ) -> MessageQueue {
        let mut state = self.state();
        let State { which_queue, latency_faults } = &mut *state;
        if !which_queue.contains_key(topic) {
            let start = instance.random_below(queues.len());
            which_queue.insert(topic.to_owned(), start);
        }
        let turn = Turn { index: which_queue.entry(topic.to_owned()).or_default(), queues };
        let queue = match latency_faults {
            Some(faults) => turn.by_latency(faults),
            None => turn.not_of(last_broker),
        };
        queue.clone()
    }

    /// An attempt at a broker took `latency`, and failed or not.
    pub(super) fn update_fault_item(&self, broker_name: &str, latency: Duration, failed: bool) {
        if let Some(faults) = &mut self.state().latency_faults {
            faults.update(broker_name, latency, failed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queues of a topic, and whose turn it was.
struct Turn<'a> {
    index: &'a mut usize,
    queues: &'a [MessageQueue],
}

impl<'a> Turn<'a> {
    fn next(&mut self) -> &'a MessageQueue {
        *self.index = self.index.wrapping_add(1);
        &self.queues[*self.index % self.queues.len()]
    }

    /// The first one that is not of `last_broker`, if there is such a one.
    fn not_of(mut self, last_broker: Option<&str>) -> &'a MessageQueue {
        if last_broker.is_some() {
            for _ in 0..self.queues.len() {
                let queue = self.next();
                if last_broker != Some(&queue.broker_name) {
                    return queue;
                }
            }
        }
        self.next()
    }

    /// The first one whose broker is not left alone; if all are, one of a broker that is among the better
    /// ones. The broker of the attempt before is not avoided for its own sake.
    fn by_latency(mut self, faults: &mut LatencyFaults) -> &'a MessageQueue {
        let first = self.next();
        let from = *self.index % self.queues.len();
        let mut in_turn = self.queues[from..].iter().chain(&self.queues[..from]);
        if let Some(queue) = in_turn.find(|it| faults.is_available(&it.broker_name)) {
            return queue;
        }
        let Some(broker_name) = faults.pick_one_at_least() else { return first };
        // RocketMQ 4.9 writes the broker's name into a queue that all its sends share.
        let mut of_broker = self.queues.iter().filter(|it| it.broker_name == broker_name);
        match of_broker.clone().count() {
            0 => {
                // The topic is not there.
                faults.remove(&broker_name);
                self.next()
            }
            count => of_broker.nth(from % count).unwrap_or(first),
        }
    }
}
