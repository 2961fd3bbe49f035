//! [`ProducerManager`]: which connections belong to which producer group (RocketMQ 4.9
//! `ProducerManager`).

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mq_remoting::{Channel, ChannelId};
use tokio::time::Instant;

use crate::client_channel::ClientChannelInfo;
use crate::client_groups::ClientGroups;
use crate::config::BrokerLimits;
use crate::limits::LimitReached;
use crate::lock;

/// Live producers by group.
pub(crate) struct ProducerManager {
    groups: Mutex<ClientGroups<()>>,
    /// How often a producer was chosen: they take turns.
    turn: AtomicUsize,
}

impl ProducerManager {
    pub(crate) fn new(limits: &BrokerLimits) -> Self {
        ProducerManager { groups: Mutex::new(ClientGroups::new(limits)), turn: AtomicUsize::new(0) }
    }

    /// A connection of the group that can be written to; they take turns.
    pub(crate) fn available_channel(&self, group: &str) -> Option<Channel> {
        let groups = lock(&self.groups);
        let clients = &groups.get(group)?.channels;
        let from = self.turn.fetch_add(1, Ordering::Relaxed) % clients.len();
        let in_turn = clients.values().skip(from).chain(clients.values().take(from));
        let mut channels = in_turn.map(|client| &client.channel);
        channels.find(|channel| !channel.is_closed() && channel.is_writable()).cloned()
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
        let is_new = lock(&self.groups).join(group, client)?;
        if is_new {
            tracing::info!(group, client = &*client.client_id, "producer registered");
        }
        Ok(is_new)
    }

    /// Forgets a producer that takes its leave.
    pub(crate) fn unregister_producer(&self, group: &str, channel: ChannelId) {
        lock(&self.groups).leave(group, channel);
    }

    /// Forgets the producers of a connection that has ended.
    pub(crate) fn do_channel_close(&self, channel: ChannelId) {
        let mut groups = lock(&self.groups);
        for group in groups.groups_of(channel) {
            groups.leave(&group, channel);
        }
    }

    /// The connections of producers without a heartbeat for too long.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Channel> {
        lock(&self.groups).expired(now)
    }

    /// When the next producer expires unless it is heard of.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        lock(&self.groups).next_expiry()
    }

    /// Number of connections of each group.
    #[cfg(test)]
    fn counts(&self) -> Vec<(String, usize)> {
        lock(&self.groups).counts()
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
