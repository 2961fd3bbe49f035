//! [`RouteInfoManager`]: which broker has which topics, and which brokers live (RocketMQ 4.9
//! `RouteInfoManager`).
//!
//! Tables only: no clock, no sockets, no lock. Everything is learnt from registrations and lost with
//! the process. The rules that surprise:
//! * the last registration of a (broker name, id) wins, without a look at the one it replaces;
//! * an address has one id: registering it under another id removes the old one, which makes the
//!   promotion of a slave atomic;
//! * only id 0 publishes topics, and only when something changed; a topic that is missing from a
//!   registration stays;
//! * topics stay as long as any broker of the name is registered, a lone slave included;
//! * a connection that ends takes along only the broker that registered by it last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mq_protocol::body::cluster::ClusterInfo;
use mq_protocol::body::topic_config::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use mq_protocol::body::topic_route::{BrokerData, MASTER_ID, QueueData, TopicRouteData};
use mq_protocol::header::namesrv::{
    BrokerIdentityRequestHeader, RegisterBrokerRequestHeader, RegisterBrokerResponseHeader,
};
use mq_protocol::sys_flag::PermName;
use mq_remoting::ChannelId;
use tokio::time::Instant;

/// A broker that has not registered for longer than this is dropped (`BROKER_CHANNEL_EXPIRED_TIME`).
pub const BROKER_EXPIRED: Duration = Duration::from_secs(120);

/// Topics, brokers and clusters as registered.
#[derive(Debug, Default)]
pub struct RouteInfoManager {
    /// topic → broker name → its queues
    topic_queue_table: BTreeMap<String, BTreeMap<String, QueueData>>,
    /// broker name → its addresses by id
    broker_addr_table: BTreeMap<String, BrokerData>,
    /// cluster → broker names
    cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
    /// broker address → when and how it registered last
    broker_live_table: BTreeMap<String, BrokerLiveInfo>,
}

/// The last registration of one address.
#[derive(Clone, Debug)]
struct BrokerLiveInfo {
    last_update: Instant,
    data_version: DataVersion,
    channel: ChannelId,
    ha_server_addr: String,
}

impl RouteInfoManager {
    /// Registers a broker, or renews its registration (request 103). A slave learns where its live
    /// master is.
    pub fn register_broker(
        &mut self,
        broker: &RegisterBrokerRequestHeader,
        topics: &TopicConfigSerializeWrapper,
        channel: ChannelId,
        now: Instant,
    ) -> RegisterBrokerResponseHeader {
        let names = self.cluster_addr_table.entry(broker.cluster_name.clone()).or_default();
        names.insert(broker.broker_name.clone());
        let register_first = self.put_broker_addr(broker);
        if broker.broker_id == MASTER_ID
            && (register_first || self.is_changed(&broker.broker_addr, topics.data_version))
        {
            for topic in topics.topic_config_table.values() {
                self.put_queue_data(&broker.broker_name, topic);
            }
        }
        let live = BrokerLiveInfo {
            last_update: now,
            data_version: topics.data_version,
            channel,
            ha_server_addr: broker.ha_server_addr.clone(),
        };
        self.broker_live_table.insert(broker.broker_addr.clone(), live);
        if broker.broker_id == MASTER_ID {
            return RegisterBrokerResponseHeader::default();
        }
        self.master_of(&broker.broker_name)
    }

    /// Whether a broker's tables differ from those it registered last (request 322), and the version
    /// of these. The same version counts as a sign of life.
    pub fn query_data_version(
        &mut self,
        broker_addr: &str,
        data_version: DataVersion,
        now: Instant,
    ) -> (bool, Option<DataVersion>) {
        let Some(live) = self.broker_live_table.get_mut(broker_addr) else { return (true, None) };
        let changed = live.data_version != data_version;
        if !changed {
            live.last_update = now;
        }
        (changed, Some(live.data_version))
    }

    /// Takes a broker out (request 104). As in Java the id goes whichever address holds it.
    pub fn unregister_broker(&mut self, broker: &BrokerIdentityRequestHeader) {
        self.broker_live_table.remove(&broker.broker_addr);
        if let Some(data) = self.broker_addr_table.get_mut(&broker.broker_name) {
            data.broker_addrs.remove(&broker.broker_id);
        }
        self.drop_if_empty(&broker.broker_name);
    }

    /// Takes out the broker that registered last by `channel`, if any; returns its address. After
    /// it has registered again by another connection nothing happens.
    pub fn on_channel_closed(&mut self, channel: ChannelId) -> Option<String> {
        let mut live = self.broker_live_table.iter();
        let broker_addr = live.find(|(_, live)| live.channel == channel)?.0.clone();
        self.remove_addr(&broker_addr);
        Some(broker_addr)
    }

    /// Takes out every broker that has been silent for longer than [`BROKER_EXPIRED`]. Returns their
    /// addresses and the connections to close.
    pub fn scan_not_active_broker(&mut self, now: Instant) -> Vec<(String, ChannelId)> {
        let expired: Vec<_> = self
            .broker_live_table
            .iter()
            .filter(|(_, live)| live.last_update + BROKER_EXPIRED < now)
            .map(|(addr, live)| (addr.clone(), live.channel))
            .collect();
        for (broker_addr, _) in &expired {
            self.remove_addr(broker_addr);
        }
        expired
    }

    /// Whether a broker with this address is registered.
    #[must_use]
    pub fn is_live(&self, broker_addr: &str) -> bool {
        self.broker_live_table.contains_key(broker_addr)
    }

    /// Whether any broker is registered.
    #[must_use]
    pub fn has_live_brokers(&self) -> bool {
        !self.broker_live_table.is_empty()
    }

    /// The route of `topic` (request 105): only if some broker with queues of it has an address.
    #[must_use]
    pub fn pickup_topic_route_data(&self, topic: &str) -> Option<TopicRouteData> {
        let queues = self.topic_queue_table.get(topic)?;
        let brokers = queues.keys().filter_map(|name| self.broker_addr_table.get(name));
        let broker_datas: Vec<BrokerData> = brokers.cloned().collect();
        if broker_datas.is_empty() {
            return None;
        }
        Some(TopicRouteData {
            broker_datas,
            queue_datas: queues.values().cloned().collect(),
            ..TopicRouteData::default()
        })
    }

    /// Every cluster and broker (request 106).
    #[must_use]
    pub fn cluster_info(&self) -> ClusterInfo {
        let brokers = self.broker_addr_table.iter();
        let clusters = self.cluster_addr_table.iter();
        ClusterInfo {
            broker_addr_table: brokers.map(|(name, data)| (name.clone(), data.clone())).collect(),
            cluster_addr_table: clusters
                .map(|(cluster, names)| (cluster.clone(), names.iter().cloned().collect()))
                .collect(),
        }
    }

    /// Takes the write permission from all queues of a broker name (request 205) until its master
    /// registers something new; returns how many topics there are.
    pub fn wipe_write_perm_of_broker(&mut self, broker_name: &str) -> i32 {
        self.edit_perm_of_broker(broker_name, |perm| perm & !PermName::WRITE)
    }

    /// Makes all queues of a broker name readable and writable (request 327), whatever they were;
    /// returns how many topics there are.
    pub fn add_write_perm_of_broker(&mut self, broker_name: &str) -> i32 {
        self.edit_perm_of_broker(broker_name, |_| PermName::READ_WRITE)
    }

    /// Every topic (request 206).
    #[must_use]
    pub fn all_topic_list(&self) -> Vec<String> {
        self.topic_queue_table.keys().cloned().collect()
    }

    /// The topics of a cluster's brokers (request 224); a topic on two brokers is listed twice, as
    /// in Java.
    #[must_use]
    pub fn topics_by_cluster(&self, cluster: &str) -> Vec<String> {
        let names = self.cluster_addr_table.get(cluster).into_iter().flatten();
        names
            .flat_map(|name| {
                let topics = self.topic_queue_table.iter();
                topics.filter(move |(_, queues)| queues.contains_key(name))
            })
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// The names of clusters and brokers, which are topics too, and the address of any broker
    /// (request 304): the console asks that broker for its part.
    #[must_use]
    pub fn system_topic_list(&self) -> (Vec<String>, Option<String>) {
        let names = self
            .cluster_addr_table
            .iter()
            .flat_map(|(cluster, names)| std::iter::once(cluster).chain(names))
            .cloned()
            .collect();
        let mut addrs = self.broker_addr_table.values().flat_map(|data| data.broker_addrs.values());
        (names, addrs.next().cloned())
    }

    /// Forgets a topic (request 216), or only its queues on the brokers of `cluster`.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(cluster) = cluster else {
            self.topic_queue_table.remove(topic);
            return;
        };
        let names = self.cluster_addr_table.get(cluster);
        if let (Some(names), Some(queues)) = (names, self.topic_queue_table.get_mut(topic)) {
            queues.retain(|name, _| !names.contains(name));
            if queues.is_empty() {
                self.topic_queue_table.remove(topic);
            }
        }
    }

    /// Enters the address under its id; says whether the broker name or the id is new. A known
    /// broker name keeps the cluster it has.
    fn put_broker_addr(&mut self, broker: &RegisterBrokerRequestHeader) -> bool {
        let mut first = false;
        let data = self.broker_addr_table.entry(broker.broker_name.clone()).or_insert_with(|| {
            first = true;
            BrokerData {
                cluster: broker.cluster_name.clone(),
                broker_name: broker.broker_name.clone(),
                broker_addrs: BTreeMap::new(),
            }
        });
        data.broker_addrs.retain(|id, addr| *id == broker.broker_id || *addr != broker.broker_addr);
        let old = data.broker_addrs.insert(broker.broker_id, broker.broker_addr.clone());
        first || old.is_none()
    }

    fn is_changed(&self, broker_addr: &str, data_version: DataVersion) -> bool {
        let live = self.broker_live_table.get(broker_addr);
        live.is_none_or(|live| live.data_version != data_version)
    }

    fn put_queue_data(&mut self, broker_name: &str, topic: &TopicConfig) {
        let queue_data = QueueData {
            broker_name: broker_name.to_owned(),
            read_queue_nums: topic.read_queue_nums,
            write_queue_nums: topic.write_queue_nums,
            perm: topic.perm,
            topic_sys_flag: topic.topic_sys_flag,
        };
        let queues = self.topic_queue_table.entry(topic.topic_name.clone()).or_default();
        queues.insert(broker_name.to_owned(), queue_data);
    }

    fn master_of(&self, broker_name: &str) -> RegisterBrokerResponseHeader {
        let data = self.broker_addr_table.get(broker_name);
        let Some(master_addr) = data.and_then(|data| data.broker_addrs.get(&MASTER_ID)) else {
            return RegisterBrokerResponseHeader::default();
        };
        match self.broker_live_table.get(master_addr) {
            Some(live) => RegisterBrokerResponseHeader {
                master_addr: Some(master_addr.clone()),
                ha_server_addr: Some(live.ha_server_addr.clone()),
            },
            None => RegisterBrokerResponseHeader::default(),
        }
    }

    /// Takes out an address: from the live brokers, and from the first broker name that has it.
    fn remove_addr(&mut self, broker_addr: &str) {
        self.broker_live_table.remove(broker_addr);
        let mut names = self.broker_addr_table.iter_mut();
        let found = names.find_map(|(name, data)| {
            let (&id, _) = data.broker_addrs.iter().find(|(_, addr)| *addr == broker_addr)?;
            data.broker_addrs.remove(&id);
            Some(name.clone())
        });
        if let Some(broker_name) = found {
            self.drop_if_empty(&broker_name);
        }
    }

    /// Forgets a broker name without addresses, with its queues and, if it was the last, its cluster.
    fn drop_if_empty(&mut self, broker_name: &str) {
        match self.broker_addr_table.get(broker_name) {
            Some(data) if data.broker_addrs.is_empty() => {}
            _ => return,
        }
        self.broker_addr_table.remove(broker_name);
        self.cluster_addr_table.retain(|_, names| {
            names.remove(broker_name);
            !names.is_empty()
        });
        self.topic_queue_table.retain(|_, queues| {
            queues.remove(broker_name);
            !queues.is_empty()
        });
    }

    fn edit_perm_of_broker(&mut self, broker_name: &str, edit: impl Fn(i32) -> i32) -> i32 {
        let queues = self.topic_queue_table.values_mut();
        queues
            .filter_map(|queues| queues.get_mut(broker_name))
            .map(|queue| queue.perm = edit(queue.perm))
            .fold(0, |count, ()| count + 1)
    }
}

#[cfg(test)]
mod tests;
