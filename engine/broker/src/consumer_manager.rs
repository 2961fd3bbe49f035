//! [`ConsumerManager`]: who consumes in which group, and what the groups subscribe to (RocketMQ 4.9
//! `ConsumerManager`, `ConsumerGroupInfo`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
};
use mq_protocol::codes::RequestCode;
use mq_protocol::header::client::ConsumerGroupRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ChannelId, LogLimit};
use tokio::time::Instant;

use crate::client_channel::ClientChannelInfo;
use crate::client_groups::{ClientGroup, ClientGroups, Left};
use crate::config::BrokerLimits;
use crate::limits::{Limit, LimitReached, log_limit};
use crate::lock;
use crate::subscription::{Expressions, Subscription, SubscriptionKind};

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
pub(crate) struct ConsumerManager {
    state: Mutex<State>,
    subscription_limit: Limit,
    tag_limit: Limit,
    /// Of subscriptions that cannot be read.
    broken_log: LogLimit,
}

struct State {
    groups: ClientGroups<Known>,
    /// What all groups' subscriptions count for.
    subscription_nums: usize,
}

/// What the latest heartbeats say of a group.
#[derive(Default)]
struct Known {
    message_model: MessageModel,
    consume_type: ConsumeType,
    consume_from_where: ConsumeFromWhere,
    subscriptions: Subscriptions,
    /// As they were said, for those who ask.
    said: BTreeMap<String, Arc<SubscriptionData>>,
    /// Those of them that are SQL92.
    expressions: Option<Arc<Expressions>>,
    /// What they count for.
    subscription_nums: usize,
}

/// Subscriptions by topic.
type Subscriptions = BTreeMap<String, Subscription>;

/// A group that somebody is in.
pub(crate) struct LiveGroup {
    pub(crate) members: Vec<ClientChannelInfo>,
    pub(crate) message_model: MessageModel,
    pub(crate) consume_type: ConsumeType,
    pub(crate) consume_from_where: ConsumeFromWhere,
    /// By topic.
    pub(crate) subscriptions: BTreeMap<String, Arc<SubscriptionData>>,
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
    pub(crate) fn new(limits: &BrokerLimits) -> Self {
        let state = State { groups: ClientGroups::new(limits), subscription_nums: 0 };
        let tag_nums = limits.tag_nums_per_subscription;
        ConsumerManager {
            state: Mutex::new(state),
            subscription_limit: Limit::new("maxSubscriptionNums", limits.subscription_nums),
            tag_limit: Limit::new("maxTagNumsPerSubscription", tag_nums),
            broken_log: log_limit(),
        }
    }

    /// Refuses a subscription with too many tags.
    pub(crate) fn check_tags(&self, tag_nums: usize) -> Result<(), LimitReached> {
        self.tag_limit.check(tag_nums, "tags of one subscription")
    }

    /// Takes note of a consumer's heartbeat: what it says of the group replaces what was known.
    /// Returns the group if the consumer is new or the topics are others than before.
    ///
    /// # Errors
    /// When there are too many clients, groups or subscriptions; the consumer is then not noted.
    pub(crate) fn register_consumer(
        &self,
        consumer: &ConsumerData,
        client: &ClientChannelInfo,
    ) -> Result<Option<ChangedGroup>, LimitReached> {
        let said = &consumer.subscription_data_set;
        said.iter().try_for_each(|subscription| self.check_tags(subscription.code_set.len()))?;
        let topics: BTreeSet<&str> = said.iter().map(|it| it.topic.as_str()).collect();
        let newer = self.read_subscriptions(consumer);
        let added: usize = newer.iter().map(Subscription::count).sum();

        let mut state = lock(&self.state);
        let name = consumer.group_name.as_str();
        let before = state.groups.get(name).map_or(0, |group| group.known.subscription_nums);
        // What may be replaced counts until it is: two versions of a group's are kept at most.
        if added > before {
            let count = state.subscription_nums - before + added;
            self.subscription_limit.check(count, "subscriptions and tags")?;
        }
        let is_new = state.groups.join(name, client)?;
        if is_new {
            tracing::info!(group = name, client = &*client.client_id, "consumer registered");
        }
        let Some(group) = state.groups.get_mut(name) else { return Ok(None) };
        group.known.message_model = consumer.message_model;
        group.known.consume_type = consumer.consume_type;
        group.known.consume_from_where = consumer.consume_from_where;
        let is_changed = group.known.update_subscriptions(said, newer, &topics);
        let changed = (is_new || is_changed).then(|| group.changed(name));
        let after = group.known.subscription_nums;
        state.subscription_nums = state.subscription_nums - before + after;
        Ok(changed)
    }

    /// What a heartbeat says of the group's subscriptions. An expression that is known is not compiled again with
    /// every heartbeat.
    fn read_subscriptions(&self, consumer: &ConsumerData) -> Vec<Subscription> {
        let read = |said: &SubscriptionData| {
            let known = || match self.find_subscription(&consumer.group_name, &said.topic) {
                FoundSubscription::Found(_, known) if known.sub_version >= said.sub_version => {
                    Some(known)
                }
                _ => None,
            };
            let known = if said.is_tag_type() { None } else { known() };
            known.unwrap_or_else(|| {
                let newer = Subscription::from(said);
                if let SubscriptionKind::Broken(why) = &newer.kind
                    && let Some(suppressed) = self.broken_log.pass()
                {
                    let (group, topic) = (&consumer.group_name, &said.topic);
                    tracing::warn!(suppressed, group, topic, "nobody is served with: {why}");
                }
                newer
            })
        };
        consumer.subscription_data_set.iter().map(read).collect()
    }

    /// Forgets a consumer that takes its leave. Returns the group if others are left.
    pub(crate) fn unregister_consumer(
        &self,
        group: &str,
        channel: ChannelId,
    ) -> Option<ChangedGroup> {
        lock(&self.state).leave(group, channel)
    }

    /// Forgets the consumers of a connection that has ended. Returns the groups that have others.
    pub(crate) fn do_channel_close(&self, channel: ChannelId) -> Vec<ChangedGroup> {
        let mut state = lock(&self.state);
        let groups = state.groups.groups_of(channel);
        groups.iter().filter_map(|group| state.leave(group, channel)).collect()
    }

    /// The connections of consumers without a heartbeat for too long.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Channel> {
        lock(&self.state).groups.expired(now)
    }

    /// When the next consumer expires unless it is heard of.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        lock(&self.state).groups.next_expiry()
    }

    /// The members of a group, one per connection.
    pub(crate) fn members(&self, group: &str) -> Vec<ClientChannelInfo> {
        let state = lock(&self.state);
        let group = state.groups.get(group);
        group.map(|group| group.channels.values().cloned().collect()).unwrap_or_default()
    }

    /// The client ids of a group, one per connection; `None` if nobody is there.
    pub(crate) fn client_ids(&self, group: &str) -> Option<Vec<String>> {
        let state = lock(&self.state);
        let channels = &state.groups.get(group)?.channels;
        Some(channels.values().map(|client| client.client_id.to_string()).collect())
    }

    /// What is known of a group and its members; `None` if nobody is there.
    pub(crate) fn describe(&self, group: &str) -> Option<LiveGroup> {
        let state = lock(&self.state);
        let ClientGroup { channels, known } = state.groups.get(group)?;
        Some(LiveGroup {
            members: channels.values().cloned().collect(),
            message_model: known.message_model,
            consume_type: known.consume_type,
            consume_from_where: known.consume_from_where,
            subscriptions: known.said.clone(),
        })
    }

    /// How a group says what it wants of `topic`, if somebody is there who wants anything.
    pub(crate) fn said(&self, group: &str, topic: &str) -> Option<Arc<SubscriptionData>> {
        lock(&self.state).groups.get(group)?.known.said.get(topic).cloned()
    }

    /// Whether a live group subscribes to other topics, but not to this one: what its offsets in it say is over.
    pub(crate) fn has_left(&self, group: &str, topic: &str) -> bool {
        let state = lock(&self.state);
        let known = state.groups.get(group).map(|group| &group.known.subscriptions);
        known.is_some_and(|known| !known.is_empty() && !known.contains_key(topic))
    }

    /// The live groups that subscribe to a topic.
    pub(crate) fn groups_of_topic(&self, topic: &str) -> BTreeSet<String> {
        let state = lock(&self.state);
        let groups = state.groups.iter();
        let subscribed = groups.filter(|(_, group)| group.known.subscriptions.contains_key(topic));
        subscribed.map(|(name, _)| name.to_string()).collect()
    }

    /// What the member of a group calls itself whose heartbeats come over a connection.
    pub(crate) fn client_id(&self, group: &str, channel: ChannelId) -> Option<Arc<str>> {
        let state = lock(&self.state);
        let client = state.groups.get(group)?.channels.get(&channel)?;
        Some(Arc::clone(&client.client_id))
    }

    /// What the group wants of topics by SQL92, if it does.
    pub(crate) fn expressions(&self, group: &str) -> Option<Arc<Expressions>> {
        lock(&self.state).groups.get(group)?.known.expressions.clone()
    }

    /// What the group wants of `topic`.
    pub(crate) fn find_subscription(&self, group: &str, topic: &str) -> FoundSubscription {
        let state = lock(&self.state);
        let Some(ClientGroup { known, .. }) = state.groups.get(group) else {
            return FoundSubscription::NoGroup;
        };
        match known.subscriptions.get(topic) {
            Some(found) => FoundSubscription::Found(known.message_model, found.clone()),
            None => FoundSubscription::NoTopic(known.message_model),
        }
    }
}

impl State {
    fn leave(&mut self, name: &str, channel: ChannelId) -> Option<ChangedGroup> {
        match self.groups.leave(name, channel)? {
            Left::Others(group) => Some(group.changed(name)),
            Left::Last(known) => {
                tracing::info!(group = name, "the last consumer is gone");
                self.subscription_nums -= known.subscription_nums;
                None
            }
        }
    }
}

impl Known {
    /// Takes over what a heartbeat `said` of `topics`, made into `newer`. Returns whether a topic came
    /// or went. A newer version alone is taken over silently.
    fn update_subscriptions(
        &mut self,
        said: &[SubscriptionData],
        newer: Vec<Subscription>,
        topics: &BTreeSet<&str>,
    ) -> bool {
        let mut is_changed = false;
        for (subscription, newer) in said.iter().zip(newer) {
            match self.subscriptions.get_mut(&subscription.topic) {
                Some(known)
                    if newer.sub_version > known.sub_version
                        || planted_on_this_thread(Plant::OlderSubscriptionWins) =>
                {
                    *known = newer;
                }
                Some(_) => continue,
                None => {
                    self.subscriptions.insert(subscription.topic.clone(), newer);
                    is_changed = true;
                }
            }
            self.said.insert(subscription.topic.clone(), Arc::new(subscription.clone()));
        }
        let count_before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| topics.contains(topic.as_str()));
        self.said.retain(|topic, _| topics.contains(topic.as_str()));
        self.subscription_nums = self.subscriptions.values().map(Subscription::count).sum();
        self.expressions = expressions_of(&self.subscriptions);
        is_changed || self.subscriptions.len() != count_before
    }
}

fn expressions_of(subscriptions: &Subscriptions) -> Option<Arc<Expressions>> {
    let by_sql =
        subscriptions.iter().filter_map(|(topic, subscription)| match &subscription.kind {
            SubscriptionKind::Sql92(expression) => Some((topic.clone(), Arc::clone(expression))),
            _ => None,
        });
    let expressions: Expressions = by_sql.collect();
    (!expressions.is_empty()).then(|| Arc::new(expressions))
}

impl ClientGroup<Known> {
    fn changed(&self, name: &str) -> ChangedGroup {
        let members = self.channels.values().map(|client| client.channel.clone()).collect();
        ChangedGroup { group: name.to_owned(), members }
    }
}

#[cfg(test)]
mod tests {
    use mq_store::MessageFilter;

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
        let manager = ConsumerManager::new(&BrokerLimits::default());
        let register = |subscriptions: &[(&str, &str, i64)]| {
            manager.register_consumer(&consumer(subscriptions), &clients[0]).unwrap().is_some()
        };
        assert!(register(&[("T", "a", 5)]));
        assert!(!register(&[("T", "b", 5)]));
        let codes = |tag: char| MessageFilter::TagsCodes([tag as i32].into());
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
        let manager = ConsumerManager::new(&BrokerLimits::default());
        let all = consumer(&[("T", "*", 1)]);
        let ids = |changed: Option<ChangedGroup>| -> Vec<ChannelId> {
            changed.iter().flat_map(|it| &it.members).map(Channel::id).collect()
        };
        let [c1, c2] = [clients[0].channel.id(), clients[1].channel.id()];
        assert_eq!(ids(manager.register_consumer(&all, &clients[0]).unwrap()), [c1]);
        assert_eq!(ids(manager.register_consumer(&all, &clients[1]).unwrap()), [c1, c2]);
        assert_eq!(ids(manager.register_consumer(&all, &clients[1]).unwrap()), []);
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
    #[tokio::test]
    async fn subscriptions_and_tags_are_bounded() {
        let (_connections, clients) = clients(["c1", "c2"]).await;
        let limits = BrokerLimits {
            subscription_nums: 6,
            tag_nums_per_subscription: 3,
            ..BrokerLimits::default()
        };
        let manager = ConsumerManager::new(&limits);
        let register = |group: &str, client: usize, subscriptions: &[(&str, &str, i64)]| {
            let consumer = ConsumerData { group_name: group.to_owned(), ..consumer(subscriptions) };
            let registered = manager.register_consumer(&consumer, &clients[client]);
            registered.map(|_| ()).map_err(|error| error.to_string())
        };
        let refused = register("G", 0, &[("T", "a || b || c || d", 1)]).unwrap_err();
        assert!(refused.contains("maxTagNumsPerSubscription=3"), "{refused}");
        assert!(matches!(manager.find_subscription("G", "T"), FoundSubscription::NoGroup));

        register("G", 0, &[("T", "a || b || c", 1), ("U", "*", 1)]).unwrap();
        let refused = register("H", 1, &[("T", "a", 1)]).unwrap_err();
        assert!(refused.contains("maxSubscriptionNums=6"), "{refused}");
        // What is replaced makes room, and so does who leaves.
        register("G", 0, &[("T", "a", 2), ("U", "*", 1)]).unwrap();
        register("H", 1, &[("T", "a", 1)]).unwrap();
        manager.do_channel_close(clients[0].channel.id());
        register("H", 1, &[("T", "a || b || c", 2), ("U", "a", 1)]).unwrap();
        manager.do_channel_close(clients[1].channel.id());
        assert_eq!(lock(&manager.state).subscription_nums, 0);
    }
}
