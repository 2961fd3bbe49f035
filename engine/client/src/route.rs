//! [`RouteTable`]: which queues and brokers this client knows of (the tables of RocketMQ 4.9
//! `MQClientInstance`).
//!
//! A route is replaced when a name server gives another one, and kept when it gives none: a topic
//! that vanished does not vanish here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mq_protocol::body::topic_route::{MASTER_ID, QueueData, TopicRouteData};
use mq_protocol::message::MessageQueue;
use mq_protocol::sys_flag::PermName;

/// Routes by topic, addresses by broker name.
#[derive(Default)]
pub(crate) struct RouteTable {
    topics: BTreeMap<String, TopicRoute>,
    broker_addrs: BTreeMap<String, BTreeMap<i64, String>>,
}

/// What is known of one topic.
struct TopicRoute {
    data: TopicRouteData,
    publish_queues: Arc<[MessageQueue]>,
    subscribe_queues: Arc<[MessageQueue]>,
}

impl RouteTable {
    /// Takes over the route of `topic`; says whether it differs from the known one.
    pub(crate) fn update(&mut self, topic: &str, mut data: TopicRouteData) -> bool {
        data.queue_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        data.broker_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        if self.topics.get(topic).is_some_and(|known| known.data == data) {
            return false;
        }
        for broker in &data.broker_datas {
            self.broker_addrs.insert(broker.broker_name.clone(), broker.broker_addrs.clone());
        }
        let route = TopicRoute {
            publish_queues: publish_queues(topic, &data).into(),
            subscribe_queues: subscribe_queues(topic, &data).into(),
            data,
        };
        self.topics.insert(topic.to_owned(), route);
        true
    }

    /// The queues to which messages of `topic` may be sent; empty if none is known.
    pub(crate) fn publish_queues(&self, topic: &str) -> Arc<[MessageQueue]> {
        self.topics.get(topic).map_or_else(Default::default, |route| route.publish_queues.clone())
    }

    /// The queues that consumers of `topic` share; `None` if its route is unknown.
    pub(crate) fn subscribe_queues(&self, topic: &str) -> Option<Arc<[MessageQueue]>> {
        self.topics.get(topic).map(|route| route.subscribe_queues.clone())
    }

    /// The address of a broker's master.
    pub(crate) fn master_addr(&self, broker_name: &str) -> Option<String> {
        self.broker_addrs.get(broker_name)?.get(&MASTER_ID).cloned()
    }

    /// The address to pull from and whether it is a slave's (Java `findBrokerAddressInSubscribe`):
    /// that of `broker_id`; for a slave's id also the next one; failing that any.
    pub(crate) fn subscribe_addr(
        &self,
        broker_name: &str,
        broker_id: i64,
    ) -> Option<(String, bool)> {
        let addrs = self.broker_addrs.get(broker_name)?;
        let next_slave = (broker_id != MASTER_ID).then_some(broker_id + 1);
        let wanted = [Some(broker_id), next_slave].into_iter().flatten();
        let (id, addr) = wanted
            .filter_map(|id| addrs.get_key_value(&id))
            .chain(addrs.first_key_value())
            .next()?;
        Some((addr.clone(), *id != MASTER_ID))
    }

    /// For each broker of the topic's route an address: its master's, else some slave's.
    pub(crate) fn any_addrs(&self, topic: &str) -> Vec<String> {
        let Some(route) = self.topics.get(topic) else { return Vec::new() };
        let brokers = route.data.broker_datas.iter();
        brokers
            .filter_map(|broker| broker.broker_addrs.first_key_value())
            .map(|(_, addr)| addr.clone())
            .collect()
    }

    /// Every address, or only those of masters, each once.
    pub(crate) fn addrs(&self, masters_only: bool) -> BTreeSet<String> {
        let addrs = self.broker_addrs.values().flatten();
        addrs
            .filter(|(id, _)| !masters_only || **id == MASTER_ID)
            .map(|(_, addr)| addr.clone())
            .collect()
    }

    /// Forgets addresses that no route mentions any more (Java `cleanOfflineBroker`).
    pub(crate) fn clean_offline_brokers(&mut self) {
        let in_routes: BTreeSet<&String> = self
            .topics
            .values()
            .flat_map(|route| &route.data.broker_datas)
            .flat_map(|broker| broker.broker_addrs.values())
            .collect();
        self.broker_addrs.retain(|_, addrs| {
            addrs.retain(|_, addr| in_routes.contains(addr));
            !addrs.is_empty()
        });
    }
}

/// The route of a topic that does not exist yet, made from that of the topic it is created after:
/// at most `queue_nums` queues per broker.
pub(crate) fn clamp_queue_nums(data: &mut TopicRouteData, queue_nums: i32) {
    for queue in &mut data.queue_datas {
        let clamped = queue_nums.min(queue.read_queue_nums);
        queue.read_queue_nums = clamped;
        queue.write_queue_nums = clamped;
    }
}

fn publish_queues(topic: &str, data: &TopicRouteData) -> Vec<MessageQueue> {
    if let Some(conf) = data.order_topic_conf.as_deref().filter(|conf| !conf.is_empty()) {
        return ordered_queues(topic, conf);
    }
    let has_master = |queue: &&QueueData| {
        let mut brokers = data.broker_datas.iter();
        let broker = brokers.find(|broker| broker.broker_name == queue.broker_name);
        broker.is_some_and(|broker| broker.broker_addrs.contains_key(&MASTER_ID))
    };
    let writable = data.queue_datas.iter().filter(|queue| PermName::is_writeable(queue.perm));
    writable
        .filter(has_master)
        .flat_map(|queue| queues(topic, &queue.broker_name, queue.write_queue_nums))
        .collect()
}

fn subscribe_queues(topic: &str, data: &TopicRouteData) -> Vec<MessageQueue> {
    let readable = data.queue_datas.iter().filter(|queue| PermName::is_readable(queue.perm));
    readable.flat_map(|queue| queues(topic, &queue.broker_name, queue.read_queue_nums)).collect()
}

/// `broker:n;broker:n` in that order; what is malformed is passed over.
fn ordered_queues(topic: &str, conf: &str) -> Vec<MessageQueue> {
    let brokers = conf.split(';').filter_map(|broker| broker.split_once(':'));
    brokers
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .flat_map(|(name, count)| queues(topic, name, count))
        .collect()
}

fn queues<'a>(
    topic: &'a str,
    broker_name: &'a str,
    count: i32,
) -> impl Iterator<Item = MessageQueue> + 'a {
    (0..count).map(move |queue_id| MessageQueue {
        topic: topic.to_owned(),
        broker_name: broker_name.to_owned(),
        queue_id,
    })
}
