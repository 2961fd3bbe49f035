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

pub mod unit_topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::cluster::ClusterInfo;
use mq_protocol::body::topic_config::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use mq_protocol::body::topic_route::{BrokerData, MASTER_ID, QueueData, TopicRouteData};
use mq_protocol::header::namesrv::{
    BrokerIdentityRequestHeader, RegisterBrokerRequestHeader, RegisterBrokerResponseHeader,
};
use mq_protocol::sys_flag::PermName;
use mq_remoting::ChannelId;
use tokio::time::Instant;

use crate::limits::{LimitError, NamesrvLimits, check_name};

/// A broker that has not registered for longer than this is dropped (`BROKER_CHANNEL_EXPIRED_TIME`).
pub const BROKER_EXPIRED: Duration = Duration::from_secs(120);

/// Topics, brokers and clusters as registered.
#[derive(Debug, Default)]
pub struct RouteInfoManager {
    limits: NamesrvLimits,
    /// topic → broker name → its queues
    topic_queue_table: BTreeMap<Arc<str>, BTreeMap<String, QueueData>>,
    /// broker name → topics with queues of it
    topics_of_broker: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// Topics on broker names, counted once per broker name.
    topic_count: usize,
    /// broker name → its addresses by id
    broker_addr_table: BTreeMap<String, BrokerData>,
    /// (address, broker name that has it) → its id there
    ids_of_addr: BTreeMap<(String, String), i64>,
    /// cluster → broker names
    cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
    /// (broker name, cluster that has it)
    clusters_of_broker: BTreeSet<(String, String)>,
    /// broker address → when and how it registered last
    broker_live_table: BTreeMap<String, BrokerLiveInfo>,
    /// (connection, address that registered last by it)
    addrs_of_channel: BTreeSet<(ChannelId, String)>,
}

/// The last registration of one address.
#[derive(Clone, Debug)]
struct BrokerLiveInfo {
    last_update: Instant,
    data_version: DataVersion,
    channel: ChannelId,
    ha_server_addr: String,
    /// A topic that it registered was deleted since: what it still has is entered with its next registration,
    /// whatever version that has.
    has_lost_topic: bool,
}

impl BrokerLiveInfo {
    /// Whether tables of that version are entered anew.
    fn differs_from(&self, data_version: DataVersion) -> bool {
        self.has_lost_topic || self.data_version != data_version
    }
}

impl RouteInfoManager {
    /// Empty tables that grow up to `limits`.
    #[must_use]
    pub fn new(limits: NamesrvLimits) -> Self {
        RouteInfoManager { limits, ..RouteInfoManager::default() }
    }

    /// Registers a broker, or renews its registration (request 103). A slave learns where its live
    /// master is. Topics with names that nobody has are left out.
    ///
    /// # Errors
    /// When the tables would become larger than they may be; nothing is changed then.
    pub fn register_broker(
        &mut self,
        broker: &RegisterBrokerRequestHeader,
        topics: &TopicConfigSerializeWrapper,
        channel: ChannelId,
        now: Instant,
    ) -> Result<RegisterBrokerResponseHeader, LimitError> {
        self.check_limits(broker, topics)?;
        self.put_cluster(&broker.cluster_name, &broker.broker_name);
        let register_first = self.put_broker_addr(broker);
        if broker.broker_id == MASTER_ID
            && (register_first || self.is_changed(&broker.broker_addr, topics.data_version))
        {
            let named = topics.topic_config_table.values();
            for topic in named.filter(|topic| check_name("topic", &topic.topic_name).is_ok()) {
                self.put_queue_data(&broker.broker_name, topic);
            }
        } else if broker.broker_id == MASTER_ID
            && planted_on_this_thread(Plant::TopicsDroppedOnRenewal)
        {
            for topic in self.topics_of_broker.remove(&broker.broker_name).unwrap_or_default() {
                self.remove_queue_data(&topic, &broker.broker_name);
            }
        }
        let live = BrokerLiveInfo {
            last_update: now,
            data_version: topics.data_version,
            channel,
            ha_server_addr: broker.ha_server_addr.clone(),
            has_lost_topic: false,
        };
        self.put_live(&broker.broker_addr, live);
        if broker.broker_id == MASTER_ID {
            return Ok(RegisterBrokerResponseHeader::default());
        }
        Ok(self.master_of(&broker.broker_name))
    }

    /// A table that is full takes no new entries; those that it has are renewed.
    fn check_limits(
        &self,
        broker: &RegisterBrokerRequestHeader,
        topics: &TopicConfigSerializeWrapper,
    ) -> Result<(), LimitError> {
        let (addr, name) = (&broker.broker_addr, &broker.broker_name);
        let is_known = self.broker_live_table.contains_key(addr)
            && self.ids_of_addr.contains_key(&(addr.clone(), name.clone()))
            && self.clusters_of_broker.contains(&(name.clone(), broker.cluster_name.clone()));
        let tables =
            [self.broker_live_table.len(), self.ids_of_addr.len(), self.clusters_of_broker.len()];
        let brokers = tables.into_iter().max().unwrap_or(0) + usize::from(!is_known);
        check("brokers", brokers, self.limits.brokers_max, "registeredBrokersMax")?;
        if broker.broker_id != MASTER_ID {
            return Ok(());
        }
        let of_broker = self.topics_of_broker.get(name);
        let is_new =
            |topic: &&String| of_broker.is_none_or(|known| !known.contains(topic.as_str()));
        let topics_max = self.limits.topics_max;
        let room = topics_max.saturating_sub(self.topic_count);
        if topics.topic_config_table.len() <= room {
            return Ok(());
        }
        let new = topics.topic_config_table.values().map(|topic| &topic.topic_name);
        let new = new.filter(is_new).count();
        check("topics", self.topic_count + new, topics_max, "registeredTopicsMax")
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
        let changed = live.differs_from(data_version);
        if !changed {
            live.last_update = now;
        }
        (changed, Some(live.data_version))
    }

    /// Takes a broker out (request 104). As in Java the id goes whichever address holds it.
    pub fn unregister_broker(&mut self, broker: &BrokerIdentityRequestHeader) {
        self.remove_live(&broker.broker_addr);
        self.remove_id(&broker.broker_name, broker.broker_id);
    }

    /// Takes out the broker that registered last by `channel`, if any; returns its address. After
    /// it has registered again by another connection nothing happens.
    pub fn on_channel_closed(&mut self, channel: ChannelId) -> Option<String> {
        let mut of_channel = self.addrs_of_channel.range((channel, String::new())..);
        let broker_addr = match of_channel.next() {
            Some((found, addr)) if *found == channel => addr.clone(),
            _ => return None,
        };
        self.remove_addr(&broker_addr);
        Some(broker_addr)
    }

    /// Takes out every broker that has been silent for longer than [`BROKER_EXPIRED`]. Returns their
    /// addresses and the connections to close.
    pub fn scan_not_active_broker(&mut self, now: Instant) -> Vec<(String, ChannelId)> {
        if planted_on_this_thread(Plant::SilentBrokerKept) {
            return Vec::new();
        }
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

    /// Registered brokers, topics with a route, and these once per broker name.
    #[must_use]
    pub fn nums(&self) -> (usize, usize, usize) {
        (self.broker_live_table.len(), self.topic_queue_table.len(), self.topic_count)
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
        self.topic_queue_table.keys().map(|topic| topic.to_string()).collect()
    }

    /// The topics of a cluster's brokers (request 224); a topic on two brokers is listed twice, as
    /// in Java.
    #[must_use]
    pub fn topics_by_cluster(&self, cluster: &str) -> Vec<String> {
        let names = self.cluster_addr_table.get(cluster).into_iter().flatten();
        let topics = names.filter_map(|name| self.topics_of_broker.get(name)).flatten();
        topics.map(|topic| topic.to_string()).collect()
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

    /// Forgets a topic (request 216), or only its queues on the brokers of `cluster`. A broker that still has it, or has it
    /// again, says so with its next registration; 4.9 does not listen before the version of its table changes.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(queues) = self.topic_queue_table.get(topic) else { return };
        let names: Vec<String> = match cluster {
            None => queues.keys().cloned().collect(),
            Some(cluster) => {
                let Some(names) = self.cluster_addr_table.get(cluster) else { return };
                queues.keys().filter(|name| names.contains(*name)).cloned().collect()
            }
        };
        for name in names {
            if let Some(topics) = self.topics_of_broker.get_mut(&name) {
                topics.remove(topic);
            }
            self.remove_queue_data(topic, &name);
            let master =
                self.broker_addr_table.get(&name).and_then(|it| it.broker_addrs.get(&MASTER_ID));
            if let Some(live) = master.and_then(|addr| self.broker_live_table.get_mut(addr)) {
                live.has_lost_topic = true;
            }
        }
    }

    fn put_cluster(&mut self, cluster: &str, broker_name: &str) {
        let names = self.cluster_addr_table.entry(cluster.to_owned()).or_default();
        names.insert(broker_name.to_owned());
        self.clusters_of_broker.insert((broker_name.to_owned(), cluster.to_owned()));
    }

    /// Enters the address under its id; says whether the broker name or the id is new. A known
    /// broker name keeps the cluster it has.
    fn put_broker_addr(&mut self, broker: &RegisterBrokerRequestHeader) -> bool {
        let (name, addr, id) = (&broker.broker_name, &broker.broker_addr, broker.broker_id);
        let mut first = false;
        let data = self.broker_addr_table.entry(name.clone()).or_insert_with(|| {
            first = true;
            BrokerData {
                cluster: broker.cluster_name.clone(),
                broker_name: name.clone(),
                broker_addrs: BTreeMap::new(),
            }
        });
        let other_id = self.ids_of_addr.insert((addr.clone(), name.clone()), id);
        if let Some(other_id) = other_id.filter(|other| *other != id) {
            data.broker_addrs.remove(&other_id);
        }
        if planted_on_this_thread(Plant::FirstMasterStays)
            && data.broker_addrs.get(&id).is_some_and(|it| it != addr)
        {
            return false;
        }
        let old = data.broker_addrs.insert(id, addr.clone());
        debug_assert_eq!(
            data.broker_addrs.values().filter(|present| *present == addr).count(),
            1,
            "an address has one id"
        );
        if let Some(old) = old.as_ref().filter(|old| *old != addr) {
            self.ids_of_addr.remove(&(old.clone(), name.clone()));
        }
        first || old.is_none()
    }

    fn put_live(&mut self, broker_addr: &str, live: BrokerLiveInfo) {
        if !planted_on_this_thread(Plant::OldConnectionTakesNewAlong) {
            self.remove_live(broker_addr);
        }
        self.addrs_of_channel.insert((live.channel, broker_addr.to_owned()));
        self.broker_live_table.insert(broker_addr.to_owned(), live);
    }

    fn remove_live(&mut self, broker_addr: &str) {
        if let Some(live) = self.broker_live_table.remove(broker_addr) {
            self.addrs_of_channel.remove(&(live.channel, broker_addr.to_owned()));
        }
    }

    fn is_changed(&self, broker_addr: &str, data_version: DataVersion) -> bool {
        let live = self.broker_live_table.get(broker_addr);
        live.is_none_or(|live| live.differs_from(data_version))
    }

    fn put_queue_data(&mut self, broker_name: &str, topic: &TopicConfig) {
        let queue_data = QueueData {
            broker_name: broker_name.to_owned(),
            read_queue_nums: topic.read_queue_nums,
            write_queue_nums: topic.write_queue_nums,
            perm: topic.perm,
            topic_sys_flag: topic.topic_sys_flag,
        };
        let known = self.topic_queue_table.get_key_value(topic.topic_name.as_str());
        let name =
            known.map_or_else(|| Arc::from(topic.topic_name.as_str()), |it| Arc::clone(it.0));
        let queues = self.topic_queue_table.entry(Arc::clone(&name)).or_default();
        if queues.insert(broker_name.to_owned(), queue_data).is_none() {
            self.topic_count += 1;
            self.topics_of_broker.entry(broker_name.to_owned()).or_default().insert(name);
        }
    }

    fn remove_queue_data(&mut self, topic: &str, broker_name: &str) {
        let Some(queues) = self.topic_queue_table.get_mut(topic) else { return };
        if queues.remove(broker_name).is_some() {
            assert!(self.topic_count > 0, "what is removed was counted");
            self.topic_count -= 1;
        }
        if queues.is_empty() {
            self.topic_queue_table.remove(topic);
        }
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
        self.remove_live(broker_addr);
        let mut names = self.ids_of_addr.range((broker_addr.to_owned(), String::new())..);
        let found = match names.next() {
            Some(((addr, name), id)) if addr == broker_addr => (name.clone(), *id),
            _ => return,
        };
        self.remove_id(&found.0, found.1);
    }

    /// Takes an id out of a broker name. Without addresses it is forgotten, with its queues and, if it was
    /// the last, its cluster.
    fn remove_id(&mut self, broker_name: &str, id: i64) {
        let Some(data) = self.broker_addr_table.get_mut(broker_name) else { return };
        if planted_on_this_thread(Plant::UnregistersTheWholeGroup) {
            data.broker_addrs.retain(|other, _| *other == id);
        }
        if let Some(addr) = data.broker_addrs.remove(&id) {
            self.ids_of_addr.remove(&(addr, broker_name.to_owned()));
        }
        if !data.broker_addrs.is_empty() {
            return;
        }
        self.broker_addr_table.remove(broker_name);
        self.leave_clusters(broker_name);
        for topic in self.topics_of_broker.remove(broker_name).unwrap_or_default() {
            self.remove_queue_data(&topic, broker_name);
        }
    }

    fn leave_clusters(&mut self, broker_name: &str) {
        let from = (broker_name.to_owned(), String::new());
        let of_broker = self.clusters_of_broker.range(from..);
        let clusters: Vec<String> = of_broker
            .take_while(|(name, _)| name == broker_name)
            .map(|(_, cluster)| cluster.clone())
            .collect();
        for cluster in clusters {
            if let Some(names) = self.cluster_addr_table.get_mut(&cluster) {
                names.remove(broker_name);
                if names.is_empty() {
                    self.cluster_addr_table.remove(&cluster);
                }
            }
            self.clusters_of_broker.remove(&(broker_name.to_owned(), cluster));
        }
    }

    fn edit_perm_of_broker(&mut self, broker_name: &str, edit: impl Fn(i32) -> i32) -> i32 {
        let topics = self.topics_of_broker.get(broker_name);
        let mut count = 0;
        for topic in topics.into_iter().flatten() {
            let queues = self.topic_queue_table.get_mut(topic);
            if let Some(queue) = queues.and_then(|queues| queues.get_mut(broker_name)) {
                queue.perm = edit(queue.perm);
                count += 1;
            }
        }
        count
    }
}

fn check(
    what: &'static str,
    wanted: usize,
    limit: usize,
    key: &'static str,
) -> Result<(), LimitError> {
    if wanted > limit { Err(LimitError { what, wanted, limit, key }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
