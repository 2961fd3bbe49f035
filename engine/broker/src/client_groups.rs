//! [`ClientGroups`]: which connections are in which groups, of producers or of consumers.
//!
//! Found by group, by connection and by the age of the latest heartbeat: a connection that ends costs
//! as much as it had, and nobody walks the whole table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mq_env::collections::HashMap;
use mq_remoting::{Channel, ChannelId};
use tokio::time::Instant;

use crate::client_channel::{CHANNEL_EXPIRED_TIMEOUT, ClientChannelInfo};
use crate::config::BrokerLimits;
use crate::limits::{Limit, LimitReached};

/// Groups and their connections; `G` is what else is known of a group.
pub(crate) struct ClientGroups<G> {
    groups: BTreeMap<Arc<str>, ClientGroup<G>>,
    by_channel: HashMap<ChannelId, BTreeSet<Arc<str>>>,
    /// Latest heartbeats, oldest first.
    by_age: BTreeSet<(Instant, ChannelId, Arc<str>)>,
    group_limit: Limit,
    client_limit: Limit,
    /// Groups that were looked at since the beginning.
    #[cfg(test)]
    pub(crate) looks: usize,
}

/// One group.
#[derive(Default)]
pub(crate) struct ClientGroup<G> {
    pub(crate) channels: BTreeMap<ChannelId, ClientChannelInfo>,
    pub(crate) known: G,
}

impl<G: Default> ClientGroups<G> {
    pub(crate) fn new(limits: &BrokerLimits) -> Self {
        ClientGroups {
            groups: BTreeMap::new(),
            by_channel: HashMap::default(),
            by_age: BTreeSet::new(),
            group_limit: Limit::new("maxClientGroupNums", limits.client_group_nums),
            client_limit: Limit::new("maxClientNumsPerGroup", limits.client_nums_per_group),
            #[cfg(test)]
            looks: 0,
        }
    }

    /// The group, if anybody is in it.
    pub(crate) fn get(&self, group: &str) -> Option<&ClientGroup<G>> {
        self.groups.get(group)
    }

    /// Every group with its name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ClientGroup<G>)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// As [`ClientGroups::get`], to be changed.
    pub(crate) fn get_mut(&mut self, group: &str) -> Option<&mut ClientGroup<G>> {
        self.groups.get_mut(group)
    }

    /// Takes note of a client's heartbeat in a group. Returns whether it is new there.
    ///
    /// # Errors
    /// When it is new and there are too many; nothing is noted then.
    pub(crate) fn join(
        &mut self,
        group: &str,
        client: &ClientChannelInfo,
    ) -> Result<bool, LimitReached> {
        let channel = client.channel.id();
        let name = match self.groups.get_key_value(group) {
            Some((name, members)) => {
                if !members.channels.contains_key(&channel) {
                    let count = members.channels.len() + 1;
                    self.client_limit.check(count, "clients of one group")?;
                }
                Arc::clone(name)
            }
            None => {
                self.group_limit.check(self.groups.len() + 1, "groups of live clients")?;
                Arc::from(group)
            }
        };
        let members = self.groups.entry(Arc::clone(&name)).or_default();
        let before = members.channels.insert(channel, client.clone());
        match &before {
            Some(before) => {
                self.by_age.remove(&(before.last_update, channel, Arc::clone(&name)));
            }
            None => drop(self.by_channel.entry(channel).or_default().insert(Arc::clone(&name))),
        }
        self.by_age.insert((client.last_update, channel, name));
        Ok(before.is_none())
    }

    /// Takes a connection out of a group. Returns what is known of the group if it was in it; with
    /// `true` if nobody is left, and the group is gone.
    pub(crate) fn leave(&mut self, group: &str, channel: ChannelId) -> Option<Left<'_, G>> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let members = self.groups.get_mut(group)?;
        let client = members.channels.remove(&channel)?;
        let is_empty = members.channels.is_empty();
        let name = Arc::clone(self.groups.get_key_value(group)?.0);
        self.by_age.remove(&(client.last_update, channel, Arc::clone(&name)));
        if let Some(names) = self.by_channel.get_mut(&channel) {
            names.remove(&name);
            if names.is_empty() {
                self.by_channel.remove(&channel);
            }
        }
        if is_empty {
            self.groups.remove(&name).map(|group| Left::Last(group.known))
        } else {
            self.groups.get(&name).map(Left::Others)
        }
    }

    /// The groups of a connection.
    pub(crate) fn groups_of(&self, channel: ChannelId) -> Vec<Arc<str>> {
        self.by_channel
            .get(&channel)
            .map(|names| names.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The connections without a heartbeat for [`CHANNEL_EXPIRED_TIMEOUT`] in some group.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Channel> {
        let mut expired = BTreeMap::new();
        for (last_update, channel, group) in &self.by_age {
            if *last_update + CHANNEL_EXPIRED_TIMEOUT > now {
                break;
            }
            let client = self.groups.get(group).and_then(|group| group.channels.get(channel));
            expired.extend(client.map(|client| (*channel, client.channel.clone())));
        }
        expired.into_values().collect()
    }

    /// When the next client expires unless it is heard of.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.by_age.first().map(|(last_update, ..)| *last_update + CHANNEL_EXPIRED_TIMEOUT)
    }

    /// Number of connections of each group.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> Vec<(String, usize)> {
        assert_eq!(self.groups.is_empty(), self.by_channel.is_empty() && self.by_age.is_empty());
        self.groups.iter().map(|(name, it)| (name.to_string(), it.channels.len())).collect()
    }
}

/// What a connection leaves behind in a group.
pub(crate) enum Left<'a, G> {
    /// Nobody; what was known of the group.
    Last(G),
    /// The others.
    Others(&'a ClientGroup<G>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_channel::tests::clients;

    #[tokio::test]
    async fn groups_and_their_clients_are_bounded() {
        let (_connections, clients) = clients(["c1", "c2"]).await;
        let limits = BrokerLimits {
            client_group_nums: 2,
            client_nums_per_group: 1,
            ..BrokerLimits::default()
        };
        let mut groups = ClientGroups::<()>::new(&limits);
        assert_eq!(groups.join("A", &clients[0]), Ok(true));
        assert_eq!(groups.join("A", &clients[0]), Ok(false));
        let refused = groups.join("A", &clients[1]).unwrap_err().to_string();
        assert!(refused.contains("maxClientNumsPerGroup=1"), "{refused}");
        assert_eq!(groups.join("B", &clients[1]), Ok(true));
        let refused = groups.join("C", &clients[0]).unwrap_err().to_string();
        assert!(refused.contains("maxClientGroupNums=2"), "{refused}");
        assert_eq!(groups.counts(), [("A".to_owned(), 1), ("B".to_owned(), 1)]);
        assert!(groups.leave("A", clients[1].channel.id()).is_none());
        assert!(matches!(groups.leave("A", clients[0].channel.id()), Some(Left::Last(()))));
        assert!(matches!(groups.leave("B", clients[1].channel.id()), Some(Left::Last(()))));
        assert!(groups.counts().is_empty());
    }

    /// A connection that ends costs what it had, whatever others have.
    #[tokio::test]
    async fn a_connection_looks_at_its_own_groups_only() {
        let (_connections, clients) = clients(["c1", "c2"]).await;
        for others in [100, 10_000] {
            let mut groups = ClientGroups::<()>::new(&BrokerLimits::default());
            for other in 0..others {
                groups.join(&format!("other-{other}"), &clients[0]).unwrap();
            }
            for own in 0..3 {
                groups.join(&format!("own-{own}"), &clients[1]).unwrap();
            }
            for group in groups.groups_of(clients[1].channel.id()) {
                groups.leave(&group, clients[1].channel.id());
            }
            assert_eq!((groups.looks, groups.counts().len()), (3, others));
        }
    }
}
