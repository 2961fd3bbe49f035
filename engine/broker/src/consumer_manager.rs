//! [`ConsumerManager`]: who consumes in which group, and what the groups subscribe to (RocketMQ 4.9
//! `ConsumerManager`, `ConsumerGroupInfo`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mq_protocol::body::heartbeat::{ConsumerData, MessageModel, SubscriptionData};
use mq_protocol::codes::RequestCode;
use mq_protocol::header::client::ConsumerGroupRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ChannelId};
use mq_store::MessageFilter;
use tokio::time::Instant;

use crate::client_channel::{CHANNEL_EXPIRED_TIMEOUT, ClientChannelInfo};
use crate::lock;

/// What a group wants of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// Version of the subscription (ms).
    pub(crate) sub_version: i64,
    /// Whether it is an expression of tags, the only one that is understood.
    pub(crate) is_tag_type: bool,
    /// The messages that pass.
    pub(crate) filter: Arc<MessageFilter>,
}

impl From<&SubscriptionData> for Subscription {
    fn from(subscription: &SubscriptionData) -> Self {
        let wants_all = subscription.is_all() || subscription.class_filter_mode;
        let filter = if wants_all {
            MessageFilter::All
        } else {
            MessageFilter::TagsCodes(subscription.code_set.clone())
        };
        Subscription {
            sub_version: subscription.sub_version,
            is_tag_type: subscription.is_tag_type(),
            filter: Arc::new(filter),
        }
    }
}

/// What a pull needs to know of its group's subscription to a topic.
pub(crate) enum FoundSubscription {
    /// No consumer of the group is known.
    NoGroup,
    /// The group does not subscribe to the topic.
    NoTopic(MessageModel),
    /// It does.
    Found(MessageModel, Subscription),
}

/// Live consumers by group.
#[derive(Default)]
pub(crate) struct ConsumerManager {
    groups: Mutex<BTreeMap<String, ConsumerGroup>>,
}

#[derive(Default)]
struct ConsumerGroup {
    message_model: MessageModel,
    subscriptions: BTreeMap<String, Subscription>,
    channels: BTreeMap<ChannelId, ClientChannelInfo>,
}

/// The members of a group whose membership changed.
pub(crate) struct ChangedGroup {
    group: String,
    members: Vec<Channel>,
}

impl ChangedGroup {
    /// Tells the members to share out the queues anew (40).
    pub(crate) fn notify_consumer_ids_changed(&self) {
        let header = ConsumerGroupRequestHeader { consumer_group: self.group.clone() };
        for member in &self.members {
            let code = RequestCode::NOTIFY_CONSUMER_IDS_CHANGED;
            if let Err(error) = member.oneway(RemotingCommand::request(code, &header)) {
                tracing::debug!(group = self.group, %error, "consumer not notified");
            }
        }
    }
}

impl ConsumerManager {
    /// Takes note of a consumer's heartbeat: what it says of the group replaces what was known.
    /// Returns the group if the consumer is new or the topics are others than before.
    pub(crate) fn register_consumer(
        &self,
        consumer: &ConsumerData,
        client: &ClientChannelInfo,
    ) -> Option<ChangedGroup> {
        let mut groups = lock(&self.groups);
        if !groups.contains_key(&consumer.group_name) {
            groups.insert(consumer.group_name.clone(), ConsumerGroup::default());
        }
        let group = groups.get_mut(&consumer.group_name).expect("the group was just inserted");
        group.message_model = consumer.message_model;
        let is_new = group.channels.insert(client.channel.id(), client.clone()).is_none();
        if is_new {
            let (name, client) = (&consumer.group_name, &client.client_id);
            tracing::info!(group = name, client, "consumer registered");
        }
        let is_changed = group.update_subscriptions(&consumer.subscription_data_set);
        (is_new || is_changed).then(|| group.changed(&consumer.group_name))
    }

    /// Forgets a consumer that takes its leave. Returns the group if others are left.
    pub(crate) fn unregister_consumer(
        &self,
        group: &str,
        channel: ChannelId,
    ) -> Option<ChangedGroup> {
        let mut groups = lock(&self.groups);
        groups.get_mut(group)?.channels.remove(&channel)?;
        remaining(&mut groups, group)
    }

    /// Forgets the consumers of a connection that has ended. Returns the groups that have others.
    pub(crate) fn do_channel_close(&self, channel: ChannelId) -> Vec<ChangedGroup> {
        let mut groups = lock(&self.groups);
        let mut left = Vec::new();
        for (name, group) in groups.iter_mut() {
            if group.channels.remove(&channel).is_some() {
                left.push(name.clone());
            }
        }
        left.iter().filter_map(|name| remaining(&mut groups, name)).collect()
    }

    /// The connections of consumers without a heartbeat for [`CHANNEL_EXPIRED_TIMEOUT`].
    pub(crate) fn expired(&self, now: Instant) -> Vec<Channel> {
        let groups = lock(&self.groups);
        let clients = groups.values().flat_map(|group| group.channels.values());
        clients.filter(|client| !client.is_live(now)).map(|client| client.channel.clone()).collect()
    }

    /// When the next consumer expires unless it is heard of.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let groups = lock(&self.groups);
        let clients = groups.values().flat_map(|group| group.channels.values());
        let earliest = clients.map(|client| client.last_update).min();
        earliest.map(|earliest| earliest + CHANNEL_EXPIRED_TIMEOUT)
    }

    /// The client ids of a group, one per connection; `None` if nobody is there.
    pub(crate) fn client_ids(&self, group: &str) -> Option<Vec<String>> {
        let groups = lock(&self.groups);
        let channels = &groups.get(group)?.channels;
        Some(channels.values().map(|client| client.client_id.clone()).collect())
    }

    /// What the group wants of `topic`.
    pub(crate) fn find_subscription(&self, group: &str, topic: &str) -> FoundSubscription {
        let groups = lock(&self.groups);
        let Some(group) = groups.get(group) else {
            return FoundSubscription::NoGroup;
        };
        match group.subscriptions.get(topic) {
            Some(found) => FoundSubscription::Found(group.message_model, found.clone()),
            None => FoundSubscription::NoTopic(group.message_model),
        }
    }
}

impl ConsumerGroup {
    /// Returns whether a topic came or went. A newer version alone is taken over silently.
    fn update_subscriptions(&mut self, subscriptions: &[SubscriptionData]) -> bool {
        let mut is_changed = false;
        for subscription in subscriptions {
            match self.subscriptions.get_mut(&subscription.topic) {
                Some(known) if subscription.sub_version > known.sub_version => {
                    *known = subscription.into();
                }
                Some(_) => {}
                None => {
                    self.subscriptions.insert(subscription.topic.clone(), subscription.into());
                    is_changed = true;
                }
            }
        }
        let count_before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| subscriptions.iter().any(|it| it.topic == *topic));
        is_changed || self.subscriptions.len() != count_before
    }

    fn changed(&self, name: &str) -> ChangedGroup {
        let members = self.channels.values().map(|client| client.channel.clone()).collect();
        ChangedGroup { group: name.to_owned(), members }
    }
}

/// Drops a group that nobody is left in, else returns it.
fn remaining(groups: &mut BTreeMap<String, ConsumerGroup>, name: &str) -> Option<ChangedGroup> {
    let group = groups.get(name)?;
    if group.channels.is_empty() {
        tracing::info!(group = name, "the last consumer is gone");
        groups.remove(name);
        return None;
    }
    Some(group.changed(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_channel::tests::clients;

    fn consumer(subscriptions: &[(&str, &str, i64)]) -> ConsumerData {
        let subscription = |(topic, tags, version): &(&str, &str, i64)| {
            SubscriptionData::by_tags(topic, tags, *version).unwrap()
        };
        ConsumerData {
            group_name: "G".to_owned(),
            subscription_data_set: subscriptions.iter().map(subscription).collect(),
            ..ConsumerData::default()
        }
    }

    fn filter(manager: &ConsumerManager, topic: &str) -> Option<(i64, MessageFilter)> {
        match manager.find_subscription("G", topic) {
            FoundSubscription::Found(_, found) => {
                Some((found.sub_version, (*found.filter).clone()))
            }
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_heartbeat_replaces_the_groups_subscriptions() {
        let (_connections, clients) = clients(["c1"]).await;
        let manager = ConsumerManager::default();
        let register = |subscriptions: &[(&str, &str, i64)]| {
            manager.register_consumer(&consumer(subscriptions), &clients[0]).is_some()
        };
        assert!(register(&[("T", "a", 5)]));
        assert!(!register(&[("T", "b", 5)]));
        let codes = |tag: char| MessageFilter::TagsCodes(vec![tag as i32]);
        assert_eq!(filter(&manager, "T"), Some((5, codes('a'))));
        assert!(!register(&[("T", "b", 6)]));
        assert_eq!(filter(&manager, "T"), Some((6, codes('b'))));
        assert!(register(&[("U", "*", 1)]));
        assert_eq!(filter(&manager, "T"), None);
        assert_eq!(filter(&manager, "U"), Some((1, MessageFilter::All)));
    }

    #[tokio::test]
    async fn members_are_told_of_who_comes_and_goes() {
        let (connections, clients) = clients(["c1", "c2"]).await;
        let manager = ConsumerManager::default();
        let all = consumer(&[("T", "*", 1)]);
        let ids = |changed: Option<ChangedGroup>| -> Vec<ChannelId> {
            changed.iter().flat_map(|it| &it.members).map(Channel::id).collect()
        };
        let [c1, c2] = [clients[0].channel.id(), clients[1].channel.id()];
        assert_eq!(ids(manager.register_consumer(&all, &clients[0])), [c1]);
        assert_eq!(ids(manager.register_consumer(&all, &clients[1])), [c1, c2]);
        assert_eq!(ids(manager.register_consumer(&all, &clients[1])), []);
        assert_eq!(manager.client_ids("G").unwrap(), ["c1", "c2"]);

        let changed = manager.do_channel_close(c2);
        changed[0].notify_consumer_ids_changed();
        while connections.asked[0].codes().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(connections.asked[0].codes(), [RequestCode::NOTIFY_CONSUMER_IDS_CHANGED]);
        assert!(connections.asked[1].codes().is_empty());

        assert_eq!(ids(manager.unregister_consumer("G", c1)), []);
        assert_eq!(manager.client_ids("G"), None);
        assert!(matches!(manager.find_subscription("G", "T"), FoundSubscription::NoGroup));
    }
}
