//! [`ProducerManager`]: which connections belong to which producer group, and to which client (RocketMQ
//! 4.9 `ProducerManager`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mq_remoting::{Channel, ChannelId};
use tokio::time::Instant;

use crate::client_channel::ClientChannelInfo;
use crate::client_groups::ClientGroups;
use crate::config::BrokerLimits;
use crate::limits::LimitReached;
use crate::lock;

/// Live producers by group and by client.
pub(crate) struct ProducerManager {
    producers: Mutex<Producers>,
    /// How often a producer was chosen: they take turns.
    turn: AtomicUsize,
}

struct Producers {
    groups: ClientGroups<()>,
    /// Client ids with their connections and the groups these are in.
    by_client_id: BTreeSet<(Arc<str>, ChannelId, Arc<str>)>,
}

impl Producers {
    fn join(&mut self, group: &str, client: &ClientChannelInfo) -> Result<bool, LimitReached> {
        let before = self.client_id(group, client.channel.id());
        let is_new = self.groups.join(group, client)?;
        if let Some(client_id) = before.filter(|before| *before != client.client_id) {
            self.by_client_id.remove(&(client_id, client.channel.id(), Arc::from(group)));
        }
        let client_id = Arc::clone(&client.client_id);
        self.by_client_id.insert((client_id, client.channel.id(), Arc::from(group)));
        Ok(is_new)
    }

    fn leave(&mut self, group: &str, channel: ChannelId) {
        if let Some(client_id) = self.client_id(group, channel) {
            self.by_client_id.remove(&(client_id, channel, Arc::from(group)));
        }
        self.groups.leave(group, channel);
    }

    fn client_id(&self, group: &str, channel: ChannelId) -> Option<Arc<str>> {
        Some(Arc::clone(&self.groups.get(group)?.channels.get(&channel)?.client_id))
    }
}

impl ProducerManager {
    pub(crate) fn new(limits: &BrokerLimits) -> Self {
        let (groups, by_client_id) = (ClientGroups::new(limits), BTreeSet::new());
        let producers = Mutex::new(Producers { groups, by_client_id });
        ProducerManager { producers, turn: AtomicUsize::new(0) }
    }

    /// The newest open connection of a client that has a producer. 4.9 forgets the client when one of its
    /// producers takes its leave, whoever is left.
    pub(crate) fn find_channel(&self, client_id: &str) -> Option<Channel> {
        let Producers { groups, by_client_id } = &*lock(&self.producers);
        let client_id = Arc::<str>::from(client_id);
        let newest = (Arc::clone(&client_id), ChannelId(u64::MAX), Arc::from(""));
        let newest_first = by_client_id.range(..newest).rev();
        let of_client = newest_first.take_while(|(id, ..)| *id == client_id);
        let mut channels = of_client.filter_map(|(_, channel, group)| {
            groups.get(group)?.channels.get(channel).map(|client| &client.channel)
        });
        channels.find(|channel| !channel.is_closed()).cloned()
    }

    /// A connection of the group that can be written to; they take turns.
    pub(crate) fn available_channel(&self, group: &str) -> Option<Channel> {
        let producers = lock(&self.producers);
        let clients = &producers.groups.get(group)?.channels;
        let from = self.turn.fetch_add(1, Ordering::Relaxed) % clients.len();
        let in_turn = clients.values().skip(from).chain(clients.values().take(from));
        let mut channels = in_turn.map(|client| &client.channel);
        channels.find(|channel| !channel.is_closed() && channel.is_writable()).cloned()
    }

    /// The members of a group; `None` if nobody is there.
    pub(crate) fn members(&self, group: &str) -> Option<Vec<ClientChannelInfo>> {
        let producers = lock(&self.producers);
        Some(producers.groups.get(group)?.channels.values().cloned().collect())
    }

    /// Every group with its members.
    pub(crate) fn table(&self) -> Vec<(String, Vec<ClientChannelInfo>)> {
        let producers = lock(&self.producers);
        let groups = producers.groups.iter();
        groups
            .map(|(name, group)| (name.to_owned(), group.channels.values().cloned().collect()))
            .collect()
    }

    /// Takes note of a producer's heartbeat. Returns whether it is new.
    ///
    /// # Errors
    /// When it is new and there are too many.
    pub(crate) fn register_producer(
        &self,
        group: &str,
        client: &ClientChannelInfo,
    ) -> Result<bool, LimitReached> {
        let is_new = lock(&self.producers).join(group, client)?;
        if is_new {
            tracing::info!(group, client = &*client.client_id, "producer registered");
        }
        Ok(is_new)
    }

    /// Forgets a producer that takes its leave.
    pub(crate) fn unregister_producer(&self, group: &str, channel: ChannelId) {
        lock(&self.producers).leave(group, channel);
    }

    /// Forgets the producers of a connection that has ended.
    pub(crate) fn do_channel_close(&self, channel: ChannelId) {
        let mut producers = lock(&self.producers);
        for group in producers.groups.groups_of(channel) {
            producers.leave(&group, channel);
        }
    }

    /// The connections of producers without a heartbeat for too long.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Channel> {
        lock(&self.producers).groups.expired(now)
    }

    /// When the next producer expires unless it is heard of.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        lock(&self.producers).groups.next_expiry()
    }

    /// Number of connections of each group.
    #[cfg(test)]
    fn counts(&self) -> Vec<(String, usize)> {
        lock(&self.producers).groups.counts()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client_channel::CHANNEL_EXPIRED_TIMEOUT;
    use crate::client_channel::tests::clients;

    #[tokio::test]
    async fn producers_come_and_go_with_their_connections() {
        let (_server, clients) = clients(["c1", "c2"]).await;
        let manager = ProducerManager::new(&BrokerLimits::default());
        assert!(manager.register_producer("P", &clients[0]).unwrap());
        assert!(manager.register_producer("P", &clients[1]).unwrap());
        assert!(!manager.register_producer("P", &clients[0]).unwrap());
        manager.register_producer("Q", &clients[0]).unwrap();
        assert_eq!(manager.counts(), [("P".to_owned(), 2), ("Q".to_owned(), 1)]);

        let asked = |group| manager.available_channel(group).map(|channel| channel.id());
        let (one, other) = (asked("P"), asked("P"));
        assert!(one != other && [one, other].iter().all(Option::is_some), "they take turns");
        assert_eq!(asked("Q"), Some(clients[0].channel.id()));
        assert_eq!(asked("R"), None);

        manager.unregister_producer("P", clients[1].channel.id());
        assert_eq!(manager.counts(), [("P".to_owned(), 1), ("Q".to_owned(), 1)]);
        manager.do_channel_close(clients[0].channel.id());
        assert!(manager.counts().is_empty() && manager.next_expiry().is_none());
    }

    #[tokio::test]
    async fn a_client_is_found_as_long_as_one_of_its_producers_is_there() {
        let (_server, clients) = clients(["c", "c", "cc"]).await;
        let manager = ProducerManager::new(&BrokerLimits::default());
        let found = |id: &str| manager.find_channel(id).map(|channel| channel.id());
        assert_eq!(found("c"), None);
        for client in &clients {
            manager.register_producer("P", client).unwrap();
        }
        manager.register_producer("Q", &clients[1]).unwrap();
        assert_eq!(found("c"), Some(clients[1].channel.id()), "the newest connection");
        manager.unregister_producer("P", clients[1].channel.id());
        assert_eq!(found("c"), Some(clients[1].channel.id()), "it has a producer yet");
        manager.do_channel_close(clients[1].channel.id());
        assert_eq!(found("c"), Some(clients[0].channel.id()));
        let renamed = ClientChannelInfo { client_id: "d".into(), ..clients[0].clone() };
        manager.register_producer("P", &renamed).unwrap();
        assert_eq!((found("c"), found("d")), (None, Some(clients[0].channel.id())));
        manager.do_channel_close(clients[0].channel.id());
        manager.do_channel_close(clients[2].channel.id());
        assert!(lock(&manager.producers).by_client_id.is_empty());
    }

    #[tokio::test]
    async fn a_producer_without_heartbeat_expires() {
        let (_server, clients) = clients(["c1", "c2"]).await;
        let manager = ProducerManager::new(&BrokerLimits::default());
        let mut fresh = clients[1].clone();
        fresh.last_update = clients[0].last_update + Duration::from_secs(5);
        manager.register_producer("P", &clients[0]).unwrap();
        manager.register_producer("P", &fresh).unwrap();

        let expiry = clients[0].last_update + CHANNEL_EXPIRED_TIMEOUT;
        assert_eq!(manager.next_expiry(), Some(expiry));
        assert!(manager.expired(expiry - Duration::from_millis(1)).is_empty());
        let expired = manager.expired(expiry);
        assert_eq!(expired.iter().map(Channel::id).collect::<Vec<_>>(), [clients[0].channel.id()]);
    }
}
