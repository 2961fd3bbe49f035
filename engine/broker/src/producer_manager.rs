//! [`ProducerManager`]: which connections belong to which producer group (RocketMQ 4.9
//! `ProducerManager`).

use std::collections::BTreeMap;
use std::sync::Mutex;

use mq_remoting::{Channel, ChannelId};
use tokio::time::Instant;

use crate::client_channel::{CHANNEL_EXPIRED_TIMEOUT, ClientChannelInfo};
use crate::lock;

/// Live producers by group.
#[derive(Default)]
pub(crate) struct ProducerManager {
    groups: Mutex<BTreeMap<String, BTreeMap<ChannelId, ClientChannelInfo>>>,
}

impl ProducerManager {
    /// Takes note of a producer's heartbeat. Returns whether it is new.
    pub(crate) fn register_producer(&self, group: &str, client: &ClientChannelInfo) -> bool {
        let mut groups = lock(&self.groups);
        if !groups.contains_key(group) {
            groups.insert(group.to_owned(), BTreeMap::new());
        }
        let channels = groups.get_mut(group).expect("the group was just inserted");
        let is_new = channels.insert(client.channel.id(), client.clone()).is_none();
        if is_new {
            tracing::info!(group, client = client.client_id, "producer registered");
        }
        is_new
    }

    /// Forgets a producer that takes its leave.
    pub(crate) fn unregister_producer(&self, group: &str, channel: ChannelId) {
        let mut groups = lock(&self.groups);
        if let Some(channels) = groups.get_mut(group) {
            channels.remove(&channel);
            if channels.is_empty() {
                groups.remove(group);
            }
        }
    }

    /// Forgets the producers of a connection that has ended.
    pub(crate) fn do_channel_close(&self, channel: ChannelId) {
        lock(&self.groups).retain(|_, channels| {
            channels.remove(&channel);
            !channels.is_empty()
        });
    }

    /// The connections of producers without a heartbeat for [`CHANNEL_EXPIRED_TIMEOUT`].
    pub(crate) fn expired(&self, now: Instant) -> Vec<Channel> {
        let groups = lock(&self.groups);
        let clients = groups.values().flat_map(BTreeMap::values);
        clients.filter(|client| !client.is_live(now)).map(|client| client.channel.clone()).collect()
    }

    /// When the next producer expires unless it is heard of.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let groups = lock(&self.groups);
        let last_updates = groups.values().flat_map(BTreeMap::values).map(|c| c.last_update);
        last_updates.min().map(|earliest| earliest + CHANNEL_EXPIRED_TIMEOUT)
    }

    /// Number of connections of each group.
    #[cfg(test)]
    fn counts(&self) -> Vec<(String, usize)> {
        lock(&self.groups).iter().map(|(group, channels)| (group.clone(), channels.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client_channel::tests::clients;

    #[tokio::test]
    async fn producers_come_and_go_with_their_connections() {
        let (_server, clients) = clients(["c1", "c2"]).await;
        let manager = ProducerManager::default();
        assert!(manager.register_producer("P", &clients[0]));
        assert!(manager.register_producer("P", &clients[1]));
        assert!(!manager.register_producer("P", &clients[0]));
        manager.register_producer("Q", &clients[0]);
        assert_eq!(manager.counts(), [("P".to_owned(), 2), ("Q".to_owned(), 1)]);

        manager.unregister_producer("P", clients[1].channel.id());
        assert_eq!(manager.counts(), [("P".to_owned(), 1), ("Q".to_owned(), 1)]);
        manager.do_channel_close(clients[0].channel.id());
        assert!(manager.counts().is_empty() && manager.next_expiry().is_none());
    }

    #[tokio::test]
    async fn a_producer_without_heartbeat_expires() {
        let (_server, clients) = clients(["c1", "c2"]).await;
        let manager = ProducerManager::default();
        let mut fresh = clients[1].clone();
        fresh.last_update = clients[0].last_update + Duration::from_secs(5);
        manager.register_producer("P", &clients[0]);
        manager.register_producer("P", &fresh);

        let expiry = clients[0].last_update + CHANNEL_EXPIRED_TIMEOUT;
        assert_eq!(manager.next_expiry(), Some(expiry));
        assert!(manager.expired(expiry - Duration::from_millis(1)).is_empty());
        let expired = manager.expired(expiry);
        assert_eq!(expired.iter().map(Channel::id).collect::<Vec<_>>(), [clients[0].channel.id()]);
    }
}
